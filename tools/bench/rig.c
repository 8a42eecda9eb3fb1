#include "rig.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/pages.h"
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPINS = 2000 };

_Static_assert((int)BENCH_READS == (int)TASK_READS && (int)BENCH_WRITES == (int)TASK_WRITES,
               "uses of a tile are accesses");

_Noreturn void rig_give_up(const bench_rig *rig, const char *what) {
  fprintf(stderr, "%s: %s\n", rig->name, what);
  exit(1);
}

static int park(void *context, const _Atomic uint32_t *word, uint32_t expected, int64_t timeout) {
  (void)context;
  return base_futex_wait(word, expected, base_now() + timeout);
}

static void wake(void *context, const _Atomic uint32_t *word, int all) {
  (void)context;
  base_futex_wake(word, all ? INT_MAX : 1);
}

static int64_t now(void *context) {
  (void)context;
  return base_now();
}

typedef struct lane_start {
  bench_rig *rig;
  uint32_t number;
} lane_start;

static void sleep_at_gate(rig_gate *gate, uint32_t seen) {
  /* seq_cst: the other half is in rig_enter */
  atomic_store_explicit(&gate->sleeps, 1, memory_order_seq_cst);
  base_futex_wait(&gate->opened, seen, INT64_MAX);
  atomic_store_explicit(&gate->sleeps, 0, memory_order_relaxed);
}

/* Waits until the gate was opened once more than `seen` times. */
static void await_gate(rig_gate *gate, uint32_t seen) {
  for (uint32_t spins = 0; atomic_load_explicit(&gate->opened, memory_order_acquire) == seen; spins++) {
    if (spins < SPINS)
      base_relax();
    else
      sleep_at_gate(gate, seen);
  }
}

static void *lane_main(void *context) {
  lane_start start = *(lane_start *)context;
  bench_rig *rig = start.rig;
  rig_gate *gate = &rig->gates[start.number];
  free(context);
  for (uint32_t seen = 0;; seen++) {
    await_gate(gate, seen);
    if (rig->over) return NULL;
    task_engine_work(rig->engine, start.number);
    atomic_store_explicit(&gate->left, seen + 1, memory_order_release);
  }
}

task_limits rig_limits(uint32_t threads, uint32_t window) {
  task_limits limits = {.lanes = threads, .tasks = window, .edges = 65536, .heap = 256 << 20};
  task_limits_complete(&limits);
  return limits;
}

static task_policy policy_of(bench_way way) {
  static const task_policy policies[] = {[BENCH_AUTO] = TASK_AUTO,
                                         [BENCH_ELIDED] = TASK_ELIDED,
                                         [BENCH_QUEUED] = TASK_QUEUED,
                                         [BENCH_OFFERED] = TASK_OFFERED,
                                         [BENCH_REPLAYED] = TASK_AUTO};
  return policies[way];
}

void rig_open(bench_rig *rig, bench_way way) {
  task_hooks hooks = {
      .context = rig->context, .execute = rig->execute, .park = park, .wake = wake, .clock = now};
  rig->size = task_engine_size(&rig->limits);
  void *memory = base_pages(rig->size);
  if (!memory) rig_give_up(rig, "no memory for an engine");
  rig->engine = task_engine_init(memory, &rig->limits, &hooks);
  task_engine_choose(rig->engine, policy_of(way));
  for (uint32_t i = 1; i < rig->limits.lanes; i++) {
    lane_start *start = malloc(sizeof *start);
    if (!start) rig_give_up(rig, "no memory for a lane");
    *start = (lane_start){rig, i};
    if (pthread_create(&rig->lanes[i], NULL, lane_main, start)) rig_give_up(rig, "no thread for a lane");
  }
}

static void open_gate(rig_gate *gate) {
  /* seq_cst: see sleep_at_gate; and what the run needs, for the lane */
  atomic_fetch_add_explicit(&gate->opened, 1, memory_order_seq_cst);
  if (atomic_load_explicit(&gate->sleeps, memory_order_seq_cst)) base_futex_wake(&gate->opened, 1);
}

void rig_enter(bench_rig *rig, uint32_t lanes) {
  rig->came = lanes;
  for (uint32_t i = 1; i < lanes; i++) open_gate(&rig->gates[i]);
}

void rig_begin(bench_rig *rig) {
  task_engine_begin(rig->engine, 0);
  rig_enter(rig, rig->limits.lanes);
}

/* Until the lane has come back. */
static void await_lane(const rig_gate *gate) {
  uint32_t opened = atomic_load_explicit(&gate->opened, memory_order_relaxed);
  for (uint32_t spins = 0; atomic_load_explicit(&gate->left, memory_order_acquire) != opened; spins++) {
    if (spins < SPINS)
      base_relax();
    else
      sched_yield();
  }
}

int64_t rig_finish(bench_rig *rig) {
  if (task_engine_finish(rig->engine)) rig_give_up(rig, "the run got stuck");
  int64_t end = base_now();
  for (uint32_t i = 1; i < rig->came; i++) await_lane(&rig->gates[i]);
  return end;
}

void rig_close(bench_rig *rig) {
  rig->over = 1;
  rig_enter(rig, rig->limits.lanes);
  for (uint32_t i = 1; i < rig->limits.lanes; i++) pthread_join(rig->lanes[i], NULL);
  base_pages_free(rig->engine, rig->size);
}
