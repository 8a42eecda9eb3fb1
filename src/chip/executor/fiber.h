/* chip/executor/fiber.h - stacks that kernels wait on: a lane leaves one in the middle of a kernel and comes back
** to it later.
**
** A fiber belongs to one thread from its start to its end. Sanitizers are told of every switch. */
#ifndef CHIP_FIBER_H
#define CHIP_FIBER_H

#include <stddef.h>

typedef struct chip_fiber chip_fiber;

/* A stack, with a guard page below it. NULL when the machine has no memory for it. Any thread. */
chip_fiber *chip_fiber_open(void);

/* It must not be started, or have ended. NULL is ignored. */
void chip_fiber_close(chip_fiber *fiber);

/* What the next resume calls. The fiber must be new, or have ended. */
void chip_fiber_start(chip_fiber *fiber, void (*entry)(void *argument), void *argument);

/* Lets the fiber run until it yields or its entry returns; true: it has returned. Not from a fiber. */
int chip_fiber_resume(chip_fiber *fiber);

/* On the fiber: goes back to who resumed it. */
void chip_fiber_yield(chip_fiber *fiber);

#endif
