/* Single elements, filling, copying and casting. */
#include "base/memory.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <string.h>

/* --- One element ---------------------------------------------------------------------------------------- */

static baton_status element_of(const baton_tensor *tensor, const int64_t *index, baton_view *element,
                               baton_error *err) {
  const baton_view *view = &tensor->view;
  *element = *view;
  for (int d = view->ndim - 1; d >= 0; d--) {
    *element = baton_select(*element, d, index[d]);
    if (!element->dtype)
      return baton_error_set(err, BATON_OUT_OF_RANGE, "index %" PRId64 " of dimension %d is outside %s",
                             index[d], d, tensor_name_of(view).text);
  }
  return BATON_OK;
}

baton_status baton_tensor_get(const baton_tensor *tensor, const int64_t *index, baton_number *out,
                              baton_error *err) {
  baton_view element;
  tensor_block block;
  BATON_TRY(element_of(tensor, index, &element, err));
  BATON_TRY(tensor_await(tensor, 0, err));
  tensor_compute compute = tensor_compute_of(tensor_dtype(tensor));
  *out = tensor_number(compute, tensor_read(compute, tensor_dtype(tensor), element.data, 1, 1, &block));
  return BATON_OK;
}

baton_status baton_tensor_set(baton_tensor *tensor, const int64_t *index, baton_number value,
                              baton_error *err) {
  baton_view element;
  tensor_block block;
  tensor_compute compute = tensor_compute_of(tensor_dtype(tensor));
  BATON_TRY(element_of(tensor, index, &element, err));
  BATON_TRY(tensor_fit(value, tensor_dtype(tensor), compute, &block, err));
  BATON_TRY(tensor_await(tensor, 1, err));
  tensor_write(compute, tensor_dtype(tensor), &block, 1, element.data, 1);
  return BATON_OK;
}

/* --- Fill ----------------------------------------------------------------------------------------------- */

typedef struct fill_context {
  uint64_t bits; /* the element, as stored */
  size_t size;
} fill_context;

#define FILL(type) \
  for (int64_t i = 0; i < count; i++) *(type *)(void *)(data[0] + i * strides[0]) = (type)fill->bits

static void fill_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const fill_context *fill = context;
  switch (fill->size) {
  case 1: FILL(uint8_t); break;
  case 2: FILL(uint16_t); break;
  case 4: FILL(uint32_t); break;
  default: FILL(uint64_t); break;
  }
}

baton_status baton_tensor_fill(baton_tensor *tensor, baton_number value, baton_error *err) {
  tensor_block block;
  tensor_compute compute = tensor_compute_of(tensor_dtype(tensor));
  union {
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    uint8_t u8;
  } bits = {0};
  BATON_TRY(tensor_fit(value, tensor_dtype(tensor), compute, &block, err));
  BATON_TRY(tensor_await(tensor, 1, err));
  tensor_write(compute, tensor_dtype(tensor), &block, 1, &bits, 1);
  size_t size = baton_dtype_size(tensor_dtype(tensor));
  fill_context fill = {size == 1 ? bits.u8 : size == 2 ? bits.u16 : size == 4 ? bits.u32 : bits.u64, size};
  tensor_loop loop = tensor_loop_over(tensor->view.ndim, tensor->view.shape);
  tensor_loop_add(&loop, &tensor->view);
  tensor_loop_run(&loop, fill_row, &fill);
  return BATON_OK;
}

baton_status baton_tensor_full(baton_dtype dtype, int ndim, const int64_t *shape, baton_number value,
                               baton_tensor **out, baton_error *err) {
  BATON_TRY(baton_tensor_empty(dtype, ndim, shape, out, err));
  baton_status status = baton_tensor_fill(*out, value, err);
  if (status == BATON_OK) return status;
  baton_tensor_close(*out);
  *out = NULL;
  return status;
}

static void arange_part(const void *context, int64_t first, int64_t last) {
  const baton_tensor *tensor = context;
  int64_t size = (int64_t)baton_dtype_size(tensor_dtype(tensor)), values[TENSOR_BLOCK];
  for (int64_t at = first, count; at < last; at += count) {
    count = last - at < TENSOR_BLOCK ? last - at : TENSOR_BLOCK;
    for (int64_t i = 0; i < count; i++) values[i] = at + i;
    tensor_write(TENSOR_I64, tensor_dtype(tensor), values, count, (char *)tensor->view.data + at * size, 1);
  }
}

