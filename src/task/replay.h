/* task/replay.h - running a captured graph by the lists of its assignment. Freestanding.
**
** A lane walks its list: no queue, no counter a task, nothing that two lanes write. Where the lists do not hold - a lane
** waits too long, a task fails or waits inside, the run is cancelled - the lists are given up in the middle, and what has
** not been taken from them goes through the queues of the engine like the tasks of any other run.
**
** Invariants.
** - `over` and `taken` of a lane belong to the run that stands in their upper half; one of an earlier run counts as 0. So
**   nothing is reset between runs. `over` <= steps that have ended <= `taken`.
** - Only its lane raises `taken`, by compare-exchange from what it knows; whoever gives the lists up exchanges it for
**   TASK_TAKEN_AWAY. So every step is taken by its lane or has been taken away, never both.
** - Giving up happens once a run: the state of the walk goes from WALKING to ENDING to ENDED. In ENDING one lane counts
**   the open edges of every node that was not over: what it saw in `over` is done, and everything else is not, whatever
**   has happened since. In ENDED each lane that has taken steps beyond that completes what it has run of them, and makes
**   the others available if they are ready. Such a step has one open edge too many until then, so nobody else can get it;
**   and while `holders` counts such lanes, the run is not at rest. */
#ifndef TASK_REPLAY_H
#define TASK_REPLAY_H

#include "task/assignment.h"

struct task_engine;
struct task_lane;

enum { TASK_WALKING, TASK_WALK_ENDING, TASK_WALK_ENDED };

#define TASK_TAKEN_AWAY UINT32_MAX

/* What one lane does in a run. */
typedef struct task_course {
  BASE_ALIGNED _Atomic uint64_t over;  /* run, steps: written by the lane, read by those that wait for it */
  BASE_ALIGNED _Atomic uint64_t taken; /* run, steps */
  /* the lane's, once it has given up its list */
  uint32_t at;     /* steps that it has run … */
  uint32_t result; /* … and how the one behind them ended, if that is not TASK_CALL_OK */
  /* by whoever gave the lists up */
  uint32_t seen_over, seen_taken;
} task_course;

/* How far the costs of the nodes are known. */
typedef struct task_costs {
  uint32_t measured; /* runs of the present measuring that are over */
  uint32_t fresh;    /* the assignment does not know them yet */
  uint32_t left;     /* runs until the next measuring … */
  uint32_t pause;    /* … and how many come between that and the one after */
  uint32_t overhead; /* ns that the clock adds to a measure */
  uint32_t odd;      /* runs in a row that took much longer or shorter than usual … */
  uint32_t odd_most; /* … and how many start a measuring; 0: the first time is to come */
  uint64_t usual;    /* ns of a run; 0: not known */
} task_costs;

/* How the present run of a graph goes. Part of the engine, next to what else the owner tells the lanes of a run. */
typedef struct task_walk {
  _Atomic uint32_t state;
  uint32_t run;             /* number, from 1 */
  uint32_t by_lists;        /* it began with lists */
  uint32_t measuring;       /* it finds out what the nodes cost */
  _Atomic uint32_t holders; /* lanes that have taken steps and not handed them over yet */
  _Atomic int64_t began;    /* when nodes first went through the queues; 0: they have not */
} task_walk;

/* The owner's. */
typedef struct task_replay {
  int64_t came;          /* when the owner came into the last run … */
  uint32_t run;          /* … and its number, from 1 */
  uint32_t failed_walks; /* in a row */
  uint32_t rest;         /* runs that go through the queues before lists are tried again */
  uint32_t fewer_lanes;  /* that lists are made for; 0: as many as pay */
  int64_t fewer_left;    /* ns until more are tried again */
  int64_t lost; /* ns that runs took longer than they should with more than one lane, less what they won */
  task_costs costs;
} task_replay;

enum {
  TASK_WALK_OVER, /* the lane has nothing more to do; for the owner: the run is over */
  TASK_WALK_NONE, /* it has no list, or has lost it: the queues have the rest */
  TASK_WALK_LEFT  /* so, and it must hand over what it had taken */
};

/* Owner, before the lanes come in: decides how the run of engine->graph goes. True: by lists. */
int task_replay_begin(struct task_engine *engine);

/* The lane's thread: walks its list. */
int task_replay_walk(struct task_engine *engine, struct task_lane *lane);

/* The lane's thread, after TASK_WALK_LEFT; it counts as busy. */
void task_replay_hand_over(struct task_engine *engine, struct task_lane *lane);

/* Owner, when the run is over. */
void task_replay_finish(struct task_engine *engine);

/* Any lane has run a node in `took` ns. */
void task_replay_note_cost(struct task_engine *engine, uint32_t node, int64_t took);

#endif
