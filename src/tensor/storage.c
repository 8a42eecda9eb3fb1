/* Storages, tensors and views. */
#include "base/atomic.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/segment.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { STORAGE_ALIGNMENT = 64 };

/* What unfinished runs do with the storage. `changed` wakes those who wait for the counts. */
struct tensor_storage {
  _Atomic uint32_t references;
  _Atomic uint32_t readers, writers;
  base_extent extent; /* all zero for memory of a caller */
  void *address;
  uint64_t size;
  pthread_mutex_t lock; /* guards ends of uses, `failures`, `failure` and `notice` */
  pthread_cond_t changed;
  uint64_t failures;
  baton_error failure;     /* the last */
  tensor_notice *notice;   /* of the run that it is of; NULL: none */
  _Atomic uint32_t untold; /* nobody was told of it here, and no later run has written */
};

/* --- Storages ------------------------------------------------------------------------------------------- */

static baton_status storage_create(void *address, uint64_t size, tensor_storage **out, baton_error *err) {
  tensor_storage *storage = base_calloc(1, sizeof *storage);
  *out = NULL;
  if (!storage) return base_out_of_memory(err, "a tensor");
  storage->size = size;
  storage->address = address;
  if (!address) {
    baton_status status = base_extent_alloc(size, STORAGE_ALIGNMENT, &storage->extent, err);
    if (status != BATON_OK) {
      base_free(storage);
      return status;
    }
    storage->address = storage->extent.address;
  }
  atomic_init(&storage->references, 1);
  pthread_mutex_init(&storage->lock, NULL);
  pthread_cond_init(&storage->changed, NULL);
  *out = storage;
  return BATON_OK;
}

tensor_storage *tensor_storage_of(const baton_tensor *tensor) { return tensor->storage; }

void tensor_storage_retain(tensor_storage *storage) {
  atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
}

void tensor_storage_release(tensor_storage *storage) {
  if (atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) != 1) return;
  base_extent_free(&storage->extent);
  baton_error_clear(&storage->failure);
  tensor_notice_release(storage->notice);
  pthread_cond_destroy(&storage->changed);
  pthread_mutex_destroy(&storage->lock);
  base_free(storage);
}

void *tensor_storage_address(const tensor_storage *storage) { return storage->address; }

/* --- Notices -------------------------------------------------------------------------------------------- */

struct tensor_notice {
  _Atomic uint32_t references;
  _Atomic uint32_t told;
};

tensor_notice *tensor_notice_create(void) {
  tensor_notice *notice = base_calloc(1, sizeof *notice);
  if (notice) atomic_init(&notice->references, 1);
  return notice;
}

void tensor_notice_release(tensor_notice *notice) {
  if (!notice || atomic_fetch_sub_explicit(&notice->references, 1, memory_order_acq_rel) != 1) return;
  base_free(notice);
}

/* relaxed: it orders nothing; whoever is told first and touches a tensor then is the same thread, or was told by it */
void tensor_notice_tell(tensor_notice *notice) {
  if (notice) atomic_store_explicit(&notice->told, 1, memory_order_relaxed);
}

/* The notice of the last failed write, NULL: none. With storage->lock held. */
static void set_notice(tensor_storage *storage, tensor_notice *notice) {
  if (notice) atomic_fetch_add_explicit(&notice->references, 1, memory_order_relaxed);
  tensor_notice_release(storage->notice);
  storage->notice = notice;
}

/* With storage->lock held. */
static int is_news(const tensor_storage *storage) {
  return atomic_load_explicit(&storage->untold, memory_order_relaxed) &&
         !(storage->notice && atomic_load_explicit(&storage->notice->told, memory_order_relaxed));
}

/* --- Uses ----------------------------------------------------------------------------------------------- */

void tensor_use_begin(tensor_storage *storage, int writes) {
  tensor_storage_retain(storage);
  atomic_fetch_add_explicit(writes ? &storage->writers : &storage->readers, 1, memory_order_relaxed);
}

