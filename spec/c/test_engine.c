/* The engine as a whole: what runs together, what is refused, what a failure takes with it, what it costs. */
#include "engine_fixture.h"
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { R = TASK_READS, W = TASK_WRITES, RW = TASK_READS | TASK_WRITES };

static const fixture_body nothing = {0};

static uint32_t many(uint32_t full, uint32_t small) { return fixture_small() ? small : full; }

/* For the owner, which must not call the engine meanwhile. False: not within half a minute. */
static int until_set(const _Atomic uint32_t *flag) {
  int64_t deadline = base_deadline(30);
  while (!atomic_load_explicit(flag, memory_order_acquire)) {
    if (base_now() > deadline) return 0;
    sched_yield();
  }
  return 1;
}

static fixture_body counting(_Atomic uint32_t *counter) { return (fixture_body){fixture_count, counter}; }

/* ---- tasks run together ---- */

typedef struct meeting {
  _Atomic uint32_t arrived, met;
  uint32_t guests;
} meeting;

static int meet(void *argument, const task_call *call) {
  meeting *m = argument;
  (void)call;
  atomic_fetch_add(&m->arrived, 1);
  int64_t deadline = base_deadline(30);
  while (atomic_load(&m->arrived) < m->guests) {
    if (base_now() > deadline) return 1;
    sched_yield();
  }
  atomic_fetch_add(&m->met, 1);
  return 0;
}

static void independent_tasks_overlap_in_time(void **state) {
  (void)state;
  for (uint32_t lanes = 2; lanes <= 8; lanes *= 2)
    for (int round = 0; round < 20; round++) {
      fixture f;
      meeting m = {.guests = lanes};
      fixture_open(&f, fixture_limits(lanes));
      fixture_begin(&f);
      for (uint64_t i = 0; i < lanes; i++) {
        task_access own = fixture_run(1, RW, i * 64, 64);
        fixture_submit(&f, 1, (fixture_body){meet, &m}, &own, 1, NULL, 0);
      }
      assert_int_equal(fixture_finish(&f), TASK_OK);
      assert_int_equal(m.met, lanes);
      fixture_close(&f);
    }
}

/* Both become ready by the same completion, on one lane; the other lane must get one of them. */
static void successors_of_one_task_overlap_in_time(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    fixture f;
    meeting m = {.guests = 2};
    fixture_open(&f, fixture_limits(2));
    fixture_begin(&f);
    task_access all = fixture_run(1, W, 0, 128),
                halves[2] = {fixture_run(1, RW, 0, 64), fixture_run(1, RW, 64, 64)};
    fixture_submit(&f, 1, nothing, &all, 1, NULL, 0);
    for (int i = 0; i < 2; i++) fixture_submit(&f, 2, (fixture_body){meet, &m}, &halves[i], 1, NULL, 0);
    assert_int_equal(fixture_finish(&f), TASK_OK);
    assert_int_equal(m.met, 2);
    fixture_close(&f);
  }
}

static int store_flag(void *flag, const task_call *call) {
  (void)call;
  atomic_store_explicit((_Atomic uint32_t *)flag, 1, memory_order_release);
  return 0;
}

/* Tasks that are known to be short stay with the owner; when it stays away, another lane takes them all the same. */
static void short_tasks_run_while_the_owner_stays_away(void **state) {
  (void)state;
  fixture f;
  fixture_open(&f, fixture_limits(2));
  for (int round = 0; round < 10; round++) {
    _Atomic uint32_t ignored = 0, last = 0;
    fixture_begin(&f);
    for (int i = 0; i < 200; i++)
      fixture_submit(&f, 1, (fixture_body){store_flag, &ignored}, NULL, 0, NULL, 0);
    for (int i = 0; i < 5; i++) {
      task_access chain = fixture_run(1, RW, 0, 64);
      fixture_submit(&f, 1, (fixture_body){store_flag, i == 4 ? &last : &ignored}, &chain, 1, NULL, 0);
    }
    assert_true(until_set(&last));
    assert_int_equal(fixture_finish(&f), TASK_OK);
  }
  fixture_close(&f);
}

/* ---- priorities ---- */

typedef struct order {
  _Atomic uint32_t count;
  int priorities[64];
} order;

typedef struct ranked {
  order *to;
  int priority;
} ranked;

static int note_priority(void *argument, const task_call *call) {
  const ranked *r = argument;
  (void)call;
  r->to->priorities[atomic_fetch_add(&r->to->count, 1)] = r->priority;
  return 0;
}

/* All become ready by the end of one task. With one lane the order is exact; `held` as in the runs of captured graphs. */
static void check_order(int held, int at_once) {
  static const int wanted[] = {0, -3, 5, 0, 100, 5, -100, 1, 0, -3, 5, 100};
  static const int sorted[] = {100, 100, 5, 5, 5, 1, 0, 0, 0, -3, -3, -100};
  enum { COUNT = sizeof wanted / sizeof *wanted };
  fixture f;
  order o = {0};
  ranked items[COUNT];
  _Atomic uint32_t ignored = 0;
  fixture_open(&f, fixture_limits(1));
  if (held)
    fixture_hold(&f);
  else
    task_engine_choose(f.engine, TASK_QUEUED);
  if (!held) fixture_begin(&f);
  baton_task first = fixture_submit(&f, 1, counting(&ignored), NULL, 0, NULL, 0);
  for (int i = 0; i < COUNT; i++) {
    items[i] = (ranked){&o, wanted[i]};
    fixture_submit(&f, task_kernel(2, wanted[i]), (fixture_body){note_priority, &items[i]}, NULL, 0, &first,
                   at_once ? 0 : 1);
  }
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(o.count, COUNT);
  assert_memory_equal(o.priorities, sorted, sizeof sorted);
  fixture_assert_clean(&f);
  fixture_close(&f);
}

static void ready_tasks_of_higher_priority_come_first(void **state) {
  (void)state;
  for (int held = 0; held <= 1; held++)
    for (int at_once = 0; at_once <= 1; at_once++) check_order(held, at_once);
}

