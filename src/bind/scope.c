#include "bind/scope.h"

static const char scope_class[] = "baton.scope";

typedef struct scope {
  bind_scope_end *end; /* NULL: it has ended */
  void *owner;         /* user value 1 */
} scope;

/* Ends what is open; whoever calls it a second time finds nothing. */
static baton_status end_once(scope *open, baton_error *err) {
  bind_scope_end *end = open->end;
  open->end = NULL;
  return end ? end(open->owner, err) : BATON_OK;
}

static int scope_close(lua_State *L) { /* :close() and __close */
  scope *open = bind_check_self(L, scope_class, "a scope");
  baton_error *err = bind_error(L);
  return end_once(open, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int scope_collect(lua_State *L) { /* __gc: nobody is there to hear what fails */
  (void)end_once(luaL_checkudata(L, 1, scope_class), NULL);
  return 0;
}

static int push_scope(lua_State *L, bind_scope_end *end) {
  scope *open = lua_newuserdatauv(L, sizeof *open, 1);
  *open = (scope){end, lua_touserdata(L, lua_upvalueindex(1))};
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, scope_class);
  return 1;
}

int bind_scope_call(lua_State *L, bind_scope_end *end) {
  void *owner = lua_touserdata(L, lua_upvalueindex(1));
  if (lua_isnoneornil(L, 1)) return push_scope(L, end);
  lua_settop(L, 1);
  if (lua_pcall(L, 0, LUA_MULTRET, 0) != LUA_OK) {
    (void)end(owner, NULL);
    return lua_error(L);
  }
  baton_error *err = bind_error(L);
  return end(owner, err) == BATON_OK ? lua_gettop(L) : bind_raise(L, err);
}

void bind_open_scopes(lua_State *L) {
  static const luaL_Reg methods[] = {{"close", scope_close}, {NULL, NULL}};
  static const luaL_Reg events[] = {{"__close", scope_close}, {"__gc", scope_collect}, {NULL, NULL}};
  bind_open_class(L, scope_class, "scope", events, (const luaL_Reg *const[]){methods, NULL}, NULL);
}
