/* baton-bench-engine - what a task costs in src/task alone, without a device and without Lua: the figures of figures.h. The
** clock runs from the first submit to the end of the last task. */
#include "base/clock.h"
#include "body.h"
#include "rig.h"
#include <stdio.h>
#include <stdlib.h>

enum { WINDOW = 16384, REPLAYED_TASKS = 10000, REPLAYED_TURNS = 40000000, WARM_UP = 8 };

enum { KERNEL_EMPTY, KERNEL_BODY, KERNEL_LONGER_BODY };

typedef struct engine_bench {
  bench_case of;
  bench_rig rig;
  task_graph *graph; /* of a replay */
  uint32_t rounds;   /* of the replay in one repetition */
} engine_bench;

static int execute(void *context, const task_call *call) {
  const engine_bench *bench = context;
  if (call->kernel == KERNEL_EMPTY) return 0;
  bench_body(call->kernel == KERNEL_BODY ? bench->of.turns : BENCH_SKEW * bench->of.turns);
  return 0;
}

BENCH_INLINE void submit_shape(engine_bench *bench, bench_shape shape) {
  uint32_t kernel = bench->of.turns ? KERNEL_BODY : KERNEL_EMPTY;
  bench_use uses[BENCH_MOST_USES];
  for (uint32_t i = 0; i < bench->of.tasks; i++) {
    uint32_t count = bench_uses(shape, i, uses);
    uint32_t longer = bench->of.skewed && bench_turns(&bench->of, i) > bench->of.turns;
    (void)rig_submit(&bench->rig, kernel + longer, uses, count);
  }
}

static void submit_all(engine_bench *bench) {
  switch (bench->of.shape) {
#define X(shape) \
  case shape: submit_shape(bench, shape); break;
    BENCH_EACH_SHAPE(X)
#undef X
  }
}

static void check(const engine_bench *bench) {
  task_counts counts;
  task_engine_counts(bench->rig.engine, &counts);
  if (counts.tasks != bench->of.tasks || counts.live) rig_give_up(&bench->rig, "not all tasks have run");
}

static double once_inferred(engine_bench *bench) {
  rig_begin(&bench->rig);
  int64_t begin = base_now();
  submit_all(bench);
  int64_t end = rig_finish(&bench->rig);
  check(bench);
  return (double)(end - begin);
}

static int64_t replay(engine_bench *bench, uint32_t rounds) {
  int64_t end = 0;
  for (uint32_t round = 0; round < rounds; round++) {
    task_graph_begin(bench->graph, bench->rig.engine);
    rig_enter(&bench->rig, task_graph_lanes(bench->graph, bench->rig.engine));
    end = rig_finish(&bench->rig);
  }
  return end;
}

/* The first rounds wake the lanes and do not count. */
static double once_replayed(engine_bench *bench) {
  (void)replay(bench, 1 + bench->rounds / WARM_UP);
  int64_t begin = base_now(), end = replay(bench, bench->rounds);
  check(bench);
  return (double)(end - begin) / bench->rounds;
}

static double once(void *context) {
  engine_bench *bench = context;
  return bench->graph ? once_replayed(bench) : once_inferred(bench);
}

static void moved(void *context, void *copy, const void *original, uint32_t bytes) {
  (void)context, (void)copy, (void)original, (void)bytes;
}

/* So many tasks, unless they are long. */
static uint32_t rounds_of(const bench_case *of) {
  uint64_t turns = (uint64_t)of->tasks * (of->turns + 1), rounds = REPLAYED_TASKS / of->tasks;
  if (rounds > REPLAYED_TURNS / turns) rounds = REPLAYED_TURNS / turns;
  return rounds ? (uint32_t)rounds : 1;
}

static void capture(engine_bench *bench) {
  task_engine_begin(bench->rig.engine, 1);
  submit_all(bench);
  size_t size = base_whole_lines(task_graph_size(bench->rig.engine));
  void *memory = aligned_alloc(BASE_CACHE_LINE, size);
  if (!memory) rig_give_up(&bench->rig, "no memory for a graph");
  bench->graph = task_graph_capture(bench->rig.engine, memory, NULL, moved);
  bench->rounds = rounds_of(&bench->of);
}

static int can(const bench_case *of) {
  (void)of;
  return 1;
}

static void *open_bench(const bench_case *of) {
  engine_bench *bench = aligned_alloc(BASE_CACHE_LINE, base_whole_lines(sizeof *bench));
  uint32_t window = of->way == BENCH_REPLAYED && of->tasks > WINDOW ? of->tasks : WINDOW;
  if (!bench) abort();
  *bench = (engine_bench){
      .of = *of,
      .rig = {
          .name = "baton", .execute = execute, .context = bench, .limits = rig_limits(of->threads, window)}};
  rig_open(&bench->rig, of->way);
  if (of->way == BENCH_REPLAYED) capture(bench);
  return bench;
}

static void close_bench(void *context) {
  engine_bench *bench = context;
  rig_close(&bench->rig);
  free(bench->graph);
  free(bench);
}

int main(int argc, char **argv) {
  static const bench_runner runner = {
      .who = "baton", .can = can, .open = open_bench, .once = once, .close = close_bench};
  return bench_figures_main(argc, argv, &runner);
}
