#include "base/futex.h"
#include "base/clock.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOKS = 64 }; /* between two at the clock */

int base_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t deadline) {
  struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000),
                           .tv_nsec = (long)(deadline % 1000000000)};
  /* WAIT_BITSET takes an absolute moment of the monotonic clock */
  long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline == INT64_MAX ? NULL : &until, NULL,
                    FUTEX_BITSET_MATCH_ANY);
  return !(rc != 0 && errno == ETIMEDOUT);
}

void base_futex_look(const _Atomic uint32_t *word, uint32_t expected, int64_t nanoseconds) {
  int64_t until = base_now() + nanoseconds;
  do {
    for (int i = 0; i < LOOKS; i++) {
      if (atomic_load_explicit(word, memory_order_acquire) != expected) return;
      base_relax();
    }
  } while (base_now() < until);
}

void base_futex_wake(const _Atomic uint32_t *word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}
