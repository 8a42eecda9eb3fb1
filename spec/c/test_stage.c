/* Memory that a caller wrapped, and workers that are other processes. */
#include "base/segment.h"
#include <baton/kernel.h>
#include <baton/node.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static baton_error err;
static baton_node *node;
static baton_program *add, *first_only, *count_up, *failing;

#define assert_ok(call)                                                            \
  do {                                                                             \
    baton_status status_ = (call);                                                 \
    if (status_ != BATON_OK) print_error("%s\n", err.message ? err.message : "?"); \
    assert_int_equal(status_, BATON_OK);                                           \
  } while (0)

static const char kernels[] =
    "#include <baton/kernel.h>\n"
    "void add(const baton_args *args) {\n"
    "  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);\n"
    "  float *c = baton_out(args, 2, float);\n"
    "  for (int64_t i = 0; i < baton_numel(args, 2); i++) c[i] = a[i] + b[i];\n"
    "}\n"
    "void first_only(const baton_args *args) { baton_out(args, 0, float)[0] = 7; }\n"
    "void failing(const baton_args *args) {\n"
    "  baton_io(args, 0, float)[0] = 7;\n"
    "  baton_kernel_fail(args, \"no luck\");\n"
    "}\n"
    "void count_up(const baton_args *args) {\n"
    "  const baton_view *v = baton_arg_tensor(args, 0);\n"
    "  for (int64_t i = 0; i < v->shape[0]; i++)\n"
    "    ((float *)v->data)[i * v->strides[0]] += 1;\n"
    "}\n";

static const char graph[] =
    "#include <baton/orchestration.h>\n"
    "void add_graph(baton_orch *o, const baton_args *args) {\n"
    "  baton_aiv(o, baton_kernel(o, \"add\"), BATON_ARGS(baton_input(baton_param(o, args, 0)),\n"
    "    baton_input(baton_param(o, args, 1)), baton_output(baton_param(o, args, 2))), NULL);\n"
    "}\n";

static baton_program *host_function(const char *name, baton_direction direction) {
  baton_program *program;
  const baton_parameter params[] = {{.name = "x", .direction = direction}};
  const baton_kernel_options host = {.name = name, .code = kernels, .entry = name};
  assert_ok(baton_program_create(
      &(baton_program_options){.name = name, .params = params, .nparams = 1, .host = &host}, &program, &err));
  return program;
}

static int open_all(void **state) {
  (void)state;
  static const baton_parameter params[] = {{.name = "a", .direction = BATON_IN},
                                           {.name = "b", .direction = BATON_IN},
                                           {.name = "c", .direction = BATON_OUT}};
  baton_kernel_options kernel = {.name = "add", .core = BATON_AIV, .code = kernels};
  assert_ok(baton_program_create(&(baton_program_options){.name = "add",
                                                          .params = params,
                                                          .nparams = 3,
                                                          .kernels = &kernel,
                                                          .nkernels = 1,
                                                          .orchestration_code = graph,
                                                          .orchestration_entry = "add_graph"},
                                 &add, &err));
  first_only = host_function("first_only", BATON_OUT);
  count_up = host_function("count_up", BATON_IN_OUT);
  failing = host_function("failing", BATON_IN_OUT);
  baton_node_chip chips[] = {{.device = 0}, {.device = 1}};
  assert_ok(baton_node_open(
      &(baton_node_options){.chips = chips, .nchips = 2, .subs = 1, .isolation = BATON_PROCESS}, &node,
      &err));
  return 0;
}

static int close_all(void **state) {
  (void)state;
  baton_node_close(node);
  baton_program_close(add);
  baton_program_close(first_only);
  baton_program_close(count_up);
  baton_program_close(failing);
  baton_error_clear(&err);
  return 0;
}

enum { N = 6 };

typedef struct fixture {
  float a[N], b[N], c[N];
  baton_tensor *ta, *tb, *tc;
} fixture;

static baton_tensor *wrap(float *data) {
  baton_tensor *tensor;
  assert_ok(baton_tensor_wrap(data, BATON_F32, 1, (int64_t[]){N}, &tensor, &err));
  return tensor;
}

static void open_fixture(fixture *fx) {
  for (int i = 0; i < N; i++) fx->a[i] = (float)i, fx->b[i] = 10, fx->c[i] = -1;
  fx->ta = wrap(fx->a);
  fx->tb = wrap(fx->b);
  fx->tc = wrap(fx->c);
}

static void close_fixture(const fixture *fx) {
  baton_tensor_close(fx->ta);
  baton_tensor_close(fx->tb);
  baton_tensor_close(fx->tc);
}

/* --- A chain of programs of the chips and of the host ----------------------------------------------------- */

/* c = (a + 1) + b, then c = c + c */
static baton_status chain(baton_node_orch *o, void *context, baton_error *failure) {
  const fixture *fx = context;
  baton_node_value x[] = {{.tensor = fx->ta}};
  baton_node_value sum[] = {{.tensor = fx->ta}, {.tensor = fx->tb}, {.tensor = fx->tc}};
  baton_node_value again[] = {{.tensor = fx->tc}, {.tensor = fx->ta}, {.tensor = fx->tb}};
  BATON_TRY(baton_node_submit_sub(o, count_up, x, 1, NULL, NULL, failure));
  BATON_TRY(
      baton_node_submit_next_level(o, add, sum, 3, &(baton_node_task_options){.worker = 0}, NULL, failure));
  return baton_node_submit_next_level(o, add, again, 3, &(baton_node_task_options){.worker = 1}, NULL,
                                      failure);
}

