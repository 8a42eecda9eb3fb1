/* Lanes: running tasks, completing them, looking for more, sleeping. */
#include "task/state.h"

enum {
  SPINS = 400,
  LOOK_EVERY = 16, /* spins: a look at a queue takes its line away from the lane that pushes */
  FIRST_NAP_NS = 1000000,
  LONGEST_NAP_NS = 16000000,
  WAITING_NAP_NS = 50000, /* with tasks that wait inside: nobody wakes the lane for them */
  SAMPLE_EVERY = 128,
  SAMPLES_IN_DOUBT = 4,
  TASK_COST_MOST = 1000000000 /* ns */
};

/* Whose tasks a lane runs. It is a constant where tasks are run, so that what does not concern them is folded away. */
typedef enum lane_run {
  RUN_ALONE, /* of the window; lane 0, where there is no other: nothing is offered, and nothing left to others */
  RUN_OWNER, /* of the window; lane 0, which frees their slots itself */
  RUN_OTHER, /* of the window */
  RUN_GRAPH
} lane_run;

#define FOLDED static inline __attribute__((always_inline))

static inline lane_run run_of(const task_engine *engine, const task_lane *lane) {
  if (engine->graph) return RUN_GRAPH;
  if (lane->number) return RUN_OTHER;
  return engine->window.alone ? RUN_ALONE : RUN_OWNER;
}

/* Tasks are known by their slot, or in the run of a graph by their node. */
static inline uint32_t kernel_of(const task_engine *engine, uint32_t task) {
  return engine->graph ? engine->graph->nodes[task].kernel : engine->window.slots[task].kernel;
}

/* One at a time: who wakes up and finds more work wakes the next. */
void task_lane_notify(task_engine *engine) {
  /* seq_cst: see task_queue_claim */
  if (!atomic_load_explicit(&engine->sleepers, memory_order_seq_cst)) return;
  if (atomic_exchange_explicit(&engine->wake_pending, 1, memory_order_seq_cst)) return;
  atomic_fetch_add_explicit(&engine->event, 1, memory_order_seq_cst);
  engine->hooks.wake(engine->hooks.context, &engine->event, 0);
}

static void wake_owner(task_engine *engine) {
  atomic_fetch_add_explicit(&engine->event, 1, memory_order_seq_cst);
  engine->hooks.wake(engine->hooks.context, &engine->event, 1);
}

void task_lane_offer(task_engine *engine, task_lane *lane, uint32_t entry) {
  task_queue_push(&lane->queue, entry, memory_order_seq_cst);
  if (!engine->held) task_lane_notify(engine);
}

void task_lane_push(task_engine *engine, task_lane *lane, uint32_t slot) {
  uint32_t kernel = kernel_of(engine, slot), flags = task_flags(engine, kernel);
  if (__builtin_expect(task_rank(kernel), 0)) {
    task_ranks_push(engine, slot, kernel);
    if (!engine->held) task_lane_notify(engine);
    return;
  }
  if (!flags) {
    task_queue_push(&lane->queue, slot, memory_order_release);
    return;
  }
  task_lane_offer(engine, lane, slot | flags);
}

/* Sends what the lane has completed back, and wakes an owner that waits for it. */
static void send_done(task_engine *engine, task_lane *lane) {
  if (lane->done_first == TASK_NONE) return;
  uint32_t count = task_window_return(&engine->window, lane->done_first, lane->done_last, lane->done_count);
  lane->done_first = TASK_NONE;
  lane->done_count = 0;
  /* seq_cst: the other half is in owner_sleep */
  uint32_t target = atomic_load_explicit(&engine->owner_target, memory_order_seq_cst);
  if (target && count >= target) wake_owner(engine);
}

