#include "bind/pack_names.h"
#include <lualib.h>
#include <string.h>

/* --- Modules ------------------------------------------------------------------------------------------------------- */

static void push_loaded(lua_State *L) { luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE); }

/* Pushes the name of a module and the zero byte behind it. */
#define push_step(L, module) lua_pushlstring(L, module "", sizeof module)

/* names[value] = name on the stack, in the place of a later one in the alphabet; pops value and name. */
static void enter_name(lua_State *L, int names) {
  lua_pushvalue(L, -2);
  int known = lua_rawget(L, names) == LUA_TSTRING;
  if (known && strcmp(lua_tostring(L, -1), lua_tostring(L, -2)) < 0) {
    lua_pop(L, 3);
    return;
  }
  lua_pop(L, 1);
  lua_rawset(L, names);
}

/* The table at `module` is `baton`: its nouns are modules that need not have been required by their own names. */
static void enter_nouns(lua_State *L, int names, int module) {
  for (lua_pushnil(L); lua_next(L, module); lua_pop(L, 1)) {
    if (lua_type(L, -1) != LUA_TTABLE || lua_type(L, -2) != LUA_TSTRING) continue;
    lua_pushvalue(L, -1);
    push_step(L, "baton");
    lua_pushvalue(L, -4);
    lua_concat(L, 2);
    enter_name(L, names);
  }
}

static int is_globals(lua_State *L, int index) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  int same = lua_rawequal(L, index, -1);
  lua_pop(L, 1);
  return same;
}

static int is_object(lua_State *L, int index) {
  int type = lua_type(L, index);
  return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA;
}

void bind_push_module_names(lua_State *L) {
  luaL_checkstack(L, 12, NULL);
  lua_newtable(L);
  int names = lua_gettop(L);
  push_loaded(L);
  for (lua_pushnil(L); lua_next(L, names + 1); lua_pop(L, 1)) {
    if (!is_object(L, -1) || lua_type(L, -2) != LUA_TSTRING || is_globals(L, lua_gettop(L))) continue;
    if (lua_type(L, -1) == LUA_TTABLE && !strcmp(lua_tostring(L, -2), "baton"))
      enter_nouns(L, names, lua_gettop(L));
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -3);
    enter_name(L, names);
  }
  lua_settop(L, names);
}

/* --- Fields of modules --------------------------------------------------------------------------------------------- */

/* Pushes the key by which the table at `module` has the value at `index`; false, with nothing pushed, if it does not. The first
** of the alphabet, if several do. */
static int push_key_of(lua_State *L, int module, int index) {
  lua_pushnil(L);
  int best = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, module); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !lua_rawequal(L, -1, index)) continue;
    if (!lua_isnil(L, best) && strcmp(lua_tostring(L, best), lua_tostring(L, -2)) < 0) continue;
    lua_pushvalue(L, -2);
    lua_replace(L, best);
  }
  if (!lua_isnil(L, best)) return 1;
  lua_pop(L, 1);
  return 0;
}

/* On top of the stack: the name of a module and the table that it is. If that has the value, they become the way to it, and true
** is returned; else they stay. */
static int look_into(lua_State *L, int index) {
  if (!push_key_of(L, lua_gettop(L), index)) return 0;
  lua_pushlstring(L, "", 1);
  lua_replace(L, -3);
  lua_concat(L, 3);
  return 1;
}

/* Functions that scripts added to the globals are not there in another state, so these are asked for by name. */
static int push_basic_name(lua_State *L, int loaded, int index) {
  static const char *const names[] = {
      "assert", "collectgarbage", "dofile",   "error",    "getmetatable", "ipairs", "load",   "loadfile",
      "next",   "pairs",          "pcall",    "print",    "rawequal",     "rawget", "rawlen", "rawset",
      "select", "setmetatable",   "tonumber", "tostring", "type",         "warn",   "xpcall", "require"};
  if (lua_getfield(L, loaded, LUA_GNAME) == LUA_TTABLE)
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      lua_pushstring(L, names[i]);
      lua_rawget(L, -2);
      int same = lua_rawequal(L, -1, index);
      lua_pop(L, 1);
      if (!same) continue;
      push_step(L, LUA_GNAME);
      lua_pushstring(L, names[i]);
      lua_concat(L, 2);
      lua_remove(L, -2);
      return 1;
    }
  lua_pop(L, 1);
  return 0;
}

static int push_standard_name(lua_State *L, int loaded, int index) {
  static const char *const names[] = {LUA_STRLIBNAME, LUA_MATHLIBNAME, LUA_TABLIBNAME,  LUA_IOLIBNAME,
                                      LUA_OSLIBNAME,  LUA_COLIBNAME,   LUA_UTF8LIBNAME, LUA_DBLIBNAME,
                                      "baton",        "baton.tensor"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_pushstring(L, names[i]);
    if (lua_getfield(L, loaded, names[i]) == LUA_TTABLE && look_into(L, index)) return 1;
    lua_pop(L, 2);
  }
  return 0;
}

