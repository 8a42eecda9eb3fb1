/* Argument lists, and the tags baton.input, output, inout, no_dep and scalar. */
#include "bind/arguments.h"
#include "bind/worker.h"
#include <string.h>

const char bind_argument_class[] = "baton.argument";
const char bind_list_class[] = "baton.args";

const bind_argument *bind_test_argument(lua_State *L, int index) {
  return bind_test_class(L, index, bind_argument_class);
}

static bind_argument *push_argument(lua_State *L, baton_tag tag) {
  bind_argument *argument = lua_newuserdatauv(L, sizeof *argument, 1);
  memset(argument, 0, sizeof *argument);
  argument->tag = tag;
  luaL_setmetatable(L, bind_argument_class);
  return argument;
}

/* Tensors of the host and of devices are both userdata; which one fits is checked where the tag is used. */
static int tag_tensor(lua_State *L, baton_tag tag) {
  if (lua_type(L, 1) != LUA_TUSERDATA || bind_test_argument(L, 1))
    bind_bad_argument(L, "a tensor expected, got %s", bind_describe(L, 1));
  push_argument(L, tag);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static int tag_input(lua_State *L) { return tag_tensor(L, BATON_INPUT); }
static int tag_inout(lua_State *L) { return tag_tensor(L, BATON_INOUT); }
static int tag_no_dep(lua_State *L) { return tag_tensor(L, BATON_NO_DEP); }

/* baton.output(t), or baton.output{dtype, shape}: memory of the runtime. */
static int tag_output(lua_State *L) {
  if (lua_type(L, 1) != LUA_TTABLE) return tag_tensor(L, BATON_OUTPUT);
  lua_settop(L, 1);
  lua_rawgeti(L, 1, 1);
  lua_rawgeti(L, 1, 2);
  bind_argument *argument = push_argument(L, BATON_OUTPUT);
  argument->fresh = 1;
  argument->value.dtype = bind_check_dtype(L, 2, "the type");
  argument->value.view.dtype = (uint8_t)argument->value.dtype;
  argument->value.view.ndim = (uint8_t)bind_check_shape(L, 3, "the shape", argument->value.view.shape);
  return 1;
}

static int make_scalar(lua_State *L) {
  baton_dtype dtype = bind_check_dtype(L, 1, "the type");
  baton_arg number;
  if (bind_test_argument(L, 2) || !bind_to_scalar(L, 2, &number))
    bind_bad_argument(L, "a number or a boolean expected, got %s", bind_describe(L, 2));
  chip_value value = {.dtype = number.dtype, .scalar = {.u64 = number.scalar.u64}};
  chip_parameter parameter = {.name = "value", .direction = BATON_BY_VALUE, .dtypes = 1u << dtype};
  chip_signature signature = {.count = 1, .items = &parameter};
  baton_error *err = bind_error(L);
  if (chip_signature_check(&signature, "scalar", &value, 1, err) != BATON_OK) return bind_raise(L, err);
  number.dtype = value.dtype;
  number.scalar.u64 = value.scalar.u64;
  bind_push_scalar(L, number);
  return 1;
}

/* --- Prepared lists --------------------------------------------------------------------------------------------- */

int bind_is_list(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TTABLE || bind_test_class(L, index, bind_list_class) != NULL;
}

static int make_list(lua_State *L) { /* baton.args{…}: its own copy of the entries */
  uint32_t count = 0;
  bind_check_table(L, 1, "the list");
  lua_newtable(L);
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, 1); count++) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, table);
  }
  bind_list *list = lua_newuserdatauv(L, sizeof *list + count * sizeof *list->items, 1);
  list->graph = 0;
  list->count = count;
  lua_pushvalue(L, table);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, bind_list_class);
  return 1;
}

static int list_index(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

/* Replaces one entry; a list neither grows nor shrinks. */
static int list_newindex(lua_State *L) {
  bind_list *list = luaL_checkudata(L, 1, bind_list_class);
  lua_getiuservalue(L, 1, 1);
  lua_pushvalue(L, 2);
  int known = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 1);
  if (!known || lua_isnil(L, 3))
    bind_fail(L, BATON_SIGNATURE, "baton.args: %s %s",
              known ? "an entry cannot be removed:" : "there is no entry", bind_describe(L, 2));
  list->graph = 0;
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return 0;
}

static int list_length(lua_State *L) {
  lua_getiuservalue(L, 1, 1);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
  return 1;
}

void bind_tag_tensor(lua_State *L, baton_tag tag) {
  push_argument(L, tag);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, 1);
}

void bind_push_scalar(lua_State *L, baton_arg scalar) { push_argument(L, BATON_SCALAR)->value = scalar; }

static int argument_tostring(lua_State *L) {
  static const char *const words[] = {"", "input", "output", "inout", "no_dep", "scalar"};
  const bind_argument *argument = luaL_checkudata(L, 1, bind_argument_class);
  lua_pushfstring(L, "baton.%s(…)", words[argument->tag]);
  return 1;
}

