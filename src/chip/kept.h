/* chip/kept.h - the graphs of a program that were built on the host and are kept for its next runs.
**
** A kept graph is run by one run at a time; a run that finds its graph taken builds another. The program owns the list
** and frees it; a graph that is in use when it leaves the list is freed when its run gives it back. */
#ifndef CHIP_KEPT_H
#define CHIP_KEPT_H

#include "chip/engine.h"
#include "chip/looks.h"
#include "chip/program/text.h"
#include "task/graph.h"
#include <pthread.h>

enum { CHIP_KEPT_GRAPHS = 8 };

typedef struct chip_kept_graph chip_kept_graph;

typedef struct chip_kept {
  pthread_mutex_t lock;
  chip_kept_graph *graphs; /* the latest used first */
  uint32_t count;
  uint64_t forgets; /* how often all were dropped */
} chip_kept;

void chip_kept_open(chip_kept *kept);
/* No run may use a graph. */
void chip_kept_close(chip_kept *kept);

/* Who takes graphs that were built here and run here: the two ways in which they may do one of both elsewhere (chip/elsewhere.h).
** Graphs of different ways are never the same. */
enum { CHIP_GRAPH_HERE = 0 };
#define CHIP_GRAPH_RUNS_ELSEWHERE \
  UINT64_MAX /* any other number: that of a graph that was built elsewhere and runs here */

/* Drops every graph. */
void chip_kept_forget(chip_kept *kept);

/* A graph of this way that was built on such an engine, from the same: taken for this run and fitted to its addresses and opaque
** scalars. NULL in *out if there is none. `out_of_range`: an opaque scalar does not fit its kernel any more. */
BATON_MUST_CHECK baton_status chip_kept_take(chip_kept *kept, const chip_engine *engine,
                                             const chip_bindings *bindings, uint64_t way,
                                             chip_kept_graph **out, baton_error *err);

/* For a graph that is taken already: *same says whether building over these arguments would look at the same, and nobody
** has dropped the graphs of the program since; then it is fitted to them like a graph that is taken. */
BATON_MUST_CHECK baton_status chip_kept_take_again(chip_kept *kept, chip_kept_graph *graph,
                                                   const chip_engine *engine, const chip_bindings *bindings,
                                                   int *same, baton_error *err);

/* What a run has built. */
typedef struct chip_built {
  chip_looks looks;
  chip_text calls; /* of one that runs elsewhere (chip/dictation.h) */
  uint64_t way;
  int keep; /* 0: the graph does not go into the list */
} chip_built;

void chip_built_free(chip_built *built);

/* Captures the held run of `engine`, taken for this run. Takes over what `built` has, also on failure. */
BATON_MUST_CHECK baton_status chip_kept_capture(chip_kept *kept, chip_engine *engine,
                                                const chip_bindings *bindings, chip_built *built,
                                                chip_kept_graph **out, baton_error *err);

task_graph *chip_kept_graph_of(chip_kept_graph *graph);

/* Of a graph that runs elsewhere: the calls that build it, and a number that no other one of this process has. */
const chip_text *chip_kept_calls_of(const chip_kept_graph *graph, uint64_t *number);

/* Ends the use of a graph by a run. */
void chip_kept_give(chip_kept *kept, chip_kept_graph *graph);

#endif
