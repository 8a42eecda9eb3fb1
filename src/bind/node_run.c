/* node:run and node:submit: an orchestrating function is called with `orch` and the arguments. */
#include "bind/orch.h"
#include "bind/worker.h"
#include "bind/worker_options.h"
#include <string.h>

enum { NODE = 1, FUNCTION, ARGUMENTS, CONFIG };

void bind_orchestration_begin(lua_State *L, bind_orchestration *call, int first) {
  luaL_checkstack(L, 16, NULL);
  *call = (bind_orchestration){.L = L, .node = bind_check_node(L, first), .first = first, .owner = first};
  call->err = bind_push_error(L);
  call->failure = bind_push_error(L);
}

/* Reads node, function, arguments and config from indices 1 to 4. */
static void read_call(lua_State *L, bind_orchestration *call, baton_config *config) {
  lua_settop(L, CONFIG);
  (void)bind_check_node(L, NODE);
  if (lua_type(L, FUNCTION) != LUA_TFUNCTION)
    bind_bad_argument(L, "a function of orch and the arguments expected, got %s", bind_describe(L, FUNCTION));
  bind_read_config(L, CONFIG, config);
  bind_orchestration_begin(L, call, NODE);
}

/* Protected: (call, o, node, function, arguments). */
static int call_protected(lua_State *L) {
  bind_orchestration *call = lua_touserdata(L, 1);
  baton_node_orch *o = lua_touserdata(L, 2);
  lua_pushvalue(L, 4);
  call->orch = bind_push_orch(L, o, call->node, call->err, call->failure, 3);
  call->orch->run = call->run;
  lua_pushvalue(L, 5);
  if (call->round) lua_pushinteger(L, call->round);
  lua_call(L, call->round ? 3 : 2, 0);
  return 0;
}

/* What whoever else waits for the tasks of the run is told. The value that was raised is on top of the stack. */
static baton_status explain(const bind_orchestration *call, baton_error *err) {
  const char *text = lua_type(call->L, -1) == LUA_TSTRING ? lua_tostring(call->L, -1) : NULL;
  return baton_error_set(err, BATON_USER_FAIL, "the orchestrating function raised an error%s%s",
                         text ? ": " : "", text ? text : "");
}

baton_status bind_orchestrate(baton_node_orch *o, void *context, baton_error *err) {
  bind_orchestration *call = context;
  lua_State *L = call->L;
  lua_pushcfunction(L, call_protected);
  lua_pushlightuserdata(L, call);
  lua_pushlightuserdata(L, o);
  lua_pushvalue(L, call->owner);
  lua_pushvalue(L, call->first + 1);
  lua_pushvalue(L, call->first + 2);
  int failed = lua_pcall(L, 5, 0, 0);
  if (call->orch) call->orch->o = NULL;
  if (failed) {
    bind_explain_yield(L, "run", "orchestrating function");
    call->raised = lua_gettop(L);
  }
  if (call->failure->code != BATON_OK) return baton_error_copy(err, call->failure);
  return failed ? explain(call, err) : BATON_OK;
}

static int node_run(lua_State *L) { /* node:run(fn, arguments [, config]) -> timing */
  bind_orchestration call;
  baton_config config;
  baton_timing timing;
  read_call(L, &call, &config);
  baton_error *err = bind_push_error(L);
  if (baton_node_run_function(call.node, bind_orchestrate, &call, &config, &timing, err) != BATON_OK)
    return bind_raise_outcome(L, call.raised, err);
  bind_push_timing(L, &timing);
  return 1;
}

static int node_submit(lua_State *L) { /* node:submit(fn, arguments [, config]) -> run */
  bind_orchestration call;
  baton_config config;
  read_call(L, &call, &config);
  bind_run *made = bind_push_new_run(L, NODE);
  int run = lua_gettop(L);
  call.run = made;
  call.owner = run;
  lua_pushvalue(L, ARGUMENTS);
  lua_setiuservalue(L, run, 2); /* and its arguments */
  baton_error *err = bind_push_error(L);
  if (baton_node_submit(call.node, bind_orchestrate, &call, &config, &made->node, err) != BATON_OK)
    return bind_raise_outcome(L, call.raised, err);
  lua_pushvalue(L, run);
  return 1;
}

const luaL_Reg bind_node_run_methods[] = {{"run", node_run}, {"submit", node_submit}, {NULL, NULL}};
