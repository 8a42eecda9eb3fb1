/* allclose: how far two tensors are apart. */
#include "tensor/tensor.h"
#include <math.h>

typedef struct compare_context {
  baton_tolerance tolerance;
  baton_dtype dtypes[2];
  tensor_compute compute;
  baton_difference *difference;
  int64_t *element; /* in C order, of the next row */
  int64_t *worst;
} compare_context;

/* Integers of one kind are subtracted exactly; everything else in f64. */
static double distance_of(baton_number got, baton_number want) {
  if (got.dtype == BATON_F64)
    return got.value.f64 == want.value.f64 ? 0 : fabs(got.value.f64 - want.value.f64);
  uint64_t a = got.value.u64, b = want.value.u64;
  int less = got.dtype == BATON_I64 ? got.value.i64 < want.value.i64 : a < b;
  return (double)(less ? b - a : a - b);
}

static double magnitude_of(baton_number number) {
  return number.dtype == BATON_F64   ? fabs(number.value.f64)
         : number.dtype == BATON_I64 ? fabs((double)number.value.i64)
                                     : (double)number.value.u64;
}

static int is_nan(baton_number number) {
  return number.dtype == BATON_F64 && number.value.f64 != number.value.f64;
}

/* Compares one pair and keeps the worst. The distance from or to NaN is NaN. */
static void compare(const compare_context *context, baton_number got, baton_number want, int64_t element) {
  baton_difference *difference = context->difference;
  const baton_tolerance *tolerance = &context->tolerance;
  double distance = distance_of(got, want), limit = tolerance->atol + tolerance->rtol * magnitude_of(want);
  if (distance <= limit && distance < INFINITY) return;
  if (tolerance->equal_nan && is_nan(got) && is_nan(want)) return;
  int worse = difference->count == 0 ||
              (distance != distance && difference->distance == difference->distance) ||
              distance > difference->distance;
  difference->count++;
  if (!worse) return;
  difference->distance = distance;
  difference->got = got;
  difference->want = want;
  *context->worst = element;
}

static void compare_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const compare_context *compared = context;
  size_t size = tensor_compute_size(compared->compute);
  int64_t stride_got = strides[0] / (int64_t)baton_dtype_size(compared->dtypes[0]);
  int64_t stride_want = strides[1] / (int64_t)baton_dtype_size(compared->dtypes[1]);
  tensor_block block_got, block_want;
  for (int64_t at = 0, part; at < count; at += part) {
    part = count - at < TENSOR_BLOCK ? count - at : TENSOR_BLOCK;
    const char *got = tensor_read(compared->compute, compared->dtypes[0], data[0] + at * strides[0],
                                  stride_got, part, &block_got);
    const char *want = tensor_read(compared->compute, compared->dtypes[1], data[1] + at * strides[1],
                                   stride_want, part, &block_want);
    for (int64_t i = 0; i < part; i++)
      compare(compared, tensor_number(compared->compute, got + (size_t)i * size),
              tensor_number(compared->compute, want + (size_t)i * size), *compared->element + at + i);
  }
  *compared->element += count;
}

/* The type in which values are compared. */
static tensor_compute compare_in(baton_dtype a, baton_dtype b) {
  tensor_compute compute_a = tensor_compute_of(a), compute_b = tensor_compute_of(b);
  int integers = !baton_dtype_is_float(a) && !baton_dtype_is_float(b);
  return integers && compute_a == compute_b ? compute_a : TENSOR_F64;
}

baton_status baton_tensor_allclose(const baton_tensor *got, const baton_tensor *want,
                                   const baton_tolerance *tolerance, baton_difference *difference,
                                   baton_error *err) {
  static const baton_tolerance usual = {BATON_RTOL, BATON_ATOL, 0};
  int64_t element = 0, worst = 0;
  *difference = (baton_difference){.numel = baton_view_numel(&got->view)};
  if (!tensor_same_shape(&got->view, &want->view))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "allclose: %s and %s have different shapes",
                           tensor_name_of(&got->view).text, tensor_name_of(&want->view).text);
  BATON_TRY(tensor_await(got, 0, err));
  BATON_TRY(tensor_await(want, 0, err));
  compare_context context = {.tolerance = tolerance ? *tolerance : usual,
                             .dtypes = {tensor_dtype(got), tensor_dtype(want)},
                             .compute = compare_in(tensor_dtype(got), tensor_dtype(want)),
                             .difference = difference,
                             .element = &element,
                             .worst = &worst};
  tensor_loop loop = tensor_loop_over(got->view.ndim, got->view.shape);
  tensor_loop_add(&loop, &got->view);
  tensor_loop_add(&loop, &want->view);
  tensor_loop_lines(&loop, compare_row, &context);
  for (int d = got->view.ndim - 1; d >= 0 && difference->count; d--) {
    difference->index[d] = worst % got->view.shape[d];
    worst /= got->view.shape[d];
  }
  return BATON_OK;
}
