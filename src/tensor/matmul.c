/* The matrix product over the last two dimensions. */
#include "tensor/blas.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <limits.h>
#include <string.h>

typedef struct matrix_product {
  const baton_tensor *a, *b;
  baton_dtype dtype; /* of the result */
  baton_dtype work;  /* f32 or f64 */
  baton_view shape;  /* of the result */
  int64_t m, n, k;
} matrix_product;

static baton_status product_shape(matrix_product *product, baton_error *err) {
  const baton_view *a = &product->a->view, *b = &product->b->view;
  if (a->ndim < 2 || b->ndim < 2 || a->shape[a->ndim - 1] != b->shape[b->ndim - 2])
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "matmul: %s × %s is no product of matrices",
                           tensor_name_of(a).text, tensor_name_of(b).text);
  product->m = a->shape[a->ndim - 2];
  product->k = a->shape[a->ndim - 1];
  product->n = b->shape[b->ndim - 1];
  if (product->m > INT_MAX || product->n > INT_MAX || product->k > INT_MAX)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "matmul: %s × %s is too large for BLAS",
                           tensor_name_of(a).text, tensor_name_of(b).text);
  baton_view batch_a = *a, batch_b = *b;
  batch_a.ndim = (uint8_t)(a->ndim - 2);
  batch_b.ndim = (uint8_t)(b->ndim - 2);
  BATON_TRY(tensor_broadcast("matmul", &batch_a, &batch_b, &product->shape, err));
  int ndim = product->shape.ndim;
  product->shape.shape[ndim] = product->m;
  product->shape.shape[ndim + 1] = product->n;
  product->shape.ndim = (uint8_t)(ndim + 2);
  return BATON_OK;
}

/* Whether BLAS takes the matrices of a view as they are: one stride is 1, and the other does not fall into a
** line. */
static int blas_takes(const baton_view *view) {
  int64_t rows = view->shape[view->ndim - 2], columns = view->shape[view->ndim - 1];
  int64_t row_stride = view->strides[view->ndim - 2], column_stride = view->strides[view->ndim - 1];
  return (column_stride == 1 && row_stride >= columns && row_stride > 0 && row_stride <= INT_MAX) ||
         (row_stride == 1 && column_stride >= rows && column_stride > 1 && column_stride <= INT_MAX);
}

/* The operand in the working type, as BLAS takes it; the caller closes it. */
static baton_status prepare(const baton_tensor *tensor, baton_dtype work, baton_tensor **out,
                            baton_error *err) {
  if (tensor_dtype(tensor) != work || !blas_takes(&tensor->view))
    return baton_tensor_cast(tensor, work, out, err);
  *out = NULL;
  BATON_TRY(tensor_await(tensor, 0, err));
  return baton_tensor_from_view((baton_tensor *)(uintptr_t)tensor, &tensor->view, out, err);
}

static tensor_matrix matrix_at(const baton_view *view, const void *data) {
  return (tensor_matrix){data, view->strides[view->ndim - 2], view->strides[view->ndim - 1]};
}

typedef struct batch_context {
  const matrix_product *product;
  const baton_view *a, *b;
} batch_context;

static void batch_row(const void *context, char *const *data, const int64_t *strides, int64_t count) {
  const batch_context *batch = context;
  const matrix_product *product = batch->product;
  int m = (int)product->m, n = (int)product->n, k = (int)product->k;
  for (int64_t i = 0; i < count; i++) {
    tensor_matrix a = matrix_at(batch->a, data[1] + i * strides[1]);
    tensor_matrix b = matrix_at(batch->b, data[2] + i * strides[2]);
    char *c = data[0] + i * strides[0];
    if (product->work == BATON_F64)
      tensor_gemm_f64(m, n, k, a, b, (double *)(void *)c);
    else
      tensor_gemm_f32(m, n, k, a, b, (float *)(void *)c);
  }
}

static void multiply(const matrix_product *product, const baton_view *a, const baton_view *b,
                     baton_view *out) {
  baton_view batch[3] = {*out, *a, *b};
  tensor_loop loop = tensor_loop_over(out->ndim - 2, out->shape);
  for (int i = 0; i < 3; i++) {
    batch[i].ndim = (uint8_t)(batch[i].ndim - 2);
    tensor_loop_add(&loop, &batch[i]);
  }
  batch_context context = {product, a, b};
  tensor_loop_lines(&loop, batch_row, &context);
}

/* The product in the working type. */
static baton_status multiply_prepared(const matrix_product *product, baton_tensor **out, baton_error *err) {
  baton_tensor *a = NULL, *b = NULL;
  baton_status status = prepare(product->a, product->work, &a, err);
  if (status == BATON_OK) status = prepare(product->b, product->work, &b, err);
  if (status == BATON_OK) status = tensor_like(&product->shape, product->work, out, err);
  if (status == BATON_OK && baton_view_numel(&product->shape) > 0) {
    if (product->k > 0)
      multiply(product, &a->view, &b->view, &(*out)->view);
    else
      status = baton_tensor_fill(*out, baton_number_i64(0), err);
  }
  baton_tensor_close(a);
  baton_tensor_close(b);
  return status;
}

baton_status baton_tensor_matmul(const baton_tensor *a, const baton_tensor *b, baton_tensor **out,
                                 baton_error *err) {
  matrix_product product = {.a = a, .b = b, .dtype = baton_dtype_promote(tensor_dtype(a), tensor_dtype(b))};
  *out = NULL;
  if (!baton_dtype_is_float(product.dtype)) {
    baton_error_set(err, BATON_INVALID_ARGUMENT, "matmul: %s × %s has no float type",
                    tensor_name_of(&a->view).text, tensor_name_of(&b->view).text);
    return baton_error_text(err, BATON_FIELD_HINT, "cast one to f32 or f64"), BATON_INVALID_ARGUMENT;
  }
  product.work = product.dtype == BATON_F64 ? BATON_F64 : BATON_F32;
  BATON_TRY(product_shape(&product, err));
  BATON_TRY(multiply_prepared(&product, out, err));
  if (product.work == product.dtype) return BATON_OK;
  baton_tensor *wide = *out;
  baton_status status = baton_tensor_cast(wide, product.dtype, out, err);
  baton_tensor_close(wide);
  return status;
}
