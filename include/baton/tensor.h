/* baton/tensor.h - host tensors: memory that the host and every chip can read.
**
** A tensor is a view of a storage. Storages are reference-counted: views keep them alive. Elements are
** shared, never copied, by views. Different tensors may be used from different threads; one tensor from one
** thread at a time, apart from reads. Dimensions and elements count from 0 here (from 1 in Lua).
**
** A function that reads or writes elements first waits for unfinished runs that use them, and returns the
** error of one that failed. What comes through `out` is a new tensor of the caller's; on failure it is
** NULL. */
#ifndef BATON_TENSOR_H
#define BATON_TENSOR_H

#include <baton/error.h>
#include <baton/view.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_tensor baton_tensor;

/* A number with its kind: BATON_F64, BATON_I64 or BATON_U64. */
typedef struct baton_number {
  baton_dtype dtype;
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } value;
} baton_number;

static inline baton_number baton_number_f64(double value) {
  baton_number number;
  number.dtype = BATON_F64;
  number.value.f64 = value;
  return number;
}

static inline baton_number baton_number_i64(int64_t value) {
  baton_number number;
  number.dtype = BATON_I64;
  number.value.i64 = value;
  return number;
}

static inline baton_number baton_number_u64(uint64_t value) {
  baton_number number;
  number.dtype = BATON_U64;
  number.value.u64 = value;
  return number;
}

/* One operand of arithmetic: a tensor, or a number, which takes the type of the other operand and never
** promotes it. */
typedef struct baton_operand {
  const baton_tensor *tensor; /* NULL: the number */
  baton_number number;
} baton_operand;

static inline baton_operand baton_operand_tensor(const baton_tensor *tensor) {
  baton_operand operand;
  operand.tensor = tensor;
  operand.number = baton_number_i64(0);
  return operand;
}

static inline baton_operand baton_operand_number(baton_number number) {
  baton_operand operand;
  operand.tensor = NULL;
  operand.number = number;
  return operand;
}

/* --- Types ---------------------------------------------------------------------------------------------- */

/* The name of a type ("f32"), and the type of a name (BATON_NO_DTYPE if there is none). */
const char *baton_dtype_name(baton_dtype dtype);
baton_dtype baton_dtype_from_name(const char *name);

/* The type in which two tensors of these types are added: f64 > f32 > (bf16, f16; one with the other gives
** f32) > integers; of two integers the smallest type that holds both (i64 where none does); two bools give
** u8. */
baton_dtype baton_dtype_promote(baton_dtype a, baton_dtype b);

/* --- Makers --------------------------------------------------------------------------------------------- */

