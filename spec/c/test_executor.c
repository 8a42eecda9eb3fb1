/* The executor behind a thread of this process: what all endpoints do, and what only those in the same process can. */
#include "endpoint_suite.h"
#include "node/numbers.h"
#include <sched.h>

/* --- Numbers -------------------------------------------------------------------------------------------- */

static void numbers_agree_with_an_array(void **state) {
  enum { STEPS = 200000, NUMBERS = 200 };
  static char things[NUMBERS];
  (void)state;
  node_numbers numbers = {0};
  int there[NUMBERS] = {0};
  uint32_t count = 0, random = 1;
  for (int step = 0; step < STEPS; step++) {
    random = random * 1664525u + 1013904223u;
    uint32_t i = (random >> 8) % NUMBERS;
    uint64_t number = ((uint64_t)(i % 40) << 48) + i; /* near each other, and far */
    assert_ptr_equal(node_numbers_find(&numbers, number), there[i] ? &things[i] : NULL);
    if (there[i]) {
      assert_ptr_equal(node_numbers_remove(&numbers, number), &things[i]);
      count--;
    } else if (count < NUMBERS / 2) {
      assert_true(node_numbers_reserve(&numbers));
      node_numbers_add(&numbers, number, &things[i]);
      count++;
    } else {
      assert_null(node_numbers_remove(&numbers, number));
      continue;
    }
    there[i] = !there[i];
    assert_int_equal(numbers.count, count);
  }
  node_numbers_close(&numbers);
}

/* --- Functions of a script language: here the language has four words ----------------------------------- */

static _Atomic uint32_t states, interrupts, waiting;

static baton_status open_state(void **state, baton_error *err) {
  (void)err;
  states++;
  *state = &states;
  return BATON_OK;
}

static void close_state(void *state) {
  assert_ptr_equal(state, &states);
  states--;
}

static int is_word(const char *data, uint64_t bytes, const char *word) {
  return bytes == strlen(word) && memcmp(data, word, bytes) == 0;
}

static baton_status call_word(void *state, const char *data, uint64_t bytes, const baton_view *views,
                              uint32_t nviews, node_bytes *result, baton_error *err) {
  assert_ptr_equal(state, &states);
  if (is_word(data, bytes, "sum")) {
    for (uint32_t i = 1; i < nviews; i++) *(float *)views[0].data += *(const float *)views[i].data;
    if (!result->data) result->data = base_alloc(result->room = 64);
    result->size = 3;
    memcpy(result->data, "sum", 3);
    return BATON_OK;
  }
  if (is_word(data, bytes, "wait")) { /* deaf to the first two interrupts, as one that is about to begin */
    uint32_t before = interrupts;
    for (waiting = 1; interrupts < before + 3;) sched_yield();
    return baton_error_set(err, BATON_CANCELLED, "the function was interrupted");
  }
  baton_error_set(err, BATON_USER_FAIL, "there is no word %.*s", (int)bytes, data);
  return baton_error_text(err, BATON_FIELD_CAUSE, "line 1");
}

static void build_word(void *state, const char *data, uint64_t bytes, baton_orch *o, const baton_args *args) {
  assert_ptr_equal(state, &states);
  if (!is_word(data, bytes, "build")) {
    baton_orch_fail(o, "there is no word %.*s", (int)bytes, data);
    return;
  }
  baton_arg list[] = {baton_input(baton_param(o, args, 0)), baton_inout(baton_param(o, args, 1))};
  baton_aiv(o, baton_kernel(o, "k"), list, 2, 0);
}

static void interrupt(void *state) {
  assert_ptr_equal(state, &states);
  interrupts++;
}

static const node_script_calls words = {
    .open = open_state, .close = close_state, .call = call_word, .graph = build_word, .interrupt = interrupt};

static node_endpoint *open_with_words(const baton_worker_options *chip) {
  suite_close(suite_open(NULL)); /* makes the bell */
  node_endpoint_options options = {.chip = chip, .scripts = &words, .bell = suite_bell};
  node_endpoint *endpoint;
  assert_int_equal(suite_calls->start(&options, &endpoint, NULL), BATON_OK);
  assert_int_equal(suite_calls->ready(endpoint, base_deadline(SUITE_SECONDS), NULL), BATON_OK);
  return endpoint;
}

