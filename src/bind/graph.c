/* `g`: a table of functions that submit the tasks of one run. Each function has the graph as its upvalue. */
#include "bind/graph.h"
#include "base/atomic.h"
#include "bind/arguments.h"
#include "bind/device_tensor.h"
#include "chip/orchestrator.h"
#include <string.h>

static const char graph_class[] = "baton.graph";
static const char scope_class[] = "baton.scope";

enum { OWN_ARGUMENTS = 16, KNOWN_KERNELS = 8 };

/* Lives as long as `g`; dead after the graph function returned. */
typedef struct bind_graph {
  baton_orch *o; /* NULL: dead */
  const baton_args *args;
  const baton_program *program;
  uint64_t number;
  struct {
    const char *name; /* the string of Lua; another one at the same address is told by its text */
    const chip_kernel *kernel;
    int index;
  } known[KNOWN_KERNELS];
} bind_graph;

typedef struct graph_scope {
  bind_graph *graph; /* user value 1 keeps it; NULL: closed */
} graph_scope;

static _Atomic uint64_t graph_count;

static const char *program_name(const bind_graph *graph) { return baton_program_name(graph->program); }

/* Raises what has failed, again at every call: the orchestrator keeps it. */
static void raise_failure(lua_State *L, const bind_graph *graph) {
  const chip_orchestrator *orchestrator = (const chip_orchestrator *)graph->o;
  if (!orchestrator->failure.code) return;
  baton_error *err = bind_error(L);
  baton_error_copy(err, &orchestrator->failure);
  bind_raise(L, err);
}

/* The graph of the running function, called as g.name(…). */
static bind_graph *check_graph(lua_State *L) {
  bind_graph *graph = lua_touserdata(L, lua_upvalueindex(1));
  const char *name = lua_tostring(L, lua_upvalueindex(2));
  if (!graph->o) bind_fail(L, BATON_STATE, "g.%s: the graph function has returned, its g is dead", name);
  if (lua_type(L, 1) == LUA_TTABLE && lua_getmetatable(L, 1)) {
    luaL_getmetatable(L, graph_class);
    int same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (same)
      bind_fail(L, BATON_INVALID_ARGUMENT, "g:%s: g is a table of functions, write g.%s(…)", name, name);
  }
  raise_failure(L, graph);
  return graph;
}

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

/* --- Arguments of a task ---------------------------------------------------------------------------------------- */

static void raise_no_tensor(lua_State *L, int index, const char *who, int position) {
  bind_fail(L, BATON_INVALID_ARGUMENT, "%s: argument %d: a device tensor or a number expected, got %s%s", who,
            position, bind_describe(L, index),
            bind_test_tensor(L, index) ? "; host tensors become device tensors as arguments of the run" : "");
}

/* False if there is no device tensor at `index`. */
static int read_tensor(lua_State *L, const bind_graph *graph, int index, baton_tag tag, const char *who,
                       int position, baton_arg *out) {
  const bind_device_tensor *tensor = bind_test_device_tensor(L, index);
  if (!tensor) return 0;
  if (tensor->graph != graph->number)
    bind_fail(L, BATON_STALE_HANDLE,
              "%s: argument %d: a device tensor of another run; it lived until its graph function returned",
              who, position);
  out->tag = tag;
  out->dtype = (baton_dtype)tensor->view.dtype;
  out->view = tensor->view;
  return 1;
}

/* Memory of the runtime for output{dtype, shape}. */
static void read_fresh(lua_State *L, const bind_graph *graph, const bind_argument *argument, baton_arg *out) {
  const baton_view *wanted = &argument->value.view;
  *out = baton_output(baton_alloc(graph->o, (baton_dtype)wanted->dtype, wanted->ndim, wanted->shape));
  raise_failure(L, graph);
}

static void read_argument(lua_State *L, const bind_graph *graph, int index, const char *who, int position,
                          baton_arg *out) {
  if (read_tensor(L, graph, index, BATON_UNTAGGED, who, position, out) || bind_to_scalar(L, index, out))
    return;
  const bind_argument *tagged = bind_test_argument(L, index);
  if (!tagged) {
    raise_no_tensor(L, index, who, position);
  } else if (tagged->fresh) {
    read_fresh(L, graph, tagged, out);
  } else {
    lua_getiuservalue(L, index, 1);
    if (!read_tensor(L, graph, lua_gettop(L), tagged->tag, who, position, out))
      raise_no_tensor(L, lua_gettop(L), who, position);
    lua_pop(L, 1);
  }
}

static int is_fresh(lua_State *L, int index) {
  const bind_argument *argument = bind_test_argument(L, index);
  return argument && argument->fresh;
}

