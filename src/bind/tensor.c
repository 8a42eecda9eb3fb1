/* The noun "tensor": the object, makers, views, elements, files. */
#include "bind/tensor.h"
#include <math.h>
#include <string.h>

static const char tensor_class[] = "baton.tensor";

/* User value 1 of the userdata is its shape, once somebody asked for it. */
typedef struct tensor_object {
  baton_tensor *tensor; /* NULL: closed */
} tensor_object;

/* --- The object ----------------------------------------------------------------------------------------- */

baton_tensor **bind_new_tensor(lua_State *L) {
  luaL_checkstack(L, 3, NULL);
  tensor_object *object = lua_newuserdatauv(L, sizeof *object, 1);
  object->tensor = NULL;
  luaL_setmetatable(L, tensor_class);
  return &object->tensor;
}

static int new_tensor(lua_State *L) {
  bind_new_tensor(L);
  return 1;
}

void bind_push_tensor(lua_State *L, baton_tensor *tensor) {
  int status = LUA_ERRMEM;
  if (lua_checkstack(L, 4)) {
    lua_pushcfunction(L, new_tensor);
    status = lua_pcall(L, 0, 1, 0);
    if (status == LUA_OK) {
      ((tensor_object *)lua_touserdata(L, -1))->tensor = tensor;
      return;
    }
    baton_tensor_close(tensor);
    lua_error(L);
  }
  baton_tensor_close(tensor);
  bind_fail(L, BATON_OUT_OF_MEMORY, "no room on the Lua stack for a tensor");
}

const void *bind_tensor_metatable(lua_State *L) { return bind_class_metatable(L, tensor_class); }

baton_tensor *const *bind_tensor_place(const void *userdata) {
  return &((const tensor_object *)userdata)->tensor;
}

static tensor_object *test_object(lua_State *L, int arg) { return bind_test_class(L, arg, tensor_class); }

static baton_tensor *open_tensor(lua_State *L, const tensor_object *object) {
  if (!object->tensor) bind_fail(L, BATON_CLOSED, "the tensor is closed");
  return object->tensor;
}

baton_tensor *bind_test_tensor(lua_State *L, int arg) {
  tensor_object *object = test_object(L, arg);
  return object ? open_tensor(L, object) : NULL;
}

baton_tensor *bind_check_tensor(lua_State *L, int arg) {
  tensor_object *object = test_object(L, arg);
  if (!object) bind_bad_argument(L, "argument %d must be a tensor, got %s", arg, bind_describe(L, arg));
  return open_tensor(L, object);
}

/* close(), __close and __gc. */
static int tensor_close(lua_State *L) {
  tensor_object *object = test_object(L, 1);
  if (!object) return bind_bad_argument(L, "argument 1 must be a tensor, got %s", bind_describe(L, 1));
  baton_tensor_close(object->tensor);
  object->tensor = NULL;
  return 0;
}

/* The shape is made once, so that `t.shape == t.shape` and a loop over it costs one table. */
static void push_shape(lua_State *L, const baton_view *view) {
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) return;
  lua_pop(L, 1);
  bind_push_shape(L, view->ndim, view->shape);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, 1);
}

/* Methods come from upvalue 1; what is none is a field. */
static int tensor_field(lua_State *L) {
  tensor_object *object = luaL_checkudata(L, 1, tensor_class);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  const baton_view *view = baton_tensor_view(open_tensor(L, object));
  if (!strcmp(key, "shape"))
    push_shape(L, view);
  else if (!bind_view_field(L, view, key))
    return bind_fail(L, BATON_INVALID_ARGUMENT, "a tensor has no field '%s'", bind_describe(L, 2));
  return 1;
}

static int tensor_newindex(lua_State *L) {
  baton_error *err = bind_error(L);
  baton_error_set(err, BATON_INVALID_ARGUMENT, "field '%s' of a tensor cannot be assigned",
                  bind_describe(L, 2));
  baton_error_text(err, BATON_FIELD_HINT, "elements are set with t:set(value, i, …)");
  return bind_raise(L, err);
}

