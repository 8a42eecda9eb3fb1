/* The noun "tensor": arithmetic, reductions, choosing, comparison. Each function is a method too. */
#include "bind/tensor.h"
#include "tensor/storage.h"
#include <inttypes.h>
#include <math.h>

/* --- Arithmetic ----------------------------------------------------------------------------------------- */

/* A tensor, or a number for a tensor of `dtype`. */
static baton_operand check_operand(lua_State *L, int arg, baton_dtype dtype) {
  baton_tensor *tensor = bind_test_tensor(L, arg);
  if (tensor) return baton_operand_tensor(tensor);
  if (lua_type(L, arg) != LUA_TNUMBER && !(dtype == BATON_BOOL && lua_isboolean(L, arg)))
    bind_bad_argument(L, "argument %d must be a tensor or a number, got %s", arg, bind_describe(L, arg));
  return baton_operand_number(bind_check_element(L, arg, "the number", dtype));
}

/* The type that a number at the other place takes. */
static baton_dtype dtype_of(lua_State *L, int arg) {
  baton_tensor *tensor = bind_test_tensor(L, arg);
  return tensor ? (baton_dtype)baton_tensor_view(tensor)->dtype : BATON_NO_DTYPE;
}

typedef baton_status (*binary_function)(baton_operand a, baton_operand b, baton_tensor **out,
                                        baton_error *err);
typedef baton_status (*in_place_function)(baton_tensor *tensor, baton_operand b, baton_error *err);
typedef baton_status (*unary_function)(const baton_tensor *tensor, baton_tensor **out, baton_error *err);
typedef baton_status (*reduce_function)(const baton_tensor *tensor, int dim, int keep, baton_tensor **out,
                                        baton_error *err);

static int binary(lua_State *L, binary_function function) {
  baton_operand a = check_operand(L, 1, dtype_of(L, 2)), b = check_operand(L, 2, dtype_of(L, 1));
  baton_error *err = bind_error(L);
  bind_check_status(L, function(a, b, bind_new_tensor(L), err), err);
  return 1;
}

static int in_place(lua_State *L, in_place_function function) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  baton_operand b = check_operand(L, 2, dtype_of(L, 1));
  baton_error *err = bind_error(L);
  bind_check_status(L, function(tensor, b, err), err);
  lua_settop(L, 1);
  return 1;
}

static int unary(lua_State *L, unary_function function) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  baton_error *err = bind_error(L);
  bind_check_status(L, function(tensor, bind_new_tensor(L), err), err);
  return 1;
}

#define BINARY(name) \
  static int math_##name(lua_State *L) { return binary(L, baton_tensor_##name); }
#define IN_PLACE(name) \
  static int math_##name(lua_State *L) { return in_place(L, baton_tensor_##name); }
#define UNARY(name) \
  static int math_##name(lua_State *L) { return unary(L, baton_tensor_##name); }

BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(maximum)
BINARY(minimum)
BINARY(lt)
BINARY(le)
BINARY(eq)
IN_PLACE(add_)
IN_PLACE(sub_)
IN_PLACE(mul_)
IN_PLACE(div_)
UNARY(neg)
UNARY(abs)
UNARY(exp)
UNARY(log)
UNARY(sqrt)

static int math_where(lua_State *L) {
  baton_tensor *condition = bind_check_tensor(L, 1);
  baton_operand a = check_operand(L, 2, dtype_of(L, 3)), b = check_operand(L, 3, dtype_of(L, 2));
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_where(condition, a, b, bind_new_tensor(L), err), err);
  return 1;
}

static int math_matmul(lua_State *L) {
  baton_tensor *a = bind_check_tensor(L, 1), *b = bind_check_tensor(L, 2);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_matmul(a, b, bind_new_tensor(L), err), err);
  return 1;
}

/* --- Along a dimension ---------------------------------------------------------------------------------- */

/* The option `keep` of argument 3, which is the last. */
static int keep_option(lua_State *L) {
  static const char *const names[] = {"keep", NULL};
  lua_settop(L, 3); /* what is pushed from here on is no argument */
  bind_check_options(L, 3, bind_function_name(L), names);
  return bind_option_boolean(L, 3, "keep", 0);
}

/* Pushes the one element of the tensor on top of the stack. */
static int push_single(lua_State *L, const baton_tensor *tensor) {
  baton_number value;
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_get(tensor, NULL, &value, err), err);
  bind_push_number(L, (baton_dtype)baton_tensor_view(tensor)->dtype, value);
  return 1;
}

