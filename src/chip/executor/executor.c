#include "chip/executor/executor.h"
#include "base/memory.h"
#include "base/text.h"
#include "chip/executor/call.h"
#include <stdio.h>
#include <string.h>

enum { CALL_TEXT = 512 };

static void fail(const baton_args *args, int misuse, const char *fmt, va_list values) {
  chip_call *call = chip_call_of(args);
  chip_guard_pause(&call->guard);
  call->reason = misuse ? CHIP_MISUSE : CHIP_USER_FAIL;
  base_vprint(call->message, sizeof call->message, fmt, values);
  chip_guard_leave(&call->guard);
}

static const baton_kernel_services services = {
    .fail = fail, .wait = chip_waiting_wait, .yield = chip_waiting_yield, .barrier = chip_waiting_barrier};

void chip_call_leave(chip_call *call, chip_reason reason, const char *fmt, ...) {
  va_list values;
  chip_guard_pause(&call->guard);
  call->reason = reason;
  va_start(values, fmt);
  base_vprint(call->message, sizeof call->message, fmt, values);
  va_end(values);
  chip_guard_leave(&call->guard);
}

/* Of one kernel and one instance. */
static void make_plain(chip_call *call, const chip_payload *payload, const chip_pulse *pulse) {
  call->kernel = payload->kernel;
  call->task = payload->name;
  call->strand = NULL;
  call->guard.pulse = pulse;
  call->args =
      (baton_args){.items = payload->items, .count = payload->count, .blocks = 1, .services = &services};
}

void chip_call_make(chip_call *call, const chip_payload *payload, uint32_t block, uint32_t part,
                    const chip_pulse *pulse) {
  const chip_extra *extra = chip_extra_of(payload);
  make_plain(call, payload, pulse);
  if (!extra) return;
  call->args.block = block;
  call->args.blocks = extra->blocks;
  if (!extra->mixed) return;
  const chip_part *lane = &extra->parts[part];
  call->kernel = lane->kernel;
  call->args.items += lane->first;
  call->args.count = lane->count;
  call->args.lane = part == 2;
}

/* --- Failures
** ---------------------------------------------------------------------------------------------------- */

static const char *signal_name(int signal) {
  const char *name = sigabbrev_np(signal);
  return name ? name : "?";
}

/* "task scale: kernel scale"; of several instances also which one. */
static void say_call(const chip_call *call, char *text, size_t size) {
  if (call->args.blocks == 1)
    snprintf(text, size, "task %s: kernel %s", call->task, call->kernel->name);
  else
    snprintf(text, size, "task %s: kernel %s: block %u of %u", call->task, call->kernel->name,
             call->args.block, call->args.blocks);
}

static void say_signal(const chip_executor *executor, const chip_call *call, baton_error *failure) {
  int signal = call->guard.signal;
  double after = (double)atomic_load_explicit(&executor->stalled, memory_order_relaxed) * 1e-6;
  char who[CALL_TEXT];
  say_call(call, who, sizeof who);
  if (chip_guard_is_timeout(signal)) {
    baton_error_set(failure, BATON_OP_TIMEOUT, "%s: no progress for %.0f ms on core %u, and left", who, after,
                    call->args.core);
    failure->after_ms = after;
    failure->known |= BATON_KNOWN_AFTER_MS;
    return;
  }
  if (call->guard.address)
    baton_error_set(failure, BATON_KERNEL_CRASH, "%s: crashed with SIG%s at %p on core %u", who,
                    signal_name(signal), call->guard.address, call->args.core);
  else
    baton_error_set(failure, BATON_KERNEL_CRASH, "%s: crashed with SIG%s on core %u", who,
                    signal_name(signal), call->args.core);
  failure->signal = signal;
  failure->known |= BATON_KNOWN_SIGNAL;
}

static void say_reason(const chip_executor *executor, const chip_call *call, baton_error *failure) {
  static const baton_status codes[] = {[CHIP_USER_FAIL] = BATON_USER_FAIL,
                                       [CHIP_MISUSE] = BATON_SIGNATURE,
                                       [CHIP_UNSUPPORTED] = BATON_UNSUPPORTED,
                                       [CHIP_STALLED] = BATON_OP_TIMEOUT};
  char who[CALL_TEXT];
  say_call(call, who, sizeof who);
  baton_error_set(failure, codes[call->reason], "%s: %s", who, call->message);
  if (call->reason != CHIP_STALLED) return;
  failure->after_ms = (double)atomic_load_explicit(&executor->stalled, memory_order_relaxed) * 1e-6;
  failure->known |= BATON_KNOWN_AFTER_MS;
}

void chip_call_report(chip_executor *executor, const chip_call *call) {
  baton_error failure = {0};
  if (call->guard.signal)
    say_signal(executor, call, &failure);
  else if (call->reason == CHIP_GIVEN_UP)
    return;
  else
    say_reason(executor, call, &failure);
  if (failure.code == BATON_OP_TIMEOUT)
    baton_error_text(&failure, BATON_FIELD_HINT, "raise timeout in config if the kernel is only slow");
  if (failure.code == BATON_UNSUPPORTED) baton_error_text(&failure, BATON_FIELD_HINT, "%s", call->hint);
  baton_error_text(&failure, BATON_FIELD_TASK, "%s", call->task);
  baton_error_text(&failure, BATON_FIELD_KERNEL, "%s", call->kernel->name);
  if (call->args.core != CHIP_NO_CORE) {
    failure.core = (int32_t)call->args.core;
    failure.known |= BATON_KNOWN_CORE;
  }
  executor->failures.report(executor->failures.context, &failure);
  baton_error_clear(&failure);
}

