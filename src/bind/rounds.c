/* Rounds: worker:rounds, and the steps of rounds of chips and of nodes. */
#include "bind/rounds.h"
#include "bind/arguments.h"
#include "bind/worker.h"
#include "chip/program/program.h"

static const char rounds_class[] = "baton.rounds";

bind_rounds *bind_push_new_rounds(lua_State *L, int first, int count) {
  bind_rounds *rounds = lua_newuserdatauv(L, sizeof *rounds, BIND_ROUNDS_VALUES);
  *rounds = (bind_rounds){0};
  luaL_setmetatable(L, rounds_class);
  for (int i = 1; i <= count; i++) {
    lua_pushvalue(L, first + i - 1);
    lua_setiuservalue(L, -2, i);
  }
  return rounds;
}

static int worker_rounds(lua_State *L) { /* worker:rounds(program, arguments [, config]) -> rounds */
  bind_submission s;
  bind_read_submission(L, &s);
  bind_rounds *rounds = bind_push_new_rounds(L, 1, 2);
  baton_error *err = bind_error(L);
  baton_status status =
      baton_rounds_open(s.worker, s.program, s.values, s.count, &s.config, &rounds->chip, err);
  bind_program_release(s.hold);
  return status == BATON_OK ? 1 : bind_raise(L, err);
}

static bind_rounds *check_rounds(lua_State *L) {
  bind_rounds *rounds = luaL_testudata(L, 1, rounds_class);
  if (!rounds) bind_bad_argument(L, "rounds expected, got %s", bind_describe(L, 1));
  if (!rounds->chip && !rounds->node) bind_fail(L, BATON_CLOSED, "the rounds are closed");
  return rounds;
}

/* The program, at the top of the stack. */
static baton_program *push_program(lua_State *L) {
  lua_getiuservalue(L, 1, 2);
  return bind_check_program(L, lua_gettop(L));
}

/* --- Other arguments ------------------------------------------------------------------------------------ */

/* The position, from 0, of the argument that the key at `index` names. */
static uint32_t check_key(lua_State *L, int index, const chip_signature *signature, const char *who) {
  int position = -1;
  if (lua_type(L, index) == LUA_TSTRING && signature)
    position = chip_signature_find(signature, lua_tostring(L, index));
  else if (lua_isinteger(L, index) && lua_tointeger(L, index) >= 1 && lua_tointeger(L, index) <= INT32_MAX)
    position = (int)lua_tointeger(L, index) - 1;
  if (position < 0)
    bind_fail(L, BATON_SIGNATURE, "%s: no argument is named %s", who, bind_describe(L, index));
  return (uint32_t)position;
}

/* The entries of the table at index 2. What they point to lives as long as that table. */
static const baton_rebind *read_rebinds(lua_State *L, uint32_t *count) {
  *count = 0;
  if (lua_isnoneornil(L, 2)) return NULL;
  bind_check_table(L, 2, "other arguments");
  const baton_program *program = push_program(L);
  const chip_signature *signature = chip_program_signature(program);
  const char *who = baton_program_name(program);
  size_t entries = 0;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) entries++;
  baton_rebind *rebinds = lua_newuserdatauv(L, entries * sizeof *rebinds + 1, 0);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    baton_rebind *rebind = &rebinds[(*count)++];
    rebind->argument = check_key(L, lua_gettop(L) - 1, signature, who);
    bind_to_value(L, lua_gettop(L), (int)rebind->argument, signature, who, &rebind->value);
  }
  return rebinds;
}

/* --- Steps ---------------------------------------------------------------------------------------------- */

/* With other arguments at index 2, or nil. */
static void init_round(lua_State *L, bind_rounds *rounds) {
  uint32_t count;
  if (rounds->node) {
    bind_node_init_round(L, rounds);
    return;
  }
  const baton_rebind *rebinds = read_rebinds(L, &count);
  baton_error *err = bind_error(L);
  if (baton_rounds_init_round(rounds->chip, rebinds, count, err) != BATON_OK) bind_raise(L, err);
}

static int rounds_init_round(lua_State *L) { /* rounds:init_round([{NAME = value, …}]) */
  bind_rounds *rounds = check_rounds(L);
  lua_settop(L, 2);
  init_round(L, rounds);
  return 0;
}

static void launch_program(lua_State *L, const bind_rounds *rounds) {
  bind_build build;
  (void)push_program(L);
  int program = lua_gettop(L);
  baton_error *err = bind_push_error(L); /* not the shared one: the graph function may use that */
  bind_graph_call *before = bind_build_enter(L, &build, program);
  baton_status status = baton_rounds_launch(rounds->chip, err);
  bind_build_leave(before);
  if (status != BATON_OK) bind_raise_outcome(L, build.raised, err);
}

/* Leaves the stack as it found it, unless it raises. */
static void launch(lua_State *L, bind_rounds *rounds) {
  int top = lua_gettop(L);
  if (rounds->node)
    bind_node_launch(L, rounds);
  else
    launch_program(L, rounds);
  lua_settop(L, top);
}

