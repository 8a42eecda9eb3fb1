/* task/engine.h - submit tasks over regions of memory; they run as if one by one. Freestanding.
**
** Roles. The owner submits, allocates, opens and closes scopes, and finishes; it is lane 0 and runs tasks itself when it
** has to wait. Lanes 1 … n-1 call task_engine_work from threads of their own. Any thread may cancel. The role of the
** owner may pass to another thread between calls, if the hand-over orders memory.
**
** A run: task_engine_begin, then submits, then task_engine_finish; lanes may join and leave at any time in between. A
** held run starts no task before task_engine_release.
**
** The cost of each kernel is sampled. A short task that need not wait is called at its submit. Any other goes, when it is
** ready, to the queue of the lane that made it ready. Lanes that find nothing to do spin shortly, then sleep in the park
** hook. Only tasks whose kernels are long enough to be worth a trip to another CPU are offered to them; short ones are run
** by the lane itself, in batches. A lane in a long kernel lets others take all it has, and a sleeper looks around from
** time to time, so what is ready does not wait for one thread; only a kernel that was short before and is not now holds
** up what its lane had claimed with it, 7 tasks at most, and the submits until samples have found it out, 80 at most.
**
** Every call that needs room (a slot, memory, edges) waits for it by running tasks. When nothing runs and nothing is
** ready, room will never come: the call returns which resource it is, and the run may go on or be cancelled. */
#ifndef TASK_ENGINE_H
#define TASK_ENGINE_H

#include "base/atomic.h"
#include "task/map.h"
#include "task/scope.h"
#include <baton/orchestration.h>

typedef struct task_engine task_engine;

#define TASK_NO_KERNEL 0xffffffu

/* The number of a kernel, as the engine takes it, with the priority of one task. A lane that looks for a ready task takes
** one of the highest priority, and of those the one that became ready first; but it goes on with short tasks that it has
** claimed already (7 at most), and short ones of priority 0 that are ready at their submit are called there. */
enum { TASK_MOST_PRIORITY = 127 }; /* and least: -127 */
static inline uint32_t task_kernel(uint32_t number, int priority) {
  return (number & TASK_NO_KERNEL) | (uint32_t)(uint8_t)priority << 24;
}

enum {
  TASK_LANES = 64,
  TASK_KERNELS = 256 /* whose costs are known; those of equal remainder share one */
};

typedef enum task_status {
  TASK_OK,
  TASK_WINDOW_FULL,  /* task slots */
  TASK_PAYLOAD_FULL, /* memory for arguments */
  TASK_EDGES_FULL,   /* edges beyond each task's own */
  TASK_REGIONS_FULL, /* entries of the tensor map */
  TASK_HEAP_FULL,    /* memory for intermediates */
  TASK_STALE,        /* a block whose scope has ended */
  TASK_FAILED,       /* wait: the task, or one that it depends on, has failed */
  TASK_LATE,         /* wait: the time is up */
  TASK_STUCK         /* finish: unfinished tasks that nothing will make ready */
} task_status;

/* What a lane is to run. Lives during the call. */
typedef struct task_call {
  void *payload; /* as filled by the owner */
  uint32_t kernel, lane;
  baton_task task;
} task_call;

/* How far a task has come. */
enum { TASK_CALL_OK, TASK_CALL_FAILED, TASK_CALL_WAITS, TASK_CALL_MOVED, TASK_CALL_ENDED };

/* A task that waited inside, and has ended. */
typedef struct task_end {
  baton_task task; /* as in its call */
  int failed;
} task_end;

