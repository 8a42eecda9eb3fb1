/* Random programs of tasks with instances end with what their tasks compute one by one, on chips of 72 and 108 cores and any
** number of CPUs; and no core runs two kernels at once.
**
** BATON_TEST_PROGRAMS: how many; BATON_TEST_SEED: only this one; BATON_TEST_SMALL: fewer programs. */
#include "engine_fixture.h"
#include <baton/baton.h>
#include <stdio.h>

enum {
  ROWS = 12,
  WIDTH = 120, /* cells of a row */
  GATES = 8,
  MOST_TASKS = 40,
  MOST_THREADS = 3,
  CORES = 3 * 36,
  TURNS = 2,
  REPLAYS = 3
};

typedef enum shape { MATRIX, VECTOR, CLUSTER, SHAPES } shape;

/* What one task is. It hashes row `from` and its number into every cell of row `to`; with `together` each cell also takes
** its neighbour's, TURNS times. */
typedef struct task {
  shape shape;
  uint32_t blocks, from, to;
  int together, relays, sets_gate, predicated;
  uint32_t gate, slot;
  baton_compare op;
  int64_t value;
  int32_t priority;
} task;

typedef struct program {
  fixture_random random;
  uint32_t clusters, count;
  task tasks[MOST_TASKS];
} program;

static program current;
static int explicit_edges; /* its orchestration lists them */
static _Atomic uint32_t busy[CORES], clashes;

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

static uint64_t hash_row(uint64_t number, const int64_t *row) {
  uint64_t hash = number;
  for (uint32_t i = 0; i < WIDTH; i++) hash = mix(hash, (uint64_t)row[i]);
  return hash;
}

static int64_t changed(uint64_t hash, uint32_t cell, int64_t old, int64_t other) {
  return (int64_t)mix(mix(mix(hash, cell), (uint64_t)old), (uint64_t)other);
}

/* --- Kernels ---------------------------------------------------------------------------------------------------- */

static void enter(const baton_args *args) {
  if (atomic_exchange(&busy[baton_core_id(args)], 1)) atomic_fetch_add(&clashes, 1);
}

static void leave(const baton_args *args) { atomic_store(&busy[baton_core_id(args)], 0); }

/* The cells first, first + step … are this kernel's. */
static void change_cells(const baton_args *args, uint32_t first, uint32_t step) {
  int64_t *to = baton_io(args, 1, int64_t), next[WIDTH];
  uint64_t hash = hash_row(baton_scalar_u64(args, 2), baton_in(args, 0, int64_t));
  if (!baton_scalar_i64(args, 3)) {
    for (uint32_t i = first; i < WIDTH; i += step) to[i] = changed(hash, i, to[i], 0);
    return;
  }
  for (int turn = 0; turn < TURNS; turn++) {
    for (uint32_t i = first; i < WIDTH; i += step) next[i] = changed(hash, i, to[i], to[(i + 1) % WIDTH]);
    baton_block_barrier(args);
    for (uint32_t i = first; i < WIDTH; i += step) to[i] = next[i];
    baton_block_barrier(args);
  }
}

static void change(const baton_args *args) {
  enter(args);
  change_cells(args, baton_block_idx(args), baton_block_num(args));
  leave(args);
}

static void change_in_cluster(const baton_args *args, uint32_t place) {
  enter(args);
  change_cells(args, 3 * baton_block_idx(args) + place, 3 * baton_block_num(args));
  leave(args);
}

static void change_matrix(const baton_args *args) { change_in_cluster(args, 0); }
static void change_vector(const baton_args *args) { change_in_cluster(args, 1 + baton_sub_block(args)); }

/* One instance after the other, each behind the one before it. */
static void relay(const baton_args *args) {
  int32_t *turn = baton_io(args, 4, int32_t);
  uint32_t block = baton_block_idx(args);
  enter(args);
  baton_wait_ge(args, turn, (int32_t)block);
  change_cells(args, block, baton_block_num(args));
  baton_signal_add(args, turn, 1);
  leave(args);
}

