/* What every kind of endpoint does. A test includes this once, says which kind it is about (suite_calls), and runs ENDPOINT_SUITE
** beside tests of its own. Host memory lies in tensors of Baton, so that a child finds it. */
#ifndef ENDPOINT_SUITE_H
#define ENDPOINT_SUITE_H

#include "base/clock.h"
#include "base/memory.h"
#include "base/segment.h"
#include "chip/program/pack.h"
#include "node/endpoint.h"
#include "tensor/storage.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SUITE_SECONDS = 60, SUITE_VALUES = 8, SUITE_ELEMENTS = 256 };

static const node_endpoint_calls *suite_calls; /* the kind */
static base_extent suite_bell_memory;          /* of this test */
static node_doorbell *suite_bell;
static uint64_t suite_sequence;

/* --- Opening and calling -------------------------------------------------------------------------------- */

/* A chip, or with NULL a sub worker, that is ready. */
static node_endpoint *suite_open(const baton_worker_options *chip) {
  node_endpoint *endpoint = NULL;
  baton_error err = {0};
  if (!suite_bell) {
    assert_int_equal(base_extent_alloc(sizeof *suite_bell, 4096, &suite_bell_memory, NULL), BATON_OK);
    suite_bell = memset(suite_bell_memory.address, 0, sizeof *suite_bell);
  }
  node_endpoint_options options = {
      .chip = chip, .worker = 3, .bell = suite_bell, .startup_deadline = base_deadline(SUITE_SECONDS)};
  if (suite_calls->start(&options, &endpoint, &err) != BATON_OK ||
      suite_calls->ready(endpoint, base_deadline(SUITE_SECONDS), &err) != BATON_OK)
    fail_msg("%s", err.message);
  return endpoint;
}

static node_endpoint *suite_open_chip(void) {
  return suite_open(&(baton_worker_options){.threads = 2, .config.timeout = SUITE_SECONDS});
}

static void suite_close(node_endpoint *endpoint) {
  baton_error err = {0};
  if (suite_calls->close(endpoint, base_deadline(SUITE_SECONDS), &err) != BATON_OK)
    fail_msg("%s", err.message);
}

/* A command with room for values. */
typedef struct suite_command {
  node_command head;
  node_value values[SUITE_VALUES];
} suite_command;

static suite_command suite_make(node_operation operation) {
  return (suite_command){.head = {.operation = (uint16_t)operation, .sequence = ++suite_sequence}};
}

static void suite_host(node_endpoint *endpoint, suite_command *command, const baton_tensor *tensor,
                       baton_tag tag) {
  node_value *value = &command->values[command->head.nvalues++];
  const baton_view *view = baton_tensor_view(tensor);
  uint64_t below, above;
  assert_true(tensor_reach(view, &below, &above));
  *value = (node_value){.kind = NODE_HOST_TENSOR, .tag = (uint8_t)tag, .bytes = below + above, .view = *view};
  value->address = (uint64_t)(uintptr_t)view->data - below;
  if (!suite_calls->shares) return;
  uint32_t segment;
  assert_true(suite_calls->shares(endpoint, (void *)(uintptr_t)value->address, value->bytes, &segment,
                                  &value->offset));
  value->segment = segment + 1;
}

static void suite_scalar(suite_command *command, double scalar) {
  command->values[command->head.nvalues++] =
      (node_value){.kind = NODE_SCALAR, .tag = BATON_SCALAR, .dtype = BATON_F64, .scalar.f64 = scalar};
}

/* `count` elements of a buffer, from byte `offset` on. */
static void suite_buffer(suite_command *command, uint64_t number, baton_dtype dtype, uint64_t offset,
                         int64_t count, baton_tag tag) {
  command->values[command->head.nvalues++] = (node_value){.kind = NODE_BUFFER_TENSOR,
                                                          .tag = (uint8_t)tag,
                                                          .buffer = number,
                                                          .view = {.dtype = (uint8_t)dtype,
                                                                   .ndim = 1,
                                                                   .data = (void *)(uintptr_t)offset,
                                                                   .shape = {count},
                                                                   .strides = {1}}};
}

static void suite_post(node_endpoint *endpoint, node_lane lane, suite_command *command) {
  command->head.bytes = (uint32_t)node_command_bytes(0, command->head.nvalues, 0);
  assert_true(node_mailbox_post(&endpoint->mailbox, lane, &command->head, 0));
}

/* The next reply of a lane, which lives until the next one. */
static const node_reply *suite_take(node_endpoint *endpoint, node_lane lane) {
  const void *block = NULL;
  baton_error err = {0};
  int64_t deadline = base_deadline(SUITE_SECONDS);
  for (;;) {
    uint32_t announced = node_doorbell_announce(suite_bell);
    if (node_mailbox_take(&endpoint->mailbox, lane, &block, &err) != BATON_OK) fail_msg("%s", err.message);
    if (block) break;
    if (!node_doorbell_sleep(suite_bell, announced, deadline)) fail_msg("no reply");
  }
  node_doorbell_withdraw(suite_bell);
  return block;
}

