/* node/node.h - a node from the inside: workers, runs, tasks, and who may touch them. Private to src/node.
**
** Runs execute one after the other, in the order of their beginnings; each has an engine (task/engine.h) of its own, with one
** lane. The first run that is not over is *active*: its tasks go to workers. Later ones may be built meanwhile; their engines
** are held.
**
** Who drives. Everything here is guarded by node->lock, unless it says otherwise. A thread that holds it may *drive*: hand ready
** tasks to workers, take their replies, complete tasks (drive.c). That is the builder of the active run, at each of its
** calls; who waits for a run; or, when nobody does, the attendant, a thread of the node. A driver that has nothing to do looks
** for a while, then sleeps on node->bell without the lock. Inside a call of an engine that waits (a full window, baton_node_wait) the
** driver gives up the lock while it sleeps, with run->inside set: then nobody else touches that engine.
**
** A task lies in the argument memory of its engine (node_task), with what is sent to workers (node_member, one for each member
** of a group). It goes from the engine's hands to a queue (schedule.c), to a mailbox, and, when all members have been answered,
** back to the engine. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "base/segment.h"
#include "chip/registry.h"
#include "node/callable.h"
#include "node/endpoint.h"
#include "task/engine.h"
#include "tensor/storage.h"

typedef enum node_kind { NODE_CHIPS, NODE_SUBS, NODE_KINDS } node_kind;

typedef struct node_task node_task;
typedef struct node_worker node_worker;
typedef struct node_stage node_stage;         /* node/stage.h */
typedef struct node_residents node_residents; /* node/resident.h */

/* One host tensor or buffer that an unfinished task uses. */
typedef struct node_use {
  tensor_storage *storage; /* host memory; NULL: child memory … */
  baton_node_buffer *buffer;
  int writes;
} node_use;

/* What one worker is sent for a task. */
typedef struct node_member {
  node_task *task;
  struct node_member *next;       /* in a queue, or among those that a worker has been sent */
  struct node_member *next_level; /* in a queue, first of its priority: the first of the next lower one */
  struct node_member *level_last; /* … and the last of its own */
  int32_t place;                  /* the worker that it must go to, or BATON_ANY_WORKER */
  int32_t liked;                  /* the worker that has most of its data, or BATON_ANY_WORKER */
  node_command *command;          /* behind the members, or a block of its own */
  int owned;                      /* it is one: freed with the task */
  node_stage *stages;             /* copies of memory that the worker cannot see */
} node_member;

struct node_task {
  baton_node_run *run;
  baton_task id; /* set when it is ready */
  node_kind kind;
  node_lane lane;
  int priority;
  uint32_t count;      /* of members */
  uint32_t unanswered; /* of them */
  int failed;
  uint64_t order;  /* in which it became ready */
  const char *who; /* lives as long as the node */
  int is_host;     /* a function of the host */
  const char *name;
  node_use *uses;
  uint32_t nuses;
  node_task *next; /* among groups that wait, or among those that have ended */
  node_member members[];
};

/* Members that wait for a worker: the highest priority first, within one the earliest. */
typedef struct node_queue {
  node_member *first;
  uint32_t count;
} node_queue;

/* What one lane of a worker has been sent and has not answered, in order. */
typedef struct node_sent {
  node_member *first, *last;
  uint32_t count;
} node_sent;

struct node_worker {
  baton_node *node;
  node_kind kind;
  uint32_t id;
  node_endpoint *endpoint; /* NULL: removed */
  int32_t pid;             /* of its server, when that was last ready; 0: a thread */
  uint32_t started;        /* how often, by then */
  baton_node_chip chip;
  const char *platform; /* static; NULL: no chip */
  int is_node;
  baton_node_chip *chips; /* of a node: its own copy, with devices */
  uint32_t nchips, subs;  /* of a node */
  baton_worker_state state;
  int restarting;      /* a thread is making a new child */
  pthread_t restarter; /* to be joined */
  int has_restarter;
  node_queue waiting[NODE_CONTROL]; /* for this worker alone, by lane */
  node_sent sent[NODE_CONTROL];
  int64_t expires;           /* base_now, for what it has been sent first; INT64_MAX: no limit */
  uint32_t unrung;           /* a bit for each lane that has been sent something without a ring of its bell */
  const node_task *reserved; /* a group waits for it */
  uint32_t cost;             /* ns a task takes, lately; 0: unknown */
  baton_node_buffer *freeing; /* whose memory is to go back … */
  uint32_t freeing_sent;      /* … and so many that have been sent */
  uint64_t tasks;             /* answered */
};

