/* task/pool.h - memory for the arguments of tasks: any size, freed in any order. Freestanding; the owner's alone.
**
** Small pieces come from slabs of one page, one size class a slab; a slab without pieces goes back to the heap of pages.
** Large pieces are runs of pages. So no mix of sizes can wear the pool out: what is free can be had for any size that
** the pages allow. */
#ifndef TASK_POOL_H
#define TASK_POOL_H

#include "base/heap.h"

enum { TASK_POOL_UNIT = 64, TASK_POOL_PAGE = 4096, TASK_POOL_CLASSES = 16 };

/* One page of the pool. */
typedef struct task_slab {
  uint32_t range;         /* of the heap of pages; first page of a piece or slab only */
  uint32_t free;          /* list of free pieces: 1 + unit within the page; 0: none */
  uint16_t class, live;   /* class 0: a large piece */
  uint16_t fresh, listed; /* units never handed out start here; in the list of its class */
  uint32_t before, after; /* in the list of its class: 1 + page */
} task_slab;

typedef struct task_pool {
  char *memory;
  task_slab *slabs;
  base_heap pages;
  uint32_t partial[TASK_POOL_CLASSES + 1]; /* slabs with room, by class: 1 + page */
} task_pool;

/* Bytes of memory for a pool of `bytes`. */
size_t task_pool_size(uint64_t bytes);

/* `memory` is zero, aligned to a page, and stays the caller's. */
void task_pool_init(task_pool *pool, void *memory, uint64_t bytes);

/* At least `bytes` bytes; returns the unit at which they begin (see task_pool_at), or UINT32_MAX. */
uint32_t task_pool_take(task_pool *pool, uint32_t bytes);

/* Gives back what task_pool_take returned. */
void task_pool_give(task_pool *pool, uint32_t unit);

static inline void *task_pool_at(const task_pool *pool, uint32_t unit) {
  return pool->memory + (uint64_t)unit * TASK_POOL_UNIT;
}

#endif
