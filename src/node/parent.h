/* node/parent.h - what a child has of its parent: a thread that reads the socket, and ends the process when the parent is gone.
**
** The thread sleeps in the kernel and takes no lock that anything else holds for long, so it sees to it also while a kernel hangs. */
#ifndef NODE_PARENT_H
#define NODE_PARENT_H

#include "node/mapped.h"

typedef struct node_parent node_parent;

enum { NODE_PARENT_GONE = 3 }; /* exit status of an orphan */

/* From now on segments that arrive are added to `mapped`, and this process ends when process `pid`, its parent, has. */
BATON_MUST_CHECK baton_status node_parent_open(int socket, int pid, node_mapped *mapped, node_parent **out,
                                               baton_error *err);
/* The end of this process is its own affair from now on. NULL is ignored. */
void node_parent_close(node_parent *parent);

#endif
