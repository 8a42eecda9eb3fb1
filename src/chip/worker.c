/* A worker as an object: opening, closing, who is inside, spare engines. */
#include "chip/worker.h"
#include "base/clock.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/pool.h"
#include "chip/config.h"
#include "tensor/storage.h"
#include <stdlib.h>
#include <string.h>

enum {
  SPARE_ENGINES = 2, /* kept for the next run */
  CLOSE_SECONDS = 15 /* for what still runs when the worker is closed */
};

/* --- Opening -------------------------------------------------------------------------------------------- */

static baton_status parse_device(const char *text, uint32_t *id, baton_error *err) {
  char *end = NULL;
  unsigned long value = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
  if (!end || *end || value > 1023)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "device: one number in 0..1023 expected, got '%s'",
                           text);
  *id = (uint32_t)value;
  return BATON_OK;
}

static baton_status parse_fault(const baton_fault *asked, device_fault *fault, baton_error *err) {
  if (!asked->call) return BATON_OK;
  for (int call = DEVICE_CALL_NONE + 1; call < DEVICE_CALL_COUNT; call++) {
    if (strcmp(asked->call, device_call_name((device_call)call)) != 0) continue;
    *fault = (device_fault){(device_call)call, asked->nth, asked->forever};
    return BATON_OK;
  }
  return baton_error_set(err, BATON_INVALID_ARGUMENT, "fault: '%s' is no call of a device", asked->call);
}

static uint32_t thread_count(uint32_t asked, const char *platform) {
  uint32_t threads = asked ? asked : base_cpu_count(), most = TASK_LANES;
  for (uint32_t i = 0; device_platforms(i); i++)
    if (strcmp(device_platforms(i)->name, platform) == 0 && device_platforms(i)->clusters < most)
      most = device_platforms(i)->clusters; /* a lane leases a cluster at least */
  return threads < most ? threads : most;
}

baton_status chip_worker_device(const baton_worker_options *options, device_options *opened,
                                baton_error *err) {
  *opened = (device_options){.platform = options->platform ? options->platform : "a2a3sim"};
  if (options->level && options->level != 2)
    return baton_error_set(err, BATON_UNSUPPORTED, "level %d: this version opens single chips (level 2)",
                           options->level);
  if (options->devices) BATON_TRY(parse_device(options->devices, &opened->id, err));
  BATON_TRY(parse_fault(&options->fault, &opened->fault, err));
  opened->wait_seconds = options->wait_device;
  opened->threads = thread_count(options->threads, opened->platform);
  return BATON_OK;
}

/* A closed worker with one holder. */
static baton_worker *create(const baton_config *config) {
  baton_worker *worker = base_calloc(1, sizeof *worker);
  if (!worker) return NULL;
  worker->config = *config;
  worker->config.runtime = worker->runtime = base_strdup(config->runtime);
  if (config->runtime && !worker->runtime) {
    base_free(worker);
    return NULL;
  }
  atomic_init(&worker->holders, 1);
  pthread_mutex_init(&worker->closing_lock, NULL);
  pthread_mutex_init(&worker->rounds_lock, NULL);
  pthread_mutex_init(&worker->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&worker->left, &monotonic);
  pthread_condattr_destroy(&monotonic);
  return worker;
}

static baton_status warm_up(baton_worker *worker, const baton_worker_options *options, baton_error *err) {
  const baton_arena *arena = &options->arena;
  baton_handle handle;
  if (arena->heap || arena->shared || arena->image)
    BATON_TRY(baton_worker_setup_arena(worker, arena, NULL, err));
  for (uint32_t i = 0; i < options->nprewarm; i++)
    BATON_TRY(baton_worker_register(worker, options->prewarm[i], &handle, err));
  return BATON_OK;
}

static baton_status open_device(baton_worker *worker, const device_options *options,
                                const chip_lent_memory *memory, baton_error *err) {
  BATON_TRY(device_open(options, &worker->dev, err));
  worker->platform = device_platform_of(worker->dev)->name;
  worker->device_number = options->id;
  worker->cpus = base_cpu_count();
  for (uint32_t i = 0; i < memory->nlive; i++)
    BATON_TRY(device_reserve(worker->dev, memory->live[i].address, memory->live[i].size, err));
  return BATON_OK;
}

