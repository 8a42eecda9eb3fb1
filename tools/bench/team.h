/* team.h - some threads that begin together, for the peers that are written by hand. */
#ifndef BENCH_TEAM_H
#define BENCH_TEAM_H

#include <stdint.h>

/* Calls `work` on so many threads, the caller's is number 0. Returns the ns from the moment when all were ready to the end
** of the last, or -1 if there are no threads. */
double bench_team_run(uint32_t threads, void (*work)(void *context, uint32_t thread), void *context);

#endif