/* --- Options of a task ------------------------------------------------------------------------------------------ */

/* Tasks are integers in Lua, so that a submit makes no garbage: 8 bits of the graph's number, 24 of the slot, 32 of the
** generation. */
static lua_Integer pack_task(const bind_graph *graph, baton_task task) {
  return (lua_Integer)(graph->number << 56 | (uint64_t)task.slot << 32 | task.generation);
}

static baton_task unpack_task(lua_State *L, const bind_graph *graph, int index, lua_Integer entry) {
  if (!lua_isinteger(L, index))
    bind_fail(L, BATON_INVALID_ARGUMENT, "field 'deps' must be a list of tasks, entry %d is %s", (int)entry,
              bind_describe(L, index));
  uint64_t packed = (uint64_t)lua_tointeger(L, index);
  if (packed >> 56 != (graph->number & 0xff))
    bind_fail(L, BATON_STALE_HANDLE, "field 'deps': entry %d is no task of this run", (int)entry);
  return (baton_task){(uint32_t)(packed >> 32) & 0xffffff, (uint32_t)packed};
}

/* Reads field `deps` into a list that the stack keeps. */
static void read_deps(lua_State *L, const bind_graph *graph, int table, baton_task_options *options) {
  if (!bind_option_table(L, table, "deps")) return; /* the nil or the table stays on the stack */
  int list = lua_gettop(L);
  lua_Integer count = luaL_len(L, list);
  baton_task *deps = lua_newuserdatauv(L, (size_t)count * sizeof *deps + 1, 0);
  for (lua_Integer i = 0; i < count; i++) {
    lua_rawgeti(L, list, i + 1);
    deps[i] = unpack_task(L, graph, lua_gettop(L), i + 1);
    lua_pop(L, 1);
  }
  options->deps = deps;
  options->ndeps = (uint32_t)count;
}

static void read_options(lua_State *L, const bind_graph *graph, int table, const char *what,
                         baton_task_options *options) {
  static const char *const names[] = {"deps",      "name",        "blocks",   "sync_start",
                                      "predicate", "timing_slot", "priority", NULL};
  static const char *const later[] = {"blocks", "sync_start", "predicate", "timing_slot", "priority"};
  memset(options, 0, sizeof *options);
  if (lua_isnoneornil(L, table)) return;
  bind_check_options(L, table, what, names);
  for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
    if (lua_getfield(L, table, later[i]) != LUA_TNIL)
      bind_fail(L, BATON_UNSUPPORTED, "%s: option '%s' is not in this version", what, later[i]);
    lua_pop(L, 1);
  }
  options->name = bind_option_string(L, table, "name", NULL);
  read_deps(L, graph, table, options);
}

/* --- Submits ---------------------------------------------------------------------------------------------------- */

enum { PARTS = 3 }; /* of a mixed task */

/* One kernel of a mixed task, and its arguments among those of the submit. */
typedef struct graph_part {
  int kernel; /* -1: none */
  int first, count;
} graph_part;

/* One submit under way: the arguments stand on the stack from `first` on. */
typedef struct graph_submit {
  const bind_graph *graph;
  baton_core core;
  int kernel; /* -1: a dummy */
  const char *who;
  int first, count;
  baton_task_options options;
  int mixed;
  graph_part parts[PARTS];
} graph_submit;

static baton_task call_submit(const graph_submit *s, const baton_arg *args) {
  baton_orch *o = s->graph->o;
  baton_lane lanes[PARTS];
  if (!s->mixed && s->kernel < 0) return baton_dummy(o, args, (uint32_t)s->count, &s->options);
  if (!s->mixed) return o->calls->submit(o, s->core, s->kernel, args, (uint32_t)s->count, &s->options);
  for (int i = 0; i < PARTS; i++)
    lanes[i] = baton_lane_of(s->parts[i].kernel, args + s->parts[i].first, (uint32_t)s->parts[i].count);
  return baton_mix(o, lanes[0], lanes[1], lanes[2], &s->options);
}

/* Returns the task, then a tensor for each output{…}. */
static int submit(lua_State *L, const graph_submit *s) {
  baton_arg own[OWN_ARGUMENTS], *args = own;
  int fresh = 0;
  if (s->count > OWN_ARGUMENTS) args = lua_newuserdatauv(L, (size_t)s->count * sizeof *args, 0);
  for (int i = 0; i < s->count; i++) read_argument(L, s->graph, s->first + i, s->who, i + 1, &args[i]);
  baton_task task = call_submit(s, args);
  raise_failure(L, s->graph);
  luaL_checkstack(L, s->count + 1, NULL);
  lua_pushinteger(L, pack_task(s->graph, task));
  for (int i = 0; i < s->count; i++) {
    if (!is_fresh(L, s->first + i)) continue;
    bind_push_device_tensor(L, &args[i].view, s->graph->number);
    fresh++;
  }
  return 1 + fresh;
}

