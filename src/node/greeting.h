/* node/greeting.h - the memory that a process shares with one child, and what it says there at the beginning.
**
** The memory has, in this order: the greeting; an answer, which the child writes when something fails; the buffers that it takes
** over; the mailbox, from a page on. It is made anew for each child. The greeting is written before the child starts, the answer is
** read after the child has said that it failed, or is dead. */
#ifndef NODE_GREETING_H
#define NODE_GREETING_H

#include "node/command.h"
#include "node/executor.h"
#include <baton/worker.h>
#include <limits.h>
#include <sys/types.h>

/* Bytes of a segment of the parent. */
typedef struct node_place {
  uint32_t segment;
  uint64_t offset, bytes;
} node_place;

/* baton_worker_options without pointers. */
typedef struct node_chip_options {
  char platform[32], devices[16], fault_call[32];
  uint64_t fault_nth;
  int32_t fault_forever;
  uint32_t threads;
  node_config config;
  baton_arena arena;
} node_chip_options;

/* baton_node_options without pointers, of a node without children. */
typedef struct node_node_options {
  struct {
    char platform[32];
    uint32_t device;
  } chips[BATON_NODE_WORKERS];
  uint32_t nchips, subs, threads, isolation;
  uint64_t heap;
  node_config config;
  baton_arena arena;
  double startup_timeout, wait_device;
  char worker_program[PATH_MAX];
} node_node_options;

typedef struct node_greeting {
  char magic[8];
  char version[24];
  uint64_t bytes;   /* of the whole memory */
  uint64_t mailbox; /* where it begins */
  uint32_t worker;  /* id within its kind */
  uint32_t started; /* how often this worker was started, with this time */
  int32_t parent;   /* process */
  uint32_t nkept;
  node_place bell, device_memory;
  uint32_t has_chip; /* what the worker is; neither: a sub worker, and what follows means nothing */
  uint32_t has_node;
  union {
    node_chip_options chip;
    node_node_options node;
  };
} node_greeting;

typedef struct node_shared {
  void *memory; /* NULL: none */
  uint64_t bytes;
} node_shared;

/* `resource_limit`, `invalid_argument` or `out_of_range` for texts and numbers that do not fit; fills in the part of a chip. */
BATON_MUST_CHECK baton_status node_greeting_set_chip(node_greeting *greeting,
                                                     const baton_worker_options *chip, uint32_t device,
                                                     baton_error *err);
/* The same for a node, whose chips all have a device; `worker_program` is what its own children execute. */
BATON_MUST_CHECK baton_status node_greeting_set_node(node_greeting *greeting, const baton_node_options *node,
                                                     const char *worker_program, baton_error *err);
/* The options, whose texts lie in `greeting`, and whose chips in `chips`. */
baton_node_options node_greeting_node(const node_greeting *greeting,
                                      baton_node_chip chips[BATON_NODE_WORKERS]);
/* The options, whose texts lie in `greeting`. */
baton_worker_options node_greeting_chip(const node_greeting *greeting);

/* Makes the memory with a greeting, into which it writes magic, version, sizes and parent, and the list of buffers. *fd is the
** caller's, as is the mapping. */
BATON_MUST_CHECK baton_status node_greeting_make(const node_greeting *greeting, const node_kept *kept,
                                                 uint32_t nkept, node_shared *out, int *fd, baton_error *err);
void node_shared_unmap(node_shared *shared);

/* In the child: maps the memory, and copies the greeting, after a check. `protocol_error` for what is no greeting of this version. */
BATON_MUST_CHECK baton_status node_greeting_read(int fd, uint64_t bytes, node_shared *out,
                                                 node_greeting *greeting, baton_error *err);

/* Where the parts are. */
const node_kept *node_greeting_kept(const node_shared *shared);
void *node_greeting_mailbox(const node_shared *shared, const node_greeting *greeting);

/* Child: leaves an error for the parent. Parent: reads it; false if there is none. */
void node_answer_write(const node_shared *shared, const baton_error *answer);
int node_answer_read(const node_shared *shared, baton_error *answer);

#endif