int bind_to_scalar(lua_State *L, int index, baton_arg *out) {
  const bind_argument *argument;
  out->tag = BATON_SCALAR;
  out->view.argument = 0;
  out->view.mark = 0;
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
    out->dtype = lua_isinteger(L, index) ? BATON_I64 : BATON_F64;
    if (out->dtype == BATON_I64)
      out->scalar.i64 = lua_tointeger(L, index);
    else
      out->scalar.f64 = lua_tonumber(L, index);
    return 1;
  case LUA_TBOOLEAN:
    out->dtype = BATON_BOOL;
    out->scalar.i64 = lua_toboolean(L, index);
    return 1;
  default:
    argument = bind_test_argument(L, index);
    if (!argument || argument->tag != BATON_SCALAR) return 0;
    *out = argument->value;
    return 1;
  }
}

static int raise_count(lua_State *L, const chip_signature *signature, const char *who, int count) {
  return bind_fail(L, BATON_SIGNATURE, "%s: %u arguments expected, got %d", who, signature->count, count);
}

/* Pushes the fields of a keyed list in signature order. `keys`: how many entries the table has. */
static int push_named(lua_State *L, int index, const chip_signature *signature, const char *who, int keys) {
  luaL_checkstack(L, (int)signature->count + 4, "too many arguments");
  for (uint32_t i = 0; i < signature->count; i++)
    if (lua_getfield(L, index, signature->items[i].name) == LUA_TNIL)
      bind_fail(L, BATON_SIGNATURE, "%s: argument %u (%s) is missing", who, i + 1, signature->items[i].name);
  if (keys == (int)signature->count) {
    lua_remove(L, index);
    return keys;
  }
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
    if (lua_type(L, -2) != LUA_TSTRING || chip_signature_find(signature, lua_tostring(L, -2)) < 0)
      bind_fail(L, BATON_SIGNATURE, "%s: no argument is named %s", who, bind_describe(L, -2));
  return raise_count(L, signature, who, keys);
}

/* Puts the table of a list on top of the stack. */
static int push_list(lua_State *L, int index) {
  luaL_checkstack(L, 4, NULL);
  if (bind_test_class(L, index, bind_list_class))
    lua_getiuservalue(L, index, 1);
  else
    lua_pushvalue(L, index);
  return lua_gettop(L);
}

int bind_push_arguments(lua_State *L, int index, const chip_signature *signature, const char *who) {
  int keys = 0, named = 0, table = push_list(L, index);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1), keys++) named |= lua_type(L, -2) == LUA_TSTRING;
  if (named) {
    if (signature) return push_named(L, table, signature, who, keys);
    bind_fail(L, BATON_SIGNATURE, "%s: arguments by name need a signature; without one pass them in order",
              who);
  }
  luaL_checkstack(L, keys, "too many arguments");
  for (int i = 1; i <= keys; i++)
    if (lua_rawgeti(L, table, i) == LUA_TNIL)
      bind_fail(L, BATON_SIGNATURE, "%s: the list has %d entries, but not at position %d", who, keys, i);
  lua_remove(L, table);
  return keys;
}

void bind_to_value(lua_State *L, int index, int position, const chip_signature *signature, const char *who,
                   baton_value *value) {
  baton_arg scalar;
  memset(value, 0, sizeof *value);
  if (bind_to_scalar(L, index, &scalar)) {
    value->dtype = scalar.dtype;
    value->scalar.u64 = scalar.scalar.u64;
    return;
  }
  value->tensor = bind_test_tensor(L, index);
  if (value->tensor || bind_test_child(L, index, value)) return;
  int named = signature && (uint32_t)position < signature->count;
  bind_fail(L, BATON_SIGNATURE, "%s: argument %d%s%s%s: a host tensor or a number expected, got %s", who,
            position + 1, named ? " (" : "", named ? signature->items[position].name : "", named ? ")" : "",
            bind_describe(L, index));
}

void bind_to_values(lua_State *L, int first, int count, const chip_signature *signature, const char *who,
                    baton_value *values) {
  for (int i = 0; i < count; i++) bind_to_value(L, first + i, i, signature, who, &values[i]);
}

void bind_open_arguments(lua_State *L) {
  static const luaL_Reg list_meta[] = {
      {"__index", list_index}, {"__newindex", list_newindex}, {"__len", list_length}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"args", make_list},  {"input", tag_input},   {"output", tag_output},
                                       {"inout", tag_inout}, {"no_dep", tag_no_dep}, {"scalar", make_scalar},
                                       {NULL, NULL}};
  bind_new_class(L, bind_argument_class);
  lua_pushcfunction(L, argument_tostring);
  lua_setfield(L, -2, "__tostring");
  bind_new_class(L, bind_list_class);
  luaL_setfuncs(L, list_meta, 0);
  lua_pop(L, 2);
  bind_functions(L, "baton", functions);
}