static void end_use(tensor_storage *storage, int writes, const baton_error *failure, tensor_notice *notice) {
  pthread_mutex_lock(&storage->lock);
  if (writes && storage->notice != notice) set_notice(storage, notice);
  if (writes && failure) {
    baton_error_copy(&storage->failure, failure);
    storage->failures++;
  }
  if (writes) atomic_store_explicit(&storage->untold, failure != NULL, memory_order_relaxed);
  /* release: who sees the count go down sees what the run wrote */
  atomic_fetch_sub_explicit(writes ? &storage->writers : &storage->readers, 1, memory_order_release);
  pthread_cond_broadcast(&storage->changed);
  pthread_mutex_unlock(&storage->lock);
  tensor_storage_release(storage);
}

void tensor_use_end(tensor_storage *storage, int writes, const baton_error *failure) {
  end_use(storage, writes, failure, NULL);
}

void tensor_use_fail(tensor_storage *storage, const baton_error *failure, tensor_notice *notice) {
  end_use(storage, 1, failure, notice);
}

int tensor_storage_in_use(const tensor_storage *storage, int writes) {
  return atomic_load_explicit(&storage->writers, memory_order_acquire) ||
         (writes && atomic_load_explicit(&storage->readers, memory_order_acquire));
}

int tensor_untold(tensor_storage *storage) {
  if (!atomic_load_explicit(&storage->untold, memory_order_relaxed)) return 0;
  pthread_mutex_lock(&storage->lock);
  int untold = is_news(storage);
  pthread_mutex_unlock(&storage->lock);
  return untold;
}

/* With storage->lock held. */
static baton_status tell(tensor_storage *storage, baton_error *err) {
  atomic_store_explicit(&storage->untold, 0, memory_order_relaxed);
  return baton_error_copy(err, &storage->failure);
}

static _Atomic(tensor_guard) guards[TENSOR_GUARDS];

void tensor_set_guard(int level, tensor_guard guard) {
  atomic_store_explicit(&guards[level], guard, memory_order_release);
}

static baton_status check_wait(const baton_tensor *tensor, int writes, baton_error *err) {
  tensor_guard guard = NULL;
  for (int level = TENSOR_GUARDS; level > 0 && !guard; level--)
    guard = atomic_load_explicit(&guards[level - 1], memory_order_acquire);
  if (!guard || !guard(tensor->storage, writes)) return BATON_OK;
  return baton_error_set(err, BATON_STATE, "%s is an argument of the run that is being built here",
                         tensor_name_of(&tensor->view).text);
}

/* Sleeps until something changes; false if the user of this thread wants no more of it. */
static int sleep_once(tensor_storage *storage) {
  int64_t until = base_interrupt_slice(INT64_MAX);
  struct timespec moment = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
  if (until == INT64_MAX)
    pthread_cond_wait(&storage->changed, &storage->lock);
  else
    pthread_cond_clockwait(&storage->changed, &storage->lock, CLOCK_MONOTONIC, &moment);
  return base_interrupt_asked() == BASE_GO_ON;
}

baton_status tensor_await(const baton_tensor *tensor, int writes, baton_error *err) {
  tensor_storage *storage = tensor->storage;
  baton_status status = BATON_OK;
  int waits = tensor_storage_in_use(storage, writes);
  if (!waits && !tensor_untold(storage)) return BATON_OK;
  if (waits) BATON_TRY(check_wait(tensor, writes, err));
  pthread_mutex_lock(&storage->lock);
  uint64_t failures = storage->failures;
  int patient = 1;
  while (tensor_storage_in_use(storage, writes) && patient) patient = sleep_once(storage);
  if (!patient && tensor_storage_in_use(storage, writes))
    status = baton_error_set(err, BATON_CANCELLED, "the wait for %s was interrupted, its run goes on",
                             tensor_name_of(&tensor->view).text);
  else if (storage->failures != failures || is_news(storage))
    status = tell(storage, err);
  pthread_mutex_unlock(&storage->lock);
  return status;
}

baton_status tensor_take_failure(tensor_storage *storage, baton_error *err) {
  baton_status status = BATON_OK;
  if (!tensor_untold(storage)) return BATON_OK;
  pthread_mutex_lock(&storage->lock);
  if (is_news(storage)) status = tell(storage, err);
  pthread_mutex_unlock(&storage->lock);
  return status;
}

int tensor_pending(const baton_tensor *tensor) { return tensor_storage_in_use(tensor->storage, 0); }

