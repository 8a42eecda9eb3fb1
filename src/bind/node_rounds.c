/* node:rounds, and what its steps do in Lua: an orchestrating function is called with a table of arguments of its own. */
#include "bind/orch.h"
#include "bind/rounds.h"
#include "bind/tensor.h"
#include "bind/worker.h"
#include "bind/worker_options.h"
#include <string.h>

enum { NODE = 1, FUNCTION, ARGUMENTS, CONFIG, PLACES = CONFIG };

/* --- Opening -------------------------------------------------------------------------------------------- */

/* Replaces the arguments by a copy, one level deep, so that other arguments are not seen in the caller's table. */
static void copy_arguments(lua_State *L) {
  if (lua_type(L, ARGUMENTS) != LUA_TTABLE) return;
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, ARGUMENTS);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  if (lua_getmetatable(L, ARGUMENTS)) lua_setmetatable(L, -2);
  lua_replace(L, ARGUMENTS);
}

/* The tensors that `resident` names, in memory that the stack keeps; pushes a table of their numbers, from 1, by name. */
static baton_tensor **read_residents(lua_State *L, const baton_config *config) {
  baton_tensor **tensors = lua_newuserdatauv(L, config->nresident * sizeof *tensors + 1, 0);
  lua_newtable(L);
  for (uint32_t i = 0; i < config->nresident; i++) {
    const char *name = config->resident[i];
    if (lua_type(L, ARGUMENTS) == LUA_TTABLE) {
      lua_pushstring(L, name);
      lua_rawget(L, ARGUMENTS); /* nobody would keep what a metamethod makes */
    } else {
      lua_pushnil(L);
    }
    tensors[i] = bind_test_tensor(L, lua_gettop(L));
    if (!tensors[i])
      bind_fail(L, BATON_INVALID_ARGUMENT,
                "resident: '%s' must name a host tensor of the arguments, it is %s", name,
                bind_describe(L, -1));
    lua_pop(L, 1);
    if (lua_getfield(L, -1, name) != LUA_TNIL)
      bind_fail(L, BATON_INVALID_ARGUMENT, "resident: '%s' is named twice", name);
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_setfield(L, -2, name);
  }
  return tensors;
}

/* What the core calls at each launch. */
static baton_status call_round(baton_node_orch *o, void *context, int64_t round, baton_error *err) {
  const bind_rounds *rounds = context;
  rounds->call->round = round;
  return bind_orchestrate(o, rounds->call, err);
}

static int node_rounds(lua_State *L) { /* node:rounds(fn, arguments [, config]) -> rounds */
  baton_config config;
  lua_settop(L, CONFIG);
  baton_node *node = bind_check_node(L, NODE);
  if (lua_type(L, FUNCTION) != LUA_TFUNCTION)
    bind_bad_argument(L, "a function of orch, the arguments and the round expected, got %s",
                      bind_describe(L, FUNCTION));
  copy_arguments(L);
  bind_read_config(L, CONFIG, &config);
  baton_node_rounds_options options = {
      .function = call_round, .nresidents = config.nresident, .config = &config};
  options.residents = read_residents(L, &config);
  config.resident = NULL;
  config.nresident = 0;
  lua_replace(L, PLACES);
  bind_rounds *rounds = bind_push_new_rounds(L, NODE, 4);
  options.context = rounds;
  baton_error *err = bind_error(L);
  return baton_node_rounds_open(node, &options, &rounds->node, err) == BATON_OK ? 1 : bind_raise(L, err);
}

/* --- Other arguments ------------------------------------------------------------------------------------ */

