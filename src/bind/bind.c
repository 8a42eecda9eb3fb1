/* Arguments, option tables and named functions. */
#include "bind/bind.h"
#include "base/text.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char names_key; /* registry: C function -> "noun.name" */

/* --- Functions and values in messages ------------------------------------------------------------------- */

void bind_functions(lua_State *L, const char *noun, const luaL_Reg *functions) {
  luaL_checkstack(L, 5, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
  }
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_pushvalue(L, -1);
    lua_pushfstring(L, "%s.%s", noun, functions->name);
    lua_rawset(L, -4); /* names[function] */
    lua_setfield(L, -3, functions->name);
  }
  lua_pop(L, 1);
}

const char *bind_function_name(lua_State *L) {
  lua_Debug running;
  luaL_checkstack(L, 4, NULL);
  int top = lua_gettop(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key) == LUA_TTABLE && lua_getstack(L, 0, &running)) {
    lua_getinfo(L, "f", &running);
    lua_pushcfunction(L, lua_tocfunction(L, -1)); /* a closure has the name of its function */
    if (lua_rawget(L, top + 1) == LUA_TSTRING) {
      lua_replace(L, top + 1);
      return lua_tostring(L, top + 1);
    }
  }
  lua_settop(L, top);
  return lua_pushliteral(L, "?");
}

int bind_new_class(lua_State *L, const char *class) {
  int made = luaL_newmetatable(L, class);
  lua_pushlightuserdata(L, (void *)(uintptr_t) class);
  lua_rawseti(L, -2, 1);
  return made;
}

void bind_open_class(lua_State *L, const char *class, const char *noun, const luaL_Reg *events,
                     const luaL_Reg *const *methods, lua_CFunction index) {
  if (bind_new_class(L, class)) {
    luaL_setfuncs(L, events, 0);
    lua_newtable(L);
    for (; *methods; methods++) bind_functions(L, noun, *methods);
    if (index) lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}

void *bind_test_class(lua_State *L, int index, const char *class) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
  lua_rawgeti(L, -1, 1);
  int same = lua_touserdata(L, -1) == class;
  lua_pop(L, 2);
  return same ? lua_touserdata(L, index) : NULL;
}

const void *bind_class_metatable(lua_State *L, const char *class) {
  luaL_getmetatable(L, class);
  const void *metatable = lua_topointer(L, -1);
  lua_pop(L, 1);
  return metatable;
}

const void *bind_metatable_at(lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
  const void *metatable = lua_topointer(L, -1);
  lua_pop(L, 1);
  return metatable;
}

/* As Lua does it, but with a decimal point in every locale. */
static const char *describe_number(lua_State *L, int index) {
  char text[64];
  if (lua_isinteger(L, index)) return luaL_tolstring(L, index, NULL);
  base_print(text, sizeof text, LUA_NUMBER_FMT, lua_tonumber(L, index));
  return lua_pushfstring(L, text[strspn(text, "-0123456789")] ? "%s" : "%s.0", text);
}

/* Quotes tell texts from what they could be mistaken for: nothing, a number, a value that has a word. */
static int needs_quotes(lua_State *L, int index) {
  static const char *const words[] = {"nil", "true", "false"};
  const char *text = lua_tostring(L, index);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(text, words[i]) == 0) return 1;
  return lua_isnumber(L, index) || !text[strspn(text, " \t\r\n")];
}

enum { SHOWN_LENGTH = 80 };

/* Of long texts, and of those with a zero byte, the beginning: whole UTF-8 characters. */
static const char *describe_string(lua_State *L, int index) {
  size_t length;
  const char *text = lua_tolstring(L, index, &length);
  size_t shown = strnlen(text, SHOWN_LENGTH);
  if (needs_quotes(L, index)) return lua_pushfstring(L, "'%s'", text);
  if (shown == length) return lua_pushstring(L, text);
  while (shown && (text[shown] & 0xC0) == 0x80) shown--;
  return lua_pushfstring(L, "%s…", lua_pushlstring(L, text, shown));
}

const char *bind_describe(lua_State *L, int index) {
  switch (lua_type(L, index)) {
  case LUA_TNONE:
  case LUA_TNIL: return lua_pushliteral(L, "nil");
  case LUA_TNUMBER: return describe_number(L, index);
  case LUA_TBOOLEAN: return luaL_tolstring(L, index, NULL);
  case LUA_TSTRING: return describe_string(L, index);
  default: break;
  }
  if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) return lua_tostring(L, -1);
  return lua_pushfstring(L, "a %s", luaL_typename(L, index));
}

void *bind_check_self(lua_State *L, const char *class, const char *what) {
  void *self = luaL_testudata(L, 1, class);
  if (!self) bind_bad_argument(L, "%s expected, got %s", what, bind_describe(L, 1));
  return self;
}

/* --- Arguments ------------------------------------------------------------------------------------------ */