/* --- Tensors -------------------------------------------------------------------------------------------- */

tensor_name tensor_name_of(const baton_view *view) {
  tensor_name name;
  int length = snprintf(name.text, sizeof name.text, "%s[", baton_dtype_name((baton_dtype)view->dtype));
  for (int d = 0; d < view->ndim; d++)
    length += snprintf(name.text + length, sizeof name.text - (size_t)length, "%s%" PRId64, d ? "," : "",
                       view->shape[d]);
  snprintf(name.text + length, sizeof name.text - (size_t)length, "]");
  return name;
}

/* A contiguous view of a checked shape at address 0. */
static baton_status make_view(baton_dtype dtype, int ndim, const int64_t *shape, baton_view *out,
                              baton_error *err) {
  const int64_t limit = INT64_C(1) << 62;
  if (dtype <= BATON_NO_DTYPE || dtype >= BATON_DTYPE_COUNT)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%d is no dtype", (int)dtype);
  if (ndim < 0 || ndim > BATON_MAX_DIMS)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%d dimensions asked for, 0 to %d are possible", ndim,
                           BATON_MAX_DIMS);
  *out = (baton_view){.dtype = (uint8_t)dtype, .ndim = (uint8_t)ndim};
  int64_t bytes = (int64_t)baton_dtype_size(dtype), numel = 1;
  for (int d = 0; d < ndim; d++) {
    out->shape[d] = shape[d];
    if (shape[d] < 0)
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "a size of %" PRId64 " is negative", shape[d]);
  }
  /* sizes beyond the limit are refused even where another size is 0: strides must not overflow either */
  for (int d = ndim - 1; d >= 0; d--) {
    int64_t size = shape[d] ? shape[d] : 1;
    out->strides[d] = numel;
    if (size > limit / bytes)
      return baton_error_set(err, BATON_OUT_OF_RANGE, "%s has more than 2^62 bytes",
                             tensor_name_of(out).text);
    bytes *= size;
    numel *= size;
  }
  return BATON_OK;
}

/* Takes over one reference to `storage`, also on failure. */
static baton_status tensor_create(const baton_view *view, tensor_storage *storage, baton_tensor **out,
                                  baton_error *err) {
  baton_tensor *tensor = base_alloc(sizeof *tensor);
  *out = tensor;
  if (!tensor) {
    tensor_storage_release(storage);
    return base_out_of_memory(err, "a tensor");
  }
  tensor->view = *view;
  tensor->storage = storage;
  return BATON_OK;
}

static uint64_t view_bytes(const baton_view *view) {
  return (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
}

/* Over fresh memory for address == NULL. */
static baton_status tensor_over(void *address, baton_dtype dtype, int ndim, const int64_t *shape,
                                baton_tensor **out, baton_error *err) {
  baton_view view;
  tensor_storage *storage;
  *out = NULL;
  BATON_TRY(make_view(dtype, ndim, shape, &view, err));
  baton_status status = storage_create(address, view_bytes(&view), &storage, err);
  if (status != BATON_OK) return baton_error_context(err, "%s", tensor_name_of(&view).text), status;
  view.data = storage->address;
  view.base = (uint64_t)(uintptr_t)storage->address;
  return tensor_create(&view, storage, out, err);
}

baton_status baton_tensor_empty(baton_dtype dtype, int ndim, const int64_t *shape, baton_tensor **out,
                                baton_error *err) {
  return tensor_over(NULL, dtype, ndim, shape, out, err);
}

baton_status baton_tensor_zeros(baton_dtype dtype, int ndim, const int64_t *shape, baton_tensor **out,
                                baton_error *err) {
  BATON_TRY(tensor_over(NULL, dtype, ndim, shape, out, err));
  memset((*out)->view.data, 0, view_bytes(&(*out)->view));
  return BATON_OK;
}

static char no_bytes[1]; /* their address */

baton_status baton_tensor_wrap(void *data, baton_dtype dtype, int ndim, const int64_t *shape,
                               baton_tensor **out, baton_error *err) {
  *out = NULL;
  baton_view view;
  BATON_TRY(make_view(dtype, ndim, shape, &view, err));
  if (!data && view_bytes(&view))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "NULL cannot hold %s", tensor_name_of(&view).text);
  if ((uintptr_t)data % baton_dtype_size(dtype))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "address %p is not aligned for elements of %s", data,
                           baton_dtype_name(dtype));
  return tensor_over(data ? data : no_bytes, dtype, ndim, shape, out, err);
}

