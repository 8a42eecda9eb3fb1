/* A worker is lost when a kernel or an orchestration was left by force, and ready again after a restart. */
#include "base/memory.h"
#include "chip/worker.h"
#include <stdio.h>

static void say_cause(baton_worker *worker, const baton_error *failure) {
  if (failure->code == BATON_STREAM_TIMEOUT) {
    snprintf(worker->lost_by, sizeof worker->lost_by, "its stream stood still (%s)",
             baton_status_word(failure->code));
    return;
  }
  if (!failure->kernel) {
    snprintf(worker->lost_by, sizeof worker->lost_by, "an orchestration was left by force (%s)",
             baton_status_word(failure->code));
    return;
  }
  snprintf(worker->lost_by, sizeof worker->lost_by, "a kernel was left by force (kernel %s of task %s, %s)",
           failure->kernel, failure->task ? failure->task : "?", baton_status_word(failure->code));
}

baton_status chip_worker_lost_error(const baton_worker *worker, baton_error *err) {
  baton_error_set(err, BATON_WORKER_LOST, "the worker is lost since %s", worker->lost_by);
  baton_error_text(err, BATON_FIELD_HINT, "call restart; what was being written may be incomplete");
  return BATON_WORKER_LOST;
}

/* worker->lock is held, and lost_by says why. */
static void lose(baton_worker *worker) {
  baton_error failure = {0};
  worker->lost = 1;
  (void)chip_worker_lost_error(worker, &failure);
  for (baton_run *other = worker->unfinished; other; other = other->next) {
    chip_run_fail(other, &failure); /* its own is the first */
    chip_run_cancel(other);
  }
  baton_error_clear(&failure);
}

void chip_worker_lose(baton_run *run, const baton_error *cause) {
  baton_worker *worker = run->worker;
  pthread_mutex_lock(&worker->lock);
  if (!worker->lost) say_cause(worker, cause);
  lose(worker);
  pthread_mutex_unlock(&worker->lock);
}

void chip_worker_lose_place(baton_worker *worker, const baton_error *why) {
  pthread_mutex_lock(&worker->lock);
  snprintf(worker->lost_by, sizeof worker->lost_by, "its child could not be started again (%s)",
           why->message ? why->message : baton_status_word(why->code));
  lose(worker);
  pthread_mutex_unlock(&worker->lock);
}

baton_status baton_worker_restart(baton_worker *worker, baton_error *err) {
  BATON_TRY(chip_worker_enter(worker, "restart", err));
  chip_worker_await_submitted(worker);
  baton_status status = worker->elsewhere ? worker->elsewhere->restart(worker->place, err) : BATON_OK;
  pthread_mutex_lock(&worker->lock);
  if (status == BATON_OK) worker->lost = 0;
  pthread_mutex_unlock(&worker->lock);
  chip_worker_leave(worker);
  return status;
}
