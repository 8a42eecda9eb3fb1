/* Options of nodes: baton.worker{level = 3, …}, and of nodes of nodes: level 4. */
#include "bind/worker_options.h"
#include <string.h>

enum { DEVICE_MOST = 1023 };

/* A list of chips under way. */
typedef struct chip_list {
  baton_node_chip *chips;
  uint32_t count;
} chip_list;

static void add_chip(lua_State *L, chip_list *list, baton_node_chip chip) {
  if (list->count == BATON_NODE_WORKERS)
    bind_fail(L, BATON_OUT_OF_RANGE, "devices: a node has at most %d of them", BATON_NODE_WORKERS);
  list->chips[list->count++] = chip;
}

/* --- Texts: "0-3", "0,2", "a5sim:1" --------------------------------------------------------------------- */

static void refuse_text(lua_State *L, const char *text) {
  bind_fail(L, BATON_INVALID_ARGUMENT,
            "devices: numbers in 0..%d expected, such as \"0-3\", \"0,2\" or \"a5sim:1\", got '%s'",
            DEVICE_MOST, text);
}

/* A number at *at, which moves behind it; -1: there is none. */
static int take_number(const char **at) {
  int value = 0;
  if (**at < '0' || **at > '9') return -1;
  for (; **at >= '0' && **at <= '9'; ++*at) {
    value = 10 * value + (**at - '0');
    if (value > DEVICE_MOST) return -1;
  }
  return value;
}

/* The name in front of a colon, which the stack keeps; `platform` if there is none. */
static const char *take_platform(lua_State *L, const char **at, const char *platform) {
  size_t length = strcspn(*at, ":,");
  if ((*at)[length] != ':') return platform;
  luaL_checkstack(L, 8, "too many platforms");
  const char *name = lua_pushlstring(L, *at, length);
  *at += length + 1;
  return name;
}

/* FIRST, FIRST-LAST, each with PLATFORM: in front, and commas between them. */
static void read_text(lua_State *L, const char *text, const char *platform, chip_list *list) {
  const char *at = text;
  do {
    const char *name = take_platform(L, &at, platform);
    int first = take_number(&at), last = first;
    if (first >= 0 && *at == '-') {
      at++;
      last = take_number(&at);
    }
    if (first < 0 || last < first || (*at && *at != ',')) refuse_text(L, text);
    for (int device = first; device <= last; device++)
      add_chip(L, list, (baton_node_chip){.platform = name, .device = (uint32_t)device});
  } while (*at++ == ',');
}

/* --- Lists ---------------------------------------------------------------------------------------------- */

/* {platform=, device=} at `index`. */
static baton_node_chip read_table(lua_State *L, int index, const char *what, const char *platform) {
  static const char *const names[] = {"platform", "device", NULL};
  bind_check_options(L, index, what, names);
  int64_t device = bind_option_integer(L, index, "device", 0, DEVICE_MOST, -1);
  return (baton_node_chip){.platform = bind_option_string(L, index, "platform", platform),
                           .device = device < 0 ? 0 : (uint32_t)device,
                           .any_device = device < 0};
}

/* A number, a text or a table at `index`, which the stack keeps. */
static void read_entry(lua_State *L, int index, int position, const char *platform, chip_list *list) {
  switch (lua_type(L, index)) {
  case LUA_TSTRING: read_text(L, lua_tostring(L, index), platform, list); return;
  case LUA_TTABLE: add_chip(L, list, read_table(L, index, "devices", platform)); return;
  default: break;
  }
  int good;
  lua_Integer device = lua_tointegerx(L, index, &good);
  if (!good || device < 0 || device > DEVICE_MOST)
    bind_fail(L, BATON_INVALID_ARGUMENT,
              "devices: entry %d must be a device in 0..%d, a text such as \"a5sim:1\" or "
              "{platform=, device=}, got %s",
              position, DEVICE_MOST, bind_describe(L, index));
  add_chip(L, list, (baton_node_chip){.platform = platform, .device = (uint32_t)device});
}

static void read_list(lua_State *L, int index, const char *platform, chip_list *list) {
  lua_Integer entries = 0, count = (lua_Integer)lua_rawlen(L, index);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) entries++;
  if (entries != count)
    bind_fail(L, BATON_INVALID_ARGUMENT, "devices: a list expected, got a table with other keys");
  luaL_checkstack(L, (int)(count < BATON_NODE_WORKERS ? count : BATON_NODE_WORKERS) + 16, "too many devices");
  for (lua_Integer i = 1; i <= count; i++) {
    if (list->count == BATON_NODE_WORKERS) add_chip(L, list, (baton_node_chip){0}); /* raises */
    lua_rawgeti(L, index, i);
    read_entry(L, lua_gettop(L), (int)i, platform, list);
  }
}

/* --- Nodes ---------------------------------------------------------------------------------------------- */

/* A count of free devices. */
static void read_count(lua_State *L, int index, const char *platform, chip_list *list) {
  int good;
  lua_Integer count = lua_tointegerx(L, index, &good);
  if (!good || count < 0 || count > BATON_NODE_WORKERS)
    bind_fail(L, BATON_INVALID_ARGUMENT, "devices: a number of devices in 0..%d expected, got %s",
              BATON_NODE_WORKERS, bind_describe(L, index));
  for (lua_Integer i = 0; i < count; i++)
    add_chip(L, list, (baton_node_chip){.platform = platform, .any_device = 1});
}