void baton_tensor_close(baton_tensor *tensor) {
  if (!tensor) return;
  tensor_storage_release(tensor->storage);
  base_free(tensor);
}

const baton_view *baton_tensor_view(const baton_tensor *tensor) { return &tensor->view; }

baton_status tensor_like(const baton_view *like, baton_dtype dtype, baton_tensor **out, baton_error *err) {
  return baton_tensor_empty(dtype, like->ndim, like->shape, out, err);
}

/* --- Views ---------------------------------------------------------------------------------------------- */

/* The bytes from the first to behind the last element: [*first, *last). Empty views have none. */
static void view_span(const baton_view *view, uintptr_t *first, uintptr_t *last) {
  int64_t low = 0, high = (int64_t)baton_dtype_size((baton_dtype)view->dtype), size = high;
  for (int d = 0; d < view->ndim; d++) {
    int64_t reach = (view->shape[d] - 1) * view->strides[d] * size;
    if (view->shape[d] == 0) {
      *first = *last = (uintptr_t)view->data;
      return;
    }
    *(reach < 0 ? &low : &high) += reach;
  }
  *first = (uintptr_t)view->data + (uintptr_t)low;
  *last = (uintptr_t)view->data + (uintptr_t)high;
}

int tensor_overlaps(const baton_tensor *a, const baton_tensor *b) {
  uintptr_t first_a, last_a, first_b, last_b;
  view_span(&a->view, &first_a, &last_a);
  view_span(&b->view, &first_b, &last_b);
  return first_a < last_b && first_b < last_a;
}

int tensor_reach(const baton_view *view, uint64_t *below, uint64_t *above) {
  int64_t size = (int64_t)baton_dtype_size((baton_dtype)view->dtype), low = 0, high = size, bytes = size,
          reach;
  *below = *above = 0;
  for (int d = 0; d < view->ndim; d++)
    if (view->shape[d] <= 0) return view->shape[d] == 0;
  for (int d = 0; d < view->ndim; d++) {
    if (__builtin_mul_overflow(bytes, view->shape[d], &bytes)) return 0; /* repeated elements count too */
    if (__builtin_mul_overflow(view->shape[d] - 1, view->strides[d], &reach) ||
        __builtin_mul_overflow(reach, size, &reach))
      return 0;
    if (__builtin_add_overflow(*(reach < 0 ? &low : &high), reach, reach < 0 ? &low : &high)) return 0;
  }
  *below = 0 - (uint64_t)low;
  *above = (uint64_t)high;
  return 1;
}

/* Whether all elements lie within the storage; sizes and strides are anything that a caller wrote. */
static int view_fits(const baton_view *view, const tensor_storage *storage) {
  uintptr_t start = (uintptr_t)storage->address, at = (uintptr_t)view->data;
  uint64_t below, above;
  if (at < start || at - start > storage->size || (at - start) % baton_dtype_size((baton_dtype)view->dtype))
    return 0;
  return tensor_reach(view, &below, &above) && below <= at - start && above <= storage->size - (at - start);
}

baton_status baton_tensor_from_view(baton_tensor *tensor, const baton_view *view, baton_tensor **out,
                                    baton_error *err) {
  *out = NULL;
  if (view->dtype == BATON_NO_DTYPE || view->dtype >= BATON_DTYPE_COUNT || view->ndim > BATON_MAX_DIMS)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "the view does not fit %s",
                           tensor_name_of(&tensor->view).text);
  if (!view_fits(view, tensor->storage))
    return baton_error_set(err, BATON_OUT_OF_RANGE,
                           "view %s does not fit the %" PRIu64 " bytes of its storage",
                           tensor_name_of(view).text, tensor->storage->size);
  tensor_storage_retain(tensor->storage);
  return tensor_create(view, tensor->storage, out, err);
}