/* What the engine needs from outside.
** - `execute` runs a task, on any lane: TASK_CALL_OK, TASK_CALL_FAILED, or TASK_CALL_WAITS if it has not ended.
** - `resume` is called from time to time by a lane with tasks that have not ended, and goes on with them:
**   TASK_CALL_ENDED with one that now has; TASK_CALL_MOVED; TASK_CALL_WAITS if none could go on. With `stop` the run has
**   been cancelled, and waiting is to end. May be NULL if no task waits.
** - `drop` is called instead of `execute` for a task that fails unrun, because one that it depends on has failed or the run
**   was cancelled. May be NULL.
** - `idle` says that a lane has nothing to run and goes to sleep. May be NULL.
** - `park` sleeps while *word == expected, at most `timeout` ns; it may return early, and returns false when the time is up.
** - `wake` wakes one sleeper or all.
** - `clock` returns nanoseconds. */
typedef struct task_hooks {
  void *context;
  int (*execute)(void *context, const task_call *call);
  int (*resume)(void *context, uint32_t lane, int stop, task_end *end);
  void (*drop)(void *context, const task_call *call);
  void (*idle)(void *context, uint32_t lane);
  int (*park)(void *context, const _Atomic uint32_t *word, uint32_t expected, int64_t timeout);
  void (*wake)(void *context, const _Atomic uint32_t *word, int all);
  int64_t (*clock)(void *context);
} task_hooks;

/* Sizes; all must be given. */
typedef struct task_limits {
  uint32_t
      numbers; /* tasks are numbered from behind this one: so the handles of two engines can be told apart */
  uint32_t lanes;     /* 1 … TASK_LANES, the owner included */
  uint32_t tasks;     /* in flight */
  uint32_t edges;     /* beyond the TASK_OWN_EDGES of each task */
  uint32_t regions;   /* distinct ones of live tasks */
  uint32_t blocks;    /* alive at once */
  uint64_t payload;   /* bytes for arguments */
  uint64_t heap;      /* bytes for blocks */
  uint64_t heap_unit; /* bytes, a power of two: alignment of blocks */
} task_limits;

/* Fills in what follows from how many tasks are in flight: regions, blocks, bytes for arguments, and the unit of the heap.
** Pages are committed when touched, so generous sizes cost nothing. */
void task_limits_complete(task_limits *limits);

/* Bytes of memory for an engine. Most of it is touched only when used. */
size_t task_engine_size(const task_limits *limits);

/* `memory` is zero, page-aligned, and stays the caller's; returns the engine in it. */
task_engine *task_engine_init(void *memory, const task_limits *limits, const task_hooks *hooks);

/* How ready tasks come to their lanes. */
typedef enum task_policy {
  TASK_AUTO,    /* as their cost suggests; the default */
  TASK_ELIDED,  /* called at their submit if they need not wait, whatever they cost */
  TASK_QUEUED,  /* through the queue of their lane, and never offered to others */
  TASK_OFFERED, /* through the queue of their lane, and always offered */
} task_policy;

/* Between runs. The results are the same with each policy; others than TASK_AUTO are for tests and measurements. */
void task_engine_choose(task_engine *engine, task_policy policy);

/* How a run differs from the usual one. */
enum {
  TASK_HELD = 1,     /* no task starts before task_engine_release */
  TASK_EXPLICIT = 2, /* every scope is manual */
  TASK_BY_SCOPE = 4  /* tasks start when the scope ends in which they were submitted */
};

/* Starts a run; `mode` is a set of these. No task may be live and no lane inside. */
void task_engine_begin(task_engine *engine, int mode);

/* First half of a submit: a slot, `payload` bytes of argument memory at *out (aligned to 64), and room in the map.
** Waits for room. TASK_STALE puts the position of the access into *which. Nothing is held after a failure. */
task_status task_engine_open(task_engine *engine, const task_access *accesses, uint32_t count,
                             uint32_t payload, void **out, uint32_t *which);

/* Second half: infers the edges of the accesses, adds `deps`, and submits. The payload must be filled before. `kernel`
** TASK_NO_KERNEL runs nothing. TASK_EDGES_FULL gives up the slot. */
task_status task_engine_submit(task_engine *engine, uint32_t kernel, const task_access *accesses,
                               uint32_t count, const baton_task *deps, uint32_t ndeps, baton_task *out);

/* Runs tasks until this one is over. TASK_FAILED if it failed; a task that is none counts as over. TASK_LATE when the
** clock has passed `deadline` (INT64_MAX: none) before; a kernel that the owner runs meanwhile goes on to its end. */
task_status task_engine_wait(task_engine *engine, baton_task task, int64_t deadline);

