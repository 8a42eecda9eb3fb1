#include "task/window.h"
#include <string.h>

enum { EDGE_UNIT = 8 }; /* edges; the granularity of the pool */

size_t task_window_size(uint32_t capacity, uint32_t edges) {
  return base_whole_lines(capacity * sizeof(task_slot)) + base_whole_lines(capacity * sizeof(task_resident)) +
         base_whole_lines(capacity * sizeof(uint32_t)) + base_whole_lines(edges * sizeof(task_edge)) +
         base_whole_lines(base_heap_records_size(edges / EDGE_UNIT));
}

void task_window_init(task_window *window, void *memory, uint32_t capacity, uint32_t edges) {
  char *at = memory;
  memset(window, 0, sizeof *window);
  window->slots = (task_slot *)at;
  at += base_whole_lines(capacity * sizeof(task_slot));
  window->residents = (task_resident *)at;
  at += base_whole_lines(capacity * sizeof(task_resident));
  window->producers = (uint32_t *)at;
  at += base_whole_lines(capacity * sizeof(uint32_t));
  window->edges = (task_edge *)at;
  at += base_whole_lines(edges * sizeof(task_edge));
  window->capacity = capacity;
  window->edge_capacity = edges;
  base_heap_init(&window->edge_heap, edges, EDGE_UNIT, at, edges / EDGE_UNIT);
  window->free = TASK_NONE;
}

void task_window_reset(task_window *window) {
  if (window->sequence > UINT32_MAX / 2) window->sequence = 0; /* a run does not meet the wrap */
  window->failures.count = 0;
  window->failures.all = 0;
  window->high = 0;
  window->edge_heap.high = 0;
}

void task_window_renumber_drafts(task_window *window) {
  for (uint32_t slot = 0; slot < window->fresh; slot++) window->residents[slot].mark = 0;
  window->draft = 1;
}

uint32_t task_window_take(task_window *window) {
  uint32_t slot = task_window_peek(window);
  if (slot == TASK_NONE) return TASK_NONE;
  task_window_begin_draft(window);
  task_window_claim(window, slot, task_window_number(window));
  return slot;
}

int task_failures_find(const task_failures *failures, uint32_t sequence) {
  if (failures->all) return 1;
  uint32_t low = 0, high = failures->count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (failures->ranges[middle].last < sequence)
      low = middle + 1;
    else
      high = middle;
  }
  return low < failures->count && failures->ranges[low].first <= sequence;
}

static void failures_add(task_failures *failures, uint32_t sequence) {
  uint32_t at = failures->count;
  while (at > 0 && failures->ranges[at - 1].first > sequence) at--;
  int joins_before = at > 0 && failures->ranges[at - 1].last + 1 == sequence;
  int joins_after = at < failures->count && failures->ranges[at].first == sequence + 1;
  if (joins_before && joins_after) {
    failures->ranges[at - 1].last = failures->ranges[at].last;
    memmove(&failures->ranges[at], &failures->ranges[at + 1],
            (failures->count - at - 1) * sizeof *failures->ranges);
    failures->count--;
  } else if (joins_before) {
    failures->ranges[at - 1].last = sequence;
  } else if (joins_after) {
    failures->ranges[at].first = sequence;
  } else if (failures->count == TASK_FAILED_RANGES) {
    failures->all = 1;
  } else {
    memmove(&failures->ranges[at + 1], &failures->ranges[at],
            (failures->count - at) * sizeof *failures->ranges);
    failures->ranges[at].first = failures->ranges[at].last = sequence;
    failures->count++;
  }
}

void task_window_give_all(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  if (task->spilled_range) base_heap_free(&window->edge_heap, task->spilled_range);
  task->spilled_range = 0;
  /* relaxed: as in task_window_give */
  if (atomic_load_explicit(&task->fan_out, memory_order_relaxed) == TASK_CLOSED_FAILED)
    failures_add(&window->failures, window->residents[slot].sequence);
}

