/* matmul_tile.c - one tile of a matrix product: c = a·b, or c += a·b. The three are views with any strides, so that tiles
** of the user's matrices need no copies. Their elements are of one type: float, or what ELEMENT names (-DELEMENT=double).
**
** A block of ROWS × COLUMNS results stays in vector registers while k runs. A panel of b is packed first, COLUMNS wide
** and padded with zeros, which makes its loads contiguous whatever the strides; elements of a are broadcast from where
** they are. Rows and columns beyond the tile's edge are computed and dropped. */
#include <baton/kernel.h>

#ifndef ELEMENT
#define ELEMENT float
#endif
typedef ELEMENT element;

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, ROWS = 8 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, ROWS = 6 };
#else
enum { VECTOR_BYTES = 16, ROWS = 4 };
#endif
enum { LANES = VECTOR_BYTES / sizeof(element), VECTORS = 2, COLUMNS = VECTORS * LANES, DEPTH = 128 };

typedef element lanes __attribute__((vector_size(VECTOR_BYTES)));
typedef struct panel {
  lanes row[DEPTH][VECTORS];
} panel;
typedef struct block {
  lanes row[ROWS][VECTORS];
} block;

/* A matrix as a kernel uses it: strides in elements. */
typedef struct matrix {
  element *data;
  int64_t rows, columns, row_stride, column_stride;
} matrix;

static matrix matrix_of(const baton_args *args, uint32_t i) {
  const baton_view *view = baton_arg_tensor(args, i);
  baton_dtype dtype = sizeof(element) == sizeof(double) ? BATON_F64 : BATON_F32;
  if (view->ndim != 2 || view->dtype != dtype)
    baton_kernel_fail(args, "argument %u must be an %s matrix", i, dtype == BATON_F64 ? "f64" : "f32");
  return (matrix){view->data, view->shape[0], view->shape[1], view->strides[0], view->strides[1]};
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Packs rows [k, k + depth) and columns [j, j + COLUMNS) of b; columns beyond the edge become zero. */
static void pack(const matrix *b, int64_t k, int64_t depth, int64_t j, panel *out) {
  int64_t width = smaller(COLUMNS, b->columns - j);
  for (int64_t i = 0; i < depth; i++) {
    const element *from = b->data + (k + i) * b->row_stride + j * b->column_stride;
    element *to = (element *)out->row[i];
    if (width == COLUMNS && b->column_stride == 1) {
      for (int64_t c = 0; c < COLUMNS; c++) to[c] = from[c];
      continue;
    }
    for (int64_t c = 0; c < COLUMNS; c++) to[c] = c < width ? from[c * b->column_stride] : 0;
  }
}

/* Multiplies `height` rows of a from `i` on with a panel. Rows beyond the edge repeat the last one. */
static inline void multiply(const matrix *a, int64_t i, int64_t height, int64_t k, int64_t depth,
                            const panel *b, block *out) {
  const element *rows[ROWS];
  lanes sum[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
    rows[r] = a->data + (i + (r < height ? r : height - 1)) * a->row_stride + k * a->column_stride;
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) sum[r][v] = (lanes){0};
  }
  for (int64_t d = 0; d < depth; d++) {
    int64_t at = d * a->column_stride;
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      element value = rows[r][at];
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; v++) sum[r][v] += value * b->row[d][v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; v++) out->row[r][v] = sum[r][v];
}

/* Stores or adds the part of a block that lies inside c. */
static void store(const block *from, const matrix *c, int64_t i, int64_t j, int add) {
  int64_t height = smaller(ROWS, c->rows - i), width = smaller(COLUMNS, c->columns - j);
  for (int64_t r = 0; r < height; r++) {
    const element *sums = (const element *)from->row[r];
    element *to = c->data + (i + r) * c->row_stride + j * c->column_stride;
    for (int64_t n = 0; n < width; n++) {
      element *at = to + n * c->column_stride;
      *at = sums[n] + (add ? *at : 0);
    }
  }
}

static void matmul(const baton_args *args, int add) {
  matrix a = matrix_of(args, 0), b = matrix_of(args, 1), c = matrix_of(args, 2);
  panel packed;
  block sums;
  if (a.columns != b.rows || a.rows != c.rows || b.columns != c.columns)
    baton_kernel_fail(args, "shapes do not fit: [%lld,%lld] x [%lld,%lld] -> [%lld,%lld]", (long long)a.rows,
                      (long long)a.columns, (long long)b.rows, (long long)b.columns, (long long)c.rows,
                      (long long)c.columns);
  for (int64_t k = 0; k == 0 || k < a.columns; k += DEPTH, add = 1) {
    int64_t depth = smaller(DEPTH, a.columns - k);
    for (int64_t j = 0; j < c.columns; j += COLUMNS) {
      pack(&b, k, depth, j, &packed);
      for (int64_t i = 0; i < c.rows; i += ROWS) {
        multiply(&a, i, smaller(ROWS, c.rows - i), k, depth, &packed, &sums);
        store(&sums, &c, i, j, add);
      }
    }
  }
}

BATON_KERNEL(matmul_start) { matmul(args, 0); }
BATON_KERNEL(matmul_add) { matmul(args, 1); }
