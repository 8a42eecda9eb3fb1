#include "base/memory.h"
#include "chip/span.h"
#include "chip/worker.h"
#include <stdio.h>

typedef unsigned long long number; /* as printf takes it */

static _Atomic uint32_t buffer_count; /* made in this process */

/* --- Life and death ------------------------------------------------------------------------------------- */

static void release(baton_buffer *buffer) {
  if (atomic_fetch_sub_explicit(&buffer->holders, 1, memory_order_acq_rel) != 1) return;
  chip_worker_release(buffer->worker);
  base_free(buffer);
}

/* Out of the list of the worker. worker->lock is held. */
static void unlist(baton_buffer *buffer) {
  baton_worker *worker = buffer->worker;
  if (buffer->newer)
    buffer->newer->older = buffer->older;
  else
    worker->buffers = buffer->older;
  if (buffer->older) buffer->older->newer = buffer->newer;
  buffer->older = buffer->newer = NULL;
}

/* Gives the memory back if nobody can need it any more. worker->lock is held. */
static void free_if_unused(baton_buffer *buffer) {
  if (buffer->state == CHIP_BUFFER_LIVE || buffer->users || !buffer->address) return;
  unlist(buffer);
  (void)device_free(buffer->dev, buffer->address, NULL);
  buffer->address = 0;
}

/* worker->lock is held. */
static void die(baton_buffer *buffer, chip_buffer_state state, const char *where) {
  buffer->state = state;
  snprintf(buffer->died, sizeof buffer->died, "%s", where ? where : "");
  free_if_unused(buffer);
}

static baton_status alloc(baton_worker *worker, uint64_t nbytes, uint64_t *address, baton_error *err) {
  baton_status status = device_alloc(worker->dev, nbytes, address, err);
  if (status != BATON_OUT_OF_MEMORY) return status;
  /* what others have freed may still be on its way, behind the runs that use it */
  pthread_mutex_lock(&worker->lock);
  int reclaimable = worker->unfinished != NULL;
  pthread_mutex_unlock(&worker->lock);
  if (!chip_inside_worker(worker)) chip_worker_await_submitted(worker);
  if (!chip_worker_reclaim(worker) && !reclaimable) return status;
  return device_alloc(worker->dev, nbytes, address, err);
}

/* On memory that there is already, if buffer->address is set. */
static baton_status place(baton_buffer *buffer, baton_error *err) {
  baton_worker *worker = buffer->worker;
  void *bytes;
  buffer->dev = worker->dev;
  if (!buffer->address) BATON_TRY(alloc(worker, buffer->nbytes, &buffer->address, err));
  BATON_TRY(device_translate(buffer->dev, buffer->address, buffer->nbytes, &bytes, err));
  buffer->kernel_bytes = bytes;
  pthread_mutex_lock(&worker->lock);
  buffer->older = worker->buffers;
  if (buffer->older) buffer->older->newer = buffer;
  worker->buffers = buffer;
  if (worker->closed) die(buffer, CHIP_BUFFER_WORKER_CLOSED, NULL);
  pthread_mutex_unlock(&worker->lock);
  return BATON_OK;
}

static baton_status create(baton_worker *worker, uint64_t address, uint64_t nbytes, baton_buffer **out,
                           baton_error *err) {
  *out = NULL;
  baton_buffer *buffer = base_calloc(1, sizeof *buffer);
  if (!buffer) return base_out_of_memory(err, "a buffer");
  atomic_init(&buffer->holders, 1);
  buffer->number = atomic_fetch_add_explicit(&buffer_count, 1, memory_order_relaxed) + 1;
  buffer->nbytes = nbytes;
  buffer->address = address;
  buffer->worker = worker;
  chip_worker_hold(worker);
  baton_status status = chip_worker_enter_quick(worker, err);
  if (status == BATON_OK) {
    status = place(buffer, err);
    if (status != BATON_OK) baton_error_context(err, "malloc");
    chip_worker_leave(worker);
  }
  if (status != BATON_OK)
    release(buffer);
  else
    *out = buffer;
  return status;
}

baton_status baton_worker_malloc(baton_worker *worker, uint64_t nbytes, baton_buffer **out,
                                 baton_error *err) {
  *out = NULL;
  if (!nbytes)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "malloc: at least one byte expected, got 0");
  return create(worker, 0, nbytes, out, err);
}

baton_status chip_buffer_adopt(baton_worker *worker, uint64_t address, uint64_t nbytes, baton_buffer **out,
                               baton_error *err) {
  return create(worker, address, nbytes, out, err);
}

/* --- Handles -------------------------------------------------------------------------------------------- */

/* Why a dead handle is refused; worker->lock is held. */
static baton_status refuse_dead(const baton_buffer *buffer, baton_error *err) {
  const char *at = buffer->died[0] ? " at " : "";
  if (buffer->state == CHIP_BUFFER_WORKER_CLOSED)
    return baton_error_set(err, BATON_CLOSED, "the worker of the buffer is closed");
  if (buffer->state == CHIP_BUFFER_CLOSED)
    return baton_error_set(err, BATON_CLOSED, "the buffer of %llu bytes was closed%s%s",
                           (number)buffer->nbytes, at, buffer->died);
  return baton_error_set(err, BATON_STALE_HANDLE, "the buffer of %llu bytes was freed%s%s",
                         (number)buffer->nbytes, at, buffer->died);
}

