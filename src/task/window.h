/* task/window.h - the tasks in flight, and the edges between them. Freestanding.
**
** One thread, the owner, takes slots and gives them back; any number of lanes complete tasks.
**
** Invariants.
** - A slot's fan_out is a list of edges while its task is unfinished, and TASK_CLOSED or TASK_CLOSED_FAILED from then
**   until the owner takes the slot again. Whoever finds it closed needs no edge.
** - An edge belongs to its consumer: the first four lie in the consumer's slot, the rest in a range of the edge pool
**   that the consumer holds. The consumer cannot complete before every edge of its has been released, so the memory of
**   an edge outlives its place in a list, and the owner frees what the consumer holds, never what a list shows.
** - fan_in counts the producers of a task that have not released it. It starts at all of them before the first edge is
**   pushed, and the owner releases those that it found closed after the last push; so it cannot reach zero before, and
**   whoever takes it there has the task.
** - Sequence numbers and marks are the owner's alone: finding out that a task is long gone costs no shared line. */
#ifndef TASK_WINDOW_H
#define TASK_WINDOW_H

#include "base/atomic.h"
#include "base/heap.h"
#include <stddef.h>

enum { TASK_OWN_EDGES = 4, TASK_FAILED_RANGES = 1024 };

#define TASK_NONE          UINT32_MAX
#define TASK_CLOSED        (UINT32_MAX - 1) /* values of fan_out; no edge has these numbers */
#define TASK_CLOSED_FAILED (UINT32_MAX - 2)

/* One task: one cache line. */
typedef struct task_slot {
  BASE_ALIGNED _Atomic uint32_t fan_in; /* open edges */
  _Atomic uint32_t fan_out;             /* the edges that wait for it, or closed */
  _Atomic uint32_t poisoned;            /* 1: a producer failed */
  uint32_t next; /* in the free list, among the returned, or among the hidden of a scope */
  uint32_t own_edges[TASK_OWN_EDGES]; /* each: the next edge of the list that it is in */
  uint32_t spilled,
      spilled_range; /* first edge in the pool, and the range of the pool; 0: none, as in free slots */
  uint32_t kernel;
  uint32_t payload;  /* in units of the argument pool */
  uint32_t held_at;  /* byte in the payload where the numbers of the held blocks begin */
  uint32_t held;     /* how many; 0 in a free slot */
  uint32_t sequence; /* number of the task, for whoever runs it */
  uint32_t room;     /* bytes of its argument memory, which a free slot may keep; 0: none */
} task_slot;

_Static_assert(sizeof(task_slot) == BASE_CACHE_LINE, "a task is one cache line");

/* An edge of the pool. */
typedef struct task_edge {
  uint32_t next, consumer;
} task_edge;

/* What the owner knows of a slot without touching it. */
typedef struct task_resident {
  uint32_t sequence; /* of the task in it; 0: none */
  uint32_t mark;     /* the last draft that listed it as a producer */
} task_resident;

/* Sequence numbers of failed tasks whose slots were taken again, as ranges. */
typedef struct task_failures {
  uint32_t count;
  uint32_t all; /* too many ranges to remember: every task counts as failed from here on */
  struct {
    uint32_t first, last;
  } ranges[TASK_FAILED_RANGES];
} task_failures;

typedef struct task_window {
  task_slot *slots;
  task_resident *residents;
  task_edge *edges;
  uint32_t *producers; /* of the draft: slots that were live when they were found */
  uint32_t producer_count;
  uint32_t draft;          /* number of the draft, for marks */
  uint32_t draft_poisoned; /* 1: a producer of the draft has failed */
  uint32_t capacity, fresh, free, live, high;
  uint32_t sequence; /* of the last task */
  uint32_t alone;    /* no other lane completes tasks: nothing need be atomic */
  uint32_t edge_capacity;
  base_heap edge_heap;
  task_failures failures;
  BASE_ALIGNED _Atomic uint64_t
      returned; /* low half: list of completed slots (1 + number); high half: pushes */
} task_window;

/* Bytes of memory for `capacity` tasks and `edges` pooled edges. */
size_t task_window_size(uint32_t capacity, uint32_t edges);

/* `memory` is zero, aligned to a cache line, and stays the caller's. */
void task_window_init(task_window *window, void *memory, uint32_t capacity, uint32_t edges);

/* Owner: forgets all tasks; none may be live. Sequence numbers go on, so that old handles stay dead. */
void task_window_reset(task_window *window);

