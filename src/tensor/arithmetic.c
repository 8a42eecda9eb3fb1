/* Element by element: arithmetic, comparisons, where. */
#include "tensor/tensor.h"
#include <math.h>
#include <string.h>

/* --- Kernels: one for each operation and computing type ------------------------------------------------- */

typedef void (*binary_kernel)(void *out, const void *a, const void *b, int64_t count);
typedef void (*unary_kernel)(void *out, const void *a, int64_t count);

#define BINARY(name, compute, type, out_type, expression)                                \
  static void name##_##compute(void *out, const void *a, const void *b, int64_t count) { \
    out_type *to = out;                                                                  \
    const type *from_x = a, *from_y = b;                                                 \
    for (int64_t i = 0; i < count; i++) {                                                \
      type x = from_x[i], y = from_y[i];                                                 \
      to[i] = (out_type)(expression);                                                    \
    }                                                                                    \
  }

/* `floats` for the two floating types, `integer` for i64 (in wrapping arithmetic) and `natural` for u64. */
#define BINARY_RESULT(name, f64, f32, i64, u64, floats, integer, natural)                           \
  BINARY(name, F64, double, f64, floats)                                                            \
  BINARY(name, F32, float, f32, floats)                                                             \
  BINARY(name, I64, int64_t, i64, integer)                                                          \
  BINARY(name, U64, uint64_t, u64, natural)                                                         \
  static const binary_kernel name##_kernels[TENSOR_COMPUTES] = {name##_F64, name##_F32, name##_I64, \
                                                                name##_U64};

#define ARITHMETIC(name, floats, integer, natural) \
  BINARY_RESULT(name, double, float, int64_t, uint64_t, floats, integer, natural)
#define COMPARISON(name, relation) \
  BINARY_RESULT(name, uint8_t, uint8_t, uint8_t, uint8_t, x relation y, x relation y, x relation y)

ARITHMETIC(add, x + y, (uint64_t)x + (uint64_t)y, x + y)
ARITHMETIC(sub, x - y, (uint64_t)x - (uint64_t)y, x - y)
ARITHMETIC(mul, x *y, (uint64_t)x *(uint64_t)y, x *y)
ARITHMETIC(div, x / y, y == -1 ? 0 - (uint64_t)x : (uint64_t)(x / y), x / y)
ARITHMETIC(maximum, x > y || x != x ? x : y, x > y ? x : y, x > y ? x : y)
ARITHMETIC(minimum, x < y || x != x ? x : y, x < y ? x : y, x < y ? x : y)
COMPARISON(lt, <)
COMPARISON(le, <=)
COMPARISON(eq, ==)

#define UNARY(name, compute, type, expression)                            \
  static void name##_##compute(void *out, const void *a, int64_t count) { \
    type *to = out;                                                       \
    const type *from = a;                                                 \
    for (int64_t i = 0; i < count; i++) {                                 \
      type x = from[i];                                                   \
      to[i] = (type)(expression);                                         \
    }                                                                     \
  }

#define UNARY_ALL(name, f64, f32, integer, natural)                                                \
  UNARY(name, F64, double, f64)                                                                    \
  UNARY(name, F32, float, f32)                                                                     \
  UNARY(name, I64, int64_t, integer)                                                               \
  UNARY(name, U64, uint64_t, natural)                                                              \
  static const unary_kernel name##_kernels[TENSOR_COMPUTES] = {name##_F64, name##_F32, name##_I64, \
                                                               name##_U64};

#define UNARY_FLOAT(name, f64, f32) \
  UNARY(name, F64, double, f64)     \
  UNARY(name, F32, float, f32)      \
  static const unary_kernel name##_kernels[TENSOR_COMPUTES] = {name##_F64, name##_F32, NULL, NULL};

