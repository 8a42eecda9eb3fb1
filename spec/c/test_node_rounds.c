/* Rounds of a node from C. */
#include <baton/kernel.h>
#include <baton/node.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static baton_error err;
static baton_program *add;
static baton_node *node;

#define assert_ok(call)                                                            \
  do {                                                                             \
    baton_status status_ = (call);                                                 \
    if (status_ != BATON_OK) print_error("%s\n", err.message ? err.message : "?"); \
    assert_int_equal(status_, BATON_OK);                                           \
  } while (0)

static void add_kernel(const baton_args *args) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
}

static void add_graph(baton_orch *o, const baton_args *args) {
  baton_aiv(o, baton_kernel(o, "add"),
            BATON_ARGS(baton_input(baton_param(o, args, 0)), baton_input(baton_param(o, args, 1)),
                       baton_output(baton_param(o, args, 2))),
            NULL);
}

static int open_all(void **state) {
  (void)state;
  static const baton_parameter params[] = {{.name = "a", .direction = BATON_IN},
                                           {.name = "b", .direction = BATON_IN},
                                           {.name = "c", .direction = BATON_OUT}};
  baton_kernel_options kernel = {.name = "add", .core = BATON_AIV, .function = add_kernel};
  baton_program_options options = {.name = "add",
                                   .params = params,
                                   .nparams = 3,
                                   .kernels = &kernel,
                                   .nkernels = 1,
                                   .orchestrate = add_graph};
  assert_ok(baton_program_create(&options, &add, &err));
  baton_node_chip chips[] = {{.device = 0}, {.device = 1}};
  assert_ok(baton_node_open(&(baton_node_options){.chips = chips, .nchips = 2}, &node, &err));
  return 0;
}

static int close_all(void **state) {
  (void)state;
  baton_node_close(node);
  baton_program_close(add);
  baton_error_clear(&err);
  return 0;
}

static baton_tensor *floats(float value) {
  baton_tensor *tensor;
  assert_ok(baton_tensor_empty(BATON_F32, 1, (int64_t[]){8}, &tensor, &err));
  for (int64_t i = 0; i < 8; i++) ((float *)baton_tensor_view(tensor)->data)[i] = value;
  return tensor;
}

static float first(const baton_tensor *tensor) { return ((const float *)baton_tensor_view(tensor)->data)[0]; }

typedef struct work {
  baton_tensor *a, *b, *c;
  int64_t seen, fails_in;
  baton_node_rounds *closes; /* from inside */
} work;

/* c = a + b */
static baton_status step(baton_node_orch *o, void *context, int64_t round, baton_error *failure) {
  work *w = context;
  baton_node_value values[] = {{.tensor = w->a}, {.tensor = w->b}, {.tensor = w->c}};
  w->seen = round;
  baton_node_rounds_close(w->closes);
  BATON_TRY(baton_node_submit_next_level(o, add, values, 3, NULL, NULL, failure));
  return round == w->fails_in ? baton_error_set(failure, BATON_USER_FAIL, "no more") : BATON_OK;
}

static void play(baton_node_rounds *rounds) {
  int over = 0;
  assert_ok(baton_node_rounds_init_round(rounds, NULL, 0, &err));
  assert_ok(baton_node_rounds_launch(rounds, &err));
  assert_ok(baton_node_rounds_finalize_round(rounds, -1, &over, &err));
  assert_true(over);
}

static void close_work(work *w) {
  baton_tensor_close(w->a);
  baton_tensor_close(w->b);
  baton_tensor_close(w->c);
}

static uint64_t sent(void) {
  baton_stats stats;
  assert_ok(baton_node_stats(node, BATON_ANY_WORKER, &stats, &err));
  return stats.bytes_to_device;
}

