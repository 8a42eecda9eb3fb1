#include "chip/program/scalar.h"
#include "base/text.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* An integer of either signedness: `bits` in two's complement. */
typedef struct integer {
  int negative;
  uint64_t bits;
} integer;

static int64_t lowest(baton_dtype dtype) {
  return baton_dtype_is_signed(dtype) ? INT64_MIN >> (64 - 8 * baton_dtype_size(dtype)) : 0;
}

static uint64_t highest(baton_dtype dtype) {
  if (dtype == BATON_BOOL) return 1;
  uint64_t all = UINT64_MAX >> (64 - 8 * baton_dtype_size(dtype));
  return baton_dtype_is_signed(dtype) ? all >> 1 : all;
}

/* False if the value has a fraction or lies outside 64 bits. */
static int to_integer(const chip_value *value, integer *out) {
  if (!baton_dtype_is_float(value->dtype)) {
    out->negative = value->dtype < BATON_U64 || value->dtype == BATON_BOOL ? value->scalar.i64 < 0 : 0;
    out->bits = value->scalar.u64;
    return 1;
  }
  double number = value->scalar.f64;
  if (!(number >= -0x1p63 && number < 0x1p64) || number != trunc(number)) return 0;
  out->negative = number < 0;
  out->bits = number < 0 ? (uint64_t)(int64_t)number : (uint64_t)number;
  return 1;
}

static int convert_to_integer(chip_value *value, baton_dtype dtype) {
  integer number;
  if (!to_integer(value, &number)) return 0;
  if (number.negative ? (int64_t)number.bits < lowest(dtype) : number.bits > highest(dtype)) return 0;
  value->dtype = dtype;
  value->scalar.u64 = number.bits;
  return 1;
}

/* As the type stores it; infinite if it is too large for it. */
static double rounded(double number, baton_dtype dtype) {
  if (dtype == BATON_F64) return number;
  float narrow = (float)number;
  if (dtype == BATON_F16) return (double)baton_f16_to_f32(baton_f32_to_f16(narrow));
  if (dtype == BATON_BF16) return (double)baton_bf16_to_f32(baton_f32_to_bf16(narrow));
  return (double)narrow;
}

static int convert_to_float(chip_value *value, baton_dtype dtype) {
  integer whole = {0};
  double number = value->scalar.f64;
  if (!baton_dtype_is_float(value->dtype)) {
    (void)to_integer(value, &whole);
    number = whole.negative ? (double)(int64_t)whole.bits : (double)whole.bits;
  }
  double result = rounded(number, dtype);
  if (isinf(result) && !isinf(number)) return 0;
  value->dtype = dtype;
  value->scalar.f64 = result;
  return 1;
}

static int convert_to(chip_value *value, baton_dtype dtype) {
  return baton_dtype_is_float(dtype) ? convert_to_float(value, dtype) : convert_to_integer(value, dtype);
}

int chip_scalar_convert(chip_value *value, uint32_t dtypes) {
  if (dtypes & (1u << value->dtype)) return convert_to(value, value->dtype);
  int is_float = baton_dtype_is_float(value->dtype);
  for (int other = 0; other < 2; other++)
    for (baton_dtype dtype = BATON_F64; dtype < BATON_DTYPE_COUNT; dtype++) {
      int same_kind = baton_dtype_is_float(dtype) == is_float;
      if (!(dtypes & (1u << dtype)) || same_kind == other) continue;
      if (convert_to(value, dtype)) return 1;
    }
  return 0;
}

void chip_scalar_text(const chip_value *value, char text[CHIP_SCALAR_TEXT]) {
  integer whole;
  if (baton_dtype_is_float(value->dtype)) {
    base_print(text, CHIP_SCALAR_TEXT, "%.14g", value->scalar.f64);
    return;
  }
  (void)to_integer(value, &whole);
  if (whole.negative)
    snprintf(text, CHIP_SCALAR_TEXT, "%" PRId64, (int64_t)whole.bits);
  else
    snprintf(text, CHIP_SCALAR_TEXT, "%" PRIu64, whole.bits);
}

void chip_range_text(baton_dtype dtype, char text[CHIP_RANGE_TEXT]) {
  if (dtype == BATON_BOOL) {
    snprintf(text, CHIP_RANGE_TEXT, "0 and 1");
  } else if (baton_dtype_is_float(dtype)) {
    double largest = dtype == BATON_F64   ? DBL_MAX
                     : dtype == BATON_F32 ? (double)FLT_MAX
                     : dtype == BATON_F16 ? 65504
                                          : 0x1.fep127;
    base_print(text, CHIP_RANGE_TEXT, "magnitudes up to %.9g", largest);
  } else {
    snprintf(text, CHIP_RANGE_TEXT, "integers from %" PRId64 " to %" PRIu64, lowest(dtype), highest(dtype));
  }
}
