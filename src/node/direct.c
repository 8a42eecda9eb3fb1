/* What a node is asked outside its orchestrating functions: child memory as small runs of their own, control calls of workers. */
#include "base/clock.h"
#include "base/memory.h"
#include "chip/registry.h"
#include "node/node.h"
#include <string.h>

enum { CONTROL_SECONDS = 60 };

/* --- Child memory --------------------------------------------------------------------------------------- */

typedef struct request {
  uint32_t worker;
  uint64_t nbytes;
  baton_node_buffer *buffer;
  baton_tensor *host;
  const baton_copy_options *options;
} request;

static baton_status request_malloc(baton_node_orch *o, void *context, baton_error *err) {
  request *asked = context;
  return baton_node_orch_malloc(o, asked->worker, asked->nbytes, &asked->buffer, err);
}

static baton_status request_copy_to(baton_node_orch *o, void *context, baton_error *err) {
  const request *asked = context;
  return baton_node_orch_copy_to(o, asked->buffer, asked->host, asked->options, NULL, err);
}

static baton_status request_copy_from(baton_node_orch *o, void *context, baton_error *err) {
  const request *asked = context;
  return baton_node_orch_copy_from(o, asked->host, asked->buffer, asked->options, NULL, err);
}

static baton_status ask(baton_node *node, const char *what, baton_node_function function, request *asked,
                        baton_error *err) {
  return node_run_function(node, what, function, asked, NULL, NULL, err);
}

baton_status baton_node_malloc(baton_node *node, uint32_t worker, uint64_t nbytes, baton_node_buffer **out,
                               baton_error *err) {
  request asked = {.worker = worker, .nbytes = nbytes};
  baton_status status = ask(node, "malloc", request_malloc, &asked, err);
  *out = status == BATON_OK ? asked.buffer : NULL;
  if (status != BATON_OK) baton_node_buffer_close(asked.buffer);
  return status;
}

baton_status baton_node_copy_to(baton_node *node, baton_node_buffer *buffer, baton_tensor *host,
                                const baton_copy_options *options, baton_error *err) {
  request asked = {.buffer = buffer, .host = host, .options = options};
  return ask(node, "copy_to", request_copy_to, &asked, err);
}

baton_status baton_node_copy_from(baton_node *node, baton_tensor *host, baton_node_buffer *buffer,
                                  const baton_copy_options *options, baton_error *err) {
  request asked = {.buffer = buffer, .host = host, .options = options};
  return ask(node, "copy_from", request_copy_from, &asked, err);
}

/* --- Control calls -------------------------------------------------------------------------------------- */

/* The endpoint of a worker that is in order; the caller is inside the node. */
static baton_status find_endpoint(baton_node *node, uint32_t id, node_endpoint **out, baton_error *err) {
  node_worker *worker;
  node_lock(node);
  baton_status status = node_find_worker(node, NODE_CHIPS, id, &worker, err);
  while (status == BATON_OK && worker->restarting) pthread_cond_wait(&node->left, &node->lock);
  if (status == BATON_OK && worker->state == BATON_WORKER_IS_LOST)
    status = baton_error_set(err, BATON_WORKER_LOST, "worker %u is lost", id);
  *out = status == BATON_OK ? worker->endpoint : NULL;
  node_unlock(node);
  return status;
}

static baton_status control(baton_node *node, uint32_t id, node_operation operation, const void *data,
                            uint32_t ndata, double seconds, node_bytes *out, baton_error *err) {
  node_endpoint *endpoint;
  uint64_t memory[32] = {0};
  node_command *command = (node_command *)(void *)memory;
  BATON_TRY(find_endpoint(node, id, &endpoint, err));
  *command = (node_command){
      .bytes = (uint32_t)node_command_bytes(0, 0, ndata), .operation = (uint16_t)operation, .ndata = ndata};
  if (ndata) memcpy(node_command_data(command), data, ndata);
  return node_endpoint_control(endpoint, command, base_deadline(seconds), out, err);
}