/* Before a long kernel: what the lane has completed and claimed goes back, and others may take it. */
static void leave_work_to_others(task_engine *engine, task_lane *lane) {
  send_done(engine, lane);
  while (lane->batch_next < lane->batch_count)
    task_queue_push(&lane->queue, lane->batch[lane->batch_next++], memory_order_release);
  /* seq_cst: see task_lane_notify */
  atomic_store_explicit(&lane->in_long, 1, memory_order_seq_cst);
  if (task_queue_count(&lane->queue)) task_lane_notify(engine);
}

/* A sample far above the average either comes from a lane that was preempted, or the kernel has changed: it at most doubles
** the average, and the next calls are measured too, until it is clear which. What is shorter counts for more. */
static uint32_t next_cost(task_lane *lane, uint32_t old, int64_t took) {
  uint32_t sample = took < 1 ? 1 : took > TASK_COST_MOST ? TASK_COST_MOST : (uint32_t)took;
  if (old != TASK_COST_UNKNOWN && sample > 2 * old) lane->in_doubt = SAMPLES_IN_DOUBT;
  lane->until_sample = lane->in_doubt ? 1 : SAMPLE_EVERY;
  if (lane->in_doubt) lane->in_doubt--;
  if (old == TASK_COST_UNKNOWN) return sample;
  if (sample < old) return (old + sample) / 2;
  return sample <= 2 * old ? old + (sample - old) / 4 : 2 * old;
}

TASK_COLD int task_lane_measure(task_engine *engine, task_lane *lane, const task_call *call) {
  _Atomic uint32_t *cost = &engine->cost[call->kernel % TASK_KERNELS];
  int64_t begin = engine->hooks.clock(engine->hooks.context);
  int result = engine->hooks.execute(engine->hooks.context, call);
  int64_t took = engine->hooks.clock(engine->hooks.context) - begin;
  if (engine->graph && engine->walk.measuring) task_replay_note_cost(engine, call->task.slot, took);
  uint32_t next = next_cost(lane, atomic_load_explicit(cost, memory_order_relaxed), took);
  /* relaxed: two lanes may lose one sample */
  atomic_store_explicit(cost, next, memory_order_relaxed);
  return result;
}

/* A kernel that is long enough to leave everything else to others meanwhile, or of which nothing is known. */
TASK_COLD static int call_long(task_engine *engine, task_lane *lane, const task_call *call, uint32_t cost) {
  if (cost == TASK_COST_UNKNOWN) lane->until_sample = 1;
  leave_work_to_others(engine, lane);
  int result = task_lane_call(engine, lane, call);
  atomic_store_explicit(&lane->in_long, 0, memory_order_relaxed);
  return result;
}

FOLDED int owns(lane_run run) { return run == RUN_ALONE || run == RUN_OWNER; }

TASK_COLD static int drop(const task_engine *engine, const task_call *call) {
  if (engine->hooks.drop) engine->hooks.drop(engine->hooks.context, call);
  return TASK_CALL_FAILED;
}

FOLDED int call_kernel(task_engine *engine, task_lane *lane, const task_call *call, lane_run run) {
  if (__builtin_expect(atomic_load_explicit(&engine->stop, memory_order_relaxed), 0))
    return drop(engine, call);
  if (call->kernel == TASK_NO_KERNEL) return TASK_CALL_OK;
  if (run == RUN_ALONE) return task_lane_call(engine, lane, call);
  uint32_t cost = task_cost(engine, call->kernel);
  if (__builtin_expect(cost <= engine->keeps, 1)) return task_lane_call(engine, lane, call);
  return call_long(engine, lane, call, cost);
}

static int execute_node(task_engine *engine, task_lane *lane, uint32_t node) {
  const task_graph *graph = engine->graph;
  task_call call = {.payload = task_graph_payload(graph, node),
                    .kernel = graph->nodes[node].kernel,
                    .lane = lane->number,
                    .task = {node, 1}};
  if (atomic_load_explicit(&graph->poisoned[node], memory_order_relaxed)) return drop(engine, &call);
  if (engine->walk.measuring) lane->until_sample = 1;
  return call_kernel(engine, lane, &call, RUN_GRAPH);
}

