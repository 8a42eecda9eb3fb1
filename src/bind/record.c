/* g.record: a sub-graph that a Lua function builds once. */
#include "bind/record.h"
#include "bind/device_tensor.h"
#include "bind/submit.h"
#include "bind/task_options.h"
#include "chip/record.h"

/* One call: the key, the function, the list and the options stand at stack indices 1 to 4. */
typedef struct record_call {
  lua_State *L;
  const bind_graph *graph;
  int failed; /* stack index of what the function raised; 0: nothing */
} record_call;

static void push_handed(lua_State *L, const bind_graph *graph, const baton_arg *arg) {
  if (arg->tag == BATON_SCALAR)
    bind_push_scalar(L, *arg);
  else
    bind_push_device_tensor(L, &arg->view, graph->number);
}

/* Protected: (call, arguments, count, function). Returns nothing; what the function returns goes to the record. */
static int build_protected(lua_State *L) {
  const record_call *call = lua_touserdata(L, 1);
  const baton_arg *args = lua_touserdata(L, 2);
  int count = (int)lua_tointeger(L, 3);
  luaL_checkstack(L, count + 4, "too many arguments");
  for (int i = 0; i < count; i++) push_handed(L, call->graph, &args[i]);
  lua_call(L, count, LUA_MULTRET);
  for (int i = 4; i <= lua_gettop(L); i++) {
    const bind_device_tensor *tensor = bind_test_device_tensor(L, i);
    if (!tensor || tensor->graph != call->graph->number)
      bind_fail(L, BATON_INVALID_ARGUMENT,
                "g.record: the function may return device tensors of this run, result %d is %s", i - 3,
                bind_describe(L, i));
    chip_record_result((chip_orchestrator *)call->graph->o, &tensor->view);
    bind_raise_failure(L, call->graph);
  }
  return 0;
}

static void build(chip_orchestrator *self, const baton_arg *args, uint32_t nargs, void *context) {
  record_call *call = context;
  lua_State *L = call->L;
  lua_pushcfunction(L, build_protected);
  lua_pushlightuserdata(L, call);
  lua_pushlightuserdata(L, (void *)(uintptr_t)args);
  lua_pushinteger(L, (lua_Integer)nargs);
  lua_pushvalue(L, 2);
  if (lua_pcall(L, 4, 0, 0) == LUA_OK) return;
  call->failed = lua_gettop(L);
  chip_record_abandon(self);
}

/* Reads the list at stack index 3 into memory that the stack keeps. */
static baton_arg *read_list(lua_State *L, const bind_graph *graph, int *count) {
  int first = lua_gettop(L) + 1;
  *count = bind_push_arguments(L, 3, NULL, "g.record");
  baton_arg *args = lua_newuserdatauv(L, (size_t)*count * sizeof *args + 1, 0);
  for (int i = 0; i < *count; i++) (void)bind_read_operand(L, graph, first + i, "g.record", i + 1, &args[i]);
  return args;
}

int bind_graph_record(lua_State *L) { /* g.record(key, fn, list [, options]) */
  static const char *const names[] = {"deps", NULL};
  const bind_graph *graph = bind_check_graph(L);
  record_call call = {.L = L, .graph = graph};
  baton_task_options options = {0};
  const baton_view *results;
  uint32_t nresults;
  int count;
  lua_settop(L, 4);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.record: a key expected, got %s", bind_describe(L, 1));
  if (lua_type(L, 2) != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.record: a function expected, got %s", bind_describe(L, 2));
  if (!bind_is_list(L, 3))
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.record: a list of arguments expected, got %s",
              bind_describe(L, 3));
  if (!lua_isnil(L, 4)) {
    bind_check_options(L, 4, "g.record", names);
    bind_read_deps(L, graph, 4, &options);
  }
  baton_arg *args = read_list(L, graph, &count);
  luaL_checkstack(L, 8, NULL);
  const chip_sub_graph sub_graph = {lua_tostring(L, 1), build, &call};
  baton_task task = chip_record_call((chip_orchestrator *)graph->o, &sub_graph, args, (uint32_t)count,
                                     &options, &results, &nresults);
  if (call.failed) {
    lua_settop(L, call.failed);
    return lua_error(L);
  }
  bind_raise_failure(L, graph);
  bind_push_task(L, graph, task);
  luaL_checkstack(L, (int)nresults + 1, "too many tensors");
  for (uint32_t i = 0; i < nresults; i++) bind_push_device_tensor(L, &results[i], graph->number);
  return 1 + (int)nresults;
}
