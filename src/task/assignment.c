#include "task/assignment.h"
#include "task/graph.h"
#include <string.h>

/* What the lists are weighed with, in ns. */
enum {
  CROSSING = 150,  /* until a lane sees that another one has ended a task */
  LOOK = 50,       /* what a wait costs that is over already */
  STEP = 4,        /* what a step costs beside its kernel */
  QUEUED = 150,    /* the same for a node that goes through the queues */
  LONGEST = 10000, /* nodes that take longer gain nothing from lists */
  CHUNK = 4000,    /* what a lane takes at a time */
  EVEN = 100,      /* nodes that take longer than a mispredicted branch and a cache line that changes hands */
  MOST = 1 << 17   /* nodes: trials with more would take too long */
};

/* --- Memory -------------------------------------------------------------------------------------------- */

static void *carve(char **at, size_t size) {
  void *piece = *at;
  *at += base_whole_lines(size);
  return piece;
}

size_t task_assignment_size(uint32_t nodes, uint32_t edges) {
  return base_whole_lines(nodes * sizeof(task_step)) + base_whole_lines((edges + 1) * sizeof(task_wait)) +
         2 * base_whole_lines(nodes * sizeof(uint64_t)) + 3 * base_whole_lines(nodes * sizeof(uint32_t)) +
         base_whole_lines((nodes + 1) * sizeof(uint32_t)) + 2 * base_whole_lines(nodes) +
         base_whole_lines(edges * sizeof(uint32_t));
}

void task_assignment_init(task_assignment *assignment, void *memory, uint32_t nodes, uint32_t edges) {
  char *at = memory;
  *assignment = (task_assignment){.lanes = 0};
  assignment->steps = carve(&at, nodes * sizeof(task_step));
  assignment->waits = carve(&at, (edges + 1) * sizeof(task_wait));
  assignment->last = carve(&at, nodes * sizeof(uint64_t));
  assignment->earlier = carve(&at, nodes * sizeof(uint64_t));
  assignment->heap = carve(&at, nodes * sizeof(uint32_t));
  assignment->order = carve(&at, nodes * sizeof(uint32_t));
  assignment->place = carve(&at, nodes * sizeof(uint32_t));
  assignment->missing = carve(&at, (nodes + 1) * sizeof(uint32_t));
  assignment->last_lane = carve(&at, nodes);
  assignment->lane = carve(&at, nodes);
  assignment->producers = carve(&at, edges * sizeof(uint32_t));
}

/* --- Trying an assignment ------------------------------------------------------------------------------ */

/* One imagined run. Nodes are placed in the order in which their producers end. */
typedef struct trial {
  task_assignment *to;
  const task_graph *graph;
  uint32_t lanes;
  int earliest;   /* lanes are chosen on the way: where a node ends first; else they stand in to->lane */
  uint32_t ready; /* nodes in the heap */
  uint64_t ends[TASK_LANES];
  uint64_t longest_wait;
} trial;

/* When what a node reads has come to a lane. */
static uint64_t arrival(const task_assignment *to, uint32_t node, uint32_t lane) {
  uint64_t last = to->last[node], earlier = to->earlier[node];
  if (!last) return 0;
  if (to->last_lane[node] != lane) return last + CROSSING;
  return earlier && earlier + CROSSING > last ? earlier + CROSSING : last;
}

static uint64_t key(const trial *t, uint32_t node) {
  return t->earliest ? t->to->last[node] : arrival(t->to, node, t->to->lane[node]);
}

static int comes_before(const trial *t, uint32_t a, uint32_t b) {
  uint64_t left = key(t, a), right = key(t, b);
  return left != right ? left < right : a < b;
}

