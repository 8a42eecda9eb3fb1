/* node/executor.h - carries out commands: the same for a thread of this process and for a child.
**
** An executor has one chip, or a node, or neither (a sub worker). With a node each call is a run of it. The commands of one lane come one after the other on one thread, the
** lanes at the same time. */
#ifndef NODE_EXECUTOR_H
#define NODE_EXECUTOR_H

#include "node/mailbox.h"
#include "node/scripts.h"

/* Where host memory of commands lies in this process. */
typedef struct node_memory_map {
  void *context;
  /* The first of `bytes` bytes at `offset` of the sender's segment `segment` (from 0), which stay mapped; NULL: refused. `segment`
  ** UINT32_MAX: `offset` is an address of this process. */
  void *(*resolve)(void *context, uint32_t segment, uint64_t offset, uint64_t bytes, baton_error *err);
} node_memory_map;

/* A buffer that a server has, as its successor is told (node_endpoint_keep). */
typedef struct node_kept {
  uint64_t number;  /* as commands name it */
  uint64_t address; /* on the device, as the reply of NODE_MALLOC said */
  uint64_t nbytes;
} node_kept;

typedef struct node_executor_options {
  const baton_worker_options *chip; /* NULL: none */
  const baton_node_options *node;   /* NULL: none */
  const node_script_calls *scripts; /* NULL: Lua functions are `unsupported` */
  node_memory_map memory;
  uint32_t worker; /* its id, for errors */
  int in_process; /* commands come from this process: host memory and programs are where their addresses say */
  /* Memory of the chip that outlives the executor, page-aligned. Who gives it has claimed the device. NULL: the chip has its own
  ** memory, and claims. */
  void *device_memory;
  uint64_t device_memory_bytes;
  const node_kept *kept; /* buffers in that memory, alive from the beginning; read while the executor opens */
  uint32_t nkept;
} node_executor_options;

typedef struct node_executor node_executor;

/* How a command on the task lane that is fed gets more: publishes a reply that asks, and waits for the block, which lives until the
** next call; `out` NULL: no more is wanted. `worker_lost`: the other side is gone; `protocol_error`: it has sent something else. */
typedef struct node_feed {
  void *context;
  baton_status (*ask)(void *context, const node_reply *reply, const node_command **out, baton_error *err);
} node_feed;

/* Before the first command. */
void node_executor_set_feed(node_executor *executor, const node_feed *feed);

BATON_MUST_CHECK baton_status node_executor_open(const node_executor_options *options, node_executor **out,
                                                 baton_error *err);
/* Ends the chip; what failed is the status. NULL is ignored. */
baton_status node_executor_close(node_executor *executor, baton_error *err);

/* Carries out a checked command. `reply` is as the executor leaves it until the next command of this lane: a block with status,
** times and data. Never fails otherwise. */
const node_reply *node_executor_do(node_executor *executor, node_lane lane, const node_command *command);

/* What belongs to this run or an earlier one is not begun any more, and what runs of it ends early: the tasks of a device program
** that have not begun, a script at its next instruction. A function of the host runs to its end. UINT32_MAX: also what belongs
** to no run. True: something of it still runs; a script that was about to begin has heard nothing, so who wants it to end
** calls again after a while. Any thread. */
int node_executor_cancel(node_executor *executor, uint32_t run);

/* Makes a chip that was lost ready again, within this process, and forgets what was cancelled. */
BATON_MUST_CHECK baton_status node_executor_restart(node_executor *executor, baton_error *err);

#endif
