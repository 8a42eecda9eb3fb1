/* baton/buffer.h - device memory that belongs to a worker, not to a run: child memory. */
#ifndef BATON_BUFFER_H
#define BATON_BUFFER_H

#include <baton/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `nbytes` of device memory, not cleared. It lives until it is freed or closed, or the worker is. The
** caller owns *out and closes it. When memory is short, this waits for what was submitted before, whose
** memory comes back. Any thread. */
BATON_MUST_CHECK baton_status baton_worker_malloc(baton_worker *worker, uint64_t nbytes, baton_buffer **out,
                                                  baton_error *err);

/* Gives the memory back after every task submitted before, without waiting for it. The handle is dead at
** once: what uses it raises `stale_handle`, a second free `double_free`. A buffer of another worker:
** `wrong_device`. Any thread. */
baton_status baton_worker_free(baton_worker *worker, baton_buffer *buffer, baton_error *err);

/* What a copy moves. Zero means default. */
typedef struct baton_copy_options {
  uint64_t offset; /* bytes into the buffer */
  uint64_t nbytes; /* of the host tensor's elements in C order, from the first on; 0: all of them */
} baton_copy_options;

/* Copies between a host tensor and a buffer. They come after everything submitted before and are done when
** they return; strided tensors are packed, and unpacked. What does not fit on either side: `out_of_range`.
** `options` may be NULL. Inside an orchestration of the same worker: `state`. Any thread. */
BATON_MUST_CHECK baton_status baton_worker_copy_to(baton_worker *worker, baton_buffer *buffer,
                                                   baton_tensor *host, const baton_copy_options *options,
                                                   baton_error *err);
BATON_MUST_CHECK baton_status baton_worker_copy_from(baton_worker *worker, baton_tensor *host,
                                                     baton_buffer *buffer, const baton_copy_options *options,
                                                     baton_error *err);

/* A contiguous tensor in the buffer, from byte `offset` on, for baton_value: child memory, which a run
** takes as it is, with no copy in or back. *out owns nothing and is good as long as the buffer is; view
** operations may be applied to it. A buffer that is dead: `stale_handle` or `closed`. */
BATON_MUST_CHECK baton_status baton_buffer_tensor(baton_buffer *buffer, baton_dtype dtype, int ndim,
                                                  const int64_t *shape, uint64_t offset, baton_view *out,
                                                  baton_error *err);

uint64_t baton_buffer_nbytes(const baton_buffer *buffer);

/* Frees the memory, if it is not freed yet, and gives the handle back; runs that use it keep the memory
** until they end. Legal before and after its worker is closed. NULL is ignored. */
void baton_buffer_close(baton_buffer *buffer);

#ifdef __cplusplus
}
#endif
#endif
