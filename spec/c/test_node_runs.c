/* Runs of a node that are cancelled, fail, have limits, or are closed with it; both isolations. What holds a worker up is a word that
** the test sets when the node says that it has come so far. */
#include <baton/kernel.h>
#include <baton/node.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static baton_error err;
static baton_isolation isolation;
static baton_program *hold, *count, *linger;
static baton_tensor *gate, *n;

enum { PATIENCE = 100 }; /* seconds, after which what should happen has not */

static void ok(baton_status status) {
  if (status != BATON_OK) fail_msg("%s", err.message ? err.message : "?");
}

static baton_program *host_function(const char *name, const char *body) {
  char code[512];
  baton_program *program;
  snprintf(
      code, sizeof code,
      "#include <baton/kernel.h>\n#include <sched.h>\n#include <time.h>\nBATON_KERNEL(f) { (void)args; %s }",
      body);
  const baton_kernel_options host = {.name = "f", .code = code};
  ok(baton_program_create(&(baton_program_options){.name = name, .host = &host}, &program, &err));
  return program;
}

static int make_programs(void **state) {
  (void)state;
  hold = host_function("hold", "int64_t *gate = baton_io(args, 0, int64_t);"
                               "while (!__atomic_load_n(gate, __ATOMIC_ACQUIRE)) sched_yield();");
  count = host_function("count", "baton_io(args, 0, int64_t)[0]++;");
  linger = host_function("linger", "for (time_t begin = time(NULL); time(NULL) - begin < 3;) sched_yield();");
  return 0;
}

static int drop_programs(void **state) {
  (void)state;
  baton_program_close(hold);
  baton_program_close(count);
  baton_program_close(linger);
  baton_error_clear(&err);
  return 0;
}

static int begin(baton_isolation kind) {
  int64_t one = 1;
  isolation = kind;
  ok(baton_tensor_zeros(BATON_I64, 1, &one, &gate, &err));
  ok(baton_tensor_zeros(BATON_I64, 1, &one, &n, &err));
  return 0;
}

static int use_threads(void **state) {
  (void)state;
  return begin(BATON_THREAD);
}

static int use_processes(void **state) {
  (void)state;
  return begin(BATON_PROCESS);
}

static int end(void **state) {
  (void)state;
  baton_tensor_close(gate);
  baton_tensor_close(n);
  return 0;
}

static baton_node *open_chips(uint32_t nchips) {
  static const baton_node_chip chips[] = {{.device = 0}, {.device = 1}};
  baton_node *node;
  ok(baton_node_open(&(baton_node_options){.chips = chips, .nchips = nchips, .isolation = isolation}, &node,
                     &err));
  return node;
}

static baton_node *open_node(void) { return open_chips(1); }

/* Without waiting for the tasks that use them. */
static int64_t *word_of(const baton_tensor *tensor) { return baton_tensor_view(tensor)->data; }
static void open_gate(void) { __atomic_store_n(word_of(gate), 1, __ATOMIC_RELEASE); }

static void expect_soon(time_t since) {
  if (time(NULL) > since + PATIENCE) {
    open_gate();
    fail_msg("what should happen has not");
  }
  sched_yield();
}

static baton_status submit(baton_node_orch *o, baton_program *program, baton_tensor *tensor,
                           baton_error *failure) {
  const baton_node_value value = {.tag = BATON_NO_DEP, .tensor = tensor};
  return baton_node_submit_next_level(o, program, &value, tensor != NULL, NULL, NULL, failure);
}

static baton_status hold_and_count(baton_node_orch *o, void *context, baton_error *failure) {
  (void)context;
  BATON_TRY(submit(o, hold, gate, failure));
  return submit(o, count, n, failure);
}

static baton_status only_count(baton_node_orch *o, void *context, baton_error *failure) {
  (void)context;
  return submit(o, count, n, failure);
}

static void check_usable(baton_node *node, int64_t counted) {
  *word_of(n) = 0;
  for (int i = 0; i < counted; i++) ok(baton_node_run_function(node, only_count, NULL, NULL, NULL, &err));
  assert_int_equal(*word_of(n), counted);
}

/* --- Who sees how far a node has come -------------------------------------------------------------------- */

typedef struct opener {
  baton_node *node;
  const char *first, *then_not; /* the dump has had the one, and has the other no more */
  pthread_t thread;
} opener;

static void *watch(void *context) {
  const opener *self = context;
  char text[4096];
  time_t since = time(NULL);
  int seen = 0;
  do {
    (void)baton_node_dump(self->node, text, sizeof text);
    seen |= strstr(text, self->first) != NULL;
    sched_yield();
  } while (time(NULL) <= since + PATIENCE && !(seen && !(self->then_not && strstr(text, self->then_not))));
  open_gate();
  return NULL;
}