static const node_reply *suite_call(node_endpoint *endpoint, node_lane lane, suite_command *command) {
  suite_post(endpoint, lane, command);
  const node_reply *reply = suite_take(endpoint, lane);
  assert_int_equal(reply->sequence, command->head.sequence);
  return reply;
}

static void suite_ok(const node_reply *reply) {
  baton_error err = {0};
  if (reply->status == BATON_OK) return;
  assert_true(node_error_unpack(node_reply_data(reply), reply->ndata, &err));
  fail_msg("%s", err.message);
}

/* The error of a reply; its texts are given back by baton_error_clear. */
static baton_error suite_error(const node_reply *reply, baton_status code, const char *message) {
  baton_error err = {0};
  assert_string_equal(baton_status_word((baton_status)reply->status), baton_status_word(code));
  assert_true(node_error_unpack(node_reply_data(reply), reply->ndata, &err));
  assert_int_equal(err.code, code);
  assert_string_equal(err.message, message);
  return err;
}

static void suite_fails(const node_reply *reply, baton_status code, const char *message) {
  baton_error err = suite_error(reply, code, message);
  baton_error_clear(&err);
}

static baton_status suite_control(node_endpoint *endpoint, node_operation operation, uint32_t callable,
                                  const void *data, size_t size, node_bytes *out, baton_error *err) {
  uint64_t bytes = node_command_bytes(0, 0, size);
  node_command *command = base_calloc(1, bytes);
  *command = (node_command){.bytes = (uint32_t)bytes,
                            .operation = (uint16_t)operation,
                            .callable = callable,
                            .ndata = (uint32_t)size};
  if (size) memcpy(node_command_data(command), data, size);
  baton_status status = node_endpoint_control(endpoint, command, base_deadline(SUITE_SECONDS), out, err);
  base_free(command);
  return status;
}

static void suite_register(node_endpoint *endpoint, uint32_t callable, const baton_program_options *options) {
  baton_program *program;
  chip_text bytes = {0};
  baton_error err = {0};
  if (baton_program_create(options, &program, &err) != BATON_OK ||
      chip_program_pack(program, &bytes, &err) != BATON_OK ||
      suite_control(endpoint, NODE_REGISTER, callable, bytes.data, bytes.length, NULL, &err) != BATON_OK)
    fail_msg("%s", err.message);
  chip_text_free(&bytes);
  baton_program_close(program);
}

static void suite_register_host(node_endpoint *endpoint, uint32_t callable, const char *code) {
  const baton_kernel_options host = {.code = code};
  suite_register(endpoint, callable, &(baton_program_options){.name = "f", .host = &host});
}

static baton_tensor *suite_tensor(baton_dtype dtype, int64_t count) {
  baton_tensor *tensor;
  assert_int_equal(baton_tensor_zeros(dtype, 1, &count, &tensor, NULL), BATON_OK);
  return tensor;
}

static float *suite_floats(const baton_tensor *tensor) { return baton_tensor_view(tensor)->data; }

static void suite_malloc(node_endpoint *endpoint, uint64_t number, uint64_t nbytes) {
  suite_command command = suite_make(NODE_MALLOC);
  command.head.buffer = number;
  command.head.size = nbytes;
  const node_reply *reply = suite_call(endpoint, NODE_TRANSFERS, &command);
  uint64_t address = 0;
  suite_ok(reply);
  assert_int_equal(reply->ndata, sizeof address);
  memcpy(&address, node_reply_data(reply), sizeof address);
  assert_true(address != 0);
}

/* `nbytes` bytes between a tensor and a buffer, from its byte `offset` on. */
static const node_reply *suite_copy(node_endpoint *endpoint, node_operation operation, uint64_t number,
                                    uint64_t offset, const baton_tensor *host, uint64_t nbytes) {
  suite_command command = suite_make(operation);
  command.head.size = nbytes;
  if (operation == NODE_COPY_FROM) suite_host(endpoint, &command, host, BATON_OUTPUT);
  suite_buffer(&command, number, BATON_U8, offset, (int64_t)nbytes, BATON_INOUT);
  if (operation == NODE_COPY_TO) suite_host(endpoint, &command, host, BATON_INPUT);
  return suite_call(endpoint, NODE_TRANSFERS, &command);
}

/* --- Programs ------------------------------------------------------------------------------------------- */

#define SUITE_KERNEL        "#include <baton/kernel.h>\n"
#define SUITE_CRASH         "#include <signal.h>\n" SUITE_KERNEL /* by a signal that cmocka leaves alone */
#define SUITE_ORCHESTRATION "#include <baton/orchestration.h>\n"