static void set_gate(const baton_args *args) {
  baton_io(args, 0, int32_t)[0] = (int32_t)baton_scalar_i64(args, 1);
}

enum { CHANGE_MATRIX, CHANGE_VECTOR, PART_MATRIX, PART_VECTOR, RELAY_MATRIX, RELAY_VECTOR, SET_GATE };

static const baton_kernel_options kernels[] = {
    {.name = "matrix", .core = BATON_AIC, .function = change},
    {.name = "vector", .core = BATON_AIV, .function = change},
    {.name = "part_matrix", .core = BATON_AIC, .function = change_matrix},
    {.name = "part_vector", .core = BATON_AIV, .function = change_vector},
    {.name = "relay_matrix", .core = BATON_AIC, .function = relay, .waits = 1},
    {.name = "relay_vector", .core = BATON_AIV, .function = relay, .waits = 1},
    {.name = "set_gate", .core = BATON_AIV, .function = set_gate}};

/* --- Programs --------------------------------------------------------------------------------------------------- */

static uint32_t below(program *p, uint32_t limit) { return fixture_below(&p->random, limit); }

static void make_task(program *p, task *t) {
  *t = (task){.shape = (shape)below(p, SHAPES), .from = below(p, ROWS), .blocks = 1};
  t->to = (t->from + 1 + below(p, ROWS - 1)) % ROWS;
  uint32_t cores = t->shape == VECTOR ? 2 * p->clusters : p->clusters;
  t->priority = fixture_chance(&p->random, 20) ? (int32_t)below(p, 201) - 100 : 0;
  t->slot = fixture_chance(&p->random, 10) ? BATON_TIMING_SLOT(below(p, 16)) : 0;
  t->gate = below(p, GATES);
  t->value = below(p, 3);
  t->sets_gate = fixture_chance(&p->random, 10);
  if (t->sets_gate) return;
  t->predicated = fixture_chance(&p->random, 15);
  t->op = (baton_compare)below(p, BATON_GREATER_EQUAL + 1);
  t->together = fixture_chance(&p->random, 35);
  t->relays = !t->together && t->shape != CLUSTER && fixture_chance(&p->random, 15);
  if (fixture_chance(&p->random, 15)) return;
  uint32_t most = t->together ? cores : fixture_chance(&p->random, 20) ? 3 * cores : cores;
  t->blocks = fixture_chance(&p->random, 25) ? most : 1 + below(p, most);
}

static void make_program(program *p, uint64_t seed, uint32_t clusters) {
  *p = (program){.random = {seed}, .clusters = clusters};
  p->count = 1 + below(p, MOST_TASKS);
  for (uint32_t i = 0; i < p->count; i++) make_task(p, &p->tasks[i]);
}

static int holds(const task *t, const int32_t *gates) {
  int64_t gate = gates[t->gate];
  switch (t->op) {
  case BATON_EQUAL: return gate == t->value;
  case BATON_NOT_EQUAL: return gate != t->value;
  case BATON_LESS: return gate < t->value;
  case BATON_LESS_EQUAL: return gate <= t->value;
  case BATON_GREATER: return gate > t->value;
  default: return gate >= t->value;
  }
}

/* One task after the other, on the host. */
static void run_reference(const program *p, int64_t rows[ROWS][WIDTH], int32_t gates[GATES]) {
  int64_t next[WIDTH];
  for (uint32_t n = 0; n < p->count; n++) {
    const task *t = &p->tasks[n];
    int64_t *to = rows[t->to];
    if (t->sets_gate) gates[t->gate] = (int32_t)t->value;
    if (t->sets_gate || (t->predicated && !holds(t, gates))) continue;
    uint64_t hash = hash_row(n, rows[t->from]);
    for (int turn = 0; turn < (t->together ? TURNS : 1); turn++) {
      for (uint32_t i = 0; i < WIDTH; i++)
        next[i] = changed(hash, i, to[i], t->together ? to[(i + 1) % WIDTH] : 0);
      memcpy(to, next, sizeof next);
    }
  }
}

