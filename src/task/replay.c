#include "task/replay.h"
#include "task/state.h"
#include <string.h>

enum {
  LOOKS = 16, /* at what is waited for, between looks at the clock */
  SPINS = 400,
  NAP_NS = 100000,
  NEARLY_NS = 5000, /* so near to its end a list needs no help */
  FIRST_PAUSE = 64, /* runs until costs are measured again, and at most */
  LONGEST_PAUSE = 65536,
  MEASURES = 2, /* runs that one measuring takes: the least counts */
  ODD_RUNS = 8, /* in a row before costs are measured again, and at most */
  MOST_ODD_RUNS = 1024,
  LOST = 64,       /* times what a run takes on one lane are lost before fewer lanes are tried … */
  FEWER = 16,      /* … for so many times as long */
  WORTH = 8,       /* what more lanes win is at least one part in so many */
  ODD_NS = 1000,   /* differences that mean nothing */
  LONGEST_REST = 6 /* as a power of two */
};

#define TASK_GONE (TASK_TAKEN_AWAY - 1) /* in `taken`: the lane has run its list and left */

/* A lane on its way. */
typedef struct walker {
  task_engine *engine;
  task_graph *graph;
  task_course *course;
  const task_list *list;
  uint32_t lane;
  uint32_t taken;            /* steps */
  uint64_t stamp;            /* the run, in the upper half */
  uint64_t seen[TASK_LANES]; /* how far the other lanes were when last looked at */
} walker;

static int64_t now(const task_engine *engine) { return engine->hooks.clock(engine->hooks.context); }

/* --- Giving the lists up ------------------------------------------------------------------------------- */

static uint32_t count_of(uint64_t value, uint64_t stamp) {
  return value >> 32 == stamp >> 32 ? (uint32_t)value : 0;
}

/* Takes away what the lanes have not taken; returns how many steps are over. */
static uint32_t take_away(task_engine *engine, uint64_t stamp) {
  task_graph *graph = engine->graph;
  const task_assignment *assignment = &graph->assignment;
  uint32_t done = 0, holders = 0;
  for (uint32_t lane = 0; lane < assignment->lanes; lane++) {
    task_course *course = &graph->courses[lane];
    /* acquire: a lane that is gone has told that its list is over */
    uint32_t taken = count_of(
        atomic_exchange_explicit(&course->taken, stamp | TASK_TAKEN_AWAY, memory_order_acquire), stamp);
    course->seen_taken = taken == TASK_GONE ? assignment->lists[lane].length : taken;
    /* acquire: what the tasks wrote */
    course->seen_over = count_of(atomic_load_explicit(&course->over, memory_order_acquire), stamp);
    done += course->seen_over;
    holders += course->seen_over != course->seen_taken;
  }
  /* relaxed: told with the end of the walk */
  atomic_store_explicit(&engine->walk.holders, holders, memory_order_relaxed);
  return done;
}

static void add_open(task_graph *graph, uint32_t node) {
  /* relaxed, here and below: the lanes wait until the end of the walk, or get nodes from a queue */
  uint32_t open = atomic_load_explicit(&graph->open[node], memory_order_relaxed);
  atomic_store_explicit(&graph->open[node], open + 1, memory_order_relaxed);
}

static void count_open_edges(task_graph *graph) {
  const task_assignment *assignment = &graph->assignment;
  for (uint32_t node = 0; node < graph->count; node++) {
    atomic_store_explicit(&graph->open[node], 0, memory_order_relaxed);
    atomic_store_explicit(&graph->poisoned[node], 0, memory_order_relaxed);
  }
  for (uint32_t lane = 0; lane < assignment->lanes; lane++) {
    const task_course *course = &graph->courses[lane];
    const task_list *list = &assignment->lists[lane];
    for (uint32_t at = course->seen_over; at < list->length; at++) {
      uint32_t node = assignment->steps[list->first + at].node;
      if (at < course->seen_taken) add_open(graph, node);
      for (uint32_t i = graph->nodes[node].first; i < graph->nodes[node + 1].first; i++)
        add_open(graph, graph->consumers[i]);
    }
  }
}

