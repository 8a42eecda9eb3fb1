#include "task/state.h"
#include <string.h>

static size_t aligned(size_t size) { return (size + TASK_POOL_PAGE - 1) & ~(size_t)(TASK_POOL_PAGE - 1); }

static uint32_t queue_capacity(uint32_t tasks) {
  uint32_t capacity = TASK_BATCH;
  while (capacity < tasks) capacity *= 2;
  return capacity;
}

static uint64_t at_least(uint64_t value, uint64_t least) { return value > least ? value : least; }

void task_limits_complete(task_limits *limits) {
  uint64_t tasks = limits->tasks;
  limits->regions = (uint32_t)at_least(4 * tasks, 1 << 14);
  limits->blocks = (uint32_t)at_least(2 * tasks, 1 << 14);
  limits->payload = at_least(tasks * 1024, 4 << 20);
  limits->heap_unit = 1024;
}

size_t task_engine_size(const task_limits *limits) {
  return aligned(sizeof(task_engine)) + aligned(limits->lanes * sizeof(task_lane)) +
         limits->lanes * aligned(queue_capacity(limits->tasks) * sizeof(uint32_t)) +
         aligned(limits->tasks * sizeof(task_ranked)) +
         aligned(task_window_size(limits->tasks, limits->edges)) + aligned(task_pool_size(limits->payload)) +
         aligned(task_map_size(limits->regions)) + aligned(task_scopes_size(limits->blocks));
}

task_engine *task_engine_init(void *memory, const task_limits *limits, const task_hooks *hooks) {
  char *at = memory;
  task_engine *engine = memory;
  at += aligned(sizeof(task_engine));
  engine->hooks = *hooks;
  engine->lane_count = limits->lanes;
  engine->lanes = (task_lane *)(void *)at;
  at += aligned(limits->lanes * sizeof(task_lane));
  uint32_t capacity = queue_capacity(limits->tasks);
  for (uint32_t i = 0; i < TASK_KERNELS; i++)
    atomic_store_explicit(&engine->cost[i], TASK_COST_UNKNOWN, memory_order_relaxed);
  for (uint32_t i = 0; i < limits->lanes; i++) {
    engine->lanes[i].number = i;
    engine->lanes[i].until_sample = 1;
    engine->lanes[i].done_first = TASK_NONE;
    task_queue_init(&engine->lanes[i].queue, (_Atomic uint32_t *)(void *)at, capacity);
    at += aligned(capacity * sizeof(uint32_t));
  }
  engine->ranks.heap = (task_ranked *)(void *)at;
  at += aligned(limits->tasks * sizeof(task_ranked));
  task_window_init(&engine->window, at, limits->tasks, limits->edges);
  engine->window.alone = limits->lanes == 1;
  engine->window.sequence = limits->numbers;
  at += aligned(task_window_size(limits->tasks, limits->edges));
  task_pool_init(&engine->pool, at, limits->payload);
  at += aligned(task_pool_size(limits->payload));
  engine->map = task_map_init(at, limits->regions);
  at += aligned(task_map_size(limits->regions));
  task_scopes_init(&engine->scopes, at, limits->heap, limits->heap_unit, limits->blocks);
  return engine;
}

void task_engine_choose(task_engine *engine, task_policy policy) { engine->policy = policy; }

/* With one lane nothing can cross to another, and whatever need not wait is called at its submit. */
static void set_thresholds(task_engine *engine) {
  int alone = engine->lane_count == 1;
  engine->stays = engine->policy == TASK_OFFERED && !alone ? 0
                  : engine->policy == TASK_QUEUED || alone ? UINT32_MAX
                                                           : TASK_SHORT_NS - 1;
  engine->queues = !engine->by_scope && (engine->policy == TASK_QUEUED || engine->policy == TASK_OFFERED);
  engine->keeps = engine->stays < TASK_ALONE_NS ? TASK_ALONE_NS - 1 : engine->stays;
  engine->elides =
      engine->held || engine->by_scope || engine->policy == TASK_QUEUED || engine->policy == TASK_OFFERED ? 0
      : engine->policy == TASK_ELIDED ? UINT32_MAX
                                      : engine->stays;
}

