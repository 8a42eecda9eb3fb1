/* Blocks that cross to workers: what passes the checks, what is refused and by which name, and errors as bytes. */
#include "chip/dictation.h"
#include "chip/dictation_format.h"
#include "node/command.h"
#include <baton/baton.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Commands ------------------------------------------------------------------------------------------- */

/* A program with each kind of value: a host tensor whose rows run backwards, a tensor of a buffer, a scalar. */
enum { HOST, BUFFER, SCALAR, VALUES };

typedef struct block {
  _Alignas(8) char bytes[4096];
} block;

static node_command *command_of(block *b) { return (node_command *)(void *)b->bytes; }
static node_value *value_of(block *b, int i) { return &node_command_values(command_of(b))[i]; }
static node_config *config_of(block *b) {
  return (node_config *)(uintptr_t)node_command_config(command_of(b));
}

static baton_view rows_backwards(void) {
  return (baton_view){.dtype = BATON_F32, .ndim = 2, .shape = {3, 4}, .strides = {-4, 1}};
}

static void make_command(block *b) {
  memset(b, 0, sizeof *b);
  node_command *command = command_of(b);
  *command = (node_command){.operation = NODE_CALL_PROGRAM,
                            .flags = NODE_CONFIG,
                            .sequence = 7,
                            .callable = 3,
                            .nvalues = VALUES,
                            .ndata = 5};
  command->bytes = (uint32_t)node_command_bytes(1, VALUES, 5);
  strcpy(config_of(b)->runtime, "host_build_graph");
  *value_of(b, HOST) = (node_value){
      .kind = NODE_HOST_TENSOR, .tag = BATON_INOUT, .segment = 1, .bytes = 48, .view = rows_backwards()};
  *value_of(b, BUFFER) =
      (node_value){.kind = NODE_BUFFER_TENSOR, .tag = BATON_INPUT, .buffer = 9, .view = rows_backwards()};
  value_of(b, BUFFER)->view.data = (void *)(uintptr_t)32;
  *value_of(b, SCALAR) = (node_value){.kind = NODE_SCALAR, .tag = BATON_SCALAR, .dtype = BATON_I64};
  memcpy(node_command_data(command), "data", 5);
}

static const char *wrong_with(block *b, uint64_t bytes) {
  const char *field = "untouched";
  int passes = node_command_check(b->bytes, bytes, &field);
  assert_int_equal(passes, field == NULL);
  return field;
}

static const char *wrong(block *b) { return wrong_with(b, command_of(b)->bytes); }

#define assert_passes(b) assert_null(wrong(b))

/* The statement breaks a whole command `b`, which must then be refused for this field. */
#define assert_refused(name, statement)  \
  do {                                   \
    block b_;                            \
    block *b = &b_;                      \
    make_command(b);                     \
    assert_passes(b);                    \
    statement;                           \
    assert_non_null(wrong(b));           \
    assert_string_equal(name, wrong(b)); \
  } while (0)

static void whole_commands_pass(void **state) {
  (void)state;
  block b;
  make_command(&b);
  assert_passes(&b);
  assert_string_equal(node_command_data(command_of(&b)), "data");
  value_of(&b, HOST)->view.shape[1] = 0; /* no elements, no bytes */
  value_of(&b, HOST)->bytes = 0;
  assert_passes(&b);
  for (uint16_t operation = 1; operation < NODE_OPERATION_COUNT; operation++) {
    node_command plain = {.bytes = sizeof plain, .operation = operation};
    if (operation == NODE_COPY_TO || operation == NODE_COPY_FROM || operation == NODE_SETUP_ARENA) continue;
    const char *field;
    assert_true(node_command_check(&plain, sizeof plain, &field));
  }
}

