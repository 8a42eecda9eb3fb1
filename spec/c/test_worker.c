/* A C program that embeds Baton: kernels and the graph are plain functions of this process. */
#include <baton/baton.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4096 };

static void add(const baton_args *args) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
}

static void add_scalar(const baton_args *args) {
  const float *a = baton_in(args, 0, float);
  float *b = baton_out(args, 1, float), value = baton_scalar_f32(args, 2);
  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) b[i] = a[i] + value;
}

static void refuse(const baton_args *args) { baton_kernel_fail(args, "no more than %d", 7); }

static void misuse(const baton_args *args) { (void)baton_in(args, 0, double); }

/* f = (a + b + 1) + (a + b) in an inner scope. */
static void graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), f = baton_param(o, args, 2);
  int sum = baton_kernel(o, "add"), plus = baton_kernel(o, "add_scalar");
  baton_view c = baton_alloc(o, BATON_F32, a.ndim, a.shape), d;
  baton_task first = baton_aiv(o, sum, BATON_ARGS(baton_input(a), baton_input(b), baton_output(c)), NULL);
  BATON_SCOPE (o) {
    d = baton_alloc(o, BATON_F32, BATON_SHAPE(a.shape[0]));
    baton_aiv(o, plus, BATON_ARGS(baton_input(c), baton_output(d), baton_f32(1)),
              &(baton_task_options){.deps = &first, .ndeps = 1});
    baton_aiv(o, sum, BATON_ARGS(baton_input(d), baton_input(c), baton_output(f)), NULL);
  }
}

static void stale_graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), f = baton_param(o, args, 2), d = a;
  BATON_SCOPE (o) {
    d = baton_alloc(o, BATON_F32, a.ndim, a.shape);
  }
  baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(a), baton_input(d), baton_output(f)), NULL);
}

static void input_graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), f = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(f), baton_input(f), baton_output(a)), NULL);
}

static void overlap_graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), f = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, "add"),
            BATON_ARGS(baton_input(a), baton_input(baton_slice(f, 0, 10, 20)),
                       baton_output(baton_slice(f, 0, 0, 20))),
            NULL);
}

static void outside_graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0);
  baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(a), baton_input(baton_slice(a, 0, N - 1, 2))),
            NULL);
}

static void many_graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), f = baton_param(o, args, 2);
  int sum = baton_kernel(o, "add");
  for (int i = 0; i < 100; i++)
    baton_aiv(o, sum, BATON_ARGS(baton_input(a), baton_input(a), baton_inout(f)), NULL);
}

static void alloc_graph(baton_orch *o, const baton_args *args) {
  (void)args;
  for (int i = 0; i < 100; i++) (void)baton_alloc(o, BATON_F32, BATON_SHAPE(65536));
}

static void failing_graph(baton_orch *o, const baton_args *args) {
  (void)args;
  baton_orch_fail(o, "not on a %s", "Monday");
  assert_true(baton_is_failed(o));
  assert_int_equal(0, baton_clusters(o) == 0);
}

static void call_graph(baton_orch *o, const baton_args *args, const char *kernel) {
  baton_view a = baton_param(o, args, 0), f = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, kernel), BATON_ARGS(baton_input(a)), NULL);
  baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(a), baton_input(a), baton_output(f)), NULL);
}
static void refuse_graph(baton_orch *o, const baton_args *args) { call_graph(o, args, "refuse"); }
static void misuse_graph(baton_orch *o, const baton_args *args) { call_graph(o, args, "misuse"); }

typedef struct fixture {
  baton_worker *chip;
  baton_tensor *a, *b, *f;
  float data[3][N];
} fixture;

static const baton_parameter params[] = {{.name = "a", .direction = BATON_IN, .dtypes = 1u << BATON_F32},
                                         {.name = "b", .direction = BATON_IN, .dtypes = 1u << BATON_F32},
                                         {.name = "f", .direction = BATON_OUT, .dtypes = 1u << BATON_F32}};

static baton_program *program_of(baton_orchestrate orchestrate) {
  static const baton_kernel_options kernels[] = {
      {.name = "add", .core = BATON_AIV, .function = add},
      {.name = "add_scalar", .core = BATON_AIV, .function = add_scalar},
      {.name = "refuse", .core = BATON_AIV, .function = refuse},
      {.name = "misuse", .core = BATON_AIV, .function = misuse}};
  baton_program *program;
  baton_error err = {0};
  if (baton_program_create(&(baton_program_options){.name = "sum",
                                                    .params = params,
                                                    .nparams = 3,
                                                    .kernels = kernels,
                                                    .nkernels = sizeof kernels / sizeof *kernels,
                                                    .orchestrate = orchestrate},
                           &program, &err) != BATON_OK)
    fail_msg("%s", err.message);
  return program;
}

