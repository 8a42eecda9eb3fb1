#include "base/pool.h"
#include <dlfcn.h>
#include <hwloc.h>
#include <sched.h>
#include <unistd.h>

/* What is used of hwloc; it is opened when it is needed. */
#define HWLOC_FUNCTIONS(X)                                                            \
  X(int, topology_init, (hwloc_topology_t *))                                         \
  X(int, topology_set_flags, (hwloc_topology_t, unsigned long))                       \
  X(int, topology_set_all_types_filter, (hwloc_topology_t, enum hwloc_type_filter_e)) \
  X(int, topology_load, (hwloc_topology_t))                                           \
  X(void, topology_destroy, (hwloc_topology_t))                                       \
  X(hwloc_const_cpuset_t, topology_get_allowed_cpuset, (hwloc_topology_t))            \
  X(int, bitmap_weight, (hwloc_const_bitmap_t))

typedef struct hwloc_functions {
#define X(result, name, parameters) result(*name) parameters;
  HWLOC_FUNCTIONS(X)
#undef X
} hwloc_functions;

static int find_functions(void *library, hwloc_functions *out) {
#define X(result, name, parameters)                      \
  *(void **)&out->name = dlsym(library, "hwloc_" #name); \
  if (!out->name) return 0;
  HWLOC_FUNCTIONS(X)
#undef X
  return 1;
}

/* Processing units that this process is bound to, with as little discovery as hwloc allows. */
static int count_units(const hwloc_functions *hwloc) {
  hwloc_topology_t topology;
  if (hwloc->topology_init(&topology) != 0) return 0;
  hwloc->topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING |
                                          HWLOC_TOPOLOGY_FLAG_NO_DISTANCES | HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS |
                                          HWLOC_TOPOLOGY_FLAG_NO_CPUKINDS);
  hwloc->topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
  int count = 0;
  if (hwloc->topology_load(topology) == 0)
    count = hwloc->bitmap_weight(hwloc->topology_get_allowed_cpuset(topology));
  hwloc->topology_destroy(topology);
  return count;
}

static int count_with_hwloc(void) {
  void *library = dlopen("libhwloc.so.15", RTLD_NOW | RTLD_LOCAL);
  if (!library) return 0;
  hwloc_functions functions;
  int count = find_functions(library, &functions) ? count_units(&functions) : 0;
  dlclose(library);
  return count;
}

uint32_t base_cpu_count(void) {
  cpu_set_t allowed;
  int count = 0;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = CPU_COUNT(&allowed);
  if (count < 1) count = count_with_hwloc();
  if (count < 1) count = (int)sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : (uint32_t)count;
}
