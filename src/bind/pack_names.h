/* bind/pack_names.h - what packing asks about values: by which name another state finds them, and what to call them in
** messages. */
#ifndef BIND_PACK_NAMES_H
#define BIND_PACK_NAMES_H

#include "bind/bind.h"

/* Where a value stands that is being packed. Lives on the C stack. */
typedef struct pack_place {
  const struct pack_place *above; /* NULL: it is `name` itself */
  enum { PACK_AT_TOP, PACK_AT_FIELD, PACK_AT_UPVALUE } kind;
  int index; /* stack index of the key, or of the function that has the upvalue; top: 0, or a number for its name */
  const char *name; /* of the top ("args"), or of the upvalue */
} pack_place;

/* Pushes a table that tells for each module in package.loaded its name, and for each noun of `baton` "baton", a zero byte and
** its name. The globals are not in it. */
void bind_push_module_names(lua_State *L);

/* Pushes the way to the function of C or the userdata at `index` as PACK_NAMED has it, if it is a field of a module in
** package.loaded; false, with nothing pushed, if it is none. The standard library is looked at first. */
int bind_push_field_name(lua_State *L, int index);

/* Pushes "report (scene.lua:12)" for the Lua function at `index` and returns it: the name of a variable that has it, if one is
** in sight of the running functions. */
const char *bind_push_function_title(lua_State *L, int index);

/* Pushes "report (scene.lua:12): upvalue 'scenes'[3].node", or "orch.submit_sub: args.node", and returns it. */
const char *bind_push_place_title(lua_State *L, const char *who, const pack_place *place);

#endif
