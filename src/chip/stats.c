/* What a worker counts, and who runs what on it. */
#include "base/clock.h"
#include "chip/kept.h"
#include "chip/program/compile.h"
#include "chip/program/text.h"
#include "chip/runtime.h"
#include "chip/worker.h"
#include <string.h>

typedef unsigned long long number; /* as printf takes it */

static void raise_to(uint64_t *high, uint64_t value) {
  if (*high < value) *high = value;
}

void chip_stats_add(baton_worker *worker, const baton_run *run, const task_counts *counts) {
  baton_stats *totals = &worker->totals;
  totals->runs++;
  totals->rounds += run->stays != 0;
  totals->tasks += counts->tasks;
  totals->edges += counts->edges;
  /* what is built elsewhere is counted there */
  int counted = run->graph_way == CHIP_GRAPH_HERE || run->graph_way == CHIP_GRAPH_RUNS_ELSEWHERE;
  if (run->graph && counted) (*(run->replayed ? &totals->graph_replays : &totals->graph_builds))++;
  raise_to(&totals->window_high, counts->window_high);
  raise_to(&totals->heap_high, counts->heap_high);
  raise_to(&totals->dep_pool_high, counts->edges_high);
}

void baton_worker_stats(baton_worker *worker, baton_stats *out) {
  pthread_mutex_lock(&worker->lock);
  device_stats counted = worker->dev ? device_statistics(worker->dev) : worker->at_end;
  *out = worker->totals;
  out->images_uploaded = worker->registry.image_count;
  if (worker->place) worker->elsewhere->stats(worker->place, out);
  pthread_mutex_unlock(&worker->lock);
  out->streams_created = counted.streams_created;
  out->streams_destroyed = counted.streams_destroyed;
  out->compilations = chip_compilations();
  out->arenas_committed = counted.arenas_committed;
  out->allocations = counted.allocations;
  out->frees = counted.frees;
  out->bytes_to_device = counted.bytes_to_device;
  out->bytes_from_device = counted.bytes_from_device;
  out->committed_bytes = counted.committed_bytes;
  out->committed_peak = counted.committed_peak;
}

/* --- Who runs what -------------------------------------------------------------------------------------- */

static const char *state_of(const baton_run *run) {
  if (run->settled) return "ending";
  if (atomic_load_explicit(&run->cancelled, memory_order_relaxed)) return "cancelled";
  return atomic_load_explicit(&run->started, memory_order_relaxed) ? "running" : "waiting";
}

/* worker->lock is held: the engine is the run's. */
static void add_lanes(chip_text *text, const baton_run *run) {
  char name[CHIP_NAME_SHOWN];
  uint64_t open;
  if (run->worker->elsewhere) return;
  for (uint32_t i = 0; run->engine && i < run->engine->sizes.lanes; i++)
    if (chip_executor_look(&run->engine->executor, i, name, &open))
      chip_text_add(text, "    lane %u: began %s last, %llu tasks and instances have not ended\n", i, name,
                    (number)open);
}

/* The latest first; worker->lock is held. */
static void add_runs(chip_text *text, const baton_run *run) {
  for (; run; run = run->next) {
    chip_text_add(text, "  run %llu: %s on %s, %s, launched %.3f ms ago\n", (number)run->number,
                  baton_program_name(run->program), run->runtime->name, state_of(run),
                  (double)(base_now() - run->launched) / 1e6);
    add_lanes(text, run);
  }
}

static void add_buffers(chip_text *text, const baton_buffer *buffer) {
  for (; buffer; buffer = buffer->older)
    chip_text_add(text, "  buffer %u: %llu bytes, %s, %u users\n", buffer->number, (number)buffer->nbytes,
                  buffer->state == CHIP_BUFFER_LIVE ? "live" : "freed", buffer->users);
}

/* worker->lock is held. */
static void describe(chip_text *text, const baton_worker *worker) {
  chip_text_add(text, "worker on %s, device %u: %s, %u calls inside, %llu runs launched\n", worker->platform,
                worker->device_number,
                worker->closed       ? "closed"
                : worker->unfinished ? "busy"
                                     : "ready",
                worker->inside, (number)worker->run_count);
  if (worker->place) worker->elsewhere->describe(worker->place, text);
  if (!worker->dev) return;
  device_stats counted = device_statistics(worker->dev);
  chip_text_add(text, "memory: %llu of %llu bytes in %llu allocations\n", (number)counted.committed_bytes,
                (number)device_memory(worker->dev), (number)counted.live);
  chip_text_add(text, "runs in flight:%s\n", worker->unfinished ? "" : " none");
  add_runs(text, worker->unfinished);
  chip_text_add(text, "buffers:%s\n", worker->buffers ? "" : " none");
  add_buffers(text, worker->buffers);
}

size_t baton_worker_dump(baton_worker *worker, char *text, size_t size) {
  chip_text whole = {0};
  pthread_mutex_lock(&worker->lock);
  describe(&whole, worker);
  pthread_mutex_unlock(&worker->lock);
  size_t length = whole.failed ? 0 : whole.length;
  if (size) {
    size_t shown = length < size ? length : size - 1;
    if (shown) memcpy(text, whole.data, shown);
    text[shown] = 0;
  }
  chip_text_free(&whole);
  return length;
}