/* On several lanes each task runs once, whatever its priority. */
static void tasks_of_all_priorities_run_on_any_number_of_lanes(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 8; lanes *= 2)
    for (int round = 0; round < 10; round++) {
      fixture f;
      _Atomic uint32_t runs = 0;
      uint32_t tasks = many(5000, 500);
      fixture_open(&f, fixture_limits(lanes));
      fixture_begin(&f);
      for (uint32_t i = 0; i < tasks; i++) {
        task_access cell = fixture_run(1, RW, 8 * (uint64_t)(i * 7 % 64), 8);
        fixture_submit(&f, task_kernel(i % 3, (int)(i * 13 % 7) - 3), counting(&runs), &cell, 1, NULL, 0);
      }
      assert_int_equal(fixture_finish(&f), TASK_OK);
      assert_int_equal(runs, tasks);
      fixture_assert_clean(&f);
      fixture_close(&f);
    }
}

/* ---- refusals that are proved ---- */

static void check_next_run(fixture *f) {
  _Atomic uint32_t runs = 0;
  fixture_assert_clean(f);
  fixture_begin(f);
  task_access access = fixture_run(1, RW, 0, 64);
  fixture_submit(f, 1, counting(&runs), &access, 1, NULL, 0);
  assert_int_equal(fixture_finish(f), TASK_OK);
  assert_int_equal(runs, 1);
  fixture_assert_clean(f);
}

static void a_full_window_is_refused_when_nothing_can_run(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 4; lanes += 3) {
    fixture f;
    _Atomic uint32_t runs = 0;
    task_limits limits = fixture_limits(lanes);
    limits.tasks = 4;
    fixture_open(&f, limits);
    fixture_hold(&f);
    for (int i = 0; i < 4; i++) fixture_submit(&f, 1, counting(&runs), NULL, 0, NULL, 0);
    assert_int_equal(fixture_try(&f, 1, counting(&runs), NULL, 0, NULL, 0, NULL), TASK_WINDOW_FULL);
    assert_int_equal(fixture_counts(&f).live, 4);
    assert_int_equal(runs, 0);
    task_engine_release(f.engine);
    fixture_enter(&f);
    for (int i = 0; i < 100; i++) fixture_submit(&f, 1, counting(&runs), NULL, 0, NULL, 0);
    assert_int_equal(fixture_finish(&f), TASK_OK);
    assert_int_equal(runs, 104);
    assert_int_equal(fixture_counts(&f).window_high, 4);
    check_next_run(&f);
    fixture_close(&f);
  }
}

static void full_edges_are_refused_and_the_run_goes_on(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  baton_task deps[20];
  task_limits limits = fixture_limits(2);
  limits.edges = 8;
  fixture_open(&f, limits);
  fixture_hold(&f);
  for (int i = 0; i < 20; i++) deps[i] = fixture_submit(&f, 1, counting(&runs), NULL, 0, NULL, 0);
  assert_int_equal(fixture_try(&f, 1, counting(&runs), NULL, 0, deps, 13, NULL), TASK_EDGES_FULL);
  assert_int_equal(fixture_counts(&f).live, 20);
  fixture_submit(&f, 1, counting(&runs), NULL, 0, deps, 12);
  assert_int_equal(fixture_counts(&f).edges_used, 8);
  assert_int_equal(fixture_try(&f, 1, counting(&runs), NULL, 0, deps, 5, NULL), TASK_EDGES_FULL);
  fixture_submit(&f, 1, counting(&runs), NULL, 0, deps, 4);
  assert_int_equal(fixture_counts(&f).edges, 16);
  task_engine_release(f.engine);
  fixture_enter(&f);
  fixture_submit(&f, 1, counting(&runs), NULL, 0, deps, 20); /* the producers end, so it needs none */
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 23);
  check_next_run(&f);
  fixture_close(&f);
}

static void full_argument_memory_is_refused(void **state) {
  (void)state;
  fixture f;
  void *payload;
  uint32_t which, held = 0;
  baton_task task;
  task_limits limits = fixture_limits(2);
  limits.payload = 8192;
  fixture_open(&f, limits);
  fixture_begin(&f);
  assert_int_equal(task_engine_open(f.engine, NULL, 0, 8193, &payload, &which), TASK_PAYLOAD_FULL);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_hold(&f);
  while (task_engine_open(f.engine, NULL, 0, 1000, &payload, &which) == TASK_OK) {
    memset(payload, 0, 1000);
    assert_int_equal(task_engine_submit(f.engine, 1, NULL, 0, NULL, 0, &task), TASK_OK);
    held++;
  }
  assert_int_equal(held, 8);
  assert_int_equal(task_engine_open(f.engine, NULL, 0, 1000, &payload, &which), TASK_PAYLOAD_FULL);
  assert_int_equal(fixture_counts(&f).live, 8);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  check_next_run(&f);
  fixture_close(&f);
}

static void a_full_map_is_refused(void **state) {
  (void)state;
  fixture f;
  task_access accesses[5];
  task_limits limits = fixture_limits(2);
  limits.regions = 4;
  fixture_open(&f, limits);
  fixture_begin(&f);
  for (uint64_t i = 0; i < 5; i++) accesses[i] = fixture_run(1, RW, i * 64, 64);
  assert_int_equal(fixture_try(&f, 1, nothing, accesses, 5, NULL, 0, NULL), TASK_REGIONS_FULL);
  for (int i = 0; i < 1000; i++) fixture_submit(&f, 1, nothing, accesses + i % 2, 4, NULL, 0);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_hold(&f);
  for (int i = 0; i < 4; i++) fixture_submit(&f, 1, nothing, &accesses[i], 1, NULL, 0);
  assert_int_equal(fixture_try(&f, 1, nothing, &accesses[4], 1, NULL, 0, NULL), TASK_REGIONS_FULL);
  assert_int_equal(fixture_counts(&f).regions, 4);
  task_engine_cancel(f.engine);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  check_next_run(&f);
  fixture_close(&f);
}

typedef struct block {
  uint64_t offset;
  uint32_t number, generation;
} block;

static task_status try_alloc(fixture *f, uint64_t bytes, block *out) {
  return task_engine_alloc(f->engine, bytes, &out->offset, &out->number, &out->generation);
}

static block alloc(fixture *f, uint64_t bytes) {
  block b;
  assert_int_equal(try_alloc(f, bytes, &b), TASK_OK);
  return b;
}

static task_access block_run(const block *b, uint32_t mode, uint64_t bytes) {
  task_access access = fixture_run(1000 + b->offset, mode, 0, bytes);
  access.block = b->number;
  access.generation = b->generation;
  return access;
}

