#include "task/graph.h"
#include "task/state.h"
#include <string.h>

static size_t payload_size(const task_slot *task) {
  return (task->held_at + TASK_PAYLOAD_UNIT - 1) & ~(size_t)(TASK_PAYLOAD_UNIT - 1);
}

/* The consumer of an edge, and the edge behind it in its list. */
static uint32_t consumer_of(const task_window *window, uint32_t edge, uint32_t *next) {
  uint32_t own = window->capacity * TASK_OWN_EDGES;
  if (edge < own) {
    *next = window->slots[edge / TASK_OWN_EDGES].own_edges[edge % TASK_OWN_EDGES];
    return edge / TASK_OWN_EDGES;
  }
  *next = window->edges[edge - own].next;
  return window->edges[edge - own].consumer;
}

/* In a held run nothing was given back, so the tasks are the slots that are taken, and numbers count on. */
static uint32_t node_of(const task_engine *engine, uint32_t slot) {
  return engine->window.slots[slot].sequence - engine->first_sequence;
}

static uint32_t edge_count(const task_window *window, uint32_t slot) {
  uint32_t count = 0, next;
  for (uint32_t edge = atomic_load_explicit(&window->slots[slot].fan_out, memory_order_relaxed);
       edge != TASK_NONE; edge = next, count++)
    (void)consumer_of(window, edge, &next);
  return count;
}

typedef struct graph_sizes {
  uint32_t count, edges, lanes;
  uint64_t payload_bytes;
} graph_sizes;

static graph_sizes measure(const task_engine *engine) {
  const task_window *window = &engine->window;
  graph_sizes sizes = {.count = window->live, .lanes = engine->lane_count};
  for (uint32_t slot = 0; slot < window->fresh; slot++) {
    if (!window->residents[slot].sequence) continue;
    sizes.edges += edge_count(window, slot);
    sizes.payload_bytes += payload_size(&window->slots[slot]);
  }
  return sizes;
}

static size_t total_size(const graph_sizes *sizes) {
  return base_whole_lines(sizeof(task_graph)) + base_whole_lines((sizes->count + 1) * sizeof(task_node)) +
         base_whole_lines(sizes->edges * sizeof(uint32_t)) + base_whole_lines(sizes->payload_bytes) +
         2 * base_whole_lines(sizes->count * sizeof(uint32_t)) + base_whole_lines(sizes->count) +
         sizes->lanes * sizeof(task_course) + task_assignment_size(sizes->count, sizes->edges);
}

size_t task_graph_size(const task_engine *engine) {
  graph_sizes sizes = measure(engine);
  return total_size(&sizes);
}

static void *carve(char **at, size_t size) {
  void *piece = *at;
  *at += base_whole_lines(size);
  return piece;
}

static task_graph *lay_out(void *memory, const graph_sizes *sizes) {
  char *at = memory;
  task_graph *graph = carve(&at, sizeof *graph);
  *graph = (task_graph){.count = sizes->count,
                        .edges = sizes->edges,
                        .payload_bytes = sizes->payload_bytes,
                        .lanes = sizes->lanes,
                        .join = TASK_JOIN_NS};
  graph->nodes = carve(&at, (sizes->count + 1) * sizeof(task_node));
  graph->consumers = carve(&at, sizes->edges * sizeof(uint32_t));
  graph->payloads = carve(&at, sizes->payload_bytes);
  graph->open = carve(&at, sizes->count * sizeof(uint32_t));
  graph->poisoned = carve(&at, sizes->count);
  graph->costs = carve(&at, sizes->count * sizeof(uint32_t));
  graph->courses = carve(&at, sizes->lanes * sizeof(task_course));
  memset(graph->costs, 0, sizes->count * sizeof(uint32_t));
  memset(graph->courses, 0, sizes->lanes * sizeof(task_course));
  task_assignment_init(&graph->assignment, at, sizes->count, sizes->edges);
  return graph;
}

/* Lists grow at their heads, so the consumers come out in reverse; they are stored in the order of their submits. */
static uint32_t copy_consumers(const task_engine *engine, task_graph *graph, uint32_t slot, uint32_t first) {
  const task_window *window = &engine->window;
  uint32_t count = edge_count(window, slot), at = count, next;
  for (uint32_t edge = atomic_load_explicit(&window->slots[slot].fan_out, memory_order_relaxed);
       edge != TASK_NONE; edge = next) {
    uint32_t consumer = node_of(engine, consumer_of(window, edge, &next));
    graph->consumers[first + --at] = consumer;
    graph->nodes[consumer].fan_in++;
  }
  return first + count;
}

