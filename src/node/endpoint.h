/* node/endpoint.h - a worker seen from the scheduler: the third table of Baton. To add a kind of worker, fill one in.
**
** An endpoint has a mailbox; who serves it is what kinds differ in: a thread of this process (thread.c) or a child (process.c).
** So posting, polling and control calls are the mailbox's and the same for all; the table has what concerns the server's life.
**
** Threads: `post`s and polls come from the driver of the node, one thread at a time; control calls from any thread, under
** control_lock; `died` is set by the watcher and read by the driver. */
#ifndef NODE_ENDPOINT_H
#define NODE_ENDPOINT_H

#include "base/segment.h"
#include "node/executor.h"
#include "node/mailbox.h"
#include <pthread.h>

typedef struct node_endpoint node_endpoint;

typedef struct node_endpoint_options {
  const baton_worker_options *chip; /* NULL: no chip. `threads`, config, arena, … as for a chip of level 2 */
  const baton_node_options *node;   /* children: the server has a node, without children. NULL: none */
  const node_script_calls *scripts; /* thread isolation; a child has its own */
  const char *worker_program;       /* children; NULL: found beside the library or program */
  const base_extent *
      device_memory; /* children: of the chip; the caller's, who has claimed the device and keeps it until the
                                       endpoint is closed. NULL: its own, and it claims */
  uint32_t worker;   /* id within its kind */
  node_doorbell *bell;      /* in a base_extent, so that children find it */
  int64_t startup_deadline; /* base_now's clock */
} node_endpoint_options;

typedef struct node_endpoint_calls {
  const char *name; /* "thread", "process" */
  /* Begins to start the server, and returns; waits only for a device, `wait_device` of the chip at most. On failure nothing is
  ** left behind. */
  baton_status (*start)(const node_endpoint_options *options, node_endpoint **out, baton_error *err);
  /* Waits until the server is ready; after a failure it is as dead. */
  baton_status (*ready)(node_endpoint *endpoint, int64_t deadline, baton_error *err);
  /* Driver, before a command with host memory is posted: the server will find these bytes. False: it cannot (memory that a caller
  ** wrapped): the command needs a copy in a segment. NULL: the server is in this process and uses addresses. */
  int (*shares)(node_endpoint *endpoint, const void *address, uint64_t bytes, uint32_t *segment,
                uint64_t *offset);
  /* After a death or loss: ends what is left of the server and begins a new one on a fresh mailbox; `ready` follows, then the caller
  ** registers programs again. Buffers are as before (simulators). */
  baton_status (*restart)(node_endpoint *endpoint, baton_error *err);
  /* Why it died, once `died` is set: worker_lost with pid, signal or exit status. */
  void (*cause)(node_endpoint *endpoint, baton_error *err);
  /* Ends the server by force if it must, and frees. What failed is the status. */
  baton_status (*close)(node_endpoint *endpoint, int64_t deadline, baton_error *err);
} node_endpoint_calls;

extern const node_endpoint_calls node_endpoint_thread, node_endpoint_process;

typedef struct node_kept_list node_kept_list; /* node/kept.h */

/* First member of each kind's own struct. */
struct node_endpoint {
  const node_endpoint_calls *calls;
  node_mailbox mailbox;
  pthread_mutex_t control_lock; /* one control call at a time */
  uint64_t control_sequence;
  _Atomic uint32_t died; /* set before the doorbell of the node rings */
  int32_t pid;           /* of the child; 0: none */
  uint32_t started;      /* how often */
  node_kept_list *kept;  /* buffers that the next server is told of; NULL: each keeps its own */
};

/* What a restart does not lose: the server has this buffer, as the reply of its NODE_MALLOC says; it has it no more: its NODE_FREE
** was answered, or died with the server. Any thread. */
BATON_MUST_CHECK baton_status node_endpoint_keep(node_endpoint *endpoint, const node_kept *buffer,
                                                 baton_error *err);
void node_endpoint_forget(node_endpoint *endpoint, uint64_t number);

/* A control call: posts the command, waits for its reply. The reply's data is copied to `out` (NULL: unwanted). A failure of the
** command is the status, as unpacked; the death of the server `worker_lost`; `timeout` after the deadline. Any thread. */
BATON_MUST_CHECK baton_status node_endpoint_control(node_endpoint *endpoint, node_command *command,
                                                    int64_t deadline, node_bytes *out, baton_error *err);

/* The loop of a server: the tasks on this thread, the other lanes on threads of their own, until NODE_END or abandoned. */
baton_status node_serve(node_mailbox *mailbox, node_executor *executor, baton_error *err);

#endif
