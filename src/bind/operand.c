/* What a call of `g` is handed. The functions of the name take are on the way of every submit. */
#include "bind/operand.h"
#include "bind/device_tensor.h"
#include <string.h>

const char bind_graph_class[] = "baton.graph";

bind_graph *bind_push_new_graph(lua_State *L, baton_orch *o, const baton_args *args,
                                const baton_program *program, uint64_t number) {
  uint32_t kernels = chip_program_kernel_count(program);
  size_t size = sizeof(bind_graph) + kernels * sizeof(const char **);
  bind_graph *graph = memset(lua_newuserdatauv(L, size, 1), 0, size);
  graph->o = o;
  graph->args = args;
  graph->program = program;
  graph->number = number;
  graph->tensors = bind_class_metatable(L, bind_device_tensor_class);
  graph->arguments = bind_class_metatable(L, bind_argument_class);
  graph->lists = bind_class_metatable(L, bind_list_class);
  lua_createtable(L, BIND_KNOWN_KERNELS, 0);
  lua_setiuservalue(L, -2, 1);
  return graph;
}

/* --- The graph of a call ---------------------------------------------------------------------------------------- */

/* Raised again at every call: the orchestrator keeps it. */
void bind_raise_graph_failure(lua_State *L, const bind_graph *graph) {
  baton_error *err = bind_error(L);
  baton_error_copy(err, &((const chip_orchestrator *)graph->o)->failure);
  bind_raise(L, err);
}

static void refuse_colon(lua_State *L) {
  const char *name = lua_tostring(L, lua_upvalueindex(2));
  if (!lua_getmetatable(L, 1)) return;
  luaL_getmetatable(L, bind_graph_class);
  int same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  if (same)
    bind_fail(L, BATON_INVALID_ARGUMENT, "g:%s: g is a table of functions, write g.%s(…)", name, name);
}

bind_graph *bind_check_graph(lua_State *L) {
  bind_graph *graph = lua_touserdata(L, lua_upvalueindex(1));
  if (!graph->o)
    bind_fail(L, BATON_STATE, "g.%s: the graph function has returned, its g is dead",
              lua_tostring(L, lua_upvalueindex(2)));
  if (lua_type(L, 1) == LUA_TTABLE) refuse_colon(L);
  bind_raise_failure(L, graph);
  return graph;
}

/* --- Kernels ---------------------------------------------------------------------------------------------------- */

const chip_kernel *bind_find_kernel(lua_State *L, bind_graph *graph, int *index) {
  const char *name = lua_tostring(L, 1);
  size_t at = ((uintptr_t)name >> 4) % BIND_KNOWN_KERNELS;
  if (graph->known[at].name != name) {
    int found = baton_kernel(graph->o, name);
    bind_raise_failure(L, graph);
    graph->known[at].name = NULL;
    lua_getiuservalue(L, lua_upvalueindex(1), 1);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, (lua_Integer)at + 1);
    lua_pop(L, 1);
    graph->known[at].index = found;
    graph->known[at].kernel = chip_program_kernel(graph->program, (uint32_t)found);
    graph->known[at].name = name;
  }
  *index = graph->known[at].index;
  return graph->known[at].kernel;
}

static void load_names(lua_State *L, bind_graph *graph, int index, const chip_signature *signature) {
  luaL_checkstack(L, 4, NULL);
  lua_getiuservalue(L, lua_upvalueindex(1), 1);
  const char **names = lua_newuserdatauv(L, signature->count * sizeof *names + 1, 0);
  lua_rawsetp(L, -2, &graph->names[index]);
  for (uint32_t i = 0; i < signature->count; i++) {
    names[i] = lua_pushstring(L, signature->items[i].name);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3); /* kept[name] */
  }
  lua_pop(L, 1);
  graph->names[index] = names;
}

const char **bind_parameter_names(lua_State *L, bind_graph *graph, int index,
                                  const chip_signature *signature) {
  if (signature && !graph->names[index]) load_names(L, graph, index, signature);
  return graph->names[index];
}

/* --- The short way ---------------------------------------------------------------------------------------------- */

/* `tensor` belongs to this graph. */
static void take_tensor(const bind_device_tensor *tensor, baton_tag tag, baton_arg *out) {
  out->tag = tag;
  out->dtype = (baton_dtype)tensor->view.dtype;
  out->view = tensor->view;
}

static int take_tagged(lua_State *L, const bind_graph *graph, const bind_argument *argument, int index,
                       baton_arg *out) {
  if (argument->fresh) return 0;
  if (argument->tag == BATON_SCALAR) {
    *out = argument->value;
    return 1;
  }
  lua_getiuservalue(L, index, 1);
  const bind_device_tensor *tensor =
      bind_metatable_at(L, -1) == graph->tensors ? lua_touserdata(L, -1) : NULL;
  lua_pop(L, 1);
  if (!tensor || tensor->graph != graph->number) return 0;
  take_tensor(tensor, argument->tag, out);
  return 1;
}

