/* The runtime that runs tasks while the orchestration submits them. A C orchestration is lane 0 of the launch: it plays
** the control processor. A graph must be called on the thread that submits the run; there it is the owner of the engine
** while lane 0 waits, and hands over when it has returned. */
#include "base/futex.h"
#include "chip/brief.h"
#include "chip/runtime.h"

static const char full_hint[] = "or end scopes earlier, so that memory comes back";

static int accepts(const baton_program *program) {
  (void)program;
  return 1;
}

static baton_status prepare(baton_run *run, baton_error *err) {
  (void)err;
  chip_brief_choose(run);
  run->here &= !chip_program_is_graph(run->program); /* that one needs both threads */
  task_engine_begin(run->engine->tasks, chip_program_is_explicit(run->program) ? TASK_EXPLICIT : 0);
  return BATON_OK;
}

/* Both sides are woken at the latest when the device is closed (turn) and when the graph function returns (built). */
static uint32_t await(const baton_run *run, _Atomic uint32_t *flag) {
  uint32_t value;
  chip_run_look(run, flag, 0);
  while (!(value = atomic_load_explicit(flag, memory_order_acquire))) base_futex_wait(flag, 0, INT64_MAX);
  return value;
}

static void raise_flag(_Atomic uint32_t *flag) {
  atomic_store_explicit(flag, 1, memory_order_release);
  base_futex_wake(flag, 1);
}

/* On the calling thread. The run's turn on the device comes first, so that its tasks do not run beside another run's. */
static baton_status build(baton_run *run, baton_error *err) {
  if (!chip_program_is_graph(run->program)) return BATON_OK;
  if (await(run, &run->turn) == CHIP_TURN_MISSED)
    return baton_error_set(err, BATON_CANCELLED, "%s: the worker was closed before the run began",
                           baton_program_name(run->program));
  baton_status status = chip_runtime_orchestrate(run, full_hint, err);
  raise_flag(&run->built);
  return status;
}

static void execute(baton_run *run, uint32_t lane) {
  if (lane) {
    task_engine_work(run->engine->tasks, lane);
    return;
  }
  if (chip_program_is_graph(run->program)) {
    raise_flag(&run->turn);
    (void)await(run, &run->built);
  } else {
    baton_error failure = {0};
    (void)chip_runtime_orchestrate(run, full_hint, &failure);
    baton_error_clear(&failure);
  }
  chip_brief_finish(run);
}

const chip_runtime chip_tensormap_and_ringbuffer = {.name = "tensormap_and_ringbuffer",
                                                    .accepts = accepts,
                                                    .default_window = 16384,
                                                    .default_dep_pool = 1 << 16,
                                                    .prepare = prepare,
                                                    .build = build,
                                                    .execute = execute};
