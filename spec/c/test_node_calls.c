/* Every call of baton/node.h, in its order, with workers in threads and in children: an example of a C program that drives many
** chips. Tensors are read and written here by their data, which waits for nothing: only when nothing touches them. */
#include <baton/baton.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 256, PATIENCE = 200 /* seconds: then what is awaited never comes */ };

/* --- Programs ------------------------------------------------------------------------------------------- */

/* Functions of children are compiled for them: a function of this program is nowhere in another process. */
static const char code[] =
    "#include <baton/kernel.h>\n"
    "#include <sched.h>\n"
    "#include <signal.h>\n"
    "#include <time.h>\n"
    "static void await(const baton_args *args, const int32_t *counter, int32_t value) {\n"
    "  for (time_t last = time(0) + 200; __atomic_load_n(counter, __ATOMIC_ACQUIRE) < value; sched_yield())\n"
    "    if (time(0) > last) baton_kernel_fail(args, \"nothing has come\");\n"
    "}\n"
    /* of chips */
    "BATON_KERNEL(add) { /* c = a + b */\n"
    "  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);\n"
    "  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) baton_out(args, 2, float)[i] = a[i] + "
    "b[i];\n"
    "}\n"
    "BATON_KERNEL(crash) { (void)args; raise(SIGTRAP); } /* cmocka leaves us that signal */\n"
    /* of the host */
    "BATON_KERNEL(twice) { /* b = 2 a */\n"
    "  const float *a = baton_in(args, 0, float);\n"
    "  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) baton_out(args, 1, float)[i] = 2 * a[i];\n"
    "}\n"
    "BATON_KERNEL(append) { /* x = 10 x + digit */\n"
    "  *baton_io(args, 0, int64_t) = 10 * *baton_io(args, 0, int64_t) + baton_scalar_i64(args, 1);\n"
    "}\n"
    "BATON_KERNEL(refuse) { baton_kernel_fail(args, \"not %d\", (int)*baton_io(args, 0, int64_t)); }\n"
    "BATON_KERNEL(hold) { /* says that it has begun, ends when it is told to */\n"
    "  int32_t *gate = baton_io(args, 0, int32_t);\n"
    "  __atomic_store_n(&gate[0], 1, __ATOMIC_RELEASE);\n"
    "  await(args, &gate[1], 1);\n"
    "}\n"
    "BATON_KERNEL(meet) { /* ends when all members have begun */\n"
    "  int32_t *here = baton_io(args, 0, int32_t);\n"
    "  baton_signal_add(args, here, 1);\n"
    "  await(args, here, (int32_t)baton_scalar_i64(args, 2));\n"
    "  *baton_out(args, 1, int64_t) = baton_scalar_i64(args, 2);\n"
    "}\n"
    "BATON_KERNEL(rest) {\n"
    "  int64_t ms = baton_scalar_i64(args, 1);\n"
    "  nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, 0);\n"
    "}\n";

static baton_error err; /* of the call before */

/* What a call says is worth reading when it was not expected. */
static void ok(baton_status status) {
  if (status != BATON_OK) fail_msg("%s: %s", baton_status_word(status), err.message ? err.message : "?");
}

static void refused(baton_status expected, baton_status status) {
  if (status != expected)
    fail_msg("%s expected, got %s: %s", baton_status_word(expected), baton_status_word(status),
             status && err.message ? err.message : "");
}

static const baton_parameter a_b_c[] = {{.name = "a", .direction = BATON_IN},
                                        {.name = "b", .direction = BATON_IN},
                                        {.name = "c", .direction = BATON_OUT}};
static const baton_parameter a_b[] = {{.name = "a", .direction = BATON_IN},
                                      {.name = "b", .direction = BATON_OUT}};
static const baton_parameter x_number[] = {{.name = "x", .direction = BATON_IN_OUT},
                                           {.name = "number", .direction = BATON_BY_VALUE}};
static const baton_parameter here_mine_members[] = {{.name = "here", .direction = BATON_IN_OUT},
                                                    {.name = "mine", .direction = BATON_OUT},
                                                    {.name = "members", .direction = BATON_BY_VALUE}};

/* A device program of one kernel. */
static baton_program *on_chip(const char *kernel, const baton_parameter *params, uint32_t nparams,
                              const char *orchestration) {
  baton_program *program;
  const baton_kernel_options kernels = {.name = kernel, .core = BATON_AIV, .code = code};
  const baton_program_options options = {.name = kernel,
                                         .params = params,
                                         .nparams = nparams,
                                         .kernels = &kernels,
                                         .nkernels = 1,
                                         .orchestration_code = orchestration};
  ok(baton_program_create(&options, &program, &err));
  return program;
}

/* A function of the host: in the place of a sub function of Lua. What it has to say it writes into its arguments. */
static baton_program *on_host(const char *function, const baton_parameter *params, uint32_t nparams) {
  baton_program *program;
  const baton_kernel_options host = {.name = function, .code = code};
  ok(baton_program_create(
      &(baton_program_options){.name = function, .params = params, .nparams = nparams, .host = &host},
      &program, &err));
  return program;
}

static baton_program *add, *crash, *twice, *append, *refuse, *hold, *meet, *rest;
static baton_program **const all[] = {&add, &crash, &twice, &append, &refuse, &hold, &meet, &rest};