baton_status tensor_over_view(const baton_view *view, baton_tensor **out, baton_error *err) {
  uint64_t below, above;
  tensor_storage *storage;
  *out = NULL;
  if (view->dtype == BATON_NO_DTYPE || view->dtype >= BATON_DTYPE_COUNT || view->ndim > BATON_MAX_DIMS ||
      !tensor_reach(view, &below, &above))
    return baton_error_set(err, BATON_OUT_OF_RANGE, "a view of %d dimensions is no memory", view->ndim);
  if ((uintptr_t)view->data % baton_dtype_size((baton_dtype)view->dtype))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "address %p is not aligned for elements of %s",
                           view->data, baton_dtype_name((baton_dtype)view->dtype));
  baton_view made = *view;
  if (!made.data) made.data = no_bytes;
  BATON_TRY(storage_create((char *)made.data - below, below + above, &storage, err));
  made.base = (uint64_t)(uintptr_t)storage->address;
  return tensor_create(&made, storage, out, err);
}

baton_status tensor_contiguous(const baton_tensor *tensor, baton_tensor **out, baton_error *err) {
  if (!baton_view_contiguous(&tensor->view)) return baton_tensor_clone(tensor, out, err);
  *out = NULL;
  BATON_TRY(tensor_await(tensor, 0, err));
  tensor_storage_retain(tensor->storage);
  return tensor_create(&tensor->view, tensor->storage, out, err);
}

baton_status tensor_check_dim(const char *what, const baton_view *view, int dim, baton_error *err) {
  if (dim >= 0 && dim < view->ndim) return BATON_OK;
  return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: %s has no dimension %d", what,
                         tensor_name_of(view).text, dim);
}

baton_status baton_tensor_slice(baton_tensor *tensor, int dim, int64_t first, int64_t count,
                                baton_tensor **out, baton_error *err) {
  *out = NULL;
  BATON_TRY(tensor_check_dim("slice", &tensor->view, dim, err));
  baton_view view = baton_slice(tensor->view, dim, first, count);
  if (!view.dtype)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "slice: %" PRId64 " elements from %" PRId64 " on, %s",
                           count, first, tensor_name_of(&tensor->view).text);
  return baton_tensor_from_view(tensor, &view, out, err);
}

baton_status baton_tensor_select(baton_tensor *tensor, int dim, int64_t index, baton_tensor **out,
                                 baton_error *err) {
  *out = NULL;
  BATON_TRY(tensor_check_dim("select", &tensor->view, dim, err));
  baton_view view = baton_select(tensor->view, dim, index);
  if (!view.dtype)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "select: element %" PRId64 " of dimension %d, %s", index,
                           dim, tensor_name_of(&tensor->view).text);
  return baton_tensor_from_view(tensor, &view, out, err);
}

baton_status baton_tensor_reshape(baton_tensor *tensor, int ndim, const int64_t *shape, baton_tensor **out,
                                  baton_error *err) {
  baton_view wanted;
  *out = NULL;
  BATON_TRY(make_view(tensor_dtype(tensor), ndim, shape, &wanted, err));
  if (!baton_view_contiguous(&tensor->view)) {
    baton_error_set(err, BATON_INVALID_ARGUMENT, "reshape: %s is not contiguous",
                    tensor_name_of(&tensor->view).text);
    return baton_error_text(err, BATON_FIELD_HINT, "clone it first"), BATON_INVALID_ARGUMENT;
  }
  baton_view view = baton_reshape(tensor->view, ndim, shape);
  if (!view.dtype)
    return baton_error_set(
        err, BATON_INVALID_ARGUMENT, "reshape: %s has %" PRId64 " elements, %s another number",
        tensor_name_of(&tensor->view).text, baton_view_numel(&tensor->view), tensor_name_of(&wanted).text);
  return baton_tensor_from_view(tensor, &view, out, err);
}

baton_status baton_tensor_transpose(baton_tensor *tensor, int dim1, int dim2, baton_tensor **out,
                                    baton_error *err) {
  *out = NULL;
  BATON_TRY(tensor_check_dim("transpose", &tensor->view, dim1, err));
  BATON_TRY(tensor_check_dim("transpose", &tensor->view, dim2, err));
  baton_view view = baton_transpose(tensor->view, dim1, dim2);
  return baton_tensor_from_view(tensor, &view, out, err);
}
