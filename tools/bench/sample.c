#include "sample.h"
#include "base/clock.h"
#include "graphs.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 1000, LEAST_REPETITIONS = 7 };

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
  *out = (bench_options){.threads = BENCH_THREADS, .repetitions = LEAST_REPETITIONS, .seconds = 0.3};
  while ((option = getopt_long(argc, argv, "+", names, NULL)) != -1) switch (option) {
    case 'o': out->only = optarg; break;
    case 't': out->threads = count_from(optarg, 64); break;
    case 'r': out->repetitions = count_from(optarg, MOST_SAMPLES); break;
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

static void print_line(const char *who, const char *name, const char *unit, const double *sorted,
                       uint32_t count) {
  double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
  printf("%s\t%s\t%s\t%.6g\t%.6g\t%.6g\n", who, name, unit, median, sorted[0], sorted[count - 1]);
  fflush(stdout);
}

int bench_measure(const bench_options *options, const char *who, const char *name, const char *unit,
                  bench_once *once, void *context) {
  double samples[MOST_SAMPLES];
  uint32_t count = 0;
  if (once(context) < 0) return 0;
  int64_t enough = base_deadline(options->seconds);
  while (count < options->repetitions || (base_now() < enough && count < MOST_SAMPLES)) {
    samples[count] = once(context);
    if (samples[count++] < 0) return 0;
  }
  qsort(samples, count, sizeof *samples, compare);
  print_line(who, name, unit, samples, count);
  return 1;
}

void bench_print(const char *who, const char *name, const char *unit, double value) {
  print_line(who, name, unit, &value, 1);
}
