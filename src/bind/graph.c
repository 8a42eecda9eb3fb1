/* `g`: a table of functions that submit the tasks of one run. Each function has the graph as its upvalue. */
#include "bind/graph.h"
#include "base/atomic.h"
#include "bind/device_tensor.h"
#include "bind/record.h"
#include "bind/scope.h"
#include "bind/submit.h"
#include <string.h>

static _Atomic uint64_t graph_count;

uint64_t bind_new_graph_number(void) {
  return 1 + atomic_fetch_add_explicit(&graph_count, 1, memory_order_relaxed);
}

static const char *program_name(const bind_graph *graph) { return baton_program_name(graph->program); }

/* A scalar of a kernel or an element as a Lua value; `bits` as in baton_argument. */
static void push_scalar(lua_State *L, baton_dtype dtype, uint64_t bits) {
  double number;
  memcpy(&number, &bits, sizeof number);
  if (dtype == BATON_BOOL)
    lua_pushboolean(L, bits != 0);
  else if (baton_dtype_is_float(dtype))
    lua_pushnumber(L, number);
  else
    lua_pushinteger(L, (lua_Integer)bits);
}

/* The field `fill` of the options at index 3; false if there is none. */
static int read_fill(lua_State *L, baton_arg *value) {
  static const char *const names[] = {"fill", NULL};
  if (lua_isnoneornil(L, 3)) return 0;
  bind_check_options(L, 3, "g.alloc", names);
  if (lua_getfield(L, 3, "fill") == LUA_TNIL) return 0;
  if (!bind_to_scalar(L, -1, value))
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.alloc: field 'fill' must be a number or a boolean, got %s",
              bind_describe(L, -1));
  return 1;
}

static int graph_alloc(lua_State *L) { /* g.alloc(dtype, shape [, {fill = v}]) */
  const bind_graph *graph = bind_check_graph(L);
  int64_t shape[BATON_MAX_DIMS];
  baton_arg value;
  int filled = read_fill(L, &value);
  baton_dtype dtype = bind_check_dtype(L, 1, "the type");
  int ndim = bind_check_shape(L, 2, "the shape", shape);
  baton_view view = baton_alloc(graph->o, dtype, ndim, shape);
  if (filled) baton_fill(graph->o, view, value);
  bind_raise_failure(L, graph);
  bind_push_device_tensor(L, &view, graph->number);
  return 1;
}

/* The device tensor at index 1 and its element indices from index 2 on. */
static const bind_device_tensor *read_element(lua_State *L, const bind_graph *graph,
                                              int64_t index[BATON_MAX_DIMS], int at) {
  const char *name = lua_tostring(L, lua_upvalueindex(2));
  baton_arg arg;
  bind_read_tensor(L, graph, 1, name, 1, &arg);
  bind_view_index(L, &arg.view, at, index);
  return bind_test_device_tensor(L, 1);
}

static int graph_get(lua_State *L) { /* g.get(t, i…) */
  const bind_graph *graph = bind_check_graph(L);
  int64_t index[BATON_MAX_DIMS];
  const bind_device_tensor *tensor = read_element(L, graph, index, 2);
  baton_arg value;
  (void)graph->o->calls->get(graph->o, &tensor->view, index, &value);
  bind_raise_failure(L, graph);
  push_scalar(L, value.dtype, value.scalar.u64);
  return 1;
}

static int graph_set(lua_State *L) { /* g.set(t, v, i…) */
  const bind_graph *graph = bind_check_graph(L);
  int64_t index[BATON_MAX_DIMS];
  baton_arg value;
  const bind_device_tensor *tensor = read_element(L, graph, index, 3);
  if (!bind_to_scalar(L, 2, &value))
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.set: a number or a boolean expected, got %s",
              bind_describe(L, 2));
  graph->o->calls->set(graph->o, &tensor->view, index, &value);
  bind_raise_failure(L, graph);
  return 0;
}

