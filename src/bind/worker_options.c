/* Options of baton.worker, and configs. */
#include "bind/worker_options.h"
#include "bind/node.h"
#include "bind/program.h"
#include <baton/platform.h>
#include <stdlib.h>
#include <string.h>

/* --- Configs -------------------------------------------------------------------------------------------- */

/* A known option that this version does not carry out raises instead of being ignored. */
static void refuse_later(lua_State *L, int table, const char *what, const char *const *names) {
  for (; lua_type(L, table) == LUA_TTABLE && *names; names++) {
    if (lua_getfield(L, table, *names) != LUA_TNIL)
      bind_fail(L, BATON_UNSUPPORTED, "%s: option '%s' is not in this version", what, *names);
    lua_pop(L, 1);
  }
}

/* A count or "auto"; 0 for auto and absent. */
static uint32_t read_count(lua_State *L, int table, const char *name) {
  int type = lua_getfield(L, table, name);
  int automatic = type == LUA_TNIL || (type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0);
  lua_pop(L, 1);
  return automatic ? 0 : (uint32_t)bind_option_integer(L, table, name, 1, UINT32_MAX, 0);
}

static uint64_t read_heap(lua_State *L, int table) {
  int type = lua_getfield(L, table, "ring_heap");
  int automatic = type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0;
  lua_pop(L, 1);
  if (automatic || type == LUA_TNIL) return 0;
  uint64_t bytes = bind_option_size(L, table, "ring_heap", 0);
  if (!bytes) bind_fail(L, BATON_INVALID_ARGUMENT, "field 'ring_heap' must be at least one byte, got 0");
  return bytes;
}

/* Seconds for tasks, or a table of them by what is waited for; 0: the default. */
static void read_timeouts(lua_State *L, int table, baton_config *config) {
  static const char *const names[] = {"op", "stream", "element", NULL};
  static const double least = 1e-3, most = 1e9;
  if (lua_getfield(L, table, "timeout") != LUA_TTABLE) {
    lua_pop(L, 1);
    config->timeout = bind_option_number(L, table, "timeout", least, most, 0);
    return;
  }
  int times = lua_gettop(L);
  bind_check_options(L, times, "timeout", names);
  config->timeout = bind_option_number(L, times, "op", least, most, 0);
  config->stream_timeout = bind_option_number(L, times, "stream", least, most, 0);
  config->element_timeout = bind_option_number(L, times, "element", least, most, 0);
  lua_pop(L, 1);
}

/* A list of names, at the top of the stack. */
static void read_resident(lua_State *L, int list, baton_config *config) {
  uint32_t count = (uint32_t)lua_rawlen(L, list);
  const char **names = lua_newuserdatauv(L, count * sizeof *names + 1, 0);
  for (uint32_t i = 0; i < count; i++) {
    if (lua_rawgeti(L, list, i + 1) != LUA_TSTRING)
      bind_fail(L, BATON_INVALID_ARGUMENT, "resident: entry %d must be a string, got %s", (int)i + 1,
                bind_describe(L, -1));
    names[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  config->resident = names;
  config->nresident = count;
}

void bind_read_config(lua_State *L, int table, baton_config *config) {
  static const char *const names[] = {
      "ring_task_window", "ring_heap", "ring_dep_pool", "runtime",       "deadline", "timeout",
      "aicpu_threads",    "resident",  "trace",         "output_prefix", NULL};
  static const char *const later[] = {"aicpu_threads", "trace", "output_prefix", NULL};
  memset(config, 0, sizeof *config);
  if (lua_isnoneornil(L, table)) return;
  table = lua_absindex(L, table);
  bind_check_options(L, table, "config", names);
  refuse_later(L, table, "config", later);
  config->ring_task_window = read_count(L, table, "ring_task_window");
  config->ring_dep_pool = read_count(L, table, "ring_dep_pool");
  config->ring_heap = read_heap(L, table);
  config->runtime = bind_option_string(L, table, "runtime", NULL);
  config->deadline = bind_option_number(L, table, "deadline", 0, 1e9, 0);
  read_timeouts(L, table, config);
  if (bind_option_table(L, table, "resident")) read_resident(L, lua_gettop(L), config);
}

/* --- The environment ------------------------------------------------------------------------------------ */

const char *bind_variable(const char *name) {
  const char *text = getenv(name);
  return text && *text ? text : NULL;
}

/* BATON_TIMEOUT, for runs that have no deadline; 0: none. */
static double default_deadline(lua_State *L) {
  const char *text = bind_variable("BATON_TIMEOUT");
  if (!text) return 0;
  double seconds = lua_stringtonumber(L, text) ? lua_tonumber(L, -1) : 0;
  if (!(seconds > 0 && seconds <= 1e9))
    bind_fail(L, BATON_INVALID_ARGUMENT,
              "BATON_TIMEOUT %s: a number of seconds above 0 and at most 1e9 expected", text);
  lua_pop(L, 1);
  return seconds;
}

/* BATON_PLATFORM, or NULL. The C side would not say where a wrong name came from. */
static const char *default_platform(lua_State *L) {
  const char *text = bind_variable("BATON_PLATFORM");
  baton_platform ignored;
  baton_error *err = bind_error(L);
  if (text && baton_platform_describe(text, &ignored, err) != BATON_OK)
    bind_fail(L, BATON_UNSUPPORTED, "BATON_PLATFORM: %s", err->message);
  return text;
}

/* --- Chips ---------------------------------------------------------------------------------------------- */

/* A device number; as text, as the C side takes it. */
static const char *read_device(lua_State *L, int table) {
  int type = lua_getfield(L, table, "device");
  const char *text = NULL;
  if (type == LUA_TNUMBER && lua_isinteger(L, -1)) {
    lua_pushfstring(L, "%I", (LUAI_UACINT)lua_tointeger(L, -1));
    lua_replace(L, -2);
  }
  if (type != LUA_TNIL) text = lua_tostring(L, -1);
  if (type != LUA_TNIL && !text)
    bind_fail(L, BATON_INVALID_ARGUMENT, "field 'device' must be a device number, got %s",
              bind_describe(L, -1));
  return text ? text : bind_variable("BATON_DEVICE"); /* stays on the stack while it is used */
}

void bind_read_arena(lua_State *L, int table, baton_arena *arena) {
  static const char *const names[] = {"heap", "shared", "image", NULL};
  bind_check_options(L, table, "arena", names);
  arena->heap = bind_option_size(L, table, "heap", 0);
  arena->shared = bind_option_size(L, table, "shared", 0);
  arena->image = bind_option_size(L, table, "image", 0);
}

static void read_fault(lua_State *L, int table, baton_fault *fault) {
  static const char *const names[] = {"call", "nth", "forever", NULL};
  bind_check_options(L, table, "fault", names);
  fault->call = bind_option_string(L, table, "call", NULL);
  if (!fault->call) bind_fail(L, BATON_INVALID_ARGUMENT, "fault: field 'call' is missing");
  fault->nth = (uint64_t)bind_option_integer(L, table, "nth", 1, INT64_MAX, 1);
  fault->forever = bind_option_boolean(L, table, "forever", 0);
}

/* The programs of the list on top of the stack; what holds them stays on the stack. `crosses`: workers elsewhere run
** them. */
static void read_prewarm(lua_State *L, int crosses, baton_worker_options *options) {
  int list = lua_gettop(L), count = (int)lua_rawlen(L, list);
  luaL_checkstack(L, count + 2, "too many programs");
  baton_program **programs = lua_newuserdatauv(L, (size_t)count * sizeof *programs + 1, 0);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, list, i + 1);
    programs[i] = bind_test_program(L, lua_gettop(L));
    if (programs[i] && crosses) (void)bind_ready_program(L, lua_gettop(L));
    if (!programs[i])
      bind_fail(L, BATON_INVALID_ARGUMENT, "prewarm: entry %d must be a program, got %s", i + 1,
                bind_describe(L, -1));
  }
  options->prewarm = programs;
  options->nprewarm = (uint32_t)count;
}

