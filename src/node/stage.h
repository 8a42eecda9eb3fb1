/* node/stage.h - memory that a caller wrapped, for workers that are other processes: such a value goes there and back by way of a
** contiguous copy in a segment. Private to src/node; with the lock held. */
#ifndef NODE_STAGE_H
#define NODE_STAGE_H

#include "node/node.h"

/* Before the member is sent: if no segment has the memory of its value `i`, a host tensor, that becomes a copy. Everything is copied,
** also for a task that only writes: what it leaves out must come back as it was. Once is enough for a member. `out_of_memory`. */
BATON_MUST_CHECK baton_status node_stage_value(node_member *member, uint32_t i, baton_error *err);

/* The member has ended well: what it may have written goes back, element by element, so that what lies between them is not touched. */
BATON_MUST_CHECK baton_status node_stage_return(const node_member *member, baton_error *err);

/* The copies go. Without any nothing happens, here and above. */
void node_stage_free(node_member *member);

#endif
