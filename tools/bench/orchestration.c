/* baton-bench-orchestration - what a task costs from a C orchestration to its end: [TASKS [SOURCE]]. The orchestration runs
** on the chip's control processor (tensormap_and_ringbuffer) and submits small tasks over the tiles of one tensor; the clock
** runs around the whole run, copies of the arguments included. With the path of orchestration_graph.c also orchestration_c:
** the same compiled at run time, next to the function of this program (`c_api`). */
#include "base/clock.h"
#include "sample.h"
#include <baton/baton.h>
#include <stdio.h>
#include <stdlib.h>

enum { TILES = 1000, TILE = 16, DEFAULT_TASKS = 1000000 };

typedef struct orchestration_bench {
  baton_worker *chip;
  baton_program *program;
  baton_tensor *counts;
  int64_t tasks;
} orchestration_bench;

static void count_up(const baton_args *args) {
  float *tile = baton_io(args, 0, float), step = baton_scalar_f32(args, 1);
  for (int i = 0; i < TILE; i++) tile[i] += step;
}

BATON_ORCHESTRATION(bench_orchestrate); /* orchestration_graph.c */

/* `source` NULL: the function of this program. */
static baton_status open_bench(orchestration_bench *bench, uint32_t threads, const char *source,
                               baton_error *err) {
  baton_worker_options worker = {
      .platform = "a2a3sim", .threads = threads, .config = {.runtime = "tensormap_and_ringbuffer"}};
  baton_parameter params[] = {{.name = "counts", .direction = BATON_IN_OUT},
                              {.name = "tasks", .direction = BATON_BY_VALUE, .dtypes = 1u << BATON_I64}};
  baton_kernel_options kernel = {.name = "count_up", .core = BATON_AIV, .function = count_up};
  baton_program_options program = {.name = "orchestration",
                                   .params = params,
                                   .nparams = 2,
                                   .kernels = &kernel,
                                   .nkernels = 1,
                                   .orchestrate = source ? NULL : bench_orchestrate,
                                   .orchestration_source = source,
                                   .orchestration_entry = source ? "bench_orchestrate" : NULL};
  BATON_TRY(baton_worker_open(&worker, &bench->chip, err));
  BATON_TRY(baton_program_create(&program, &bench->program, err));
  return baton_tensor_zeros(BATON_F32, 2, (int64_t[]){TILES, TILE}, &bench->counts, err);
}

static double fail(baton_error *err) {
  fprintf(stderr, "orchestration: %s\n", err->message);
  baton_error_clear(err);
  return -1;
}

static double once(void *context) {
  orchestration_bench *bench = context;
  baton_error err = {0};
  baton_value values[] = {{.tensor = bench->counts}, {.dtype = BATON_I64, .scalar.i64 = bench->tasks}};
  float *first = baton_tensor_view(bench->counts)->data;
  *first = 0;
  int64_t begin = base_now();
  baton_status status = baton_worker_run(bench->chip, bench->program, values, 2, NULL, NULL, &err);
  int64_t end = base_now();
  float expected = (float)((bench->tasks + TILES - 1) / TILES);
  if (status == BATON_OK && *first != expected)
    status = baton_error_set(&err, BATON_STATE, "%g tasks of a tile have run, not %g", (double)*first,
                             (double)expected);
  if (status != BATON_OK) return fail(&err);
  return (double)(end - begin) / (double)bench->tasks;
}

static void close_bench(orchestration_bench *bench) {
  baton_tensor_close(bench->counts);
  baton_program_close(bench->program);
  baton_worker_close(bench->chip);
}

/* False if it failed, which was said. */
static int measure(const bench_options *options, const char *who, const char *name, int64_t tasks,
                   const char *source) {
  baton_error err = {0};
  orchestration_bench bench = {.tasks = tasks};
  if (!bench_wanted(options, name)) return 1;
  int measured = open_bench(&bench, options->threads, source, &err) == BATON_OK
                     ? bench_measure(options, who, name, "ns a task", once, &bench)
                     : fail(&err) > 0;
  close_bench(&bench);
  return measured;
}

int main(int argc, char **argv) {
  bench_options options;
  char name[BENCH_NAME];
  int at = bench_options_parse(argc, argv, &options);
  int64_t tasks = at < argc ? atoll(argv[at]) : DEFAULT_TASKS;
  const char *source = at + 1 < argc ? argv[at + 1] : NULL;
  if (tasks < 1) return 2;
  snprintf(name, sizeof name, "orchestration_%lld", (long long)tasks);
  int measured = measure(&options, "baton", name, tasks, NULL);
  if (source)
    measured = measured && measure(&options, "baton", "orchestration_c", tasks, source) &&
               measure(&options, "c_api", "orchestration_c", tasks, NULL);
  return !measured;
}