/* Returns TASK_CALL_OK, TASK_CALL_FAILED or TASK_CALL_WAITS. */
FOLDED int execute(task_engine *engine, task_lane *lane, uint32_t slot, lane_run run) {
  if (run == RUN_GRAPH) return execute_node(engine, lane, slot);
  const task_slot *task = &engine->window.slots[slot];
  task_call call = {.payload = task_pool_at(&engine->pool, task->payload),
                    .kernel = task->kernel,
                    .lane = owns(run) ? 0 : lane->number,
                    .task = {slot, task->sequence}};
  if (__builtin_expect(atomic_load_explicit(&task->poisoned, memory_order_relaxed), 0))
    return drop(engine, &call);
  return call_kernel(engine, lane, &call, run);
}

/* Gives the slot back; lanes other than the owner's do so for several at a time. */
FOLDED void give_back(task_engine *engine, task_lane *lane, uint32_t slot, lane_run run) {
  if (owns(run)) {
    task_engine_free(engine, slot);
    return;
  }
  if (lane->done_first == TASK_NONE)
    lane->done_last = slot;
  else
    engine->window.slots[slot].next = lane->done_first + 1;
  lane->done_first = slot;
  if (++lane->done_count == TASK_BATCH) send_done(engine, lane);
}

/* Releases the consumers of a closed task; returns one of those that this made ready, if any, and queues the others. */
FOLDED uint32_t release_all(task_engine *engine, task_lane *lane, uint32_t edge, int failed) {
  uint32_t next = TASK_NONE;
  while (edge != TASK_NONE) {
    uint32_t ready = task_window_release(&engine->window, &edge, failed);
    if (ready == TASK_NONE) continue;
    if (next != TASK_NONE) task_lane_push(engine, lane, next);
    next = ready;
  }
  return next;
}

/* Completes a task; returns one of those that it made ready, or TASK_NONE. */
FOLDED uint32_t complete(task_engine *engine, task_lane *lane, uint32_t slot, int failed, lane_run run) {
  uint32_t edge = task_window_close(&engine->window, slot, failed, owns(run));
  uint32_t next = edge == TASK_NONE ? TASK_NONE : release_all(engine, lane, edge, failed);
  give_back(engine, lane, slot, run);
  return next;
}

/* The same for a node of a graph. */
static uint32_t complete_node(task_engine *engine, task_lane *lane, uint32_t node, int failed) {
  task_graph *graph = engine->graph;
  uint32_t next = TASK_NONE;
  for (uint32_t i = graph->nodes[node].first; i < graph->nodes[node + 1].first; i++) {
    uint32_t consumer = graph->consumers[i];
    if (failed) atomic_store_explicit(&graph->poisoned[consumer], 1, memory_order_relaxed);
    /* orders as in task_window_release */
    if (atomic_fetch_sub_explicit(&graph->open[consumer], 1, memory_order_acq_rel) != 1) continue;
    if (next != TASK_NONE) task_lane_push(engine, lane, next);
    next = consumer;
  }
  uint32_t completed = atomic_load_explicit(&lane->completed, memory_order_relaxed);
  /* release: what the task wrote, for the owner that counts */
  atomic_store_explicit(&lane->completed, completed + 1, memory_order_release);
  return next;
}

void task_lane_complete_node(task_engine *engine, task_lane *lane, uint32_t node, int failed) {
  uint32_t ready = complete_node(engine, lane, node, failed);
  if (ready != TASK_NONE) task_lane_push(engine, lane, ready);
}

FOLDED uint32_t complete_any(task_engine *engine, task_lane *lane, uint32_t task, int failed, lane_run run) {
  return run == RUN_GRAPH ? complete_node(engine, lane, task, failed)
                          : complete(engine, lane, task, failed, run);
}

