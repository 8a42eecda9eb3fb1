/* Graphs that run by lists: whatever the lists, the lanes and their delays, the bytes are those of one-by-one execution. */
#include "engine_fixture.h"
#include "task/graph.h"
#include <sched.h>

enum { R = TASK_READS, W = TASK_WRITES, MOST = 160, CELLS = 16, LANES = 4 };

/* A payload: a task reads some cells and writes one, after a while. */
typedef struct work {
  uint32_t number, first, count, target;
  uint32_t delay; /* ns */
  uint32_t fails, waits;
} work;

/* One task that waits inside its lane. */
typedef struct waiter {
  const work *work;
  baton_task task;
} waiter;

typedef struct board {
  uint64_t cells[CELLS];
  _Atomic uint32_t runs[MOST]; /* of each task, in this round */
  _Atomic uint32_t lane_runs[LANES];
  waiter waiting[LANES][MOST]; /* each lane's own */
  uint32_t waiting_count[LANES];
} board;

static board b;

static void perform(const work *w, uint64_t *cells) {
  uint64_t hash = w->number + 1;
  for (uint32_t i = w->first; i < w->first + w->count; i++)
    hash = (hash ^ cells[i]) * UINT64_C(0x100000001b3);
  cells[w->target] = hash;
}

static void dawdle(uint32_t delay) {
  for (int64_t end = base_now() + delay; delay && base_now() < end;) sched_yield();
}

static const task_graph *crowded; /* its tasks take long while it has more than one lane; NULL: none */

static int execute(void *context, const task_call *call) {
  const work *w = call->payload;
  (void)context;
  dawdle(crowded && crowded->assignment.lanes > 1 ? 2000 : w->delay);
  atomic_fetch_add(&b.runs[w->number], 1);
  atomic_fetch_add(&b.lane_runs[call->lane], 1);
  if (w->waits) {
    b.waiting[call->lane][b.waiting_count[call->lane]++] = (waiter){w, call->task};
    return TASK_CALL_WAITS;
  }
  if (w->fails) return TASK_CALL_FAILED;
  perform(w, b.cells);
  return TASK_CALL_OK;
}

/* What waits goes on the first time it is asked. */
static int resume(void *context, uint32_t lane, int stop, task_end *end) {
  (void)context;
  if (!b.waiting_count[lane]) return TASK_CALL_WAITS;
  const waiter *w = &b.waiting[lane][--b.waiting_count[lane]];
  *end = (task_end){w->task, stop || w->work->fails};
  if (!end->failed) perform(w->work, b.cells);
  return TASK_CALL_ENDED;
}

/* Lanes have patience for so many of their ns; with a slow clock they wait for each other on any machine. */
static _Atomic uint32_t slow_clock;

static int64_t slow_down(void *context) {
  (void)context;
  return atomic_load(&slow_clock) ? base_now() / 100 : base_now();
}

static void open_engine(fixture *f, uint32_t lanes) {
  task_limits limits = fixture_limits(lanes);
  limits.edges = 1 << 16;
  task_hooks hooks = {
      .execute = execute, .resume = resume, .park = fixture_park, .wake = fixture_wake, .clock = slow_down};
  *f = (fixture){.limits = limits, .size = task_engine_size(&limits)};
  void *memory =
      mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(memory, MAP_FAILED);
  f->engine = task_engine_init(memory, &limits, &hooks);
}

static void moved(void *context, void *copy, const void *original, uint32_t bytes) {
  (void)context;
  assert_memory_equal(copy, original, bytes);
}

static task_graph *keep(fixture *f) {
  size_t size = (task_graph_size(f->engine) + BASE_CACHE_LINE - 1) & ~(size_t)(BASE_CACHE_LINE - 1);
  return task_graph_capture(f->engine, aligned_alloc(BASE_CACHE_LINE, size), NULL, moved);
}

/* Random works over cells that they share. */
static task_graph *random_graph(fixture *f, fixture_random *random, uint32_t count) {
  memset(&b, 0, sizeof b);
  fixture_hold(f);
  for (uint32_t i = 0; i < count; i++) {
    work w = {.number = i, .count = fixture_below(random, 4)};
    w.first = fixture_below(random, CELLS - w.count);
    w.target = fixture_below(random, CELLS);
    task_access accesses[2] = {fixture_run(1, R, w.first * 8, w.count * 8),
                               fixture_run(1, W, w.target * 8, 8)};
    void *payload;
    uint32_t which;
    baton_task task;
    assert_int_equal(task_engine_open(f->engine, accesses, 2, sizeof w, &payload, &which), TASK_OK);
    memcpy(payload, &w, sizeof w);
    assert_int_equal(task_engine_submit(f->engine, i % 3, accesses, 2, NULL, 0, &task), TASK_OK);
  }
  return keep(f);
}