void task_engine_begin(task_engine *engine, int mode) {
  task_window_reset(&engine->window);
  task_map_reset(engine->map);
  task_scopes_reset(&engine->scopes, mode & TASK_EXPLICIT);
  engine->scopes.heap.high = engine->scopes.heap.used;
  engine->tasks = engine->edges = 0;
  engine->graph = NULL;
  engine->deadline = INT64_MAX;
  engine->first_sequence = engine->window.sequence + 1;
  engine->held = (mode & TASK_HELD) != 0;
  engine->by_scope = (mode & TASK_BY_SCOPE) != 0;
  engine->unrecorded = (mode & TASK_EXPLICIT) != 0;
  engine->draft = TASK_NONE;
  engine->hidden = engine->streak = engine->backoff = engine->backoff_left = 0;
  set_thresholds(engine);
  /* relaxed: lanes come in through something that orders memory */
  atomic_store_explicit(&engine->stop, 0, memory_order_relaxed);
  atomic_store_explicit(&engine->finished, 0, memory_order_relaxed);
  atomic_store_explicit(&engine->owner_target, 0, memory_order_relaxed);
  atomic_store_explicit(&engine->idle, engine->lane_count - 1, memory_order_relaxed);
}

void task_engine_free_all(task_engine *engine, uint32_t slot) {
  task_slot *task = &engine->window.slots[slot];
  if (task->held) {
    const uint32_t *blocks =
        (const uint32_t *)(void *)((char *)task_pool_at(&engine->pool, task->payload) + task->held_at);
    for (uint32_t i = 0; i < task->held; i++) task_block_release(&engine->scopes, blocks[i]);
    task->held = 0;
  }
  if (task->room > TASK_ROOM_KEPT) {
    task_pool_give(&engine->pool, task->payload);
    task->room = 0;
    engine->rooms--;
  }
  task_window_give(&engine->window, slot);
}

int task_engine_reclaim(task_engine *engine) {
  uint32_t returned = task_window_returned(&engine->window);
  if (!returned) return 0;
  while (returned) {
    uint32_t slot = returned - 1;
    returned = engine->window.slots[slot].next;
    task_engine_free(engine, slot);
  }
  return 1;
}

/* Takes back what has completed, or waits for it, but is not woken for each slot. False: nothing will come back. */
static int make_room(task_engine *engine) {
  return task_engine_reclaim(engine) || task_engine_await(engine, engine->window.live / 2 + 1);
}

/* Blocks that the task is going to hold; or TASK_STALE. */
static task_status count_blocks(const task_engine *engine, const task_access *accesses, uint32_t count,
                                uint32_t *blocks, uint32_t *which) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (!accesses[i].block) continue;
    if (!task_block_alive(&engine->scopes, accesses[i].block, accesses[i].generation)) {
      *which = i;
      return TASK_STALE;
    }
    found++;
  }
  *blocks = found;
  return TASK_OK;
}

static void drop_room(task_engine *engine, uint32_t slot) {
  task_slot *task = &engine->window.slots[slot];
  if (!task->room) return;
  task_pool_give(&engine->pool, task->payload);
  task->room = 0;
  engine->rooms--;
}

/* True if free slots keep argument memory; that of tasks in flight is in use. */
static int has_rooms(const task_engine *engine) { return engine->rooms > engine->window.live; }

/* Takes the argument memory back that free slots keep. Those that were freed last have it, and they come first. */
static void drop_rooms(task_engine *engine) {
  const task_window *window = &engine->window;
  for (uint32_t slot = window->free; slot != TASK_NONE && has_rooms(engine); slot = window->slots[slot].next)
    drop_room(engine, slot);
}

/* Argument memory of at least `bytes` for a free slot. False: there is none now. */
static int take_room(task_engine *engine, uint32_t slot, uint32_t bytes) {
  task_slot *task = &engine->window.slots[slot];
  drop_room(engine, slot);
  task->payload = task_pool_take(&engine->pool, bytes);
  if (task->payload == UINT32_MAX && has_rooms(engine)) {
    drop_rooms(engine);
    task->payload = task_pool_take(&engine->pool, bytes);
  }
  if (task->payload == UINT32_MAX) return 0;
  task->room = bytes ? (bytes + TASK_POOL_UNIT - 1) & ~(uint32_t)(TASK_POOL_UNIT - 1) : TASK_POOL_UNIT;
  engine->rooms++;
  return 1;
}