/* All are found before the first is pushed: from then on others may make nodes ready, and push those themselves. */
static void push_ready(task_engine *engine, task_lane *lane) {
  task_graph *graph = engine->graph;
  const task_assignment *assignment = &graph->assignment;
  uint32_t *ready = assignment->heap, count = 0;
  for (uint32_t i = 0; i < assignment->lanes; i++) {
    const task_list *list = &assignment->lists[i];
    for (uint32_t at = graph->courses[i].seen_taken; at < list->length; at++) {
      uint32_t node = assignment->steps[list->first + at].node;
      if (!atomic_load_explicit(&graph->open[node], memory_order_relaxed)) ready[count++] = node;
    }
  }
  for (uint32_t i = 0; i < count; i++) task_lane_push(engine, lane, ready[i]);
}

static void await_end_of_walk(const task_engine *engine) {
  const _Atomic uint32_t *walk = &engine->walk.state;
  /* acquire: what was counted */
  for (uint32_t spins = 0; atomic_load_explicit(walk, memory_order_acquire) == TASK_WALK_ENDING; spins++)
    if (spins < SPINS)
      base_relax();
    else
      (void)engine->hooks.park(engine->hooks.context, walk, TASK_WALK_ENDING, NAP_NS);
}

/* What goes through the queues can begin, and even end, before the owner comes in. Any lane. */
static void note_begin(task_engine *engine) {
  /* relaxed: nothing comes with it, and of two lanes that come in together either may be right */
  if (!atomic_load_explicit(&engine->walk.began, memory_order_relaxed))
    atomic_store_explicit(&engine->walk.began, now(engine), memory_order_relaxed);
}

/* From here on the queues have what has not been taken. Any lane with a list. */
static void give_up(walker *w) {
  task_engine *engine = w->engine;
  note_begin(engine);
  uint32_t walking = TASK_WALKING;
  /* relaxed: nothing comes with it */
  if (!atomic_compare_exchange_strong_explicit(&engine->walk.state, &walking, TASK_WALK_ENDING,
                                               memory_order_relaxed, memory_order_relaxed)) {
    await_end_of_walk(engine);
    return;
  }
  uint32_t done = take_away(engine, w->stamp);
  count_open_edges(w->graph);
  for (uint32_t i = 0; i < engine->lane_count; i++)
    atomic_store_explicit(&engine->lanes[i].completed, i == w->lane ? done : 0, memory_order_relaxed);
  push_ready(engine, &engine->lanes[w->lane]);
  /* release: all that was counted */
  atomic_store_explicit(&engine->walk.state, TASK_WALK_ENDED, memory_order_release);
  engine->hooks.wake(engine->hooks.context, &engine->walk.state, 1);
}

void task_replay_hand_over(task_engine *engine, task_lane *lane) {
  task_graph *graph = engine->graph;
  const task_course *course = &graph->courses[lane->number];
  const task_step *steps = graph->assignment.steps + graph->assignment.lists[lane->number].first;
  uint32_t at = course->seen_over;
  if (at == course->seen_taken) return;
  for (; at < course->at; at++) task_lane_complete_node(engine, lane, steps[at].node, 0);
  if (course->result == TASK_CALL_FAILED) task_lane_complete_node(engine, lane, steps[at++].node, 1);
  if (course->result == TASK_CALL_WAITS) {
    lane->waiting++;
    at++;
  }
  for (; at < course->seen_taken; at++) /* acquire: what all producers wrote */
    if (atomic_fetch_sub_explicit(&graph->open[steps[at].node], 1, memory_order_acq_rel) == 1)
      task_lane_push(engine, lane, steps[at].node);
  /* seq_cst: the lane was busy before; see at_rest in lane.c */
  atomic_fetch_sub_explicit(&engine->walk.holders, 1, memory_order_seq_cst);
}

/* --- Walking ------------------------------------------------------------------------------------------- */

static int must_stop(const walker *w) {
  /* relaxed: both only tell the lane to look closer */
  return atomic_load_explicit(&w->engine->walk.state, memory_order_relaxed) != TASK_WALKING ||
         atomic_load_explicit(&w->engine->stop, memory_order_relaxed);
}

/* Numbers of runs wrap. */
static int has_come(const walker *w, uint32_t lane, uint32_t count) {
  return (int64_t)(w->seen[lane] - (w->stamp | count)) >= 0;
}

static int look(walker *w, uint32_t lane, uint32_t count) {
  /* acquire: what the tasks of that lane wrote */
  w->seen[lane] = atomic_load_explicit(&w->graph->courses[lane].over, memory_order_acquire);
  return has_come(w, lane, count);
}

