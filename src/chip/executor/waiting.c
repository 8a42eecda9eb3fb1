/* Tasks whose kernels wait: for counters, for each other, for a free core. Everything here belongs to one
** lane. */
#include "base/memory.h"
#include "chip/executor/call.h"
#include "chip/executor/fiber.h"
#include <stdio.h>

typedef enum strand_state {
  STRAND_NONE, /* the core has nothing to do, or the kernel has ended */
  STRAND_READY,
  STRAND_YIELDED, /* ready, but its turn is no progress */
  STRAND_WAITS,   /* for its counter */
  STRAND_AT_BARRIER
} strand_state;

/* One kernel of a task, on its own stack. */
typedef struct chip_strand {
  chip_call call;
  chip_fiber *fiber; /* kept for the next task */
  struct chip_group *group;
  strand_state state;
  const int32_t *counter;
  int32_t value;
} chip_strand;

/* A task that has begun and not ended. */
typedef struct chip_group {
  struct chip_group *next;
  chip_executor *executor;
  baton_task task;
  int whole;      /* it needs a cluster; else one core */
  int placed;     /* it has that */
  uint32_t place; /* number of the cluster or core */
  int unfinished, at_barrier;
  int failed, stop; /* stop: whoever waits is left, for `reason` */
  chip_reason reason;
  chip_strand strands[CHIP_PARTS];
} chip_group;

/* --- On the fiber
** ------------------------------------------------------------------------------------------------ */

/* Goes back to the lane until that finds the kernel ready. */
static void suspend(chip_strand *strand, strand_state state) {
  chip_group *group = strand->group;
  strand->state = state;
  chip_guard_pause(&strand->call.guard);
  chip_fiber_yield(strand->fiber);
  if (group->stop)
    chip_call_leave(&strand->call, group->reason,
                    "no progress for %.0f ms while it waited on core %u, and left",
                    (double)atomic_load_explicit(&group->executor->stalled, memory_order_relaxed) * 1e-6,
                    strand->call.args.core);
  chip_guard_resume(&strand->call.guard);
}

static chip_strand *check_strand(const baton_args *args, const char *what) {
  chip_call *call = chip_call_of(args);
  if (!call->strand)
    chip_call_leave(call, CHIP_UNSUPPORTED, "%s in a kernel that is not declared to wait", what);
  return call->strand;
}

void chip_waiting_wait(const baton_args *args, const int32_t *counter, int32_t value) {
  chip_strand *strand = check_strand(args, "baton_wait_ge");
  strand->counter = counter;
  strand->value = value;
  /* the kernel's pointer: the first look is guarded as the kernel is */
  while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value) suspend(strand, STRAND_WAITS);
}

void chip_waiting_yield(const baton_args *args) {
  suspend(check_strand(args, "baton_spin_hint"), STRAND_YIELDED);
}

/* The last one lets all go on. */
static void open_barrier(chip_group *group) {
  if (group->at_barrier < group->unfinished) return;
  group->at_barrier = 0;
  for (int part = 0; part < CHIP_PARTS; part++)
    if (group->strands[part].state == STRAND_AT_BARRIER) group->strands[part].state = STRAND_READY;
}

void chip_waiting_barrier(const baton_args *args) {
  chip_strand *strand = check_strand(args, "baton_block_barrier");
  chip_group *group = strand->group;
  if (!group->whole)
    chip_call_leave(&strand->call, CHIP_UNSUPPORTED, "baton_block_barrier in a task that is not a mixed one");
  if (group->at_barrier + 1 < group->unfinished) {
    group->at_barrier++;
    suspend(strand, STRAND_AT_BARRIER);
    return;
  }
  group->at_barrier = group->unfinished;
  open_barrier(group);
}

/* A kernel whose partner has failed would wait in vain. */
static void run_strand(void *argument) {
  chip_strand *strand = argument;
  chip_group *group = strand->group;
  int failed = chip_call_kernel(group->executor, &strand->call);
  strand->state = STRAND_NONE;
  group->unfinished--;
  if (failed && !group->stop) {
    group->stop = 1;
    group->reason = CHIP_GIVEN_UP;
  }
  group->failed |= failed;
  open_barrier(group);
}

/* --- On the lane
** ------------------------------------------------------------------------------------------------- */

static int place(chip_group *group) {
  chip_cores *cores = &group->executor->cores;
  if (group->placed) return 1;
  group->placed = group->whole ? chip_cores_take_cluster(cores, &group->place)
                               : chip_cores_take(cores, group->strands[0].call.kernel->core, &group->place);
  for (uint32_t part = 0; part < CHIP_PARTS && group->placed; part++)
    group->strands[part].call.args.core =
        group->whole ? chip_core_at(cores, group->place, part) : group->place;
  return group->placed;
}

static void leave_place(chip_group *group) {
  if (!group->placed) return;
  if (group->whole)
    chip_cores_give_cluster(&group->executor->cores, group->place);
  else
    chip_cores_give(&group->executor->cores, group->place);
}

static int is_ready(const chip_strand *strand) {
  if (strand->state == STRAND_NONE) return 0;
  if (strand->group->stop || strand->state == STRAND_READY || strand->state == STRAND_YIELDED) return 1;
  /* relaxed: the kernel looks again, with acquire */
  return strand->state == STRAND_WAITS && __atomic_load_n(strand->counter, __ATOMIC_RELAXED) >= strand->value;
}