/* A free slot with argument memory of at least `bytes`. While this waits, other slots become free. */
static task_status show_slot(task_engine *engine, uint32_t bytes) {
  for (;;) {
    if (engine->window.free == TASK_NONE)
      (void)task_engine_reclaim(engine); /* before fresh ones: they are in a cache */
    uint32_t slot = task_window_peek(&engine->window);
    engine->draft = slot;
    if (slot == TASK_NONE) {
      if (!make_room(engine)) return TASK_WINDOW_FULL;
    } else if (engine->window.slots[slot].room < bytes || !engine->window.slots[slot].room) {
      if (!take_room(engine, slot, bytes) && !make_room(engine)) return TASK_PAYLOAD_FULL;
    } else {
      return TASK_OK;
    }
  }
}

/* After failures the map keeps what the failed tasks should have written. When that fills it, it is dropped, and
** everything submitted from then on counts as a follower of the failure. */
static task_status take_regions(task_engine *engine, uint32_t count) {
  while (!task_map_reserve(engine->map, &engine->window, count)) {
    if (make_room(engine)) continue;
    if (!task_failures_any(&engine->window.failures) || engine->window.failures.all) return TASK_REGIONS_FULL;
    engine->window.failures.all = 1;
  }
  return TASK_OK;
}

static void *show_payload(task_engine *engine, uint32_t held_at, uint32_t blocks) {
  engine->draft_held_at = held_at;
  engine->draft_blocks = blocks;
  engine->draft_payload = task_pool_at(&engine->pool, engine->window.slots[engine->draft].payload);
  return engine->draft_payload;
}

/* Everything that may have to wait, or to be refused. */
__attribute__((noinline)) static task_status open_slowly(task_engine *engine, const task_access *accesses,
                                                         uint32_t count, uint32_t held_at, void **out,
                                                         uint32_t *which) {
  uint32_t blocks = 0;
  task_status status = count_blocks(engine, accesses, count, &blocks, which);
  if (status == TASK_OK) status = take_regions(engine, count);
  if (status == TASK_OK) status = show_slot(engine, held_at + blocks * (uint32_t)sizeof(uint32_t));
  if (status == TASK_OK)
    *out = show_payload(engine, held_at, blocks);
  else
    engine->draft = TASK_NONE;
  return status;
}

/* In the common case the next slot has room for the arguments already, as after a task of this kernel. */
task_status task_engine_open(task_engine *engine, const task_access *accesses, uint32_t count,
                             uint32_t payload, void **out, uint32_t *which) {
  uint32_t blocks = 0, held_at = (payload + 3) & ~3u, slot = engine->window.free;
  for (uint32_t i = 0; i < count; i++) blocks |= accesses[i].block;
  if (__builtin_expect(blocks || slot == TASK_NONE, 0) ||
      __builtin_expect(engine->window.slots[slot].room < (held_at ? held_at : 1), 0) ||
      __builtin_expect(count && !task_map_has_room(engine->map, count), 0))
    return open_slowly(engine, accesses, count, held_at, out, which);
  engine->draft = slot;
  *out = show_payload(engine, held_at, 0);
  return TASK_OK;
}

static void depend_on(task_engine *engine, const baton_task *deps, uint32_t ndeps) {
  for (uint32_t i = 0; i < ndeps; i++)
    if (deps[i].generation && deps[i].slot < engine->window.capacity)
      task_window_depend(&engine->window, deps[i].slot, deps[i].generation);
}

/* Producers complete at any time, and then need no edge: only a look after the engine came to rest is the last. */
static task_status take_edges(task_engine *engine, uint32_t slot) {
  task_window *window = &engine->window;
  while (!task_window_reserve_edges(window, slot))
    if (!make_room(engine) && !task_window_reserve_edges(window, slot)) return TASK_EDGES_FULL;
  return TASK_OK;
}

