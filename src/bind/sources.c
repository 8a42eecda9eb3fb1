#include "bind/sources.h"

#include "bind/bind.h"

#include <lauxlib.h>

/* Upvalue 1: the entry of the table. Arguments as package.preload gives them: the name and ":preload:". */
static int load_source(lua_State *L) {
  const baton_lua_source *source = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbufferx(L, source->text, source->size, source->chunk, "t") != LUA_OK) return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

void baton_lua_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const baton_lua_source *source = baton_lua_sources; source->name; source++) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)source);
    lua_pushcclosure(L, load_source, 1);
    lua_setfield(L, -2, source->name);
  }
  lua_pop(L, 1);
}

int baton_lua_call(lua_State *L, const char *module, const char *function) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, function);
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

/* baton.scene{...}: the module baton.scene is compiled when a scene is made. */
static int scene_new(lua_State *L) { return baton_lua_call(L, "baton.scene", "new"); }

void bind_open_scene(lua_State *L) {
  baton_lua_preload(L); /* for `require "baton.scene"` in a Lua that loaded baton.so */
  lua_pushcfunction(L, scene_new);
  lua_setfield(L, -2, "scene");
}
