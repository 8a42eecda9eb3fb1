/* Runs of a node: their order, their engines, waiting for them. */
#include "base/clock.h"
#include "base/futex.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/pages.h"
#include "chip/config.h"
#include "node/draft.h"
#include <limits.h>

enum { SPARE_ENGINES = 2, WINDOW = 16384, EDGES = 1 << 16 };

/* --- Engines -------------------------------------------------------------------------------------------- */

static void close_engine(node_engine *engine) {
  if (!engine) return;
  base_pages_free(engine->tasks, engine->memory_size);
  base_extent_free(&engine->memory);
  base_free(engine);
}

static baton_status make_engine(node_engine *engine, baton_error *err) {
  static _Atomic uint32_t engines;
  uint32_t count = atomic_fetch_add_explicit(&engines, 1, memory_order_relaxed);
  task_limits limits = {.numbers = (count * UINT32_C(0x9e3779b1)) >> 2, /* far from those of other engines */
                        .lanes = 1,
                        .tasks = engine->window,
                        .edges = engine->edges,
                        .heap = engine->heap};
  task_limits_complete(&limits);
  task_hooks hooks = node_engine_hooks(engine);
  engine->memory_size = task_engine_size(&limits);
  void *memory = base_pages_small(engine->memory_size);
  if (!memory)
    return baton_error_set(err, BATON_OUT_OF_MEMORY, "no memory for a window of %u tasks (%zu bytes)",
                           engine->window, engine->memory_size);
  engine->tasks = task_engine_init(memory, &limits, &hooks);
  task_engine_choose(engine->tasks, TASK_QUEUED);
  return base_extent_alloc(engine->heap, 4096, &engine->memory, err);
}

static baton_status open_engine(baton_node *node, const node_engine *sizes, node_engine **out,
                                baton_error *err) {
  node_engine *engine = base_calloc(1, sizeof *engine);
  if (!engine) return base_out_of_memory(err, "an engine");
  engine->node = node;
  engine->window = sizes->window;
  engine->edges = sizes->edges;
  engine->heap = sizes->heap;
  baton_status status = make_engine(engine, err);
  if (status == BATON_OK)
    *out = engine;
  else
    close_engine(engine);
  return status;
}

static int same_sizes(const node_engine *a, const node_engine *b) {
  return a->window == b->window && a->edges == b->edges && a->heap == b->heap;
}

static baton_status take_engine(baton_node *node, const baton_config *config, node_engine **out,
                                baton_error *err) {
  node_engine sizes = {.window = config->ring_task_window ? config->ring_task_window : WINDOW,
                       .edges = config->ring_dep_pool ? config->ring_dep_pool : EDGES,
                       .heap = config->ring_heap ? config->ring_heap : node->heap};
  node_lock(node);
  node_engine **link = &node->spare;
  while (*link && !same_sizes(*link, &sizes)) link = &(*link)->next;
  *out = *link;
  if (*link) *link = (*link)->next;
  node_unlock(node);
  return *out ? BATON_OK : open_engine(node, &sizes, out, err);
}

/* With the lock held. The oldest spare one goes when there are enough. */
static void give_engine(baton_node *node, node_engine *engine) {
  uint32_t count = 0;
  engine->run = NULL;
  engine->next = node->spare;
  node->spare = engine;
  node_engine **link = &node->spare;
  while (*link && count++ < SPARE_ENGINES) link = &(*link)->next;
  engine = *link;
  *link = NULL;
  close_engine(engine);
}

void node_engines_close(baton_node *node) {
  while (node->spare) {
    node_engine *engine = node->spare;
    node->spare = engine->next;
    close_engine(engine);
  }
}

/* --- Life ----------------------------------------------------------------------------------------------- */

void node_run_hold(baton_node_run *run) { atomic_fetch_add_explicit(&run->holders, 1, memory_order_relaxed); }

static void free_results(baton_node_run *run) {
  while (run->results) {
    node_result *result = run->results;
    run->results = result->next;
    base_free(result->bytes.data);
    base_free(result);
  }
}

