/* Device memory of a node: node:malloc and its kin, and the same on `orch`. */
#include "bind/orch.h"
#include "bind/worker.h"
#include "node/node.h"

/* Gives memory to the buffer on top of the stack: by `o` as a task, else by `node`. */
static baton_status give_memory(baton_node *node, baton_node_orch *o, uint32_t worker, uint64_t nbytes,
                                bind_buffer *buffer, baton_error *err) {
  return o ? baton_node_orch_malloc(o, worker, nbytes, &buffer->node, err)
           : baton_node_malloc(node, worker, nbytes, &buffer->node, err);
}

/* The worker and the size at index `at`, for the node at index `owner`. Returns the buffer. */
static int allocate(lua_State *L, baton_node *node, baton_node_orch *o, int at, int owner) {
  uint32_t worker = bind_check_worker_id(L, at);
  uint64_t nbytes = bind_check_size(L, at + 1, "nbytes");
  bind_buffer *buffer = bind_push_new_buffer(L, owner);
  baton_error *err = bind_error(L);
  baton_status status = give_memory(node, o, worker, nbytes, buffer, err);
  if (status == BATON_OUT_OF_MEMORY) { /* the collector does not know how large buffers are */
    lua_gc(L, LUA_GCCOLLECT);
    err = bind_error(L);
    status = give_memory(node, o, worker, nbytes, buffer, err);
  }
  if (status != BATON_OK) return bind_raise(L, err);
  return 1;
}

/* Frees the buffer at `index`. */
static int release(lua_State *L, baton_node *node, int index) {
  baton_node_buffer *buffer = bind_check_node_buffer(L, index);
  const char *place = bind_push_place(L);
  baton_error *err = bind_error(L);
  return node_buffer_free(node, buffer, place, err) == BATON_OK ? 0 : bind_raise(L, err);
}

/* A copy with a buffer of a node. */
static bind_copy read_copy(lua_State *L, int buffer, int host, int first) {
  bind_copy copy = bind_read_copy(L, buffer, host, first);
  (void)bind_check_node_buffer(L, buffer);
  return copy;
}

/* The host tensor of a copy and what it moves. 0 bytes mean all to the core: for none at all the tensor becomes a view without
** elements, which the stack keeps. */
static baton_copy_options copy_options(lua_State *L, bind_copy *copy) {
  baton_copy_options options = {.offset = copy->offset, .nbytes = copy->whole ? 0 : copy->nbytes};
  if (copy->whole || copy->nbytes) return options;
  baton_view none = *baton_tensor_view(copy->host);
  none.ndim = 1;
  none.shape[0] = 0;
  none.strides[0] = 1;
  baton_tensor **empty = bind_new_tensor(L);
  baton_error *err = bind_error(L);
  if (baton_tensor_from_view(copy->host, &none, empty, err) != BATON_OK) bind_raise(L, err);
  copy->host = *empty;
  return options;
}

/* --- On a node: done when they return ------------------------------------------------------------------- */

static int node_malloc(lua_State *L) { /* node:malloc(worker, nbytes) -> buffer */
  return allocate(L, bind_check_node(L, 1), NULL, 2, 1);
}

static int node_free(lua_State *L) { /* node:free(buffer) */
  return release(L, bind_check_node(L, 1), 2);
}

static int node_copy_to(lua_State *L) { /* node:copy_to(buffer, host [, {offset=, nbytes=}]) */
  baton_node *node = bind_check_node(L, 1);
  bind_copy copy = read_copy(L, 2, 3, 2);
  baton_copy_options options = copy_options(L, &copy);
  baton_error *err = bind_error(L);
  baton_status status = baton_node_copy_to(node, copy.buffer->node, copy.host, &options, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

static int node_copy_from(lua_State *L) { /* node:copy_from(host, buffer [, {offset=, nbytes=}]) */
  baton_node *node = bind_check_node(L, 1);
  bind_copy copy = read_copy(L, 3, 2, 2);
  baton_copy_options options = copy_options(L, &copy);
  baton_error *err = bind_error(L);
  baton_status status = baton_node_copy_from(node, copy.host, copy.buffer->node, &options, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

const luaL_Reg bind_node_memory_methods[] = {{"malloc", node_malloc},
                                             {"free", node_free},
                                             {"copy_to", node_copy_to},
                                             {"copy_from", node_copy_from},
                                             {NULL, NULL}};

/* --- On an orch: tasks ---------------------------------------------------------------------------------- */

/* The orch of the running function, if its workers are chips. */
static const bind_orch *check_orch_of_chips(lua_State *L) {
  const bind_orch *orch = bind_check_orch(L);
  baton_error *err = bind_error(L);
  if (node_children_refuse(orch->node, bind_orch_who(L), err) != BATON_OK) bind_raise(L, err);
  return orch;
}

int bind_orch_malloc(lua_State *L) {
  const bind_orch *orch = check_orch_of_chips(L);
  lua_settop(L, 2);
  lua_getiuservalue(L, lua_upvalueindex(1), 1); /* the node */
  return allocate(L, orch->node, orch->o, 1, 3);
}

int bind_orch_free(lua_State *L) {
  const bind_orch *orch = check_orch_of_chips(L);
  return release(L, orch->node, 1);
}

int bind_orch_copy_to(lua_State *L) {
  const bind_orch *orch = check_orch_of_chips(L);
  bind_copy copy = read_copy(L, 1, 2, 1);
  baton_copy_options options = copy_options(L, &copy);
  baton_task task;
  baton_error *err = bind_error(L);
  if (baton_node_orch_copy_to(orch->o, copy.buffer->node, copy.host, &options, &task, err) != BATON_OK)
    return bind_raise(L, err);
  bind_push_node_task(L, orch, task);
  return 1;
}

int bind_orch_copy_from(lua_State *L) {
  const bind_orch *orch = check_orch_of_chips(L);
  bind_copy copy = read_copy(L, 2, 1, 1);
  baton_copy_options options = copy_options(L, &copy);
  baton_task task;
  baton_error *err = bind_error(L);
  if (baton_node_orch_copy_from(orch->o, copy.host, copy.buffer->node, &options, &task, err) != BATON_OK)
    return bind_raise(L, err);
  bind_push_node_task(L, orch, task);
  return 1;
}