static baton_status refuse_other(const baton_buffer *buffer, const baton_worker *worker, baton_error *err) {
  return baton_error_set(
      err, BATON_WRONG_DEVICE,
      "the buffer belongs to another worker (%s, device %u), not to this one (%s, device %u)",
      buffer->worker->platform, buffer->worker->device_number, worker->platform, worker->device_number);
}

baton_status chip_buffer_use(baton_buffer *buffer, const baton_worker *worker, baton_error *err) {
  baton_status status = BATON_OK;
  pthread_mutex_lock(&buffer->worker->lock);
  if (buffer->state != CHIP_BUFFER_LIVE)
    status = refuse_dead(buffer, err);
  else if (worker && buffer->worker != worker)
    status = refuse_other(buffer, worker, err);
  else
    buffer->users++;
  pthread_mutex_unlock(&buffer->worker->lock);
  if (status == BATON_OK) atomic_fetch_add_explicit(&buffer->holders, 1, memory_order_relaxed);
  return status;
}

void chip_buffer_unuse(baton_buffer *buffer) {
  pthread_mutex_lock(&buffer->worker->lock);
  buffer->users--;
  free_if_unused(buffer);
  pthread_mutex_unlock(&buffer->worker->lock);
  release(buffer);
}

/* worker->lock is held, and the buffer belongs to the worker. */
static baton_status free_live(baton_buffer *buffer, const char *where, baton_error *err) {
  if (buffer->state == CHIP_BUFFER_LIVE) {
    die(buffer, CHIP_BUFFER_FREED, where);
    return BATON_OK;
  }
  if (buffer->state == CHIP_BUFFER_WORKER_CLOSED) return refuse_dead(buffer, err);
  return baton_error_set(err, BATON_DOUBLE_FREE, "free: the buffer of %llu bytes was %s before%s%s",
                         (number)buffer->nbytes, buffer->state == CHIP_BUFFER_FREED ? "freed" : "closed",
                         buffer->died[0] ? ", at " : "", buffer->died);
}

baton_status chip_buffer_free(baton_worker *worker, baton_buffer *buffer, const char *where,
                              baton_error *err) {
  BATON_TRY(chip_worker_enter_quick(worker, err));
  baton_status status;
  if (buffer->worker == worker) {
    pthread_mutex_lock(&worker->lock);
    status = free_live(buffer, where, err);
    pthread_mutex_unlock(&worker->lock);
  } else {
    status = refuse_other(buffer, worker, err);
    baton_error_context(err, "free");
  }
  chip_worker_leave(worker);
  return status;
}

baton_status baton_worker_free(baton_worker *worker, baton_buffer *buffer, baton_error *err) {
  return chip_buffer_free(worker, buffer, NULL, err);
}

void chip_buffer_end(baton_buffer *buffer, const char *where) {
  pthread_mutex_lock(&buffer->worker->lock);
  if (buffer->state == CHIP_BUFFER_LIVE) die(buffer, CHIP_BUFFER_CLOSED, where);
  pthread_mutex_unlock(&buffer->worker->lock);
}

void baton_buffer_close(baton_buffer *buffer) {
  if (!buffer) return;
  chip_buffer_end(buffer, NULL);
  release(buffer);
}

uint64_t baton_buffer_nbytes(const baton_buffer *buffer) { return buffer->nbytes; }

void chip_buffers_close(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  for (baton_buffer *buffer = worker->buffers, *older; buffer; buffer = older) {
    older = buffer->older;
    if (buffer->state == CHIP_BUFFER_LIVE) die(buffer, CHIP_BUFFER_WORKER_CLOSED, NULL);
  }
  pthread_mutex_unlock(&worker->lock);
}

/* --- Tensors in a buffer -------------------------------------------------------------------------------- */

static chip_memory memory_of(const baton_buffer *buffer) {
  return (chip_memory){.base = buffer->address, .bytes = buffer->nbytes, .generation = buffer->number};
}

baton_status chip_buffer_refuse_span(const baton_buffer *buffer, uint64_t first, uint64_t end,
                                     baton_error *err) {
  return chip_memory_refuse(buffer->nbytes, first, end, err);
}

baton_status chip_buffer_span(const baton_buffer *buffer, const baton_view *view, uint64_t *first,
                              uint64_t *bytes, baton_error *err) {
  chip_memory memory = memory_of(buffer);
  return chip_memory_span(&memory, view, first, bytes, err);
}

baton_status baton_buffer_tensor(baton_buffer *buffer, baton_dtype dtype, int ndim, const int64_t *shape,
                                 uint64_t offset, baton_view *out, baton_error *err) {
  *out = baton_view_invalid();
  baton_view view;
  BATON_TRY(chip_buffer_use(buffer, NULL, err));
  chip_memory memory = memory_of(buffer);
  baton_status status = chip_memory_tensor(&memory, dtype, ndim, shape, offset, &view, err);
  chip_buffer_unuse(buffer);
  if (status == BATON_OK) *out = view;
  return status;
}
