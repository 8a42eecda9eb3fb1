/* baton/dtype.h - element types, and the two 16-bit floating-point formats. Usable in kernels: no libc. */
#ifndef BATON_DTYPE_H
#define BATON_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum baton_dtype {
  BATON_NO_DTYPE = 0,
  BATON_F64,
  BATON_F32,
  BATON_F16,
  BATON_BF16,
  BATON_I64,
  BATON_I32,
  BATON_I16,
  BATON_I8,
  BATON_U64,
  BATON_U32,
  BATON_U16,
  BATON_U8,
  BATON_BOOL,
  BATON_DTYPE_COUNT
} baton_dtype;

/* Bytes of one element; 0 for BATON_NO_DTYPE. */
static inline size_t baton_dtype_size(baton_dtype dtype) {
  return dtype == BATON_F64 || dtype == BATON_I64 || dtype == BATON_U64   ? 8
         : dtype == BATON_F32 || dtype == BATON_I32 || dtype == BATON_U32 ? 4
         : dtype == BATON_I8 || dtype == BATON_U8 || dtype == BATON_BOOL  ? 1
         : dtype == BATON_NO_DTYPE                                        ? 0
                                                                          : 2;
}

static inline int baton_dtype_is_float(baton_dtype dtype) {
  return dtype >= BATON_F64 && dtype <= BATON_BF16;
}
static inline int baton_dtype_is_signed(baton_dtype dtype) { return dtype >= BATON_F64 && dtype <= BATON_I8; }

/* Storage of the two 16-bit formats: IEEE 754 binary16, and the upper half of binary32 (bfloat16). */
typedef struct baton_f16 {
  uint16_t bits;
} baton_f16;
typedef struct baton_bf16 {
  uint16_t bits;
} baton_bf16;

static inline uint32_t baton_float_bits(float value) {
  union {
    float f;
    uint32_t u;
  } pun;
  pun.f = value;
  return pun.u;
}

static inline float baton_bits_float(uint32_t bits) {
  union {
    float f;
    uint32_t u;
  } pun;
  pun.u = bits;
  return pun.f;
}

static inline float baton_bf16_to_f32(baton_bf16 value) {
  return baton_bits_float((uint32_t)value.bits << 16);
}

/* Nearest even; a NaN stays a quiet NaN. */
static inline baton_bf16 baton_f32_to_bf16(float value) {
  uint32_t bits = baton_float_bits(value);
  baton_bf16 result;
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    result.bits = (uint16_t)((bits >> 16) | 0x40u);
  else
    result.bits = (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  return result;
}

static inline float baton_f16_to_f32(baton_f16 value) {
  uint32_t sign = (uint32_t)(value.bits & 0x8000u) << 16;
  uint32_t exponent = (value.bits >> 10) & 0x1fu, mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1f) return baton_bits_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return baton_bits_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  /* subnormal: mantissa * 2^-24, exact in binary32 */
  float magnitude = (float)mantissa * (1.0f / 16777216.0f);
  return baton_bits_float(sign | baton_float_bits(magnitude));
}

/* Nearest even, subnormals included; overflow gives infinity; a NaN stays a quiet NaN. */
static inline baton_f16 baton_f32_to_f16(float value) {
  uint32_t bits = baton_float_bits(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  baton_f16 result;
  if (magnitude > 0x7f800000u)
    result.bits = (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  else if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
    result.bits = (uint16_t)(sign | 0x7c00u);
  else if (magnitude >= 0x38800000u) { /* normal: rebias, round the 13 bits that go */
    uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
    result.bits = (uint16_t)(sign | (rounded >> 13));
  } else { /* subnormal: adding 0.5 lets the float adder round to multiples of 2^-24 */
    float shifted = baton_bits_float(magnitude) + 0.5f;
    result.bits = (uint16_t)(sign | (baton_float_bits(shifted) - 0x3f000000u));
  }
  return result;
}

#endif
