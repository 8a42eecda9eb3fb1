/* Nodes: what is asked of them as a whole. User value 1: handles by number. */
#include "bind/node.h"
#include "base/dump.h"
#include "base/log.h"
#include "bind/worker.h"
#include "bind/worker_options.h"
#include <string.h>

static const char node_class[] = "baton.node";

typedef struct node_userdata {
  baton_node *node; /* NULL: it never opened */
  int closed;
  base_dumpable dumpable;
} node_userdata;

static node_userdata *check_userdata(lua_State *L, int arg) {
  node_userdata *userdata = luaL_testudata(L, arg, node_class);
  if (!userdata) bind_bad_argument(L, "a node expected, got %s", bind_describe(L, arg));
  if (!userdata->node) bind_fail(L, BATON_CLOSED, "the node is closed");
  return userdata;
}

baton_node *bind_check_node(lua_State *L, int arg) { return check_userdata(L, arg)->node; }

uint32_t bind_check_worker_id(lua_State *L, int arg) {
  int good;
  lua_Integer worker = lua_tointegerx(L, arg, &good);
  if (good && lua_type(L, arg) == LUA_TNUMBER && worker >= 0 && worker <= INT32_MAX) return (uint32_t)worker;
  return (uint32_t)bind_check_integer(L, arg, "the worker", 0, BATON_NODE_WORKERS - 1); /* raises */
}

/* --- Life ----------------------------------------------------------------------------------------------- */

/* What is to be prewarmed must be ready to be sent. */
static void prepare_programs(lua_State *L) {
  if (lua_getfield(L, 1, "prewarm") == LUA_TTABLE)
    for (lua_Integer i = 1, count = (lua_Integer)lua_rawlen(L, -1); i <= count; i++) {
      lua_rawgeti(L, -1, i);
      (void)bind_check_node_program(L, lua_gettop(L));
      lua_pop(L, 1);
    }
  lua_pop(L, 1);
}

static size_t dump(void *node, char *text, size_t size) { return baton_node_dump(node, text, size); }

int bind_open_node_worker(lua_State *L) {
  bind_node_options read;
  bind_read_node_options(L, &read);
  prepare_programs(L);
  node_userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 1);
  *userdata = (node_userdata){0};
  luaL_setmetatable(L, node_class);
  bind_push_weak_table(L);
  lua_setiuservalue(L, -2, 1);
  baton_error *err = bind_error(L);
  if (baton_node_open(&read.options, &userdata->node, err) != BATON_OK) return bind_raise(L, err);
  userdata->dumpable.dump = dump;
  userdata->dumpable.of = userdata->node;
  base_dumpable_add(&userdata->dumpable);
  return 1;
}

static baton_status shut_down(node_userdata *userdata, baton_error *err) {
  baton_status status = baton_node_shutdown(userdata->node, err);
  userdata->closed |= status != BATON_STATE;
  if (userdata->closed) base_dumpable_remove(&userdata->dumpable);
  return status;
}

