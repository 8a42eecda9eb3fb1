/* The life of one worker of a node: its endpoint begins, dies, begins anew. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/node.h"
#include <stdio.h>

/* --- Opening -------------------------------------------------------------------------------------------- */

static void describe_chip(const baton_node *node, const node_worker *worker, baton_worker_options *options,
                          char number[16]) {
  *options = node->defaults;
  options->platform = worker->platform;
  snprintf(number, 16, "%u", worker->chip.device);
  options->devices = number;
}

static baton_status start(node_worker *worker, const baton_node_options *child, int64_t deadline,
                          baton_error *err) {
  baton_node *node = worker->node;
  baton_worker_options chip;
  char number[16];
  node_endpoint_options options = {.scripts = node_scripts(),
                                   .worker_program = node->worker_program,
                                   .node = child,
                                   .worker = worker->id,
                                   .bell = node->bell,
                                   .startup_deadline = deadline};
  if (worker->platform) {
    describe_chip(node, worker, &chip, number);
    options.chip = &chip;
  }
  return node->calls->start(&options, &worker->endpoint, err);
}

static baton_status note_node(node_worker *worker, const baton_node_options *child, baton_error *err) {
  worker->is_node = 1;
  worker->subs = child->subs;
  worker->chips = base_calloc(child->nchips + 1, sizeof *worker->chips);
  if (!worker->chips) return base_out_of_memory(err, "a worker");
  for (; worker->nchips < child->nchips; worker->nchips++)
    worker->chips[worker->nchips] = child->chips[worker->nchips];
  return BATON_OK;
}

baton_status node_worker_open(baton_node *node, node_kind kind, const baton_node_chip *chip,
                              const baton_node_options *child, int64_t deadline, node_worker **out,
                              baton_error *err) {
  node_worker *worker = base_calloc(1, sizeof *worker);
  *out = NULL;
  if (!worker) return base_out_of_memory(err, "a worker");
  worker->node = node;
  worker->kind = kind;
  worker->id = node->counts[kind];
  worker->state = BATON_WORKER_IS_LOST;
  worker->expires = INT64_MAX;
  if (chip) {
    worker->chip = *chip;
    worker->platform = node_platform_name(chip->platform);
  }
  baton_status status = child ? note_node(worker, child, err) : BATON_OK;
  if (status == BATON_OK) status = start(worker, child, deadline, err);
  if (status == BATON_OK)
    *out = worker;
  else
    node_worker_free(worker);
  return status;
}

void node_worker_free(node_worker *worker) {
  if (!worker) return;
  base_free(worker->chips);
  base_free(worker);
}

void node_worker_blame(const node_worker *worker, baton_error *err) {
  int known = err && err->known & BATON_KNOWN_WORKER;
  if (!err || worker->kind != NODE_CHIPS) return;
  if (!worker->is_node) {
    if (!known) err->worker = (int32_t)worker->id;
    err->known |= BATON_KNOWN_WORKER;
  } else if (!err->path && known) {
    baton_error_text(err, BATON_FIELD_PATH, "node %u / worker %d", worker->id, (int)err->worker);
  } else if (!err->path) {
    baton_error_text(err, BATON_FIELD_PATH, "node %u", worker->id);
  }
}

/* --- Dying ---------------------------------------------------------------------------------------------- */

/* What it was sent comes back unanswered. */
static void fail_sent(node_worker *worker, const baton_error *failure) {
  for (int lane = 0; lane < NODE_CONTROL; lane++) {
    node_member *member = worker->sent[lane].first;
    worker->sent[lane] = (node_sent){0};
    while (member) {
      node_member *next = member->next;
      node_member_end(member, failure);
      member = next;
    }
  }
  worker->freeing_sent = 0;
  worker->expires = INT64_MAX;
}

/* Thread: the worker is dead to the drivers until this ends. */
static baton_status begin_anew(node_worker *worker, baton_error *err) {
  baton_node *node = worker->node;
  BATON_TRY(worker->endpoint->calls->restart(worker->endpoint, err));
  BATON_TRY(worker->endpoint->calls->ready(worker->endpoint, base_deadline(node->startup_timeout), err));
  pthread_mutex_lock(&node->callables.lock);
  baton_status status = node_callables_tell(node, worker, err);
  pthread_mutex_unlock(&node->callables.lock);
  return status;
}

/* The endpoint itself is the restarting thread's until it is done. */
void node_worker_note(node_worker *worker) {
  worker->pid = worker->endpoint->pid;
  worker->started = worker->endpoint->started;
}

