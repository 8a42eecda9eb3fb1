/* Runs of the task engine in which tasks start when their scope ends. */
#include "engine_fixture.h"

enum { TASKS = 400, DEPS = 8 };

typedef struct program program;

/* A task notes whether its scope had ended and its deps had run when it started. */
typedef struct node {
  program *whole;
  _Atomic uint32_t *shown; /* its scope has ended */
  uint32_t deps[DEPS], ndeps, fails;
  _Atomic uint32_t started, ended;
} node;

struct program {
  fixture f;
  node nodes[TASKS];
  baton_task tasks[TASKS];
  _Atomic uint32_t shown[TASKS + 1]; /* by scope, in the order of their beginnings */
  _Atomic uint32_t too_early, out_of_order;
};

static int run_node(void *argument, const task_call *call) {
  node *n = argument;
  (void)call;
  atomic_store_explicit(&n->started, 1, memory_order_relaxed);
  if (!atomic_load_explicit(n->shown, memory_order_relaxed)) atomic_fetch_add(&n->whole->too_early, 1);
  for (uint32_t i = 0; i < n->ndeps; i++)
    if (!atomic_load_explicit(&n->whole->nodes[n->deps[i]].ended, memory_order_relaxed))
      atomic_fetch_add(&n->whole->out_of_order, 1);
  atomic_store_explicit(&n->ended, 1, memory_order_relaxed);
  return n->fails != 0;
}

static program *open_program(uint32_t lanes, task_limits limits, int mode) {
  program *p = calloc(1, sizeof *p);
  limits.lanes = lanes;
  fixture_open(&p->f, limits);
  task_engine_begin(p->f.engine, mode);
  fixture_enter(&p->f);
  return p;
}

static void close_program(program *p) {
  assert_int_equal(p->too_early, 0);
  assert_int_equal(p->out_of_order, 0);
  fixture_assert_clean(&p->f);
  fixture_close(&p->f);
  free(p);
}

static task_status try_node(program *p, uint32_t i, uint32_t scope, const uint32_t *deps, uint32_t ndeps) {
  node *n = &p->nodes[i];
  baton_task tasks[DEPS];
  n->whole = p;
  n->shown = &p->shown[scope];
  n->ndeps = ndeps;
  for (uint32_t k = 0; k < ndeps; k++) tasks[k] = p->tasks[n->deps[k] = deps[k]];
  return fixture_try(&p->f, 1 + i % 3, (fixture_body){run_node, n}, NULL, 0, tasks, ndeps, &p->tasks[i]);
}

static void submit_node(program *p, uint32_t i, uint32_t scope, const uint32_t *deps, uint32_t ndeps) {
  assert_int_equal(try_node(p, i, scope, deps, ndeps), TASK_OK);
}

static void end_scope(program *p, uint32_t scope) {
  atomic_store_explicit(&p->shown[scope], 1, memory_order_relaxed);
  assert_true(task_engine_scope_end(p->f.engine));
}

static void finish(program *p) {
  atomic_store_explicit(&p->shown[0], 1, memory_order_relaxed);
  assert_int_equal(fixture_finish(&p->f), TASK_OK);
}

/* Which tasks must not run: those that fail do, but nothing behind them. */
static void check_failures(const program *p) {
  uint8_t failed[TASKS] = {0};
  for (uint32_t i = 0; i < TASKS; i++) {
    uint32_t poisoned = 0;
    for (uint32_t k = 0; k < p->nodes[i].ndeps; k++) poisoned |= failed[p->nodes[i].deps[k]];
    failed[i] = poisoned || p->nodes[i].fails;
    assert_int_equal(p->nodes[i].started, !poisoned);
  }
}

static void random_program(uint64_t seed, uint32_t lanes, int with_failures) {
  fixture_random random = {seed};
  program *p = open_program(lanes, fixture_limits(lanes), TASK_BY_SCOPE | TASK_EXPLICIT);
  uint32_t open[TASK_SCOPE_DEPTH + 1] = {0}, depth = 0, scopes = 0;
  for (uint32_t i = 0; i < TASKS; i++) {
    uint32_t deps[DEPS], ndeps = i ? fixture_below(&random, DEPS + 1) : 0;
    while (depth && fixture_chance(&random, 15)) end_scope(p, open[depth--]);
    if (depth < 6 && fixture_chance(&random, 20)) {
      assert_true(task_engine_scope_begin(p->f.engine, 0));
      open[++depth] = ++scopes;
    }
    for (uint32_t k = 0; k < ndeps; k++) deps[k] = i - 1 - fixture_below(&random, i < 40 ? i : 40);
    p->nodes[i].fails = with_failures && fixture_chance(&random, 2);
    submit_node(p, i, open[depth], deps, ndeps);
  }
  while (depth) end_scope(p, open[depth--]);
  finish(p);
  check_failures(p);
  close_program(p);
}