/* `width` tasks a layer, each after its neighbours in the layer before. */
static task_graph *layered_graph(fixture *f, uint32_t width, uint32_t depth) {
  baton_task tasks[2][64];
  memset(&b, 0, sizeof b);
  fixture_hold(f);
  for (uint32_t i = 0; i < width * depth; i++) {
    uint32_t layer = i / width, x = i % width, count = 0, which;
    work w = {.number = i, .target = x};
    baton_task deps[3];
    void *payload;
    for (uint32_t at = x ? x - 1 : 0; layer && at <= x + 1 && at < width; at++)
      deps[count++] = tasks[(layer - 1) % 2][at];
    assert_int_equal(task_engine_open(f->engine, NULL, 0, sizeof w, &payload, &which), TASK_OK);
    memcpy(payload, &w, sizeof w);
    assert_int_equal(task_engine_submit(f->engine, 0, NULL, 0, deps, count, &tasks[layer % 2][x]), TASK_OK);
  }
  return keep(f);
}

/* The lanes of an engine live as long as it does, so that they begin a run together. */
typedef struct crew {
  fixture *f;
  pthread_barrier_t gate; /* before and after each run */
  _Atomic uint32_t awake;
  int over; /* ordered by the gate */
} crew;

static crew team;

static void start_together(void) {
  atomic_fetch_add(&team.awake, 1);
  while (atomic_load(&team.awake) < team.f->limits.lanes) sched_yield();
}

static void *lane_main(void *number) {
  for (;;) {
    pthread_barrier_wait(&team.gate);
    if (team.over) return NULL;
    start_together();
    task_engine_work(team.f->engine, (uint32_t)(uintptr_t)number);
    pthread_barrier_wait(&team.gate);
  }
}

static void gather(fixture *f) {
  team.f = f;
  team.over = 0;
  pthread_barrier_init(&team.gate, NULL, f->limits.lanes);
  for (uint32_t i = 1; i < f->limits.lanes; i++)
    assert_int_equal(pthread_create(&f->threads[i], NULL, lane_main, (void *)(uintptr_t)i), 0);
}

static void dismiss(fixture *f) {
  team.over = 1;
  pthread_barrier_wait(&team.gate);
  for (uint32_t i = 1; i < f->limits.lanes; i++) pthread_join(f->threads[i], NULL);
  pthread_barrier_destroy(&team.gate);
}

static task_status replay(fixture *f, task_graph *graph, int cancelled) {
  for (uint32_t i = 0; i < MOST; i++) atomic_store(&b.runs[i], 0);
  task_graph_begin(graph, f->engine);
  atomic_store(&team.awake, 0);
  pthread_barrier_wait(&team.gate);
  start_together();
  if (cancelled) task_engine_cancel(f->engine);
  task_status status = task_engine_finish(f->engine);
  pthread_barrier_wait(&team.gate);
  return status;
}

/* Other costs, hence other lists. */
static void shuffle_lists(task_graph *graph, fixture_random *random) {
  for (uint32_t i = 0; i < graph->count; i++) graph->costs[i] = 1 + fixture_below(random, 8000);
  graph->join = fixture_below(random, 2) * 5000;
  graph->replay.rest = 0;
  graph->replay.costs.fresh = 1;
  graph->replay.costs.left = fixture_below(random, 2);
}

/* Some tasks take long, some fail, some wait. */
static void shuffle_tasks(task_graph *graph, fixture_random *random) {
  uint32_t slow = fixture_chance(random, 40) ? 20 : 0, failing = fixture_chance(random, 20) ? 3 : 0,
           waiting = fixture_chance(random, 20) ? 5 : 0;
  atomic_store(&slow_clock, fixture_below(random, 2));
  for (uint32_t i = 0; i < graph->count; i++) {
    work *w = task_graph_payload(graph, i);
    w->delay = fixture_chance(random, slow) ? fixture_below(random, 60000) : 0;
    w->fails = (uint32_t)fixture_chance(random, failing);
    w->waits = (uint32_t)fixture_chance(random, waiting);
  }
}

/* One by one, with what failures leave out. */
static void run_reference(const task_graph *graph, uint64_t *cells) {
  uint8_t poisoned[MOST] = {0};
  for (uint32_t i = 0; i < graph->count; i++) {
    const work *w = task_graph_payload(graph, i);
    assert_int_equal(atomic_load(&b.runs[i]), !poisoned[i]);
    if (!poisoned[i] && !w->fails) perform(w, cells);
    for (uint32_t edge = graph->nodes[i].first; edge < graph->nodes[i + 1].first; edge++)
      poisoned[graph->consumers[edge]] |= poisoned[i] || w->fails;
  }
}

