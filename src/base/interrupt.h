/* base/interrupt.h - how somebody who waits inside Baton learns that his user wants no more of it (Ctrl-C at a prompt).
**
** It concerns the waits of threads that called base_interrupt_watch; all others wait as if there was nothing. */
#ifndef BASE_INTERRUPT_H
#define BASE_INTERRUPT_H

#include <baton/error.h>
#include <stdint.h>

typedef enum base_interrupt {
  BASE_GO_ON,
  BASE_CANCEL, /* what is waited for shall end early; the wait goes on until it has */
  BASE_ABANDON /* the wait ends now, whatever becomes of what was waited for */
} base_interrupt;

/* From now on waits of this thread ask `ask`, several times a second; NULL: no longer. */
void base_interrupt_watch(base_interrupt (*ask)(void));

/* True if this thread watches. */
int base_interrupt_watched(void);

/* What the user of this thread wants now. */
base_interrupt base_interrupt_asked(void);

/* The moment until which to sleep before asking again: `deadline`, or sooner if this thread watches. */
int64_t base_interrupt_slice(int64_t deadline);

#endif
