/* baton-bench-orchestration - what a task costs from a C orchestration to its end: [TASKS]. The orchestration runs on the
** chip's control processor (tensormap_and_ringbuffer) and submits small tasks over the tiles of one tensor; the clock runs
** around the whole run, copies of the arguments included. */
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

static void orchestrate(baton_orch *o, const baton_args *args) {
  baton_view counts = baton_param(o, args, 0);
  int64_t tasks = baton_scalar_i64(args, 1);
  int kernel = baton_kernel(o, "count_up");
  for (int64_t i = 0; i < tasks; i++)
    baton_aiv(o, kernel, BATON_ARGS(baton_inout(baton_select(counts, 0, i % TILES)), baton_f32(1)), NULL);
}

static baton_status open_bench(orchestration_bench *bench, uint32_t threads, baton_error *err) {
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
                                   .orchestrate = orchestrate};
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

int main(int argc, char **argv) {
  bench_options options;
  baton_error err = {0};
  char name[64];
  int at = bench_options_parse(argc, argv, &options), measured = 1;
  orchestration_bench bench = {.tasks = at < argc ? atoll(argv[at]) : DEFAULT_TASKS};
  if (bench.tasks < 1) return 2;
  snprintf(name, sizeof name, "orchestration_%lld", (long long)bench.tasks);
  if (bench_wanted(&options, name))
    measured = open_bench(&bench, options.threads, &err) == BATON_OK
                   ? bench_measure(&options, "baton", name, "ns a task", once, &bench)
                   : fail(&err) > 0;
  baton_tensor_close(bench.counts);
  baton_program_close(bench.program);
  baton_worker_close(bench.chip);
  return !measured;
}
