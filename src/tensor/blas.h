/* tensor/blas.h - the matrix product of a CBLAS that is loaded at the first use, or our own where there is
** none. */
#ifndef TENSOR_BLAS_H
#define TENSOR_BLAS_H

#include <stdint.h>

/* One matrix in memory: element (row, column) lies at row * row_stride + column * column_stride; one stride
** is 1. */
typedef struct tensor_matrix {
  const void *data;
  int64_t row_stride, column_stride;
} tensor_matrix;

/* c (row after row, without gaps) = a × b in binary32 or binary64; sizes fit an int. Any thread. */
void tensor_gemm_f32(int m, int n, int k, tensor_matrix a, tensor_matrix b, float *c);
void tensor_gemm_f64(int m, int n, int k, tensor_matrix a, tensor_matrix b, double *c);

#endif