/* The blocks live at least as long as the task. Their numbers stand behind its arguments. */
static void hold_blocks(task_engine *engine, task_slot *task, const task_access *accesses, uint32_t count) {
  uint32_t *held =
      (uint32_t *)(void *)((char *)task_pool_at(&engine->pool, task->payload) + engine->draft_held_at);
  for (uint32_t i = 0; i < count; i++) {
    if (!accesses[i].block) continue;
    task_block_hold(&engine->scopes, accesses[i].block);
    held[task->held++] = accesses[i].block;
  }
}

/* The draft becomes the task of this number. */
static inline uint32_t claim_draft(task_engine *engine, uint32_t sequence, uint32_t kernel,
                                   const task_access *accesses, uint32_t count) {
  uint32_t slot = engine->draft;
  task_slot *task = &engine->window.slots[slot];
  engine->draft = TASK_NONE;
  task_window_claim(&engine->window, slot, sequence);
  task->kernel = kernel;
  task->held_at = engine->draft_held_at;
  if (engine->draft_blocks) hold_blocks(engine, task, accesses, count);
  return slot;
}

/* Those of a task's accesses that the map hears of. */
static inline uint32_t count_inferred(const task_engine *engine, uint32_t count) {
  return task_scopes_are_manual(&engine->scopes) ? 0 : count;
}

/* Begins the draft with all that these accesses must wait for. */
static inline void infer_accesses(task_engine *engine, const task_access *accesses, uint32_t count) {
  task_window_begin_draft(&engine->window);
  for (uint32_t i = 0; i < count; i++) task_map_infer(engine->map, &engine->window, &accesses[i]);
}

static inline void record_accesses(task_engine *engine, const task_access *accesses, uint32_t count,
                                   uint32_t slot) {
  for (uint32_t i = 0; i < count; i++) task_map_record(engine->map, &engine->window, &accesses[i], slot);
}

/* One that has failed, or waits inside, is known to others after all. */
TASK_COLD static void end_elided(task_engine *engine, const task_call *call, int result,
                                 const task_access *accesses, uint32_t count) {
  uint32_t inferred = count_inferred(engine, count);
  engine->draft = call->task.slot;
  infer_accesses(engine, accesses, inferred); /* nothing new, but what is recorded was inferred before */
  uint32_t slot = claim_draft(engine, call->task.generation, call->kernel, accesses, count);
  (void)task_window_link(&engine->window, slot);
  record_accesses(engine, accesses, inferred, slot);
  (void)task_lane_end(engine, &engine->lanes[0], slot, result);
}

/* Calls the draft's kernel at once. Nothing that has run, and well, orders or fails what comes later, so neither the window
** nor the map hears of it: its slot stays free, and its handle is that of a task that is gone. */
static inline void elide(task_engine *engine, uint32_t kernel, const task_access *accesses, uint32_t count,
                         baton_task *out) {
  task_window *window = &engine->window;
  task_call call = {.payload = engine->draft_payload,
                    .kernel = kernel,
                    .task = {engine->draft, task_window_number(window)}};
  int result = TASK_CALL_OK;
  *out = call.task;
  engine->tasks++;
  engine->draft = TASK_NONE;
  /* relaxed: a cancel need not come at any certain task */
  if (__builtin_expect(atomic_load_explicit(&engine->stop, memory_order_relaxed), 0))
    result = TASK_CALL_FAILED;
  else if (kernel != TASK_NO_KERNEL)
    result = task_lane_call(engine, &engine->lanes[0], &call);
  if (__builtin_expect(result != TASK_CALL_OK, 0)) end_elided(engine, &call, result, accesses, count);
}

/* The task waits for the end of its scope, too. */
static void hide(task_engine *engine, uint32_t slot) {
  task_scope *scope = &engine->scopes.open[engine->scopes.depth];
  task_slot *slots = engine->window.slots;
  task_window_link_hidden(&engine->window, slot);
  slots[slot].next = 0;
  *(scope->hidden++ ? &slots[scope->last_hidden - 1].next : &scope->first_hidden) = slot + 1;
  scope->last_hidden = slot + 1;
}

/* The end of the innermost scope starts what waits for it. */
static void show_hidden(task_engine *engine) {
  task_scope *scope = &engine->scopes.open[engine->scopes.depth];
  uint32_t next = scope->first_hidden;
  scope->hidden = scope->first_hidden = scope->last_hidden = 0;
  while (next) {
    uint32_t slot = next - 1;
    next = engine->window.slots[slot].next; /* when it starts it may end at once */
    if (task_window_show(&engine->window, slot)) task_start(engine, slot, engine->window.slots[slot].kernel);
  }
}

