/* task/queue.h - ready tasks of one lane. Freestanding.
**
** The lane's thread pushes at the bottom; any thread, the lane's own too, claims a run of entries at the top with one
** compare-exchange. So nothing is ordered between pushing and claiming but the two counters, a claim of many costs what
** a claim of one costs, and everything that waits here can be stolen. First in, first out. */
#ifndef TASK_QUEUE_H
#define TASK_QUEUE_H

#include "base/atomic.h"

/* In an entry. */
#define TASK_ENTRY_OFFERED 0x80000000u /* worth crossing to another CPU: others may take it */
#define TASK_ENTRY_ALONE   0x40000000u /* long enough to be claimed alone */
#define TASK_ENTRY_FLAGS   (TASK_ENTRY_OFFERED | TASK_ENTRY_ALONE)

typedef struct task_queue {
  BASE_ALIGNED _Atomic uint32_t top;    /* next to claim */
  BASE_ALIGNED _Atomic uint32_t bottom; /* next to push; written by the lane's thread only */
  _Atomic uint32_t *entries;
  uint32_t mask;
} task_queue;

/* `entries` has room for `capacity` entries, a power of two, not less than the tasks that can be ready at once. */
static inline void task_queue_init(task_queue *queue, _Atomic uint32_t *entries, uint32_t capacity) {
  atomic_store_explicit(&queue->top, 0, memory_order_relaxed);
  atomic_store_explicit(&queue->bottom, 0, memory_order_relaxed);
  queue->entries = entries;
  queue->mask = capacity - 1;
}

/* The lane's thread. `order` is release, or seq_cst if the caller then reads who sleeps. */
static inline void task_queue_push(task_queue *queue, uint32_t entry, memory_order order) {
  uint32_t bottom = atomic_load_explicit(&queue->bottom, memory_order_relaxed);
  atomic_store_explicit(&queue->entries[bottom & queue->mask], entry, memory_order_relaxed);
  if (order == memory_order_seq_cst)
    atomic_store_explicit(&queue->bottom, bottom + 1, memory_order_seq_cst);
  else /* release: the entry, and the task behind it */
    atomic_store_explicit(&queue->bottom, bottom + 1, memory_order_release);
}

/* The lane's thread: marks the entry that was pushed at `position`, if it is still there, as offered. */
static inline void task_queue_offer(task_queue *queue, uint32_t position) {
  _Atomic uint32_t *entry = &queue->entries[position & queue->mask];
  /* relaxed, both: only this thread writes entries, and whoever has claimed it does not look again */
  atomic_store_explicit(entry, atomic_load_explicit(entry, memory_order_relaxed) | TASK_ENTRY_OFFERED,
                        memory_order_relaxed);
}

/* Entries that wait. Exact only for the lane's thread while nobody steals. */
static inline uint32_t task_queue_count(const task_queue *queue) {
  uint32_t top = atomic_load_explicit(&queue->top, memory_order_relaxed);
  return atomic_load_explicit(&queue->bottom, memory_order_relaxed) - top;
}

/* The lane's thread, where there is no other: the next entry into *out. False: there is none. */
static inline int task_queue_pop_alone(task_queue *queue, uint32_t *out) {
  /* relaxed, all: there is one thread */
  uint32_t top = atomic_load_explicit(&queue->top, memory_order_relaxed);
  if (top == atomic_load_explicit(&queue->bottom, memory_order_relaxed)) return 0;
  *out = atomic_load_explicit(&queue->entries[top & queue->mask], memory_order_relaxed);
  atomic_store_explicit(&queue->top, top + 1, memory_order_relaxed);
  return 1;
}

/* Claims up to `most` entries into `out`, or a single one that is to be claimed alone if it is first; with `any` == 0
** only entries that are offered. Returns how many. Any thread. */
static inline uint32_t task_queue_claim(task_queue *queue, uint32_t *out, uint32_t most, int any) {
  /* acquire: an entry is never read before the top that protects it */
  uint32_t top = atomic_load_explicit(&queue->top, memory_order_acquire);
  for (;;) {
    /* seq_cst: one half of "push, then look for sleepers" against "fall asleep, then look for work" */
    uint32_t bottom = atomic_load_explicit(&queue->bottom, memory_order_seq_cst), count = 0;
    while (count < most && (int32_t)(bottom - top - count) > 0) {
      uint32_t entry =
          atomic_load_explicit(&queue->entries[(top + count) & queue->mask], memory_order_relaxed);
      if (!any && !(entry & TASK_ENTRY_OFFERED)) break;
      if (count && entry & TASK_ENTRY_ALONE) break;
      out[count++] = entry;
      if (entry & TASK_ENTRY_ALONE) break;
    }
    if (!count) return 0;
    /* acquire: the tasks come with the load of bottom; release keeps the reads of entries before the new top */
    if (atomic_compare_exchange_weak_explicit(&queue->top, &top, top + count, memory_order_acq_rel,
                                              memory_order_acquire))
      return count;
  }
}

#endif