baton_status baton_worker_open(const baton_worker_options *options, baton_worker **out, baton_error *err) {
  static const chip_lent_memory none;
  if (options->isolation == BATON_PROCESS) return chip_open_elsewhere(options, out, err);
  return chip_worker_open(options, &none, out, err);
}

baton_status chip_worker_open(const baton_worker_options *options, const chip_lent_memory *memory,
                              baton_worker **out, baton_error *err) {
  *out = NULL;
  device_options opened;
  BATON_TRY(chip_worker_device(options, &opened, err));
  opened.memory_at = memory->address;
  opened.memory = memory->nbytes;
  BATON_TRY(chip_config_check_times(&options->config, err));
  if (options->config.resident)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "resident: names arguments of one program, it is no default of a worker");
  tensor_set_guard(TENSOR_GUARD_OF_CHIPS, chip_inside_uses);
  baton_worker *worker = create(&options->config);
  if (!worker) return base_out_of_memory(err, "a worker");
  baton_status status = open_device(worker, &opened, memory, err);
  if (status == BATON_OK) status = warm_up(worker, options, err);
  if (status == BATON_OK)
    *out = worker;
  else
    baton_worker_close(worker);
  return status;
}

void chip_worker_move(baton_worker *worker, const chip_elsewhere *table, void *context) {
  worker->elsewhere = table;
  worker->place = context;
}

/* --- Holders, and who is inside ------------------------------------------------------------------------- */

void chip_worker_hold(baton_worker *worker) {
  atomic_fetch_add_explicit(&worker->holders, 1, memory_order_relaxed);
}

void chip_worker_release(baton_worker *worker) {
  /* release: what this holder did; acquire: what all did, for the one that frees */
  if (atomic_fetch_sub_explicit(&worker->holders, 1, memory_order_acq_rel) != 1) return;
  pthread_cond_destroy(&worker->left);
  pthread_mutex_destroy(&worker->lock);
  pthread_mutex_destroy(&worker->rounds_lock);
  pthread_mutex_destroy(&worker->closing_lock);
  base_free(worker->runtime);
  base_free(worker);
}

static _Thread_local chip_inside *innermost;

void chip_inside_begin(chip_inside *frame, const baton_run *run) {
  *frame = (chip_inside){run, innermost};
  innermost = frame;
}

void chip_inside_end(const chip_inside *frame) { innermost = frame->outer; }

int chip_inside_worker(const baton_worker *worker) {
  const chip_inside *frame = innermost;
  while (frame && frame->run->worker != worker) frame = frame->outer;
  return frame != NULL;
}

int chip_inside_run(const baton_run *run) {
  const chip_inside *frame = innermost;
  while (frame && frame->run != run) frame = frame->outer;
  return frame != NULL;
}

int chip_inside_uses(const tensor_storage *storage, int writes) {
  (void)writes;
  for (const chip_inside *frame = innermost; frame; frame = frame->outer)
    if (chip_bindings_use(&frame->run->bindings, storage)) return 1;
  return 0;
}

baton_status chip_inside_error(const char *what, baton_error *err) {
  return baton_error_set(err, BATON_STATE,
                         "%s: called inside an orchestration of the same worker, it would wait for itself",
                         what);
}

baton_status chip_worker_enter_quick(baton_worker *worker, baton_error *err) {
  pthread_mutex_lock(&worker->lock);
  int closed = worker->closed;
  if (!closed) worker->inside++;
  pthread_mutex_unlock(&worker->lock);
  return closed ? baton_error_set(err, BATON_CLOSED, "the worker is closed") : BATON_OK;
}

baton_status chip_worker_enter(baton_worker *worker, const char *what, baton_error *err) {
  if (chip_inside_worker(worker)) return chip_inside_error(what, err);
  return chip_worker_enter_quick(worker, err);
}

void chip_worker_leave(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  if (--worker->inside == 0) pthread_cond_broadcast(&worker->left);
  pthread_mutex_unlock(&worker->lock);
}

