#include "chip/rounds.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "chip/config.h"
#include "chip/launch.h"
#include "chip/worker.h"

/* --- Opening -------------------------------------------------------------------------------------------- */

static void enlist(baton_rounds *rounds) {
  baton_worker *worker = rounds->worker;
  pthread_mutex_lock(&worker->rounds_lock);
  pthread_mutex_lock(&worker->lock);
  rounds->older = worker->rounds;
  if (rounds->older) rounds->older->newer = rounds;
  worker->rounds = rounds;
  pthread_mutex_unlock(&worker->lock);
  pthread_mutex_unlock(&worker->rounds_lock);
}

/* worker->rounds_lock is held. */
static void unlist(baton_rounds *rounds) {
  baton_worker *worker = rounds->worker;
  pthread_mutex_lock(&worker->lock);
  if (rounds->newer)
    rounds->newer->older = rounds->older;
  else
    worker->rounds = rounds->older;
  if (rounds->older) rounds->older->newer = rounds->newer;
  rounds->older = rounds->newer = NULL;
  pthread_mutex_unlock(&worker->lock);
}

/* What the rounds need until their end. The caller is inside the worker. */
static baton_status prepare(baton_rounds *rounds, baton_program *program, const baton_value *values,
                            uint32_t nvalues, const baton_config *config, baton_error *err) {
  baton_run *run;
  BATON_TRY(chip_launch_open(rounds->worker, program, values, nvalues, config, &run, err));
  run->stays = 1;
  baton_status status = BATON_OK;
  for (uint32_t i = 0; i < config->nresident && status == BATON_OK; i++)
    status = chip_bindings_reside(&run->bindings, config->resident[i], err);
  if (status == BATON_OK) status = chip_launch_place(run, err);
  if (status == BATON_OK) {
    chip_run_end(run); /* no round is in flight */
    rounds->run = run;
    enlist(rounds);
    return BATON_OK;
  }
  chip_launch_release(run);
  chip_run_release(run);
  return status;
}

static baton_status enter(const baton_rounds *rounds, const char *what, baton_error *err) {
  BATON_TRY(chip_worker_enter(rounds->worker, what, err));
  if (rounds->run) return BATON_OK;
  chip_worker_leave(rounds->worker);
  return baton_error_set(err, BATON_CLOSED, "the rounds are closed");
}

baton_status baton_rounds_open(baton_worker *worker, baton_program *program, const baton_value *values,
                               uint32_t nvalues, const baton_config *config, baton_rounds **out,
                               baton_error *err) {
  *out = NULL;
  baton_config merged = chip_config_merge(&worker->config, config);
  BATON_TRY(chip_worker_enter(worker, "rounds", err));
  baton_rounds *rounds = base_calloc(1, sizeof *rounds);
  baton_status status = rounds ? BATON_OK : base_out_of_memory(err, "rounds");
  if (rounds) {
    rounds->worker = worker;
    rounds->deadline = merged.deadline;
    status = prepare(rounds, program, values, nvalues, &merged, err);
  }
  if (status == BATON_OK) {
    chip_worker_hold(worker);
    *out = rounds;
  } else {
    base_free(rounds);
  }
  chip_worker_leave(worker);
  return status;
}

/* --- Steps ---------------------------------------------------------------------------------------------- */

baton_status chip_round_check(chip_step step, int64_t number, const char *what, chip_step expected,
                              baton_error *err) {
  static const char *const next[] = {"init_round", "launch", "finalize_round"};
  static const char *const state[] = {"", "not launched", "launched"};
  if (step == expected) return BATON_OK;
  if (step == CHIP_ROUND_CLOSED)
    return baton_error_set(err, BATON_STATE, "%s: no round is open, call init_round first", what);
  return baton_error_set(err, BATON_STATE, "%s: round %lld is open and %s, call %s first", what,
                         (long long)number, state[step], next[step]);
}

static baton_status check_step(const baton_rounds *rounds, const char *what, chip_step expected,
                               baton_error *err) {
  return chip_round_check(rounds->step, rounds->number, what, expected, err);
}

/* What follows a step: the round is closed if it failed. */
static baton_status conclude(baton_rounds *rounds, baton_status status, chip_step reached, baton_error *err) {
  rounds->step = status == BATON_OK ? reached : CHIP_ROUND_CLOSED;
  if (status == BATON_OK || !err) return status;
  err->round = rounds->number;
  err->known |= BATON_KNOWN_ROUND;
  return status;
}

/* An abandoned wait has left the round before in flight. */
static baton_status await_last(const baton_rounds *rounds, baton_error *err) {
  if (chip_run_await_patience(rounds->run, INT64_MAX)) return BATON_OK;
  return baton_error_set(err, BATON_CANCELLED, "init_round: round %lld is still in flight",
                         (long long)rounds->number - 1);
}

static baton_status init_round(baton_rounds *rounds, const baton_rebind *rebinds, uint32_t count,
                               baton_error *err) {
  chip_bindings *bindings = &rounds->run->bindings;
  int64_t begin = base_now();
  rounds->number++;
  BATON_TRY(await_last(rounds, err));
  BATON_TRY(chip_bindings_rebind(bindings, rounds->worker, rebinds, count, err));
  BATON_TRY(chip_bindings_await_inputs(bindings, err));
  BATON_TRY(chip_bindings_upload(bindings, err));
  rounds->copied = (double)(base_now() - begin) / 1e3;
  return BATON_OK;
}

