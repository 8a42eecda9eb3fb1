/* A chip by itself whose kernels run in a child, from C: the calls are those of any chip, and what goes wrong in a kernel costs its
** run. */
#include <baton/baton.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 256 };

static const char code[] =
    "#include <baton/kernel.h>\n"
    "#include <sched.h>\n"
    "#include <signal.h>\n"
    "#include <stdlib.h>\n"
    "#include <time.h>\n"
    "#include <unistd.h>\n"
    "BATON_KERNEL(scale) { /* y = factor x */\n"
    "  const float *x = baton_in(args, 0, float);\n"
    "  float factor = baton_scalar_f32(args, 2);\n"
    "  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) baton_out(args, 1, float)[i] = factor * "
    "x[i];\n"
    "}\n"
    "BATON_KERNEL(hold) { /* lasts until there is a file that the environment names; x += 1 */\n"
    "  for (time_t last = time(0) + 200; access(getenv(\"BATON_TEST_GATE\"), F_OK) != 0; sched_yield())\n"
    "    if (time(0) > last) baton_kernel_fail(args, \"the gate is closed\");\n"
    "  baton_io(args, 0, float)[0] += 1;\n"
    "}\n"
    "BATON_KERNEL(end) { /* first writes what nobody shall see */\n"
    "  baton_io(args, 0, float)[0] = 99;\n"
    "  switch (baton_scalar_i64(args, 1)) {\n"
    "  case 0: *(volatile int *)8 = 1; break;\n"
    "  case 1: abort();\n"
    "  case 2: _exit(7);\n"
    "  default: kill(getpid(), SIGKILL); pause();\n"
    "  }\n"
    "}\n";

static baton_error err;
static baton_program *scale, *hold, *end;
static baton_worker *chip;

static void ok(baton_status status) {
  if (status != BATON_OK) fail_msg("%s: %s", baton_status_word(status), err.message ? err.message : "?");
}

static void refused(baton_status expected, baton_status status) {
  if (status != expected)
    fail_msg("%s expected, got %s: %s", baton_status_word(expected), baton_status_word(status),
             status && err.message ? err.message : "");
}

static baton_program *program(const char *kernel, const baton_parameter *params, uint32_t nparams,
                              const char *values) {
  char orchestration[512];
  baton_program *made;
  snprintf(orchestration, sizeof orchestration,
           "#include <baton/orchestration.h>\n"
           "BATON_ORCHESTRATION(f) { baton_aiv(o, baton_kernel(o, \"%s\"), BATON_ARGS(%s), NULL); }\n",
           kernel, values);
  const baton_kernel_options kernels = {.name = kernel, .core = BATON_AIV, .code = code};
  ok(baton_program_create(&(baton_program_options){.name = kernel,
                                                   .params = params,
                                                   .nparams = nparams,
                                                   .kernels = &kernels,
                                                   .nkernels = 1,
                                                   .orchestration_code = orchestration,
                                                   .orchestration_entry = "f"},
                          &made, &err));
  return made;
}

static int make_programs(void **state) {
  (void)state;
  static const baton_parameter x_y_factor[] = {{.name = "x", .direction = BATON_IN},
                                               {.name = "y", .direction = BATON_OUT},
                                               {.name = "factor", .direction = BATON_BY_VALUE}};
  static const baton_parameter x_how[] = {{.name = "x", .direction = BATON_IN_OUT},
                                          {.name = "how", .direction = BATON_BY_VALUE}};
  scale = program("scale", x_y_factor, 3,
                  "baton_input(baton_param(o, args, 0)), baton_output(baton_param(o, args, 1)), "
                  "baton_f32(baton_scalar_f32(args, 2))");
  hold = program("hold", x_how, 1, "baton_inout(baton_param(o, args, 0))");
  end =
      program("end", x_how, 2, "baton_inout(baton_param(o, args, 0)), baton_i64(baton_scalar_i64(args, 1))");
  return 0;
}

static int drop_programs(void **state) {
  (void)state;
  baton_program_close(scale);
  baton_program_close(hold);
  baton_program_close(end);
  baton_error_clear(&err);
  return 0;
}

/* --- A chip --------------------------------------------------------------------------------------------- */

static char gate[] = "/tmp/baton-gate-XXXXXX";

static void close_gate(void) { (void)unlink(gate); }

static void open_gate(void) {
  FILE *file = fopen(gate, "w");
  assert_non_null(file);
  fclose(file);
}

