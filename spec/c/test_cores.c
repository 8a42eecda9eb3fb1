/* The assignment of cores to lanes, and programs of waiting kernels on any number of lanes. */
#include "chip/executor/cores.h"
#include <baton/baton.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <time.h>

enum { CORES = 3 * 36, MOST_TASKS = 1000 };

static const device_platform *platform(uint32_t index) {
  const device_platform *found = device_platforms(index);
  assert_non_null(found);
  return found;
}

/* --- The table by itself ----------------------------------------------------------------------------------------- */

static void a_cluster_has_one_matrix_core_and_two_vector_cores(void **state) {
  (void)state;
  chip_cores cores;
  chip_cores_open(&cores, platform(0), 2);
  assert_int_equal(cores.clusters, 24);
  assert_int_equal(chip_core_at(&cores, 5, 0), 5);
  assert_int_equal(chip_core_at(&cores, 5, 1), 24 + 10);
  assert_int_equal(chip_core_at(&cores, 5, 2), 24 + 11);
  chip_cores_close(&cores);
}

static void leases_do_not_overlap_and_come_back(void **state) {
  (void)state;
  for (uint32_t index = 0; index < 2; index++)
    for (uint32_t lanes = 1; lanes <= platform(index)->clusters; lanes++) {
      chip_cores cores;
      chip_lease leases[CHIP_CLUSTERS] = {0};
      chip_cores_open(&cores, platform(index), lanes);
      uint64_t all = cores.free[0];
      for (uint32_t i = 0; i < 3 * lanes; i++) {
        chip_lease *lease = &leases[i % lanes];
        chip_cores_trade(&cores, lease);
        assert_true(lease->count > 0);
        uint64_t held = 0;
        for (uint32_t lane = 0; lane < lanes; lane++) {
          assert_int_equal(held & leases[lane].set, 0);
          held |= leases[lane].set;
        }
        for (int place = 0; place < CHIP_PLACES; place++) assert_int_equal(cores.free[place], all & ~held);
      }
      for (uint32_t lane = 0; lane < lanes; lane++) chip_cores_give_lease(&cores, &leases[lane]);
      for (int place = 0; place < CHIP_PLACES; place++) assert_int_equal(cores.free[place], all);
      chip_cores_close(&cores);
    }
}

/* One lane at work for 1,000 tasks, whatever number of them there are. */
static void every_core_has_its_turn(void **state) {
  (void)state;
  for (uint32_t index = 0; index < 2; index++)
    for (uint32_t lanes = 1; lanes <= 8; lanes++)
      for (uint32_t every = 1; every <= 4; every++) { /* each how manieth task is for a matrix core */
        chip_cores cores;
        chip_lease lease = {0};
        uint32_t used[CORES] = {0}, distinct = 0;
        chip_cores_open(&cores, platform(index), lanes);
        for (uint32_t i = 0; i < MOST_TASKS; i++) {
          baton_core kind = every == 1 ? (i < MOST_TASKS / 2 ? BATON_AIC : BATON_AIV)
                                       : (i % every == 0 ? BATON_AIC : BATON_AIV);
          assert_true(chip_lease_ready(&cores, &lease));
          uint32_t core = chip_lease_core(&cores, &lease, kind);
          assert_true(kind == BATON_AIC ? core < cores.clusters
                                        : core >= cores.clusters && core < 3 * cores.clusters);
          distinct += used[core]++ == 0;
        }
        if (distinct != 3 * cores.clusters)
          fail_msg("%u of %u cores of platform %u used on lane 1 of %u, with %u", distinct,
                   3 * cores.clusters, index, lanes, every);
        chip_cores_give_lease(&cores, &lease);
        chip_cores_close(&cores);
      }
}

static void single_cores_leave_whole_clusters_to_others(void **state) {
  (void)state;
  chip_cores cores;
  uint32_t core, cluster;
  chip_cores_open(&cores, platform(0), 2);
  assert_true(chip_cores_take(&cores, BATON_AIV, &core));
  assert_int_equal(core, 24);
  assert_true(chip_cores_take(&cores, BATON_AIC, &core));
  assert_int_equal(core, 0);
  assert_true(chip_cores_take(&cores, BATON_AIV, &core));
  assert_int_equal(core, 25);
  for (int i = 0; i < 23; i++) assert_true(chip_cores_take_cluster(&cores, &cluster));
  assert_false(chip_cores_take_cluster(&cores, &cluster));
  assert_false(chip_cores_take(&cores, BATON_AIC, &core));
  chip_lease lease = {0};
  assert_false(chip_lease_ready(&cores, &lease));
  chip_cores_give_cluster(&cores, 7);
  assert_true(chip_lease_ready(&cores, &lease));
  assert_int_equal(chip_lease_cluster(&lease), 7);
  chip_cores_close(&cores);
}

/* --- Programs ---------------------------------------------------------------------------------------------------- */

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void log_core(const baton_args *args) {
  int64_t *row = baton_out(args, 0, int64_t);
  const struct timespec some_time = {0, 20000};
  row[0] = baton_core_id(args);
  row[1] = now();
  nanosleep(&some_time, NULL);
  row[2] = now();
}

/* The two of a pair begin in any order and end together. */
static void meet(const baton_args *args) {
  int32_t *counter = baton_io(args, 1, int32_t);
  int64_t *row = baton_out(args, 0, int64_t);
  row[0] = baton_core_id(args);
  row[1] = now();
  baton_signal_add(args, counter, 1);
  baton_wait_ge(args, counter, 2);
  row[2] = now();
}

