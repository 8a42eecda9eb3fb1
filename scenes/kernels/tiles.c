/* tiles.c - lists of square f32 tiles, [count, size, size], one behind the other. */
#include <baton/kernel.h>

/* c = a·b, tile by tile */
BATON_KERNEL(matmul_tiles) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  int64_t count = baton_size(args, 2, 0), size = baton_size(args, 2, 1);
  for (int64_t row = 0; row < count * size; row++) {
    const float *tile = b + row / size * size * size;
    float *sums = c + row * size;
    for (int64_t j = 0; j < size; j++) sums[j] = 0;
    for (int64_t k = 0; k < size; k++) {
      float value = a[row * size + k];
      for (int64_t j = 0; j < size; j++) sums[j] += value * tile[k * size + j];
    }
  }
}

/* c += p */
BATON_KERNEL(accumulate) {
  const float *p = baton_in(args, 0, float);
  float *c = baton_io(args, 1, float);
  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) c[i] += p[i];
}
