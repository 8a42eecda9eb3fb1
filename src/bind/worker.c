/* baton.worker{…}: options, and what is asked of the worker as a whole. User value 1: its handles by
** number. */
#include "bind/worker.h"
#include "base/dump.h"
#include "base/log.h"
#include "bind/node.h"
#include "bind/program.h"
#include "bind/worker_options.h"
#include "tensor/file.h"
#include <string.h>

static const char worker_class[] = "baton.worker";

typedef struct worker_userdata {
  baton_worker *worker; /* NULL: it never opened */
  base_dumpable dumpable;
} worker_userdata;

/* --- Workers -------------------------------------------------------------------------------------------- */

baton_worker *bind_check_worker(lua_State *L, int arg) {
  const worker_userdata *userdata = luaL_testudata(L, arg, worker_class);
  if (!userdata) bind_bad_argument(L, "a worker expected, got %s", bind_describe(L, arg));
  if (!userdata->worker) bind_fail(L, BATON_CLOSED, "the worker is closed");
  return userdata->worker;
}

void bind_push_weak_table(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

static size_t dump_worker(void *worker, char *text, size_t size) {
  return baton_worker_dump(worker, text, size);
}

static int open_worker(lua_State *L) { /* baton.worker{…} */
  baton_worker_options options;
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  if (bind_option_level(L) != 2) return bind_open_node_worker(L);
  bind_read_chip_options(L, &options);
  worker_userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 1);
  *userdata = (worker_userdata){0};
  luaL_setmetatable(L, worker_class);
  bind_push_weak_table(L);
  lua_setiuservalue(L, -2, 1);
  baton_error *err = bind_error(L);
  if (baton_worker_open(&options, &userdata->worker, err) != BATON_OK) return bind_raise(L, err);
  userdata->dumpable.dump = dump_worker;
  userdata->dumpable.of = userdata->worker;
  base_dumpable_add(&userdata->dumpable);
  return 1;
}

static baton_status shut_down(worker_userdata *userdata, baton_error *err) {
  baton_status status = baton_worker_shutdown(userdata->worker, err);
  if (baton_worker_state_of(userdata->worker) == BATON_WORKER_CLOSED)
    base_dumpable_remove(&userdata->dumpable);
  return status;
}

static int worker_close(lua_State *L) { /* :close(): what failed while draining is raised, once */
  (void)bind_check_worker(L, 1);
  baton_error *err = bind_error(L);
  return shut_down(lua_touserdata(L, 1), err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int worker_end(lua_State *L) { /* __close: what fails is logged; the object stays */
  worker_userdata *userdata = luaL_checkudata(L, 1, worker_class);
  baton_error *err = bind_error(L);
  if (userdata->worker && shut_down(userdata, err) != BATON_OK) base_log_error(err, "closing a worker");
  return 0;
}

static int worker_collect(lua_State *L) { /* __gc */
  worker_userdata *userdata = luaL_checkudata(L, 1, worker_class);
  base_dumpable_remove(&userdata->dumpable);
  baton_worker_close(userdata->worker);
  userdata->worker = NULL;
  return 0;
}

const char *bind_state_word(baton_worker_state state) {
  switch (state) {
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
  bind_read_arena(L, 2, &arena);
  baton_error *err = bind_error(L);
  if (baton_worker_setup_arena(worker, &arena, &changed, err) != BATON_OK) return bind_raise(L, err);
  lua_pushboolean(L, changed);
  return 1;
}

void bind_push_stats(lua_State *L, const baton_stats *stats) {
  lua_newtable(L);
#define X(name)                                 \
  lua_pushinteger(L, (lua_Integer)stats->name); \
  lua_setfield(L, -2, #name);
  BATON_STATS_LIST(X)
#undef X
}

static int worker_stats(lua_State *L) { /* worker:stats() -> table */
  baton_stats stats;
  baton_worker_stats(bind_check_worker(L, 1), &stats);
  bind_push_stats(L, &stats);
  return 1;
}

/* Pushes the dump; it may grow between two looks. */
static void push_dump(lua_State *L, size_t (*dump)(void *of, char *text, size_t size), void *of) {
  luaL_Buffer buffer;
  size_t size = 1024;
  for (;;) {
    char *text = luaL_buffinitsize(L, &buffer, size);
    size_t length = dump(of, text, size);
    if (length < size) {
      luaL_pushresultsize(&buffer, length);
      return;
    }
    luaL_pushresultsize(&buffer, 0);
    lua_pop(L, 1);
    size = length + length / 2 + 1;
  }
}

int bind_give_dump(lua_State *L, size_t (*dump)(void *of, char *text, size_t size), void *of) {
  const char *path = lua_isnoneornil(L, 2) ? NULL : bind_check_string(L, 2, "path");
  push_dump(L, dump, of);
  if (!path) return 1;
  tensor_piece piece = {.data = lua_tostring(L, -1), .size = lua_rawlen(L, -1)};
  baton_error *err = bind_error(L);
  return tensor_file_write(path, &piece, 1, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int worker_dump(lua_State *L) { /* worker:dump([path]) -> text, or nothing when it went to a file */
  return bind_give_dump(L, dump_worker, bind_check_worker(L, 1));
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
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "",
             *state = bind_state_word(baton_worker_state_of(worker));
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
  static const luaL_Reg *const lists[] = {
      methods, bind_run_methods, bind_rounds_methods, bind_buffer_methods, bind_handle_methods, NULL};
  bind_open_runs(L);
  bind_open_rounds(L);
  bind_open_buffers(L);
  bind_open_handles(L);
  bind_open_nodes(L);
  bind_open_class(L, worker_class, "worker", events, lists, worker_index);
  bind_functions(L, "baton", functions);
}
