/* chip/engine.h - a task engine on a device: its state, its heap in device memory, and the hook that runs kernels.
**
** One run uses an engine at a time: the thread that prepares the run is the owner (task/engine.h) first, then lane 0 of
** the launch. Between runs the worker keeps it. */
#ifndef CHIP_ENGINE_H
#define CHIP_ENGINE_H

#include "chip/executor/watch.h"
#include "device/device.h"
#include "task/engine.h"

/* Sizes of an engine, with all defaults filled in. Two runs of equal sizes can use one engine after the other. */
typedef struct chip_sizes {
  uint32_t lanes, window, dep_pool;
  uint64_t heap; /* bytes */
} chip_sizes;

/* How long a run waits for progress, in ns; 0: for ever. */
typedef struct chip_times {
  int64_t op;      /* of its tasks; never 0 */
  int64_t stream;  /* of the whole launch */
  int64_t element; /* of the tasks that an element depends on */
} chip_times;

typedef struct chip_engine {
  task_engine *tasks;
  chip_sizes sizes;
  device *dev;
  uint64_t heap_address; /* on the device */
  int borrowed;          /* the heap is the arena's */
  char *heap_bytes;      /* the same as kernels see it */
  size_t memory_size;
  uint32_t few; /* so many tasks of this run are still few for the size of the memory */
  chip_executor executor;
  chip_watched watched;
  chip_times times;         /* of the current run */
  struct chip_engine *next; /* among the worker's spare ones */
} chip_engine;

/* Makes an engine. `heap` is device memory of sizes->heap bytes that it may use until it is closed; 0: it allocates its
** own. The caller owns *out. `out_of_memory` says which part did not fit. */
BATON_MUST_CHECK baton_status chip_engine_open(device *dev, const chip_sizes *sizes, uint64_t heap,
                                               chip_engine **out, baton_error *err);
/* Before a run: no task is live, no lane inside. */
void chip_engine_begin(chip_engine *engine, const chip_failures *failures, const chip_times *times);

/* The run has many tasks: memory for them will be spread wide. */
void chip_engine_spread(chip_engine *engine);

/* Around the execution of a run; before it around its orchestration, if the host calls that: the time for the stream
** does not count then. */
void chip_engine_watch(chip_engine *engine);
void chip_engine_watch_building(chip_engine *engine);
void chip_engine_unwatch(chip_engine *engine);

/* No run may use it. NULL is ignored. */
void chip_engine_close(chip_engine *engine);

#endif
