/* A node from C: both isolations, unless the worker program is missing. */
#include <baton/kernel.h>
#include <baton/node.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static baton_error err;

#define assert_ok(call)                                                            \
  do {                                                                             \
    baton_status status_ = (call);                                                 \
    if (status_ != BATON_OK) print_error("%s\n", err.message ? err.message : "?"); \
    assert_int_equal(status_, BATON_OK);                                           \
  } while (0)

static baton_program *add, *twice, *nothings, *counter, *failing, *dying, *endless;

/* A C function of the host; `body` is what it does with `args`. */
static baton_program *host_function(const char *name, const char *body, const baton_parameter *params,
                                    uint32_t count) {
  char code[1024];
  baton_program *program;
  snprintf(code, sizeof code, "#include <baton/kernel.h>\n%s\nBATON_KERNEL(f) { (void)args; %s }",
           strstr(body, "raise") ? "extern int raise(int);" : "", body);
  baton_kernel_options host = {.name = "f", .code = code};
  baton_program_options options = {.name = name, .params = params, .nparams = count, .host = &host};
  assert_ok(baton_program_create(&options, &program, &err));
  return program;
}

static const char add_code[] =
    "#include <baton/kernel.h>\n"
    "BATON_KERNEL(add) { const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);"
    " float *c = baton_out(args, 2, float);"
    " for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i]; }";
static const char add_graph[] =
    "#include <baton/orchestration.h>\n"
    "BATON_ORCHESTRATION(add) { baton_aiv(o, baton_kernel(o, \"add\"), BATON_ARGS(baton_input(baton_param(o, "
    "args, 0)),"
    " baton_input(baton_param(o, args, 1)), baton_output(baton_param(o, args, 2))), NULL); }";

static int make_programs(void **state) {
  (void)state;
  static const baton_parameter add_params[] = {{.name = "a", .direction = BATON_IN},
                                               {.name = "b", .direction = BATON_IN},
                                               {.name = "c", .direction = BATON_OUT}};
  static const baton_parameter scale_params[] = {{.name = "a", .direction = BATON_IN},
                                                 {.name = "b", .direction = BATON_OUT}};
  static const baton_parameter count_params[] = {{.name = "n", .direction = BATON_IN_OUT}};
  baton_kernel_options kernel = {.name = "add", .core = BATON_AIV, .code = add_code};
  assert_ok(baton_program_create(&(baton_program_options){.name = "add",
                                                          .params = add_params,
                                                          .nparams = 3,
                                                          .kernels = &kernel,
                                                          .nkernels = 1,
                                                          .orchestration_code = add_graph},
                                 &add, &err));
  twice = host_function("twice",
                        "const float *a = baton_in(args, 0, float); float *b = baton_out(args, 1, float);"
                        "for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) b[i] = 2 * a[i];",
                        scale_params, 2);
  nothings = host_function("nothing", "", NULL, 0);
  counter = host_function("counter", "baton_io(args, 0, int64_t)[0]++;", count_params, 1);
  failing = host_function("failing", "baton_kernel_fail(args, \"no luck\");", count_params, 1);
  dying = host_function("dying", "raise(9);", count_params, 1);
  endless = host_function("endless", "for (volatile int i = 0; ; ) (void)i;", NULL, 0);
  return 0;
}

static int drop_programs(void **state) {
  (void)state;
  baton_program_close(add);
  baton_program_close(twice);
  baton_program_close(nothings);
  baton_program_close(counter);
  baton_program_close(failing);
  baton_program_close(dying);
  baton_program_close(endless);
  baton_error_clear(&err);
  return 0;
}

static baton_isolation isolation;

static int use_threads(void **state) {
  (void)state;
  isolation = BATON_THREAD;
  return 0;
}

static int use_processes(void **state) {
  (void)state;
  isolation = BATON_PROCESS;
  return 0;
}

static baton_node *open_node(uint32_t chips, uint32_t subs) {
  static const baton_node_chip devices[] = {{.device = 0}, {.device = 1}, {.device = 2}};
  baton_node *node;
  assert_ok(baton_node_open(
      &(baton_node_options){.chips = devices, .nchips = chips, .subs = subs, .isolation = isolation}, &node,
      &err));
  return node;
}