static void every_run_has_the_bytes_of_one_by_one_execution(void **state) {
  (void)state;
  for (uint32_t seed = 1; seed <= (fixture_small() ? 12u : 60u); seed++) {
    fixture_random random = {seed};
    fixture f;
    uint64_t reference[CELLS] = {0};
    open_engine(&f, 1 + seed % LANES);
    task_graph *graph = random_graph(&f, &random, 1 + fixture_below(&random, MOST));
    gather(&f);
    for (uint32_t round = 0; round < 12; round++) {
      shuffle_tasks(graph, &random);
      if (fixture_chance(&random, 70)) shuffle_lists(graph, &random);
      assert_int_equal(replay(&f, graph, 0), TASK_OK);
      run_reference(graph, reference);
      assert_memory_equal(b.cells, reference, sizeof reference);
    }
    dismiss(&f);
    free(graph);
    fixture_close(&f);
  }
}

static void a_cancelled_run_ends_and_the_next_one_is_whole(void **state) {
  (void)state;
  for (uint32_t lanes = 1; lanes <= LANES; lanes++) {
    fixture_random random = {lanes};
    fixture f;
    open_engine(&f, lanes);
    task_graph *graph = random_graph(&f, &random, MOST);
    gather(&f);
    for (uint32_t round = 0; round < 20; round++) {
      shuffle_tasks(graph, &random);
      shuffle_lists(graph, &random);
      assert_int_equal(replay(&f, graph, round % 2 == 0), TASK_OK);
      for (uint32_t i = 0; i < MOST; i++) assert_true(atomic_load(&b.runs[i]) <= 1);
      if (round % 2 == 0) continue;
      uint64_t ignored[CELLS] = {0};
      run_reference(graph, ignored);
    }
    dismiss(&f);
    free(graph);
    fixture_close(&f);
  }
}

/* Lane 1 comes in only when the owner has run everything. */
static void a_lane_that_comes_late_finds_nothing_to_do(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, 2);
  task_graph *graph = layered_graph(&f, 10, 10);
  for (uint32_t i = 0; i < graph->count; i++) graph->costs[i] = 500;
  graph->replay.costs.fresh = 1;
  memset(&b, 0, sizeof b);
  task_graph_begin(graph, f.engine);
  assert_int_equal(task_graph_lanes(graph, f.engine), 2);
  assert_int_equal(task_engine_finish(f.engine), TASK_OK);
  task_engine_work(f.engine, 1);
  assert_int_equal(atomic_load(&b.lane_runs[0]), 100);
  assert_int_equal(atomic_load(&b.lane_runs[1]), 0);
  free(graph);
  fixture_close(&f);
}

/* Replays until lists are for so many lanes. Nothing is measured. */
static void replay_until_lanes(fixture *f, task_graph *graph, uint32_t lanes) {
  for (uint32_t rounds = 0; rounds < 1000000; rounds++) {
    graph->replay.costs.left = UINT32_MAX;
    assert_int_equal(replay(f, graph, 0), TASK_OK);
    for (uint32_t i = 0; i < graph->count; i++) assert_int_equal(atomic_load(&b.runs[i]), 1);
    if (graph->assignment.lanes == lanes) return;
  }
  fail();
}

/* As if all lanes had one CPU together. */
static void lanes_that_slow_a_graph_down_get_no_lists_for_a_while(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, 2);
  task_graph *graph = layered_graph(&f, 10, 10);
  for (uint32_t i = 0; i < graph->count; i++) graph->costs[i] = 500;
  graph->replay.costs.fresh = 1;
  atomic_store(&slow_clock, 0);
  gather(&f);
  replay_until_lanes(&f, graph, 2);
  crowded = graph;
  replay_until_lanes(&f, graph, 1);
  replay_until_lanes(&f, graph, 2);
  crowded = NULL;
  dismiss(&f);
  free(graph);
  fixture_close(&f);
}

/* --- Assignments --------------------------------------------------------------------------------------- */

static uint64_t load_of(const task_graph *graph, uint32_t lane) {
  const task_assignment *to = &graph->assignment;
  uint64_t load = 0;
  for (uint32_t i = 0; i < to->lists[lane].length; i++)
    load += graph->costs[to->steps[to->lists[lane].first + i].node];
  return load;
}

/* Places and lanes of the nodes by the lists; each node is in them once. */
static void read_lists(const task_graph *graph, uint32_t *lane, uint32_t *place) {
  const task_assignment *to = &graph->assignment;
  uint8_t found[MOST] = {0};
  for (uint32_t i = 0; i < to->lanes; i++)
    for (uint32_t at = 0; at < to->lists[i].length; at++) {
      uint32_t node = to->steps[to->lists[i].first + at].node;
      assert_false(found[node]);
      found[node] = 1;
      lane[node] = i;
      place[node] = at;
    }
  for (uint32_t i = 0; i < graph->count; i++) assert_true(found[i]);
}

