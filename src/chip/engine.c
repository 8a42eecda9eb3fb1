#include "chip/engine.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/memory.h"
#include "base/pages.h"
#include <limits.h>

enum { FEW_TASKS = 4096 }; /* below twice that their first run is faster in small pages */

static int execute(void *context, const task_call *call) {
  return chip_executor_run(&((chip_engine *)context)->executor, call);
}

static int resume(void *context, uint32_t lane, int stop, task_end *end) {
  return chip_executor_resume(&((chip_engine *)context)->executor, lane, stop, end);
}

static void idle(void *context, uint32_t lane) {
  chip_executor_idle(&((chip_engine *)context)->executor, lane);
}

static int park(void *context, const _Atomic uint32_t *word, uint32_t expected, int64_t timeout) {
  (void)context;
  return base_futex_wait(word, expected, base_now() + timeout);
}

static void wake(void *context, const _Atomic uint32_t *word, int all) {
  (void)context;
  base_futex_wake(word, all ? INT_MAX : 1);
}

static int64_t now(void *context) {
  (void)context;
  return base_now();
}

/* Far from those of other engines. */
static uint32_t some_number(void) {
  static _Atomic uint32_t engines;
  uint32_t engine = atomic_fetch_add_explicit(&engines, 1, memory_order_relaxed);
  return (engine * UINT32_C(0x9e3779b1)) >> 2;
}

static task_limits limits_of(const chip_sizes *sizes) {
  task_limits limits = {.numbers = some_number(),
                        .lanes = sizes->lanes,
                        .tasks = sizes->window,
                        .edges = sizes->dep_pool,
                        .heap = sizes->heap};
  task_limits_complete(&limits);
  return limits;
}

static baton_status commit_heap(chip_engine *engine, baton_error *err) {
  void *bytes;
  if (!engine->borrowed) BATON_TRY(device_alloc(engine->dev, engine->sizes.heap, &engine->heap_address, err));
  BATON_TRY(device_translate(engine->dev, engine->heap_address, engine->sizes.heap, &bytes, err));
  engine->heap_bytes = bytes;
  return BATON_OK;
}

static baton_status open_parts(chip_engine *engine, baton_error *err) {
  BATON_TRY(chip_executor_open(&engine->executor, engine->tasks, device_platform_of(engine->dev),
                               engine->sizes.lanes, err));
  BATON_TRY(chip_watch_open(err));
  engine->watched.executor = &engine->executor;
  baton_status status = commit_heap(engine, err);
  if (status != BATON_OK)
    baton_error_context(err, "ring_heap of %llu bytes", (unsigned long long)engine->sizes.heap);
  return status;
}

baton_status chip_engine_open(device *dev, const chip_sizes *sizes, uint64_t heap, chip_engine **out,
                              baton_error *err) {
  *out = NULL;
  chip_engine *engine = base_calloc(1, sizeof *engine);
  if (!engine) return base_out_of_memory(err, "an engine");
  engine->dev = dev;
  engine->sizes = *sizes;
  engine->heap_address = heap;
  engine->borrowed = heap != 0;
  task_limits limits = limits_of(sizes);
  task_hooks hooks = {.context = engine,
                      .execute = execute,
                      .resume = resume,
                      .idle = idle,
                      .park = park,
                      .wake = wake,
                      .clock = now};
  engine->memory_size = task_engine_size(&limits);
  void *memory = base_pages_small(engine->memory_size);
  if (!memory) {
    baton_status status =
        baton_error_set(err, BATON_OUT_OF_MEMORY, "no memory for a window of %u tasks (%zu bytes)",
                        sizes->window, engine->memory_size);
    base_free(engine);
    return status;
  }
  engine->tasks = task_engine_init(memory, &limits, &hooks);
  baton_status status = open_parts(engine, err);
  if (status != BATON_OK) {
    chip_engine_close(engine);
    return status;
  }
  *out = engine;
  return BATON_OK;
}

void chip_engine_begin(chip_engine *engine, const chip_failures *failures, const chip_times *times) {
  engine->times = *times;
  engine->few = FEW_TASKS;
  chip_executor_begin(&engine->executor, failures);
}

void chip_engine_spread(chip_engine *engine) { base_pages_spread(engine->tasks, engine->memory_size); }

void chip_engine_watch(chip_engine *engine) {
  chip_watch_begin(&engine->watched, engine->times.op, engine->times.stream);
}
void chip_engine_watch_building(chip_engine *engine) {
  chip_watch_begin(&engine->watched, engine->times.op, 0);
}
void chip_engine_unwatch(chip_engine *engine) { chip_watch_end(&engine->watched); }

void chip_engine_close(chip_engine *engine) {
  if (!engine) return;
  if (engine->watched.executor) chip_watch_close();
  chip_executor_close(&engine->executor);
  if (engine->heap_address && !engine->borrowed) (void)device_free(engine->dev, engine->heap_address, NULL);
  base_pages_free(engine->tasks, engine->memory_size);
  base_free(engine);
}
