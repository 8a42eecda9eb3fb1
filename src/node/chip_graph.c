/* What the child of a chip is told of a graph that is called here. */
#include "base/memory.h"
#include "chip/kept.h"
#include "chip/runtime.h"
#include "node/chip.h"
#include <string.h>

enum { FIRST_BYTES = 4096 }; /* that go as soon as the child has nothing to do */

static baton_status lose_child(node_chip_graph *graph, baton_error *err) {
  graph->over = 1;
  baton_error_copy(&graph->failure, err);
  return err->code;
}

static baton_status read_element(const node_reply *reply, baton_arg *got) {
  node_element element;
  if (reply->ndata != sizeof element) return BATON_PROTOCOL_ERROR;
  memcpy(&element, node_reply_data(reply), sizeof element);
  if (element.dtype == BATON_NO_DTYPE || element.dtype >= BATON_DTYPE_COUNT) return BATON_PROTOCOL_ERROR;
  *got = (baton_arg){.tag = BATON_SCALAR, .dtype = (baton_dtype)element.dtype, .scalar.u64 = element.value};
  return BATON_OK;
}

/* What has become of the last block. */
static baton_status await_answer(node_chip *chip, baton_arg *got, baton_error *err) {
  node_chip_graph *graph = &chip->graph;
  const node_reply *reply;
  baton_error failure = {0};
  baton_status status = node_chip_take(chip, graph->run, &reply, &failure);
  if (status == BATON_OK && !reply->asks)
    status = baton_error_set(&failure, BATON_PROTOCOL_ERROR, "the child has ended a run before its graph");
  if (status == BATON_OK && !reply->status && got && read_element(reply, got) != BATON_OK)
    status = baton_error_set(&failure, BATON_PROTOCOL_ERROR, "the child has read an element of no type");
  if (status != BATON_OK) {
    (void)lose_child(graph, &failure);
  } else if (reply->status) {
    graph->over = 1;
    status = node_chip_read_failure(reply, &failure);
  }
  graph->asked = 1;
  if (status != BATON_OK) baton_error_copy(err, &failure);
  baton_error_clear(&failure);
  return status;
}

static baton_status reserve(node_chip_graph *graph, uint64_t bytes, baton_error *err) {
  if (bytes <= graph->room) return BATON_OK;
  node_command *larger = base_realloc(graph->block, bytes);
  if (!larger) return base_out_of_memory(err, "the calls of a graph");
  graph->block = larger;
  graph->room = bytes;
  return BATON_OK;
}

static baton_status post(node_chip *chip, const void *calls, uint64_t bytes, baton_error *err) {
  node_chip_graph *graph = &chip->graph;
  uint64_t whole = node_command_bytes(0, 0, bytes);
  BATON_TRY(reserve(graph, whole, err));
  *graph->block = (node_command){.bytes = (uint32_t)whole,
                                 .operation = NODE_GRAPH,
                                 .sequence = chip->command->sequence,
                                 .run = chip->command->run,
                                 .ndata = (uint32_t)bytes};
  memcpy(node_command_data(graph->block), calls, bytes);
  if (!node_mailbox_post(&chip->endpoint->mailbox, NODE_TASKS, graph->block, 0))
    return baton_error_set(err, BATON_PROTOCOL_ERROR, "the mailbox of the child takes nothing");
  graph->asked = 0;
  return BATON_OK;
}

/* The child has a block less than it should: it cannot go on. */
static baton_status post_or_lose(node_chip *chip, const void *calls, uint64_t bytes, baton_error *err) {
  baton_error failure = {0};
  baton_status status = post(chip, calls, bytes, &failure);
  if (status != BATON_OK) {
    (void)lose_child(&chip->graph, &failure);
    baton_error_copy(err, &failure);
  }
  baton_error_clear(&failure);
  return status;
}

/* The child carries one block out while the next one is written. */
static baton_status take(void *context, const void *block, uint64_t bytes, int answer, baton_arg *got,
                         baton_error *err) {
  node_chip *chip = context;
  if (!chip->graph.over && !chip->graph.asked) BATON_TRY(await_answer(chip, NULL, err));
  if (chip->graph.over) return BATON_OK;
  BATON_TRY(post_or_lose(chip, block, bytes, err));
  return answer ? await_answer(chip, got, err) : BATON_OK;
}

static int is_idle(void *context) {
  const node_chip *chip = context;
  return chip->graph.asked || node_mailbox_has(&chip->endpoint->mailbox, NODE_TASKS);
}

void node_chip_listen(void *context, baton_run *run, chip_sink *out) {
  (void)run;
  *out = (chip_sink){.context = context, .take = take, .is_idle = is_idle, .least = FIRST_BYTES};
}

/* The calls of a graph that has been built. What the child refuses it says again at the end of the run. */
static void send_kept(node_chip *chip, const baton_run *run) {
  uint64_t number, cut;
  const chip_text *calls = chip_kept_calls_of(run->graph, &number);
  baton_error err = {0};
  for (uint64_t at = 0; !chip->graph.over && (cut = chip_dictation_cut(calls->data + at, calls->length - at));
       at += cut)
    (void)take(chip, calls->data + at, cut, 1, NULL, &err);
  baton_error_clear(&err);
}

baton_status node_chip_tell_graph(node_chip *chip, baton_run *run, baton_error *err) {
  node_chip_graph *graph = &chip->graph;
  graph->run = run;
  graph->asked = 1;
  graph->over = 0;
  baton_error_clear(&graph->failure);
  if (run->graph) {
    send_kept(chip, run);
  } else {
    chip_runtime_give_turn(run, CHIP_TURN_COME);
    chip_runtime_await_built(run);
  }
  graph->run = NULL;
  return graph->failure.code ? baton_error_copy(err, &graph->failure) : BATON_OK;
}

void node_chip_graph_close(node_chip *chip) {
  base_free(chip->graph.block);
  baton_error_clear(&chip->graph.failure);
}
