#include "bind/task_options.h"
#include "bind/device_tensor.h"
#include <inttypes.h>
#include <string.h>

/* --- Tasks ------------------------------------------------------------------------------------------------------ */

static baton_task unpack_task(lua_State *L, const bind_graph *graph, int index, lua_Integer entry) {
  if (!lua_isinteger(L, index))
    bind_fail(L, BATON_INVALID_ARGUMENT, "field 'deps' must be a list of tasks, entry %d is %s", (int)entry,
              bind_describe(L, index));
  uint64_t packed = (uint64_t)lua_tointeger(L, index);
  if (packed >> 56 != (graph->number & 0xff))
    bind_fail(L, BATON_STALE_HANDLE, "field 'deps': entry %d is no task of this run", (int)entry);
  return (baton_task){(uint32_t)(packed >> 32) & 0xffffff, (uint32_t)packed};
}

void bind_read_deps(lua_State *L, const bind_graph *graph, int table, baton_task_options *options) {
  if (!bind_option_table(L, table, "deps")) return; /* the nil or the table stays on the stack */
  int list = lua_gettop(L);
  lua_Integer count = luaL_len(L, list);
  baton_task *deps = lua_newuserdatauv(L, (size_t)count * sizeof *deps + 1, 0);
  for (lua_Integer i = 0; i < count; i++) {
    lua_rawgeti(L, list, i + 1);
    deps[i] = unpack_task(L, graph, lua_gettop(L), i + 1);
    lua_pop(L, 1);
  }
  options->deps = deps;
  options->ndeps = (uint32_t)count;
}

/* --- Numbers ---------------------------------------------------------------------------------------------------- */

static int64_t read_integer(lua_State *L, int table, const char *who, const char *name, int64_t min,
                            int64_t max, int64_t absent) {
  int64_t value = absent;
  if (lua_getfield(L, table, name) != LUA_TNIL) {
    int good;
    value = lua_tointegerx(L, -1, &good);
    if (!good || lua_type(L, -1) != LUA_TNUMBER)
      bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field '%s' must be an integer, got %s", who, name,
                bind_describe(L, -1));
    if (value < min || value > max)
      bind_fail(L, BATON_OUT_OF_RANGE, "%s: field '%s' must be in %" PRId64 "..%" PRId64 ", got %" PRId64,
                who, name, min, max, value);
  }
  lua_pop(L, 1);
  return value;
}

/* --- Predicates ------------------------------------------------------------------------------------------------- */

enum { ENTRY_TENSOR = 1, ENTRY_INDEX, ENTRY_OP, ENTRY_VALUE };

typedef struct task_predicate {
  baton_predicate base;
  int64_t index[BATON_MAX_DIMS];
} task_predicate;

/* One index, counted from 1, on top of the stack. */
static int64_t read_index(lua_State *L, const baton_view *view, int dim, const char *who) {
  int good;
  int64_t value = lua_tointegerx(L, -1, &good), size = view->shape[dim];
  if (!good)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: predicate: an integer expected as index, got %s", who,
              bind_describe(L, -1));
  if (value < 1 || value > size)
    bind_fail(L, BATON_OUT_OF_RANGE,
              "%s: predicate: index %" PRId64 " is outside of dimension %d, which has %" PRId64 " elements",
              who, value, dim + 1, size);
  lua_pop(L, 1);
  return value - 1;
}

/* The entry on top of the stack: an index, or a list with one for each dimension. */
static void read_indices(lua_State *L, task_predicate *out, const char *who) {
  const baton_view *view = &out->base.tensor;
  int list = lua_type(L, -1) == LUA_TTABLE;
  lua_Integer given = list ? luaL_len(L, -1) : 1;
  if (given != view->ndim)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: predicate: %s needs %d indices, got %d", who,
              bind_view_text(L, view), view->ndim, (int)given);
  for (int d = 0; d < view->ndim; d++) {
    if (list)
      lua_geti(L, -1, d + 1);
    else
      lua_pushvalue(L, -1);
    out->index[d] = read_index(L, view, d, who);
  }
}

static baton_compare read_compare(lua_State *L, const char *who) {
  static const char *const words[] = {"==", "~=", "<", "<=", ">", ">="};
  const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  for (int op = BATON_EQUAL; op <= BATON_GREATER_EQUAL; op++)
    if (strcmp(words[op], word) == 0) return (baton_compare)op;
  bind_fail(L, BATON_INVALID_ARGUMENT, "%s: predicate: one of == ~= < <= > >= expected, got %s", who,
            bind_describe(L, -1));
  return BATON_EQUAL;
}

static int64_t read_value(lua_State *L, const char *who) {
  int good;
  int64_t value = lua_tointegerx(L, -1, &good);
  if (lua_isboolean(L, -1)) return lua_toboolean(L, -1);
  if (!good || lua_type(L, -1) != LUA_TNUMBER)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: predicate: an integer expected to compare with, got %s", who,
              bind_describe(L, -1));
  return value;
}

static void read_tensor(lua_State *L, const bind_graph *graph, const char *who, baton_view *out) {
  const bind_device_tensor *tensor = bind_test_device_tensor(L, -1);
  if (!tensor)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: predicate: a device tensor expected, got %s", who,
              bind_describe(L, -1));
  if (tensor->graph != graph->number)
    bind_fail(L, BATON_STALE_HANDLE,
              "%s: predicate: a device tensor of another run; it lived until its graph function returned",
              who);
  *out = tensor->view;
}

/* { tensor, index, op, value }, into memory that the stack keeps. */
static void read_predicate(lua_State *L, const bind_graph *graph, int table, const char *who,
                           baton_task_options *options) {
  if (!bind_option_table(L, table, "predicate")) return; /* the nil or the table stays on the stack */
  int entries = lua_gettop(L);
  task_predicate *predicate = lua_newuserdatauv(L, sizeof *predicate, 0);
  lua_geti(L, entries, ENTRY_TENSOR);
  read_tensor(L, graph, who, &predicate->base.tensor);
  lua_geti(L, entries, ENTRY_INDEX);
  read_indices(L, predicate, who);
  lua_geti(L, entries, ENTRY_OP);
  predicate->base.op = read_compare(L, who);
  lua_geti(L, entries, ENTRY_VALUE);
  predicate->base.value = read_value(L, who);
  predicate->base.index = predicate->index;
  options->predicate = &predicate->base;
}

void bind_read_task_options(lua_State *L, const bind_graph *graph, int table, const char *who,
                            baton_task_options *out) {
  static const char *const names[] = {"deps",      "name",        "blocks",   "sync_start",
                                      "predicate", "timing_slot", "priority", NULL};
  memset(out, 0, sizeof *out);
  if (lua_isnoneornil(L, table)) return;
  bind_check_options(L, table, who, names);
  luaL_checkstack(L, 16, NULL);
  out->name = bind_option_string(L, table, "name", NULL);
  out->blocks = (uint32_t)read_integer(L, table, who, "blocks", 1, INT32_MAX, 1);
  out->sync_start = bind_option_boolean(L, table, "sync_start", 0);
  out->timing_slot = 1 + (uint32_t)read_integer(L, table, who, "timing_slot", 0, BATON_TIMING_SLOTS - 1, -1);
  out->priority =
      (int32_t)read_integer(L, table, who, "priority", -BATON_HIGHEST_PRIORITY, BATON_HIGHEST_PRIORITY, 0);
  read_predicate(L, graph, table, who, out);
  bind_read_deps(L, graph, table, out);
}
