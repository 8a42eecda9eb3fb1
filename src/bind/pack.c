#include "bind/pack.h"
#include "base/memory.h"
#include "bind/arguments.h"
#include "bind/node.h"
#include "bind/pack_format.h"
#include "bind/pack_names.h"
#include "bind/program.h"
#include "chip/program/pack.h"
#include <limits.h>
#include <string.h>

_Static_assert(NODE_VALUES_MOST * sizeof(node_value) + sizeof(node_command) + sizeof(node_config) <=
                   NODE_DATA_MOST - BIND_PACK_MOST,
               "a pack and the most values fit one command");

static const char owner_class[] = "baton.pack";

#define CANNOT_CROSS "which cannot go to another state"
#define PASS_HINT                                                                                          \
  "pass what it is needed for: nil, booleans, numbers, strings, tables of those, tensors; a function may " \
  "also capture Lua functions and modules"

/* Owns the bytes of a pack; they go with the userdata. */
typedef struct pack_owner {
  node_bytes bytes, tags;
  chip_text program; /* while one is packed */
} pack_owner;

/* What a packing may meet. */
enum { MAY_TENSORS = 1, MAY_FUNCTIONS = 2, MAY_TAGS = 4 };

typedef struct packer {
  lua_State *L;
  const bind_pack_options *options;
  node_bytes *bytes, *tags; /* tags: one byte for each tensor */
  chip_text *program;       /* scratch; NULL: programs do not cross */
  unsigned may;             /* MAY_* of the part that is being packed */
  int seen; /* stack index: table, function or program -> its number, tensor -> its position, address of a variable -> its number */
  int tensors; /* stack index: the list of tensors */
  int modules; /* stack index: value -> name; nil until it is needed */
  uint32_t objects, variables, ntensors;
  int depth;
} packer;

static void pack_value(packer *p, int index, const pack_place *place);

/* --- Bytes ---------------------------------------------------------------------------------------------- */

/* Room for `size` more bytes; false: too many, or no memory. */
static int make_room(node_bytes *bytes, uint64_t size) {
  if (size > BIND_PACK_MOST - bytes->size) return 0;
  if (bytes->size + size <= bytes->room) return 1;
  uint64_t room = bytes->room ? bytes->room : 256;
  while (room < bytes->size + size) room *= 2;
  char *data = base_realloc(bytes->data, room);
  if (!data) return 0;
  bytes->data = data;
  bytes->room = room;
  return 1;
}

static void raise_no_room(const packer *p, uint64_t size) {
  if (size <= BIND_PACK_MOST - p->bytes->size)
    bind_fail(p->L, BATON_OUT_OF_MEMORY, "%s: no memory for packed values", p->options->who);
  baton_error *err = bind_error(p->L);
  baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: the values take more than %d bytes when they are packed",
                  p->options->who, BIND_PACK_MOST);
  baton_error_text(err, BATON_FIELD_HINT, "large data goes in tensors, which are not copied");
  bind_raise(p->L, err);
}

static void put(packer *p, const void *data, uint64_t size) {
  if (!make_room(p->bytes, size)) raise_no_room(p, size);
  if (size) memcpy(p->bytes->data + p->bytes->size, data, size);
  p->bytes->size += size;
}

static void put_word(packer *p, pack_word word) { put(p, &(uint8_t){(uint8_t)word}, 1); }
static void put_u32(packer *p, uint32_t value) { put(p, &value, sizeof value); }

static void put_text(packer *p, const char *text, size_t length) {
  if (length > BIND_PACK_MOST) raise_no_room(p, length);
  put_u32(p, (uint32_t)length);
  put(p, text, length);
}

/* The text on top of the stack. */
static void put_text_at(packer *p, int index) {
  size_t length;
  const char *text = lua_tolstring(p->L, index, &length);
  put_text(p, text, length);
}

/* --- What cannot cross ---------------------------------------------------------------------------------- */

