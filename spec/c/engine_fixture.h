/* engine_fixture.h - what the tests of the task engine share: an engine in mapped memory, its hooks and its lanes. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include "base/clock.h"
#include "base/futex.h"
#include "task/engine.h"
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

/* The payload of a task: what to run, and on what. `run` returns nonzero to fail. NULL runs nothing. */
typedef struct fixture_body {
  int (*run)(void *argument, const task_call *call);
  void *argument;
} fixture_body;

typedef struct fixture {
  task_engine *engine;
  task_limits limits;
  size_t size;
  pthread_t threads[TASK_LANES];
  int entered; /* the lanes are inside */
} fixture;

typedef struct fixture_lane {
  fixture *owner;
  uint32_t number;
} fixture_lane;

static inline int fixture_execute(void *context, const task_call *call) {
  (void)context;
  const fixture_body *body = call->payload;
  return body->run ? body->run(body->argument, call) : 0;
}

static inline int fixture_park(void *context, const _Atomic uint32_t *word, uint32_t expected,
                               int64_t timeout) {
  (void)context;
  return base_futex_wait(word, expected, base_now() + timeout);
}

static inline void fixture_wake(void *context, const _Atomic uint32_t *word, int all) {
  (void)context;
  base_futex_wake(word, all ? INT_MAX : 1);
}

static inline int64_t fixture_clock(void *context) {
  (void)context;
  return base_now();
}

/* Enough of everything for a small test. */
static inline task_limits fixture_limits(uint32_t lanes) {
  return (task_limits){.lanes = lanes,
                       .tasks = 1024,
                       .edges = 4096,
                       .regions = 1024,
                       .blocks = 64,
                       .payload = 1 << 20,
                       .heap = 1 << 16,
                       .heap_unit = 64};
}

/* `execute` NULL: payloads are bodies. */
static inline void fixture_open_with(fixture *f, task_limits limits, void *context,
                                     int (*execute)(void *, const task_call *)) {
  task_hooks hooks = {.context = context,
                      .execute = execute ? execute : fixture_execute,
                      .park = fixture_park,
                      .wake = fixture_wake,
                      .clock = fixture_clock};
  *f = (fixture){.limits = limits, .size = task_engine_size(&limits)};
  void *memory =
      mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(memory, MAP_FAILED);
  f->engine = task_engine_init(memory, &limits, &hooks);
}

static inline void fixture_open(fixture *f, task_limits limits) { fixture_open_with(f, limits, NULL, NULL); }

static inline void fixture_close(fixture *f) { munmap(f->engine, f->size); }

static inline void *fixture_work(void *argument) {
  fixture_lane lane = *(fixture_lane *)argument;
  free(argument);
  task_engine_work(lane.owner->engine, lane.number);
  return NULL;
}

/* Lanes 1 and up come in, on threads of their own. */
static inline void fixture_enter(fixture *f) {
  f->entered = 1;
  for (uint32_t number = 1; number < f->limits.lanes; number++) {
    fixture_lane *lane = malloc(sizeof *lane);
    *lane = (fixture_lane){f, number};
    assert_int_equal(pthread_create(&f->threads[number], NULL, fixture_work, lane), 0);
  }
}

static inline void fixture_begin(fixture *f) {
  task_engine_begin(f->engine, 0);
  fixture_enter(f);
}

/* A run in which no task starts, so that all edges are counted. */
static inline void fixture_hold(fixture *f) { task_engine_begin(f->engine, 1); }

static inline task_status fixture_finish(fixture *f) {
  task_status status = task_engine_finish(f->engine);
  for (uint32_t number = 1; f->entered && number < f->limits.lanes; number++)
    pthread_join(f->threads[number], NULL);
  f->entered = 0;
  return status;
}

static inline task_counts fixture_counts(const fixture *f) {
  task_counts counts;
  task_engine_counts(f->engine, &counts);
  return counts;
}

/* The engine holds nothing any more. */
static inline void fixture_assert_clean(const fixture *f) {
  task_counts counts = fixture_counts(f);
  assert_int_equal(counts.live, 0);
  assert_int_equal(counts.heap_used, 0);
  assert_int_equal(counts.heap_largest, f->limits.heap);
  assert_int_equal(counts.edges_used, 0);
}

/* A run of bytes of a buffer of the caller's. */
static inline task_access fixture_run(uint64_t base, uint32_t mode, uint64_t offset, uint64_t bytes) {
  return (task_access){.base = base, .mode = mode, .region = {.offset = offset, .run = bytes}};
}

static inline task_status fixture_try(fixture *f, uint32_t kernel, fixture_body body,
                                      const task_access *accesses, uint32_t count, const baton_task *deps,
                                      uint32_t ndeps, baton_task *out) {
  void *payload;
  uint32_t which;
  baton_task unused;
  task_status status = task_engine_open(f->engine, accesses, count, sizeof body, &payload, &which);
  if (status != TASK_OK) return status;
  memcpy(payload, &body, sizeof body);
  return task_engine_submit(f->engine, kernel, accesses, count, deps, ndeps, out ? out : &unused);
}

/* A task that must fit. */
static inline baton_task fixture_submit(fixture *f, uint32_t kernel, fixture_body body,
                                        const task_access *accesses, uint32_t count, const baton_task *deps,
                                        uint32_t ndeps) {
  baton_task task = {0};
  assert_int_equal(fixture_try(f, kernel, body, accesses, count, deps, ndeps, &task), TASK_OK);
  return task;
}

/* A body that waits until another thread sets a flag; fails when that takes longer than any machine needs. */
static inline int fixture_wait_flag(void *flag, const task_call *call) {
  (void)call;
  int64_t deadline = base_deadline(30);
  while (!atomic_load_explicit((_Atomic uint32_t *)flag, memory_order_acquire)) {
    base_futex_wait(flag, 0, base_now() + 1000000);
    if (base_now() > deadline) return 1;
  }
  return 0;
}

static inline int fixture_set_flag(void *flag, const task_call *call) {
  (void)call;
  atomic_store_explicit((_Atomic uint32_t *)flag, 1, memory_order_release);
  base_futex_wake(flag, INT_MAX);
  return 0;
}

static inline int fixture_fail(void *argument, const task_call *call) {
  (void)argument;
  (void)call;
  return 1;
}

static inline int fixture_count(void *counter, const task_call *call) {
  (void)call;
  atomic_fetch_add_explicit((_Atomic uint32_t *)counter, 1, memory_order_relaxed);
  return 0;
}

/* Fewer seeds and smaller runs, for builds with sanitizers. */
static inline int fixture_small(void) { return getenv("BATON_TEST_SMALL") != NULL; }

/* Random numbers: the same everywhere for the same seed. */
typedef struct fixture_random {
  uint64_t state;
} fixture_random;

static inline uint32_t fixture_next(fixture_random *random) {
  uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (uint32_t)(z >> 32);
}

/* 0 … n-1 */
static inline uint32_t fixture_below(fixture_random *random, uint32_t n) { return fixture_next(random) % n; }

/* True `percent` times in 100. */
static inline int fixture_chance(fixture_random *random, uint32_t percent) {
  return fixture_below(random, 100) < percent;
}

#endif