static int tensor_tostring(lua_State *L) {
  tensor_object *object = luaL_checkudata(L, 1, tensor_class);
  luaL_Buffer buffer;
  if (!object->tensor) {
    lua_pushliteral(L, "closed tensor");
    return 1;
  }
  size_t size = baton_tensor_text(object->tensor, NULL, 0) + 1;
  char *text = luaL_buffinitsize(L, &buffer, size);
  size_t length = baton_tensor_text(object->tensor, text, size);
  luaL_pushresultsize(&buffer, length < size ? length : size - 1); /* a run may have changed it in between */
  return 1;
}

/* --- Makers --------------------------------------------------------------------------------------------- */

/* dtype and shape: arguments 1 and 2 of every maker. */
typedef struct maker {
  baton_dtype dtype;
  int ndim;
  int64_t shape[BATON_MAX_DIMS];
} maker;

static maker check_maker(lua_State *L) {
  maker made = {.dtype = bind_check_dtype(L, 1, "dtype")};
  made.ndim = bind_check_shape(L, 2, "shape", made.shape);
  return made;
}

static int make(lua_State *L,
                baton_status (*create)(baton_dtype, int, const int64_t *, baton_tensor **, baton_error *)) {
  maker m = check_maker(L);
  baton_error *err = bind_error(L);
  bind_check_status(L, create(m.dtype, m.ndim, m.shape, bind_new_tensor(L), err), err);
  return 1;
}

static int make_empty(lua_State *L) { return make(L, baton_tensor_empty); }
static int make_zeros(lua_State *L) { return make(L, baton_tensor_zeros); }
static int make_arange(lua_State *L) { return make(L, baton_tensor_arange); }

static int make_full(lua_State *L) {
  maker m = check_maker(L);
  baton_number value = bind_check_element(L, 3, "value", m.dtype);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_full(m.dtype, m.ndim, m.shape, value, bind_new_tensor(L), err), err);
  return 1;
}

static uint64_t seed_option(lua_State *L, int table) {
  return (uint64_t)bind_option_integer(L, table, "seed", INT64_MIN, INT64_MAX, 0);
}

static int make_uniform(lua_State *L) {
  static const char *const names[] = {"lo", "hi", "seed", NULL};
  maker m = check_maker(L);
  bind_check_options(L, 3, "tensor.uniform", names);
  double lo = bind_option_number(L, 3, "lo", -HUGE_VAL, HUGE_VAL, 0);
  double hi = bind_option_number(L, 3, "hi", -HUGE_VAL, HUGE_VAL, 1);
  uint64_t seed = seed_option(L, 3);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_uniform(m.dtype, m.ndim, m.shape, lo, hi, seed, bind_new_tensor(L), err),
                    err);
  return 1;
}

static int make_normal(lua_State *L) {
  static const char *const names[] = {"mean", "std", "seed", NULL};
  maker m = check_maker(L);
  bind_check_options(L, 3, "tensor.normal", names);
  double mean = bind_option_number(L, 3, "mean", -HUGE_VAL, HUGE_VAL, 0);
  double deviation = bind_option_number(L, 3, "std", -HUGE_VAL, HUGE_VAL, 1);
  uint64_t seed = seed_option(L, 3);
  baton_error *err = bind_error(L);
  bind_check_status(
      L, baton_tensor_normal(m.dtype, m.ndim, m.shape, mean, deviation, seed, bind_new_tensor(L), err), err);
  return 1;
}

static int make_load(lua_State *L) {
  const char *path = bind_check_string(L, 1, "path");
  const char *key = lua_isnoneornil(L, 2) ? NULL : bind_check_string(L, 2, "key");
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_load(path, key, bind_new_tensor(L), err), err);
  return 1;
}

/* --- Views ---------------------------------------------------------------------------------------------- */

static int tensor_size(lua_State *L) {
  lua_pushinteger(L, bind_view_size(L, baton_tensor_view(bind_check_tensor(L, 1)), 2));
  return 1;
}

static int view_with(lua_State *L, baton_view (*operation)(lua_State *, const baton_view *, int)) {
  const baton_view from = *baton_tensor_view(bind_check_tensor(L, 1));
  baton_view view = operation(L, &from, 2);
  baton_error *err = bind_error(L);
  baton_tensor **out = bind_new_tensor(L);
  /* again: a metamethod of the arguments may have closed it */
  bind_check_status(L, baton_tensor_from_view(bind_check_tensor(L, 1), &view, out, err), err);
  return 1;
}