int64_t bind_check_integer(lua_State *L, int arg, const char *name, int64_t min, int64_t max) {
  int good;
  lua_Integer value = lua_tointegerx(L, arg, &good);
  if (good && lua_type(L, arg) == LUA_TNUMBER && value >= min && value <= max) return value;
  return bind_bad_argument(L, "%s must be an integer in %" PRId64 "..%" PRId64 ", got %s", name, min, max,
                           bind_describe(L, arg));
}

double bind_check_number(lua_State *L, int arg, const char *name) {
  if (lua_type(L, arg) == LUA_TNUMBER) return lua_tonumber(L, arg);
  return bind_bad_argument(L, "%s must be a number, got %s", name, bind_describe(L, arg));
}

const char *bind_check_string(lua_State *L, int arg, const char *name) {
  if (lua_type(L, arg) != LUA_TSTRING)
    bind_bad_argument(L, "%s must be a string, got %s", name, bind_describe(L, arg));
  size_t length;
  const char *text = lua_tolstring(L, arg, &length);
  if (strlen(text) != length) bind_bad_argument(L, "%s must not contain a zero byte", name);
  return text;
}

void bind_check_table(lua_State *L, int arg, const char *name) {
  if (lua_type(L, arg) != LUA_TTABLE)
    bind_bad_argument(L, "%s must be a table, got %s", name, bind_describe(L, arg));
}

/* --- Sizes ---------------------------------------------------------------------------------------------- */

static int unit_of(const char *text, uint64_t *unit) {
  static const struct {
    const char *name;
    uint64_t unit;
  } units[] = {{"", 1},
               {"B", 1},
               {"KiB", 1ull << 10},
               {"MiB", 1ull << 20},
               {"GiB", 1ull << 30},
               {"TiB", 1ull << 40},
               {"kB", 1000},
               {"KB", 1000},
               {"MB", 1000000},
               {"GB", 1000000000},
               {"TB", 1000000000000}};
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (!strcmp(text, units[i].name)) {
      *unit = units[i].unit;
      return 1;
    }
  return 0;
}

int bind_parse_size(const char *text, uint64_t *out) {
  uint64_t value = 0, unit;
  if (*text < '0' || *text > '9') return 0;
  for (; *text >= '0' && *text <= '9'; text++) {
    uint64_t digit = (uint64_t)(*text - '0');
    if (value > (INT64_MAX - digit) / 10) return 0;
    value = value * 10 + digit;
  }
  if (!unit_of(text, &unit) || value > INT64_MAX / unit) return 0;
  *out = value * unit;
  return 1;
}

/* The size at `index`; false if there is none. */
static int to_size(lua_State *L, int index, uint64_t *out) {
  if (lua_type(L, index) == LUA_TSTRING) {
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    return strlen(text) == length && bind_parse_size(text, out);
  }
  int good;
  lua_Integer value = lua_tointegerx(L, index, &good);
  if (lua_type(L, index) != LUA_TNUMBER || !good || value < 0) return 0;
  *out = (uint64_t)value;
  return 1;
}

#define SIZE_EXPECTED "a size in bytes such as 65536 or \"64KiB\""

uint64_t bind_check_size(lua_State *L, int arg, const char *name) {
  uint64_t size;
  if (!to_size(L, arg, &size))
    bind_bad_argument(L, "%s must be " SIZE_EXPECTED ", got %s", name, bind_describe(L, arg));
  return size;
}

/* --- The nearest name ----------------------------------------------------------------------------------- */

enum { NEAREST_LENGTH = 64 };

/* Edits (insert, delete, replace) from one word to the other; one row of the table at a time. */
static int edit_distance(const char *from, const char *to) {
  int row[NEAREST_LENGTH + 1], length = (int)strlen(to);
  for (int i = 0; i <= length; i++) row[i] = i;
  for (int line = 1; *from; from++, line++) {
    int diagonal = row[0];
    row[0] = line;
    for (int i = 1; i <= length; i++) {
      int replace = diagonal + (*from != to[i - 1]);
      diagonal = row[i];
      int insert = (row[i - 1] < row[i] ? row[i - 1] : row[i]) + 1;
      row[i] = replace < insert ? replace : insert;
    }
  }
  return row[length];
}

const char *bind_nearest(const char *word, const char *const *names) {
  size_t length = strlen(word);
  int best = (int)length / 3 + 2; /* further away it is another word */
  const char *nearest = NULL;
  if (length > NEAREST_LENGTH) return NULL;
  for (; *names; names++) {
    if (strlen(*names) > NEAREST_LENGTH) continue;
    int distance = edit_distance(word, *names);
    if (distance >= best) continue;
    best = distance;
    nearest = *names;
  }
  return nearest;
}

/* --- Option tables -------------------------------------------------------------------------------------- */