static void test_goes_there_and_back(void **state) {
  (void)state;
  fixture fx;
  open_fixture(&fx);
  uint64_t before = base_segment_live_bytes();
  assert_ok(baton_node_run_function(node, chain, &fx, NULL, NULL, &err));
  for (int i = 0; i < N; i++) {
    assert_true(fx.a[i] == (float)(i + 1));
    assert_true(fx.c[i] == (float)(i + 11));
    assert_true(fx.b[i] == (float)(2 * i + 12));
  }
  /* the engine of the run stays with the node; the copies do not */
  uint64_t once = base_segment_live_bytes();
  assert_ok(baton_node_run_function(node, chain, &fx, NULL, NULL, &err));
  assert_true(base_segment_live_bytes() == once);
  assert_true(once >= before);
  close_fixture(&fx);
}

/* --- Views ------------------------------------------------------------------------------------------------ */

typedef struct columns {
  baton_tensor *matrix;
  baton_tensor *even, *odd;
} columns;

static baton_status count_columns(baton_node_orch *o, void *context, baton_error *failure) {
  const columns *c = context;
  baton_node_value even[] = {{.tensor = c->even}}, odd[] = {{.tensor = c->odd}};
  for (int i = 0; i < 20; i++) {
    BATON_TRY(baton_node_submit_next_level(o, count_up, even, 1, &(baton_node_task_options){.worker = 0},
                                           NULL, failure));
    BATON_TRY(baton_node_submit_next_level(o, count_up, odd, 1, &(baton_node_task_options){.worker = 1}, NULL,
                                           failure));
  }
  return BATON_OK;
}

/* Columns that lie between each other are written by two workers at a time; a third one is nobody's. */
static void test_touches_only_the_elements_of_a_view(void **state) {
  (void)state;
  float data[N][3] = {{0}};
  columns c;
  assert_ok(baton_tensor_wrap(data, BATON_F32, 2, (int64_t[]){N, 3}, &c.matrix, &err));
  baton_view view = baton_select(*baton_tensor_view(c.matrix), 1, 0);
  assert_ok(baton_tensor_from_view(c.matrix, &view, &c.even, &err));
  view = baton_select(*baton_tensor_view(c.matrix), 1, 1);
  assert_ok(baton_tensor_from_view(c.matrix, &view, &c.odd, &err));
  assert_ok(baton_node_run_function(node, count_columns, &c, NULL, NULL, &err));
  for (int i = 0; i < N; i++) {
    assert_true(data[i][0] == 20);
    assert_true(data[i][1] == 20);
    assert_true(data[i][2] == 0);
  }
  baton_tensor_close(c.even);
  baton_tensor_close(c.odd);
  baton_tensor_close(c.matrix);
}

/* --- What is not written, and what fails ------------------------------------------------------------------- */

static baton_status write_one(baton_node_orch *o, void *context, baton_error *failure) {
  const fixture *fx = context;
  baton_node_value x[] = {{.tensor = fx->ta}};
  return baton_node_submit_sub(o, first_only, x, 1, NULL, NULL, failure);
}

static baton_status write_and_fail(baton_node_orch *o, void *context, baton_error *failure) {
  const fixture *fx = context;
  baton_node_value x[] = {{.tensor = fx->tb}};
  return baton_node_submit_next_level(o, failing, x, 1, NULL, NULL, failure);
}

static void test_keeps_what_a_task_does_not_write(void **state) {
  (void)state;
  fixture fx;
  open_fixture(&fx);
  assert_ok(baton_node_run_function(node, write_one, &fx, NULL, NULL, &err));
  assert_true(fx.a[0] == 7);
  for (int i = 1; i < N; i++) assert_true(fx.a[i] == (float)i);
  assert_int_equal(baton_node_run_function(node, write_and_fail, &fx, NULL, NULL, &err), BATON_USER_FAIL);
  assert_true(fx.b[0] == 10);
  close_fixture(&fx);
}

/* --- Copies ------------------------------------------------------------------------------------------------ */

static void test_is_copied_to_child_memory_and_back(void **state) {
  (void)state;
  fixture fx;
  baton_node_buffer *buffer;
  open_fixture(&fx);
  assert_ok(baton_node_malloc(node, 1, sizeof fx.a, &buffer, &err));
  assert_ok(baton_node_copy_to(node, buffer, fx.ta, NULL, &err));
  baton_copy_options two = {.offset = 2 * sizeof(float), .nbytes = 2 * sizeof(float)};
  assert_ok(baton_node_copy_from(node, fx.tb, buffer, &two, &err));
  const float expected[N] = {2, 3, 10, 10, 10, 10};
  assert_memory_equal(fx.b, expected, sizeof expected);
  baton_node_buffer_close(buffer);
  close_fixture(&fx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_goes_there_and_back),
      cmocka_unit_test(test_touches_only_the_elements_of_a_view),
      cmocka_unit_test(test_keeps_what_a_task_does_not_write),
      cmocka_unit_test(test_is_copied_to_child_memory_and_back),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
