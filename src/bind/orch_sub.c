/* Submits of Lua functions, as bytes: to sub workers, and at level 4 to nodes. */
#include "bind/device_tensor.h"
#include "bind/orch.h"
#include "bind/pack.h"
#include "bind/script.h"
#include "bind/worker.h"
#include "node/node.h"
#include <string.h>

/* --- Arguments ------------------------------------------------------------------------------------------ */

/* True if the value at `index` is output{dtype, shape}. */
static int is_fresh(lua_State *L, int index) {
  const bind_argument *argument = bind_test_argument(L, index);
  return argument && argument->fresh;
}

/* The key on top of the stack, whose entry in `from` is output{dtype, shape}, gets memory in `to`; the tensor goes to the end of
** the list `made` as well. */
static void give_memory(lua_State *L, const bind_orch *orch, int from, int to, int made) {
  lua_pushvalue(L, -1);
  lua_rawget(L, from);
  const baton_view *wanted = &bind_test_argument(L, -1)->value.view;
  bind_push_intermediate(L, orch, (baton_dtype)wanted->dtype, wanted->ndim, wanted->shape);
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  lua_rawseti(L, made, (lua_Integer)lua_rawlen(L, made) + 1);
  bind_tag_tensor(L, BATON_OUTPUT);
  lua_rawset(L, to);
}

/* Pushes the least name of an entry of `from` that `to` does not have yet; false: there is none. */
static int push_next_name(lua_State *L, int from, int to) {
  int top = lua_gettop(L);
  const char *least = NULL;
  lua_pushnil(L); /* the name so far */
  for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !is_fresh(L, lua_gettop(L))) continue;
    lua_pushvalue(L, -2);
    int done = lua_rawget(L, to) != LUA_TNIL;
    lua_pop(L, 1);
    if (done || (least && strcmp(lua_tostring(L, -2), least) >= 0)) continue;
    least = lua_tostring(L, -2);
    lua_pushvalue(L, -2);
    lua_replace(L, top + 1);
  }
  if (!least) lua_settop(L, top);
  return least != NULL;
}

/* Pushes the table of the list at `index`. True if it has an output{dtype, shape}. */
static int push_table(lua_State *L, int index) {
  int fresh = 0;
  if (bind_test_class(L, index, bind_list_class))
    lua_getiuservalue(L, index, 1);
  else
    lua_pushvalue(L, index);
  int table = lua_gettop(L);
  if (lua_type(L, table) != LUA_TTABLE) return 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) fresh |= is_fresh(L, lua_gettop(L));
  return fresh;
}

/* Pushes a copy of the table at `from`, without output{dtype, shape}. */
static void push_copy(lua_State *L, int from) {
  lua_newtable(L);
  int to = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
    if (is_fresh(L, lua_gettop(L))) continue;
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, to);
  }
}

/* Puts tensors in place of each output{dtype, shape} of the list at `index`, which becomes a copy then; those that have
** positions come first, then names in their order. */
static void make_outputs(lua_State *L, const bind_orch *orch, int index, int made) {
  int top = lua_gettop(L), from = top + 1, to = top + 2;
  luaL_checkstack(L, 16, NULL);
  if (push_table(L, index)) {
    push_copy(L, from);
    for (lua_Integer i = 1, count = (lua_Integer)lua_rawlen(L, from); i <= count; i++) {
      lua_rawgeti(L, from, i);
      int fresh = is_fresh(L, lua_gettop(L));
      lua_pop(L, 1);
      if (!fresh) continue;
      lua_pushinteger(L, i);
      give_memory(L, orch, from, to, made);
    }
    while (push_next_name(L, from, to)) give_memory(L, orch, from, to, made);
    lua_pushvalue(L, to);
    lua_replace(L, index);
  }
  lua_settop(L, top);
}

/* --- Packing -------------------------------------------------------------------------------------------- */

static int is_intermediate(lua_State *L, int index) { return bind_test_device_tensor(L, index) != NULL; }

/* Packs the function at index 1 with the list at `index`. The stack keeps what *out points to. */
static void pack_call(lua_State *L, const bind_orch *orch, node_kind kind, int index, int made,
                      node_script *out) {
  const bind_pack_options options = {bind_orch_who(L), is_intermediate, .programs = kind == NODE_CHIPS};
  bind_packed packed;
  bind_orch_item item;
  luaL_checkstack(L, 16, "too many members");
  make_outputs(L, orch, index, made);
  bind_pack_call(L, 1, index, &options, &packed);
  int tensors = lua_gettop(L);
  baton_node_value *values = lua_newuserdatauv(L, packed.ntensors * sizeof *values + 1, 0);
  for (uint32_t i = 0; i < packed.ntensors; i++) {
    lua_rawgeti(L, tensors, (lua_Integer)i + 1);
    bind_read_value(L, orch, lua_gettop(L), NULL, bind_orch_who(L), (int)i + 1, &item);
    values[i] = item.value;
    values[i].tag = (baton_tag)packed.tags[i];
    lua_pop(L, 1);
  }
  *out =
      (node_script){.data = packed.data, .bytes = packed.size, .values = values, .nvalues = packed.ntensors};
}

/* --- Submits -------------------------------------------------------------------------------------------- */

