/* The calls of an orchestrating function. */
#include "base/memory.h"
#include "chip/config.h"
#include "chip/worker.h"
#include "node/resident.h"
#include <string.h>

enum { SUBMITS_A_POLL = 8 };

static const baton_node_task_options no_options = {.worker = BATON_ANY_WORKER};

/* --- Beginning and end ---------------------------------------------------------------------------------- */

static baton_status call_function(baton_node_orch *o, baton_node_function function, void *context,
                                  baton_error *failure) {
  node_inside frame;
  node_inside_begin(&frame, o);
  baton_status status = function(o, context, failure);
  node_inside_end(&frame);
  if (status != BATON_OK && !failure->code)
    baton_error_set(failure, status, "the orchestrating function failed (%s)", baton_status_word(status));
  return status;
}

static baton_status build(baton_node *node, baton_node_function function, void *context,
                          const baton_config *config, node_residents *residents, baton_node_run **out,
                          baton_error *err) {
  baton_node_run *run;
  baton_error failure = {0};
  BATON_TRY(node_run_begin(node, config, &run, err));
  run->is_round = residents != NULL;
  baton_node_orch o = {.node = node, .run = run, .thread = pthread_self(), .residents = residents};
  o.draft = base_calloc(1, sizeof *o.draft);
  baton_status status = o.draft ? call_function(&o, function, context, &failure)
                                : base_out_of_memory(&failure, "an orchestration");
  node_draft_free(o.draft);
  node_run_built(run, status == BATON_OK ? NULL : &failure);
  if (status == BATON_OK) {
    *out = run;
  } else {
    (void)baton_node_run_wait(run, -1, NULL, NULL); /* what has been sent ends by itself */
    baton_error_copy(err, &failure);
    node_run_release(run);
  }
  baton_error_clear(&failure);
  return status;
}

static baton_status enter_and_build(baton_node *node, const char *what, baton_node_function function,
                                    void *context, const baton_config *config, node_residents *residents,
                                    baton_node_run **out, baton_error *err) {
  static const baton_config none;
  *out = NULL;
  BATON_TRY(node_enter(node, what, err));
  baton_status status = build(node, function, context, config ? config : &none, residents, out, err);
  node_leave(node);
  return status;
}

/* What concerns the run itself has its default in the node; chips have the rest, and the heap is an option of the node. */
static baton_config config_of_run(const baton_node *node, const baton_config *config) {
  const baton_config *all = &node->defaults.config;
  const baton_config own = {.ring_task_window = all->ring_task_window,
                            .ring_dep_pool = all->ring_dep_pool,
                            .deadline = all->deadline,
                            .timeout = all->timeout};
  return chip_config_merge(&own, config);
}

baton_status baton_node_submit(baton_node *node, baton_node_function function, void *context,
                               const baton_config *config, baton_node_run **out, baton_error *err) {
  return node_submit_round(node, function, context, config, NULL, out, err);
}

baton_status node_submit_round(baton_node *node, baton_node_function function, void *context,
                               const baton_config *config, node_residents *residents, baton_node_run **out,
                               baton_error *err) {
  const char *what = residents ? "launch" : "submit";
  const baton_config merged = config_of_run(node, config);
  BATON_TRY(enter_and_build(node, what, function, context, &merged, residents, out, err));
  if (!baton_node_run_done(*out)) node_attend(node);
  return BATON_OK;
}

baton_status node_run_function(baton_node *node, const char *what, baton_node_function function,
                               void *context, const baton_config *config, baton_timing *timing,
                               baton_error *err) {
  baton_node_run *run;
  BATON_TRY(enter_and_build(node, what, function, context, config, NULL, &run, err));
  baton_status status = baton_node_run_wait(run, -1, NULL, err);
  if (timing) *timing = baton_node_run_timing(run);
  baton_node_run_close(run);
  return status;
}

baton_status baton_node_run_function(baton_node *node, baton_node_function function, void *context,
                                     const baton_config *config, baton_timing *timing, baton_error *err) {
  const baton_config merged = config_of_run(node, config);
  return node_run_function(node, "run", function, context, &merged, timing, err);
}

static baton_status check_thread(const baton_node_orch *o, const char *what, baton_error *err) {
  if (pthread_equal(o->thread, pthread_self())) return BATON_OK;
  return baton_error_set(err, BATON_STATE, "%s: called on another thread than the orchestrating function",
                         what);
}

/* --- Submitting ----------------------------------------------------------------------------------------- */

