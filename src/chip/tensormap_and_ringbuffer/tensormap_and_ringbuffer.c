/* The runtime that runs tasks while the orchestration submits them. A C orchestration is lane 0 of the launch: it plays
** the control processor. A graph must be called on the thread that submits the run; there it is the owner of the engine
** while lane 0 waits, and hands over when it has returned. */
#include "base/futex.h"
#include "chip/brief.h"
#include "chip/runtime.h"
#include "chip/worker.h"

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

/* The turn comes, or is missed, at the latest when the device is closed. */
static uint32_t await_turn(baton_run *run) {
  uint32_t turn;
  if (!run->worker->elsewhere) chip_run_look(run, &run->turn, 0); /* else it is several wake-ups away */
  /* acquire: what was done before the turn */
  while (!(turn = atomic_load_explicit(&run->turn, memory_order_acquire)))
    base_futex_wait(&run->turn, 0, INT64_MAX);
  return turn;
}

/* The run has ended before its graph was called. */
static baton_status say_missed(baton_run *run, baton_error *err) {
  baton_error failure = {0};
  if (run->worker->elsewhere) {
    chip_run_await(run, INT64_MAX);
    chip_run_failure(run, &failure);
  }
  if (!failure.code)
    baton_error_set(&failure, BATON_CANCELLED, "%s: the worker was closed before the run began",
                    baton_program_name(run->program));
  baton_status status = baton_error_copy(err, &failure);
  baton_error_clear(&failure);
  return status;
}

/* On the calling thread. The run's turn on the device comes first, so that its tasks do not run beside another run's. */
static baton_status build(baton_run *run, baton_error *err) {
  if (!chip_program_is_graph(run->program)) return BATON_OK;
  if (await_turn(run) == CHIP_TURN_MISSED) return say_missed(run, err);
  baton_status status = chip_runtime_orchestrate(run, full_hint, err);
  atomic_store_explicit(&run->built, 1, memory_order_release); /* with what the graph has submitted */
  base_futex_wake(&run->built, 1);
  return status;
}

static void execute(baton_run *run, uint32_t lane) {
  if (lane) {
    task_engine_work(run->engine->tasks, lane);
    return;
  }
  if (chip_program_is_graph(run->program)) {
    chip_runtime_give_turn(run, CHIP_TURN_COME);
    chip_runtime_await_built(run);
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
