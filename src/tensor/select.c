/* Choosing elements: argmax, topk, index, concat. */
#include "base/memory.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- Order ---------------------------------------------------------------------------------------------- */

/* A value as an unsigned number that sorts like it, whatever its type; NaN is the largest, and -0 equals
** 0. */
static uint64_t key_of_f64(double value) {
  uint64_t bits;
  if (value != value) return UINT64_MAX;
  value += 0.0; /* -0 becomes 0 */
  memcpy(&bits, &value, sizeof bits);
  return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

/* Replaces the values of a line, read as F64, I64 or U64, by their keys. */
static void make_keys(tensor_compute compute, uint64_t *values, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    double value;
    memcpy(&value, &values[i], sizeof value);
    if (compute == TENSOR_F64)
      values[i] = key_of_f64(value);
    else if (compute == TENSOR_I64)
      values[i] ^= UINT64_C(1) << 63;
  }
}

static tensor_compute key_compute(baton_dtype dtype) {
  return baton_dtype_is_float(dtype) ? TENSOR_F64 : tensor_compute_of(dtype);
}

/* The keys of line `line` of a contiguous tensor. */
static void line_keys(const baton_tensor *tensor, const tensor_lines *lines, int64_t line, uint64_t *keys) {
  baton_dtype dtype = tensor_dtype(tensor);
  int64_t offset = tensor_line_offset(lines, line) * (int64_t)baton_dtype_size(dtype);
  tensor_read_line(key_compute(dtype), dtype, (const char *)tensor->view.data + offset, lines->after,
                   lines->length, keys);
  make_keys(key_compute(dtype), keys, lines->length);
}

/* --- argmax --------------------------------------------------------------------------------------------- */

static void argmax_lines(const baton_tensor *tensor, int dim, int64_t *positions, uint64_t *keys) {
  tensor_lines lines = tensor_lines_of(&tensor->view, dim);
  for (int64_t line = 0, count = lines.before * lines.after; line < count; line++) {
    int64_t best = 0;
    line_keys(tensor, &lines, line, keys);
    for (int64_t i = 1; i < lines.length; i++)
      if (keys[i] > keys[best]) best = i;
    positions[line] = best;
  }
}

baton_status baton_tensor_argmax(const baton_tensor *tensor, int dim, int keep, baton_tensor **out,
                                 baton_error *err) {
  baton_tensor *straight;
  *out = NULL;
  BATON_TRY(tensor_check_dim("argmax", &tensor->view, dim, err));
  int64_t length = tensor->view.shape[dim];
  if (length == 0)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "argmax: %s has no elements to choose from",
                           tensor_name_of(&tensor->view).text);
  baton_view shape = {0};
  for (int d = 0; d < tensor->view.ndim; d++)
    if (d != dim || keep) shape.shape[shape.ndim++] = d == dim ? 1 : tensor->view.shape[d];
  BATON_TRY(tensor_contiguous(tensor, &straight, err));
  uint64_t *keys = base_calloc((size_t)length, sizeof *keys);
  baton_status status = keys ? tensor_like(&shape, BATON_I64, out, err) : base_out_of_memory(err, "argmax");
  if (status == BATON_OK) argmax_lines(straight, dim, (*out)->view.data, keys);
  base_free(keys);
  baton_tensor_close(straight);
  return status;
}

/* --- topk ----------------------------------------------------------------------------------------------- */

typedef struct candidate {
  uint64_t key;
  int64_t position;
} candidate;

static int by_key_downwards(const void *a, const void *b) {
  const candidate *first = a, *second = b;
  if (first->key != second->key) return first->key > second->key ? -1 : 1;
  return first->position < second->position ? -1 : first->position > second->position;
}

