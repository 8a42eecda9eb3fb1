/* chip/program/signature.h - what a program or a kernel takes, and the check of arguments against it.
**
** The check runs over a neutral list, so that runs (host tensors), submits (device views) and nodes use
** the same code. It allocates nothing when all is right. A signature never changes after it was made: any
** thread. */
#ifndef CHIP_SIGNATURE_H
#define CHIP_SIGNATURE_H

#include <baton/error.h>
#include <baton/program.h>

typedef enum chip_dim_kind {
  CHIP_DIM_EXACT, /* `size` */
  CHIP_DIM_ANY,
  CHIP_DIM_FIRST, /* binds `name` */
  CHIP_DIM_BOUND  /* as large as dimension `dim` of argument `argument`, where `name` was bound */
} chip_dim_kind;

typedef struct chip_dim {
  chip_dim_kind kind;
  uint32_t argument, dim;
  int64_t size;
  const char *name;
} chip_dim;

typedef struct chip_parameter {
  const char *name;
  baton_direction direction; /* BATON_BY_VALUE: a scalar */
  uint32_t dtypes;           /* set of 1u << baton_dtype; never empty */
  int32_t has_shape, ndim;
  chip_dim *shape;
} chip_parameter;

typedef struct chip_signature {
  uint32_t count;
  chip_parameter *items;
} chip_signature;

/* One argument. A scalar lies in f64, i64 or u64 as in baton_argument: float types, signed ones and bool,
** unsigned. */
typedef struct chip_value {
  const baton_view *view; /* NULL: a scalar */
  baton_dtype dtype;      /* scalars */
  int strided;            /* a tensor of a submit: not contiguous */
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } scalar;
} chip_value;

/* Checks and copies a list of parameters; `who` begins the messages ("gemm", "gemm: kernel tile"). The
** caller frees *out. */
BATON_MUST_CHECK baton_status chip_signature_create(const char *who, const baton_parameter *params,
                                                    uint32_t count, chip_signature **out, baton_error *err);
/* NULL is ignored. */
void chip_signature_free(chip_signature *signature);

/* Position of a parameter; -1 if there is none of that name. */
int chip_signature_find(const chip_signature *signature, const char *name);

/* Compares arguments with the signature: `signature` if one does not match, `out_of_range` if a scalar
** does not fit. Scalars are converted in place to their declared type; the type that they came with is
** kept if it is declared. */
BATON_MUST_CHECK baton_status chip_signature_check(const chip_signature *signature, const char *who,
                                                   chip_value *values, uint32_t count, baton_error *err);

#endif
