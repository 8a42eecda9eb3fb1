/* The reading half of bind/pack.h. */
#include "bind/pack.h"
#include "bind/pack_format.h"
#include "bind/program.h"
#include <limits.h>
#include <string.h>

typedef struct unpacker {
  lua_State *L;
  const char *begin, *at, *end;
  int objects;   /* stack index: number of a table, function or program + 1 -> it */
  int variables; /* stack index: number of a variable + 1 -> the function that brought it … */
  int places;    /* … and which of its upvalues that is */
  int tensors;   /* stack index: the list of tensors; 0: none */
  int plain;     /* results: no tensors, no functions, no programs, no names */
  uint32_t nobjects, nvariables;
  int depth;
} unpacker;

static void unpack_value(unpacker *u);

/* --- Bytes ---------------------------------------------------------------------------------------------- */

static int refuse(const unpacker *u, const char *what) {
  return bind_fail(u->L, BATON_PROTOCOL_ERROR, "packed Lua values: %s at byte %lld of %lld", what,
                   (long long)(u->at - u->begin), (long long)(u->end - u->begin));
}

static const char *take(unpacker *u, uint64_t size) {
  if (size > (uint64_t)(u->end - u->at)) refuse(u, "they end too early");
  const char *bytes = u->at;
  u->at += size;
  return bytes;
}

static uint8_t take_u8(unpacker *u) { return (uint8_t)*take(u, 1); }

static uint32_t take_u32(unpacker *u) {
  uint32_t value;
  memcpy(&value, take(u, sizeof value), sizeof value);
  return value;
}

static int64_t take_i64(unpacker *u) {
  int64_t value;
  memcpy(&value, take(u, sizeof value), sizeof value);
  return value;
}

static const char *take_text(unpacker *u, size_t *length) {
  *length = take_u32(u);
  return take(u, *length);
}

static void unpack_float(unpacker *u) {
  lua_Number value;
  memcpy(&value, take(u, sizeof value), sizeof value);
  lua_pushnumber(u->L, value);
}

static void unpack_text(unpacker *u) {
  size_t length;
  const char *text = take_text(u, &length);
  lua_pushlstring(u->L, text, length);
}

static void enter_level(unpacker *u) {
  luaL_checkstack(u->L, 12, "values nested too deeply");
  if (++u->depth > BIND_PACK_DEPTH) refuse(u, "values are nested too deeply");
}

/* --- Tables --------------------------------------------------------------------------------------------- */

/* Gives the next number to the table, function or program on top of the stack. */
static void number_object(unpacker *u) {
  lua_pushvalue(u->L, -1);
  lua_rawseti(u->L, u->objects, (lua_Integer)++u->nobjects);
}

static void unpack_again(unpacker *u) {
  uint32_t number = take_u32(u);
  if (number >= u->nobjects) refuse(u, "an unknown table, function or program");
  lua_rawgeti(u->L, u->objects, (lua_Integer)number + 1);
}

/* A number that is none equals nothing, so it is no key. */
static int is_key(lua_State *L, int index) {
  return !lua_isnil(L, index) && !(lua_type(L, index) == LUA_TNUMBER && !lua_rawequal(L, index, index));
}

static void unpack_table(unpacker *u) {
  enum { ROOM_AT_ONCE = 1024 }; /* a number that is wrong must not cost memory */
  lua_State *L = u->L;
  enter_level(u);
  uint32_t count = take_u32(u);
  if (count > (uint64_t)(u->end - u->at)) refuse(u, "a list is too long");
  lua_createtable(L, count < ROOM_AT_ONCE ? (int)count : ROOM_AT_ONCE, 0);
  number_object(u);
  for (uint32_t i = 1; i <= count; i++) {
    unpack_value(u);
    lua_rawseti(L, -2, i);
  }
  while (u->at < u->end && *u->at != PACK_END) {
    unpack_value(u);
    if (!is_key(L, -1)) refuse(u, "a key is nil or no number");
    unpack_value(u);
    lua_rawset(L, -3);
  }
  (void)take(u, 1);
  u->depth--;
}