/* The positions of the `count` largest of each line into `positions`, which has that size in `dim`. */
static void topk_lines(const baton_tensor *tensor, int dim, int64_t count, baton_tensor *positions,
                       candidate *scratch) {
  tensor_lines lines = tensor_lines_of(&tensor->view, dim), chosen = tensor_lines_of(&positions->view, dim);
  uint64_t *keys = (uint64_t *)(void *)(scratch + lines.length);
  int64_t *to = positions->view.data;
  for (int64_t line = 0, all = lines.before * lines.after; line < all; line++) {
    line_keys(tensor, &lines, line, keys);
    for (int64_t i = 0; i < lines.length; i++) scratch[i] = (candidate){keys[i], i};
    qsort(scratch, (size_t)lines.length, sizeof *scratch, by_key_downwards);
    int64_t offset = tensor_line_offset(&chosen, line);
    for (int64_t i = 0; i < count; i++) to[offset + i * chosen.after] = scratch[i].position;
  }
}

/* Moves the elements at `positions` (one list for each line, or one for all) from one contiguous tensor to
** another. */
static void take_lines(const baton_tensor *from, baton_tensor *to, int dim, const int64_t *positions,
                       int each) {
  tensor_lines source = tensor_lines_of(&from->view, dim), target = tensor_lines_of(&to->view, dim);
  size_t size = baton_dtype_size(tensor_dtype(from));
  char *data = to->view.data;
  const char *elements = from->view.data;
  for (int64_t line = 0, all = target.before * target.after; line < all; line++) {
    int64_t first = tensor_line_offset(&target, line), origin = tensor_line_offset(&source, line);
    for (int64_t i = 0; i < target.length; i++) {
      int64_t at = first + i * target.after, position = positions[each ? at : i];
      memcpy(data + (size_t)at * size, elements + (size_t)(origin + position * source.after) * size, size);
    }
  }
}

static baton_status topk(const baton_tensor *straight, int64_t count, int dim, baton_tensor **values,
                         baton_tensor **positions, baton_error *err) {
  baton_view shape = straight->view;
  int64_t length = shape.shape[dim];
  shape.shape[dim] = count;
  BATON_TRY(tensor_like(&shape, tensor_dtype(straight), values, err));
  BATON_TRY(tensor_like(&shape, BATON_I64, positions, err));
  candidate *scratch = base_calloc((size_t)length, sizeof *scratch + sizeof(uint64_t));
  if (!scratch) return base_out_of_memory(err, "topk");
  topk_lines(straight, dim, count, *positions, scratch);
  take_lines(straight, *values, dim, (*positions)->view.data, 1);
  base_free(scratch);
  return BATON_OK;
}

baton_status baton_tensor_topk(const baton_tensor *tensor, int64_t count, int dim, baton_tensor **values,
                               baton_tensor **positions, baton_error *err) {
  baton_tensor *straight;
  *values = *positions = NULL;
  BATON_TRY(tensor_check_dim("topk", &tensor->view, dim, err));
  if (count < 0 || count > tensor->view.shape[dim])
    return baton_error_set(err, BATON_OUT_OF_RANGE, "topk: %" PRId64 " of %" PRId64 " elements", count,
                           tensor->view.shape[dim]);
  BATON_TRY(tensor_contiguous(tensor, &straight, err));
  baton_status status = topk(straight, count, dim, values, positions, err);
  baton_tensor_close(straight);
  if (status == BATON_OK) return status;
  baton_tensor_close(*values);
  baton_tensor_close(*positions);
  *values = *positions = NULL;
  return status;
}

/* --- index ---------------------------------------------------------------------------------------------- */

/* Makes positions count from 0; each must be one of `length` elements. */
static baton_status check_positions(baton_tensor *positions, int64_t origin, int64_t length,
                                    baton_error *err) {
  int64_t *list = positions->view.data;
  for (int64_t i = 0, count = positions->view.shape[0]; i < count; i++) {
    if (list[i] < origin || list[i] - origin >= length)
      return baton_error_set(err, BATON_OUT_OF_RANGE, "index: position %" PRId64 " of %" PRId64 " elements",
                             list[i], length);
    list[i] -= origin;
  }
  return BATON_OK;
}

