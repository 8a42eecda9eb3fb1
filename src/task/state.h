/* task/state.h - the parts of an engine. Private to src/task. */
#ifndef TASK_STATE_H
#define TASK_STATE_H

#include "task/engine.h"
#include "task/graph.h"
#include "task/pool.h"
#include "task/queue.h"
#include "task/scope.h"

enum { TASK_BATCH = 8, TASK_HELP = 32, TASK_KERNELS = 256, TASK_LONG_NS = 250 };

/* One executing thread. */
typedef struct task_lane {
  task_queue queue;
  BASE_ALIGNED _Atomic uint32_t in_long; /* runs a long kernel: others may take all that waits here */
  uint32_t number;
  uint32_t batch_next, batch_count; /* claimed, not yet run */
  uint32_t batch[TASK_BATCH];
  _Atomic uint32_t completed; /* nodes of a graph, in this run */
  uint32_t calls;             /* for sampling */
  uint32_t waiting;           /* tasks that wait inside; with any, the lane is not idle */
} task_lane;

struct task_engine {
  /* the owner's */
  task_window window;
  task_pool pool;
  task_scopes scopes;
  task_map *map;
  uint64_t tasks, edges;
  int64_t deadline;        /* the owner waits no longer than that; INT64_MAX: as long as it takes */
  task_graph *graph;       /* what this run executes; NULL: the tasks of the window */
  uint32_t first_sequence; /* of this run */
  uint32_t draft;          /* slot that task_engine_open took */
  uint32_t held;           /* nothing may run yet */

  /* read by all, written rarely */
  BASE_ALIGNED task_hooks hooks;
  uint32_t lane_count;
  _Atomic uint32_t stop;               /* tasks fail instead of running */
  _Atomic uint32_t finished;           /* lanes go home */
  _Atomic uint32_t cost[TASK_KERNELS]; /* ns; 0: not known */

  /* sleeping and waking */
  BASE_ALIGNED _Atomic uint32_t event; /* the word to sleep on */
  _Atomic uint32_t sleepers;
  _Atomic uint32_t wake_pending; /* a sleeper has been woken and has not looked around yet */
  _Atomic uint32_t owner_target; /* the owner sleeps until so many slots have come back; 0: it does not */
  BASE_ALIGNED _Atomic uint64_t idle; /* low half: lanes without work; high half: how often one found some */

  task_lane *lanes;
};

/* Makes a ready task available: to the lane itself, and to others if it is long. The lane's thread. */
void task_lane_push(task_engine *engine, task_lane *lane, uint32_t slot);

/* The lane's thread: completes a node of the graph, and queues what that makes ready. */
void task_lane_complete_node(task_engine *engine, task_lane *lane, uint32_t node, int failed);

/* The lane's thread, at the beginning of a run of a graph. True: the lane has nothing more to do; for the owner: the run
** is over. */
int task_lane_walk(task_engine *engine, task_lane *lane);

/* Owner: takes back what other lanes have completed; true if there was anything. */
int task_engine_reclaim(task_engine *engine);

/* Owner: runs what waits in its own queue, if it is enough to be worth it. Called after a submit. */
void task_engine_help_after_submit(task_engine *engine);

/* Owner: waits until something has come back or run; if it has to sleep, until `target` slots have come back or nothing
** runs any more. False: nothing runs and nothing is ready, so nothing will ever change. */
int task_engine_await(task_engine *engine, uint32_t target);

/* Owner: true when its deadline has passed; then task_engine_await sleeps no more. */
int task_engine_is_late(const task_engine *engine);

/* Owner: frees a completed slot and what it held. */
void task_engine_free(task_engine *engine, uint32_t slot);

#endif
