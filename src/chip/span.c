#include "chip/span.h"
#include "tensor/storage.h"

typedef unsigned long long number; /* as printf takes it */

baton_status chip_memory_refuse(uint64_t nbytes, uint64_t first, uint64_t end, baton_error *err) {
  return baton_error_set(err, BATON_OUT_OF_RANGE, "bytes [%llu,%llu) of a buffer of %llu", (number)first,
                         (number)end, (number)nbytes);
}

baton_status chip_memory_span(const chip_memory *memory, const baton_view *view, uint64_t *first,
                              uint64_t *bytes, baton_error *err) {
  uint64_t below, above, at = (uintptr_t)view->data - memory->base;
  if (view->dtype == BATON_NO_DTYPE || view->dtype >= BATON_DTYPE_COUNT || view->ndim > BATON_MAX_DIMS)
    return baton_error_set(err, BATON_OUT_OF_RANGE,
                           "the result of a view operation that does not fit its tensor");
  if (view->base != memory->base || view->generation != memory->generation || view->block)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "the view does not belong to the buffer");
  if (at > memory->bytes || !tensor_reach(view, &below, &above))
    return baton_error_set(err, BATON_OUT_OF_RANGE, "the view does not fit the buffer of %llu bytes",
                           (number)memory->bytes);
  if (below > at || above > memory->bytes - at)
    return chip_memory_refuse(memory->bytes, below > at ? 0 : at - below,
                              above > UINT64_MAX - at ? UINT64_MAX : at + above, err);
  *first = at - below;
  *bytes = below + above;
  return BATON_OK;
}

/* A contiguous view at the start of the buffer. */
static baton_status make_view(const chip_memory *memory, baton_dtype dtype, int ndim, const int64_t *shape,
                              baton_view *view, baton_error *err) {
  if (dtype <= BATON_NO_DTYPE || dtype >= BATON_DTYPE_COUNT)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "tensor: %d is no dtype", (int)dtype);
  if (ndim < 0 || ndim > BATON_MAX_DIMS)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "tensor: %d dimensions asked for, 0 to %d are possible", ndim, BATON_MAX_DIMS);
  int64_t stride = 1;
  *view = (baton_view){.dtype = (uint8_t)dtype, .ndim = (uint8_t)ndim, .generation = memory->generation};
  view->base = memory->base;
  for (int d = ndim - 1; d >= 0; d--) {
    if (shape[d] < 0)
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "tensor: a size of %lld is negative",
                             (long long)shape[d]);
    view->shape[d] = shape[d];
    view->strides[d] = stride;
    if (__builtin_mul_overflow(stride, shape[d] ? shape[d] : 1, &stride))
      return baton_error_set(err, BATON_OUT_OF_RANGE, "tensor: more than 2^63 elements");
  }
  return BATON_OK;
}

baton_status chip_memory_tensor(const chip_memory *memory, baton_dtype dtype, int ndim, const int64_t *shape,
                                uint64_t offset, baton_view *out, baton_error *err) {
  uint64_t first, bytes;
  BATON_TRY(make_view(memory, dtype, ndim, shape, out, err));
  if (offset % baton_dtype_size(dtype))
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "tensor: offset %llu is not aligned for elements of %s", (number)offset,
                           baton_dtype_name(dtype));
  if (offset > memory->bytes)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "tensor: offset %llu of a buffer of %llu bytes",
                           (number)offset, (number)memory->bytes);
  out->data = (void *)(uintptr_t)(memory->base + offset);
  baton_status status = chip_memory_span(memory, out, &first, &bytes, err);
  if (status != BATON_OK) baton_error_context(err, "tensor");
  return status;
}