static baton_status setup_arena(baton_node *node, uint32_t id, const baton_arena *arena, int *changed,
                                baton_error *err) {
  node_bytes reply = {0};
  uint32_t value = 0;
  baton_status status =
      control(node, id, NODE_SETUP_ARENA, arena, sizeof *arena, CONTROL_SECONDS, &reply, err);
  if (reply.size >= sizeof value) memcpy(&value, reply.data, sizeof value);
  if (changed) *changed = (int)value;
  base_free(reply.data);
  return status;
}

baton_status baton_node_setup_arena(baton_node *node, uint32_t worker, const baton_arena *arena, int *changed,
                                    baton_error *err) {
  BATON_TRY(node_enter(node, "setup_arena", err));
  baton_status status = node_children_refuse(node, "setup_arena", err);
  if (status == BATON_OK) status = setup_arena(node, worker, arena, changed, err);
  node_leave(node);
  return status;
}

static baton_status worker_stats(baton_node *node, uint32_t id, double seconds, baton_stats *out,
                                 baton_error *err) {
  node_bytes reply = {0};
  baton_status status = control(node, id, NODE_STATS, NULL, 0, seconds, &reply, err);
  if (status == BATON_OK && reply.size == sizeof *out) memcpy(out, reply.data, sizeof *out);
  base_free(reply.data);
  return status;
}

static uint64_t sum_or_most(const char *name, uint64_t a, uint64_t b) {
  size_t length = strlen(name);
  int is_high = (length > 5 && strcmp(name + length - 5, "_high") == 0) ||
                strcmp(name, "committed_peak") == 0 || strcmp(name, "compilations") == 0; /* of the process */
  return !is_high ? a + b : a > b ? a : b;
}

void node_count_run(baton_node *node, const task_counts *counts) {
  baton_stats *totals = &node->totals;
  totals->runs++;
  totals->tasks += counts->tasks;
  totals->edges += counts->edges;
  if (totals->window_high < counts->window_high) totals->window_high = counts->window_high;
  if (totals->heap_high < counts->heap_high) totals->heap_high = counts->heap_high;
  if (totals->dep_pool_high < counts->edges_high) totals->dep_pool_high = counts->edges_high;
}

static uint64_t count_children(baton_node *node) {
  uint64_t children = 0;
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      if (node->isolation == BATON_PROCESS && node->workers[kind][i]->endpoint)
        children += node->workers[kind][i]->started;
  return children;
}

/* Of all workers that are in order, and of the node itself. */
baton_status node_sum_stats(baton_node *node, double seconds, baton_stats *out, baton_error *err) {
  baton_stats one;
  node_lock(node);
  *out = node->totals;
  out->children_started = count_children(node);
  uint32_t count = node->counts[NODE_CHIPS];
  node_unlock(node);
  for (uint32_t i = 0; i < count; i++) {
    baton_status status = worker_stats(node, i, seconds, &one, err);
    if (status == BATON_CLOSED || status == BATON_WORKER_LOST) continue;
    if (status != BATON_OK) return status;
    uint64_t runs = out->runs, tasks = out->tasks,
             edges = out->edges; /* the node's: those of chips are parts of them */
#define X(name) out->name = sum_or_most(#name, out->name, one.name);
    BATON_STATS_LIST(X)
#undef X
    out->runs = runs;
    out->tasks = tasks;
    out->edges = edges;
  }
  return BATON_OK;
}

/* What a node has done can be asked when it is closed, too. */
static int read_last(baton_node *node, baton_stats *out) {
  node_lock(node);
  int closed = node->closed;
  if (closed) *out = node->totals;
  node_unlock(node);
  return closed;
}

baton_status baton_node_stats(baton_node *node, int32_t worker, baton_stats *out, baton_error *err) {
  memset(out, 0, sizeof *out);
  if (worker == BATON_ANY_WORKER && read_last(node, out)) return BATON_OK;
  BATON_TRY(node_enter(node, "stats", err));
  baton_status status = worker == BATON_ANY_WORKER
                            ? node_sum_stats(node, CONTROL_SECONDS, out, err)
                            : worker_stats(node, (uint32_t)worker, CONTROL_SECONDS, out, err);
  node_leave(node);
  return status;
}