/* The arguments from stack index `at` on: a list and options, or one by one. */
static void read_arguments(lua_State *L, graph_submit *s, int at, const chip_signature *signature) {
  memset(&s->options, 0, sizeof s->options);
  if (!bind_is_list(L, at)) {
    s->first = at;
    s->count = lua_gettop(L) - at + 1;
    if (s->count < 0) s->count = 0;
    return;
  }
  if (lua_gettop(L) > at + 1)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a list of arguments and options expected, got more", s->who);
  lua_settop(L, at + 1);
  read_options(L, s->graph, at + 1, s->who, &s->options);
  s->first = lua_gettop(L) + 1;
  s->count = bind_push_arguments(L, at, signature, s->who);
}

/* The kernel of this name. A script names the same few kernels again and again, by the same strings. */
static const chip_kernel *find_kernel(lua_State *L, bind_graph *graph, const char *name, int *index) {
  size_t at = ((uintptr_t)name >> 4) % KNOWN_KERNELS;
  if (graph->known[at].name != name || strcmp(graph->known[at].kernel->name, name) != 0) {
    int found = baton_kernel(graph->o, name);
    raise_failure(L, graph);
    graph->known[at].index = found;
    graph->known[at].kernel = chip_program_kernel(graph->program, (uint32_t)found);
    graph->known[at].name = name;
  }
  *index = graph->known[at].index;
  return graph->known[at].kernel;
}

/* g.aiv(kernel, list [, options]) and g.aiv(kernel, a, b, …); so g.aic. */
static int submit_on(lua_State *L, baton_core core) {
  bind_graph *graph = check_graph(L);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.%s: the name of a kernel expected, got %s",
              lua_tostring(L, lua_upvalueindex(2)), bind_describe(L, 1));
  graph_submit s = {.graph = graph, .core = core};
  const chip_kernel *kernel = find_kernel(L, graph, lua_tostring(L, 1), &s.kernel);
  s.who = kernel->who;
  read_arguments(L, &s, 2, kernel->signature);
  return submit(L, &s);
}

static int graph_aic(lua_State *L) { return submit_on(L, BATON_AIC); }
static int graph_aiv(lua_State *L) { return submit_on(L, BATON_AIV); }

static const char *const part_names[] = {"aic", "aiv0", "aiv1", NULL};