static void commands_name_the_wrong_field_of_the_header(void **state) {
  (void)state;
  assert_refused("ndata", command_of(b)->bytes += 8);
  assert_refused("bytes", command_of(b)->bytes = (uint32_t)sizeof(node_command) - 8);
  assert_refused("bytes", command_of(b)->bytes = NODE_DATA_MOST + 8);
  assert_refused("operation", command_of(b)->operation = 0);
  assert_refused("operation", command_of(b)->operation = NODE_OPERATION_COUNT);
  assert_refused("flags", command_of(b)->flags |= 8);
  assert_refused("flags", (command_of(b)->flags |= NODE_FED, command_of(b)->operation = NODE_CALL_SCRIPT));
  assert_refused("ndata", command_of(b)->flags = 0);
  assert_refused("ndata", command_of(b)->ndata += 8);
  assert_refused("ndata", command_of(b)->ndata = UINT32_MAX);
  assert_refused("ndata", command_of(b)->nvalues = VALUES + 1);
  assert_refused("nvalues", command_of(b)->nvalues = NODE_VALUES_MOST + 1);
  assert_refused("nvalues", command_of(b)->nvalues = UINT32_MAX);
  assert_refused("config.runtime", memset(config_of(b)->runtime, 'r', sizeof config_of(b)->runtime));
  assert_refused("ndata", command_of(b)->operation = NODE_SETUP_ARENA);
  assert_refused("nvalues", command_of(b)->operation = NODE_COPY_TO);
}

static void commands_name_the_wrong_field_of_a_value(void **state) {
  (void)state;
  assert_refused("value.kind", value_of(b, HOST)->kind = 0);
  assert_refused("value.kind", value_of(b, SCALAR)->kind = NODE_SCALAR + 1);
  assert_refused("value.tag", value_of(b, SCALAR)->tag = BATON_SCALAR + 1);
  assert_refused("value.tag", value_of(b, HOST)->tag = BATON_SCALAR);
  assert_refused("value.tag", value_of(b, BUFFER)->tag = BATON_SCALAR);
  assert_refused("value.dtype", value_of(b, SCALAR)->dtype = BATON_NO_DTYPE);
  assert_refused("value.dtype", value_of(b, SCALAR)->dtype = BATON_DTYPE_COUNT);
  assert_refused("value.view.dtype", value_of(b, HOST)->view.dtype = BATON_NO_DTYPE);
  assert_refused("value.view.dtype", value_of(b, BUFFER)->view.dtype = BATON_DTYPE_COUNT);
  assert_refused("value.view.ndim", value_of(b, HOST)->view.ndim = BATON_MAX_DIMS + 1);
  assert_refused("value.view.shape", value_of(b, HOST)->view.shape[0] = -1);
  assert_refused("value.view.shape", value_of(b, HOST)->view.shape[0] = INT64_MAX);
  assert_refused("value.view.shape", value_of(b, BUFFER)->view.strides[0] = INT64_MIN);
  assert_refused("value.bytes", value_of(b, HOST)->bytes = 47);
  assert_refused("value.bytes", value_of(b, HOST)->bytes = 49);
  assert_refused("value.bytes", value_of(b, HOST)->view.strides[0] = -5);
  assert_refused("value.offset", value_of(b, HOST)->offset = UINT64_MAX - 47);
  assert_refused("value.address", value_of(b, HOST)->address = UINT64_MAX - 47);
  assert_refused("value.view.data", value_of(b, BUFFER)->view.data = (void *)(uintptr_t)31);
  assert_refused("value.view.data", value_of(b, BUFFER)->view.data = (void *)UINTPTR_MAX);
}

static void copies_are_between_a_buffer_and_host_memory(void **state) {
  (void)state;
  block b;
  make_command(&b);
  node_value host = *value_of(&b, HOST), buffer = *value_of(&b, BUFFER);
  node_command *command = command_of(&b);
  *command = (node_command){.bytes = (uint32_t)node_command_bytes(0, 2, 0), .nvalues = 2};
  for (int to = 0; to < 2; to++) {
    command->operation = to ? NODE_COPY_TO : NODE_COPY_FROM;
    *value_of(&b, 0) = to ? buffer : host;
    *value_of(&b, 1) = to ? host : buffer;
    assert_passes(&b);
    *value_of(&b, 0) = to ? host : buffer;
    assert_string_equal("value.kind", wrong(&b));
  }
}

static void blocks_that_end_early_are_refused(void **state) {
  (void)state;
  block b;
  const char *field;
  make_command(&b);
  for (uint64_t bytes = 0; bytes < command_of(&b)->bytes; bytes++) {
    char *exact = malloc(bytes ? bytes : 1); /* a read behind the end is for the address sanitizer to see */
    memcpy(exact, b.bytes, bytes);
    assert_false(node_command_check(exact, bytes, &field));
    assert_string_equal(field, "bytes"); /* which the block itself says otherwise */
    assert_false(node_reply_check(exact, bytes, &field));
    free(exact);
  }
}

/* --- Replies -------------------------------------------------------------------------------------------- */