/* True if the later of two tasks must wait for the earlier one. */
static int depends(const task *later, const task *earlier) {
  if (earlier->sets_gate || later->sets_gate)
    return earlier->gate == later->gate && (earlier->sets_gate || earlier->predicated) &&
           (later->sets_gate || later->predicated);
  return earlier->to == later->to || earlier->to == later->from || earlier->from == later->to;
}

/* For programs with explicit edges: all that task `n` must wait for. */
static uint32_t list_deps(uint32_t n, const baton_task *tasks, baton_task *deps) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; i++)
    if (depends(&current.tasks[n], &current.tasks[i])) deps[count++] = tasks[i];
  return count;
}

static baton_task submit_task(baton_orch *o, const baton_args *args, uint32_t n, const baton_task *deps,
                              uint32_t ndeps) {
  const task *t = &current.tasks[n];
  baton_view rows = baton_param(o, args, 0), gates = baton_param(o, args, 1), turns = baton_param(o, args, 2);
  const int64_t gate = t->gate;
  const baton_predicate predicate = {.tensor = gates, .index = &gate, .op = t->op, .value = t->value};
  const baton_task_options order = {.deps = deps, .ndeps = ndeps};
  const baton_task_options options = {.deps = deps,
                                      .ndeps = ndeps,
                                      .blocks = t->blocks,
                                      .sync_start = t->together,
                                      .predicate = t->predicated ? &predicate : NULL,
                                      .timing_slot = t->slot,
                                      .priority = t->priority};
  const baton_arg list[] = {baton_input(baton_select(rows, 0, t->from)),
                            baton_inout(baton_select(rows, 0, t->to)), baton_u64(n), baton_i64(t->together),
                            baton_no_dep(baton_select(turns, 0, n))};
  if (t->sets_gate)
    return baton_aiv(o, SET_GATE, BATON_ARGS(baton_inout(baton_select(gates, 0, gate)), baton_i64(t->value)),
                     &order);
  if (t->shape == CLUSTER)
    return baton_mix(o, baton_lane_of(PART_MATRIX, list, 4), baton_lane_of(PART_VECTOR, list, 4),
                     baton_lane_of(PART_VECTOR, list, 4), &options);
  if (t->shape == MATRIX)
    return baton_aic(o, t->relays ? RELAY_MATRIX : CHANGE_MATRIX, list, t->relays ? 5 : 4, &options);
  return baton_aiv(o, t->relays ? RELAY_VECTOR : CHANGE_VECTOR, list, t->relays ? 5 : 4, &options);
}

static void orchestrate(baton_orch *o, const baton_args *args) {
  baton_task tasks[MOST_TASKS], deps[MOST_TASKS];
  for (uint32_t n = 0; n < current.count; n++)
    tasks[n] = submit_task(o, args, n, deps, explicit_edges ? list_deps(n, tasks, deps) : 0);
}

/* --- Runs ------------------------------------------------------------------------------------------------------- */

static void start_values(int64_t rows[ROWS][WIDTH], int32_t gates[GATES]) {
  for (uint32_t i = 0; i < ROWS * WIDTH; i++) rows[i / WIDTH][i % WIDTH] = i;
  for (int32_t i = 0; i < GATES; i++) gates[i] = i % 3;
}