static int set_up(void **state) {
  fixture *fx = calloc(1, sizeof *fx);
  baton_error err = {0};
  const int64_t shape[] = {N};
  assert_int_equal(BATON_OK,
                   baton_worker_open(&(baton_worker_options){.platform = "a2a3sim"}, &fx->chip, &err));
  for (int i = 0; i < N; i++) {
    fx->data[0][i] = (float)i;
    fx->data[1][i] = 2;
    fx->data[2][i] = -1;
  }
  assert_int_equal(BATON_OK, baton_tensor_wrap(fx->data[0], BATON_F32, 1, shape, &fx->a, &err));
  assert_int_equal(BATON_OK, baton_tensor_wrap(fx->data[1], BATON_F32, 1, shape, &fx->b, &err));
  assert_int_equal(BATON_OK, baton_tensor_wrap(fx->data[2], BATON_F32, 1, shape, &fx->f, &err));
  *state = fx;
  return 0;
}

static int tear_down(void **state) {
  fixture *fx = *state;
  baton_worker_close(fx->chip);
  baton_tensor_close(fx->a);
  baton_tensor_close(fx->b);
  baton_tensor_close(fx->f);
  free(fx);
  return 0;
}

static baton_status run(fixture *fx, baton_orchestrate orchestrate, const baton_config *config,
                        baton_error *err) {
  const baton_value values[] = {{.tensor = fx->a}, {.tensor = fx->b}, {.tensor = fx->f}};
  baton_program *program = program_of(orchestrate);
  baton_status status = baton_worker_run(fx->chip, program, values, 3, config, NULL, err);
  baton_program_close(program);
  return status;
}

/* The run fails with this, no output has changed, and the worker still works. */
static void expect(fixture *fx, baton_orchestrate orchestrate, const baton_config *config, baton_status code,
                   const char *message) {
  baton_error err = {0};
  assert_int_equal(code, run(fx, orchestrate, config, &err));
  assert_string_equal(message, err.message);
  for (int i = 0; i < N; i++) assert_true(fx->data[2][i] == -1);
  baton_error_clear(&err);
  assert_int_equal(BATON_OK, run(fx, graph, NULL, &err));
  for (int i = 0; i < N; i++) assert_true(fx->data[2][i] == (float)(2 * (i + 2) + 1));
}

static void a_graph_of_plain_functions_gives_the_sequential_result(void **state) {
  fixture *fx = *state;
  baton_error err = {0};
  for (int round = 0; round < 50; round++) {
    fx->data[1][7] = (float)round;
    assert_int_equal(BATON_OK, run(fx, graph, NULL, &err));
    for (int i = 0; i < N; i++) assert_true(fx->data[2][i] == 2 * (fx->data[0][i] + fx->data[1][i]) + 1);
  }
}

static void a_stale_intermediate_names_its_scope(void **state) {
  expect(*state, stale_graph, NULL, BATON_STALE_HANDLE,
         "sum: task add: argument 2: an intermediate of scope 1 of this run, which has ended");
}

static void a_write_to_an_input_is_refused(void **state) {
  expect(*state, input_graph, NULL, BATON_SIGNATURE,
         "sum: task add: argument 3: writes a, which the program declares as an input");
}

static void overlapping_arguments_are_refused(void **state) {
  expect(*state, overlap_graph, NULL, BATON_SIGNATURE,
         "sum: task add: argument 3: overlaps argument 2, and one of them is written");
}

static void a_bad_view_is_refused(void **state) {
  expect(*state, outside_graph, NULL, BATON_OUT_OF_RANGE,
         "sum: task add: argument 2: the result of a view operation that does not fit its tensor");
}

static void a_full_window_is_named(void **state) {
  expect(*state, many_graph, &(baton_config){.ring_task_window = 16, .runtime = "host_build_graph"},
         BATON_WINDOW_FULL, "sum: task add: the window of 16 tasks is full: 16 are unfinished");
}

static void a_full_heap_is_named(void **state) {
  expect(*state, alloc_graph, &(baton_config){.ring_heap = 1 << 20, .runtime = "host_build_graph"},
         BATON_HEAP_FULL,
         "sum: alloc of 262144 bytes: the heap of 1048576 bytes is full: 1048576 in use, the largest free "
         "piece is 0; 4 "
         "blocks of 1048576 bytes belong to the open scope 0");
}

static void an_orchestration_may_fail_by_itself(void **state) {
  expect(*state, failing_graph, NULL, BATON_USER_FAIL, "not on a Monday");
}

static void a_kernel_may_fail_by_itself(void **state) {
  expect(*state, refuse_graph, NULL, BATON_USER_FAIL, "task refuse: kernel refuse: no more than 7");
}

static void a_kernel_that_misreads_its_arguments_fails(void **state) {
  expect(*state, misuse_graph, NULL, BATON_SIGNATURE,
         "task misuse: kernel misuse: argument 0 has elements of 4 bytes, the kernel reads it in units of 8");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_graph_of_plain_functions_gives_the_sequential_result),
      TEST(a_stale_intermediate_names_its_scope),
      TEST(a_write_to_an_input_is_refused),
      TEST(overlapping_arguments_are_refused),
      TEST(a_bad_view_is_refused),
      TEST(a_full_window_is_named),
      TEST(a_full_heap_is_named),
      TEST(an_orchestration_may_fail_by_itself),
      TEST(a_kernel_may_fail_by_itself),
      TEST(a_kernel_that_misreads_its_arguments_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
