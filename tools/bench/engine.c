/* baton-bench-engine - what a task costs in src/task alone, without a device and without Lua.
**
** Every figure is a row of the table at the end: a graph, its size, and how it runs. The clock runs from
** the first submit to the end of the last task. Lanes live as long as the figure and wait at a gate
** between repetitions.
**
** "Queued": the engine queues every ready task, and the lane that has it runs it from the queue; none is
** called at its submit. A task gets one pointer a tensor as its arguments. */
#include "task/engine.h"
#include "base/clock.h"
#include "base/futex.h"
#include "graphs.h"
#include "sample.h"
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct engine_bench engine_bench;

typedef struct engine_figure {
  const char *name;
  const char *unit;
  bench_once *once;                   /* measures one repetition; its context is the engine_bench */
  void (*graph)(engine_bench *bench); /* submits all tasks */
  uint32_t tasks;
  uint32_t tiles; /* that the graph goes over; two buffers of so many are there */
  uint32_t window;
  uint32_t body_ns; /* how long a body takes; 0: empty */
} engine_figure;

/* One figure being measured. */
struct engine_bench {
  const engine_figure *figure;
  task_engine *engine;
  size_t engine_size;
  char *buffers[2];
  uint32_t threads;
  int over;               /* the lanes go home; ordered by the gate */
  pthread_barrier_t gate; /* all threads: before and after each run */
  pthread_t lanes[TASK_LANES];
};

_Noreturn static void give_up(const engine_bench *bench, const char *what) {
  fprintf(stderr, "%s: %s\n", bench->figure->name, what);
  exit(1);
}

/* --- Bodies and hooks --------------------------------------------------------------------------------- */

enum { KERNEL_EMPTY, KERNEL_SPIN };

typedef void body(const engine_bench *bench, void *const *tensors);

static void body_empty(const engine_bench *bench, void *const *tensors) {
  (void)bench;
  (void)tensors;
}

static void body_spin(const engine_bench *bench, void *const *tensors) {
  (void)tensors;
  int64_t end = base_now() + bench->figure->body_ns;
  while (base_now() < end) {
  }
}

static body *const bodies[] = {[KERNEL_EMPTY] = body_empty, [KERNEL_SPIN] = body_spin};

static int execute(void *context, const task_call *call) {
  bodies[call->kernel](context, call->payload);
  return 0;
}

static int park(void *context, const _Atomic uint32_t *word, uint32_t expected, int64_t timeout) {
  (void)context;
  return base_futex_wait(word, expected, base_now() + timeout);
}

static void wake(void *context, const _Atomic uint32_t *word, int all) {
  (void)context;
  base_futex_wake(word, all ? INT_MAX : 1);
}

static int64_t now(void *context) {
  (void)context;
  return base_now();
}

/* --- Graphs ------------------------------------------------------------------------------------------- */

static void tile(task_access *access, const char *buffer, uint32_t number, uint32_t mode) {
  access->base = (uintptr_t)buffer;
  access->mode = mode;
  access->block = 0;
  access->region.offset = (uint64_t)number * BENCH_TILE;
  access->region.run = BENCH_TILE;
  access->region.ndim = 0;
}

static void submit(engine_bench *bench, const task_access *accesses, uint32_t count) {
  void *payload;
  uint32_t which, kernel = bench->figure->body_ns ? KERNEL_SPIN : KERNEL_EMPTY;
  baton_task task;
  if (task_engine_open(bench->engine, accesses, count, count * (uint32_t)sizeof(void *), &payload, &which))
    give_up(bench, "no room for a task");
  void **tensors = payload;
  for (uint32_t i = 0; i < count; i++)
    tensors[i] = (void *)(uintptr_t)(accesses[i].base + accesses[i].region.offset);
  if (task_engine_submit(bench->engine, kernel, accesses, count, NULL, 0, &task))
    give_up(bench, "no room for the edges of a task");
}

static void graph_no_tensor(engine_bench *bench) {
  for (uint32_t i = 0; i < bench->figure->tasks; i++) submit(bench, NULL, 0);
}

/* Each task updates one tile: all different for independent tasks, the same one for a chain. */
static void graph_update(engine_bench *bench) {
  task_access access;
  uint32_t number = 0;
  for (uint32_t i = 0; i < bench->figure->tasks; i++) {
    tile(&access, bench->buffers[0], number, TASK_READS | TASK_WRITES);
    submit(bench, &access, 1);
    if (++number == bench->figure->tiles) number = 0;
  }
}

static void graph_stencil(engine_bench *bench) {
  uint32_t tiles = bench->figure->tiles, steps = bench->figure->tasks / tiles;
  task_access accesses[4];
  for (uint32_t step = 0; step < steps; step++) {
    const char *from = bench->buffers[step % 2], *to = bench->buffers[(step + 1) % 2];
    for (uint32_t x = 0; x < tiles; x++) {
      tile(&accesses[0], from, x ? x - 1 : tiles - 1, TASK_READS);
      tile(&accesses[1], from, x, TASK_READS);
      tile(&accesses[2], from, x + 1 < tiles ? x + 1 : 0, TASK_READS);
      tile(&accesses[3], to, x, TASK_WRITES);
      submit(bench, accesses, 4);
    }
  }
}

/* --- Repetitions -------------------------------------------------------------------------------------- */

typedef struct lane_start {
  engine_bench *bench;
  uint32_t number;
} lane_start;

static void *lane_main(void *context) {
  lane_start start = *(lane_start *)context;
  free(context);
  for (;;) {
    pthread_barrier_wait(&start.bench->gate);
    if (start.bench->over) return NULL;
    task_engine_work(start.bench->engine, start.number);
    pthread_barrier_wait(&start.bench->gate);
  }
}