/* Submits the members and pushes the task, then what output{dtype, shape} has made. */
static int submit(lua_State *L, bind_orch *orch, node_kind kind, int which, node_script *scripts,
                  uint32_t count, int made) {
  bind_orch_options options;
  bind_read_orch_options(L, orch, 3, which, (int)count, &options);
  for (uint32_t i = 0; i < count; i++)
    scripts[i].worker = options.workers ? options.workers[i] : options.base.worker;
  bind_sub_task *task = lua_newuserdatauv(L, sizeof *task, 1);
  *task = (bind_sub_task){.orch = orch, .members = count};
  luaL_setmetatable(L, bind_sub_task_class);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setiuservalue(L, -2, 1);
  if (node_submit_script(orch->o, kind, scripts, count, &options.base, &task->task, orch->err) != BATON_OK)
    return bind_raise(L, orch->err);
  int pushed = (int)lua_rawlen(L, made);
  luaL_checkstack(L, pushed + 1, "too many tensors");
  for (int i = 1; i <= pushed; i++) lua_rawgeti(L, made, i);
  return 1 + pushed;
}

/* True if the callable at index 1 is a Lua function, or names one. */
static int is_script(lua_State *L) {
  int type = lua_type(L, 1);
  if (type == LUA_TFUNCTION || type == LUA_TSTRING) return 1;
  if (type != LUA_TUSERDATA)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a function, a program or a handle expected, got %s",
              bind_orch_who(L), bind_describe(L, 1));
  return 0;
}

static int submit_function(lua_State *L, bind_orch *orch, node_kind kind, int which) {
  node_script script;
  bind_check_submit_top(L);
  lua_settop(L, 3);
  lua_newtable(L);
  pack_call(L, orch, kind, 2, 4, &script);
  return submit(L, orch, kind, which, &script, 1, 4);
}

static int submit_function_group(lua_State *L, bind_orch *orch, node_kind kind, int which) {
  bind_check_submit_top(L);
  lua_settop(L, 3);
  int count = lua_type(L, 2) == LUA_TTABLE ? (int)lua_rawlen(L, 2) : 0;
  if (!count)
    bind_fail(L, BATON_SIGNATURE, "%s: a list of argument lists expected, one for each member, got %s",
              bind_orch_who(L), bind_describe(L, 2));
  lua_newtable(L);
  node_script *scripts = lua_newuserdatauv(L, (size_t)count * sizeof *scripts, 0);
  for (int i = 0; i < count; i++) {
    luaL_checkstack(L, 8, "too many members");
    lua_rawgeti(L, 2, i + 1);
    pack_call(L, orch, kind, lua_gettop(L), 4, &scripts[i]);
  }
  return submit(L, orch, kind, which, scripts, (uint32_t)count, 4);
}

int bind_orch_submit_sub(lua_State *L) {
  bind_orch *orch = bind_check_orch(L);
  if (!is_script(L)) return bind_submit_program(L, baton_node_submit_sub, 0);
  return submit_function(L, orch, NODE_SUBS, 0);
}

int bind_orch_submit_sub_group(lua_State *L) {
  bind_orch *orch = bind_check_orch(L);
  if (!is_script(L)) return bind_submit_program_group(L, baton_node_submit_sub_group, 0);
  return submit_function_group(L, orch, NODE_SUBS, 0);
}

int bind_orch_submit(lua_State *L) {
  enum { WHICH = BIND_ORCH_WORKER | BIND_ORCH_CONFIG };
  bind_orch *orch = bind_check_orch(L);
  if (!orch->node->has_nodes || !is_script(L))
    return bind_submit_program(L, baton_node_submit_next_level, WHICH);
  return submit_function(L, orch, NODE_CHIPS, WHICH);
}

int bind_orch_submit_group(lua_State *L) {
  enum { WHICH = BIND_ORCH_WORKERS | BIND_ORCH_CONFIG };
  bind_orch *orch = bind_check_orch(L);
  if (!orch->node->has_nodes || !is_script(L))
    return bind_submit_program_group(L, baton_node_submit_next_level_group, WHICH);
  return submit_function_group(L, orch, NODE_CHIPS, WHICH);
}

/* --- Results -------------------------------------------------------------------------------------------- */

/* The run of a task: while its function runs, and then as long as what node:submit returned. */
static baton_node_run *run_of(const bind_orch *orch) {
  if (orch->o) return orch->o->run;
  return orch->run ? orch->run->node : NULL;
}

static int task_result(lua_State *L) { /* task:result([member]): waits for what a function returned */
  const bind_sub_task *task = bind_test_class(L, 1, bind_sub_task_class);
  if (!task) bind_bad_argument(L, "a task expected, got %s", bind_describe(L, 1));
  int64_t member = lua_isnoneornil(L, 2) ? 1 : bind_check_integer(L, 2, "member", 1, task->members);
  baton_node_run *run = run_of(task->orch);
  if (!run) bind_fail(L, BATON_STATE, "task.result: the run is over and gone, and its results with it");
  const char *data;
  uint64_t bytes;
  baton_error *err = bind_push_error(L); /* not the shared one: waiting may call back into Lua */
  if (node_task_result(run, task->task, (uint32_t)member - 1, &data, &bytes, err) != BATON_OK)
    return bind_raise(L, err);
  return bind_unpack_results(L, data, bytes);
}

static int task_tostring(lua_State *L) {
  const bind_sub_task *task = luaL_checkudata(L, 1, bind_sub_task_class);
  lua_pushfstring(L, "task of %d function%s", (int)task->members, task->members == 1 ? "" : "s");
  return 1;
}

void bind_open_sub_tasks(lua_State *L) {
  static const luaL_Reg methods[] = {{"result", task_result}, {NULL, NULL}};
  static const luaL_Reg events[] = {{"__tostring", task_tostring}, {NULL, NULL}};
  node_set_scripts(bind_script_calls());
  bind_open_class(L, bind_sub_task_class, "task", events, (const luaL_Reg *const[]){methods, NULL}, NULL);
}
