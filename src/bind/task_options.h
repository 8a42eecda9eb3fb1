/* bind/task_options.h - the options of g.aic, g.aiv, g.mix and g.dummy. Private to src/bind. */
#ifndef BIND_TASK_OPTIONS_H
#define BIND_TASK_OPTIONS_H

#include "bind/operand.h"

/* Reads the table at index `table` (absent: all defaults), and leaves what must live as long as `out` on the stack. `who`
** begins messages. */
void bind_read_task_options(lua_State *L, const bind_graph *graph, int table, const char *who,
                            baton_task_options *out);

/* The same for field `deps` alone. */
void bind_read_deps(lua_State *L, const bind_graph *graph, int table, baton_task_options *options);

#endif
