/* openmp.c - the peer `openmp`: the same graphs as OpenMP tasks with depend clauses. Built by run.sh
** --peers with every compiler that is there; the environment chooses how waiting threads wait
** (OMP_WAIT_POLICY).
**
** Bodies are empty, but the compiler must not see that: they are called through a pointer, as a kernel
** is. */
#include "base/clock.h"
#include "graphs.h"
#include "sample.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __clang__
#define RUNTIME "libomp"
#else
#define RUNTIME "libgomp"
#endif

typedef struct omp_tile {
  _Alignas(BENCH_TILE) char bytes[BENCH_TILE];
} omp_tile;

typedef struct omp_figure {
  const char *name;
  void (*graph)(void); /* makes all tasks */
  uint32_t tasks;
  uint32_t threads;
} omp_figure;

static omp_tile tiles[BENCH_INDEPENDENT_TILES];
static omp_tile buffers[2][BENCH_STENCIL_TILES];

static void body_empty_0(void) {}
static void body_empty_1(void *tensor) { (void)tensor; }
static void body_empty_4(const void *a, const void *b, const void *c, void *out) {
  (void)a;
  (void)b;
  (void)c;
  (void)out;
}

static void (*volatile body_0)(void) = body_empty_0;
static void (*volatile body_1)(void *) = body_empty_1;
static void (*volatile body_4)(const void *, const void *, const void *, void *) = body_empty_4;

static void graph_no_tensor(void) {
  for (uint32_t i = 0; i < BENCH_INDEPENDENT_TASKS; i++) {
#pragma omp task
    body_0();
  }
}

static void graph_independent(void) {
  for (uint32_t i = 0; i < BENCH_INDEPENDENT_TASKS; i++) {
    omp_tile *tile = &tiles[i % BENCH_INDEPENDENT_TILES];
#pragma omp task firstprivate(tile) depend(inout : tile->bytes[0])
    body_1(tile);
  }
}

static void graph_chain(void) {
  for (uint32_t i = 0; i < BENCH_CHAIN_TASKS; i++) {
    omp_tile *tile = &tiles[0];
#pragma omp task firstprivate(tile) depend(inout : tile->bytes[0])
    body_1(tile);
  }
}

static void graph_stencil(void) {
  for (uint32_t step = 0; step < BENCH_STENCIL_STEPS; step++) {
    const omp_tile *from = buffers[step % 2];
    for (uint32_t x = 0; x < BENCH_STENCIL_TILES; x++) {
      const omp_tile *left = &from[x ? x - 1 : BENCH_STENCIL_TILES - 1], *here = &from[x];
      const omp_tile *right = &from[x + 1 < BENCH_STENCIL_TILES ? x + 1 : 0];
      omp_tile *to = &buffers[(step + 1) % 2][x];
#pragma omp task firstprivate(left, here, right, to)                     \
    depend(in                                                            \
           : left->bytes[0], here->bytes[0], right->bytes[0]) depend(out \
                                                                     : to->bytes[0])
      body_4(left, here, right, to);
    }
  }
}

/* ns a task, from before the first task is made to the end of the last. */
static double once_time(void *context) {
  const omp_figure *figure = context;
  int64_t begin = 0, end = 0;
#pragma omp parallel num_threads(figure->threads)
#pragma omp single
  {
    begin = base_now();
    figure->graph();
#pragma omp taskwait
    end = base_now();
  }
  return (double)(end - begin) / figure->tasks;
}

static omp_figure figures[] = {
    {"independent_0_queued", graph_no_tensor, BENCH_INDEPENDENT_TASKS, 0},
    {"independent_1_queued", graph_independent, BENCH_INDEPENDENT_TASKS, 0},
    {"chain_queued", graph_chain, BENCH_CHAIN_TASKS, 0},
    {"stencil_queued", graph_stencil, BENCH_STENCIL_STEPS *BENCH_STENCIL_TILES, 0},
};

int main(int argc, char **argv) {
  const char *policy = getenv("OMP_WAIT_POLICY");
  bench_options options;
  char who[64];
  if (bench_options_parse(argc, argv, &options) != argc) return 2;
  snprintf(who, sizeof who, "openmp/" RUNTIME "-%s", policy ? policy : "default");
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    figures[i].threads = options.threads;
    if (bench_wanted(&options, figures[i].name))
      bench_measure(&options, who, figures[i].name, "ns a task", once_time, &figures[i]);
  }
  return 0;
}
