/* baton.json: Lua values to JSON text and back, through jansson. */
#include "bind/bind.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char array_class[] = "baton.json.array";  /* metatable that marks a list, also an empty one */
static const char holder_class[] = "baton.json.value"; /* metatable of userdata that own a json_t */

enum { DEEPEST = 200 };

/* One encode call; `digits` is what its most demanding float needs to be read back the same. */
typedef struct json_encoder {
  lua_State *L;
  int digits;
} json_encoder;

static json_t *encode_value(json_encoder *encoder, int index, int depth);
static void push_value(lua_State *L, const json_t *value);

static int holder_gc(lua_State *L) {
  json_t **holder = luaL_checkudata(L, 1, holder_class);
  json_decref(*holder);
  *holder = NULL;
  return 0;
}

/* Pushes a userdata that owns what is stored in it, so that no error leaks a json_t. */
static json_t **push_holder(lua_State *L) {
  json_t **holder = lua_newuserdatauv(L, sizeof *holder, 0);
  *holder = NULL;
  if (luaL_newmetatable(L, holder_class)) {
    lua_pushcfunction(L, holder_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return holder;
}

/* A container owned by a holder on the stack while it is filled: what is filled in may raise. */
static json_t *push_container(lua_State *L, json_t *made) {
  json_t **holder = push_holder(L);
  if (!made) bind_fail(L, BATON_OUT_OF_MEMORY, "json.encode: no memory for the text");
  *holder = made;
  return made;
}

/* Takes the container on top of the stack out of its holder and pops that. */
static json_t *take_container(lua_State *L) {
  json_t **holder = lua_touserdata(L, -1), *value = *holder;
  *holder = NULL;
  lua_pop(L, 1);
  return value;
}

static void check_added(lua_State *L, int failed) {
  if (failed) bind_fail(L, BATON_OUT_OF_MEMORY, "json.encode: no memory for the text");
}

static json_t *encode_array(json_encoder *encoder, int index, int depth) {
  lua_State *L = encoder->L;
  lua_Integer length = (lua_Integer)lua_rawlen(L, index);
  json_t *array = push_container(L, json_array());
  for (lua_Integer i = 1; i <= length; i++) {
    lua_rawgeti(L, index, i);
    check_added(L, json_array_append_new(array, encode_value(encoder, lua_gettop(L), depth + 1)));
    lua_pop(L, 1);
  }
  return take_container(L);
}

static json_t *encode_object(json_encoder *encoder, int index, int depth) {
  lua_State *L = encoder->L;
  json_t *object = push_container(L, json_object());
  lua_pushnil(L);
  while (lua_next(L, index)) {
    size_t length;
    if (lua_type(L, -2) != LUA_TSTRING)
      bind_fail(L, BATON_INVALID_ARGUMENT, "json.encode: a key of an object is %s, not a string",
                bind_describe(L, -2));
    const char *key = lua_tolstring(L, -2, &length);
    if (strlen(key) != length)
      bind_fail(L, BATON_INVALID_ARGUMENT, "json.encode: key '%s…' contains a zero byte", key);
    json_t *value = encode_value(encoder, lua_gettop(L), depth + 1);
    if (json_object_set_new(object, key, value) != 0)
      bind_fail(L, BATON_INVALID_ARGUMENT, "json.encode: key '%s' is not UTF-8, or memory is out", key);
    lua_pop(L, 1);
  }
  return take_container(L);
}

static int is_marked_array(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return 0;
  luaL_getmetatable(L, array_class);
  int marked = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return marked;
}

static json_t *encode_table(json_encoder *encoder, int index, int depth) {
  lua_State *L = encoder->L;
  if (depth > DEEPEST)
    bind_fail(L, BATON_INVALID_ARGUMENT, "json.encode: tables are nested deeper than %d", DEEPEST);
  luaL_checkstack(L, 8, "json.encode");
  if (lua_rawlen(L, index) > 0 || is_marked_array(L, index)) return encode_array(encoder, index, depth);
  return encode_object(encoder, index, depth);
}

static json_t *encode_float(json_encoder *encoder, double value) {
  char text[32];
  if (!isfinite(value))
    bind_fail(encoder->L, BATON_INVALID_ARGUMENT, "json.encode: %g has no form in JSON", value);
  while (encoder->digits < 17) {
    snprintf(text, sizeof text, "%.*g", encoder->digits, value);
    if (strtod(text, NULL) == value) break;
    encoder->digits++;
  }
  return json_real(value);
}

/* Returns a new reference. Raises what cannot be encoded; then the containers on the stack own what was made.
 */
static json_t *encode_value(json_encoder *encoder, int index, int depth) {
  lua_State *L = encoder->L;
  json_t *value = NULL;
  size_t length;
  switch (lua_type(L, index)) {
  case LUA_TNIL: value = json_null(); break;
  case LUA_TBOOLEAN: value = json_boolean(lua_toboolean(L, index)); break;
  case LUA_TNUMBER:
    value = lua_isinteger(L, index) ? json_integer(lua_tointeger(L, index))
                                    : encode_float(encoder, lua_tonumber(L, index));
    break;
  case LUA_TSTRING: {
    const char *text = lua_tolstring(L, index, &length);
    value = json_stringn(text, length);
    if (!value)
      bind_fail(L, BATON_INVALID_ARGUMENT, "json.encode: a string of %zu bytes is not UTF-8", length);
    break;
  }
  case LUA_TTABLE: return encode_table(encoder, index, depth);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, index)) value = json_null();
    break;
  default: break;
  }
  if (!value)
    bind_fail(L, BATON_INVALID_ARGUMENT, "json.encode: %s has no form in JSON", bind_describe(L, index));
  return value;
}

