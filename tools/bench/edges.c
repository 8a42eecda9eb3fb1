#include "edges.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST_READERS = 4 * BENCH_DAG_REACH };

#define NOBODY UINT32_MAX

/* Who touched a tile last. */
typedef struct tile_users {
  uint32_t writer, reader_count;
  uint32_t readers[MOST_READERS];
} tile_users;

static void *get(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) {
    fprintf(stderr, "no memory for the edges of a graph\n");
    exit(1);
  }
  return memory;
}

static void depend(bench_edges *edges, uint32_t task, uint32_t producer) {
  uint32_t *end = &edges->first[task + 1];
  if (producer == NOBODY || producer == task) return;
  for (uint32_t i = edges->first[task]; i < *end; i++)
    if (edges->producers[i] == producer) return;
  edges->producers = realloc(edges->producers, (*end + 1) * sizeof *edges->producers);
  if (!edges->producers) exit(1);
  edges->producers[(*end)++] = producer;
}

static void find_producers(bench_edges *edges, uint32_t task, const bench_use *use, const tile_users *users) {
  int after_readers = use->mode & BENCH_WRITES && users->reader_count;
  if (!after_readers) depend(edges, task, users->writer);
  for (uint32_t i = 0; after_readers && i < users->reader_count; i++) depend(edges, task, users->readers[i]);
}

static void note(uint32_t task, const bench_use *use, tile_users *users) {
  if (use->mode & BENCH_WRITES) {
    users->writer = task;
    users->reader_count = 0;
  } else if (users->reader_count == MOST_READERS) {
    fprintf(stderr, "a tile has too many readers\n");
    exit(1);
  } else {
    users->readers[users->reader_count++] = task;
  }
}

bench_edges bench_edges_make(const bench_case *of) {
  bench_edges edges = {.tasks = of->tasks, .first = get(of->tasks + 1, sizeof *edges.first)};
  tile_users *tiles = get(BENCH_TILES, sizeof *tiles);
  bench_use uses[BENCH_MOST_USES];
  for (uint32_t i = 0; i < BENCH_TILES; i++) tiles[i].writer = NOBODY;
  for (uint32_t task = 0; task < of->tasks; task++) {
    uint32_t count = bench_uses(of->shape, task, uses);
    edges.first[task + 1] = edges.first[task];
    for (uint32_t i = 0; i < count; i++) find_producers(&edges, task, &uses[i], &tiles[uses[i].tile]);
    for (uint32_t i = 0; i < count; i++) note(task, &uses[i], &tiles[uses[i].tile]);
  }
  free(tiles);
  return edges;
}

void bench_edges_free(bench_edges *edges) {
  free(edges->first);
  free(edges->producers);
}