struct baton_node_buffer {
  _Atomic uint32_t holders; /* its user, and tasks */
  baton_node *node;         /* its own hold */
  uint32_t worker;
  uint64_t number; /* unique in this process */
  uint64_t nbytes;
  /* guarded by node->lock: */
  uint32_t users;                   /* unfinished tasks */
  int made;                         /* the worker has it */
  int dead;                         /* BATON_OK: alive; else the code of who uses it */
  char died[256];                   /* where, in Lua; empty: unknown */
  baton_node_buffer *older, *newer; /* of the node */
  baton_node_buffer *next_freeing;  /* of its worker */
};

/* What a task returned. */
typedef struct node_result {
  baton_task task;
  uint32_t member; /* of a group, from 0 */
  node_bytes bytes;
  struct node_result *next;
} node_result;

typedef struct node_engine {
  task_engine *tasks;
  size_t memory_size;
  uint32_t window, edges;
  uint64_t heap;
  base_extent memory; /* of intermediates */
  baton_node_run *run;
  baton_node *node;
  int64_t deadline; /* of the wait that its owner is in */
  struct node_engine *next;
} node_engine;

struct baton_node_run {
  _Atomic uint32_t holders;
  _Atomic uint32_t over;      /* futex */
  _Atomic uint32_t cancelled; /* any thread */
  _Atomic uint32_t told;
  baton_node *node; /* its own hold */
  uint32_t number;
  baton_config config;
  char *runtime;  /* config.runtime points here */
  int configures; /* … and says something that its programs are told */
  int64_t begun;
  /* guarded by node->lock: */
  node_engine *engine; /* NULL: over */
  int built;           /* its function has returned */
  int is_round;
  int active;
  int dropped;         /* it is cancelled, and what had not been sent has ended */
  int inside;          /* its owner waits inside the engine: nobody else touches that */
  int awaits;          /* … for tasks, and has nothing else to do */
  uint64_t unfinished; /* tasks */
  uint64_t tasks;
  uint64_t activity;     /* calls of its builder */
  uint64_t noticed;      /* … when the attendant last looked */
  baton_error failure;   /* the first; read by anyone when the run is over */
  tensor_notice *notice; /* whether somebody was told of that; made with it */
  baton_timing timing;   /* likewise */
  node_result *results;  /* until the run is freed */
  baton_node_run *next;  /* in the order of the runs */
};

/* Which worker has last been sent the memory at `base`: a hint. */
enum { NODE_HOMES = 1024 };
typedef struct node_home {
  uint64_t base;
  int32_t worker;
} node_home;

struct baton_node {
  _Atomic uint32_t holders;
  pthread_mutex_t lock;    /* guards what follows, and all that says so above */
  _Atomic uint32_t wanted; /* threads that wait for the lock: a driver that only looks gives it up */
  uint32_t drivers;        /* threads in node_drive */
  uint32_t cpus;           /* of this process, when the node was opened */
  baton_isolation isolation;
  const node_endpoint_calls *calls;
  int has_nodes; /* its workers are nodes */
  char *worker_program;
  baton_worker_options defaults; /* of its chips */
  char *runtime;
  uint64_t heap;
  double startup_timeout;
  base_extent bell_memory;
  node_doorbell *bell;
  node_worker *workers[NODE_KINDS][BATON_NODE_WORKERS];
  uint32_t counts[NODE_KINDS];    /* ids that were given out */
  node_task *ready, *last_ready;  /* in the order of their submits, not yet placed */
  node_queue waiting[NODE_KINDS]; /* tasks for any worker of the kind */
  node_task *groups[NODE_KINDS], *last_group[NODE_KINDS];
  node_task *ended, *last_ended; /* tasks whose engine is to be told */
  int dirty;                     /* something may be sent */
  int unsent;    /* something could not be, when that was tried last: an answer makes room for it */
  uint64_t sent; /* commands, ever */
  int hurried;   /* a submit is under way: replies can wait */
  uint64_t order;
  node_home homes[NODE_HOMES];
  baton_node_run *runs, *last_run; /* that are not over */
  uint32_t run_count;
  node_engine *spare;
  baton_node_buffer *buffers; /* the latest first */
  int closed;
  int counted;     /* `totals` are of everything: workers have ended */
  uint32_t inside; /* calls that use workers */
  pthread_cond_t left;
  baton_stats totals; /* of ended runs; of a closed node, of everything */
  chip_registry registry;
  node_callables callables; /* has a lock of its own */
  pthread_mutex_t closing_lock;
  pthread_mutex_t rounds_lock; /* guards the list, and the end of rounds; node->lock may be taken inside */
  baton_node_rounds *rounds;   /* that were not given back, the latest first */
  int has_attendant;
  pthread_t attendant;
  _Atomic uint32_t attention; /* futex of the attendant: NODE_ASLEEP … */
};