static baton_status full(const baton_node_run *run, task_status status, baton_error *err) {
  task_counts counts;
  task_engine_counts(run->engine->tasks, &counts);
  switch (status) {
  case TASK_WINDOW_FULL:
    return baton_error_set(err, BATON_WINDOW_FULL, "the window of %u tasks is full", run->engine->window);
  case TASK_EDGES_FULL:
    return baton_error_set(err, BATON_DEP_POOL_FULL, "the pool of %u edges is full", run->engine->edges);
  case TASK_HEAP_FULL:
    baton_error_set(err, counts.holder_blocks ? BATON_SCOPE_DEADLOCK : BATON_HEAP_FULL,
                    "no room on the heap of %llu bytes: %llu are in use, %llu of them by %u intermediates of "
                    "open scope %u",
                    (unsigned long long)run->engine->heap, (unsigned long long)counts.heap_used,
                    (unsigned long long)counts.holder_bytes, counts.holder_blocks, counts.holder_scope);
    return baton_error_text(err, BATON_FIELD_HINT, "raise heap, or end scopes earlier");
  default: break;
  }
  return baton_error_set(err, BATON_RESOURCE_LIMIT, "no memory for the arguments of %u tasks", counts.live);
}

/* With the lock held: the engine opens a slot, unless it is full. What waits inside gives the lock up while it sleeps. */
static task_status open_slot(const node_draft *draft, void **payload, uint32_t *which) {
  baton_node_run *run = draft->o->run;
  run->inside = 1;
  task_status status = task_engine_open(run->engine->tasks, draft->accesses, draft->naccesses,
                                        (uint32_t)node_draft_size(draft), payload, which);
  run->inside = 0;
  return status;
}

/* A look at a mailbox takes its line away from the worker that is about to write there: not after every submit. */
static void step_after_submit(baton_node_run *run) {
  baton_node *node = run->node;
  node->hurried = run->tasks % SUBMITS_A_POLL != 0;
  node_step(node);
  node->hurried = 0;
}

static baton_status enter_engine(const node_draft *draft, baton_task *out, task_status *opened,
                                 baton_error *err) {
  baton_node_run *run = draft->o->run;
  void *payload;
  uint32_t which = 0;
  run->activity++;
  *opened = open_slot(draft, &payload, &which);
  if (*opened == TASK_STALE)
    return baton_error_set(err, BATON_STALE_HANDLE, "%s: a tensor whose scope has ended", draft->who);
  if (*opened != TASK_OK) return full(run, *opened, err);
  baton_status status = node_draft_fill(draft, payload, err);
  if (status != BATON_OK) return status; /* the next open shows the same slot */
  run->inside = 1;
  *opened = task_engine_submit(run->engine->tasks, 1, draft->accesses, draft->naccesses, draft->options->deps,
                               draft->options->ndeps, out);
  run->inside = 0;
  if (*opened != TASK_OK) {
    node_draft_drop(payload, NULL);
    return full(run, *opened, err);
  }
  run->unfinished++;
  run->tasks++;
  step_after_submit(run);
  return BATON_OK;
}

static baton_status check_deps(const node_draft *draft, baton_error *err) {
  for (uint32_t i = 0; i < draft->options->ndeps; i++)
    if (!task_engine_knows(draft->o->run->engine->tasks, draft->options->deps[i]))
      return baton_error_set(err, BATON_STALE_HANDLE, "%s: deps: entry %u is no task of this run", draft->who,
                             i + 1);
  if (draft->options->priority < -100 || draft->options->priority > 100)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: priority %d: -100 to 100 expected", draft->who,
                           draft->options->priority);
  return BATON_OK;
}

/* A run that is not active yet has nothing that would end: a full engine waits for its turn first. */
static baton_status submit(node_draft *draft, baton_task *out, baton_error *err) {
  baton_node_orch *o = draft->o;
  baton_task ignored;
  task_status opened;
  if (!out) out = &ignored;
  BATON_TRY(check_thread(o, draft->who, err));
  BATON_TRY(node_draft_check(draft, err));
  BATON_TRY(check_deps(draft, err));
  if (o->residents) node_residents_note(o->residents, draft);
  for (;;) {
    node_lock(o->node);
    int active = o->run->active;
    baton_status status = enter_engine(draft, out, &opened, err);
    node_unlock(o->node);
    if (status == BATON_OK || active || opened == TASK_OK || opened == TASK_STALE) return status;
    BATON_TRY(node_run_await_turn(o->run, err));
  }
}

