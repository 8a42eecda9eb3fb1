/* bind/buffer.h - device memory in Lua: one class for buffers of chips and of nodes, and the tensors in them. */
#ifndef BIND_BUFFER_H
#define BIND_BUFFER_H

#include "bind/bind.h"
#include <baton/buffer.h>
#include <baton/node.h>

/* Where a buffer of a node died; that of a chip knows it by itself. */
typedef enum bind_buffer_life { BIND_BUFFER_LIVE, BIND_BUFFER_FREED, BIND_BUFFER_CLOSED } bind_buffer_life;

/* User value 1 is its worker or node; of a node, 2 is where in Lua it died. */
typedef struct bind_buffer {
  baton_buffer *chip;      /* of a chip; NULL: of a node, or it never was */
  baton_node_buffer *node; /* of a node; NULL: of a chip, dead, or it never was */
  uint64_t nbytes;         /* of a node, as is the rest */
  uint32_t worker;
  bind_buffer_life life;
  int of_node;
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

/* The live buffer of a node at `index`. A dead one raises `stale_handle` or `closed`, or `double_free` if it is to be freed,
** and says where it died; one of a chip `wrong_device`. */
bind_buffer *bind_check_node_buffer(lua_State *L, int index, int to_free);

/* Makes the live buffer of a node at `index` dead, for a reason. The memory goes back as its users end. */
void bind_end_node_buffer(lua_State *L, int index, bind_buffer_life life);

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