UNARY_FLOAT(exp, exp(x), expf(x))
UNARY_FLOAT(log, log(x), logf(x))
UNARY_FLOAT(sqrt, sqrt(x), sqrtf(x))
UNARY_ALL(abs, fabs(x), fabsf(x), x < 0 ? 0 - (uint64_t)x : (uint64_t)x, x)
UNARY_ALL(neg, -x, -x, 0 - (uint64_t)x, 0 - x)

/* --- Operands ------------------------------------------------------------------------------------------- */

static const baton_dtype stored[TENSOR_COMPUTES] = {BATON_F64, BATON_F32, BATON_I64, BATON_U64};

/* An operand as a view: the tensor's, or that of a number in `block`. */
static baton_status operand_view(baton_operand operand, baton_dtype dtype, tensor_compute compute,
                                 tensor_block *block, baton_view *out, baton_error *err) {
  if (operand.tensor) {
    *out = operand.tensor->view;
    return tensor_await(operand.tensor, 0, err);
  }
  *out = (baton_view){.data = block, .dtype = (uint8_t)stored[compute]};
  return tensor_fit(operand.number, dtype, compute, block, err);
}

/* The type of a result. A number takes the type of the tensor; two numbers (in where) are 64 bits wide. */
static baton_dtype operands_dtype(baton_operand a, baton_operand b) {
  baton_dtype dtype_a = a.tensor   ? tensor_dtype(a.tensor)
                        : b.tensor ? tensor_dtype(b.tensor)
                                   : a.number.dtype;
  baton_dtype dtype_b = b.tensor   ? tensor_dtype(b.tensor)
                        : a.tensor ? tensor_dtype(a.tensor)
                                   : b.number.dtype;
  return baton_dtype_promote(dtype_a, dtype_b);
}

/* --- Two operands --------------------------------------------------------------------------------------- */

typedef struct binary_operation {
  const char *name;
  const binary_kernel *kernels;
  int compares, divides;
} binary_operation;

typedef struct binary_context {
  binary_kernel kernel;
  tensor_compute compute;
  int compares;
  baton_dtype dtypes[3]; /* result, a, b */
  int64_t sizes[3];
} binary_context;

static void binary_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const binary_context *binary = context;
  tensor_block block_a, block_b, result;
  const int64_t *sizes = binary->sizes;
  int direct = binary->compares || (stored[binary->compute] == binary->dtypes[0] && strides[0] == sizes[0]);
  for (int64_t at = 0, part; at < count; at += part) {
    part = count - at < TENSOR_BLOCK ? count - at : TENSOR_BLOCK;
    const void *a = tensor_read(binary->compute, binary->dtypes[1], data[1] + at * strides[1],
                                strides[1] / sizes[1], part, &block_a);
    const void *b = tensor_read(binary->compute, binary->dtypes[2], data[2] + at * strides[2],
                                strides[2] / sizes[2], part, &block_b);
    char *to = data[0] + at * strides[0];
    binary->kernel(direct ? (void *)to : &result, a, b, part);
    if (!direct) tensor_write(binary->compute, binary->dtypes[0], &result, part, to, strides[0] / sizes[0]);
  }
}

/* `out` has the shape that the operands broadcast to; comparisons write a contiguous one. */
static void binary_run(const binary_operation *operation, tensor_compute compute, const baton_view *out,
                       const baton_view *a, const baton_view *b) {
  const baton_view *views[3] = {out, a, b};
  binary_context binary = {
      .kernel = operation->kernels[compute], .compute = compute, .compares = operation->compares};
  tensor_loop loop = tensor_loop_over(out->ndim, out->shape);
  for (int i = 0; i < 3; i++) {
    tensor_loop_add(&loop, views[i]);
    binary.dtypes[i] = (baton_dtype)views[i]->dtype;
    binary.sizes[i] = (int64_t)baton_dtype_size(binary.dtypes[i]);
  }
  tensor_loop_run(&loop, binary_row, &binary);
}

typedef struct zero_search {
  baton_dtype dtype;
  _Atomic int *found;
} zero_search;

