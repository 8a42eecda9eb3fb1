/* rig.h - an engine with threads for its lanes, without a device and without Lua. The caller is the owner. Between runs the
** lanes wait at a gate: awake for a while, then asleep.
**
** A run: rig_begin, submits, task_engine_finish, rig_end. */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include "figures.h"
#include "task/engine.h"
#include "task/graph.h"
#include <pthread.h>

/* What tasks do; the first argument is the rig's context. As task_hooks.execute. */
typedef int rig_execute(void *context, const task_call *call);

/* Where a lane waits between runs. */
typedef struct rig_gate {
  BASE_ALIGNED _Atomic uint32_t opened; /* how often */
  _Atomic uint32_t sleeps;              /* the lane does */
  BASE_ALIGNED _Atomic uint32_t left;   /* how often the lane has come back */
} rig_gate;

typedef struct bench_rig {
  const char *name; /* for messages */
  rig_execute *execute;
  void *context;
  task_engine *engine;
  task_limits limits;
  size_t size; /* of the engine */
  pthread_t lanes[TASK_LANES];
  int over;      /* the lanes go home; ordered by the gates */
  uint32_t came; /* lanes of this run, the owner included */
  rig_gate gates[TASK_LANES];
} bench_rig;

/* The sizes that a chip gives an engine with this window. */
task_limits rig_limits(uint32_t threads, uint32_t window);

/* `rig` has its name, execute, context and limits. Ends the program if there is no memory. */
void rig_open(bench_rig *rig, bench_way way);
void rig_close(bench_rig *rig);

/* Opens the gates of the first `lanes` lanes. After task_engine_begin or task_graph_begin. */
void rig_enter(bench_rig *rig, uint32_t lanes);

/* Begins a run and lets the lanes in. */
void rig_begin(bench_rig *rig);

/* Finishes the run, waits for the lanes, and returns the time of the end of the last task. */
int64_t rig_finish(bench_rig *rig);

_Noreturn void rig_give_up(const bench_rig *rig, const char *what);

#define RIG_BUFFER UINT64_C(0x10000000) /* where it would be; nobody touches it */

/* Submits a task that uses tiles of the one buffer there is. Its arguments are the tiles' addresses. */
BENCH_INLINE baton_task rig_submit(bench_rig *rig, uint32_t kernel, const bench_use *uses, uint32_t count) {
  task_access listed[BENCH_MOST_USES], *accesses = count ? listed : NULL;
  void *payload;
  uint32_t which;
  baton_task task;
  for (uint32_t i = 0; i < count; i++) {
    accesses[i].base = RIG_BUFFER;
    accesses[i].mode = uses[i].mode;
    accesses[i].block = 0;
    accesses[i].region.offset = (uint64_t)uses[i].tile * BENCH_TILE;
    accesses[i].region.run = BENCH_TILE;
    accesses[i].region.ndim = 0;
  }
  if (task_engine_open(rig->engine, accesses, count, count * (uint32_t)sizeof(uint64_t), &payload, &which))
    rig_give_up(rig, "no room for a task");
  uint64_t *addresses = payload;
  for (uint32_t i = 0; i < count; i++) addresses[i] = accesses[i].base + accesses[i].region.offset;
  if (task_engine_submit(rig->engine, kernel, accesses, count, NULL, 0, &task))
    rig_give_up(rig, "no room for the edges of a task");
  return task;
}

#endif
