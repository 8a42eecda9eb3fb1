/* device/sim/sim.h - the simulators: chips that differ in numbers only, with the threads of the host as their
** cores. */
#ifndef DEVICE_SIM_SIM_H
#define DEVICE_SIM_SIM_H

#include "base/heap.h"
#include "base/pool.h"
#include "base/segment.h"
#include "device/driver.h"

/* Where the memory of every simulated device begins: beyond all addresses of a process. */
#define SIM_ADDRESS_BASE ((uint64_t)1 << 56)

typedef struct sim_device sim_device;
struct sim_device {
  device base;
  base_extent memory;   /* its own; empty: the memory is lent */
  char *bytes;          /* of either */
  pthread_mutex_t lock; /* guards the heap */
  base_heap heap;
  void *records; /* of the heap */
  base_pool *pool;
  sim_device *next; /* among the devices that were left in place */
};

extern const device_platform sim_platforms[];

/* stream.c: the entries of the driver that deal with streams. */
baton_status sim_stream_create(device *dev, const char *name, device_stream **out, baton_error *err);
baton_status sim_stream_destroy(device *dev, device_stream *stream, baton_error *err);
baton_status sim_stream_sync(device *dev, device_stream *stream, int64_t deadline, baton_error *err);
baton_status sim_launch(device *dev, device_stream *stream, device_launch *launch, baton_error *err);
void sim_execute(device *dev, device_stream *stream, device_launch *launch);

#endif
