/* body.h - a body of known length: a loop of so many turns, which takes the same time under every engine. It reads no
** clock, so that a thread that is pushed off its CPU does not count as working. In C and in C++. */
#ifndef BENCH_BODY_H
#define BENCH_BODY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Turns of a body of so many ns, when the machine is as fast as it was at any of these calls; 0 for 0. */
uint32_t bench_body_turns(double ns);

void bench_body(uint32_t turns);

/* What a call of bench_body takes now, in ns: the shortest of many times, or the mean of some. */
double bench_body_measure(uint32_t turns);
double bench_body_sample(uint32_t turns);

#ifdef __cplusplus
}
#endif

#endif