static int make_programs(void **state) {
  (void)state;
  add = on_chip(
      "add", a_b_c, 3,
      "#include <baton/orchestration.h>\n"
      "BATON_ORCHESTRATION(add) {\n"
      "  baton_aiv(o, baton_kernel(o, \"add\"),\n"
      "            BATON_ARGS(baton_input(baton_param(o, args, 0)), baton_input(baton_param(o, args, 1)),\n"
      "                       baton_output(baton_param(o, args, 2))), NULL);\n"
      "}\n");
  crash = on_chip(
      "crash", x_number, 1,
      "#include <baton/orchestration.h>\n"
      "BATON_ORCHESTRATION(crash) {\n"
      "  baton_aiv(o, baton_kernel(o, \"crash\"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);\n"
      "}\n");
  twice = on_host("twice", a_b, 2);
  append = on_host("append", x_number, 2);
  refuse = on_host("refuse", x_number, 1);
  hold = on_host("hold", x_number, 1);
  meet = on_host("meet", here_mine_members, 3);
  rest = on_host("rest", x_number, 2);
  return 0;
}

static int drop_programs(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) baton_program_close(*all[i]);
  baton_error_clear(&err);
  return 0;
}

/* --- A node and tensors --------------------------------------------------------------------------------- */

static baton_isolation isolation;
static baton_node *node;

/* Two chips of two kinds, and three sub workers. */
static baton_node_options usual_options(void) {
  static const baton_node_chip chips[] = {{.platform = "a2a3sim", .device = 0},
                                          {.platform = "a5sim", .device = 3}};
  return (baton_node_options){.chips = chips, .nchips = 2, .subs = 3, .isolation = isolation};
}

static int open_node(void **state) {
  isolation = *(const baton_isolation *)*state;
  const baton_node_options options = usual_options();
  ok(baton_node_open(&options, &node, &err));
  return 0;
}

static int close_node(void **state) {
  (void)state;
  baton_node_close(node);
  node = NULL;
  return 0;
}

static baton_tensor *tensor(baton_dtype dtype, int64_t count, double value) {
  baton_tensor *made;
  ok(baton_tensor_full(dtype, 1, &count, baton_number_f64(value), &made, &err));
  return made;
}

static float *floats(const baton_tensor *t) { return baton_tensor_view(t)->data; }
static int64_t *integers(const baton_tensor *t) { return baton_tensor_view(t)->data; }

static baton_node_value number(int64_t value) {
  return (baton_node_value){.dtype = BATON_I64, .scalar.i64 = value};
}

/* --- One task as a run ---------------------------------------------------------------------------------- */

typedef struct one_task {
  baton_program *program;
  const baton_node_value *values;
  uint32_t nvalues;
  int32_t worker;
} one_task;

static baton_status submit_one(baton_node_orch *o, void *context, baton_error *failure) {
  const one_task *task = context;
  const baton_node_task_options options = {.worker = task->worker};
  return baton_node_submit_next_level(o, task->program, task->values, task->nvalues, &options, NULL, failure);
}

static baton_status run_one(one_task task) {
  return baton_node_run_function(node, submit_one, &task, NULL, NULL, &err);
}

/* x = 10 x + digit. */
static baton_status run_append(baton_tensor *x, int64_t digit, int32_t worker) {
  const baton_node_value values[] = {{.tensor = x}, number(digit)};
  return run_one((one_task){append, values, 2, worker});
}

/* --- A run that waits for us ---------------------------------------------------------------------------- */

/* A task is held by the gate, and appends a digit when it is let go. */
typedef struct held {
  baton_tensor *gate, *x;
  int64_t digit;
} held;

static baton_status submit_held(baton_node_orch *o, void *context, baton_error *failure) {
  const held *h = context;
  const baton_node_task_options at_first = {.worker = 0, .name = "holder"};
  const baton_node_value gate = {.tensor = h->gate}, digit[] = {{.tensor = h->x}, number(h->digit)};
  baton_task holder;
  BATON_TRY(baton_node_submit_next_level(o, hold, &gate, 1, &at_first, &holder, failure));
  const baton_node_task_options after = {.worker = BATON_ANY_WORKER, .deps = &holder, .ndeps = 1};
  return baton_node_submit_next_level(o, append, digit, 2, &after, NULL, failure);
}

static _Atomic int32_t *gate_of(const held *h) { return baton_tensor_view(h->gate)->data; }

/* Begins the run, and waits until the task has begun. */
static baton_node_run *begin_held(held *h, const baton_config *config) {
  baton_node_run *run;
  atomic_store(&gate_of(h)[0], 0);
  atomic_store(&gate_of(h)[1], 0);
  ok(baton_node_submit(node, submit_held, h, config, &run, &err));
  for (time_t last = time(NULL) + PATIENCE; !atomic_load(&gate_of(h)[0]); sched_yield())
    assert_true(time(NULL) <= last);
  return run;
}

static void let_go(const held *h) { atomic_store(&gate_of(h)[1], 1); }

static held make_held(void) {
  return (held){.gate = tensor(BATON_I32, 2, 0), .x = tensor(BATON_I64, 1, 1), .digit = 2};
}

