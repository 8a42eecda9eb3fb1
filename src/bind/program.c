/* baton.program: a userdata that holds a program. User values: the Lua function of its graph,
** its name, its signature as Lua wrote it. */
#include "bind/program.h"
#include "bind/node.h"
#include "bind/pack.h"
#include "chip/program/pack.h"
#include "device/device.h"
#include <string.h>

const char bind_program_class[] = "baton.program";

enum { GRAPH = 1, NAME = 2, SIGNATURE = 3, USER_VALUES = 3 };

typedef struct program_userdata {
  baton_program *program; /* NULL: closed */
  int ready;              /* other processes can be sent it */
} program_userdata;

/* ---- graphs: from C back into Lua ---- */

static _Thread_local bind_graph_call *entered;

bind_graph_call *bind_graph_enter(bind_graph_call *call) {
  bind_graph_call *before = entered;
  entered = call;
  return before;
}

static void build_graph(baton_orch *o, const baton_args *args) {
  if (entered)
    entered->build(entered, o, args);
  else
    baton_orch_fail(o, "the graph of a Lua program is built on the thread that submits it from Lua only");
}

/* ---- the class ---- */

baton_program *bind_test_program(lua_State *L, int arg) {
  program_userdata *userdata = luaL_testudata(L, arg, bind_program_class);
  if (userdata && !userdata->program) {
    lua_getiuservalue(L, arg, NAME);
    bind_fail(L, BATON_CLOSED, "program %s is closed", lua_tostring(L, -1));
  }
  return userdata ? userdata->program : NULL;
}

baton_program *bind_check_program(lua_State *L, int arg) {
  baton_program *program = bind_test_program(L, arg);
  if (!program) bind_bad_argument(L, "argument %d must be a program, got %s", arg, bind_describe(L, arg));
  return program;
}

/* The graph function as bytes, made when somebody elsewhere shall call it for the first time: its upvalues are those of now. */
static void attach_script(lua_State *L, int index, const program_userdata *userdata) {
  bind_packed packed;
  int top = lua_gettop(L);
  luaL_checkstack(L, 8, NULL);
  if (!bind_push_graph(L, index)) return;
  bind_pack_function(L, lua_gettop(L), baton_program_name(userdata->program), &packed);
  baton_error *err = bind_error(L);
  if (chip_program_set_script(userdata->program, packed.data, packed.size, err) != BATON_OK)
    bind_raise(L, err);
  lua_settop(L, top);
}

baton_program *bind_ready_program(lua_State *L, int index) {
  program_userdata *userdata = lua_touserdata(L, index);
  if (!userdata->program) (void)bind_test_program(L, index); /* raises */
  if (!userdata->ready) attach_script(L, index, userdata);
  userdata->ready = 1;
  return userdata->program;
}

baton_program *bind_check_node_program(lua_State *L, int index) {
  (void)bind_check_program(L, index);
  return bind_ready_program(L, index);
}

int bind_push_graph(lua_State *L, int arg) {
  if (lua_getiuservalue(L, arg, GRAPH) == LUA_TFUNCTION) return 1;
  lua_pop(L, 1);
  return 0;
}

static int program_close(lua_State *L) { /* :close(), __close and __gc */
  program_userdata *userdata = bind_check_self(L, bind_program_class, "a program");
  baton_program *program = userdata->program;
  userdata->program = NULL;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, GRAPH); /* what the function holds can go */
  baton_program_close(program);
  return 0;
}

/* ---- programs of another state ---- */

void bind_push_signature(lua_State *L, int index) { lua_getiuservalue(L, index, SIGNATURE); }
void bind_set_signature(lua_State *L, int index) { lua_setiuservalue(L, index, SIGNATURE); }

static program_userdata *push_new(lua_State *L) {
  program_userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, USER_VALUES);
  *userdata = (program_userdata){0};
  luaL_setmetatable(L, bind_program_class);
  return userdata;
}

/* Pushes the table of programs by their bytes: they stay, as the node that they are submitted to keeps them anyway. */
static void push_known(lua_State *L) {
  static const char known;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &known) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &known);
}

