/* bind/worker_options.h - the options of baton.worker: of chips (level 2) and of nodes (level 3). */
#ifndef BIND_WORKER_OPTIONS_H
#define BIND_WORKER_OPTIONS_H

#include "bind/bind.h"
#include <baton/node.h>

/* Checks the names of the options at index 1 and returns the level, 2 or 3. Others raise `unsupported`. */
int bind_option_level(lua_State *L);

/* Raises `invalid_argument` for options that belong to another level: `names` ends with NULL, `belong` says where they do. */
void bind_refuse_options(lua_State *L, const char *const *names, const char *belong, const char *hint);

/* The options of a chip at index 1. What they point to lives as long as the table and what this leaves on the stack. */
void bind_read_chip_options(lua_State *L, baton_worker_options *options);

/* Those that both levels have: platform, arena, prewarm, wait_device, config, and the defaults from the environment. */
void bind_read_common_options(lua_State *L, baton_worker_options *options);

/* "thread" or "process", or BATON_ISOLATION. */
baton_isolation bind_read_isolation(lua_State *L);

/* The options of a node, with room for its chips. */
typedef struct bind_node_options {
  baton_node_options options;
  baton_node_chip chips[BATON_NODE_WORKERS];
} bind_node_options;
void bind_read_node_options(lua_State *L, bind_node_options *out);

/* {platform=, device=} at `index`, or nothing; without a device any free one. The table keeps its text. */
void bind_read_node_chip(lua_State *L, int index, const char *platform, baton_node_chip *chip);

/* Reads a config; its texts live as long as the table and what this leaves on the stack. */
void bind_read_config(lua_State *L, int table, baton_config *config);

/* Reads the sizes at index `table`. */
void bind_read_arena(lua_State *L, int table, baton_arena *arena);

/* A variable of the environment; NULL also for an empty one. */
const char *bind_variable(const char *name);

#endif
