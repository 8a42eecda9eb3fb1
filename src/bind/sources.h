/* bind/sources.h - the Lua modules that are part of the library. */
#ifndef BIND_SOURCES_H
#define BIND_SOURCES_H

#include <lua.h>
#include <stddef.h>

/* One module; the texts are static. */
typedef struct baton_lua_source {
  const char *name;  /* as require wants it: "baton.scene" */
  const char *chunk; /* as error messages show it: "=baton/scene.lua"; "@" would be a file */
  const char *text;
  size_t size;
} baton_lua_source;

/* Ends with an entry whose name is NULL. The build generates it from lua/baton. */
extern const baton_lua_source baton_lua_sources[];

/* Enters every module into package.preload; none is compiled before its first require. */
void baton_lua_preload(lua_State *L);

/* Calls function `function` of module `module` with the arguments on the stack, as a lua_CFunction's tail. */
int baton_lua_call(lua_State *L, const char *module, const char *function);

#endif