/* It never got a core. */
static void end_unplaced(chip_group *group) {
  chip_call *call = &group->strands[0].call;
  for (int part = 0; !call->kernel; part++) call = &group->strands[part].call;
  call->guard.signal = 0;
  call->args.core = CHIP_NO_CORE;
  call->reason = group->reason;
  snprintf(call->message, sizeof call->message, "no core has become free");
  chip_call_report(group->executor, call);
  group->failed = 1;
  group->unfinished = 0;
}

/* Lets every kernel of the task that is ready go on; true if that is progress. */
static int step(chip_group *group) {
  int moved = 0;
  if (!group->placed && group->stop) end_unplaced(group);
  if (group->unfinished == 0 || !place(group)) return group->unfinished == 0;
  for (int part = 0; part < CHIP_PARTS; part++) {
    chip_strand *strand = &group->strands[part];
    if (!is_ready(strand)) continue;
    moved |= strand->state != STRAND_YIELDED;
    moved |= chip_fiber_resume(strand->fiber);
  }
  return moved;
}

static int open_strand(chip_strand *strand, chip_group *group, const chip_payload *payload, uint32_t part,
                       const chip_pulse *pulse) {
  chip_call_make(&strand->call, payload, part, pulse);
  strand->group = group;
  strand->state = STRAND_NONE;
  if (!strand->call.kernel) return 1;
  if (!strand->fiber) strand->fiber = chip_fiber_open();
  if (!strand->fiber) return 0;
  if (strand->call.kernel->waits) strand->call.strand = strand;
  strand->state = STRAND_READY;
  group->unfinished++;
  chip_fiber_start(strand->fiber, run_strand, strand);
  return 1;
}

static chip_group *take_group(chip_lane *lane) {
  chip_group *group = lane->spare;
  if (!group) return base_calloc(1, sizeof *group);
  lane->spare = group->next;
  return group;
}

static void give_group(chip_lane *lane, chip_group *group) {
  leave_place(group);
  group->next = lane->spare;
  lane->spare = group;
}

static int open_group(chip_group *group, chip_executor *executor, chip_lane *lane, const task_call *task) {
  const chip_payload *payload = task->payload;
  group->next = NULL;
  group->executor = executor;
  group->task = task->task;
  group->whole = payload->mix != 0;
  group->placed = group->unfinished = group->at_barrier = group->failed = group->stop = 0;
  for (uint32_t part = 1; part < CHIP_PARTS; part++) group->strands[part].state = STRAND_NONE;
  for (uint32_t part = 0; part < (group->whole ? CHIP_PARTS : 1u); part++)
    if (!open_strand(&group->strands[part], group, payload, part, &lane->pulse)) return 0;
  return 1;
}

static int refuse(chip_executor *executor, const chip_payload *payload) {
  baton_error failure = {0};
  baton_error_set(&failure, BATON_OUT_OF_MEMORY, "task %s: no memory for the stack of a kernel that waits",
                  payload->name);
  executor->failures.report(executor->failures.context, &failure);
  baton_error_clear(&failure);
  return TASK_CALL_FAILED;
}

/* The clusters of the lane go back: such a task takes from what is free for all. */
int chip_waiting_begin(chip_executor *executor, chip_lane *lane, const task_call *task) {
  chip_group *group = take_group(lane);
  if (!group) return refuse(executor, task->payload);
  chip_cores_give_lease(&executor->cores, &lane->lease);
  if (!open_group(group, executor, lane, task)) {
    give_group(lane, group);
    return refuse(executor, task->payload);
  }
  (void)step(group);
  if (group->unfinished == 0) {
    int failed = group->failed;
    give_group(lane, group);
    return failed ? TASK_CALL_FAILED : TASK_CALL_OK;
  }
  chip_group **last = &lane->waiting;
  while (*last) last = &(*last)->next;
  *last = group;
  return TASK_CALL_WAITS;
}

static void end_group(chip_lane *lane, chip_group **link, task_end *end) {
  chip_group *group = *link;
  *link = group->next;
  *end = (task_end){group->task, group->failed};
  give_group(lane, group);
  chip_pulse_end(&lane->pulse);
}

int chip_executor_resume(chip_executor *executor, uint32_t number, int stop, task_end *end) {
  chip_lane *lane = &executor->lanes[number];
  int moved = 0, expired = atomic_load_explicit(&executor->expired, memory_order_relaxed) != 0;
  for (chip_group **link = &lane->waiting; *link; link = &(*link)->next) {
    chip_group *group = *link;
    if ((stop || expired) && !group->stop) {
      group->stop = 1;
      group->reason = expired && !stop ? CHIP_STALLED : CHIP_GIVEN_UP;
    }
    moved |= step(group);
    if (group->unfinished) continue;
    end_group(lane, link, end);
    return TASK_CALL_ENDED;
  }
  return moved ? TASK_CALL_MOVED : TASK_CALL_WAITS;
}

void chip_waiting_close(chip_lane *lane) {
  while (lane->spare) {
    chip_group *group = lane->spare;
    lane->spare = group->next;
    for (int part = 0; part < CHIP_PARTS; part++) chip_fiber_close(group->strands[part].fiber);
    base_free(group);
  }
}