/* One kernel that gets all arguments of the program: y = 2 x, unless the code says otherwise. */
static void suite_register_chip(node_endpoint *endpoint, uint32_t callable, const char *kernel, int waits) {
  const baton_parameter params[] = {{.name = "x", .direction = BATON_IN},
                                    {.name = "y", .direction = BATON_IN_OUT}};
  const baton_kernel_options kernels[] = {
      {.name = "k", .core = BATON_AIV, .code = kernel, .waits = waits, .params = params, .nparams = 2}};
  suite_register(endpoint, callable,
                 &(baton_program_options){.name = "p",
                                          .params = params,
                                          .nparams = 2,
                                          .kernels = kernels,
                                          .nkernels = 1,
                                          .orchestration_code = SUITE_ORCHESTRATION
                                          "BATON_ORCHESTRATION(p) {\n"
                                          "  baton_arg list[] = {baton_untagged(baton_param(o, args, 0)),\n"
                                          "                      baton_untagged(baton_param(o, args, 1))};\n"
                                          "  baton_aiv(o, baton_kernel(o, \"k\"), list, 2, 0);\n"
                                          "}\n"});
}

static const char suite_twice[] =
    SUITE_KERNEL "BATON_KERNEL(k) {\n"
                 "  for (int64_t i = 0; i < baton_numel(args, 0); i++)\n"
                 "    baton_io(args, 1, float)[i] = 2 * baton_in(args, 0, float)[i];\n"
                 "}\n";

/* y[0] = 1, then waits until x[0] is not 0. */
static const char suite_flagged[] = SUITE_KERNEL "BATON_KERNEL(k) {\n"
                                                 "  const volatile float *x = baton_in(args, 0, float);\n"
                                                 "  volatile float *y = baton_io(args, 1, float);\n"
                                                 "  for (y[0] = 1; x[0] == 0;) continue;\n"
                                                 "  y[0] = 2;\n"
                                                 "}\n";

/* --- Functions of the host ------------------------------------------------------------------------------ */

static void a_function_of_the_host_gets_views(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  suite_register_host(endpoint, 7,
                      SUITE_KERNEL "BATON_KERNEL(f) {\n"
                                   "  const baton_view *x = baton_arg_tensor(args, 0);\n"
                                   "  const float *data = (const float *)x->data;\n"
                                   "  float *y = baton_out(args, 1, float);\n"
                                   "  for (int64_t i = 0; i < x->shape[0]; i++)\n"
                                   "    y[i] += baton_scalar_f32(args, 2) * data[i * x->strides[0]];\n"
                                   "}\n");
  baton_tensor *x = suite_tensor(BATON_F32, SUITE_ELEMENTS), *y = suite_tensor(BATON_F32, SUITE_ELEMENTS / 2);
  for (int i = 0; i < SUITE_ELEMENTS; i++) suite_floats(x)[i] = (float)i;
  baton_view even = *baton_tensor_view(x); /* every other element, backwards */
  even.data = suite_floats(x) + SUITE_ELEMENTS - 2;
  even.shape[0] = SUITE_ELEMENTS / 2;
  even.strides[0] = -2;
  baton_tensor *strided;
  assert_int_equal(baton_tensor_from_view(x, &even, &strided, NULL), BATON_OK);
  for (int times = 0; times < 3; times++) {
    suite_command command = suite_make(NODE_CALL_PROGRAM);
    command.head.callable = 7;
    suite_host(endpoint, &command, strided, BATON_INPUT);
    suite_host(endpoint, &command, y, BATON_INOUT);
    suite_scalar(&command, 10);
    suite_ok(suite_call(endpoint, NODE_TASKS, &command));
  }
  for (int i = 0; i < SUITE_ELEMENTS / 2; i++)
    assert_true(suite_floats(y)[i] == 30 * (float)(SUITE_ELEMENTS - 2 - 2 * i));
  baton_tensor_close(strided);
  baton_tensor_close(x);
  baton_tensor_close(y);
  suite_close(endpoint);
}

static const node_reply *suite_call_plain(node_endpoint *endpoint, uint32_t callable, const baton_tensor *x) {
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = callable;
  if (x) suite_host(endpoint, &command, x, BATON_INPUT);
  return suite_call(endpoint, NODE_TASKS, &command);
}

