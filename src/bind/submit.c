/* g.aic, g.aiv, g.mix and g.dummy: a list of arguments and options become one submit. */
#include "bind/submit.h"
#include "bind/device_tensor.h"
#include "bind/task_options.h"

enum { OWN_ARGUMENTS = 16 };

/* Tasks are integers in Lua, so that a submit makes no garbage: 8 bits of the graph's number, 24 of the slot, 32 of the
** generation. */
void bind_push_task(lua_State *L, const bind_graph *graph, baton_task task) {
  lua_pushinteger(L, (lua_Integer)(graph->number << 56 | (uint64_t)task.slot << 32 | task.generation));
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

/* Submits; returns the task. */
static int submit(lua_State *L, const graph_submit *s, const baton_arg *args) {
  baton_task task = call_submit(s, args);
  bind_raise_failure(L, s->graph);
  bind_push_task(L, s->graph, task);
  return 1;
}

/* A tensor for each output{…} behind the task. */
static int push_fresh(lua_State *L, const graph_submit *s, const baton_arg *args) {
  int pushed = 0;
  luaL_checkstack(L, s->count + 1, NULL);
  for (int i = 0; i < s->count; i++) {
    const bind_argument *argument = bind_test_argument(L, s->first + i);
    if (!argument || !argument->fresh) continue;
    bind_push_device_tensor(L, &args[i].view, s->graph->number);
    pushed++;
  }
  return pushed;
}

/* Returns the task, then a tensor for each output{dtype, shape}. */
static int submit_stack(lua_State *L, const graph_submit *s) {
  baton_arg own[OWN_ARGUMENTS], *args = own;
  int fresh = 0;
  if (s->count > OWN_ARGUMENTS) args = lua_newuserdatauv(L, (size_t)s->count * sizeof *args, 0);
  for (int i = 0; i < s->count; i++)
    fresh |= bind_read_operand(L, s->graph, s->first + i, s->who, i + 1, &args[i]);
  int pushed = submit(L, s, args);
  return fresh ? pushed + push_fresh(L, s, args) : pushed;
}

/* Arguments one by one, from stack index `at` on. */
static void read_positional(lua_State *L, graph_submit *s, int at) {
  int top = lua_gettop(L);
  s->first = at;
  s->count = top < at ? 0 : top - at + 1;
}

/* The list at stack index `at`, and options. */
static void read_list(lua_State *L, graph_submit *s, int at, const chip_signature *signature) {
  if (lua_gettop(L) > at + 1)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a list of arguments and options expected, got more", s->who);
  lua_settop(L, at + 1);
  bind_read_task_options(L, s->graph, at + 1, s->who, &s->options);
  s->first = lua_gettop(L) + 1;
  s->count = bind_push_arguments(L, at, signature, s->who);
}

/* A list that baton.args made, at index 2 and alone: copied as it is, once it is ready. Returns 0 if it cannot be. */
static int submit_list(lua_State *L, graph_submit *s, bind_graph *graph, const chip_signature *signature) {
  bind_list *list = lua_touserdata(L, 2);
  if (list->graph != graph->number || (list->signature && list->signature != signature)) {
    const char *const *names = bind_parameter_names(L, graph, s->kernel, signature);
    if (!bind_make_ready(L, graph, 2, list, signature, names)) return 0;
  }
  s->count = (int)list->count;
  return submit(L, s, list->items);
}

/* A table at index 2 and alone. Returns 0 if the long way must be taken. */
static int submit_table(lua_State *L, graph_submit *s, bind_graph *graph, const chip_signature *signature) {
  baton_arg args[OWN_ARGUMENTS];
  const char *const *names = bind_parameter_names(L, graph, s->kernel, signature);
  int names_count = names ? (int)signature->count : 0;
  s->count = bind_take_operands(L, graph, 2, names, names_count, args, OWN_ARGUMENTS);
  return s->count < 0 ? 0 : submit(L, s, args);
}

static int submit_on(lua_State *L, baton_core core) {
  bind_graph *graph = bind_check_graph(L);
  if (lua_type(L, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.%s: the name of a kernel expected, got %s",
              lua_tostring(L, lua_upvalueindex(2)), bind_describe(L, 1));
  graph_submit s = {.graph = graph, .core = core};
  const chip_kernel *kernel = bind_find_kernel(L, graph, &s.kernel);
  s.who = kernel->who;
  int is_table = lua_type(L, 2) == LUA_TTABLE;
  if (!is_table && bind_metatable_at(L, 2) != graph->lists) {
    read_positional(L, &s, 2);
    return submit_stack(L, &s);
  }
  int pushed = 0;
  if (lua_gettop(L) == 2)
    pushed = is_table ? submit_table(L, &s, graph, kernel->signature)
                      : submit_list(L, &s, graph, kernel->signature);
  if (pushed) return pushed;
  read_list(L, &s, 2, kernel->signature);
  return submit_stack(L, &s);
}

int bind_graph_aic(lua_State *L) { return submit_on(L, BATON_AIC); }
int bind_graph_aiv(lua_State *L) { return submit_on(L, BATON_AIV); }

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
    bind_raise_failure(L, s->graph);
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
  if (bind_is_list(L, 2))
    read_list(L, s, 2, signature);
  else
    read_positional(L, s, 2);
  for (int i = 0; i < PARTS; i++) s->parts[i].count = s->count;
}

static void read_lists(lua_State *L, graph_submit *s) {
  int lists[PARTS];
  bind_check_options(L, 2, "g.mix", part_names);
  lua_settop(L, 3);
  bind_read_task_options(L, s->graph, 3, s->who, &s->options);
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
int bind_graph_mix(lua_State *L) {
  graph_submit s = {.graph = bind_check_graph(L), .mixed = 1, .who = "g.mix"};
  read_parts(L, &s);
  if (has_lists(L, 2))
    read_lists(L, &s);
  else
    read_shared_list(L, &s);
  return submit_stack(L, &s);
}

int bind_graph_dummy(lua_State *L) { /* g.dummy(list [, options]) */
  graph_submit s = {.graph = bind_check_graph(L), .kernel = -1, .who = "g.dummy"};
  if (!bind_is_list(L, 1))
    bind_fail(L, BATON_INVALID_ARGUMENT, "g.dummy: a list of arguments expected, got %s",
              bind_describe(L, 1));
  read_list(L, &s, 1, NULL);
  return submit_stack(L, &s);
}