static void run_once(baton_worker *chip, baton_program *built, const char *runtime, uint64_t seed) {
  static int64_t rows[ROWS][WIDTH], wanted[ROWS][WIDTH];
  int32_t gates[GATES], wanted_gates[GATES], turns[MOST_TASKS] = {0};
  baton_tensor *tensors[3];
  baton_timing timing;
  baton_error err = {0};
  start_values(rows, gates);
  start_values(wanted, wanted_gates);
  run_reference(&current, wanted, wanted_gates);
  assert_int_equal(BATON_OK,
                   baton_tensor_wrap(rows, BATON_I64, 2, (int64_t[]){ROWS, WIDTH}, &tensors[0], &err));
  assert_int_equal(BATON_OK, baton_tensor_wrap(gates, BATON_I32, 1, (int64_t[]){GATES}, &tensors[1], &err));
  assert_int_equal(BATON_OK,
                   baton_tensor_wrap(turns, BATON_I32, 1, (int64_t[]){MOST_TASKS}, &tensors[2], &err));
  const baton_value values[] = {{.tensor = tensors[0]}, {.tensor = tensors[1]}, {.tensor = tensors[2]}};
  if (baton_worker_run(chip, built, values, 3, &(baton_config){.runtime = runtime}, &timing, &err) !=
      BATON_OK)
    fail_msg("seed %llu: %s", (unsigned long long)seed, err.message);
  for (int i = 0; i < 3; i++) baton_tensor_close(tensors[i]);
  if (memcmp(rows, wanted, sizeof rows) != 0 || memcmp(gates, wanted_gates, sizeof gates) != 0)
    fail_msg("seed %llu: other values than one by one", (unsigned long long)seed);
  if (timing.tasks != current.count)
    fail_msg("seed %llu: %llu tasks instead of %u", (unsigned long long)seed,
             (unsigned long long)timing.tasks, current.count);
  if (atomic_load(&clashes)) fail_msg("seed %llu: a core ran two kernels at once", (unsigned long long)seed);
}

/* Built on the device once, on the host and replayed a few times; with edges that are inferred, or listed. */
static void run_program(baton_worker *chip, uint64_t seed, uint32_t clusters, int explicit) {
  static const baton_parameter params[] = {{.name = "rows", .direction = BATON_IN_OUT},
                                           {.name = "gates", .direction = BATON_IN_OUT},
                                           {.name = "turns", .direction = BATON_IN_OUT}};
  baton_program *built;
  baton_error err = {0};
  make_program(&current, seed, clusters);
  explicit_edges = explicit;
  assert_int_equal(BATON_OK,
                   baton_program_create(&(baton_program_options){.name = "blocks",
                                                                 .params = params,
                                                                 .nparams = 3,
                                                                 .kernels = kernels,
                                                                 .nkernels = sizeof kernels / sizeof *kernels,
                                                                 .explicit_edges = explicit,
                                                                 .orchestrate = orchestrate},
                                        &built, &err));
  run_once(chip, built, explicit ? "aicpu_build_graph" : "tensormap_and_ringbuffer", seed);
  for (int i = 0; i < REPLAYS; i++) run_once(chip, built, "host_build_graph", seed);
  baton_program_close(built);
}

static void random_programs_end_as_one_by_one(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint32_t clusters;
  } platforms[] = {{"a2a3sim", 24}, {"a5sim", 36}};
  static const uint32_t threads[] = {2, 2, 1, 3};
  const char *count = getenv("BATON_TEST_PROGRAMS"), *only = getenv("BATON_TEST_SEED");
  uint64_t programs = count ? strtoull(count, NULL, 10) : fixture_small() ? 50 : 1000;
  for (uint64_t i = 0; i < 8; i++) {
    baton_worker *chip;
    baton_error err = {0};
    assert_int_equal(BATON_OK, baton_worker_open(&(baton_worker_options){.platform = platforms[i % 2].name,
                                                                         .threads = threads[i / 2]},
                                                 &chip, &err));
    for (uint64_t seed = 1 + i; seed <= programs; seed += 8)
      if (!only || strtoull(only, NULL, 10) == seed)
        run_program(chip, seed, platforms[i % 2].clusters, (int)(seed / 8 % 2));
    baton_worker_close(chip);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_programs_end_as_one_by_one)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
