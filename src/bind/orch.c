/* `orch`: a table of functions that submit the tasks of one run of a node. */
#include "bind/orch.h"
#include "bind/device_tensor.h"
#include "bind/graph.h"
#include "bind/program.h"
#include "bind/scope.h"
#include "bind/tensor.h"
#include <string.h>

static const char orch_class[] = "baton.orch";

/* --- The orch of a call --------------------------------------------------------------------------------- */

static const char *name_of(lua_State *L) { return lua_tostring(L, lua_upvalueindex(2)); }

const char *bind_orch_who(lua_State *L) { return lua_tostring(L, lua_upvalueindex(3)); }

static void refuse_colon(lua_State *L) {
  if (!lua_getmetatable(L, 1)) return;
  luaL_getmetatable(L, orch_class);
  int same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  if (same)
    bind_fail(L, BATON_INVALID_ARGUMENT, "orch:%s: orch is a table of functions, write orch.%s(…)",
              name_of(L), name_of(L));
}

static void raise_failure(lua_State *L, const bind_orch *orch) {
  baton_error *err = bind_error(L);
  baton_error_copy(err, orch->failure);
  bind_raise(L, err);
}

bind_orch *bind_check_orch(lua_State *L) {
  bind_orch *orch = lua_touserdata(L, lua_upvalueindex(1));
  if (!orch->o)
    bind_fail(L, BATON_STATE, "orch.%s: the orchestrating function has returned, its orch is dead",
              name_of(L));
  if (lua_type(L, 1) == LUA_TTABLE) refuse_colon(L);
  if (orch->failure->code != BATON_OK) raise_failure(L, orch);
  return orch;
}

/* --- Fences and failures -------------------------------------------------------------------------------- */

static int orch_wait(lua_State *L) { /* orch.wait([task]) */
  const bind_orch *orch = bind_check_orch(L);
  baton_task task;
  int all = lua_isnoneornil(L, 1);
  if (!all && !bind_test_node_task(L, orch, 1, &task))
    bind_fail(L, BATON_INVALID_ARGUMENT, "orch.wait: a task expected, got %s", bind_describe(L, 1));
  baton_error *err = bind_error(L);
  return baton_node_wait(orch->o, all ? NULL : &task, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int orch_fail(lua_State *L) { /* orch.fail(message) */
  const bind_orch *orch = bind_check_orch(L);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "orch.fail: a message expected, got %s", bind_describe(L, 1));
  baton_error_set(orch->failure, BATON_USER_FAIL, "%s", lua_tostring(L, 1));
  raise_failure(L, orch);
  return 0;
}

/* --- Intermediates -------------------------------------------------------------------------------------- */

void bind_push_intermediate(lua_State *L, const bind_orch *orch, baton_dtype dtype, int ndim,
                            const int64_t *shape) {
  baton_view view;
  baton_error *err = bind_error(L);
  if (baton_node_alloc(orch->o, dtype, ndim, shape, &view, err) != BATON_OK) bind_raise(L, err);
  bind_push_device_tensor(L, &view, orch->number);
}

static int orch_alloc(lua_State *L) { /* orch.alloc(dtype, shape) */
  const bind_orch *orch = bind_check_orch(L);
  int64_t shape[BATON_MAX_DIMS];
  baton_dtype dtype = bind_check_dtype(L, 1, "the type");
  int ndim = bind_check_shape(L, 2, "the shape", shape);
  bind_push_intermediate(L, orch, dtype, ndim, shape);
  return 1;
}

static baton_status end_scope(void *owner, baton_error *err) {
  const bind_orch *orch = owner;
  return orch->o ? baton_node_scope_end(orch->o, err) : BATON_OK;
}

static int orch_scope(lua_State *L) { /* orch.scope(fn), or orch.scope() for a variable that is closed */
  const bind_orch *orch = bind_check_orch(L);
  if (!lua_isnoneornil(L, 1) && lua_type(L, 1) != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "orch.scope: a function expected, got %s", bind_describe(L, 1));
  baton_error *err = bind_error(L);
  if (baton_node_scope_begin(orch->o, err) != BATON_OK) bind_raise(L, err);
  return bind_scope_call(L, end_scope);
}

/* --- The table ------------------------------------------------------------------------------------------ */

static int orch_unknown(lua_State *L) { /* orch.NAME for what is none of its functions */
  return bind_fail(
      L, BATON_INVALID_ARGUMENT,
      "orch.%s: no such function; there are submit_next_level submit_next_level_group submit_sub "
      "submit_sub_group malloc free copy_to copy_from alloc scope wait fail, and the numbers "
      "workers subs",
      bind_describe(L, 2));
}

static const luaL_Reg orch_functions[] = {{"submit_next_level", bind_orch_submit},
                                          {"submit_next_level_group", bind_orch_submit_group},
                                          {"submit_sub", bind_orch_submit_sub},
                                          {"submit_sub_group", bind_orch_submit_sub_group},
                                          {"malloc", bind_orch_malloc},
                                          {"free", bind_orch_free},
                                          {"copy_to", bind_orch_copy_to},
                                          {"copy_from", bind_orch_copy_from},
                                          {"alloc", orch_alloc},
                                          {"scope", orch_scope},
                                          {"wait", orch_wait},
                                          {"fail", orch_fail},
                                          {NULL, NULL}};

/* Replaces the userdata on top of the stack by the table of functions. */
static void push_vocabulary(lua_State *L, const bind_orch *orch) {
  int at = lua_gettop(L);
  lua_createtable(L, 0, 16);
  for (const luaL_Reg *function = orch_functions; function->name; function++) {
    lua_pushvalue(L, at);
    lua_pushstring(L, function->name);
    lua_pushfstring(L, "orch.%s", function->name);
    lua_pushcclosure(L, function->func, 3);
    lua_setfield(L, -2, function->name);
  }
  lua_pushinteger(L, baton_node_orch_workers(orch->o));
  lua_setfield(L, -2, "workers");
  lua_pushinteger(L, baton_node_orch_subs(orch->o));
  lua_setfield(L, -2, "subs");
  luaL_setmetatable(L, orch_class);
  lua_replace(L, at);
}

bind_orch *bind_push_orch(lua_State *L, baton_node_orch *o, baton_node *node, baton_error *err,
                          baton_error *failure, int owner) {
  bind_orch *orch = lua_newuserdatauv(L, sizeof *orch, 1);
  *orch =
      (bind_orch){.o = o, .node = node, .err = err, .failure = failure, .number = bind_new_graph_number()};
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, 1);
  orch->tensors = bind_tensor_metatable(L);
  orch->intermediates = bind_class_metatable(L, bind_device_tensor_class);
  orch->children = bind_class_metatable(L, bind_child_class);
  orch->arguments = bind_class_metatable(L, bind_argument_class);
  orch->lists = bind_class_metatable(L, bind_list_class);
  orch->programs = bind_class_metatable(L, bind_program_class);
  push_vocabulary(L, orch);
  return orch;
}

void bind_open_orch(lua_State *L) {
  lua_newtable(L);
  bind_functions(L, "orch", orch_functions); /* their names, for messages */
  lua_pop(L, 1);
  luaL_newmetatable(L, orch_class);
  lua_pushcfunction(L, orch_unknown);
  lua_setfield(L, -2, "__index");
  bind_open_sub_tasks(L);
  lua_pop(L, 1);
}
