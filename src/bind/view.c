/* What host tensors and device tensors have in common: shapes, dtypes and view operations in Lua's
** counting. */
#include "bind/bind.h"
#include <inttypes.h>
#include <string.h>

/* --- dtypes and numbers --------------------------------------------------------------------------------- */

static const char dtype_list[] = "f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool";

baton_dtype bind_check_dtype(lua_State *L, int arg, const char *name) {
  baton_dtype dtype =
      lua_type(L, arg) == LUA_TSTRING ? baton_dtype_from_name(lua_tostring(L, arg)) : BATON_NO_DTYPE;
  if (!dtype) bind_bad_argument(L, "%s must be one of %s, got %s", name, dtype_list, bind_describe(L, arg));
  return dtype;
}

void bind_push_number(lua_State *L, baton_dtype dtype, baton_number number) {
  if (dtype == BATON_BOOL)
    lua_pushboolean(L, number.value.i64 != 0);
  else if (number.dtype == BATON_F64)
    lua_pushnumber(L, number.value.f64);
  else
    lua_pushinteger(L, number.value.i64);
}

baton_number bind_check_element(lua_State *L, int arg, const char *name, baton_dtype dtype) {
  if (dtype == BATON_BOOL && lua_isboolean(L, arg)) return baton_number_i64(lua_toboolean(L, arg));
  if (lua_type(L, arg) != LUA_TNUMBER)
    bind_bad_argument(L, "%s must be a %s, got %s", name, dtype == BATON_BOOL ? "boolean" : "number",
                      bind_describe(L, arg));
  if (!lua_isinteger(L, arg)) return baton_number_f64(lua_tonumber(L, arg));
  int64_t value = lua_tointeger(L, arg);
  return dtype == BATON_U64 ? baton_number_u64((uint64_t)value) : baton_number_i64(value);
}

/* --- Shapes --------------------------------------------------------------------------------------------- */

static int shape_readonly(lua_State *L) {
  return bind_fail(L, BATON_INVALID_ARGUMENT, "a shape is read-only");
}

/* The list behind a shape is field __index of its metatable. */
static int shape_len(lua_State *L) {
  luaL_getmetafield(L, 1, "__index");
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
  return 1;
}

static int shape_pairs(lua_State *L) {
  lua_getglobal(L, "next");
  luaL_getmetafield(L, 1, "__index");
  return 2;
}