static void its_failures_are_errors(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  baton_tensor *x = suite_tensor(BATON_F32, 4);
  suite_register_host(endpoint, 1,
                      SUITE_KERNEL "BATON_KERNEL(f) { baton_kernel_fail(args, \"no %d\", 42); }\n");
  suite_register_host(endpoint, 2, SUITE_KERNEL "BATON_KERNEL(f) { baton_out(args, 0, float)[0] = 1; }\n");
  suite_register_host(endpoint, 3, SUITE_KERNEL "BATON_KERNEL(f) { baton_wait_ge(args, 0, 1); }\n");
  baton_error err =
      suite_error(suite_call_plain(endpoint, 1, NULL), BATON_USER_FAIL, "f: host function f: no 42");
  assert_string_equal(err.kernel, "f");
  baton_error_clear(&err);
  suite_fails(suite_call_plain(endpoint, 2, x), BATON_SIGNATURE,
              "f: host function f: argument 0 is an input of this task, the kernel asked to write it");
  suite_fails(suite_call_plain(endpoint, 3, x), BATON_SIGNATURE,
              "f: host function f: baton_wait_ge is for kernels");
  suite_fails(suite_call_plain(endpoint, 4, NULL), BATON_STALE_HANDLE, "call: there is no program 4");
  baton_tensor_close(x);
  suite_close(endpoint);
}

static void its_crash_is_an_error(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  suite_register_host(endpoint, 1, SUITE_CRASH "BATON_KERNEL(f) { raise(SIGTRAP); }\n");
  suite_register_host(endpoint, 2, SUITE_KERNEL "BATON_KERNEL(f) { (void)args; }\n");
  const node_reply *reply = suite_call_plain(endpoint, 1, NULL);
  baton_error err = {0};
  assert_int_equal(reply->status, BATON_KERNEL_CRASH);
  assert_int_equal(reply->lost, 0); /* no chip was left in the middle */
  assert_true(node_error_unpack(node_reply_data(reply), reply->ndata, &err));
  assert_true(err.known & BATON_KNOWN_SIGNAL);
  baton_error_clear(&err);
  suite_ok(suite_call_plain(endpoint, 2, NULL));
  suite_close(endpoint);
}

static void replies_come_in_order(void **state) {
  (void)state;
  enum { CALLS = 20000, AHEAD = 64 };
  node_endpoint *endpoint = suite_open(NULL);
  suite_register_host(endpoint, 1, SUITE_KERNEL "BATON_KERNEL(f) { ++*baton_io(args, 0, int64_t); }\n");
  baton_tensor *x = suite_tensor(BATON_I64, 1);
  uint64_t first = suite_sequence + 1;
  for (int i = 0; i < CALLS + AHEAD; i++) {
    if (i >= AHEAD) {
      const node_reply *reply = suite_take(endpoint, NODE_TASKS);
      suite_ok(reply);
      assert_int_equal(reply->sequence, first + (uint64_t)(i - AHEAD));
    }
    if (i >= CALLS) continue;
    suite_command command = suite_make(NODE_CALL_PROGRAM);
    command.head.callable = 1;
    suite_host(endpoint, &command, x, BATON_INOUT);
    suite_post(endpoint, NODE_TASKS, &command);
  }
  assert_int_equal(*(int64_t *)baton_tensor_view(x)->data, CALLS);
  baton_tensor_close(x);
  suite_close(endpoint);
}

/* --- Programs of the chip ------------------------------------------------------------------------------- */

static void a_program_runs_on_the_chip(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  suite_register_chip(endpoint, 1, suite_twice, 0);
  baton_tensor *x = suite_tensor(BATON_F32, SUITE_ELEMENTS), *y = suite_tensor(BATON_F32, SUITE_ELEMENTS);
  for (int i = 0; i < SUITE_ELEMENTS; i++) suite_floats(x)[i] = (float)i;
  for (int times = 0; times < 100; times++) {
    memset(suite_floats(y), 0, SUITE_ELEMENTS * sizeof(float));
    suite_command command = suite_make(NODE_CALL_PROGRAM);
    command.head.callable = 1;
    suite_host(endpoint, &command, x, BATON_INPUT);
    suite_host(endpoint, &command, y, BATON_INOUT);
    const node_reply *reply = suite_call(endpoint, NODE_TASKS, &command);
    suite_ok(reply);
    assert_true(reply->device_us > 0);
    for (int i = 0; i < SUITE_ELEMENTS; i++) assert_true(suite_floats(y)[i] == 2 * (float)i);
  }
  baton_tensor_close(x);
  baton_tensor_close(y);
  suite_close(endpoint);
}

