#include "chip/run.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "chip/worker.h"
#include <limits.h>

baton_status chip_run_create(baton_worker *worker, baton_program *program, baton_run **out,
                             baton_error *err) {
  *out = NULL;
  baton_run *run = base_calloc(1, sizeof *run);
  if (!run) return base_out_of_memory(err, "a run");
  atomic_init(&run->holders, 1);
  pthread_mutex_init(&run->lock, NULL);
  chip_worker_hold(worker);
  run->worker = worker;
  run->program = chip_program_hold(program);
  run->begun = base_now();
  *out = run;
  return BATON_OK;
}

void chip_run_hold(baton_run *run) { atomic_fetch_add_explicit(&run->holders, 1, memory_order_relaxed); }

void chip_run_release(baton_run *run) {
  /* release: what this holder did; acquire: what all did, for the one that frees */
  if (atomic_fetch_sub_explicit(&run->holders, 1, memory_order_acq_rel) != 1) return;
  chip_bindings_close(&run->bindings);
  baton_program_close(run->program);
  baton_error_clear(&run->failure);
  pthread_mutex_destroy(&run->lock);
  chip_worker_release(run->worker);
  base_free(run);
}

void chip_run_fail(baton_run *run, const baton_error *failure) {
  pthread_mutex_lock(&run->lock);
  if (!run->failure.code) baton_error_copy(&run->failure, failure);
  pthread_mutex_unlock(&run->lock);
}

void chip_run_failure(baton_run *run, baton_error *out) {
  pthread_mutex_lock(&run->lock);
  baton_error_copy(out, &run->failure);
  pthread_mutex_unlock(&run->lock);
}

void chip_run_told(baton_run *run) {
  if (!atomic_exchange_explicit(&run->told, 1, memory_order_relaxed)) chip_bindings_tell(&run->bindings);
}

void chip_run_cancel(baton_run *run) {
  atomic_store_explicit(&run->cancelled, 1, memory_order_relaxed);
  if (run->worker->elsewhere)
    run->worker->elsewhere->cancel(run->worker->place, run);
  else
    task_engine_cancel(run->engine->tasks);
}

/* Who else has a hold of the run waits for its last end, and looks at `over` only. */
void chip_run_renew(baton_run *run) {
  atomic_store_explicit(&run->told, 0, memory_order_relaxed);
  atomic_store_explicit(&run->cancelled, 0, memory_order_relaxed);
  atomic_store_explicit(&run->started, 0, memory_order_relaxed);
  atomic_store_explicit(&run->turn, 0, memory_order_relaxed);
  atomic_store_explicit(&run->built, 0, memory_order_relaxed);
  run->settled = run->replayed = 0;
  run->lanes = 0;
  run->timing = (baton_timing){0};
  baton_error_clear(&run->failure);
  run->begun = base_now();
  if (baton_run_done(run)) atomic_fetch_add_explicit(&run->over, 1, memory_order_relaxed);
}

/* True if both holds are this thread's: it submitted the run, and ran it as the device. relaxed: who else waits has found the run
** in a list, under a lock that this thread has taken since to remove it there. */
static int is_alone(const baton_run *run) {
  return run->launch.here && atomic_load_explicit(&run->holders, memory_order_relaxed) == 2;
}

void chip_run_end(baton_run *run) {
  int alone = is_alone(run); /* before others may begin it again */
  /* release: outputs, failure and timing, for who finds the run over */
  atomic_fetch_or_explicit(&run->over, 1, memory_order_release);
  if (!alone) base_futex_wake(&run->over, INT_MAX);
}

void chip_run_look(const baton_run *run, const _Atomic uint32_t *flag, uint32_t expected) {
  if (run->launch.lanes < run->worker->cpus) base_futex_look(flag, expected, BASE_LOOK);
}

/* An interrupt cancels the run; who may abandon it need not wait for its end then. */
static int await(baton_run *run, int64_t deadline, int may_abandon) {
  uint32_t begun = atomic_load_explicit(&run->over, memory_order_acquire), now = begun;
  while (!(begun & 1) && now == begun) {
    base_interrupt asked = base_interrupt_asked();
    if (asked != BASE_GO_ON) (void)chip_worker_cancel(run);
    if (asked == BASE_ABANDON && may_abandon) return baton_run_done(run);
    int64_t until = base_interrupt_slice(deadline);
    int in_time = base_futex_wait(&run->over, begun, until);
    now = atomic_load_explicit(&run->over, memory_order_acquire);
    if (!in_time && until == deadline) return now != begun;
  }
  return 1;
}

int chip_run_await(baton_run *run, int64_t deadline) { return await(run, deadline, 0); }
int chip_run_await_patience(baton_run *run, int64_t deadline) { return await(run, deadline, 1); }

int baton_run_done(const baton_run *run) {
  return atomic_load_explicit(&run->over, memory_order_acquire) & 1;
}

baton_status baton_run_wait(baton_run *run, double seconds, int *over, baton_error *err) {
  if (seconds != seconds)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "wait: a number of seconds expected, got NaN");
  if (!baton_run_done(run) && chip_inside_worker(run->worker)) {
    if (over) *over = 0;
    return chip_inside_error("wait", err);
  }
  int done = chip_run_await_patience(run, base_deadline(seconds));
  if (over) *over = done;
  if (!done && base_interrupt_asked() == BASE_ABANDON)
    return baton_error_set(err, BATON_CANCELLED,
                           "%s: the wait was abandoned, the cancelled run goes on until its "
                           "kernel ends",
                           baton_program_name(run->program));
  if (!done || !run->failure.code) return BATON_OK;
  chip_run_told(run);
  return baton_error_copy(err, &run->failure);
}

baton_timing baton_run_timing(const baton_run *run) {
  static const baton_timing unknown;
  return baton_run_done(run) ? run->timing : unknown;
}

int baton_run_cancel(baton_run *run) { return chip_worker_cancel(run); }

/* The last that can be done with a failure that nobody waited for. */
static void log_untold(const baton_run *run) {
  baton_status code = run->failure.code;
  if (code == BATON_OK || code == BATON_CANCELLED || atomic_load_explicit(&run->told, memory_order_relaxed))
    return;
  if (!chip_bindings_told(&run->bindings)) base_log_error(&run->failure, "a run that nobody waited for");
}

void baton_run_close(baton_run *run) {
  if (!run) return;
  if (!baton_run_cancel(run) && baton_run_done(run)) log_untold(run);
  chip_run_release(run);
}
