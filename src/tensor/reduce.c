/* Along a dimension: sum, mean, max, min, softmax. */
#include "base/memory.h"
#include "tensor/tensor.h"
#include <math.h>
#include <string.h>

/* The shape that is left; BATON_ALL_DIMS takes all dimensions. */
static baton_view reduced_shape(const baton_view *view, int dim, int keep) {
  baton_view shape = {.dtype = view->dtype};
  for (int d = 0; d < view->ndim; d++) {
    int goes = dim == BATON_ALL_DIMS || d == dim;
    if (!goes || keep) shape.shape[shape.ndim++] = goes ? 1 : view->shape[d];
  }
  return shape;
}

/* --- Folds: result[i] = result[i] (op) values[i] -------------------------------------------------------- */

/* `errors` carries what the rounding of a float sum lost, so that the length of a sum hardly matters (Kahan's
** sum in Neumaier's form); other folds leave it alone. */
typedef void (*fold)(void *results, double *errors, const void *values, int64_t count);

static void sum_f64(void *results, double *errors, const void *values, int64_t count) {
  double *sums = results;
  const double *addends = values;
  for (int64_t i = 0; i < count; i++) {
    double sum = sums[i], addend = addends[i], total = sum + addend;
    double lost = fabs(sum) >= fabs(addend) ? (sum - total) + addend : (addend - total) + sum;
    errors[i] += isfinite(total) ? lost : 0;
    sums[i] = total;
  }
}

static void sum_u64(void *results, double *errors, const void *values, int64_t count) {
  uint64_t *sums = results;
  const uint64_t *addends = values;
  (void)errors;
  for (int64_t i = 0; i < count; i++) sums[i] += addends[i];
}

#define FOLD(name, compute, type, relation)                                                        \
  static void name##_##compute(void *results, double *errors, const void *values, int64_t count) { \
    type *best = results;                                                                          \
    const type *from = values;                                                                     \
    (void)errors;                                                                                  \
    for (int64_t i = 0; i < count; i++) {                                                          \
      type x = from[i];                                                                            \
      best[i] = x relation best[i] || x != x ? x : best[i];                                        \
    }                                                                                              \
  }
#define FOLDS(name, relation)         \
  FOLD(name, F64, double, relation)   \
  FOLD(name, F32, float, relation)    \
  FOLD(name, I64, int64_t, relation)  \
  FOLD(name, U64, uint64_t, relation) \
  static const fold name##_folds[TENSOR_COMPUTES] = {name##_F64, name##_F32, name##_I64, name##_U64};

FOLDS(max, >)
FOLDS(min, <)

/* --- Reductions ----------------------------------------------------------------------------------------- */

typedef struct reduce_plan {
  fold fold;
  tensor_compute compute;
  int mean;
  baton_dtype from, to;
  tensor_lines lines;
  const char *data;
  char *out;
} reduce_plan;

/* Results for a block; compensation and division happen here. */
typedef struct fold_totals {
  tensor_block results;
  double errors[TENSOR_BLOCK];
} fold_totals;

static void totals_add(const reduce_plan *plan, fold_totals *totals, int64_t at, int64_t stride,
                       int64_t count, int first) {
  tensor_block block;
  int64_t size = (int64_t)baton_dtype_size(plan->from);
  const void *values = tensor_read(plan->compute, plan->from, plan->data + at * size, stride, count, &block);
  if (!first) {
    plan->fold(&totals->results, totals->errors, values, count);
    return;
  }
  memcpy(&totals->results, values, (size_t)count * tensor_compute_size(plan->compute));
  memset(totals->errors, 0, sizeof *totals->errors * (size_t)count);
}

/* Folds the first `count` results into one. */
static void totals_join(const reduce_plan *plan, fold_totals *totals, int64_t count) {
  size_t size = tensor_compute_size(plan->compute);
  for (int64_t i = 1; i < count; i++) {
    plan->fold(&totals->results, totals->errors, (const char *)&totals->results + (size_t)i * size, 1);
    totals->errors[0] += totals->errors[i];
  }
}

static void totals_store(const reduce_plan *plan, fold_totals *totals, int64_t at, int64_t count) {
  int64_t size = (int64_t)baton_dtype_size(plan->to);
  for (int64_t i = 0; i < count && plan->compute == TENSOR_F64; i++) {
    totals->results.f64[i] += totals->errors[i];
    if (plan->mean) totals->results.f64[i] /= (double)plan->lines.length;
  }
  tensor_write(plan->compute, plan->to, &totals->results, count, plan->out + at * size, 1);
}

/* Lines that lie together: a block at a time into as many results, which then become one. */
static void reduce_rows(const reduce_plan *plan) {
  fold_totals totals;
  for (int64_t line = 0, length = plan->lines.length; line < plan->lines.before; line++) {
    for (int64_t at = 0; at < length; at += TENSOR_BLOCK) {
      int64_t count = length - at < TENSOR_BLOCK ? length - at : TENSOR_BLOCK;
      totals_add(plan, &totals, line * length + at, 1, count, at == 0);
    }
    totals_join(plan, &totals, length < TENSOR_BLOCK ? length : TENSOR_BLOCK);
    totals_store(plan, &totals, line, 1);
  }
}

/* Lines side by side: a block of them at a time. */
static void reduce_columns(const reduce_plan *plan) {
  fold_totals totals;
  int64_t length = plan->lines.length, after = plan->lines.after;
  for (int64_t before = 0; before < plan->lines.before; before++)
    for (int64_t column = 0; column < after; column += TENSOR_BLOCK) {
      int64_t count = after - column < TENSOR_BLOCK ? after - column : TENSOR_BLOCK;
      for (int64_t i = 0; i < length; i++)
        totals_add(plan, &totals, (before * length + i) * after + column, 1, count, i == 0);
      totals_store(plan, &totals, before * after + column, count);
    }
}

