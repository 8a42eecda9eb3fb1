/* edges.h - the edges that a graph has, for peers that are told them: a task waits for the writer of what it reads, and for
** the readers, or else the writer, of what it writes. In C and in C++. */
#ifndef BENCH_EDGES_H
#define BENCH_EDGES_H

#include "figures.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_edges {
  uint32_t tasks;
  uint32_t *first;     /* tasks + 1: the producers of task i are producers[first[i] … first[i + 1]) */
  uint32_t *producers; /* each once */
} bench_edges;

/* Ends the program if there is no memory. */
bench_edges bench_edges_make(const bench_case *of);
void bench_edges_free(bench_edges *edges);

#ifdef __cplusplus
}
#endif

#endif
