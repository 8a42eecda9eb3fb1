/* A node as an object: opening, closing, who is inside, its workers from outside. */
#include "node/node.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/pool.h"
#include "chip/config.h"
#include "device/device.h"
#include <stdio.h>
#include <string.h>

enum {
  CLOSE_SECONDS = 15, /* for what still runs when the node is closed */
  LAST_SECONDS = 2,   /* for what a worker has counted */
  STARTUP_SECONDS = 60,
  GIVE_WAY = 1000, /* looks */
  DEVICES_MOST = 1024
};
static const uint64_t default_heap = UINT64_C(1) << 30;

static _Atomic(const node_script_calls *) scripts;
void node_set_scripts(const node_script_calls *calls) {
  atomic_store_explicit(&scripts, calls, memory_order_release);
}
const node_script_calls *node_scripts(void) { return atomic_load_explicit(&scripts, memory_order_acquire); }

const char *node_platform_name(const char *name) {
  for (uint32_t i = 0; device_platforms(i); i++)
    if (!name || strcmp(device_platforms(i)->name, name) == 0) return device_platforms(i)->name;
  return NULL;
}

/* --- The lock ------------------------------------------------------------------------------------------- */

void node_lock(baton_node *node) {
  if (pthread_mutex_trylock(&node->lock) == 0) return;
  atomic_fetch_add_explicit(&node->wanted, 1, memory_order_relaxed);
  pthread_mutex_lock(&node->lock);
  atomic_fetch_sub_explicit(&node->wanted, 1, memory_order_relaxed);
}

void node_unlock(baton_node *node) { pthread_mutex_unlock(&node->lock); }

void node_give_way(baton_node *node) {
  node_unlock(node);
  for (int i = 0; i < GIVE_WAY && atomic_load_explicit(&node->wanted, memory_order_relaxed); i++)
    base_relax();
  node_lock(node);
}

/* --- Holders, and who is inside ------------------------------------------------------------------------- */

void node_hold(baton_node *node) { atomic_fetch_add_explicit(&node->holders, 1, memory_order_relaxed); }

static void free_workers(const baton_node *node) {
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++) node_worker_free(node->workers[kind][i]);
}

void node_release(baton_node *node) {
  /* release: what this holder did; acquire: what all did, for the one that frees */
  if (atomic_fetch_sub_explicit(&node->holders, 1, memory_order_acq_rel) != 1) return;
  free_workers(node);
  base_extent_free(&node->bell_memory);
  pthread_cond_destroy(&node->left);
  pthread_mutex_destroy(&node->lock);
  pthread_mutex_destroy(&node->closing_lock);
  pthread_mutex_destroy(&node->rounds_lock);
  base_free(node->worker_program);
  base_free(node->runtime);
  base_free(node);
}

static _Thread_local node_inside *innermost;

void node_inside_begin(node_inside *frame, baton_node_orch *orch) {
  *frame = (node_inside){orch, innermost};
  innermost = frame;
}

void node_inside_end(const node_inside *frame) { innermost = frame->outer; }
const node_inside *node_inside_innermost(void) { return innermost; }

int node_is_inside(const baton_node *node) {
  const node_inside *frame = innermost;
  while (frame && frame->orch->node != node) frame = frame->outer;
  return frame != NULL;
}

baton_status node_enter(baton_node *node, const char *what, baton_error *err) {
  if (node_is_inside(node))
    return baton_error_set(
        err, BATON_STATE,
        "%s: called inside an orchestrating function of the same node, it would wait for itself", what);
  node_lock(node);
  int closed = node->closed;
  if (!closed) node->inside++;
  node_unlock(node);
  return closed ? baton_error_set(err, BATON_CLOSED, "the node is closed") : BATON_OK;
}

void node_leave(baton_node *node) {
  node_lock(node);
  if (--node->inside == 0) pthread_cond_broadcast(&node->left);
  node_unlock(node);
}

/* --- Opening -------------------------------------------------------------------------------------------- */

