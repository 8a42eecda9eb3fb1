/* Device memory in Lua: worker:malloc, buffers, and the tensors in them. */
#include "chip/buffer.h"
#include "bind/worker.h"
#include <string.h>

static const char buffer_class[] = "baton.buffer";
static const char child_class[] = "baton.child_tensor";

typedef struct buffer_userdata {
  baton_buffer *buffer; /* NULL: it never was. User value 1 is the worker. */
} buffer_userdata;

typedef struct child_userdata {
  baton_view view; /* user value 1 is the buffer, 2 the shape once somebody asked for it */
} child_userdata;

/* --- Buffers -------------------------------------------------------------------------------------------- */

static baton_buffer *test_buffer(lua_State *L, int arg) {
  const buffer_userdata *userdata = luaL_testudata(L, arg, buffer_class);
  return userdata ? userdata->buffer : NULL;
}

static baton_buffer *check_buffer(lua_State *L, int arg) {
  baton_buffer *buffer = test_buffer(L, arg);
  if (!buffer) bind_bad_argument(L, "a buffer expected, got %s", bind_describe(L, arg));
  return buffer;
}

static int worker_malloc(lua_State *L) { /* worker:malloc(nbytes) -> buffer */
  baton_worker *worker = bind_check_worker(L, 1);
  uint64_t nbytes = bind_check_size(L, 2, "nbytes");
  buffer_userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 1);
  userdata->buffer = NULL;
  luaL_setmetatable(L, buffer_class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1); /* the buffer keeps its worker */
  baton_error *err = bind_error(L);
  baton_status status = baton_worker_malloc(worker, nbytes, &userdata->buffer, err);
  if (status == BATON_OUT_OF_MEMORY) { /* the collector does not know how large buffers are */
    lua_gc(L, LUA_GCCOLLECT);
    err = bind_error(L);
    status = baton_worker_malloc(worker, nbytes, &userdata->buffer, err);
  }
  return status == BATON_OK ? 1 : bind_raise(L, err);
}

static int worker_free(lua_State *L) { /* worker:free(buffer) */
  baton_worker *worker = bind_check_worker(L, 1);
  baton_buffer *buffer = check_buffer(L, 2);
  const char *place = bind_push_place(L);
  baton_error *err = bind_error(L);
  return chip_buffer_free(worker, buffer, place, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int buffer_close(lua_State *L) { /* :close() and __close */
  baton_buffer *buffer = check_buffer(L, 1);
  chip_buffer_end(buffer, bind_push_place(L));
  return 0;
}

static int buffer_collect(lua_State *L) { /* __gc */
  buffer_userdata *userdata = luaL_checkudata(L, 1, buffer_class);
  baton_buffer_close(userdata->buffer);
  userdata->buffer = NULL;
  return 0;
}

static int buffer_tensor(lua_State *L) { /* buffer:tensor(dtype, shape [, offset]) -> child tensor */
  int64_t shape[BATON_MAX_DIMS];
  baton_buffer *buffer = check_buffer(L, 1);
  baton_dtype dtype = bind_check_dtype(L, 2, "dtype");
  int ndim = bind_check_shape(L, 3, "shape", shape);
  uint64_t offset = lua_isnoneornil(L, 4) ? 0 : bind_check_size(L, 4, "offset");
  child_userdata *child = lua_newuserdatauv(L, sizeof *child, 2);
  memset(child, 0, sizeof *child);
  luaL_setmetatable(L, child_class);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  baton_error *err = bind_error(L);
  if (baton_buffer_tensor(buffer, dtype, ndim, shape, offset, &child->view, err) != BATON_OK)
    return bind_raise(L, err);
  return 1;
}

static int buffer_tostring(lua_State *L) {
  lua_pushfstring(L, "buffer of %I bytes", (LUAI_UACINT)baton_buffer_nbytes(check_buffer(L, 1)));
  return 1;
}

static int buffer_index(lua_State *L) {
  const baton_buffer *buffer = check_buffer(L, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "nbytes") == 0)
    lua_pushinteger(L, (lua_Integer)baton_buffer_nbytes(buffer));
  else if (strcmp(key, "worker") == 0)
    lua_pushinteger(L, 0); /* a chip by itself is worker 0 */
  else
    lua_pushnil(L);
  return 1;
}

/* --- Copies --------------------------------------------------------------------------------------------- */

/* The arguments of copy_to and copy_from after the worker: `buffer` and `host` are where they belong. */
typedef struct copy_arguments {
  baton_buffer *buffer;
  baton_tensor *host;
  uint64_t offset, nbytes;
} copy_arguments;

static copy_arguments read_copy(lua_State *L, int buffer, int host) {
  static const char *const names[] = {"offset", "nbytes", NULL};
  copy_arguments c = {.buffer = test_buffer(L, buffer)};
  if (test_buffer(L, host) && bind_test_tensor(L, buffer))
    bind_bad_argument(L, "the destination comes first: %s; the arguments are swapped",
                      buffer < host ? "(buffer, host)" : "(host, buffer)");
  if (!c.buffer)
    bind_bad_argument(L, "argument %d must be a buffer, got %s", buffer - 1, bind_describe(L, buffer));
  c.host = bind_test_tensor(L, host);
  if (!c.host)
    bind_bad_argument(L, "argument %d must be a host tensor, got %s", host - 1, bind_describe(L, host));
  bind_check_options(L, 4, "copy", names);
  const baton_view *view = baton_tensor_view(c.host);
  uint64_t whole = (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
  c.offset = bind_option_size(L, 4, "offset", 0);
  c.nbytes = bind_option_size(L, 4, "nbytes", whole);
  return c;
}

static int worker_copy_to(lua_State *L) { /* worker:copy_to(buffer, host [, {offset=, nbytes=}]) */
  baton_worker *worker = bind_check_worker(L, 1);
  copy_arguments c = read_copy(L, 2, 3);
  baton_error *err = bind_error(L);
  baton_status status = chip_buffer_copy_to(worker, c.buffer, c.host, c.offset, c.nbytes, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

static int worker_copy_from(lua_State *L) { /* worker:copy_from(host, buffer [, {offset=, nbytes=}]) */
  baton_worker *worker = bind_check_worker(L, 1);
  copy_arguments c = read_copy(L, 3, 2);
  baton_error *err = bind_error(L);
  baton_status status = chip_buffer_copy_from(worker, c.host, c.buffer, c.offset, c.nbytes, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

/* --- Tensors in a buffer -------------------------------------------------------------------------------- */

int bind_test_child(lua_State *L, int index, baton_value *value) {
  const child_userdata *child = luaL_testudata(L, index, child_class);
  if (!child) return 0;
  lua_getiuservalue(L, index, 1);
  value->buffer = test_buffer(L, -1);
  value->view = &child->view;
  lua_pop(L, 1);
  return value->buffer != NULL;
}

static const child_userdata *check_child(lua_State *L) {
  const child_userdata *child = luaL_testudata(L, 1, child_class);
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
  child_userdata *child = lua_newuserdatauv(L, sizeof *child, 2);
  child->view = view;
  luaL_setmetatable(L, child_class);
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

static void open_class(lua_State *L, const char *class, const char *noun, const luaL_Reg *events,
                       const luaL_Reg *methods, lua_CFunction index) {
  luaL_newmetatable(L, class);
  luaL_setfuncs(L, events, 0);
  lua_newtable(L);
  bind_functions(L, noun, methods);
  lua_pushcclosure(L, index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

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
  open_class(L, buffer_class, "buffer", events, methods, buffer_index);
  open_class(L, child_class, "child_tensor", child_events, child_methods, child_index);
}