void node_run_release(baton_node_run *run) {
  /* release: what this holder did; acquire: what all did, for the one that frees */
  if (atomic_fetch_sub_explicit(&run->holders, 1, memory_order_acq_rel) != 1) return;
  free_results(run);
  baton_error_clear(&run->failure);
  tensor_notice_release(run->notice);
  base_free(run->runtime);
  node_release(run->node);
  base_free(run);
}

void node_run_fail(baton_node_run *run, const baton_error *failure) {
  if (run->failure.code) return;
  baton_error_copy(&run->failure, failure);
  run->notice = tensor_notice_create();
}

static baton_status create(baton_node *node, const baton_config *config, baton_node_run **out,
                           baton_error *err) {
  baton_node_run *run = base_calloc(1, sizeof *run);
  if (!run) return base_out_of_memory(err, "a run");
  atomic_init(&run->holders, 2); /* its user's, and that of the list */
  run->config = *config;
  run->config.resident = NULL;
  run->config.runtime = run->runtime = base_strdup(config->runtime);
  run->configures = node_draft_configures(&run->config);
  run->begun = base_now();
  baton_status status = take_engine(node, config, &run->engine, err);
  if (status != BATON_OK) {
    base_free(run->runtime);
    base_free(run);
    return status;
  }
  run->engine->run = run;
  node_hold(node);
  run->node = node;
  *out = run;
  return BATON_OK;
}

static void begin_engine(baton_node_run *run) {
  run->engine->deadline = INT64_MAX;
  task_engine_begin(run->engine->tasks, run->active ? 0 : TASK_HELD);
}

baton_status node_run_begin(baton_node *node, const baton_config *config, baton_node_run **out,
                            baton_error *err) {
  *out = NULL;
  baton_node_run *run = NULL;
  BATON_TRY(chip_config_check(config, err));
  BATON_TRY(create(node, config, &run, err));
  node_lock(node);
  run->number = ++node->run_count;
  run->active = !node->runs;
  begin_engine(run);
  *(node->last_run ? &node->last_run->next : &node->runs) = run;
  node->last_run = run;
  node_unlock(node);
  node_attend(node);
  *out = run;
  return BATON_OK;
}

void node_run_activate(baton_node *node) {
  baton_node_run *run = node->runs;
  if (!run || run->active) return;
  run->active = 1;
  task_engine_release(run->engine->tasks);
  node->dirty = 1;
}

/* The engine is empty: nothing of this waits. */
void node_run_end(baton_node_run *run) {
  baton_node *node = run->node;
  task_counts counts;
  (void)task_engine_finish(run->engine->tasks);
  task_engine_counts(run->engine->tasks, &counts);
  run->timing.tasks = run->tasks;
  run->timing.host = (double)(base_now() - run->begun) / 1e3;
  node_count_run(node, &counts);
  node->totals.rounds += run->is_round != 0;
  node->runs = run->next;
  if (!node->runs) node->last_run = NULL;
  give_engine(node, run->engine);
  run->engine = NULL;
  node_run_activate(node);
  /* release: failure, timing and results, for who finds the run over */
  atomic_store_explicit(&run->over, 1, memory_order_release);
  base_futex_wake(&run->over, INT_MAX);
  node_run_release(run);
}

void node_run_built(baton_node_run *run, const baton_error *failure) {
  baton_node *node = run->node;
  node_lock(node);
  if (failure) {
    node_run_fail(run, failure);
    task_engine_cancel(run->engine->tasks); /* what was sent goes on to its end */
  }
  while (task_engine_scope_end(run->engine->tasks)) {
  }
  run->built = 1;
  run->timing.orchestration = (double)(base_now() - run->begun) / 1e3;
  node_step(node);
  node_ring_workers(node);
  node_unlock(node);
}

/* --- Waiting -------------------------------------------------------------------------------------------- */

int baton_node_run_done(const baton_node_run *run) {
  return atomic_load_explicit(&run->over, memory_order_acquire) != 0;
}

static int is_over(const void *run) { return baton_node_run_done(run); }
static int is_active(const void *run) { return ((const baton_node_run *)run)->active; }

