#include "bind/device_tensor.h"
#include <string.h>

const char bind_device_tensor_class[] = "baton.device_tensor";

void bind_push_device_tensor(lua_State *L, const baton_view *view, uint64_t graph) {
  bind_device_tensor *tensor = lua_newuserdatauv(L, sizeof *tensor, 0);
  tensor->view = *view;
  tensor->graph = graph;
  luaL_setmetatable(L, bind_device_tensor_class);
}

const bind_device_tensor *bind_test_device_tensor(lua_State *L, int index) {
  return bind_test_class(L, index, bind_device_tensor_class);
}

static const bind_device_tensor *check_self(lua_State *L) {
  const bind_device_tensor *tensor = bind_test_device_tensor(L, 1);
  if (!tensor) bind_bad_argument(L, "a device tensor expected, got %s", bind_describe(L, 1));
  return tensor;
}

static int tensor_size(lua_State *L) {
  lua_pushinteger(L, bind_view_size(L, &check_self(L)->view, 2));
  return 1;
}

/* A view method of both kinds of tensors: computes the view, and pushes it as a device tensor of the same graph. */
static int push_view(lua_State *L, baton_view (*make)(lua_State *, const baton_view *, int)) {
  const bind_device_tensor *tensor = check_self(L);
  baton_view view = make(L, &tensor->view, 2);
  bind_push_device_tensor(L, &view, tensor->graph);
  return 1;
}

static int tensor_slice(lua_State *L) { return push_view(L, bind_view_slice); }
static int tensor_view(lua_State *L) { return push_view(L, bind_view_tile); }
static int tensor_select(lua_State *L) { return push_view(L, bind_view_select); }
static int tensor_reshape(lua_State *L) { return push_view(L, bind_view_reshape); }
static int tensor_transpose(lua_State *L) { return push_view(L, bind_view_transpose); }

static int tensor_index(lua_State *L) {
  const bind_device_tensor *tensor = check_self(L);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "shape") == 0) {
    bind_push_shape(L, tensor->view.ndim, tensor->view.shape);
    return 1;
  }
  if (bind_view_field(L, &tensor->view, key)) return 1;
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  return bind_fail(L, BATON_INVALID_ARGUMENT,
                   "device tensors have no '%s'; they have dtype shape ndim numel nbytes strides, size slice "
                   "view select reshape transpose",
                   bind_describe(L, 2));
}

static int tensor_tostring(lua_State *L) {
  lua_pushfstring(L, "device tensor %s", bind_view_text(L, &check_self(L)->view));
  return 1;
}

void bind_open_device_tensor(lua_State *L) {
  static const luaL_Reg methods[] = {{"size", tensor_size},
                                     {"slice", tensor_slice},
                                     {"view", tensor_view},
                                     {"select", tensor_select},
                                     {"reshape", tensor_reshape},
                                     {"transpose", tensor_transpose},
                                     {NULL, NULL}};
  static const luaL_Reg events[] = {{"__tostring", tensor_tostring}, {NULL, NULL}};
  bind_open_class(L, bind_device_tensor_class, "device_tensor", events,
                  (const luaL_Reg *const[]){methods, NULL}, tensor_index);
}