static void unpack_shape(unpacker *u) {
  int64_t shape[BATON_MAX_DIMS];
  int ndim = take_u8(u);
  if (ndim > BATON_MAX_DIMS) refuse(u, "a shape has too many dimensions");
  for (int d = 0; d < ndim; d++) shape[d] = take_i64(u);
  bind_push_shape(u->L, ndim, shape);
}

/* --- Functions, names, tensors -------------------------------------------------------------------------- */

/* Upvalue `n` of the function on top of the stack. */
static void unpack_variable(unpacker *u, int n) {
  lua_State *L = u->L;
  int function = lua_gettop(L);
  uint8_t word = take_u8(u);
  if (word == PACK_VARIABLE) {
    lua_Integer number = (lua_Integer)++u->nvariables;
    lua_pushvalue(L, function);
    lua_rawseti(L, u->variables, number);
    lua_pushinteger(L, n);
    lua_rawseti(L, u->places, number);
    unpack_value(u);
    lua_setupvalue(L, function, n);
    return;
  }
  if (word != PACK_VARIABLE_AGAIN) refuse(u, "an upvalue is missing");
  uint32_t number = take_u32(u);
  if (number >= u->nvariables) refuse(u, "an unknown variable");
  lua_rawgeti(L, u->variables, (lua_Integer)number + 1);
  lua_rawgeti(L, u->places, (lua_Integer)number + 1);
  lua_upvaluejoin(L, function, n, function + 1, (int)lua_tointeger(L, -1));
  lua_settop(L, function);
}

static void unpack_code(unpacker *u) {
  lua_State *L = u->L;
  lua_Debug about;
  size_t length;
  enter_level(u);
  const char *code = take_text(u, &length);
  if (luaL_loadbufferx(L, code, length, "packed function", "b") != LUA_OK) refuse(u, lua_tostring(L, -1));
  number_object(u);
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">u", &about);
  if (take_u8(u) != about.nups) refuse(u, "a function has another number of upvalues");
  for (int n = 1; n <= about.nups; n++) unpack_variable(u, n);
  u->depth--;
}

/* Pushes a module: as it is loaded, or required now. */
static void push_module(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, name) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
  }
  lua_remove(L, -2);
}

/* Pushes a text that begins at a module, takes it apart, and replaces it by what it names. */
static const char *unpack_named(unpacker *u) {
  lua_State *L = u->L;
  size_t length;
  unpack_text(u);
  int text = lua_gettop(L);
  const char *way = lua_tolstring(L, text, &length);
  push_module(L, way);
  for (size_t at = strlen(way) + 1; at <= length; at += strlen(way + at) + 1) {
    if (!lua_istable(L, -1) || lua_getfield(L, -1, way + at) == LUA_TNIL)
      bind_fail(L, BATON_INVALID_ARGUMENT, "module '%s' has no '%s' in the state that the function runs in",
                way, way + at);
    lua_remove(L, -2);
  }
  lua_replace(L, text);
  return way;
}

static void unpack_named_function(unpacker *u) {
  lua_State *L = u->L;
  (void)unpack_named(u);
  if (lua_type(L, -1) != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "\"module:function\" must name a function, not %s",
              bind_describe(L, -1));
}

static void unpack_tensor(unpacker *u) {
  uint32_t position = take_u32(u);
  if (!u->tensors || position >= lua_rawlen(u->L, u->tensors)) refuse(u, "an unknown tensor");
  lua_rawgeti(u->L, u->tensors, (lua_Integer)position + 1);
}

static void unpack_program(unpacker *u) {
  size_t size;
  enter_level(u);
  const char *bytes = take_text(u, &size);
  bind_push_packed_program(u->L, bytes, size);
  number_object(u);
  unpack_value(u);
  bind_set_signature(u->L, -2);
  u->depth--;
}

/* --- Values --------------------------------------------------------------------------------------------- */

