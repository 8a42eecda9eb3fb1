/* Handles in Lua: programs that were registered with a worker or a node. */
#include "bind/node.h"
#include "bind/program.h"
#include "bind/worker.h"
#include "chip/program/program.h"
#include "chip/registry.h"
#include "node/node.h"

static const char handle_class[] = "baton.handle";
static const char hold_class[] = "baton.program_hold";

/* User value 1 is the program that was registered, 2 keeps the worker or node. */
typedef struct handle_userdata {
  baton_worker *worker; /* of a chip … */
  baton_node *node;     /* … or of a node; both NULL: it was collected */
  baton_handle handle;
  baton_program *program; /* of a node: a hold; NULL: unregistered */
} handle_userdata;

static handle_userdata *check_handle(lua_State *L, int arg) {
  handle_userdata *userdata = luaL_testudata(L, arg, handle_class);
  if (!userdata) bind_bad_argument(L, "a handle expected, got %s", bind_describe(L, arg));
  if (!userdata->worker && !userdata->node) bind_fail(L, BATON_CLOSED, "the handle was collected");
  return userdata;
}

/* A new handle of the worker or node at index 1 and the program at index 2. */
static handle_userdata *push_handle(lua_State *L) {
  handle_userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 2);
  *userdata = (handle_userdata){0};
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 2);
  luaL_setmetatable(L, handle_class);
  return userdata;
}

/* Pushes the handle of that number which there is already; false, with nothing pushed: none. */
static int push_known(lua_State *L, int handles, baton_handle handle) {
  if (lua_rawgeti(L, handles, (lua_Integer)handle) != LUA_TNIL) return 1;
  lua_pop(L, 1);
  return 0;
}

static void remember(lua_State *L, int handles, baton_handle handle) {
  lua_pushvalue(L, -1);
  lua_rawseti(L, handles, (lua_Integer)handle);
}

static int
worker_register(lua_State *L) { /* worker:register(program) -> handle; the same for equal content */
  baton_worker *worker = bind_check_worker(L, 1);
  baton_program *program = bind_check_program(L, 2);
  baton_handle handle;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1); /* the handles by number */
  baton_error *err = bind_error(L);
  if (baton_worker_register(worker, program, &handle, err) != BATON_OK) return bind_raise(L, err);
  if (push_known(L, 3, handle)) return 1;
  handle_userdata *userdata = push_handle(L);
  userdata->worker = worker;
  userdata->handle = handle;
  remember(L, 3, handle);
  return 1;
}

static int worker_unregister(lua_State *L) { /* worker:unregister(handle) */
  baton_worker *worker = bind_check_worker(L, 1);
  const handle_userdata *userdata = check_handle(L, 2);
  if (userdata->worker != worker)
    bind_fail(L, BATON_WRONG_DEVICE, "unregister: the handle belongs to another worker");
  const char *place = bind_push_place(L);
  baton_error *err = bind_error(L);
  if (chip_worker_unregister(worker, userdata->handle, place, err) == BATON_OK) return 0;
  baton_error_context(err, "unregister");
  return bind_raise(L, err);
}

/* --- Nodes ---------------------------------------------------------------------------------------------- */

static int node_register(lua_State *L) { /* node:register(program) -> handle; the same for equal content */
  baton_node *node = bind_check_node(L, 1);
  baton_program *program = bind_check_node_program(L, 2);
  baton_handle handle;
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1); /* the handles by number */
  baton_error *err = bind_error(L);
  if (baton_node_register(node, program, &handle, err) != BATON_OK) return bind_raise(L, err);
  if (push_known(L, 3, handle)) return 1;
  handle_userdata *userdata = push_handle(L);
  err = bind_error(L);
  if (baton_node_program(node, handle, &userdata->program, err) != BATON_OK) return bind_raise(L, err);
  userdata->node = node;
  userdata->handle = handle;
  remember(L, 3, handle);
  return 1;
}

/* Dead from now on; `place` is where in Lua. */
static baton_status end_node_handle(handle_userdata *userdata, const char *place, baton_error *err) {
  baton_program_close(userdata->program);
  userdata->program = NULL;
  return node_unregister(userdata->node, userdata->handle, place, err);
}