static void a_full_heap_names_the_scope_that_holds_it(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 3; lanes++) {
    fixture f;
    block b;
    task_limits limits = fixture_limits(lanes);
    limits.heap = 10240;
    fixture_open(&f, limits);
    fixture_begin(&f);
    alloc(&f, 1000);
    assert_true(task_engine_scope_begin(f.engine, 0));
    for (int i = 0; i < 2; i++) {
      task_access access;
      b = alloc(&f, 4000);
      access = block_run(&b, W, 4000);
      fixture_submit(&f, 1, nothing, &access, 1, NULL, 0);
    }
    assert_true(task_engine_scope_begin(f.engine, 0));
    assert_int_equal(try_alloc(&f, 4000, &b), TASK_HEAP_FULL);
    assert_int_equal(try_alloc(&f, 10241, &b), TASK_HEAP_FULL);
    task_counts counts = fixture_counts(&f);
    assert_int_equal(counts.heap_used, 1024 + 2 * 4032);
    assert_int_equal(counts.heap_largest, 10240 - 1024 - 2 * 4032);
    assert_int_equal(counts.holder_scope, 1);
    assert_int_equal(counts.holder_blocks, 2);
    assert_int_equal(counts.holder_bytes, 8000);
    alloc(&f, counts.heap_largest);
    assert_true(task_engine_scope_end(f.engine));
    assert_true(task_engine_scope_end(f.engine));
    alloc(&f, 9000); /* waits for the two tasks, then fits */
    assert_int_equal(fixture_finish(&f), TASK_OK);
    check_next_run(&f);
    fixture_close(&f);
  }
}

static void a_run_that_was_refused_can_be_cancelled(void **state) {
  (void)state;
  fixture f;
  block b;
  _Atomic uint32_t runs = 0;
  fixture_open(&f, fixture_limits(2));
  fixture_hold(&f);
  b = alloc(&f, 1 << 16);
  task_access access = block_run(&b, W, 1 << 16);
  fixture_submit(&f, 1, counting(&runs), &access, 1, NULL, 0);
  assert_int_equal(try_alloc(&f, 64, &b), TASK_HEAP_FULL);
  task_engine_cancel(f.engine);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 0);
  check_next_run(&f);
  fixture_close(&f);
}

/* A slot that was opened and never submitted: nothing will ever make it ready. */
static void finish_says_when_a_task_can_never_run(void **state) {
  (void)state;
  fixture f;
  void *payload;
  uint32_t which;
  fixture_open(&f, fixture_limits(3));
  fixture_begin(&f);
  assert_int_equal(task_engine_open(f.engine, NULL, 0, 8, &payload, &which), TASK_OK);
  assert_int_equal(fixture_finish(&f), TASK_STUCK);
  fixture_close(&f);
}

/* ---- scopes ---- */

static void a_block_dies_with_its_scope_and_its_last_task(void **state) {
  (void)state;
  fixture f;
  void *payload;
  uint32_t which = 99;
  fixture_open(&f, fixture_limits(1));
  fixture_hold(&f);
  assert_false(task_engine_scope_end(f.engine));
  assert_true(task_engine_scope_begin(f.engine, 0));
  block used = alloc(&f, 1000), unused = alloc(&f, 1000);
  task_access accesses[3] = {fixture_run(1, R, 0, 8), block_run(&used, W, 1000), fixture_run(2, R, 0, 8)};
  fixture_submit(&f, 1, nothing, accesses, 3, NULL, 0);
  assert_int_equal(fixture_counts(&f).heap_used, 2048);
  assert_true(task_engine_scope_end(f.engine));
  assert_int_equal(fixture_counts(&f).heap_used, 1024); /* the task still holds one */
  assert_int_equal(task_engine_open(f.engine, accesses, 3, 8, &payload, &which), TASK_STALE);
  assert_int_equal(which, 1);
  accesses[1].mode = 0; /* without edges it is just as stale */
  assert_int_equal(task_engine_open(f.engine, accesses, 3, 8, &payload, &which), TASK_STALE);
  task_engine_release(f.engine);
  block again = alloc(&f, 1 << 16); /* waits for the task */
  assert_int_equal(again.offset, 0);
  task_access stale = block_run(&unused, W, 10);
  assert_int_equal(task_engine_open(f.engine, &stale, 1, 8, &payload, &which), TASK_STALE);
  assert_int_equal(which, 0);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_begin(&f);
  stale = block_run(&again, W, 10);
  assert_int_equal(task_engine_open(f.engine, &stale, 1, 8, &payload, &which), TASK_STALE);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_assert_clean(&f);
  fixture_close(&f);
}

static void a_task_that_names_a_block_twice_holds_it_once_and_for_all(void **state) {
  (void)state;
  fixture f;
  fixture_open(&f, fixture_limits(2));
  for (int round = 0; round < 50; round++) {
    fixture_begin(&f);
    for (int i = 0; i < 50; i++) {
      assert_true(task_engine_scope_begin(f.engine, i % 2));
      block b = alloc(&f, 3000);
      task_access accesses[3] = {block_run(&b, R, 3000), block_run(&b, 0, 100), block_run(&b, W, 10)};
      fixture_submit(&f, 1, nothing, accesses, 3, NULL, 0);
      assert_true(task_engine_scope_end(f.engine));
    }
    assert_int_equal(fixture_finish(&f), TASK_OK);
    fixture_assert_clean(&f);
  }
  fixture_close(&f);
}

static void scopes_nest_to_their_depth(void **state) {
  (void)state;
  fixture f;
  fixture_open(&f, fixture_limits(1));
  fixture_begin(&f);
  for (int depth = 0; depth < TASK_SCOPE_DEPTH; depth++) {
    assert_true(task_engine_scope_begin(f.engine, 0));
    alloc(&f, 64);
  }
  assert_false(task_engine_scope_begin(f.engine, 0));
  assert_true(task_engine_scope_end(f.engine));
  assert_true(task_engine_scope_begin(f.engine, 0));
  assert_int_equal(fixture_finish(&f), TASK_OK); /* ends them all */
  fixture_assert_clean(&f);
  assert_false(task_engine_scope_end(f.engine));
  fixture_close(&f);
}

static void a_manual_scope_infers_nothing(void **state) {
  (void)state;
  fixture f;
  task_access access = fixture_run(1, RW, 0, 64);
  fixture_open(&f, fixture_limits(1));
  fixture_hold(&f);
  fixture_submit(&f, 1, nothing, &access, 1, NULL, 0);
  assert_true(task_engine_scope_begin(f.engine, 1));
  baton_task alone = fixture_submit(&f, 1, nothing, &access, 1, NULL, 0);
  assert_int_equal(fixture_counts(&f).edges, 0);
  fixture_submit(&f, 1, nothing, &access, 1, &alone, 1);
  assert_int_equal(fixture_counts(&f).edges, 1);
  assert_true(task_engine_scope_begin(f.engine, 0));
  fixture_submit(&f, 1, nothing, &access, 1, NULL, 0); /* after the first one only */
  assert_int_equal(fixture_counts(&f).edges, 2);
  assert_int_equal(fixture_counts(&f).regions, 1);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_close(&f);
}