/* A kernel that waits inside is not short, however soon it comes to that. */
static void count_as_long(task_engine *engine, uint32_t kernel) {
  _Atomic uint32_t *cost = &engine->cost[kernel % TASK_KERNELS];
  if (atomic_load_explicit(cost, memory_order_relaxed) < TASK_STAYS_NS)
    atomic_store_explicit(cost, TASK_STAYS_NS, memory_order_relaxed);
}

/* Completes a task that has run, or notes that it waits inside. Returns one of those that it made ready, or TASK_NONE. */
FOLDED uint32_t end(task_engine *engine, task_lane *lane, uint32_t slot, int result, lane_run run) {
  if (__builtin_expect(result != TASK_CALL_WAITS, 1))
    return complete_any(engine, lane, slot, result != TASK_CALL_OK, run);
  count_as_long(engine, kernel_of(engine, slot));
  lane->waiting++;
  return TASK_NONE;
}

uint32_t task_lane_end(task_engine *engine, task_lane *lane, uint32_t slot, int result) {
  return end(engine, lane, slot, result, run_of(engine, lane));
}

/* True if another ready task may come before this one. */
FOLDED int has_rank(const task_engine *engine, uint32_t kernel) {
  return task_rank(kernel) || atomic_load_explicit(&engine->ranks.urgent, memory_order_relaxed);
}

/* The owner is not carried away: successors that others may run go to its queue, unless it waits anyway. */
FOLDED void run_from(task_engine *engine, task_lane *lane, uint32_t slot, int waiting, lane_run run) {
  for (;;) {
    slot = end(engine, lane, slot, execute(engine, lane, slot, run), run);
    if (slot == TASK_NONE) return;
    uint32_t kernel =
        run == RUN_GRAPH ? engine->graph->nodes[slot].kernel : engine->window.slots[slot].kernel;
    int offered = run != RUN_ALONE && !waiting && task_flags(engine, kernel);
    if (offered || has_rank(engine, kernel)) {
      task_lane_push(engine, lane, slot);
      return;
    }
  }
}

void task_lane_run(task_engine *engine, task_lane *lane, uint32_t slot, int waiting) {
  switch (run_of(engine, lane)) {
  case RUN_ALONE: run_from(engine, lane, slot, waiting, RUN_ALONE); break;
  case RUN_OWNER: run_from(engine, lane, slot, waiting, RUN_OWNER); break;
  case RUN_OTHER: run_from(engine, lane, slot, waiting, RUN_OTHER); break;
  case RUN_GRAPH: run_from(engine, lane, slot, waiting, RUN_GRAPH); break;
  }
}

FOLDED void run_claimed(task_engine *engine, task_lane *lane, int waiting, lane_run run) {
  while (lane->batch_next < lane->batch_count)
    run_from(engine, lane, lane->batch[lane->batch_next++] & ~TASK_ENTRY_FLAGS, waiting, run);
}

static void run_batch(task_engine *engine, task_lane *lane, int waiting) {
  switch (run_of(engine, lane)) {
  case RUN_ALONE: run_claimed(engine, lane, waiting, RUN_ALONE); break;
  case RUN_OWNER: run_claimed(engine, lane, waiting, RUN_OWNER); break;
  case RUN_OTHER: run_claimed(engine, lane, waiting, RUN_OTHER); break;
  case RUN_GRAPH: run_claimed(engine, lane, waiting, RUN_GRAPH); break;
  }
  send_done(engine, lane);
}

/* Goes on with tasks that wait inside; true if there was progress. */
static int go_on(task_engine *engine, task_lane *lane) {
  task_end end;
  if (!lane->waiting) return 0;
  int stop = atomic_load_explicit(&engine->stop, memory_order_relaxed) != 0;
  int moved = engine->hooks.resume(engine->hooks.context, lane->number, stop, &end);
  if (moved == TASK_CALL_ENDED) {
    lane->waiting--;
    uint32_t ready = complete_any(engine, lane, end.task.slot, end.failed, run_of(engine, lane));
    send_done(engine, lane);
    if (ready != TASK_NONE) task_lane_push(engine, lane, ready);
  }
  return moved != TASK_CALL_WAITS;
}