static baton_tensor *floats(int64_t n, float value) {
  baton_tensor *tensor;
  assert_ok(baton_tensor_empty(BATON_F32, 1, &n, &tensor, &err));
  for (int64_t i = 0; i < n; i++) ((float *)baton_tensor_view(tensor)->data)[i] = value;
  return tensor;
}

static float first(const baton_tensor *tensor) { return ((const float *)baton_tensor_view(tensor)->data)[0]; }

/* --- A run ---------------------------------------------------------------------------------------------- */

typedef struct three {
  baton_tensor *a, *b, *c;
} three;

/* c = 2 * (a + b), by way of worker 0 and a sub worker. */
static baton_status add_and_double(baton_node_orch *o, void *context, baton_error *failure) {
  const three *t = context;
  baton_view sum;
  int64_t n = baton_tensor_view(t->a)->shape[0];
  BATON_TRY(baton_node_alloc(o, BATON_F32, 1, &n, &sum, failure));
  baton_node_value first_values[] = {{.tensor = t->a}, {.tensor = t->b}, {.view = &sum}};
  BATON_TRY(baton_node_submit_next_level(o, add, first_values, 3, NULL, NULL, failure));
  baton_node_value second_values[] = {{.view = &sum}, {.tensor = t->c}};
  return baton_node_submit_sub(o, twice, second_values, 2, NULL, NULL, failure);
}

static void test_runs_tasks_in_order(void **state) {
  (void)state;
  baton_node *node = open_node(2, 1);
  three t = {floats(1000, 1), floats(1000, 2), floats(1000, 0)};
  for (int i = 0; i < 100; i++)
    assert_ok(baton_node_run_function(node, add_and_double, &t, NULL, NULL, &err));
  assert_true(first(t.c) == 6);
  baton_tensor_close(t.a);
  baton_tensor_close(t.b);
  baton_tensor_close(t.c);
  baton_node_close(node);
}

/* Leaves three scopes open, each with an intermediate. */
static baton_status leave_scopes_open(baton_node_orch *o, void *context, baton_error *failure) {
  for (int depth = 0; depth < 3; depth++) {
    BATON_TRY(baton_node_scope_begin(o, failure));
    BATON_TRY(add_and_double(o, context, failure));
  }
  return BATON_OK;
}

static baton_status end_what_never_began(baton_node_orch *o, void *context, baton_error *failure) {
  (void)context;
  return baton_node_scope_end(o, failure);
}

static void test_scopes_end_with_the_function(void **state) {
  (void)state;
  baton_node *node = open_node(2, 1);
  three t = {floats(1000, 1), floats(1000, 2), floats(1000, 0)};
  for (int i = 0; i < 100; i++)
    assert_ok(baton_node_run_function(node, leave_scopes_open, &t, NULL, NULL, &err));
  assert_true(first(t.c) == 6);
  assert_int_equal(baton_node_run_function(node, end_what_never_began, NULL, NULL, NULL, &err), BATON_STATE);
  assert_ok(baton_node_run_function(node, add_and_double, &t, NULL, NULL, &err));
  baton_tensor_close(t.a);
  baton_tensor_close(t.b);
  baton_tensor_close(t.c);
  baton_node_close(node);
}

/* --- Child memory --------------------------------------------------------------------------------------- */

static baton_status add_on_devices(baton_node_orch *o, void *context, baton_error *failure) {
  const three *t = context;
  int64_t n = baton_tensor_view(t->a)->shape[0];
  for (uint32_t worker = 0; worker < 2; worker++) {
    baton_node_buffer *a, *c;
    baton_view view_a, view_c;
    BATON_TRY(baton_node_orch_malloc(o, worker, (uint64_t)n * 4, &a, failure));
    BATON_TRY(baton_node_orch_malloc(o, worker, (uint64_t)n * 4, &c, failure));
    BATON_TRY(baton_node_buffer_tensor(a, BATON_F32, 1, &n, 0, &view_a, failure));
    BATON_TRY(baton_node_buffer_tensor(c, BATON_F32, 1, &n, 0, &view_c, failure));
    BATON_TRY(baton_node_orch_copy_to(o, a, worker ? t->b : t->a, NULL, NULL, failure));
    baton_node_value values[] = {
        {.buffer = a, .view = &view_a}, {.tensor = t->a}, {.buffer = c, .view = &view_c}};
    BATON_TRY(baton_node_submit_next_level(o, add, values, 3, NULL, NULL, failure));
    BATON_TRY(baton_node_orch_copy_from(o, t->c, c, NULL, NULL, failure));
    BATON_TRY(baton_node_orch_free(o, a, failure));
    BATON_TRY(baton_node_wait(o, NULL, failure));
    assert_true(first(t->c) == (worker ? 1 + first(t->b) : 2));
    baton_node_buffer_close(a);
    baton_node_buffer_close(c);
  }
  return BATON_OK;
}

