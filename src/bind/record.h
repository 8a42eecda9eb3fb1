/* bind/record.h - sub-graphs of a Lua program that are built once. */
#ifndef BIND_RECORD_H
#define BIND_RECORD_H

#include "bind/operand.h"

int bind_graph_record(lua_State *L); /* g.record(key, fn, list [, options]) */

#endif