/* A draft over the scratch of the orchestration. */
static node_draft *begin_draft(baton_node_orch *o, const char *who, node_operation operation,
                               const baton_node_task_options *options) {
  node_draft *draft = o->draft;
  draft->o = o;
  draft->who = who;
  draft->operation = operation;
  draft->callable = NULL;
  draft->kind = NODE_CHIPS;
  draft->lane = NODE_TASKS;
  draft->options = options ? options : &no_options;
  draft->buffer = draft->size = 0;
  return draft;
}

/* The program of the last submit is likely that of the next one. */
static baton_status find_callable(baton_node_orch *o, baton_program *program, const node_callable **out,
                                  baton_error *err) {
  uint64_t number = chip_program_number(program);
  if (o->last_program != number) {
    BATON_TRY(node_callable_find(o->node, program, &o->last_callable, err));
    o->last_program = number;
  }
  *out = o->last_callable;
  return BATON_OK;
}

static baton_status submit_program(baton_node_orch *o, node_kind kind, baton_program *program,
                                   node_part *parts, uint32_t count, const baton_node_task_options *options,
                                   baton_task *out, baton_error *err) {
  const char *who = baton_program_name(program);
  const node_callable *callable;
  BATON_TRY(find_callable(o, program, &callable, err));
  if (kind == NODE_SUBS && !callable->is_host)
    return baton_error_set(
        err, BATON_UNSUPPORTED,
        "%s: a sub worker runs functions of the host, a device program needs submit_next_level", who);
  if (o->residents && !callable->is_host) {
    baton_status status = node_residents_place(o->residents, o, callable->signature, parts, count, err);
    if (status != BATON_OK) return baton_error_context(err, "%s", who);
  }
  node_draft *draft = begin_draft(o, who, NODE_CALL_PROGRAM, options);
  draft->callable = callable;
  draft->kind = kind;
  draft->parts = parts;
  draft->nparts = count;
  return submit(draft, out, err);
}

static baton_status submit_single(baton_node_orch *o, node_kind kind, baton_program *program,
                                  const baton_node_value *values, uint32_t nvalues,
                                  const baton_node_task_options *options, baton_task *out, baton_error *err) {
  node_part part = {
      .values = values, .nvalues = nvalues, .worker = options ? options->worker : BATON_ANY_WORKER};
  return submit_program(o, kind, program, &part, 1, options, out, err);
}

baton_status baton_node_submit_next_level(baton_node_orch *o, baton_program *program,
                                          const baton_node_value *values, uint32_t nvalues,
                                          const baton_node_task_options *options, baton_task *out,
                                          baton_error *err) {
  return submit_single(o, NODE_CHIPS, program, values, nvalues, options, out, err);
}

baton_status baton_node_submit_sub(baton_node_orch *o, baton_program *program, const baton_node_value *values,
                                   uint32_t nvalues, const baton_node_task_options *options, baton_task *out,
                                   baton_error *err) {
  return submit_single(o, NODE_SUBS, program, values, nvalues, options, out, err);
}

static baton_status submit_group(baton_node_orch *o, node_kind kind, baton_program *program,
                                 const baton_node_member *members, uint32_t count,
                                 const baton_node_task_options *options, baton_task *out, baton_error *err) {
  node_part parts[BATON_NODE_WORKERS];
  uint32_t most = count < BATON_NODE_WORKERS ? count : BATON_NODE_WORKERS;
  for (uint32_t i = 0; i < most; i++)
    parts[i] =
        (node_part){.values = members[i].values, .nvalues = members[i].nvalues, .worker = members[i].worker};
  if (count > most)
    return baton_error_set(err, BATON_UNSUPPORTED, "%s: a group of %u members, a node has at most %d workers",
                           baton_program_name(program), count, BATON_NODE_WORKERS);
  return submit_program(o, kind, program, parts, count, options, out, err);
}

baton_status baton_node_submit_next_level_group(baton_node_orch *o, baton_program *program,
                                                const baton_node_member *members, uint32_t count,
                                                const baton_node_task_options *options, baton_task *out,
                                                baton_error *err) {
  return submit_group(o, NODE_CHIPS, program, members, count, options, out, err);
}

baton_status baton_node_submit_sub_group(baton_node_orch *o, baton_program *program,
                                         const baton_node_member *members, uint32_t count,
                                         const baton_node_task_options *options, baton_task *out,
                                         baton_error *err) {
  return submit_group(o, NODE_SUBS, program, members, count, options, out, err);
}