/* So many steps of `other` are over before the step at `place` of `lane` begins. */
static uint32_t awaited(const task_graph *graph, uint32_t lane, uint32_t place, uint32_t other) {
  const task_assignment *to = &graph->assignment;
  uint32_t count = 0;
  for (uint32_t at = 0; at <= place; at++) {
    const task_step *step = &to->steps[to->lists[lane].first + at];
    if (!(step->flow & TASK_STEP_WAITS)) continue;
    for (const task_wait *wait = &to->waits[step->flow >> TASK_STEP_SHIFT];; wait++) {
      if ((wait->lane & ~(uint32_t)TASK_WAIT_LAST) == other && wait->count > count) count = wait->count;
      if (wait->lane & TASK_WAIT_LAST) break;
    }
  }
  return count;
}

/* Every edge is kept by the order of a list, or by a wait for a step that tells. */
static void assert_lists_hold(const task_graph *graph) {
  const task_assignment *to = &graph->assignment;
  uint32_t lane[MOST], place[MOST];
  read_lists(graph, lane, place);
  for (uint32_t from = 0; from < graph->count; from++)
    for (uint32_t edge = graph->nodes[from].first; edge < graph->nodes[from + 1].first; edge++) {
      uint32_t node = graph->consumers[edge];
      if (lane[from] == lane[node]) {
        assert_true(place[from] < place[node]);
        continue;
      }
      uint32_t count = awaited(graph, lane[node], place[node], lane[from]);
      assert_true(count > place[from]);
      assert_true(to->steps[to->lists[lane[from]].first + count - 1].flow & TASK_STEP_TELLS);
    }
}

static void lists_keep_every_edge(void **state) {
  (void)state;
  uint32_t with_lists = 0;
  for (uint32_t seed = 1; seed <= 100; seed++) {
    fixture_random random = {seed};
    fixture f;
    open_engine(&f, 1 + seed % LANES);
    task_graph *graph = random_graph(&f, &random, 1 + fixture_below(&random, MOST));
    for (uint32_t i = 0; i < graph->count; i++) graph->costs[i] = fixture_below(&random, 8000);
    task_assignment_make(&graph->assignment, graph, graph->lanes, 0);
    with_lists += graph->assignment.lanes > 1;
    if (graph->assignment.lanes) assert_lists_hold(graph);
    free(graph);
    fixture_close(&f);
  }
  assert_true(with_lists > 30);
}

static void make(task_graph *graph, uint32_t cost, uint32_t other, uint32_t lanes) {
  for (uint32_t i = 0; i < graph->count; i++) graph->costs[i] = i % 10 < 5 ? cost : other;
  task_assignment_make(&graph->assignment, graph, lanes, TASK_JOIN_NS);
}

static void lists_share_what_nodes_cost(void **state) {
  (void)state;
  static const uint32_t costs[][2] = {{400, 400}, {800, 800}, {1200, 400}, {800, 2400}, {100, 5000}};
  fixture f;
  open_engine(&f, LANES);
  task_graph *graph = layered_graph(&f, 10, 10);
  for (uint32_t i = 0; i < sizeof costs / sizeof *costs; i++) {
    make(graph, costs[i][0], costs[i][1], 2);
    assert_int_equal(graph->assignment.lanes, 2);
    uint64_t all = load_of(graph, 0) + load_of(graph, 1);
    for (uint32_t lane = 0; lane < 2; lane++)
      assert_in_range(load_of(graph, lane), all * 9 / 20, all * 11 / 20);
  }
  free(graph);
  fixture_close(&f);
}

static void short_graphs_stay_on_one_lane_and_long_nodes_go_through_queues(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, LANES);
  task_graph *graph = layered_graph(&f, 10, 10);
  make(graph, 3, 3, LANES);
  assert_int_equal(graph->assignment.lanes, 1);
  assert_lists_hold(graph);
  make(graph, 3, 3, 1);
  assert_int_equal(graph->assignment.lanes, 1);
  make(graph, 1000000, 1000000, LANES);
  assert_int_equal(graph->assignment.lanes, 0);
  make(graph, 1000, 1000, LANES);
  assert_int_equal(graph->assignment.lanes, LANES);
  assert_lists_hold(graph);
  free(graph);
  fixture_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_run_has_the_bytes_of_one_by_one_execution),
      cmocka_unit_test(a_cancelled_run_ends_and_the_next_one_is_whole),
      cmocka_unit_test(a_lane_that_comes_late_finds_nothing_to_do),
      cmocka_unit_test(lanes_that_slow_a_graph_down_get_no_lists_for_a_while),
      cmocka_unit_test(lists_keep_every_edge),
      cmocka_unit_test(lists_share_what_nodes_cost),
      cmocka_unit_test(short_graphs_stay_on_one_lane_and_long_nodes_go_through_queues),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