/* Raises with `what` the value is: "is a baton.worker". */
static void refuse(const packer *p, const pack_place *place, const char *what, const char *hint) {
  const char *title = bind_push_place_title(p->L, p->options->who, place);
  baton_error *err = bind_error(p->L);
  baton_error_set(err, BATON_INVALID_ARGUMENT, "%s %s", title, what);
  if (hint) baton_error_text(err, BATON_FIELD_HINT, "%s", hint);
  bind_raise(p->L, err);
}

static const char *push_kind(lua_State *L, int index) {
  if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING)
    return lua_pushfstring(L, "is a %s, " CANNOT_CROSS, lua_tostring(L, -1));
  switch (lua_type(L, index)) {
  case LUA_TTABLE: return "is a table with a metatable, " CANNOT_CROSS;
  case LUA_TTHREAD: return "is a coroutine, " CANNOT_CROSS;
  default: return lua_pushfstring(L, "is %s, " CANNOT_CROSS, bind_describe(L, index));
  }
}

static void refuse_kind(const packer *p, int index, const pack_place *place) {
  refuse(p, place, push_kind(p->L, index), PASS_HINT);
}

static void enter_level(packer *p, const pack_place *place) {
  luaL_checkstack(p->L, 16, "values nested too deeply");
  if (++p->depth <= BIND_PACK_DEPTH) return;
  while (place->above) place = place->above; /* the whole way would fill pages */
  refuse(p, place, lua_pushfstring(p->L, "is nested deeper than %d levels", BIND_PACK_DEPTH), NULL);
}

/* --- Values seen before --------------------------------------------------------------------------------- */

/* Writes the number of a table, function or program that is in the pack already; false if it is not. */
static int pack_again(packer *p, int index) {
  lua_State *L = p->L;
  lua_pushvalue(L, index);
  int known = lua_rawget(L, p->seen) == LUA_TNUMBER;
  if (known) {
    put_word(p, PACK_AGAIN);
    put_u32(p, (uint32_t)lua_tointeger(L, -1));
  }
  lua_pop(L, 1);
  return known;
}

static void remember(packer *p, int index) {
  lua_pushvalue(p->L, index);
  lua_pushinteger(p->L, (lua_Integer)p->objects++);
  lua_rawset(p->L, p->seen);
}

/* --- Names ---------------------------------------------------------------------------------------------- */

/* Writes the name of a module that is this value; false if none is. */
static int pack_module(packer *p, int index) {
  lua_State *L = p->L;
  if (!(p->may & MAY_FUNCTIONS)) return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  int globals = lua_rawequal(L, -1, index);
  lua_pop(L, 1);
  if (globals) {
    put_word(p, PACK_GLOBALS);
    return 1;
  }
  if (lua_isnil(L, p->modules)) {
    bind_push_module_names(L);
    lua_replace(L, p->modules);
  }
  lua_pushvalue(L, index);
  int known = lua_rawget(L, p->modules) == LUA_TSTRING;
  if (known) {
    put_word(p, PACK_NAMED);
    put_text_at(p, -1);
  }
  lua_pop(L, 1);
  return known;
}

static int pack_field(packer *p, int index) {
  if (!(p->may & MAY_FUNCTIONS) || !bind_push_field_name(p->L, index)) return 0;
  put_word(p, PACK_NAMED);
  put_text_at(p, -1);
  lua_pop(p->L, 1);
  return 1;
}

/* --- Tables --------------------------------------------------------------------------------------------- */

