/* mixed.c - what the two vector cores of a cluster do with one list of arguments: the first adds, the second multiplies. */
#include <baton/kernel.h>

/* a1, b1, a2, b2, c1, c2: c1 = a1 + b1 on vector core 0, c2 = a2 · b2 on vector core 1 */
BATON_KERNEL(add_or_mul) {
  uint32_t lane = baton_sub_block(args);
  const float *a = baton_in(args, 2 * lane, float), *b = baton_in(args, 2 * lane + 1, float);
  float *c = baton_out(args, 4 + lane, float);
  for (int64_t i = 0, n = baton_numel(args, 4 + lane); i < n; i++) c[i] = lane ? a[i] * b[i] : a[i] + b[i];
}
