/* device/driver.h - what a driver implements. Private to src/device.
**
** The layer checks every argument before it calls a driver: devices are alive, sizes are not 0, ranges lie
** in one live allocation, streams are in order. Every entry is required. Entries may be called from any
** thread at any time, except open and close; translate must be cheap and cannot fail. Messages need not
** say which device it is.
**
** The fault driver, which fails the n-th call of a kind, is a driver in front of a driver, made from this
** table. */
#ifndef DEVICE_DRIVER_H
#define DEVICE_DRIVER_H

#include "base/atomic.h"
#include "device/claim.h"
#include "device/device.h"
#include "device/ranges.h"
#include <pthread.h>

enum { DEVICE_MEMORY_UNIT = 1024 }; /* of memory that a caller lends */

typedef struct device_stream device_stream; /* each driver has its own */

typedef struct device_driver {
  /* The platforms that this driver drives; the last one has no name. */
  const device_platform *platforms;

  /* Fills in `memory` and `threads` of the device; the other fields are filled in above. On failure nothing
  ** is left behind. */
  baton_status (*open)(const device_platform *platform, const device_options *options, device **out,
                       baton_error *err);
  /* Frees the device and all its memory, live allocations included, and streams that could not be destroyed; what an
  ** abandoned stream may still use it leaves in place. */
  void (*close)(device *dev);

  /* `token` is the driver's own and comes back in free. `out_of_memory` says how much is left. */
  baton_status (*alloc)(device *dev, uint64_t size, uint64_t *address, uint64_t *token, baton_error *err);
  void (*free)(device *dev, uint64_t address, uint64_t token);
  /* The same at a given address; `invalid_argument` if it is not free. */
  baton_status (*alloc_at)(device *dev, uint64_t address, uint64_t size, uint64_t *token, baton_error *err);

  /* Done when they return. */
  baton_status (*copy_in)(device *dev, uint64_t address, const void *from, uint64_t size, baton_error *err);
  baton_status (*copy_out)(device *dev, uint64_t address, void *to, uint64_t size, baton_error *err);
  baton_status (*fill)(device *dev, uint64_t address, uint8_t byte, uint64_t size, baton_error *err);
  /* The address as a kernel sees it. Simulators: the mapped byte; real devices: the same number. */
  void *(*translate)(device *dev, uint64_t address);

  baton_status (*stream_create)(device *dev, const char *name, device_stream **out, baton_error *err);
  /* Frees the stream, or fails and leaves it as it is. What has not begun is told `cancelled`; what runs (the
  ** stream was out of order, or close had no more time) is abandoned: it is counted in `abandoned` of the device,
  ** not waited for, and what it uses stays in place. */
  baton_status (*stream_destroy)(device *dev, device_stream *stream, baton_error *err);
  /* Waits until the stream is empty. `stream_timeout` when the deadline has passed: streams.c writes its
  ** message. May overlap with launches on the same stream. */
  baton_status (*stream_sync)(device *dev, device_stream *stream, int64_t deadline, baton_error *err);
  /* Appends and returns; must neither block nor allocate. A failure means that `launch` was not taken. */
  baton_status (*launch)(device *dev, device_stream *stream, device_launch *launch, baton_error *err);
  /* A launch that `launch` has left to its caller (launch->here). */
  void (*execute)(device *dev, device_stream *stream, device_launch *launch);
} device_driver;

typedef enum device_stream_state {
  DEVICE_STREAM_OK,
  DEVICE_STREAM_FAILED,
  DEVICE_STREAM_TIMED_OUT
} device_stream_state;

/* First member of each driver's own struct. */
struct device {
  const device_driver *driver;
  const device_platform *platform;
  uint32_t id;
  uint32_t threads;            /* the driver's: lanes that can run at once */
  uint64_t memory;             /* the driver's: bytes */
  uint32_t abandoned;          /* the driver's: streams that were busy when they were destroyed */
  device_claim *claim;         /* NULL: opened for a look, or on lent memory */
  const device_driver *behind; /* the driver that the fault driver stands in front of */
  device_fault fault;
  _Atomic uint64_t fault_calls; /* of the kind that fails */
  device_region regions[DEVICE_REGION_COUNT];
  device_stream *streams[DEVICE_STREAM_COUNT]; /* NULL: not there yet, or not any more */
  int drained;                                 /* a shutdown has waited for the streams */
  pthread_mutex_t lock;                        /* guards what follows; never held while a driver is called */
  device_ranges ranges;                        /* the live allocations */
  device_stats stats;
  device_stream_state states[DEVICE_STREAM_COUNT]; /* a stream that left OK never comes back */
};

extern const device_driver device_driver_sim;

/* fault.c: puts the fault driver in front of the device's own. */
baton_status device_fault_install(device *dev, const device_fault *fault, baton_error *err);

/* fault.c: from now on nothing fails any more. */
void device_fault_remove(device *dev);

/* arena.c: frees the regions. */
void device_arena_release(device *dev);

/* Adds the number of a device to a failure; returns the status. */
baton_status device_blame(uint32_t id, baton_status status, baton_error *err);

/* streams.c: creates the streams; after a failure those that there are can be destroyed. */
baton_status device_streams_open(device *dev, baton_error *err);
#endif