static int raise_unknown(lua_State *L, const char *what, int key, const char *const *names) {
  baton_error *err = bind_error(L);
  if (lua_type(L, key) != LUA_TSTRING) {
    baton_error_set(err, BATON_UNKNOWN_OPTION, "%s: [%s] is no option", what, bind_describe(L, key));
    return bind_raise(L, err);
  }
  const char *word = lua_tostring(L, key), *nearest = bind_nearest(word, names);
  if (nearest)
    baton_error_set(err, BATON_UNKNOWN_OPTION, "%s: unknown option '%s', did you mean '%s'?", what, word,
                    nearest);
  else
    baton_error_set(err, BATON_UNKNOWN_OPTION, "%s: unknown option '%s'", what, word);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (int i = 0; names[i]; i++) {
    luaL_addstring(&buffer, i ? ", " : "");
    luaL_addstring(&buffer, names[i]);
  }
  luaL_pushresult(&buffer);
  baton_error_text(err, BATON_FIELD_HINT, "known options: %s", lua_tostring(L, -1));
  return bind_raise(L, err);
}

void bind_check_options(lua_State *L, int table, const char *what, const char *const *names) {
  if (lua_isnoneornil(L, table)) return;
  if (lua_type(L, table) != LUA_TTABLE) {
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: options must be a table, got %s", what,
              bind_describe(L, table));
    return;
  }
  luaL_checkstack(L, 3, NULL);
  table = lua_absindex(L, table);
  lua_pushnil(L);
  for (; lua_next(L, table); lua_pop(L, 1)) {
    int known = 0;
    for (int i = 0; names[i] && lua_type(L, -2) == LUA_TSTRING && !known; i++)
      known = !strcmp(lua_tostring(L, -2), names[i]);
    if (!known) raise_unknown(L, what, lua_gettop(L) - 1, names);
  }
}

/* Pushes table[name] without metamethods; nil for an absent table. */
static int push_option(lua_State *L, int table, const char *name) {
  luaL_checkstack(L, 3, NULL);
  if (lua_type(L, table) != LUA_TTABLE) {
    lua_pushnil(L);
    return LUA_TNIL;
  }
  table = lua_absindex(L, table);
  lua_pushstring(L, name);
  return lua_rawget(L, table);
}

static int bad_option(lua_State *L, const char *name, const char *expected) {
  return bind_fail(L, BATON_INVALID_ARGUMENT, "field '%s' must be %s, got %s", name, expected,
                   bind_describe(L, -1));
}

int64_t bind_option_integer(lua_State *L, int table, const char *name, int64_t min, int64_t max,
                            int64_t absent) {
  int type = push_option(L, table, name), good;
  lua_Integer value = lua_tointegerx(L, -1, &good);
  if (type != LUA_TNIL && (type != LUA_TNUMBER || !good || value < min || value > max))
    bind_fail(L, BATON_INVALID_ARGUMENT, "field '%s' must be an integer in %" PRId64 "..%" PRId64 ", got %s",
              name, min, max, bind_describe(L, -1));
  lua_pop(L, 1);
  return type == LUA_TNIL ? absent : value;
}

double bind_option_number(lua_State *L, int table, const char *name, double min, double max, double absent) {
  int type = push_option(L, table, name);
  double value = lua_tonumber(L, -1);
  int endless = min == -HUGE_VAL && max == HUGE_VAL;
  if (type != LUA_TNIL && type != LUA_TNUMBER && endless) bad_option(L, name, "a number");
  if (type != LUA_TNIL && (type != LUA_TNUMBER || !(value >= min && value <= max)))
    bind_fail(L, BATON_INVALID_ARGUMENT, "field '%s' must be a number in %.14g..%.14g, got %s", name, min,
              max, bind_describe(L, -1));
  lua_pop(L, 1);
  return type == LUA_TNIL ? absent : value;
}

const char *bind_option_string(lua_State *L, int table, const char *name, const char *absent) {
  int type = push_option(L, table, name);
  if (type != LUA_TNIL && type != LUA_TSTRING) bad_option(L, name, "a string");
  size_t length = 0;
  const char *text = type == LUA_TSTRING ? lua_tolstring(L, -1, &length) : absent;
  if (type == LUA_TSTRING && strlen(text) != length) bad_option(L, name, "a string without zero bytes");
  lua_pop(L, 1);
  return text;
}

int bind_option_boolean(lua_State *L, int table, const char *name, int absent) {
  int type = push_option(L, table, name), value = lua_toboolean(L, -1);
  if (type != LUA_TNIL && type != LUA_TBOOLEAN) bad_option(L, name, "true or false");
  lua_pop(L, 1);
  return type == LUA_TNIL ? absent : value;
}

uint64_t bind_option_size(lua_State *L, int table, const char *name, uint64_t absent) {
  uint64_t size = absent;
  if (push_option(L, table, name) != LUA_TNIL && !to_size(L, -1, &size)) bad_option(L, name, SIZE_EXPECTED);
  lua_pop(L, 1);
  return size;
}

int bind_option_table(lua_State *L, int table, const char *name) {
  int type = push_option(L, table, name);
  if (type != LUA_TNIL && type != LUA_TTABLE) bad_option(L, name, "a table");
  return type == LUA_TTABLE;
}
