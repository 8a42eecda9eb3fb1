/* Fuzzes what a mailbox reads (libFuzzer): whatever the bytes are, they are a block that passes every check, or are refused; nothing
** else is read or written. The first byte of an input chooses: one block, an error, or memory of both ends of a lane.
** Build with clang and -DBATON_SANITIZE=fuzzer-no-link,address,undefined; run fuzz_frame DIRECTORY. replay_frame, which every
** build has, runs the inputs of spec/c/corpus once. */
#include "chip/dictation_format.h"
#include "node/mailbox.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_LINES = 64, MOST_BLOCKS = 2 * MOST_LINES };

static void require(int holds) {
  if (!holds) abort();
}

/* Every part of every call of a graph lies within the call. */
static void walk_calls(const char *at, uint64_t bytes) {
  const char *field, *end = at + bytes;
  chip_heard heard;
  while (at < end) {
    uint64_t one = chip_said_hear(at, (uint64_t)(end - at), &heard, &field);
    const chip_said_arg *arg = heard.args;
    require(one && one <= (uint64_t)(end - at));
    for (uint32_t i = 0; i < heard.nargs; i++, arg = chip_said_next(arg))
      require((const char *)(arg + 1) <= at + one && arg->ndim <= BATON_MAX_DIMS);
    require((const char *)arg <= at + one);
    if (heard.name) require(heard.name + strlen(heard.name) < at + one);
    if (heard.options && heard.options->ndeps)
      require((const char *)(heard.deps + heard.options->ndeps) <= at + one);
    at += one;
  }
}

/* Everything that a reader of a checked command looks at lies within the block. */
static void walk_command(const node_command *command, uint64_t bytes) {
  const node_config *config = node_command_config(command);
  const char *end = (const char *)command + bytes;
  if (config) require(strnlen(config->runtime, sizeof config->runtime) < sizeof config->runtime);
  for (uint32_t i = 0; i < command->nvalues; i++) {
    const node_value *value = &node_command_values(command)[i];
    require((const char *)(value + 1) <= end);
    if (value->kind == NODE_SCALAR) continue;
    require(value->view.ndim <= BATON_MAX_DIMS && baton_dtype_size((baton_dtype)value->view.dtype) > 0);
    require(value->kind == NODE_BUFFER_TENSOR || value->offset + value->bytes >= value->offset);
  }
  require(node_command_data(command) + command->ndata <= end);
  if (command->operation == NODE_GRAPH) walk_calls(node_command_data(command), command->ndata);
}

static void walk_reply(const node_reply *reply, uint64_t bytes) {
  require(node_reply_data(reply) + reply->ndata <= (const char *)reply + bytes);
  require(reply->status < BATON_STATUS_COUNT);
}

/* The address sanitizer sees reads behind `size`. */
static void check_block(const uint8_t *data, size_t size) {
  const char *field;
  void *exact = malloc(size ? size : 1);
  require(exact != NULL);
  memcpy(exact, data, size);
  if (node_command_check(exact, size, &field)) walk_command(exact, size);
  if (node_reply_check(exact, size, &field)) walk_reply(exact, size);
  free(exact);
}

static void check_error(const uint8_t *data, size_t size) {
  baton_error err = {0};
  char again[1 << 12];
  if (!node_error_unpack(data, size, &err)) {
    require(err.code == BATON_OK && !err.message);
    return;
  }
  require(err.code != BATON_OK && err.code < BATON_STATUS_COUNT && err.message);
  uint64_t bytes = node_error_pack(&err, again, sizeof again);
  require(bytes <= sizeof again && node_error_unpack(again, bytes, &err));
  baton_error_clear(&err);
}

/* --- Hostile memory ------------------------------------------------------------------------------------- */

static void *shared_memory(void) {
  static void *memory;
  if (memory) return memory;
  memory = mmap(NULL, node_mailbox_size(), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(memory != MAP_FAILED);
  node_mailbox_init(memory);
  return memory;
}

/* One line of the ring for each 64 bytes of the input; a lap of 0 in the input is the right one. What follows the first line lies
** beside the ring, too. */
static void write_ring(node_ring *ring, const uint8_t *data, size_t size) {
  char *lines = (char *)ring->lines;
  memcpy(lines, data, size);
  if (size > BASE_CACHE_LINE) memcpy(ring->large, data + BASE_CACHE_LINE, size - BASE_CACHE_LINE);
  for (size_t at = 0; at < size; at += BASE_CACHE_LINE) {
    uint32_t lap;
    memcpy(&lap, lines + at, sizeof lap);
    lap++;
    memcpy(lines + at, &lap, sizeof lap);
  }
}

static void take_all(node_mailbox *mailbox) {
  const void *block;
  baton_error err = {0};
  for (int taken = 0; taken < MOST_BLOCKS; taken++) {
    int has = node_mailbox_has(mailbox, NODE_CONTROL);
    baton_status status = node_mailbox_take(mailbox, NODE_CONTROL, &block, &err);
    require(status == BATON_OK || status == BATON_PROTOCOL_ERROR);
    require(has == (status != BATON_OK || block != NULL));
    if (!block) break;
    uint64_t bytes = *(const uint32_t *)block;
    mailbox->is_server ? walk_command(block, bytes) : walk_reply(block, bytes);
  }
  baton_error_clear(&err);
}

static void check_ring(const uint8_t *data, size_t size, int is_server) {
  node_mailbox mailbox = {0};
  size_t most = (size_t)MOST_LINES * BASE_CACHE_LINE;
  if (size > most) size = most;
  require(node_mailbox_attach(&mailbox, shared_memory(), NULL, is_server, NULL) == BATON_OK);
  node_ring ring = mailbox.ends[NODE_CONTROL].in;
  write_ring(&ring, data, size);
  take_all(&mailbox);
  node_mailbox_detach(&mailbox);
  memset(ring.lines, 0, most);
  memset(ring.large, 0, most);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  switch (data[0] % 4) {
  case 0: check_block(data + 1, size - 1); break;
  case 1: check_error(data + 1, size - 1); break;
  default: check_ring(data + 1, size - 1, data[0] % 4 == 2); break;
  }
  return 0;
}
