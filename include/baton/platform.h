/* baton/platform.h - the platforms of this build. Any thread. */
#ifndef BATON_PLATFORM_H
#define BATON_PLATFORM_H

#include <baton/error.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_platform {
  const char *name;         /* "a2a3sim"; static */
  uint32_t clusters;        /* each with the cores that follow */
  uint32_t aic_per_cluster; /* matrix cores */
  uint32_t aiv_per_cluster; /* vector cores */
  uint32_t control_threads; /* of the control processor */
  uint64_t clock_hz;        /* of the counter that kernels see */
  uint64_t memory;          /* bytes that a device has on this machine */
  uint32_t threads;         /* simulators: CPUs that play the cores */
} baton_platform;

/* The names one by one: `index` from 0, the default platform first; NULL after the last. Static. */
const char *baton_platform_name(uint32_t index);

/* Opens a device for a moment to see what it has. `unsupported` for an unknown name. */
BATON_MUST_CHECK baton_status baton_platform_describe(const char *name, baton_platform *out,
                                                      baton_error *err);

/* The process that has device `number` open, this one included; 0: nobody, or no such platform. It may be old by the
** time it is read. */
int32_t baton_platform_owner(const char *name, uint32_t number);

#ifdef __cplusplus
}
#endif

#endif
