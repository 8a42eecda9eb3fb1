#include "body.h"
#include "base/clock.h"

enum { PROBE_TURNS = 100000, PROBES = 20, PROBE_NS = 200000 };

__attribute__((noinline)) void bench_body(uint32_t turns) {
  for (; turns; turns--) __asm__ volatile("" : "+r"(turns));
}

/* The shortest of many: the others were disturbed. */
static double shortest(uint32_t turns, uint32_t calls) {
  double best = 1e18;
  for (int probe = 0; probe < PROBES; probe++) {
    int64_t begin = base_now();
    for (uint32_t i = 0; i < calls; i++) bench_body(turns);
    double took = (double)(base_now() - begin) / calls;
    if (took < best) best = took;
  }
  return best;
}

uint32_t bench_body_turns(double ns) {
  static double ns_per_turn;
  if (ns <= 0) return 0;
  if (ns_per_turn <= 0) ns_per_turn = shortest(PROBE_TURNS, 1) / PROBE_TURNS;
  double turns = ns / ns_per_turn;
  return turns < 1 ? 1 : (uint32_t)turns;
}

double bench_body_measure(uint32_t turns) {
  double ns = shortest(turns, 1);
  return ns >= PROBE_NS ? ns : shortest(turns, (uint32_t)(PROBE_NS / (ns + 1)) + 1);
}
