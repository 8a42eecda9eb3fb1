/* bind/submit.h - the functions of `g` that submit a task. Upvalues as for bind_check_graph. */
#ifndef BIND_SUBMIT_H
#define BIND_SUBMIT_H

#include "bind/operand.h"

int bind_graph_aic(lua_State *L);   /* g.aic(kernel, list [, options]) and g.aic(kernel, a, b, …) */
int bind_graph_aiv(lua_State *L);   /* g.aiv, likewise */
int bind_graph_mix(lua_State *L);   /* g.mix({aic=, aiv0=, aiv1=}, list [, options]) */
int bind_graph_dummy(lua_State *L); /* g.dummy(list [, options]) */

void bind_push_task(lua_State *L, const bind_graph *graph, baton_task task);

#endif