static void drop_held(held *h) {
  baton_tensor_close(h->gate);
  baton_tensor_close(h->x);
}

/* --- Opening and closing -------------------------------------------------------------------------------- */

static void it_says_what_it_has(void **state) {
  (void)state;
  baton_node_worker first, second;
  assert_int_equal(baton_node_workers(node), 2);
  assert_int_equal(baton_node_subs(node), 3);
  assert_int_equal(baton_node_state_of(node), BATON_WORKER_READY);
  ok(baton_node_describe(node, 0, &first, &err));
  ok(baton_node_describe(node, 1, &second, &err));
  assert_string_equal(first.platform, "a2a3sim");
  assert_string_equal(second.platform, "a5sim");
  assert_int_equal(second.device, 3);
  assert_int_equal(second.state, BATON_WORKER_READY);
  assert_int_equal(second.started, 1);
  assert_true(isolation == BATON_THREAD ? second.pid == 0 : second.pid > 0 && second.pid != getpid());
  refused(BATON_OUT_OF_RANGE, baton_node_describe(node, 2, &second, &err));
  assert_string_equal(err.message, "worker 2: this node has the workers 0 to 1");
}

static void what_does_not_open_says_where(void **state) {
  (void)state;
  baton_node *other = node;
  baton_node_options options = usual_options();
  options.chips = (const baton_node_chip[]){{.any_device = 1}, {.platform = "a5sim", .any_device = 1}};
  options.arena.heap = UINT64_C(1) << 50;
  refused(BATON_OUT_OF_MEMORY, baton_node_open(&options, &other, &err));
  assert_null(other);
  assert_true(err.known & BATON_KNOWN_WORKER && err.worker >= 0 && err.worker < 2);
  baton_node_close(other);
}

static baton_status end_from_inside(baton_node_orch *o, void *context, baton_error *failure) {
  (void)o;
  (void)context;
  return baton_node_shutdown(node, failure);
}

static void after_its_shutdown_it_answers_closed(void **state) {
  (void)state;
  baton_node_buffer *buffer, *none;
  baton_node_worker worker;
  baton_stats stats;
  baton_tensor *x = tensor(BATON_I64, 1, 1);
  ok(baton_node_malloc(node, 0, 64, &buffer, &err));
  ok(run_append(x, 2, 1));
  refused(BATON_STATE, baton_node_run_function(node, end_from_inside, NULL, NULL, NULL, &err));
  ok(baton_node_shutdown(node, &err));
  ok(baton_node_shutdown(node, &err));
  assert_int_equal(baton_node_state_of(node), BATON_WORKER_CLOSED);
  assert_int_equal(baton_node_workers(node), 2);
  ok(baton_node_describe(node, 1, &worker, &err));
  assert_int_equal(worker.state, BATON_WORKER_CLOSED);
  refused(BATON_CLOSED, run_append(x, 3, 1));
  refused(BATON_CLOSED, baton_node_malloc(node, 0, 64, &none, &err));
  assert_null(none);
  refused(BATON_CLOSED, baton_node_copy_to(node, buffer, x, NULL, &err));
  ok(baton_node_stats(node, BATON_ANY_WORKER, &stats, &err));
  assert_true(stats.tasks > 0);
  assert_int_equal(integers(x)[0], 12);
  baton_node_buffer_close(buffer);
  baton_tensor_close(x);
}

/* --- Workers -------------------------------------------------------------------------------------------- */

static void workers_come_and_go(void **state) {
  (void)state;
  uint32_t id;
  baton_node_worker worker;
  baton_node_buffer *buffer;
  baton_tensor *x = tensor(BATON_I64, 1, 1);
  const baton_node_chip chip = {.any_device = 1};
  ok(baton_node_add(node, &chip, &id, &err));
  assert_int_equal(id, 2);
  assert_int_equal(baton_node_workers(node), 3);
  ok(baton_node_malloc(node, 2, 8, &buffer, &err));
  ok(run_append(x, 2, 2));
  ok(baton_node_remove(node, 2, &err));
  ok(baton_node_describe(node, 2, &worker, &err));
  assert_int_equal(worker.state, BATON_WORKER_CLOSED);
  assert_int_equal(baton_node_state_of(node), BATON_WORKER_READY);
  refused(BATON_CLOSED, baton_node_copy_from(node, x, buffer, NULL, &err));
  refused(BATON_CLOSED, run_append(x, 3, 2));
  assert_string_equal(err.message, "append: worker 2 was removed");
  ok(baton_node_add(node, &chip, &id, &err));
  assert_int_equal(id, 3);
  ok(run_append(x, 3, 3));
  assert_int_equal(integers(x)[0], 123);
  refused(BATON_UNSUPPORTED, baton_node_add(node, &(baton_node_chip){.platform = "abacus"}, &id, &err));
  baton_node_buffer_close(buffer);
  baton_tensor_close(x);
}