/* json.encode(value [, indent]) -> text. A table with list elements, or marked by json.array, is a list; any
*other table
** is an object with its keys in order. */
static int json_encode(lua_State *L) {
  json_encoder encoder = {.L = L, .digits = 15};
  luaL_checkany(L, 1);
  size_t indent = lua_isnoneornil(L, 2) ? 0 : (size_t)bind_check_integer(L, 2, "indent", 0, 31);
  lua_settop(L, 1);
  json_t **holder = push_holder(L), *value = encode_value(&encoder, 1, 1);
  *holder = value;
  size_t flags = JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_INDENT(indent) |
                 JSON_REAL_PRECISION((size_t)encoder.digits) | (indent ? 0 : JSON_COMPACT);
  size_t length = json_dumpb(value, NULL, 0, flags);
  if (length == 0) return bind_fail(L, BATON_OUT_OF_MEMORY, "json.encode: no memory for the text");
  luaL_Buffer buffer;
  json_dumpb(value, luaL_buffinitsize(L, &buffer, length), length, flags);
  luaL_pushresultsize(&buffer, length);
  return 1;
}

static void push_array(lua_State *L, const json_t *array) {
  size_t length = json_array_size(array);
  lua_createtable(L, length > INT32_MAX ? 0 : (int)length, 0);
  for (size_t i = 0; i < length; i++) {
    push_value(L, json_array_get(array, i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  luaL_setmetatable(L, array_class);
}

static void push_object(lua_State *L, json_t *object) {
  const char *key;
  json_t *value;
  lua_newtable(L);
  json_object_foreach(object, key, value) {
    push_value(L, value);
    lua_setfield(L, -2, key);
  }
}

/* Pushes the Lua form of `value`; jansson has limited its depth already. */
static void push_value(lua_State *L, const json_t *value) {
  luaL_checkstack(L, 4, "json.decode");
  switch (json_typeof(value)) {
  case JSON_OBJECT: push_object(L, (json_t *)(uintptr_t)value); break;
  case JSON_ARRAY: push_array(L, value); break;
  case JSON_STRING: lua_pushlstring(L, json_string_value(value), json_string_length(value)); break;
  case JSON_INTEGER: lua_pushinteger(L, json_integer_value(value)); break;
  case JSON_REAL: lua_pushnumber(L, json_real_value(value)); break;
  case JSON_TRUE: lua_pushboolean(L, 1); break;
  case JSON_FALSE: lua_pushboolean(L, 0); break;
  case JSON_NULL: lua_pushlightuserdata(L, NULL); break;
  }
}

/* json.decode(text) -> value. Lists carry the mark of json.array, null is json.null. */
static int json_decode(lua_State *L) {
  json_error_t where;
  bind_check_string(L, 1, "text");
  size_t length;
  const char *text = lua_tolstring(L, 1, &length);
  json_t **holder = push_holder(L);
  *holder = json_loadb(text, length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
  if (!*holder)
    return bind_fail(L, BATON_INVALID_ARGUMENT, "json.decode: line %d, column %d: %s", where.line,
                     where.column, where.text);
  push_value(L, *holder);
  return 1;
}

/* json.array([list]) -> the same table, marked as a list; a new one without argument. */
static int json_mark_array(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  bind_check_table(L, 1, "list");
  lua_settop(L, 1);
  luaL_setmetatable(L, array_class);
  return 1;
}

void bind_open_json(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"encode", json_encode}, {"decode", json_decode}, {"array", json_mark_array}, {NULL, NULL}};
  luaL_newmetatable(L, array_class);
  lua_pop(L, 1);
  lua_newtable(L);
  bind_functions(L, "json", functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_setfield(L, -2, "json");
}
