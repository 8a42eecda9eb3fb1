/* tensor/tensor.h - shared inside src/tensor: the object, loops over elements, and conversions. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "tensor/storage.h"
#include <stdint.h>

struct baton_tensor {
  baton_view view;
  tensor_storage *storage;
};

/* "f32[2,3]" of a view. */
typedef struct tensor_name {
  char text[216];
} tensor_name;
tensor_name tensor_name_of(const baton_view *view);

/* A new contiguous tensor of the shape of `like`. */
baton_status tensor_like(const baton_view *like, baton_dtype dtype, baton_tensor **out, baton_error *err);

/* True if two tensors may share bytes. */
int tensor_overlaps(const baton_tensor *a, const baton_tensor *b);

static inline int tensor_same_shape(const baton_view *a, const baton_view *b) {
  if (a->ndim != b->ndim) return 0;
  for (int d = 0; d < a->ndim; d++)
    if (a->shape[d] != b->shape[d]) return 0;
  return 1;
}

static inline baton_dtype tensor_dtype(const baton_tensor *tensor) { return (baton_dtype)tensor->view.dtype; }

/* --- Computing types ------------------------------------------------------------------------------------ */

/* Arithmetic happens in one of four types, whatever the storage: its values are the matching baton_dtype. */
typedef enum tensor_compute {
  TENSOR_F64,
  TENSOR_F32,
  TENSOR_I64,
  TENSOR_U64,
  TENSOR_COMPUTES
} tensor_compute;

/* The computing type that holds all values of a type. */
tensor_compute tensor_compute_of(baton_dtype dtype);
size_t tensor_compute_size(tensor_compute compute);

enum { TENSOR_BLOCK = 512 }; /* elements converted at a time; eight KiB of stack for two operands */

/* Room for a block of any computing type. */
typedef union tensor_block {
  double f64[TENSOR_BLOCK];
  float f32[TENSOR_BLOCK];
  int64_t i64[TENSOR_BLOCK];
  uint64_t u64[TENSOR_BLOCK];
} tensor_block;

/* `count` (at most TENSOR_BLOCK) elements in a computing type: the elements themselves where they have that
** type and lie together, else converted into `block`. `stride` counts elements. */
const void *tensor_read(tensor_compute compute, baton_dtype dtype, const void *data, int64_t stride,
                        int64_t count, tensor_block *block);

/* Any number of elements into `values`. */
void tensor_read_line(tensor_compute compute, baton_dtype dtype, const void *data, int64_t stride,
                      int64_t count, void *values);

/* Stores `count` values of a computing type, converted as in baton_tensor_cast. */
void tensor_write(tensor_compute compute, baton_dtype dtype, const void *values, int64_t count, void *data,
                  int64_t stride);

/* A number as one value of a computing type, for a tensor of `dtype`; `out_of_range` if `dtype` cannot hold
** it. */
baton_status tensor_fit(baton_number number, baton_dtype dtype, tensor_compute compute, tensor_block *value,
                        baton_error *err);

/* One value of a computing type as a number of its kind. */
baton_number tensor_number(tensor_compute compute, const void *value);

/* A number as text: "3", "0.5", "-inf". */
typedef struct tensor_number_text {
  char text[40];
} tensor_number_text;
tensor_number_text tensor_number_print(baton_number number);

/* --- Loops ---------------------------------------------------------------------------------------------- */

enum { TENSOR_OPERANDS = 4 };

/* One pass over up to four operands that have (after broadcasting) one shape. */
typedef struct tensor_loop {
  int operands, ndim;
  int64_t shape[BATON_MAX_DIMS];
  char *data[TENSOR_OPERANDS];
  int64_t strides[TENSOR_OPERANDS][BATON_MAX_DIMS]; /* bytes */
} tensor_loop;

/* Called for rows of elements: where each operand begins, and the bytes from one element to the next. */
typedef void (*tensor_row)(const void *context, char *const *data, const int64_t *strides, int64_t count);

/* A loop over `shape`. Operands are added in order; one that has fewer dimensions, or a size of 1,
** repeats. */
tensor_loop tensor_loop_over(int ndim, const int64_t *shape);
void tensor_loop_add(tensor_loop *loop, const baton_view *view);

/* Runs the loop; large ones on several threads, so rows come in no certain order. */
void tensor_loop_run(tensor_loop *loop, tensor_row row, const void *context);

/* Runs the loop on this thread, in C order of `shape` without joining dimensions: a row is one line of the
** last one. */
void tensor_loop_lines(const tensor_loop *loop, tensor_row row, const void *context);

/* The shape that two views broadcast to; `what` begins the message ("add"). */
baton_status tensor_broadcast(const char *what, const baton_view *a, const baton_view *b, baton_view *out,
                              baton_error *err);

/* Calls work(context, first, last) for parts of [0, count), on several threads where count is large. */
typedef void (*tensor_part)(const void *context, int64_t first, int64_t last);
void tensor_parallel(int64_t count, tensor_part work, const void *context);

/* --- Dimensions ----------------------------------------------------------------------------------------- */

/* `out_of_range` unless `dim` is one of the view's. */
baton_status tensor_check_dim(const char *what, const baton_view *view, int dim, baton_error *err);

/* A contiguous tensor as before × length × after: one dimension, and what lies outside and inside of it. */
typedef struct tensor_lines {
  int64_t before, length, after;
} tensor_lines;

/* Dimension `dim`, or all of them as one for BATON_ALL_DIMS. */
tensor_lines tensor_lines_of(const baton_view *view, int dim);

/* Elements from the first one to the beginning of line `line`; elements of a line are `after` apart. */
static inline int64_t tensor_line_offset(const tensor_lines *lines, int64_t line) {
  return line / lines->after * lines->length * lines->after + line % lines->after;
}

/* The elements as a contiguous tensor, which the caller closes: the same memory, or a copy. Waits for
** writers. */
baton_status tensor_contiguous(const baton_tensor *tensor, baton_tensor **out, baton_error *err);

#endif
