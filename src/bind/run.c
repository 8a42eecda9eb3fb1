/* Runs: worker:run, worker:submit, and the runs that it makes. */
#include "bind/arguments.h"
#include "bind/graph.h"
#include "bind/worker.h"
#include "bind/worker_options.h"
#include "chip/program/program.h"

static const char run_class[] = "baton.run";

bind_run *bind_push_new_run(lua_State *L, int owner) {
  bind_run *run = lua_newuserdatauv(L, sizeof *run, 2);
  *run = (bind_run){0};
  luaL_setmetatable(L, run_class);
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, 1); /* the run keeps its worker */
  return run;
}

void bind_read_submission(lua_State *L, bind_submission *s) {
  lua_settop(L, 4);
  s->worker = bind_check_worker(L, 1);
  s->hold = bind_resolve_handle(L, s->worker, 2);
  s->program = s->hold ? s->hold->program : bind_check_program(L, 2);
  const char *who = baton_program_name(s->program);
  const chip_signature *signature = chip_program_signature(s->program);
  if (lua_isnoneornil(L, 3)) {
    lua_newtable(L);
    lua_replace(L, 3);
  }
  if (!bind_is_list(L, 3))
    bind_fail(L, BATON_SIGNATURE, "%s: a table of arguments expected, got %s", who, bind_describe(L, 3));
  bind_read_config(L, 4, &s->config);
  int first = lua_gettop(L) + 1;
  int count = bind_push_arguments(L, 3, signature, who);
  s->count = (uint32_t)count;
  s->values = lua_newuserdatauv(L, (size_t)count * sizeof *s->values + 1, 0);
  bind_to_values(L, first, count, signature, who, s->values);
}

void bind_push_timing(lua_State *L, const baton_timing *timing) {
  lua_createtable(L, 0, 5);
  lua_pushnumber(L, timing->host);
  lua_setfield(L, -2, "host");
  lua_pushnumber(L, timing->device);
  lua_setfield(L, -2, "device");
  lua_pushnumber(L, timing->orchestration);
  lua_setfield(L, -2, "orch");
  lua_pushinteger(L, (lua_Integer)timing->tasks);
  lua_setfield(L, -2, "tasks");
  lua_newtable(L);
  for (int slot = 0; slot < BATON_TIMING_SLOTS; slot++) {
    if (!(timing->timed >> slot & 1)) continue;
    lua_pushnumber(L, timing->slots[slot]);
    lua_rawseti(L, -2, slot);
  }
  lua_setfield(L, -2, "slots");
}

int bind_raise_outcome(lua_State *L, int raised, baton_error *err) {
  if (!raised) return bind_raise(L, err);
  lua_pushvalue(L, raised);
  return lua_error(L);
}

static int worker_run(lua_State *L) { /* worker:run(program, arguments [, config]) -> timing */
  bind_submission s;
  bind_build build;
  baton_timing timing;
  bind_read_submission(L, &s);
  baton_error *err = bind_push_error(L); /* not the shared one: the graph function may use that */
  bind_graph_call *before = bind_build_enter(L, &build, 2);
  baton_status status = baton_worker_run(s.worker, s.program, s.values, s.count, &s.config, &timing, err);
  bind_build_leave(before);
  bind_program_release(s.hold);
  if (status != BATON_OK) return bind_raise_outcome(L, build.raised, err);
  bind_push_timing(L, &timing);
  return 1;
}

static int worker_submit(lua_State *L) { /* worker:submit(program, arguments [, config]) -> run */
  bind_submission s;
  bind_build build;
  bind_read_submission(L, &s);
  bind_run *made = bind_push_new_run(L, 1);
  int run = lua_gettop(L);
  baton_error *err = bind_push_error(L);
  bind_graph_call *before = bind_build_enter(L, &build, 2);
  baton_status status =
      baton_worker_submit(s.worker, s.program, s.values, s.count, &s.config, &made->chip, err);
  bind_build_leave(before);
  bind_program_release(s.hold);
  if (status != BATON_OK) return bind_raise_outcome(L, build.raised, err);
  lua_pushvalue(L, run);
  return 1;
}

/* --- Runs of chips and of nodes ------------------------------------------------------------------------- */

static const bind_run *check_run(lua_State *L) {
  const bind_run *run = luaL_testudata(L, 1, run_class);
  if (!run) bind_bad_argument(L, "a run expected, got %s", bind_describe(L, 1));
  if (!run->chip && !run->node) bind_fail(L, BATON_CLOSED, "the run is closed");
  return run;
}

static int is_over(const bind_run *run) {
  return run->chip ? baton_run_done(run->chip) : baton_node_run_done(run->node);
}

static int run_done(lua_State *L) {
  lua_pushboolean(L, is_over(check_run(L)));
  return 1;
}

static int
run_wait(lua_State *L) { /* run:wait([seconds]): true; nil if the time is up; raises the run's error */
  const bind_run *run = check_run(L);
  double seconds = lua_isnoneornil(L, 2) ? -1 : bind_check_number(L, 2, "seconds");
  if (!lua_isnoneornil(L, 2) && !(seconds >= 0))
    bind_bad_argument(L, "seconds must be 0 or more, got %s", bind_describe(L, 2));
  int over = 0;
  baton_error *err = bind_error(L);
  baton_status status = run->chip ? baton_run_wait(run->chip, seconds, &over, err)
                                  : baton_node_run_wait(run->node, seconds, &over, err);
  if (status != BATON_OK) return bind_raise(L, err);
  if (over)
    lua_pushboolean(L, 1);
  else
    lua_pushnil(L);
  return 1;
}

static int run_cancel(lua_State *L) {
  const bind_run *run = check_run(L);
  lua_pushboolean(L, run->chip ? baton_run_cancel(run->chip) : baton_node_run_cancel(run->node));
  return 1;
}

static int run_timing(lua_State *L) { /* nil while it goes on */
  const bind_run *run = check_run(L);
  if (!is_over(run)) return 0;
  baton_timing timing = run->chip ? baton_run_timing(run->chip) : baton_node_run_timing(run->node);
  bind_push_timing(L, &timing);
  return 1;
}

static int run_close(lua_State *L) { /* :close(), __close and __gc */
  bind_run *run = bind_check_self(L, run_class, "a run"), closed = *run;
  *run = (bind_run){0};
  baton_run_close(closed.chip);
  baton_node_run_close(closed.node);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 2); /* the arguments can go */
  return 0;
}

static int run_tostring(lua_State *L) {
  const bind_run *run = luaL_checkudata(L, 1, run_class);
  lua_pushfstring(L, "run (%s)", !run->chip && !run->node ? "closed" : is_over(run) ? "over" : "pending");
  return 1;
}

const luaL_Reg bind_run_methods[] = {{"run", worker_run}, {"submit", worker_submit}, {NULL, NULL}};

void bind_open_runs(lua_State *L) {
  static const luaL_Reg methods[] = {{"done", run_done},     {"wait", run_wait},   {"cancel", run_cancel},
                                     {"timing", run_timing}, {"close", run_close}, {NULL, NULL}};
  static const luaL_Reg events[] = {
      {"__close", run_close}, {"__gc", run_close}, {"__tostring", run_tostring}, {NULL, NULL}};
  bind_open_class(L, run_class, "run", events, (const luaL_Reg *const[]){methods, NULL}, NULL);
}