/* ---- tasks that are called at their submit ---- */

typedef struct trail {
  pthread_t caller;
  uint32_t runs, elsewhere;
} trail;

static int walk(void *argument, const task_call *call) {
  trail *t = argument;
  (void)call;
  t->runs++;
  t->elsewhere += !pthread_equal(t->caller, pthread_self());
  return 0;
}

/* With one lane, or when everything is to be elided, a task that need not wait is over when its submit returns. */
static void an_elided_task_is_over_at_its_submit(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 2; lanes++) {
    fixture f;
    trail t = {.caller = pthread_self()};
    task_access chain = fixture_run(1, RW, 0, 64);
    fixture_open(&f, fixture_limits(lanes));
    task_engine_choose(f.engine, TASK_ELIDED);
    fixture_begin(&f);
    baton_task first = {0}, last = {0};
    for (uint32_t i = 1; i <= 1000; i++) {
      last = fixture_submit(&f, 1, (fixture_body){walk, &t}, &chain, 1, &last, 1);
      if (i == 1) first = last;
      assert_int_equal(t.runs, i);
    }
    assert_int_equal(t.elsewhere, 0);
    assert_int_equal(last.generation, first.generation + 999);
    assert_int_equal(task_engine_wait(f.engine, first, INT64_MAX), TASK_OK);
    assert_int_equal(task_engine_wait(f.engine, last, INT64_MAX), TASK_OK);
    assert_false(task_engine_awaits(f.engine, &chain));
    assert_int_equal(fixture_counts(&f).tasks, 1000);
    assert_int_equal(fixture_counts(&f).window_high, 1);
    assert_int_equal(fixture_finish(&f), TASK_OK);
    fixture_assert_clean(&f);
    fixture_close(&f);
  }
}

/* Nobody else would run them: they do not pile up until the window is full. */
static void queued_tasks_of_one_lane_do_not_pile_up(void **state) {
  (void)state;
  fixture f;
  trail t = {.caller = pthread_self()};
  task_access chain = fixture_run(1, RW, 0, 64);
  fixture_open(&f, fixture_limits(1));
  task_engine_choose(f.engine, TASK_QUEUED);
  fixture_begin(&f);
  for (uint32_t i = 1; i <= 1000; i++) fixture_submit(&f, 1, (fixture_body){walk, &t}, &chain, 1, NULL, 0);
  assert_true(fixture_counts(&f).window_high < 200);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(t.runs, 1000);
  fixture_assert_clean(&f);
  fixture_close(&f);
}

/* One that fails is in the map, and its number is remembered. Its blocks do not outlive their scope. */
static void an_elided_task_that_fails_takes_its_dependents(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  fixture_open(&f, fixture_limits(2));
  task_engine_choose(f.engine, TASK_ELIDED);
  fixture_begin(&f);
  assert_true(task_engine_scope_begin(f.engine, 0));
  block b = alloc(&f, 1000);
  task_access outputs[2] = {fixture_run(1, W, 0, 64), block_run(&b, W, 1000)};
  task_access look = fixture_run(1, R, 60, 8), apart = fixture_run(1, RW, 128, 8);
  baton_task bad = fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, outputs, 2, NULL, 0);
  fixture_submit(&f, 1, counting(&runs), &look, 1, NULL, 0);
  fixture_submit(&f, 1, counting(&runs), &outputs[1], 1, NULL, 0);
  fixture_submit(&f, 1, counting(&runs), NULL, 0, &bad, 1);
  fixture_submit(&f, TASK_NO_KERNEL, counting(&runs), NULL, 0, &bad, 1);
  assert_int_equal(runs, 0);
  assert_int_equal(task_engine_wait(f.engine, bad, INT64_MAX), TASK_FAILED);
  fixture_submit(&f, 1, counting(&runs), &apart, 1, NULL, 0);
  assert_int_equal(runs, 1);
  assert_true(task_engine_scope_end(f.engine));
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 1);
  check_next_run(&f);
  fixture_close(&f);
}

/* What the map found for the access of one task is not taken for that of the next, which needed no more than a look. */
static void an_elided_task_that_fails_is_known_by_its_own_region(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  fixture_open(&f, fixture_limits(1));
  fixture_begin(&f);
  task_access access = fixture_run(1, RW, 0, 64);
  for (int i = 0; i < 3; i++) fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, &access, 1, NULL, 0);
  access.base = 2;
  fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, &access, 1, NULL, 0);
  fixture_submit(&f, 1, counting(&runs), &access, 1, NULL, 0);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 0);
  fixture_close(&f);
}

static int dawdle(void *argument, const task_call *call) {
  (void)argument;
  (void)call;
  for (int64_t end = base_now() + 50000; base_now() < end;) base_relax();
  return 0;
}

/* Two tasks of it wait for each other: called at its submit, the first one would keep the second from being submitted. */
static void a_kernel_that_becomes_long_is_no_longer_elided(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  meeting m = {.guests = 2};
  fixture_open(&f, fixture_limits(2));
  fixture_begin(&f);
  for (int i = 0; i < 1000; i++) fixture_submit(&f, 1, counting(&runs), NULL, 0, NULL, 0);
  for (int i = 0; i < 300; i++) fixture_submit(&f, 1, (fixture_body){dawdle, NULL}, NULL, 0, NULL, 0);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_begin(&f);
  for (int i = 0; i < 2; i++) fixture_submit(&f, 1, (fixture_body){meet, &m}, NULL, 0, NULL, 0);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(m.met, 2);
  assert_int_equal(runs, 1000);
  fixture_close(&f);
}

/* A chain that begins behind a task elsewhere, long enough to come to be called at its submits, ends in order. */
static int follow(void *argument, const task_call *call) {
  uint32_t *place = argument;
  for (int64_t end = base_now() + 600; base_now() < end;) base_relax();
  *place = *place * 31 + (call->kernel == 2);
  return 0;
}