/* Owner: the slot that the next task would get, or TASK_NONE. It stays free, first in its list. */
static inline uint32_t task_window_peek(task_window *window) {
  if (window->free == TASK_NONE && window->fresh < window->capacity) {
    window->slots[window->fresh].next = TASK_NONE;
    window->free = window->fresh++;
  }
  return window->free;
}

/* After 2^32 drafts an old mark could look like a new one. */
void task_window_renumber_drafts(task_window *window);

/* Owner: begins a list of producers, for task_window_depend. */
static inline void task_window_begin_draft(task_window *window) {
  if (__builtin_expect(++window->draft == 0, 0)) task_window_renumber_drafts(window);
  window->producer_count = 0;
  window->draft_poisoned = window->failures.all;
}

/* Owner: the number of the next task; 0 is none. */
static inline uint32_t task_window_number(task_window *window) {
  if (__builtin_expect(++window->sequence == 0, 0)) window->sequence = 1;
  return window->sequence;
}

/* Owner: takes the slot that task_window_peek shows, for the task of this number and the producers of the draft. */
static inline void task_window_claim(task_window *window, uint32_t slot, uint32_t sequence) {
  task_slot *task = &window->slots[slot];
  task_resident *resident = &window->residents[slot];
  window->free = task->next;
  /* relaxed: nobody knows the slot before task_window_link publishes it */
  atomic_store_explicit(&task->fan_out, TASK_NONE, memory_order_relaxed);
  task->sequence = resident->sequence = sequence;
  resident->mark = window->draft; /* no task depends on itself */
  if (++window->live > window->high) window->high = window->live;
}

/* Owner: a slot for a new task, or TASK_NONE. Begins a draft: no producers yet. */
uint32_t task_window_take(task_window *window);

/* Owner: lets go of the pooled edges of a slot, and remembers its failure. */
void task_window_give_all(task_window *window, uint32_t slot);

/* Owner: makes a completed slot, or a draft that was never linked, free again. */
static inline void task_window_give(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  /* relaxed: the slot came back through an acquire, or was completed by the owner itself */
  uint32_t fan_out = atomic_load_explicit(&task->fan_out, memory_order_relaxed);
  if (__builtin_expect(task->spilled_range || fan_out == TASK_CLOSED_FAILED, 0))
    task_window_give_all(window, slot);
  window->residents[slot].sequence = 0;
  task->next = window->free;
  window->free = slot;
  window->live--;
}

/* Owner: true if the task is in the window, finished or not. */
static inline int task_window_holds(const task_window *window, uint32_t slot, uint32_t sequence) {
  return sequence && slot < window->capacity && window->residents[slot].sequence == sequence;
}

int task_failures_find(const task_failures *failures, uint32_t sequence);
static inline int task_failures_any(const task_failures *failures) {
  return failures->count || failures->all;
}

/* Owner: the draft depends on this task. A task that is gone adds nothing, or poison if it failed. */
static inline void task_window_depend(task_window *window, uint32_t slot, uint32_t sequence) {
  task_resident *resident = &window->residents[slot];
  if (resident->sequence != sequence) {
    if (__builtin_expect(task_failures_any(&window->failures), 0) &&
        task_failures_find(&window->failures, sequence))
      window->draft_poisoned = 1;
    return;
  }
  if (resident->mark == window->draft) return;
  resident->mark = window->draft;
  window->producers[window->producer_count++] = slot;
}

/* Owner: takes those that have completed since off the draft's producers: they need no edge. */
void task_window_drop_closed(task_window *window);

/* Owner: room for the edges of the draft in slot `slot`. False: the edge pool is too full now; the draft's producers are
** then only those that have not completed. */
int task_window_reserve_edges(task_window *window, uint32_t slot);

/* Owner: hangs the draft on its producers and takes the bias off. True: the task is ready, and the caller has it. */
int task_window_link_edges(task_window *window, uint32_t slot);

/* The same where nobody else completes the producers meanwhile, and each edge has its place in the slot. */
static inline void task_window_link_alone(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  for (uint32_t i = 0; i < window->producer_count; i++) {
    /* relaxed, here and below: there is one thread */
    _Atomic uint32_t *fan_out = &window->slots[window->producers[i]].fan_out;
    task->own_edges[i] = atomic_load_explicit(fan_out, memory_order_relaxed);
    atomic_store_explicit(fan_out, slot * TASK_OWN_EDGES + i, memory_order_relaxed);
  }
}

