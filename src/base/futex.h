/* base/futex.h - sleep until a 32-bit word changes. Linux futex; works across processes on shared memory. */
#ifndef BASE_FUTEX_H
#define BASE_FUTEX_H

#include "base/atomic.h"

/* Sleeps while *word == expected, at most until `deadline` (base_now's clock; INT64_MAX: none). May return early for
** no reason: check the condition again. False: the deadline has passed. Any thread. */
int base_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t deadline);

/* From this on, in nanoseconds, a sleep is cheaper than a look that goes on: four times what it takes to wake up. */
#define BASE_LOOK 20000

/* Looks at the word for a while, without sleep, until it is no longer `expected`: for what is about to come, where a CPU has
** nothing else to do. Any thread. */
void base_futex_look(const _Atomic uint32_t *word, uint32_t expected, int64_t nanoseconds);

/* Wakes at most `count` sleepers. */
void base_futex_wake(const _Atomic uint32_t *word, int count);

#endif
