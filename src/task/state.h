/* task/state.h - the parts of an engine. Private to src/task. */
#ifndef TASK_STATE_H
#define TASK_STATE_H

#include "task/engine.h"
#include "task/graph.h"
#include "task/pool.h"
#include "task/queue.h"
#include "task/rank.h"
#include "task/scope.h"

enum { TASK_BATCH = 8, TASK_HELP = 32, TASK_AHEAD = 64, TASK_ROOM_KEPT = 1024 };

/* Where a task runs follows from what its kernel costs, in ns. */
enum {
  TASK_SHORT_NS = 320,  /* less: not worth crossing to another CPU */
  TASK_ALONE_NS = 600,  /* from here on claimed one at a time */
  TASK_CHAIN_NS = 2000, /* less: the owner waits for one that runs elsewhere rather than run far ahead */
  TASK_STAYS_NS =
      16000, /* less: the owner runs it between two submits, if it is alone or the others have enough to do */
  TASK_CREDIT = 1024 /* most submits without another try to wait for what runs elsewhere */
};

/* Kept out of the functions that call it in the common case. */
#define TASK_COLD __attribute__((noinline, cold))

#define TASK_COST_UNKNOWN UINT32_MAX

/* One executing thread. */
typedef struct task_lane {
  task_queue queue;
  BASE_ALIGNED _Atomic uint32_t in_long; /* runs a long kernel: others may take all that waits here */
  uint32_t number;
  uint32_t batch_next, batch_count; /* claimed, not yet run */
  uint32_t batch[TASK_BATCH];
  _Atomic uint32_t completed;                 /* nodes of a graph, in this run */
  uint32_t done_first, done_last, done_count; /* completed slots on their way back to the owner */
  uint32_t until_sample;                      /* calls until one is measured */
  uint32_t in_doubt;                          /* so many are measured one after the other */
  uint32_t waiting;                           /* tasks that wait inside; with any, the lane is not idle */
} task_lane;

struct task_engine {
  /* the owner's */
  task_window window;
  task_pool pool;
  task_scopes scopes;
  task_map *map;
  uint64_t tasks, edges;
  uint64_t tasks_before, edges_before; /* the parts of a task that are submitted now */
  int64_t deadline;        /* the owner waits no longer than that; INT64_MAX: as long as it takes */
  uint32_t first_sequence; /* of this run */
  uint32_t draft;          /* slot that task_engine_open has shown; TASK_NONE: none */
  uint32_t draft_held_at;  /* byte of its payload where the numbers of its blocks will stand … */
  uint32_t draft_blocks;   /* … and how many */
  void *draft_payload;     /* its argument memory */
  uint32_t held;           /* nothing may run yet */
  uint32_t by_scope;       /* tasks start when their scope ends */
  uint32_t unrecorded;     /* some tasks of the run may not be in the map */
  uint32_t policy;
  uint32_t elides;  /* kernels that cost at most so many ns are called at their submit; 0: none is */
  uint32_t queues;  /* every task goes to a queue, and none waits for its scope */
  uint32_t rooms;   /* slots that keep argument memory, those of tasks in flight included */
  uint32_t streak;  /* tasks one after the other that the next one waited for, and nothing else was there */
  uint32_t hidden;  /* 1 + position in the owner's queue of a task not offered yet; 0: none */
  uint32_t backoff; /* after a wait for what runs elsewhere that was in vain: submits until the next one … */
  uint32_t backoff_left; /* … of which so many are left */

  /* read by all, written rarely */
  BASE_ALIGNED task_hooks hooks;
  uint32_t lane_count;
  uint32_t stays; /* kernels that cost at most so many ns stay with their lane … */
  uint32_t keeps; /* … and during those a lane keeps what else it has claimed */
  task_lane *lanes;
  _Atomic uint32_t cost[TASK_KERNELS]; /* ns */

  /* of this run; one line, so that a lane that comes in has all of it at once */
  BASE_ALIGNED task_graph *graph; /* what it executes; NULL: the tasks of the window */
  task_walk walk;
  _Atomic uint32_t stop;     /* tasks fail instead of running */
  _Atomic uint32_t finished; /* lanes go home */

  /* sleeping and waking */
  BASE_ALIGNED _Atomic uint32_t event; /* the word to sleep on */
  _Atomic uint32_t sleepers;
  _Atomic uint32_t wake_pending; /* a sleeper has been woken and has not looked around yet */
  _Atomic uint32_t owner_target; /* the owner sleeps until so many slots have come back; 0: it does not */
  BASE_ALIGNED _Atomic uint64_t idle; /* low half: lanes without work; high half: how often one found some */
  task_ranks ranks;
};

