/* coroutine.resume and coroutine.wrap as Lua has them, except that they tell which coroutine runs: a hook belongs to one
** coroutine, and an interrupt must be raised in the one that runs. */
#include "bind/coroutine.h"
#include <lauxlib.h>
#include <lualib.h>

/* Upvalue 1 of every function here. */
static const bind_running *told(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* Resumes `co` with the `nargs` values on top of L. The number of results on top of L; or -1, and the error is there. */
static int resume(lua_State *L, lua_State *co, int nargs) {
  int results = 0;
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, nargs);
  lua_State *before = told(L)->set(co);
  int status = lua_resume(co, L, nargs, &results);
  (void)told(L)->set(before);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, results + 1)) {
    lua_pop(co, results);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, results);
  return results;
}

static int tracked_resume(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "thread");
  int results = resume(L, co, lua_gettop(L) - 1);
  int ok = results >= 0;
  if (!ok) results = 1;
  lua_pushboolean(L, ok);
  lua_insert(L, -(results + 1));
  return results + 1;
}

/* Closes a coroutine that ended in an error; what its `<close>` variables raise replaces the error. */
static void close_failed(lua_State *L, lua_State *co) {
  int status = lua_status(co);
  if (status == LUA_OK || status == LUA_YIELD) return; /* it was not resumed at all */
  lua_State *before = told(L)->set(co);
  status = lua_resetthread(co);
  (void)told(L)->set(before);
  if (status == LUA_OK) return;
  lua_pop(L, 1);
  lua_xmove(co, L, 1);
}

static int call_wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  int results = resume(L, co, lua_gettop(L));
  if (results >= 0) return results;
  close_failed(L, co);
  if (lua_type(L, -1) == LUA_TSTRING) { /* where in the caller */
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int tracked_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, call_wrapped, 2);
  return 1;
}

void bind_track_coroutines(lua_State *L, const bind_running *running) {
  static const luaL_Reg functions[] = {{"resume", tracked_resume}, {"wrap", tracked_wrap}, {NULL, NULL}};
  lua_getglobal(L, LUA_COLIBNAME);
  lua_pushlightuserdata(L, (void *)(uintptr_t)running);
  luaL_setfuncs(L, functions, 1);
  lua_pop(L, 1);
}