/* g.scalar(name): a scalar of the program that only tasks see. */
static int graph_scalar(lua_State *L) {
  const bind_graph *graph = bind_check_graph(L);
  const chip_signature *signature = chip_program_signature(graph->program);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.scalar: a name of the signature expected, got %s",
              bind_describe(L, 1));
  int position = signature ? chip_signature_find(signature, lua_tostring(L, 1)) : -1;
  if (position < 0 || signature->items[position].direction != BATON_BY_VALUE)
    bind_fail(L, BATON_SIGNATURE, "g.scalar: %s has no scalar named %s", program_name(graph),
              lua_tostring(L, 1));
  bind_push_scalar(L, baton_scalar_param(graph->args, (uint32_t)position));
  return 1;
}

static int graph_fail(lua_State *L) { /* g.fail(message) */
  const bind_graph *graph = bind_check_graph(L);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.fail: a message expected, got %s", bind_describe(L, 1));
  baton_orch_fail(graph->o, "%s: %s", program_name(graph), lua_tostring(L, 1));
  bind_raise_failure(L, graph);
  return 0;
}

/* --- Scopes ----------------------------------------------------------------------------------------------------- */

/* A failed run has no scopes left to end. */
static baton_status end_scope(void *owner, baton_error *err) {
  const bind_graph *graph = owner;
  (void)err;
  if (graph->o) baton_scope_end(graph->o);
  return BATON_OK;
}

static baton_scope_mode read_mode(lua_State *L, int table) {
  static const char *const names[] = {"mode", NULL};
  bind_check_options(L, table, "g.scope", names);
  const char *mode = bind_option_string(L, table, "mode", "auto");
  if (strcmp(mode, "auto") == 0) return BATON_SCOPE_AUTO;
  if (strcmp(mode, "manual") == 0) return BATON_SCOPE_MANUAL;
  bind_fail(L, BATON_INVALID_ARGUMENT, "g.scope: mode 'auto' or 'manual' expected, got '%s'", mode);
  return BATON_SCOPE_AUTO;
}

