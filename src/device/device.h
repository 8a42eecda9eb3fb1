/* device/device.h - a device as the layers above see it: memory, copies, streams.
**
** All arguments are checked here, once; the drivers below rely on it. A device address is a number, not a
** pointer: it cannot be dereferenced on the host, and every device of a process begins at the same one, so
** that only the device together with the address names a byte. Errors carry the number of the device. Unless
** it says otherwise a function may be called from any thread at any time. */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "base/segment.h"
#include <baton/error.h>
#include <stddef.h>

typedef struct device device;

/* What distinguishes one platform from the next. */
typedef struct device_platform {
  const char *name;         /* "a2a3sim" */
  uint32_t clusters;        /* each with the cores that follow */
  uint32_t aic_per_cluster; /* matrix cores */
  uint32_t aiv_per_cluster; /* vector cores */
  uint32_t control_threads; /* of the control processor */
  uint64_t clock_hz;        /* of the counter that kernels see */
} device_platform;

/* The calls of a driver that tests can make fail. */
typedef enum device_call {
  DEVICE_CALL_NONE,
  DEVICE_CALL_ALLOC,
  DEVICE_CALL_COPY_IN,
  DEVICE_CALL_COPY_OUT,
  DEVICE_CALL_FILL,
  DEVICE_CALL_STREAM_CREATE,
  DEVICE_CALL_SYNC,
  DEVICE_CALL_STREAM_DESTROY,
  DEVICE_CALL_LAUNCH,
  DEVICE_CALL_COUNT
} device_call;

/* For tests: call number `nth` (from 1) of one kind fails, with `forever` every later one too. */
typedef struct device_fault {
  device_call call; /* DEVICE_CALL_NONE: nothing fails */
  uint64_t nth;
  int forever;
} device_fault;

/* Zero means default. */
typedef struct device_options {
  const char *platform; /* the first one of device_platforms */
  uint32_t id;
  uint64_t memory; /* bytes; simulators: 4 GiB, or less if the machine or the limits of the process say so */
  /* Simulators: memory of the caller, `memory` bytes, which outlive the device; who lends it has claimed the device. NULL: its
  ** own. */
  void *memory_at;
  uint32_t threads; /* simulators: threads that run kernels, at most DEVICE_MAX_THREADS; base_cpu_count() */
  int look;         /* opened to see what it has, whoever owns it */
  double wait_seconds; /* for another process that owns it */
  device_fault fault;
} device_options;

enum { DEVICE_MAX_THREADS = 1024 };

/* Each device has these two from open to close. */
typedef enum device_stream_name {
  DEVICE_STREAM_CONTROL,
  DEVICE_STREAM_CORES,
  DEVICE_STREAM_COUNT
} device_stream_name;

/* Exact at the moment of the call. */
typedef struct device_stats {
  uint64_t live;            /* allocations */
  uint64_t committed_bytes; /* of the live allocations, as asked for */
  uint64_t committed_peak;
  uint64_t allocations, frees; /* since open */
  uint64_t bytes_to_device, bytes_from_device;
  uint64_t streams_created, streams_destroyed;
  uint64_t arenas_committed;
} device_stats;

/* The static arena: three regions that are committed together and stay. */
typedef enum device_region_name {
  DEVICE_REGION_HEAP,   /* tensors of the runtimes */
  DEVICE_REGION_SHARED, /* state of engines */
  DEVICE_REGION_IMAGE,  /* what runtimes load */
  DEVICE_REGION_COUNT
} device_region_name;

typedef struct device_region {
  uint64_t address, size; /* size 0: not committed */
} device_region;

/* One piece of work on a stream. It belongs to the caller, who leaves it alone from device_launch until
** `done` was called; nothing is allocated for it. */
typedef struct device_launch device_launch;
struct device_launch {
  /* Called once for each lane 0 … lanes-1, at the same time as far as the threads of the device go round; a
  ** lane beyond them starts when another one ends. It must not wait for another launch, nor synchronise. */
  void (*run)(void *context, uint32_t lane);
  /* Called once, after the last lane returned and before the next launch of the stream begins: BATON_OK; or,
  ** if it never began because the device is closed, `cancelled`. It may free the launch or launch it again.
  ** May be NULL. */
  void (*done)(void *context, baton_status status);
  void *context;
  uint32_t lanes;
  int here; /* asks, for one lane: if nothing is on the stream, device_launch_on only claims it, and who called it calls
               device_execute at once; device_launch_on answers whether so */
  device_launch *next; /* private to the driver */
};

/* The platforms of this build one by one: `index` from 0, NULL after the last. Static. */
const device_platform *device_platforms(uint32_t index);

/* The platform of that name, NULL: the first one; `unsupported` names those that there are. */
BATON_MUST_CHECK baton_status device_platform_find(const char *name, const device_platform **out,
                                                   baton_error *err);

/* The process that has device `id` of the platform, this one included; 0: nobody. */
int32_t device_owner(const device_platform *platform, uint32_t id);

/* "alloc", "copy_in", …; NULL for DEVICE_CALL_NONE and for what is no call. Static. */
const char *device_call_name(device_call call);