/* With threads what a kernel has left behind is unknown, so somebody must say that it may go on; a child is replaced at once. */
static void a_crash_costs_the_run(void **state) {
  (void)state;
  baton_node_worker worker;
  baton_node_buffer *buffer;
  baton_tensor *x = tensor(BATON_I64, 1, 1), *kept = tensor(BATON_I64, 1, 42);
  const baton_node_value values[] = {{.tensor = x}};
  ok(baton_node_malloc(node, 1, 8, &buffer, &err));
  ok(baton_node_copy_to(node, buffer, kept, NULL, &err));
  refused(BATON_KERNEL_CRASH, run_one((one_task){crash, values, 1, 1}));
  assert_true(err.known & BATON_KNOWN_WORKER && err.worker == 1);
  assert_string_equal(err.kernel, "crash");
  if (isolation == BATON_THREAD) {
    ok(baton_node_describe(node, 1, &worker, &err));
    assert_int_equal(worker.state, BATON_WORKER_IS_LOST);
    assert_int_equal(baton_node_state_of(node), BATON_WORKER_IS_LOST);
    refused(BATON_WORKER_LOST, run_one((one_task){crash, values, 1, 1}));
  }
  ok(baton_node_restart(node, 1, &err)); /* without effect on one that is ready */
  ok(baton_node_describe(node, 1, &worker, &err));
  assert_int_equal(worker.started, 2);
  assert_int_equal(worker.state, BATON_WORKER_READY);
  integers(kept)[0] = 0;
  ok(baton_node_copy_from(node, kept, buffer, NULL, &err));
  assert_int_equal(integers(kept)[0], 42);
  ok(run_append(x, 2, 1));
  assert_int_equal(integers(x)[0], 12);
  baton_node_buffer_close(buffer);
  baton_tensor_close(kept);
  baton_tensor_close(x);
}

static void programs_have_handles(void **state) {
  (void)state;
  baton_handle handle, again;
  baton_program *program, *none;
  baton_tensor *x = tensor(BATON_I64, 1, 1);
  const baton_node_value values[] = {{.tensor = x}, number(2)};
  ok(baton_node_register(node, append, &handle, &err));
  ok(baton_node_register(node, append, &again, &err));
  assert_true(handle && handle == again);
  ok(baton_node_program(node, handle, &program, &err));
  ok(run_one((one_task){program, values, 2, BATON_ANY_WORKER}));
  assert_int_equal(integers(x)[0], 12);
  baton_program_close(program);
  ok(baton_node_unregister(node, handle, &err));
  refused(BATON_STALE_HANDLE, baton_node_program(node, handle, &none, &err));
  assert_null(none);
  refused(BATON_STALE_HANDLE, baton_node_unregister(node, handle, &err));
  baton_tensor_close(x);
}

static void arenas_grow_and_work_is_counted(void **state) {
  (void)state;
  int changed = 0;
  baton_stats first, second, sums;
  baton_tensor *a = tensor(BATON_F32, N, 1), *c = tensor(BATON_F32, N, 0);
  const baton_node_value values[] = {{.tensor = a}, {.tensor = a}, {.tensor = c}};
  ok(baton_node_setup_arena(node, 1, &(baton_arena){.heap = 1 << 20}, &changed, &err));
  assert_true(changed);
  ok(baton_node_setup_arena(node, 1, &(baton_arena){.heap = 1 << 20}, &changed, &err));
  assert_false(changed);
  refused(BATON_OUT_OF_RANGE, baton_node_setup_arena(node, 2, &(baton_arena){.heap = 1}, NULL, &err));
  for (int i = 0; i < 3; i++) ok(run_one((one_task){add, values, 3, 1}));
  ok(baton_node_stats(node, 0, &first, &err));
  ok(baton_node_stats(node, 1, &second, &err));
  ok(baton_node_stats(node, BATON_ANY_WORKER, &sums, &err));
  assert_int_equal(first.runs, 0);
  assert_int_equal(second.runs, 3);
  assert_int_equal(sums.runs, 3);
  assert_int_equal(sums.bytes_from_device, 3 * N * sizeof(float));
  assert_int_equal(sums.children_started, isolation == BATON_PROCESS ? 5 : 0);
  assert_true(floats(c)[N - 1] == 2);
  baton_tensor_close(a);
  baton_tensor_close(c);
}

static void a_dump_says_who_runs_what(void **state) {
  (void)state;
  char text[8192], little[16] = "";
  held h = make_held();
  baton_node_run *run = begin_held(&h, NULL);
  size_t length = baton_node_dump(node, text, sizeof text);
  assert_true(length < sizeof text && strlen(text) == length);
  assert_non_null(strstr(text, "worker 0: busy, a2a3sim device 0"));
  assert_non_null(strstr(text, "has been sent holder of run"));
  assert_non_null(strstr(text, "sub worker 1: ready"));
  assert_true(baton_node_dump(node, little, sizeof little) >= sizeof little);
  assert_int_equal(strlen(little), sizeof little - 1);
  assert_true(baton_node_dump(node, NULL, 0) > 0);
  assert_int_equal(baton_node_state_of(node), BATON_WORKER_BUSY);
  let_go(&h);
  ok(baton_node_run_wait(run, -1, NULL, &err));
  assert_int_equal(baton_node_state_of(node), BATON_WORKER_READY);
  baton_node_run_close(run);
  drop_held(&h);
}

/* --- Child memory --------------------------------------------------------------------------------------- */