/* f(t) -> number; f(t, dim [, {keep=}]) -> tensor. */
static int reduce(lua_State *L, reduce_function function) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  int whole = lua_isnoneornil(L, 2), dim = BATON_ALL_DIMS, keep = 0;
  if (!whole) {
    dim = bind_check_dim(L, baton_tensor_view(tensor), 2, "dim");
    keep = keep_option(L);
  }
  baton_error *err = bind_error(L);
  baton_tensor **out = bind_new_tensor(L);
  bind_check_status(L, function(tensor, dim, keep, out, err), err);
  return whole ? push_single(L, *out) : 1;
}

static int math_sum(lua_State *L) { return reduce(L, baton_tensor_sum); }
static int math_mean(lua_State *L) { return reduce(L, baton_tensor_mean); }
static int math_max(lua_State *L) { return reduce(L, baton_tensor_max); }
static int math_min(lua_State *L) { return reduce(L, baton_tensor_min); }

/* Positions of C, from 0, become those of Lua. */
static void count_from_one(lua_State *L, baton_tensor *positions) {
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_add_(positions, baton_operand_number(baton_number_i64(1)), err), err);
}

static int math_argmax(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  int dim = bind_check_dim(L, baton_tensor_view(tensor), 2, "dim"), keep = keep_option(L);
  baton_error *err = bind_error(L);
  baton_tensor **out = bind_new_tensor(L);
  bind_check_status(L, baton_tensor_argmax(tensor, dim, keep, out, err), err);
  count_from_one(L, *out);
  return 1;
}

static int math_topk(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  const baton_view *view = baton_tensor_view(tensor);
  int64_t count = bind_check_integer(L, 2, "k", 0, INT64_MAX);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_pushinteger(L, view->ndim);
    lua_replace(L, 3);
  }
  int dim = bind_check_dim(L, view, 3, "dim");
  baton_error *err = bind_error(L);
  baton_tensor **values = bind_new_tensor(L), **positions = bind_new_tensor(L);
  bind_check_status(L, baton_tensor_topk(tensor, count, dim, values, positions, err), err);
  count_from_one(L, *positions);
  return 2;
}

static int math_softmax(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  int dim = bind_check_dim(L, baton_tensor_view(tensor), 2, "dim");
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_softmax(tensor, dim, bind_new_tensor(L), err), err);
  return 1;
}

/* index(t, dim, positions): a tensor of integers, or a list of them. */
static int math_index(lua_State *L) {
  lua_settop(L, 3);
  if (lua_type(L, 3) == LUA_TTABLE) {
    lua_pushcfunction(L, bind_tensor_from);
    lua_insert(L, 3);
    lua_pushliteral(L, "i64");
    lua_call(L, 2, 1);
  }
  baton_tensor *tensor = bind_check_tensor(L, 1), *positions = bind_check_tensor(L, 3);
  int dim = bind_check_dim(L, baton_tensor_view(tensor), 2, "dim");
  baton_error *err = bind_error(L);
  bind_check_status(L, tensor_index(tensor, dim, positions, 1, bind_new_tensor(L), err), err);
  return 1;
}

enum { CONCAT_MAX = 1 << 16 };

/* Pushes the tensors to be joined as an array that the stack keeps: argument 1 if it is a tensor, then
** argument `list`, which is a list of tensors or one. Elements are read raw, so that no metamethod can close
** a tensor. */
static const baton_tensor **push_tensors(lua_State *L, int list, int *count) {
  int method = list == 2, single = method && bind_test_tensor(L, 2);
  if (!single) bind_check_table(L, list, "tensors");
  lua_Unsigned length = single ? 1 : lua_rawlen(L, list);
  if (length > CONCAT_MAX) bind_bad_argument(L, "at most %d tensors can be joined", CONCAT_MAX);
  *count = (int)length + method;
  if (*count == 0) bind_bad_argument(L, "tensors must not be empty");
  const baton_tensor **tensors = lua_newuserdatauv(L, (size_t)*count * sizeof *tensors, 0);
  if (method) tensors[0] = bind_check_tensor(L, 1);
  if (single) tensors[1] = bind_check_tensor(L, 2);
  for (int i = 1; i <= (int)length && !single; i++) {
    lua_rawgeti(L, list, i);
    baton_tensor *tensor = bind_test_tensor(L, -1);
    if (!tensor) bind_bad_argument(L, "tensors[%d] must be a tensor, got %s", i, bind_describe(L, -1));
    tensors[method + i - 1] = tensor;
    lua_pop(L, 1);
  }
  return tensors;
}

/* concat({t, …} [, dim]), or as a method t:concat({u, …} | u [, dim]). */
static int math_concat(lua_State *L) {
  int list = bind_test_tensor(L, 1) ? 2 : 1, count, dim = 0;
  lua_settop(L, list + 1);
  const baton_tensor **tensors = push_tensors(L, list, &count);
  if (!lua_isnil(L, list + 1)) dim = bind_check_dim(L, baton_tensor_view(tensors[0]), list + 1, "dim");
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_concat(tensors, count, dim, bind_new_tensor(L), err), err);
  return 1;
}

