/* node/draft.h - a submit under way: its arguments checked and turned into what the engine, the workers and the host tensors
** need to know. Private to src/node; on the thread of the builder. */
#ifndef NODE_DRAFT_H
#define NODE_DRAFT_H

#include "chip/program/signature.h"
#include "node/node.h"

/* One member as it was submitted. */
typedef struct node_part {
  const baton_node_value *values;
  uint32_t nvalues;
  int32_t worker;
  const char *data; /* of a script */
  uint64_t bytes;
} node_part;

typedef struct node_draft {
  baton_node_orch *o;
  const char *who; /* begins messages */
  node_operation operation;
  const node_callable *callable; /* NULL: none */
  node_kind kind;
  node_lane lane;
  const node_part *parts;
  uint32_t nparts;
  const baton_node_task_options *options;
  uint64_t buffer, size; /* of the command */
  /* found by node_draft_check; scratch of the orchestration */
  chip_value *checked;
  task_access *accesses;
  uint32_t *modes; /* by value: TASK_READS | TASK_WRITES, 0 */
  int32_t *places; /* by part */
  uint32_t nvalues, naccesses, room;
  node_config config;
  int has_config;
} node_draft;

/* Checks everything that needs no lock: signatures, tags, overlap, memory, places. Fills in what is found. */
BATON_MUST_CHECK baton_status node_draft_check(node_draft *draft, baton_error *err);

/* True if the config of a run says something that its programs are told: its deadline is the run's own. */
int node_draft_configures(const baton_config *config);

/* What a task does to the memory of argument `i`, from 0: TASK_READS | TASK_WRITES, 0. `signature` (NULL: none) has that many. */
uint32_t node_mode_of(const chip_signature *signature, const baton_node_value *value, uint32_t i);

/* Bytes of argument memory that the task takes. */
uint64_t node_draft_size(const node_draft *draft);

/* Fills in the task. Its uses have begun then. With the lock held; `stale_handle`, `closed` for buffers that died meanwhile, and
** `out_of_memory`: nothing is held then. */
BATON_MUST_CHECK baton_status node_draft_fill(const node_draft *draft, node_task *task, baton_error *err);
/* Takes that back, when the task is over or was not submitted; `failure` is why its writes did not happen, or NULL. With the lock
** held. */
void node_draft_drop(node_task *task, const baton_error *failure);

void node_draft_free(node_draft *draft);

#endif