/* On worker 1: a in the first half, a + a in the second. */
static void child_memory_outlives_runs(void **state) {
  (void)state;
  enum { BYTES = N * sizeof(float) };
  baton_node_buffer *buffer;
  baton_view low, high, none;
  baton_tensor *a = tensor(BATON_F32, N, 3), *back = tensor(BATON_F32, N, 0);
  const int64_t shape[] = {N};
  ok(baton_node_malloc(node, 1, 2 * BYTES, &buffer, &err));
  assert_int_equal(baton_node_buffer_nbytes(buffer), 2 * BYTES);
  assert_int_equal(baton_node_buffer_worker(buffer), 1);
  ok(baton_node_buffer_tensor(buffer, BATON_F32, 1, shape, 0, &low, &err));
  ok(baton_node_buffer_tensor(buffer, BATON_F32, 1, shape, BYTES, &high, &err));
  refused(BATON_OUT_OF_RANGE, baton_node_buffer_tensor(buffer, BATON_F32, 1, shape, BYTES + 4, &none, &err));
  assert_int_equal(none.dtype, BATON_NO_DTYPE);
  ok(baton_node_copy_to(node, buffer, a, NULL, &err));
  const baton_node_value values[] = {
      {.buffer = buffer, .view = &low}, {.tensor = a}, {.buffer = buffer, .view = &high}};
  ok(run_one((one_task){add, values, 3, BATON_ANY_WORKER}));
  refused(BATON_WRONG_DEVICE, run_one((one_task){add, values, 3, 0}));
  ok(baton_node_copy_from(node, back, buffer, &(baton_copy_options){.offset = BYTES, .nbytes = 8}, &err));
  assert_true(floats(back)[0] == 6 && floats(back)[1] == 6 && floats(back)[2] == 0);
  refused(BATON_OUT_OF_RANGE,
          baton_node_copy_from(node, back, buffer, &(baton_copy_options){.offset = BYTES + 4}, &err));
  ok(baton_node_free(node, buffer, &err));
  refused(BATON_DOUBLE_FREE, baton_node_free(node, buffer, &err));
  refused(BATON_STALE_HANDLE, baton_node_copy_to(node, buffer, a, NULL, &err));
  refused(BATON_STALE_HANDLE, run_one((one_task){add, values, 3, BATON_ANY_WORKER}));
  baton_node_buffer_close(buffer);
  baton_node_buffer_close(NULL);
  baton_tensor_close(a);
  baton_tensor_close(back);
}

typedef struct sum_of {
  baton_tensor *a, *c;
} sum_of;

/* c = a + a on each worker in turn, from and to memory of its own; read back before the function ends. */
static baton_status add_in_child_memory(baton_node_orch *o, void *context, baton_error *failure) {
  const sum_of *s = context;
  const int64_t shape[] = {N};
  for (uint32_t worker = 0; worker < baton_node_orch_workers(o); worker++) {
    baton_node_buffer *a, *c;
    baton_view in, out;
    baton_task copied;
    BATON_TRY(baton_node_orch_malloc(o, worker, N * sizeof(float), &a, failure));
    BATON_TRY(baton_node_orch_malloc(o, worker, N * sizeof(float), &c, failure));
    BATON_TRY(baton_node_buffer_tensor(a, BATON_F32, 1, shape, 0, &in, failure));
    BATON_TRY(baton_node_buffer_tensor(c, BATON_F32, 1, shape, 0, &out, failure));
    BATON_TRY(baton_node_orch_copy_to(o, a, s->a, NULL, NULL, failure));
    const baton_node_value values[] = {
        {.buffer = a, .view = &in}, {.tensor = s->a}, {.buffer = c, .view = &out}};
    BATON_TRY(baton_node_submit_next_level(o, add, values, 3, NULL, NULL, failure));
    BATON_TRY(baton_node_orch_copy_from(o, s->c, c, NULL, &copied, failure));
    BATON_TRY(baton_node_orch_free(o, a, failure)); /* after its last use */
    BATON_TRY(baton_node_orch_free(o, c, failure));
    baton_node_buffer_close(a);
    baton_node_buffer_close(c);
    BATON_TRY(baton_node_wait(o, &copied, failure));
    assert_true(floats(s->c)[0] == 2 && floats(s->c)[N - 1] == 2);
    floats(s->c)[0] = 0;
  }
  return BATON_OK;
}

static void child_memory_is_a_matter_of_tasks_too(void **state) {
  (void)state;
  sum_of s = {tensor(BATON_F32, N, 1), tensor(BATON_F32, N, 0)};
  for (int i = 0; i < 10; i++) ok(baton_node_run_function(node, add_in_child_memory, &s, NULL, NULL, &err));
  baton_tensor_close(s.a);
  baton_tensor_close(s.c);
}

/* --- Runs ----------------------------------------------------------------------------------------------- */

