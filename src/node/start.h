/* node/start.h - threads of the node. */
#ifndef NODE_START_H
#define NODE_START_H

#include <baton/error.h>
#include <pthread.h>

/* Starts a thread that takes no signal which is sent to the process; those of its own faults it takes. `name` has at most 15
** characters. `resource_limit` when the machine refuses a thread. */
BATON_MUST_CHECK baton_status node_thread_start(pthread_t *thread, const char *name, void *(*entry)(void *),
                                                void *argument, baton_error *err);

#endif