/* The kernels of g.mix, in the table at index 1. */
static void read_parts(lua_State *L, graph_submit *s) {
  int found = 0;
  if (lua_type(L, 1) != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.mix: a table of kernels expected, got %s", bind_describe(L, 1));
  bind_check_options(L, 1, "g.mix", part_names);
  for (int i = 0; i < PARTS; i++) {
    const char *name = bind_option_string(L, 1, part_names[i], NULL);
    s->parts[i] = (graph_part){.kernel = name ? baton_kernel(s->graph->o, name) : -1};
    raise_failure(L, s->graph);
    found += name != NULL;
  }
  if (!found)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.mix: a kernel expected for one of aic, aiv0 and aiv1, got none");
}

static const chip_kernel *part_kernel(const graph_submit *s, int i) {
  return s->parts[i].kernel < 0 ? NULL : chip_program_kernel(s->graph->program, (uint32_t)s->parts[i].kernel);
}

/* True if the table at `index` has a list for each kernel instead of one for all. */
static int has_lists(lua_State *L, int index) {
  int found = 0;
  for (int i = 0; i < PARTS && lua_type(L, index) == LUA_TTABLE; i++) {
    found |= lua_getfield(L, index, part_names[i]) != LUA_TNIL;
    lua_pop(L, 1);
  }
  return found;
}

/* One list for all: the names of the first signature are its keys. */
static void read_shared_list(lua_State *L, graph_submit *s) {
  const chip_signature *signature = NULL;
  for (int i = 0; i < PARTS && !signature; i++)
    signature = part_kernel(s, i) ? part_kernel(s, i)->signature : NULL;
  read_arguments(L, s, 2, signature);
  for (int i = 0; i < PARTS; i++) s->parts[i].count = s->count;
}

static void read_lists(lua_State *L, graph_submit *s) {
  int lists[PARTS];
  bind_check_options(L, 2, "g.mix", part_names);
  lua_settop(L, 3);
  read_options(L, s->graph, 3, s->who, &s->options);
  for (int i = 0; i < PARTS; i++) {
    lua_getfield(L, 2, part_names[i]);
    lists[i] = lua_gettop(L);
    if (part_kernel(s, i) ? !bind_is_list(L, lists[i]) : !lua_isnil(L, lists[i]))
      bind_fail(L, BATON_SIGNATURE, "g.mix: %s expected for %s, got %s",
                part_kernel(s, i) ? "a list of arguments" : "no list without a kernel", part_names[i],
                bind_describe(L, lists[i]));
  }
  s->first = lua_gettop(L) + 1;
  for (int i = 0; i < PARTS; i++) {
    const chip_kernel *kernel = part_kernel(s, i);
    if (!kernel) continue;
    s->parts[i].first = s->count;
    s->parts[i].count = bind_push_arguments(L, lists[i], kernel->signature, kernel->who);
    s->count += s->parts[i].count;
  }
}

/* g.mix({aic=, aiv0=, aiv1=}, list [, options]), with one list for all or {aic=, aiv0=, aiv1=} again. */
static int graph_mix(lua_State *L) {
  graph_submit s = {.graph = check_graph(L), .mixed = 1, .who = "g.mix"};
  read_parts(L, &s);
  if (has_lists(L, 2))
    read_lists(L, &s);
  else
    read_shared_list(L, &s);
  return submit(L, &s);
}

static int graph_dummy(lua_State *L) { /* g.dummy(list [, options]) */
  graph_submit s = {.graph = check_graph(L), .kernel = -1, .who = "g.dummy"};
  if (!bind_is_list(L, 1))
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.dummy: a list of arguments expected, got %s",
              bind_describe(L, 1));
  read_arguments(L, &s, 1, NULL);
  return submit(L, &s);
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
  const bind_graph *graph = check_graph(L);
  int64_t shape[BATON_MAX_DIMS];
  baton_arg value;
  int filled = read_fill(L, &value);
  baton_dtype dtype = bind_check_dtype(L, 1, "the type");
  int ndim = bind_check_shape(L, 2, "the shape", shape);
  baton_view view = baton_alloc(graph->o, dtype, ndim, shape);
  if (filled) baton_fill(graph->o, view, value);
  raise_failure(L, graph);
  bind_push_device_tensor(L, &view, graph->number);
  return 1;
}

/* The device tensor at index 1 and its element indices from index 2 on. */
static const bind_device_tensor *read_element(lua_State *L, const bind_graph *graph,
                                              int64_t index[BATON_MAX_DIMS], int at) {
  const char *name = lua_tostring(L, lua_upvalueindex(2));
  baton_arg arg;
  if (!read_tensor(L, graph, 1, BATON_UNTAGGED, name, 1, &arg)) raise_no_tensor(L, 1, name, 1);
  bind_view_index(L, &arg.view, at, index);
  return bind_test_device_tensor(L, 1);
}

static int graph_get(lua_State *L) { /* g.get(t, i…) */
  const bind_graph *graph = check_graph(L);
  int64_t index[BATON_MAX_DIMS];
  const bind_device_tensor *tensor = read_element(L, graph, index, 2);
  baton_arg value;
  (void)graph->o->calls->get(graph->o, &tensor->view, index, &value);
  raise_failure(L, graph);
  push_scalar(L, value.dtype, value.scalar.u64);
  return 1;
}

static int graph_set(lua_State *L) { /* g.set(t, v, i…) */
  const bind_graph *graph = check_graph(L);
  int64_t index[BATON_MAX_DIMS];
  baton_arg value;
  const bind_device_tensor *tensor = read_element(L, graph, index, 3);
  if (!bind_to_scalar(L, 2, &value))
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.set: a number or a boolean expected, got %s",
              bind_describe(L, 2));
  graph->o->calls->set(graph->o, &tensor->view, index, &value);
  raise_failure(L, graph);
  return 0;
}

/* g.scalar(name): a scalar of the program that only tasks see. */
static int graph_scalar(lua_State *L) {
  const bind_graph *graph = check_graph(L);
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
  const bind_graph *graph = check_graph(L);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.fail: a message expected, got %s", bind_describe(L, 1));
  baton_orch_fail(graph->o, "%s: %s", program_name(graph), lua_tostring(L, 1));
  raise_failure(L, graph);
  return 0;
}

/* --- Scopes ----------------------------------------------------------------------------------------------------- */

/* Ends the scope of a closed function or variable. A failed run has no scopes left to end. */
static void end_scope(const bind_graph *graph) {
  if (graph->o) baton_scope_end(graph->o);
}

