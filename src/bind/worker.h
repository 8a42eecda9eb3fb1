/* bind/worker.h - workers in Lua, and what belongs to them: runs, buffers, handles. */
#ifndef BIND_WORKER_H
#define BIND_WORKER_H

#include "bind/graph.h"
#include <baton/buffer.h>
#include <baton/node.h>

/* The worker at `arg`, closed or not; raises `invalid_argument` for what is none. */
baton_worker *bind_check_worker(lua_State *L, int arg);

/* Pushes "file:line" of the Lua code that called the running function; NULL, with nothing pushed, if it is
** none. */
const char *bind_push_place(lua_State *L);

/* What chips and nodes have in common: a table that keeps nothing alive, for handles; "ready", "busy", …; what programs read;
** text for people, returned or written to the path at index 2. */
void bind_push_weak_table(lua_State *L);
const char *bind_state_word(baton_worker_state state);
void bind_push_stats(lua_State *L, const baton_stats *stats);
int bind_give_dump(lua_State *L, size_t (*dump)(void *of, char *text, size_t size), void *of);

/* Methods of workers, and the classes that go with them: run.c, rounds.c, buffer.c, handle.c. */
extern const luaL_Reg bind_run_methods[], bind_rounds_methods[], bind_buffer_methods[], bind_handle_methods[];
void bind_open_runs(lua_State *L);
void bind_open_rounds(lua_State *L);
void bind_open_buffers(lua_State *L);
void bind_open_handles(lua_State *L);

/* The child memory at `index` as a value of a run; false for anything else. The value is good as long as
** the stack keeps it. */
int bind_test_child(lua_State *L, int index, baton_value *value);

/* A hold of a program that the Lua state owns. */
typedef struct bind_program_hold {
  baton_program *program; /* NULL: given back */
} bind_program_hold;

/* If the value at `index` is a handle of the worker: replaces it by the program that Lua registered,
** pushes a hold of the program, and returns it. NULL, with nothing pushed, for what is no handle. */
bind_program_hold *bind_resolve_handle(lua_State *L, baton_worker *worker, int index);
void bind_program_release(bind_program_hold *hold);

/* A call under way: (worker, program or handle, list [, config]). */
typedef struct bind_submission {
  baton_worker *worker;
  baton_program *program;
  bind_program_hold *hold; /* of a program that came as a handle; NULL */
  baton_value *values;
  uint32_t count;
  baton_config config;
} bind_submission;

/* Reads it from indices 1 to 4; what it points to lives as long as the stack. A handle is replaced by its program. */
void bind_read_submission(lua_State *L, bind_submission *s);

/* Raises what a Lua function on the way has raised, at stack index `raised`, as it is; without one (0) `err`. */
int bind_raise_outcome(lua_State *L, int raised, baton_error *err);

/* A submitted run; both NULL: closed. User value 1 is its worker or node, 2 what it was given. */
typedef struct bind_run {
  baton_run *chip;
  baton_node_run *node;
} bind_run;

/* Pushes a closed run of the worker or node at `owner`, to be opened through the result. */
bind_run *bind_push_new_run(lua_State *L, int owner);

void bind_push_timing(lua_State *L, const baton_timing *timing);

#endif