void task_window_drop_closed(task_window *window) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < window->producer_count; i++) {
    uint32_t producer = window->producers[i];
    /* acquire: the draft may read what a closed producer wrote */
    uint32_t head = atomic_load_explicit(&window->slots[producer].fan_out, memory_order_acquire);
    if (head == TASK_CLOSED_FAILED) window->draft_poisoned = 1;
    if (head != TASK_CLOSED && head != TASK_CLOSED_FAILED) window->producers[kept++] = producer;
  }
  window->producer_count = kept;
}

int task_window_reserve_edges(task_window *window, uint32_t slot) {
  uint32_t count = window->producer_count;
  task_slot *task = &window->slots[slot];
  if (count <= TASK_OWN_EDGES || task->spilled_range) return 1;
  uint64_t first;
  task->spilled_range = base_heap_alloc(&window->edge_heap, count - TASK_OWN_EDGES, &first);
  if (!task->spilled_range) {
    task_window_drop_closed(window);
    return window->producer_count <= TASK_OWN_EDGES;
  }
  task->spilled = (uint32_t)first;
  return 1;
}

/* Pushes edge `number`, whose link is `*next`, onto a producer's list. False: the producer is closed. */
static int push_edge(task_window *window, uint32_t producer, uint32_t number, uint32_t *next) {
  task_slot *task = &window->slots[producer];
  uint32_t head = atomic_load_explicit(&task->fan_out, memory_order_acquire);
  do {
    if (head == TASK_CLOSED) return 0;
    if (head == TASK_CLOSED_FAILED) {
      window->draft_poisoned = 1;
      return 0;
    }
    *next = head;
    /* release: the link and the draft's fields, for the lane that closes the list; acquire on failure: it may be
    ** closed now, and the draft may then read what the producer wrote */
  } while (!atomic_compare_exchange_weak_explicit(&task->fan_out, &head, number, memory_order_release,
                                                  memory_order_acquire));
  return 1;
}

static int push_own_or_spilled(task_window *window, uint32_t slot, uint32_t i) {
  task_slot *task = &window->slots[slot];
  uint32_t producer = window->producers[i];
  if (i < TASK_OWN_EDGES) return push_edge(window, producer, slot * TASK_OWN_EDGES + i, &task->own_edges[i]);
  uint32_t spilled = task->spilled + i - TASK_OWN_EDGES;
  window->edges[spilled].consumer = slot;
  return push_edge(window, producer, window->capacity * TASK_OWN_EDGES + spilled,
                   &window->edges[spilled].next);
}

/* Returns how many producers were closed. */
static uint32_t push_edges(task_window *window, uint32_t slot) {
  uint32_t closed = 0;
  for (uint32_t i = 0; i < window->producer_count; i++) closed += !push_own_or_spilled(window, slot, i);
  if (window->draft_poisoned) atomic_store_explicit(&window->slots[slot].poisoned, 1, memory_order_relaxed);
  return closed;
}

int task_window_link_edges(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  uint32_t count = window->producer_count, closed = push_edges(window, slot);
  if (!closed) return 0;
  if (closed == count) return 1; /* nobody else has heard of the task */
  /* as a release of the closed ones: see task_window_release */
  return atomic_fetch_sub_explicit(&task->fan_in, closed, memory_order_acq_rel) == closed;
}

/* One edge more than there are producers: that of the scope. */
void task_window_link_hidden(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  /* relaxed, both: the pushes of edges publish the slot */
  atomic_store_explicit(&task->poisoned, window->draft_poisoned, memory_order_relaxed);
  atomic_store_explicit(&task->fan_in, window->producer_count + 1, memory_order_relaxed);
  uint32_t closed = push_edges(window, slot);
  if (closed) (void)atomic_fetch_sub_explicit(&task->fan_in, closed, memory_order_acq_rel);
}

int task_window_show(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  /* orders as in task_window_release */
  if (atomic_load_explicit(&task->fan_in, memory_order_acquire) == 1) return 1;
  return atomic_fetch_sub_explicit(&task->fan_in, 1, memory_order_acq_rel) == 1;
}
