/* bind/arguments.h - argument lists: one rule at every level. */
#ifndef BIND_ARGUMENTS_H
#define BIND_ARGUMENTS_H

#include "bind/bind.h"
#include "chip/program/signature.h"
#include <baton/orchestration.h>
#include <baton/worker.h>

/* A tagged argument: baton.input(t), baton.output{…}, baton.scalar("f32", 1.5), … User value 1 is the tensor. */
typedef struct bind_argument {
  baton_tag tag;
  int fresh;       /* output{dtype, shape}: the runtime owns the memory */
  baton_arg value; /* scalars: tag, dtype and value; fresh outputs: dtype and shape in the view */
} bind_argument;

/* What baton.args made. User value 1 is the table of its entries. A graph that submits it keeps them here as well, so that
** the next submit need not look at the table; whoever replaces an entry of the table sets `graph` to 0. */
typedef struct bind_list {
  uint64_t graph;                  /* number of the graph that `items` are of; 0: none */
  const chip_signature *signature; /* entries by name: whose order the items have; NULL: by position */
  uint32_t count;                  /* entries of the table */
  baton_arg items[];
} bind_list;

extern const char bind_argument_class[], bind_list_class[];

/* The tagged argument at `index`; NULL for what is none. */
const bind_argument *bind_test_argument(lua_State *L, int index);

/* Replaces the tensor on top of the stack by a tagged argument. */
void bind_tag_tensor(lua_State *L, baton_tag tag);

/* Pushes a scalar as baton.scalar does. */
void bind_push_scalar(lua_State *L, baton_arg scalar);

/* True for a list of arguments: a table, or what baton.args made. */
int bind_is_list(lua_State *L, int index);

/* Pushes the entries of the list at `index` in order and returns how many: an array in signature order, or a table keyed
** by the names of `signature` (NULL: none, arrays only). Extra, missing and unknown entries raise `signature`; `who`
** begins the message ("gemm"). */
int bind_push_arguments(lua_State *L, int index, const chip_signature *signature, const char *who);

/* Reads a number, a boolean or baton.scalar; false for anything else. */
int bind_to_scalar(lua_State *L, int index, baton_arg *out);

/* Reads the entry at `index`, argument `position` (from 0), as a value of a run. */
void bind_to_value(lua_State *L, int index, int position, const chip_signature *signature, const char *who,
                   baton_value *value);

/* Reads the `count` entries from index `first` on as values of a run. `who` and `signature` as above, for messages. */
void bind_to_values(lua_State *L, int first, int count, const chip_signature *signature, const char *who,
                    baton_value *values);

#endif