baton_status baton_rounds_init_round(baton_rounds *rounds, const baton_rebind *rebinds, uint32_t nrebinds,
                                     baton_error *err) {
  BATON_TRY(enter(rounds, "init_round", err));
  baton_status status = check_step(rounds, "init_round", CHIP_ROUND_CLOSED, err);
  if (status == BATON_OK)
    status = conclude(rounds, init_round(rounds, rebinds, nrebinds, err), CHIP_ROUND_READY, err);
  chip_worker_leave(rounds->worker);
  return status;
}

static baton_status launch(baton_rounds *rounds, baton_error *err) {
  baton_run *run = rounds->run;
  chip_run_renew(run);
  run->begun -= (int64_t)(rounds->copied * 1e3);
  run->timing.orchestration = rounds->copied;
  baton_status status = chip_launch_claim(run, err);
  if (status == BATON_OK) status = chip_launch_start(run, err);
  if (status != BATON_OK) chip_launch_drop(run);
  return status;
}

baton_status baton_rounds_launch(baton_rounds *rounds, baton_error *err) {
  BATON_TRY(enter(rounds, "launch", err));
  baton_status status = check_step(rounds, "launch", CHIP_ROUND_READY, err);
  if (status == BATON_OK) status = conclude(rounds, launch(rounds, err), CHIP_ROUND_LAUNCHED, err);
  chip_worker_leave(rounds->worker);
  return status;
}

static baton_status finalize_round(baton_rounds *rounds, double seconds, int *over, baton_error *err) {
  baton_status status = chip_launch_await(rounds->run, seconds, rounds->deadline, over, err);
  if (*over) rounds->timing = baton_run_timing(rounds->run);
  return conclude(rounds, status, *over ? CHIP_ROUND_CLOSED : CHIP_ROUND_LAUNCHED, err);
}

baton_status baton_rounds_finalize_round(baton_rounds *rounds, double seconds, int *over, baton_error *err) {
  int ended = 0;
  BATON_TRY(enter(rounds, "finalize_round", err));
  baton_status status = check_step(rounds, "finalize_round", CHIP_ROUND_LAUNCHED, err);
  if (status == BATON_OK) status = finalize_round(rounds, seconds, &ended, err);
  chip_worker_leave(rounds->worker);
  if (over) *over = ended;
  return status;
}

baton_timing baton_rounds_timing(const baton_rounds *rounds) { return rounds->timing; }

/* --- The end -------------------------------------------------------------------------------------------- */

/* Cancels a round in flight and waits for its end. False: nobody can wait, or not longer; then the device gives everything
** back itself. */
static int settle(baton_rounds *rounds, int64_t deadline) {
  baton_run *run = rounds->run;
  if (baton_run_done(run)) return 1;
  baton_worker *worker = rounds->worker;
  (void)baton_run_cancel(run);
  if (!chip_inside_worker(worker) && chip_run_await_patience(run, deadline)) return 1;
  pthread_mutex_lock(&worker->lock);
  int ending = run->settled;
  if (!ending) run->stays = 0;
  pthread_mutex_unlock(&worker->lock);
  return ending && chip_run_await(run, INT64_MAX);
}

static baton_status collect(baton_rounds *rounds, baton_error *err) {
  chip_bindings *bindings = &rounds->run->bindings;
  baton_status first = BATON_OK;
  for (uint32_t i = 0; i < bindings->count; i++) {
    baton_status status = chip_bindings_collect(bindings, i, first == BATON_OK ? err : NULL);
    if (first == BATON_OK) first = status;
  }
  return first;
}

/* worker->rounds_lock is held. With `force` everything is given back whatever fails. */
static baton_status finalize(baton_rounds *rounds, int64_t deadline, int force, baton_error *err) {
  if (!rounds->run) return BATON_OK;
  int over = settle(rounds, deadline);
  baton_status status = over ? collect(rounds, err) : BATON_OK;
  if (status != BATON_OK && !force) return status;
  if (over) chip_launch_release(rounds->run);
  baton_run_close(rounds->run);
  rounds->run = NULL;
  unlist(rounds);
  return status;
}

static baton_status end(baton_rounds *rounds, int force, baton_error *err) {
  pthread_mutex_lock(&rounds->worker->rounds_lock);
  rounds->step = CHIP_ROUND_CLOSED;
  baton_status status = finalize(rounds, INT64_MAX, force, err);
  pthread_mutex_unlock(&rounds->worker->rounds_lock);
  return status;
}

baton_status baton_rounds_finalize(baton_rounds *rounds, baton_error *err) { return end(rounds, 0, err); }

void baton_rounds_close(baton_rounds *rounds) {
  baton_error err = {0};
  if (!rounds) return;
  if (end(rounds, 1, &err) != BATON_OK) base_log_error(&err, "closing rounds");
  baton_error_clear(&err);
  chip_worker_release(rounds->worker);
  base_free(rounds);
}

baton_status chip_rounds_close(baton_worker *worker, baton_error *err) {
  baton_status first = BATON_OK;
  pthread_mutex_lock(&worker->rounds_lock);
  while (worker->rounds) {
    baton_status status = finalize(worker->rounds, base_now(), 1, first == BATON_OK ? err : NULL);
    if (first == BATON_OK) first = status;
  }
  pthread_mutex_unlock(&worker->rounds_lock);
  return first;
}