baton_status node_submit_script(baton_node_orch *o, node_kind kind, const node_script *members,
                                uint32_t count, const baton_node_task_options *options, baton_task *out,
                                baton_error *err) {
  node_part parts[BATON_NODE_SUBS];
  const char *plain = kind == NODE_SUBS ? "sub function" : "node function";
  const char *name = options && options->name ? options->name : plain;
  if (count > BATON_NODE_SUBS)
    return baton_error_set(err, BATON_UNSUPPORTED, "%s: a group of %u members, a node has at most %d %s",
                           name, count, BATON_NODE_SUBS, kind == NODE_SUBS ? "sub workers" : "workers");
  for (uint32_t i = 0; i < count; i++)
    parts[i] = (node_part){.values = members[i].values,
                           .nvalues = members[i].nvalues,
                           .worker = members[i].worker,
                           .data = members[i].data,
                           .bytes = members[i].bytes};
  node_draft *draft = begin_draft(o, name, NODE_CALL_SCRIPT, options);
  draft->kind = kind;
  draft->parts = parts;
  draft->nparts = count;
  return submit(draft, out, err);
}

/* --- Child memory --------------------------------------------------------------------------------------- */

static baton_view bytes_of(const baton_node_buffer *buffer, uint64_t offset, uint64_t bytes) {
  return (baton_view){.data = (void *)(uintptr_t)(node_buffer_base(buffer) + offset),
                      .base = node_buffer_base(buffer),
                      .dtype = BATON_U8,
                      .ndim = 1,
                      .shape = {(int64_t)bytes},
                      .strides = {1}};
}

baton_status baton_node_orch_malloc(baton_node_orch *o, uint32_t worker, uint64_t nbytes,
                                    baton_node_buffer **out, baton_error *err) {
  node_worker *owner;
  *out = NULL;
  BATON_TRY(node_children_refuse(o->node, "malloc", err));
  node_lock(o->node);
  baton_status status = node_find_worker(o->node, NODE_CHIPS, worker, &owner, err);
  node_unlock(o->node);
  if (status != BATON_OK) return baton_error_context(err, "malloc");
  BATON_TRY(node_buffer_create(o->node, worker, nbytes, out, err));
  baton_view all = bytes_of(*out, 0, nbytes);
  baton_node_value value = {.tag = BATON_OUTPUT, .buffer = *out, .view = &all};
  node_part part = {.values = &value, .nvalues = 1, .worker = (int32_t)worker};
  node_draft *draft = begin_draft(o, "malloc", NODE_MALLOC, NULL);
  draft->lane = NODE_TRANSFERS;
  draft->buffer = (*out)->number;
  draft->size = nbytes;
  draft->parts = &part;
  draft->nparts = 1;
  status = submit(draft, NULL, err);
  if (status != BATON_OK) {
    baton_node_buffer_close(*out);
    *out = NULL;
  }
  return status;
}

baton_status baton_node_orch_free(baton_node_orch *o, baton_node_buffer *buffer, baton_error *err) {
  BATON_TRY(check_thread(o, "free", err));
  return node_buffer_free(o->node, buffer, NULL, err);
}

static uint64_t host_bytes(const baton_tensor *host) {
  const baton_view *view = baton_tensor_view(host);
  return (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
}

static baton_status check_copy(const char *who, const baton_node_buffer *buffer, const baton_tensor *host,
                               uint64_t offset, uint64_t bytes, baton_error *err) {
  uint64_t end = bytes > UINT64_MAX - offset ? UINT64_MAX : offset + bytes;
  if (end > buffer->nbytes)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: bytes [%llu,%llu) of a buffer of %llu", who,
                           (unsigned long long)offset, (unsigned long long)end,
                           (unsigned long long)buffer->nbytes);
  if (bytes > host_bytes(host))
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: bytes [0,%llu) of a host tensor of %llu", who,
                           (unsigned long long)bytes, (unsigned long long)host_bytes(host));
  return BATON_OK;
}