/* Waits until so many steps of another lane are over. False: that lasts too long, or the lists have been given up. */
static int await(walker *w, uint32_t lane, uint32_t count, uint32_t slack) {
  int64_t deadline = 0;
  if (has_come(w, lane, count)) return 1;
  for (uint32_t looks = 1; !look(w, lane, count); looks++) {
    if (must_stop(w)) return 0;
    base_relax();
    if (looks % LOOKS) continue;
    int64_t moment = now(w->engine);
    if (!deadline) deadline = moment + TASK_PATIENCE_NS + slack;
    if (moment >= deadline) return 0;
  }
  return 1;
}

static int await_producers(walker *w, const task_step *step) {
  const task_wait *wait = &w->graph->assignment.waits[step->flow >> TASK_STEP_SHIFT];
  for (;; wait++) {
    if (!await(w, wait->lane & ~(uint32_t)TASK_WAIT_LAST, wait->count, 0)) return 0;
    if (wait->lane & TASK_WAIT_LAST) return 1;
  }
}

/* Has what the step will look at come here while another task runs. */
static void fetch_producers(const walker *w, const task_step *step) {
  const task_wait *wait = &w->graph->assignment.waits[step->flow >> TASK_STEP_SHIFT];
  uint32_t lane = wait->lane & ~(uint32_t)TASK_WAIT_LAST;
  __builtin_prefetch(&w->graph->courses[lane].over);
}

/* False: the list has been taken away. */
static int take(walker *w, uint64_t known, uint32_t count) {
  if (count > w->list->length) count = w->list->length;
  w->taken = count;
  /* relaxed: what a step reads comes with `over` of its producers, or was written by this lane */
  return atomic_compare_exchange_strong_explicit(&w->course->taken, &known, w->stamp | count,
                                                 memory_order_relaxed, memory_order_relaxed);
}

static void tell(const walker *w, uint32_t over) {
  /* release: what the tasks wrote */
  atomic_store_explicit(&w->course->over, w->stamp | over, memory_order_release);
}

static int call(const walker *w, const task_step *step) {
  task_call call = {.payload = w->graph->payloads + (uint64_t)step->payload * TASK_PAYLOAD_UNIT,
                    .kernel = step->kernel,
                    .lane = w->lane,
                    .task = {step->node, 1}};
  if (step->kernel == TASK_NO_KERNEL) return TASK_CALL_OK;
  return w->engine->hooks.execute(w->engine->hooks.context, &call);
}

static int call_measured(const walker *w, const task_step *step) {
  int64_t begin = now(w->engine);
  int result = call(w, step);
  task_replay_note_cost(w->engine, step->node, now(w->engine) - begin);
  return result;
}

/* False: the walk ends here. */
static inline int run_step(walker *w, const task_step *step, const task_step *end, int measured) {
  uint32_t flow = step->flow;
  if ((flow & TASK_STEP_WAITS && !await_producers(w, step)) || must_stop(w)) return 0;
  if (step + 1 < end && step[1].flow & TASK_STEP_WAITS) fetch_producers(w, step + 1);
  int result = measured ? call_measured(w, step) : call(w, step);
  if (__builtin_expect(result == TASK_CALL_OK, 1)) return 1;
  w->course->result = (uint32_t)result;
  return 0;
}

/* Returns how many steps have been run. More is taken before the others are told: what was told last has long left this
** CPU, so nothing stands in the way. */
static inline uint32_t walk_steps(walker *w, int measured) {
  const task_step *steps = w->graph->assignment.steps + w->list->first, *end = steps + w->list->length;
  const task_step *step = steps;
  while (step < end && run_step(w, step, end, measured)) {
    uint32_t flow = step->flow, over = (uint32_t)(++step - steps);
    if (over == w->taken && step < end) {
      if (!take(w, w->stamp | over, over + w->list->chunk)) break;
      tell(w, over);
    } else if (flow & TASK_STEP_TELLS) {
      tell(w, over);
    }
  }
  return (uint32_t)(step - steps);
}

/* True if every other list has so few steps left that help would come too late. */
static int others_nearly_over(walker *w) {
  const task_assignment *assignment = &w->graph->assignment;
  for (uint32_t lane = 0; lane < assignment->lanes; lane++) {
    const task_list *list = &assignment->lists[lane];
    uint64_t few = list->length * (uint64_t)NEARLY_NS / (assignment->span + 1);
    uint32_t enough = few < list->length ? list->length - (uint32_t)few : 0;
    if (lane != w->lane && !has_come(w, lane, enough) && !look(w, lane, enough)) return 0;
  }
  return 1;
}