baton_status baton_tensor_arange(baton_dtype dtype, int ndim, const int64_t *shape, baton_tensor **out,
                                 baton_error *err) {
  tensor_block block;
  BATON_TRY(baton_tensor_empty(dtype, ndim, shape, out, err));
  int64_t numel = baton_view_numel(&(*out)->view);
  baton_status status = BATON_OK;
  if (numel > 0) status = tensor_fit(baton_number_i64(numel - 1), dtype, TENSOR_I64, &block, err);
  if (status == BATON_OK) {
    tensor_parallel(numel, arange_part, *out);
    return BATON_OK;
  }
  baton_error_context(err, "arange: the last element");
  baton_tensor_close(*out);
  *out = NULL;
  return status;
}

/* --- Copies --------------------------------------------------------------------------------------------- */

#define MOVE(type)                    \
  for (int64_t i = 0; i < count; i++) \
  *(type *)(void *)(data[0] + i * strides[0]) = *(const type *)(const void *)(data[1] + i * strides[1])

/* Elements of one type, as they are. */
static void move_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  int64_t size = *(const int64_t *)context;
  if (strides[0] == size && strides[1] == size) {
    memcpy(data[0], data[1], (size_t)(count * size));
    return;
  }
  switch (size) {
  case 1: MOVE(uint8_t); break;
  case 2: MOVE(uint16_t); break;
  case 4: MOVE(uint32_t); break;
  default: MOVE(uint64_t); break;
  }
}

typedef struct convert_context {
  baton_dtype to, from;
} convert_context;

static void convert_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const convert_context *convert = context;
  tensor_compute compute = tensor_compute_of(convert->from);
  int64_t stride_to = strides[0] / (int64_t)baton_dtype_size(convert->to);
  int64_t stride_from = strides[1] / (int64_t)baton_dtype_size(convert->from);
  tensor_block block;
  for (int64_t at = 0, part; at < count; at += part) {
    part = count - at < TENSOR_BLOCK ? count - at : TENSOR_BLOCK;
    const void *values =
        tensor_read(compute, convert->from, data[1] + at * strides[1], stride_from, part, &block);
    tensor_write(compute, convert->to, values, part, data[0] + at * strides[0], stride_to);
  }
}

/* Copies between tensors that share no bytes. */
static void copy_apart(baton_tensor *to, const baton_tensor *from) {
  tensor_loop loop = tensor_loop_over(to->view.ndim, to->view.shape);
  tensor_loop_add(&loop, &to->view);
  tensor_loop_add(&loop, &from->view);
  int64_t size = (int64_t)baton_dtype_size(tensor_dtype(to));
  convert_context convert = {tensor_dtype(to), tensor_dtype(from)};
  if (convert.to == convert.from)
    tensor_loop_run(&loop, move_row, &size);
  else
    tensor_loop_run(&loop, convert_row, &convert);
}

baton_status baton_tensor_cast(const baton_tensor *tensor, baton_dtype dtype, baton_tensor **out,
                               baton_error *err) {
  *out = NULL;
  BATON_TRY(tensor_await(tensor, 0, err));
  BATON_TRY(tensor_like(&tensor->view, dtype, out, err));
  copy_apart(*out, tensor);
  return BATON_OK;
}

baton_status baton_tensor_clone(const baton_tensor *tensor, baton_tensor **out, baton_error *err) {
  return baton_tensor_cast(tensor, tensor_dtype(tensor), out, err);
}

baton_status baton_tensor_copy(baton_tensor *to, const baton_tensor *from, baton_error *err) {
  baton_tensor *between = NULL;
  if (!tensor_same_shape(&to->view, &from->view))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "copy: %s into %s", tensor_name_of(&from->view).text,
                           tensor_name_of(&to->view).text);
  BATON_TRY(tensor_await(from, 0, err));
  BATON_TRY(tensor_await(to, 1, err));
  if (tensor_overlaps(to, from)) BATON_TRY(baton_tensor_clone(from, &between, err));
  copy_apart(to, between ? between : from);
  baton_tensor_close(between);
  return BATON_OK;
}
