/* The module: `require "baton"`, from the binary and, as baton.so, from any Lua 5.4. */
#include "base/dump.h"
#include "base/log.h"
#include "bind/bind.h"
#include "bind/sources.h"
#include "bind/worker_options.h"
#include <signal.h>

#define BIND_EXPORT __attribute__((visibility("default")))

BIND_EXPORT int luaopen_baton(lua_State *L);
BIND_EXPORT int luaopen_baton_tensor(lua_State *L);
BIND_EXPORT int luaopen_baton_error(lua_State *L);
BIND_EXPORT int luaopen_baton_json(lua_State *L);

void bind_dump_on_signal(void) {
  baton_error err = {0};
  if (base_dump_on_signal(SIGUSR1, &err) != BATON_OK) base_log_error(&err, "dumps on SIGUSR1");
  baton_error_clear(&err);
}

int luaopen_baton(lua_State *L) {
  luaL_checkversion(L);
  if (bind_variable("BATON_DUMP_SIGNAL")) bind_dump_on_signal();
  lua_newtable(L);
  lua_pushliteral(L, BATON_VERSION);
  lua_setfield(L, -2, "version");
  bind_open_error(L);
  bind_open_tensor(L);
  bind_open_program(L);
  bind_open_arguments(L);
  bind_open_device_tensor(L);
  bind_open_graph(L);
  bind_open_worker(L);
  bind_open_json(L);
  bind_open_platform(L);
  bind_open_scene(L);
  return 1;
}

/* A noun that is a module of its own is the same table as the field of `baton`. Lua finds these functions by
** name in baton.so when "baton.<noun>" is required. */
static int open_noun(lua_State *L, const char *noun) {
  luaL_requiref(L, "baton", luaopen_baton, 0);
  lua_getfield(L, -1, noun);
  return 1;
}

int luaopen_baton_tensor(lua_State *L) { return open_noun(L, "tensor"); }
int luaopen_baton_error(lua_State *L) { return open_noun(L, "error"); }
int luaopen_baton_json(lua_State *L) { return open_noun(L, "json"); }

void bind_preload(lua_State *L) {
  static const luaL_Reg modules[] = {{"baton", luaopen_baton},
                                     {"baton.tensor", luaopen_baton_tensor},
                                     {"baton.error", luaopen_baton_error},
                                     {"baton.json", luaopen_baton_json},
                                     {NULL, NULL}};
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_setfuncs(L, modules, 0);
  lua_pop(L, 1);
  baton_lua_preload(L);
}
