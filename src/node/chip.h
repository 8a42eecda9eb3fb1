/* node/chip.h - the child behind one chip with process isolation (chip/elsewhere.h). Private to src/node/chip*.c.
**
** The memory of the device is one extent in two halves. The first is the device of this process, which places arguments and
** buffers there; the child knows it as one live buffer, in which every argument is a view. The second is the child's own, for
** the heaps of its engines.
**
** A run is a command on the task lane, one at a time: the device's thread posts it and waits for the reply. A reply that the child
** is lost, its death, and what is no reply each end with a new child, before the run is over.
**
** A graph is called in this process. The child asks for its calls (NODE_GRAPH), one block after the other. Of a graph that was built
** before the launch the device's thread sends them; it is the number of the graph that tells the child whether it has kept it. Of
** one that is called while the run goes on, the device's thread gives the task lane to the thread that submits, as it gives it the
** turn, and has it again when the function has returned (run->turn and run->built order memory). Order of locks: `server`, `programs`,
** the control lock of the endpoint; `lock` comes last. */
#ifndef NODE_CHIP_H
#define NODE_CHIP_H

#include "chip/dictation.h"
#include "chip/run.h"
#include "chip/worker.h"
#include "device/claim.h"
#include "node/endpoint.h"

enum {
  NODE_CHIP_PROGRAMS = 64, /* that a child knows; the longest unused one makes room */
  NODE_CHIP_BUFFER = 1     /* number of the first half */
};

/* A program as the child is told of it, under the number of its place + 1. */
typedef struct node_chip_program {
  uint64_t program; /* chip_program_number; 0: a free place */
  uint64_t forgets; /* of its kept graphs, when it was told: after another one the child begins anew, too */
  uint64_t used;    /* when, counted by `uses` */
  uint32_t told;    /* the how manieth child knows it; 0: none */
  chip_text pack;
} node_chip_program;

/* What the child of a run is told of its graph; belongs to who has the task lane. */
typedef struct node_chip_graph {
  baton_run *run;
  node_command *block;
  uint64_t room; /* bytes of it */
  int asked;     /* the child waits for a block */
  int over;      /* it wants no more: something has failed */
  baton_error
      failure; /* there is no child any more that could say what has failed; code BATON_OK: there is */
} node_chip_graph;

typedef struct node_chip {
  baton_worker *worker; /* whose context this is */
  node_endpoint *endpoint;
  device_claim *claim;
  base_extent memory, bell_memory;
  node_doorbell *bell;
  int64_t startup; /* ns */
  int looks;       /* there is more than one CPU */

  pthread_mutex_t server; /* held by who uses the child: a run, a restart, the end; guards the next two */
  node_command *command;  /* of the run */
  uint64_t room;          /* bytes of it */
  node_chip_graph graph;

  pthread_mutex_t programs; /* guards what follows, and the telling */
  node_chip_program places[NODE_CHIP_PROGRAMS];
  uint64_t uses;

  pthread_mutex_t lock; /* guards what follows */
  const baton_run *running;
  uint32_t number;         /* of the command that it is */
  baton_stats gone, alive; /* counted by children that are no more; by this one, as far as it has said */
  uint32_t started;        /* children */
  int32_t pid;
  _Atomic uint32_t closing; /* any thread */
} node_chip;

/* --- chip.c --- */

/* Another child in the place of this one; `server` is held. After a failure there is none. */
BATON_MUST_CHECK baton_status node_chip_renew(node_chip *chip, baton_error *err);
/* An error of the endpoint or of the child, in the words of a worker that has no number. */
void node_chip_own_words(baton_error *err);

/* --- chip_programs.c --- */

baton_status node_chip_accept(void *context, baton_program *program, baton_error *err);
/* The number under which the child knows the program, which it is told if it does not; `server` is held. */
BATON_MUST_CHECK baton_status node_chip_tell(node_chip *chip, baton_program *program, uint32_t *number,
                                             baton_error *err);
void node_chip_programs_close(node_chip *chip);

/* --- chip_graph.c --- */

/* On the device's thread, when the first reply asks: tells the child what the graph of the run calls. After a failure there is no
** child any more. */
BATON_MUST_CHECK baton_status node_chip_tell_graph(node_chip *chip, baton_run *run, baton_error *err);
void node_chip_listen(void *context, baton_run *run, chip_sink *out);
void node_chip_graph_close(node_chip *chip);

/* --- chip_run.c --- */

/* The next reply to the command of the run, by who has the task lane. *out NULL: there is none, and the child is of no more use. */
BATON_MUST_CHECK baton_status node_chip_take(node_chip *chip, baton_run *run, const node_reply **out,
                                             baton_error *err);
/* The error in a reply with a failure. */
baton_status node_chip_read_failure(const node_reply *reply, baton_error *err);

void node_chip_execute(void *context, baton_run *run);
void node_chip_cancel(void *context, const baton_run *run);
void node_chip_hurry(void *context);

#endif
