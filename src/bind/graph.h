/* bind/graph.h - the graph vocabulary of a Lua program: `g` and device tensors. */
#ifndef BIND_GRAPH_H
#define BIND_GRAPH_H

#include "bind/program.h"

/* A call of baton_worker_run or baton_worker_submit from Lua, around which the graph function of the program may be
** called. Lives on the C stack of that call. */
typedef struct bind_build {
  bind_graph_call call; /* first */
  lua_State *L;
  int function; /* stack index of the graph function; 0: the program has none */
  int raised;   /* stack index of the error that the function raised; 0: none */
  const baton_program *program;
} bind_build;

/* Prepares `build` for the program at stack index `program`, pushes its function, and enters it. Returns what to give
** to bind_build_leave. */
bind_graph_call *bind_build_enter(lua_State *L, bind_build *build, int program);
void bind_build_leave(bind_graph_call *before);

/* A number that no other `g` or `orch` of this process has. */
uint64_t bind_new_graph_number(void);

/* Lua's own words for a yield across C say nothing to somebody who writes a graph: replaces them, if the error on top of the stack
** is those, by "WHO: the FUNCTION must not yield". */
void bind_explain_yield(lua_State *L, const char *who, const char *function);

/* Calls the graph function at stack index `function` with a `g` over `o`, which is dead afterwards, and the arguments.
** `handler` is the index of a message handler, 0: none. Returns what lua_pcall does; an error is on top of the stack then. */
int bind_call_graph(lua_State *L, int function, int handler, const baton_program *program, baton_orch *o,
                    const baton_args *args);

#endif
