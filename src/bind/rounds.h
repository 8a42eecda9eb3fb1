/* bind/rounds.h - one class for rounds of chips and of nodes. */
#ifndef BIND_ROUNDS_H
#define BIND_ROUNDS_H

#include "bind/bind.h"
#include <baton/node.h>
#include <baton/rounds.h>

struct bind_orchestration;

/* One of both is NULL; both are: they never opened, or were collected. Of a chip: user values 1 the worker, 2 the program. Of a
** node: 1 the node, 2 the function, 3 its arguments, 4 where each resident tensor stands among those. */
enum { BIND_ROUNDS_VALUES = 4 };
typedef struct bind_rounds {
  baton_rounds *chip;
  baton_node_rounds *node;
  struct bind_orchestration *call; /* of a node: the launch under way */
  int ended;                       /* a round has ended well */
} bind_rounds;

/* Pushes closed rounds with `count` user values, from index `first` on, to be opened through the result. */
bind_rounds *bind_push_new_rounds(lua_State *L, int first, int count);

/* Steps of rounds of a node, which are at index 1: with other arguments, or nil, at index 2; and without. */
void bind_node_init_round(lua_State *L, bind_rounds *rounds);
void bind_node_launch(lua_State *L, bind_rounds *rounds);

#endif
