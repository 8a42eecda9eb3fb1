/* Child memory of a node: handles here, memory at the workers. A handle is held by its user and by each task that uses it; when
** it is dead and the last of those tasks is over, the worker is told to free. */
#include "base/memory.h"
#include "chip/span.h"
#include "node/node.h"
#include <stdio.h>
#include <string.h>

typedef unsigned long long number; /* as printf takes it */

static node_worker *worker_of(const baton_node_buffer *buffer) {
  return buffer->node->workers[NODE_CHIPS][buffer->worker];
}

void node_buffer_release(baton_node_buffer *buffer) {
  if (atomic_fetch_sub_explicit(&buffer->holders, 1, memory_order_acq_rel) != 1) return;
  node_release(buffer->node);
  base_free(buffer);
}

/* Out of the list of the node; the lock is held. */
static void unlist(baton_node_buffer *buffer) {
  if (buffer->newer)
    buffer->newer->older = buffer->older;
  else if (buffer->node->buffers == buffer)
    buffer->node->buffers = buffer->older;
  if (buffer->older) buffer->older->newer = buffer->newer;
  buffer->older = buffer->newer = NULL;
}

/* Nobody can need the memory any more: it is to go back. The list keeps a hold. */
static void free_if_unused(baton_node_buffer *buffer) {
  if (!buffer->dead || buffer->users || !buffer->made) return;
  node_worker *worker = worker_of(buffer);
  buffer->made = 0;
  if (!worker->endpoint) return; /* it went with its worker */
  atomic_fetch_add_explicit(&buffer->holders, 1, memory_order_relaxed);
  buffer->next_freeing = worker->freeing;
  worker->freeing = buffer;
  buffer->node->dirty = 1;
}

void node_buffers_send(node_worker *worker) {
  while (worker->freeing) {
    baton_node_buffer *buffer = worker->freeing;
    node_command command = {
        .bytes = sizeof command, .operation = NODE_FREE, .buffer = buffer->number, .sequence = 0};
    if (!node_mailbox_post(&worker->endpoint->mailbox, NODE_TRANSFERS, &command, 0)) return;
    worker->freeing_sent++;
    node_endpoint_forget(worker->endpoint, buffer->number);
    worker->freeing = buffer->next_freeing;
    node_buffer_release(buffer);
  }
}

static _Atomic uint64_t buffer_count; /* made in this process */

baton_status node_buffer_create(baton_node *node, uint32_t worker, uint64_t nbytes, baton_node_buffer **out,
                                baton_error *err) {
  *out = NULL;
  if (!nbytes)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "malloc: at least one byte expected, got 0");
  baton_node_buffer *buffer = base_calloc(1, sizeof *buffer);
  if (!buffer) return base_out_of_memory(err, "a buffer");
  atomic_init(&buffer->holders, 1);
  node_hold(node);
  buffer->node = node;
  buffer->worker = worker;
  buffer->number = atomic_fetch_add_explicit(&buffer_count, 1, memory_order_relaxed) + 1;
  buffer->nbytes = nbytes;
  node_lock(node);
  buffer->older = node->buffers;
  if (buffer->older) buffer->older->newer = buffer;
  node->buffers = buffer;
  node_unlock(node);
  *out = buffer;
  return BATON_OK;
}

static baton_status refuse_dead(const baton_node_buffer *buffer, baton_error *err) {
  const char *at = buffer->died[0] ? " at " : "";
  switch (buffer->dead) {
  case BATON_CLOSED:
    return baton_error_set(err, BATON_CLOSED, "the buffer of %llu bytes was closed%s%s",
                           (number)buffer->nbytes, at, buffer->died);
  case BATON_OUT_OF_MEMORY:
    return baton_error_set(err, BATON_STALE_HANDLE,
                           "the buffer of %llu bytes on worker %u was never allocated",
                           (number)buffer->nbytes, buffer->worker);
  default:
    return baton_error_set(err, BATON_STALE_HANDLE, "the buffer of %llu bytes was freed%s%s",
                           (number)buffer->nbytes, at, buffer->died);
  }
}