static baton_status check_options(const baton_node_options *options, baton_error *err) {
  if (options->nchips > BATON_NODE_WORKERS || options->subs > BATON_NODE_SUBS)
    return baton_error_set(err, BATON_OUT_OF_RANGE,
                           "%u chips and %u sub workers asked for, at most %d and %d are possible",
                           options->nchips, options->subs, BATON_NODE_WORKERS, BATON_NODE_SUBS);
  if (!options->nchips && !options->subs && !options->nchildren)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "a node needs a chip or a sub worker");
  const device_platform *platform;
  for (uint32_t i = 0; i < options->nchips; i++)
    if (device_platform_find(options->chips[i].platform, &platform, err) != BATON_OK)
      return baton_error_context(err, "worker %u", i);
  if (options->config.resident)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "resident: names arguments of one program, it is no default of a node");
  BATON_TRY(node_children_check(options, check_options, err));
  return chip_config_check_times(&options->config, err);
}

static baton_status fill(baton_node *node, const baton_node_options *options, baton_error *err) {
  node->has_nodes = options->nchildren > 0;
  node->isolation = node->has_nodes ? BATON_PROCESS : options->isolation;
  node->calls = node->isolation == BATON_PROCESS ? &node_endpoint_process : &node_endpoint_thread;
  node->heap = options->heap ? options->heap : default_heap;
  node->startup_timeout = options->startup_timeout > 0 ? options->startup_timeout : STARTUP_SECONDS;
  node->cpus = base_cpu_count();
  node->defaults = (baton_worker_options){.threads = options->threads,
                                          .config = options->config,
                                          .arena = options->arena,
                                          .wait_device = options->wait_device};
  node->defaults.config.runtime = node->runtime = base_strdup(options->config.runtime);
  node->worker_program = base_strdup(options->worker_program);
  if ((options->config.runtime && !node->runtime) || (options->worker_program && !node->worker_program))
    return base_out_of_memory(err, "a node");
  BATON_TRY(base_extent_alloc(sizeof *node->bell, 4096, &node->bell_memory, err));
  node->bell = node->bell_memory.address;
  memset(node->bell, 0, sizeof *node->bell);
  return BATON_OK;
}

static baton_status create(const baton_node_options *options, baton_node **out, baton_error *err) {
  baton_node *node = base_calloc(1, sizeof *node);
  if (!node) return base_out_of_memory(err, "a node");
  atomic_init(&node->holders, 1);
  pthread_mutex_init(&node->lock, NULL);
  pthread_mutex_init(&node->closing_lock, NULL);
  pthread_mutex_init(&node->rounds_lock, NULL);
  pthread_mutex_init(&node->callables.lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&node->left, &monotonic);
  pthread_condattr_destroy(&monotonic);
  baton_status status = fill(node, options, err);
  if (status == BATON_OK)
    *out = node;
  else
    node_release(node);
  return status;
}

/* True if a worker of the node has the device, or is to. */
static int is_taken(const baton_node *node, const char *platform, uint32_t number) {
  for (uint32_t i = 0; i < node->counts[NODE_CHIPS]; i++) {
    const node_worker *worker = node->workers[NODE_CHIPS][i];
    if (worker->endpoint && worker->platform == platform && worker->chip.device == number) return 1;
  }
  return 0;
}

static baton_status pick_device(const baton_node *node, baton_node_chip *chip, baton_error *err) {
  const device_platform *platform = NULL;
  for (uint32_t i = 0; !platform; i++)
    if (device_platforms(i)->name == node_platform_name(chip->platform)) platform = device_platforms(i);
  if (!chip->any_device && is_taken(node, platform->name, chip->device))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "device %u of %s is asked for twice", chip->device,
                           platform->name);
  if (!chip->any_device) return BATON_OK;
  for (chip->device = 0; chip->device < DEVICES_MOST; chip->device++)
    if (!is_taken(node, platform->name, chip->device) && !device_owner(platform, chip->device))
      return BATON_OK;
  return baton_error_set(err, BATON_DEVICE_BUSY, "no device of %s is free", platform->name);
}

static baton_status add_worker(baton_node *node, node_kind kind, const baton_node_chip *asked,
                               int64_t deadline, baton_error *err) {
  baton_node_chip chip;
  node_worker *worker;
  if (asked) {
    chip = *asked;
    BATON_TRY(pick_device(node, &chip, err));
  }
  BATON_TRY(node_worker_open(node, kind, asked ? &chip : NULL, NULL, deadline, &worker, err));
  node_lock(node);
  node->workers[kind][node->counts[kind]++] = worker;
  node_unlock(node);
  return BATON_OK;
}