void bind_read_common_options(lua_State *L, baton_worker_options *options) {
  int crosses = bind_option_level(L) != 2;
  memset(options, 0, sizeof *options);
  options->platform = bind_option_string(L, 1, "platform", NULL);
  if (!options->platform) options->platform = default_platform(L);
  options->wait_device = bind_option_number(L, 1, "wait_device", 0, 1e9, 0);
  if (bind_option_table(L, 1, "config")) bind_read_config(L, -1, &options->config);
  if (bind_option_table(L, 1, "arena")) bind_read_arena(L, lua_gettop(L), &options->arena);
  if (bind_option_table(L, 1, "prewarm")) read_prewarm(L, crosses, options);
  const char *runtime = bind_option_string(L, 1, "runtime", bind_variable("BATON_RUNTIME"));
  if (!options->config.runtime) options->config.runtime = runtime;
  if (options->config.deadline <= 0) options->config.deadline = default_deadline(L);
}

baton_isolation bind_read_isolation(lua_State *L) {
  const char *word = bind_option_string(L, 1, "isolation", bind_variable("BATON_ISOLATION"));
  if (!word || strcmp(word, "thread") == 0) return BATON_THREAD;
  if (strcmp(word, "process") != 0)
    bind_fail(L, BATON_INVALID_ARGUMENT, "worker: isolation 'thread' or 'process' expected, got '%s'", word);
  return BATON_PROCESS;
}

int bind_option_level(lua_State *L) {
  static const char *const names[] = {
      "level",          "platform", "device",  "devices", "runtime", "isolation",   "subs",
      "heap",           "arena",    "prewarm", "config",  "fault",   "wait_device", "startup_timeout",
      "worker_program", "children", NULL};
  bind_check_options(L, 1, "worker", names);
  return (int)bind_option_integer(L, 1, "level", 2, 4, 2);
}

void bind_refuse_options(lua_State *L, const char *const *names, const char *belong, const char *hint) {
  for (; *names; names++) {
    lua_pushstring(L, *names);
    if (lua_rawget(L, 1) != LUA_TNIL) {
      baton_error *err = bind_error(L);
      baton_error_set(err, BATON_INVALID_ARGUMENT, "worker: option '%s' is for %s", *names, belong);
      baton_error_text(err, BATON_FIELD_HINT, "%s", hint);
      bind_raise(L, err);
    }
    lua_pop(L, 1);
  }
}

void bind_read_chip_options(lua_State *L, baton_worker_options *options) {
  static const char *const of_nodes[] = {"devices", "subs", "heap", NULL}, *const of_level_4[] = {"children",
                                                                                                  NULL};
  bind_refuse_options(L, of_nodes, "nodes (level 3)", "open one with level = 3; a chip has one `device`");
  bind_refuse_options(L, of_level_4, "nodes of nodes (level 4)", "open one with level = 4");
  bind_read_common_options(L, options);
  options->level = 2;
  options->isolation = bind_read_isolation(L);
  options->worker_program = bind_option_string(L, 1, "worker_program", NULL);
  options->startup_timeout = bind_option_number(L, 1, "startup_timeout", 0, 1e9, 0);
  options->devices = read_device(L, 1);
  if (bind_option_table(L, 1, "fault")) read_fault(L, lua_gettop(L), &options->fault);
}
