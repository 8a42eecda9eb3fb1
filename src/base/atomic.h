/* base/atomic.h - C11 atomics and what goes with them. Freestanding. */
#ifndef BASE_ATOMIC_H
#define BASE_ATOMIC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BASE_CACHE_LINE 64
#define BASE_ALIGNED    _Alignas(BASE_CACHE_LINE)

/* `size` bytes in whole cache lines. */
static inline size_t base_whole_lines(size_t size) {
  return (size + BASE_CACHE_LINE - 1) & ~(size_t)(BASE_CACHE_LINE - 1);
}

/* Tells the CPU that this is a spin. */
static inline void base_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