static void read_devices(lua_State *L, const char *platform, chip_list *list) {
  int type = lua_getfield(L, 1, "devices"), index = lua_gettop(L); /* stays, for its texts */
  const char *variable = bind_variable("BATON_DEVICE");
  switch (type) {
  case LUA_TNIL: read_text(L, variable ? variable : "0", platform, list); return;
  case LUA_TNUMBER: read_count(L, index, platform, list); return;
  case LUA_TSTRING: read_text(L, lua_tostring(L, index), platform, list); return;
  case LUA_TTABLE: read_list(L, index, platform, list); return;
  default:
    bind_fail(L, BATON_INVALID_ARGUMENT,
              "devices: a text such as \"0-3\", a list or a number of devices expected, got %s",
              bind_describe(L, index));
  }
}

static void read_level_3(lua_State *L, bind_node_options *out) {
  static const char *const of_chips[] = {"device", NULL}, *const for_tests[] = {"fault", NULL},
                           *const of_level_4[] = {"children", NULL};
  baton_worker_options common;
  bind_refuse_options(L, of_chips, "one chip (level 2)", "a node has devices: \"0-3\", {0, 2}, or how many");
  bind_refuse_options(L, for_tests, "one chip (level 2)", "open that chip without `level`");
  bind_refuse_options(L, of_level_4, "nodes of nodes (level 4)", "open one with level = 4");
  bind_read_common_options(L, &common);
  chip_list list = {out->chips, 0};
  read_devices(L, common.platform, &list);
  out->options = (baton_node_options){
      .chips = out->chips,
      .nchips = list.count,
      .subs = (uint32_t)bind_option_integer(L, 1, "subs", 0, BATON_NODE_SUBS, 0),
      .isolation = bind_read_isolation(L),
      .heap = bind_option_size(L, 1, "heap", 0),
      .config = common.config,
      .arena = common.arena,
      .prewarm = common.prewarm,
      .nprewarm = common.nprewarm,
      .startup_timeout = bind_option_number(L, 1, "startup_timeout", 0, 1e9, 0),
      .wait_device = common.wait_device,
      .worker_program = bind_option_string(L, 1, "worker_program", NULL),
  };
}

/* --- Nodes of nodes ------------------------------------------------------------------------------------- */

/* (options, bind_node_options): all that it pushes is returned, for what *out points to. */
static int read_child(lua_State *L) {
  bind_node_options *out = lua_touserdata(L, 2);
  int level = bind_option_level(L);
  if (level != 3) bind_fail(L, BATON_INVALID_ARGUMENT, "a child is a node, level = 3, got %d", level);
  read_level_3(L, out);
  return lua_gettop(L);
}

/* The list on top of the stack. Its children stay on the stack. */
static void read_children(lua_State *L, baton_node_options *options) {
  int list = lua_gettop(L), count = (int)lua_rawlen(L, list);
  if (!count || count > BATON_NODE_WORKERS)
    bind_fail(L, BATON_INVALID_ARGUMENT, "children: a list of 1 to %d tables of options expected, got %d",
              BATON_NODE_WORKERS, count);
  baton_node_options *children = lua_newuserdatauv(L, (size_t)count * sizeof *children, 0);
  for (int i = 0; i < count; i++) {
    luaL_checkstack(L, 8, "too many children");
    bind_node_options *child = lua_newuserdatauv(L, sizeof *child, 0);
    lua_pushcfunction(L, read_child);
    if (lua_rawgeti(L, list, i + 1) != LUA_TTABLE)
      bind_fail(L, BATON_INVALID_ARGUMENT, "children: entry %d must be a table of options, got %s", i + 1,
                bind_describe(L, -1));
    lua_pushlightuserdata(L, child);
    lua_call(L, 2, LUA_MULTRET);
    children[i] = child->options;
  }
  options->children = children;
  options->nchildren = (uint32_t)count;
}

static void read_level_4(lua_State *L, bind_node_options *out) {
  static const char *const of_children[] = {"devices", "device", "platform", "arena", "fault", NULL};
  baton_worker_options common;
  bind_refuse_options(L, of_children, "nodes with chips (level 3)", "name it in the entries of `children`");
  bind_read_common_options(L, &common);
  out->options = (baton_node_options){
      .subs = (uint32_t)bind_option_integer(L, 1, "subs", 0, BATON_NODE_SUBS, 0),
      .isolation = BATON_PROCESS,
      .heap = bind_option_size(L, 1, "heap", 0),
      .config = common.config,
      .prewarm = common.prewarm,
      .nprewarm = common.nprewarm,
      .startup_timeout = bind_option_number(L, 1, "startup_timeout", 0, 1e9, 0),
      .worker_program = bind_option_string(L, 1, "worker_program", NULL),
  };
  if (bind_read_isolation(L) == BATON_THREAD && bind_option_string(L, 1, "isolation", NULL))
    bind_fail(L, BATON_UNSUPPORTED, "worker: isolation 'thread' at level 4: each child is a process");
  if (!bind_option_table(L, 1, "children"))
    bind_fail(L, BATON_INVALID_ARGUMENT, "worker: level 4 needs children, a list of options of nodes");
  read_children(L, &out->options);
}

void bind_read_node_options(lua_State *L, bind_node_options *out) {
  if (bind_option_level(L) == 4)
    read_level_4(L, out);
  else
    read_level_3(L, out);
}

void bind_read_node_chip(lua_State *L, int index, const char *platform, baton_node_chip *chip) {
  *chip = (baton_node_chip){.platform = platform, .any_device = 1};
  if (!lua_isnoneornil(L, index)) *chip = read_table(L, index, "add", platform);
}
