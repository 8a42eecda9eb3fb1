/* What the owner does with a task at its submit: how far it runs ahead of the lanes, and what it runs itself. */
#include "task/state.h"

enum {
  PATIENCE = 256, /* looks in which nothing comes back */
  LEAD = 256,     /* tasks in flight */
  CHAIN = 4,      /* so many such tasks make a chain … */
  PROBE = 64      /* … in which one of so many is queued, to see whether the next one still waits for it */
};

/* True if the owner may run a task of this kernel between two submits. */
static int stays_short(const task_engine *engine, uint32_t kernel) {
  uint32_t cost = task_cost(engine, kernel);
  return cost < TASK_STAYS_NS || cost <= engine->stays;
}

/* True if the next task of the owner's queue is one that it may run between two submits. */
static int next_is_for_owner(const task_engine *engine) {
  const task_queue *queue = &engine->lanes[0].queue;
  if (!task_queue_count(queue)) return 0;
  uint32_t top = atomic_load_explicit(&queue->top, memory_order_relaxed);
  uint32_t entry = atomic_load_explicit(&queue->entries[top & queue->mask], memory_order_relaxed);
  return stays_short(engine, engine->window.slots[entry & ~TASK_ENTRY_FLAGS].kernel);
}

/* With enough in its queue for the others the owner runs some of it. */
static void help(task_engine *engine) {
  if (engine->held) return;
  for (uint32_t run = 0; run < TASK_HELP && next_is_for_owner(engine); run += TASK_BATCH)
    if (!task_lane_help(engine, 0)) return;
}

static inline void help_after_submit(task_engine *engine) {
  if (__builtin_expect(task_queue_count(&engine->lanes[0].queue) >= TASK_HELP, 0)) help(engine);
}

/* Tasks that others may take stay for them. */
void task_start_waiting(task_engine *engine) {
  if (engine->held || !next_is_for_owner(engine)) return;
  const task_queue *queue = &engine->lanes[0].queue;
  uint32_t top = atomic_load_explicit(&queue->top, memory_order_relaxed);
  uint32_t entry = atomic_load_explicit(&queue->entries[top & queue->mask], memory_order_relaxed);
  if (!(entry & TASK_ENTRY_OFFERED)) help(engine);
}

static int producers_are_short(const task_engine *engine) {
  const task_window *window = &engine->window;
  for (uint32_t i = 0; i < window->producer_count; i++)
    if (task_cost(engine, window->slots[window->producers[i]].kernel) > engine->stays) return 0;
  return 1;
}

/* Short tasks on their way through other lanes end soon; another task behind them would only keep the way long. False: in
** vain. */
static int await_producers(task_engine *engine) {
  task_window *window = &engine->window;
  for (uint32_t look = 0; look < PATIENCE && window->producer_count; look++) {
    if (!producers_are_short(engine)) return 0;
    if (!task_lane_help(engine, 1)) base_relax();
    if (task_engine_reclaim(engine)) look = 0;
    task_window_drop_closed(window);
  }
  return !window->producer_count;
}

/* Far ahead of the lanes there is no hurry. If the owner finds nothing to do while they catch up, there is no parallelism,
** and it waits until all is done, so that what comes next need not cross to another CPU. False: in vain. */
static int await_lanes(task_engine *engine) {
  task_window *window = &engine->window;
  uint32_t enough = 1;
  for (uint32_t look = 0; look < PATIENCE && window->live > enough; look++) {
    if (task_lane_help(engine, 1)) {
      enough = LEAD / 2;
      look = 0;
    } else {
      base_relax();
    }
    if (task_engine_reclaim(engine)) look = 0;
  }
  task_window_drop_closed(window);
  return window->live <= enough;
}

/* A wait in vain is not tried again for a while, and then less and less often. */
static void await_others(task_engine *engine, uint32_t kernel) {
  uint32_t cost = task_cost(engine, kernel);
  if (cost >= TASK_CHAIN_NS || engine->lane_count == 1) return;
  if (cost > engine->stays && engine->window.live < LEAD) return;
  if (engine->backoff_left) {
    engine->backoff_left--;
    return;
  }
  int done = cost > engine->stays ? await_lanes(engine) : await_producers(engine);
  uint32_t more = 2 * engine->backoff + 1;
  engine->backoff = done ? 0 : more < TASK_CREDIT ? more : TASK_CREDIT;
  engine->backoff_left = engine->backoff;
}

void task_start_catch_up(task_engine *engine, uint32_t kernel) {
  task_window *window = &engine->window;
  if (engine->held || engine->by_scope || engine->policy != TASK_AUTO) return;
  (void)task_engine_reclaim(engine);
  task_window_drop_closed(window);
  if (window->producer_count && next_is_for_owner(engine)) {
    (void)task_lane_help(engine, 0);
    task_window_drop_closed(window);
    int alone = !window->producer_count && window->live == 1;
    engine->streak = alone ? engine->streak + 1 : 0;
  }
  if (window->producer_count) await_others(engine, kernel);
}

/* True if a task of this kernel looks like the next one of a chain; `others` is what else is in flight. */
static int goes_on_chain(task_engine *engine, uint32_t kernel, uint32_t others) {
  if (__builtin_expect(engine->streak < CHAIN, 1)) return 0;
  if (others || !engine->elides || task_cost(engine, kernel) >= TASK_STAYS_NS) return 0;
  return ++engine->streak % PROBE != 0;
}

int task_start_at_once(task_engine *engine, uint32_t kernel) {
  return goes_on_chain(engine, kernel, engine->window.live);
}

/* One task that is ready and worth offering stays hidden until there is another one: in a chain each task is then run by
** the owner when the next one comes, and none crosses to another CPU. Lanes that slept long enough find it all the same. */
static void push_hidden(task_engine *engine, uint32_t slot, uint32_t flags) {
  task_queue *queue = &engine->lanes[0].queue;
  uint32_t position = atomic_load_explicit(&queue->bottom, memory_order_relaxed);
  int pair = engine->hidden &&
             (int32_t)(engine->hidden - 1 - atomic_load_explicit(&queue->top, memory_order_relaxed)) >= 0;
  if (pair) {
    engine->streak = 0;
    task_queue_offer(queue, engine->hidden - 1);
  }
  engine->hidden = position + 1;
  /* seq_cst: see task_lane_notify */
  task_queue_push(queue, slot | (flags & ~TASK_ENTRY_OFFERED), memory_order_seq_cst);
  if (pair) task_lane_notify(engine);
}

void task_start_queued(task_engine *engine, uint32_t slot, uint32_t kernel) {
  task_lane *lane = &engine->lanes[0];
  uint32_t flags = engine->stays == UINT32_MAX ? 0 : task_flags(engine, kernel);
  if (__builtin_expect(task_rank(kernel), 0))
    task_lane_push(engine, lane, slot);
  else if (flags)
    task_lane_offer(engine, lane, slot | flags);
  else
    task_queue_push(&lane->queue, slot, memory_order_release);
  help_after_submit(engine);
}

void task_start(task_engine *engine, uint32_t slot, uint32_t kernel) {
  task_lane *lane = &engine->lanes[0];
  uint32_t flags = task_flags(engine, kernel);
  if (engine->policy == TASK_AUTO && !engine->held && !task_rank(kernel)) {
    if (!flags || goes_on_chain(engine, kernel, engine->window.live - 1)) {
      task_lane_run(engine, lane, slot, 0);
      return;
    }
    if (task_cost(engine, kernel) < TASK_STAYS_NS) {
      push_hidden(engine, slot, flags);
      help_after_submit(engine);
      return;
    }
  }
  task_start_queued(engine, slot, kernel);
}