/* g.scope(fn), g.scope({mode=…}, fn), g.scope() and g.scope({mode=…}) for a variable that is closed. */
static int graph_scope_open(lua_State *L) {
  const bind_graph *graph = bind_check_graph(L);
  baton_scope_mode mode = BATON_SCOPE_AUTO;
  if (lua_type(L, 1) == LUA_TTABLE) {
    mode = read_mode(L, 1);
    lua_remove(L, 1);
  }
  if (!lua_isnoneornil(L, 1) && lua_type(L, 1) != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.scope: a function expected, got %s", bind_describe(L, 1));
  baton_scope_begin(graph->o, mode);
  bind_raise_failure(L, graph);
  int results = bind_scope_call(L, end_scope);
  bind_raise_failure(L, graph);
  return results;
}

/* --- Building --------------------------------------------------------------------------------------------------- */

static int graph_unknown(lua_State *L) { /* g.NAME for what is none of its functions */
  return bind_fail(
      L, BATON_INVALID_ARGUMENT,
      "g.%s: no such function; there are aic aiv mix dummy alloc get set scalar scope record fail, and the "
      "numbers clusters aiv_count",
      bind_describe(L, 2));
}

static const luaL_Reg graph_functions[] = {
    {"aic", bind_graph_aic},     {"aiv", bind_graph_aiv},       {"mix", bind_graph_mix},
    {"dummy", bind_graph_dummy}, {"alloc", graph_alloc},        {"get", graph_get},
    {"set", graph_set},          {"scalar", graph_scalar},      {"fail", graph_fail},
    {"scope", graph_scope_open}, {"record", bind_graph_record}, {NULL, NULL}};

/* Pushes `g` for the graph on top of the stack, which it replaces. */
static void push_vocabulary(lua_State *L, const bind_graph *graph) {
  int at = lua_gettop(L);
  lua_createtable(L, 0, 8);
  for (const luaL_Reg *function = graph_functions; function->name; function++) {
    lua_pushvalue(L, at);
    lua_pushstring(L, function->name);
    lua_pushcclosure(L, function->func, 2);
    lua_setfield(L, -2, function->name);
  }
  lua_pushinteger(L, baton_clusters(graph->o));
  lua_setfield(L, -2, "clusters");
  lua_pushinteger(L, baton_aiv_count(graph->o));
  lua_setfield(L, -2, "aiv_count");
  luaL_setmetatable(L, bind_graph_class);
  lua_replace(L, at);
}

static void push_parameter(lua_State *L, const bind_graph *graph, const baton_args *args, uint32_t i) {
  const baton_argument *item = &args->items[i];
  if (item->view) {
    baton_view view = baton_param(graph->o, args, i);
    bind_push_device_tensor(L, &view, graph->number);
  } else {
    push_scalar(L, (baton_dtype)item->dtype, item->value.u64);
  }
}

typedef struct build_context {
  const baton_program *program;
  bind_graph *graph; /* once it is made */
  baton_orch *o;
  const baton_args *args;
} build_context;

/* Protected: (context, function). Makes g and the arguments, and calls the function. */
static int build_protected(lua_State *L) {
  build_context *context = lua_touserdata(L, 1);
  bind_graph *graph =
      bind_push_new_graph(L, context->o, context->args, context->program, bind_new_graph_number());
  context->graph = graph;
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  push_vocabulary(L, graph);
  luaL_checkstack(L, (int)context->args->count + 4, "too many arguments");
  for (uint32_t i = 0; i < context->args->count; i++) push_parameter(L, graph, context->args, i);
  lua_call(L, (int)context->args->count + 1, 0);
  return 0;
}

void bind_explain_yield(lua_State *L, const char *who, const char *function) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (!strstr(text, "attempt to yield across a C-call boundary") &&
      !strstr(text, "attempt to yield from outside a coroutine"))
    return;
  baton_error *err = bind_error(L);
  baton_error_set(err, BATON_STATE, "%s: the %s must not yield", who, function);
  bind_push_failure(L, err);
  lua_replace(L, -2);
}

int bind_call_graph(lua_State *L, int function, int handler, const baton_program *program, baton_orch *o,
                    const baton_args *args) {
  build_context context = {program, NULL, o, args};
  lua_pushcfunction(L, build_protected);
  lua_pushlightuserdata(L, &context);
  lua_pushvalue(L, function);
  int status = lua_pcall(L, 2, 0, handler);
  if (context.graph) context.graph->o = NULL;
  return status;
}

static void build_graph(bind_graph_call *call, baton_orch *o, const baton_args *args) {
  bind_build *build = (bind_build *)call;
  lua_State *L = build->L;
  if (bind_call_graph(L, build->function, 0, build->program, o, args) == LUA_OK) return;
  bind_explain_yield(L, baton_program_name(build->program), "graph function");
  build->raised = lua_gettop(L);
  baton_orch_fail(o, "%s: the graph function raised an error", baton_program_name(build->program));
}

bind_graph_call *bind_build_enter(lua_State *L, bind_build *build, int program) {
  luaL_checkstack(L, 8, NULL);
  *build = (bind_build){.call = {build_graph}, .L = L, .program = bind_check_program(L, program)};
  if (bind_push_graph(L, program)) build->function = lua_gettop(L);
  return bind_graph_enter(&build->call);
}

void bind_build_leave(bind_graph_call *before) { (void)bind_graph_enter(before); }

void bind_open_graph(lua_State *L) {
  lua_newtable(L);
  bind_functions(L, "g", graph_functions); /* their names, for messages */
  lua_pop(L, 1);
  luaL_newmetatable(L, bind_graph_class);
  lua_pushcfunction(L, graph_unknown);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  bind_open_scopes(L);
}