static void log_graph(baton_orch *o, const baton_args *args) {
  baton_view log = baton_param(o, args, 0);
  int matrix = baton_kernel(o, "matrix"), vector = baton_kernel(o, "vector");
  for (int64_t i = 0; i < log.shape[0]; i++) {
    baton_view row = baton_select(log, 0, i);
    if (i % 2)
      baton_aic(o, matrix, BATON_ARGS(baton_output(row)), NULL);
    else
      baton_aiv(o, vector, BATON_ARGS(baton_output(row)), NULL);
  }
}

/* All the first ones of the pairs come before all the second ones. */
static void pair_graph(baton_orch *o, const baton_args *args) {
  baton_view log = baton_param(o, args, 0), counters = baton_param(o, args, 1);
  int meeting = baton_kernel(o, "meet");
  for (int64_t i = 0; i < log.shape[0]; i++) {
    baton_view counter = baton_select(counters, 0, i % (log.shape[0] / 2));
    baton_aiv(o, meeting, BATON_ARGS(baton_output(baton_select(log, 0, i)), baton_no_dep(counter)), NULL);
  }
}

static void run(const char *name, uint32_t threads, baton_orchestrate graph, int64_t tasks,
                const char *runtime, int64_t (*log)[3]) {
  static const baton_kernel_options kernels[] = {
      {.name = "matrix", .core = BATON_AIC, .function = log_core},
      {.name = "vector", .core = BATON_AIV, .function = log_core},
      {.name = "meet", .core = BATON_AIV, .function = meet, .waits = 1}};
  const baton_parameter params[] = {{.name = "log", .direction = BATON_OUT},
                                    {.name = "counters", .direction = BATON_IN_OUT}};
  int32_t counts[MOST_TASKS] = {0};
  baton_worker *chip;
  baton_program *program;
  baton_tensor *rows, *counters;
  baton_error err = {0};
  assert_int_equal(BATON_OK, baton_worker_open(&(baton_worker_options){.platform = name, .threads = threads},
                                               &chip, &err));
  assert_int_equal(BATON_OK, baton_program_create(&(baton_program_options){.name = "cores",
                                                                           .params = params,
                                                                           .nparams = 2,
                                                                           .kernels = kernels,
                                                                           .nkernels = 3,
                                                                           .orchestrate = graph},
                                                  &program, &err));
  assert_int_equal(BATON_OK, baton_tensor_wrap(log, BATON_I64, 2, (int64_t[]){tasks, 3}, &rows, &err));
  assert_int_equal(BATON_OK,
                   baton_tensor_wrap(counts, BATON_I32, 1, (int64_t[]){MOST_TASKS}, &counters, &err));
  const baton_value values[] = {{.tensor = rows}, {.tensor = counters}};
  if (baton_worker_run(chip, program, values, 2, &(baton_config){.runtime = runtime}, NULL, &err) != BATON_OK)
    fail_msg("%s", err.message);
  baton_program_close(program);
  baton_tensor_close(rows);
  baton_tensor_close(counters);
  baton_worker_close(chip);
}

/* No two tasks were on one core at the same time. Returns how many cores were used. */
static uint32_t check_log(int64_t (*log)[3], int64_t tasks) {
  uint32_t used[CORES] = {0}, cores = 0;
  for (int64_t i = 0; i < tasks; i++) {
    assert_in_range(log[i][0], 0, CORES - 1);
    cores += used[log[i][0]]++ == 0;
    for (int64_t j = 0; j < i; j++)
      if (log[i][0] == log[j][0] && log[i][1] < log[j][2] && log[j][1] < log[i][2])
        fail_msg("core %d runs two tasks at once", (int)log[i][0]);
  }
  return cores;
}

static void no_core_runs_two_tasks_on_any_number_of_lanes(void **state) {
  (void)state;
  static int64_t log[MOST_TASKS][3];
  static const uint32_t threads[] = {1, 2, 3, 8, 24};
  for (uint32_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    run("a2a3sim", threads[i], log_graph, MOST_TASKS, i % 2 ? "host_build_graph" : NULL, log);
    uint32_t cores = check_log(log, MOST_TASKS);
    if (threads[i] < 8) assert_int_equal(cores, 72);
  }
}

static void pairs_that_wait_for_each_other_end_on_any_number_of_lanes(void **state) {
  (void)state;
  static int64_t log[48][3];
  for (uint32_t threads = 1; threads <= 4; threads++) {
    run("a2a3sim", threads, pair_graph, 2, NULL, log);
    assert_int_equal(check_log(log, 2), 2);
    run("a2a3sim", threads, pair_graph, 48, threads % 2 ? "host_build_graph" : NULL, log);
    uint32_t cores = check_log(log, 48);
    if (threads == 1) assert_true(cores > 24); /* the first of each pair, and another one */
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_cluster_has_one_matrix_core_and_two_vector_cores),
      cmocka_unit_test(leases_do_not_overlap_and_come_back),
      cmocka_unit_test(every_core_has_its_turn),
      cmocka_unit_test(single_cores_leave_whole_clusters_to_others),
      cmocka_unit_test(no_core_runs_two_tasks_on_any_number_of_lanes),
      cmocka_unit_test(pairs_that_wait_for_each_other_end_on_any_number_of_lanes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
