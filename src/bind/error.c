/* Error objects: tables of api.md section 9, and the errors that the Lua state owns. */
#include "base/text.h"
#include "bind/bind.h"
#include <stdarg.h>
#include <string.h>

static const char error_class[] = "baton.error object";  /* metatable of error tables */
static const char holder_class[] = "baton.error holder"; /* metatable of userdata that own a baton_error */
static const char shared_key;                            /* registry: the holder that bind_error gives out */

static int holder_gc(lua_State *L) {
  baton_error_clear(luaL_checkudata(L, 1, holder_class));
  return 0;
}

baton_error *bind_push_error(lua_State *L) {
  baton_error *err = lua_newuserdatauv(L, sizeof *err, 0);
  memset(err, 0, sizeof *err);
  if (luaL_newmetatable(L, holder_class)) {
    lua_pushcfunction(L, holder_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return err;
}

baton_error *bind_error(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shared_key) != LUA_TUSERDATA) {
    lua_pop(L, 1);
    bind_push_error(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shared_key);
  }
  baton_error *err = lua_touserdata(L, -1);
  lua_pop(L, 1); /* the registry keeps it */
  baton_error_clear(err);
  return err;
}

/* Adds prefix, value and suffix for a field that the error at index 1 has. */
static void add_known(lua_State *L, luaL_Buffer *buffer, const char *prefix, const char *field,
                      const char *suffix) {
  if (lua_getfield(L, 1, field) == LUA_TNIL) {
    lua_pop(L, 1);
    return;
  }
  luaL_tolstring(L, -1, NULL);
  lua_remove(L, -2);
  lua_pushfstring(L, "%s%s%s", prefix, lua_tostring(L, -1), suffix);
  lua_remove(L, -2);
  luaL_addvalue(buffer);
}

/* True if the error has the field, and its message does not name that path anyway. */
static int worth_telling(lua_State *L, const char *field) {
  int told = 0;
  int known = lua_getfield(L, 1, field) != LUA_TNIL;
  if (known && !strcmp(field, "path") && lua_getfield(L, 1, "message") == LUA_TSTRING) {
    told = lua_type(L, -2) == LUA_TSTRING && strstr(lua_tostring(L, -1), lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return known && !told;
}

/* "code: message; hint (task T, kernel K, core 3); cause: …" */
static int error_tostring(lua_State *L) {
  static const char *const places[] = {"task",   "kernel", "core",   "device",
                                       "worker", "round",  "signal", "path"};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  add_known(L, &buffer, "", "code", ": ");
  add_known(L, &buffer, "", "message", "");
  add_known(L, &buffer, "; ", "hint", "");
  const char *separator = " (";
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    if (!worth_telling(L, places[i])) continue;
    luaL_addstring(&buffer, separator);
    luaL_addstring(&buffer, places[i]);
    add_known(L, &buffer, " ", places[i], "");
    separator = ", ";
  }
  if (separator[0] == ',') luaL_addchar(&buffer, ')');
  add_known(L, &buffer, "; cause: ", "cause", "");
  luaL_pushresult(&buffer);
  return 1;
}

static void set_error_class(lua_State *L) {
  if (luaL_newmetatable(L, error_class)) {
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "baton.error");
    lua_setfield(L, -2, "__name");
  }
  lua_setmetatable(L, -2);
}

static void set_text(lua_State *L, const char *field, const char *text) {
  if (!text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const baton_error *err, uint32_t bit, const char *field,
                       lua_Integer value) {
  if (!(err->known & bit)) return;
  lua_pushinteger(L, value);
  lua_setfield(L, -2, field);
}

void bind_push_failure(lua_State *L, baton_error *err) {
  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, 0, 4);
  set_text(L, "code", baton_status_word(err->code));
  set_text(L, "message", err->message ? err->message : "");
  set_text(L, "hint", err->hint);
  set_text(L, "task", err->task);
  set_text(L, "kernel", err->kernel);
  set_text(L, "cause", err->cause);
  set_text(L, "path", err->path);
  set_number(L, err, BATON_KNOWN_CORE, "core", err->core);
  set_number(L, err, BATON_KNOWN_DEVICE, "device", err->device);
  set_number(L, err, BATON_KNOWN_WORKER, "worker", err->worker);
  set_number(L, err, BATON_KNOWN_SIGNAL, "signal", err->signal);
  set_number(L, err, BATON_KNOWN_ROUND, "round", err->round);
  if (err->known & BATON_KNOWN_AFTER_MS) {
    lua_pushnumber(L, err->after_ms);
    lua_setfield(L, -2, "after_ms");
  }
  set_error_class(L);
  baton_error_clear(err);
}