/* The table at `index` is the read-only list that is the shape of a tensor. */
static int pack_shape(packer *p, int index) {
  lua_State *L = p->L;
  if (!bind_push_shape_list(L, index)) return 0;
  uint32_t count = (uint32_t)lua_rawlen(L, -1);
  put_word(p, PACK_SHAPE);
  put(p, &(uint8_t){(uint8_t)count}, 1);
  for (uint32_t i = 0; i < count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    put(p, &(int64_t){lua_tointeger(L, -1)}, sizeof(int64_t));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 1;
}

static void pack_list_part(packer *p, int index, uint32_t count, const pack_place *place) {
  lua_State *L = p->L;
  put_u32(p, count);
  for (uint32_t i = 1; i <= count; i++) {
    lua_pushinteger(L, i);
    lua_rawgeti(L, index, i);
    int top = lua_gettop(L);
    pack_value(p, top, &(pack_place){place, PACK_AT_FIELD, top - 1, NULL});
    lua_pop(L, 2);
  }
}

/* The entries behind the first `count` of a list. */
static void pack_other_part(packer *p, int index, uint32_t count, const pack_place *place) {
  lua_State *L = p->L;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= count) continue;
    int top = lua_gettop(L);
    pack_place here = {place, PACK_AT_FIELD, top - 1, NULL};
    pack_value(p, top - 1, &here);
    pack_value(p, top, &here);
  }
  put_word(p, PACK_END);
}

static void pack_table(packer *p, int index, const pack_place *place) {
  lua_State *L = p->L;
  if (pack_again(p, index) || pack_module(p, index) || pack_shape(p, index)) return;
  if (lua_getmetatable(L, index)) refuse_kind(p, index, place);
  enter_level(p, place);
  remember(p, index);
  put_word(p, PACK_TABLE);
  lua_Unsigned length = lua_rawlen(L, index);
  if (length > BIND_PACK_MOST) raise_no_room(p, length);
  pack_list_part(p, index, (uint32_t)length, place);
  pack_other_part(p, index, (uint32_t)length, place);
  p->depth--;
}

/* --- Functions ------------------------------------------------------------------------------------------ */

/* lua_dump's writer: must not raise. */
static int write_code(lua_State *L, const void *data, size_t size, void *context) {
  node_bytes *bytes = context;
  (void)L;
  if (!make_room(bytes, size)) return 1;
  memcpy(bytes->data + bytes->size, data, size);
  bytes->size += size;
  return 0;
}

static void pack_code(packer *p, int index) {
  uint64_t start = p->bytes->size;
  put_u32(p, 0);
  lua_pushvalue(p->L, index);
  if (lua_dump(p->L, write_code, p->bytes, 0) != 0) raise_no_room(p, BIND_PACK_MOST);
  lua_pop(p->L, 1);
  uint32_t length = (uint32_t)(p->bytes->size - start - sizeof length);
  memcpy(p->bytes->data + start, &length, sizeof length);
}

