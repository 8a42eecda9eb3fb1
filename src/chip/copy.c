/* Copies between host tensors and buffers. */
#include "chip/worker.h"
#include "tensor/storage.h"

typedef unsigned long long number; /* as printf takes it */

/* One copy between a host tensor and a buffer. */
typedef struct copy {
  const char *what; /* "copy_to" */
  int writes_host;
  baton_worker *worker;
  baton_buffer *buffer;
  baton_tensor *host;
  uint64_t offset, nbytes;
} copy;

static uint64_t host_bytes(const copy *c) {
  const baton_view *view = baton_tensor_view(c->host);
  return (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
}

static baton_status check_ranges(const copy *c, baton_error *err) {
  uint64_t end = c->nbytes > UINT64_MAX - c->offset ? UINT64_MAX : c->offset + c->nbytes;
  if (end > c->buffer->nbytes) return chip_buffer_refuse_span(c->buffer, c->offset, end, err);
  if (c->nbytes > host_bytes(c))
    return baton_error_set(err, BATON_OUT_OF_RANGE, "bytes [0,%llu) of a host tensor of %llu",
                           (number)c->nbytes, (number)host_bytes(c));
  return BATON_OK;
}

static baton_status move_in(const copy *c, const void *from, baton_error *err) {
  return device_copy_in(c->worker->dev, c->buffer->address + c->offset, from, c->nbytes, err);
}

static baton_status move_out(const copy *c, void *to, baton_error *err) {
  return device_copy_out(c->worker->dev, c->buffer->address + c->offset, to, c->nbytes, err);
}

/* A strided tensor goes by way of a packed one; what the copy does not reach keeps its value. */
static baton_status move_packed(const copy *c, baton_error *err) {
  baton_tensor *packed;
  BATON_TRY(baton_tensor_clone(c->host, &packed, err));
  void *data = baton_tensor_view(packed)->data;
  baton_status status = c->writes_host ? move_out(c, data, err) : move_in(c, data, err);
  if (status == BATON_OK && c->writes_host) status = baton_tensor_copy(c->host, packed, err);
  baton_tensor_close(packed);
  return status;
}

static baton_status move_bytes(const copy *c, baton_error *err) {
  const baton_view *view = baton_tensor_view(c->host);
  if (!baton_view_contiguous(view)) return move_packed(c, err);
  return c->writes_host ? move_out(c, view->data, err) : move_in(c, view->data, err);
}

static baton_status move(const copy *c, baton_error *err) {
  BATON_TRY(check_ranges(c, err));
  chip_worker_await_submitted(c->worker);
  BATON_TRY(tensor_await(c->host, c->writes_host, err));
  return move_bytes(c, err);
}

static baton_status move_view(const copy *c, const baton_view *view, baton_error *err) {
  copy over = *c;
  BATON_TRY(chip_buffer_use(c->buffer, NULL, err));
  baton_status status = tensor_over_view(view, &over.host, err);
  if (status == BATON_OK) status = check_ranges(&over, err);
  if (status == BATON_OK) status = move_bytes(&over, err);
  baton_tensor_close(over.host);
  chip_buffer_unuse(c->buffer);
  if (status != BATON_OK) baton_error_context(err, "%s", c->what);
  return status;
}

baton_status chip_buffer_move_to(baton_buffer *buffer, uint64_t offset, uint64_t nbytes,
                                 const baton_view *host, baton_error *err) {
  return move_view(&(copy){"copy_to", 0, buffer->worker, buffer, NULL, offset, nbytes}, host, err);
}

baton_status chip_buffer_move_from(const baton_view *host, baton_buffer *buffer, uint64_t offset,
                                   uint64_t nbytes, baton_error *err) {
  return move_view(&(copy){"copy_from", 1, buffer->worker, buffer, NULL, offset, nbytes}, host, err);
}

static baton_status run_copy(const copy *c, baton_error *err) {
  BATON_TRY(chip_worker_enter(c->worker, c->what, err));
  baton_status status = chip_buffer_use(c->buffer, c->worker, err);
  if (status == BATON_OK) {
    status = move(c, err);
    chip_buffer_unuse(c->buffer);
  }
  if (status != BATON_OK) baton_error_context(err, "%s", c->what);
  chip_worker_leave(c->worker);
  return status;
}

baton_status chip_buffer_copy_to(baton_worker *worker, baton_buffer *buffer, baton_tensor *host,
                                 uint64_t offset, uint64_t nbytes, baton_error *err) {
  return run_copy(&(copy){"copy_to", 0, worker, buffer, host, offset, nbytes}, err);
}

baton_status chip_buffer_copy_from(baton_worker *worker, baton_tensor *host, baton_buffer *buffer,
                                   uint64_t offset, uint64_t nbytes, baton_error *err) {
  return run_copy(&(copy){"copy_from", 1, worker, buffer, host, offset, nbytes}, err);
}

/* What the options of a C caller leave open is taken from the host tensor. */
static baton_status run_with(copy c, const baton_copy_options *options, baton_error *err) {
  c.offset = options ? options->offset : 0;
  c.nbytes = options && options->nbytes ? options->nbytes : host_bytes(&c);
  return run_copy(&c, err);
}

baton_status baton_worker_copy_to(baton_worker *worker, baton_buffer *buffer, baton_tensor *host,
                                  const baton_copy_options *options, baton_error *err) {
  return run_with((copy){"copy_to", 0, worker, buffer, host, 0, 0}, options, err);
}

baton_status baton_worker_copy_from(baton_worker *worker, baton_tensor *host, baton_buffer *buffer,
                                    const baton_copy_options *options, baton_error *err) {
  return run_with((copy){"copy_from", 1, worker, buffer, host, 0, 0}, options, err);
}
