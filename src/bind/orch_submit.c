/* Submits of programs: to chips, and those with a function of the host to sub workers too. */
#include "bind/orch.h"
#include "bind/program.h"
#include "chip/program/program.h"

enum { OWN_VALUES = 16 };

/* One submit under way. */
typedef struct orch_call {
  bind_orch *orch;
  baton_program *program;
  const chip_signature *signature;
  const char *who;
} orch_call;

/* A program or a handle at index 1. */
static void read_callable(lua_State *L, orch_call *call) {
  const bind_orch *orch = call->orch = bind_check_orch(L);
  call->program = bind_metatable_at(L, 1) == orch->programs ? bind_ready_program(L, 1)
                                                            : bind_test_node_handle(L, 1, orch->node);
  if (!call->program)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a program or a handle expected, got %s", bind_orch_who(L),
              bind_describe(L, 1));
  call->signature = chip_program_signature(call->program);
  call->who = baton_program_name(call->program);
}

/* --- Prepared lists ------------------------------------------------------------------------------------- */

_Static_assert(sizeof(bind_orch_item) <= sizeof(baton_arg), "a prepared list has room for either");

static bind_orch_item *items_of(bind_list *list) { return (bind_orch_item *)(void *)list->items; }

/* Reads the entries of the list at index 2 for this orch; false: one of them must be read anew each time. */
static int make_ready(lua_State *L, const orch_call *call, bind_list *list) {
  list->graph = 0;
  lua_getiuservalue(L, 2, 1);
  int named = lua_rawgeti(L, -1, 1) == LUA_TNIL;
  lua_pop(L, 2);
  int top = lua_gettop(L), ready = 1;
  int count = bind_push_arguments(L, 2, call->signature, call->who);
  for (int i = 0; i < count && ready; i++)
    ready = bind_take_value(L, call->orch, top + 1 + i, &items_of(list)[i]);
  lua_settop(L, top);
  if (!ready) return 0;
  list->graph = call->orch->number;
  list->signature = named ? call->signature : NULL;
  return 1;
}

/* Copies the entries of a list that is ready; false: a tensor was closed since then. */
static int copy_items(bind_list *list, baton_node_value *values) {
  const bind_orch_item *items = items_of(list);
  for (uint32_t i = 0; i < list->count; i++) {
    if (items[i].tensor && !*items[i].tensor) return 0;
    values[i] = items[i].value;
  }
  return 1;
}

/* The values of a list that baton.args made, at index 2; false: the long way says what is wrong, if anything is. */
static int take_list(lua_State *L, const orch_call *call, baton_node_value *values) {
  bind_list *list = lua_touserdata(L, 2);
  if (list->count > OWN_VALUES) return 0;
  int ready = list->graph == call->orch->number && (!list->signature || list->signature == call->signature);
  return (ready || make_ready(L, call, list)) && copy_items(list, values);
}

/* --- Submits -------------------------------------------------------------------------------------------- */

static int submit(lua_State *L, const orch_call *call, bind_submit *core, const baton_node_value *values,
                  int count, const baton_node_task_options *options) {
  baton_task task;
  baton_error *err = call->orch->err;
  if (core(call->orch->o, call->program, values, (uint32_t)count, options, &task, err) != BATON_OK)
    return bind_raise(L, err);
  bind_push_node_task(L, call->orch, task);
  return 1;
}

/* Any list at index 2. */
static int submit_list(lua_State *L, const orch_call *call, bind_submit *core,
                       const baton_node_task_options *options) {
  baton_node_value own[OWN_VALUES], *values = own;
  if (!bind_is_list(L, 2))
    bind_fail(L, BATON_SIGNATURE, "%s: a table of arguments expected, got %s", call->who,
              bind_describe(L, 2));
  int first = lua_gettop(L) + 1, count = bind_push_arguments(L, 2, call->signature, call->who);
  if (count > OWN_VALUES) values = lua_newuserdatauv(L, (size_t)count * sizeof *values, 0);
  int fresh = bind_read_values(L, call->orch, first, count, call->signature, call->who, values);
  int pushed = submit(L, call, core, values, count, options);
  return fresh ? pushed + bind_push_fresh(L, call->orch, first, count, values) : pushed;
}

void bind_check_submit_top(lua_State *L) {
  if (lua_gettop(L) > 3)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: a list of arguments and options expected, got more",
              bind_orch_who(L));
}

int bind_submit_program(lua_State *L, bind_submit *core, int which) {
  orch_call call;
  bind_orch_options options;
  baton_node_value values[OWN_VALUES];
  read_callable(L, &call);
  bind_check_submit_top(L);
  const baton_node_task_options *given = NULL;
  if (!lua_isnoneornil(L, 3)) {
    bind_read_orch_options(L, call.orch, 3, which, 0, &options);
    given = &options.base;
  }
  if (bind_metatable_at(L, 2) == call.orch->lists && take_list(L, &call, values))
    return submit(L, &call, core, values, (int)((const bind_list *)lua_touserdata(L, 2))->count, given);
  return submit_list(L, &call, core, given);
}

int bind_submit_program_group(lua_State *L, bind_submit_group *core, int which) {
  orch_call call;
  bind_orch_options options;
  bind_group group;
  baton_task task;
  read_callable(L, &call);
  bind_check_submit_top(L);
  lua_settop(L, 3);
  bind_read_group(L, call.orch, 2, call.signature, call.who, &group);
  bind_read_orch_options(L, call.orch, 3, which, (int)group.count, &options);
  for (uint32_t i = 0; options.workers && i < group.count; i++) group.members[i].worker = options.workers[i];
  baton_error *err = call.orch->err;
  if (core(call.orch->o, call.program, group.members, group.count, &options.base, &task, err) != BATON_OK)
    return bind_raise(L, err);
  bind_push_node_task(L, call.orch, task);
  return 1 + (group.fresh ? bind_push_fresh(L, call.orch, group.first, group.nvalues, group.values) : 0);
}
