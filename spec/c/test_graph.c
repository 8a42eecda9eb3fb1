/* Graphs that are built once run again and again, with the order and the bytes of the run that built them. */
#include "engine_fixture.h"
#include "task/graph.h"
#include <sched.h>

enum { R = TASK_READS, W = TASK_WRITES, TASKS = 400, CELLS = 24 };

typedef struct board {
  uint64_t cells[CELLS];
  _Atomic uint32_t runs;
} board;

/* A payload: a task reads some cells, and writes one. */
typedef struct work {
  board *board;
  uint32_t number, first, count, target, fails;
} work;

static void perform(const work *w, uint64_t *cells) {
  uint64_t hash = w->number + 1;
  for (uint32_t i = w->first; i < w->first + w->count; i++)
    hash = (hash ^ cells[i]) * UINT64_C(0x100000001b3);
  cells[w->target] = hash;
}

static int execute(void *context, const task_call *call) {
  const work *w = call->payload;
  (void)context;
  if (call->kernel == 1) sched_yield();
  atomic_fetch_add_explicit(&w->board->runs, 1, memory_order_relaxed);
  if (w->fails) return 1;
  perform(w, w->board->cells);
  return 0;
}

static void make_work(fixture_random *random, board *b, uint32_t number, work *out) {
  *out = (work){.board = b, .number = number, .count = fixture_below(random, 4)};
  out->first = fixture_below(random, CELLS - out->count);
  out->target = fixture_below(random, CELLS);
}

static void submit(fixture *f, const work *w) {
  void *payload;
  uint32_t which;
  baton_task task;
  task_access accesses[2] = {fixture_run(1, R, w->first * 8, w->count * 8),
                             fixture_run(1, W, w->target * 8, 8)};
  assert_int_equal(task_engine_open(f->engine, accesses, 2, sizeof *w, &payload, &which), TASK_OK);
  memcpy(payload, w, sizeof *w);
  assert_int_equal(task_engine_submit(f->engine, w->number % 3, accesses, 2, NULL, 0, &task), TASK_OK);
}

static void count_moved(void *context, void *copy, const void *original, uint32_t bytes) {
  uint32_t *count = context;
  const work *w = copy;
  assert_int_equal(bytes, sizeof(work));
  assert_memory_equal(copy, original, bytes);
  assert_int_equal(w->number, *count);
  ++*count;
}

/* Builds the works in a held run and keeps them. */
static task_graph *capture(fixture *f, const work *works, uint32_t count) {
  uint32_t moved = 0;
  fixture_hold(f);
  for (uint32_t i = 0; i < count; i++) submit(f, &works[i]);
  uint64_t edges = fixture_counts(f).edges;
  size_t size = (task_graph_size(f->engine) + BASE_CACHE_LINE - 1) & ~(size_t)(BASE_CACHE_LINE - 1);
  void *memory = aligned_alloc(BASE_CACHE_LINE, size);
  task_graph *graph = task_graph_capture(f->engine, memory, &moved, count_moved);
  assert_ptr_equal(graph, memory);
  assert_int_equal(moved, count);
  assert_int_equal(graph->count, count);
  assert_int_equal(graph->edges, edges);
  fixture_assert_clean(f);
  return graph;
}

static task_status replay(fixture *f, task_graph *graph) {
  task_graph_begin(graph, f->engine);
  fixture_enter(f);
  return fixture_finish(f);
}

static void a_graph_runs_again_with_the_bytes_of_one_by_one_execution(void **state) {
  (void)state;
  for (uint32_t seed = 1; seed <= (fixture_small() ? 10u : 100u); seed++) {
    fixture_random random = {seed};
    fixture f;
    board b = {0};
    work works[TASKS];
    uint64_t reference[CELLS] = {0};
    uint32_t count = 1 + fixture_below(&random, TASKS);
    task_limits limits = fixture_limits(1 + seed % 5);
    limits.edges = 1 << 16;
    fixture_open_with(&f, limits, NULL, execute);
    for (uint32_t i = 0; i < count; i++) make_work(&random, &b, i, &works[i]);
    task_graph *graph = capture(&f, works, count);
    for (uint32_t round = 1; round <= 5; round++) {
      assert_int_equal(replay(&f, graph), TASK_OK);
      for (uint32_t i = 0; i < count; i++) perform(&works[i], reference);
      assert_int_equal(b.runs, round * count);
      assert_memory_equal(b.cells, reference, sizeof reference);
    }
    fixture_begin(&f); /* and the engine still takes tasks */
    submit(&f, &works[0]);
    assert_int_equal(fixture_finish(&f), TASK_OK);
    fixture_assert_clean(&f);
    free(graph);
    fixture_close(&f);
  }
}