static baton_status blame(const node_worker *worker, baton_status status, baton_error *err) {
  char name[32];
  if (status == BATON_OK || !err) return status;
  const char *kind = worker->is_node ? "node" : worker->kind == NODE_CHIPS ? "worker" : "sub worker";
  int length = snprintf(name, sizeof name, "%s %u", kind, worker->id);
  if (strncmp(err->message, name, (size_t)length) != 0)
    baton_error_context(err, "%s", name); /* a child names itself */
  if (!worker->is_node) err->known &= ~(uint32_t)BATON_KNOWN_WORKER;
  node_worker_blame(worker, err);
  return status;
}

/* From now on tasks may be sent to it. */
static void admit(node_worker *worker) {
  node_lock(worker->node);
  worker->state = BATON_WORKER_READY;
  node_worker_note(worker);
  worker->node->dirty = 1;
  node_unlock(worker->node);
}

static baton_status await_ready(node_worker *worker, int64_t deadline, baton_error *err) {
  BATON_TRY(worker->endpoint->calls->ready(worker->endpoint, deadline, err));
  admit(worker);
  return BATON_OK;
}

/* All begin before the first is waited for. */
static baton_status open_workers(baton_node *node, const baton_node_options *options, baton_error *err) {
  int64_t deadline = base_deadline(node->startup_timeout);
  for (uint32_t i = 0; i < options->nchips; i++)
    BATON_TRY(add_worker(node, NODE_CHIPS, &options->chips[i], deadline, err));
  BATON_TRY(node_children_open(node, options, deadline, err));
  for (uint32_t i = 0; i < options->subs; i++) BATON_TRY(add_worker(node, NODE_SUBS, NULL, deadline, err));
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      BATON_TRY(blame(node->workers[kind][i], await_ready(node->workers[kind][i], deadline, err), err));
  return BATON_OK;
}

static baton_status open_attendant(baton_node *node, baton_error *err) {
  int failure = pthread_create(&node->attendant, NULL, node_attendant, node);
  if (failure)
    return baton_error_set(err, BATON_RESOURCE_LIMIT, "no thread for a node: %s", strerror(failure));
  node->has_attendant = 1;
  return BATON_OK;
}

static baton_status warm_up(baton_node *node, const baton_node_options *options, baton_error *err) {
  node_callable *ignored;
  for (uint32_t i = 0; i < options->nprewarm; i++)
    BATON_TRY(node_callable_find(node, options->prewarm[i], &ignored, err));
  for (uint32_t i = 0; i < options->nchildren; i++) BATON_TRY(warm_up(node, &options->children[i], err));
  return BATON_OK;
}

baton_status baton_node_open(const baton_node_options *options, baton_node **out, baton_error *err) {
  baton_node *node = NULL;
  *out = NULL;
  BATON_TRY(check_options(options, err));
  BATON_TRY(create(options, &node, err));
  baton_status status = open_workers(node, options, err);
  if (status == BATON_OK) status = open_attendant(node, err);
  if (status == BATON_OK) status = warm_up(node, options, err);
  if (status == BATON_OK) {
    node_guard_tensors();
    *out = node;
    return BATON_OK;
  }
  baton_node_close(node);
  return status;
}

/* --- Closing -------------------------------------------------------------------------------------------- */

static void refuse_calls(baton_node *node) {
  node_lock(node);
  node->closed = 1;
  for (baton_node_run *run = node->runs; run; run = run->next) (void)node_run_cancel(run);
  while (node->buffers) node_buffer_die(node->buffers, BATON_CLOSED, NULL);
  node_unlock(node);
  node_wake(node);
}

static int is_quiet(const void *context) {
  const baton_node *node = context;
  return !node->runs;
}

static int await_quiet(baton_node *node, int64_t deadline) {
  struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
  int failure = 0;
  node_lock(node);
  int quiet = node_drive(node, NULL, is_quiet, node, deadline);
  while (quiet && node->inside && !failure)
    failure = pthread_cond_timedwait(&node->left, &node->lock, &until);
  quiet = quiet && !node->inside;
  node_unlock(node);
  return quiet;
}

static void end_attendant(baton_node *node) {
  if (!node->has_attendant) return;
  atomic_store_explicit(&node->attention, NODE_GO_HOME, memory_order_seq_cst);
  base_futex_wake(&node->attention, 1);
  node_wake(node);
  pthread_join(node->attendant, NULL);
  node->has_attendant = 0;
}

