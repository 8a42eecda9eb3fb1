/* graphs.h - the graphs, the same for Baton and for its peers: which tiles task i of a shape reads and writes. In C and in
** C++. With a constant shape everything here is folded away, so that a loop over a shape costs what the loop costs. */
#ifndef BENCH_GRAPHS_H
#define BENCH_GRAPHS_H

#include <stdint.h>

enum {
  BENCH_THREADS = 2,
  BENCH_TILE = 64,     /* bytes: one cache line, so that bodies never share one */
  BENCH_TILES = 16384, /* numbered from 0; no shape has more */
  BENCH_MOST_USES = 5, /* of one task */
  BENCH_TREE_LEAVES = 64,
  BENCH_TREES = 64,     /* of tiles of their own; then the first ones again */
  BENCH_DAG_REACH = 256 /* how far back the producers of a task lie at most */
};

typedef enum bench_shape {
  BENCH_INDEPENDENT_0, /* no tensor */
  BENCH_INDEPENDENT_1, /* each updates a tile of its own, of 4,096 */
  BENCH_CHAIN,         /* each updates the one tile there is */
  BENCH_STENCIL, /* 8 wide: of two rows in turn one is read, the other written; task x reads x-1, x and x+1 */
  BENCH_TREE,    /* leaves write, inner tasks read two and write one; one tree after the other */
  BENCH_DAG,     /* each reads four random ones of the latest tiles, and writes one */
  BENCH_STENCIL_4,  /* the stencil, 4 wide … */
  BENCH_STENCIL_10, /* … 10 … */
  BENCH_STENCIL_100 /* … and 100 */
} bench_shape;

#define BENCH_EACH_SHAPE(X) \
  X(BENCH_INDEPENDENT_0)    \
  X(BENCH_INDEPENDENT_1)    \
  X(BENCH_CHAIN)            \
  X(BENCH_STENCIL)          \
  X(BENCH_TREE)             \
  X(BENCH_DAG)              \
  X(BENCH_STENCIL_4)        \
  X(BENCH_STENCIL_10)       \
  X(BENCH_STENCIL_100)

enum { BENCH_READS = 1, BENCH_WRITES = 2 };

typedef struct bench_use {
  uint32_t tile, mode;
} bench_use;

#define BENCH_INLINE static inline __attribute__((always_inline))

BENCH_INLINE bench_use bench_use_of(uint32_t tile, uint32_t mode) {
  bench_use use = {tile, mode};
  return use;
}

/* 0: the shape has no width. */
BENCH_INLINE uint32_t bench_width(bench_shape shape) {
  switch (shape) {
  case BENCH_STENCIL: return 8;
  case BENCH_STENCIL_4: return 4;
  case BENCH_STENCIL_10: return 10;
  case BENCH_STENCIL_100: return 100;
  default: return 0;
  }
}

BENCH_INLINE uint32_t bench_stencil_uses(uint32_t width, uint32_t i, bench_use uses[]) {
  uint32_t x = i % width, from = i / width % 2 * width, to = width - from;
  uses[0] = bench_use_of(from + (x ? x - 1 : width - 1), BENCH_READS);
  uses[1] = bench_use_of(from + x, BENCH_READS);
  uses[2] = bench_use_of(from + (x + 1 < width ? x + 1 : 0), BENCH_READS);
  uses[3] = bench_use_of(to + x, BENCH_WRITES);
  return 4;
}

/* Nodes as in a heap, the children of n being 2n and 2n+1, from the last to the first. */
BENCH_INLINE uint32_t bench_tree_uses(uint32_t i, bench_use uses[]) {
  uint32_t nodes = 2 * BENCH_TREE_LEAVES - 1, node = nodes - i % nodes;
  uint32_t first = i / nodes % BENCH_TREES * 2 * BENCH_TREE_LEAVES;
  uses[0] = bench_use_of(first + node, BENCH_WRITES);
  if (node >= BENCH_TREE_LEAVES) return 1;
  uses[1] = bench_use_of(first + 2 * node, BENCH_READS);
  uses[2] = bench_use_of(first + 2 * node + 1, BENCH_READS);
  return 3;
}

BENCH_INLINE uint32_t bench_dag_uses(uint32_t i, bench_use uses[]) {
  uint32_t count = 0;
  uses[count++] = bench_use_of(i % BENCH_TILES, BENCH_WRITES);
  for (uint32_t k = 0; k < 4; k++) {
    uint32_t random = (4 * i + k) * UINT32_C(0x9e3779b1);
    random = (random ^ random >> 15) * UINT32_C(0x85ebca77);
    uint32_t back = 1 + (random >> 16) % BENCH_DAG_REACH;
    if (back <= i) uses[count++] = bench_use_of((i - back) % BENCH_TILES, BENCH_READS);
  }
  return count;
}

/* How many there are. A tile may be read twice. */
BENCH_INLINE uint32_t bench_uses(bench_shape shape, uint32_t i, bench_use uses[BENCH_MOST_USES]) {
  switch (shape) {
  case BENCH_INDEPENDENT_0: return 0;
  case BENCH_INDEPENDENT_1: uses[0] = bench_use_of(i % 4096, BENCH_READS | BENCH_WRITES); return 1;
  case BENCH_CHAIN: uses[0] = bench_use_of(0, BENCH_READS | BENCH_WRITES); return 1;
  case BENCH_TREE: return bench_tree_uses(i, uses);
  case BENCH_DAG: return bench_dag_uses(i, uses);
  default: return bench_stencil_uses(bench_width(shape), i, uses);
  }
}

#endif