static void zero_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const zero_search *search = context;
  int64_t stride = strides[0] / (int64_t)baton_dtype_size(search->dtype), zeros = 0;
  tensor_block block;
  for (int64_t at = 0, part; at < count; at += part) {
    part = count - at < TENSOR_BLOCK ? count - at : TENSOR_BLOCK;
    const int64_t *values =
        tensor_read(TENSOR_I64, search->dtype, data[0] + at * strides[0], stride, part, &block);
    for (int64_t i = 0; i < part; i++) zeros += values[i] == 0;
  }
  if (zeros) *search->found = 1;
}

static baton_status check_divisor(const baton_view *view, tensor_compute compute, baton_error *err) {
  _Atomic int found = 0;
  if (compute == TENSOR_F64 || compute == TENSOR_F32) return BATON_OK;
  zero_search search = {(baton_dtype)view->dtype, &found};
  tensor_loop loop = tensor_loop_over(view->ndim, view->shape);
  tensor_loop_add(&loop, view);
  tensor_loop_run(&loop, zero_row, &search);
  if (!found) return BATON_OK;
  return baton_error_set(err, BATON_INVALID_ARGUMENT, "div: an element of the divisor %s is 0",
                         tensor_name_of(view).text);
}

/* A number that is compared with integers need not be one of theirs: 2.5 is less than 3. */
static baton_dtype compared_dtype(baton_operand a, baton_operand b, baton_dtype dtype) {
  if (a.tensor && b.tensor) return dtype;
  baton_number number = a.tensor ? b.number : a.number;
  if (baton_dtype_is_float(dtype)) return dtype;
  return number.dtype == BATON_F64 ? BATON_F64 : dtype == BATON_U64 ? BATON_U64 : BATON_I64;
}

static baton_status binary(const binary_operation *operation, baton_operand a, baton_operand b,
                           baton_tensor **out, baton_error *err) {
  tensor_block block_a, block_b;
  baton_view view_a, view_b, shape;
  *out = NULL;
  if (!a.tensor && !b.tensor)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: one operand must be a tensor", operation->name);
  baton_dtype dtype = operands_dtype(a, b);
  if (operation->compares) dtype = compared_dtype(a, b, dtype);
  tensor_compute compute = tensor_compute_of(dtype);
  BATON_TRY(operand_view(a, dtype, compute, &block_a, &view_a, err));
  BATON_TRY(operand_view(b, dtype, compute, &block_b, &view_b, err));
  BATON_TRY(tensor_broadcast(operation->name, &view_a, &view_b, &shape, err));
  if (operation->divides) BATON_TRY(check_divisor(&view_b, compute, err));
  BATON_TRY(tensor_like(&shape, operation->compares ? BATON_BOOL : dtype, out, err));
  binary_run(operation, compute, &(*out)->view, &view_a, &view_b);
  return BATON_OK;
}

static int same_view(const baton_view *a, const baton_view *b) {
  return a->data == b->data && a->dtype == b->dtype && tensor_same_shape(a, b) &&
         !memcmp(a->strides, b->strides, sizeof *a->strides * a->ndim);
}

static baton_status binary_in_place(const binary_operation *operation, baton_tensor *tensor, baton_operand b,
                                    baton_error *err) {
  tensor_block block;
  baton_view view, shape;
  baton_tensor *copy = NULL;
  baton_dtype dtype = tensor_dtype(tensor);
  tensor_compute compute = tensor_compute_of(dtype);
  if (b.tensor && baton_dtype_promote(dtype, tensor_dtype(b.tensor)) != dtype)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s_: %s does not promote to %s", operation->name,
                           tensor_name_of(&b.tensor->view).text, tensor_name_of(&tensor->view).text);
  BATON_TRY(operand_view(b, dtype, compute, &block, &view, err));
  BATON_TRY(tensor_broadcast(operation->name, &tensor->view, &view, &shape, err));
  if (!tensor_same_shape(&shape, &tensor->view))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s_: %s does not broadcast to %s", operation->name,
                           tensor_name_of(&view).text, tensor_name_of(&tensor->view).text);
  if (operation->divides) BATON_TRY(check_divisor(&view, compute, err));
  BATON_TRY(tensor_await(tensor, 1, err));
  if (b.tensor && tensor_overlaps(tensor, b.tensor) && !same_view(&tensor->view, &view)) {
    BATON_TRY(baton_tensor_clone(b.tensor, &copy, err));
    view = copy->view;
  }
  binary_run(operation, compute, &tensor->view, &tensor->view, &view);
  baton_tensor_close(copy);
  return BATON_OK;
}

