/* openmp.c - the peer `openmp`: the same graphs as OpenMP tasks with depend clauses. The environment chooses how waiting
** threads wait (OMP_WAIT_POLICY). */
#include "base/clock.h"
#include "body.h"
#include "figures.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __clang__
#define RUNTIME "libomp"
#else
#define RUNTIME "libgomp"
#endif

static char buffer[BENCH_TILES * BENCH_TILE];

/* The number of inputs is part of a directive. The one output stands behind them in a stencil, else before them. */
#define OUTPUT   buffer[output.tile * BENCH_TILE]
#define INPUT(k) buffer[inputs[k].tile * BENCH_TILE]

BENCH_INLINE void make_task(const bench_use *uses, uint32_t count, int output_last, uint32_t turns) {
  const bench_use output = uses[output_last ? count - 1 : 0], *inputs = output_last ? uses : uses + 1;
  switch (count) {
  case 0:
#pragma omp task firstprivate(turns)
    bench_body(turns);
    break;
  case 1:
    if (output.mode & BENCH_READS) {
#pragma omp task firstprivate(turns) depend(inout : OUTPUT)
      bench_body(turns);
    } else {
#pragma omp task firstprivate(turns) depend(out : OUTPUT)
      bench_body(turns);
    }
    break;
  case 2:
#pragma omp task firstprivate(turns) depend(in : INPUT(0)) depend(out : OUTPUT)
    bench_body(turns);
    break;
  case 3:
#pragma omp task firstprivate(turns) depend(in : INPUT(0), INPUT(1)) depend(out : OUTPUT)
    bench_body(turns);
    break;
  case 4:
#pragma omp task firstprivate(turns) depend(in : INPUT(0), INPUT(1), INPUT(2)) depend(out : OUTPUT)
    bench_body(turns);
    break;
  default:
#pragma omp task firstprivate(turns) depend(in : INPUT(0), INPUT(1), INPUT(2), INPUT(3)) depend(out : OUTPUT)
    bench_body(turns);
  }
}

static void make_tasks(const bench_case *of) {
  bench_use uses[BENCH_MOST_USES] = {{0, 0}};
  for (uint32_t i = 0; i < of->tasks; i++)
    make_task(uses, bench_uses(of->shape, i, uses), bench_width(of->shape) != 0, of->turns);
}

static double once(void *context) {
  const bench_case *of = context;
  int64_t begin = 0, end = 0;
#pragma omp parallel num_threads(of->threads)
#pragma omp single
  {
    begin = base_now();
    make_tasks(of);
#pragma omp taskwait
    end = base_now();
  }
  return (double)(end - begin);
}

static int can(const bench_case *of) { return of->way != BENCH_REPLAYED; }

static void *open_case(const bench_case *of) {
  bench_case *copy = malloc(sizeof *copy);
  if (!copy) abort();
  *copy = *of;
  return copy;
}

int main(int argc, char **argv) {
  const char *policy = getenv("OMP_WAIT_POLICY");
  char who[BENCH_NAME];
  snprintf(who, sizeof who, "openmp/" RUNTIME "-%s", policy ? policy : "default");
  bench_runner runner = {.who = who, .can = can, .open = open_case, .once = once, .close = free};
  return bench_figures_main(argc, argv, &runner);
}