static baton_status submit_copy(baton_node_orch *o, int to_device, baton_node_buffer *buffer,
                                baton_tensor *host, const baton_copy_options *options, baton_task *out,
                                baton_error *err) {
  static const baton_copy_options whole;
  const char *who = to_device ? "copy_to" : "copy_from";
  if (!options) options = &whole;
  uint64_t bytes = options->nbytes ? options->nbytes : host_bytes(host);
  BATON_TRY(node_buffer_check(o->node, buffer, err));
  BATON_TRY(check_copy(who, buffer, host, options->offset, bytes, err));
  baton_view bytes_there = bytes_of(buffer, options->offset, bytes);
  baton_node_value there = {
      .tag = to_device ? BATON_OUTPUT : BATON_INPUT, .buffer = buffer, .view = &bytes_there};
  baton_node_value here = {.tag = to_device ? BATON_INPUT : BATON_OUTPUT, .tensor = host};
  baton_node_value values[2] = {to_device ? there : here, to_device ? here : there};
  node_part part = {.values = values, .nvalues = 2, .worker = BATON_ANY_WORKER};
  node_draft *draft = begin_draft(o, who, to_device ? NODE_COPY_TO : NODE_COPY_FROM, NULL);
  draft->lane = NODE_TRANSFERS;
  draft->size = bytes;
  draft->parts = &part;
  draft->nparts = 1;
  return submit(draft, out, err);
}

baton_status baton_node_orch_copy_to(baton_node_orch *o, baton_node_buffer *buffer, baton_tensor *host,
                                     const baton_copy_options *options, baton_task *out, baton_error *err) {
  return submit_copy(o, 1, buffer, host, options, out, err);
}

baton_status baton_node_orch_copy_from(baton_node_orch *o, baton_tensor *host, baton_node_buffer *buffer,
                                       const baton_copy_options *options, baton_task *out, baton_error *err) {
  return submit_copy(o, 0, buffer, host, options, out, err);
}

/* --- Intermediates and scopes --------------------------------------------------------------------------- */

static baton_status describe(baton_dtype dtype, int ndim, const int64_t *shape, baton_view *view,
                             uint64_t *bytes, baton_error *err) {
  if (dtype <= BATON_NO_DTYPE || dtype >= BATON_DTYPE_COUNT)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "alloc: %d is no dtype", (int)dtype);
  if (ndim < 0 || ndim > BATON_MAX_DIMS)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "alloc: %d dimensions asked for, 0 to %d are possible", ndim, BATON_MAX_DIMS);
  int64_t total = (int64_t)baton_dtype_size(dtype), stride = 1;
  *view = (baton_view){.dtype = (uint8_t)dtype, .ndim = (uint8_t)ndim};
  for (int d = ndim - 1; d >= 0; d--) {
    view->shape[d] = shape[d];
    view->strides[d] = stride;
    if (shape[d] < 0)
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "alloc: a size of %lld is negative",
                             (long long)shape[d]);
    if (__builtin_mul_overflow(total, shape[d], &total) ||
        __builtin_mul_overflow(stride, shape[d] ? shape[d] : 1, &stride))
      return baton_error_set(err, BATON_OUT_OF_RANGE, "alloc: more than 2^63 bytes");
  }
  *bytes = (uint64_t)total;
  return BATON_OK;
}

static task_status alloc_block(baton_node_run *run, uint64_t bytes, uint64_t *offset, baton_view *view) {
  run->activity++;
  run->inside = 1;
  task_status status = task_engine_alloc(run->engine->tasks, bytes, offset, &view->block, &view->generation);
  run->inside = 0;
  return status;
}

baton_status baton_node_alloc(baton_node_orch *o, baton_dtype dtype, int ndim, const int64_t *shape,
                              baton_view *out, baton_error *err) {
  baton_view view;
  uint64_t bytes = 0, offset = 0;
  *out = baton_view_invalid();
  BATON_TRY(check_thread(o, "alloc", err));
  BATON_TRY(describe(dtype, ndim, shape, &view, &bytes, err));
  for (;;) {
    node_lock(o->node);
    int active = o->run->active;
    task_status got = alloc_block(o->run, bytes, &offset, &view);
    baton_status status = got == TASK_OK ? BATON_OK : full(o->run, got, err);
    node_unlock(o->node);
    if (status == BATON_OK) break;
    if (active || bytes > o->run->engine->heap)
      return baton_error_context(err, "alloc of %llu bytes", (unsigned long long)bytes);
    BATON_TRY(node_run_await_turn(o->run, err));
  }
  view.base = (uint64_t)(uintptr_t)o->run->engine->memory.address + offset;
  view.data = (void *)(uintptr_t)view.base;
  *out = view;
  return BATON_OK;
}