/* Raises unless the value on top may stand where the one below it does, as the argument that the key below both names. */
static void check_rebind(lua_State *L) {
  int new = lua_gettop(L), old = new - 1, key = new - 2;
  if (lua_isnil(L, old))
    bind_fail(L, BATON_SIGNATURE, "init_round: no argument is named %s", bind_describe(L, key));
  const baton_tensor *before = bind_test_tensor(L, old), *after = bind_test_tensor(L, new);
  if (lua_type(L, old) != lua_type(L, new) || !before != !after ||
      bind_metatable_at(L, old) != bind_metatable_at(L, new))
    bind_fail(L, BATON_SIGNATURE, "init_round: argument %s is %s, it cannot become %s", bind_describe(L, key),
              bind_describe(L, old), bind_describe(L, new));
  if (!before) return;
  const baton_view *a = baton_tensor_view(before), *b = baton_tensor_view(after);
  if (a->dtype != b->dtype || a->ndim != b->ndim || memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape))
    bind_fail(L, BATON_SIGNATURE, "init_round: argument %s is %s, it cannot become %s", bind_describe(L, key),
              bind_view_text(L, a), bind_view_text(L, b));
}

/* The resident tensors among the other arguments at index 2; all of those are checked. `arguments` and `places` are indices. */
static const baton_node_rebind *read_rebinds(lua_State *L, int arguments, int places, uint32_t *count) {
  size_t entries = 0;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) entries++;
  baton_node_rebind *rebinds = lua_newuserdatauv(L, entries * sizeof *rebinds + 1, 0);
  for (lua_pushnil(L); lua_next(L, 2);) {
    lua_pushvalue(L, -2);
    if (lua_type(L, arguments) != LUA_TTABLE)
      bind_fail(L, BATON_SIGNATURE, "init_round: the arguments are %s, of which nothing can be replaced",
                bind_describe(L, arguments));
    lua_rawget(L, arguments);
    lua_insert(L, -2);
    check_rebind(L);
    lua_pushvalue(L, -3);
    if (lua_rawget(L, places) == LUA_TNUMBER)
      rebinds[(*count)++] = (baton_node_rebind){.resident = (uint32_t)lua_tointeger(L, -1) - 1,
                                                .tensor = bind_check_tensor(L, lua_gettop(L) - 1)};
    lua_pop(L, 3);
  }
  return rebinds;
}

static void store_rebinds(lua_State *L, int arguments) {
  for (lua_pushnil(L); lua_next(L, 2);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, arguments);
  }
}

void bind_node_init_round(lua_State *L, bind_rounds *rounds) {
  const baton_node_rebind *rebinds = NULL;
  uint32_t count = 0;
  int others = !lua_isnil(L, 2), arguments = lua_gettop(L) + 1;
  luaL_checkstack(L, 12, NULL);
  lua_getiuservalue(L, 1, ARGUMENTS);
  lua_getiuservalue(L, 1, PLACES);
  if (others) {
    bind_check_table(L, 2, "other arguments");
    rebinds = read_rebinds(L, arguments, arguments + 1, &count);
  }
  baton_error *err = bind_error(L);
  if (baton_node_rounds_init_round(rounds->node, rebinds, count, err) != BATON_OK) bind_raise(L, err);
  if (others) store_rebinds(L, arguments);
}

/* --- Launching ------------------------------------------------------------------------------------------ */

/* Raises what the function has raised; an error object without a round is told its own. */
static void raise(lua_State *L, const bind_orchestration *call, baton_error *err) {
  if (call->raised && bind_is_failure(L, call->raised)) {
    lua_pushliteral(L, "round");
    if (lua_rawget(L, call->raised) == LUA_TNIL) {
      lua_pushinteger(L, call->round);
      lua_setfield(L, call->raised, "round");
    }
  }
  bind_raise_outcome(L, call->raised, err);
}

void bind_node_launch(lua_State *L, bind_rounds *rounds) {
  bind_orchestration call;
  int first = lua_gettop(L) + 1;
  for (int i = NODE; i <= ARGUMENTS; i++) lua_getiuservalue(L, 1, i);
  bind_orchestration_begin(L, &call, first);
  bind_orchestration *before = rounds->call;
  rounds->call = &call;
  baton_error *err = bind_push_error(L);
  baton_status status = baton_node_rounds_launch(rounds->node, err);
  rounds->call = before;
  if (status != BATON_OK) raise(L, &call, err);
}

const luaL_Reg bind_node_rounds_methods[] = {{"rounds", node_rounds}, {NULL, NULL}};
