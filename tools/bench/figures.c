#include "figures.h"
#include "body.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
  FEW_TASKS = 128,
  MOST_GROWTH = 16,
  SAMPLE_NS = 10000000,
  METG_NS = 1000000,
  METG_TASKS = 16384,
  METG_RUNS = 3,
  METG_STEPS = 10,
  METG_TRIES = 4
};

#define LONGEST_METG_US  200
#define SHORTEST_METG_US 0.02

/* Bodies in us; a negative one ends the list. */
static const double every_body[] = {0, 0.1, 0.2, 0.4, 0.8, 1, 1.6, 3.2, 10, 100, -1};
static const double peer_bodies[] = {0, 1, 10, 100, -1};
static const double empty_body[] = {0, -1};
static const double replay_bodies[] = {0, 0.4, 0.8, -1};
static const double skewed_bodies[] = {0.4, 0.8, -1};

enum { ONE_THREAD = 1, ALL_THREADS = 2 };

/* Some figures: one for each body and number of threads. */
typedef struct figure_row {
  const char *name;
  bench_shape shape;
  bench_way way;
  const double *bodies;
  int threads;    /* bits; the only one of a row is not part of the name */
  uint32_t tasks; /* at most, or exactly for a replay */
  int skewed;
} figure_row;

#define ROWS_OF(name, shape, tasks)                                              \
  {name, shape, BENCH_AUTO, every_body, ONE_THREAD | ALL_THREADS, tasks, 0},     \
      {name "_elided", shape, BENCH_ELIDED, empty_body, ONE_THREAD, tasks, 0},   \
      {name "_queued", shape, BENCH_QUEUED, empty_body, ONE_THREAD, tasks, 0}, { \
    name "_offered", shape, BENCH_OFFERED, empty_body, ALL_THREADS, tasks, 0     \
  }

#define REPLAY_ROW(name, shape, bodies, tasks, skewed) \
  { name, shape, BENCH_REPLAYED, bodies, ONE_THREAD | ALL_THREADS, tasks, skewed }

static const figure_row rows[] = {
    ROWS_OF("independent_0", BENCH_INDEPENDENT_0, 200000),
    ROWS_OF("independent_1", BENCH_INDEPENDENT_1, 200000),
    ROWS_OF("chain", BENCH_CHAIN, 100000),
    ROWS_OF("stencil", BENCH_STENCIL, 100000),
    ROWS_OF("tree", BENCH_TREE, 100000),
    ROWS_OF("dag", BENCH_DAG, 100000),
    REPLAY_ROW("replay_100", BENCH_STENCIL_10, replay_bodies, 100, 0),
    REPLAY_ROW("replay_100", BENCH_STENCIL_10, skewed_bodies, 100, 1),
    REPLAY_ROW("replay_10000", BENCH_STENCIL_100, replay_bodies, 10000, 0),
};

/* Gives the case as many tasks as take about `ns`, by trying. */
static void choose_tasks(const bench_runner *runner, bench_case *of, double ns, uint32_t most) {
  uint32_t width = bench_width(of->shape) ? bench_width(of->shape) : 1, count = FEW_TASKS;
  for (;;) {
    of->tasks = count - count % width;
    void *context = runner->open(of);
    double took = runner->once(context);
    runner->close(context);
    if (took <= 0 || took > ns / 2 || count == most) return;
    double grown = count * fmin(ns / took, MOST_GROWTH);
    count = grown < most ? (uint32_t)grown : most;
  }
}

/* ns of all bodies of a case, one after the other; `one`: of a body. */
static double serial_ns(const bench_case *of, double one) {
  return of->tasks * (of->skewed ? one * (1 + BENCH_SKEW) / 2 : one);
}

/* --- The table ---------------------------------------------------------------------------------------- */

/* NAME of one figure of a row, and a suffix. */
static void make_name(char name[BENCH_NAME], const figure_row *row, double body, uint32_t threads,
                      const char *suffix) {
  char text[16] = "";
  int named_threads = row->threads != ONE_THREAD && threads == 1;
  if (body > 0) snprintf(text, sizeof text, "_%gus", body);
  snprintf(name, BENCH_NAME, "%s%s%s%s%s", row->name, text, row->skewed ? "_skewed" : "",
           named_threads ? "_1thread" : "", suffix);
}

static void print_as(const bench_runner *runner, const char *name, const char *unit,
                     const bench_samples *samples, double (*convert)(double value, const double *with),
                     const double *with) {
  bench_samples out = {.count = samples->count};
  for (uint32_t i = 0; i < samples->count; i++) out.values[i] = convert(samples->values[i], with);
  bench_print_samples(runner->who, name, unit, &out);
}

static double divided(double value, const double *by) { return value / *by; }
static double percent(double value, const double *ideal) { return 100 * *ideal / value; }
static double above_us(double value, const double *ideal) { return (value - *ideal) / 1000; }

static void print_figure(const bench_runner *runner, const figure_row *row, const bench_case *of, double body,
                         const bench_samples *samples, double ideal) {
  char name[BENCH_NAME];
  double tasks = of->tasks;
  make_name(name, row, body, of->threads, "");
  print_as(runner, name, "ns a task", samples, divided, &tasks);
  if (body <= 0) return;
  make_name(name, row, body, of->threads, "_efficiency");
  print_as(runner, name, "%", samples, percent, &ideal);
  if (of->way != BENCH_REPLAYED) return;
  make_name(name, row, body, of->threads, "_overhead");
  print_as(runner, name, "us a round", samples, above_us, &ideal);
}