static baton_status check(const baton_node *node, const baton_node_buffer *buffer, baton_error *err) {
  if (buffer->node != node)
    return baton_error_set(err, BATON_WRONG_DEVICE, "the buffer of %llu bytes belongs to another node",
                           (number)buffer->nbytes);
  return buffer->dead ? refuse_dead(buffer, err) : BATON_OK;
}

baton_status node_buffer_check(baton_node *node, const baton_node_buffer *buffer, baton_error *err) {
  node_lock(node);
  baton_status status = check(node, buffer, err);
  node_unlock(node);
  return status;
}

baton_status node_buffer_use(baton_node *node, baton_node_buffer *buffer, baton_error *err) {
  BATON_TRY(check(node, buffer, err));
  buffer->users++;
  atomic_fetch_add_explicit(&buffer->holders, 1, memory_order_relaxed);
  return BATON_OK;
}

void node_buffer_unuse(baton_node_buffer *buffer) {
  buffer->users--;
  free_if_unused(buffer);
  node_buffer_release(buffer);
}

void node_buffer_die(baton_node_buffer *buffer, baton_status code, const char *where) {
  if (buffer->dead) return;
  buffer->dead = (int)code;
  snprintf(buffer->died, sizeof buffer->died, "%s", where ? where : "");
  unlist(buffer);
  free_if_unused(buffer);
}

static baton_status free_live(baton_node *node, baton_node_buffer *buffer, const char *where,
                              baton_error *err) {
  if (buffer->node != node)
    return baton_error_set(err, BATON_WRONG_DEVICE, "free: the buffer of %llu bytes belongs to another node",
                           (number)buffer->nbytes);
  if (buffer->dead == BATON_STALE_HANDLE)
    return baton_error_set(err, BATON_DOUBLE_FREE, "free: the buffer of %llu bytes was freed before%s%s",
                           (number)buffer->nbytes, buffer->died[0] ? ", at " : "", buffer->died);
  if (buffer->dead) return refuse_dead(buffer, err);
  node_buffer_die(buffer, BATON_STALE_HANDLE, where);
  return BATON_OK;
}

/* The memory goes back at the next turn of a driver. */
static void hurry(baton_node *node) {
  node_lock(node);
  node_step(node);
  node_unlock(node);
}

baton_status node_buffer_free(baton_node *node, baton_node_buffer *buffer, const char *where,
                              baton_error *err) {
  node_lock(node);
  baton_status status = free_live(node, buffer, where, err);
  node_unlock(node);
  if (status == BATON_OK) hurry(node);
  return status;
}

baton_status baton_node_free(baton_node *node, baton_node_buffer *buffer, baton_error *err) {
  return node_buffer_free(node, buffer, NULL, err);
}

void node_buffer_end(baton_node_buffer *buffer, const char *where) {
  node_lock(buffer->node);
  node_buffer_die(buffer, BATON_CLOSED, where);
  node_unlock(buffer->node);
  hurry(buffer->node);
}

void baton_node_buffer_close(baton_node_buffer *buffer) {
  if (!buffer) return;
  node_buffer_end(buffer, NULL);
  node_buffer_release(buffer);
}

uint64_t baton_node_buffer_nbytes(const baton_node_buffer *buffer) { return buffer->nbytes; }
uint32_t baton_node_buffer_worker(const baton_node_buffer *buffer) { return buffer->worker; }

baton_status baton_node_buffer_tensor(baton_node_buffer *buffer, baton_dtype dtype, int ndim,
                                      const int64_t *shape, uint64_t offset, baton_view *out,
                                      baton_error *err) {
  baton_view view;
  chip_memory memory = {.base = node_buffer_base(buffer), .bytes = buffer->nbytes};
  *out = baton_view_invalid();
  node_lock(buffer->node);
  baton_status status = buffer->dead ? refuse_dead(buffer, err) : BATON_OK;
  node_unlock(buffer->node);
  if (status == BATON_OK) status = chip_memory_tensor(&memory, dtype, ndim, shape, offset, &view, err);
  if (status == BATON_OK) *out = view;
  return status;
}