static void post_word(node_endpoint *endpoint, suite_command *command, const char *word) {
  uint64_t size = strlen(word), bytes = node_command_bytes(0, command->head.nvalues, size);
  node_command *block = base_calloc(1, bytes);
  command->head.ndata = (uint32_t)size;
  command->head.bytes = (uint32_t)bytes;
  memcpy(block, command, sizeof *block + command->head.nvalues * sizeof(node_value));
  memcpy(node_command_data(block), word, size);
  assert_true(node_mailbox_post(&endpoint->mailbox, NODE_TASKS, block, 0));
  base_free(block);
}

static void a_script_gets_its_tensors(void **state) {
  (void)state;
  node_endpoint *endpoint = open_with_words(NULL);
  baton_tensor *x = suite_tensor(BATON_F32, 1), *y = suite_tensor(BATON_F32, 1);
  suite_floats(x)[0] = 2;
  suite_floats(y)[0] = 3;
  assert_int_equal(states, 0); /* made when it is needed, once */
  for (int times = 1; times <= 3; times++) {
    suite_command command = suite_make(NODE_CALL_SCRIPT);
    suite_host(endpoint, &command, x, BATON_INOUT);
    suite_host(endpoint, &command, y, BATON_INOUT);
    post_word(endpoint, &command, "sum");
    const node_reply *reply = suite_take(endpoint, NODE_TASKS);
    suite_ok(reply);
    assert_int_equal(reply->ndata, 3);
    assert_memory_equal(node_reply_data(reply), "sum", 3);
    assert_true(suite_floats(x)[0] == (float)(2 + 3 * times));
  }
  assert_int_equal(states, 1);
  suite_command command = suite_make(NODE_CALL_SCRIPT);
  post_word(endpoint, &command, "nonsense");
  baton_error err =
      suite_error(suite_take(endpoint, NODE_TASKS), BATON_USER_FAIL, "there is no word nonsense");
  assert_string_equal(err.cause, "line 1");
  baton_error_clear(&err);
  baton_tensor_close(x);
  baton_tensor_close(y);
  suite_close(endpoint);
  assert_int_equal(states, 0);
}

static void a_cancelled_script_is_interrupted(void **state) {
  (void)state;
  node_endpoint *endpoint = open_with_words(NULL);
  suite_command command = suite_make(NODE_CALL_SCRIPT);
  command.head.run = 8;
  waiting = 0;
  post_word(endpoint, &command, "wait");
  while (!waiting) sched_yield();
  node_mailbox_cancel(&endpoint->mailbox, 7); /* another run */
  assert_int_equal(suite_control(endpoint, NODE_PING, 0, NULL, 0, NULL, NULL), BATON_OK);
  assert_int_equal(interrupts, 0);
  node_mailbox_cancel(&endpoint->mailbox, 8);
  suite_fails(suite_take(endpoint, NODE_TASKS), BATON_CANCELLED, "the function was interrupted");
  suite_close(endpoint);
}

static void without_a_language_scripts_are_refused(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  suite_command command = suite_make(NODE_CALL_SCRIPT);
  post_word(endpoint, &command, "sum");
  suite_fails(suite_take(endpoint, NODE_TASKS), BATON_UNSUPPORTED, "this worker calls no Lua functions");
  suite_close(endpoint);
}

/* --- Programs of this process --------------------------------------------------------------------------- */

static void twice(const baton_args *args) {
  for (int64_t i = 0; i < baton_numel(args, 0); i++)
    baton_io(args, 1, float)[i] = 2 * baton_in(args, 0, float)[i];
}

/* Stands for a graph function of another thread. */
static void build_elsewhere(baton_orch *o, const baton_args *args) {
  (void)args;
  baton_orch_fail(o, "called on the wrong thread");
}

static void build_here(baton_orch *o, const baton_args *args) { build_word(&states, "build", 5, o, args); }

static const baton_kernel_options kernel = {.name = "k", .core = BATON_AIV, .function = twice},
                                  packed = {.name = "k", .core = BATON_AIV, .code = suite_twice};

static baton_program *make_program(const baton_kernel_options *k, baton_orchestrate build) {
  const baton_program_options options = {
      .name = "p", .kernels = k, .nkernels = 1, .orchestrate = build, .graph = 1};
  baton_program *program;
  assert_int_equal(baton_program_create(&options, &program, NULL), BATON_OK);
  return program;
}