static void errors_keep_their_fields(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  suite_register_chip(endpoint, 1, SUITE_KERNEL "BATON_KERNEL(k) { baton_kernel_fail(args, \"no\"); }\n", 0);
  baton_tensor *x = suite_tensor(BATON_F32, 4), *y = suite_tensor(BATON_F32, 4);
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 1;
  suite_host(endpoint, &command, x, BATON_INPUT);
  suite_host(endpoint, &command, y, BATON_INOUT);
  const node_reply *reply = suite_call(endpoint, NODE_TASKS, &command);
  assert_int_equal(reply->lost, 0);
  baton_error err = suite_error(reply, BATON_USER_FAIL, "task k: kernel k: no");
  assert_string_equal(err.kernel, "k");
  assert_string_equal(err.task, "k");
  assert_int_equal(err.known, BATON_KNOWN_CORE | BATON_KNOWN_WORKER);
  assert_int_equal(err.worker, 3);
  baton_error_clear(&err);
  command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 1;
  suite_scalar(&command, 1);
  suite_fails(suite_call(endpoint, NODE_TASKS, &command), BATON_SIGNATURE,
              "p: 2 arguments (x, y) expected, got 1");
  baton_tensor_close(x);
  baton_tensor_close(y);
  suite_close(endpoint);
}

/* The flags of suite_flagged: x is the first, y the second float of buffer 1. */
static void suite_begin_flagged(node_endpoint *endpoint, uint32_t run) {
  baton_tensor *flags = suite_tensor(BATON_F32, 2);
  suite_ok(suite_copy(endpoint, NODE_COPY_TO, 1, 0, flags, 8));
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 1;
  command.head.run = run;
  suite_buffer(&command, 1, BATON_F32, 0, 1, BATON_INPUT);
  suite_buffer(&command, 1, BATON_F32, 4, 1, BATON_INOUT);
  suite_post(endpoint, NODE_TASKS, &command);
  while (suite_floats(flags)[1] != 1) suite_ok(suite_copy(endpoint, NODE_COPY_FROM, 1, 0, flags, 8));
  baton_tensor_close(flags);
}

static void copies_and_control_go_on_while_a_kernel_runs(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  suite_register_chip(endpoint, 1, suite_flagged, 0);
  suite_malloc(endpoint, 1, 4096);
  suite_begin_flagged(endpoint, 0);
  assert_int_equal(suite_control(endpoint, NODE_PING, 0, NULL, 0, NULL, NULL), BATON_OK);
  suite_malloc(endpoint, 2, 4096);
  baton_tensor *one = suite_tensor(BATON_F32, 1);
  suite_floats(one)[0] = 1;
  suite_ok(suite_copy(endpoint, NODE_COPY_TO, 1, 0, one, 4));
  suite_ok(suite_take(endpoint, NODE_TASKS));
  suite_ok(suite_copy(endpoint, NODE_COPY_FROM, 1, 4, one, 4));
  assert_true(suite_floats(one)[0] == 2);
  baton_tensor_close(one);
  suite_close(endpoint);
}

static void a_cancelled_run_ends(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  suite_register_chip(endpoint, 1,
                      SUITE_KERNEL "BATON_KERNEL(k) {\n"
                                   "  baton_io(args, 1, float)[0] = 1;\n"
                                   "  baton_wait_ge(args, (const int32_t *)baton_in(args, 0, float), 1);\n"
                                   "}\n",
                      1);
  suite_register_host(endpoint, 2, SUITE_KERNEL "BATON_KERNEL(f) { (void)args; }\n");
  suite_malloc(endpoint, 1, 4096);
  suite_begin_flagged(endpoint, 4);
  uint64_t queued = 0;
  for (uint32_t run = 5; run <= 6; run++) { /* behind it: one that is cancelled too, and one that is not */
    suite_command command = suite_make(NODE_CALL_PROGRAM);
    command.head.callable = 2;
    command.head.run = run;
    queued = command.head.sequence;
    suite_post(endpoint, NODE_TASKS, &command);
  }
  node_mailbox_cancel(&endpoint->mailbox, 5);
  suite_fails(suite_take(endpoint, NODE_TASKS), BATON_CANCELLED, "p: the run was cancelled");
  suite_fails(suite_take(endpoint, NODE_TASKS), BATON_CANCELLED, "the run was cancelled");
  const node_reply *reply = suite_take(endpoint, NODE_TASKS);
  suite_ok(reply);
  assert_int_equal(reply->sequence, queued);
  suite_close(endpoint);
}

static void a_lost_chip_is_restarted(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  baton_tensor *x = suite_tensor(BATON_F32, 4), *y = suite_tensor(BATON_F32, 4);
  suite_floats(x)[3] = 3;
  suite_register_chip(endpoint, 1, SUITE_CRASH "BATON_KERNEL(k) { raise(SIGTRAP); }\n", 0);
  suite_register_chip(endpoint, 2, suite_twice, 0);
  for (uint32_t callable = 1; callable <= 2; callable++) {
    suite_command command = suite_make(NODE_CALL_PROGRAM);
    command.head.callable = callable;
    suite_host(endpoint, &command, x, BATON_INPUT);
    suite_host(endpoint, &command, y, BATON_INOUT);
    const node_reply *reply = suite_call(endpoint, NODE_TASKS, &command);
    assert_int_equal(reply->status, callable == 1 ? BATON_KERNEL_CRASH : BATON_WORKER_LOST);
    assert_int_equal(reply->lost, 1);
  }
  baton_error err = {0};
  if (suite_calls->restart(endpoint, &err) != BATON_OK ||
      suite_calls->ready(endpoint, base_deadline(SUITE_SECONDS), &err) != BATON_OK)
    fail_msg("%s", err.message);
  assert_int_equal(endpoint->started, 2);
  suite_register_chip(endpoint, 2, suite_twice, 0); /* also where it is known already */
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 2;
  suite_host(endpoint, &command, x, BATON_INPUT);
  suite_host(endpoint, &command, y, BATON_INOUT);
  suite_ok(suite_call(endpoint, NODE_TASKS, &command));
  assert_true(suite_floats(y)[3] == 6);
  baton_tensor_close(x);
  baton_tensor_close(y);
  suite_close(endpoint);
}