/* Simulators: an extent as device_open makes for itself, for `memory_at` of one device after the other. `memory` as in the
** options; out->size is what it became. The caller owns it. */
BATON_MUST_CHECK baton_status device_memory_alloc(uint64_t memory, base_extent *out, baton_error *err);

/* Simulators: the bytes that 0 asks for; device_memory_alloc gives less if the limits of the process say so. */
uint64_t device_memory_default(void);

/* Opens a device with its memory and its streams. On success the caller owns *out; on failure *out is NULL.
** `unsupported` names the platforms that there are. A device belongs to one process, which may open it more than
** once; in another one that is `device_busy`, and names the owner. */
BATON_MUST_CHECK baton_status device_open(const device_options *options, device **out, baton_error *err);

/* Waits until `deadline` (base_now's clock; INT64_MAX: none) for each stream that is in order, cancels
** what did not begin, and destroys the streams; the status says what failed. A stream that could not be destroyed stays, and
** the next call tries again, without waiting. Nobody may use the device meanwhile but launches that run, and afterwards only
** device_streams_left, device_close and device_statistics. */
baton_status device_shutdown(device *dev, int64_t deadline, baton_error *err);
uint32_t device_streams_left(const device *dev);

/* Shuts down, if that was not done, with a second try for what could not be destroyed, and frees everything, whatever failed;
** the status says what did. A launch that does not end keeps its threads, its launch object, the memory of the device and the
** claim on it in place until it ends or the process does. *last gets the statistics of the end; it may be NULL. A NULL device
** is ignored. */
baton_status device_close(device *dev, int64_t deadline, device_stats *last, baton_error *err);

const device_platform *device_platform_of(const device *dev);
uint32_t device_id(const device *dev);
/* Lanes that can run at the same time. */
uint32_t device_threads(const device *dev);
/* Bytes of memory that the device has. */
uint64_t device_memory(const device *dev);
device_stats device_statistics(device *dev);

/* `size` bytes, at least 512-byte aligned and not cleared; size == 0 is `invalid_argument`. Freed by
** device_free or by device_close. */
BATON_MUST_CHECK baton_status device_alloc(device *dev, uint64_t size, uint64_t *address, baton_error *err);

/* Takes a place that device_alloc gave for so many bytes in an earlier device over the same memory; its contents are as they
** were. `invalid_argument` if it is not free, or no such place. */
BATON_MUST_CHECK baton_status device_reserve(device *dev, uint64_t address, uint64_t size, baton_error *err);

/* Takes the address that device_alloc gave. Freed memory: `double_free`; an address inside an allocation or
** outside all of them: `invalid_argument`. An address that was handed out again since is alive again. */
baton_status device_free(device *dev, uint64_t address, baton_error *err);

/* Copies and fills are done when they return and are ordered with nothing: the caller sees to it that no
** launch uses the bytes. [address, address+size) must lie in one live allocation: else `out_of_range`, for
** freed memory `stale_handle`, for what was never memory `invalid_argument`. size == 0 is legal and does
** nothing. */
BATON_MUST_CHECK baton_status device_copy_in(device *dev, uint64_t address, const void *from, uint64_t size,
                                             baton_error *err);
BATON_MUST_CHECK baton_status device_copy_out(device *dev, uint64_t address, void *to, uint64_t size,
                                              baton_error *err);
BATON_MUST_CHECK baton_status device_fill(device *dev, uint64_t address, uint8_t byte, uint64_t size,
                                          baton_error *err);

/* The address of [address, address+size) as a kernel of this device sees it, valid until the allocation is
** freed. Bytes of one allocation keep their distances. Checked like a copy, but size must not be 0. */
BATON_MUST_CHECK baton_status device_translate(device *dev, uint64_t address, uint64_t size, void **out,
                                               baton_error *err);

/* Commits the regions of the arena; 0 asks for nothing. All that are asked for are large enough: does
** nothing, *changed is 0. Otherwise the old regions are freed, contents and all, and each is committed
** anew in the larger of its old and its new size. If one fails none is left, the error names it, and a
** smaller call may follow. One thread at a time; nobody may use the old regions. */
BATON_MUST_CHECK baton_status device_arena_commit(device *dev, const uint64_t sizes[DEVICE_REGION_COUNT],
                                                  int *changed, baton_error *err);
device_region device_arena_region(const device *dev, device_region_name name);

/* Queues `launch` behind the earlier launches of the stream, and returns at once. After a failure `done` is
** not called: `state` if the stream failed or ran out of time before, `invalid_argument` without lanes. */
BATON_MUST_CHECK baton_status device_launch_on(device *dev, device_stream_name name, device_launch *launch,
                                               baton_error *err);

/* Runs a launch that device_launch_on has left to its caller, on this thread, `done` included. */
void device_execute(device *dev, device_stream_name name, device_launch *launch);

/* Waits until the stream is empty and the last `done` returned. `stream_timeout` after `deadline` (base_now's
** clock; INT64_MAX: none); the stream is then out of order for good: it takes no launch and is never waited
** for again (`state`). Inside a launch of the same device: `state`. */
BATON_MUST_CHECK baton_status device_sync(device *dev, device_stream_name name, int64_t deadline,
                                          baton_error *err);

#endif
