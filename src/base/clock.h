/* base/clock.h - the monotonic clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some fixed moment; never jumps with the wall clock. Any thread. */
static inline int64_t base_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The moment `seconds` from now; INT64_MAX for a negative or endless wait. */
static inline int64_t base_deadline(double seconds) {
  if (!(seconds >= 0) || seconds > 9e9) return INT64_MAX;
  return base_now() + (int64_t)(seconds * 1e9);
}

#endif
