#include "tensor/blas.h"
#include <dlfcn.h>
#include <pthread.h>

/* The part of the CBLAS interface that we call; its enumerations have fixed values. */
enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };
typedef void (*cblas_sgemm_function)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                                     const float *a, int lda, const float *b, int ldb, float beta, float *c,
                                     int ldc);
typedef void (*cblas_dgemm_function)(int order, int trans_a, int trans_b, int m, int n, int k, double alpha,
                                     const double *a, int lda, const double *b, int ldb, double beta,
                                     double *c, int ldc);

static cblas_sgemm_function sgemm;
static cblas_dgemm_function dgemm;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

/* The library stays loaded: it owns threads. */
static void load(void) {
  static const char *const names[] = {"libopenblas.so.0", "libcblas.so.3", "libblas.so.3"};
  for (unsigned i = 0; i < sizeof names / sizeof *names && !sgemm; i++) {
    void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) continue;
    void *single = dlsym(library, "cblas_sgemm"), *twice = dlsym(library, "cblas_dgemm");
    if (single && twice) {
      *(void **)&sgemm = single;
      *(void **)&dgemm = twice;
    } else
      dlclose(library);
  }
}

static int transposed(tensor_matrix matrix) { return matrix.column_stride != 1; }

static int leading(tensor_matrix matrix) {
  return (int)(transposed(matrix) ? matrix.column_stride : matrix.row_stride);
}

#define GEMM(name, type, function)                                                                   \
  static void own_##function(int m, int n, int k, tensor_matrix a, tensor_matrix b, type *c) {       \
    const type *from_a = a.data, *from_b = b.data;                                                   \
    for (int64_t i = 0; i < m; i++)                                                                  \
      for (int64_t j = 0; j < n; j++) {                                                              \
        double sum = 0;                                                                              \
        for (int64_t l = 0; l < k; l++)                                                              \
          sum += (double)from_a[i * a.row_stride + l * a.column_stride] *                            \
                 (double)from_b[l * b.row_stride + j * b.column_stride];                             \
        c[i * n + j] = (type)sum;                                                                    \
      }                                                                                              \
  }                                                                                                  \
  void name(int m, int n, int k, tensor_matrix a, tensor_matrix b, type *c) {                        \
    pthread_once(&loaded, load);                                                                     \
    if (function)                                                                                    \
      function(CBLAS_ROW_MAJOR, transposed(a) ? CBLAS_TRANS : CBLAS_NO_TRANS,                        \
               transposed(b) ? CBLAS_TRANS : CBLAS_NO_TRANS, m, n, k, 1, a.data, leading(a), b.data, \
               leading(b), 0, c, n);                                                                 \
    else                                                                                             \
      own_##function(m, n, k, a, b, c);                                                              \
  }

GEMM(tensor_gemm_f32, float, sgemm)
GEMM(tensor_gemm_f64, double, dgemm)