static int scope_close(lua_State *L) { /* __close, __gc and :close() of g.scope() */
  graph_scope *scope = luaL_checkudata(L, 1, scope_class);
  const bind_graph *graph = scope->graph;
  scope->graph = NULL;
  if (graph) end_scope(graph);
  return 0;
}

static int push_scope(lua_State *L) {
  graph_scope *scope = lua_newuserdatauv(L, sizeof *scope, 1);
  scope->graph = lua_touserdata(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, scope_class);
  return 1;
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
  const bind_graph *graph = check_graph(L);
  baton_scope_mode mode = BATON_SCOPE_AUTO;
  if (lua_type(L, 1) == LUA_TTABLE) {
    mode = read_mode(L, 1);
    lua_remove(L, 1);
  }
  int has_function = !lua_isnoneornil(L, 1);
  if (has_function && lua_type(L, 1) != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.scope: a function expected, got %s", bind_describe(L, 1));
  baton_scope_begin(graph->o, mode);
  raise_failure(L, graph);
  if (!has_function) return push_scope(L);
  lua_settop(L, 1);
  int failed = lua_pcall(L, 0, LUA_MULTRET, 0);
  end_scope(graph);
  if (failed) return lua_error(L);
  raise_failure(L, graph);
  return lua_gettop(L);
}

/* --- Building --------------------------------------------------------------------------------------------------- */

static int graph_unknown(lua_State *L) { /* g.NAME for what is none of its functions */
  return bind_fail(
      L, BATON_INVALID_ARGUMENT,
      "g.%s: no such function; there are aic aiv mix dummy alloc get set scalar scope fail, and the "
      "numbers clusters "
      "aiv_count",
      bind_describe(L, 2));
}

static const luaL_Reg graph_functions[] = {
    {"aic", graph_aic},     {"aiv", graph_aiv},          {"mix", graph_mix}, {"dummy", graph_dummy},
    {"alloc", graph_alloc}, {"get", graph_get},          {"set", graph_set}, {"scalar", graph_scalar},
    {"fail", graph_fail},   {"scope", graph_scope_open}, {NULL, NULL}};

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
  luaL_setmetatable(L, graph_class);
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
  bind_build *build;
  baton_orch *o;
  const baton_args *args;
} build_context;

/* Protected: (context, function). Makes g and the arguments, and calls the function. */
static int build_protected(lua_State *L) {
  build_context *context = lua_touserdata(L, 1);
  bind_graph *graph = lua_newuserdatauv(L, sizeof *graph, 0);
  *graph = (bind_graph){.o = context->o,
                        .args = context->args,
                        .program = context->build->program,
                        .number = 1 + atomic_fetch_add_explicit(&graph_count, 1, memory_order_relaxed)};
  context->build->graph = graph;
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  push_vocabulary(L, graph);
  luaL_checkstack(L, (int)context->args->count + 4, "too many arguments");
  for (uint32_t i = 0; i < context->args->count; i++) push_parameter(L, graph, context->args, i);
  lua_call(L, (int)context->args->count + 1, 0);
  return 0;
}

/* Lua's own words for a yield across C say nothing to somebody who writes a graph. */
static void explain_yield(lua_State *L, const baton_program *program) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (!strstr(text, "attempt to yield across a C-call boundary") &&
      !strstr(text, "attempt to yield from outside a coroutine"))
    return;
  baton_error *err = bind_error(L);
  baton_error_set(err, BATON_STATE, "%s: the graph function must not yield", baton_program_name(program));
  bind_push_failure(L, err);
  lua_replace(L, -2);
}

static void build_graph(bind_graph_call *call, baton_orch *o, const baton_args *args) {
  bind_build *build = (bind_build *)call;
  lua_State *L = build->L;
  build_context context = {build, o, args};
  lua_pushcfunction(L, build_protected);
  lua_pushlightuserdata(L, &context);
  lua_pushvalue(L, build->function);
  int failed = lua_pcall(L, 2, 0, 0);
  if (build->graph) build->graph->o = NULL;
  if (!failed) return;
  explain_yield(L, build->program);
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
  luaL_newmetatable(L, graph_class);
  lua_pushcfunction(L, graph_unknown);
  lua_setfield(L, -2, "__index");
  luaL_newmetatable(L, scope_class);
  lua_pushcfunction(L, scope_close);
  lua_setfield(L, -2, "__close");
  lua_pushcfunction(L, scope_close);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  lua_pushcfunction(L, scope_close);
  lua_setfield(L, -2, "close");
  lua_setfield(L, -2, "__index");
  lua_pop(L, 2);
}
