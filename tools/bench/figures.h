/* figures.h - the figures that Baton and its peers have in common: one table of them, one way to measure them. A program
** measures itself or a peer by giving a runner. In C and in C++.
**
** A name is SHAPE[_WAY][_BODY][_skewed][_1thread], in ns a task, without a suffix with the default policy, empty bodies and
** all threads. A figure with a body comes with NAME_efficiency, the part of all CPUs that the bodies had, and that of a
** replay with NAME_overhead, the time of a round above its bodies spread evenly. metg50_WAY is the shortest body for which
** a stencil of width 4 has half of the CPUs. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include "graphs.h"
#include "sample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How Baton gets its tasks run; a peer has one way, and takes the first four as the same. */
typedef enum bench_way {
  BENCH_AUTO,    /* as it decides itself */
  BENCH_ELIDED,  /* called at the submit if nothing is in the way */
  BENCH_QUEUED,  /* queued, run by the thread that submits */
  BENCH_OFFERED, /* queued, for any thread that has nothing to do */
  BENCH_REPLAYED /* a graph that was built before the clock starts */
} bench_way;

typedef struct bench_case {
  bench_shape shape;
  bench_way way;
  uint32_t tasks, threads;
  uint32_t turns; /* of a body; 0: it does nothing at all */
  int skewed;     /* one half of the width has bodies three times as long */
} bench_case;

enum { BENCH_SKEW = 3 };

BENCH_INLINE uint32_t bench_turns(const bench_case *of, uint32_t i) {
  uint32_t width = bench_width(of->shape);
  return of->skewed && i % width < width / 2 ? BENCH_SKEW * of->turns : of->turns;
}

/* Runs cases. */
typedef struct bench_runner {
  const char *who;
  int (*can)(const bench_case *wanted);
  void *(*open)(const bench_case *wanted); /* never NULL; ends the program if it fails */
  bench_once *once; /* ns from the first submit, or the start of a replay, to the end */
  void (*close)(void *context);
} bench_runner;

/* The main function of a program that measures with this runner: the status to end with. Figures that were not asked for
** or that the runner cannot do are left out. */
int bench_figures_main(int argc, char **argv, const bench_runner *runner);

/* The same after the options were read. */
void bench_figures(const bench_options *options, const bench_runner *runner);

#ifdef __cplusplus
}
#endif

#endif