static void every_task_waits_for_its_scope_and_its_deps(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < (fixture_small() ? 20 : 200); seed++)
    for (uint32_t lanes = 1; lanes <= 4; lanes++) random_program(seed, lanes, 0);
}

static void failures_travel_through_hidden_tasks(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < (fixture_small() ? 20 : 200); seed++)
    for (uint32_t lanes = 1; lanes <= 4; lanes++) random_program(seed, lanes, 1);
}

static void a_run_settles_when_only_hidden_tasks_are_left(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 3; lanes++) {
    program *p = open_program(lanes, fixture_limits(lanes), TASK_BY_SCOPE);
    submit_node(p, 0, 0, NULL, 0);
    assert_true(task_engine_scope_begin(p->f.engine, 0));
    for (uint32_t i = 1; i < 10; i++) submit_node(p, i, 1, NULL, 0);
    submit_node(p, 10, 1, (const uint32_t[]){0}, 1);
    end_scope(p, 1);
    assert_int_equal(task_engine_settle(p->f.engine, INT64_MAX), TASK_OK);
    for (uint32_t i = 0; i <= 10; i++) assert_int_equal(p->nodes[i].ended, i > 0 && i < 10);
    task_counts counts = fixture_counts(&p->f);
    assert_int_equal(counts.live, 2);
    assert_int_equal(counts.hidden, 1);
    assert_int_equal(counts.hider_scope, 0);
    finish(p);
    assert_int_equal(p->nodes[0].ended + p->nodes[10].ended, 2);
    close_program(p);
  }
}

static void a_scope_wider_than_the_window_is_refused(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 3; lanes++) {
    task_limits limits = fixture_limits(lanes);
    limits.tasks = 8;
    program *p = open_program(lanes, limits, TASK_BY_SCOPE);
    uint32_t i = 0;
    for (uint32_t scope = 1; scope <= 10; scope++) { /* each is narrow enough */
      assert_true(task_engine_scope_begin(p->f.engine, 0));
      for (uint32_t k = 0; k < 8; k++) submit_node(p, i++, scope, NULL, 0);
      end_scope(p, scope);
    }
    assert_true(task_engine_scope_begin(p->f.engine, 0));
    for (uint32_t k = 0; k < 8; k++) submit_node(p, i++, 11, NULL, 0);
    assert_int_equal(try_node(p, i, 11, NULL, 0), TASK_WINDOW_FULL);
    task_counts counts = fixture_counts(&p->f);
    assert_int_equal(counts.hidden, 8);
    assert_int_equal(counts.hider_scope, 1);
    end_scope(p, 11);
    submit_node(p, i, 0, NULL, 0); /* the run goes on */
    finish(p);
    close_program(p);
  }
}

static void a_cancelled_run_starts_nothing_that_was_hidden(void **state) {
  (void)state;
  program *p = open_program(2, fixture_limits(2), TASK_BY_SCOPE);
  for (uint32_t i = 0; i < 100; i++) submit_node(p, i, 0, NULL, 0);
  task_engine_cancel(p->f.engine);
  finish(p);
  for (uint32_t i = 0; i < 100; i++) assert_int_equal(p->nodes[i].started, 0);
  close_program(p);
}

static void handles_are_known_in_their_run_only(void **state) {
  (void)state;
  fixture f, other;
  task_limits limits = fixture_limits(1);
  fixture_open(&f, limits);
  limits.numbers = 1000000;
  fixture_open(&other, limits);
  fixture_begin(&f);
  fixture_begin(&other);
  fixture_body nothing = {0};
  baton_task first = fixture_submit(&f, 1, nothing, NULL, 0, NULL, 0);
  baton_task foreign = fixture_submit(&other, 1, nothing, NULL, 0, NULL, 0);
  assert_true(task_engine_knows(f.engine, first));
  assert_true(task_engine_knows(f.engine, (baton_task){0}));
  assert_false(task_engine_knows(f.engine, foreign));
  assert_false(task_engine_knows(f.engine, (baton_task){first.slot, first.generation + 1}));
  assert_int_equal(fixture_finish(&f), TASK_OK);
  fixture_begin(&f);
  assert_false(task_engine_knows(f.engine, first));
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(fixture_finish(&other), TASK_OK);
  fixture_close(&other);
  fixture_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_task_waits_for_its_scope_and_its_deps),
      cmocka_unit_test(failures_travel_through_hidden_tasks),
      cmocka_unit_test(a_run_settles_when_only_hidden_tasks_are_left),
      cmocka_unit_test(a_scope_wider_than_the_window_is_refused),
      cmocka_unit_test(a_cancelled_run_starts_nothing_that_was_hidden),
      cmocka_unit_test(handles_are_known_in_their_run_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