static void test_reads_back_inside_the_function(void **state) {
  (void)state;
  baton_node *node = open_node(2, 0);
  three t = {floats(256, 1), floats(256, 5), floats(256, 0)};
  for (int i = 0; i < 20; i++) assert_ok(baton_node_run_function(node, add_on_devices, &t, NULL, NULL, &err));
  baton_tensor_close(t.a);
  baton_tensor_close(t.b);
  baton_tensor_close(t.c);
  baton_node_close(node);
}

/* --- Many tasks ----------------------------------------------------------------------------------------- */

static int is_small(void) { return getenv("BATON_TEST_SMALL") != NULL; }

/* More than the window has. */
static int many(void) { return is_small() ? 20000 : 50000; }

static baton_status chain(baton_node_orch *o, void *context, baton_error *failure) {
  baton_node_value value = {.tensor = context};
  for (int i = 0; i < many(); i++)
    BATON_TRY(baton_node_submit_next_level(o, counter, &value, 1, NULL, NULL, failure));
  return BATON_OK;
}

static void test_chain_longer_than_the_window(void **state) {
  (void)state;
  baton_node *node = open_node(2, 0);
  baton_tensor *n;
  assert_ok(baton_tensor_zeros(BATON_I64, 1, (int64_t[]){1}, &n, &err));
  assert_ok(baton_node_run_function(node, chain, n, NULL, NULL, &err));
  assert_int_equal(((const int64_t *)baton_tensor_view(n)->data)[0], many());
  baton_tensor_close(n);
  baton_node_close(node);
}

static baton_status failing_chain(baton_node_orch *o, void *context, baton_error *failure) {
  baton_node_value value = {.tensor = context};
  BATON_TRY(baton_node_submit_next_level(o, failing, &value, 1, NULL, NULL, failure));
  return chain(o, context, failure);
}

static void test_failure_poisons_the_chain(void **state) {
  (void)state;
  baton_node *node = open_node(2, 0);
  baton_tensor *n;
  assert_ok(baton_tensor_zeros(BATON_I64, 1, (int64_t[]){1}, &n, &err));
  assert_int_equal(baton_node_run_function(node, failing_chain, n, NULL, NULL, &err), BATON_USER_FAIL);
  assert_non_null(strstr(err.message, "no luck"));
  assert_int_equal(((const int64_t *)baton_tensor_view(n)->data)[0], 0);
  assert_ok(baton_node_run_function(node, chain, n, NULL, NULL, &err));
  assert_int_equal(((const int64_t *)baton_tensor_view(n)->data)[0], many());
  baton_tensor_close(n);
  baton_node_close(node);
}

/* --- Runs in flight ------------------------------------------------------------------------------------- */

static void test_several_runs_in_flight(void **state) {
  (void)state;
  baton_node *node = open_node(1, 0);
  baton_node_run *runs[8];
  baton_tensor *n;
  assert_ok(baton_tensor_zeros(BATON_I64, 1, (int64_t[]){1}, &n, &err));
  for (int i = 0; i < 8; i++) assert_ok(baton_node_submit(node, chain, n, NULL, &runs[i], &err));
  for (int i = 7; i >= 0; i--) {
    assert_ok(baton_node_run_wait(runs[i], -1, NULL, &err));
    baton_node_run_close(runs[i]);
  }
  assert_int_equal(((const int64_t *)baton_tensor_view(n)->data)[0], 8 * many());
  baton_tensor_close(n);
  baton_node_close(node);
}

