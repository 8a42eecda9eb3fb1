/* bind/program.h - device programs in Lua: what the binding of workers needs of them. */
#ifndef BIND_PROGRAM_H
#define BIND_PROGRAM_H

#include "bind/bind.h"
#include <baton/program.h>

extern const char bind_program_class[];

/* The program at `arg`; raises `invalid_argument` for what is none and `closed` for a closed one.
** Borrowed: it lives as long as its userdata is open. */
baton_program *bind_check_program(lua_State *L, int arg);

/* The same, but NULL for what is no program. */
baton_program *bind_test_program(lua_State *L, int arg);

/* Pushes the Lua function of a program with `graph`; false, with nothing pushed, for one with
** `orchestration`. `arg` has passed bind_check_program. */
int bind_push_graph(lua_State *L, int arg);

/* Pushes the signature of the program at `index`, closed or not, as Lua wrote it; or pops a value, which becomes it. */
void bind_push_signature(lua_State *L, int index);
void bind_set_signature(lua_State *L, int index);

/* Pushes a program that chip_program_pack has made bytes of, without a signature as Lua wrote it. Equal bytes are one program in
** a Lua state, until it is closed. A graph function in it is one of bind_pack_function. Raises what
** chip_program_unpack fails with. */
void bind_push_packed_program(lua_State *L, const void *bytes, size_t size);

/* How the graph of a Lua program gets from C back into Lua: its `orchestrate` function finds the call that
** the thread has entered, and hands over to `build`. The binding of workers puts this first in a struct
** with its Lua state, enters it around baton_worker_run and baton_worker_submit (which call `orchestrate`
** on the same thread), and puts back what was entered before. Without a call the run fails. */
typedef struct bind_graph_call {
  void (*build)(struct bind_graph_call *call, baton_orch *o, const baton_args *args);
} bind_graph_call;

/* Enters `call` (NULL: none) on this thread; returns the one before. */
bind_graph_call *bind_graph_enter(bind_graph_call *call);

/* Reads the options of baton.program at index 1. Everything that `options` points to lives as long as that
** table and the table at index `anchor`, which takes what is made on the way. `orchestrate` and `graph`
** stay unset for a Lua graph; then true is returned and the function is on top of the stack. */
int bind_read_program(lua_State *L, int anchor, baton_program_options *options);

/* Reads the signature `field` of the table at `table`; NULL if it is absent. `who` begins the messages. */
const baton_parameter *bind_read_signature(lua_State *L, int anchor, int table, const char *who,
                                           uint32_t *count);

/* `size` cleared bytes that live as long as the table at `anchor`. */
void *bind_scratch(lua_State *L, int anchor, size_t size);

#endif