/* The slots come over together, not one after the other. */
static inline void fetch_batch(const task_engine *engine, const task_lane *lane) {
  for (uint32_t i = 0; i < lane->batch_count; i++)
    __builtin_prefetch(&engine->window.slots[lane->batch[i] & ~TASK_ENTRY_FLAGS], 1);
}

void task_engine_advance(task_engine *engine) {
  if (engine->held) return;
  do {
    while (task_lane_help(engine, 0)) {
    }
  } while (go_on(engine, &engine->lanes[0]));
}

static int claim(task_engine *engine, task_lane *lane, task_lane *victim, int any) {
  lane->batch_next = 0;
  /* half of what a victim has, so that it keeps some */
  uint32_t most = lane == victim ? TASK_BATCH : task_queue_count(&victim->queue) / 2 + 1;
  lane->batch_count =
      task_queue_claim(&victim->queue, lane->batch, most < TASK_BATCH ? most : TASK_BATCH, any);
  if (lane != victim && !engine->graph) fetch_batch(engine, lane);
  return lane->batch_count != 0;
}

static int may_take_any(const task_lane *lane, task_lane *victim, int rescue) {
  return lane == victim || rescue || atomic_load_explicit(&victim->in_long, memory_order_seq_cst);
}

static int claim_ranked(task_engine *engine, task_lane *lane, int urgent) {
  const _Atomic uint32_t *some = urgent ? &engine->ranks.urgent : &engine->ranks.count;
  if (__builtin_expect(!atomic_load_explicit(some, memory_order_relaxed), 1)) return 0;
  lane->batch_next = 0;
  lane->batch_count = (uint32_t)task_ranks_claim(engine, urgent, lane->batch);
  return lane->batch_count != 0;
}

/* Fills the lane's batch: with a task above priority 0, else from its own queue, else from another's, else with one below
** priority 0. `rescue`: short tasks of others too. */
static int find(task_engine *engine, task_lane *lane, int rescue) {
  if (claim_ranked(engine, lane, 1) || claim(engine, lane, lane, 1)) return 1;
  for (uint32_t i = 1; i < engine->lane_count; i++) {
    task_lane *victim = &engine->lanes[(lane->number + i) % engine->lane_count];
    if (claim(engine, lane, victim, may_take_any(lane, victim, rescue))) return 1;
  }
  return claim_ranked(engine, lane, 0);
}

/* True if find would have a chance. */
static int work_in_sight(const task_engine *engine, const task_lane *lane, int rescue) {
  if (atomic_load_explicit(&engine->ranks.count, memory_order_seq_cst)) return 1;
  for (uint32_t i = 0; i < engine->lane_count; i++) {
    task_lane *victim = &engine->lanes[(lane->number + i) % engine->lane_count];
    uint32_t top = atomic_load_explicit(&victim->queue.top, memory_order_relaxed);
    uint32_t bottom = atomic_load_explicit(&victim->queue.bottom, memory_order_seq_cst);
    if (top == bottom) continue;
    uint32_t first =
        atomic_load_explicit(&victim->queue.entries[top & victim->queue.mask], memory_order_relaxed);
    if (first & TASK_ENTRY_OFFERED || may_take_any(lane, victim, rescue)) return 1;
  }
  return 0;
}

/* What a claim would bring, one by one, where nobody else can take any. */
static int help_alone(task_engine *engine, task_lane *lane) {
  uint32_t entry, count = 0;
  while (count < TASK_BATCH && task_queue_pop_alone(&lane->queue, &entry)) {
    run_from(engine, lane, entry & ~TASK_ENTRY_FLAGS, 0, RUN_ALONE);
    count++;
  }
  return count != 0;
}