/* Ends the held run: its tasks are given back unrun. */
static void drop_tasks(task_engine *engine) {
  for (uint32_t slot = 0; slot < engine->window.fresh; slot++)
    if (engine->window.residents[slot].sequence) task_engine_free(engine, slot);
  task_queue *queue = &engine->lanes[0].queue;
  /* relaxed: no other lane is inside */
  atomic_store_explicit(&queue->top, atomic_load_explicit(&queue->bottom, memory_order_relaxed),
                        memory_order_relaxed);
  task_ranks_clear(engine);
  task_scopes_end_all(&engine->scopes);
  task_map_reset(engine->map);
}

task_graph *task_graph_capture(task_engine *engine, void *memory, void *context,
                               void (*moved)(void *context, void *copy, const void *original,
                                             uint32_t bytes)) {
  graph_sizes sizes = measure(engine);
  task_graph *graph = lay_out(memory, &sizes);
  const task_window *window = &engine->window;
  uint32_t *slots = engine->window.producers; /* scratch: the slot of each node */
  memset(graph->nodes, 0, (sizes.count + 1) * sizeof(task_node));
  for (uint32_t slot = 0; slot < window->fresh; slot++)
    if (window->residents[slot].sequence) slots[node_of(engine, slot)] = slot;
  uint64_t payload = 0;
  uint32_t edges = 0;
  for (uint32_t i = 0; i < sizes.count; i++) {
    const task_slot *task = &window->slots[slots[i]];
    const void *original = task_pool_at(&engine->pool, task->payload);
    graph->nodes[i].kernel = task->kernel;
    graph->ranked |= task_rank(task->kernel);
    graph->nodes[i].first = edges;
    graph->nodes[i].payload = (uint32_t)(payload / TASK_PAYLOAD_UNIT);
    edges = copy_consumers(engine, graph, slots[i], edges);
    memcpy(graph->payloads + payload, original, task->held_at);
    moved(context, graph->payloads + payload, original, task->held_at);
    payload += payload_size(task);
  }
  graph->nodes[sizes.count].first = edges;
  graph->counted_tasks = engine->tasks;
  graph->counted_edges = engine->edges;
  graph->heap_high = engine->scopes.heap.high;
  graph->edges_high = window->edge_heap.high;
  drop_tasks(engine);
  return graph;
}

static void begin_queued(task_graph *graph, task_engine *engine) {
  for (uint32_t i = 0; i < engine->lane_count; i++)
    atomic_store_explicit(&engine->lanes[i].completed, 0, memory_order_relaxed);
  for (uint32_t i = 0; i < graph->count; i++) {
    /* relaxed: the lanes come in through something that orders memory */
    atomic_store_explicit(&graph->open[i], graph->nodes[i].fan_in, memory_order_relaxed);
    atomic_store_explicit(&graph->poisoned[i], 0, memory_order_relaxed);
  }
  for (uint32_t i = 0; i < graph->count; i++)
    if (!graph->nodes[i].fan_in) task_lane_push(engine, &engine->lanes[0], i);
}

/* What the graph took when it was built, which is what a user has to give it. */
static void count_building(const task_graph *graph, task_engine *engine) {
  engine->window.high = graph->count;
  engine->window.edge_heap.high = graph->edges_high;
  engine->scopes.heap.high = graph->heap_high;
}

void task_graph_begin(task_graph *graph, task_engine *engine) {
  task_engine_begin(engine, TASK_HELD);
  count_building(graph, engine);
  engine->graph = graph;
  engine->tasks = graph->counted_tasks;
  engine->edges = graph->counted_edges;
  if (!task_replay_begin(engine)) begin_queued(graph, engine);
  task_engine_release(engine);
}

uint32_t task_graph_lanes(const task_graph *graph, const task_engine *engine) {
  if (engine->walk.by_lists) return graph->assignment.lanes;
  return graph->replay.fewer_lanes ? graph->replay.fewer_lanes : engine->lane_count;
}