int chip_call_kernel(chip_executor *executor, chip_call *call) {
  if (!chip_guard_call(&call->guard, call->kernel->function, &call->args)) return 0;
  chip_call_report(executor, call);
  return 1;
}

/* --- Tasks
** ------------------------------------------------------------------------------------------------------- */

static int run_plain(chip_executor *executor, chip_lane *lane, const chip_payload *payload) {
  chip_call call;
  make_plain(&call, payload, &lane->pulse);
  call.args.core = chip_lease_core(&executor->cores, &lane->lease, payload->kernel->core);
  return chip_call_kernel(executor, &call);
}

/* The thread may be another one than in the last run. */
static void enter_lane(chip_lane *lane) {
  int32_t thread = chip_guard_thread();
  if (atomic_load_explicit(&lane->pulse.thread, memory_order_relaxed) != thread)
    atomic_store_explicit(&lane->pulse.thread, thread, memory_order_relaxed);
}

const chip_pulse *chip_executor_orchestrates(chip_executor *executor) {
  chip_pulse *control = &executor->control;
  enter_lane(&executor->lanes[0]);
  atomic_store_explicit(&control->thread, chip_guard_thread(), memory_order_relaxed);
  return control;
}

static int run_kernel(chip_executor *executor, chip_lane *lane, const task_call *task) {
  const chip_payload *payload = task->payload;
  /* relaxed: kernels live as long as the run */
  atomic_store_explicit(&lane->kernel, payload->kernel, memory_order_relaxed);
  if (payload->kernel->waits || !chip_lease_ready(&executor->cores, &lane->lease))
    return chip_waiting_begin(executor, lane, task);
  return run_plain(executor, lane, payload);
}

/* A task that waits goes on to occupy the lane with those of its instances that have a core: one that has none may wait
** for it as long as it takes. */
int chip_executor_run(chip_executor *executor, const task_call *task) {
  const chip_payload *payload = task->payload;
  chip_lane *lane = &executor->lanes[task->lane];
  enter_lane(lane);
  chip_pulse_begin(&lane->pulse);
  int failed = payload->extra ? chip_extra_run(executor, lane, task) : run_kernel(executor, lane, task);
  chip_pulse_end(&lane->pulse);
  return failed;
}

int chip_executor_look(chip_executor *executor, uint32_t number, char name[CHIP_NAME_SHOWN], uint64_t *open) {
  chip_lane *lane = &executor->lanes[number];
  const chip_kernel *kernel = atomic_load_explicit(&lane->kernel, memory_order_relaxed);
  uint64_t ended = atomic_load_explicit(&lane->pulse.ended, memory_order_relaxed);
  *open = atomic_load_explicit(&lane->pulse.begun, memory_order_relaxed) - ended;
  if (kernel) {
    snprintf(name, CHIP_NAME_SHOWN, "%s", kernel->name);
  } else {
    pthread_mutex_lock(&lane->name_lock);
    memcpy(name, lane->name, CHIP_NAME_SHOWN);
    pthread_mutex_unlock(&lane->name_lock);
  }
  return *open != 0;
}

void chip_executor_idle(chip_executor *executor, uint32_t lane) {
  chip_cores_give_lease(&executor->cores, &executor->lanes[lane].lease);
}

/* --- Life
** -------------------------------------------------------------------------------------------------------- */

baton_status chip_executor_open(chip_executor *executor, const task_engine *tasks,
                                const device_platform *platform, uint32_t lanes, baton_error *err) {
  *executor = (chip_executor){.tasks = tasks, .count = lanes};
  executor->lanes = base_calloc(lanes, sizeof *executor->lanes);
  if (!executor->lanes) return base_out_of_memory(err, "the lanes of an engine");
  for (uint32_t i = 0; i < lanes; i++) {
    executor->lanes[i].last = &executor->lanes[i].waiting;
    pthread_mutex_init(&executor->lanes[i].name_lock, NULL);
  }
  chip_cores_open(&executor->cores, platform, lanes);
  chip_guard_install();
  return BATON_OK;
}

void chip_executor_close(chip_executor *executor) {
  if (!executor->lanes) return;
  for (uint32_t i = 0; i < executor->count; i++) {
    chip_waiting_close(&executor->lanes[i]);
    pthread_mutex_destroy(&executor->lanes[i].name_lock);
  }
  chip_cores_close(&executor->cores);
  base_free(executor->lanes);
}

void chip_executor_begin(chip_executor *executor, const chip_failures *failures) {
  for (uint32_t i = 0; i < executor->count; i++) {
    chip_executor_idle(executor, i);
    executor->lanes[i].timed = 0;
    atomic_store_explicit(&executor->lanes[i].kernel, NULL, memory_order_relaxed);
  }
  executor->failures = *failures;
  atomic_store_explicit(&executor->expired, 0, memory_order_relaxed);
  atomic_store_explicit(&executor->control.condemned, 0, memory_order_relaxed);
}