/* The same for a task without producers, which is ready. */
static inline void task_window_link_nobody(task_window *window, uint32_t slot) {
  /* relaxed: nobody else has heard of the task */
  atomic_store_explicit(&window->slots[slot].poisoned, 0, memory_order_relaxed);
}

static inline int task_window_link(task_window *window, uint32_t slot) {
  task_slot *task = &window->slots[slot];
  /* relaxed, both: the pushes of edges publish the slot */
  atomic_store_explicit(&task->poisoned, window->draft_poisoned, memory_order_relaxed);
  if (!window->producer_count) return 1;
  atomic_store_explicit(&task->fan_in, window->producer_count, memory_order_relaxed);
  if (!window->alone || window->producer_count > TASK_OWN_EDGES) return task_window_link_edges(window, slot);
  task_window_link_alone(window, slot);
  return 0;
}

/* Owner: as task_window_link, for a task that must not start before task_window_show, which returns true if it is ready
** then: the caller has it. */
void task_window_link_hidden(task_window *window, uint32_t slot);
int task_window_show(task_window *window, uint32_t slot);

/* Any lane: closes a task; returns the list of edges that waited for it. `owner`: the caller is the owner, who alone pushes
** edges, so that nothing can come in between. */
static inline uint32_t task_window_close(task_window *window, uint32_t slot, int failed, int owner) {
  _Atomic uint32_t *fan_out = &window->slots[slot].fan_out;
  uint32_t closed = failed ? TASK_CLOSED_FAILED : TASK_CLOSED;
  if (owner) {
    uint32_t list = atomic_load_explicit(fan_out, memory_order_relaxed);
    atomic_store_explicit(fan_out, closed, memory_order_relaxed);
    return list;
  }
  /* acquire: the links of the edges; release: what the task wrote, for an owner that finds it closed */
  return atomic_exchange_explicit(fan_out, closed, memory_order_acq_rel);
}

/* Any lane: releases one edge of a closed list and steps to the next. Returns the consumer if that made it ready, else
** TASK_NONE. */
static inline uint32_t task_window_release(task_window *window, uint32_t *edge, int failed) {
  uint32_t number = *edge, own = window->capacity * TASK_OWN_EDGES, consumer;
  if (number < own) {
    consumer = number / TASK_OWN_EDGES;
    *edge = window->slots[consumer].own_edges[number % TASK_OWN_EDGES];
  } else {
    consumer = window->edges[number - own].consumer;
    *edge = window->edges[number - own].next;
  }
  task_slot *slot = &window->slots[consumer];
  if (failed)
    atomic_store_explicit(&slot->poisoned, 1, memory_order_relaxed); /* ordered by the release below */
  /* The last one needs no decrement: nobody else has the slot's number any more. acquire: what all producers wrote. */
  uint32_t open = atomic_load_explicit(&slot->fan_in, memory_order_acquire);
  if (open == 1) return consumer;
  if (window->alone) {
    atomic_store_explicit(&slot->fan_in, open - 1, memory_order_relaxed);
    return TASK_NONE;
  }
  /* release: what this producer wrote; acquire as above */
  return atomic_fetch_sub_explicit(&slot->fan_in, 1, memory_order_acq_rel) == 1 ? consumer : TASK_NONE;
}

/* Any lane but the owner's: sends completed slots back: `count` from `first` to `last`, each linked to the next by `next`
** (1 + number). Returns how many were sent since the owner last looked. */
static inline uint32_t task_window_return(task_window *window, uint32_t first, uint32_t last,
                                          uint32_t count) {
  uint64_t old = atomic_load_explicit(&window->returned, memory_order_relaxed), now;
  do {
    window->slots[last].next = (uint32_t)old;
    now = ((old >> 32) + count) << 32 | (first + 1);
    /* seq_cst, not release: the caller then reads whether the owner sleeps */
  } while (!atomic_compare_exchange_weak_explicit(&window->returned, &old, now, memory_order_seq_cst,
                                                  memory_order_relaxed));
  return (uint32_t)(now >> 32);
}

/* Owner: takes the list of returned slots (1 + number, linked by `next`; 0: none). */
static inline uint32_t task_window_returned(task_window *window) {
  if ((uint32_t)atomic_load_explicit(&window->returned, memory_order_relaxed) == 0) return 0;
  return (uint32_t)atomic_exchange_explicit(&window->returned, 0, memory_order_acquire);
}

#endif