static int node_close(lua_State *L) { /* :close(): what failed while draining is raised, once */
  node_userdata *userdata = check_userdata(L, 1);
  baton_error *err = bind_error(L);
  return shut_down(userdata, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int node_end(lua_State *L) { /* __close: what fails is logged; the object stays */
  node_userdata *userdata = luaL_checkudata(L, 1, node_class);
  baton_error *err = bind_error(L);
  if (userdata->node && shut_down(userdata, err) != BATON_OK) base_log_error(err, "closing a node");
  return 0;
}

static int node_collect(lua_State *L) { /* __gc */
  node_userdata *userdata = luaL_checkudata(L, 1, node_class);
  base_dumpable_remove(&userdata->dumpable);
  baton_node_close(userdata->node);
  *userdata = (node_userdata){0};
  return 0;
}

/* --- Workers -------------------------------------------------------------------------------------------- */

static void describe(lua_State *L, baton_node *node, uint32_t worker, baton_node_worker *out) {
  baton_error *err = bind_error(L);
  if (baton_node_describe(node, worker, out, err) != BATON_OK) bind_raise(L, err);
}

static void refuse_device(lua_State *L) {
  baton_error *err = bind_error(L);
  baton_error_set(err, BATON_UNSUPPORTED, "device: worker %d is a node, which has devices of its own",
                  (int)lua_tointeger(L, 2));
  baton_error_text(err, BATON_FIELD_HINT, "node:describe(worker).devices lists them");
  bind_raise(L, err);
}

static int node_device(lua_State *L) { /* node:device(worker) -> device, platform */
  baton_node *node = bind_check_node(L, 1);
  baton_node_worker worker;
  describe(L, node, bind_check_worker_id(L, 2), &worker);
  if (!worker.platform) refuse_device(L);
  lua_pushinteger(L, worker.device);
  lua_pushstring(L, worker.platform);
  return 2;
}

/* Sets fields of the table on top of the stack. */
static void set_chip(lua_State *L, const char *platform, uint32_t device) {
  lua_pushstring(L, platform);
  lua_setfield(L, -2, "platform");
  lua_pushinteger(L, device);
  lua_setfield(L, -2, "device");
}

/* The same, of a worker that is a node. */
static void set_node(lua_State *L, const baton_node_worker *worker) {
  lua_createtable(L, (int)worker->nchips, 0);
  for (uint32_t i = 0; i < worker->nchips; i++) {
    lua_createtable(L, 0, 2);
    set_chip(L, worker->chips[i].platform, worker->chips[i].device);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "devices");
  lua_pushinteger(L, worker->subs);
  lua_setfield(L, -2, "subs");
}

/* node:describe(worker) -> {platform=, device=, state=, pid=, started=}; of a node {devices=, subs=, state=, …} */
static int node_describe(lua_State *L) {
  baton_node *node = bind_check_node(L, 1);
  baton_node_worker worker;
  describe(L, node, bind_check_worker_id(L, 2), &worker);
  lua_createtable(L, 0, 5);
  if (worker.platform)
    set_chip(L, worker.platform, worker.device);
  else
    set_node(L, &worker);
  lua_pushstring(L, bind_state_word(worker.state));
  lua_setfield(L, -2, "state");
  lua_pushinteger(L, worker.started);
  lua_setfield(L, -2, "started");
  if (worker.pid) {
    lua_pushinteger(L, worker.pid);
    lua_setfield(L, -2, "pid");
  }
  return 1;
}

static int node_restart(lua_State *L) { /* node:restart(worker): a lost worker is ready again */
  baton_node *node = bind_check_node(L, 1);
  uint32_t worker = bind_check_worker_id(L, 2);
  baton_error *err = bind_error(L);
  return baton_node_restart(node, worker, err) == BATON_OK ? 0 : bind_raise(L, err);
}

/* The platform of worker 0, for a chip that names none; NULL: there is no such worker. */
static const char *usual_platform(baton_node *node) {
  baton_node_worker worker;
  return baton_node_describe(node, 0, &worker, NULL) == BATON_OK ? worker.platform : NULL;
}

static int node_add(lua_State *L) { /* node:add{platform=, device=} -> id */
  baton_node *node = bind_check_node(L, 1);
  baton_node_chip chip;
  uint32_t id;
  bind_read_node_chip(L, 2, usual_platform(node), &chip);
  baton_error *err = bind_error(L);
  if (baton_node_add(node, &chip, &id, err) != BATON_OK) return bind_raise(L, err);
  lua_pushinteger(L, id);
  return 1;
}

static int node_remove(lua_State *L) { /* node:remove(worker) */
  baton_node *node = bind_check_node(L, 1);
  uint32_t worker = bind_check_worker_id(L, 2);
  baton_error *err = bind_error(L);
  return baton_node_remove(node, worker, err) == BATON_OK ? 0 : bind_raise(L, err);
}

static int
node_setup_arena(lua_State *L) { /* node:setup_arena(worker, {heap=, shared=, image=}) -> boolean */
  baton_node *node = bind_check_node(L, 1);
  uint32_t worker = bind_check_worker_id(L, 2);
  baton_arena arena = {0};
  int changed;
  bind_check_table(L, 3, "sizes");
  bind_read_arena(L, 3, &arena);
  baton_error *err = bind_error(L);
  if (baton_node_setup_arena(node, worker, &arena, &changed, err) != BATON_OK) return bind_raise(L, err);
  lua_pushboolean(L, changed);
  return 1;
}

static int node_stats(lua_State *L) { /* node:stats([worker]) -> table; without a worker the sums of all */
  baton_node *node = bind_check_node(L, 1);
  int32_t worker = lua_isnoneornil(L, 2) ? BATON_ANY_WORKER : (int32_t)bind_check_worker_id(L, 2);
  baton_stats stats;
  baton_error *err = bind_error(L);
  if (baton_node_stats(node, worker, &stats, err) != BATON_OK) return bind_raise(L, err);
  bind_push_stats(L, &stats);
  return 1;
}

static int node_dump(lua_State *L) { /* node:dump([path]) -> text, or nothing when it went to a file */
  return bind_give_dump(L, dump, bind_check_node(L, 1));
}

/* --- Class ---------------------------------------------------------------------------------------------- */

static int node_index(lua_State *L) {
  const node_userdata *userdata = check_userdata(L, 1);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "workers") == 0)
    lua_pushinteger(L, baton_node_workers(userdata->node));
  else if (strcmp(key, "subs") == 0)
    lua_pushinteger(L, baton_node_subs(userdata->node));
  else if (strcmp(key, "state") == 0)
    lua_pushstring(L, bind_state_word(baton_node_state_of(userdata->node)));
  else
    lua_pushnil(L);
  return 1;
}

static int node_tostring(lua_State *L) {
  const node_userdata *userdata = check_userdata(L, 1);
  int workers = (int)baton_node_workers(userdata->node), subs = (int)baton_node_subs(userdata->node);
  if (userdata->closed)
    lua_pushliteral(L, "node (closed)");
  else
    lua_pushfstring(L, "node of %d worker%s and %d sub%s", workers, workers == 1 ? "" : "s", subs,
                    subs == 1 ? "" : "s");
  return 1;
}

void bind_open_nodes(lua_State *L) {
  static const luaL_Reg methods[] = {{"close", node_close},
                                     {"device", node_device},
                                     {"describe", node_describe},
                                     {"restart", node_restart},
                                     {"add", node_add},
                                     {"remove", node_remove},
                                     {"stats", node_stats},
                                     {"dump", node_dump},
                                     {"setup_arena", node_setup_arena},
                                     {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__close", node_end}, {"__gc", node_collect}, {"__tostring", node_tostring}, {NULL, NULL}};
  static const luaL_Reg *const lists[] = {methods,
                                          bind_node_run_methods,
                                          bind_node_rounds_methods,
                                          bind_node_memory_methods,
                                          bind_node_handle_methods,
                                          NULL};
  bind_open_orch(L);
  bind_open_class(L, node_class, "node", events, lists, node_index);
}
