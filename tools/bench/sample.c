#include "sample.h"
#include "base/clock.h"
#include "graphs.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_REPETITIONS = 7 };

static const struct option names[] = {{"only", required_argument, NULL, 'o'},
                                      {"threads", required_argument, NULL, 't'},
                                      {"repetitions", required_argument, NULL, 'r'},
                                      {"seconds", required_argument, NULL, 's'},
                                      {NULL, 0, NULL, 0}};

static uint32_t count_from(const char *text, uint32_t most) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (*end || end == text || value < 1 || value > most) {
    fprintf(stderr, "'%s' is not a number from 1 to %u\n", text, most);
    exit(2);
  }
  return (uint32_t)value;
}

int bench_options_parse(int argc, char **argv, bench_options *out) {
  int option;
  *out = (bench_options){.threads = BENCH_THREADS, .repetitions = LEAST_REPETITIONS, .seconds = 0.1};
  while ((option = getopt_long(argc, argv, "+", names, NULL)) != -1) switch (option) {
    case 'o': out->only = optarg; break;
    case 't': out->threads = count_from(optarg, 64); break;
    case 'r': out->repetitions = count_from(optarg, BENCH_MOST_SAMPLES); break;
    case 's': out->seconds = strtod(optarg, NULL); break;
    default: exit(2);
    }
  return optind;
}

int bench_wanted(const bench_options *options, const char *name) {
  size_t length = strlen(name);
  const char *at = options->only;
  if (!at) return 1;
  for (; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, name, length) == 0 && (at[length] == ',' || !at[length])) return 1;
  return 0;
}

static int compare(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static int add_sample(bench_samples *samples, double value) {
  if (value < 0) return 0;
  samples->values[samples->count++] = value;
  return 1;
}

static void sort(bench_samples *samples) {
  qsort(samples->values, samples->count, sizeof *samples->values, compare);
}

double bench_median(bench_samples *samples) {
  uint32_t count = samples->count;
  sort(samples);
  return count ? (samples->values[(count - 1) / 2] + samples->values[count / 2]) / 2 : 0;
}

static int more_wanted(const bench_options *options, uint32_t count, int64_t enough) {
  return count < options->repetitions || (base_now() < enough && count < BENCH_MOST_SAMPLES);
}

int bench_sample(const bench_options *options, bench_once *once, void *context, bench_samples *out) {
  out->count = 0;
  if (once(context) < 0) return 0;
  int64_t enough = base_deadline(options->seconds);
  while (more_wanted(options, out->count, enough))
    if (!add_sample(out, once(context))) return 0;
  return 1;
}

int bench_sample_both(const bench_options *options, bench_once *const once[2], void *const contexts[2],
                      bench_samples out[2]) {
  out[0].count = out[1].count = 0;
  if (once[0](contexts[0]) < 0 || once[1](contexts[1]) < 0) return 0;
  int64_t enough = base_deadline(2 * options->seconds);
  while (more_wanted(options, out[0].count, enough))
    if (!add_sample(&out[0], once[0](contexts[0])) || !add_sample(&out[1], once[1](contexts[1]))) return 0;
  return 1;
}

void bench_print_samples(const char *who, const char *name, const char *unit, bench_samples *samples) {
  double median = bench_median(samples);
  printf("%s\t%s\t%s\t%.6g\t%.6g\t%.6g\n", who, name, unit, median, samples->values[0],
         samples->values[samples->count - 1]);
  fflush(stdout);
}

int bench_measure(const bench_options *options, const char *who, const char *name, const char *unit,
                  bench_once *once, void *context) {
  bench_samples samples;
  if (!bench_sample(options, once, context, &samples)) return 0;
  bench_print_samples(who, name, unit, &samples);
  return 1;
}
