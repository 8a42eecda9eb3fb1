/* baton.worker{…}: options, and what is asked of the worker as a whole. User value 1: its handles by
** number. */
#include "bind/worker.h"
#include "base/log.h"
#include "bind/program.h"
#include "tensor/file.h"
#include <baton/platform.h>
#include <stdlib.h>
#include <string.h>

static const char worker_class[] = "baton.worker";

typedef struct worker_userdata {
  baton_worker *worker; /* NULL: it never opened */
} worker_userdata;

/* --- Options -------------------------------------------------------------------------------------------- */

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

/* A variable of the environment; NULL also for an empty one. */
static const char *variable(const char *name) {
  const char *text = getenv(name);
  return text && *text ? text : NULL;
}

/* BATON_TIMEOUT, for runs that have no deadline; 0: none. */
static double default_deadline(lua_State *L) {
  const char *text = variable("BATON_TIMEOUT");
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
  const char *text = variable("BATON_PLATFORM");
  baton_platform ignored;
  baton_error *err = bind_error(L);
  if (text && baton_platform_describe(text, &ignored, err) != BATON_OK)
    bind_fail(L, BATON_UNSUPPORTED, "BATON_PLATFORM: %s", err->message);
  return text;
}

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
  return text ? text : variable("BATON_DEVICE"); /* stays on the stack while it is used */
}

static void read_arena(lua_State *L, int table, baton_arena *arena) {
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

/* The programs of the list on top of the stack; what holds them stays on the stack. */
static void read_prewarm(lua_State *L, baton_worker_options *options) {
  int list = lua_gettop(L), count = (int)lua_rawlen(L, list);
  luaL_checkstack(L, count + 2, "too many programs");
  baton_program **programs = lua_newuserdatauv(L, (size_t)count * sizeof *programs + 1, 0);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, list, i + 1);
    programs[i] = bind_test_program(L, -1);
    if (!programs[i])
      bind_fail(L, BATON_INVALID_ARGUMENT, "prewarm: entry %d must be a program, got %s", i + 1,
                bind_describe(L, -1));
  }
  options->prewarm = programs;
  options->nprewarm = (uint32_t)count;
}

/* Reads the table at index 1. */
static void read_options(lua_State *L, baton_worker_options *options) {
  static const char *const names[] = {
      "level", "platform", "device", "devices", "runtime",         "isolation",   "subs", "heap",
      "arena", "prewarm",  "config", "fault",   "startup_timeout", "wait_device", NULL};
  static const char *const later[] = {"devices", "subs", "heap", "startup_timeout", NULL};
  memset(options, 0, sizeof *options);
  bind_check_options(L, 1, "worker", names);
  refuse_later(L, 1, "worker", later);
  options->level = (int)bind_option_integer(L, 1, "level", 2, 4, 2);
  options->platform = bind_option_string(L, 1, "platform", NULL);
  if (!options->platform) options->platform = default_platform(L);
  const char *isolation = bind_option_string(L, 1, "isolation", variable("BATON_ISOLATION"));
  if (isolation && strcmp(isolation, "thread") != 0)
    bind_fail(L, BATON_UNSUPPORTED, "worker: isolation '%s' is not in this version, 'thread' is", isolation);
  options->devices = read_device(L, 1);
  options->wait_device = bind_option_number(L, 1, "wait_device", 0, 1e9, 0);
  if (bind_option_table(L, 1, "config")) bind_read_config(L, -1, &options->config);
  if (bind_option_table(L, 1, "arena")) read_arena(L, lua_gettop(L), &options->arena);
  if (bind_option_table(L, 1, "fault")) read_fault(L, lua_gettop(L), &options->fault);
  if (bind_option_table(L, 1, "prewarm")) read_prewarm(L, options);
  const char *runtime = bind_option_string(L, 1, "runtime", variable("BATON_RUNTIME"));
  if (!options->config.runtime) options->config.runtime = runtime;
  if (options->config.deadline <= 0) options->config.deadline = default_deadline(L);
}

/* --- Workers -------------------------------------------------------------------------------------------- */

baton_worker *bind_check_worker(lua_State *L, int arg) {
  const worker_userdata *userdata = luaL_testudata(L, arg, worker_class);
  if (!userdata) bind_bad_argument(L, "a worker expected, got %s", bind_describe(L, arg));
  if (!userdata->worker) bind_fail(L, BATON_CLOSED, "the worker is closed");
  return userdata->worker;
}

/* A table that keeps nothing alive, for the handles. */
static void push_weak_table(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

static int open_worker(lua_State *L) { /* baton.worker{…} */
  baton_worker_options options;
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  read_options(L, &options);
  worker_userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 1);
  userdata->worker = NULL;
  luaL_setmetatable(L, worker_class);
  push_weak_table(L);
  lua_setiuservalue(L, -2, 1);
  baton_error *err = bind_error(L);
  if (baton_worker_open(&options, &userdata->worker, err) != BATON_OK) return bind_raise(L, err);
  return 1;
}

