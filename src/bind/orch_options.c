/* Options and groups of the submits of `orch`. */
#include "bind/orch.h"
#include "bind/worker_options.h"
#include <string.h>

/* --- Places --------------------------------------------------------------------------------------------- */

/* A worker id, or "any", on top of the stack, which it leaves. */
static int32_t read_place(lua_State *L, const char *what) {
  int good;
  lua_Integer id = lua_tointegerx(L, -1, &good);
  if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "any") == 0)
    id = BATON_ANY_WORKER;
  else if (lua_type(L, -1) != LUA_TNUMBER || !good || id < 0 || id > INT32_MAX)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s must be the number of a worker or \"any\", got %s", what,
              bind_describe(L, -1));
  lua_pop(L, 1);
  return (int32_t)id;
}

/* A place for each member, in memory that the stack keeps. */
static const int32_t *read_places(lua_State *L, int table, int members) {
  if (!bind_option_table(L, table, "workers")) return NULL;
  int list = lua_gettop(L), given = (int)lua_rawlen(L, list);
  if (given != members)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: %d member%s, but field 'workers' has %d place%s",
              bind_orch_who(L), members, members == 1 ? "" : "s", given, given == 1 ? "" : "s");
  int32_t *places = lua_newuserdatauv(L, (size_t)members * sizeof *places + 1, 0);
  for (int i = 0; i < members; i++) {
    lua_rawgeti(L, list, i + 1);
    places[i] = read_place(L, "an entry of field 'workers'");
  }
  return places;
}

/* --- Options -------------------------------------------------------------------------------------------- */

/* The list of tasks on top of the stack. */
static void read_deps(lua_State *L, const bind_orch *orch, baton_node_task_options *options) {
  int list = lua_gettop(L), count = (int)lua_rawlen(L, list);
  baton_task *deps = lua_newuserdatauv(L, (size_t)count * sizeof *deps + 1, 0);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, list, i + 1);
    if (!bind_test_node_task(L, orch, lua_gettop(L), &deps[i]))
      bind_fail(L, BATON_INVALID_ARGUMENT, "field 'deps' must be a list of tasks, entry %d is %s", i + 1,
                bind_describe(L, -1));
    lua_pop(L, 1);
  }
  options->deps = deps;
  options->ndeps = (uint32_t)count;
}

/* Those that need no memory, in one pass over the table: they are given at many submits. False: there are others, or one is
** not as it should be. */
static int take_options(lua_State *L, int table, int which, baton_node_task_options *out) {
  int simple = 1, good;
  for (lua_pushnil(L); simple && lua_next(L, table); lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    lua_Integer number = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &good) : (good = 0);
    if (good && which & BIND_ORCH_WORKER && strcmp(key, "worker") == 0 && number >= 0 && number <= INT32_MAX)
      out->worker = (int32_t)number;
    else if (good && strcmp(key, "priority") == 0 && number >= -BATON_HIGHEST_PRIORITY &&
             number <= BATON_HIGHEST_PRIORITY)
      out->priority = (int)number;
    else
      simple = 0;
  }
  if (!simple) lua_pop(L, 1);
  return simple;
}

static void check_names(lua_State *L, int table, int which) {
  static const char *const plain[] = {"deps", "name", "priority", NULL},
                           *const single[] = {"worker", "config", "deps", "name", "priority", NULL},
                           *const group[] = {"workers", "config", "deps", "name", "priority", NULL};
  bind_check_options(L, table, bind_orch_who(L),
                     which & BIND_ORCH_WORKER    ? single
                     : which & BIND_ORCH_WORKERS ? group
                                                 : plain);
}

void bind_read_orch_options(lua_State *L, const bind_orch *orch, int table, int which, int members,
                            bind_orch_options *out) {
  out->base = (baton_node_task_options){.worker = BATON_ANY_WORKER};
  out->workers = NULL;
  if (lua_isnoneornil(L, table)) return;
  luaL_checkstack(L, 12, NULL);
  if (lua_type(L, table) == LUA_TTABLE && take_options(L, table, which, &out->base)) return;
  check_names(L, table, which);
  out->base.name = bind_option_string(L, table, "name", NULL);
  out->base.priority =
      (int)bind_option_integer(L, table, "priority", -BATON_HIGHEST_PRIORITY, BATON_HIGHEST_PRIORITY, 0);
  if (bind_option_table(L, table, "deps")) read_deps(L, orch, &out->base);
  if (which & BIND_ORCH_WORKERS) out->workers = read_places(L, table, members);
  if (which & BIND_ORCH_CONFIG && bind_option_table(L, table, "config")) {
    bind_read_config(L, lua_gettop(L), &out->config);
    out->base.config = &out->config;
  }
  if (!(which & BIND_ORCH_WORKER)) return;
  lua_pushliteral(L, "worker");
  if (lua_rawget(L, table) != LUA_TNIL) out->base.worker = read_place(L, "field 'worker'");
}

/* --- Groups --------------------------------------------------------------------------------------------- */

/* Pushes the entries of all lists, and notes how many each has. */
static void push_lists(lua_State *L, int index, const chip_signature *signature, const char *who,
                       bind_group *group) {
  for (uint32_t i = 0; i < group->count; i++) {
    luaL_checkstack(L, 8, "too many arguments");
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    int list = lua_gettop(L);
    if (!bind_is_list(L, list))
      bind_fail(L, BATON_SIGNATURE, "%s: member %d: a list of arguments expected, got %s", who, (int)i + 1,
                bind_describe(L, list));
    group->members[i].nvalues = (uint32_t)bind_push_arguments(L, list, signature, who);
    lua_remove(L, list);
    group->nvalues += (int)group->members[i].nvalues;
  }
}

void bind_read_group(lua_State *L, const bind_orch *orch, int index, const chip_signature *signature,
                     const char *who, bind_group *out) {
  *out = (bind_group){0};
  if (lua_type(L, index) != LUA_TTABLE || !lua_rawlen(L, index))
    bind_fail(L, BATON_SIGNATURE, "%s: a list of argument lists expected, one for each member, got %s", who,
              bind_describe(L, index));
  out->count = (uint32_t)lua_rawlen(L, index);
  out->members = lua_newuserdatauv(L, out->count * sizeof *out->members, 0);
  memset(out->members, 0, out->count * sizeof *out->members);
  out->first = lua_gettop(L) + 1;
  push_lists(L, index, signature, who, out);
  out->values = lua_newuserdatauv(L, (size_t)out->nvalues * sizeof *out->values + 1, 0);
  int at = 0;
  for (uint32_t i = 0; i < out->count; i++) {
    baton_node_member *member = &out->members[i];
    member->values = &out->values[at];
    member->worker = BATON_ANY_WORKER;
    out->fresh +=
        bind_read_values(L, orch, out->first + at, (int)member->nvalues, signature, who, &out->values[at]);
    at += (int)member->nvalues;
  }
}
