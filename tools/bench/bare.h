/* bare.h - what the machine itself needs to hand a word to another process and back, and to copy memory. */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <stddef.h>
#include <stdint.h>

typedef enum bare_way { BARE_FUTEX, BARE_SPIN, BARE_END } bare_way; /* how both sides wait */

/* Another process that answers; it sleeps until it is asked. */
typedef struct bare_peer bare_peer;

/* Begin before other threads exist: it forks. NULL, which was said: there is no process. */
bare_peer *bare_open(void);
void bare_close(bare_peer *peer);

/* ns of one question and its answer, of `count` after each of which nothing happens for `idle` ns; 0: at once. */
double bare_round_trip(bare_peer *peer, bare_way way, uint32_t count, int64_t idle);

/* Uses this CPU and nothing else until then. */
void bare_spin_until(int64_t end);

#endif