#define BINARY_FUNCTION(name, compares, divides)                                                             \
  static const binary_operation name##_operation = {#name, name##_kernels, compares, divides};               \
  baton_status baton_tensor_##name(baton_operand a, baton_operand b, baton_tensor **out, baton_error *err) { \
    return binary(&name##_operation, a, b, out, err);                                                        \
  }
#define IN_PLACE_FUNCTION(name)                                                                  \
  baton_status baton_tensor_##name##_(baton_tensor *tensor, baton_operand b, baton_error *err) { \
    return binary_in_place(&name##_operation, tensor, b, err);                                   \
  }

BINARY_FUNCTION(add, 0, 0)
BINARY_FUNCTION(sub, 0, 0)
BINARY_FUNCTION(mul, 0, 0)
BINARY_FUNCTION(div, 0, 1)
BINARY_FUNCTION(maximum, 0, 0)
BINARY_FUNCTION(minimum, 0, 0)
BINARY_FUNCTION(lt, 1, 0)
BINARY_FUNCTION(le, 1, 0)
BINARY_FUNCTION(eq, 1, 0)
IN_PLACE_FUNCTION(add)
IN_PLACE_FUNCTION(sub)
IN_PLACE_FUNCTION(mul)
IN_PLACE_FUNCTION(div)

/* --- One operand ---------------------------------------------------------------------------------------- */

typedef struct unary_context {
  unary_kernel kernel;
  tensor_compute compute;
  baton_dtype to, from;
} unary_context;

static void unary_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const unary_context *unary = context;
  int64_t size_to = (int64_t)baton_dtype_size(unary->to), size_from = (int64_t)baton_dtype_size(unary->from);
  tensor_block block, result;
  for (int64_t at = 0, part; at < count; at += part) {
    part = count - at < TENSOR_BLOCK ? count - at : TENSOR_BLOCK;
    const void *values = tensor_read(unary->compute, unary->from, data[1] + at * strides[1],
                                     strides[1] / size_from, part, &block);
    unary->kernel(&result, values, part);
    tensor_write(unary->compute, unary->to, &result, part, data[0] + at * strides[0], strides[0] / size_to);
  }
}

static baton_status unary(const unary_kernel *kernels, const baton_tensor *tensor, baton_tensor **out,
                          baton_error *err) {
  *out = NULL;
  baton_dtype from = tensor_dtype(tensor), to = baton_dtype_promote(from, from);
  if (!kernels[TENSOR_I64] && !baton_dtype_is_float(from)) to = BATON_F64;
  tensor_compute compute = tensor_compute_of(to);
  unary_context context = {kernels[compute], compute, to, from};
  BATON_TRY(tensor_await(tensor, 0, err));
  BATON_TRY(tensor_like(&tensor->view, to, out, err));
  tensor_loop loop = tensor_loop_over(tensor->view.ndim, tensor->view.shape);
  tensor_loop_add(&loop, &(*out)->view);
  tensor_loop_add(&loop, &tensor->view);
  tensor_loop_run(&loop, unary_row, &context);
  return BATON_OK;
}

#define UNARY_FUNCTION(name)                                                                           \
  baton_status baton_tensor_##name(const baton_tensor *tensor, baton_tensor **out, baton_error *err) { \
    return unary(name##_kernels, tensor, out, err);                                                    \
  }