int bind_raise(lua_State *L, baton_error *err) {
  bind_push_failure(L, err);
  return lua_error(L);
}

/* Raises a table of `code` and the text on top of the stack. */
static int raise_text(lua_State *L, baton_status code) {
  lua_createtable(L, 0, 2);
  lua_insert(L, -2);
  lua_setfield(L, -2, "message");
  set_text(L, "code", baton_status_word(code));
  set_error_class(L);
  return lua_error(L);
}

/* Pushes the formatted text. C's formats, not those of lua_pushfstring: the compiler checks them. */
BATON_PRINTF(2, 0) static void push_format(lua_State *L, const char *fmt, va_list values) {
  luaL_Buffer buffer;
  va_list again;
  va_copy(again, values);
  int length = base_vprint(NULL, 0, fmt, again);
  va_end(again);
  size_t size = length < 0 ? 0 : (size_t)length;
  char *text = luaL_buffinitsize(L, &buffer, size + 1);
  base_vprint(text, size + 1, fmt, values);
  luaL_pushresultsize(&buffer, size);
}

int bind_fail(lua_State *L, baton_status code, const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  luaL_checkstack(L, 8, NULL);
  push_format(L, fmt, values);
  va_end(values);
  return raise_text(L, code);
}

int bind_bad_argument(lua_State *L, const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  luaL_checkstack(L, 8, NULL);
  const char *function = bind_function_name(L);
  push_format(L, fmt, values);
  va_end(values);
  lua_pushfstring(L, "%s: %s", function, lua_tostring(L, -1));
  return raise_text(L, BATON_INVALID_ARGUMENT);
}

/* error.new{code=, message=, …} -> an error object for error(). */
static int error_new(lua_State *L) {
  bind_check_table(L, 1, "fields");
  lua_createtable(L, 0, 4);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  if (lua_getfield(L, -1, "code") != LUA_TSTRING) return bind_bad_argument(L, "fields.code must be a string");
  if (lua_getfield(L, -2, "message") != LUA_TSTRING)
    return bind_bad_argument(L, "fields.message must be a string");
  lua_pop(L, 2);
  set_error_class(L);
  return 1;
}

int bind_is_failure(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) return 0;
  luaL_getmetatable(L, error_class);
  int same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* error.is(value) -> true if it is an error object. */
static int error_is(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, bind_is_failure(L, 1));
  return 1;
}

enum { NEAREST_NAMES = 256 };

/* error.nearest(word, names) -> the name nearest to word, or nil. */
static int error_nearest(lua_State *L) {
  const char *word = bind_check_string(L, 1, "word"), *names[NEAREST_NAMES + 1];
  bind_check_table(L, 2, "names");
  lua_Unsigned length = lua_rawlen(L, 2);
  int count = length > NEAREST_NAMES ? NEAREST_NAMES : (int)length;
  luaL_checkstack(L, count + 4, NULL);
  for (int i = 0; i < count; i++) {
    if (lua_rawgeti(L, 2, i + 1) != LUA_TSTRING)
      return bind_bad_argument(L, "names[%d] must be a string", i + 1);
    names[i] = lua_tostring(L, -1);
  }
  names[count] = NULL;
  lua_pushstring(L, bind_nearest(word, names));
  return 1;
}

void bind_open_error(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", error_new}, {"is", error_is}, {"nearest", error_nearest}, {NULL, NULL}};
  lua_newtable(L);
  set_error_class(L); /* makes the class */
  lua_pop(L, 1);
  lua_newtable(L);
  bind_functions(L, "error", functions);
  lua_setfield(L, -2, "error");
}
