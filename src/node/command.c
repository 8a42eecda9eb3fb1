#include "node/command.h"
#include "chip/dictation.h"
#include "tensor/storage.h"
#include <string.h>

static uint64_t whole_words(uint64_t bytes) { return (bytes + 7) & ~(uint64_t)7; }

uint64_t node_command_bytes(int has_config, uint32_t nvalues, uint64_t ndata) {
  uint64_t config = has_config ? sizeof(node_config) : 0;
  return whole_words(sizeof(node_command) + config + nvalues * sizeof(node_value) + ndata);
}

uint64_t node_reply_bytes(uint64_t ndata) { return whole_words(sizeof(node_reply) + ndata); }

/* --- Checks: each returns the name of what is wrong, or NULL -------------------------------------------- */

static int is_dtype(uint8_t dtype) { return dtype > BATON_NO_DTYPE && dtype < BATON_DTYPE_COUNT; }

/* The view of a tensor, and how far it reaches around its first element. */
static const char *wrong_view(const baton_view *view, uint64_t *below, uint64_t *above) {
  if (!is_dtype(view->dtype)) return "value.view.dtype";
  if (view->ndim > BATON_MAX_DIMS) return "value.view.ndim";
  return tensor_reach(view, below, above) ? NULL : "value.view.shape";
}

static const char *wrong_host_tensor(const node_value *value) {
  uint64_t below, above;
  const char *wrong = wrong_view(&value->view, &below, &above);
  if (wrong) return wrong;
  if (value->bytes != below + above) return "value.bytes";
  if (value->offset > UINT64_MAX - value->bytes) return "value.offset";
  return value->address > UINT64_MAX - value->bytes ? "value.address" : NULL;
}

static const char *wrong_buffer_tensor(const node_value *value) {
  uint64_t below, above, first = (uint64_t)(uintptr_t)value->view.data;
  const char *wrong = wrong_view(&value->view, &below, &above);
  if (wrong) return wrong;
  return below > first || above > UINT64_MAX - first ? "value.view.data" : NULL;
}

static const char *wrong_value(const node_value *value) {
  if (value->tag > BATON_SCALAR) return "value.tag";
  switch (value->kind) {
  case NODE_HOST_TENSOR: return value->tag == BATON_SCALAR ? "value.tag" : wrong_host_tensor(value);
  case NODE_BUFFER_TENSOR: return value->tag == BATON_SCALAR ? "value.tag" : wrong_buffer_tensor(value);
  case NODE_SCALAR: return is_dtype(value->dtype) ? NULL : "value.dtype";
  default: return "value.kind";
  }
}

/* What the values are, where an operation has certain ones. */
static const char *wrong_operands(const node_command *command) {
  const node_value *values = node_command_values(command);
  int to = command->operation == NODE_COPY_TO;
  if (!to && command->operation != NODE_COPY_FROM) return NULL;
  if (command->nvalues != 2) return "nvalues";
  return values[to ? 0 : 1].kind != NODE_BUFFER_TENSOR || values[to ? 1 : 0].kind != NODE_HOST_TENSOR
             ? "value.kind"
             : NULL;
}

static const char *wrong_header(const node_command *command, uint64_t bytes) {
  if (command->bytes != bytes || bytes > NODE_DATA_MOST) return "bytes";
  if (command->operation < 1 || command->operation >= NODE_OPERATION_COUNT) return "operation";
  if (command->flags & ~(NODE_CONFIG | NODE_REPORT | NODE_FED)) return "flags";
  if (command->flags & NODE_FED && command->operation != NODE_CALL_PROGRAM) return "flags";
  if (command->nvalues > NODE_VALUES_MOST) return "nvalues";
  return node_command_bytes(command->flags & NODE_CONFIG, command->nvalues, command->ndata) == bytes
             ? NULL
             : "ndata";
}

static const char *wrong_graph(const node_command *command) {
  const char *field;
  if (command->nvalues || command->flags) return command->nvalues ? "nvalues" : "flags";
  (void)chip_dictation_check(node_command_data(command), command->ndata, &field);
  return field;
}

static const char *wrong_command(const node_command *command, uint64_t bytes) {
  const char *wrong = wrong_header(command, bytes);
  if (wrong) return wrong;
  const node_config *config = node_command_config(command);
  if (config && !memchr(config->runtime, 0, sizeof config->runtime)) return "config.runtime";
  for (uint32_t i = 0; i < command->nvalues && !wrong; i++)
    wrong = wrong_value(&node_command_values(command)[i]);
  if (wrong) return wrong;
  if (command->operation == NODE_SETUP_ARENA && command->ndata != sizeof(baton_arena)) return "ndata";
  return command->operation == NODE_GRAPH ? wrong_graph(command) : wrong_operands(command);
}

static const char *wrong_reply(const node_reply *reply, uint64_t bytes) {
  if (reply->bytes != bytes || bytes > NODE_DATA_MOST) return "bytes";
  if (node_reply_bytes(reply->ndata) != bytes) return "ndata";
  if (reply->status >= BATON_STATUS_COUNT) return "status";
  if (reply->lost > 1) return "lost";
  if (reply->asks > 1) return "asks";
  if (!(reply->device_us >= 0)) return "device_us";
  return reply->host_us >= 0 ? NULL : "host_us";
}

int node_command_check(const void *block, uint64_t bytes, const char **field) {
  *field = bytes < sizeof(node_command) ? "bytes" : wrong_command(block, bytes);
  return !*field;
}

int node_reply_check(const void *block, uint64_t bytes, const char **field) {
  *field = bytes < sizeof(node_reply) ? "bytes" : wrong_reply(block, bytes);
  return !*field;
}