/* A new contiguous tensor, not cleared (empty) or all zero (zeros). 0 to 8 dimensions, a size may be 0; a
** negative size raises `invalid_argument`, a product beyond 2^62 bytes `out_of_range`, and no room
** `out_of_memory`. The caller owns *out. */
BATON_MUST_CHECK baton_status baton_tensor_empty(baton_dtype dtype, int ndim, const int64_t *shape,
                                                 baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_zeros(baton_dtype dtype, int ndim, const int64_t *shape,
                                                 baton_tensor **out, baton_error *err);

/* All elements equal `value`; `out_of_range` if the type cannot hold it. */
BATON_MUST_CHECK baton_status baton_tensor_full(baton_dtype dtype, int ndim, const int64_t *shape,
                                                baton_number value, baton_tensor **out, baton_error *err);

/* 0, 1, 2, … in C order; `out_of_range` if the type cannot hold the last one. */
BATON_MUST_CHECK baton_status baton_tensor_arange(baton_dtype dtype, int ndim, const int64_t *shape,
                                                  baton_tensor **out, baton_error *err);

/* Random elements: element i depends on seed and i only, and has the same bits on every machine. uniform: lo
** <= x < hi for floats (rounding to the type may reach hi), lo <= x <= hi for integers. normal: floats
** only. */
BATON_MUST_CHECK baton_status baton_tensor_uniform(baton_dtype dtype, int ndim, const int64_t *shape,
                                                   double lo, double hi, uint64_t seed, baton_tensor **out,
                                                   baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_normal(baton_dtype dtype, int ndim, const int64_t *shape,
                                                  double mean, double deviation, uint64_t seed,
                                                  baton_tensor **out, baton_error *err);

/* A tensor over the caller's memory, contiguous; the memory must live until the tensor and its views are
** closed. */
BATON_MUST_CHECK baton_status baton_tensor_wrap(void *data, baton_dtype dtype, int ndim, const int64_t *shape,
                                                baton_tensor **out, baton_error *err);

/* Gives the tensor back; the storage goes with its last tensor. NULL is ignored. */
void baton_tensor_close(baton_tensor *tensor);

/* --- Views: the same elements, nothing is copied -------------------------------------------------------- */

/* dtype, shape, strides in elements, and `data`, which may be dereferenced. Lives as long as the tensor. */
const baton_view *baton_tensor_view(const baton_tensor *tensor);

/* Another tensor over the same storage; `view` comes from baton_tensor_view(tensor) and the functions of
** view.h. A view that does not fit the storage raises `out_of_range`. */
BATON_MUST_CHECK baton_status baton_tensor_from_view(baton_tensor *tensor, const baton_view *view,
                                                     baton_tensor **out, baton_error *err);

/* `count` elements of a dimension; one element, which drops the dimension; the same elements under another
** shape (contiguous tensors only); two dimensions exchanged. */
BATON_MUST_CHECK baton_status baton_tensor_slice(baton_tensor *tensor, int dim, int64_t first, int64_t count,
                                                 baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_select(baton_tensor *tensor, int dim, int64_t index,
                                                  baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_reshape(baton_tensor *tensor, int ndim, const int64_t *shape,
                                                   baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_transpose(baton_tensor *tensor, int dim1, int dim2,
                                                     baton_tensor **out, baton_error *err);

/* --- Elements ------------------------------------------------------------------------------------------- */

/* One element; `index` has one entry a dimension. A value that the type cannot hold raises `out_of_range`. */
BATON_MUST_CHECK baton_status baton_tensor_get(const baton_tensor *tensor, const int64_t *index,
                                               baton_number *out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_set(baton_tensor *tensor, const int64_t *index, baton_number value,
                                               baton_error *err);

BATON_MUST_CHECK baton_status baton_tensor_fill(baton_tensor *tensor, baton_number value, baton_error *err);

/* Copies all elements; shapes are equal, types may differ (as in cast), memory may overlap. */
BATON_MUST_CHECK baton_status baton_tensor_copy(baton_tensor *to, const baton_tensor *from, baton_error *err);

/* A contiguous copy, of the same or of another type. Floats become integers towards zero and stop at the ends
** of the type (NaN becomes 0); integers become narrower integers modulo 2^bits; to bool means "is not
** zero". */
BATON_MUST_CHECK baton_status baton_tensor_clone(const baton_tensor *tensor, baton_tensor **out,
                                                 baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_cast(const baton_tensor *tensor, baton_dtype dtype,
                                                baton_tensor **out, baton_error *err);

/* --- Arithmetic ----------------------------------------------------------------------------------------- */

/* Element by element, with broadcasting: shapes are aligned at their ends, and a size of 1 repeats. Types
** promote (see baton_dtype_promote), 16-bit floats are computed in f32. Integers wrap around; the quotient of
** integers is cut towards zero, and a divisor of 0 raises `invalid_argument`. NaN wins in maximum and
** minimum. lt, le and eq give bools. At least one operand is a tensor. */
BATON_MUST_CHECK baton_status baton_tensor_add(baton_operand a, baton_operand b, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_sub(baton_operand a, baton_operand b, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_mul(baton_operand a, baton_operand b, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_div(baton_operand a, baton_operand b, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_maximum(baton_operand a, baton_operand b, baton_tensor **out,
                                                   baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_minimum(baton_operand a, baton_operand b, baton_tensor **out,
                                                   baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_lt(baton_operand a, baton_operand b, baton_tensor **out,
                                              baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_le(baton_operand a, baton_operand b, baton_tensor **out,
                                              baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_eq(baton_operand a, baton_operand b, baton_tensor **out,
                                              baton_error *err);

/* The same in place: the result has the type and the shape of `tensor`, to which `b` must promote and
** broadcast. */
BATON_MUST_CHECK baton_status baton_tensor_add_(baton_tensor *tensor, baton_operand b, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_sub_(baton_tensor *tensor, baton_operand b, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_mul_(baton_tensor *tensor, baton_operand b, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_div_(baton_tensor *tensor, baton_operand b, baton_error *err);

/* exp, log and sqrt of integers are f64. */
BATON_MUST_CHECK baton_status baton_tensor_neg(const baton_tensor *tensor, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_abs(const baton_tensor *tensor, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_exp(const baton_tensor *tensor, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_log(const baton_tensor *tensor, baton_tensor **out,
                                               baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_sqrt(const baton_tensor *tensor, baton_tensor **out,
                                                baton_error *err);

/* `a` where `condition` is not zero, `b` elsewhere; all three broadcast. */
BATON_MUST_CHECK baton_status baton_tensor_where(const baton_tensor *condition, baton_operand a,
                                                 baton_operand b, baton_tensor **out, baton_error *err);

/* Matrices of the last two dimensions; those before broadcast. Float types; 16-bit ones are computed in
** f32. */
BATON_MUST_CHECK baton_status baton_tensor_matmul(const baton_tensor *a, const baton_tensor *b,
                                                  baton_tensor **out, baton_error *err);

/* --- Along a dimension ---------------------------------------------------------------------------------- */

enum { BATON_ALL_DIMS = -1 };

/* Over one dimension, which goes away or, with `keep`, stays with size 1; over BATON_ALL_DIMS the result has
** no dimensions (with `keep`, all of size 1). Floats are summed in f64. Over one dimension floats keep their
** type; over all the sum and the mean of floats are f64. The sum of integers is i64 (u64 for unsigned types),
** their mean f64. NaN wins in max and min, which of no elements raise `invalid_argument`; the mean of none is
** NaN. */
BATON_MUST_CHECK baton_status baton_tensor_sum(const baton_tensor *tensor, int dim, int keep,
                                               baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_mean(const baton_tensor *tensor, int dim, int keep,
                                                baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_max(const baton_tensor *tensor, int dim, int keep,
                                               baton_tensor **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_tensor_min(const baton_tensor *tensor, int dim, int keep,
                                               baton_tensor **out, baton_error *err);

/* The i64 position of the largest element (NaN counts as largest), the first of equal ones. */
BATON_MUST_CHECK baton_status baton_tensor_argmax(const baton_tensor *tensor, int dim, int keep,
                                                  baton_tensor **out, baton_error *err);

/* The `count` largest elements of each line, largest first, and their i64 positions; equal ones in order of
** position. The caller owns *values and *positions. */
BATON_MUST_CHECK baton_status baton_tensor_topk(const baton_tensor *tensor, int64_t count, int dim,
                                                baton_tensor **values, baton_tensor **positions,
                                                baton_error *err);

/* exp(x) / sum of exp(x) along `dim`, computed in f64 and safe against overflow. Float types. */
BATON_MUST_CHECK baton_status baton_tensor_softmax(const baton_tensor *tensor, int dim, baton_tensor **out,
                                                   baton_error *err);

/* The elements of `dim` at `positions` (a tensor of integers of one dimension), in that order. */
BATON_MUST_CHECK baton_status baton_tensor_index(const baton_tensor *tensor, int dim,
                                                 const baton_tensor *positions, baton_tensor **out,
                                                 baton_error *err);

/* `count` tensors, one behind the other along `dim`; all other sizes are equal, types promote. */
BATON_MUST_CHECK baton_status baton_tensor_concat(const baton_tensor *const *tensors, int count, int dim,
                                                  baton_tensor **out, baton_error *err);

/* --- Comparison ----------------------------------------------------------------------------------------- */

/* Two elements are close if |got - want| <= atol + rtol * |want|, or if they are equal (infinities), or with
** `equal_nan` if both are NaN. */
typedef struct baton_tolerance {
  double rtol, atol;
  int equal_nan;
} baton_tolerance;

/* The tolerance of a NULL: numpy's. */
#define BATON_RTOL 1e-5
#define BATON_ATOL 1e-8

/* How two tensors differ. The worst element is the one furthest apart; one that is NaN on one side only is
** worse. */
typedef struct baton_difference {
  int64_t count, numel;          /* elements that differ, of how many */
  int64_t index[BATON_MAX_DIMS]; /* of the worst */
  baton_number got, want;        /* there */
  double distance;               /* |got - want| there */
} baton_difference;

/* Compares tensors of one shape; types may differ. *difference is filled in, `count` is 0 if all are
** close. */
BATON_MUST_CHECK baton_status baton_tensor_allclose(const baton_tensor *got, const baton_tensor *want,
                                                    const baton_tolerance *tolerance,
                                                    baton_difference *difference, baton_error *err);

/* --- Text and files ------------------------------------------------------------------------------------- */

/* Writes type, shape and a head-and-tail excerpt of the elements, at most `size` bytes with the final zero,
** and returns the length that the whole text has. Never waits: elements that a run is writing are shown as
** "pending". */
size_t baton_tensor_text(const baton_tensor *tensor, char *text, size_t size);

/* Reads a .npy file (any version, C or Fortran order, either byte order; V2 is bf16), or with `key` one array
** of an .npz file. The result is in C order. A malformed file raises `bad_file` and says where and why. */
BATON_MUST_CHECK baton_status baton_tensor_load(const char *path, const char *key, baton_tensor **out,
                                                baton_error *err);

/* Writes a .npy file: to a temporary file beside it, which then takes the name. On failure (`io_error`) what
** was there before is untouched. */
BATON_MUST_CHECK baton_status baton_tensor_save(const baton_tensor *tensor, const char *path,
                                                baton_error *err);

#ifdef __cplusplus
}
#endif
#endif
