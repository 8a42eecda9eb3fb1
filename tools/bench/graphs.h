/* graphs.h - the sizes of the graphs, the same for Baton and for its peers. */
#ifndef BENCH_GRAPHS_H
#define BENCH_GRAPHS_H

enum {
  BENCH_THREADS = 2,
  BENCH_TILE = 64, /* bytes: one cache line, so that bodies never share one */
  BENCH_INDEPENDENT_TASKS = 200000,
  BENCH_INDEPENDENT_TILES = 4096, /* task i updates tile i modulo this */
  BENCH_CHAIN_TASKS = 100000,     /* each updates the one tile there is */
  BENCH_STENCIL_STEPS = 1000,     /* of two buffers in turn one is read, the other written */
  BENCH_STENCIL_TILES = 8         /* task x reads tiles x-1, x and x+1 (the ends meet) and writes tile x */
};

#endif
