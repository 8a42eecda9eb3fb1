/* bgemm_orchestration.c - the tasks of bgemm with their edges written down: a product before it is added, and the sums of
** a group one after the other. Each group is a scope. */
#include <baton/orchestration.h>

BATON_ORCHESTRATION(bgemm) {
  baton_view A = baton_param(o, args, 0), B = baton_param(o, args, 1), C = baton_param(o, args, 2);
  int multiply = baton_kernel(o, "matmul_tiles"), accumulate = baton_kernel(o, "accumulate");
  int64_t groups = A.shape[0], depth = A.shape[1], tiles = A.shape[2], size = A.shape[3];
  for (int64_t i = 0; i < groups; i++) {
    baton_view a = baton_select(A, 0, i), b = baton_select(B, 0, i), c = baton_slice(C, 0, i * tiles, tiles);
    baton_task sum = {0}; /* none yet */
    BATON_SCOPE (o) {
      for (int64_t k = 0; k < depth; k++) {
        baton_view product = baton_alloc(o, BATON_F32, BATON_SHAPE(tiles, size, size));
        baton_task before[2] = {
            baton_aic(o, multiply,
                      BATON_ARGS(baton_input(baton_select(a, 0, k)), baton_input(baton_select(b, 0, k)),
                                 baton_output(product)),
                      NULL),
            sum};
        sum = baton_aiv(o, accumulate, BATON_ARGS(baton_input(product), baton_inout(c)),
                        &(baton_task_options){.deps = before, .ndeps = 2});
      }
    }
  }
}
