#include "task/rank.h"
#include "task/state.h"

enum { SPINS = 100, NAP_NS = 1000000, FREE = 0, TAKEN, AWAITED };

#define NUMBERS (UINT64_C(1) << 56) /* in a key, below the priority */

static int try_lock(task_ranks *ranks) {
  uint32_t expected = FREE;
  /* acquire: what the last holder did */
  return atomic_compare_exchange_weak_explicit(&ranks->lock, &expected, TAKEN, memory_order_acquire,
                                               memory_order_relaxed);
}

static void lock(task_engine *engine) {
  task_ranks *ranks = &engine->ranks;
  for (uint32_t spins = 0; spins < SPINS; spins++) {
    if (try_lock(ranks)) return;
    base_relax();
  }
  while (atomic_exchange_explicit(&ranks->lock, AWAITED, memory_order_acquire) != FREE)
    (void)engine->hooks.park(engine->hooks.context, &ranks->lock, AWAITED, NAP_NS);
}

static void unlock(task_engine *engine) {
  /* release: what this holder did */
  if (atomic_exchange_explicit(&engine->ranks.lock, FREE, memory_order_release) == AWAITED)
    engine->hooks.wake(engine->hooks.context, &engine->ranks.lock, 0);
}

static int is_urgent(uint64_t key) { return key / NUMBERS < INT8_MAX; }

/* seq_cst: a lane that goes to sleep counts as a sleeper before it looks at them. */
static void count(task_ranks *ranks, uint64_t key, uint32_t change) {
  atomic_fetch_add_explicit(&ranks->count, change, memory_order_seq_cst);
  if (is_urgent(key)) atomic_fetch_add_explicit(&ranks->urgent, change, memory_order_seq_cst);
}

static void insert(task_ranks *ranks, uint32_t at, task_ranked entry) {
  task_ranked *heap = ranks->heap;
  for (; at && entry.key < heap[(at - 1) / 2].key; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = entry;
}

/* Takes the first of `left` + 1 entries. */
static void take_first(task_ranks *ranks, uint32_t left) {
  task_ranked *heap = ranks->heap, moved = heap[left];
  uint32_t at = 0;
  for (uint32_t child = 1; child < left; child = 2 * at + 1) {
    if (child + 1 < left && heap[child + 1].key < heap[child].key) child++;
    if (moved.key < heap[child].key) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = moved;
}

void task_ranks_push(task_engine *engine, uint32_t task, uint32_t kernel) {
  task_ranks *ranks = &engine->ranks;
  lock(engine);
  uint64_t rank = (uint64_t)(INT8_MAX - task_priority(kernel));
  task_ranked entry = {rank * NUMBERS + ranks->number++ % NUMBERS, task};
  insert(ranks, atomic_load_explicit(&ranks->count, memory_order_relaxed), entry);
  count(ranks, entry.key, 1);
  unlock(engine);
}

int task_ranks_claim(task_engine *engine, int urgent, uint32_t *task) {
  task_ranks *ranks = &engine->ranks;
  lock(engine);
  uint32_t all = atomic_load_explicit(&ranks->count, memory_order_relaxed);
  uint64_t key = all ? ranks->heap[0].key : 0;
  int found = all && (!urgent || is_urgent(key));
  if (found) {
    *task = ranks->heap[0].task;
    take_first(ranks, all - 1);
    count(ranks, key, UINT32_MAX);
  }
  unlock(engine);
  return found;
}

void task_ranks_clear(task_engine *engine) {
  /* relaxed: lanes come in through something that orders memory */
  atomic_store_explicit(&engine->ranks.count, 0, memory_order_relaxed);
  atomic_store_explicit(&engine->ranks.urgent, 0, memory_order_relaxed);
}
