/* node/resident.h - host tensors that rounds copy to a worker once, and the tasks that read the copies. Private to src/node; on
** the thread that has the rounds. */
#ifndef NODE_RESIDENT_H
#define NODE_RESIDENT_H

#include "node/draft.h"

/* What one worker has of a tensor. */
typedef struct node_resident_copy {
  baton_node_buffer *buffer; /* NULL: nothing yet */
  int current;               /* it holds, or will when its tasks are over, what the tensor does */
  int touched;               /* in this round */
} node_resident_copy;

typedef struct node_resident {
  baton_tensor *tensor; /* its own */
  uint64_t bytes;
  int is_written; /* by the task that is being submitted */
  node_resident_copy copies[BATON_NODE_WORKERS];
} node_resident;

struct node_residents {
  node_resident *items;
  uint32_t count;
  uint32_t given[BATON_NODE_WORKERS]; /* tasks of this round that read copies there */
  baton_node_value *values;           /* scratch of one submit, with as many views */
  baton_view *views;
  uint32_t room;
};

BATON_MUST_CHECK baton_status node_residents_open(baton_tensor *const *tensors, uint32_t count,
                                                  node_residents *out, baton_error *err);
/* Zero again; the memory of the workers goes back when its last task is over. */
void node_residents_close(node_residents *residents);

/* Another tensor of the same dtype and shape, which is copied at its next use. On failure nothing has changed. */
BATON_MUST_CHECK baton_status node_residents_replace(node_residents *residents, uint32_t index,
                                                     baton_tensor *tensor, baton_error *err);

/* A round begins; one has failed: what it was to copy may not be there. */
void node_residents_begin(node_residents *residents);
void node_residents_distrust(node_residents *residents);

/* Before a submit of a device program: each member that reads resident tensors gets a place, and in `parts` the copies there instead
** of the tensors; copies that are missing are submitted first. What the task itself writes stays what it is. The parts point to
** scratch until the next call. */
BATON_MUST_CHECK baton_status node_residents_place(node_residents *residents, baton_node_orch *o,
                                                   const chip_signature *signature, node_part *parts,
                                                   uint32_t count, baton_error *err);

/* Copies of what a checked task will write are copied again. */
void node_residents_note(node_residents *residents, const node_draft *draft);

#endif