static int open_chip(void **state) {
  (void)state;
  if (setenv("BATON_TEST_GATE", gate, 1) != 0) return -1; /* children get the environment of their start */
  close_gate();
  ok(baton_worker_open(&(baton_worker_options){.isolation = BATON_PROCESS, .config = {.timeout = 200}}, &chip,
                       &err));
  return 0;
}

static int close_chip(void **state) {
  (void)state;
  baton_worker_close(chip);
  close_gate();
  return 0;
}

static baton_tensor *floats(float value) {
  baton_tensor *made;
  ok(baton_tensor_full(BATON_F32, 1, (const int64_t[]){N}, baton_number_f64(value), &made, &err));
  return made;
}

static float last(const baton_tensor *t) { return ((const float *)baton_tensor_view(t)->data)[N - 1]; }
static float first(const baton_tensor *t) { return ((const float *)baton_tensor_view(t)->data)[0]; }

static baton_value number(double value) { return (baton_value){.dtype = BATON_F64, .scalar.f64 = value}; }

static uint64_t children(void) {
  baton_stats stats;
  baton_worker_stats(chip, &stats);
  return stats.children_started;
}

static void it_computes(void) {
  baton_tensor *x = floats(3), *y = floats(0);
  const baton_value values[] = {{.tensor = x}, {.tensor = y}, number(2)};
  ok(baton_worker_run(chip, scale, values, 3, NULL, NULL, &err));
  assert_true(first(y) == 6 && last(y) == 6);
  assert_int_equal(baton_worker_state_of(chip), BATON_WORKER_READY);
  baton_tensor_close(x);
  baton_tensor_close(y);
}

/* --- What all chips do ---------------------------------------------------------------------------------- */

static void it_runs_programs(void **state) {
  (void)state;
  char text[4096];
  baton_tensor *x = floats(3), *y = floats(0);
  baton_value values[] = {{.tensor = x}, {.tensor = y}, number(2)};
  baton_timing timing;
  baton_handle handle;
  baton_program *registered;
  assert_string_equal(baton_worker_platform(chip), "a2a3sim");
  ok(baton_worker_register(chip, scale, &handle, &err));
  ok(baton_worker_program(chip, handle, &registered, &err));
  ok(baton_worker_run(chip, registered, values, 3, NULL, &timing, &err));
  baton_program_close(registered);
  ok(baton_worker_unregister(chip, handle, &err));
  refused(BATON_STALE_HANDLE, baton_worker_unregister(chip, handle, &err));
  assert_true(first(y) == 6 && last(y) == 6);
  assert_int_equal(timing.tasks, 1);
  assert_true(timing.host > 0 && timing.device > 0);
  refused(BATON_SIGNATURE, baton_worker_run(chip, scale, values, 2, NULL, NULL, &err));
  assert_true(baton_worker_dump(chip, text, sizeof text) > 0);
  assert_non_null(strstr(text, "child: pid "));
  assert_int_equal(children(), 1);
  baton_tensor_close(x);
  baton_tensor_close(y);
}

static void runs_are_submitted_and_cancelled(void **state) {
  (void)state;
  int over = 1;
  baton_run *held, *later, *cancelled;
  baton_tensor *x = floats(1), *y = floats(0), *z = floats(0);
  const baton_value values[] = {{.tensor = x}}, scaled[] = {{.tensor = x}, {.tensor = y}, number(5)};
  const baton_value never[] = {{.tensor = y}, {.tensor = z}, number(5)};
  ok(baton_worker_submit(chip, hold, values, 1, NULL, &held, &err));
  ok(baton_run_wait(held, 0.01, &over, &err));
  assert_false(over || baton_run_done(held));
  assert_int_equal(baton_run_timing(held).tasks, 0);
  assert_int_equal(baton_worker_state_of(chip), BATON_WORKER_BUSY);
  open_gate();
  ok(baton_worker_submit(chip, scale, scaled, 3, NULL, &later, &err)); /* reads x: waits for the first run */
  ok(baton_run_wait(held, -1, &over, &err));
  ok(baton_run_wait(later, -1, &over, &err));
  assert_true(over && baton_run_done(held) && baton_run_done(later));
  assert_int_equal(baton_run_timing(held).tasks, 1);
  assert_true(first(x) == 2 && first(y) == 10 && last(y) == 5);
  baton_run_close(held);
  baton_run_close(later);
  close_gate();
  ok(baton_worker_submit(chip, hold, values, 1, NULL, &held, &err));
  ok(baton_worker_submit(chip, scale, never, 3, NULL, &cancelled, &err));
  assert_true(baton_run_cancel(cancelled));
  open_gate();
  refused(BATON_CANCELLED, baton_run_wait(cancelled, -1, &over, &err));
  assert_false(baton_run_cancel(cancelled));
  ok(baton_run_wait(held, -1, NULL, &err));
  assert_true(first(x) == 3 && first(z) == 0);
  baton_run_close(held);
  baton_run_close(cancelled);
  baton_tensor_close(x);
  baton_tensor_close(y);
  baton_tensor_close(z);
}