/* It then runs on the thread that waits for it. */
static void a_program_that_was_short_may_hang_or_crash(void **state) {
  static const char *const codes[] = {
      /* a thread sanitizer delivers signals in calls only */
      "#include <unistd.h>\n" SUITE_KERNEL "BATON_KERNEL(k) {\n"
      "  for (volatile int more = baton_in(args, 0, float)[0] != 0; more;) usleep(100);\n"
      "  baton_io(args, 1, float)[0] = 1;\n"
      "}\n",
      SUITE_CRASH "BATON_KERNEL(k) {\n"
                  "  if (baton_in(args, 0, float)[0] != 0) raise(SIGTRAP);\n"
                  "  baton_io(args, 1, float)[0] = 1;\n"
                  "}\n"};
  static const baton_status statuses[] = {BATON_OP_TIMEOUT, BATON_KERNEL_CRASH};
  enum { SHORT_RUNS = 200 };
  (void)state;
  for (int i = 0; i < 2; i++) {
    node_endpoint *endpoint = suite_open(&(baton_worker_options){.threads = 2, .config.timeout = 0.2});
    suite_register_chip(endpoint, 1, codes[i], 0);
    baton_tensor *x = suite_tensor(BATON_F32, 1), *y = suite_tensor(BATON_F32, 1);
    suite_command command = suite_make(NODE_CALL_PROGRAM);
    command.head.callable = 1;
    suite_host(endpoint, &command, x, BATON_INPUT);
    suite_host(endpoint, &command, y, BATON_INOUT);
    for (int times = 0; times < SHORT_RUNS; times++) suite_ok(suite_call(endpoint, NODE_TASKS, &command));
    suite_floats(x)[0] = 1;
    const node_reply *reply = suite_call(endpoint, NODE_TASKS, &command);
    assert_string_equal(baton_status_word((baton_status)reply->status), baton_status_word(statuses[i]));
    assert_int_equal(reply->lost, 1);
    assert_int_equal(suite_call(endpoint, NODE_TASKS, &command)->status, BATON_WORKER_LOST);
    baton_tensor_close(x);
    baton_tensor_close(y);
    suite_close(endpoint);
  }
}

/* --- Child memory --------------------------------------------------------------------------------------- */

static void child_memory_has_numbers(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  suite_register_chip(endpoint, 1, suite_twice, 0);
  baton_tensor *x = suite_tensor(BATON_F32, 8), *y = suite_tensor(BATON_F32, 4), *odd;
  for (int i = 0; i < 8; i++) suite_floats(x)[i] = (float)i;
  baton_view view = *baton_tensor_view(x);
  view.data = suite_floats(x) + 1;
  view.shape[0] = 4;
  view.strides[0] = 2;
  assert_int_equal(baton_tensor_from_view(x, &view, &odd, NULL), BATON_OK);
  suite_malloc(endpoint, UINT64_C(1) << 40, 64);
  suite_malloc(endpoint, 2, 64);
  suite_ok(suite_copy(endpoint, NODE_COPY_TO, UINT64_C(1) << 40, 16, odd, 16)); /* packed on its way */
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 1;
  suite_buffer(&command, UINT64_C(1) << 40, BATON_F32, 16, 4, BATON_INPUT);
  suite_buffer(&command, 2, BATON_F32, 8, 4, BATON_INOUT);
  suite_ok(suite_call(endpoint, NODE_TASKS, &command));
  suite_ok(suite_copy(endpoint, NODE_COPY_FROM, 2, 8, y, 16));
  for (int i = 0; i < 4; i++) assert_true(suite_floats(y)[i] == (float)(2 * (2 * i + 1)));
  suite_ok(suite_copy(endpoint, NODE_COPY_FROM, 2, 8, odd, 16)); /* unpacked */
  for (int i = 0; i < 8; i++) assert_true(suite_floats(x)[i] == (i % 2 ? (float)(2 * i) : (float)i));
  baton_tensor_close(odd);
  baton_tensor_close(x);
  baton_tensor_close(y);
  suite_close(endpoint);
}