/* A lane that has run its list stays until the others come along, and helps if they do not. True: it may go, and
** keeps nothing that others could need. */
static int leave(walker *w) {
  int64_t deadline = 0;
  while (!others_nearly_over(w)) {
    for (uint32_t i = 0; i < LOOKS; i++) base_relax();
    int64_t moment = now(w->engine);
    if (!deadline) deadline = moment + TASK_PATIENCE_NS + w->list->slack;
    if (must_stop(w) || moment >= deadline) return 0;
  }
  const task_hooks *hooks = &w->engine->hooks;
  if (hooks->idle) hooks->idle(hooks->context, w->lane);
  uint64_t known = w->stamp | w->list->length;
  /* release: `over` of the whole list, for whoever gives the lists up after this */
  return atomic_compare_exchange_strong_explicit(&w->course->taken, &known, w->stamp | TASK_GONE,
                                                 memory_order_release, memory_order_relaxed);
}

/* The owner has run its list. True: the run is over. */
static int await_all(walker *w) {
  const task_assignment *assignment = &w->graph->assignment;
  for (uint32_t lane = 1; lane < assignment->lanes; lane++)
    if (!await(w, lane, assignment->lists[lane].length, w->list->slack)) return 0;
  return 1;
}

static int enter(walker *w) {
  uint64_t known = atomic_load_explicit(&w->course->taken, memory_order_relaxed);
  w->course->result = TASK_CALL_OK;
  if (known >> 32 == w->stamp >> 32) return 0;
  for (uint32_t lane = 0; lane < w->graph->assignment.lanes; lane++) w->seen[lane] = w->stamp;
  return take(w, known, w->list->chunk);
}

int task_replay_walk(task_engine *engine, task_lane *lane) {
  task_graph *graph = engine->graph;
  walker w = {.engine = engine, .graph = graph, .lane = lane->number};
  if (!engine->walk.by_lists)
    note_begin(engine);
  else if (lane->number == 0)
    graph->replay.came = now(engine);
  if (!engine->walk.by_lists || lane->number >= graph->assignment.lanes) return TASK_WALK_NONE;
  w.course = &graph->courses[lane->number];
  w.list = &graph->assignment.lists[lane->number];
  w.stamp = (uint64_t)engine->walk.run << 32;
  if (!enter(&w)) {
    await_end_of_walk(engine);
    return TASK_WALK_NONE;
  }
  w.course->at = engine->walk.measuring ? walk_steps(&w, 1) : walk_steps(&w, 0);
  if (w.course->at == w.list->length) tell(&w, w.course->at);
  if (w.course->at == w.list->length && (lane->number ? leave(&w) : await_all(&w))) return TASK_WALK_OVER;
  give_up(&w);
  return TASK_WALK_LEFT;
}

/* --- From run to run ----------------------------------------------------------------------------------- */

void task_replay_note_cost(task_engine *engine, uint32_t node, int64_t took) {
  const task_costs *costs = &engine->graph->replay.costs;
  uint32_t *cost = &engine->graph->costs[node];
  took -= costs->overhead;
  uint32_t measure = took < 1 ? 1 : took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
  if (!costs->measured || measure < *cost) *cost = measure;
}

/* What two looks at the clock take. */
static uint32_t clock_overhead(const task_engine *engine) {
  int64_t least = INT64_MAX;
  for (uint32_t i = 0; i < LOOKS; i++) {
    int64_t begin = now(engine), took = now(engine) - begin;
    if (took < least) least = took;
  }
  return (uint32_t)least;
}

/* Lists from what was measured; courses of lanes that had none for long must not look like those of this run. */
static void assign(task_engine *engine) {
  task_graph *graph = engine->graph;
  task_replay *replay = &graph->replay;
  task_assignment_make(&graph->assignment, graph, replay->fewer_lanes ? replay->fewer_lanes : graph->lanes,
                       graph->join);
  replay->costs.usual = 0;
  replay->costs.odd = 0;
  for (uint32_t lane = 0; lane < graph->lanes; lane++) {
    atomic_store_explicit(&graph->courses[lane].over, (uint64_t)replay->run << 32, memory_order_relaxed);
    atomic_store_explicit(&graph->courses[lane].taken, (uint64_t)replay->run << 32, memory_order_relaxed);
  }
}

