/* task/graph.h - a graph that was built once and runs again and again, without inference and submits. Freestanding.
**
** Capturing copies what a held run has submitted: kernels, payloads, edges. From then on the graph needs no window and no
** map, only the lanes of an engine. Nodes are numbered from 0 in the order of their submits. Between runs a graph belongs
** to one thread; during one, `open`, `poisoned` and the lanes' `completed` are what lanes share. */
#ifndef TASK_GRAPH_H
#define TASK_GRAPH_H

#include "task/assignment.h"
#include "task/replay.h"

enum { TASK_PAYLOAD_UNIT = 16, TASK_JOIN_NS = 400 };

typedef struct task_node {
  uint32_t kernel;
  uint32_t fan_in;  /* edges to it */
  uint32_t first;   /* its consumers: graph->consumers[first … the next node's first) */
  uint32_t payload; /* in units of TASK_PAYLOAD_UNIT bytes */
} task_node;

typedef struct task_graph {
  uint32_t count, edges;
  uint32_t ranked;                       /* some nodes have a priority, which lists would not heed */
  uint64_t counted_tasks, counted_edges; /* without the parts of tasks */
  uint64_t heap_high;                    /* bytes of heap that its intermediates need, from offset 0 */
  uint64_t edges_high;                   /* of the pool, while it was built */
  task_node *nodes;                      /* count + 1: the last one ends the consumers of the one before */
  uint32_t *consumers;
  char *payloads;
  uint64_t payload_bytes;
  _Atomic uint32_t *open;    /* by node: edges that are open in this run */
  _Atomic uint8_t *poisoned; /* by node: a producer failed in this run */
  uint32_t *costs;           /* by node: ns */
  uint32_t lanes;            /* of the engine that captured it */
  uint32_t join;             /* ns until another lane comes in, as the user of the engine knows it */
  task_course *courses;      /* by lane of the assignment */
  task_assignment assignment;
  BASE_ALIGNED task_replay replay; /* changes from run to run: not with what the lanes read */
} task_graph;

/* Bytes for the graph that the held run of this engine has built. */
size_t task_graph_size(const task_engine *engine);

/* Copies the held run into `memory`, which is aligned to a cache line and stays the caller's, and ends the run: no task
** of it is executed. `moved` is called for each payload that was copied, in order. */
task_graph *task_graph_capture(task_engine *engine, void *memory, void *context,
                               void (*moved)(void *context, void *copy, const void *original,
                                             uint32_t bytes));

static inline void *task_graph_payload(const task_graph *graph, uint32_t node) {
  return graph->payloads + (uint64_t)graph->nodes[node].payload * TASK_PAYLOAD_UNIT;
}

/* Starts a run of the graph on an engine without live tasks, whose window is not smaller than the graph; task_engine_finish
** and task_engine_work execute it. */
void task_graph_begin(task_graph *graph, task_engine *engine);

/* After task_graph_begin: lanes that are to come into this run, at least 1. More may. */
uint32_t task_graph_lanes(const task_graph *graph, const task_engine *engine);

#endif