static int wanted(const bench_options *options, const figure_row *row, double body, uint32_t threads) {
  static const char *const suffixes[] = {"", "_efficiency", "_overhead"};
  char name[BENCH_NAME];
  for (int i = 0; i < (body > 0 ? 3 : 1); i++) {
    make_name(name, row, body, threads, suffixes[i]);
    if (bench_wanted(options, name)) return 1;
  }
  return 0;
}

/* The bodies alone are measured next to every repetition: a machine is not always equally fast. */
typedef struct beside {
  const bench_runner *runner;
  const bench_case *of;
  void *context;
  bench_samples bodies; /* ns */
} beside;

static double once_beside(void *context) {
  beside *both = context;
  bench_samples *bodies = &both->bodies;
  if (both->of->turns && bodies->count < BENCH_MOST_SAMPLES)
    bodies->values[bodies->count++] = bench_body_sample(both->of->turns);
  return both->runner->once(both->context);
}

static void measure_one(const bench_options *options, const bench_runner *runner, const figure_row *row,
                        double body, uint32_t threads) {
  static bench_samples samples;
  static beside both;
  bench_case of = {.shape = row->shape, .way = row->way, .threads = threads, .skewed = row->skewed};
  of.turns = bench_body_turns(body * 1000);
  of.tasks = row->tasks;
  if (!wanted(options, row, body, threads) || !runner->can(&of)) return;
  if (row->way != BENCH_REPLAYED) choose_tasks(runner, &of, SAMPLE_NS, row->tasks);
  both = (beside){.runner = runner, .of = &of, .context = runner->open(&of)};
  if (bench_sample(options, once_beside, &both, &samples))
    print_figure(runner, row, &of, body, &samples, serial_ns(&of, bench_median(&both.bodies)) / threads);
  runner->close(both.context);
}

static int is_baton(const bench_runner *runner) { return strcmp(runner->who, "baton") == 0; }

static void measure_row(const bench_options *options, const bench_runner *runner, const figure_row *row) {
  const double *bodies = row->bodies == every_body && !is_baton(runner) ? peer_bodies : row->bodies;
  for (; *bodies >= 0; bodies++) {
    if (row->threads & ALL_THREADS) measure_one(options, runner, row, *bodies, options->threads);
    if (row->threads & ONE_THREAD && (options->threads > 1 || row->threads == ONE_THREAD))
      measure_one(options, runner, row, *bodies, 1);
  }
}

/* --- The smallest task -------------------------------------------------------------------------------- */

typedef struct smallest {
  const bench_runner *runner;
  bench_case of;
  double wanted; /* of all CPUs, 0 … 1 */
} smallest;

/* The shortest of some runs. */
static double best_of_runs(const smallest *metg) {
  double best = 1e18;
  void *context = metg->runner->open(&metg->of);
  for (int i = 0; i < METG_RUNS; i++) {
    double ns = metg->runner->once(context);
    if (ns > 0 && ns < best) best = ns;
  }
  metg->runner->close(context);
  return best;
}

/* A machine that is disturbed gets other chances. */
static int is_enough(smallest *metg, double body_us) {
  bench_case *of = &metg->of;
  of->turns = bench_body_turns(body_us * 1000);
  choose_tasks(metg->runner, of, METG_NS, METG_TASKS);
  for (int i = 0; i < METG_TRIES; i++) {
    double serial = serial_ns(of, bench_body_measure(of->turns));
    if (serial / (of->threads * best_of_runs(metg)) >= metg->wanted) return 1;
  }
  return 0;
}

/* us. Halves the range of bodies, in proportion, until they agree to 1 part in 100. */
static double once_metg(void *context) {
  smallest *metg = context;
  double low = SHORTEST_METG_US, high = LONGEST_METG_US;
  if (!is_enough(metg, high) && !is_enough(metg, high)) return -1;
  for (int step = 0; step < METG_STEPS; step++) {
    double middle = sqrt(low * high);
    if (is_enough(metg, middle))
      high = middle;
    else
      low = middle;
  }
  return high;
}

static void measure_metg(const bench_options *options, const bench_runner *runner) {
  static const struct {
    const char *name;
    bench_way way;
    double wanted;
  } table[] = {{"metg50_inferred", BENCH_AUTO, 0.5},
               {"metg75_inferred", BENCH_AUTO, 0.75},
               {"metg50_replayed", BENCH_REPLAYED, 0.5},
               {"metg75_replayed", BENCH_REPLAYED, 0.75}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    smallest metg = {
        .runner = runner,
        .of = {.shape = BENCH_STENCIL_4, .way = table[i].way, .threads = options->threads, .turns = 1},
        .wanted = table[i].wanted};
    if (bench_wanted(options, table[i].name) && runner->can(&metg.of))
      bench_measure(options, runner->who, table[i].name, "us", once_metg, &metg);
  }
}

void bench_figures(const bench_options *options, const bench_runner *runner) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) measure_row(options, runner, &rows[i]);
  measure_metg(options, runner);
}

int bench_figures_main(int argc, char **argv, const bench_runner *runner) {
  bench_options options;
  if (bench_options_parse(argc, argv, &options) != argc) {
    fprintf(stderr, "usage: %s [--only NAME,…] [--threads N] [--repetitions N] [--seconds S]\n", argv[0]);
    return 2;
  }
  bench_figures(&options, runner);
  return 0;
}
