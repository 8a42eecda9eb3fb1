/* What baton-bench-orchestration runs: as a function of the program itself, and compiled at run time. Argument 0 has so many
** tiles of some elements, argument 1 says how many tasks to submit. */
#include <baton/orchestration.h>

BATON_ORCHESTRATION(bench_orchestrate);

BATON_ORCHESTRATION(bench_orchestrate) {
  baton_view counts = baton_param(o, args, 0);
  int64_t tasks = baton_scalar_i64(args, 1);
  int kernel = baton_kernel(o, "count_up");
  for (int64_t i = 0; i < tasks; i++)
    baton_aiv(o, kernel, BATON_ARGS(baton_inout(baton_select(counts, 0, i % counts.shape[0])), baton_f32(1)),
              NULL);
}