static void finish_restart(node_worker *worker, const baton_error *failure) {
  baton_node *node = worker->node;
  node_lock(node);
  worker->restarting = 0;
  node_worker_note(worker);
  worker->state = failure->code ? BATON_WORKER_IS_LOST : BATON_WORKER_READY;
  worker->cost = 0;
  node->dirty = 1;
  if (failure->code) node_schedule_lose(node, worker, failure);
  pthread_cond_broadcast(&node->left);
  node_unlock(node);
  node_wake(node);
  node_attend(node);
}

static void *restart_thread(void *context) {
  node_worker *worker = context;
  baton_error failure = {0};
  if (begin_anew(worker, &failure) != BATON_OK) base_log_error(&failure, "restarting a worker");
  finish_restart(worker, &failure);
  baton_error_clear(&failure);
  return NULL;
}

static void join_restarter(node_worker *worker) {
  if (!worker->has_restarter) return;
  worker->has_restarter = 0;
  pthread_join(worker->restarter, NULL);
}

static void start_restart(node_worker *worker) {
  join_restarter(worker); /* it has ended: the worker was in order since */
  worker->restarting = 1;
  worker->has_restarter = pthread_create(&worker->restarter, NULL, restart_thread, worker) == 0;
  if (!worker->has_restarter) worker->restarting = 0;
}

/* A child is replaced. The thread of a sub worker begins anew if what it ran ends after all; a chip there may be spoiled, which is for
** its user to decide. */
static int restarts_by_itself(const node_worker *worker) {
  return worker->node->isolation == BATON_PROCESS || worker->kind == NODE_SUBS;
}

static void lose(node_worker *worker, const baton_error *failure) {
  worker->state = BATON_WORKER_IS_LOST;
  fail_sent(worker, failure);
  if (restarts_by_itself(worker) && !worker->node->closed) start_restart(worker);
  if (!worker->restarting) node_schedule_lose(worker->node, worker, failure);
  worker->node->dirty = 1;
}

void node_worker_died(node_worker *worker) {
  baton_error failure = {0};
  worker->endpoint->calls->cause(worker->endpoint, &failure);
  node_worker_blame(worker, &failure);
  lose(worker, &failure);
  baton_error_clear(&failure);
}

void node_worker_lost(node_worker *worker, const baton_error *failure) {
  baton_error own = {0};
  if (!failure) {
    baton_error_set(&own, BATON_WORKER_LOST, "%s %u is lost: a kernel was left by force",
                    worker->is_node              ? "node"
                    : worker->kind == NODE_CHIPS ? "worker"
                                                 : "sub worker",
                    worker->id);
    baton_error_text(&own, BATON_FIELD_HINT, "call node:restart(%u)", worker->id);
  }
  lose(worker, failure ? failure : &own);
  baton_error_clear(&own);
}

void node_worker_settle(node_worker *worker) {
  baton_node *node = worker->node;
  pthread_mutex_lock(&node->lock);
  while (worker->restarting) pthread_cond_wait(&node->left, &node->lock);
  pthread_mutex_unlock(&node->lock);
  join_restarter(worker);
}

/* --- Restart at the user's wish --------------------------------------------------------------------------- */

baton_status baton_node_restart(baton_node *node, uint32_t id, baton_error *err) {
  node_worker *worker;
  baton_error failure = {0};
  BATON_TRY(node_enter(node, "restart", err));
  pthread_mutex_lock(&node->lock);
  baton_status status = node_find_worker(node, NODE_CHIPS, id, &worker, err);
  while (status == BATON_OK && worker->restarting) pthread_cond_wait(&node->left, &node->lock);
  int needed = status == BATON_OK && worker->state == BATON_WORKER_IS_LOST;
  if (needed) worker->restarting = 1;
  pthread_mutex_unlock(&node->lock);
  if (needed) {
    status = begin_anew(worker, &failure);
    finish_restart(worker, &failure);
    if (status != BATON_OK) baton_error_copy(err, &failure);
    baton_error_clear(&failure);
  }
  node_leave(node);
  return status;
}

/* --- Closing -------------------------------------------------------------------------------------------- */

baton_status node_worker_close(node_worker *worker, int64_t deadline, baton_error *err) {
  node_worker_settle(worker);
  node_endpoint *endpoint = worker->endpoint;
  pthread_mutex_lock(&worker->node->lock);
  /* what a child was left with by force does not end: nobody waits for it a second time */
  int abandoned = worker->state == BATON_WORKER_IS_LOST && worker->node->isolation == BATON_PROCESS;
  worker->endpoint = NULL;
  worker->state = BATON_WORKER_CLOSED;
  while (worker->freeing) { /* their memory goes with the worker */
    baton_node_buffer *buffer = worker->freeing;
    worker->freeing = buffer->next_freeing;
    node_buffer_release(buffer);
  }
  pthread_mutex_unlock(&worker->node->lock);
  if (!endpoint) return BATON_OK;
  return endpoint->calls->close(endpoint, abandoned ? base_now() : deadline, err);
}
