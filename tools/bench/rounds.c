/* baton-bench-rounds - what rounds cost: a program of one task on 1 KiB, from the opening of a round to its end. RUNTIME is
** host_build_graph or tensormap_and_ringbuffer.
**
** rounds_1_RUNTIME is a round above its kernel, of many in a row; rounds_first_RUNTIME the first one after the rounds were
** opened, rounds_first_ratio_RUNTIME how many later ones that is; rounds_reuse_RUNTIME how many rounds the opening of a
** worker, a run and the closing are. */
#include "base/clock.h"
#include "sample.h"
#include <baton/baton.h>
#include <stdio.h>

enum { ELEMENTS = 256, LATER = 200 };
enum { ABOVE, FIRST, FIRST_RATIO, REUSE, FIGURES };

typedef struct rounds_bench {
  baton_worker_options options;
  baton_worker *chip;
  baton_program *program;
  baton_tensor *counts;
  baton_rounds *rounds; /* of the measurement that goes on */
  double first, later;  /* us of their first round, and of one of many in a row */
  int warm;             /* the measurement that does not count is over */
  bench_samples figures[FIGURES];
} rounds_bench;

static void count(float *counts) {
  for (int i = 0; i < ELEMENTS; i++) counts[i] += 1;
}

static void count_up(const baton_args *args) { count(baton_io(args, 0, float)); }

static void note(rounds_bench *bench, int figure, double value) {
  bench_samples *samples = &bench->figures[figure];
  if (bench->warm && samples->count < BENCH_MOST_SAMPLES) samples->values[samples->count++] = value;
}

static void orchestrate(baton_orch *o, const baton_args *args) {
  baton_aiv(o, baton_kernel(o, "count_up"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);
}

static baton_status open_bench(rounds_bench *bench, baton_error *err) {
  static const baton_parameter counts = {.name = "counts", .direction = BATON_IN_OUT};
  static const baton_kernel_options kernel = {.name = "count_up", .core = BATON_AIV, .function = count_up};
  baton_program_options program = {.name = "rounds",
                                   .params = &counts,
                                   .nparams = 1,
                                   .kernels = &kernel,
                                   .nkernels = 1,
                                   .orchestrate = orchestrate};
  BATON_TRY(baton_worker_open(&bench->options, &bench->chip, err));
  BATON_TRY(baton_program_create(&program, &bench->program, err));
  return baton_tensor_zeros(BATON_F32, 1, (int64_t[]){ELEMENTS}, &bench->counts, err);
}

static void close_bench(rounds_bench *bench) {
  baton_tensor_close(bench->counts);
  baton_program_close(bench->program);
  baton_worker_close(bench->chip);
}

static double fail(baton_error *err) {
  fprintf(stderr, "rounds: %s\n", err->message);
  baton_error_clear(err);
  return -1;
}

static baton_status open_rounds(rounds_bench *bench, baton_error *err) {
  return baton_rounds_open(bench->chip, bench->program, &(baton_value){.tensor = bench->counts}, 1, NULL,
                           &bench->rounds, err);
}

static baton_status play(rounds_bench *bench, int rounds, baton_error *err) {
  for (int i = 0; i < rounds; i++) {
    BATON_TRY(baton_rounds_init_round(bench->rounds, NULL, 0, err));
    BATON_TRY(baton_rounds_launch(bench->rounds, err));
    BATON_TRY(baton_rounds_finalize_round(bench->rounds, -1, NULL, err));
  }
  return BATON_OK;
}

/* us a round. */
static double time_rounds(rounds_bench *bench, int rounds, baton_error *err) {
  float *first = baton_tensor_view(bench->counts)->data;
  *first = 0;
  int64_t begin = base_now();
  baton_status status = play(bench, rounds, err);
  int64_t end = base_now();
  if (status == BATON_OK && *first != (float)rounds)
    status = baton_error_set(err, BATON_STATE, "%g rounds have run, not %d", (double)*first, rounds);
  return status == BATON_OK ? (double)(end - begin) / 1e3 / rounds : fail(err);
}

/* us of the opening of a worker, a run, and the closing; everything but the program and its argument. */
static double time_without_reuse(rounds_bench *bench, baton_error *err) {
  baton_worker *chip;
  int64_t begin = base_now();
  if (baton_worker_open(&bench->options, &chip, err) != BATON_OK) return fail(err);
  baton_program_forget(bench->program);
  baton_status status =
      baton_worker_run(chip, bench->program, &(baton_value){.tensor = bench->counts}, 1, NULL, NULL, err);
  baton_worker_close(chip);
  return status == BATON_OK ? (double)(base_now() - begin) / 1e3 : fail(err);
}

static double time_kernel(rounds_bench *bench) {
  float *counts = baton_tensor_view(bench->counts)->data;
  int64_t begin = base_now();
  for (int i = 0; i < LATER; i++) count(counts);
  return (double)(base_now() - begin) / 1e3 / LATER;
}

/* The rounds of a worker of their own. False if something failed, which was said. */
static int take_rounds(rounds_bench *bench, baton_error *err) {
  if (open_rounds(bench, err) != BATON_OK) return fail(err) > 0;
  bench->first = time_rounds(bench, 1, err);
  double warm = bench->first < 0 ? -1 : time_rounds(bench, LATER, err);
  bench->later = warm < 0 ? -1 : time_rounds(bench, LATER, err);
  baton_rounds_close(bench->rounds);
  return bench->later >= 0;
}

/* One measurement of everything. */
static double once(void *context) {
  rounds_bench *bench = context;
  baton_error err = {0};
  int taken = open_bench(bench, &err) == BATON_OK ? take_rounds(bench, &err) : fail(&err) > 0;
  double kernel = taken ? time_kernel(bench) : 0;
  baton_worker_close(bench->chip);
  bench->chip = NULL;
  double alone = taken ? time_without_reuse(bench, &err) : -1;
  close_bench(bench);
  if (alone < 0) return -1;
  note(bench, ABOVE, bench->later - kernel);
  note(bench, FIRST, bench->first);
  note(bench, FIRST_RATIO, bench->first / bench->later);
  note(bench, REUSE, alone / bench->later);
  bench->warm = 1;
  return bench->later;
}

/* False if it failed, which was said. */
static int measure(const bench_options *options, const char *runtime) {
  static const char *const names[] = {"rounds_1", "rounds_first", "rounds_first_ratio", "rounds_reuse"};
  static const char *const units[] = {"us", "us", "rounds", "rounds"};
  static rounds_bench bench;
  static bench_samples later;
  char name[FIGURES][BENCH_NAME];
  int wanted = 0;
  for (int i = 0; i < FIGURES; i++) {
    snprintf(name[i], sizeof name[i], "%s_%s", names[i], runtime);
    wanted |= bench_wanted(options, name[i]);
  }
  if (!wanted) return 1;
  bench = (rounds_bench){
      .options = {.platform = "a2a3sim", .threads = options->threads, .config = {.runtime = runtime}}};
  if (!bench_sample(options, once, &bench, &later)) return 0;
  for (int i = 0; i < FIGURES; i++)
    if (bench_wanted(options, name[i])) bench_print_samples("baton", name[i], units[i], &bench.figures[i]);
  return 1;
}

int main(int argc, char **argv) {
  bench_options options;
  if (bench_options_parse(argc, argv, &options) != argc) return 2;
  return !(measure(&options, "host_build_graph") && measure(&options, "tensormap_and_ringbuffer"));
}
