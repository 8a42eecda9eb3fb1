#include "team.h"
#include "base/clock.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MOST_THREADS = 64, SPINS = 20000 };

typedef struct team {
  void (*work)(void *context, uint32_t thread);
  void *context;
  _Atomic uint32_t ready, begun, over;
} team;

typedef struct member {
  team *team;
  uint32_t number;
} member;

static void await(const _Atomic uint32_t *count, uint32_t value) {
  for (uint32_t spins = 0; atomic_load_explicit(count, memory_order_acquire) < value; spins++)
    if (spins > SPINS) sched_yield();
}

static void *member_main(void *context) {
  member *self = context;
  atomic_fetch_add_explicit(&self->team->ready, 1, memory_order_release);
  await(&self->team->begun, 1);
  self->team->work(self->team->context, self->number);
  atomic_fetch_add_explicit(&self->team->over, 1, memory_order_release);
  return NULL;
}

double bench_team_run(uint32_t threads, void (*work)(void *context, uint32_t thread), void *context) {
  team all = {.work = work, .context = context};
  member members[MOST_THREADS];
  pthread_t ids[MOST_THREADS];
  uint32_t others = 0;
  if (threads > MOST_THREADS) return -1;
  for (uint32_t i = 1; i < threads; i++, others++) {
    members[i] = (member){&all, i};
    if (pthread_create(&ids[i], NULL, member_main, &members[i])) break;
  }
  await(&all.ready, others);
  int64_t begin = base_now();
  atomic_store_explicit(&all.begun, 1, memory_order_release);
  if (others + 1 == threads) work(context, 0);
  await(&all.over, others);
  int64_t end = base_now();
  for (uint32_t i = 1; i <= others; i++) pthread_join(ids[i], NULL);
  return others + 1 == threads ? (double)(end - begin) : -1;
}
