/* vector_example_orchestration.c - f = (a+b+1)(a+b+2) + (a+b) in five tasks; each names those that it waits for. */
#include <baton/orchestration.h>

static baton_task submit(baton_orch *o, const char *kernel, const baton_arg *args, uint32_t nargs,
                         const baton_task *deps, uint32_t ndeps) {
  return baton_aiv(o, baton_kernel(o, kernel), args, nargs,
                   &(baton_task_options){.deps = deps, .ndeps = ndeps});
}

BATON_ORCHESTRATION(vector_example) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), f = baton_param(o, args, 2);
  baton_view c = baton_alloc(o, BATON_F32, a.ndim, a.shape);
  baton_task sum = submit(o, "add", BATON_ARGS(baton_input(a), baton_input(b), baton_output(c)), NULL, 0);
  BATON_SCOPE (o) {
    baton_view d = baton_alloc(o, BATON_F32, a.ndim, a.shape), e = baton_alloc(o, BATON_F32, a.ndim, a.shape);
    baton_view product = baton_alloc(o, BATON_F32, a.ndim, a.shape);
    baton_task factors[2] = {
        submit(o, "add_scalar", BATON_ARGS(baton_input(c), baton_output(d), baton_f32(1)), &sum, 1),
        submit(o, "add_scalar", BATON_ARGS(baton_input(c), baton_output(e), baton_f32(2)), &sum, 1)};
    baton_task both[2] = {
        sum, submit(o, "mul", BATON_ARGS(baton_input(d), baton_input(e), baton_output(product)), factors, 2)};
    submit(o, "add", BATON_ARGS(baton_input(product), baton_input(c), baton_output(f)), both, 2);
  }
}
