/* Waits of a thread whose user presses Ctrl-C. */
#include "base/interrupt.h"
#include <baton/baton.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum { TASKS = 100 };

static _Atomic int begun, may_end; /* of the kernel */
static base_interrupt wanted;      /* once it has begun */

static base_interrupt ask(void) { return atomic_load(&begun) ? wanted : BASE_GO_ON; }

/* Ends when the test says so. */
static void wait_for_test(const baton_args *args) {
  (void)args;
  atomic_fetch_add(&begun, 1);
  while (!atomic_load(&may_end)) sched_yield();
}

/* The kernel ends once the first answer has had its effect. */
static base_interrupt ask_and_release(void) {
  static int answered;
  base_interrupt answer = ask();
  if (answered && answer != BASE_GO_ON) atomic_store(&may_end, 1);
  answered = answer != BASE_GO_ON;
  return answer;
}

static void chain(baton_orch *o, const baton_args *args) {
  baton_view x = baton_param(o, args, 0);
  for (int i = 0; i < TASKS; i++) baton_aiv(o, baton_kernel(o, "wait"), BATON_ARGS(baton_inout(x)), NULL);
}

typedef struct fixture {
  baton_worker *chip;
  baton_program *program;
  baton_tensor *x;
  baton_value value;
} fixture;

static fixture fx;

static int set_up(void **state) {
  static const baton_kernel_options kernel = {.name = "wait", .core = BATON_AIV, .function = wait_for_test};
  static const baton_parameter param = {.name = "x", .direction = BATON_IN_OUT, .dtypes = 1u << BATON_F32};
  (void)state;
  atomic_store(&begun, 0);
  atomic_store(&may_end, 0);
  const baton_program_options options = {.name = "chain",
                                         .params = &param,
                                         .nparams = 1,
                                         .kernels = &kernel,
                                         .nkernels = 1,
                                         .orchestrate = chain};
  baton_error err = {0};
  assert_int_equal(BATON_OK, baton_worker_open(&(baton_worker_options){.level = 2}, &fx.chip, &err));
  assert_int_equal(BATON_OK, baton_program_create(&options, &fx.program, &err));
  assert_int_equal(BATON_OK, baton_tensor_zeros(BATON_F32, 1, (int64_t[]){1}, &fx.x, &err));
  fx.value = (baton_value){.tensor = fx.x};
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  base_interrupt_watch(NULL);
  atomic_store(&may_end, 1);
  baton_worker_close(fx.chip);
  baton_program_close(fx.program);
  baton_tensor_close(fx.x);
  return 0;
}

static void cancels_the_run_that_is_waited_for(void **state) {
  baton_error err = {0};
  (void)state;
  wanted = BASE_CANCEL;
  base_interrupt_watch(ask_and_release);
  assert_int_equal(BATON_CANCELLED, baton_worker_run(fx.chip, fx.program, &fx.value, 1, NULL, NULL, &err));
  assert_string_equal("chain: the run was cancelled", err.message);
  assert_int_equal(1, atomic_load(&begun));
  baton_error_clear(&err);
}

static void abandons_a_run_whose_kernel_goes_on(void **state) {
  baton_error err = {0};
  baton_run *run;
  int over = 1;
  (void)state;
  assert_int_equal(BATON_OK, baton_worker_submit(fx.chip, fx.program, &fx.value, 1, NULL, &run, &err));
  wanted = BASE_ABANDON;
  base_interrupt_watch(ask);
  assert_int_equal(BATON_CANCELLED, baton_run_wait(run, -1, &over, &err));
  assert_string_equal("chain: the wait was abandoned, the cancelled run goes on until its kernel ends",
                      err.message);
  assert_false(over);
  assert_false(baton_run_done(run));
  base_interrupt_watch(NULL);
  atomic_store(&may_end, 1);
  assert_int_equal(BATON_CANCELLED, baton_run_wait(run, -1, &over, &err));
  assert_true(over);
  assert_string_equal("chain: the run was cancelled", err.message);
  assert_int_equal(1, atomic_load(&begun));
  baton_error_clear(&err);
  baton_run_close(run);
}

static void leaves_the_waits_of_other_threads_alone(void **state) {
  baton_error err = {0};
  (void)state;
  wanted = BASE_CANCEL;
  atomic_store(&may_end, 1);
  assert_int_equal(BATON_OK, baton_worker_run(fx.chip, fx.program, &fx.value, 1, NULL, NULL, &err));
  assert_int_equal(TASKS, atomic_load(&begun));
}

static void sleeps_in_slices_only_where_it_is_asked_for(void **state) {
  (void)state;
  assert_int_equal(INT64_MAX, base_interrupt_slice(INT64_MAX));
  base_interrupt_watch(ask);
  assert_true(base_interrupt_slice(INT64_MAX) < INT64_MAX);
  assert_int_equal(1, base_interrupt_slice(1)); /* a deadline that is nearer */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(cancels_the_run_that_is_waited_for, set_up, tear_down),
      cmocka_unit_test_setup_teardown(abandons_a_run_whose_kernel_goes_on, set_up, tear_down),
      cmocka_unit_test_setup_teardown(leaves_the_waits_of_other_threads_alone, set_up, tear_down),
      cmocka_unit_test_setup_teardown(sleeps_in_slices_only_where_it_is_asked_for, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
