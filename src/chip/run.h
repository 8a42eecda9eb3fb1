/* chip/run.h - one run of a program: prepared by the thread that submits, executed by the device, waited
** for by any. A run of rounds begins and ends more than once.
**
** A run is held by its user and, from the launch to its end, by the device. It is over when the device
** says so: outputs are copied back by then, device memory is free again, and the engine has gone back to
** the worker. */
#ifndef CHIP_RUN_H
#define CHIP_RUN_H

#include "base/atomic.h"
#include "chip/binding.h"
#include "chip/engine.h"
#include <pthread.h>

struct chip_runtime;

enum { CHIP_TURN_COME = 1, CHIP_TURN_MISSED };

struct baton_run {
  _Atomic uint32_t holders;
  _Atomic uint32_t over; /* futex: odd when the run is over; each end and each new beginning counts it up */
  baton_worker *worker;  /* its own hold */
  baton_program *program;
  const struct chip_runtime *runtime;
  chip_bindings bindings;
  chip_engine *engine;
  chip_sizes sizes; /* of the engine … */
  chip_sizes asked; /* … and of the one elsewhere that executes the run */
  chip_times times;
  int stays; /* rounds: arguments, engine and graph outlive the end; guarded by the lock of the worker */
  struct chip_kept_graph *graph; /* host_build_graph: what the run executes */
  int replayed;                  /* … and whether it was built by an earlier run */
  uint64_t graph_way;            /* … and where it is built and runs: chip/kept.h */
  uint32_t lanes;                /* of the launch; 0: all of the engine */
  int lends; /* the thread that submits waits for the end, and may run a short launch itself … */
  int here;  /* … as its runtime says of this one */
  uint32_t brief, misjudged; /* chip/brief.h: what rounds have been like, … */
  int64_t building;          /* … and nanoseconds in the orchestration of this one */
  device_launch launch;
  pthread_mutex_t lock;  /* guards failure until the run is over */
  baton_error failure;   /* the first */
  _Atomic uint32_t told; /* somebody who waited knows of the failure */
  _Atomic uint32_t cancelled;
  _Atomic uint32_t
      turn; /* futex, for runtimes: the run's turn on the device has come, CHIP_TURN_MISSED: never will */
  _Atomic uint32_t built; /* futex, for runtimes: the graph function has returned */
  baton_timing timing;
  int64_t begun, launched; /* base_now */
  baton_run *next;         /* among the unfinished ones of the worker, guarded by its lock; so are … */
  uint64_t number;         /* … the how manieth launch of the worker it is, */
  int settled;             /* and whether it is too late to cancel it */
  _Atomic uint32_t started;
  baton_run *next_pending; /* among those whose outputs are still to come */
};

/* A run with one holder and nothing else. */
baton_status chip_run_create(baton_worker *worker, baton_program *program, baton_run **out, baton_error *err);

void chip_run_hold(baton_run *run);
void chip_run_release(baton_run *run);

/* Keeps the first failure. Any thread, until the run is over. */
void chip_run_fail(baton_run *run, const baton_error *failure);

/* Somebody has been told why the run failed: it is over. Any thread. */
void chip_run_told(baton_run *run);

/* A copy of the first failure so far. Any thread. */
void chip_run_failure(baton_run *run, baton_error *out);

/* Stops what has not begun. Any thread; the worker's lock must be held, so that the engine is the run's. */
void chip_run_cancel(baton_run *run);

/* Prepares a run that is over, or never began, for another beginning. */
void chip_run_renew(baton_run *run);

/* Marks the run as over and wakes who waits; legal when it is over. */
void chip_run_end(baton_run *run);

/* For the thread that launched the run, and for its lanes: before a sleep until `flag` changes, looks at it for a while, if
** the launch leaves a CPU to that. */
void chip_run_look(const baton_run *run, const _Atomic uint32_t *flag, uint32_t expected);

/* Waits for the end of what goes on now: a later round does not count. False when the deadline (base_now) has passed. */
int chip_run_await(baton_run *run, int64_t deadline);
/* The same; false also when the user of this thread has abandoned the wait (base_interrupt_asked). */
int chip_run_await_patience(baton_run *run, int64_t deadline);

#endif
