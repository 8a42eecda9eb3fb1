/* task/assignment.h - which lane runs which node of a graph, in which order, and for whom it waits. Freestanding.
**
** Every lane has a list of steps. It walks the list from its begin to its end and waits in front of a step until the other
** lanes have come so far as the step's waits say.
**
** Invariants.
** - All lists together are parts of one order in which every node comes behind its producers. So the first unfinished node
**   of that order can always run: lanes that walk their lists cannot wait for each other in a ring.
** - A producer in the same list comes earlier in it. A producer in another list is covered by a wait of the step, or by
**   one of an earlier step in the same list.
** - A step that a wait counts up to tells how far its lane has come.
** - A list of steps that are long enough for it has no branch that differs from step to step: all of them tell, and those
**   that need not wait wait for what their lane has already waited for. */
#ifndef TASK_ASSIGNMENT_H
#define TASK_ASSIGNMENT_H

#include "base/atomic.h"
#include "task/engine.h"

struct task_graph;

enum {
  TASK_STEP_WAITS = 1, /* the rest of `flow` is the index of its first wait */
  TASK_STEP_TELLS = 2,
  TASK_STEP_SHIFT = 2,
  TASK_WAIT_LAST = 1u << 30, /* in `lane`: the step has no more */
  TASK_PATIENCE_NS = 20000   /* how long a lane waits before it gives the lists up */
};

/* One node in the list of a lane. */
typedef struct task_step {
  uint32_t node, kernel, payload, flow;
} task_step;

/* So many steps of this lane must be over. */
typedef struct task_wait {
  uint32_t lane, count;
} task_wait;

typedef struct task_list {
  uint32_t first, length; /* among the steps */
  uint32_t chunk;         /* steps that the lane takes at a time */
  uint32_t slack;         /* ns that it is expected to end before the last lane */
} task_list;

typedef struct task_assignment {
  uint32_t lanes; /* that have lists; 0: the lists would not pay, ready nodes go through the queues */
  uint64_t span;  /* ns that a run should take … */
  uint64_t alone; /* … and would take on one lane */
  task_list lists[TASK_LANES];
  task_step *steps; /* one for each node */
  task_wait *waits; /* room for one an edge, and one for nothing */
  /* scratch, by node */
  uint64_t *last, *earlier; /* when the last producer ends, and the last one of all other lanes */
  uint32_t *heap, *order, *place, *missing;
  uint8_t *last_lane, *lane;
  uint32_t *producers; /* by edge: those in other lists */
} task_assignment;

/* Bytes for the arrays of an assignment. */
size_t task_assignment_size(uint32_t nodes, uint32_t edges);

/* `memory` is aligned to a cache line and stays the caller's. No lists yet. */
void task_assignment_init(task_assignment *assignment, void *memory, uint32_t nodes, uint32_t edges);

/* Makes lists for at most `lanes` lanes from what the nodes cost, so that a run ends early. `join`: ns until another lane
** comes in. Between runs. */
void task_assignment_make(task_assignment *assignment, const struct task_graph *graph, uint32_t lanes,
                          uint32_t join);

#endif