static const char *wrong_reply(node_reply reply, uint64_t bytes) {
  block b = {{0}};
  const char *field = "untouched";
  memcpy(b.bytes, &reply, sizeof reply);
  int passes = node_reply_check(b.bytes, bytes, &field);
  assert_int_equal(passes, field == NULL);
  return field;
}

static node_reply whole_reply(void) {
  return (node_reply){.bytes = sizeof(node_reply) + 8, .sequence = 3, .ndata = 3, .host_us = 1};
}

#define assert_reply_refused(name, statement)                   \
  do {                                                          \
    node_reply reply = whole_reply();                           \
    assert_null(wrong_reply(reply, reply.bytes));               \
    statement;                                                  \
    assert_non_null(wrong_reply(reply, reply.bytes));           \
    assert_string_equal(name, wrong_reply(reply, reply.bytes)); \
  } while (0)

/* --- Calls of a graph ----------------------------------------------------------------------------------- */

/* A task with everything that a task can have: options, deps, a name, a predicate, a tensor and a scalar. */
typedef struct graph_block {
  node_command command;
  chip_said said;
  chip_said_lane lane;
  chip_said_options options;
  uint32_t deps[2];
  char name[8];
  chip_said_predicate predicate;
  chip_said_arg operand;
  int64_t operand_shape[2], index[1];
  chip_said_arg tensor;
  int64_t shape[4];
  chip_said_arg scalar;
} graph_block;

static void make_graph(graph_block *b) {
  const chip_said_arg tensor = {.tag = BATON_INPUT, .dtype = BATON_I32, .origin = CHIP_FROM_ARGUMENT};
  uint32_t bytes = (uint32_t)(sizeof *b - sizeof b->command);
  memset(b, 0, sizeof *b);
  b->command = (node_command){.bytes = sizeof *b, .operation = NODE_GRAPH, .ndata = bytes};
  b->said = (chip_said){.bytes = bytes,
                        .call = CHIP_SAYS_SUBMIT,
                        .detail = BATON_AIV,
                        .flags = CHIP_SAYS_OPTIONS | CHIP_SAYS_PREDICATE};
  b->lane = (chip_said_lane){.kernel = 1, .nargs = 2};
  b->options = (chip_said_options){.ndeps = 2, .name = 6};
  strcpy(b->name, "label");
  b->predicate = (chip_said_predicate){.compare = BATON_LESS, .nindex = 1};
  b->operand = b->tensor = tensor;
  b->operand.ndim = 1;
  b->operand_shape[0] = 3;
  b->tensor.ndim = 2;
  b->shape[0] = b->shape[1] = 2;
  b->scalar = (chip_said_arg){.tag = BATON_SCALAR, .dtype = BATON_F64};
}

static const char *wrong_graph(const graph_block *b) {
  const char *field;
  (void)node_command_check(b, sizeof *b, &field);
  return field;
}

#define assert_graph_refused(name, statement)  \
  do {                                         \
    graph_block block_, *b = &block_;          \
    make_graph(b);                             \
    assert_null(wrong_graph(b));               \
    statement;                                 \
    assert_non_null(wrong_graph(b));           \
    assert_string_equal(name, wrong_graph(b)); \
  } while (0)

static void calls_of_a_graph_name_the_wrong_field(void **state) {
  (void)state;
  assert_graph_refused("flags", b->command.flags = NODE_REPORT);
  assert_graph_refused("call.bytes", b->said.bytes = 0);
  assert_graph_refused("call.bytes", b->said.bytes += 8);
  assert_graph_refused("call.bytes", b->said.bytes = UINT32_MAX - 7);
  assert_graph_refused("call", b->said.call = 0);
  assert_graph_refused("call", b->said.call = CHIP_SAYINGS);
  assert_graph_refused("call.flags", b->said.flags |= 8);
  assert_graph_refused("call.detail", b->said.detail = 3);
  assert_graph_refused("call.nargs", b->lane.nargs = UINT32_MAX);
  assert_graph_refused("call.deps", b->options.ndeps = UINT32_MAX);
  assert_graph_refused("call.name", b->options.name = UINT32_MAX);
  assert_graph_refused("call.name", b->name[5] = 'l');
  assert_graph_refused("call.predicate", b->predicate.compare = BATON_GREATER_EQUAL + 1);
  assert_graph_refused("call.predicate", b->predicate.nindex = BATON_MAX_DIMS + 1);
  assert_graph_refused("call.index", b->predicate.nindex = 2);
  assert_graph_refused("call.arg", b->tensor.tag = BATON_SCALAR + 1);
  assert_graph_refused("call.arg", b->tensor.dtype = BATON_DTYPE_COUNT);
  assert_graph_refused("call.arg", b->tensor.ndim = BATON_MAX_DIMS + 1);
  assert_graph_refused("call.arg", b->tensor.origin = CHIP_FROM_MADE + 1);
  assert_graph_refused("call.arg.shape", b->shape[0] = INT64_MAX);
  assert_graph_refused("call.arg.shape", b->shape[0] = -1);
  assert_graph_refused("call.arg.shape", b->tensor.dtype = BATON_NO_DTYPE);
}

