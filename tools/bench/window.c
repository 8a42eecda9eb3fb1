/* baton-bench-window - what the window of an engine costs: window_N, independent tasks of 1 us under a window of N tasks,
** in turn with the same under a window that never fills (`unbounded`); and task_bytes, what a task takes of the engine's memory. */
#include "base/clock.h"
#include "body.h"
#include "rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BODY_NS = 1000, TASKS = 16384, UNBOUNDED = 65536 };

static const uint32_t windows[] = {64, 256, 1024, 4096, 16384, 65536};

typedef struct window_bench {
  bench_rig rig;
  uint32_t tasks, turns;
} window_bench;

static int execute(void *context, const task_call *call) {
  const window_bench *bench = context;
  (void)call;
  bench_body(bench->turns);
  return 0;
}

static void submit_all(window_bench *bench) {
  bench_use use;
  for (uint32_t i = 0; i < bench->tasks; i++) {
    use = bench_use_of(i, BENCH_READS | BENCH_WRITES);
    (void)rig_submit(&bench->rig, 0, &use, 1);
  }
}

/* ns a task. */
static double once_time(void *context) {
  window_bench *bench = context;
  rig_begin(&bench->rig);
  int64_t begin = base_now();
  submit_all(bench);
  return (double)(rig_finish(&bench->rig) - begin) / bench->tasks;
}

/* Pages of the engine that hold something. */
static size_t touched_pages(const bench_rig *rig, size_t page) {
  size_t pages = rig->size / page, touched = 0;
  unsigned char *resident = malloc(pages);
  if (!resident || mincore(rig->engine, rig->size, resident))
    rig_give_up(rig, "cannot look at the engine's memory");
  for (size_t i = 0; i < pages; i++) touched += resident[i] & 1;
  free(resident);
  return touched;
}

/* Bytes a task, arguments aside: what a full window touches of the engine's memory. Held, so that all tasks are there at
** once. The arguments of each lie in one piece of a cache line. */
static double once_bytes(void *context) {
  window_bench *bench = context;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  task_engine_begin(bench->rig.engine, 1);
  submit_all(bench);
  size_t bytes = touched_pages(&bench->rig, page) * page;
  task_engine_release(bench->rig.engine);
  rig_enter(&bench->rig, bench->rig.limits.lanes);
  (void)rig_finish(&bench->rig);
  return (double)bytes / bench->tasks - BENCH_TILE;
}

static void open_bench(window_bench *bench, const bench_options *options, uint32_t window, const char *name,
                       double body_ns) {
  *bench = (window_bench){.tasks = TASKS, .turns = bench_body_turns(body_ns)};
  bench->rig = (bench_rig){
      .name = name, .execute = execute, .context = bench, .limits = rig_limits(options->threads, window)};
  rig_open(&bench->rig, BENCH_AUTO);
}

/* A window and one that never fills, in turn. */
static void measure_window(const bench_options *options, uint32_t window, const char *name) {
  static bench_samples samples[2];
  window_bench bounded, unbounded;
  open_bench(&bounded, options, window, name, BODY_NS);
  open_bench(&unbounded, options, UNBOUNDED, name, BODY_NS);
  if (bench_sample_both(options, (bench_once *const[]){once_time, once_time},
                        (void *const[]){&bounded, &unbounded}, samples)) {
    bench_print_samples("baton", name, "ns a task", &samples[0]);
    bench_print_samples("unbounded", name, "ns a task", &samples[1]);
  }
  rig_close(&bounded.rig);
  rig_close(&unbounded.rig);
}

static void measure_bytes(const bench_options *options) {
  window_bench bench;
  open_bench(&bench, options, TASKS, "task_bytes", 0);
  (void)bench_measure(options, "baton", "task_bytes", "bytes", once_bytes, &bench);
  rig_close(&bench.rig);
}

int main(int argc, char **argv) {
  bench_options options;
  char name[BENCH_NAME];
  if (bench_options_parse(argc, argv, &options) != argc) {
    fprintf(stderr, "usage: %s [--only NAME,…] [--threads N] [--repetitions N] [--seconds S]\n", argv[0]);
    return 2;
  }
  for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
    snprintf(name, sizeof name, "window_%u", windows[i]);
    if (bench_wanted(&options, name)) measure_window(&options, windows[i], name);
  }
  if (bench_wanted(&options, "task_bytes")) measure_bytes(&options);
  return 0;
}