/* --- Groups --------------------------------------------------------------------------------------------- */

static baton_status mixed_groups(baton_node_orch *o, void *context, baton_error *failure) {
  (void)context;
  for (int i = 0; i < 1000; i++) {
    baton_node_member members[2] = {{.worker = i % 3 ? 0 : BATON_ANY_WORKER},
                                    {.worker = i % 2 ? 1 : BATON_ANY_WORKER}};
    baton_node_task_options options = {.worker = i % 2, .priority = i % 5};
    BATON_TRY(baton_node_submit_next_level(o, nothings, NULL, 0, &options, NULL, failure));
    BATON_TRY(baton_node_submit_next_level_group(o, nothings, members, 2, NULL, NULL, failure));
    BATON_TRY(baton_node_submit_next_level(o, nothings, NULL, 0, NULL, NULL, failure));
  }
  return BATON_OK;
}

static void test_groups_and_singles_all_end(void **state) {
  (void)state;
  baton_node *node = open_node(2, 0);
  assert_ok(baton_node_run_function(node, mixed_groups, NULL, NULL, NULL, &err));
  baton_stats stats;
  assert_ok(baton_node_stats(node, BATON_ANY_WORKER, &stats, &err));
  assert_int_equal(stats.tasks, 3000);
  baton_node_close(node);
}

static baton_status mixed_singles(baton_node_orch *o, void *context, baton_error *failure) {
  (void)context;
  for (int i = 0; i < 100; i++)
    BATON_TRY(baton_node_submit_next_level(o, nothings, NULL, 0, NULL, NULL, failure));
  return BATON_OK;
}

/* --- Deaths --------------------------------------------------------------------------------------------- */

static baton_status kill_and_count(baton_node_orch *o, void *context, baton_error *failure) {
  baton_node_value value = {.tensor = context};
  baton_node_task_options first = {.worker = 0}, other = {.worker = 1};
  BATON_TRY(baton_node_submit_next_level(o, dying, &value, 1, &first, NULL, failure));
  BATON_TRY(baton_node_submit_next_level(o, counter, &value, 1, &first, NULL, failure)); /* depends on it */
  BATON_TRY(baton_node_submit_next_level(o, nothings, NULL, 0, &first, NULL, failure));
  return baton_node_submit_next_level(o, nothings, NULL, 0, &other, NULL, failure);
}

static void test_dead_child_is_replaced(void **state) {
  (void)state;
  if (isolation == BATON_THREAD) skip();
  baton_node *node = open_node(2, 0);
  baton_tensor *n;
  baton_node_buffer *kept;
  int64_t out = 0;
  assert_ok(baton_tensor_zeros(BATON_I64, 1, (int64_t[]){1}, &n, &err));
  assert_ok(baton_node_malloc(node, 0, 8, &kept, &err));
  ((int64_t *)baton_tensor_view(n)->data)[0] = 41;
  assert_ok(baton_node_copy_to(node, kept, n, NULL, &err));
  for (int i = 0, deaths = is_small() ? 5 : 20; i < deaths; i++) {
    assert_int_equal(baton_node_run_function(node, kill_and_count, n, NULL, NULL, &err), BATON_WORKER_LOST);
    assert_true(err.known & BATON_KNOWN_SIGNAL && err.signal == 9);
    assert_true(err.known & BATON_KNOWN_WORKER && err.worker == 0);
    assert_ok(baton_node_copy_from(node, n, kept, NULL, &err));
    memcpy(&out, baton_tensor_view(n)->data, sizeof out);
    assert_int_equal(out, 41 + i);
    assert_ok(baton_node_run_function(node, chain, n, NULL, NULL, &err));
    ((int64_t *)baton_tensor_view(n)->data)[0] = 42 + i;
    assert_ok(baton_node_copy_to(node, kept, n, NULL, &err));
  }
  baton_node_buffer_close(kept);
  baton_tensor_close(n);
  baton_node_close(node);
}

static baton_status submit_endless(baton_node_orch *o, void *context, baton_error *failure) {
  (void)context;
  return baton_node_submit_next_level(o, endless, NULL, 0, NULL, NULL, failure);
}