static baton_status register_here(node_endpoint *endpoint, baton_program *program, baton_error *err) {
  node_command command = {.bytes = sizeof command,
                          .operation = NODE_REGISTER,
                          .callable = 1,
                          .buffer = (uint64_t)(uintptr_t)program};
  return node_endpoint_control(endpoint, &command, base_deadline(SUITE_SECONDS), NULL, err);
}

static void assert_twice(node_endpoint *endpoint) {
  baton_tensor *x = suite_tensor(BATON_F32, 4), *y = suite_tensor(BATON_F32, 4);
  suite_floats(x)[3] = 3;
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 1;
  suite_host(endpoint, &command, x, BATON_INPUT);
  suite_host(endpoint, &command, y, BATON_INOUT);
  suite_ok(suite_call(endpoint, NODE_TASKS, &command));
  assert_true(suite_floats(y)[3] == 6);
  baton_tensor_close(x);
  baton_tensor_close(y);
}

static void a_program_of_this_process_goes_by_its_address(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  baton_program *program = make_program(&kernel, build_here);
  assert_int_equal(register_here(endpoint, program, NULL), BATON_OK);
  baton_program_close(program); /* the worker has a hold */
  assert_twice(endpoint);
  suite_close(endpoint);
}

static void a_graph_is_built_from_its_script(void **state) {
  (void)state;
  node_endpoint *endpoint = open_with_words(&(baton_worker_options){.threads = 1});
  baton_program *program = make_program(&packed, build_elsewhere);
  assert_int_equal(chip_program_set_script(program, "build", 5, NULL), BATON_OK);
  assert_int_equal(register_here(endpoint, program, NULL), BATON_OK);
  assert_twice(endpoint);
  suite_close(endpoint);
  endpoint = suite_open_chip();
  baton_error err = {0};
  assert_int_equal(register_here(endpoint, program, &err), BATON_UNSUPPORTED);
  assert_string_equal(err.message, "p: its graph is a Lua function, this worker calls none");
  baton_error_clear(&err);
  baton_program_close(program);
  suite_close(endpoint);
}

/* --- Threads -------------------------------------------------------------------------------------------- */

static void what_does_not_open_says_why(void **state) {
  (void)state;
  node_endpoint_options options = {.chip = &(baton_worker_options){.platform = "abacus"}, .bell = suite_bell};
  node_endpoint *endpoint;
  baton_error err = {0};
  assert_int_equal(suite_calls->start(&options, &endpoint, NULL), BATON_OK);
  assert_int_equal(suite_calls->ready(endpoint, base_deadline(SUITE_SECONDS), &err), BATON_UNSUPPORTED);
  assert_string_equal(err.message, "platform 'abacus' is not supported, only: a2a3sim, a5sim");
  assert_int_equal(suite_control(endpoint, NODE_PING, 0, NULL, 0, NULL, &err), BATON_WORKER_LOST);
  assert_true(endpoint->died);
  baton_error_clear(&err);
  suite_close(endpoint);
}

static void a_restart_keeps_buffers(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  baton_tensor *x = suite_tensor(BATON_F32, 4);
  suite_floats(x)[3] = 7;
  suite_malloc(endpoint, 1, 16);
  suite_ok(suite_copy(endpoint, NODE_COPY_TO, 1, 0, x, 16));
  suite_floats(x)[3] = 0;
  assert_int_equal(suite_calls->restart(endpoint, NULL), BATON_OK);
  assert_int_equal(suite_calls->ready(endpoint, base_deadline(SUITE_SECONDS), NULL), BATON_OK);
  suite_ok(suite_copy(endpoint, NODE_COPY_FROM, 1, 0, x, 16));
  assert_true(suite_floats(x)[3] == 7);
  baton_tensor_close(x);
  suite_close(endpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ENDPOINT_SUITE,
      cmocka_unit_test(numbers_agree_with_an_array),
      cmocka_unit_test(a_script_gets_its_tensors),
      cmocka_unit_test(a_cancelled_script_is_interrupted),
      cmocka_unit_test(without_a_language_scripts_are_refused),
      cmocka_unit_test(a_program_of_this_process_goes_by_its_address),
      cmocka_unit_test(a_graph_is_built_from_its_script),
      cmocka_unit_test(what_does_not_open_says_why),
      cmocka_unit_test(a_restart_keeps_buffers),
  };
  suite_calls = &node_endpoint_thread;
  return cmocka_run_group_tests_name("executor", tests, NULL, NULL);
}