/* The draft has producers. Those that are soon done need no edges. */
static inline task_status prepare_edges(task_engine *engine, uint32_t slot, uint32_t kernel) {
  task_window *window = &engine->window;
  if (!engine->queues) task_start_catch_up(engine, kernel);
  if (__builtin_expect(window->producer_count > TASK_OWN_EDGES, 0)) {
    task_status status = take_edges(engine, slot);
    if (status != TASK_OK) {
      task_engine_free(engine, slot);
      window->sequence--; /* nobody knows the number: the tasks of a run are numbered without gaps */
      return status;
    }
  }
  engine->edges += window->producer_count;
  return TASK_OK;
}

/* The draft takes a slot, and runs when its producers are over. The map hears of its first `inferred` accesses. */
static inline task_status submit_draft(task_engine *engine, uint32_t kernel, const task_access *accesses,
                                       uint32_t count, uint32_t inferred, baton_task *out) {
  task_window *window = &engine->window;
  uint32_t number = task_window_number(window), slot = claim_draft(engine, number, kernel, accesses, count);
  if (window->producer_count) {
    task_status status = prepare_edges(engine, slot, kernel);
    if (status != TASK_OK) return status;
  }
  engine->tasks++;
  *out = (baton_task){slot, number};
  if (engine->by_scope) {
    hide(engine, slot);
    record_accesses(engine, accesses, inferred, slot);
    return TASK_OK;
  }
  int ready = task_window_link(window, slot);
  record_accesses(engine, accesses, inferred, slot);
  if (ready)
    task_start(engine, slot, kernel);
  else if (__builtin_expect(window->live >= TASK_AHEAD, 0))
    task_start_waiting(engine);
  return TASK_OK;
}

/* Edges of a task in a manual scope that are not its user's: to the tasks that made its blocks. */
static void depend_on_makers(task_engine *engine, const task_access *accesses, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (!accesses[i].block) continue;
    const task_block *block = &engine->scopes.blocks[accesses[i].block];
    if (block->maker) task_window_depend(&engine->window, block->maker_slot, block->maker);
  }
}

/* Where the map may know of others, or the caller does. */
__attribute__((noinline)) static task_status submit_inferred(task_engine *engine, uint32_t kernel,
                                                             const task_access *accesses, uint32_t count,
                                                             const baton_task *deps, uint32_t ndeps,
                                                             baton_task *out) {
  task_window *window = &engine->window;
  uint32_t inferred = count_inferred(engine, count);
  infer_accesses(engine, accesses, inferred);
  if (inferred != count) depend_on_makers(engine, accesses, count);
  if (ndeps) depend_on(engine, deps, ndeps);
  if (!(window->producer_count | window->draft_poisoned | engine->queues | task_rank(kernel)) &&
      (task_cost(engine, kernel) <= engine->elides || task_start_at_once(engine, kernel))) {
    elide(engine, kernel, accesses, count, out);
    return TASK_OK;
  }
  return submit_draft(engine, kernel, accesses, count, inferred, out);
}

/* A task that uses nothing and follows nobody, where each goes to the queue. */
static inline void submit_alone(task_engine *engine, uint32_t kernel, baton_task *out) {
  task_window *window = &engine->window;
  uint32_t slot = engine->draft, number = task_window_number(window);
  task_slot *task = &window->slots[slot];
  engine->draft = TASK_NONE;
  task_window_claim(window, slot, number);
  task_window_link_nobody(window, slot);
  task->kernel = kernel;
  task->held_at = engine->draft_held_at;
  engine->tasks++;
  *out = (baton_task){slot, number};
  task_start_queued(engine, slot, kernel);
}

/* True if the map knows nothing of the buffers of these accesses, as when no task in flight uses them: one look for each
** access, and there is nothing to infer. */
static inline int meets_nobody(const task_engine *engine, const task_access *accesses, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (task_map_knows(engine->map, &accesses[i])) return 0;
  return !engine->window.failures.all;
}