static void chains_of_any_length_end_in_order(void **state) {
  (void)state;
  for (uint32_t length = 1; length <= many(4096, 512); length *= 2) {
    fixture f;
    uint32_t places[2] = {1, 1}, expected = 1;
    fixture_open(&f, fixture_limits(2));
    fixture_begin(&f);
    for (uint32_t i = 0; i < 2 * length; i++) {
      task_access link = fixture_run(1, RW, i / length * 64, 64);
      fixture_submit(&f, 1 + i % 3 % 2, (fixture_body){follow, &places[i / length]}, &link, 1, NULL, 0);
      if (i < length) expected = expected * 31 + (i % 3 % 2 == 1);
    }
    assert_int_equal(fixture_finish(&f), TASK_OK);
    assert_int_equal(places[0], expected);
    assert_int_equal(fixture_counts(&f).tasks, 2 * length);
    fixture_assert_clean(&f);
    fixture_close(&f);
  }
}

/* A clock that only kernels move on; one kernel is disturbed while it is measured. */
typedef struct slow_clock {
  int64_t now;
  int asked, disturb;
} slow_clock;

static int64_t read_slow_clock(void *context) {
  slow_clock *c = context;
  c->asked = 1;
  return c->now;
}

static int execute_by_slow_clock(void *context, const task_call *call) {
  slow_clock *c = context;
  (void)call;
  int disturbed = c->asked && c->disturb;
  c->now += disturbed ? 1000000 : 250;
  if (disturbed) c->disturb = 0;
  c->asked = 0;
  return 0;
}

/* True if it was over when its submit returned. */
static int is_elided(fixture *f) {
  baton_task task = fixture_submit(f, 1, (fixture_body){0}, NULL, 0, NULL, 0);
  int over = fixture_counts(f).live == 0;
  assert_int_equal(task_engine_wait(f->engine, task, INT64_MAX), TASK_OK);
  return over;
}

/* A measurement that was disturbed is not believed for long. */
static void a_short_kernel_is_elided_again_soon_after_a_disturbance(void **state) {
  (void)state;
  slow_clock c = {0};
  task_hooks hooks = {.context = &c,
                      .execute = execute_by_slow_clock,
                      .park = fixture_park,
                      .wake = fixture_wake,
                      .clock = read_slow_clock};
  fixture f = {.limits = fixture_limits(2)};
  size_t size = (task_engine_size(&f.limits) + 4095) & ~(size_t)4095;
  void *memory = aligned_alloc(4096, size);
  memset(memory, 0, size);
  f.engine = task_engine_init(memory, &f.limits, &hooks);
  task_engine_begin(f.engine, 0);
  for (int i = 0; i < 100; i++) (void)is_elided(&f);
  assert_true(is_elided(&f));
  c.disturb = 1;
  while (c.disturb) (void)is_elided(&f);
  assert_false(is_elided(&f));
  for (int i = 0; i < 4; i++) (void)is_elided(&f);
  assert_true(is_elided(&f));
  assert_int_equal(task_engine_finish(f.engine), TASK_OK);
  free(memory);
}

/* What an elided task has to wait for is still running elsewhere. */
static void nothing_is_elided_before_its_producers(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t gate = 0, started = 0, runs = 0;
  task_access one = fixture_run(1, RW, 0, 64), other = fixture_run(1, RW, 64, 64);
  fixture_open(&f, fixture_limits(2));
  fixture_begin(&f);
  for (int i = 0; i < 100; i++) fixture_submit(&f, 1, counting(&runs), &other, 1, NULL, 0);
  task_engine_wait(f.engine, fixture_submit(&f, 1, counting(&runs), &other, 1, NULL, 0), INT64_MAX);
  assert_int_equal(runs, 101);
  task_access both[2] = {one, other};
  baton_task slow = fixture_submit(&f, 3, (fixture_body){fixture_wait_flag, &gate}, &one, 1, NULL, 0);
  fixture_submit(&f, 1, counting(&started), both, 2, NULL, 0);
  fixture_submit(&f, 1, counting(&started), &other, 1, NULL, 0);
  fixture_submit(&f, 1, counting(&started), NULL, 0, &slow, 1);
  for (uint64_t i = 2; i < 102; i++) {
    task_access free = fixture_run(1, RW, i * 64, 64);
    fixture_submit(&f, 1, counting(&runs), &free, 1, NULL, 0);
  }
  assert_int_equal(started, 0);
  fixture_set_flag(&gate, NULL);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(started, 3);
  assert_int_equal(runs, 201);
  fixture_assert_clean(&f);
  fixture_close(&f);
}

/* ---- many tasks ---- */

static void one_slow_task_pins_itself_only(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t gate[2] = {0, 0}, runs = 0;
  uint32_t count = many(1000000, 20000);
  task_limits limits = fixture_limits(2);
  limits.tasks = 64;
  fixture_open(&f, limits);
  fixture_begin(&f);
  fixture_submit(&f, 1, (fixture_body){fixture_set_flag, &gate[0]}, NULL, 0, NULL, 0);
  assert_true(until_set(&gate[0])); /* lane 1 is there and looks for work */
  _Atomic uint32_t started = 0;
  fixture_submit(&f, 2, (fixture_body){store_flag, &started}, NULL, 0, NULL, 0);
  fixture_submit(&f, 3, (fixture_body){fixture_wait_flag, &gate[1]}, NULL, 0, NULL, 0);
  assert_true(until_set(&started));
  while (fixture_counts(&f).tasks < count) {
    task_access own = fixture_run(1, RW, fixture_counts(&f).tasks % 256 * 64, 64);
    fixture_submit(&f, 4, counting(&runs), &own, 1, NULL, 0);
  }
  assert_int_equal(gate[1], 0);
  fixture_set_flag(&gate[1], NULL);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, count - 3);
  assert_true(fixture_counts(&f).window_high <= 64);
  fixture_close(&f);
}