static void pack_variable(packer *p, int function, int n, const pack_place *place) {
  lua_State *L = p->L;
  void *id = lua_upvalueid(L, function, n);
  if (lua_rawgetp(L, p->seen, id) == LUA_TNUMBER) {
    put_word(p, PACK_VARIABLE_AGAIN);
    put_u32(p, (uint32_t)lua_tointeger(L, -1));
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  lua_pushinteger(L, (lua_Integer)p->variables++);
  lua_rawsetp(L, p->seen, id);
  put_word(p, PACK_VARIABLE);
  const char *name = lua_getupvalue(L, function, n);
  if (strcmp(name, "_ENV") == 0)
    put_word(p, PACK_GLOBALS);
  else
    pack_value(p, lua_gettop(L), &(pack_place){place, PACK_AT_UPVALUE, function, name});
  lua_pop(L, 1);
}

static void pack_lua_function(packer *p, int index, const pack_place *place) {
  lua_State *L = p->L;
  lua_Debug about;
  enter_level(p, place);
  remember(p, index);
  put_word(p, PACK_CODE);
  pack_code(p, index);
  lua_pushvalue(L, index);
  lua_getinfo(L, ">u", &about);
  put(p, &about.nups, 1);
  for (int n = 1; n <= about.nups; n++) pack_variable(p, index, n, place);
  p->depth--;
}

static void pack_function(packer *p, int index, const pack_place *place) {
  if (!(p->may & MAY_FUNCTIONS))
    refuse(p, place,
           p->may & MAY_TAGS ? "is a function, which an argument list cannot have"
                             : "is a function, " CANNOT_CROSS,
           p->may & MAY_TAGS ? "capture it as an upvalue" : NULL);
  if (pack_again(p, index) || pack_module(p, index)) return;
  if (!lua_iscfunction(p->L, index))
    pack_lua_function(p, index, place);
  else if (!pack_field(p, index))
    refuse(p, place, "is a function of C that is in no loaded module, " CANNOT_CROSS, PASS_HINT);
}

/* --- Tensors and what carries them ---------------------------------------------------------------------- */

/* What two mentions of a tensor in the list say together; what a capture says does not count. */
static void merge_tag(packer *p, uint32_t position, uint8_t tag) {
  if (!(p->may & MAY_TAGS)) return;
  char *known = &p->tags->data[position];
  if (*known != (char)tag) *known = BATON_INOUT;
}

static void pack_tensor(packer *p, int index, baton_tag tag) {
  lua_State *L = p->L;
  lua_pushvalue(L, index);
  int known = lua_rawget(L, p->seen) == LUA_TNUMBER;
  uint32_t position = known ? (uint32_t)lua_tointeger(L, -1) : p->ntensors;
  lua_pop(L, 1);
  put_word(p, PACK_TENSOR);
  put_u32(p, position);
  if (known) {
    merge_tag(p, position, (uint8_t)tag);
    return;
  }
  if (!make_room(p->tags, 1)) bind_fail(L, BATON_OUT_OF_MEMORY, "%s: no memory for tensors", p->options->who);
  p->tags->data[p->tags->size++] = (char)tag;
  lua_pushvalue(L, index);
  lua_pushinteger(L, (lua_Integer)position);
  lua_rawset(L, p->seen);
  lua_pushvalue(L, index);
  lua_rawseti(L, p->tensors, (lua_Integer)++p->ntensors);
}

static int is_tensor(const packer *p, int index) {
  return bind_test_tensor(p->L, index) || (p->options->is_tensor && p->options->is_tensor(p->L, index));
}

static void pack_scalar(packer *p, const baton_arg *scalar) {
  if (scalar->dtype == BATON_BOOL) {
    put_word(p, scalar->scalar.i64 ? PACK_TRUE : PACK_FALSE);
    return;
  }
  put_word(p, baton_dtype_is_float(scalar->dtype) ? PACK_FLOAT : PACK_INTEGER);
  put(p, &scalar->scalar.u64, sizeof scalar->scalar.u64);
}

/* A tagged argument: stands for what it carries. */
static void pack_tagged(packer *p, const bind_argument *argument, int index, const pack_place *place) {
  if (!(p->may & MAY_TAGS))
    refuse(p, place, "is a tagged argument, " CANNOT_CROSS, "capture the tensor or the number itself");
  if (argument->fresh)
    refuse(p, place, "asks for memory of the runtime, which a function of the host cannot get",
           "make it with orch.alloc(dtype, shape) and pass baton.output(tensor)");
  if (argument->tag == BATON_SCALAR) {
    pack_scalar(p, &argument->value);
    return;
  }
  lua_getiuservalue(p->L, index, 1);
  int tensor = lua_gettop(p->L);
  if (!is_tensor(p, tensor)) refuse_kind(p, tensor, place);
  pack_tensor(p, tensor, argument->tag);
  lua_pop(p->L, 1);
}

/* --- Programs ------------------------------------------------------------------------------------------- */

static void pack_program(packer *p, int index, const pack_place *place) {
  lua_State *L = p->L;
  unsigned may = p->may;
  if (pack_again(p, index)) return;
  baton_program *program = bind_check_node_program(L, index);
  const char *title = bind_push_place_title(L, p->options->who, place);
  baton_error *err = bind_error(L);
  if (chip_program_pack(program, p->program, err) != BATON_OK) {
    baton_error_context(err, "%s", title);
    bind_raise(L, err);
  }
  lua_pop(L, 1);
  enter_level(p, place);
  remember(p, index);
  put_word(p, PACK_PROGRAM);
  put_text(p, p->program->data, p->program->length);
  chip_text_free(p->program);
  bind_push_signature(L, index);
  p->may = 0;
  pack_value(p, lua_gettop(L), place);
  p->may = may;
  lua_pop(L, 1);
  p->depth--;
}

/* --- Userdata ------------------------------------------------------------------------------------------- */

static void pack_userdata(packer *p, int index, const pack_place *place) {
  const bind_argument *argument = bind_test_argument(p->L, index);
  if (argument) {
    pack_tagged(p, argument, index, place);
    return;
  }
  if (is_tensor(p, index)) {
    if (!(p->may & MAY_TENSORS))
      refuse(p, place, "is a tensor",
             p->may & MAY_FUNCTIONS ? "pass it as an argument of the program"
                                    : "write into a tensor of the arguments");
    pack_tensor(p, index, BATON_UNTAGGED);
    return;
  }
  if (pack_module(p, index) || pack_field(p, index)) return;
  if (!p->program || !luaL_testudata(p->L, index, bind_program_class)) refuse_kind(p, index, place);
  pack_program(p, index, place);
}

/* --- Values --------------------------------------------------------------------------------------------- */

static void pack_number(packer *p, int index) {
  if (lua_isinteger(p->L, index)) {
    put_word(p, PACK_INTEGER);
    put(p, &(lua_Integer){lua_tointeger(p->L, index)}, sizeof(lua_Integer));
  } else {
    put_word(p, PACK_FLOAT);
    put(p, &(lua_Number){lua_tonumber(p->L, index)}, sizeof(lua_Number));
  }
}

static void pack_value(packer *p, int index, const pack_place *place) {
  switch (lua_type(p->L, index)) {
  case LUA_TNIL: put_word(p, PACK_NIL); return;
  case LUA_TBOOLEAN: put_word(p, lua_toboolean(p->L, index) ? PACK_TRUE : PACK_FALSE); return;
  case LUA_TNUMBER: pack_number(p, index); return;
  case LUA_TSTRING:
    put_word(p, PACK_STRING);
    put_text_at(p, index);
    return;
  case LUA_TTABLE: pack_table(p, index, place); return;
  case LUA_TFUNCTION: pack_function(p, index, place); return;
  case LUA_TUSERDATA: pack_userdata(p, index, place); return;
  default:
    if (lua_type(p->L, index) == LUA_TLIGHTUSERDATA && pack_field(p, index)) return;
    refuse_kind(p, index, place);
  }
}

/* --- Packs ---------------------------------------------------------------------------------------------- */

/* Begins a pack with scratch on the stack: three values. */
static void begin(packer *p, lua_State *L, const bind_pack_options *options, node_bytes *bytes, int kind) {
  *p = (packer){.L = L, .options = options, .bytes = bytes};
  luaL_checkstack(L, 16, NULL);
  lua_newtable(L);
  p->seen = lua_gettop(L);
  lua_pushnil(L);
  p->modules = lua_gettop(L);
  put(p, (uint8_t[]){PACK_MARK, (uint8_t)kind}, 2);
}

static int free_owner(lua_State *L) {
  pack_owner *owner = luaL_checkudata(L, 1, owner_class);
  base_free(owner->bytes.data);
  base_free(owner->tags.data);
  chip_text_free(&owner->program);
  *owner = (pack_owner){0};
  return 0;
}

static pack_owner *push_owner(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  pack_owner *owner = lua_newuserdatauv(L, sizeof *owner, 0);
  *owner = (pack_owner){0};
  if (luaL_newmetatable(L, owner_class)) {
    lua_pushcfunction(L, free_owner);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return owner;
}

/* Where modules are looked for. */
static void put_path(packer *p, const char *field) {
  lua_State *L = p->L;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "package") != LUA_TTABLE || lua_getfield(L, -1, field) != LUA_TSTRING)
    put_text(p, "", 0);
  else
    put_text_at(p, -1);
}