static const node_reply *suite_free(node_endpoint *endpoint, uint64_t number) {
  suite_command command = suite_make(NODE_FREE);
  command.head.buffer = number;
  return suite_call(endpoint, NODE_TRANSFERS, &command);
}

static void numbers_without_memory_are_refused(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  baton_tensor *x = suite_tensor(BATON_F32, 4);
  suite_register_chip(endpoint, 1, suite_twice, 0);
  suite_malloc(endpoint, 1, 64);
  suite_fails(suite_copy(endpoint, NODE_COPY_TO, 2, 0, x, 16), BATON_STALE_HANDLE,
              "copy_to: there is no buffer 2");
  suite_fails(suite_copy(endpoint, NODE_COPY_FROM, 1, 56, x, 16), BATON_OUT_OF_RANGE,
              "copy_from: bytes [56,72) of a buffer of 64");
  suite_fails(suite_copy(endpoint, NODE_COPY_TO, 1, 0, x, 20), BATON_OUT_OF_RANGE,
              "copy_to: bytes [0,20) of a host tensor of 16");
  suite_command command = suite_make(NODE_CALL_PROGRAM);
  command.head.callable = 1;
  suite_buffer(&command, 1, BATON_F32, 0, 4, BATON_INPUT);
  suite_buffer(&command, 9, BATON_F32, 0, 4, BATON_INOUT);
  suite_fails(suite_call(endpoint, NODE_TASKS, &command), BATON_STALE_HANDLE,
              "p: argument 2: there is no buffer 9");
  command.head.nvalues = 1;
  suite_buffer(&command, 1, BATON_F32, 60, 4, BATON_INOUT);
  suite_fails(suite_call(endpoint, NODE_TASKS, &command), BATON_OUT_OF_RANGE,
              "p: argument 2 (y): bytes [60,76) of a buffer of 64");
  suite_command again = suite_make(NODE_MALLOC);
  again.head.buffer = 1;
  again.head.size = 64;
  suite_fails(suite_call(endpoint, NODE_TRANSFERS, &again), BATON_PROTOCOL_ERROR,
              "malloc: there is a buffer 1");
  suite_ok(suite_free(endpoint, 1));
  suite_fails(suite_free(endpoint, 1), BATON_STALE_HANDLE, "free: there is no buffer 1");
  again.head.size = UINT64_C(1) << 50;
  const node_reply *reply = suite_call(endpoint, NODE_TRANSFERS, &again);
  assert_int_equal(reply->status, BATON_OUT_OF_MEMORY);
  suite_malloc(endpoint, 1, 64); /* its number is free again */
  baton_tensor_close(x);
  suite_close(endpoint);
}

static void a_sub_worker_has_no_chip(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  suite_command command = suite_make(NODE_MALLOC);
  command.head.size = 64;
  suite_fails(suite_call(endpoint, NODE_TRANSFERS, &command), BATON_UNSUPPORTED,
              "malloc: a sub worker has no device memory");
  baton_program *program;
  chip_text bytes = {0};
  baton_error err = {0};
  const baton_program_options options = {.name = "p",
                                         .orchestration_code = SUITE_ORCHESTRATION
                                         "BATON_ORCHESTRATION(p) { (void)o, (void)args; }\n"};
  assert_int_equal(baton_program_create(&options, &program, NULL), BATON_OK);
  assert_int_equal(chip_program_pack(program, &bytes, NULL), BATON_OK);
  assert_int_equal(suite_control(endpoint, NODE_REGISTER, 1, bytes.data, bytes.length, NULL, &err),
                   BATON_UNSUPPORTED);
  assert_string_equal(err.message, "p: a sub worker runs functions of the host only");
  baton_error_clear(&err);
  chip_text_free(&bytes);
  baton_program_close(program);
  suite_close(endpoint);
}

/* --- Control -------------------------------------------------------------------------------------------- */

