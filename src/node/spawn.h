/* node/spawn.h - starts a child. */
#ifndef NODE_SPAWN_H
#define NODE_SPAWN_H

#include <baton/error.h>
#include <sys/types.h>

enum { NODE_CHILD_SOCKET = 3 }; /* the descriptor by which the child finds its end of the socket */

/* Starts `program` with `socket` as its NODE_CHILD_SOCKET, standard output and standard error of this process, nothing on standard
** input, and no other descriptor; signals as at the beginning of a program, in a process group of its own, so that Ctrl-C in a
** terminal is not for it. The caller waits for *pid. `resource_limit`, `out_of_memory` or `io_error`, with the program as path.
** Any thread. */
BATON_MUST_CHECK baton_status node_spawn(const char *program, int socket, pid_t *pid, baton_error *err);

#endif