enum { NODE_ASLEEP, NODE_AWAKE, NODE_GO_HOME };

/* --- node.c --------------------------------------------------------------------------------------------- */

void node_hold(baton_node *node);
void node_release(baton_node *node);

/* The lock, for a driver that may be looking: it gives way. */
void node_lock(baton_node *node);
void node_unlock(baton_node *node);
/* Lets those have the lock who wait for it. */
void node_give_way(baton_node *node);

/* Sums of all workers and of the node; waits for a control call to each, so many seconds at most. Without the lock. */
baton_status node_sum_stats(baton_node *node, double seconds, baton_stats *out, baton_error *err);
/* True if a worker, a sub worker too, is lost and nobody is replacing it. Without the lock. */
int node_has_lost(baton_node *node);
/* Adds what an ended run did to the totals; with the lock held. */
void node_count_run(baton_node *node, const task_counts *counts);
/* The static name of a platform, NULL for the default one; NULL: there is none of that name. */
const char *node_platform_name(const char *name);

/* A call that uses workers begins and ends; `closed`, or `state` inside an orchestrating function of the node. Without the
** lock. */
BATON_MUST_CHECK baton_status node_enter(baton_node *node, const char *what, baton_error *err);
void node_leave(baton_node *node);

/* A worker by its id, with the lock held: `out_of_range`, or `closed` if it was removed. */
BATON_MUST_CHECK baton_status node_find_worker(baton_node *node, node_kind kind, uint32_t id,
                                               node_worker **out, baton_error *err);

/* True if this thread is in an orchestrating function of the node. */
int node_is_inside(const baton_node *node);
/* The orchestration that this thread is in, innermost first; of any node. */
typedef struct node_inside {
  baton_node_orch *orch;
  struct node_inside *outer;
} node_inside;
void node_inside_begin(node_inside *frame, baton_node_orch *orch);
void node_inside_end(const node_inside *frame);
const node_inside *node_inside_innermost(void);

/* --- schedule.c: with the lock held --------------------------------------------------------------------- */

/* A ready task, all of whose members wait for workers from now on; one that has nowhere to go ends at once. */
void node_schedule_add(baton_node *node, node_task *task);
/* Sends what can be sent. */
void node_schedule(baton_node *node);
/* Rings the workers that were sent something without. Before a driver looks, sleeps or leaves for good. */
void node_ring_workers(baton_node *node);
/* Takes what has not been sent of the run out of the queues: it has failed. */
void node_schedule_cancel(baton_node *node, const baton_node_run *run);
/* The worker takes nothing any more: what waits for it alone ends with the failure, and so does what waits for any of its kind if
** it was the last. */
void node_schedule_lose(baton_node *node, node_worker *worker, const baton_error *failure);

/* --- drive.c: with the lock held unless it says otherwise ------------------------------------------------ */

/* Takes the replies that there are. True if there were any. */
int node_poll(baton_node *node);
/* One of the members of a task has been answered, or will not be. */
void node_member_end(node_member *member, const baton_error *failure);
/* The task is over for the node: its uses end. */
void node_task_finish(node_task *task, int failed);
/* Everything that can go on without waiting; ends runs that are over. */
void node_step(baton_node *node);
/* Drives until done(context) says so (true) or the moment has passed; the lock is held before and after, and whenever `done` is
** called, not in between. An interrupt of the user cancels `run`; NULL: none. */
int node_drive(baton_node *node, baton_node_run *run, int (*done)(const void *context), const void *context,
               int64_t deadline);
