#include "chip/program/target.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

static char identity[512];
static pthread_once_t identity_once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__) || defined(__i386__)
/* Which register states the system saves: without it a CPU has AVX that no program may use. */
static uint64_t saved_states(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static int add_features(int length) {
  static const struct { uint32_t leaf, subleaf; } leaves[] = {{1, 0}, {7, 0}, {7, 1}, {0x80000001u, 0}};
  for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(leaves[i].leaf, leaves[i].subleaf, &a, &b, &c, &d)) continue;
    if (leaves[i].leaf == 1) {
      b = 0; /* holds the number of the core that asks */
      if (c & bit_OSXSAVE)
        length += snprintf(identity + length, sizeof identity - (size_t)length, " xcr0=%llx",
                           (unsigned long long)saved_states());
    }
    length += snprintf(identity + length, sizeof identity - (size_t)length, " %x.%x=%x,%x,%x,%x",
                       leaves[i].leaf, leaves[i].subleaf, a, b, c, d);
  }
  return length;
}
#else
static int add_features(int length) { return length; }
#endif

static void identify(void) {
  struct utsname system;
  int length =
      snprintf(identity, sizeof identity, "%.64s hwcap=%lx,%lx", uname(&system) == 0 ? system.machine : "?",
               getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
  add_features(length);
}

const char *chip_target_identity(void) {
  pthread_once(&identity_once, identify);
  return identity;
}