static void push_unpacked(lua_State *L, const void *bytes, size_t size) {
  uint64_t length;
  program_userdata *userdata = push_new(L);
  baton_error *err = bind_error(L);
  if (chip_program_unpack(bytes, size, build_graph, &userdata->program, err) != BATON_OK) bind_raise(L, err);
  lua_pushstring(L, baton_program_name(userdata->program));
  lua_setiuservalue(L, -2, NAME);
  userdata->ready = 1;
  const void *script = chip_program_script(userdata->program, &length);
  if (!script) return;
  bind_unpack_function(L, script, length);
  lua_setiuservalue(L, -2, GRAPH);
}

void bind_push_packed_program(lua_State *L, const void *bytes, size_t size) {
  luaL_checkstack(L, 8, NULL);
  push_known(L);
  int known = lua_gettop(L);
  lua_pushlstring(L, bytes, size);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, known) != LUA_TUSERDATA || !((program_userdata *)lua_touserdata(L, -1))->program) {
    lua_pop(L, 1);
    push_unpacked(L, bytes, size);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, known);
  }
  lua_replace(L, known);
  lua_settop(L, known);
}

/* ---- methods ---- */

/* The platform must exist; all that there are run the same code. */
static void check_platform(lua_State *L, int arg, const baton_program *program) {
  const char *name = bind_check_string(L, arg, "platform");
  for (uint32_t i = 0; device_platforms(i); i++)
    if (strcmp(device_platforms(i)->name, name) == 0) return;
  bind_fail(L, BATON_UNSUPPORTED, "%s: there is no platform '%s'", baton_program_name(program), name);
}

static int program_compile(lua_State *L) { /* program:compile([platform]) */
  baton_program *program = bind_check_program(L, 1);
  if (!lua_isnoneornil(L, 2)) check_platform(L, 2, program);
  baton_error *err = bind_error(L);
  return baton_program_compile(program, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int program_forget(lua_State *L) { /* program:forget() */
  baton_program_forget(bind_check_program(L, 1));
  return 0;
}

static int program_tostring(lua_State *L) {
  program_userdata *userdata = luaL_checkudata(L, 1, bind_program_class);
  lua_getiuservalue(L, 1, NAME);
  lua_pushfstring(L, "program %s%s", lua_tostring(L, -1), userdata->program ? "" : " (closed)");
  return 1;
}

/* The runtimes that carry the program, the default one first. */
static void push_runtimes(lua_State *L, const baton_program *program) {
  const char *name;
  lua_createtable(L, 3, 0);
  for (uint32_t i = 0; program && (name = baton_program_runtime(program, i)) != NULL; i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* Methods stand in upvalue 1. */
static int program_index(lua_State *L) {
  const program_userdata *userdata = luaL_checkudata(L, 1, bind_program_class);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "name") == 0)
    lua_getiuservalue(L, 1, NAME);
  else if (strcmp(key, "signature") == 0)
    lua_getiuservalue(L, 1, SIGNATURE);
  else if (strcmp(key, "runtimes") == 0)
    push_runtimes(L, userdata->program);
  else
    lua_pushnil(L);
  return 1;
}

static int program_new(lua_State *L) { /* baton.program(options) -> program */
  baton_program_options options;
  bind_check_table(L, 1, "options");
  lua_settop(L, 1);
  lua_newtable(L); /* 2: what the options point to */
  int graph = bind_read_program(L, 2, &options);
  baton_error *err = bind_error(L);
  program_userdata *userdata = push_new(L);
  lua_pushstring(L, options.name);
  lua_setiuservalue(L, -2, NAME);
  lua_getfield(L, 1, "signature");
  lua_setiuservalue(L, -2, SIGNATURE);
  if (graph) {
    lua_pushvalue(L, -2);
    lua_setiuservalue(L, -2, GRAPH);
    options.orchestrate = build_graph;
    options.graph = 1;
  }
  if (baton_program_create(&options, &userdata->program, err) != BATON_OK) return bind_raise(L, err);
  return 1;
}

void bind_open_program(lua_State *L) {
  static const luaL_Reg functions[] = {{"program", program_new}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"compile", program_compile}, {"forget", program_forget}, {"close", program_close}, {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__gc", program_close}, {"__close", program_close}, {"__tostring", program_tostring}, {NULL, NULL}};
  bind_open_class(L, bind_program_class, "program", events, (const luaL_Reg *const[]){methods, NULL},
                  program_index);
  bind_functions(L, "baton", functions);
}
