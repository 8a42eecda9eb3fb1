/* bind/pack.h - Lua values as bytes, for a Lua state elsewhere: of another thread, or of another process.
**
** What crosses, and how it looks on the other side:
** - nil, booleans, integers, floats (every bit of them) and strings (every byte);
** - tables of those, without metatables. What is one table in a pack is one table there, so cycles are legal;
** - tensors, by their position in a list that the packing makes; the caller takes care of their memory;
** - Lua functions: their code with its line numbers, and their upvalues. Those that share a variable share it there too.
**   `_ENV` becomes the globals of the other state;
** - programs, where the options allow them: compiled, with their signature and their graph function, whose upvalues are
**   those of its first use;
** - what package.loaded holds, and functions of C and files that are fields of a module: by name, `require`d there.
** An argument list has no functions and modules in it, a result no tensors and programs either.
**
** Bytes of results are not believed: what makes no sense is refused. A pack of a function has code in it, which is believed:
** it comes from the process that started this one. */
#ifndef BIND_PACK_H
#define BIND_PACK_H

#include "bind/bind.h"
#include "node/command.h"
#include "node/scripts.h"

enum {
  /* Bytes of a pack: with the most values of a command it still fits one. */
  BIND_PACK_MOST = NODE_DATA_MOST - (256 << 10),
  BIND_PACK_DEPTH = 1000 /* tables in tables, functions in functions */
};

/* What a packing makes. It lives as long as the userdata that was pushed with it. */
typedef struct bind_packed {
  const char *data;
  uint64_t size;
  uint32_t ntensors;
  const uint8_t *tags; /* baton_tag of each tensor: what the list says of it; BATON_UNTAGGED: nothing */
} bind_packed;

typedef struct bind_pack_options {
  const char *who; /* begins messages: "orch.submit_sub" */
  /* Whether the userdata at `index` is a tensor that the caller can send; host tensors always are. NULL: no others are. */
  int (*is_tensor)(lua_State *L, int index);
  int programs; /* they cross */
} bind_pack_options;

/* Packs the call of the function at stack index `function`, a Lua function or a text "module:function", with the argument list
** at `arguments` (0 or nil: an empty one). Pushes two values: the owner of what *out says, and the list of the tensors in
** their order, without tags. A tagged tensor stands in the list without its tag, a scalar as a number. A tensor that the
** function captures and the list has too counts as the list says. Raises invalid_argument for what cannot cross and names it. */
void bind_pack_call(lua_State *L, int function, int arguments, const bind_pack_options *options,
                    bind_packed *out);

/* Packs a function alone, which may capture no tensors: the graph of a program. Pushes the owner. */
void bind_pack_function(lua_State *L, int function, const char *who, bind_packed *out);

/* Packs the `count` values from stack index `first` on into *out, which is the caller's also when this raises. */
void bind_pack_results(lua_State *L, int first, int count, const char *who, node_bytes *out);

/* The other direction. They push what was packed: the function and its argument list; the function; the results, whose number
** is returned. `tensors` is the stack index of the list of tensors, 0 for none. They raise what a `require` of the pack raises,
** and protocol_error for bytes that are no pack. */
void bind_unpack_call(lua_State *L, const void *data, uint64_t bytes, int tensors);
void bind_unpack_function(lua_State *L, const void *data, uint64_t bytes);
int bind_unpack_results(lua_State *L, const void *data, uint64_t bytes);

#endif