static void put_paths(packer *p) {
  int top = lua_gettop(p->L);
  put_path(p, "path");
  lua_settop(p->L, top);
  put_path(p, "cpath");
  lua_settop(p->L, top);
}

/* "module:function". */
static void put_named_function(packer *p, int function) {
  lua_State *L = p->L;
  size_t length;
  const char *text = lua_tolstring(L, function, &length);
  const char *colon = memchr(text, ':', length);
  if (!colon || colon == text || colon + 1 == text + length || strlen(text) != length ||
      strchr(colon + 1, ':'))
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a function or \"module:function\" expected, got \"%s\"",
              p->options->who, text);
  put_word(p, PACK_FUNCTION_NAMED);
  put_u32(p, (uint32_t)length);
  put(p, text, (uint64_t)(colon - text));
  put(p, "", 1);
  put(p, colon + 1, length - (size_t)(colon + 1 - text));
}

static void put_function(packer *p, int function) {
  lua_State *L = p->L;
  if (lua_type(L, function) == LUA_TSTRING) {
    put_named_function(p, function);
    return;
  }
  if (lua_type(L, function) != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a function or \"module:function\" expected, got %s",
              p->options->who, bind_describe(L, function));
  p->may = MAY_FUNCTIONS | (p->may & MAY_TENSORS);
  pack_place place = {NULL, PACK_AT_TOP, 0, "the function"};
  if (lua_iscfunction(L, function))
    pack_function(p, function, &place);
  else
    pack_lua_function(p, function, &place);
}