static void a_failure_in_a_graph_takes_its_dependents_and_is_gone_in_the_next_run(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= 4; lanes++) {
    fixture f;
    board b = {0};
    work works[60];
    fixture_open_with(&f, fixture_limits(lanes), NULL, execute);
    for (uint32_t i = 0; i < 60; i++) /* three chains of twenty */
      works[i] = (work){.board = &b, .number = i, .first = i % 3, .count = 1, .target = i % 3};
    task_graph *graph = capture(&f, works, 60);
    work *seventh = task_graph_payload(graph, 7 * 3 + 1);
    seventh->fails = 1;
    assert_int_equal(replay(&f, graph), TASK_OK);
    assert_int_equal(b.runs, 20 + 8 + 20);
    seventh->fails = 0;
    atomic_store(&b.runs, 0);
    assert_int_equal(replay(&f, graph), TASK_OK);
    assert_int_equal(b.runs, 60);
    free(graph);
    fixture_close(&f);
  }
}

static void a_graph_can_be_cancelled(void **state) {
  (void)state;
  fixture f;
  board b = {0};
  work works[10];
  fixture_open_with(&f, fixture_limits(2), NULL, execute);
  for (uint32_t i = 0; i < 10; i++) works[i] = (work){.board = &b, .number = i, .count = 1};
  task_graph *graph = capture(&f, works, 10);
  task_graph_begin(graph, f.engine);
  task_engine_cancel(f.engine);
  fixture_enter(&f);
  assert_int_equal(fixture_finish(&f), TASK_OK);
  assert_int_equal(b.runs, 0);
  assert_int_equal(replay(&f, graph), TASK_OK);
  assert_int_equal(b.runs, 10);
  free(graph);
  fixture_close(&f);
}

static void an_empty_graph_is_over_at_once(void **state) {
  (void)state;
  fixture f;
  fixture_open_with(&f, fixture_limits(2), NULL, execute);
  task_graph *graph = capture(&f, NULL, 0);
  assert_int_equal(replay(&f, graph), TASK_OK);
  free(graph);
  fixture_close(&f);
}

/* A submit that was refused leaves a gap in the numbers of the tasks. */
static void a_refused_submit_is_no_node(void **state) {
  (void)state;
  fixture f;
  board b = {0};
  task_limits limits = fixture_limits(2);
  limits.edges = 0;
  fixture_open_with(&f, limits, NULL, execute);
  fixture_hold(&f);
  work works[8];
  baton_task deps[6], task;
  void *payload;
  uint32_t which, moved = 0;
  for (uint32_t i = 0; i < 6; i++) {
    works[i] = (work){.board = &b, .number = i, .target = i};
    assert_int_equal(task_engine_open(f.engine, NULL, 0, sizeof works[i], &payload, &which), TASK_OK);
    memcpy(payload, &works[i], sizeof works[i]);
    assert_int_equal(task_engine_submit(f.engine, 1, NULL, 0, NULL, 0, &deps[i]), TASK_OK);
  }
  assert_int_equal(task_engine_open(f.engine, NULL, 0, 8, &payload, &which), TASK_OK);
  assert_int_equal(task_engine_submit(f.engine, 1, NULL, 0, deps, 6, &task), TASK_EDGES_FULL);
  works[6] = (work){.board = &b, .number = 6, .first = 0, .count = 2, .target = 6};
  assert_int_equal(task_engine_open(f.engine, NULL, 0, sizeof works[6], &payload, &which), TASK_OK);
  memcpy(payload, &works[6], sizeof works[6]);
  assert_int_equal(task_engine_submit(f.engine, 1, NULL, 0, deps, 2, &task), TASK_OK);
  size_t size = (task_graph_size(f.engine) + BASE_CACHE_LINE - 1) & ~(size_t)(BASE_CACHE_LINE - 1);
  task_graph *graph = task_graph_capture(f.engine, aligned_alloc(BASE_CACHE_LINE, size), &moved, count_moved);
  assert_int_equal(graph->count, 7);
  assert_int_equal(graph->edges, 2);
  assert_int_equal(replay(&f, graph), TASK_OK);
  assert_int_equal(b.runs, 7);
  free(graph);
  fixture_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_graph_runs_again_with_the_bytes_of_one_by_one_execution),
      cmocka_unit_test(a_failure_in_a_graph_takes_its_dependents_and_is_gone_in_the_next_run),
      cmocka_unit_test(a_graph_can_be_cancelled),
      cmocka_unit_test(an_empty_graph_is_over_at_once),
      cmocka_unit_test(a_refused_submit_is_no_node),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