int task_lane_help(task_engine *engine, int rescue) {
  task_lane *lane = &engine->lanes[0];
  if (engine->window.alone && !engine->graph) return help_alone(engine, lane);
  if (rescue ? !find(engine, lane, 1) : !claim(engine, lane, lane, 1)) return 0;
  run_batch(engine, lane, 0);
  return 1;
}

/* Sleeps until there may be something to do, at most `nap` ns; not if anything has happened since `event` was read. False:
** nothing came in all that time. */
static int sleep_on_event(task_engine *engine, const task_lane *lane, uint32_t event, int64_t nap) {
  int woken = 1;
  if (engine->hooks.idle) engine->hooks.idle(engine->hooks.context, lane->number);
  atomic_fetch_add_explicit(&engine->sleepers, 1, memory_order_seq_cst);
  atomic_store_explicit(&engine->wake_pending, 0, memory_order_seq_cst);
  if (!work_in_sight(engine, lane, 0) && !atomic_load_explicit(&engine->finished, memory_order_seq_cst))
    woken = engine->hooks.park(engine->hooks.context, &engine->event, event, nap);
  atomic_store_explicit(&engine->wake_pending, 0, memory_order_seq_cst);
  atomic_fetch_sub_explicit(&engine->sleepers, 1, memory_order_seq_cst);
  return woken;
}

/* For a lane with tasks that wait inside: spins first, then naps. False as sleep_on_event. */
static int wait_shortly(task_engine *engine, const task_lane *lane, uint32_t spins) {
  if (spins < SPINS) {
    base_relax();
    return 1;
  }
  uint32_t event = atomic_load_explicit(&engine->event, memory_order_seq_cst);
  return sleep_on_event(engine, lane, event, WAITING_NAP_NS);
}

static int64_t longer(int64_t nap) { return nap * 2 > LONGEST_NAP_NS ? LONGEST_NAP_NS : nap * 2; }

/* A lane counts as busy from before it claims until it has nothing left, so that whoever sees all lanes idle and all
** queues empty, and no lane turning busy in between, knows that nothing runs. */
static void turn_busy(task_engine *engine) {
  atomic_fetch_add_explicit(&engine->idle, (UINT64_C(1) << 32) - 1, memory_order_seq_cst);
}

static void turn_idle(task_engine *engine) {
  uint64_t idle = atomic_fetch_add_explicit(&engine->idle, 1, memory_order_seq_cst) + 1;
  if ((uint32_t)idle == engine->lane_count - 1 &&
      atomic_load_explicit(&engine->owner_target, memory_order_seq_cst))
    wake_owner(engine);
}

/* Runs everything that it can find, and what waits inside to its end; true if there was anything. The lane is busy. */
static int work_on(task_engine *engine, task_lane *lane, int rescue) {
  int found = 0;
  for (uint32_t spins = 0;; spins++) {
    int ran = find(engine, lane, rescue);
    if (ran) {
      found = 1;
      if (work_in_sight(engine, lane, 0)) task_lane_notify(engine);
      run_batch(engine, lane, 1);
    }
    if (go_on(engine, lane) || ran)
      spins = 0;
    else if (lane->waiting)
      rescue = !wait_shortly(engine, lane, spins);
    else
      return found;
  }
}

static int work_burst(task_engine *engine, task_lane *lane, int rescue) {
  turn_busy(engine);
  int found = work_on(engine, lane, rescue);
  turn_idle(engine);
  return found;
}

int task_lane_walk(task_engine *engine, task_lane *lane) {
  if (!engine->graph) return 0;
  int walked = task_replay_walk(engine, lane);
  if (walked != TASK_WALK_LEFT) return walked == TASK_WALK_OVER;
  if (lane->number == 0) {
    task_replay_hand_over(engine, lane);
  } else {
    turn_busy(engine);
    task_replay_hand_over(engine, lane);
    (void)work_on(engine, lane, 0);
    turn_idle(engine);
  }
  return 0;
}

static void spin_a_while(void) {
  for (uint32_t i = 0; i < LOOK_EVERY; i++) base_relax();
}