static void calls_of_a_graph_that_end_early_are_refused(void **state) {
  (void)state;
  graph_block b;
  const char *field;
  make_graph(&b);
  for (uint32_t bytes = 8; bytes < b.said.bytes; bytes += 8) {
    assert_false(chip_dictation_check(&b.said, bytes, &field));
    graph_block shorter = b;
    shorter.said.bytes = bytes;
    assert_false(chip_dictation_check(&shorter.said, bytes, &field));
  }
  assert_true(chip_dictation_check(&b.said, b.said.bytes, &field));
  assert_int_equal(chip_dictation_cut((const char *)&b.said, b.said.bytes), b.said.bytes);
}

static void replies_name_the_wrong_field(void **state) {
  (void)state;
  assert_string_equal("bytes", wrong_reply(whole_reply(), 48));
  assert_string_equal("bytes", wrong_reply(whole_reply(), sizeof(node_reply) - 1));
  assert_reply_refused("bytes", (reply.bytes = NODE_DATA_MOST + 8, reply.ndata = NODE_DATA_MOST - 24));
  assert_reply_refused("ndata", reply.ndata = 9);
  assert_reply_refused("ndata", reply.ndata = UINT32_MAX);
  assert_reply_refused("status", reply.status = BATON_STATUS_COUNT);
  assert_reply_refused("lost", reply.lost = 2);
  assert_reply_refused("asks", reply.asks = 2);
  assert_reply_refused("device_us", reply.device_us = -1);
  assert_reply_refused("device_us", reply.device_us = NAN);
  assert_reply_refused("host_us", reply.host_us = NAN);
}

/* --- Errors --------------------------------------------------------------------------------------------- */

enum { LONGEST = 65535, ROOM = 1 << 20 };

static char *text_of(size_t length) {
  char *text = malloc(length + 1);
  memset(text, 'x', length);
  text[length] = 0;
  return text;
}

static void make_error(baton_error *err) {
  baton_error_set(err, BATON_KERNEL_CRASH, "kernel add: crashed at %d%%", 100);
  baton_error_text(err, BATON_FIELD_HINT, "mend it");
  baton_error_text(err, BATON_FIELD_TASK, "sum");
  baton_error_text(err, BATON_FIELD_KERNEL, "add");
  baton_error_text(err, BATON_FIELD_CAUSE, "a stack\n  of frames");
  baton_error_text(err, BATON_FIELD_PATH, "%s", "");
  err->known = 2 * BATON_KNOWN_AFTER_MS - 1;
  err->core = -1;
  err->device = 2;
  err->worker = 3;
  err->signal = 11;
  err->round = INT64_MIN;
  err->after_ms = 0.25;
}

static void errors_arrive_with_every_field(void **state) {
  (void)state;
  baton_error sent = {0}, arrived = {0};
  char *data = malloc(ROOM);
  make_error(&sent);
  baton_error_set(&arrived, BATON_BUSY, "what was there before");
  uint64_t bytes = node_error_pack(&sent, data, ROOM);
  assert_true(node_error_unpack(data, bytes, &arrived));
  assert_int_equal(arrived.code, BATON_KERNEL_CRASH);
  assert_string_equal(arrived.message, "kernel add: crashed at 100%");
  assert_string_equal(arrived.hint, "mend it");
  assert_string_equal(arrived.task, "sum");
  assert_string_equal(arrived.kernel, "add");
  assert_string_equal(arrived.cause, "a stack\n  of frames");
  assert_string_equal(arrived.path, "");
  assert_int_equal(arrived.known, sent.known);
  assert_int_equal(arrived.core, -1);
  assert_int_equal(arrived.device, 2);
  assert_int_equal(arrived.worker, 3);
  assert_int_equal(arrived.signal, 11);
  assert_true(arrived.round == INT64_MIN);
  assert_true(arrived.after_ms == 0.25);
  baton_error_set(&sent, BATON_CANCELLED, "short");
  assert_true(node_error_unpack(data, node_error_pack(&sent, data, ROOM), &arrived));
  assert_string_equal(arrived.message, "short");
  assert_null(arrived.hint);
  assert_null(arrived.path);
  assert_int_equal(arrived.known, 0);
  baton_error_clear(&sent);
  baton_error_clear(&arrived);
  free(data);
}