static void push(trial *t, uint32_t node) {
  uint32_t *heap = t->to->heap, at = t->ready++;
  for (; at && comes_before(t, node, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = node;
}

static uint32_t pop(trial *t) {
  uint32_t *heap = t->to->heap, first = heap[0], moved = heap[--t->ready], at = 0;
  for (uint32_t child = 1; child < t->ready; child = 2 * at + 1) {
    if (child + 1 < t->ready && comes_before(t, heap[child + 1], heap[child])) child++;
    if (!comes_before(t, heap[child], moved)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = moved;
  return first;
}

/* When the node would begin on a lane. */
static uint64_t begin_on(const trial *t, uint32_t node, uint32_t lane) {
  const task_assignment *to = t->to;
  uint64_t free = t->ends[lane], data = arrival(to, node, lane);
  if (to->last[node] && (to->last_lane[node] != lane || to->earlier[node])) free += LOOK;
  return data > free ? data : free;
}

/* Where it begins first; the lane of its last producer if that is no later. */
static uint32_t choose_lane(const trial *t, uint32_t node) {
  uint32_t best = t->to->last[node] ? t->to->last_lane[node] : 0;
  for (uint32_t lane = 0; lane < t->lanes; lane++)
    if (begin_on(t, node, lane) < begin_on(t, node, best)) best = lane;
  return best;
}

static uint64_t cost_of(const task_graph *graph, uint32_t node) {
  return (uint64_t)graph->costs[node] + STEP;
}

/* A producer of `node` ends on `lane`. */
static void note_producer(task_assignment *to, uint32_t node, uint32_t lane, uint64_t end) {
  if (to->last[node] && to->last_lane[node] != lane) {
    uint64_t other = end < to->last[node] ? end : to->last[node];
    if (other > to->earlier[node]) to->earlier[node] = other;
  }
  if (end <= to->last[node]) return;
  to->last[node] = end;
  to->last_lane[node] = (uint8_t)lane;
}

static void place(trial *t, uint32_t node) {
  task_assignment *to = t->to;
  const task_graph *graph = t->graph;
  uint32_t lane = t->earliest ? choose_lane(t, node) : to->lane[node];
  uint64_t begin = begin_on(t, node, lane), end = begin + cost_of(graph, node);
  if (begin - t->ends[lane] > t->longest_wait) t->longest_wait = begin - t->ends[lane];
  t->ends[lane] = end;
  to->lane[node] = (uint8_t)lane;
  for (uint32_t i = graph->nodes[node].first; i < graph->nodes[node + 1].first; i++) {
    uint32_t consumer = graph->consumers[i];
    note_producer(to, consumer, lane, end);
    if (--to->missing[consumer] == 0) push(t, consumer);
  }
}

static uint64_t span_of(const trial *t) {
  uint64_t span = 0;
  for (uint32_t lane = 0; lane < t->lanes; lane++)
    if (t->ends[lane] > span) span = t->ends[lane];
  return span;
}

/* The time from begin to end; the order of the nodes stays in to->order, their lanes in to->lane. */
static uint64_t try(trial *t) {
  task_assignment *to = t->to;
  t->ready = 0;
  t->longest_wait = 0;
  memset(t->ends, 0, sizeof t->ends);
  memset(to->last, 0, t->graph->count * sizeof *to->last);
  memset(to->earlier, 0, t->graph->count * sizeof *to->earlier);
  for (uint32_t node = 0; node < t->graph->count; node++) to->missing[node] = t->graph->nodes[node].fan_in;
  for (uint32_t node = 0; node < t->graph->count; node++)
    if (!to->missing[node]) push(t, node);
  for (uint32_t placed = 0; t->ready; placed++) {
    uint32_t node = pop(t);
    to->order[placed] = node;
    place(t, node);
  }
  uint64_t span = span_of(t);
  for (uint32_t lane = 0; lane < t->lanes; lane++)
    if (span - t->ends[lane] > t->longest_wait) t->longest_wait = span - t->ends[lane];
  return span;
}

/* --- Lanes by level ------------------------------------------------------------------------------------ */

/* Nodes in the order of their levels, those of one level in the order of their submits, into to->order; the level of each
** node into to->place. Returns how many levels there are. */
static uint32_t sort_by_level(task_assignment *to, const task_graph *graph) {
  uint32_t *level = to->place, *begins = to->missing, levels = 0;
  memset(level, 0, graph->count * sizeof *level);
  memset(begins, 0, (graph->count + 1) * sizeof *begins);
  for (uint32_t node = 0; node < graph->count; node++) {
    begins[level[node] + 1]++;
    if (level[node] >= levels) levels = level[node] + 1;
    for (uint32_t i = graph->nodes[node].first; i < graph->nodes[node + 1].first; i++)
      if (level[graph->consumers[i]] <= level[node]) level[graph->consumers[i]] = level[node] + 1;
  }
  for (uint32_t i = 0; i < levels; i++) begins[i + 1] += begins[i];
  for (uint32_t node = 0; node < graph->count; node++) to->order[begins[level[node]]++] = node;
  return levels;
}

/* Cuts every level into neighbours, one part a lane, so that all levels so far are shared evenly: what is cut off too much
** in one level is made good in the next. */
static void cut_levels(trial *t) {
  task_assignment *to = t->to;
  const task_graph *graph = t->graph;
  uint64_t load[TASK_LANES] = {0}, total = 0;
  uint32_t levels = sort_by_level(to, graph), begin = 0;
  for (uint32_t level = 0; level < levels; level++) {
    uint32_t end = begin, lane = 0;
    for (; end < graph->count && to->place[to->order[end]] == level; end++)
      total += cost_of(graph, to->order[end]);
    for (uint32_t i = begin; i < end; i++) {
      uint64_t cost = cost_of(graph, to->order[i]);
      while (lane + 1 < t->lanes && load[lane] + cost / 2 >= total / t->lanes) lane++;
      load[lane] += cost;
      to->lane[to->order[i]] = (uint8_t)lane;
    }
    begin = end;
  }
}

/* --- Lists --------------------------------------------------------------------------------------------- */

/* The producers of each node in other lists: to->producers[to->missing[node] … the next node's). */
static void collect_producers(task_assignment *to, const task_graph *graph) {
  uint32_t *first = to->missing, total = 0;
  memset(first, 0, (graph->count + 1) * sizeof *first);
  for (uint32_t node = 0; node < graph->count; node++)
    for (uint32_t i = graph->nodes[node].first; i < graph->nodes[node + 1].first; i++)
      if (to->lane[graph->consumers[i]] != to->lane[node]) first[graph->consumers[i]]++;
  for (uint32_t node = 0; node <= graph->count; node++) {
    total += first[node];
    first[node] = total; /* where they end: filled from behind */
  }
  for (uint32_t node = 0; node < graph->count; node++)
    for (uint32_t i = graph->nodes[node].first; i < graph->nodes[node + 1].first; i++)
      if (to->lane[graph->consumers[i]] != to->lane[node]) to->producers[--first[graph->consumers[i]]] = node;
}

static void lay_out_lists(task_assignment *to, const task_graph *graph, uint32_t lanes) {
  uint32_t first = 0;
  for (uint32_t lane = 0; lane < lanes; lane++) to->lists[lane] = (task_list){.length = 0};
  for (uint32_t i = 0; i < graph->count; i++) {
    uint32_t node = to->order[i];
    to->place[node] = to->lists[to->lane[node]].length++;
  }
  for (uint32_t lane = 0; lane < lanes; lane++) {
    to->lists[lane].first = first;
    first += to->lists[lane].length;
  }
  for (uint32_t node = 0; node < graph->count; node++)
    to->steps[to->lists[to->lane[node]].first + to->place[node]] =
        (task_step){.node = node, .kernel = graph->nodes[node].kernel, .payload = graph->nodes[node].payload};
}

/* How far the other lanes must be before a node; `covered`: as far as its lane has waited for them. Adds the waits and
** returns where the next ones begin. */
static uint32_t add_waits(task_assignment *to, uint32_t node, uint32_t *covered, uint32_t at) {
  uint64_t waits_for = 0;
  for (uint32_t i = to->missing[node]; i < to->missing[node + 1]; i++) {
    uint32_t producer = to->producers[i], lane = to->lane[producer], count = to->place[producer] + 1;
    if (count <= covered[lane]) continue;
    covered[lane] = count;
    waits_for |= UINT64_C(1) << lane;
  }
  if (!waits_for) return at;
  to->steps[to->lists[to->lane[node]].first + to->place[node]].flow |=
      TASK_STEP_WAITS | at << TASK_STEP_SHIFT;
  for (; waits_for; waits_for &= waits_for - 1) {
    uint32_t lane = (uint32_t)__builtin_ctzll(waits_for);
    to->steps[to->lists[lane].first + covered[lane] - 1].flow |= TASK_STEP_TELLS;
    to->waits[at++] = (task_wait){lane, covered[lane]};
  }
  to->waits[at - 1].lane |= TASK_WAIT_LAST;
  return at;
}

static void add_all_waits(const trial *t) {
  task_assignment *to = t->to;
  uint32_t at = 0;
  to->waits[at++] = (task_wait){TASK_WAIT_LAST, 0};
  for (uint32_t lane = 0; lane < t->lanes; lane++) {
    uint32_t covered[TASK_LANES] = {0}, covering = 0;
    const task_list *list = &to->lists[lane];
    int even = t->lanes > 1 && t->ends[lane] >= (uint64_t)list->length * EVEN;
    for (uint32_t i = list->first; i < list->first + list->length; i++) {
      uint32_t next = add_waits(to, to->steps[i].node, covered, at);
      if (next != at) covering = at;
      if (even) to->steps[i].flow |= TASK_STEP_TELLS | TASK_STEP_WAITS | covering << TASK_STEP_SHIFT;
      at = next;
    }
  }
}

static void make_lists(trial *t, uint64_t span) {
  task_assignment *to = t->to;
  to->lanes = t->lanes;
  to->span = span;
  lay_out_lists(to, t->graph, t->lanes);
  for (uint32_t lane = 0; lane < t->lanes; lane++) {
    task_list *list = &to->lists[lane];
    uint64_t chunk = t->ends[lane] ? (uint64_t)list->length * CHUNK / t->ends[lane] : 1;
    list->chunk = chunk < 1 ? 1 : chunk < list->length ? (uint32_t)chunk : list->length;
    list->slack = (uint32_t)(span - t->ends[lane]);
  }
  collect_producers(to, t->graph);
  add_all_waits(t);
}

/* --- Choosing ------------------------------------------------------------------------------------------ */

static uint64_t total_cost(const task_graph *graph) {
  uint64_t total = 0;
  for (uint32_t node = 0; node < graph->count; node++) total += cost_of(graph, node);
  return total;
}

typedef struct choice {
  uint32_t lanes; /* 0: queues */
  int earliest;
  uint64_t span;
} choice;

/* One lane keeps to the order of the submits. */
static uint64_t try_alone(trial *t, uint64_t total) {
  for (uint32_t node = 0; node < t->graph->count; node++) {
    t->to->order[node] = node;
    t->to->lane[node] = 0;
  }
  return t->ends[0] = total;
}

static uint64_t try_choice(trial *t, const choice *tried) {
  t->lanes = tried->lanes;
  t->earliest = tried->earliest;
  if (tried->lanes == 1) return try_alone(t, tried->span);
  if (!t->earliest) cut_levels(t);
  return try(t);
}

/* Tries one way to give lanes to the nodes. A lane that would have to wait longer than it has patience for makes lists
** useless. True: it is the best so far, and hardly any other can be better. */
static int improve(trial *t, choice *best, choice tried, uint64_t total, uint32_t join) {
  tried.span = try_choice(t, &tried) + join;
  if (t->longest_wait < TASK_PATIENCE_NS / 2 && tried.span + tried.span / 16 < best->span) *best = tried;
  return best->lanes == tried.lanes && best->span - join < total / tried.lanes + total / tried.lanes / 16;
}

/* For 1, 2, 4, … lanes. */
static choice choose(trial *t, uint32_t lanes, uint32_t join) {
  uint64_t total = total_cost(t->graph);
  uint64_t queued = (total + (uint64_t)t->graph->count * QUEUED) / lanes + join;
  choice best = {1, 0, total};
  if (lanes == 1 || total < 2 * (uint64_t)join) return best;
  if (total / t->graph->count >= LONGEST) return (choice){0, 0, queued};
  for (uint32_t count = 2; count <= lanes && t->graph->count <= MOST; count *= 2)
    if (!improve(t, &best, (choice){count, 0, 0}, total, join))
      (void)improve(t, &best, (choice){count, 1, 0}, total, join);
  return best.lanes == 1 && queued < total / 2 + total / 4 ? (choice){0, 0, queued} : best;
}

void task_assignment_make(task_assignment *assignment, const task_graph *graph, uint32_t lanes,
                          uint32_t join) {
  trial t = {.to = assignment, .graph = graph};
  if (!graph->count) return;
  choice best = choose(&t, lanes, join);
  assignment->lanes = 0;
  assignment->span = best.span;
  assignment->alone = total_cost(graph);
  if (best.lanes) make_lists(&t, try_choice(&t, &best));
}
