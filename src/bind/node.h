/* bind/node.h - nodes in Lua, and what belongs to them. */
#ifndef BIND_NODE_H
#define BIND_NODE_H

#include "bind/bind.h"
#include <baton/node.h>

/* Opens the node that the options at index 1 describe: baton.worker{level = 3, …}. */
int bind_open_node_worker(lua_State *L);

/* The classes of nodes, and what an orchestrating function is handed. */
void bind_open_nodes(lua_State *L);
void bind_open_orch(lua_State *L);

/* The node at `arg`, closed or not; raises `invalid_argument` for what is none. */
baton_node *bind_check_node(lua_State *L, int arg);

/* Methods of nodes: node_run.c, node_rounds.c, node_memory.c, handle.c. */
extern const luaL_Reg bind_node_run_methods[], bind_node_rounds_methods[], bind_node_memory_methods[],
    bind_node_handle_methods[];

/* A worker id. One that there is not is refused by the core. */
uint32_t bind_check_worker_id(lua_State *L, int arg);

/* The program at `index`, ready to be sent to workers; raises for what is none. Borrowed as by bind_check_program. */
baton_program *bind_check_node_program(lua_State *L, int index);

/* The same for a userdata that is known to be a program: on the way of every submit. */
baton_program *bind_ready_program(lua_State *L, int index);

/* The program behind the handle at `index`, held by the handle; NULL for what is no handle. `wrong_device` for one of another
** node, `stale_handle` for one that was unregistered. */
baton_program *bind_test_node_handle(lua_State *L, int index, const baton_node *node);

#endif
