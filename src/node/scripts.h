/* node/scripts.h - Lua functions as the node sees them: bytes. Filled in by bind/, handed over at construction. */
#ifndef NODE_SCRIPTS_H
#define NODE_SCRIPTS_H

#include <baton/node.h>
#include <baton/orchestration.h>

/* A growing block of bytes; base/memory.h owns `data`. Zero-initialised. */
typedef struct node_bytes {
  char *data;
  uint64_t size, room;
} node_bytes;

typedef struct node_script_calls {
  /* A Lua state of its own, for one worker. */
  baton_status (*open)(void **state, baton_error *err);
  void (*close)(void *state);
  /* Calls the packed function. `views` are its tensors, in the order in which the packing met them, with addresses of this
  ** process. What it returns is packed into *result. An error of the function becomes *err, with its traceback in `cause`. */
  baton_status (*call)(void *state, const char *data, uint64_t bytes, const baton_view *views,
                       uint32_t nviews, node_bytes *result, baton_error *err);
  /* The same for an orchestrating function, of a run of the node with this config: the function gets `orch` in front of its
  ** arguments, and the tasks of the run are over when this returns. */
  baton_status (*run)(void *state, baton_node *node, const baton_config *config, const char *data,
                      uint64_t bytes, const baton_view *views, uint32_t nviews, node_bytes *result,
                      baton_error *err);
  /* Builds the graph of a program: calls the packed graph function with `o` and the arguments. A failure is left in `o`. */
  void (*graph)(void *state, const char *data, uint64_t bytes, baton_orch *o, const baton_args *args);
  /* Any thread: the function that runs now ends with `cancelled` at its next instruction. */
  void (*interrupt)(void *state);
} node_script_calls;

#endif