baton_status baton_node_scope_begin(baton_node_orch *o, baton_error *err) {
  BATON_TRY(check_thread(o, "scope", err));
  node_lock(o->node);
  int begun = task_engine_scope_begin(o->run->engine->tasks, 0);
  node_unlock(o->node);
  if (begun) return BATON_OK;
  return baton_error_set(err, BATON_RESOURCE_LIMIT, "scope: %d scopes are open, more are not possible",
                         TASK_SCOPE_DEPTH);
}

baton_status baton_node_scope_end(baton_node_orch *o, baton_error *err) {
  BATON_TRY(check_thread(o, "scope", err));
  node_lock(o->node);
  int ended = task_engine_scope_end(o->run->engine->tasks);
  node_unlock(o->node);
  return ended ? BATON_OK : baton_error_set(err, BATON_STATE, "scope: no scope is open");
}

/* --- Waiting -------------------------------------------------------------------------------------------- */

static baton_status report_failure(baton_node_run *run, baton_error *err) {
  if (run->failure.code) return baton_error_copy(err, &run->failure);
  return baton_error_set(err, BATON_CANCELLED, "the run was cancelled");
}

/* With the lock held, in the active run. */
static baton_status wait_inside(baton_node_run *run, const baton_task *task, baton_error *err) {
  run->activity++;
  run->inside = run->awaits = 1;
  task_status status = task ? task_engine_wait(run->engine->tasks, *task, INT64_MAX)
                            : task_engine_settle(run->engine->tasks, INT64_MAX);
  run->inside = run->awaits = 0;
  return status == TASK_OK ? BATON_OK : report_failure(run, err);
}

baton_status baton_node_wait(baton_node_orch *o, const baton_task *task, baton_error *err) {
  BATON_TRY(check_thread(o, "wait", err));
  if (task && !task_engine_knows(o->run->engine->tasks, *task))
    return baton_error_set(err, BATON_STALE_HANDLE, "wait: not a task of this run");
  BATON_TRY(node_run_await_turn(o->run, err));
  node_lock(o->node);
  baton_status status = wait_inside(o->run, task, err);
  node_unlock(o->node);
  return status;
}

uint32_t baton_node_orch_workers(const baton_node_orch *o) { return baton_node_workers(o->node); }
uint32_t baton_node_orch_subs(const baton_node_orch *o) { return baton_node_subs(o->node); }

/* With the lock held. */
static const node_result *find_result(const baton_node_run *run, baton_task task, uint32_t member) {
  const node_result *result = run->results;
  while (result && (result->task.slot != task.slot || result->task.generation != task.generation ||
                    result->member != member))
    result = result->next;
  return result;
}

static baton_status await_result(baton_node_run *run, baton_task task, baton_error *err) {
  const node_inside *frame = node_inside_innermost();
  for (; frame; frame = frame->outer)
    if (frame->orch->run == run) return baton_node_wait(frame->orch, &task, err);
  return baton_node_run_wait(run, -1, NULL, err);
}

baton_status node_task_result(baton_node_run *run, baton_task task, uint32_t member, const char **data,
                              uint64_t *bytes, baton_error *err) {
  *data = NULL;
  *bytes = 0;
  BATON_TRY(await_result(run, task, err));
  node_lock(run->node);
  const node_result *result = find_result(run, task, member);
  node_unlock(run->node);
  if (!result) return BATON_OK;
  *data = result->bytes.data;
  *bytes = result->bytes.size;
  return BATON_OK;
}

/* --- Host tensors inside the function ------------------------------------------------------------------- */

typedef struct storage_wait {
  const baton_node_run *run;
  const tensor_storage *storage;
  int writes;
} storage_wait;

/* Who else uses the storage ends without this run. */
static int is_free(const void *context) {
  const storage_wait *wait = context;
  return !wait->run->unfinished || !tensor_storage_in_use(wait->storage, wait->writes);
}

/* A host tensor that a task of the run uses is waited for by driving the run. */
static int guard(const tensor_storage *storage, int writes) {
  for (const node_inside *frame = node_inside_innermost(); frame; frame = frame->outer) {
    storage_wait wait = {frame->orch->run, storage, writes};
    node_lock(frame->orch->node);
    (void)node_drive(frame->orch->node, frame->orch->run, is_free, &wait, INT64_MAX);
    node_unlock(frame->orch->node);
  }
  return chip_inside_uses(storage, writes);
}

void node_guard_tensors(void) { tensor_set_guard(TENSOR_GUARD_OF_NODES, guard); }