static int tensor_slice(lua_State *L) { return view_with(L, bind_view_slice); }
static int tensor_view(lua_State *L) { return view_with(L, bind_view_tile); }
static int tensor_select(lua_State *L) { return view_with(L, bind_view_select); }
static int tensor_reshape(lua_State *L) { return view_with(L, bind_view_reshape); }
static int tensor_transpose(lua_State *L) { return view_with(L, bind_view_transpose); }

/* --- Elements ------------------------------------------------------------------------------------------- */

static int tensor_get(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  const baton_view *view = baton_tensor_view(tensor);
  int64_t index[BATON_MAX_DIMS];
  baton_number value;
  bind_view_index(L, view, 2, index);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_get(tensor, index, &value, err), err);
  bind_push_number(L, (baton_dtype)view->dtype, value);
  return 1;
}

static int tensor_set(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  const baton_view *view = baton_tensor_view(tensor);
  int64_t index[BATON_MAX_DIMS];
  baton_number value = bind_check_element(L, 2, "value", (baton_dtype)view->dtype);
  bind_view_index(L, view, 3, index);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_set(tensor, index, value, err), err);
  return 0;
}

/* Ends a function that changed argument 1, which is its result. */
static int return_self(lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

static int tensor_fill(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  baton_number value = bind_check_element(L, 2, "value", (baton_dtype)baton_tensor_view(tensor)->dtype);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_fill(tensor, value, err), err);
  return return_self(L);
}

static int tensor_copy(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1), *from = bind_check_tensor(L, 2);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_copy(tensor, from, err), err);
  return return_self(L);
}

static int tensor_clone(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_clone(tensor, bind_new_tensor(L), err), err);
  return 1;
}

static int tensor_cast(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  baton_dtype dtype = bind_check_dtype(L, 2, "dtype");
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_cast(tensor, dtype, bind_new_tensor(L), err), err);
  return 1;
}

static int tensor_save(lua_State *L) {
  baton_tensor *tensor = bind_check_tensor(L, 1);
  const char *path = bind_check_string(L, 2, "path");
  baton_error *err = bind_error(L);
  bind_check_status(L, baton_tensor_save(tensor, path, err), err);
  return 0;
}

/* --- The module ----------------------------------------------------------------------------------------- */

static const luaL_Reg makers[] = {
    {"empty", make_empty},      {"zeros", make_zeros},     {"full", make_full},
    {"arange", make_arange},    {"uniform", make_uniform}, {"normal", make_normal},
    {"from", bind_tensor_from}, {"load", make_load},       {NULL, NULL}};

static const luaL_Reg methods[] = {{"close", tensor_close},
                                   {"size", tensor_size},
                                   {"slice", tensor_slice},
                                   {"view", tensor_view},
                                   {"select", tensor_select},
                                   {"reshape", tensor_reshape},
                                   {"transpose", tensor_transpose},
                                   {"get", tensor_get},
                                   {"set", tensor_set},
                                   {"totable", bind_tensor_totable},
                                   {"clone", tensor_clone},
                                   {"cast", tensor_cast},
                                   {"copy", tensor_copy},
                                   {"fill", tensor_fill},
                                   {"save", tensor_save},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", tensor_close},
                                       {"__close", tensor_close},
                                       {"__tostring", tensor_tostring},
                                       {"__newindex", tensor_newindex},
                                       {NULL, NULL}};

static void make_class(lua_State *L) {
  bind_new_class(L, tensor_class);
  luaL_setfuncs(L, metamethods, 0);
  luaL_setfuncs(L, bind_tensor_operators, 0);
  lua_newtable(L);
  bind_functions(L, "tensor", methods);
  bind_functions(L, "tensor", bind_tensor_math);
  lua_pushcclosure(L, tensor_field, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void bind_open_tensor(lua_State *L) {
  make_class(L);
  lua_newtable(L);
  bind_functions(L, "tensor", makers);
  bind_functions(L, "tensor", methods);
  bind_functions(L, "tensor", bind_tensor_math);
  lua_setfield(L, -2, "tensor");
}