static void check(const engine_bench *bench) {
  task_counts counts;
  task_engine_counts(bench->engine, &counts);
  if (counts.tasks != bench->figure->tasks || counts.live) give_up(bench, "not all tasks have run");
}

/* ns a task. */
static double once_time(void *context) {
  engine_bench *bench = context;
  task_engine_begin(bench->engine, 0);
  pthread_barrier_wait(&bench->gate);
  int64_t begin = base_now();
  bench->figure->graph(bench);
  task_status status = task_engine_finish(bench->engine);
  int64_t end = base_now();
  pthread_barrier_wait(&bench->gate);
  if (status) give_up(bench, "the run got stuck");
  check(bench);
  return (double)(end - begin) / bench->figure->tasks;
}

/* Pages of the engine that hold something. */
static size_t touched_pages(const engine_bench *bench, size_t page) {
  size_t pages = bench->engine_size / page, touched = 0;
  unsigned char *resident = malloc(pages);
  if (!resident || mincore(bench->engine, bench->engine_size, resident))
    give_up(bench, "cannot look at the engine's memory");
  for (size_t i = 0; i < pages; i++) touched += resident[i] & 1;
  free(resident);
  return touched;
}

/* Bytes a task, arguments aside: what a full window touches of the engine's memory. Held, so that all
** tasks are there at once. The arguments of each lie in one piece of a cache line. */
static double once_bytes(void *context) {
  engine_bench *bench = context;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  task_engine_begin(bench->engine, 1);
  bench->figure->graph(bench);
  size_t bytes = touched_pages(bench, page) * page;
  task_engine_release(bench->engine);
  pthread_barrier_wait(&bench->gate);
  task_status status = task_engine_finish(bench->engine);
  pthread_barrier_wait(&bench->gate);
  if (status) give_up(bench, "the run got stuck");
  check(bench);
  return (double)bytes / bench->figure->tasks - BENCH_TILE;
}

/* --- One figure --------------------------------------------------------------------------------------- */

/* The sizes that a chip gives an engine with this window. */
static void open_engine(engine_bench *bench) {
  uint32_t window = bench->figure->window;
  task_limits limits = {.lanes = bench->threads,
                        .tasks = window,
                        .edges = 65536,
                        .regions = window > 4096 ? 4 * window : 16384,
                        .blocks = window > 8192 ? 2 * window : 16384,
                        .payload = window > 4096 ? (uint64_t)window * 1024 : 4 << 20,
                        .heap = 256 << 20,
                        .heap_unit = 1024};
  task_hooks hooks = {.context = bench, .execute = execute, .park = park, .wake = wake, .clock = now};
  bench->engine_size = task_engine_size(&limits);
  void *memory = mmap(NULL, bench->engine_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) give_up(bench, "no memory for an engine");
  bench->engine = task_engine_init(memory, &limits, &hooks);
}

static void open_bench(engine_bench *bench, const engine_figure *figure, uint32_t threads) {
  *bench = (engine_bench){.figure = figure, .threads = threads};
  for (int i = 0; i < 2; i++) {
    bench->buffers[i] = calloc(figure->tiles, BENCH_TILE);
    if (!bench->buffers[i]) give_up(bench, "no memory for the tiles");
  }
  open_engine(bench);
  pthread_barrier_init(&bench->gate, NULL, threads);
  for (uint32_t i = 1; i < threads; i++) {
    lane_start *start = malloc(sizeof *start);
    if (!start) give_up(bench, "no memory for a lane");
    *start = (lane_start){bench, i};
    if (pthread_create(&bench->lanes[i], NULL, lane_main, start)) give_up(bench, "no thread for a lane");
  }
}

static void close_bench(engine_bench *bench) {
  bench->over = 1;
  pthread_barrier_wait(&bench->gate);
  for (uint32_t i = 1; i < bench->threads; i++) pthread_join(bench->lanes[i], NULL);
  pthread_barrier_destroy(&bench->gate);
  munmap(bench->engine, bench->engine_size);
  for (int i = 0; i < 2; i++) free(bench->buffers[i]);
}

#define TIMED .unit = "ns a task", .once = once_time, .window = 16384

static const engine_figure figures[] = {
    {TIMED, .name = "independent_0_queued", .graph = graph_no_tensor, .tasks = BENCH_INDEPENDENT_TASKS,
     .tiles = 1},
    {TIMED, .name = "independent_1_queued", .graph = graph_update, .tasks = BENCH_INDEPENDENT_TASKS,
     .tiles = BENCH_INDEPENDENT_TILES},
    {TIMED, .name = "chain_queued", .graph = graph_update, .tasks = BENCH_CHAIN_TASKS, .tiles = 1},
    {TIMED, .name = "stencil_queued", .graph = graph_stencil,
     .tasks = BENCH_STENCIL_STEPS * BENCH_STENCIL_TILES, .tiles = BENCH_STENCIL_TILES},
    {.name = "task_bytes",
     .unit = "bytes",
     .once = once_bytes,
     .window = 16384,
     .graph = graph_update,
     .tasks = 16384,
     .tiles = 16384},
};

int main(int argc, char **argv) {
  bench_options options;
  if (bench_options_parse(argc, argv, &options) != argc) {
    fprintf(stderr, "usage: %s [--only NAME,…] [--threads N] [--repetitions N] [--seconds S]\n", argv[0]);
    return 2;
  }
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    engine_bench bench;
    if (!bench_wanted(&options, figures[i].name)) continue;
    open_bench(&bench, &figures[i], options.threads);
    bench_measure(&options, "baton", figures[i].name, figures[i].unit, figures[i].once, &bench);
    close_bench(&bench);
  }
  return 0;
}
