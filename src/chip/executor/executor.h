/* chip/executor/executor.h - runs the kernels of tasks on the lanes of an engine.
**
** A kernel without `waits` runs to its end on the stack of its lane, and so do the kernels of a mixed task and the
** instances of a task with blocks, one after the other; lanes run shares of the instances side by side. If one of
** them may wait, each runs on a fiber: when it waits, its lane goes on with other tasks and comes back. */
#ifndef CHIP_EXECUTOR_H
#define CHIP_EXECUTOR_H

#include "chip/executor/cores.h"
#include "chip/executor/extra.h"
#include "chip/executor/guard.h"
#include "task/engine.h"

/* Takes the first failure of a run, and gives a copy of it. Called on any lane. */
typedef struct chip_failures {
  void *context;
  void (*report)(void *context, const baton_error *failure);
  void (*first)(void *context, baton_error *out);
} chip_failures;

struct chip_group;
struct chip_instance;

/* From the first begin to the last end of the tasks of a timing slot; base_now. */
typedef struct chip_slot {
  int64_t begin, end;
} chip_slot;

enum { CHIP_NAME_SHOWN = 64 }; /* bytes of the name of a task that others may look at */

/* What belongs to one lane. */
typedef struct chip_lane {
  chip_pulse pulse;
  chip_lease lease;
  struct chip_group *waiting;          /* tasks that have begun and not ended … */
  struct chip_group **last;            /* … and where the next one is appended */
  struct chip_group *spare;            /* for the next ones … */
  struct chip_instance *fibers;        /* … and their instances */
  _Atomic uint32_t held;               /* instances on fibers that have a core */
  _Atomic uint64_t turns;              /* begins and ends of their turns: odd while they have one */
  _Atomic(const chip_kernel *) kernel; /* that it called last in this run; NULL: see … */
  pthread_mutex_t name_lock;           /* guards … */
  char name[CHIP_NAME_SHOWN];          /* … the task that it began last, of those with a chip_extra */
  uint32_t timed;                      /* timing slots of this run that are in use, a bit for each */
  chip_slot slots[BATON_TIMING_SLOTS];
  char apart[BASE_CACHE_LINE]; /* from the next lane */
} chip_lane;

typedef struct chip_executor {
  chip_cores cores;
  const task_engine *tasks; /* whose hooks these are */
  chip_failures failures;   /* of the current run */
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
BATON_MUST_CHECK baton_status chip_executor_open(chip_executor *executor, const task_engine *tasks,
                                                 const device_platform *platform, uint32_t lanes,
                                                 baton_error *err);
void chip_executor_close(chip_executor *executor);

/* Before a run. */
void chip_executor_begin(chip_executor *executor, const chip_failures *failures);

/* What a lane has begun last in this run, into `name`, and how many tasks and instances it has begun and not ended. False:
** all have ended. Any thread, while the run has not ended. */
int chip_executor_look(chip_executor *executor, uint32_t lane, char name[CHIP_NAME_SHOWN], uint64_t *open);

/* After the last lane: the timing slots that tasks have used, and how long each took, in us. */
uint32_t chip_executor_times(const chip_executor *executor, double slots[BATON_TIMING_SLOTS]);

/* The thread of the engine's owner begins an orchestration, which may be left; its pulse, for the guard. */
const chip_pulse *chip_executor_orchestrates(chip_executor *executor);

/* The hooks of a task engine. */
int chip_executor_run(chip_executor *executor, const task_call *call);
int chip_executor_resume(chip_executor *executor, uint32_t lane, int stop, task_end *end);
void chip_executor_idle(chip_executor *executor, uint32_t lane);

#endif