/* The stream ends its launches in order, so the latest one ends last. */
void chip_worker_await_submitted(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  baton_run *latest = worker->unfinished;
  if (latest) chip_run_hold(latest);
  pthread_mutex_unlock(&worker->lock);
  if (!latest) return;
  chip_run_await(latest, INT64_MAX);
  chip_run_release(latest);
}

/* --- Engines -------------------------------------------------------------------------------------------- */

static int same_sizes(const chip_sizes *a, const chip_sizes *b) {
  return a->lanes == b->lanes && a->window == b->window && a->dep_pool == b->dep_pool && a->heap == b->heap;
}

static void close_engines(baton_worker *worker, chip_engine *engine) {
  while (engine) {
    chip_engine *next = engine->next;
    int borrowed = engine->borrowed;
    chip_engine_close(engine);
    if (borrowed) chip_worker_return_heap(worker);
    engine = next;
  }
}

int chip_worker_reclaim(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  chip_engine *spare = worker->spare;
  worker->spare = NULL;
  pthread_mutex_unlock(&worker->lock);
  close_engines(worker, spare);
  return spare != NULL;
}

/* On the heap region of the arena, if that is large enough and free; else with a heap of its own. */
static baton_status open_engine(baton_worker *worker, const chip_sizes *sizes, chip_engine **out,
                                baton_error *err) {
  uint64_t heap;
  int borrowed = chip_worker_borrow_heap(worker, sizes->heap, &heap);
  baton_status status = chip_engine_open(worker->dev, sizes, heap, out, err);
  if (status != BATON_OK && borrowed) chip_worker_return_heap(worker);
  return status;
}

baton_status chip_worker_take_engine(baton_worker *worker, const chip_sizes *sizes, chip_engine **out,
                                     baton_error *err) {
  pthread_mutex_lock(&worker->lock);
  chip_engine **link = &worker->spare;
  while (*link && !same_sizes(&(*link)->sizes, sizes)) link = &(*link)->next;
  *out = *link;
  if (*link) *link = (*link)->next;
  pthread_mutex_unlock(&worker->lock);
  if (*out) return BATON_OK;
  baton_status status = open_engine(worker, sizes, out, err);
  if (status == BATON_OUT_OF_MEMORY && chip_worker_reclaim(worker))
    status = open_engine(worker, sizes, out, err);
  return status;
}

/* The oldest spare one goes when there are enough; of a closed worker every one. */
void chip_worker_give_engine(baton_worker *worker, chip_engine *engine) {
  uint32_t count = 0;
  pthread_mutex_lock(&worker->lock);
  chip_engine **link = &worker->spare;
  if (!worker->closed) {
    engine->next = worker->spare;
    worker->spare = engine;
    while (*link && count++ < SPARE_ENGINES) link = &(*link)->next;
    engine = *link;
    *link = NULL;
  }
  pthread_mutex_unlock(&worker->lock);
  if (engine) engine->next = NULL;
  close_engines(worker, engine);
}

/* --- Closing -------------------------------------------------------------------------------------------- */

/* From here on nothing enters; what is inside is told to hurry. */
static void refuse_calls(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  worker->closed = 1;
  for (baton_run *run = worker->unfinished; run; run = run->next) chip_run_cancel(run);
  pthread_mutex_unlock(&worker->lock);
  if (worker->place) worker->elsewhere->hurry(worker->place);
}

/* False if a call is still inside after the deadline. */
static int await_calls(baton_worker *worker, int64_t deadline) {
  struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
  int failure = 0;
  pthread_mutex_lock(&worker->lock);
  while (worker->inside && !failure) failure = pthread_cond_timedwait(&worker->left, &worker->lock, &until);
  int empty = worker->inside == 0;
  pthread_mutex_unlock(&worker->lock);
  return empty;
}

/* Nobody is inside, nothing is submitted any more: what belongs to the device goes, newest first, then its
** streams. */
static baton_status end_device(baton_worker *worker, baton_error *err) {
  baton_status status = device_sync(worker->dev, DEVICE_STREAM_CORES, base_deadline(CLOSE_SECONDS), err);
  baton_status ending = chip_rounds_close(worker, status == BATON_OK ? err : NULL);
  if (status == BATON_OK) status = ending;
  (void)chip_worker_reclaim(worker);
  ending = device_shutdown(worker->dev, base_deadline(CLOSE_SECONDS), status == BATON_OK ? err : NULL);
  return status != BATON_OK ? status : ending;
}