/* The sum or mean of no elements. */
static baton_status reduce_nothing(baton_tensor *out, int mean, baton_error *err) {
  return baton_tensor_fill(out, mean ? baton_number_f64(NAN) : baton_number_i64(0), err);
}

static baton_status reduce(const char *what, reduce_plan *plan, const baton_tensor *tensor, int dim, int keep,
                           baton_tensor **out, baton_error *err) {
  baton_tensor *straight;
  *out = NULL;
  if (dim != BATON_ALL_DIMS) BATON_TRY(tensor_check_dim(what, &tensor->view, dim, err));
  plan->from = tensor_dtype(tensor);
  plan->lines = tensor_lines_of(&tensor->view, dim);
  int adds = plan->fold == sum_f64 || plan->fold == sum_u64;
  if (plan->lines.length == 0 && !adds)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: %s has no elements to choose from", what,
                           tensor_name_of(&tensor->view).text);
  baton_view shape = reduced_shape(&tensor->view, dim, keep);
  BATON_TRY(tensor_contiguous(tensor, &straight, err));
  baton_status status = tensor_like(&shape, plan->to, out, err);
  if (status == BATON_OK && plan->lines.length == 0)
    status = reduce_nothing(*out, plan->mean, err);
  else if (status == BATON_OK) {
    plan->data = straight->view.data;
    plan->out = (*out)->view.data;
    (plan->lines.after == 1 ? reduce_rows : reduce_columns)(plan);
  }
  baton_tensor_close(straight);
  return status;
}

baton_status baton_tensor_sum(const baton_tensor *tensor, int dim, int keep, baton_tensor **out,
                              baton_error *err) {
  baton_dtype dtype = tensor_dtype(tensor);
  reduce_plan plan = {.fold = sum_u64, .compute = TENSOR_U64};
  plan.to = baton_dtype_is_signed(dtype) ? BATON_I64 : BATON_U64;
  if (baton_dtype_is_float(dtype)) {
    plan.fold = sum_f64;
    plan.compute = TENSOR_F64;
    plan.to = dim == BATON_ALL_DIMS ? BATON_F64 : dtype;
  }
  return reduce("sum", &plan, tensor, dim, keep, out, err);
}

baton_status baton_tensor_mean(const baton_tensor *tensor, int dim, int keep, baton_tensor **out,
                               baton_error *err) {
  int stays = baton_dtype_is_float(tensor_dtype(tensor)) && dim != BATON_ALL_DIMS;
  reduce_plan plan = {
      .fold = sum_f64, .compute = TENSOR_F64, .mean = 1, .to = stays ? tensor_dtype(tensor) : BATON_F64};
  return reduce("mean", &plan, tensor, dim, keep, out, err);
}

baton_status baton_tensor_max(const baton_tensor *tensor, int dim, int keep, baton_tensor **out,
                              baton_error *err) {
  tensor_compute compute = tensor_compute_of(tensor_dtype(tensor));
  reduce_plan plan = {.fold = max_folds[compute], .compute = compute, .to = tensor_dtype(tensor)};
  return reduce("max", &plan, tensor, dim, keep, out, err);
}

baton_status baton_tensor_min(const baton_tensor *tensor, int dim, int keep, baton_tensor **out,
                              baton_error *err) {
  tensor_compute compute = tensor_compute_of(tensor_dtype(tensor));
  reduce_plan plan = {.fold = min_folds[compute], .compute = compute, .to = tensor_dtype(tensor)};
  return reduce("min", &plan, tensor, dim, keep, out, err);
}

/* --- softmax -------------------------------------------------------------------------------------------- */

/* Less the largest, so that no exponential overflows. */
static void softmax_line(double *values, int64_t count) {
  double largest = -INFINITY, sum = 0;
  for (int64_t i = 0; i < count; i++)
    largest = values[i] > largest || values[i] != values[i] ? values[i] : largest;
  for (int64_t i = 0; i < count; i++) {
    values[i] = exp(values[i] - largest);
    sum += values[i];
  }
  for (int64_t i = 0; i < count; i++) values[i] /= sum;
}

static void softmax_lines(const baton_tensor *from, baton_tensor *to, int dim, double *values) {
  tensor_lines lines = tensor_lines_of(&from->view, dim);
  baton_dtype dtype = tensor_dtype(from);
  int64_t size = (int64_t)baton_dtype_size(dtype), count = lines.before * lines.after;
  for (int64_t line = 0; line < count; line++) {
    int64_t offset = tensor_line_offset(&lines, line) * size;
    tensor_read_line(TENSOR_F64, dtype, (const char *)from->view.data + offset, lines.after, lines.length,
                     values);
    softmax_line(values, lines.length);
    tensor_write(TENSOR_F64, dtype, values, lines.length, (char *)to->view.data + offset, lines.after);
  }
}

baton_status baton_tensor_softmax(const baton_tensor *tensor, int dim, baton_tensor **out, baton_error *err) {
  baton_tensor *straight;
  *out = NULL;
  BATON_TRY(tensor_check_dim("softmax", &tensor->view, dim, err));
  if (!baton_dtype_is_float(tensor_dtype(tensor)))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "softmax: %s is not of a float type",
                           tensor_name_of(&tensor->view).text);
  BATON_TRY(tensor_contiguous(tensor, &straight, err));
  double *values = base_alloc((size_t)tensor->view.shape[dim] * sizeof *values);
  baton_status status = values ? tensor_like(&tensor->view, tensor_dtype(tensor), out, err)
                               : base_out_of_memory(err, "softmax");
  if (status == BATON_OK) softmax_lines(straight, *out, dim, values);
  base_free(values);
  baton_tensor_close(straight);
  return status;
}