static void play(baton_rounds *rounds, const baton_rebind *rebinds, uint32_t count) {
  ok(baton_rounds_init_round(rounds, rebinds, count, &err));
  ok(baton_rounds_launch(rounds, &err));
  ok(baton_rounds_finalize_round(rounds, -1, NULL, &err));
}

static void rounds_go_on_after_a_crash(void **state) {
  (void)state;
  static const char *const resident[] = {"x"};
  baton_rounds *rounds;
  baton_tensor *x = floats(1), *y = floats(0);
  const baton_value values[] = {{.tensor = x}, {.tensor = y}, number(2)},
                    ending[] = {{.tensor = y}, number(1)};
  const baton_config config = {.resident = resident, .nresident = 1};
  const baton_rebind factor = {2, number(7)};
  ok(baton_rounds_open(chip, scale, values, 3, &config, &rounds, &err));
  play(rounds, NULL, 0);
  assert_true(last(y) == 2);
  refused(BATON_KERNEL_CRASH, baton_worker_run(chip, end, ending, 2, NULL, NULL, &err));
  play(rounds, &factor, 1); /* what is resident has outlived the child */
  assert_true(first(y) == 7 && last(y) == 7);
  assert_int_equal(baton_rounds_timing(rounds).tasks, 1);
  assert_int_equal(children(), 2);
  ok(baton_rounds_finalize(rounds, &err));
  refused(BATON_CLOSED, baton_rounds_launch(rounds, &err));
  baton_rounds_close(rounds);
  baton_tensor_close(x);
  baton_tensor_close(y);
}

/* --- What a child is for -------------------------------------------------------------------------------- */

static void whatever_a_kernel_does_costs_its_run(void **state) {
  (void)state;
  static const struct {
    baton_status status;
    int32_t signal;
  } ends[] = {
      {BATON_KERNEL_CRASH, 11}, {BATON_KERNEL_CRASH, 6}, {BATON_WORKER_LOST, 0}, {BATON_WORKER_LOST, 9}};
  baton_buffer *buffer;
  baton_tensor *x = floats(1), *kept = floats(42);
  ok(baton_worker_malloc(chip, N * sizeof(float), &buffer, &err));
  ok(baton_worker_copy_to(chip, buffer, kept, NULL, &err));
  for (int how = 0; how < 4; how++) {
    const baton_value values[] = {{.tensor = x}, number(how)};
    refused(ends[how].status, baton_worker_run(chip, end, values, 2, NULL, NULL, &err));
    assert_int_equal(err.known & BATON_KNOWN_SIGNAL ? err.signal : 0, ends[how].signal);
    assert_true(first(x) == 1);
    assert_int_equal(children(), how + 2);
    it_computes();
  }
  ok(baton_tensor_fill(kept, baton_number_f64(0), &err));
  ok(baton_worker_copy_from(chip, kept, buffer, NULL, &err));
  assert_true(first(kept) == 42 && last(kept) == 42);
  baton_buffer_close(buffer);
  baton_tensor_close(x);
  baton_tensor_close(kept);
}

static void a_restart_replaces_the_child(void **state) {
  (void)state;
  it_computes();
  ok(baton_worker_restart(chip, &err));
  assert_int_equal(children(), 2);
  it_computes();
  ok(baton_worker_shutdown(chip, &err));
  assert_int_equal(baton_worker_state_of(chip), BATON_WORKER_CLOSED);
  refused(BATON_CLOSED, baton_worker_restart(chip, &err));
}

static void here(const baton_args *args) { (void)args; }
static void build_here(baton_orch *o, const baton_args *args) {
  (void)args;
  baton_aiv(o, 0, NULL, 0, NULL);
}

static void functions_of_this_process_are_refused(void **state) {
  (void)state;
  baton_program *local;
  const baton_kernel_options kernel = {.name = "here", .core = BATON_AIV, .function = here};
  ok(baton_program_create(
      &(baton_program_options){.name = "here", .kernels = &kernel, .nkernels = 1, .orchestrate = build_here},
      &local, &err));
  refused(BATON_UNSUPPORTED, baton_worker_run(chip, local, NULL, 0, NULL, NULL, &err));
  it_computes();
  baton_program_close(local);
}