/* Nothing uses the place any more; what it has counted stays. */
static baton_status close_place(baton_worker *worker, baton_error *err) {
  void *place = worker->place;
  if (!place) return BATON_OK;
  pthread_mutex_lock(&worker->lock);
  worker->place = NULL;
  worker->elsewhere->stats(place, &worker->totals);
  pthread_mutex_unlock(&worker->lock);
  return worker->elsewhere->close(place, err);
}

/* A device whose streams could not all be destroyed stays for the next call, which tries once more; then it is closed
** whatever happens. */
static baton_status close_device(baton_worker *worker, baton_error *err) {
  device_stats last;
  baton_status status =
      worker->ending ? device_shutdown(worker->dev, INT64_MAX, err) : end_device(worker, err);
  if (device_streams_left(worker->dev) && !worker->ending) {
    worker->ending = 1;
    return status;
  }
  baton_status closing = device_close(worker->dev, INT64_MAX, &last, status == BATON_OK ? err : NULL);
  pthread_mutex_lock(&worker->lock);
  worker->dev = NULL;
  worker->at_end = last;
  pthread_mutex_unlock(&worker->lock);
  baton_status leaving = close_place(worker, status == BATON_OK && closing == BATON_OK ? err : NULL);
  return status != BATON_OK ? status : closing != BATON_OK ? closing : leaving;
}

/* The cancelled runs end at their next tasks, unless the user of this thread has no time for that. */
static baton_status await_runs(baton_worker *worker, baton_error *err) {
  if (!base_interrupt_watched()) return BATON_OK; /* the device waits for them */
  pthread_mutex_lock(&worker->lock);
  baton_run *latest = worker->unfinished;
  if (latest) chip_run_hold(latest);
  pthread_mutex_unlock(&worker->lock);
  if (!latest) return BATON_OK;
  int over = chip_run_await_patience(latest, base_deadline(CLOSE_SECONDS));
  chip_run_release(latest);
  if (over || base_interrupt_asked() != BASE_ABANDON) return BATON_OK;
  return baton_error_set(err, BATON_CANCELLED, "close: the wait was abandoned while a kernel runs");
}

static baton_status shut_down(baton_worker *worker, baton_error *err) {
  if (!worker->dev) return BATON_OK;
  refuse_calls(worker);
  BATON_TRY(await_runs(worker, err));
  chip_buffers_close(worker);
  if (!await_calls(worker, base_deadline(CLOSE_SECONDS)))
    return baton_error_set(err, BATON_BUSY, "close: a call of the worker has not returned for %d s",
                           CLOSE_SECONDS);
  pthread_mutex_lock(&worker->lock);
  chip_registry_close(&worker->registry);
  pthread_mutex_unlock(&worker->lock);
  return close_device(worker, err);
}

baton_status baton_worker_shutdown(baton_worker *worker, baton_error *err) {
  if (chip_inside_worker(worker)) return chip_inside_error("close", err);
  pthread_mutex_lock(&worker->closing_lock);
  baton_status status = shut_down(worker, err);
  pthread_mutex_unlock(&worker->closing_lock);
  return status;
}

void baton_worker_close(baton_worker *worker) {
  baton_error err = {0};
  if (!worker) return;
  if (baton_worker_shutdown(worker, &err) != BATON_OK) base_log_error(&err, "closing a worker");
  if (worker->dev && worker->ending && baton_worker_shutdown(worker, &err) != BATON_OK)
    base_log_error(&err, "closing a worker again");
  baton_error_clear(&err);
  if (!worker->dev)
    chip_worker_release(worker); /* otherwise a call is still inside: the object stays in place */
}

const char *baton_worker_platform(const baton_worker *worker) { return worker->platform; }

baton_worker_state baton_worker_state_of(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  baton_worker_state state = worker->closed       ? BATON_WORKER_CLOSED
                             : worker->lost       ? BATON_WORKER_IS_LOST
                             : worker->unfinished ? BATON_WORKER_BUSY
                                                  : BATON_WORKER_READY;
  pthread_mutex_unlock(&worker->lock);
  return state;
}
