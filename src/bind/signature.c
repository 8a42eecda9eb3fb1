/* Signatures as Lua writes them: {name, direction [, dtype [, shape]]} for a tensor, {name, dtype} for a
** scalar. */
#include "bind/program.h"
#include <string.h>

static const char *const dtype_names[] = {"any", "f64", "f32", "f16", "bf16", "i64",  "i32", "i16",
                                          "i8",  "u64", "u32", "u16", "u8",   "bool", NULL};

/* Where in a signature the reader is, for messages: "gemm: parameter 2 (B)". */
typedef struct place {
  lua_State *L;
  const char *who;
  uint32_t number;
  const char *name;
} place;

/* Raises invalid_argument "WHO: parameter N (NAME): EXPECTED expected, got VALUE" about the value on top. */
static int unexpected(const place *at, const char *expected) {
  return bind_fail(at->L, BATON_INVALID_ARGUMENT, "%s: parameter %u (%s): %s expected, got %s", at->who,
                   at->number, at->name, expected, bind_describe(at->L, -1));
}

static uint32_t unknown_dtype(const place *at, const char *word) {
  const char *nearest = bind_nearest(word, dtype_names);
  baton_error *err = bind_error(at->L);
  baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: parameter %u (%s): there is no dtype '%s'%s%s%s", at->who,
                  at->number, at->name, word, nearest ? ", did you mean '" : "", nearest ? nearest : "",
                  nearest ? "'?" : "");
  return (uint32_t)bind_raise(at->L, err);
}

/* The set for the name on top of the stack; 0 for "any". */
static uint32_t read_dtype(const place *at) {
  if (lua_type(at->L, -1) != LUA_TSTRING) return (uint32_t)unexpected(at, "a dtype");
  const char *word = lua_tostring(at->L, -1);
  if (strcmp(word, "any") == 0) return 0;
  baton_dtype dtype = baton_dtype_from_name(word);
  return dtype == BATON_NO_DTYPE ? unknown_dtype(at, word) : 1u << dtype;
}

/* The set for what is on top of the stack: nil, a name or a list of names. */
static uint32_t read_dtypes(const place *at) {
  lua_State *L = at->L;
  uint32_t dtypes = 0;
  if (lua_isnil(L, -1)) return 0;
  if (lua_type(L, -1) != LUA_TTABLE) return read_dtype(at);
  lua_Unsigned count = lua_rawlen(L, -1);
  if (count == 0) return (uint32_t)unexpected(at, "a dtype or a list of them");
  for (lua_Unsigned i = 1; i <= count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    uint32_t one = read_dtype(at);
    lua_pop(L, 1);
    if (one == 0) return 0;
    dtypes |= one;
  }
  return dtypes;
}

static void read_dim(const place *at, baton_dim *dim) {
  lua_State *L = at->L;
  if (lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) > 0) {
    dim->name = lua_tostring(L, -1);
  } else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0) {
    dim->size = lua_tointeger(L, -1);
  } else {
    unexpected(at, "a size, a name or \"*\" as dimension");
  }
  lua_pop(L, 1);
}

static void read_shape(const place *at, baton_parameter *param) {
  lua_State *L = at->L;
  if (lua_isnil(L, -1)) return;
  if (lua_type(L, -1) != LUA_TTABLE) unexpected(at, "a shape, a list of sizes and names,");
  lua_Unsigned ndim = lua_rawlen(L, -1);
  if (ndim > BATON_MAX_DIMS)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: parameter %u (%s): at most %d dimensions expected, got %d",
              at->who, at->number, at->name, BATON_MAX_DIMS, (int)ndim);
  param->has_shape = 1;
  param->ndim = (int32_t)ndim;
  for (lua_Unsigned d = 0; d < ndim; d++) {
    lua_rawgeti(L, -1, (lua_Integer)d + 1);
    read_dim(at, &param->shape[d]);
  }
}

static baton_direction direction_of(const char *word) {
  return !word                        ? BATON_ANY_DIRECTION
         : strcmp(word, "in") == 0    ? BATON_IN
         : strcmp(word, "out") == 0   ? BATON_OUT
         : strcmp(word, "inout") == 0 ? BATON_IN_OUT
                                      : BATON_BY_VALUE;
}

/* Raises for keys beyond 1 … `count`: a typing error must not change what is checked. */
static void check_places(const place *at, int entry, int count) {
  lua_State *L = at->L;
  for (lua_pushnil(L); lua_next(L, entry); lua_pop(L, 1)) {
    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= count) continue;
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: parameter %u (%s): [%s] does not belong here", at->who,
              at->number, at->name, bind_describe(L, -2));
  }
}

/* One entry, which is on top of the stack. */
static void read_parameter(place *at, baton_parameter *param) {
  lua_State *L = at->L;
  int entry = lua_gettop(L);
  if (lua_type(L, entry) != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT,
              "%s: parameter %u: {name, direction, dtype, shape} or {name, dtype} expected, "
              "got %s",
              at->who, at->number, bind_describe(L, entry));
  if (lua_rawgeti(L, entry, 1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: parameter %u: a name expected first, got %s", at->who,
              at->number, bind_describe(L, -1));
  param->name = at->name = lua_tostring(L, -1);
  int type = lua_rawgeti(L, entry, 2);
  if (type == LUA_TNIL) unexpected(at, "\"in\", \"out\", \"inout\" or a scalar's dtype");
  param->direction = type == LUA_TSTRING ? direction_of(lua_tostring(L, -1)) : BATON_BY_VALUE;
  check_places(at, entry, param->direction == BATON_BY_VALUE ? 2 : 4);
  if (param->direction == BATON_BY_VALUE) {
    param->dtypes = read_dtypes(at);
  } else {
    lua_rawgeti(L, entry, 3);
    param->dtypes = read_dtypes(at);
    lua_rawgeti(L, entry, 4);
    read_shape(at, param);
  }
  lua_settop(L, entry);
}

const baton_parameter *bind_read_signature(lua_State *L, int anchor, int table, const char *who,
                                           uint32_t *count) {
  luaL_checkstack(L, 12, NULL);
  table = lua_absindex(L, table);
  *count = 0;
  lua_pushliteral(L, "signature");
  int type = lua_rawget(L, table);
  if (type != LUA_TTABLE && type != LUA_TNIL)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field 'signature' must be a list, got %s", who,
              bind_describe(L, -1));
  lua_Unsigned length = type == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
  baton_parameter *params = NULL;
  if (type == LUA_TTABLE) params = bind_scratch(L, anchor, (size_t)(length + 1) * sizeof *params);
  place at = {.L = L, .who = who};
  for (lua_Unsigned i = 0; i < length; i++) {
    at.number = (uint32_t)i + 1;
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    read_parameter(&at, &params[i]);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  *count = (uint32_t)length;
  return params;
}
