/* Device memory in Lua: worker:malloc, buffers, and the tensors in them. */
#include "chip/buffer.h"
#include "bind/buffer.h"
#include "bind/worker.h"
#include "node/node.h"
#include <string.h>

static const char buffer_class[] = "baton.buffer";
const char bind_child_class[] = "baton.child_tensor";

/* --- Buffers -------------------------------------------------------------------------------------------- */

bind_buffer *bind_push_new_buffer(lua_State *L, int owner) {
  bind_buffer *buffer = lua_newuserdatauv(L, sizeof *buffer, 1);
  *buffer = (bind_buffer){0};
  luaL_setmetatable(L, buffer_class);
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, 1); /* the buffer keeps its worker */
  return buffer;
}

bind_buffer *bind_test_buffer(lua_State *L, int index) {
  bind_buffer *buffer = luaL_testudata(L, index, buffer_class);
  return buffer && (buffer->chip || buffer->node) ? buffer : NULL;
}

bind_buffer *bind_check_buffer(lua_State *L, int index) {
  bind_buffer *buffer = bind_test_buffer(L, index);
  if (!buffer) bind_bad_argument(L, "a buffer expected, got %s", bind_describe(L, index));
  return buffer;
}

/* The buffer of a chip at `index`. */
static baton_buffer *check_chip_buffer(lua_State *L, int index) {
  const bind_buffer *buffer = bind_check_buffer(L, index);
  if (!buffer->chip) bind_fail(L, BATON_WRONG_DEVICE, "the buffer belongs to a node, not to this worker");
  return buffer->chip;
}

baton_node_buffer *bind_check_node_buffer(lua_State *L, int index) {
  const bind_buffer *buffer = bind_check_buffer(L, index);
  if (!buffer->node) bind_fail(L, BATON_WRONG_DEVICE, "the buffer belongs to a chip, not to this node");
  return buffer->node;
}

static int worker_malloc(lua_State *L) { /* worker:malloc(nbytes) -> buffer */
  baton_worker *worker = bind_check_worker(L, 1);
  uint64_t nbytes = bind_check_size(L, 2, "nbytes");
  bind_buffer *buffer = bind_push_new_buffer(L, 1);
  baton_error *err = bind_error(L);
  baton_status status = baton_worker_malloc(worker, nbytes, &buffer->chip, err);
  if (status == BATON_OUT_OF_MEMORY) { /* the collector does not know how large buffers are */
    lua_gc(L, LUA_GCCOLLECT);
    err = bind_error(L);
    status = baton_worker_malloc(worker, nbytes, &buffer->chip, err);
  }
  return status == BATON_OK ? 1 : bind_raise(L, err);
}

static int worker_free(lua_State *L) { /* worker:free(buffer) */
  baton_worker *worker = bind_check_worker(L, 1);
  baton_buffer *buffer = check_chip_buffer(L, 2);
  const char *place = bind_push_place(L);
  baton_error *err = bind_error(L);
  return chip_buffer_free(worker, buffer, place, err) == BATON_OK ? 0 : bind_raise(L, err);
}

/* --- Methods -------------------------------------------------------------------------------------------- */

static int buffer_close(lua_State *L) { /* :close() and __close */
  bind_buffer *buffer = bind_check_buffer(L, 1);
  if (buffer->chip)
    chip_buffer_end(buffer->chip, bind_push_place(L));
  else
    node_buffer_end(buffer->node, bind_push_place(L));
  return 0;
}

static int buffer_collect(lua_State *L) { /* __gc */
  bind_buffer *buffer = luaL_checkudata(L, 1, buffer_class);
  baton_buffer_close(buffer->chip);
  buffer->chip = NULL;
  baton_node_buffer_close(buffer->node);
  buffer->node = NULL;
  return 0;
}

