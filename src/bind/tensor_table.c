/* Tensors from nested lists, and back. */
#include "bind/tensor.h"
#include <string.h>

/* What a walk over nested lists knows. */
typedef struct list_walk {
  lua_State *L;
  int ndim;
  int64_t shape[BATON_MAX_DIMS];
  int64_t at[BATON_MAX_DIMS]; /* position, from 0 */
  int floats, integers, booleans;
  baton_dtype dtype;
  baton_tensor *tensor;
} list_walk;

/* Raises invalid_argument "tensor.from: [2][3] what". */
static void bad_element(const list_walk *walk, int depth, const char *expected) {
  luaL_Buffer place;
  const char *got = lua_type(walk->L, -1) == LUA_TTABLE
                        ? lua_pushfstring(walk->L, "a list of %I", (LUAI_UACINT)luaL_len(walk->L, -1))
                        : bind_describe(walk->L, -1);
  luaL_buffinit(walk->L, &place);
  for (int d = 0; d < depth; d++) {
    lua_pushfstring(walk->L, "[%I]", (LUAI_UACINT)walk->at[d] + 1);
    luaL_addvalue(&place);
  }
  luaL_pushresult(&place);
  bind_bad_argument(walk->L, "%s must be %s, got %s", depth ? lua_tostring(walk->L, -1) : "the value",
                    expected, got);
}

/* The shape along the first elements of the value on top of the stack. */
static void find_shape(list_walk *walk) {
  lua_State *L = walk->L;
  int top = lua_gettop(L);
  while (lua_type(L, -1) == LUA_TTABLE) {
    if (walk->ndim == BATON_MAX_DIMS) bind_bad_argument(L, "lists are nested deeper than %d", BATON_MAX_DIMS);
    walk->shape[walk->ndim] = luaL_len(L, -1);
    if (walk->shape[walk->ndim++] == 0) break;
    lua_geti(L, -1, 1);
  }
  lua_settop(L, top);
}

static void note_kind(list_walk *walk, int depth) {
  lua_State *L = walk->L;
  if (lua_isboolean(L, -1))
    walk->booleans = 1;
  else if (lua_type(L, -1) != LUA_TNUMBER)
    bad_element(walk, depth, "a number or a boolean");
  else if (lua_isinteger(L, -1))
    walk->integers = 1;
  else
    walk->floats = 1;
}

static void store_element(list_walk *walk) {
  lua_State *L = walk->L;
  baton_number value = bind_check_element(L, lua_gettop(L), "an element", walk->dtype);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_set(walk->tensor, walk->at, value, err), err);
}

/* Visits every element of the value on top of the stack: notes its kind, or once there is a tensor stores
** it. */
static void visit(list_walk *walk, int depth) {
  lua_State *L = walk->L;
  if (depth == walk->ndim) {
    if (walk->tensor)
      store_element(walk);
    else
      note_kind(walk, depth);
    return;
  }
  luaL_checkstack(L, 6, NULL);
  if (lua_type(L, -1) != LUA_TTABLE || luaL_len(L, -1) != walk->shape[depth]) {
    lua_pushfstring(L, "a list of %I", (LUAI_UACINT)walk->shape[depth]);
    lua_insert(L, -2);
    bad_element(walk, depth, lua_tostring(L, -2));
  }
  for (walk->at[depth] = 0; walk->at[depth] < walk->shape[depth]; walk->at[depth]++) {
    lua_geti(L, -1, walk->at[depth] + 1);
    visit(walk, depth + 1);
    lua_pop(L, 1);
  }
}

static baton_dtype natural_dtype(const list_walk *walk) {
  if (walk->booleans && (walk->floats || walk->integers))
    bind_bad_argument(walk->L, "numbers and booleans are mixed");
  return walk->booleans ? BATON_BOOL : walk->floats || !walk->integers ? BATON_F64 : BATON_I64;
}

int bind_tensor_from(lua_State *L) {
  list_walk walk = {.L = L};
  if (!lua_isnoneornil(L, 2)) walk.dtype = bind_check_dtype(L, 2, "dtype");
  lua_settop(L, 1);
  find_shape(&walk);
  visit(&walk, 0);
  if (!walk.dtype) walk.dtype = natural_dtype(&walk);
  baton_error *err = bind_error(L);
  baton_tensor **tensor = bind_new_tensor(L);
  bind_check_status(L, baton_tensor_empty(walk.dtype, walk.ndim, walk.shape, tensor, err), err);
  walk.tensor = *tensor;
  lua_pushvalue(L, 1);
  visit(&walk, 0);
  lua_settop(L, 2);
  return 1;
}

static void push_elements(list_walk *walk, int depth) {
  lua_State *L = walk->L;
  if (depth == walk->ndim) {
    baton_number value;
    baton_error *err = bind_error(L);
    bind_check_status(L, baton_tensor_get(walk->tensor, walk->at, &value, err), err);
    bind_push_number(L, walk->dtype, value);
    return;
  }
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, walk->shape[depth] < 1 << 20 ? (int)walk->shape[depth] : 0, 0);
  for (walk->at[depth] = 0; walk->at[depth] < walk->shape[depth]; walk->at[depth]++) {
    push_elements(walk, depth + 1);
    lua_rawseti(L, -2, walk->at[depth] + 1);
  }
}

int bind_tensor_totable(lua_State *L) {
  list_walk walk = {.L = L, .tensor = bind_check_tensor(L, 1)};
  const baton_view *view = baton_tensor_view(walk.tensor);
  walk.ndim = view->ndim;
  walk.dtype = (baton_dtype)view->dtype;
  memcpy(walk.shape, view->shape, sizeof walk.shape);
  push_elements(&walk, 0);
  return 1;
}