int bind_take_operand(lua_State *L, const bind_graph *graph, int index, baton_arg *out) {
  const void *metatable = bind_metatable_at(L, index);
  if (!metatable) return bind_to_scalar(L, index, out);
  if (metatable == graph->tensors) {
    const bind_device_tensor *tensor = lua_touserdata(L, index);
    if (tensor->graph != graph->number) return 0;
    take_tensor(tensor, BATON_UNTAGGED, out);
    return 1;
  }
  return metatable == graph->arguments && take_tagged(L, graph, lua_touserdata(L, index), index, out);
}

/* Where the entry belongs whose key is at `index`; -1: nowhere. `next`: where it would if all came in order. */
static int position_of(lua_State *L, int index, const char *const *names, int name_count, int next) {
  if (!names) return lua_isinteger(L, index) && lua_tointeger(L, index) == next + 1 ? next : -1;
  if (lua_type(L, index) != LUA_TSTRING) return -1;
  const char *name = lua_tostring(L, index);
  for (int i = 0; i < name_count; i++)
    if (names[i] == name) return i;
  return -1;
}

int bind_take_operands(lua_State *L, const bind_graph *graph, int index, const char *const *names,
                       int name_count, baton_arg *out, int room) {
  int count = 0, top = lua_gettop(L);
  luaL_checkstack(L, 6, NULL);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (count == 0 && lua_type(L, -2) != LUA_TSTRING) names = NULL;
    int position = count < room ? position_of(L, -2, names, name_count, count) : -1;
    if (position < 0 || !bind_take_operand(L, graph, top + 2, &out[position])) {
      lua_settop(L, top);
      return -1;
    }
    count++;
  }
  return names && count > 0 && count != name_count ? -1 : count;
}

int bind_make_ready(lua_State *L, const bind_graph *graph, int index, bind_list *list,
                    const chip_signature *signature, const char *const *names) {
  list->graph = 0;
  lua_getiuservalue(L, index, 1);
  int table = lua_gettop(L), named = lua_rawgeti(L, table, 1) == LUA_TNIL;
  lua_pop(L, 1);
  int count = bind_take_operands(L, graph, table, names, names ? (int)signature->count : 0, list->items,
                                 (int)list->count);
  lua_pop(L, 1);
  if (count != (int)list->count) return 0;
  list->graph = graph->number;
  list->signature = named ? signature : NULL;
  return 1;
}

/* --- The long way ----------------------------------------------------------------------------------------------- */

static void raise_no_tensor(lua_State *L, int index, const char *who, int position) {
  bind_fail(L, BATON_INVALID_ARGUMENT, "%s: argument %d: a device tensor or a number expected, got %s%s", who,
            position, bind_describe(L, index),
            bind_test_tensor(L, index) ? "; host tensors become device tensors as arguments of the run" : "");
}

/* False if there is no device tensor at `index`. */
static int read_tensor(lua_State *L, const bind_graph *graph, int index, baton_tag tag, const char *who,
                       int position, baton_arg *out) {
  const bind_device_tensor *tensor = bind_test_device_tensor(L, index);
  if (!tensor) return 0;
  if (tensor->graph != graph->number)
    bind_fail(L, BATON_STALE_HANDLE,
              "%s: argument %d: a device tensor of another run; it lived until its graph function returned",
              who, position);
  take_tensor(tensor, tag, out);
  return 1;
}

void bind_read_tensor(lua_State *L, const bind_graph *graph, int index, const char *who, int position,
                      baton_arg *out) {
  if (!read_tensor(L, graph, index, BATON_UNTAGGED, who, position, out))
    raise_no_tensor(L, index, who, position);
}

int bind_read_operand(lua_State *L, const bind_graph *graph, int index, const char *who, int position,
                      baton_arg *out) {
  if (bind_take_operand(L, graph, index, out)) return 0;
  const bind_argument *tagged = bind_test_argument(L, index);
  if (tagged && tagged->fresh) {
    const baton_view *wanted = &tagged->value.view;
    *out = baton_output(baton_alloc(graph->o, (baton_dtype)wanted->dtype, wanted->ndim, wanted->shape));
    bind_raise_failure(L, graph);
    return 1;
  }
  if (tagged) {
    lua_getiuservalue(L, index, 1);
    index = lua_gettop(L);
  }
  bind_read_tensor(L, graph, index, who, position, out);
  return 0;
}
