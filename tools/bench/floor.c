/* floor.c - the peer `floor`: what nothing general can beat. Each task costs two atomics, one to take it and one to say that
** it is over. Order is kept by running the tasks as they come on one thread; with several threads there are only
** independent tasks. */
#include "body.h"
#include "figures.h"
#include "team.h"
#include <stdatomic.h>
#include <stdlib.h>

typedef struct floor_bench {
  bench_case of;
  _Alignas(BENCH_TILE) _Atomic uint32_t taken;
  _Alignas(BENCH_TILE) _Atomic uint32_t over;
} floor_bench;

static void run_tasks(void *context, uint32_t thread) {
  floor_bench *bench = context;
  (void)thread;
  for (;;) {
    uint32_t i = atomic_fetch_add_explicit(&bench->taken, 1, memory_order_acquire);
    if (i >= bench->of.tasks) return;
    bench_body(bench_turns(&bench->of, i));
    atomic_fetch_add_explicit(&bench->over, 1, memory_order_release);
  }
}

static double once(void *context) {
  floor_bench *bench = context;
  atomic_store(&bench->taken, 0);
  atomic_store(&bench->over, 0);
  return bench_team_run(bench->of.threads, run_tasks, bench);
}

static int can(const bench_case *of) {
  return of->threads == 1 || of->shape == BENCH_INDEPENDENT_0 || of->shape == BENCH_INDEPENDENT_1;
}

static void *open_case(const bench_case *of) {
  floor_bench *bench = aligned_alloc(BENCH_TILE, sizeof *bench);
  if (!bench) abort();
  bench->of = *of;
  return bench;
}

int main(int argc, char **argv) {
  static const bench_runner runner = {
      .who = "floor/two_atomics", .can = can, .open = open_case, .once = once, .close = free};
  return bench_figures_main(argc, argv, &runner);
}