static void test_copies_residents_once(void **state) {
  (void)state;
  work w = {.a = floats(1), .b = floats(2), .c = floats(0)};
  baton_tensor *other = floats(10), *small;
  baton_node_rounds *rounds;
  baton_node_rounds_options options = {.function = step, .context = &w, .residents = &w.a, .nresidents = 1};
  uint64_t before = sent();
  assert_ok(baton_node_rounds_open(node, &options, &rounds, &err));
  for (int i = 1; i <= 3; i++) {
    play(rounds);
    assert_int_equal(w.seen, i);
    assert_true(first(w.c) == 3);
  }
  assert_int_equal(sent() - before, (1 + 3) * 32);
  baton_tensor_close(w.a);
  w.a = other;
  assert_ok(baton_node_rounds_init_round(rounds, &(baton_node_rebind){0, other}, 1, &err));
  assert_ok(baton_node_rounds_launch(rounds, &err));
  assert_ok(baton_node_rounds_finalize_round(rounds, -1, NULL, &err));
  assert_true(first(w.c) == 12);
  assert_int_equal(sent() - before, (2 + 4) * 32);
  assert_ok(baton_tensor_empty(BATON_F32, 1, (int64_t[]){4}, &small, &err));
  assert_int_equal(baton_node_rounds_init_round(rounds, &(baton_node_rebind){0, small}, 1, &err),
                   BATON_SIGNATURE);
  assert_int_equal(err.round, 5);
  assert_int_equal(baton_node_rounds_init_round(rounds, &(baton_node_rebind){1, other}, 1, &err),
                   BATON_OUT_OF_RANGE);
  play(rounds);
  baton_tensor_close(small);
  baton_node_rounds_close(rounds);
  close_work(&w);
}

static void test_goes_on_after_a_failure(void **state) {
  (void)state;
  work w = {.a = floats(1), .b = floats(2), .c = floats(0), .fails_in = 2};
  baton_node_rounds *rounds;
  baton_node_rounds_options options = {.function = step, .context = &w, .residents = &w.b, .nresidents = 1};
  assert_ok(baton_node_rounds_open(node, &options, &rounds, &err));
  assert_int_equal(baton_node_rounds_launch(rounds, &err), BATON_STATE);
  assert_string_equal(err.message, "launch: no round is open, call init_round first");
  play(rounds);
  assert_ok(baton_node_rounds_init_round(rounds, NULL, 0, &err));
  assert_int_equal(baton_node_rounds_launch(rounds, &err), BATON_USER_FAIL);
  assert_string_equal(err.message, "no more");
  assert_int_equal(err.round, 2);
  play(rounds);
  assert_true(baton_node_rounds_timing(rounds).tasks > 0);
  assert_ok(baton_node_rounds_finalize(rounds, &err));
  assert_int_equal(baton_node_rounds_init_round(rounds, NULL, 0, &err), BATON_CLOSED);
  baton_node_rounds_close(rounds);
  close_work(&w);
}

static void test_may_be_closed_from_inside(void **state) {
  (void)state;
  work w = {.a = floats(1), .b = floats(2), .c = floats(0)};
  baton_node_rounds *rounds;
  baton_node_rounds_options options = {.function = step, .context = &w};
  assert_ok(baton_node_rounds_open(node, &options, &rounds, &err));
  w.closes = rounds;
  assert_ok(baton_node_rounds_init_round(rounds, NULL, 0, &err));
  assert_ok(baton_node_rounds_launch(rounds, &err));
  close_work(&w);
}

/* The node ends first, with a round in flight and copies on its workers. */
static void test_outlives_its_node(void **state) {
  (void)state;
  work w = {.a = floats(1), .b = floats(2), .c = floats(0)};
  baton_node_rounds *rounds[2];
  baton_node_rounds_options options = {.function = step, .context = &w, .residents = &w.a, .nresidents = 1};
  for (int i = 0; i < 2; i++) {
    assert_ok(baton_node_rounds_open(node, &options, &rounds[i], &err));
    play(rounds[i]);
  }
  assert_ok(baton_node_rounds_init_round(rounds[0], NULL, 0, &err));
  assert_ok(baton_node_rounds_launch(rounds[0], &err));
  baton_node_close(node);
  node = NULL;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(baton_node_rounds_finalize_round(rounds[i], -1, NULL, &err), BATON_CLOSED);
    assert_ok(baton_node_rounds_finalize(rounds[i], &err));
    baton_node_rounds_close(rounds[i]);
  }
  close_work(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_copies_residents_once), cmocka_unit_test(test_goes_on_after_a_failure),
      cmocka_unit_test(test_may_be_closed_from_inside),
      cmocka_unit_test(test_outlives_its_node), /* the last one: it closes the node */
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