/* The first failure is the status. */
static baton_status close_workers(baton_node *node, baton_error *err) {
  baton_status status = BATON_OK;
  int64_t deadline = base_deadline(CLOSE_SECONDS);
  for (int kind = NODE_KINDS - 1; kind >= 0; kind--)
    for (uint32_t i = node->counts[kind]; i-- > 0;) {
      node_worker *worker = node->workers[kind][i];
      baton_status closing = node_worker_close(worker, deadline, status == BATON_OK ? err : NULL);
      if (status == BATON_OK) status = blame(worker, closing, err);
    }
  return status;
}

/* What workers have counted goes with them. */
static void keep_stats(baton_node *node) {
  baton_stats last;
  if (node->counted || node_sum_stats(node, LAST_SECONDS, &last, NULL) != BATON_OK) return;
  node_lock(node);
  node->totals = last;
  node->counted = 1;
  node_unlock(node);
}

static int has_workers(const baton_node *node) {
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      if (node->workers[kind][i]->endpoint) return 1;
  return 0;
}

static baton_status shut_down(baton_node *node, baton_error *err) {
  if (node->closed && !has_workers(node)) return BATON_OK;
  refuse_calls(node);
  if (!await_quiet(node, base_deadline(CLOSE_SECONDS)))
    return baton_error_set(err, BATON_BUSY, "close: a run or a call of the node has not ended for %d s",
                           CLOSE_SECONDS);
  node_rounds_end(node);
  end_attendant(node);
  keep_stats(node);
  baton_status status = close_workers(node, err);
  chip_registry_close(&node->registry);
  node_callables_close(&node->callables);
  node_engines_close(node);
  return status;
}

baton_status baton_node_shutdown(baton_node *node, baton_error *err) {
  if (node_is_inside(node))
    return baton_error_set(
        err, BATON_STATE,
        "close: called inside an orchestrating function of the same node, it would wait for itself");
  pthread_mutex_lock(&node->closing_lock);
  baton_status status = shut_down(node, err);
  pthread_mutex_unlock(&node->closing_lock);
  return status;
}

void baton_node_close(baton_node *node) {
  baton_error err = {0};
  if (!node) return;
  if (baton_node_shutdown(node, &err) != BATON_OK) base_log_error(&err, "closing a node");
  baton_error_clear(&err);
  if (!has_workers(node))
    node_release(node); /* otherwise a call is still inside: the object stays in place */
}

/* --- Workers from outside ------------------------------------------------------------------------------- */

uint32_t baton_node_workers(baton_node *node) {
  node_lock(node);
  uint32_t count = node->counts[NODE_CHIPS];
  node_unlock(node);
  return count;
}

uint32_t baton_node_subs(baton_node *node) {
  node_lock(node);
  uint32_t count = node->counts[NODE_SUBS];
  node_unlock(node);
  return count;
}

baton_status node_find_worker(baton_node *node, node_kind kind, uint32_t id, node_worker **out,
                              baton_error *err) {
  *out = NULL;
  if (id >= node->counts[kind] && !node->counts[kind])
    return baton_error_set(err, BATON_OUT_OF_RANGE, "worker %d: this node has no chips", (int)id);
  if (id >= node->counts[kind])
    return baton_error_set(err, BATON_OUT_OF_RANGE, "worker %d: this node has the workers 0 to %u", (int)id,
                           node->counts[kind] - 1);
  *out = node->workers[kind][id];
  if ((*out)->endpoint) return BATON_OK;
  *out = NULL;
  return baton_error_set(err, BATON_CLOSED, node->closed ? "the node is closed" : "worker %u was removed",
                         id);
}

static baton_worker_state state_of(const node_worker *worker) {
  if (!worker->endpoint) return BATON_WORKER_CLOSED;
  if (worker->restarting) return BATON_WORKER_BUSY;
  if (worker->state != BATON_WORKER_READY) return worker->state;
  int busy = worker->sent[NODE_TASKS].count || worker->sent[NODE_TRANSFERS].count ||
             worker->waiting[NODE_TASKS].first || worker->waiting[NODE_TRANSFERS].first;
  return busy ? BATON_WORKER_BUSY : BATON_WORKER_READY;
}