static int buffer_tensor(lua_State *L) { /* buffer:tensor(dtype, shape [, offset]) -> child tensor */
  int64_t shape[BATON_MAX_DIMS];
  bind_buffer *buffer = bind_check_buffer(L, 1);
  baton_dtype dtype = bind_check_dtype(L, 2, "dtype");
  int ndim = bind_check_shape(L, 3, "shape", shape);
  uint64_t offset = lua_isnoneornil(L, 4) ? 0 : bind_check_size(L, 4, "offset");
  bind_child *child = lua_newuserdatauv(L, sizeof *child, 2);
  memset(child, 0, sizeof *child);
  luaL_setmetatable(L, bind_child_class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  baton_error *err = bind_error(L);
  baton_status status =
      buffer->chip ? baton_buffer_tensor(buffer->chip, dtype, ndim, shape, offset, &child->view, err)
                   : baton_node_buffer_tensor(buffer->node, dtype, ndim, shape, offset, &child->view, err);
  return status == BATON_OK ? 1 : bind_raise(L, err);
}

static uint64_t bytes_of(const bind_buffer *buffer) {
  return buffer->chip ? baton_buffer_nbytes(buffer->chip) : baton_node_buffer_nbytes(buffer->node);
}

static int buffer_tostring(lua_State *L) {
  lua_pushfstring(L, "buffer of %I bytes", (LUAI_UACINT)bytes_of(bind_check_buffer(L, 1)));
  return 1;
}

static int buffer_index(lua_State *L) {
  const bind_buffer *buffer = bind_check_buffer(L, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "nbytes") == 0)
    lua_pushinteger(L, (lua_Integer)bytes_of(buffer));
  else if (strcmp(key, "worker") == 0)
    lua_pushinteger(L, buffer->node ? baton_node_buffer_worker(buffer->node)
                                    : 0); /* a chip by itself is worker 0 */
  else
    lua_pushnil(L);
  return 1;
}

/* --- Copies --------------------------------------------------------------------------------------------- */

