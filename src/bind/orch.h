/* bind/orch.h - an orchestrating function that runs: `orch`, and what its calls are handed. */
#ifndef BIND_ORCH_H
#define BIND_ORCH_H

#include "bind/arguments.h"
#include "bind/buffer.h"
#include "bind/node.h"

/* Lives as long as `orch`; dead after the function returned. User value 1 is the run that node:submit returns, or the node. */
typedef struct bind_orch {
  baton_node_orch *o; /* NULL: dead */
  baton_node *node;
  baton_error *err,
      *failure; /* for the call that follows, and of orch.fail: the caller's, good as long as `o` is */
  const struct bind_run *run; /* what node:submit returns; NULL: node:run */
  uint64_t number;            /* no other orch and no graph has it */
  /* the metatables of what a submit is handed */
  const void *tensors, *intermediates, *children, *arguments, *lists, *programs;
} bind_orch;

/* Pushes `orch` for a node, which the object at `owner` keeps; `orch->o` is the caller's to end. */
bind_orch *bind_push_orch(lua_State *L, baton_node_orch *o, baton_node *node, baton_error *err,
                          baton_error *failure, int owner);

/* The orch of the running function, called as orch.name(…); upvalues: the orch, and the name of the function. Raises if it is
** dead or has failed. */
bind_orch *bind_check_orch(lua_State *L);

/* One call of an orchestrating function under way. */
typedef struct bind_orchestration {
  lua_State *L;
  baton_node *node;
  bind_orch *orch;            /* NULL: not made yet */
  baton_error *err;           /* of calls of orch; not the shared one: the function may use that */
  baton_error *failure;       /* of orch.fail */
  int first;                  /* stack index of the node, the function and its arguments */
  int owner;                  /* stack index of what keeps the node */
  const struct bind_run *run; /* that will be returned; NULL: none */
  int64_t round;              /* what the function is handed as a third; 0: nothing */
  int raised;                 /* stack index of the error that the function raised; 0: none */
} bind_orchestration;

/* Pushes what the call needs. */
void bind_orchestration_begin(lua_State *L, bind_orchestration *call, int first);
/* A baton_node_function whose context is the call. What the function raises stays on the stack. */
baton_status bind_orchestrate(baton_node_orch *o, void *context, baton_error *err);

/* "orch.NAME" of the running function. It lives as long as the function. */
const char *bind_orch_who(lua_State *L);

/* --- Tasks: integers, so that a submit makes no garbage; sub functions have objects, for their results --- */

void bind_push_node_task(lua_State *L, const bind_orch *orch, baton_task task);

/* A task of Lua functions. User value 1 is the orch. */
typedef struct bind_sub_task {
  baton_task task;
  const bind_orch *orch;
  uint32_t members;
} bind_sub_task;
extern const char bind_sub_task_class[];
void bind_open_sub_tasks(lua_State *L);

/* The task at `index`; false for what is none, `stale_handle` for one of another run. */
int bind_test_node_task(lua_State *L, const bind_orch *orch, int index, baton_task *task);

/* --- Operands ------------------------------------------------------------------------------------------- */

/* An argument of a submit, and how to tell that it is still what it was. */
typedef struct bind_orch_item {
  baton_node_value value;
  baton_tensor *const *tensor; /* host tensors: where their userdata has them; NULL there once closed */
  int fresh;                   /* output{dtype, shape}: the stack has the intermediate now */
} bind_orch_item;

/* Reads the value at `index` if it is a live argument of any kind but output{…}. Raises nothing. */
int bind_take_value(lua_State *L, const bind_orch *orch, int index, bind_orch_item *out);

/* Reads any argument; output{dtype, shape} gets memory, and the stack its intermediate in place of the argument. `who`,
** `position` (from 1) and `signature` (NULL: none) are for messages. */
void bind_read_value(lua_State *L, const bind_orch *orch, int index, const chip_signature *signature,
                     const char *who, int position, bind_orch_item *out);

/* Reads the `count` entries from index `first` on. Returns how many output{dtype, shape} were among them. */
int bind_read_values(lua_State *L, const bind_orch *orch, int first, int count,
                     const chip_signature *signature, const char *who, baton_node_value *values);

/* Pushes the intermediates that took the place of output{dtype, shape} in these; returns how many. */
int bind_push_fresh(lua_State *L, const bind_orch *orch, int first, int count,
                    const baton_node_value *values);

/* Makes memory for output{dtype, shape} and pushes it as a tensor. */
void bind_push_intermediate(lua_State *L, const bind_orch *orch, baton_dtype dtype, int ndim,
                            const int64_t *shape);

/* --- Calls ---------------------------------------------------------------------------------------------- */

/* Which options a submit has besides deps, name and priority. */
enum { BIND_ORCH_CONFIG = 1, BIND_ORCH_WORKER = 2, BIND_ORCH_WORKERS = 4 };

/* The options of a submit. */
typedef struct bind_orch_options {
  baton_node_task_options base;
  baton_config config;
  const int32_t *workers; /* a place for each member of a group; NULL: any */
} bind_orch_options;

/* Reads the options at index `table`, of a group of `members`, and leaves what must live as long as `out` on the stack. */
void bind_read_orch_options(lua_State *L, const bind_orch *orch, int table, int which, int members,
                            bind_orch_options *out);

/* The members of a group. */
typedef struct bind_group {
  baton_node_member *members;
  uint32_t count;
  baton_node_value *values; /* of all members, one after the other */
  int first, nvalues;       /* where the stack has their entries */
  int fresh;
} bind_group;

/* Reads the list of lists at `index`; all of it lives as long as the stack. */
void bind_read_group(lua_State *L, const bind_orch *orch, int index, const chip_signature *signature,
                     const char *who, bind_group *out);

/* A submit of the core, of one task and of a group. */
typedef baton_status bind_submit(baton_node_orch *o, baton_program *program, const baton_node_value *values,
                                 uint32_t nvalues, const baton_node_task_options *options, baton_task *out,
                                 baton_error *err);
typedef baton_status bind_submit_group(baton_node_orch *o, baton_program *program,
                                       const baton_node_member *members, uint32_t count,
                                       const baton_node_task_options *options, baton_task *out,
                                       baton_error *err);

/* (callable, list [, options]) and (callable, {list…} [, options]) by such a submit, which has these options. */
int bind_submit_program(lua_State *L, bind_submit *core, int which);
int bind_submit_program_group(lua_State *L, bind_submit_group *core, int which);

/* Raises if there is anything behind the options. */
void bind_check_submit_top(lua_State *L);

int bind_orch_submit(lua_State *L);       /* orch.submit_next_level(callable, list [, options]) */
int bind_orch_submit_group(lua_State *L); /* orch.submit_next_level_group(callable, {list…} [, options]) */
int bind_orch_submit_sub(lua_State *L);   /* orch.submit_sub(fn, list [, options]) */
int bind_orch_submit_sub_group(lua_State *L); /* orch.submit_sub_group(fn, {list…} [, options]) */
int bind_orch_malloc(lua_State *L);           /* orch.malloc(worker, nbytes) */
int bind_orch_free(lua_State *L);             /* orch.free(buffer) */
int bind_orch_copy_to(lua_State *L);          /* orch.copy_to(buffer, host [, options]) */
int bind_orch_copy_from(lua_State *L);        /* orch.copy_from(host, buffer [, options]) */

#endif