/* Of a sanitized program the resident memory is mostly the sanitizer's, which grows with every page touched. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RESIDENT_IS_OURS = 0 };
#else
enum { RESIDENT_IS_OURS = 1 };
#endif

static uint64_t resident_bytes(void) {
  unsigned long long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%llu %llu", &total, &resident), 2);
  fclose(file);
  return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void a_million_tasks_need_no_more_memory_than_the_window(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  uint64_t first = 0;
  uint32_t count = many(1000000, 60000);
  task_limits limits = fixture_limits(2);
  limits.tasks = limits.regions = 16384;
  limits.payload = 16384 * 64;
  fixture_open(&f, limits);
  fixture_begin(&f);
  for (uint32_t i = 0; i < count; i++) {
    task_access accesses[2] = {fixture_run(1, W, i * UINT64_C(64), 64),
                               fixture_run(1, R, i / 8 * UINT64_C(64), 64)};
    fixture_submit(&f, 1, counting(&runs), accesses, 2, NULL, 0);
    if (i == count / 2) first = resident_bytes();
  }
  if (RESIDENT_IS_OURS) assert_true(resident_bytes() < first + (4 << 20));
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, count);
  fixture_close(&f);
}

typedef struct chain {
  uint32_t lanes, count, by_handle;
  _Atomic uint32_t runs;
  task_status status;
  uint64_t edges;
} chain;

/* The head fails; everything hangs on it, one after the other. No assertions here: not the test's own thread. */
static void *fail_chain(void *argument) {
  chain *c = argument;
  fixture f;
  baton_task last = {0};
  task_access link = fixture_run(1, RW, 0, 64);
  task_limits limits = fixture_limits(c->lanes);
  limits.tasks = c->count + 1;
  limits.payload = (uint64_t)(c->count + 1) * 64 + 4096;
  fixture_open(&f, limits);
  fixture_hold(&f);
  c->status = fixture_try(&f, 1, (fixture_body){fixture_fail, NULL}, &link, 1, NULL, 0, &last);
  for (uint32_t i = 0; i < c->count && c->status == TASK_OK; i++)
    c->status =
        fixture_try(&f, 2, counting(&c->runs), &link, c->by_handle ? 0 : 1, &last, c->by_handle, &last);
  c->edges = fixture_counts(&f).edges;
  task_engine_release(f.engine);
  if (c->status == TASK_OK) c->status = fixture_finish(&f);
  fixture_close(&f);
  return NULL;
}

static void the_failure_of_the_head_of_a_long_chain_needs_no_stack(void **state) {
  (void)state;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  assert_int_equal(pthread_attr_setstacksize(&attributes, 64 << 10), 0);
  for (uint32_t i = 0; i < 2; i++) {
    chain c = {.lanes = 1 + i, .count = many(1000000, 50000), .by_handle = i};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, &attributes, fail_chain, &c), 0);
    pthread_join(thread, NULL);
    assert_int_equal(c.status, TASK_OK);
    assert_int_equal(c.edges, c.count);
    assert_int_equal(c.runs, 0);
  }
  pthread_attr_destroy(&attributes);
}

static void wide_fans_run_completely(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 4; lanes++) {
    fixture f;
    _Atomic uint32_t runs = 0;
    uint32_t out = many(100000, 5000), in = many(10000, 1000);
    task_access all = fixture_run(1, W, 0, 64), look = fixture_run(1, R, 0, 64), cell;
    task_limits limits = fixture_limits(lanes);
    limits.tasks = limits.edges = limits.regions = 1 << 17;
    limits.payload = 16 << 20;
    fixture_open(&f, limits);
    fixture_hold(&f);
    fixture_submit(&f, 1, counting(&runs), &all, 1, NULL, 0);
    for (uint32_t i = 0; i < out; i++) fixture_submit(&f, 2, counting(&runs), &look, 1, NULL, 0);
    assert_int_equal(fixture_counts(&f).edges, out);
    for (uint32_t i = 0; i < in; i++) {
      cell = fixture_run(2, W, i * UINT64_C(64), 64);
      fixture_submit(&f, 2, counting(&runs), &cell, 1, NULL, 0);
    }
    cell = fixture_run(2, RW, 0, in * UINT64_C(64));
    fixture_submit(&f, 3, counting(&runs), &cell, 1, NULL, 0);
    assert_int_equal(fixture_counts(&f).edges, out + in);
    task_engine_release(f.engine);
    fixture_enter(&f);
    assert_int_equal(fixture_finish(&f), TASK_OK);
    assert_int_equal(runs, out + in + 2);
    fixture_assert_clean(&f);
    fixture_close(&f);
  }
}

/* ---- failure ---- */

enum { PROGRAM = 300, TILES = 16 };

/* A random program in which some tasks fail; what must not run follows from all pairs of accesses. */
typedef struct victim {
  uint32_t accesses, ndeps;
  task_access access[3];
  uint32_t deps[2];
  uint32_t fails, poisoned;
  _Atomic uint32_t runs;
} victim;

static int run_victim(void *argument, const task_call *call) {
  victim *v = argument;
  atomic_fetch_add(&v->runs, 1);
  if (call->kernel == 2) sched_yield();
  return (int)v->fails;
}

static int waits_for(const victim *later, const victim *earlier, uint32_t number) {
  for (uint32_t d = 0; d < later->ndeps; d++)
    if (later->deps[d] == number) return 1;
  for (uint32_t a = 0; a < later->accesses; a++)
    for (uint32_t b = 0; b < earlier->accesses; b++)
      if (((later->access[a].mode | earlier->access[b].mode) & W) &&
          task_region_overlaps(&later->access[a].region, &earlier->access[b].region))
        return 1;
  return 0;
}

static void make_victims(fixture_random *random, victim *victims) {
  static const uint32_t modes[] = {R, R, W, RW};
  for (uint32_t i = 0; i < PROGRAM; i++) {
    victim *v = &victims[i];
    *v = (victim){.accesses = fixture_below(random, 4), .fails = (uint32_t)fixture_chance(random, 4)};
    for (uint32_t a = 0; a < v->accesses; a++) {
      int64_t height = 1 + fixture_below(random, 2), width = 1 + fixture_below(random, 2);
      uint64_t row = fixture_below(random, TILES - 1), column = fixture_below(random, TILES - 1);
      v->access[a] = (task_access){.base = 1, .mode = modes[fixture_below(random, 4)]};
      task_region_make(&v->access[a].region, (row * TILES + column) * 8, 8, 2, (int64_t[]){height, width},
                       (int64_t[]){TILES, 1});
    }
    if (i && fixture_chance(random, 20)) v->ndeps = 1 + fixture_below(random, 2);
    for (uint32_t d = 0; d < v->ndeps; d++) v->deps[d] = fixture_below(random, i);
    for (uint32_t k = 0; k < i && !v->poisoned; k++)
      v->poisoned = (victims[k].fails || victims[k].poisoned) && waits_for(v, &victims[k], k);
  }
}