/* Opens the gate when the node has come so far. */
static void begin_watch(opener *self) {
  assert_int_equal(pthread_create(&self->thread, NULL, watch, self), 0);
}

static void end_watch(const opener *self) { assert_int_equal(pthread_join(self->thread, NULL), 0); }

/* --- Failures -------------------------------------------------------------------------------------------- */

static baton_status fail_after(baton_node_orch *o, void *context, baton_error *failure) {
  BATON_TRY(hold_and_count(o, context, failure));
  begin_watch(context);
  return baton_error_set(failure, BATON_USER_FAIL, "enough");
}

static void what_has_not_begun_does_not_after_a_failure(void **state) {
  (void)state;
  baton_node *node = open_node();
  opener self = {.node = node, .first = "run 1", .then_not = ", being built"};
  assert_int_equal(baton_node_run_function(node, fail_after, &self, NULL, NULL, &err), BATON_USER_FAIL);
  end_watch(&self);
  assert_int_equal(*word_of(n), 0);
  check_usable(node, 2);
  baton_node_close(node);
}

static void a_deadline_ends_a_run(void **state) {
  (void)state;
  baton_node *node = open_node();
  baton_node_run *run;
  opener self = {.node = node, .first = "run 1: active, 2 tasks", .then_not = "waiting: count"};
  baton_config config = {.deadline = 0.5};
  begin_watch(&self);
  ok(baton_node_submit(node, hold_and_count, NULL, &config, &run, &err));
  assert_int_equal(baton_node_run_wait(run, -1, NULL, &err), BATON_TIMEOUT);
  end_watch(&self);
  assert_string_equal(err.message, "the run was not over after the deadline of 0.5 s, and cancelled");
  assert_int_equal(baton_node_run_wait(run, -1, NULL, &err), BATON_CANCELLED);
  assert_int_equal(*word_of(n), 0);
  baton_node_run_close(run);
  check_usable(node, 1);
  baton_node_close(node);
}

/* --- Limits ---------------------------------------------------------------------------------------------- */

static baton_status only_linger(baton_node_orch *o, void *context, baton_error *failure) {
  static const baton_node_task_options other = {.worker = 1};
  (void)context;
  return baton_node_submit_next_level(o, linger, NULL, 0, &other, NULL, failure);
}

static void a_timeout_holds_for_its_own_run(void **state) {
  (void)state;
  baton_node *node = open_chips(2);
  baton_config config = {.timeout = 1};
  ok(baton_node_run_function(node, only_count, NULL, &config, NULL, &err));
  ok(baton_node_run_function(node, only_linger, NULL, NULL, NULL, &err));
  baton_node_close(node);
}

/* --- Sizes ----------------------------------------------------------------------------------------------- */

enum { WINDOW = 16, TASKS = 1000, HEAP = 1 << 20 };

static baton_status submit_many(baton_node_orch *o, void *context, baton_error *failure) {
  BATON_TRY(submit(o, hold, gate, failure));
  begin_watch(context);
  for (int i = 0; i < TASKS; i++) BATON_TRY(submit(o, count, n, failure));
  return BATON_OK;
}

static baton_status take_heap(baton_node_orch *o, void *context, baton_error *failure) {
  int64_t bytes = *(const int64_t *)context;
  baton_view view;
  BATON_TRY(baton_node_scope_begin(o, failure)); /* ends with the function */
  return baton_node_alloc(o, BATON_U8, 1, &bytes, &view, failure);
}

static void a_run_has_the_sizes_that_it_asks_for(void **state) {
  (void)state;
  baton_node *node = open_node();
  baton_config heap = {.ring_heap = HEAP}, window = {.ring_task_window = WINDOW};
  opener self = {.node = node, .first = "waiting: count"};
  int64_t most = HEAP, more = HEAP + 1;
  baton_stats stats;
  for (int i = 0; i < 3; i++) {
    ok(baton_node_run_function(node, take_heap, &more, NULL, NULL, &err));
    assert_int_equal(baton_node_run_function(node, take_heap, &more, &heap, NULL, &err), BATON_HEAP_FULL);
    ok(baton_node_run_function(node, take_heap, &most, &heap, NULL, &err));
  }
  ok(baton_node_run_function(node, submit_many, &self, &window, NULL, &err));
  end_watch(&self);
  assert_int_equal(*word_of(n), TASKS);
  ok(baton_node_stats(node, BATON_ANY_WORKER, &stats, &err));
  assert_in_range(stats.window_high, 2, WINDOW);
  baton_node_close(node);
}

/* --- Inside ---------------------------------------------------------------------------------------------- */

typedef struct nested {
  baton_node *outer, *inner;
  baton_node_run *earlier;
} nested;

