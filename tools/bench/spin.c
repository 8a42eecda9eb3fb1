/* spin.c - the peer `spin`: a stencil written by hand. Each thread has some columns of it, says after each row how far it is,
** and spins until its neighbours are as far. */
#include "body.h"
#include "figures.h"
#include "team.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 20000, MOST_THREADS = 64, TASKS_AT_ONCE = 2000 };

typedef struct progress {
  _Alignas(BENCH_TILE) _Atomic uint32_t rows;
} progress;

typedef struct spin_bench {
  bench_case of;
  uint32_t rounds; /* of a replay in one repetition */
  progress threads[MOST_THREADS];
} spin_bench;

static void await(spin_bench *bench, uint32_t thread, uint32_t rows) {
  const _Atomic uint32_t *done = &bench->threads[thread % bench->of.threads].rows;
  for (uint32_t spins = 0; atomic_load_explicit(done, memory_order_acquire) < rows; spins++)
    if (spins > SPINS) sched_yield();
}

static void run_columns(void *context, uint32_t thread) {
  spin_bench *bench = context;
  uint32_t width = bench_width(bench->of.shape), rows = bench->of.tasks / width * bench->rounds;
  uint32_t first = width * thread / bench->of.threads, end = width * (thread + 1) / bench->of.threads;
  for (uint32_t row = 0; row < rows; row++) {
    await(bench, thread + bench->of.threads - 1, row);
    await(bench, thread + 1, row);
    for (uint32_t x = first; x < end; x++) bench_body(bench_turns(&bench->of, x));
    atomic_store_explicit(&bench->threads[thread].rows, row + 1, memory_order_release);
  }
}

static double once(void *context) {
  spin_bench *bench = context;
  for (uint32_t i = 0; i < bench->of.threads; i++) atomic_store(&bench->threads[i].rows, 0);
  return bench_team_run(bench->of.threads, run_columns, bench) / bench->rounds;
}

static int can(const bench_case *of) {
  return bench_width(of->shape) && of->threads <= MOST_THREADS && of->threads <= bench_width(of->shape);
}

static void *open_case(const bench_case *of) {
  spin_bench *bench = aligned_alloc(BENCH_TILE, sizeof *bench);
  if (!bench) abort();
  bench->of = *of;
  bench->rounds = of->way == BENCH_REPLAYED && of->tasks < TASKS_AT_ONCE ? TASKS_AT_ONCE / of->tasks : 1;
  return bench;
}

int main(int argc, char **argv) {
  static const bench_runner runner = {
      .who = "spin/by_hand", .can = can, .open = open_case, .once = once, .close = free};
  return bench_figures_main(argc, argv, &runner);
}