baton_status node_run_await_turn(baton_node_run *run, baton_error *err) {
  baton_node *node = run->node;
  node_lock(node);
  (void)node_drive(node, run, is_active, run, INT64_MAX);
  node_unlock(node);
  if (!atomic_load_explicit(&run->cancelled, memory_order_relaxed)) return BATON_OK;
  return baton_error_set(err, BATON_CANCELLED, "the run was cancelled");
}

static baton_status report(baton_node_run *run, baton_error *err) {
  atomic_store_explicit(&run->told, 1, memory_order_relaxed);
  tensor_notice_tell(run->notice);
  return run->failure.code ? baton_error_copy(err, &run->failure) : BATON_OK;
}

static int await(baton_node_run *run, int64_t deadline) {
  baton_node *node = run->node;
  if (baton_node_run_done(run)) return 1;
  node_lock(node);
  int over = node_drive(node, run, is_over, run, deadline);
  int left = node->runs && !node->drivers;
  node_unlock(node);
  if (left) node_attend(node);
  return over;
}

/* One that ended well just when its deadline passed has ended well. */
static baton_status cancel_late(baton_node_run *run, double deadline, int *over, baton_error *err) {
  int cancelled = baton_node_run_cancel(run);
  *over = await(run, INT64_MAX);
  baton_status status = report(run, err);
  if (!cancelled || status != BATON_CANCELLED) return status;
  return baton_error_set(err, BATON_TIMEOUT, "the run was not over after the deadline of %g s, and cancelled",
                         deadline);
}

baton_status baton_node_run_wait(baton_node_run *run, double seconds, int *over, baton_error *err) {
  int ignored;
  if (!over) over = &ignored;
  *over = 0;
  if (seconds != seconds)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "wait: a number of seconds expected, got NaN");
  if (!baton_node_run_done(run) && node_is_inside(run->node))
    return baton_error_set(
        err, BATON_STATE,
        "wait: called inside an orchestrating function of the same node, it would wait for itself");
  int64_t until = base_deadline(seconds), late = INT64_MAX;
  if (run->config.deadline > 0) late = run->begun + (int64_t)(run->config.deadline * 1e9);
  *over = await(run, until < late ? until : late);
  if (*over) return report(run, err);
  if (base_interrupt_asked() == BASE_ABANDON)
    return baton_error_set(err, BATON_CANCELLED,
                           "the wait was abandoned, the cancelled run goes on until its tasks end");
  return late <= until ? cancel_late(run, run->config.deadline, over, err) : BATON_OK;
}

int node_run_cancel(baton_node_run *run) {
  baton_node *node = run->node;
  if (!run->engine) return 0;
  /* seq_cst: a driver that goes to sleep announces that before it looks */
  atomic_store_explicit(&run->cancelled, 1, memory_order_seq_cst);
  task_engine_cancel(run->engine->tasks);
  for (int kind = 0; run->active && kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++) {
      node_worker *worker = node->workers[kind][i];
      if (!worker->endpoint || worker->restarting) continue;
      node_mailbox_cancel(&worker->endpoint->mailbox, run->number);
      node_limit_begin(worker);
    }
  return 1;
}

void node_cancel_runs(baton_node *node) {
  node_lock(node);
  for (baton_node_run *run = node->runs; run; run = run->next)
    if (!atomic_load_explicit(&run->cancelled, memory_order_relaxed)) (void)node_run_cancel(run);
  node_unlock(node);
  node_wake(node);
}

int baton_node_run_cancel(baton_node_run *run) {
  if (baton_node_run_done(run)) return 0;
  node_lock(run->node);
  int cancelled = node_run_cancel(run);
  node_unlock(run->node);
  if (cancelled) node_wake(run->node);
  return cancelled;
}

baton_timing baton_node_run_timing(const baton_node_run *run) {
  static const baton_timing unknown;
  return baton_node_run_done(run) ? run->timing : unknown;
}

void baton_node_run_close(baton_node_run *run) {
  if (!run) return;
  int cancelled = baton_node_run_cancel(run);
  baton_status code = cancelled ? BATON_CANCELLED : run->failure.code;
  if (code != BATON_OK && code != BATON_CANCELLED && !atomic_load_explicit(&run->told, memory_order_relaxed))
    base_log_error(&run->failure, "a run that nobody waited for");
  node_run_release(run);
}