task_status task_engine_submit(task_engine *engine, uint32_t kernel, const task_access *accesses,
                               uint32_t count, const baton_task *deps, uint32_t ndeps, baton_task *out) {
  if (__builtin_expect(!(ndeps | task_rank(kernel)) && task_cost(engine, kernel) <= engine->elides &&
                           meets_nobody(engine, accesses, count),
                       1)) {
    elide(engine, kernel, accesses, count, out);
    return TASK_OK;
  }
  if (engine->queues && !(count | ndeps | engine->window.failures.all)) {
    submit_alone(engine, kernel, out);
    return TASK_OK;
  }
  return submit_inferred(engine, kernel, accesses, count, deps, ndeps, out);
}

static task_status await_task(task_engine *engine, baton_task task) {
  while (task_window_holds(&engine->window, task.slot, task.generation)) {
    if (task_engine_reclaim(engine)) continue;
    if (task_engine_is_late(engine)) return TASK_LATE;
    if (!task_engine_await(engine, 1)) return TASK_STUCK;
  }
  return TASK_OK;
}

task_status task_engine_wait(task_engine *engine, baton_task task, int64_t deadline) {
  task_window *window = &engine->window;
  engine->deadline = deadline;
  task_status status = await_task(engine, task);
  engine->deadline = INT64_MAX;
  if (status != TASK_OK) return status;
  return task.generation && task_failures_find(&window->failures, task.generation) ? TASK_FAILED : TASK_OK;
}

task_status task_engine_settle(task_engine *engine, int64_t deadline) {
  task_status status = TASK_OK;
  engine->deadline = deadline;
  while (engine->window.live && status == TASK_OK) {
    if (task_engine_reclaim(engine)) continue;
    if (task_engine_is_late(engine))
      status = TASK_LATE;
    else if (!task_engine_await(engine, 1))
      break;
  }
  engine->deadline = INT64_MAX;
  return status == TASK_OK && task_failures_any(&engine->window.failures) ? TASK_FAILED : status;
}

int task_engine_is_manual(const task_engine *engine) { return task_scopes_are_manual(&engine->scopes); }

int task_engine_has_unrecorded(const task_engine *engine) { return engine->unrecorded != 0; }

int task_engine_find(const task_engine *engine, void *context,
                     int (*visit)(void *context, const void *payload)) {
  for (uint32_t slot = 0; engine->window.live && slot < engine->window.fresh; slot++)
    if (engine->window.residents[slot].sequence && engine->window.slots[slot].kernel != TASK_NO_KERNEL &&
        visit(context, task_pool_at(&engine->pool, engine->window.slots[slot].payload)))
      return 1;
  return 0;
}

int task_engine_knows(const task_engine *engine, baton_task task) {
  uint32_t submitted = engine->window.sequence + 1 - engine->first_sequence;
  return !task.generation || task.generation - engine->first_sequence < submitted;
}

int task_engine_awaits(task_engine *engine, const task_access *access) {
  task_window_begin_draft(&engine->window);
  task_map_infer(engine->map, &engine->window, access);
  return engine->window.producer_count || engine->window.draft_poisoned;
}

task_status task_engine_alloc(task_engine *engine, uint64_t bytes, uint64_t *offset, uint32_t *block,
                              uint32_t *generation) {
  while (!(*block = task_block_take(&engine->scopes, bytes, offset)))
    if (bytes > engine->scopes.heap.capacity || !make_room(engine)) return TASK_HEAP_FULL;
  *generation = engine->scopes.blocks[*block].generation;
  return TASK_OK;
}

int task_engine_block_range(const task_engine *engine, uint32_t block, uint32_t generation, uint64_t *offset,
                            uint64_t *bytes) {
  if (!task_block_alive(&engine->scopes, block, generation)) return 0;
  const base_heap *heap = &engine->scopes.heap;
  const base_heap_range *range = &heap->ranges[engine->scopes.blocks[block].range];
  *offset = range->offset * heap->unit;
  *bytes = range->size * heap->unit;
  return 1;
}

void task_engine_made_by(task_engine *engine, uint32_t block, baton_task task) {
  engine->scopes.blocks[block].maker_slot = task.slot;
  engine->scopes.blocks[block].maker = task.generation;
  if (task_scopes_are_manual(&engine->scopes) && engine->elides) (void)await_task(engine, task);
}