void task_engine_work(task_engine *engine, uint32_t number) {
  task_lane *lane = &engine->lanes[number];
  int64_t nap = FIRST_NAP_NS;
  int rescue = 0;
  if (task_lane_walk(engine, lane)) return;
  for (uint32_t spins = 0; !atomic_load_explicit(&engine->finished, memory_order_acquire);
       spins += LOOK_EVERY) {
    if (work_in_sight(engine, lane, rescue) && work_burst(engine, lane, rescue)) {
      spins = 0;
      nap = FIRST_NAP_NS;
      rescue = 0;
      spin_a_while();
    } else if (spins < SPINS) {
      spin_a_while();
    } else {
      uint32_t event = atomic_load_explicit(&engine->event, memory_order_seq_cst);
      rescue =
          !sleep_on_event(engine, lane, event, nap); /* what others have not run during a nap may be taken */
      nap = work_in_sight(engine, lane, 1) ? FIRST_NAP_NS : longer(nap);
    }
  }
}

/* Nothing runs, nothing waits in a queue, nothing comes back. */
static int at_rest(const task_engine *engine) {
  uint64_t idle = atomic_load_explicit(&engine->idle, memory_order_seq_cst);
  if ((uint32_t)idle != engine->lane_count - 1) return 0;
  if (engine->graph && atomic_load_explicit(&engine->walk.holders, memory_order_seq_cst)) return 0;
  for (uint32_t i = 0; i < engine->lane_count; i++) {
    const task_queue *queue = &engine->lanes[i].queue;
    uint32_t top = atomic_load_explicit(&queue->top, memory_order_seq_cst);
    if (top != atomic_load_explicit(&queue->bottom, memory_order_seq_cst)) return 0;
  }
  if (atomic_load_explicit(&engine->ranks.count, memory_order_seq_cst)) return 0;
  if ((uint32_t)atomic_load_explicit(&engine->window.returned, memory_order_seq_cst)) return 0;
  return atomic_load_explicit(&engine->idle, memory_order_seq_cst) == idle;
}

/* As sleep_on_event, and also until `target` slots have come back. The last lane that turns idle wakes the owner in any
** case. */
static int owner_sleep(task_engine *engine, uint32_t target, int64_t nap) {
  atomic_store_explicit(&engine->owner_target, target, memory_order_seq_cst);
  uint32_t event = atomic_load_explicit(&engine->event, memory_order_seq_cst); /* before the looks below */
  uint64_t returned = atomic_load_explicit(&engine->window.returned, memory_order_seq_cst);
  int woken = (uint32_t)(returned >> 32) >= target || at_rest(engine) ||
              sleep_on_event(engine, &engine->lanes[0], event, nap);
  atomic_store_explicit(&engine->owner_target, 0, memory_order_relaxed);
  return woken;
}

int task_engine_is_late(const task_engine *engine) {
  return engine->deadline != INT64_MAX && engine->hooks.clock(engine->hooks.context) > engine->deadline;
}

int task_engine_await(task_engine *engine, uint32_t target) {
  task_lane *lane = &engine->lanes[0];
  int64_t nap = FIRST_NAP_NS;
  int rescue = 0;
  if (engine->held) return 0;
  for (uint32_t spins = 0;; spins++) {
    if (find(engine, lane, rescue)) {
      run_batch(engine, lane, 1);
      (void)go_on(engine, lane);
      return 1;
    }
    if (task_engine_reclaim(engine) || go_on(engine, lane)) return 1;
    if (!lane->waiting && at_rest(engine)) return 0;
    if (spins >= SPINS && task_engine_is_late(engine)) return 1;
    if (lane->waiting) {
      rescue = !wait_shortly(engine, lane, spins);
    } else if (spins < SPINS) {
      base_relax();
    } else {
      rescue = !owner_sleep(engine, target, nap);
      nap = longer(nap);
    }
  }
}
