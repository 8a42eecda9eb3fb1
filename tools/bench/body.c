#include "body.h"
#include "base/clock.h"

enum { PROBE_TURNS = 100000, PROBES = 20, PROBE_NS = 200000, LEAST_CALLS = 4, MOST_CALLS = 1000 };

__attribute__((noinline)) void bench_body(uint32_t turns) {
  for (; turns; turns--) __asm__ volatile("" : "+r"(turns));
}

/* ns a call. */
static double mean(uint32_t turns, uint32_t calls) {
  int64_t begin = base_now();
  for (uint32_t i = 0; i < calls; i++) bench_body(turns);
  return (double)(base_now() - begin) / calls;
}

/* The shortest of many: the others were disturbed. */
static double shortest(uint32_t turns, uint32_t calls) {
  double best = 1e18;
  for (int probe = 0; probe < PROBES; probe++) {
    double took = mean(turns, calls);
    if (took < best) best = took;
  }
  return best;
}

uint32_t bench_body_turns(double ns) {
  static double best;
  if (ns <= 0) return 0;
  double ns_per_turn = shortest(PROBE_TURNS, 1) / PROBE_TURNS;
  if (best <= 0 || ns_per_turn < best) best = ns_per_turn;
  double turns = ns / best;
  return turns < 1 ? 1 : (uint32_t)turns;
}

double bench_body_measure(uint32_t turns) {
  double ns = shortest(turns, 1);
  return ns >= PROBE_NS ? ns : shortest(turns, (uint32_t)(PROBE_NS / (ns + 1)) + 1);
}

double bench_body_sample(uint32_t turns) {
  double ns = mean(turns, LEAST_CALLS), calls = 2 * PROBE_NS / (ns + 1);
  return mean(turns, calls < LEAST_CALLS ? LEAST_CALLS : calls < MOST_CALLS ? (uint32_t)calls : MOST_CALLS);
}
