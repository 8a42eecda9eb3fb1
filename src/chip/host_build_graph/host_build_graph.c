/* The runtime that builds the whole graph on the host, on the thread that submits, keeps it, and lets the device run it. A
** run whose building would look at the same runs the kept graph, without calling the orchestration. */
#include "base/futex.h"
#include "base/memory.h"
#include "chip/dictation.h"
#include "chip/kept.h"
#include "chip/orchestrator.h"
#include "chip/runtime.h"

static const char full_hint[] =
    "host_build_graph holds every task and intermediate of a graph until it is launched";

static int accepts(const baton_program *program) {
  (void)program;
  return 1;
}

static baton_status orchestrate(baton_run *run, chip_built *built, baton_error *err) {
  if (run->graph_way == CHIP_GRAPH_RUNS_ELSEWHERE)
    return chip_orchestrate_noting(run->engine, &run->bindings, &built->looks, full_hint, &built->calls, err);
  return chip_orchestrate(run->engine, &run->bindings, 1, &built->looks, full_hint, err);
}

/* Builds the graph and captures it. After a failure what was submitted is dropped unrun. */
static baton_status build(baton_run *run, chip_kept *kept, baton_error *err) {
  chip_built built = {.way = run->graph_way, .keep = chip_program_keeps(run->program)};
  if (!chip_looks_open(&built.looks, &run->bindings))
    return base_out_of_memory(err, "the arguments of a graph");
  task_engine_begin(run->engine->tasks,
                    TASK_HELD | (chip_program_is_explicit(run->program) ? TASK_EXPLICIT : 0));
  baton_status status = orchestrate(run, &built, err);
  if (status == BATON_OK)
    status = chip_kept_capture(kept, run->engine, &run->bindings, &built, &run->graph, err);
  else
    chip_built_free(&built);
  if (status == BATON_OK) return BATON_OK;
  task_engine_cancel(run->engine->tasks);
  (void)task_engine_finish(run->engine->tasks);
  return status;
}

static void finish(baton_run *run) {
  if (run->graph) chip_kept_give(chip_program_kept(run->program), run->graph);
  run->graph = NULL;
}

/* Rounds have the graph of the round before; it goes back if this one needs another. */
static baton_status take_again(baton_run *run, chip_kept *kept, baton_error *err) {
  int same = 0;
  if (chip_program_keeps(run->program))
    BATON_TRY(chip_kept_take_again(kept, run->graph, run->engine, &run->bindings, &same, err));
  if (!same) finish(run);
  return BATON_OK;
}

static baton_status prepare(baton_run *run, baton_error *err) {
  chip_kept *kept = chip_program_kept(run->program);
  if (run->graph) BATON_TRY(take_again(run, kept, err));
  if (!run->graph)
    BATON_TRY(chip_kept_take(kept, run->engine, &run->bindings, run->graph_way, &run->graph, err));
  run->replayed = run->graph != NULL;
  if (!run->graph) BATON_TRY(build(run, kept, err));
  if (run->graph_way == CHIP_GRAPH_RUNS_ELSEWHERE) return BATON_OK;
  task_graph *graph = chip_kept_graph_of(run->graph);
  task_graph_begin(graph, run->engine->tasks);
  run->lanes = task_graph_lanes(graph, run->engine->tasks);
  run->here = run->lanes == 1 && graph->assignment.alone < BASE_LOOK;
  return BATON_OK;
}

static void execute(baton_run *run, uint32_t lane) {
  if (lane == 0)
    (void)task_engine_finish(run->engine->tasks);
  else
    task_engine_work(run->engine->tasks, lane);
}

const chip_runtime chip_host_build_graph = {.name = "host_build_graph",
                                            .accepts = accepts,
                                            .default_window = 1 << 18,
                                            .default_dep_pool = 1 << 20,
                                            .prepare = prepare,
                                            .execute = execute,
                                            .finish = finish};