/* What a graph of this process knows and a child does not. */
static int graph_calls;
static float element;

static void call_scale(baton_orch *o, const baton_args *args) {
  static const int64_t first_element[] = {0};
  baton_view x = baton_param(o, args, 0), y = baton_param(o, args, 1), z;
  graph_calls++;
  BATON_SCOPE (o) {
    z = baton_alloc(o, BATON_F32, BATON_SHAPE(N));
    baton_aiv(o, baton_kernel(o, "scale"),
              BATON_ARGS(baton_input(x), baton_output(z), baton_scalar_param(args, 2)), NULL);
    baton_aiv(o, baton_kernel(o, "scale"), BATON_ARGS(baton_input(z), baton_output(y), baton_f32(10)), NULL);
  }
  element = (float)baton_get_f64(o, x, first_element);
}

static void call_nothing_there(baton_orch *o, const baton_args *args) {
  (void)args;
  graph_calls++;
  baton_aiv(o, 7, NULL, 0, NULL);
}

static baton_program *graph_program(baton_orchestrate graph) {
  static const baton_parameter params[] = {{.name = "x", .direction = BATON_IN},
                                           {.name = "y", .direction = BATON_OUT},
                                           {.name = "factor", .direction = BATON_BY_VALUE}};
  const baton_kernel_options kernels = {.name = "scale", .core = BATON_AIV, .code = code};
  baton_program *made;
  ok(baton_program_create(&(baton_program_options){.name = "graph",
                                                   .params = params,
                                                   .nparams = 3,
                                                   .kernels = &kernels,
                                                   .nkernels = 1,
                                                   .orchestrate = graph,
                                                   .graph = 1},
                          &made, &err));
  return made;
}

static void graphs_are_called_in_this_process(void **state) {
  (void)state;
  static const char *const runtimes[] = {"host_build_graph", "tensormap_and_ringbuffer"};
  baton_program *good = graph_program(call_scale), *bad = graph_program(call_nothing_there);
  for (int i = 0; i < 2; i++) {
    const baton_config config = {.runtime = runtimes[i]};
    graph_calls = 0;
    for (int factor = 2; factor < 4; factor++) {
      baton_tensor *x = floats(3), *y = floats(0);
      const baton_value values[] = {{.tensor = x}, {.tensor = y}, number(factor)};
      element = 0;
      ok(baton_worker_run(chip, good, values, 3, &config, NULL, &err));
      assert_true(first(y) == 30.0f * (float)factor && last(y) == first(y));
      refused(BATON_INVALID_ARGUMENT, baton_worker_run(chip, bad, values, 3, &config, NULL, &err));
      assert_string_equal(err.message, "graph: kernel 7 does not exist, there are 1");
      baton_tensor_close(x);
      baton_tensor_close(y);
    }
    assert_int_equal(graph_calls, i ? 4 : 3);
    if (i) assert_true(element == 3);
  }
  assert_int_equal(children(), 1);
  baton_program_close(good);
  baton_program_close(bad);
}

static void what_is_no_worker_program_is_named(void **state) {
  (void)state;
  baton_worker *none = chip;
  baton_worker_options options = {
      .isolation = BATON_PROCESS, .devices = "1", .worker_program = "/nowhere/baton-worker"};
  refused(BATON_IO_ERROR, baton_worker_open(&options, &none, &err));
  assert_null(none);
  assert_string_equal(err.path, "/nowhere/baton-worker");
  options.worker_program = "/bin/true";
  refused(BATON_WORKER_LOST, baton_worker_open(&options, &none, &err));
  assert_null(none);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_chip, close_chip)
  const struct CMUnitTest tests[] = {
      TEST(it_runs_programs),
      TEST(runs_are_submitted_and_cancelled),
      TEST(rounds_go_on_after_a_crash),
      TEST(whatever_a_kernel_does_costs_its_run),
      TEST(a_restart_replaces_the_child),
      TEST(functions_of_this_process_are_refused),
      TEST(graphs_are_called_in_this_process),
      TEST(what_is_no_worker_program_is_named),
  };
  int file = mkstemp(gate); /* for its name */
  if (file < 0) return EXIT_FAILURE;
  close(file);
  return cmocka_run_group_tests_name("isolated_worker", tests, make_programs, drop_programs);
}
