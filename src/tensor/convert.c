/* Between storage and computing types, a block at a time. */
#include "base/text.h"
#include "tensor/tensor.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Single values -------------------------------------------------------------------------------------- */

/* Rounds to binary32 such that a second rounding, to 16 bits, is as if it were the only one: what is cut off
** leaves its trace in the last bit (round to odd). */
static float narrow(double value) {
  float nearest = (float)value;
  if ((double)nearest == value || nearest != nearest) return nearest;
  uint32_t bits = baton_float_bits(nearest);
  if (fabs((double)nearest) > fabs(value)) bits--; /* towards zero */
  return baton_bits_float(bits | 1);
}

static baton_f16 f16_of_f64(double value) { return baton_f32_to_f16(narrow(value)); }
static baton_bf16 bf16_of_f64(double value) { return baton_f32_to_bf16(narrow(value)); }

/* Towards zero, stopping at the ends of the type; NaN becomes 0. */
static int64_t i64_between(double value, double low, double above, int64_t min, int64_t max) {
  if (value != value) return 0;
  return value < low ? min : value >= above ? max : (int64_t)value;
}

static uint64_t u64_of_f64(double value) {
  if (!(value > 0)) return 0;
  return value >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)value;
}

#define CUT(bits, value)                                                          \
  ((int##bits##_t)i64_between(value, -0x1p0 * (double)(INT64_C(1) << (bits - 1)), \
                              (double)(INT64_C(1) << (bits - 1)), INT##bits##_MIN, INT##bits##_MAX))
#define CUT_UNSIGNED(bits, value) \
  ((uint##bits##_t)i64_between(value, 0, (double)(INT64_C(1) << bits), 0, UINT##bits##_MAX))
#define CUT_I64(value) i64_between(value, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX)

/* --- Reading: one function for each storage type and computing type ------------------------------------- */

#define PLAIN(x) (x)

/* X(dtype, its C type, how a value of it becomes a C number) */
#define STORAGE_TYPES(X)                 \
  X(F64, double, PLAIN)                  \
  X(F32, float, PLAIN)                   \
  X(F16, baton_f16, baton_f16_to_f32)    \
  X(BF16, baton_bf16, baton_bf16_to_f32) \
  X(I64, int64_t, PLAIN)                 \
  X(I32, int32_t, PLAIN)                 \
  X(I16, int16_t, PLAIN)                 \
  X(I8, int8_t, PLAIN)                   \
  X(U64, uint64_t, PLAIN)                \
  X(U32, uint32_t, PLAIN)                \
  X(U16, uint16_t, PLAIN)                \
  X(U8, uint8_t, PLAIN)                  \
  X(BOOL, uint8_t, TRUTH)

#define TRUTH(x) ((x) != 0)

/* Floats are never read as integers: each value is computed in a type that holds it. */
#define TO_F64(x) ((double)(x))
#define TO_F32(x) ((float)(x))
#define TO_I64(x) ((int64_t)(x))
#define TO_U64(x) ((uint64_t)(x))

typedef void (*reader)(const char *data, int64_t stride, int64_t count, void *values);

#define READER(dtype, type, compute, compute_type, get)                                                    \
  static void read_##dtype##_as_##compute(const char *data, int64_t stride, int64_t count, void *values) { \
    const type *from = (const type *)(const void *)data;                                                   \
    compute_type *to = values;                                                                             \
    if (stride == 1)                                                                                       \
      for (int64_t i = 0; i < count; i++) to[i] = TO_##compute(get(from[i]));                              \
    else                                                                                                   \
      for (int64_t i = 0; i < count; i++) to[i] = TO_##compute(get(from[i * stride]));                     \
  }

#define READERS(dtype, type, get)        \
  READER(dtype, type, F64, double, get)  \
  READER(dtype, type, F32, float, get)   \
  READER(dtype, type, I64, int64_t, get) \
  READER(dtype, type, U64, uint64_t, get)

STORAGE_TYPES(READERS)

static const reader readers[BATON_DTYPE_COUNT][TENSOR_COMPUTES] = {
#define X(dtype, type, get) \
  [BATON_##                 \
      dtype] = {read_##dtype##_as_F64, read_##dtype##_as_F32, read_##dtype##_as_I64, read_##dtype##_as_U64},
    STORAGE_TYPES(X)
#undef X
};

static int stored_as(baton_dtype dtype, tensor_compute compute) {
  static const baton_dtype same[TENSOR_COMPUTES] = {BATON_F64, BATON_F32, BATON_I64, BATON_U64};
  return dtype == same[compute];
}

const void *tensor_read(tensor_compute compute, baton_dtype dtype, const void *data, int64_t stride,
                        int64_t count, tensor_block *block) {
  if (stride == 1 && stored_as(dtype, compute)) return data;
  readers[dtype][compute](data, stride, count, block);
  return block;
}

void tensor_read_line(tensor_compute compute, baton_dtype dtype, const void *data, int64_t stride,
                      int64_t count, void *values) {
  readers[dtype][compute](data, stride, count, values);
}

/* --- Writing -------------------------------------------------------------------------------------------- */

/* PUT_<dtype>_<computing type>(value) */
#define PUT_F64_F64(x)  (x)
#define PUT_F32_F64(x)  ((float)(x))
#define PUT_F16_F64(x)  f16_of_f64(x)
#define PUT_BF16_F64(x) bf16_of_f64(x)
#define PUT_I64_F64(x)  CUT_I64(x)
#define PUT_I32_F64(x)  CUT(32, x)
#define PUT_I16_F64(x)  CUT(16, x)
#define PUT_I8_F64(x)   CUT(8, x)
#define PUT_U64_F64(x)  u64_of_f64(x)
#define PUT_U32_F64(x)  CUT_UNSIGNED(32, x)
#define PUT_U16_F64(x)  CUT_UNSIGNED(16, x)
#define PUT_U8_F64(x)   CUT_UNSIGNED(8, x)
#define PUT_BOOL_F64(x) ((uint8_t)((x) != 0))

#define PUT_F64_F32(x)  ((double)(x))
#define PUT_F32_F32(x)  (x)
#define PUT_F16_F32(x)  baton_f32_to_f16(x)
#define PUT_BF16_F32(x) baton_f32_to_bf16(x)
#define PUT_I64_F32(x)  PUT_I64_F64((double)(x))
#define PUT_I32_F32(x)  PUT_I32_F64((double)(x))
#define PUT_I16_F32(x)  PUT_I16_F64((double)(x))
#define PUT_I8_F32(x)   PUT_I8_F64((double)(x))
#define PUT_U64_F32(x)  PUT_U64_F64((double)(x))
#define PUT_U32_F32(x)  PUT_U32_F64((double)(x))
#define PUT_U16_F32(x)  PUT_U16_F64((double)(x))
#define PUT_U8_F32(x)   PUT_U8_F64((double)(x))
#define PUT_BOOL_F32(x) ((uint8_t)((x) != 0))

#define PUT_F64_I64(x)  ((double)(x))
#define PUT_F32_I64(x)  ((float)(x))
#define PUT_F16_I64(x)  f16_of_f64((double)(x))
#define PUT_BF16_I64(x) bf16_of_f64((double)(x))
#define PUT_I64_I64(x)  ((int64_t)(x))
#define PUT_I32_I64(x)  ((int32_t)(x))
#define PUT_I16_I64(x)  ((int16_t)(x))
#define PUT_I8_I64(x)   ((int8_t)(x))
#define PUT_U64_I64(x)  ((uint64_t)(x))
#define PUT_U32_I64(x)  ((uint32_t)(x))
#define PUT_U16_I64(x)  ((uint16_t)(x))
#define PUT_U8_I64(x)   ((uint8_t)(x))
#define PUT_BOOL_I64(x) ((uint8_t)((x) != 0))

#define PUT_F64_U64(x)  PUT_F64_I64(x)
#define PUT_F32_U64(x)  PUT_F32_I64(x)
#define PUT_F16_U64(x)  PUT_F16_I64(x)
#define PUT_BF16_U64(x) PUT_BF16_I64(x)
#define PUT_I64_U64(x)  PUT_I64_I64(x)
#define PUT_I32_U64(x)  PUT_I32_I64(x)
#define PUT_I16_U64(x)  PUT_I16_I64(x)
#define PUT_I8_U64(x)   PUT_I8_I64(x)
#define PUT_U64_U64(x)  (x)
#define PUT_U32_U64(x)  PUT_U32_I64(x)
#define PUT_U16_U64(x)  PUT_U16_I64(x)
#define PUT_U8_U64(x)   PUT_U8_I64(x)
#define PUT_BOOL_U64(x) PUT_BOOL_I64(x)

typedef void (*writer)(const void *values, int64_t count, char *data, int64_t stride);

#define WRITER(dtype, type, compute, compute_type)                                           \
  static void write_##dtype##_from_##compute(const void *values, int64_t count, char *data,  \
                                             int64_t stride) {                               \
    const compute_type *from = values;                                                       \
    type *to = (type *)(void *)data;                                                         \
    if (stride == 1)                                                                         \
      for (int64_t i = 0; i < count; i++) to[i] = PUT_##dtype##_##compute(from[i]);          \
    else                                                                                     \
      for (int64_t i = 0; i < count; i++) to[i * stride] = PUT_##dtype##_##compute(from[i]); \
  }

#define WRITERS(dtype, type, get)   \
  WRITER(dtype, type, F64, double)  \
  WRITER(dtype, type, F32, float)   \
  WRITER(dtype, type, I64, int64_t) \
  WRITER(dtype, type, U64, uint64_t)

STORAGE_TYPES(WRITERS)

static const writer writers[BATON_DTYPE_COUNT][TENSOR_COMPUTES] = {
#define X(dtype, type, get)                                                                        \
  [BATON_##dtype] = {write_##dtype##_from_F64, write_##dtype##_from_F32, write_##dtype##_from_I64, \
                     write_##dtype##_from_U64},
    STORAGE_TYPES(X)
#undef X
};

void tensor_write(tensor_compute compute, baton_dtype dtype, const void *values, int64_t count, void *data,
                  int64_t stride) {
  writers[dtype][compute](values, count, data, stride);
}

/* --- Numbers -------------------------------------------------------------------------------------------- */

baton_number tensor_number(tensor_compute compute, const void *value) {
  switch (compute) {
  case TENSOR_F64: return baton_number_f64(*(const double *)value);
  case TENSOR_F32: return baton_number_f64((double)*(const float *)value);
  case TENSOR_U64: return baton_number_u64(*(const uint64_t *)value);
  case TENSOR_I64:
  case TENSOR_COMPUTES: break;
  }
  return baton_number_i64(*(const int64_t *)value);
}

tensor_number_text tensor_number_print(baton_number number) {
  tensor_number_text out;
  if (number.dtype == BATON_F64) {
    for (int digits = 6; digits <= 17; digits++) { /* the shortest that reads back as the same number */
      base_print(out.text, sizeof out.text, "%.*g", digits, number.value.f64);
      if (base_number(out.text) == number.value.f64) break;
    }
    if (number.value.f64 != number.value.f64) strcpy(out.text, "nan");
  } else if (number.dtype == BATON_I64)
    snprintf(out.text, sizeof out.text, "%" PRId64, number.value.i64);
  else
    snprintf(out.text, sizeof out.text, "%" PRIu64, number.value.u64);
  return out;
}

/* Whether an integer type holds a number; bool holds 0 and 1. */
static int integer_holds(baton_dtype dtype, baton_number number) {
  int bits = dtype == BATON_BOOL ? 1 : 8 * (int)baton_dtype_size(dtype),
      is_signed = baton_dtype_is_signed(dtype);
  if (number.dtype == BATON_F64) {
    double value = number.value.f64, low = is_signed ? -ldexp(1, bits - 1) : 0;
    return value == trunc(value) && value >= low && value < ldexp(1, is_signed ? bits - 1 : bits);
  }
  int negative = number.dtype == BATON_I64 && number.value.i64 < 0;
  if (negative) return is_signed && number.value.i64 >= -1 - (INT64_MAX >> (64 - bits));
  return number.value.u64 <= UINT64_MAX >> (is_signed ? 65 - bits : 64 - bits);
}

static double number_f64(baton_number number) {
  return number.dtype == BATON_F64   ? number.value.f64
         : number.dtype == BATON_I64 ? (double)number.value.i64
                                     : (double)number.value.u64;
}

/* A finite number must stay finite; being rounded is no failure. */
static int float_holds(baton_dtype dtype, baton_number number) {
  double value = number_f64(number);
  if (!isfinite(value) || dtype == BATON_F64) return 1;
  if (dtype == BATON_F32) return isfinite((float)value);
  return dtype == BATON_F16 ? isfinite(baton_f16_to_f32(f16_of_f64(value)))
                            : isfinite(baton_bf16_to_f32(bf16_of_f64(value)));
}

static void store_number(baton_number number, tensor_compute compute, tensor_block *value) {
  switch (compute) {
  case TENSOR_F64: value->f64[0] = number_f64(number); break;
  case TENSOR_F32:
    value->f32[0] = number.dtype == BATON_I64   ? (float)number.value.i64
                    : number.dtype == BATON_U64 ? (float)number.value.u64
                                                : (float)number.value.f64;
    break;
  case TENSOR_I64:
    value->i64[0] = number.dtype == BATON_F64 ? CUT_I64(number.value.f64) : number.value.i64;
    break;
  case TENSOR_U64:
    value->u64[0] = number.dtype == BATON_F64 ? u64_of_f64(number.value.f64) : number.value.u64;
    break;
  case TENSOR_COMPUTES: break;
  }
}

baton_status tensor_fit(baton_number number, baton_dtype dtype, tensor_compute compute, tensor_block *value,
                        baton_error *err) {
  int holds = baton_dtype_is_float(dtype) ? float_holds(dtype, number) : integer_holds(dtype, number);
  if (!holds)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%s does not fit %s", tensor_number_print(number).text,
                           baton_dtype_name(dtype));
  store_number(number, compute, value);
  return BATON_OK;
}