static void test_endless_function_is_left_by_force(void **state) {
  (void)state;
  if (isolation == BATON_THREAD) skip();
  baton_node *node = open_node(1, 0);
  baton_config config = {.timeout = 0.1};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(baton_node_run_function(node, submit_endless, NULL, &config, NULL, &err),
                     BATON_OP_TIMEOUT);
    assert_ok(baton_node_run_function(node, mixed_singles, NULL, NULL, NULL, &err));
  }
  baton_node_close(node);
}

/* --- Nodes of nodes ------------------------------------------------------------------------------------- */

static baton_status add_on_both(baton_node_orch *o, void *context, baton_error *failure) {
  const three *t = context;
  baton_node_value first_values[] = {{.tensor = t->a}, {.tensor = t->b}, {.tensor = t->c}};
  baton_node_value second_values[] = {{.tensor = t->c}, {.tensor = t->a}};
  baton_node_task_options options = {.worker = 0};
  BATON_TRY(baton_node_submit_next_level(o, add, first_values, 3, &options, NULL, failure));
  options.worker = 1;
  return baton_node_submit_next_level(o, twice, second_values, 2, &options, NULL, failure);
}

static baton_status fail_on_second(baton_node_orch *o, void *context, baton_error *failure) {
  const three *t = context;
  baton_node_value value = {.tensor = t->a};
  baton_node_task_options options = {.worker = 1};
  return baton_node_submit_next_level(o, failing, &value, 1, &options, NULL, failure);
}

/* One child has a chip in a process of its own, the other has sub workers only. */
static void test_children_are_nodes(void **state) {
  static const baton_node_chip device = {.device = 3};
  static const baton_node_options children[] = {{.chips = &device, .nchips = 1, .isolation = BATON_PROCESS},
                                                {.subs = 2}};
  (void)state;
  baton_node *node;
  baton_node_buffer *buffer;
  three t = {floats(1000, 1), floats(1000, 2), floats(1000, 0)};
  assert_ok(baton_node_open(&(baton_node_options){.children = children, .nchildren = 2}, &node, &err));
  assert_int_equal(baton_node_workers(node), 2);
  for (int i = 0; i < 3; i++) assert_ok(baton_node_run_function(node, add_on_both, &t, NULL, NULL, &err));
  assert_true(first(t.c) == 18);
  assert_true(first(t.a) == 36);
  assert_int_equal(baton_node_malloc(node, 0, 64, &buffer, &err), BATON_UNSUPPORTED);
  assert_int_equal(baton_node_run_function(node, fail_on_second, &t, NULL, NULL, &err), BATON_USER_FAIL);
  assert_string_equal(err.path, "node 1");
  assert_int_equal(err.known & BATON_KNOWN_WORKER, 0);
  baton_node_close(node);
  baton_tensor_close(t.a);
  baton_tensor_close(t.b);
  baton_tensor_close(t.c);
}

static void test_children_have_no_children(void **state) {
  static const baton_node_options leaf = {.subs = 1};
  static const baton_node_options child = {.children = &leaf, .nchildren = 1};
  (void)state;
  baton_node *node;
  assert_int_equal(baton_node_open(&(baton_node_options){.children = &child, .nchildren = 1}, &node, &err),
                   BATON_UNSUPPORTED);
  assert_string_equal(err.message, "child 0: it has children itself: there are four levels");
}

#define BOTH(test) \
  cmocka_unit_test_setup(test, use_threads), { #test " (process)", test, use_processes, NULL, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(test_runs_tasks_in_order),
      BOTH(test_reads_back_inside_the_function),
      BOTH(test_scopes_end_with_the_function),
      BOTH(test_chain_longer_than_the_window),
      BOTH(test_failure_poisons_the_chain),
      BOTH(test_several_runs_in_flight),
      BOTH(test_groups_and_singles_all_end),
      BOTH(test_dead_child_is_replaced),
      BOTH(test_endless_function_is_left_by_force),
      cmocka_unit_test(test_children_are_nodes),
      cmocka_unit_test(test_children_have_no_children),
  };
  return cmocka_run_group_tests(tests, make_programs, drop_programs);
}