bind_copy bind_read_copy(lua_State *L, int buffer, int host, int first) {
  static const char *const names[] = {"offset", "nbytes", NULL};
  int options = (buffer > host ? buffer : host) + 1;
  bind_copy c = {.buffer = bind_test_buffer(L, buffer)};
  if (bind_test_buffer(L, host) && bind_test_tensor(L, buffer))
    bind_bad_argument(L, "the destination comes first: %s; the arguments are swapped",
                      buffer < host ? "(buffer, host)" : "(host, buffer)");
  if (!c.buffer)
    bind_bad_argument(L, "argument %d must be a buffer, got %s", buffer - first + 1,
                      bind_describe(L, buffer));
  c.host = bind_test_tensor(L, host);
  if (!c.host)
    bind_bad_argument(L, "argument %d must be a host tensor, got %s", host - first + 1,
                      bind_describe(L, host));
  bind_check_options(L, options, "copy", names);
  const baton_view *view = baton_tensor_view(c.host);
  uint64_t whole = (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
  c.offset = bind_option_size(L, options, "offset", 0);
  c.nbytes = bind_option_size(L, options, "nbytes", whole);
  c.whole = c.nbytes == whole;
  return c;
}

static int worker_copy_to(lua_State *L) { /* worker:copy_to(buffer, host [, {offset=, nbytes=}]) */
  baton_worker *worker = bind_check_worker(L, 1);
  bind_copy c = bind_read_copy(L, 2, 3, 2);
  baton_buffer *buffer = check_chip_buffer(L, 2);
  baton_error *err = bind_error(L);
  baton_status status = chip_buffer_copy_to(worker, buffer, c.host, c.offset, c.nbytes, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

static int worker_copy_from(lua_State *L) { /* worker:copy_from(host, buffer [, {offset=, nbytes=}]) */
  baton_worker *worker = bind_check_worker(L, 1);
  bind_copy c = bind_read_copy(L, 3, 2, 2);
  baton_buffer *buffer = check_chip_buffer(L, 3);
  baton_error *err = bind_error(L);
  baton_status status = chip_buffer_copy_from(worker, c.host, buffer, c.offset, c.nbytes, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

/* --- Tensors in a buffer -------------------------------------------------------------------------------- */

int bind_test_child(lua_State *L, int index, baton_value *value) {
  const bind_child *child = luaL_testudata(L, index, bind_child_class);
  if (!child) return 0;
  lua_getiuservalue(L, index, 1);
  const bind_buffer *buffer = bind_test_buffer(L, -1);
  if (buffer && !buffer->chip)
    bind_fail(L, BATON_WRONG_DEVICE, "the buffer belongs to a node, not to this worker");
  value->buffer = buffer ? buffer->chip : NULL;
  value->view = &child->view;
  lua_pop(L, 1);
  return value->buffer != NULL;
}

static const bind_child *check_child(lua_State *L) {
  const bind_child *child = luaL_testudata(L, 1, bind_child_class);
  if (!child) bind_bad_argument(L, "a tensor in device memory expected, got %s", bind_describe(L, 1));
  return child;
}

static int child_size(lua_State *L) {
  lua_pushinteger(L, bind_view_size(L, &check_child(L)->view, 2));
  return 1;
}

/* A view method of all kinds of tensors, as a tensor in the same buffer. */
static int push_view(lua_State *L, baton_view (*make)(lua_State *, const baton_view *, int)) {
  baton_view view = make(L, &check_child(L)->view, 2);
  bind_child *child = lua_newuserdatauv(L, sizeof *child, 2);
  child->view = view;
  luaL_setmetatable(L, bind_child_class);
  lua_getiuservalue(L, 1, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static int child_slice(lua_State *L) { return push_view(L, bind_view_slice); }
static int child_view(lua_State *L) { return push_view(L, bind_view_tile); }
static int child_select(lua_State *L) { return push_view(L, bind_view_select); }
static int child_reshape(lua_State *L) { return push_view(L, bind_view_reshape); }
static int child_transpose(lua_State *L) { return push_view(L, bind_view_transpose); }

/* The shape is made once. */
static int push_shape(lua_State *L, const baton_view *view) {
  if (lua_getiuservalue(L, 1, 2) == LUA_TTABLE || lua_type(L, -1) == LUA_TUSERDATA) return 1;
  lua_pop(L, 1);
  bind_push_shape(L, view->ndim, view->shape);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, 2);
  return 1;
}

static int child_index(lua_State *L) {
  const baton_view *view = &check_child(L)->view;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "shape") == 0) return push_shape(L, view);
  if (strcmp(key, "buffer") == 0) return lua_getiuservalue(L, 1, 1), 1;
  if (bind_view_field(L, view, key)) return 1;
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  return bind_fail(L, BATON_INVALID_ARGUMENT,
                   "tensors in device memory have no '%s'; they have dtype shape ndim numel nbytes strides "
                   "buffer, size slice view select reshape transpose",
                   bind_describe(L, 2));
}

static int child_tostring(lua_State *L) {
  lua_pushfstring(L, "child tensor %s", bind_view_text(L, &check_child(L)->view));
  return 1;
}

/* --- Classes -------------------------------------------------------------------------------------------- */

const luaL_Reg bind_buffer_methods[] = {{"malloc", worker_malloc},
                                        {"free", worker_free},
                                        {"copy_to", worker_copy_to},
                                        {"copy_from", worker_copy_from},
                                        {NULL, NULL}};

void bind_open_buffers(lua_State *L) {
  static const luaL_Reg methods[] = {{"tensor", buffer_tensor}, {"close", buffer_close}, {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__close", buffer_close}, {"__gc", buffer_collect}, {"__tostring", buffer_tostring}, {NULL, NULL}};
  static const luaL_Reg child_methods[] = {{"size", child_size},
                                           {"slice", child_slice},
                                           {"view", child_view},
                                           {"select", child_select},
                                           {"reshape", child_reshape},
                                           {"transpose", child_transpose},
                                           {NULL, NULL}};
  static const luaL_Reg child_events[] = {{"__tostring", child_tostring}, {NULL, NULL}};
  bind_open_class(L, buffer_class, "buffer", events, (const luaL_Reg *const[]){methods, NULL}, buffer_index);
  bind_open_class(L, bind_child_class, "child_tensor", child_events,
                  (const luaL_Reg *const[]){child_methods, NULL}, child_index);
}