static void run_victims(victim *victims, task_limits limits) {
  fixture f;
  baton_task tasks[PROGRAM];
  fixture_open(&f, limits);
  fixture_begin(&f);
  for (uint32_t i = 0; i < PROGRAM; i++) {
    victim *v = &victims[i];
    baton_task deps[2];
    for (uint32_t d = 0; d < v->ndeps; d++) deps[d] = tasks[v->deps[d]];
    v->runs = 0;
    tasks[i] =
        fixture_submit(&f, i % 3, (fixture_body){run_victim, v}, v->access, v->accesses, deps, v->ndeps);
  }
  assert_int_equal(fixture_finish(&f), TASK_OK);
  for (uint32_t i = 0; i < PROGRAM; i++) assert_int_equal(victims[i].runs, !victims[i].poisoned);
  check_next_run(&f);
  fixture_close(&f);
}

static void a_failure_takes_its_dependents_and_nobody_else(void **state) {
  (void)state;
  static victim victims[PROGRAM];
  for (uint32_t seed = 1; seed <= many(60, 8); seed++) {
    fixture_random random = {seed};
    make_victims(&random, victims);
    for (uint32_t lanes = 1; lanes <= 4; lanes++)
      for (uint32_t window = 2; window <= 512; window *= 16) {
        task_limits limits = fixture_limits(lanes);
        limits.tasks = window;
        run_victims(victims, limits);
      }
  }
}

static void a_handle_of_a_failed_task_poisons_long_after(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  task_limits limits = fixture_limits(1);
  limits.tasks = 2;
  fixture_open(&f, limits);
  fixture_begin(&f);
  baton_task good = fixture_submit(&f, 1, nothing, NULL, 0, NULL, 0);
  baton_task bad = fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, NULL, 0, NULL, 0);
  for (int i = 0; i < 100; i++) fixture_submit(&f, 2, nothing, NULL, 0, NULL, 0);
  baton_task deps[4] = {good, {0}, {7777, 3}, bad};
  fixture_submit(&f, 2, counting(&runs), NULL, 0, deps, 3);
  fixture_submit(&f, 2, counting(&runs), NULL, 0, deps, 4);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 1);
  check_next_run(&f);
  fixture_close(&f);
}

/* The second block lies where the first one lay, but it has nothing to do with it. */
static void a_block_does_not_inherit_the_failure_of_the_one_before(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  task_limits limits = fixture_limits(1);
  limits.heap = 4096;
  fixture_open(&f, limits);
  fixture_begin(&f);
  for (int i = 0; i < 3; i++) {
    assert_true(task_engine_scope_begin(f.engine, 0));
    block b = alloc(&f, 4096);
    task_access access = block_run(&b, W, 4096);
    if (i % 2 == 0) fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, &access, 1, NULL, 0);
    fixture_submit(&f, 1, counting(&runs), &access, 1, NULL, 0);
    assert_true(task_engine_scope_end(f.engine));
  }
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 1);
  fixture_close(&f);
}

/* What failed stays in the map; when it fills it, later tasks count as followers, and the run still ends. */
static void failures_that_fill_the_map_end_the_run_well(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t runs = 0;
  task_limits limits = fixture_limits(2);
  limits.regions = 8;
  fixture_open(&f, limits);
  fixture_begin(&f);
  for (uint64_t i = 0; i < 100; i++) {
    task_access access = fixture_run(1, RW, i * 64, 64);
    fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, &access, 1, NULL, 0);
  }
  for (uint64_t i = 0; i < 100; i++) {
    task_access access = fixture_run(1, R, i * 64, 64);
    fixture_submit(&f, 1, counting(&runs), &access, 1, NULL, 0);
  }
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(runs, 0);
  check_next_run(&f);
  fixture_close(&f);
}

/* ---- waiting for one task ---- */

static void a_wait_ends_with_its_task_and_tells_how(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 3; lanes++) {
    fixture f;
    _Atomic uint32_t runs = 0;
    fixture_open(&f, fixture_limits(lanes));
    fixture_hold(&f);
    task_access access = fixture_run(1, W, 0, 64), look = fixture_run(1, R, 8, 8),
                other = fixture_run(1, W, 64, 8);
    baton_task first = fixture_submit(&f, 1, counting(&runs), &access, 1, NULL, 0);
    assert_int_equal(task_engine_wait(f.engine, first, INT64_MAX), TASK_STUCK); /* the run is held */
    assert_true(task_engine_awaits(f.engine, &look));
    assert_false(task_engine_awaits(f.engine, &other));
    task_engine_release(f.engine);
    fixture_enter(&f);
    assert_int_equal(task_engine_wait(f.engine, first, INT64_MAX), TASK_OK);
    assert_int_equal(runs, 1);
    assert_false(task_engine_awaits(f.engine, &look));
    baton_task bad = fixture_submit(&f, 1, (fixture_body){fixture_fail, NULL}, &access, 1, NULL, 0);
    baton_task follower = fixture_submit(&f, 1, counting(&runs), &look, 1, NULL, 0);
    baton_task apart = fixture_submit(&f, 1, counting(&runs), &other, 1, NULL, 0);
    assert_int_equal(task_engine_wait(f.engine, follower, INT64_MAX), TASK_FAILED);
    assert_int_equal(task_engine_wait(f.engine, bad, INT64_MAX), TASK_FAILED);
    assert_int_equal(task_engine_wait(f.engine, apart, INT64_MAX), TASK_OK);
    assert_int_equal(task_engine_wait(f.engine, (baton_task){0}, INT64_MAX), TASK_OK);
    assert_true(task_engine_awaits(f.engine, &look)); /* what it should read will never be there */
    assert_int_equal(fixture_finish(&f), TASK_OK);
    assert_int_equal(runs, 2);
    fixture_close(&f);
  }
}

/* ---- cancel, held runs ---- */

static int cancel_and_count(void *argument, const task_call *call) {
  fixture *f = argument;
  (void)call;
  task_engine_cancel(f->engine);
  return 0;
}

static void after_a_cancel_nothing_starts(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 3; lanes++) {
    fixture f;
    _Atomic uint32_t before = 0, after = 0;
    task_access access = fixture_run(1, RW, 0, 64);
    fixture_open(&f, fixture_limits(lanes));
    fixture_begin(&f);
    for (int i = 0; i < 100; i++) fixture_submit(&f, 1, counting(&before), &access, 1, NULL, 0);
    fixture_submit(&f, 1, (fixture_body){cancel_and_count, &f}, &access, 1, NULL, 0);
    for (int i = 0; i < 2000; i++) fixture_submit(&f, 1, counting(&after), &access, 1, NULL, 0);
    assert_int_equal(fixture_finish(&f), TASK_OK);
    assert_int_equal(before, 100);
    assert_int_equal(after, 0);
    check_next_run(&f);
    fixture_close(&f);
  }
}

