/* regression.c - least squares over rows of examples: t ≈ x·w. */
#include <baton/kernel.h>

/* g = the sum over the rows of (x·w - t) x, loss = that of (x·w - t)² */
BATON_KERNEL(gradient) {
  const float *x = baton_in(args, 0, float), *t = baton_in(args, 1, float), *w = baton_in(args, 2, float);
  float *g = baton_out(args, 3, float), *loss = baton_out(args, 4, float);
  int64_t rows = baton_size(args, 0, 0), size = baton_size(args, 0, 1);
  for (int64_t i = 0; i < size; i++) g[i] = 0;
  loss[0] = 0;
  for (int64_t row = 0; row < rows; row++) {
    const float *example = x + row * size;
    float error = -t[row];
    for (int64_t i = 0; i < size; i++) error += example[i] * w[i];
    for (int64_t i = 0; i < size; i++) g[i] += error * example[i];
    loss[0] += error * error;
  }
}