UNARY_FUNCTION(neg)
UNARY_FUNCTION(abs)
UNARY_FUNCTION(exp)
UNARY_FUNCTION(log)
UNARY_FUNCTION(sqrt)

/* --- where ---------------------------------------------------------------------------------------------- */

typedef struct where_context {
  tensor_compute compute;
  baton_dtype dtypes[4]; /* result, condition (bool), a, b */
  int64_t sizes[4];
} where_context;

static void where_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const where_context *where = context;
  const int64_t *sizes = where->sizes;
  const baton_dtype *dtypes = where->dtypes;
  tensor_block block_a, block_b, result;
  size_t size = tensor_compute_size(where->compute);
  for (int64_t at = 0, part; at < count; at += part) {
    part = count - at < TENSOR_BLOCK ? count - at : TENSOR_BLOCK;
    const char *condition = data[1] + at * strides[1];
    const char *a = tensor_read(where->compute, dtypes[2], data[2] + at * strides[2], strides[2] / sizes[2],
                                part, &block_a);
    const char *b = tensor_read(where->compute, dtypes[3], data[3] + at * strides[3], strides[3] / sizes[3],
                                part, &block_b);
    for (int64_t i = 0; i < part; i++) {
      size_t offset = (size_t)i * size;
      memcpy((char *)&result + offset, (condition[i * strides[1]] ? a : b) + offset, size);
    }
    tensor_write(where->compute, dtypes[0], &result, part, data[0] + at * strides[0], strides[0] / sizes[0]);
  }
}

/* Choosing computes nothing: two operands of one type keep it, bool included. */
static baton_dtype chosen_dtype(baton_operand a, baton_operand b) {
  if (a.tensor && (!b.tensor || tensor_dtype(a.tensor) == tensor_dtype(b.tensor)))
    return tensor_dtype(a.tensor);
  return b.tensor && !a.tensor ? tensor_dtype(b.tensor) : operands_dtype(a, b);
}

/* The result of where, from a condition of bools. */
static baton_status where_bools(const baton_tensor *condition, baton_operand a, baton_operand b,
                                baton_tensor **out, baton_error *err) {
  tensor_block block_a, block_b;
  baton_view view_a, view_b, shape;
  baton_dtype dtype = chosen_dtype(a, b);
  where_context where = {.compute = tensor_compute_of(dtype)};
  BATON_TRY(operand_view(a, dtype, where.compute, &block_a, &view_a, err));
  BATON_TRY(operand_view(b, dtype, where.compute, &block_b, &view_b, err));
  BATON_TRY(tensor_broadcast("where", &view_a, &view_b, &shape, err));
  BATON_TRY(tensor_broadcast("where", &condition->view, &shape, &shape, err));
  BATON_TRY(tensor_like(&shape, dtype, out, err));
  const baton_view *views[4] = {&(*out)->view, &condition->view, &view_a, &view_b};
  tensor_loop loop = tensor_loop_over(shape.ndim, shape.shape);
  for (int i = 0; i < 4; i++) {
    tensor_loop_add(&loop, views[i]);
    where.dtypes[i] = (baton_dtype)views[i]->dtype;
    where.sizes[i] = (int64_t)baton_dtype_size(where.dtypes[i]);
  }
  tensor_loop_run(&loop, where_row, &where);
  return BATON_OK;
}

baton_status baton_tensor_where(const baton_tensor *condition, baton_operand a, baton_operand b,
                                baton_tensor **out, baton_error *err) {
  baton_tensor *bools;
  *out = NULL;
  if (tensor_dtype(condition) == BATON_BOOL) {
    BATON_TRY(tensor_await(condition, 0, err));
    return where_bools(condition, a, b, out, err);
  }
  BATON_TRY(baton_tensor_cast(condition, BATON_BOOL, &bools, err));
  baton_status status = where_bools(bools, a, b, out, err);
  baton_tensor_close(bools);
  return status;
}
