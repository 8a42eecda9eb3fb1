/* node/callable.h - the programs that a node's workers have been told.
**
** A program becomes known at its first submit, or by baton_node_register: it is compiled and packed, and every worker is told at
** once; a new one is told all that it can run. So a submit only finds its number. Programs whose packs have the same bytes share one. Has
** a lock of its own: telling workers takes long, and drivers go on meanwhile. Order of locks: this one, then node->lock. */
#ifndef NODE_CALLABLE_H
#define NODE_CALLABLE_H

#include "node/endpoint.h"

typedef struct node_callable {
  baton_program *program; /* its own hold */
  const void *signature;  /* chip_signature; NULL: none */
  node_bytes pack;
  uint32_t number; /* from 1 */
  int is_host;     /* a function of the host, not a device program */
} node_callable;

enum { NODE_ALIASES = 1024 };

typedef struct node_callables {
  pthread_mutex_t lock;
  node_callable **items;
  uint32_t count, room;
  /* Programs seen lately, by their number (chip_program_number): a hint that saves the packing. */
  struct node_alias {
    uint64_t program; /* 0: none */
    node_callable *callable;
  } aliases[NODE_ALIASES];
} node_callables;

/* The callable of a program; tells all workers if it is new. Without node->lock. */
BATON_MUST_CHECK baton_status node_callable_find(baton_node *node, baton_program *program,
                                                 node_callable **out, baton_error *err);
/* Tells a new worker all that it can run. Without node->lock; callables.lock is held. */
struct node_worker;
BATON_MUST_CHECK baton_status node_callables_tell(baton_node *node, const struct node_worker *worker,
                                                  baton_error *err);
void node_callables_close(node_callables *callables);

#endif
