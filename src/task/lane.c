/* Lanes: running tasks, completing them, looking for more, sleeping. */
#include "task/state.h"

enum {
  SPINS = 400,
  FIRST_NAP_NS = 1000000,
  LONGEST_NAP_NS = 16000000,
  WAITING_NAP_NS = 50000, /* with tasks that wait inside: nobody wakes the lane for them */
  SAMPLE_EVERY = 64
};

/* Tasks are known by their slot, or in the run of a graph by their node. */
static uint32_t kernel_of(const task_engine *engine, uint32_t task) {
  return engine->graph ? engine->graph->nodes[task].kernel : engine->window.slots[task].kernel;
}

static int is_long(const task_engine *engine, uint32_t kernel) {
  if (engine->lane_count == 1 || kernel == TASK_NO_KERNEL) return 0;
  uint32_t cost = atomic_load_explicit(&engine->cost[kernel % TASK_KERNELS], memory_order_relaxed);
  return !cost || cost >= TASK_LONG_NS;
}

/* Wakes one sleeper if there is any. One at a time: who wakes up and finds more work wakes the next. */
static void notify(task_engine *engine) {
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

void task_lane_push(task_engine *engine, task_lane *lane, uint32_t slot) {
  if (!is_long(engine, kernel_of(engine, slot))) {
    task_queue_push(&lane->queue, slot, memory_order_release);
    return;
  }
  task_queue_push(&lane->queue, slot | TASK_LONG, memory_order_seq_cst);
  if (!engine->held) notify(engine);
}

/* Before a long kernel: what the lane has claimed goes back, and others may take it. */
static void leave_work_to_others(task_engine *engine, task_lane *lane) {
  while (lane->batch_next < lane->batch_count)
    task_queue_push(&lane->queue, lane->batch[lane->batch_next++], memory_order_release);
  /* seq_cst: see notify */
  atomic_store_explicit(&lane->in_long, 1, memory_order_seq_cst);
  if (task_queue_count(&lane->queue)) notify(engine);
}

static int call_measured(task_engine *engine, const task_call *call) {
  int64_t begin = engine->hooks.clock(engine->hooks.context);
  int failed = engine->hooks.execute(engine->hooks.context, call);
  int64_t took = engine->hooks.clock(engine->hooks.context) - begin;
  _Atomic uint32_t *cost = &engine->cost[call->kernel % TASK_KERNELS];
  int64_t old = (int64_t)atomic_load_explicit(cost, memory_order_relaxed);
  /* a lane that was preempted in the middle says nothing of the kernel: one sample at most doubles the average, and what
  ** is shorter counts for more */
  int64_t most = old ? 2 * old + 1 : 1000000000, sample = took < 1 ? 1 : took > most ? most : took;
  int64_t average = !old ? sample : sample < old ? (old + sample) / 2 : old + (sample - old) / 4;
  if (engine->graph && engine->graph->replay.costs.measuring)
    task_replay_note_cost(engine, call->task.slot, took);
  /* two lanes may lose one sample */
  atomic_store_explicit(cost, (uint32_t)average, memory_order_relaxed);
  return failed;
}

/* What to call; false: the task fails without being called. */
static int prepare_call(const task_engine *engine, const task_lane *lane, uint32_t slot, task_call *call) {
  call->lane = lane->number;
  call->kernel = kernel_of(engine, slot);
  if (engine->graph) {
    call->payload = task_graph_payload(engine->graph, slot);
    call->task = (baton_task){slot, 1};
    return !atomic_load_explicit(&engine->graph->poisoned[slot], memory_order_relaxed);
  }
  const task_slot *task = &engine->window.slots[slot];
  call->payload = task_pool_at(&engine->pool, task->payload);
  call->task = (baton_task){slot, task->sequence};
  return !atomic_load_explicit(&task->poisoned, memory_order_relaxed);
}

/* Returns TASK_CALL_OK, TASK_CALL_FAILED or TASK_CALL_WAITS. */
static int execute(task_engine *engine, task_lane *lane, uint32_t slot) {
  task_call call;
  if (!prepare_call(engine, lane, slot, &call)) return 1;
  if (atomic_load_explicit(&engine->stop, memory_order_relaxed)) return 1;
  if (call.kernel == TASK_NO_KERNEL) return 0;
  uint32_t cost = atomic_load_explicit(&engine->cost[call.kernel % TASK_KERNELS], memory_order_relaxed);
  int is_long_now = engine->lane_count > 1 && (!cost || cost >= TASK_LONG_NS);
  if (is_long_now) leave_work_to_others(engine, lane);
  int measured = engine->graph && engine->graph->replay.costs.measuring;
  int failed = !cost || lane->calls++ % SAMPLE_EVERY == 0 || measured
                   ? call_measured(engine, &call)
                   : engine->hooks.execute(engine->hooks.context, &call);
  if (is_long_now) atomic_store_explicit(&lane->in_long, 0, memory_order_relaxed);
  return failed;
}

/* Gives the slot back and wakes an owner that waits for it. */
static void give_back(task_engine *engine, task_lane *lane, uint32_t slot) {
  if (lane->number == 0) {
    task_engine_free(engine, slot);
    return;
  }
  uint32_t count = task_window_return(&engine->window, slot);
  /* seq_cst: the other half is in owner_sleep */
  uint32_t target = atomic_load_explicit(&engine->owner_target, memory_order_seq_cst);
  if (target && count >= target) wake_owner(engine);
}

/* Completes a task; returns one of those that it made ready, if any, and queues the others. */
static uint32_t complete(task_engine *engine, task_lane *lane, uint32_t slot, int failed) {
  uint32_t next = TASK_NONE, edge = task_window_close(&engine->window, slot, failed, lane->number == 0);
  while (edge != TASK_NONE) {
    uint32_t ready = task_window_release(&engine->window, &edge, failed);
    if (ready == TASK_NONE) continue;
    if (next != TASK_NONE) task_lane_push(engine, lane, next);
    next = ready;
  }
  give_back(engine, lane, slot);
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

static uint32_t complete_any(task_engine *engine, task_lane *lane, uint32_t task, int failed) {
  return engine->graph ? complete_node(engine, lane, task, failed) : complete(engine, lane, task, failed);
}

/* Runs a task and, one after the other, what it makes ready. The owner is not carried away: long successors go to its
** queue, unless it waits anyway. */
static void run(task_engine *engine, task_lane *lane, uint32_t slot, int waiting) {
  while (slot != TASK_NONE) {
    int failed = execute(engine, lane, slot);
    if (failed == TASK_CALL_WAITS) {
      lane->waiting++;
      return;
    }
    slot = complete_any(engine, lane, slot, failed);
    if (slot != TASK_NONE && !waiting && is_long(engine, kernel_of(engine, slot))) {
      task_lane_push(engine, lane, slot);
      return;
    }
  }
}

static void run_batch(task_engine *engine, task_lane *lane, int waiting) {
  while (lane->batch_next < lane->batch_count)
    run(engine, lane, lane->batch[lane->batch_next++] & ~TASK_LONG, waiting);
}

/* Goes on with tasks that wait inside; true if there was progress. */
static int go_on(task_engine *engine, task_lane *lane) {
  task_end end;
  if (!lane->waiting) return 0;
  int stop = atomic_load_explicit(&engine->stop, memory_order_relaxed) != 0;
  int moved = engine->hooks.resume(engine->hooks.context, lane->number, stop, &end);
  if (moved == TASK_CALL_ENDED) {
    lane->waiting--;
    uint32_t ready = complete_any(engine, lane, end.task.slot, end.failed);
    if (ready != TASK_NONE) task_lane_push(engine, lane, ready);
  }
  return moved != TASK_CALL_WAITS;
}

static int claim(task_lane *lane, task_lane *victim, int any) {
  lane->batch_next = 0;
  /* half of what a victim has, so that it keeps some */
  uint32_t most = lane == victim ? TASK_BATCH : task_queue_count(&victim->queue) / 2 + 1;
  lane->batch_count =
      task_queue_claim(&victim->queue, lane->batch, most < TASK_BATCH ? most : TASK_BATCH, any);
  return lane->batch_count != 0;
}

static int may_take_any(const task_lane *lane, task_lane *victim, int rescue) {
  return lane == victim || rescue || atomic_load_explicit(&victim->in_long, memory_order_seq_cst);
}

/* Fills the lane's batch from its own queue, else from another's. `rescue`: short tasks of others too. */
static int find(task_engine *engine, task_lane *lane, int rescue) {
  if (claim(lane, lane, 1)) return 1;
  for (uint32_t i = 1; i < engine->lane_count; i++) {
    task_lane *victim = &engine->lanes[(lane->number + i) % engine->lane_count];
    if (claim(lane, victim, may_take_any(lane, victim, rescue))) return 1;
  }
  return 0;
}

/* True if find would have a chance. */
static int work_in_sight(const task_engine *engine, const task_lane *lane, int rescue) {
  for (uint32_t i = 0; i < engine->lane_count; i++) {
    task_lane *victim = &engine->lanes[(lane->number + i) % engine->lane_count];
    uint32_t top = atomic_load_explicit(&victim->queue.top, memory_order_relaxed);
    uint32_t bottom = atomic_load_explicit(&victim->queue.bottom, memory_order_seq_cst);
    if (top == bottom) continue;
    uint32_t first =
        atomic_load_explicit(&victim->queue.entries[top & victim->queue.mask], memory_order_relaxed);
    if (first & TASK_LONG || may_take_any(lane, victim, rescue)) return 1;
  }
  return 0;
}

void task_engine_help_after_submit(task_engine *engine) {
  task_lane *lane = &engine->lanes[0];
  if (engine->held || task_queue_count(&lane->queue) < TASK_HELP) return;
  for (uint32_t run = 0; run < TASK_HELP; run += TASK_BATCH) {
    uint32_t top = atomic_load_explicit(&lane->queue.top, memory_order_relaxed);
    uint32_t first = atomic_load_explicit(&lane->queue.entries[top & lane->queue.mask], memory_order_relaxed);
    if (first & TASK_LONG || !claim(lane, lane, 1))
      return; /* long ones are for the others; the owner submits on */
    run_batch(engine, lane, 0);
  }
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
      if (work_in_sight(engine, lane, 0)) notify(engine);
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

void task_engine_work(task_engine *engine, uint32_t number) {
  task_lane *lane = &engine->lanes[number];
  int64_t nap = FIRST_NAP_NS;
  int rescue = 0;
  if (task_lane_walk(engine, lane)) return;
  for (uint32_t spins = 0; !atomic_load_explicit(&engine->finished, memory_order_acquire); spins++) {
    if (work_in_sight(engine, lane, rescue) && work_burst(engine, lane, rescue)) {
      spins = 0;
      nap = FIRST_NAP_NS;
      rescue = 0;
    } else if (spins < SPINS) {
      base_relax();
    } else {
      uint32_t event = atomic_load_explicit(&engine->event, memory_order_seq_cst);
      rescue =
          !sleep_on_event(engine, lane, event, nap); /* what others have not run during a nap may be taken */
      nap = longer(nap);
    }
  }
}

/* Nothing runs, nothing waits in a queue, nothing comes back. */
static int at_rest(const task_engine *engine) {
  uint64_t idle = atomic_load_explicit(&engine->idle, memory_order_seq_cst);
  if ((uint32_t)idle != engine->lane_count - 1) return 0;
  if (engine->graph && atomic_load_explicit(&engine->graph->replay.holders, memory_order_seq_cst)) return 0;
  for (uint32_t i = 0; i < engine->lane_count; i++) {
    const task_queue *queue = &engine->lanes[i].queue;
    uint32_t top = atomic_load_explicit(&queue->top, memory_order_seq_cst);
    if (top != atomic_load_explicit(&queue->bottom, memory_order_seq_cst)) return 0;
  }
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