static baton_status take(const baton_tensor *tensor, int dim, const baton_tensor *positions,
                         baton_tensor **out, baton_error *err) {
  baton_tensor *straight;
  baton_view shape = tensor->view;
  shape.shape[dim] = positions->view.shape[0];
  BATON_TRY(tensor_contiguous(tensor, &straight, err));
  baton_status status = tensor_like(&shape, tensor_dtype(tensor), out, err);
  if (status == BATON_OK) take_lines(straight, *out, dim, positions->view.data, 0);
  baton_tensor_close(straight);
  return status;
}

baton_status tensor_index(const baton_tensor *tensor, int dim, const baton_tensor *positions, int64_t origin,
                          baton_tensor **out, baton_error *err) {
  baton_tensor *list;
  *out = NULL;
  BATON_TRY(tensor_check_dim("index", &tensor->view, dim, err));
  baton_dtype dtype = tensor_dtype(positions);
  if (positions->view.ndim != 1 || baton_dtype_is_float(dtype) || dtype == BATON_BOOL)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "index: positions are integers of one dimension, got %s",
                           tensor_name_of(&positions->view).text);
  BATON_TRY(baton_tensor_cast(positions, BATON_I64, &list, err));
  baton_status status = check_positions(list, origin, tensor->view.shape[dim], err);
  if (status == BATON_OK) status = take(tensor, dim, list, out, err);
  baton_tensor_close(list);
  return status;
}

baton_status baton_tensor_index(const baton_tensor *tensor, int dim, const baton_tensor *positions,
                                baton_tensor **out, baton_error *err) {
  return tensor_index(tensor, dim, positions, 0, out, err);
}

/* --- concat --------------------------------------------------------------------------------------------- */

static baton_status concat_shape(const baton_tensor *const *tensors, int count, int dim, baton_view *shape,
                                 baton_error *err) {
  baton_dtype dtype = tensor_dtype(tensors[0]);
  *shape = tensors[0]->view;
  for (int i = 1; i < count; i++) {
    baton_view view = tensors[i]->view;
    int64_t size = view.ndim > dim ? view.shape[dim] : 0;
    if (view.ndim == shape->ndim) view.shape[dim] = shape->shape[dim];
    if (!tensor_same_shape(&view, shape))
      return baton_error_set(err, BATON_INVALID_ARGUMENT,
                             "concat: %s and %s differ in more than one dimension",
                             tensor_name_of(&tensors[0]->view).text, tensor_name_of(&tensors[i]->view).text);
    if (__builtin_add_overflow(shape->shape[dim], size, &shape->shape[dim]))
      return baton_error_set(err, BATON_OUT_OF_RANGE, "concat: the result has more than 2^62 bytes");
    if (tensor_dtype(tensors[i]) != dtype) dtype = baton_dtype_promote(dtype, tensor_dtype(tensors[i]));
  }
  shape->dtype = (uint8_t)dtype;
  return BATON_OK;
}

baton_status baton_tensor_concat(const baton_tensor *const *tensors, int count, int dim, baton_tensor **out,
                                 baton_error *err) {
  baton_view shape;
  baton_status status = BATON_OK;
  *out = NULL;
  if (count < 1) return baton_error_set(err, BATON_INVALID_ARGUMENT, "concat: no tensors");
  BATON_TRY(tensor_check_dim("concat", &tensors[0]->view, dim, err));
  BATON_TRY(concat_shape(tensors, count, dim, &shape, err));
  BATON_TRY(tensor_like(&shape, (baton_dtype)shape.dtype, out, err));
  int64_t first = 0;
  for (int i = 0; i < count && status == BATON_OK; i++) {
    int64_t size = tensors[i]->view.shape[dim];
    baton_tensor part = {.view = baton_slice((*out)->view, dim, first, size), .storage = (*out)->storage};
    status = baton_tensor_copy(&part, tensors[i], err);
    first += size;
  }
  if (status == BATON_OK) return status;
  baton_tensor_close(*out);
  *out = NULL;
  return status;
}