/* Makes a ready task available: to the lane itself, and to others if it is long. The lane's thread. */
void task_lane_push(task_engine *engine, task_lane *lane, uint32_t slot);

/* Queues a ready task that others may take, and wakes one of them if any sleeps. The lane's thread. */
void task_lane_offer(task_engine *engine, task_lane *lane, uint32_t entry);

/* The lane's thread: completes a node of the graph, and queues what that makes ready. */
void task_lane_complete_node(task_engine *engine, task_lane *lane, uint32_t node, int failed);

/* The lane's thread, at the beginning of a run of a graph. True: the lane has nothing more to do; for the owner: the run
** is over. */
int task_lane_walk(task_engine *engine, task_lane *lane);

/* Owner: takes back what other lanes have completed; true if there was anything. */
int task_engine_reclaim(task_engine *engine);

/* What a call of the kernel costs, in ns, or TASK_COST_UNKNOWN. Any lane. */
static inline uint32_t task_cost(const task_engine *engine, uint32_t kernel) {
  if (kernel == TASK_NO_KERNEL) return 1;
  return atomic_load_explicit(&engine->cost[kernel % TASK_KERNELS], memory_order_relaxed);
}

/* The flags of its entry in a queue. */
static inline uint32_t task_flags(const task_engine *engine, uint32_t kernel) {
  uint32_t cost = task_cost(engine, kernel);
  if (cost <= engine->stays) return 0;
  return cost < TASK_ALONE_NS ? TASK_ENTRY_OFFERED : TASK_ENTRY_OFFERED | TASK_ENTRY_ALONE;
}

/* Wakes a sleeper, if there is any and none has been woken. Any lane, after something that it may take. */
void task_lane_notify(task_engine *engine);

/* Calls a kernel and measures it. The lane's thread. */
int task_lane_measure(task_engine *engine, task_lane *lane, const task_call *call);

/* Calls a kernel, and measures it from time to time. TASK_CALL_OK, TASK_CALL_FAILED or TASK_CALL_WAITS. The lane's
** thread. */
static inline int task_lane_call(task_engine *engine, task_lane *lane, const task_call *call) {
  if (__builtin_expect(--lane->until_sample == 0, 0)) return task_lane_measure(engine, lane, call);
  return engine->hooks.execute(engine->hooks.context, call);
}

/* Runs a ready task and, one after the other, what it makes ready. The lane's thread. `waiting`: the owner waits anyway. */
void task_lane_run(task_engine *engine, task_lane *lane, uint32_t slot, int waiting);

/* Completes a task that has run, or notes that it waits inside. Returns one of those that it made ready, or TASK_NONE. The
** lane's thread. */
uint32_t task_lane_end(task_engine *engine, task_lane *lane, uint32_t slot, int result);

/* Owner: claims tasks from its own queue, or with `rescue` whatever others have, and runs them. False: there are none. */
int task_lane_help(task_engine *engine, int rescue);

/* Owner: the draft has producers that have not completed. Runs or awaits what they may be waiting for, if that is soon
** done, and takes those that have completed off the draft. */
void task_start_catch_up(task_engine *engine, uint32_t kernel);

/* Owner: true if a task of this kernel that need not wait is better run at once than queued. */
int task_start_at_once(task_engine *engine, uint32_t kernel);

/* Owner: starts a task that was ready at its submit, in the way that its cost suggests. */
void task_start(task_engine *engine, uint32_t slot, uint32_t kernel);

/* The same where each task goes to the queue. */
void task_start_queued(task_engine *engine, uint32_t slot, uint32_t kernel);

/* Owner: runs what is ready and stays with it, while that and what waits for it are in the cache. */
void task_start_waiting(task_engine *engine);

/* Owner: waits until something has come back or run; if it has to sleep, until `target` slots have come back or nothing
** runs any more. False: nothing runs and nothing is ready, so nothing will ever change. */
int task_engine_await(task_engine *engine, uint32_t target);

/* Owner: true when its deadline has passed; then task_engine_await sleeps no more. */
int task_engine_is_late(const task_engine *engine);

/* Owner: frees a completed slot and what it held, when that is more than the slot. */
void task_engine_free_all(task_engine *engine, uint32_t slot);

/* Owner: frees a completed slot and what it held. It keeps its argument memory for the next task, unless that is large. */
static inline void task_engine_free(task_engine *engine, uint32_t slot) {
  const task_slot *task = &engine->window.slots[slot];
  if (__builtin_expect(task->held || task->room > TASK_ROOM_KEPT, 0)) {
    task_engine_free_all(engine, slot);
    return;
  }
  task_window_give(&engine->window, slot);
}

#endif
