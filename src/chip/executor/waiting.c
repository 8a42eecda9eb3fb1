/* Tasks whose kernels wait: for counters, for each other, for free cores. Everything here belongs to one
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

/* One kernel of an instance, on its own stack. */
typedef struct chip_strand {
  chip_call call;
  chip_fiber *fiber; /* kept for the next instance */
  struct chip_instance *instance;
  strand_state state;
  const int32_t *counter;
  int32_t value;
} chip_strand;

/* One instance of a task, on its core or cluster. */
typedef struct chip_instance {
  struct chip_instance *next;
  struct chip_group *group;
  uint8_t place; /* number of the cluster or core */
  uint32_t unfinished;
  chip_strand strands[CHIP_PARTS];
} chip_instance;

/* A task that has begun and not ended: the instances of it, or of one share. An instance needs memory only while it has a
** core. */
typedef struct chip_group {
  struct chip_group *next;
  chip_executor *executor;
  chip_lane *lane;
  baton_task task;
  const chip_payload *payload;
  chip_instance *running;
  uint32_t count, begun, held;     /* instances: all, those that have got a core, those that have it now */
  uint32_t unfinished, at_barrier; /* kernels that run */
  int failed, stop;                /* stop: nothing begins, and whoever waits is left, for `reason` */
  chip_reason reason;
} chip_group;

/* --- On the fiber
** ------------------------------------------------------------------------------------------------ */

