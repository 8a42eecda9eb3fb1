/* task/rank.h - ready tasks with a priority: one list for all lanes, the highest priority first, those of one priority in the
** order in which they became ready. Freestanding.
**
** Tasks without a priority never come here, and while no other is ready nobody takes the lock. */
#ifndef TASK_RANK_H
#define TASK_RANK_H

#include "base/atomic.h"

struct task_engine;

enum { TASK_PRIORITY_SHIFT = 24 }; /* the priority of a task stands in its kernel, above the number */

typedef struct task_ranked {
  uint64_t key; /* smaller ones first */
  uint32_t task;
} task_ranked;

typedef struct task_ranks {
  BASE_ALIGNED _Atomic uint32_t count, urgent; /* tasks, those above priority 0; written under the lock */
  _Atomic uint32_t lock;                       /* 0: free, 1: taken, 2: and somebody sleeps */
  uint64_t number;                             /* of the next task */
  task_ranked *heap;
} task_ranks;

/* 0: priority 0. */
static inline uint32_t task_rank(uint32_t kernel) { return kernel >> TASK_PRIORITY_SHIFT; }
static inline int task_priority(uint32_t kernel) { return (int8_t)(uint8_t)(kernel >> TASK_PRIORITY_SHIFT); }

/* There is room for as many tasks as can be ready at once. Any lane. */
void task_ranks_push(struct task_engine *engine, uint32_t task, uint32_t kernel);

/* Claims the first one; with `urgent` only if its priority is above 0. False: there is none. Any lane, while it counts as
** busy. */
int task_ranks_claim(struct task_engine *engine, int urgent, uint32_t *task);

/* Drops all of them. No other lane is inside. */
void task_ranks_clear(struct task_engine *engine);

#endif