/* c = 2 (a + a): a chip makes an intermediate, a sub worker takes it. */
static baton_status add_and_double(baton_node_orch *o, void *context, baton_error *failure) {
  const sum_of *s = context;
  baton_view sum;
  assert_int_equal(baton_node_orch_workers(o), 2);
  assert_int_equal(baton_node_orch_subs(o), 3);
  BATON_TRY(baton_node_scope_begin(o, failure));
  BATON_TRY(baton_node_alloc(o, BATON_F32, 1, (const int64_t[]){N}, &sum, failure));
  const baton_node_value added[] = {{.tensor = s->a}, {.tensor = s->a}, {.view = &sum}};
  const baton_node_value doubled[] = {{.view = &sum}, {.tensor = s->c}};
  BATON_TRY(baton_node_submit_next_level(o, add, added, 3, NULL, NULL, failure));
  BATON_TRY(baton_node_submit_sub(o, twice, doubled, 2, NULL, NULL, failure));
  BATON_TRY(baton_node_wait(o, NULL, failure));
  assert_true(((const float *)sum.data)[N - 1] == 2);
  BATON_TRY(baton_node_scope_end(o, failure));
  assert_int_equal(baton_node_submit_sub(o, twice, doubled, 2, NULL, NULL, NULL), BATON_STALE_HANDLE);
  assert_int_equal(baton_node_scope_end(o, NULL), BATON_STATE);
  return BATON_OK;
}

static void a_run_takes_its_tasks_to_workers(void **state) {
  (void)state;
  sum_of s = {tensor(BATON_F32, N, 1), tensor(BATON_F32, N, 0)};
  baton_timing timing;
  ok(baton_node_run_function(node, add_and_double, &s, NULL, &timing, &err));
  assert_true(floats(s.c)[0] == 4 && floats(s.c)[N - 1] == 4);
  assert_int_equal(timing.tasks, 2);
  assert_true(timing.host > 0 && timing.orchestration > 0 && timing.orchestration <= timing.host);
  baton_tensor_close(s.a);
  baton_tensor_close(s.c);
}

static baton_status give_up(baton_node_orch *o, void *context, baton_error *failure) {
  baton_status status = submit_held(o, context, failure);
  if (status != BATON_OK) return status;
  let_go(context);
  return baton_error_set(failure, BATON_USER_FAIL, "%d is enough", 1);
}

static void a_function_may_end_its_run(void **state) {
  (void)state;
  held h = make_held();
  baton_node_run *run;
  refused(BATON_USER_FAIL, baton_node_run_function(node, give_up, &h, NULL, NULL, &err));
  assert_string_equal(err.message, "1 is enough");
  refused(BATON_USER_FAIL, baton_node_submit(node, give_up, &h, NULL, &run, &err));
  assert_null(run);
  integers(h.x)[0] = 1;
  ok(run_append(h.x, 5, 0));
  assert_int_equal(integers(h.x)[0], 15);
  drop_held(&h);
}

static void runs_may_be_waited_for(void **state) {
  (void)state;
  int over = 1;
  held h = make_held();
  baton_node_run *run = begin_held(&h, NULL), *later;
  const baton_node_value values[] = {{.tensor = h.x}, number(3)};
  one_task task = {append, values, 2, 1};
  ok(baton_node_submit(node, submit_one, &task, NULL, &later, &err));
  ok(baton_node_run_wait(run, 0.01, &over, &err));
  assert_false(over || baton_node_run_done(run) || baton_node_run_done(later));
  assert_int_equal(baton_node_run_timing(run).tasks, 0);
  let_go(&h);
  ok(baton_node_run_wait(later, -1, &over, &err));
  assert_true(over && baton_node_run_done(later) && baton_node_run_done(run));
  ok(baton_node_run_wait(run, 0, &over, &err));
  assert_true(over);
  assert_int_equal(baton_node_run_timing(run).tasks, 2);
  assert_int_equal(integers(h.x)[0], 123);
  baton_node_run_close(run);
  baton_node_run_close(later);
  drop_held(&h);
}

static void runs_may_be_cancelled(void **state) {
  (void)state;
  held h = make_held();
  baton_node_run *run = begin_held(&h, NULL);
  assert_true(baton_node_run_cancel(run));
  let_go(&h);
  refused(BATON_CANCELLED, baton_node_run_wait(run, -1, NULL, &err));
  refused(BATON_CANCELLED, baton_node_run_wait(run, -1, NULL, &err));
  assert_false(baton_node_run_cancel(run));
  baton_node_run_close(run);
  baton_node_run_close(begin_held(&h, NULL)); /* the same without a wait */
  let_go(&h);
  baton_node_run_close(NULL);
  ok(run_append(h.x, 9, 1));
  assert_int_equal(integers(h.x)[0], 19);
  drop_held(&h);
}

/* Rests for so many milliseconds, then appends. */
static baton_status rest_and_append(baton_node_orch *o, void *context, baton_error *failure) {
  const held *h = context;
  const baton_node_value resting[] = {{.tensor = h->x}, number(h->digit)};
  const baton_node_value digit[] = {{.tensor = h->x}, number(7)};
  BATON_TRY(baton_node_submit_next_level(o, rest, resting, 2, NULL, NULL, failure));
  return baton_node_submit_next_level(o, append, digit, 2, NULL, NULL, failure);
}

/* Who waits sees to the deadline; so the task must still rest when the waiter looks, on a busy machine as well. */
static void assert_too_late(const baton_config *config) {
  held h = make_held();
  baton_status status = BATON_OK;
  for (h.digit = 50; status == BATON_OK && h.digit < 10000; h.digit *= 2) {
    integers(h.x)[0] = 1;
    status = baton_node_run_function(node, rest_and_append, &h, config, NULL, &err);
  }
  refused(BATON_TIMEOUT, status);
  assert_string_equal(err.message, "the run was not over after the deadline of 0.01 s, and cancelled");
  assert_int_equal(integers(h.x)[0], 1);
  drop_held(&h);
}

