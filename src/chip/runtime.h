/* chip/runtime.h - what a graph runtime implements: who calls the orchestration, and when its tasks become visible.
** Private to src/chip. */
#ifndef CHIP_RUNTIME_H
#define CHIP_RUNTIME_H

#include "chip/run.h"

typedef struct chip_runtime {
  const char *name;

  /* True if it can carry the program. Any thread. */
  int (*accepts)(const baton_program *program);

  /* Sizes for what the config leaves open. */
  uint32_t default_window, default_dep_pool;

  /* On the thread that submits, before the launch: the run has its engine and its arguments are on the device. */
  baton_status (*prepare)(baton_run *run, baton_error *err);

  /* On the thread that submits, after the launch; NULL: nothing to do. A failure of the run goes into the run too. */
  baton_status (*build)(baton_run *run, baton_error *err);

  /* On the device, once for each lane of the launch, at the same time. */
  void (*execute)(baton_run *run, uint32_t lane);

  /* After the last lane, or when a prepared run is not launched; NULL: nothing to do. */
  void (*finish)(baton_run *run);
} chip_runtime;

extern const chip_runtime chip_aicpu_build_graph;
extern const chip_runtime chip_host_build_graph;
extern const chip_runtime chip_tensormap_and_ringbuffer;

/* Of a run that has begun and is not held: calls the orchestration, on the thread that owns the engine. A failure ends the
** run: what has not begun does not begin. `full_hint` as in chip_orchestrate. */
baton_status chip_runtime_orchestrate(baton_run *run, const char *full_hint, baton_error *err);

/* For who executes a graph that is called on the thread that submits, while that waits: its turn has come, or CHIP_TURN_MISSED; waits
** until the function has returned. */
void chip_runtime_give_turn(baton_run *run, uint32_t turn);
void chip_runtime_await_built(baton_run *run);

/* The runtime that `name` asks for; NULL: the first that accepts the program, for graphs host_build_graph, for other
** orchestrations tensormap_and_ringbuffer. `unsupported` names those that do. */
BATON_MUST_CHECK baton_status chip_runtime_find(const char *name, const baton_program *program,
                                                const chip_runtime **out, baton_error *err);

#endif
