/* chip/executor/executor.h - runs the kernels of tasks on the lanes of an engine.
**
** A kernel without `waits` runs to its end on the stack of its lane, and so do the kernels of a mixed
** task, one after the other. If one of them may wait, each runs on a fiber: when it waits, its lane goes
** on with other tasks and comes back. */
#ifndef CHIP_EXECUTOR_H
#define CHIP_EXECUTOR_H

#include "chip/executor/cores.h"
#include "chip/executor/guard.h"
#include "chip/program/program.h"
#include "task/engine.h"

enum { CHIP_PARTS = 3 }; /* of a mixed task: matrix core, first and second vector core */

/* What the owner leaves for the lane that runs the task: this, `count` arguments, then the views, the
** name, and for a mixed task a chip_mix. */
typedef struct chip_payload {
  const chip_kernel *kernel; /* of a mixed task: NULL */
  const char *name;
  uint32_t count;
  uint32_t mix; /* byte in the payload where the chip_mix begins; 0: one kernel */
  baton_argument items[];
} chip_payload;

/* One kernel of a task, and its arguments among those of the task. */
typedef struct chip_part {
  const chip_kernel *kernel; /* NULL: the core has nothing to do */
  uint32_t first, count;
  uint32_t place; /* in the cluster: 0 the matrix core, 1 and 2 the vector cores */
  baton_core core;
} chip_part;

/* The kernels of a mixed task, by their place. */
typedef struct chip_mix {
  chip_part parts[CHIP_PARTS];
} chip_mix;

/* Takes the first failure of a run, and gives a copy of it. Called on any lane. */
typedef struct chip_failures {
  void *context;
  void (*report)(void *context, const baton_error *failure);
  void (*first)(void *context, baton_error *out);
} chip_failures;

struct chip_group;

/* What belongs to one lane. */
typedef struct chip_lane {
  chip_pulse pulse;
  chip_lease lease;
  struct chip_group *waiting, *spare; /* tasks that have begun and not ended; fibers for the next ones */
  char apart[BASE_CACHE_LINE];        /* from the next lane */
} chip_lane;

typedef struct chip_executor {
  chip_cores cores;
  chip_failures failures; /* of the current run */
  chip_lane *lanes;
  uint32_t count;
  _Atomic uint32_t expired; /* the run has made no progress for too long: nothing waits any more */
  _Atomic int64_t stalled;  /* ns, for the message */
  _Atomic int64_t silent;   /* the same of the orchestration */
  char before[BASE_CACHE_LINE];
  chip_pulse control; /* of a C orchestration; written at every call, apart from what all lanes read */
  char behind[BASE_CACHE_LINE];
} chip_executor;

/* `out_of_memory` when there is none for the lanes. */
BATON_MUST_CHECK baton_status chip_executor_open(chip_executor *executor, const device_platform *platform,
                                                 uint32_t lanes, baton_error *err);
void chip_executor_close(chip_executor *executor);

/* Before a run. */
void chip_executor_begin(chip_executor *executor, const chip_failures *failures);

/* The thread of the engine's owner begins an orchestration, which may be left; its pulse, for the guard. */
const chip_pulse *chip_executor_orchestrates(chip_executor *executor);

/* The hooks of a task engine. */
int chip_executor_run(chip_executor *executor, const task_call *call);
int chip_executor_resume(chip_executor *executor, uint32_t lane, int stop, task_end *end);
void chip_executor_idle(chip_executor *executor, uint32_t lane);

#endif