/* Somebody must drive now, and it is not the caller. Any thread, without the lock. */
void node_attend(baton_node *node);
/* The attendant's thread. */
void *node_attendant(void *node);
/* What the engine of a run asks of the node. */
task_hooks node_engine_hooks(node_engine *engine);
/* Wakes a driver that sleeps. Any thread. */
void node_wake(baton_node *node);

/* --- limit.c: with the lock held ------------------------------------------------------------------------- */

/* Another task is the first that the worker has not answered, or its run was cancelled. */
void node_limit_begin(node_worker *worker);
/* The moment when node_limit_check would find something; INT64_MAX: none. */
int64_t node_limit_next(const baton_node *node);
void node_limit_check(baton_node *node);
/* How messages call a task. */
const char *node_member_name(const node_member *member);

/* --- worker.c: with the lock held unless it says otherwise ----------------------------------------------- */

/* Begins to open a worker with this chip, or this node, whose chips have devices, or neither. */
BATON_MUST_CHECK baton_status node_worker_open(baton_node *node, node_kind kind, const baton_node_chip *chip,
                                               const baton_node_options *child, int64_t deadline,
                                               node_worker **out, baton_error *err); /* without */
/* Of a worker that is no more, or never was. NULL is ignored. */
void node_worker_free(node_worker *worker); /* without */
/* Says in the error whose it is: the number of a chip, unless it has one; of a node the way through it. NULL is ignored. Any
** thread. */
void node_worker_blame(const node_worker *worker, baton_error *err);
/* Its server has died, and what it was sent fails with that. With process isolation a new one is made. */
void node_worker_died(node_worker *worker);
/* The same where it lives, but is of no more use, for `failure`; NULL: a kernel was left by force. */
void node_worker_lost(node_worker *worker, const baton_error *failure);
/* Its server is ready: notes who that is. */
void node_worker_note(node_worker *worker);
/* Waits until no restart is under way. Without the lock. */
void node_worker_settle(node_worker *worker);
baton_status node_worker_close(node_worker *worker, int64_t deadline, baton_error *err); /* without */

/* --- children.c ------------------------------------------------------------------------------------------ */

/* `invalid_argument`, `out_of_range`, `unsupported` for children that cannot be. `check` is for one node without children. */
BATON_MUST_CHECK baton_status node_children_check(const baton_node_options *options,
                                                  baton_status (*check)(const baton_node_options *options,
                                                                        baton_error *err),
                                                  baton_error *err);
/* Begins to open the children of a node that nobody else knows yet. */
BATON_MUST_CHECK baton_status node_children_open(baton_node *node, const baton_node_options *options,
                                                 int64_t deadline, baton_error *err);
/* Where children are nodes, `unsupported`: `what` belongs into their functions. */
BATON_MUST_CHECK baton_status node_children_refuse(const baton_node *node, const char *what,
                                                   baton_error *err);

/* --- run.c ---------------------------------------------------------------------------------------------- */

void node_run_hold(baton_node_run *run);
void node_run_release(baton_node_run *run);
/* Keeps the first failure; with the lock held. */
void node_run_fail(baton_node_run *run, const baton_error *failure);
/* The function of a run is about to be called; it takes its place among the runs. */
BATON_MUST_CHECK baton_status node_run_begin(baton_node *node, const baton_config *config,
                                             baton_node_run **out, baton_error *err);
/* The function has returned, or failed: then what has not begun is dropped. */
void node_run_built(baton_node_run *run, const baton_error *failure);
/* The first run of the list has no tasks left and is built; with the lock held. */
void node_run_end(baton_node_run *run);
/* The active run is the first; with the lock held. */
void node_run_activate(baton_node *node);
/* baton_node_run_cancel with the lock held. */
int node_run_cancel(baton_node_run *run);
/* Cancels the runs that are not over, once each. Any thread, without the lock. */
void node_cancel_runs(baton_node *node);
void node_engines_close(baton_node *node);
/* Waits until the run is active. Without the lock. `cancelled`, `closed`. */
BATON_MUST_CHECK baton_status node_run_await_turn(baton_node_run *run, baton_error *err);

/* --- orchestrate.c -------------------------------------------------------------------------------------- */

