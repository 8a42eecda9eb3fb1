/* vector_add_orchestration.c - c = a + b, one task for each piece of the vectors. */
#include <baton/orchestration.h>

enum { PIECE = 16384 };

BATON_ORCHESTRATION(vector_add) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  int add = baton_kernel(o, "add");
  for (int64_t first = 0, n = baton_view_numel(&c); first < n; first += PIECE) {
    int64_t count = n - first < PIECE ? n - first : PIECE;
    baton_aiv(o, add,
              BATON_ARGS(baton_input(baton_slice(a, 0, first, count)),
                         baton_input(baton_slice(b, 0, first, count)),
                         baton_output(baton_slice(c, 0, first, count))),
              NULL);
  }
}
