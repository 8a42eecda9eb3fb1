#include "base/pool.h"
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum { LARGEST_MACHINE = 1 << 20 }; /* CPUs: ends the search where the kernel refuses every size */

/* The kernel refuses a set with fewer bits than the machine may have CPUs, so the set grows until it answers. */
static int count_allowed(void) {
  for (size_t cpus = CPU_SETSIZE; cpus <= LARGEST_MACHINE; cpus *= 4) {
    cpu_set_t *allowed = CPU_ALLOC(cpus);
    if (!allowed) return 0;
    size_t size = CPU_ALLOC_SIZE(cpus);
    int count = sched_getaffinity(0, size, allowed) == 0 ? CPU_COUNT_S(size, allowed) : 0;
    CPU_FREE(allowed);
    if (count > 0) return count;
  }
  return 0;
}

uint32_t base_cpu_count(void) {
  int count = count_allowed();
  if (count < 1) count = (int)sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : (uint32_t)count;
}