/* --- Comparison ----------------------------------------------------------------------------------------- */

static const char report_class[] = "baton.tensor report";

/* "3 of 100 elements differ, the worst at [2,5]: got 1.5, want 1.0, 0.5 apart" */
static int report_tostring(lua_State *L) {
  static const char *const fields[] = {"differ", "numel", "got", "want", "distance"};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "index");
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (lua_Integer i = 1, count = luaL_len(L, 2); i <= count; i++) {
    if (i > 1) luaL_addchar(&buffer, ',');
    lua_geti(L, 2, i);
    luaL_tolstring(L, -1, NULL);
    lua_remove(L, -2);
    luaL_addvalue(&buffer);
  }
  luaL_pushresult(&buffer);
  const char *texts[5];
  for (int i = 0; i < 5; i++) {
    lua_getfield(L, 1, fields[i]);
    texts[i] = luaL_tolstring(L, -1, NULL);
  }
  lua_pushfstring(L, "%s of %s elements differ, the worst at [%s]: got %s, want %s, %s apart", texts[0],
                  texts[1], lua_tostring(L, 3), texts[2], texts[3], texts[4]);
  return 1;
}

static void push_report(lua_State *L, const baton_difference *difference, const baton_view *got,
                        const baton_view *want) {
  lua_createtable(L, 0, 6);
  lua_pushinteger(L, difference->count);
  lua_setfield(L, -2, "differ");
  lua_pushinteger(L, difference->numel);
  lua_setfield(L, -2, "numel");
  lua_pushnumber(L, difference->distance);
  lua_setfield(L, -2, "distance");
  bind_push_number(L, (baton_dtype)got->dtype, difference->got);
  lua_setfield(L, -2, "got");
  bind_push_number(L, (baton_dtype)want->dtype, difference->want);
  lua_setfield(L, -2, "want");
  lua_createtable(L, got->ndim, 0);
  for (int d = 0; d < got->ndim; d++) {
    lua_pushinteger(L, difference->index[d] + 1);
    lua_rawseti(L, -2, d + 1);
  }
  lua_setfield(L, -2, "index");
  if (luaL_newmetatable(L, report_class)) {
    lua_pushcfunction(L, report_tostring);
    lua_setfield(L, -2, "__tostring");
  }
  lua_setmetatable(L, -2);
}

static int math_allclose(lua_State *L) {
  static const char *const names[] = {"rtol", "atol", "equal_nan", NULL};
  baton_tensor *got = bind_check_tensor(L, 1), *want = bind_check_tensor(L, 2);
  bind_check_options(L, 3, "tensor.allclose", names);
  baton_tolerance tolerance = {.rtol = bind_option_number(L, 3, "rtol", 0, HUGE_VAL, BATON_RTOL),
                               .atol = bind_option_number(L, 3, "atol", 0, HUGE_VAL, BATON_ATOL),
                               .equal_nan = bind_option_boolean(L, 3, "equal_nan", 0)};
  baton_difference difference;
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_allclose(got, want, &tolerance, &difference, err), err);
  lua_pushboolean(L, difference.count == 0);
  if (difference.count == 0) return 1;
  push_report(L, &difference, baton_tensor_view(got), baton_tensor_view(want));
  return 2;
}

/* --- Tables --------------------------------------------------------------------------------------------- */

const luaL_Reg bind_tensor_math[] = {{"add", math_add},
                                     {"sub", math_sub},
                                     {"mul", math_mul},
                                     {"div", math_div},
                                     {"add_", math_add_},
                                     {"sub_", math_sub_},
                                     {"mul_", math_mul_},
                                     {"div_", math_div_},
                                     {"maximum", math_maximum},
                                     {"minimum", math_minimum},
                                     {"lt", math_lt},
                                     {"le", math_le},
                                     {"eq", math_eq},
                                     {"neg", math_neg},
                                     {"abs", math_abs},
                                     {"exp", math_exp},
                                     {"log", math_log},
                                     {"sqrt", math_sqrt},
                                     {"where", math_where},
                                     {"matmul", math_matmul},
                                     {"sum", math_sum},
                                     {"mean", math_mean},
                                     {"max", math_max},
                                     {"min", math_min},
                                     {"argmax", math_argmax},
                                     {"topk", math_topk},
                                     {"softmax", math_softmax},
                                     {"index", math_index},
                                     {"concat", math_concat},
                                     {"allclose", math_allclose},
                                     {NULL, NULL}};

const luaL_Reg bind_tensor_operators[] = {{"__add", math_add}, {"__sub", math_sub}, {"__mul", math_mul},
                                          {"__div", math_div}, {"__unm", math_neg}, {NULL, NULL}};
