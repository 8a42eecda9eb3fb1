/* bind/buffer.h - device memory in Lua: one class for buffers of chips and of nodes, and the tensors in them. */
#ifndef BIND_BUFFER_H
#define BIND_BUFFER_H

#include "bind/bind.h"
#include <baton/buffer.h>
#include <baton/node.h>

/* User value 1 is its worker or node. */
typedef struct bind_buffer {
  baton_buffer *chip;      /* of a chip … */
  baton_node_buffer *node; /* … or of a node; both NULL: it never was, or was collected */
} bind_buffer;

/* A tensor in a buffer. User value 1 is the buffer, 2 the shape once somebody asked for it. */
typedef struct bind_child {
  baton_view view;
} bind_child;

extern const char bind_child_class[];

/* Pushes a buffer that never was, of the worker or node at `owner`. */
bind_buffer *bind_push_new_buffer(lua_State *L, int owner);

/* NULL for what is no buffer. */
bind_buffer *bind_test_buffer(lua_State *L, int index);

/* Raises `invalid_argument` for what is no buffer. */
bind_buffer *bind_check_buffer(lua_State *L, int index);

/* The buffer of a node at `index`, dead or alive; one of a chip raises `wrong_device`. */
baton_node_buffer *bind_check_node_buffer(lua_State *L, int index);

/* The arguments of copy_to and copy_from: `buffer` and `host` are indices in the order of destination and source, the
** options stand behind both. Positions in messages count from `first`. */
typedef struct bind_copy {
  bind_buffer *buffer;
  baton_tensor *host;
  uint64_t offset, nbytes;
  int whole; /* nbytes are those of the tensor */
} bind_copy;
bind_copy bind_read_copy(lua_State *L, int buffer, int host, int first);

#endif
