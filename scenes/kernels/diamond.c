/* diamond.c - the tasks of a diamond over [128, 128] tiles: a norm, two products of it with weights, and one tile of both
** products. Inputs and results are f16, products f32. */
#include <baton/kernel.h>
#include <math.h>

enum { SIZE = 128 };

/* b = √log a, element by element */
BATON_KERNEL(norm) {
  const baton_f16 *a = baton_in(args, 0, baton_f16);
  baton_f16 *b = baton_out(args, 1, baton_f16);
  for (int i = 0; i < SIZE * SIZE; i++) b[i] = baton_f32_to_f16(sqrtf(logf(baton_f16_to_f32(a[i]))));
}

/* c = a·w */
BATON_KERNEL(project) {
  const baton_f16 *a = baton_in(args, 0, baton_f16), *w = baton_in(args, 1, baton_f16);
  float *c = baton_out(args, 2, float), weights[SIZE * SIZE];
  for (int i = 0; i < SIZE * SIZE; i++) weights[i] = baton_f16_to_f32(w[i]);
  for (int i = 0; i < SIZE; i++) {
    float *sums = c + i * SIZE;
    for (int j = 0; j < SIZE; j++) sums[j] = 0;
    for (int k = 0; k < SIZE; k++) {
      float value = baton_f16_to_f32(a[i * SIZE + k]);
      for (int j = 0; j < SIZE; j++) sums[j] += value * weights[k * SIZE + j];
    }
  }
}

/* out = e^(left + right), element by element */
BATON_KERNEL(exp_sum) {
  const float *left = baton_in(args, 0, float), *right = baton_in(args, 1, float);
  baton_f16 *out = baton_out(args, 2, baton_f16);
  for (int i = 0; i < SIZE * SIZE; i++) out[i] = baton_f32_to_f16(expf(left[i] + right[i]));
}
