/* vector.c - element by element over f32 vectors. */
#include <baton/kernel.h>

BATON_KERNEL(add) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
}

BATON_KERNEL(add_scalar) {
  const float *a = baton_in(args, 0, float);
  float *c = baton_out(args, 1, float), value = baton_scalar_f32(args, 2);
  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) c[i] = a[i] + value;
}

BATON_KERNEL(mul) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] * b[i];
}

/* Negative elements become 0, in place. */
BATON_KERNEL(relu) {
  float *x = baton_io(args, 0, float);
  for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++)
    if (x[i] < 0) x[i] = 0;
}
