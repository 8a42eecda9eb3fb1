#include "chip/runtime.h"
#include "base/clock.h"
#include "base/futex.h"
#include "chip/dictation.h"
#include "chip/worker.h"
#include <string.h>

enum { RUNTIMES = 3 };

/* In the order of preference for a program. */
static const chip_runtime *const *candidates(const baton_program *program) {
  static const chip_runtime *const for_graphs[RUNTIMES] = {
      &chip_host_build_graph, &chip_tensormap_and_ringbuffer, &chip_aicpu_build_graph};
  static const chip_runtime *const for_others[RUNTIMES] = {&chip_tensormap_and_ringbuffer,
                                                           &chip_host_build_graph, &chip_aicpu_build_graph};
  return chip_program_is_graph(program) ? for_graphs : for_others;
}

const char *baton_program_runtime(const baton_program *program, uint32_t index) {
  const chip_runtime *const *runtimes = candidates(program);
  if (chip_program_is_host(program)) return NULL;
  for (uint32_t i = 0; i < RUNTIMES; i++)
    if (runtimes[i]->accepts(program) && index-- == 0) return runtimes[i]->name;
  return NULL;
}

/* What a program must be like for a runtime that carries few. */
static void explain(const char *name, const baton_program *program, baton_error *err) {
  if (!name || strcmp(name, chip_aicpu_build_graph.name) != 0) return;
  baton_error_text(err, BATON_FIELD_HINT, "%s runs %s", name,
                   chip_program_is_graph(program) ? "orchestrations in C only"
                                                  : "programs with edges = \"explicit\" only");
}

static baton_status refuse(const char *name, const baton_program *program, baton_error *err) {
  chip_text fitting = {0};
  const char *one;
  for (uint32_t i = 0; (one = baton_program_runtime(program, i)) != NULL; i++)
    chip_text_add(&fitting, "%s%s", i ? ", " : "", one);
  baton_error_set(err, BATON_UNSUPPORTED, "%s: runtime %s does not carry this program; those that do: %s",
                  baton_program_name(program), name ? name : "(any)", fitting.data ? fitting.data : "none");
  chip_text_free(&fitting);
  explain(name, program, err);
  return BATON_UNSUPPORTED;
}

static baton_status refuse_host(const baton_program *program, baton_error *err) {
  baton_error_set(err, BATON_UNSUPPORTED, "%s: a function of the host is no program of a chip",
                  baton_program_name(program));
  baton_error_text(err, BATON_FIELD_HINT, "submit it with submit_next_level or submit_sub of a node");
  return BATON_UNSUPPORTED;
}

baton_status chip_runtime_find(const char *name, const baton_program *program, const chip_runtime **out,
                               baton_error *err) {
  const chip_runtime *const *runtimes = candidates(program);
  if (chip_program_is_host(program)) return refuse_host(program, err);
  for (int i = 0; i < RUNTIMES; i++) {
    if (name && strcmp(name, runtimes[i]->name) != 0) continue;
    if (!runtimes[i]->accepts(program)) continue;
    *out = runtimes[i];
    return BATON_OK;
  }
  return refuse(name, program, err);
}

void chip_runtime_give_turn(baton_run *run, uint32_t turn) {
  atomic_store_explicit(&run->turn, turn, memory_order_release); /* with what was done before the turn */
  base_futex_wake(&run->turn, 1);
}

void chip_runtime_await_built(baton_run *run) {
  if (!run->worker->elsewhere) chip_run_look(run, &run->built, 0); /* else both CPUs are needed elsewhere */
  /* acquire: what the orchestration has done */
  while (!atomic_load_explicit(&run->built, memory_order_acquire)) base_futex_wait(&run->built, 0, INT64_MAX);
}

static baton_status orchestrate(baton_run *run, const char *full_hint, baton_error *err) {
  const chip_elsewhere *elsewhere = run->worker->elsewhere;
  chip_sink sink;
  if (!elsewhere) return chip_orchestrate(run->engine, &run->bindings, 0, NULL, full_hint, err);
  elsewhere->listen(run->worker->place, run, &sink);
  return chip_dictate(run->engine, &run->bindings, &sink, err);
}

baton_status chip_runtime_orchestrate(baton_run *run, const char *full_hint, baton_error *err) {
  int64_t begin = base_now();
  baton_status status = orchestrate(run, full_hint, err);
  run->building = base_now() - begin;
  run->timing.orchestration += (double)run->building / 1e3;
  if (status == BATON_POISONED && atomic_load_explicit(&run->cancelled, memory_order_relaxed))
    status = baton_error_set(err, BATON_CANCELLED, "%s: the run was cancelled",
                             baton_program_name(run->program)); /* that is why its tasks have not run */
  if (status != BATON_OK &&
      !run->worker->elsewhere) { /* who executes it elsewhere has been told, and tells the run */
    chip_run_fail(run, err);
    task_engine_cancel(run->engine->tasks);
  }
  return status;
}
