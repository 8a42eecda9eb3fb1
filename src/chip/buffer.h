/* chip/buffer.h - device memory of a worker: handles that die, and memory that lives as long as a run
** needs it.
**
** A handle is held by its user and by each run and copy that uses it. The memory goes back when the handle
** is dead and the last of those users is over, so that a free is ordered after everything submitted before
** it. */
#ifndef CHIP_BUFFER_H
#define CHIP_BUFFER_H

#include "base/atomic.h"
#include "device/device.h"
#include <baton/buffer.h>

enum { CHIP_PLACE_TEXT = 256 };

typedef enum chip_buffer_state {
  CHIP_BUFFER_LIVE,
  CHIP_BUFFER_FREED,  /* by baton_worker_free */
  CHIP_BUFFER_CLOSED, /* by its owner */
  CHIP_BUFFER_WORKER_CLOSED
} chip_buffer_state;

struct baton_buffer {
  _Atomic uint32_t holders;
  uint32_t number;      /* the generation: unique in this process, and part of the views of the buffer */
  baton_worker *worker; /* its own hold */
  device *dev;
  uint64_t nbytes, address;
  char *kernel_bytes; /* the same as kernels see it */
  /* guarded by worker->lock: */
  chip_buffer_state state;
  uint32_t users;              /* runs and copies */
  char died[CHIP_PLACE_TEXT];  /* where, in Lua; empty: unknown */
  baton_buffer *older, *newer; /* in the list of the worker, until the memory is freed */
};

/* baton_worker_free that knows where in Lua it was called ("file:line"); NULL: unknown. */
baton_status chip_buffer_free(baton_worker *worker, baton_buffer *buffer, const char *where,
                              baton_error *err);
/* Frees the memory, if it is not freed yet, and keeps the handle, which is dead then. */
void chip_buffer_end(baton_buffer *buffer, const char *where);

/* Copies with an exact size: `nbytes` from byte `offset` of the buffer on. */
BATON_MUST_CHECK baton_status chip_buffer_copy_to(baton_worker *worker, baton_buffer *buffer,
                                                  baton_tensor *host, uint64_t offset, uint64_t nbytes,
                                                  baton_error *err);
BATON_MUST_CHECK baton_status chip_buffer_copy_from(baton_worker *worker, baton_tensor *host,
                                                    baton_buffer *buffer, uint64_t offset, uint64_t nbytes,
                                                    baton_error *err);

/* Moves `nbytes` bytes between the buffer, from byte `offset` on, and the elements of a host view in C order. Waits for nothing
** and is ordered with nothing: the caller knows that nobody else uses these bytes. `out_of_range` for bytes that there are
** not, `stale_handle` for a dead buffer. */
BATON_MUST_CHECK baton_status chip_buffer_move_to(baton_buffer *buffer, uint64_t offset, uint64_t nbytes,
                                                  const baton_view *host, baton_error *err);
BATON_MUST_CHECK baton_status chip_buffer_move_from(const baton_view *host, baton_buffer *buffer,
                                                    uint64_t offset, uint64_t nbytes, baton_error *err);

/* A buffer over device memory that was reserved when the worker was opened, as baton_worker_malloc gives one. */
BATON_MUST_CHECK baton_status chip_buffer_adopt(baton_worker *worker, uint64_t address, uint64_t nbytes,
                                                baton_buffer **out, baton_error *err);

/* Begins a use of the memory by a run or a copy of `worker`: `stale_handle`, `closed` or `wrong_device` if
** it may not. The use holds the buffer. */
BATON_MUST_CHECK baton_status chip_buffer_use(baton_buffer *buffer, const baton_worker *worker,
                                              baton_error *err);
void chip_buffer_unuse(baton_buffer *buffer);

/* The bytes of a view of the buffer: where the first of them lies in it, and how far it reaches.
** `invalid_argument` for a view of something else, `out_of_range` for one that does not fit. */
BATON_MUST_CHECK baton_status chip_buffer_span(const baton_buffer *buffer, const baton_view *view,
                                               uint64_t *first, uint64_t *bytes, baton_error *err);

/* "bytes [first,end) of a buffer of n". */
baton_status chip_buffer_refuse_span(const baton_buffer *buffer, uint64_t first, uint64_t end,
                                     baton_error *err);

/* For the shutdown: every handle dies; memory goes back as soon as no run uses it. */
void chip_buffers_close(baton_worker *worker);

#endif