static int shape_eq(lua_State *L) {
  lua_Integer length = luaL_len(L, 1);
  int equal = length == luaL_len(L, 2);
  for (lua_Integer i = 1; i <= length && equal; i++) {
    lua_geti(L, 1, i);
    lua_geti(L, 2, i);
    equal = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  lua_pushboolean(L, equal);
  return 1;
}

static int shape_tostring(lua_State *L) {
  lua_Integer length = luaL_len(L, 1);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  luaL_addchar(&buffer, '{');
  for (lua_Integer i = 1; i <= length; i++) {
    if (i > 1) luaL_addstring(&buffer, ", ");
    lua_geti(L, 1, i);
    luaL_addvalue(&buffer);
  }
  luaL_addchar(&buffer, '}');
  luaL_pushresult(&buffer);
  return 1;
}

static void push_integers(lua_State *L, int count, const int64_t *values) {
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushinteger(L, values[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

void bind_push_shape(lua_State *L, int ndim, const int64_t *shape) {
  static const luaL_Reg metamethods[] = {{"__newindex", shape_readonly}, {"__len", shape_len},
                                         {"__pairs", shape_pairs},       {"__eq", shape_eq},
                                         {"__tostring", shape_tostring}, {NULL, NULL}};
  luaL_checkstack(L, 5, NULL);
  lua_newtable(L);
  luaL_newlib(L, metamethods);
  push_integers(L, ndim, shape);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

int bind_push_shape_list(lua_State *L, int index) {
  luaL_checkstack(L, 3, NULL);
  if (!lua_getmetatable(L, index)) return 0;
  lua_getfield(L, -1, "__newindex");
  int is_shape = lua_tocfunction(L, -1) == shape_readonly;
  lua_pop(L, 1);
  if (is_shape) lua_getfield(L, -1, "__index");
  lua_remove(L, is_shape ? -2 : -1);
  return is_shape;
}

int bind_check_shape(lua_State *L, int arg, const char *name, int64_t shape[BATON_MAX_DIMS]) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    shape[0] = bind_check_integer(L, arg, name, 0, INT64_MAX);
    return 1;
  }
  if (lua_type(L, arg) != LUA_TTABLE)
    bind_bad_argument(L, "%s must be a list of sizes, got %s", name, bind_describe(L, arg));
  lua_Integer ndim = luaL_len(L, arg);
  if (ndim < 0 || ndim > BATON_MAX_DIMS)
    bind_bad_argument(L, "%s must have 0 to %d sizes, got %lld", name, BATON_MAX_DIMS, (long long)ndim);
  for (int d = 0; d < (int)ndim; d++) {
    int good;
    int type = lua_geti(L, arg, d + 1);
    shape[d] = lua_tointegerx(L, -1, &good);
    if (type != LUA_TNUMBER || !good || shape[d] < 0)
      bind_bad_argument(L, "%s[%d] must be an integer of 0 or more, got %s", name, d + 1,
                        bind_describe(L, -1));
    lua_pop(L, 1);
  }
  return (int)ndim;
}

/* --- Fields --------------------------------------------------------------------------------------------- */

int bind_view_field(lua_State *L, const baton_view *view, const char *key) {
  int64_t numel = baton_view_numel(view);
  if (!strcmp(key, "dtype"))
    lua_pushstring(L, baton_dtype_name((baton_dtype)view->dtype));
  else if (!strcmp(key, "ndim"))
    lua_pushinteger(L, view->ndim);
  else if (!strcmp(key, "numel"))
    lua_pushinteger(L, numel);
  else if (!strcmp(key, "nbytes"))
    lua_pushinteger(L, numel * (int64_t)baton_dtype_size((baton_dtype)view->dtype));
  else if (!strcmp(key, "strides"))
    push_integers(L, view->ndim, view->strides);
  else
    return 0;
  return 1;
}

const char *bind_view_text(lua_State *L, const baton_view *view) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  luaL_addstring(&buffer, baton_dtype_name((baton_dtype)view->dtype));
  luaL_addchar(&buffer, '[');
  for (int d = 0; d < view->ndim; d++) {
    if (d > 0) luaL_addchar(&buffer, ',');
    lua_pushinteger(L, view->shape[d]);
    luaL_addvalue(&buffer);
  }
  luaL_addchar(&buffer, ']');
  luaL_pushresult(&buffer);
  return lua_tostring(L, -1);
}

/* --- View operations ------------------------------------------------------------------------------------ */

int bind_check_dim(lua_State *L, const baton_view *view, int arg, const char *name) {
  int good;
  lua_Integer dim = lua_tointegerx(L, arg, &good);
  if (lua_type(L, arg) != LUA_TNUMBER || !good || dim < 1 || dim > view->ndim)
    bind_bad_argument(L, "%s must be one of the %d dimensions of %s, got %s", name, view->ndim,
                      bind_view_text(L, view), bind_describe(L, arg));
  return (int)dim - 1;
}

int64_t bind_view_size(lua_State *L, const baton_view *view, int arg) {
  return view->shape[bind_check_dim(L, view, arg, "dim")];
}

/* `count` elements of dimension `dim`, from `first` on: the arguments at `arg`, whose names are for
** messages. */
static baton_view cut(lua_State *L, baton_view view, int dim, int arg, const char *first_name,
                      const char *count_name) {
  int64_t size = view.shape[dim];
  int64_t first = bind_check_integer(L, arg, first_name, 1, INT64_MAX);
  int64_t count = bind_check_integer(L, arg + 1, count_name, 0, INT64_MAX);
  baton_view result = baton_slice(view, dim, first - 1, count);
  if (!result.dtype) {
    baton_error *err = bind_error(L);
    baton_error_set(err, BATON_OUT_OF_RANGE,
                    "%s: %" PRId64 " elements from %" PRId64
                    " on do not fit dimension %d of %s, which has %" PRId64,
                    bind_function_name(L), count, first, dim + 1, bind_view_text(L, &view), size);
    bind_raise(L, err);
  }
  return result;
}

baton_view bind_view_slice(lua_State *L, const baton_view *view, int arg) {
  int dim = bind_check_dim(L, view, arg, "dim");
  return cut(L, *view, dim, arg + 1, "first", "count");
}

baton_view bind_view_tile(lua_State *L, const baton_view *view, int arg) {
  static const char *const names[2][BATON_MAX_DIMS] = {
      {"first1", "first2", "first3", "first4", "first5", "first6", "first7", "first8"},
      {"count1", "count2", "count3", "count4", "count5", "count6", "count7", "count8"}};
  baton_view result = *view;
  int given = lua_gettop(L) - arg + 1;
  if (given != 2 * view->ndim)
    bind_bad_argument(L, "%s needs %d numbers, a first and a count for each dimension, got %d",
                      bind_view_text(L, view), 2 * view->ndim, given);
  for (int d = 0; d < view->ndim; d++) result = cut(L, result, d, arg + 2 * d, names[0][d], names[1][d]);
  return result;
}

static int64_t check_element(lua_State *L, const baton_view *view, int dim, int arg, const char *name) {
  int64_t index = bind_check_integer(L, arg, name, INT64_MIN, INT64_MAX);
  if (index >= 1 && index <= view->shape[dim]) return index - 1;
  baton_error *err = bind_error(L);
  baton_error_set(err, BATON_OUT_OF_RANGE, "%s: element %" PRId64 " of dimension %d of %s",
                  bind_function_name(L), index, dim + 1, bind_view_text(L, view));
  if (index == 0) baton_error_text(err, BATON_FIELD_HINT, "elements count from 1");
  return bind_raise(L, err);
}

baton_view bind_view_select(lua_State *L, const baton_view *view, int arg) {
  int dim = bind_check_dim(L, view, arg, "dim");
  return baton_select(*view, dim, check_element(L, view, dim, arg + 1, "i"));
}

baton_view bind_view_reshape(lua_State *L, const baton_view *view, int arg) {
  int64_t shape[BATON_MAX_DIMS];
  int ndim = bind_check_shape(L, arg, "shape", shape);
  if (!baton_view_contiguous(view)) {
    baton_error *err = bind_error(L);
    baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: %s is not contiguous", bind_function_name(L),
                    bind_view_text(L, view));
    baton_error_text(err, BATON_FIELD_HINT, "clone it first");
    bind_raise(L, err);
  }
  baton_view result = baton_reshape(*view, ndim, shape);
  if (!result.dtype) {
    baton_view wanted = {.dtype = view->dtype, .ndim = (uint8_t)ndim};
    memcpy(wanted.shape, shape, sizeof *shape * (size_t)ndim);
    bind_bad_argument(L, "%s has %" PRId64 " elements, %s another number", bind_view_text(L, view),
                      baton_view_numel(view), bind_view_text(L, &wanted));
  }
  return result;
}

baton_view bind_view_transpose(lua_State *L, const baton_view *view, int arg) {
  int dim1 = bind_check_dim(L, view, arg, "d1"), dim2 = bind_check_dim(L, view, arg + 1, "d2");
  return baton_transpose(*view, dim1, dim2);
}

void bind_view_index(lua_State *L, const baton_view *view, int arg, int64_t index[BATON_MAX_DIMS]) {
  int given = lua_gettop(L) - arg + 1;
  if (given != view->ndim)
    bind_bad_argument(L, "%s needs %d indices, got %d", bind_view_text(L, view), view->ndim, given);
  for (int d = 0; d < view->ndim; d++) index[d] = check_element(L, view, d, arg + d, "index");
}
