/* chip/executor/watch.h - finds runs that make no progress: one thread for the process, asleep while nothing runs.
**
** A run with a time for its stream fails when no task begins or ends in that time, whatever its threads do: its
** orchestration is left too.
**
** Progress is a task that begins or ends, or the opening of a barrier. A run whose tasks have stood still for the time that it is
** given, while its threads had a CPU, has hung: the kernels that run are left by a signal (chip/executor/guard.h),
** those that wait give up. A C orchestration has hung when it computes for that time without a call, while no task
** begins or ends. Time in which the process was stopped, or its threads stood in the queue for a
** CPU, does not count. */
#ifndef CHIP_WATCH_H
#define CHIP_WATCH_H

#include "chip/executor/executor.h"

/* One executor under watch; the other fields belong to chip/executor/watch.c. */
typedef struct chip_watched {
  chip_executor *executor;
  struct chip_watched *next;
  int64_t timeout, stalled;   /* ns */
  int64_t stream, still;      /* ns; stream 0: no limit */
  uint64_t turns[TASK_LANES]; /* of each lane at the last look */
  uint64_t moves;             /* tasks begun and ended at the last look */
  int64_t silent;             /* ns since the last move or call of the orchestration */
  uint64_t calls;             /* moves of its pulse at the last look */
  int64_t control_queued;     /* of its thread, as `queued` */
  int64_t queued[TASK_LANES]; /* ns that the thread of a lane had stood in the queue for a CPU by then */
} chip_watched;

/* Starts the thread with the first, ends it with the last. `resource_limit` when the machine refuses a
** thread. */
BATON_MUST_CHECK baton_status chip_watch_open(baton_error *err);
void chip_watch_close(void);

/* Around the execution of a run, with `timeout` ns for its tasks and `stream` for all of it (0: no limit). Any thread. */
void chip_watch_begin(chip_watched *watched, int64_t timeout, int64_t stream);
void chip_watch_end(chip_watched *watched);

#endif