static baton_status ask_the_outer_one(baton_node_orch *o, void *context, baton_error *failure) {
  const nested *self = context;
  baton_node_buffer *buffer;
  (void)o, (void)failure;
  assert_int_equal(baton_node_run_wait(self->earlier, -1, NULL, &err), BATON_STATE);
  assert_int_equal(baton_node_run_function(self->outer, only_count, NULL, NULL, NULL, &err), BATON_STATE);
  assert_int_equal(baton_node_malloc(self->outer, 0, 8, &buffer, &err), BATON_STATE);
  assert_int_equal(baton_node_shutdown(self->outer, &err), BATON_STATE);
  return BATON_OK;
}

static baton_status enter_the_inner_one(baton_node_orch *o, void *context, baton_error *failure) {
  const nested *self = context;
  BATON_TRY(ask_the_outer_one(o, context, failure));
  return baton_node_run_function(self->inner, ask_the_outer_one, context, NULL, NULL, failure);
}

static void a_function_does_not_wait_for_itself(void **state) {
  (void)state;
  nested self = {.outer = open_node()};
  ok(baton_node_open(&(baton_node_options){.subs = 1, .isolation = isolation}, &self.inner, &err));
  opener watcher = {.node = self.outer, .first = "run 2"};
  ok(baton_node_submit(self.outer, hold_and_count, NULL, NULL, &self.earlier, &err));
  begin_watch(&watcher);
  ok(baton_node_run_function(self.outer, enter_the_inner_one, &self, NULL, NULL, &err));
  end_watch(&watcher);
  ok(baton_node_run_wait(self.earlier, -1, NULL, &err));
  baton_node_run_close(self.earlier);
  baton_node_close(self.inner);
  baton_node_close(self.outer);
}

static void *call_wait(void *context) {
  baton_error failure = {0};
  baton_node_orch *o = context;
  baton_status status = baton_node_wait(o, NULL, &failure);
  if (status == BATON_STATE) status = submit(o, count, n, &failure);
  baton_error_clear(&failure);
  return (void *)(uintptr_t)status;
}

static baton_status call_on_another_thread(baton_node_orch *o, void *context, baton_error *failure) {
  pthread_t thread;
  void *status;
  (void)context, (void)failure;
  assert_int_equal(pthread_create(&thread, NULL, call_wait, o), 0);
  assert_int_equal(pthread_join(thread, &status), 0);
  assert_int_equal((uintptr_t)status, BATON_STATE);
  return BATON_OK;
}

static void an_orchestration_is_of_its_thread(void **state) {
  (void)state;
  baton_node *node = open_node();
  ok(baton_node_run_function(node, call_on_another_thread, NULL, NULL, NULL, &err));
  assert_int_equal(*word_of(n), 0);
  baton_node_close(node);
}

/* --- The end of the node --------------------------------------------------------------------------------- */

static void *close_node(void *node) {
  baton_node_close(node);
  return NULL;
}

static void closing_cancels_runs_and_ends_buffers(void **state) {
  (void)state;
  baton_node *node = open_node();
  baton_node_run *held, *behind;
  baton_node_buffer *buffer;
  baton_view view;
  baton_stats stats;
  pthread_t thread;
  int64_t one = 1;
  ok(baton_node_malloc(node, 0, 8, &buffer, &err));
  ok(baton_node_submit(node, hold_and_count, NULL, NULL, &held, &err));
  ok(baton_node_submit(node, only_count, NULL, NULL, &behind, &err));
  assert_int_equal(pthread_create(&thread, NULL, close_node, node), 0);
  for (time_t since = time(NULL); baton_node_stats(node, 0, &stats, &err) != BATON_CLOSED;)
    expect_soon(since);
  assert_int_equal(baton_node_buffer_tensor(buffer, BATON_I64, 1, &one, 0, &view, &err), BATON_CLOSED);
  open_gate();
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(baton_node_run_wait(held, -1, NULL, &err), BATON_CANCELLED);
  assert_int_equal(baton_node_run_wait(behind, -1, NULL, &err), BATON_CANCELLED);
  assert_int_equal(*word_of(n), 0);
  baton_node_run_close(held);
  baton_node_run_close(behind);
  baton_node_buffer_close(buffer);
}

#define BOTH(test) \
  {#test " (thread)", test, use_threads, end, NULL}, { #test " (process)", test, use_processes, end, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(what_has_not_begun_does_not_after_a_failure),
      BOTH(a_deadline_ends_a_run),
      BOTH(a_run_has_the_sizes_that_it_asks_for),
      BOTH(a_function_does_not_wait_for_itself),
      BOTH(an_orchestration_is_of_its_thread),
      BOTH(closing_cancels_runs_and_ends_buffers),
      {"a_timeout_holds_for_its_own_run", a_timeout_holds_for_its_own_run, use_threads, end, NULL},
  };
  return cmocka_run_group_tests_name("node_runs", tests, make_programs, drop_programs);
}