/* Any other module, and the nouns of `baton`; the first of the alphabet. */
static int push_other_name(lua_State *L, int index) {
  bind_push_module_names(L);
  int modules = lua_gettop(L);
  lua_pushnil(L);
  int best = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, modules); lua_settop(L, best + 1)) { /* table -> name */
    if (lua_type(L, -2) != LUA_TTABLE) continue;
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -3);
    if (!look_into(L, index)) continue;
    if (lua_isnil(L, best) || strcmp(lua_tostring(L, -1), lua_tostring(L, best)) < 0) {
      lua_pushvalue(L, -1);
      lua_replace(L, best);
    }
  }
  lua_remove(L, modules);
  if (!lua_isnil(L, -1)) return 1;
  lua_pop(L, 1);
  return 0;
}

int bind_push_field_name(lua_State *L, int index) {
  luaL_checkstack(L, 16, NULL);
  push_loaded(L);
  int loaded = lua_gettop(L);
  int found =
      push_basic_name(L, loaded, index) || push_standard_name(L, loaded, index) || push_other_name(L, index);
  lua_remove(L, loaded);
  return found;
}

/* --- Titles -------------------------------------------------------------------------------------------------------- */

/* Keeps the name on the stack if the value above it is the one at `index`; pops the value. */
static int is_it(lua_State *L, int index, const char *name) {
  int same = name && name[0] != '(' && name[0] != 0 && lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  if (same) lua_pushstring(L, name);
  return same;
}

static int push_name_at_level(lua_State *L, int level, int index) {
  lua_Debug frame;
  const char *name;
  if (!lua_getstack(L, level, &frame)) return -1;
  for (int i = 1; (name = lua_getlocal(L, &frame, i)) != NULL; i++)
    if (is_it(L, index, name)) return 1;
  lua_getinfo(L, "f", &frame);
  int function = lua_gettop(L);
  for (int i = 1; (name = lua_getupvalue(L, function, i)) != NULL; i++)
    if (is_it(L, index, name)) {
      lua_remove(L, function);
      return 1;
    }
  lua_pop(L, 1);
  return 0;
}

/* Pushes the name of a variable that has the function at `index`; false, with nothing pushed, if none is in sight. */
static int push_variable_name(lua_State *L, int index) {
  enum { LEVELS = 16 };
  for (int level = 0, found = 0; level < LEVELS && found >= 0; level++)
    if ((found = push_name_at_level(L, level, index)) > 0) return 1;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  int found = push_key_of(L, lua_gettop(L), index);
  lua_remove(L, found ? -2 : -1);
  return found;
}

/* With the name on top of the stack, which becomes the title. */
static const char *add_source(lua_State *L, int index) {
  lua_Debug about;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &about);
  lua_pushfstring(L, "%s (%s:%d)", lua_tostring(L, -1), about.short_src, about.linedefined);
  lua_remove(L, -2);
  return lua_tostring(L, -1);
}

const char *bind_push_function_title(lua_State *L, int index) {
  luaL_checkstack(L, 8, NULL);
  if (!push_variable_name(L, index)) lua_pushliteral(L, "a function");
  return add_source(L, index);
}

/* What a function is called that stands at `place`. */
static const char *push_title_at(lua_State *L, const pack_place *place, int index) {
  if (place->kind == PACK_AT_UPVALUE)
    lua_pushstring(L, place->name);
  else if (place->kind == PACK_AT_FIELD && lua_type(L, place->index) == LUA_TSTRING)
    lua_pushvalue(L, place->index);
  else
    return bind_push_function_title(L, index);
  return add_source(L, index);
}

static int is_word(const char *text) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
  return *text && (*text < '0' || *text > '9') && strspn(text, letters) == strlen(text);
}

static const char *push_key(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TSTRING) return lua_pushfstring(L, "[%s]", bind_describe(L, index));
  const char *key = lua_tostring(L, index);
  return is_word(key) ? lua_pushfstring(L, ".%s", key) : lua_pushfstring(L, "['%s']", key);
}

const char *bind_push_place_title(lua_State *L, const char *who, const pack_place *place) {
  luaL_checkstack(L, 8, NULL);
  int top = lua_gettop(L);
  const char *title;
  if (place->kind == PACK_AT_UPVALUE)
    title = lua_pushfstring(L, "%s: upvalue '%s'", push_title_at(L, place->above, place->index), place->name);
  else if (place->kind == PACK_AT_FIELD)
    title =
        lua_pushfstring(L, "%s%s", bind_push_place_title(L, who, place->above), push_key(L, place->index));
  else if (place->index)
    title = lua_pushfstring(L, "%s: %s %d", who, place->name, place->index);
  else
    title = lua_pushfstring(L, "%s: %s", who, place->name);
  lua_insert(L, top + 1);
  lua_settop(L, top + 1);
  return title;
}
