/* node/connection.h - what a process makes for one child: shared memory and a socket.
**
** The child has a segment when its descriptor was sent: it maps it when it reads that. One thread at a time. */
#ifndef NODE_CONNECTION_H
#define NODE_CONNECTION_H

#include "base/segment.h"
#include "node/greeting.h"
#include "node/kept.h"
#include "node/mailbox.h"

typedef struct node_connection {
  node_shared shared;
  int socket; /* our end */
  uint64_t
      sent[BASE_SEGMENTS / 64]; /* a bit for each segment that the child has, or will find in its socket */
} node_connection;

/* Makes all of it, attaches *mailbox to it, greets, and sends the segments that the greeting names. `greeting` lacks only what
** node_greeting_make writes. The caller detaches *mailbox before it closes *out, and closes *theirs, the end of the child, when that is started. On failure *out is as closed. `resource_limit` without a
** descriptor. */
BATON_MUST_CHECK baton_status node_connection_open(const node_greeting *greeting, node_kept_list *kept,
                                                   node_doorbell *bell, node_connection *out,
                                                   node_mailbox *mailbox, int *theirs, baton_error *err);
void node_connection_close(node_connection *connection);

/* Sees to it that the child has a segment. Never waits; 0 or an errno of node_channel_send. */
int node_connection_send_segment(node_connection *connection, uint32_t number);

#endif