static int node_unregister_handle(lua_State *L) { /* node:unregister(handle) */
  baton_node *node = bind_check_node(L, 1);
  handle_userdata *userdata = check_handle(L, 2);
  if (userdata->node != node)
    bind_fail(L, BATON_WRONG_DEVICE, "unregister: the handle belongs to another worker");
  const char *place = bind_push_place(L);
  baton_error *err = bind_error(L);
  if (end_node_handle(userdata, place, err) == BATON_OK) return 0;
  baton_error_context(err, "unregister");
  return bind_raise(L, err);
}

/* Raises why there is no program behind the handle. */
static void refuse_handle(lua_State *L, handle_userdata *userdata) {
  baton_error *err = bind_error(L);
  if (baton_node_program(userdata->node, userdata->handle, &userdata->program, err) != BATON_OK)
    bind_raise(L, err);
}

baton_program *bind_test_node_handle(lua_State *L, int index, const baton_node *node) {
  handle_userdata *userdata = luaL_testudata(L, index, handle_class);
  if (!userdata) return NULL;
  if (userdata->node != node) bind_fail(L, BATON_WRONG_DEVICE, "the handle belongs to another worker");
  if (!userdata->program) refuse_handle(L, userdata);
  return userdata->program;
}

/* --- All handles ---------------------------------------------------------------------------------------- */

static int handle_close(lua_State *L) { /* :close() and __close; one that is dead already stays so */
  handle_userdata *userdata = check_handle(L, 1);
  if (userdata->worker)
    (void)chip_worker_unregister(userdata->worker, userdata->handle, bind_push_place(L), NULL);
  if (userdata->program) (void)end_node_handle(userdata, bind_push_place(L), NULL);
  return 0;
}

static int handle_collect(lua_State *L) { /* __gc: before that of the worker, which is older */
  handle_userdata *userdata = luaL_checkudata(L, 1, handle_class);
  if (userdata->worker) (void)chip_worker_unregister(userdata->worker, userdata->handle, NULL, NULL);
  if (userdata->program) (void)end_node_handle(userdata, NULL, NULL);
  *userdata = (handle_userdata){0};
  return 0;
}

static int handle_tostring(lua_State *L) {
  (void)check_handle(L, 1);
  lua_getiuservalue(L, 1, 1);
  lua_pushfstring(L, "handle of %s", luaL_tolstring(L, -1, NULL));
  return 1;
}

/* --- Running by handle ---------------------------------------------------------------------------------- */

void bind_program_release(bind_program_hold *hold) {
  if (!hold) return;
  baton_program_close(hold->program);
  hold->program = NULL;
}

static int hold_collect(lua_State *L) {
  bind_program_release(luaL_checkudata(L, 1, hold_class));
  return 0;
}

bind_program_hold *bind_resolve_handle(lua_State *L, baton_worker *worker, int index) {
  const handle_userdata *userdata = luaL_testudata(L, index, handle_class);
  if (!userdata) return NULL;
  if (userdata->worker != worker) bind_fail(L, BATON_WRONG_DEVICE, "the handle belongs to another worker");
  bind_program_hold *hold = lua_newuserdatauv(L, sizeof *hold, 0);
  hold->program = NULL;
  luaL_setmetatable(L, hold_class);
  baton_error *err = bind_error(L);
  if (baton_worker_program(worker, userdata->handle, &hold->program, err) != BATON_OK) bind_raise(L, err);
  lua_getiuservalue(L, index, 1);
  lua_replace(L, index);
  if (chip_program_is_graph(hold->program))
    (void)bind_check_program(L, index); /* a closed one lost its function */
  return hold;
}

const luaL_Reg bind_handle_methods[] = {
    {"register", worker_register}, {"unregister", worker_unregister}, {NULL, NULL}};
const luaL_Reg bind_node_handle_methods[] = {
    {"register", node_register}, {"unregister", node_unregister_handle}, {NULL, NULL}};

void bind_open_handles(lua_State *L) {
  static const luaL_Reg methods[] = {{"close", handle_close}, {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__close", handle_close}, {"__gc", handle_collect}, {"__tostring", handle_tostring}, {NULL, NULL}};
  bind_open_class(L, handle_class, "handle", events, (const luaL_Reg *const[]){methods, NULL}, NULL);
  luaL_newmetatable(L, hold_class);
  lua_pushcfunction(L, hold_collect);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