static void a_deadline_cancels(void **state) {
  assert_too_late(&(baton_config){.deadline = 0.01});
  close_node(state); /* one for all runs, unless they say otherwise */
  baton_node_options options = usual_options();
  options.config.deadline = 0.01;
  ok(baton_node_open(&options, &node, &err));
  assert_too_late(NULL);
  held h = make_held();
  const baton_node_value values[] = {{.tensor = h.x}, number(20)};
  one_task task = {rest, values, 2, 0};
  ok(baton_node_run_function(node, submit_one, &task, &(baton_config){.deadline = PATIENCE}, NULL, &err));
  drop_held(&h);
}

/* --- Rounds --------------------------------------------------------------------------------------------- */

typedef struct step {
  baton_tensor *weight, *x, *y;
  int64_t round;
} step;

/* y = x + weight, then x = 2 y. */
static baton_status take_step(baton_node_orch *o, void *context, int64_t round, baton_error *failure) {
  step *s = context;
  const baton_node_value added[] = {{.tensor = s->x}, {.tensor = s->weight}, {.tensor = s->y}};
  const baton_node_value doubled[] = {{.tensor = s->y}, {.tensor = s->x}};
  s->round = round;
  BATON_TRY(baton_node_submit_next_level(o, add, added, 3, NULL, NULL, failure));
  return baton_node_submit_sub(o, twice, doubled, 2, NULL, NULL, failure);
}

static void rounds_keep_what_does_not_change(void **state) {
  (void)state;
  int over;
  baton_stats stats;
  baton_node_rounds *rounds;
  step s = {tensor(BATON_F32, N, 1), tensor(BATON_F32, N, 0), tensor(BATON_F32, N, 0), 0};
  baton_tensor *other = tensor(BATON_F32, N, 100);
  const baton_node_rounds_options options = {
      .function = take_step, .context = &s, .residents = &s.weight, .nresidents = 1};
  ok(baton_node_rounds_open(node, &options, &rounds, &err));
  refused(BATON_STATE, baton_node_rounds_launch(rounds, &err));
  assert_string_equal(err.message, "launch: no round is open, call init_round first");
  assert_int_equal(baton_node_rounds_timing(rounds).tasks, 0);
  for (int round = 1; round <= 3; round++) { /* x: 0, 2, 6, 14 */
    ok(baton_node_rounds_init_round(rounds, NULL, 0, &err));
    ok(baton_node_rounds_launch(rounds, &err));
    ok(baton_node_rounds_finalize_round(rounds, -1, &over, &err));
    assert_true(over);
    assert_int_equal(s.round, round);
  }
  assert_true(floats(s.x)[0] == 14 && floats(s.x)[N - 1] == 14);
  assert_true(baton_node_rounds_timing(rounds).tasks >= 2);
  baton_tensor_close(s.weight);
  s.weight = other;
  ok(baton_node_rounds_init_round(rounds, &(baton_node_rebind){0, other}, 1, &err));
  ok(baton_node_rounds_launch(rounds, &err));
  ok(baton_node_rounds_finalize_round(rounds, -1, NULL, &err));
  assert_true(floats(s.x)[0] == 2 * 114);
  ok(baton_node_stats(node, BATON_ANY_WORKER, &stats, &err));
  assert_int_equal(stats.rounds, 4);
  ok(baton_node_rounds_finalize(rounds, &err));
  refused(BATON_CLOSED, baton_node_rounds_init_round(rounds, NULL, 0, &err));
  baton_node_rounds_close(rounds);
  baton_node_rounds_close(NULL);
  baton_tensor_close(s.weight);
  baton_tensor_close(s.x);
  baton_tensor_close(s.y);
}

/* --- Tasks ---------------------------------------------------------------------------------------------- */

typedef struct group {
  baton_tensor *here[2], *mine;
} group;

/* A group of two on the chips, and one of three on the sub workers: no member ends before all have begun. */
static baton_status submit_groups(baton_node_orch *o, void *context, baton_error *failure) {
  const group *g = context;
  baton_tensor *mine[5];
  baton_node_value values[5][3];
  baton_node_member members[5];
  for (int i = 0; i < 5; i++) {
    BATON_TRY(baton_tensor_slice(g->mine, 0, i, 1, &mine[i], failure));
    values[i][0] = (baton_node_value){.tag = BATON_NO_DEP, .tensor = g->here[i >= 2]};
    values[i][1] = (baton_node_value){.tensor = mine[i]};
    values[i][2] = number(i < 2 ? 2 : 3);
    members[i] = (baton_node_member){.values = values[i], .nvalues = 3, .worker = BATON_ANY_WORKER};
  }
  members[1].worker = 0; /* the other one goes to worker 1 then */
  baton_status status = baton_node_submit_next_level_group(o, meet, &members[0], 2, NULL, NULL, failure);
  if (status == BATON_OK) status = baton_node_submit_sub_group(o, meet, &members[2], 3, NULL, NULL, failure);
  if (status == BATON_OK)
    assert_int_equal(baton_node_submit_next_level_group(o, meet, &members[2], 3, NULL, NULL, NULL),
                     BATON_UNSUPPORTED);
  for (int i = 0; i < 5; i++) baton_tensor_close(mine[i]);
  return status;
}