int task_replay_begin(task_engine *engine) {
  task_graph *graph = engine->graph;
  task_replay *replay = &graph->replay;
  task_costs *costs = &replay->costs;
  if (costs->fresh) assign(engine);
  costs->fresh = 0;
  task_walk *walk = &engine->walk;
  walk->run = ++replay->run;
  walk->measuring = costs->left == 0;
  if (walk->measuring)
    costs->overhead = clock_overhead(engine);
  else
    costs->left--;
  walk->by_lists = graph->assignment.lanes && graph->assignment.lanes <= engine->lane_count &&
                   !replay->rest && !graph->ranked;
  if (replay->rest) replay->rest--;
  /* relaxed: the lanes come in through something that orders memory */
  atomic_store_explicit(&walk->state, walk->by_lists ? TASK_WALKING : TASK_WALK_ENDED, memory_order_relaxed);
  atomic_store_explicit(&walk->holders, 0, memory_order_relaxed);
  atomic_store_explicit(&walk->began, 0, memory_order_relaxed);
  return (int)walk->by_lists;
}

static void end_measuring(task_costs *costs) {
  costs->fresh = 1;
  if (++costs->measured < MEASURES) return;
  costs->measured = 0;
  costs->pause = costs->pause ? costs->pause : FIRST_PAUSE;
  costs->left = costs->pause;
  if (costs->pause < LONGEST_PAUSE) costs->pause *= 4;
}

/* Runs that take much longer or shorter than they did mean other costs. */
static void compare_with_usual(task_costs *costs, uint64_t took) {
  if (!costs->usual) {
    costs->usual = took;
  } else if (took <= 2 * costs->usual + ODD_NS && costs->usual <= 2 * took + ODD_NS) {
    costs->odd = 0;
  } else if (++costs->odd >= (costs->odd_most ? costs->odd_most : ODD_RUNS)) {
    costs->left = costs->odd = 0;
    costs->usual = 0;
    costs->odd_most = !costs->odd_most                  ? 2 * ODD_RUNS
                      : costs->odd_most < MOST_ODD_RUNS ? 2 * costs->odd_most
                                                        : MOST_ODD_RUNS;
  }
}

/* Lists that do not hold: first other costs are looked for; then they are tried more and more seldom. */
static void end_walk(task_replay *replay, int given_up) {
  if (!given_up) {
    replay->failed_walks = 0;
    return;
  }
  if (replay->failed_walks < LONGEST_REST) replay->failed_walks++;
  replay->rest = (1u << replay->failed_walks) / 2 - 1;
  if (replay->failed_walks == 1) replay->costs.left = 0;
}

/* Lanes that have no CPU of their own are worse than none. One run does not count for much: a lane may be preempted. */
static void compare_with_one_lane(task_graph *graph, int64_t took) {
  task_replay *replay = &graph->replay;
  uint32_t lanes = graph->assignment.lanes ? graph->assignment.lanes : graph->lanes;
  int64_t alone = (int64_t)graph->assignment.alone, lost = took - alone + alone / WORTH;
  if (replay->fewer_lanes) {
    replay->fewer_left -= took;
    if (replay->fewer_left > 0) return;
    replay->fewer_lanes = 0;
  } else {
    if (lanes == 1 || !alone) return;
    replay->lost += lost < alone ? lost : alone;
    if (replay->lost < 0) replay->lost = 0;
    if (replay->lost < LOST * alone) return;
    replay->lost = 0;
    replay->rest = replay->failed_walks = 0;
    replay->fewer_lanes = (lanes + 1) / 2;
    replay->fewer_left = FEWER * LOST * alone;
  }
  replay->costs.fresh = 1;
}

static int64_t began(const task_engine *engine) {
  int64_t came = engine->graph->replay.came;
  int64_t queued = atomic_load_explicit(&engine->walk.began, memory_order_relaxed);
  return !engine->walk.by_lists || (queued && queued < came) ? queued : came;
}

void task_replay_finish(task_engine *engine) {
  task_replay *replay = &engine->graph->replay;
  int given_up = atomic_load_explicit(&engine->walk.state, memory_order_relaxed) != TASK_WALKING;
  if (atomic_load_explicit(&engine->stop, memory_order_relaxed)) return;
  uint64_t took = (uint64_t)(now(engine) - began(engine));
  if (engine->walk.by_lists) end_walk(replay, given_up);
  if (engine->walk.measuring) {
    end_measuring(&replay->costs);
  } else {
    if (engine->walk.by_lists && !given_up) compare_with_usual(&replay->costs, took);
    compare_with_one_lane(engine->graph, (int64_t)took);
  }
}
