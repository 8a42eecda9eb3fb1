/* node/channel.h - the socket between a process and its child: small messages in order, some with a descriptor.
**
** Memory goes this way, and the word that the child is ready; commands and replies do not (node/mailbox.h). Whoever looks at the
** socket also learns that the other side has died. Each end has one writer and one reader at a time. */
#ifndef NODE_CHANNEL_H
#define NODE_CHANNEL_H

#include <stdint.h>

typedef enum node_message_kind {
  NODE_MESSAGE_MEMORY = 1, /* to the child, first: `size` bytes with a greeting (node/greeting.h) */
  NODE_MESSAGE_SEGMENT,    /* to the child: segment `number` of the parent, `size` bytes */
  NODE_MESSAGE_READY,      /* from the child */
  NODE_MESSAGE_FAILED      /* from the child, which ends: the answer of the greeting says why */
} node_message_kind;

typedef struct node_message {
  uint32_t kind, number;
  uint64_t size;
} node_message;

/* Two ends that are closed when a program is executed; 0 or an errno. */
int node_channel_open(int ends[2]);

/* Never waits. `fd` < 0: none; it stays the caller's. 0 or an errno: EAGAIN without room, EPIPE when the other side is gone. */
int node_channel_send(int socket, const node_message *message, int fd);

/* Never waits. 0 and a message, with a descriptor of the caller's in *fd or -1; or an errno: EAGAIN without a message, EPIPE when
** the other side is gone, EMFILE when its descriptor found no place, EPROTO for what is no message. */
int node_channel_receive(int socket, node_message *message, int *fd);

#endif