static void errors_are_cut_at_their_longest_texts(void **state) {
  (void)state;
  baton_error sent = {0}, arrived = {0};
  char *data = malloc(ROOM), *longest = text_of(LONGEST);
  make_error(&sent);
  baton_error_text(&sent, BATON_FIELD_MESSAGE, "%s", longest);
  baton_error_text(&sent, BATON_FIELD_CAUSE, "%s", longest);
  assert_true(node_error_unpack(data, node_error_pack(&sent, data, ROOM), &arrived));
  assert_string_equal(arrived.message, longest);
  assert_string_equal(arrived.cause, longest);
  uint64_t bytes = node_error_pack(&sent, data, 4096);
  assert_in_range(bytes, 4090, 4096);
  assert_true(node_error_unpack(data, bytes, &arrived));
  assert_in_range(strlen(arrived.message), 1900, 2048);
  assert_int_equal(strlen(arrived.cause), strlen(arrived.message));
  assert_string_equal(arrived.hint, "mend it");
  for (uint64_t room = 0; room < 200;
       room++) { /* whatever the room, what is written is an error, or nothing is */
    bytes = node_error_pack(&sent, data, room);
    assert_true(bytes <= room);
    assert_int_equal(node_error_unpack(data, bytes, &arrived), bytes > 0);
  }
  assert_true(bytes > 0);
  baton_error_clear(&sent);
  baton_error_clear(&arrived);
  free(longest);
  free(data);
}

/* Packs an error, writes `value` over the word at `offset`; true if it is unpacked nevertheless. */
static int unpacks_with(size_t offset, uint32_t value) {
  baton_error err = {0};
  char data[4096];
  make_error(&err);
  uint64_t bytes = node_error_pack(&err, data, sizeof data);
  memcpy(data + offset, &value, sizeof value);
  char *exact = malloc(bytes);
  memcpy(exact, data, bytes);
  int unpacks = node_error_unpack(exact, bytes, &err);
  if (!unpacks) assert_null(err.message);
  if (!unpacks) assert_int_equal(err.code, BATON_OK);
  baton_error_clear(&err);
  free(exact);
  return unpacks;
}

static void what_is_no_error_is_refused(void **state) {
  (void)state;
  enum { CODE = 0, KNOWN = 4, FIRST_LENGTH = 40, TEXT = 64 };
  assert_true(unpacks_with(CODE, BATON_BUSY));
  assert_false(unpacks_with(CODE, BATON_OK));
  assert_false(unpacks_with(CODE, BATON_STATUS_COUNT));
  assert_false(unpacks_with(KNOWN, 2 * BATON_KNOWN_AFTER_MS));
  for (size_t i = 0; i < 6; i++) {
    assert_false(unpacks_with(FIRST_LENGTH + 4 * i, 1));
    assert_false(unpacks_with(FIRST_LENGTH + 4 * i, LONGEST + 1));
    assert_false(unpacks_with(FIRST_LENGTH + 4 * i, UINT32_MAX - 1));
  }
  assert_true(unpacks_with(TEXT, 0x20202020));
  assert_false(unpacks_with(TEXT, 0x20200020)); /* an end in the middle of a text */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_commands_pass),
      cmocka_unit_test(commands_name_the_wrong_field_of_the_header),
      cmocka_unit_test(commands_name_the_wrong_field_of_a_value),
      cmocka_unit_test(copies_are_between_a_buffer_and_host_memory),
      cmocka_unit_test(blocks_that_end_early_are_refused),
      cmocka_unit_test(calls_of_a_graph_name_the_wrong_field),
      cmocka_unit_test(calls_of_a_graph_that_end_early_are_refused),
      cmocka_unit_test(replies_name_the_wrong_field),
      cmocka_unit_test(errors_arrive_with_every_field),
      cmocka_unit_test(errors_are_cut_at_their_longest_texts),
      cmocka_unit_test(what_is_no_error_is_refused),
  };
  return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
