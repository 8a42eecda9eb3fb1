#include "base/interrupt.h"
#include "base/clock.h"
#include <stddef.h>

/* A signal may come between the question and the sleep, or to another thread: nobody is woken by it. */
static const int64_t slice = 50000000;

static _Thread_local base_interrupt (*watched)(void);

void base_interrupt_watch(base_interrupt (*ask)(void)) { watched = ask; }

int base_interrupt_watched(void) { return watched != NULL; }

base_interrupt base_interrupt_asked(void) { return watched ? watched() : BASE_GO_ON; }

int64_t base_interrupt_slice(int64_t deadline) {
  if (!watched) return deadline;
  int64_t next = base_now() + slice;
  return next < deadline ? next : deadline;
}