static void unpack_state_value(unpacker *u, uint8_t word) {
  if (u->plain) refuse(u, "a value that no result can have");
  switch (word) {
  case PACK_TENSOR: unpack_tensor(u); break;
  case PACK_CODE: unpack_code(u); break;
  case PACK_GLOBALS: lua_rawgeti(u->L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS); break;
  case PACK_NAMED: (void)unpack_named(u); break;
  case PACK_FUNCTION_NAMED: unpack_named_function(u); break;
  case PACK_PROGRAM: unpack_program(u); break;
  default: refuse(u, "an unknown kind of value");
  }
}

static void unpack_value(unpacker *u) {
  lua_State *L = u->L;
  uint8_t word = take_u8(u);
  switch (word) {
  case PACK_NIL: lua_pushnil(L); break;
  case PACK_FALSE: lua_pushboolean(L, 0); break;
  case PACK_TRUE: lua_pushboolean(L, 1); break;
  case PACK_INTEGER: lua_pushinteger(L, take_i64(u)); break;
  case PACK_FLOAT: unpack_float(u); break;
  case PACK_STRING: unpack_text(u); break;
  case PACK_TABLE: unpack_table(u); break;
  case PACK_SHAPE: unpack_shape(u); break;
  case PACK_AGAIN: unpack_again(u); break;
  default: unpack_state_value(u, word);
  }
}

/* --- Packs ---------------------------------------------------------------------------------------------- */

/* Begins with scratch on the stack: three values. */
static void begin(unpacker *u, lua_State *L, const void *data, uint64_t bytes, int kind) {
  luaL_checkstack(L, 16, NULL);
  *u = (unpacker){.L = L, .begin = data, .at = data, .end = (const char *)data + bytes};
  int top = lua_gettop(L);
  for (int i = 0; i < 3; i++) lua_newtable(L);
  u->objects = top + 1;
  u->variables = top + 2;
  u->places = top + 3;
  if (take_u8(u) != PACK_MARK || take_u8(u) != kind) refuse(u, "another kind of pack");
}

static void end(const unpacker *u) {
  if (u->at != u->end) refuse(u, "there is more than the values");
}

/* package.path and package.cpath become those of the state that packed. */
static void unpack_paths(unpacker *u) {
  lua_State *L = u->L;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  int known = lua_getfield(L, -1, "package") == LUA_TTABLE, package = lua_gettop(L);
  unpack_text(u);
  unpack_text(u);
  if (known) {
    lua_setfield(L, package, "cpath");
    lua_setfield(L, package, "path");
  }
  lua_settop(L, package - 2);
}

/* Removes the scratch under what was unpacked. */
static void leave(const unpacker *u) {
  for (int i = 0; i < 3; i++) lua_remove(u->L, u->objects);
}

void bind_unpack_call(lua_State *L, const void *data, uint64_t bytes, int tensors) {
  unpacker u;
  int list = tensors ? lua_absindex(L, tensors) : 0;
  begin(&u, L, data, bytes, PACK_CALL);
  u.tensors = list;
  unpack_paths(&u);
  unpack_value(&u);
  unpack_value(&u);
  end(&u);
  lua_insert(L, -2);
  leave(&u);
}

void bind_unpack_function(lua_State *L, const void *data, uint64_t bytes) {
  unpacker u;
  begin(&u, L, data, bytes, PACK_FUNCTION);
  unpack_paths(&u);
  unpack_value(&u);
  end(&u);
  leave(&u);
}

int bind_unpack_results(lua_State *L, const void *data, uint64_t bytes) {
  unpacker u;
  begin(&u, L, data, bytes, PACK_RESULTS);
  u.plain = 1;
  uint32_t count = take_u32(&u);
  if (count > (uint64_t)(u.end - u.at) || count > INT_MAX) refuse(&u, "too many results");
  luaL_checkstack(L, (int)count + 16, "too many results");
  for (uint32_t i = 0; i < count; i++) unpack_value(&u);
  end(&u);
  leave(&u);
  return (int)count;
}
