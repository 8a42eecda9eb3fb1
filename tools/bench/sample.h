/* sample.h - what every measuring program here has in common: options, repetitions, and one line of results a figure. In C
** and in C++.
**
** A line is WHO, NAME, UNIT, MEDIAN, MIN and MAX, with tabs in between. WHO is "baton", or a peer and which kind of it:
** "openmp/libgomp-active". report.c reads these lines. */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_MOST_SAMPLES = 1000, BENCH_NAME = 64 };

typedef struct bench_options {
  const char *only;     /* names with commas in between; NULL: all */
  uint32_t threads;     /* that run tasks, the submitting one included */
  uint32_t repetitions; /* at least so many, after the warm-up */
  double seconds;       /* and at least for so long */
} bench_options;

/* What repetitions have measured. */
typedef struct bench_samples {
  uint32_t count;
  double values[BENCH_MOST_SAMPLES];
} bench_samples;

/* Takes --only, --threads, --repetitions and --seconds from the front of the command line and returns the position of the
** first other argument. Ends the program with status 2 on anything else that begins with '-'. */
int bench_options_parse(int argc, char **argv, bench_options *out);

/* True if the figure was asked for. */
int bench_wanted(const bench_options *options, const char *name);

/* One repetition: the measured value, or a negative number if it failed. */
typedef double bench_once(void *context);

/* Measures after one repetition that does not count. False if a repetition failed. */
int bench_sample(const bench_options *options, bench_once *once, void *context, bench_samples *out);

/* Measures two ways in turn, each with its context, so that what else the machine does meets both. */
int bench_sample_both(const bench_options *options, bench_once *const once[2], void *const contexts[2],
                      bench_samples out[2]);

/* 0 if there are none. Sorts them. */
double bench_median(bench_samples *samples);

/* Prints the line of a figure. */
void bench_print_samples(const char *who, const char *name, const char *unit, bench_samples *samples);

/* Both. */
int bench_measure(const bench_options *options, const char *who, const char *name, const char *unit,
                  bench_once *once, void *context);

#ifdef __cplusplus
}
#endif

#endif