static void a_held_run_starts_when_it_is_released(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 4; lanes++)
    for (int explicitly = 0; explicitly < 2; explicitly++) {
      fixture f;
      _Atomic uint32_t runs = 0;
      fixture_open(&f, fixture_limits(lanes));
      fixture_hold(&f);
      for (uint64_t i = 0; i < 500; i++) {
        task_access access = fixture_run(1, RW, i % 7 * 64, 64);
        fixture_submit(&f, (uint32_t)i % 3, counting(&runs), &access, 1, NULL, 0);
      }
      assert_int_equal(runs, 0);
      assert_int_equal(fixture_counts(&f).edges, 493);
      if (explicitly) {
        task_engine_release(f.engine);
        fixture_enter(&f);
      }
      assert_int_equal(fixture_finish(&f), TASK_OK);
      assert_int_equal(runs, 500);
      fixture_close(&f);
    }
}

/* ---- many runs, many engines ---- */

typedef struct runner {
  uint32_t lanes, runs;
  _Atomic uint32_t done;
  task_status status;
} runner;

static void *run_often(void *argument) {
  runner *r = argument;
  fixture f;
  fixture_open(&f, fixture_limits(r->lanes));
  for (uint32_t run = 0; run < r->runs && r->status == TASK_OK; run++) {
    fixture_begin(&f);
    for (uint64_t i = 0; i < 200 && r->status == TASK_OK; i++) {
      task_access accesses[2] = {fixture_run(1, RW, i % 5 * 64, 64), fixture_run(2, R, 0, 64)};
      r->status = fixture_try(&f, (uint32_t)i % 4, counting(&r->done), accesses, 2, NULL, 0, NULL);
    }
    task_status status = fixture_finish(&f);
    if (r->status == TASK_OK) r->status = status;
  }
  fixture_close(&f);
  return NULL;
}

static void engines_do_not_disturb_each_other(void **state) {
  (void)state;
  runner runners[4] = {{.lanes = 1}, {.lanes = 2}, {.lanes = 3}, {.lanes = 8}};
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    runners[i].runs = many(200, 20);
    assert_int_equal(pthread_create(&threads[i], NULL, run_often, &runners[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(runners[i].status, TASK_OK);
    assert_int_equal(runners[i].done, runners[i].runs * 200);
  }
}

/* ---- what it costs ---- */

static int64_t cpu_time(void) {
  struct rusage usage;
  assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
  return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
         usage.ru_stime.tv_usec;
}

/* A lane without work sleeps, and so does the owner that waits for the other lane. */
static void waiting_uses_no_cpu(void **state) {
  (void)state;
  fixture f;
  _Atomic uint32_t never = 0;
  fixture_open(&f, fixture_limits(4));
  fixture_begin(&f);
  int64_t before = cpu_time(), until = base_now() + 300000000;
  while (base_now() < until) base_futex_wait(&never, 0, until);
  assert_true(cpu_time() - before < 60000); /* µs, of 4 lanes × 300,000 */
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_close(&f);
}

static void a_task_takes_at_most_256_bytes(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 32; lanes *= 2) {
    task_limits limits = fixture_limits(lanes), twice;
    limits.tasks = 1 << 16;
    twice = limits;
    twice.tasks *= 2;
    assert_true((task_engine_size(&twice) - task_engine_size(&limits)) / limits.tasks <= 256);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(independent_tasks_overlap_in_time),
      cmocka_unit_test(successors_of_one_task_overlap_in_time),
      cmocka_unit_test(short_tasks_run_while_the_owner_stays_away),
      cmocka_unit_test(ready_tasks_of_higher_priority_come_first),
      cmocka_unit_test(tasks_of_all_priorities_run_on_any_number_of_lanes),
      cmocka_unit_test(a_full_window_is_refused_when_nothing_can_run),
      cmocka_unit_test(full_edges_are_refused_and_the_run_goes_on),
      cmocka_unit_test(full_argument_memory_is_refused),
      cmocka_unit_test(a_full_map_is_refused),
      cmocka_unit_test(a_full_heap_names_the_scope_that_holds_it),
      cmocka_unit_test(a_run_that_was_refused_can_be_cancelled),
      cmocka_unit_test(finish_says_when_a_task_can_never_run),
      cmocka_unit_test(a_block_dies_with_its_scope_and_its_last_task),
      cmocka_unit_test(a_task_that_names_a_block_twice_holds_it_once_and_for_all),
      cmocka_unit_test(scopes_nest_to_their_depth),
      cmocka_unit_test(a_manual_scope_infers_nothing),
      cmocka_unit_test(an_elided_task_is_over_at_its_submit),
      cmocka_unit_test(queued_tasks_of_one_lane_do_not_pile_up),
      cmocka_unit_test(an_elided_task_that_fails_takes_its_dependents),
      cmocka_unit_test(an_elided_task_that_fails_is_known_by_its_own_region),
      cmocka_unit_test(a_kernel_that_becomes_long_is_no_longer_elided),
      cmocka_unit_test(a_short_kernel_is_elided_again_soon_after_a_disturbance),
      cmocka_unit_test(chains_of_any_length_end_in_order),
      cmocka_unit_test(nothing_is_elided_before_its_producers),
      cmocka_unit_test(one_slow_task_pins_itself_only),
      cmocka_unit_test(a_million_tasks_need_no_more_memory_than_the_window),
      cmocka_unit_test(the_failure_of_the_head_of_a_long_chain_needs_no_stack),
      cmocka_unit_test(wide_fans_run_completely),
      cmocka_unit_test(a_failure_takes_its_dependents_and_nobody_else),
      cmocka_unit_test(a_handle_of_a_failed_task_poisons_long_after),
      cmocka_unit_test(a_block_does_not_inherit_the_failure_of_the_one_before),
      cmocka_unit_test(failures_that_fill_the_map_end_the_run_well),
      cmocka_unit_test(a_wait_ends_with_its_task_and_tells_how),
      cmocka_unit_test(after_a_cancel_nothing_starts),
      cmocka_unit_test(a_held_run_starts_when_it_is_released),
      cmocka_unit_test(engines_do_not_disturb_each_other),
      cmocka_unit_test(waiting_uses_no_cpu),
      cmocka_unit_test(a_task_takes_at_most_256_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