static void control_calls_answer(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  node_bytes out = {0};
  baton_error err = {0};
  baton_arena arena = {.heap = 1 << 20};
  uint32_t changed = 9;
  for (uint32_t expected = 1; expected + 1 > 0; expected--) { /* changed, then large enough */
    assert_int_equal(suite_control(endpoint, NODE_SETUP_ARENA, 0, &arena, sizeof arena, &out, NULL),
                     BATON_OK);
    assert_int_equal(out.size, sizeof changed);
    memcpy(&changed, out.data, sizeof changed);
    assert_int_equal(changed, expected);
  }
  baton_stats stats;
  suite_malloc(endpoint, 1, 4096);
  assert_int_equal(suite_control(endpoint, NODE_STATS, 0, NULL, 0, &out, NULL), BATON_OK);
  assert_int_equal(out.size, sizeof stats);
  memcpy(&stats, out.data, sizeof stats);
  assert_int_equal(stats.arenas_committed, 1);
  assert_int_equal(stats.committed_bytes, (1 << 20) + 4096);
  assert_int_equal(suite_control(endpoint, NODE_DUMP, 0, NULL, 0, &out, NULL), BATON_OK);
  assert_non_null(memmem(out.data, out.size, "a2a3sim", 7));
  assert_int_equal(suite_control(endpoint, NODE_UNREGISTER, 5, NULL, 0, NULL, &err), BATON_STALE_HANDLE);
  assert_string_equal(err.message, "unregister: there is no program 5");
  assert_int_equal(suite_control(endpoint, NODE_REGISTER, 5, "nonsense", 8, NULL, &err),
                   BATON_PROTOCOL_ERROR);
  assert_string_equal(err.message, "a packed program: the beginning makes no sense");
  assert_int_equal(suite_control(endpoint, NODE_CALL_PROGRAM, 5, NULL, 0, NULL, &err), BATON_PROTOCOL_ERROR);
  assert_string_equal(err.message, "call of a program: does not belong on lane 2");
  baton_error_clear(&err);
  base_free(out.data);
  suite_close(endpoint);
}

static void programs_come_and_go(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  const char *const codes[] = {SUITE_KERNEL "BATON_KERNEL(f) { baton_kernel_fail(args, \"one\"); }\n",
                               SUITE_KERNEL "BATON_KERNEL(f) { baton_kernel_fail(args, \"two\"); }\n"};
  const char *const messages[] = {"f: host function f: one", "f: host function f: two"};
  for (uint32_t i = 0; i < 6; i++) {
    suite_register_host(endpoint, 1, codes[i % 2]); /* takes the place of the one before */
    suite_register_host(endpoint, 65 + i, codes[0]);
    suite_fails(suite_call_plain(endpoint, 1, NULL), BATON_USER_FAIL, messages[i % 2]);
    suite_fails(suite_call_plain(endpoint, 65 + i, NULL), BATON_USER_FAIL, messages[0]);
  }
  for (uint32_t callable = 65; callable < 71; callable++) {
    assert_int_equal(suite_control(endpoint, NODE_UNREGISTER, callable, NULL, 0, NULL, NULL), BATON_OK);
    assert_int_equal(suite_call_plain(endpoint, callable, NULL)->status, BATON_STALE_HANDLE);
    suite_fails(suite_call_plain(endpoint, 1, NULL), BATON_USER_FAIL, messages[1]);
  }
  suite_close(endpoint);
}

static void after_the_end_there_is_nobody(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open(NULL);
  baton_error err = {0};
  assert_int_equal(suite_control(endpoint, NODE_END, 0, NULL, 0, NULL, NULL), BATON_OK);
  assert_int_equal(suite_control(endpoint, NODE_PING, 0, NULL, 0, NULL, &err), BATON_WORKER_LOST);
  assert_non_null(err.message);
  baton_error_clear(&err);
  suite_close(endpoint);
}

static void closing_ends_what_runs(void **state) {
  (void)state;
  node_endpoint *endpoint = suite_open_chip();
  suite_register_chip(endpoint, 1,
                      SUITE_KERNEL "BATON_KERNEL(k) {\n"
                                   "  baton_io(args, 1, float)[0] = 1;\n"
                                   "  baton_wait_ge(args, (const int32_t *)baton_in(args, 0, float), 1);\n"
                                   "}\n",
                      1);
  suite_malloc(endpoint, 1, 4096);
  suite_begin_flagged(endpoint, 0);
  suite_close(endpoint);
}

#define ENDPOINT_SUITE                                                                                  \
  cmocka_unit_test(a_function_of_the_host_gets_views), cmocka_unit_test(its_failures_are_errors),       \
      cmocka_unit_test(its_crash_is_an_error), cmocka_unit_test(replies_come_in_order),                 \
      cmocka_unit_test(a_program_runs_on_the_chip), cmocka_unit_test(errors_keep_their_fields),         \
      cmocka_unit_test(copies_and_control_go_on_while_a_kernel_runs),                                   \
      cmocka_unit_test(a_cancelled_run_ends), cmocka_unit_test(a_lost_chip_is_restarted),               \
      cmocka_unit_test(a_program_that_was_short_may_hang_or_crash),                                     \
      cmocka_unit_test(child_memory_has_numbers), cmocka_unit_test(numbers_without_memory_are_refused), \
      cmocka_unit_test(a_sub_worker_has_no_chip), cmocka_unit_test(control_calls_answer),               \
      cmocka_unit_test(programs_come_and_go), cmocka_unit_test(after_the_end_there_is_nobody),          \
      cmocka_unit_test(closing_ends_what_runs)

#endif