static int rounds_launch(lua_State *L) {
  launch(L, check_rounds(L));
  return 0;
}

/* True when the round is over. */
static int finalize_round(lua_State *L, bind_rounds *rounds, double seconds) {
  int over;
  baton_error *err = bind_error(L);
  baton_status status = rounds->node ? baton_node_rounds_finalize_round(rounds->node, seconds, &over, err)
                                     : baton_rounds_finalize_round(rounds->chip, seconds, &over, err);
  if (status != BATON_OK) bind_raise(L, err);
  rounds->ended |= over;
  return over;
}

static int
rounds_finalize_round(lua_State *L) { /* rounds:finalize_round([seconds]): true; nil if the time is up */
  bind_rounds *rounds = check_rounds(L);
  double seconds = lua_isnoneornil(L, 2) ? -1 : bind_check_number(L, 2, "seconds");
  if (!lua_isnoneornil(L, 2) && !(seconds >= 0))
    bind_bad_argument(L, "seconds must be 0 or more, got %s", bind_describe(L, 2));
  if (finalize_round(L, rounds, seconds))
    lua_pushboolean(L, 1);
  else
    lua_pushnil(L);
  return 1;
}

static int push_timing(lua_State *L, const bind_rounds *rounds) {
  baton_timing timing =
      rounds->node ? baton_node_rounds_timing(rounds->node) : baton_rounds_timing(rounds->chip);
  bind_push_timing(L, &timing);
  return 1;
}

static int rounds_timing(lua_State *L) { /* nil before the first round has ended */
  const bind_rounds *rounds = check_rounds(L);
  return rounds->ended ? push_timing(L, rounds) : 0;
}

/* One round of `each`; upvalues: the rounds, how many, how many so far. */
static int next_round(lua_State *L) {
  lua_Integer count = lua_tointeger(L, lua_upvalueindex(2)), done = lua_tointeger(L, lua_upvalueindex(3));
  lua_settop(L, 0);
  if (done >= count) return 0;
  lua_pushvalue(L, lua_upvalueindex(1));
  bind_rounds *rounds = check_rounds(L);
  lua_settop(L, 2); /* no other arguments */
  init_round(L, rounds);
  launch(L, rounds);
  (void)finalize_round(L, rounds, -1);
  lua_pushinteger(L, done + 1);
  lua_copy(L, -1, lua_upvalueindex(3));
  return 1 + push_timing(L, rounds);
}

static int rounds_each(lua_State *L) { /* for i, timing in rounds:each(count) do … end */
  (void)check_rounds(L);
  lua_pushinteger(L, bind_check_integer(L, 2, "count", 0, INT64_MAX));
  lua_pushvalue(L, 1);
  lua_insert(L, -2);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_round, 3);
  return 1;
}

/* --- The end -------------------------------------------------------------------------------------------- */

static int rounds_finalize(lua_State *L) { /* :finalize() and :close() */
  const bind_rounds *rounds = luaL_testudata(L, 1, rounds_class);
  if (!rounds) bind_bad_argument(L, "rounds expected, got %s", bind_describe(L, 1));
  if (!rounds->chip && !rounds->node) return 0;
  baton_error *err = bind_error(L);
  baton_status status =
      rounds->node ? baton_node_rounds_finalize(rounds->node, err) : baton_rounds_finalize(rounds->chip, err);
  return status == BATON_OK ? 0 : bind_raise(L, err);
}

static int rounds_end(lua_State *L) { /* __close and __gc: what fails is logged */
  bind_rounds *rounds = luaL_checkudata(L, 1, rounds_class), closed = *rounds;
  rounds->chip = NULL;
  rounds->node = NULL;
  baton_rounds_close(closed.chip);
  baton_node_rounds_close(closed.node);
  return 0;
}

static int rounds_tostring(lua_State *L) {
  const bind_rounds *rounds = luaL_checkudata(L, 1, rounds_class);
  const char *closed = rounds->chip || rounds->node ? "" : " (closed)";
  if (lua_getiuservalue(L, 1, 2) == LUA_TFUNCTION)
    lua_pushfstring(L, "rounds of a function%s", closed);
  else
    lua_pushfstring(L, "rounds of %s%s", luaL_tolstring(L, -1, NULL), closed);
  return 1;
}

const luaL_Reg bind_rounds_methods[] = {{"rounds", worker_rounds}, {NULL, NULL}};

void bind_open_rounds(lua_State *L) {
  static const luaL_Reg methods[] = {{"init_round", rounds_init_round},
                                     {"launch", rounds_launch},
                                     {"finalize_round", rounds_finalize_round},
                                     {"each", rounds_each},
                                     {"timing", rounds_timing},
                                     {"finalize", rounds_finalize},
                                     {"close", rounds_finalize},
                                     {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__close", rounds_end}, {"__gc", rounds_end}, {"__tostring", rounds_tostring}, {NULL, NULL}};
  bind_open_class(L, rounds_class, "rounds", events, (const luaL_Reg *const[]){methods, NULL}, NULL);
}