/* True if the access would have to wait for a task of the run; of those that were submitted in manual scopes nothing is
** known. */
int task_engine_awaits(task_engine *engine, const task_access *access);

/* True if the innermost scope is manual. */
int task_engine_is_manual(const task_engine *engine);

/* True if there have been manual scopes in this run. */
int task_engine_has_unrecorded(const task_engine *engine);

/* Runs every task that can run. TASK_FAILED if any of the run has failed; TASK_LATE as in task_engine_wait. */
task_status task_engine_settle(task_engine *engine, int64_t deadline);

/* Runs what is ready and goes on with what waits inside, until nothing can, without waiting: for an owner that starts tasks
** elsewhere (`execute` says TASK_CALL_WAITS) and is told of their ends by `resume`. One lane. */
void task_engine_advance(task_engine *engine);

/* Calls `visit` with the payload of every unfinished task that has a kernel, while no lane runs any; true as soon as it
** returns true. */
int task_engine_find(const task_engine *engine, void *context,
                     int (*visit)(void *context, const void *payload));

/* True for the handle of a task of this run, ended or not, and for none. */
int task_engine_knows(const task_engine *engine, baton_task task);

/* A block of device heap in the innermost scope: offset into the heap, and the handle. Waits for room. */
task_status task_engine_alloc(task_engine *engine, uint64_t bytes, uint64_t *offset, uint32_t *block,
                              uint32_t *generation);

/* Where a block lies on the heap, and how many bytes it has at least. False if its scope has ended. */
int task_engine_block_range(const task_engine *engine, uint32_t block, uint32_t generation, uint64_t *offset,
                            uint64_t *bytes);

/* What uses the block from now on waits for this task, in manual scopes too: it gives it its first contents. In a manual
** scope of a run that calls tasks at their submits nothing would look for it there, so it is over when this returns. */
void task_engine_made_by(task_engine *engine, uint32_t block, baton_task task);

/* False: deeper than TASK_SCOPE_DEPTH. In a manual scope no edges are inferred and no regions recorded. */
int task_engine_scope_begin(task_engine *engine, int manual);
/* False: no scope is open. Waits for nothing; with TASK_BY_SCOPE it starts the tasks of the scope. */
int task_engine_scope_end(task_engine *engine);

/* Number of the innermost open scope; scopes are numbered on and on, over all runs. */
uint32_t task_engine_scope_number(const task_engine *engine);

/* Lets a held run start. Before the lanes come in. */
void task_engine_release(task_engine *engine);

/* Ends the open scopes, runs until every task is over, sends the lanes home. */
task_status task_engine_finish(task_engine *engine);

/* Lane 1 … lanes-1: runs tasks until the run is finished. */
void task_engine_work(task_engine *engine, uint32_t lane);

/* From now on tasks are not executed any more but fail at once. Any thread. */
void task_engine_cancel(task_engine *engine);

/* Any thread. */
int task_engine_is_cancelled(const task_engine *engine);

/* What a call of this kernel costs, in ns, as far as is known; 0: nothing is. Owner. */
uint32_t task_engine_cost(const task_engine *engine, uint32_t kernel);

/* What is submitted between these two is part of a task that counts already: `tasks` and `edges` of the counts do not grow.
** Owner. */
void task_engine_begin_parts(task_engine *engine);
void task_engine_end_parts(task_engine *engine);

/* For messages and statistics. Owner, or when the run is over. */
typedef struct task_counts {
  uint64_t tasks, edges;                       /* of this run */
  uint32_t live, window_high;                  /* tasks */
  uint64_t heap_used, heap_high, heap_largest; /* bytes; `largest`: the biggest request that would fit */
  uint32_t edges_used, edges_high;
  uint32_t regions;
  uint32_t holder_scope; /* the open scope with most bytes: its depth … */
  uint32_t holder_blocks;
  uint64_t holder_bytes;
  uint32_t hider_scope,
      hidden; /* the open scope with most tasks that wait for its end: its depth, and how many */
} task_counts;
void task_engine_counts(const task_engine *engine, task_counts *counts);

#endif
