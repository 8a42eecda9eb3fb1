/* node/kept.h - the buffers of a worker, as its next server is told of them.
**
** Numbers are given out in ascending order and mostly arrive so: the list is sorted by them, and an insertion at the end moves
** nothing. Any thread. */
#ifndef NODE_KEPT_H
#define NODE_KEPT_H

#include "node/executor.h"

typedef struct node_kept_list node_kept_list;

/* NULL when memory is out. */
node_kept_list *node_kept_open(void);
/* NULL is ignored. */
void node_kept_close(node_kept_list *list);

BATON_MUST_CHECK baton_status node_kept_add(node_kept_list *list, const node_kept *buffer, baton_error *err);
/* Does nothing for an unknown number. */
void node_kept_remove(node_kept_list *list, uint64_t number);

/* Calls `take` with all buffers, sorted by number, while the list does not change; returns what that returns. */
baton_status node_kept_with(node_kept_list *list,
                            baton_status (*take)(void *context, const node_kept *buffers, uint32_t count,
                                                 baton_error *err),
                            void *context, baton_error *err);

#endif