static int worker_close(lua_State *L) { /* :close(): what failed while draining is raised, once */
  baton_worker *worker = bind_check_worker(L, 1);
  baton_error *err = bind_error(L);
  return baton_worker_shutdown(worker, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int worker_end(lua_State *L) { /* __close: what fails is logged; the object stays */
  worker_userdata *userdata = luaL_checkudata(L, 1, worker_class);
  baton_error *err = bind_error(L);
  if (userdata->worker && baton_worker_shutdown(userdata->worker, err) != BATON_OK)
    base_log_error(err, "closing a worker");
  return 0;
}

static int worker_collect(lua_State *L) { /* __gc */
  worker_userdata *userdata = luaL_checkudata(L, 1, worker_class);
  baton_worker_close(userdata->worker);
  userdata->worker = NULL;
  return 0;
}

static const char *state_word(baton_worker *worker) {
  switch (baton_worker_state_of(worker)) {
  case BATON_WORKER_READY: return "ready";
  case BATON_WORKER_BUSY: return "busy";
  case BATON_WORKER_IS_LOST: return "lost";
  default: return "closed";
  }
}

static int worker_restart(lua_State *L) { /* worker:restart(): a lost worker is ready again */
  baton_worker *worker = bind_check_worker(L, 1);
  baton_error *err = bind_error(L);
  return baton_worker_restart(worker, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int worker_tostring(lua_State *L) {
  baton_worker *worker = bind_check_worker(L, 1);
  if (baton_worker_state_of(worker) == BATON_WORKER_CLOSED)
    lua_pushliteral(L, "worker (closed)");
  else
    lua_pushfstring(L, "worker on %s", baton_worker_platform(worker));
  return 1;
}

static int worker_setup_arena(lua_State *L) { /* worker:setup_arena{heap=, shared=, image=} -> boolean */
  baton_worker *worker = bind_check_worker(L, 1);
  baton_arena arena = {0};
  int changed;
  bind_check_table(L, 2, "sizes");
  read_arena(L, 2, &arena);
  baton_error *err = bind_error(L);
  if (baton_worker_setup_arena(worker, &arena, &changed, err) != BATON_OK) return bind_raise(L, err);
  lua_pushboolean(L, changed);
  return 1;
}

static int worker_stats(lua_State *L) { /* worker:stats() -> table */
  baton_stats stats;
  baton_worker_stats(bind_check_worker(L, 1), &stats);
  lua_newtable(L);
#define X(name)                                \
  lua_pushinteger(L, (lua_Integer)stats.name); \
  lua_setfield(L, -2, #name);
  BATON_STATS_LIST(X)
#undef X
  return 1;
}

/* Pushes the dump; it may grow between two looks. */
static void push_dump(lua_State *L, baton_worker *worker) {
  luaL_Buffer buffer;
  size_t size = 1024;
  for (;;) {
    char *text = luaL_buffinitsize(L, &buffer, size);
    size_t length = baton_worker_dump(worker, text, size);
    if (length < size) {
      luaL_pushresultsize(&buffer, length);
      return;
    }
    luaL_pushresultsize(&buffer, 0);
    lua_pop(L, 1);
    size = length + length / 2 + 1;
  }
}

static int worker_dump(lua_State *L) { /* worker:dump([path]) -> text, or nothing when it went to a file */
  baton_worker *worker = bind_check_worker(L, 1);
  const char *path = lua_isnoneornil(L, 2) ? NULL : bind_check_string(L, 2, "path");
  push_dump(L, worker);
  if (!path) return 1;
  tensor_piece piece = {.data = lua_tostring(L, -1), .size = lua_rawlen(L, -1)};
  baton_error *err = bind_error(L);
  return tensor_file_write(path, &piece, 1, err) == BATON_OK ? 0 : bind_raise(L, err);
}

/* --- Class ---------------------------------------------------------------------------------------------- */

const char *bind_push_place(lua_State *L) {
  lua_Debug caller;
  if (!lua_getstack(L, 1, &caller) || !lua_getinfo(L, "Sl", &caller) || caller.currentline < 0) return NULL;
  return lua_pushfstring(L, "%s:%d", caller.short_src, caller.currentline);
}

static int worker_index(lua_State *L) {
  baton_worker *worker = bind_check_worker(L, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "", *state = state_word(worker);
  if (strcmp(key, "state") == 0)
    lua_pushstring(L, state);
  else if (strcmp(key, "platform") == 0 && strcmp(state, "closed") != 0)
    lua_pushstring(L, baton_worker_platform(worker));
  else
    lua_pushnil(L);
  return 1;
}

void bind_open_worker(lua_State *L) {
  static const luaL_Reg functions[] = {{"worker", open_worker}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"close", worker_close}, {"restart", worker_restart}, {"setup_arena", worker_setup_arena},
      {"stats", worker_stats}, {"dump", worker_dump},       {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__close", worker_end}, {"__gc", worker_collect}, {"__tostring", worker_tostring}, {NULL, NULL}};
  bind_open_runs(L);
  bind_open_rounds(L);
  bind_open_buffers(L);
  bind_open_handles(L);
  luaL_newmetatable(L, worker_class);
  luaL_setfuncs(L, events, 0);
  lua_newtable(L);
  bind_functions(L, "worker", methods);
  bind_functions(L, "worker", bind_run_methods);
  bind_functions(L, "worker", bind_rounds_methods);
  bind_functions(L, "worker", bind_buffer_methods);
  bind_functions(L, "worker", bind_handle_methods);
  lua_pushcclosure(L, worker_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  bind_functions(L, "baton", functions);
}