baton_worker_state baton_node_state_of(baton_node *node) {
  node_lock(node);
  baton_worker_state state = node->closed ? BATON_WORKER_CLOSED
                             : node->runs ? BATON_WORKER_BUSY
                                          : BATON_WORKER_READY;
  for (uint32_t i = 0; !node->closed && i < node->counts[NODE_CHIPS]; i++) {
    baton_worker_state one = state_of(node->workers[NODE_CHIPS][i]);
    if (one == BATON_WORKER_IS_LOST || (one == BATON_WORKER_BUSY && state == BATON_WORKER_READY)) state = one;
  }
  node_unlock(node);
  return state;
}

baton_status baton_node_describe(baton_node *node, uint32_t id, baton_node_worker *out, baton_error *err) {
  baton_status status = BATON_OK;
  *out = (baton_node_worker){.state = BATON_WORKER_CLOSED};
  node_lock(node);
  if (id >= node->counts[NODE_CHIPS]) {
    node_worker *worker;
    status = node_find_worker(node, NODE_CHIPS, id, &worker, err);
  } else {
    const node_worker *worker = node->workers[NODE_CHIPS][id];
    *out = (baton_node_worker){.platform = worker->platform,
                               .device = worker->chip.device,
                               .state = state_of(worker),
                               .chips = worker->chips,
                               .nchips = worker->nchips,
                               .subs = worker->subs};
    if (worker->endpoint) {
      out->pid = worker->pid;
      out->started = worker->started;
    }
  }
  node_unlock(node);
  return status;
}

int node_has_lost(baton_node *node) {
  int lost = 0;
  node_lock(node);
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      lost |= state_of(node->workers[kind][i]) == BATON_WORKER_IS_LOST;
  node_unlock(node);
  return lost;
}

static baton_status add_chip(baton_node *node, const baton_node_chip *chip, uint32_t *id, baton_error *err) {
  int64_t deadline = base_deadline(node->startup_timeout);
  if (node->counts[NODE_CHIPS] == BATON_NODE_WORKERS)
    return baton_error_set(err, BATON_RESOURCE_LIMIT, "the node has given out %d worker ids, more it cannot",
                           BATON_NODE_WORKERS);
  const device_platform *platform;
  BATON_TRY(device_platform_find(chip->platform, &platform, err));
  BATON_TRY(add_worker(node, NODE_CHIPS, chip, deadline, err));
  node_worker *worker = node->workers[NODE_CHIPS][node->counts[NODE_CHIPS] - 1];
  baton_status status = worker->endpoint->calls->ready(worker->endpoint, deadline, err);
  if (status == BATON_OK) status = node_callables_tell(node, worker, err);
  if (status == BATON_OK) admit(worker);
  *id = worker->id;
  if (status != BATON_OK) (void)node_worker_close(worker, deadline, NULL);
  return blame(worker, status, err);
}

baton_status baton_node_add(baton_node *node, const baton_node_chip *chip, uint32_t *id, baton_error *err) {
  *id = 0;
  if (node->has_nodes)
    return baton_error_set(err, BATON_UNSUPPORTED,
                           "add: a node of nodes keeps the children it was opened with");
  BATON_TRY(node_enter(node, "add", err));
  pthread_mutex_lock(
      &node->callables.lock); /* no program becomes known meanwhile, and one worker is added at a time */
  baton_status status = add_chip(node, chip, id, err);
  pthread_mutex_unlock(&node->callables.lock);
  node_leave(node);
  return status;
}

static int is_unused(const void *context) {
  const node_worker *worker = context;
  const baton_node *node = worker->node;
  return !node->runs; /* what was submitted before may name it */
}

baton_status baton_node_remove(baton_node *node, uint32_t id, baton_error *err) {
  node_worker *worker;
  BATON_TRY(node_enter(node, "remove", err));
  node_lock(node);
  baton_status status = node_find_worker(node, NODE_CHIPS, id, &worker, err);
  if (status == BATON_OK) (void)node_drive(node, NULL, is_unused, worker, INT64_MAX);
  for (baton_node_buffer *buffer = node->buffers, *older; status == BATON_OK && buffer; buffer = older) {
    older = buffer->older;
    if (buffer->worker == id) node_buffer_die(buffer, BATON_CLOSED, NULL);
  }
  node_unlock(node);
  if (status == BATON_OK) status = node_worker_close(worker, base_deadline(CLOSE_SECONDS), err);
  node_leave(node);
  return status;
}
