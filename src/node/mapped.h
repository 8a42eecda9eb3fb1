/* node/mapped.h - the segments of the parent in a child: mapped when they come, whole, at one place until the end.
**
** Segments are added by the thread that reads the socket; commands that name one may be a moment ahead of it, and wait. */
#ifndef NODE_MAPPED_H
#define NODE_MAPPED_H

#include <baton/error.h>

typedef struct node_mapped node_mapped;

BATON_MUST_CHECK baton_status node_mapped_open(node_mapped **out, baton_error *err);
/* What is added from now on is a segment of this process too, for its own children, and stays mapped. */
void node_mapped_offer(node_mapped *mapped);
/* Nobody uses the memory any more. NULL is ignored. */
void node_mapped_close(node_mapped *mapped);

/* Maps segment `number`, `size` bytes of `fd`, which stays the caller's. A second time: nothing. What fails is told to those who wait
** for the segment. One thread at a time. */
void node_mapped_add(node_mapped *mapped, uint32_t number, uint64_t size, int fd);

/* The first of `bytes` bytes at `offset` of a segment; NULL: they do not lie in it, or it does not come (`protocol_error`), or could
** not be mapped. For node_memory_map, with `mapped` as context. A segment that is here costs one load. Any thread. */
void *node_mapped_resolve(void *mapped, uint32_t segment, uint64_t offset, uint64_t bytes, baton_error *err);

#endif
