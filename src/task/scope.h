/* task/scope.h - memory that the runtime owns, and the scopes that end its life. Freestanding; the owner's alone.
**
** A block is a piece of the device heap. It is held by the scope that it was made in and by each unfinished task that
** was given it; whoever lets go last frees it, in any order. The end of the scope kills the handle at once. */
#ifndef TASK_SCOPE_H
#define TASK_SCOPE_H

#include "base/heap.h"

enum { TASK_SCOPE_DEPTH = 64 };

typedef struct task_block {
  uint32_t range;      /* of the heap; 0: the record is free */
  uint32_t generation; /* of the handle: the number of the scope that it was made in; 0 once that has ended */
  uint32_t holders;    /* the open scope and unfinished tasks */
  uint32_t next;       /* in its scope, or in the free list; 0: none */
  uint32_t maker_slot, maker; /* the task that gave it its first contents; generation 0: none */
} task_block;

typedef struct task_scope {
  uint32_t number;                    /* counts all scopes ever opened, from 1 */
  uint32_t manual;                    /* no inferred edges inside */
  uint32_t hidden;                    /* tasks that start when it ends: how many, … */
  uint32_t first_hidden, last_hidden; /* … slots, linked by `next` (1 + number); 0: none */
  uint32_t blocks;                    /* list; 0: none */
  uint32_t block_count;
  uint64_t bytes; /* of its blocks */
} task_scope;

typedef struct task_scopes {
  base_heap heap;
  task_block *blocks; /* blocks[0] is not used */
  uint32_t block_capacity, block_fresh, block_free;
  uint32_t depth;      /* of the innermost open scope; 0: the run's own */
  uint32_t last;       /* number of the last scope */
  uint32_t all_manual; /* in this run every scope is */
  task_scope open[TASK_SCOPE_DEPTH + 1];
} task_scopes;

/* Bytes of memory for at most `blocks` blocks. */
size_t task_scopes_size(uint32_t blocks);

/* A heap of `bytes` in pieces of `unit`. `memory` is zero, aligned to a cache line, and stays the caller's. */
void task_scopes_init(task_scopes *scopes, void *memory, uint64_t bytes, uint64_t unit, uint32_t blocks);

/* Opens the run's own scope. Everything of the run before must be gone. */
void task_scopes_reset(task_scopes *scopes, int all_manual);

/* False: too deep. */
int task_scope_begin(task_scopes *scopes, int manual);

/* True if no edges are inferred now. */
static inline int task_scopes_are_manual(const task_scopes *scopes) {
  return scopes->open[scopes->depth].manual != 0;
}

/* False: only the run's own scope is open. Never waits. */
int task_scope_end(task_scopes *scopes);

/* Ends all scopes, the run's own too. */
void task_scopes_end_all(task_scopes *scopes);

/* A new block in the innermost scope; its number, or 0 if the heap has no room now. */
uint32_t task_block_take(task_scopes *scopes, uint64_t bytes, uint64_t *offset);

/* True if the handle is alive: the scope of the block is still open. */
static inline int task_block_alive(const task_scopes *scopes, uint32_t block, uint32_t generation) {
  return block < scopes->block_fresh && scopes->blocks[block].generation == generation;
}

static inline void task_block_hold(task_scopes *scopes, uint32_t block) { scopes->blocks[block].holders++; }

/* Lets go of a block; frees it if nobody else holds it. */
void task_block_release(task_scopes *scopes, uint32_t block);

/* The open scope that holds most bytes, and the one that hides most tasks. */
const task_scope *task_scope_largest(const task_scopes *scopes);
const task_scope *task_scope_most_hidden(const task_scopes *scopes);

#endif
