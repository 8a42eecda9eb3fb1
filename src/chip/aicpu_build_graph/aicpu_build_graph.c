/* The runtime that starts the tasks of a scope when that ends, in the order that their user's edges leave. The
** orchestration, in C, is lane 0 of the launch: it plays the control processor. */
#include "chip/brief.h"
#include "chip/runtime.h"

static const char full_hint[] = "or end scopes earlier, so that their tasks start";

static int accepts(const baton_program *program) {
  return !chip_program_is_graph(program) && chip_program_is_explicit(program);
}

static baton_status prepare(baton_run *run, baton_error *err) {
  (void)err;
  chip_brief_choose(run);
  task_engine_begin(run->engine->tasks, TASK_EXPLICIT | TASK_BY_SCOPE);
  return BATON_OK;
}

static void execute(baton_run *run, uint32_t lane) {
  if (lane) {
    task_engine_work(run->engine->tasks, lane);
    return;
  }
  baton_error failure = {0};
  (void)chip_runtime_orchestrate(run, full_hint, &failure);
  baton_error_clear(&failure);
  chip_brief_finish(run);
}

const chip_runtime chip_aicpu_build_graph = {.name = "aicpu_build_graph",
                                             .accepts = accepts,
                                             .default_window = 1 << 18,
                                             .default_dep_pool = 1 << 20,
                                             .prepare = prepare,
                                             .execute = execute};
