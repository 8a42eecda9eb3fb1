/* sample.h - what every measuring program here has in common: options, repetitions, and one line of
** results a figure.
**
** A line is WHO, NAME, UNIT, MEDIAN, MIN and MAX, with tabs in between. WHO is "baton", or a peer and
** which kind of it: "openmp/libgomp-active". report.c reads these lines. */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdint.h>

typedef struct bench_options {
  const char *only;     /* names with commas in between; NULL: all */
  uint32_t threads;     /* that run tasks, the submitting one included */
  uint32_t repetitions; /* at least so many, after the warm-up */
  double seconds;       /* and at least for so long */
} bench_options;

/* Takes --only, --threads, --repetitions and --seconds from the front of the command line and returns
** the position of the first other argument. Ends the program with status 2 on anything else that begins
** with '-'. */
int bench_options_parse(int argc, char **argv, bench_options *out);

/* True if the figure was asked for. */
int bench_wanted(const bench_options *options, const char *name);

/* One repetition: the measured value, or a negative number if it failed. */
typedef double bench_once(void *context);

/* Measures after one repetition that does not count, and prints the line. False if a repetition failed. */
int bench_measure(const bench_options *options, const char *who, const char *name, const char *unit,
                  bench_once *once, void *context);

/* Prints the line of a value that needs no repetition. */
void bench_print(const char *who, const char *name, const char *unit, double value);

#endif
