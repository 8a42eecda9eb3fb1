#include "node/callable.h"
#include "base/clock.h"
#include "base/memory.h"
#include "chip/program/pack.h"
#include "node/node.h"
#include <string.h>

enum { TELL_SECONDS = 60 };

/* --- Packing -------------------------------------------------------------------------------------------- */

/* A thread of this process can be handed the program itself, unless its graph is a Lua function, which belongs to another
** thread. */
static int goes_by_address(const baton_node *node, const baton_program *program) {
  return node->isolation == BATON_THREAD && !chip_program_is_graph(program);
}

static baton_status pack(const baton_node *node, baton_program *program, node_callable *callable,
                         baton_error *err) {
  chip_text text = {0};
  if (goes_by_address(node, program)) return baton_program_compile(program, err);
  baton_status status = chip_program_pack(program, &text, err);
  if (status == BATON_OK && !(callable->pack.data = base_alloc(text.length)))
    status = base_out_of_memory(err, "a program");
  if (status == BATON_OK) {
    memcpy(callable->pack.data, text.data, text.length);
    callable->pack.size = callable->pack.room = text.length;
  }
  chip_text_free(&text);
  return status;
}

static void free_callable(node_callable *callable) {
  if (!callable) return;
  baton_program_close(callable->program);
  base_free(callable->pack.data);
  base_free(callable);
}

static baton_status make(const baton_node *node, baton_program *program, node_callable **out,
                         baton_error *err) {
  node_callable *callable = base_calloc(1, sizeof *callable);
  if (!callable) return base_out_of_memory(err, "a program");
  callable->program = chip_program_hold(program);
  callable->signature = chip_program_signature(program);
  callable->is_host = chip_program_is_host(program);
  baton_status status = pack(node, program, callable, err);
  if (status == BATON_OK)
    *out = callable;
  else
    free_callable(callable);
  return status;
}

/* --- Telling -------------------------------------------------------------------------------------------- */

static baton_status tell(node_endpoint *endpoint, const node_callable *callable, baton_error *err) {
  uint64_t bytes = node_command_bytes(0, 0, callable->pack.size);
  node_command *command = base_calloc(1, bytes);
  if (!command) return base_out_of_memory(err, "a program");
  *command = (node_command){.bytes = (uint32_t)bytes,
                            .operation = NODE_REGISTER,
                            .callable = callable->number,
                            .ndata = (uint32_t)callable->pack.size,
                            .buffer = (uint64_t)(uintptr_t)callable->program};
  if (callable->pack.size) memcpy(node_command_data(command), callable->pack.data, callable->pack.size);
  baton_status status = node_endpoint_control(endpoint, command, base_deadline(TELL_SECONDS), NULL, err);
  base_free(command);
  return status;
}

static int is_for(node_kind kind, const node_callable *callable) {
  return kind == NODE_CHIPS || callable->is_host;
}

baton_status node_callables_tell(baton_node *node, const node_worker *worker, baton_error *err) {
  for (uint32_t i = 0; i < node->callables.count; i++)
    if (is_for(worker->kind, node->callables.items[i]))
      BATON_TRY(tell(worker->endpoint, node->callables.items[i], err));
  return BATON_OK;
}

/* A worker that dies meanwhile learns it when it is restarted. Workers come and go with callables.lock held. */
static baton_status tell_all(baton_node *node, const node_callable *callable, baton_error *err) {
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++) {
      node_worker *worker = node->workers[kind][i];
      node_lock(node);
      node_endpoint *endpoint =
          worker->state == BATON_WORKER_READY && !worker->restarting ? worker->endpoint : NULL;
      node_unlock(node);
      if (!endpoint || !is_for((node_kind)kind, callable)) continue;
      baton_status status = tell(endpoint, callable, err);
      if (status != BATON_OK && status != BATON_WORKER_LOST) return status;
    }
  return BATON_OK;
}

/* --- Finding -------------------------------------------------------------------------------------------- */

static struct node_alias *alias_of(node_callables *callables, const baton_program *program) {
  return &callables->aliases[chip_program_number(program) % NODE_ALIASES];
}

static int same(const node_callable *a, const node_callable *b) {
  if (!a->pack.size && !b->pack.size) return a->program == b->program;
  return a->pack.size == b->pack.size && memcmp(a->pack.data, b->pack.data, a->pack.size) == 0;
}

static int grow(node_callables *callables) {
  if (callables->count < callables->room) return 1;
  uint32_t room = callables->room ? 2 * callables->room : 16;
  node_callable **items = base_realloc(callables->items, room * sizeof(*items));
  if (!items) return 0;
  callables->items = items;
  callables->room = room;
  return 1;
}

/* Adds a callable that nobody knows, and gives it to the list. */
static baton_status add(baton_node *node, node_callable *callable, baton_error *err) {
  node_callables *callables = &node->callables;
  if (!grow(callables)) return base_out_of_memory(err, "a program");
  callable->number = callables->count + 1;
  BATON_TRY(tell_all(node, callable, err));
  callables->items[callables->count++] = callable;
  return BATON_OK;
}

static baton_status find_or_add(baton_node *node, baton_program *program, node_callable **out,
                                baton_error *err) {
  node_callables *callables = &node->callables;
  node_callable *made = NULL;
  BATON_TRY(make(node, program, &made, err));
  for (uint32_t i = 0; i < callables->count; i++)
    if (same(callables->items[i], made)) {
      free_callable(made);
      *out = callables->items[i];
      return BATON_OK;
    }
  baton_status status = add(node, made, err);
  if (status == BATON_OK)
    *out = made;
  else
    free_callable(made);
  return status;
}

baton_status node_callable_find(baton_node *node, baton_program *program, node_callable **out,
                                baton_error *err) {
  baton_status status = BATON_OK;
  pthread_mutex_lock(&node->callables.lock);
  struct node_alias *alias = alias_of(&node->callables, program);
  if (alias->program != chip_program_number(program)) {
    status = find_or_add(node, program, out, err);
    if (status == BATON_OK) *alias = (struct node_alias){chip_program_number(program), *out};
  } else {
    *out = alias->callable;
  }
  pthread_mutex_unlock(&node->callables.lock);
  return status;
}

void node_callables_close(node_callables *callables) {
  for (uint32_t i = 0; i < callables->count; i++) free_callable(callables->items[i]);
  base_free(callables->items);
  callables->items = NULL;
  callables->count = callables->room = 0;
  memset(callables->aliases, 0, sizeof callables->aliases);
}