static void groups_begin_together(void **state) {
  (void)state;
  group g = {{tensor(BATON_I32, 1, 0), tensor(BATON_I32, 1, 0)}, tensor(BATON_I64, 5, 0)};
  ok(baton_node_run_function(node, submit_groups, &g, NULL, NULL, &err));
  for (int i = 0; i < 5; i++) assert_int_equal(integers(g.mine)[i], i < 2 ? 2 : 3);
  baton_tensor_close(g.here[0]);
  baton_tensor_close(g.here[1]);
  baton_tensor_close(g.mine);
}

/* A task fails; one that shares no memory with it comes after it all the same. */
static baton_status fail_and_follow(baton_node_orch *o, void *context, baton_error *failure) {
  const held *h = context;
  const baton_node_value wrong = {.tensor = h->gate}, digit[] = {{.tensor = h->x}, number(3)};
  baton_task failed;
  BATON_TRY(baton_node_submit_sub(
      o, refuse, &wrong, 1, &(baton_node_task_options){.worker = 1, .name = "third"}, &failed, failure));
  BATON_TRY(baton_node_submit_next_level(
      o, append, digit, 2,
      &(baton_node_task_options){.worker = BATON_ANY_WORKER, .deps = &failed, .ndeps = 1, .priority = 100},
      NULL, failure));
  assert_int_equal(baton_node_wait(o, &failed, failure), BATON_USER_FAIL);
  baton_error_clear(failure);
  return BATON_OK;
}

static void a_failure_names_its_task_and_ends_what_follows(void **state) {
  (void)state;
  held h = {tensor(BATON_I64, 1, 8), tensor(BATON_I64, 1, 1), 0};
  refused(BATON_USER_FAIL, baton_node_run_function(node, fail_and_follow, &h, NULL, NULL, &err));
  assert_non_null(strstr(err.message, "not 8"));
  assert_string_equal(err.task, "third");
  assert_int_equal(integers(h.x)[0], 1);
  drop_held(&h);
}

static baton_status submit_refused(baton_node_orch *o, void *context, baton_error *failure) {
  const baton_node_value values[] = {{.tensor = context}, number(2)};
  baton_node_task_options options = {.worker = 7};
  const baton_task unknown = {12345, 6};
  refused(BATON_OUT_OF_RANGE, baton_node_submit_next_level(o, append, values, 2, &options, NULL, &err));
  options = (baton_node_task_options){.worker = BATON_ANY_WORKER, .priority = 101};
  refused(BATON_OUT_OF_RANGE, baton_node_submit_next_level(o, append, values, 2, &options, NULL, &err));
  options = (baton_node_task_options){.worker = BATON_ANY_WORKER, .deps = &unknown, .ndeps = 1};
  refused(BATON_STALE_HANDLE, baton_node_submit_next_level(o, append, values, 2, &options, NULL, &err));
  refused(BATON_STALE_HANDLE, baton_node_wait(o, &unknown, &err));
  refused(BATON_SIGNATURE, baton_node_submit_next_level(o, append, values, 1, NULL, NULL, &err));
  refused(BATON_UNSUPPORTED, baton_node_submit_sub(o, add, values, 2, NULL, NULL, &err));
  return baton_node_submit_sub(o, append, values, 2, NULL, NULL, failure);
}

static void what_can_never_run_is_refused(void **state) {
  (void)state;
  baton_tensor *x = tensor(BATON_I64, 1, 1);
  ok(baton_node_run_function(node, submit_refused, x, NULL, NULL, &err));
  assert_int_equal(integers(x)[0], 12);
  baton_tensor_close(x);
}

static baton_isolation thread_isolation = BATON_THREAD, process_isolation = BATON_PROCESS;

#define BOTH(test)                                                       \
  {#test " (thread)", test, open_node, close_node, &thread_isolation}, { \
#test " (process)", test, open_node, close_node, &process_isolation  \
  }

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(it_says_what_it_has),
      BOTH(what_does_not_open_says_where),
      BOTH(after_its_shutdown_it_answers_closed),
      BOTH(workers_come_and_go),
      BOTH(a_crash_costs_the_run),
      BOTH(programs_have_handles),
      BOTH(arenas_grow_and_work_is_counted),
      BOTH(a_dump_says_who_runs_what),
      BOTH(child_memory_outlives_runs),
      BOTH(child_memory_is_a_matter_of_tasks_too),
      BOTH(a_run_takes_its_tasks_to_workers),
      BOTH(a_function_may_end_its_run),
      BOTH(runs_may_be_waited_for),
      BOTH(runs_may_be_cancelled),
      BOTH(a_deadline_cancels),
      BOTH(rounds_keep_what_does_not_change),
      BOTH(groups_begin_together),
      BOTH(a_failure_names_its_task_and_ends_what_follows),
      BOTH(what_can_never_run_is_refused),
  };
  return cmocka_run_group_tests_name("node_calls", tests, make_programs, drop_programs);
}