int task_engine_scope_begin(task_engine *engine, int manual) {
  engine->unrecorded |= manual != 0;
  return task_scope_begin(&engine->scopes, manual);
}

int task_engine_scope_end(task_engine *engine) {
  if (engine->scopes.depth) show_hidden(engine);
  return task_scope_end(&engine->scopes);
}

uint32_t task_engine_scope_number(const task_engine *engine) {
  return engine->scopes.open[engine->scopes.depth].number;
}

void task_engine_release(task_engine *engine) {
  engine->held = 0;
  set_thresholds(engine);
}

void task_engine_cancel(task_engine *engine) {
  atomic_store_explicit(&engine->stop, 1, memory_order_relaxed);
}

int task_engine_is_cancelled(const task_engine *engine) {
  return atomic_load_explicit(&engine->stop, memory_order_relaxed) != 0;
}

uint32_t task_engine_cost(const task_engine *engine, uint32_t kernel) {
  uint32_t cost = task_cost(engine, kernel);
  return cost == TASK_COST_UNKNOWN ? 0 : cost;
}

void task_engine_begin_parts(task_engine *engine) {
  engine->tasks_before = engine->tasks;
  engine->edges_before = engine->edges;
}

void task_engine_end_parts(task_engine *engine) {
  engine->tasks = engine->tasks_before;
  engine->edges = engine->edges_before;
}

static int unfinished(const task_engine *engine) {
  if (!engine->graph) return engine->window.live != 0 || engine->draft != TASK_NONE;
  uint32_t completed = 0;
  for (uint32_t i = 0; i < engine->lane_count; i++)
    completed += atomic_load_explicit(&engine->lanes[i].completed, memory_order_acquire);
  return completed != engine->graph->count;
}

static task_status run_to_the_end(task_engine *engine) {
  for (task_engine_reclaim(engine); unfinished(engine); task_engine_reclaim(engine))
    if (!task_engine_await(engine, UINT32_MAX) && unfinished(engine)) return TASK_STUCK;
  return TASK_OK;
}

/* release, at least: a lane that leaves has nothing to do with the engine any more. seq_cst: a lane that goes to sleep
** counts as a sleeper before it looks whether the run is finished. */
static void send_lanes_home(task_engine *engine) {
  atomic_store_explicit(&engine->finished, 1, memory_order_seq_cst);
  if (!atomic_load_explicit(&engine->sleepers, memory_order_seq_cst)) return;
  atomic_fetch_add_explicit(&engine->event, 1, memory_order_seq_cst);
  engine->hooks.wake(engine->hooks.context, &engine->event, 1);
}

task_status task_engine_finish(task_engine *engine) {
  while (task_engine_scope_end(engine)) {
  }
  show_hidden(engine);
  task_scopes_end_all(&engine->scopes);
  if (engine->held) task_engine_release(engine);
  task_status status = task_lane_walk(engine, &engine->lanes[0]) ? TASK_OK : run_to_the_end(engine);
  if (engine->graph) task_replay_finish(engine);
  send_lanes_home(engine);
  return status;
}

void task_engine_counts(const task_engine *engine, task_counts *counts) {
  const task_scope *holder = task_scope_largest(&engine->scopes);
  const task_scope *hider = task_scope_most_hidden(&engine->scopes);
  uint32_t shown =
      !engine->graph && engine->tasks; /* the slot that an elided task shows, and does not take */
  *counts = (task_counts){
      .tasks = engine->tasks,
      .edges = engine->edges,
      .live = engine->window.live,
      .window_high = engine->window.high > shown ? engine->window.high : shown,
      .heap_used = engine->scopes.heap.used,
      .heap_high = engine->scopes.heap.high,
      .heap_largest = base_heap_largest(&engine->scopes.heap),
      .edges_used = (uint32_t)engine->window.edge_heap.used,
      .edges_high = (uint32_t)engine->window.edge_heap.high,
      .regions = task_map_live(engine->map),
      .holder_scope = (uint32_t)(holder - engine->scopes.open),
      .holder_blocks = holder->block_count,
      .holder_bytes = holder->bytes,
      .hider_scope = (uint32_t)(hider - engine->scopes.open),
      .hidden = hider->hidden,
  };
}