/* Goes back to the lane until that finds the kernel ready. */
static void suspend(chip_strand *strand, strand_state state) {
  chip_group *group = strand->instance->group;
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
  call->hint = "declare the kernel with waits = true, or submit the task with sync_start = true";
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

/* The last one lets all go on. That is progress, as the begin and the end of a task. */
static void open_barrier(chip_group *group) {
  if (!group->at_barrier || group->at_barrier < group->unfinished) return;
  group->at_barrier = 0;
  chip_pulse_begin(&group->lane->pulse);
  chip_pulse_end(&group->lane->pulse);
  for (chip_instance *instance = group->running; instance; instance = instance->next)
    for (int part = 0; part < CHIP_PARTS; part++)
      if (instance->strands[part].state == STRAND_AT_BARRIER) instance->strands[part].state = STRAND_READY;
}

/* Instances that need not all run at the same time must not wait for each other's. */
static void check_barrier(chip_strand *strand) {
  const chip_extra *extra = chip_extra_of(strand->instance->group->payload);
  strand->call.hint = "submit the task with sync_start = true";
  if (!extra || (!extra->mixed && extra->blocks == 1 && !extra->together))
    chip_call_leave(&strand->call, CHIP_UNSUPPORTED, "baton_block_barrier in a task that is not a mixed one");
  if (extra->blocks > 1 && !extra->together)
    chip_call_leave(&strand->call, CHIP_UNSUPPORTED, "baton_block_barrier in a task without sync_start");
}

void chip_waiting_barrier(const baton_args *args) {
  chip_strand *strand = check_strand(args, "baton_block_barrier");
  chip_group *group = strand->instance->group;
  check_barrier(strand);
  if (++group->at_barrier < group->unfinished) {
    suspend(strand, STRAND_AT_BARRIER);
    return;
  }
  chip_guard_pause(&strand->call.guard);
  open_barrier(group);
  chip_guard_resume(&strand->call.guard);
}

/* A kernel whose partner has failed would wait in vain. */
static void run_strand(void *argument) {
  chip_strand *strand = argument;
  chip_group *group = strand->instance->group;
  int failed = group->stop || chip_call_kernel(group->executor, &strand->call);
  strand->state = STRAND_NONE;
  strand->instance->unfinished--;
  group->unfinished--;
  if (failed && !group->stop) {
    group->stop = 1;
    group->reason = CHIP_GIVEN_UP;
  }
  group->failed |= failed;
  open_barrier(group);
}

/* --- Instances
** ------------------------------------------------------------------------------------------------ */

static uint32_t kind_of(const chip_group *group) {
  const chip_extra *extra = chip_extra_of(group->payload);
  return extra && extra->mixed ? CHIP_WHOLE : (uint32_t)group->payload->kernel->core;
}

static int is_together(const chip_group *group) {
  const chip_extra *extra = chip_extra_of(group->payload);
  return extra && extra->together;
}

static void refuse(chip_executor *executor, const chip_payload *payload) {
  baton_error failure = {0};
  baton_error_set(&failure, BATON_OUT_OF_MEMORY, "task %s: no memory for the stack of a kernel that waits",
                  payload->name);
  executor->failures.report(executor->failures.context, &failure);
  baton_error_clear(&failure);
}

static chip_instance *take_instance(chip_lane *lane) {
  chip_instance *instance = lane->fibers;
  if (!instance) return base_calloc(1, sizeof *instance);
  lane->fibers = instance->next;
  return instance;
}

static void give_instance(chip_lane *lane, chip_instance *instance) {
  instance->next = lane->fibers;
  lane->fibers = instance;
}

/* False: there is no memory for a stack. */
static int open_strand(chip_instance *instance, uint32_t block, uint32_t part) {
  chip_strand *strand = &instance->strands[part];
  chip_group *group = instance->group;
  strand->state = STRAND_NONE;
  strand->instance = instance;
  chip_call_make(&strand->call, group->payload, block, part, &group->lane->pulse);
  if (!strand->call.kernel) return 1;
  if (!strand->fiber) strand->fiber = chip_fiber_open();
  if (!strand->fiber) return 0;
  if (strand->call.kernel->waits || is_together(group)) strand->call.strand = strand;
  strand->call.args.core = kind_of(group) == CHIP_WHOLE
                               ? chip_core_at(&group->executor->cores, instance->place, part)
                               : instance->place;
  strand->state = STRAND_READY;
  instance->unfinished++;
  chip_fiber_start(strand->fiber, run_strand, strand);
  return 1;
}

/* For the watchdog. Only the lane writes it. */
static void count_held(chip_lane *lane, uint32_t change) {
  uint32_t held = atomic_load_explicit(&lane->held, memory_order_relaxed);
  atomic_store_explicit(&lane->held, held + change, memory_order_relaxed);
}

/* The next instance, on a core that it has. */
static int begin_instance(chip_group *group, uint8_t place) {
  const chip_extra *extra = chip_extra_of(group->payload);
  uint32_t block = extra ? extra->share + group->begun * extra->shares : 0;
  chip_instance *instance = take_instance(group->lane);
  if (!instance) return 0;
  instance->group = group;
  instance->place = place;
  instance->unfinished = 0;
  int opened = 1, whole = kind_of(group) == CHIP_WHOLE;
  for (uint32_t part = 0; part < CHIP_PARTS && opened; part++) {
    instance->strands[part].state = STRAND_NONE;
    if (part == 0 || whole) opened = open_strand(instance, block, part);
  }
  if (!opened) {
    give_instance(group->lane, instance);
    return 0;
  }
  instance->next = group->running;
  group->running = instance;
  group->unfinished += instance->unfinished;
  group->begun++;
  group->held++;
  count_held(group->lane, 1);
  chip_pulse_begin(&group->lane->pulse);
  return 1;
}

static void end_instance(chip_group *group, chip_instance **link) {
  chip_instance *instance = *link;
  *link = instance->next;
  group->held--;
  chip_cores_give_places(&group->executor->cores, kind_of(group), &instance->place, 1);
  count_held(group->lane, UINT32_MAX);
  chip_pulse_end(&group->lane->pulse);
  give_instance(group->lane, instance);
}

/* Cores for instances that have none. */
static uint32_t take_places(chip_group *group, uint8_t *places) {
  const chip_extra *extra = chip_extra_of(group->payload);
  chip_cores *cores = &group->executor->cores;
  uint32_t kind = kind_of(group), place;
  if (extra && extra->blocks > 1)
    return chip_extra_reserve(cores, extra, kind, group->count - group->begun + group->held, group->held,
                              places);
  if (!(kind == CHIP_WHOLE ? chip_cores_take_cluster(cores, &place)
                           : chip_cores_take(cores, (baton_core)kind, &place)))
    return 0;
  places[0] = (uint8_t)place;
  return 1;
}

/* The clusters of the lane go back first: such a task takes from what is free for all. */
static void begin_instances(chip_group *group) {
  uint8_t places[CHIP_MOST_OF_KIND];
  if (group->begun == group->count || group->stop) return;
  chip_cores_give_lease(&group->executor->cores, &group->lane->lease);
  uint32_t found = take_places(group, places), begun = 0;
  while (begun < found && begin_instance(group, places[begun])) begun++;
  if (begun == found) return;
  chip_cores_give_places(&group->executor->cores, kind_of(group), places + begun, found - begun);
  refuse(group->executor, group->payload);
  group->failed = group->stop = 1;
  group->reason = CHIP_GIVEN_UP;
}

/* --- On the lane
** ------------------------------------------------------------------------------------------------- */

static int is_ready(const chip_strand *strand) {
  if (strand->state == STRAND_NONE) return 0;
  if (strand->instance->group->stop || strand->state == STRAND_READY || strand->state == STRAND_YIELDED)
    return 1;
  /* relaxed: the kernel looks again, with acquire */
  return strand->state == STRAND_WAITS && __atomic_load_n(strand->counter, __ATOMIC_RELAXED) >= strand->value;
}

/* It never got a core. */
static void report_unplaced(const chip_group *group) {
  chip_call call;
  for (uint32_t part = 0; part < CHIP_PARTS; part++) {
    chip_call_make(&call, group->payload, 0, part, &group->lane->pulse);
    if (call.kernel) break;
  }
  call.guard.signal = 0;
  call.args.blocks = 1; /* it is none of the instances in particular */
  call.args.core = CHIP_NO_CORE;
  call.reason = group->reason;
  snprintf(call.message, sizeof call.message, "no core has become free");
  chip_call_report(group->executor, &call);
}

static int is_over(const chip_group *group) {
  return !group->running && (group->begun == group->count || group->stop);
}

/* Lets every kernel of the task that is ready go on; true if that is progress. */
static int step(chip_group *group) {
  int moved = 0;
  begin_instances(group);
  for (chip_instance **link = &group->running; *link;) {
    chip_instance *instance = *link;
    for (int part = 0; part < CHIP_PARTS; part++) {
      chip_strand *strand = &instance->strands[part];
      if (!is_ready(strand)) continue;
      moved |= strand->state != STRAND_YIELDED;
      moved |= chip_fiber_resume(strand->fiber);
    }
    if (instance->unfinished)
      link = &instance->next;
    else
      end_instance(group, link);
  }
  return moved || is_over(group);
}

static chip_group *take_group(chip_lane *lane) {
  chip_group *group = lane->spare;
  if (!group) return base_calloc(1, sizeof *group);
  lane->spare = group->next;
  return group;
}

static void open_group(chip_group *group, chip_executor *executor, chip_lane *lane, const task_call *task) {
  const chip_extra *extra = chip_extra_of(task->payload);
  *group = (chip_group){.executor = executor,
                        .lane = lane,
                        .task = task->task,
                        .payload = task->payload,
                        .count = extra ? chip_share_count(extra->blocks, extra->share, extra->shares) : 1};
}

/* Gives the group back; true: its task has failed. */
static int close_group(chip_group *group) {
  chip_lane *lane = group->lane;
  const chip_extra *extra = chip_extra_of(group->payload);
  if (group->stop && !group->begun && !group->failed) report_unplaced(group);
  if (group->begun < group->count) group->failed = 1;
  if (extra) chip_extra_end(lane, extra);
  group->next = lane->spare;
  lane->spare = group;
  return group->failed;
}

int chip_waiting_begin(chip_executor *executor, chip_lane *lane, const task_call *task) {
  chip_group *group = take_group(lane);
  if (!group) {
    refuse(executor, task->payload);
    return TASK_CALL_FAILED;
  }
  open_group(group, executor, lane, task);
  (void)step(group);
  if (is_over(group)) return close_group(group) ? TASK_CALL_FAILED : TASK_CALL_OK;
  *lane->last = group;
  lane->last = &group->next;
  return TASK_CALL_WAITS;
}

static void end_group(chip_lane *lane, chip_group **link, task_end *end) {
  chip_group *group = *link;
  *link = group->next;
  if (!*link) lane->last = link;
  end->task = group->task;
  end->failed = close_group(group);
}

static int resume_groups(chip_executor *executor, chip_lane *lane, int stop, task_end *end) {
  int moved = 0, expired = atomic_load_explicit(&executor->expired, memory_order_relaxed) != 0;
  for (chip_group **link = &lane->waiting; *link; link = &(*link)->next) {
    chip_group *group = *link;
    if ((stop || expired) && !group->stop) {
      group->stop = 1;
      group->reason = expired && !stop ? CHIP_STALLED : CHIP_GIVEN_UP;
    }
    moved |= step(group);
    if (!is_over(group)) continue;
    end_group(lane, link, end);
    return TASK_CALL_ENDED;
  }
  return moved ? TASK_CALL_MOVED : TASK_CALL_WAITS;
}

static void count_turn(chip_lane *lane) {
  uint64_t turns = atomic_load_explicit(&lane->turns, memory_order_relaxed);
  atomic_store_explicit(&lane->turns, turns + 1, memory_order_relaxed);
}

int chip_executor_resume(chip_executor *executor, uint32_t number, int stop, task_end *end) {
  chip_lane *lane = &executor->lanes[number];
  count_turn(lane);
  int moved = resume_groups(executor, lane, stop, end);
  count_turn(lane);
  return moved;
}

void chip_waiting_close(chip_lane *lane) {
  while (lane->fibers) {
    chip_instance *instance = lane->fibers;
    lane->fibers = instance->next;
    for (int part = 0; part < CHIP_PARTS; part++) chip_fiber_close(instance->strands[part].fiber);
    base_free(instance);
  }
  while (lane->spare) {
    chip_group *group = lane->spare;
    lane->spare = group->next;
    base_free(group);
  }
}