/* Pushes the table of an argument list. */
static void push_list(lua_State *L, int arguments, const char *who) {
  luaL_checkstack(L, 8, NULL);
  if (!arguments || lua_isnoneornil(L, arguments))
    lua_newtable(L);
  else if (bind_test_class(L, arguments, bind_list_class))
    lua_getiuservalue(L, arguments, 1);
  else
    lua_pushvalue(L, arguments);
  if (lua_type(L, -1) != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a table of arguments expected, got %s", who,
              bind_describe(L, -1));
}

static void put_arguments(packer *p, int list) {
  p->may = MAY_TENSORS | MAY_TAGS;
  pack_table(p, list, &(pack_place){NULL, PACK_AT_TOP, 0, "args"});
}

static void finish(const packer *p, bind_packed *out) {
  *out = (bind_packed){.data = p->bytes->data, .size = p->bytes->size, .ntensors = p->ntensors};
  if (p->tags) out->tags = (const uint8_t *)p->tags->data;
}

void bind_pack_call(lua_State *L, int function, int arguments, const bind_pack_options *options,
                    bind_packed *out) {
  packer p;
  function = lua_absindex(L, function);
  push_list(L, arguments, options->who);
  int list = lua_gettop(L);
  pack_owner *owner = push_owner(L);
  lua_newtable(L);
  int tensors = lua_gettop(L);
  begin(&p, L, options, &owner->bytes, PACK_CALL);
  p.tags = &owner->tags;
  p.program = options->programs ? &owner->program : NULL;
  p.tensors = tensors;
  put_paths(&p);
  put_arguments(&p, list);
  put_function(&p, function);
  finish(&p, out);
  lua_settop(L, tensors);
  lua_remove(L, list);
}

void bind_pack_function(lua_State *L, int function, const char *who, bind_packed *out) {
  packer p;
  const bind_pack_options options = {.who = who};
  function = lua_absindex(L, function);
  pack_owner *owner = push_owner(L);
  int top = lua_gettop(L);
  begin(&p, L, &options, &owner->bytes, PACK_FUNCTION);
  put_paths(&p);
  put_function(&p, function);
  finish(&p, out);
  lua_settop(L, top);
}

void bind_pack_results(lua_State *L, int first, int count, const char *who, node_bytes *out) {
  packer p;
  const bind_pack_options options = {.who = who};
  int top = lua_gettop(L);
  begin(&p, L, &options, out, PACK_RESULTS);
  put_u32(&p, (uint32_t)count);
  for (int i = 0; i < count; i++)
    pack_value(&p, first + i, &(pack_place){NULL, PACK_AT_TOP, i + 1, "result"});
  lua_settop(L, top);
}
