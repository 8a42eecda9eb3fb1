/* Workers of a node that die, each a child. */
#include <baton/kernel.h>
#include <baton/node.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KERNEL        "#include <baton/kernel.h>\n#include <signal.h>\n#include <unistd.h>\n"
#define ORCHESTRATION "#include <baton/orchestration.h>\n"

static baton_error err;
static baton_program *deadly, *counter, *twice, *crash;

static void ok(baton_status status) {
  if (status != BATON_OK) fail_msg("%s", err.message ? err.message : "?");
}

static baton_program *host_function(const char *name, const char *code) {
  baton_program *program;
  const baton_kernel_options host = {.code = code};
  ok(baton_program_create(&(baton_program_options){.name = name, .host = &host}, &program, &err));
  return program;
}

/* x as it is on the device, and what the kernel makes of it. */
static baton_program *device_program(const char *code) {
  static const baton_parameter params[] = {{.name = "x", .direction = BATON_IN_OUT}};
  const baton_kernel_options kernel = {
      .name = "k", .core = BATON_AIV, .code = code, .params = params, .nparams = 1};
  baton_program *program;
  ok(baton_program_create(
      &(baton_program_options){.name = "p",
                               .params = params,
                               .nparams = 1,
                               .kernels = &kernel,
                               .nkernels = 1,
                               .orchestration_code =
                                   ORCHESTRATION "BATON_ORCHESTRATION(p) {\n"
                                                 "  baton_arg x = baton_untagged(baton_param(o, args, 0));\n"
                                                 "  baton_aiv(o, baton_kernel(o, \"k\"), &x, 1, 0);\n"
                                                 "}\n"},
      &program, &err));
  return program;
}

static int make_programs(void **state) {
  (void)state;
  deadly = host_function("deadly", KERNEL "BATON_KERNEL(deadly) { (void)args; kill(getpid(), SIGKILL); }\n");
  counter = host_function("counter", KERNEL "BATON_KERNEL(counter) { ++*baton_io(args, 0, int64_t); }\n");
  twice = device_program(KERNEL "BATON_KERNEL(k) { baton_io(args, 0, float)[0] *= 2; }\n");
  crash = device_program(KERNEL "BATON_KERNEL(k) { baton_io(args, 0, float)[0] = 99; raise(SIGTRAP); }\n");
  return 0;
}

static int drop_programs(void **state) {
  (void)state;
  baton_program_close(deadly);
  baton_program_close(counter);
  baton_program_close(twice);
  baton_program_close(crash);
  baton_error_clear(&err);
  return 0;
}

static baton_node *open_node(void) {
  static const baton_node_chip chips[] = {{.device = 0}};
  baton_node *node;
  ok(baton_node_open(
      &(baton_node_options){.chips = chips, .nchips = 1, .subs = 1, .isolation = BATON_PROCESS}, &node,
      &err));
  return node;
}

/* One task: which program, where, over what. */
typedef struct one {
  baton_program *program;
  int sub;
  baton_node_value value;
} one;

static baton_status submit_one(baton_node_orch *o, void *context, baton_error *failure) {
  const one *task = context;
  uint32_t count = task->value.tensor || task->value.view;
  if (task->sub) return baton_node_submit_sub(o, task->program, &task->value, count, NULL, NULL, failure);
  return baton_node_submit_next_level(o, task->program, &task->value, count, NULL, NULL, failure);
}

static baton_status run_one(baton_node *node, one task) {
  return baton_node_run_function(node, submit_one, &task, NULL, NULL, &err);
}

static void a_worker_that_dies_is_replaced(void **state) {
  (void)state;
  baton_node *node = open_node();
  baton_tensor *n;
  int64_t size = 1;
  ok(baton_tensor_zeros(BATON_I64, 1, &size, &n, &err));
  baton_handle handle;
  ok(baton_node_register(node, twice, &handle, &err)); /* which sub workers do not run */
  for (int sub = 0; sub <= 1; sub++)
    for (int times = 0; times < 3; times++) {
      assert_int_equal(run_one(node, (one){.program = deadly, .sub = sub}), BATON_WORKER_LOST);
      assert_int_equal(err.signal, 9);
      ok(run_one(node, (one){.program = counter, .sub = sub, .value = {.tensor = n}}));
    }
  assert_int_equal(*(int64_t *)baton_tensor_view(n)->data, 6);
  baton_tensor_close(n);
  baton_node_close(node);
}

static void buffers_outlive_the_child(void **state) {
  (void)state;
  baton_node *node = open_node();
  baton_tensor *x;
  baton_node_buffer *buffer, *spoiled;
  baton_view view, other;
  int64_t size = 1;
  ok(baton_tensor_zeros(BATON_F32, 1, &size, &x, &err));
  float *value = baton_tensor_view(x)->data;
  ok(baton_node_malloc(node, 0, 4, &buffer, &err));
  ok(baton_node_malloc(node, 0, 4, &spoiled, &err));
  ok(baton_node_buffer_tensor(buffer, BATON_F32, 1, &size, 0, &view, &err));
  ok(baton_node_buffer_tensor(spoiled, BATON_F32, 1, &size, 0, &other, &err));
  *value = 1;
  ok(baton_node_copy_to(node, buffer, x, NULL, &err));
  for (int times = 1; times <= 3; times++) {
    ok(run_one(node, (one){.program = twice, .value = {.buffer = buffer, .view = &view}}));
    assert_int_equal(run_one(node, (one){.program = crash, .value = {.buffer = spoiled, .view = &other}}),
                     BATON_KERNEL_CRASH);
    assert_string_equal(err.kernel, "k");
    ok(baton_node_copy_from(node, x, buffer, NULL, &err));
    assert_true(*value == (float)(1 << times));
    baton_node_worker worker;
    ok(baton_node_describe(node, 0, &worker, &err));
    assert_int_equal(worker.started, times + 1);
  }
  baton_tensor_close(x);
  baton_node_buffer_close(buffer);
  baton_node_buffer_close(spoiled);
  baton_node_close(node);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_worker_that_dies_is_replaced),
      cmocka_unit_test(buffers_outlive_the_child),
  };
  return cmocka_run_group_tests_name("node_faults", tests, make_programs, drop_programs);
}
