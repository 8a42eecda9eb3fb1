/* Element types by name, and what becomes of two of them. */
#include "tensor/tensor.h"
#include <string.h>

static const char *const dtype_names[BATON_DTYPE_COUNT] = {
    "none", "f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"};

const char *baton_dtype_name(baton_dtype dtype) {
  return dtype > BATON_NO_DTYPE && dtype < BATON_DTYPE_COUNT ? dtype_names[dtype] : "?";
}

baton_dtype baton_dtype_from_name(const char *name) {
  for (int dtype = BATON_F64; dtype < BATON_DTYPE_COUNT; dtype++)
    if (!strcmp(name, dtype_names[dtype])) return (baton_dtype)dtype;
  return BATON_NO_DTYPE;
}

static baton_dtype promote_floats(baton_dtype a, baton_dtype b) {
  if (!baton_dtype_is_float(b)) return a;
  if (!baton_dtype_is_float(a)) return b;
  if (a == BATON_F64 || b == BATON_F64) return BATON_F64;
  return BATON_F32; /* of f16 and bf16 neither holds the other */
}

static baton_dtype signed_of_size(size_t size) {
  return size >= 8 ? BATON_I64 : size == 4 ? BATON_I32 : BATON_I16;
}

static baton_dtype promote_integers(baton_dtype a, baton_dtype b) {
  if (a == BATON_BOOL) return b;
  if (b == BATON_BOOL) return a;
  size_t size_a = baton_dtype_size(a), size_b = baton_dtype_size(b);
  if (baton_dtype_is_signed(a) == baton_dtype_is_signed(b)) return size_a >= size_b ? a : b;
  size_t size_signed = baton_dtype_is_signed(a) ? size_a : size_b;
  size_t size_unsigned = baton_dtype_is_signed(a) ? size_b : size_a;
  return signed_of_size(size_signed > size_unsigned ? size_signed : 2 * size_unsigned);
}

baton_dtype baton_dtype_promote(baton_dtype a, baton_dtype b) {
  if (a == BATON_BOOL && b == BATON_BOOL) return BATON_U8;
  if (a == b) return a;
  return baton_dtype_is_float(a) || baton_dtype_is_float(b) ? promote_floats(a, b) : promote_integers(a, b);
}

tensor_compute tensor_compute_of(baton_dtype dtype) {
  if (dtype == BATON_F64) return TENSOR_F64;
  if (baton_dtype_is_float(dtype)) return TENSOR_F32;
  return dtype == BATON_U64 ? TENSOR_U64 : TENSOR_I64;
}

size_t tensor_compute_size(tensor_compute compute) { return compute == TENSOR_F32 ? 4 : 8; }