struct baton_node_orch {
  baton_node *node;
  baton_node_run *run;
  pthread_t thread;
  struct node_draft *draft;  /* scratch for one submit */
  node_residents *residents; /* of the rounds that it belongs to; NULL: none */
  uint64_t last_program;     /* number of the last one that was submitted; 0: none */
  node_callable *last_callable;
};

/* baton_node_submit of a round: tasks that only read these tensors read copies of them. */
BATON_MUST_CHECK baton_status node_submit_round(baton_node *node, baton_node_function function, void *context,
                                                const baton_config *config, node_residents *residents,
                                                baton_node_run **out, baton_error *err);

/* baton_node_run_function as part of the call `what`, for messages. The config is taken as it is, without the defaults of the node:
** no deadline ends what is no run to the user. */
BATON_MUST_CHECK baton_status node_run_function(baton_node *node, const char *what,
                                                baton_node_function function, void *context,
                                                const baton_config *config, baton_timing *timing,
                                                baton_error *err);

/* From now on a host tensor that is touched inside an orchestrating function is waited for by driving its run. */
void node_guard_tensors(void);

/* --- rounds.c ------------------------------------------------------------------------------------------- */

/* For the shutdown, when no run and no call is left: gives back what all rounds have, the newest first. */
void node_rounds_end(baton_node *node);

/* --- buffer.c ------------------------------------------------------------------------------------------- */

/* A live handle without memory; with the lock not held. */
BATON_MUST_CHECK baton_status node_buffer_create(baton_node *node, uint32_t worker, uint64_t nbytes,
                                                 baton_node_buffer **out, baton_error *err);
/* With the lock not held: what using it would say; `stale_handle`, `closed`, `wrong_device`. */
BATON_MUST_CHECK baton_status node_buffer_check(baton_node *node, const baton_node_buffer *buffer,
                                                baton_error *err);
/* With the lock held: begins a use by a task, or fails in the same way. */
BATON_MUST_CHECK baton_status node_buffer_use(baton_node *node, baton_node_buffer *buffer, baton_error *err);
void node_buffer_unuse(baton_node_buffer *buffer);
/* With the lock held: posts what is to go back, as far as there is room. */
void node_buffers_send(node_worker *worker);
/* With the lock held: the handle is dead; the memory goes back when the last task that uses it is over. */
void node_buffer_die(baton_node_buffer *buffer, baton_status code, const char *where);
void node_buffer_release(baton_node_buffer *buffer);
/* baton_node_free that knows where in Lua it was called ("file:line"); NULL: unknown. Also inside the orchestrating
** function. */
baton_status node_buffer_free(baton_node *node, baton_node_buffer *buffer, const char *where,
                              baton_error *err);
void node_buffer_end(baton_node_buffer *buffer, const char *where);
/* The identity of its memory for tensor maps; views of it count from there. */
static inline uint64_t node_buffer_base(const baton_node_buffer *buffer) {
  return (UINT64_C(1) << 62) | buffer->number << 8;
}

/* baton_node_unregister that knows where in Lua it was called ("file:line"); NULL: unknown. */
baton_status node_unregister(baton_node *node, baton_handle handle, const char *where, baton_error *err);

/* --- Lua: used by bind/ --------------------------------------------------------------------------------- */

/* What the node needs of Lua; given before the first node is opened. */
void node_set_scripts(const node_script_calls *scripts);
const node_script_calls *node_scripts(void);

/* A Lua function on a sub worker, or on a node (NODE_CHIPS): one packed call for each of the `count` members. `values` are its tensors, in the order of the
** packing, with their tags. The bytes are copied. */
typedef struct node_script {
  const char *data;
  uint64_t bytes;
  const baton_node_value *values;
  uint32_t nvalues;
  int32_t worker; /* of a node; BATON_ANY_WORKER */
} node_script;
BATON_MUST_CHECK baton_status node_submit_script(baton_node_orch *o, node_kind kind,
                                                 const node_script *members, uint32_t count,
                                                 const baton_node_task_options *options, baton_task *out,
                                                 baton_error *err);
/* Waits for the task, and hands out what member `member` of it (from 0) returned: packed values, which live as long as the run; *bytes 0: none. The failure of
** the task is the status. Inside the function or after it. */
BATON_MUST_CHECK baton_status node_task_result(baton_node_run *run, baton_task task, uint32_t member,
                                               const char **data, uint64_t *bytes, baton_error *err);

#endif
