/* baton/node.h - one sequential function drives many chips: level 3; and many nodes: level 4.
**
** A node has workers, each a chip with a number from 0, and sub workers, which run functions of the host. An orchestrating
** function submits tasks to them; what must wait for what follows from the memory that the tasks touch, as if they were run
** one after the other.
**
** At level 4 the workers are nodes. A program that is submitted to one becomes a run there with the program as its only task; functions
** that orchestrate there are Lua's only. Child memory belongs to the nodes: malloc, setup_arena and add are `unsupported` here. A
** node that has lost a worker is replaced when the task is over that saw it: its process ends, and another begins. A failure that comes from a node has `path`,
** such as "node 2 / worker 0", unless it names a file; its `worker` is the chip's, and unknown in a failure of the node itself. */
#ifndef BATON_NODE_H
#define BATON_NODE_H

#include <baton/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_node baton_node;
typedef struct baton_node_run baton_node_run;
typedef struct baton_node_orch baton_node_orch;
typedef struct baton_node_buffer baton_node_buffer;

enum { BATON_NODE_WORKERS = 64, BATON_NODE_SUBS = 64, BATON_ANY_WORKER = -1 };

/* One chip of a node. Zero means default. */
typedef struct baton_node_chip {
  const char *platform; /* "a2a3sim" */
  uint32_t device;
  int any_device; /* the first one that is free, instead of `device` */
} baton_node_chip;

/* Zero means default. */
typedef struct baton_node_options {
  const baton_node_chip *chips; /* worker ids 0 … nchips-1 in this order */
  uint32_t nchips;              /* 0: no chips, sub workers only */
  /* Level 4: workers 0 … nchildren-1 are nodes, each in a process of its own, as are the sub workers then; no chips. A child has no
  ** children. Its devices are chosen when the node opens; a restart takes the same. Its `prewarm` is registered with all children. */
  const struct baton_node_options *children;
  uint32_t nchildren;
  uint32_t subs;
  baton_isolation isolation;
  uint64_t
      heap; /* bytes of shared host memory for intermediates (baton_node_alloc); default 1 GiB, touched when used */
  uint32_t threads;              /* of each chip; default: the CPUs that this process may use */
  baton_config config;           /* defaults of the device programs, and but for ring_heap of runs */
  baton_arena arena;             /* of each chip */
  baton_program *const *prewarm; /* registered with every worker when the node opens */
  uint32_t nprewarm;
  double startup_timeout;     /* seconds for all children to be ready; default 60 */
  double wait_device;         /* seconds to wait for another process that owns a device */
  const char *worker_program; /* what children execute; NULL: baton-worker beside this library or program */
} baton_node_options;

/* Opens all workers at the same time. If one fails, what was opened is closed again, and the error carries `worker`. The
** caller owns *out. */
BATON_MUST_CHECK baton_status baton_node_open(const baton_node_options *options, baton_node **out,
                                              baton_error *err);

/* Cancels unfinished runs, frees the buffers, ends threads and children; the status says what failed on the way. The object
** stays and answers `closed`. May be repeated. Inside an orchestrating function of the node: `state`. Any thread. */
baton_status baton_node_shutdown(baton_node *node, baton_error *err);

/* Gives the object back, after a shutdown if there was none; what fails then is logged. NULL is ignored. */
void baton_node_close(baton_node *node);

/* Closed after a shutdown; else lost if a worker is, which baton_node_describe tells; else busy if runs are unfinished or a worker
** is; else ready. Any thread; what it says may be old by then. */
baton_worker_state baton_node_state_of(baton_node *node);

/* Ids that were given out: workers are 0 … count-1, removed ones included. */
uint32_t baton_node_workers(baton_node *node);
uint32_t baton_node_subs(baton_node *node);

/* What a worker is; `out_of_range` names the ids that there are. */
typedef struct baton_node_worker {
  const char *platform; /* static; NULL: it is a node */
  uint32_t device;
  baton_worker_state state;
  int32_t pid;      /* of its child; 0: thread isolation */
  uint32_t started; /* how often: 1, and once more for each restart */
  /* Of a worker that is a node: its chips with their devices, which live as long as the node that is asked; how many subs. */
  const baton_node_chip *chips;
  uint32_t nchips, subs;
} baton_node_worker;
BATON_MUST_CHECK baton_status baton_node_describe(baton_node *node, uint32_t worker, baton_node_worker *out,
                                                  baton_error *err);

/* Another chip, with the isolation of the node. Unfinished runs go on, and may use it from then on. */
BATON_MUST_CHECK baton_status baton_node_add(baton_node *node, const baton_node_chip *chip, uint32_t *id,
                                             baton_error *err);
/* Ends a worker after everything that was submitted to it; its buffers die. Its id is not given out again. */
BATON_MUST_CHECK baton_status baton_node_remove(baton_node *node, uint32_t worker, baton_error *err);
/* Makes a lost worker ready again: with process isolation a new child, with thread isolation as baton_worker_restart. Sub workers do
** that by themselves, when what they ran has ended. */
BATON_MUST_CHECK baton_status baton_node_restart(baton_node *node, uint32_t worker, baton_error *err);

/* Early upload to every worker; runs do the same at the first use of a program. */
BATON_MUST_CHECK baton_status baton_node_register(baton_node *node, baton_program *program, baton_handle *out,
                                                  baton_error *err);
baton_status baton_node_unregister(baton_node *node, baton_handle handle, baton_error *err);
/* The program behind a handle: a hold that the caller gives back by baton_program_close. */
BATON_MUST_CHECK baton_status baton_node_program(baton_node *node, baton_handle handle, baton_program **out,
                                                 baton_error *err);

/* As at level 2, of one worker. */
BATON_MUST_CHECK baton_status baton_node_setup_arena(baton_node *node, uint32_t worker,
                                                     const baton_arena *arena, int *changed,
                                                     baton_error *err);
/* BATON_ANY_WORKER: the sums of all. */
BATON_MUST_CHECK baton_status baton_node_stats(baton_node *node, int32_t worker, baton_stats *out,
                                               baton_error *err);

/* Writes who runs what and who waits for whom; as baton_worker_dump. Any thread, also from a handler thread of SIGUSR1. */
size_t baton_node_dump(baton_node *node, char *text, size_t size);

/* --- Child memory --------------------------------------------------------------------------------------- */

/* Device memory of one worker, outside runs: as baton_worker_malloc and its kin. Each is done when it returns and comes after
** everything submitted before. Inside an orchestrating function of the node: `state`. */
BATON_MUST_CHECK baton_status baton_node_malloc(baton_node *node, uint32_t worker, uint64_t nbytes,
                                                baton_node_buffer **out, baton_error *err);
baton_status baton_node_free(baton_node *node, baton_node_buffer *buffer, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_copy_to(baton_node *node, baton_node_buffer *buffer,
                                                 baton_tensor *host, const baton_copy_options *options,
                                                 baton_error *err);
BATON_MUST_CHECK baton_status baton_node_copy_from(baton_node *node, baton_tensor *host,
                                                   baton_node_buffer *buffer,
                                                   const baton_copy_options *options, baton_error *err);

/* A contiguous tensor in the buffer, for baton_node_value; as baton_buffer_tensor. */
BATON_MUST_CHECK baton_status baton_node_buffer_tensor(baton_node_buffer *buffer, baton_dtype dtype, int ndim,
                                                       const int64_t *shape, uint64_t offset, baton_view *out,
                                                       baton_error *err);
uint64_t baton_node_buffer_nbytes(const baton_node_buffer *buffer);
uint32_t baton_node_buffer_worker(const baton_node_buffer *buffer);
/* As baton_buffer_close. NULL is ignored. */
void baton_node_buffer_close(baton_node_buffer *buffer);

/* --- Runs ----------------------------------------------------------------------------------------------- */

/* The orchestrating function; `o` is dead when it has returned. A status that it returns ends the run: what has not begun
** does not begin, and *err, which it fills in, is what the run failed with. */
typedef baton_status (*baton_node_function)(baton_node_orch *o, void *context, baton_error *err);

/* Calls the function on this thread, waits for all of its tasks; the first failure is the status. Runs of one node execute one
** after the other, in the order of their beginnings; the next one may be built meanwhile. `config` as at level 2: deadline
** and what the device programs of the run take as their defaults. `timing` may be NULL. */
BATON_MUST_CHECK baton_status baton_node_run_function(baton_node *node, baton_node_function function,
                                                      void *context, const baton_config *config,
                                                      baton_timing *timing, baton_error *err);

/* The same, but returns when the function has returned. After a failure of the function itself *out is NULL. */
BATON_MUST_CHECK baton_status baton_node_submit(baton_node *node, baton_node_function function, void *context,
                                                const baton_config *config, baton_node_run **out,
                                                baton_error *err);

/* As baton_run_done, …_wait, …_cancel, …_timing, …_close. Any thread. */
int baton_node_run_done(const baton_node_run *run);
baton_status baton_node_run_wait(baton_node_run *run, double seconds, int *over, baton_error *err);
int baton_node_run_cancel(baton_node_run *run);
baton_timing baton_node_run_timing(const baton_node_run *run);
void baton_node_run_close(baton_node_run *run);

/* --- Rounds --------------------------------------------------------------------------------------------- */

typedef struct baton_node_rounds baton_node_rounds;

/* As baton_node_function; rounds count from 1. */
typedef baton_status (*baton_node_round_function)(baton_node_orch *o, void *context, int64_t round,
                                                  baton_error *err);

typedef struct baton_node_rounds_options {
  baton_node_round_function function;
  void *context;
  /* Host tensors that are copied to each worker once: a device program that only reads one is given its copy, by a task that was
  ** submitted before. Without a place of its own it goes to the worker that this round has given the fewest such tasks, of those to
  ** the one that has most of the copies. After a task of the rounds that writes the tensor it is copied again; what anyone else
  ** writes after the copy is not seen. Baton holds the tensors until the rounds end. */
  baton_tensor *const *residents;
  uint32_t nresidents;
  const baton_config *
      config; /* of each round, as for baton_node_submit, but for `resident`, which is NULL; NULL: defaults */
} baton_node_rounds_options;

/* Another resident tensor of the same dtype and shape. */
typedef struct baton_node_rebind {
  uint32_t resident; /* which, from 0 */
  baton_tensor *tensor;
} baton_node_rebind;

/* The same function again and again. What a run registers, uploads and allocates on workers stays anyway; intermediates end with
** their round. The caller owns *out and closes it, before or after the node; one thread at a time uses it. Steps, their order and
** their failures are those of baton_rounds (rounds.h): init_round opens a round; launch calls the function and returns; finalize_round
** waits for its tasks. After a failed round its copies of resident tensors are made again. */
BATON_MUST_CHECK baton_status baton_node_rounds_open(baton_node *node,
                                                     const baton_node_rounds_options *options,
                                                     baton_node_rounds **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_rounds_init_round(baton_node_rounds *rounds,
                                                           const baton_node_rebind *rebinds,
                                                           uint32_t nrebinds, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_rounds_launch(baton_node_rounds *rounds, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_rounds_finalize_round(baton_node_rounds *rounds, double seconds,
                                                               int *over, baton_error *err);
/* Of the last round that finalize_round found to be over; all zero before. */
baton_timing baton_node_rounds_timing(const baton_node_rounds *rounds);
/* Cancels a round in flight, waits for it and frees the copies; steps answer `closed` then. Closing the node does the same. Inside
** an orchestrating function of the node: `state`. */
baton_status baton_node_rounds_finalize(baton_node_rounds *rounds, baton_error *err);
/* Finalizes and gives the object back. Inside an orchestrating function of the node it does not wait, in that of these rounds it
** takes effect when the function has returned. NULL is ignored. */
void baton_node_rounds_close(baton_node_rounds *rounds);

/* --- Orchestration: on the thread that called, until the function returns ------------------------------- */

/* An argument of a task. One of tensor, buffer with view, view alone (of baton_node_alloc), or a scalar. */
typedef struct baton_node_value {
  baton_tag tag;             /* 0: what the signature of the program says, else BATON_INOUT */
  baton_tensor *tensor;      /* host memory */
  baton_node_buffer *buffer; /* child memory … */
  const baton_view *view;    /* … and the tensor in it; or an intermediate */
  baton_dtype dtype;         /* scalars */
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } scalar;
} baton_node_value;

/* Zero means default, but for `worker`. */
typedef struct baton_node_task_options {
  int32_t worker;             /* BATON_ANY_WORKER: the engine picks */
  const baton_config *config; /* of the device program */
  const baton_task *deps;
  uint32_t ndeps;
  const char *name;
  int priority; /* -100 … 100 */
} baton_node_task_options;

/* One task on one worker: a device program, or one with a function of the host. NULL options: any worker. What can never run
** is refused: an unknown worker (`out_of_range`), child memory of another one (`wrong_device`). Blocks only on a full resource. */
BATON_MUST_CHECK baton_status baton_node_submit_next_level(baton_node_orch *o, baton_program *program,
                                                           const baton_node_value *values, uint32_t nvalues,
                                                           const baton_node_task_options *options,
                                                           baton_task *out, baton_error *err);

/* The arguments of one member of a group, and its place. */
typedef struct baton_node_member {
  const baton_node_value *values;
  uint32_t nvalues;
  int32_t worker; /* BATON_ANY_WORKER: a free one */
} baton_node_member;

/* One task with a member on each of `count` distinct workers, which begin together. `worker` of the options is not used. */
BATON_MUST_CHECK baton_status baton_node_submit_next_level_group(baton_node_orch *o, baton_program *program,
                                                                 const baton_node_member *members,
                                                                 uint32_t count,
                                                                 const baton_node_task_options *options,
                                                                 baton_task *out, baton_error *err);

/* A program with a function of the host, on a free sub worker; `unsupported` without sub workers. */
BATON_MUST_CHECK baton_status baton_node_submit_sub(baton_node_orch *o, baton_program *program,
                                                    const baton_node_value *values, uint32_t nvalues,
                                                    const baton_node_task_options *options, baton_task *out,
                                                    baton_error *err);
BATON_MUST_CHECK baton_status baton_node_submit_sub_group(baton_node_orch *o, baton_program *program,
                                                          const baton_node_member *members, uint32_t count,
                                                          const baton_node_task_options *options,
                                                          baton_task *out, baton_error *err);

/* Device memory and copies as tasks. A buffer lives on after the run. */
BATON_MUST_CHECK baton_status baton_node_orch_malloc(baton_node_orch *o, uint32_t worker, uint64_t nbytes,
                                                     baton_node_buffer **out, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_orch_free(baton_node_orch *o, baton_node_buffer *buffer,
                                                   baton_error *err);
BATON_MUST_CHECK baton_status baton_node_orch_copy_to(baton_node_orch *o, baton_node_buffer *buffer,
                                                      baton_tensor *host, const baton_copy_options *options,
                                                      baton_task *out, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_orch_copy_from(baton_node_orch *o, baton_tensor *host,
                                                        baton_node_buffer *buffer,
                                                        const baton_copy_options *options, baton_task *out,
                                                        baton_error *err);

/* An intermediate in shared host memory, until the end of its scope. `data` of the view is its memory in this process. */
BATON_MUST_CHECK baton_status baton_node_alloc(baton_node_orch *o, baton_dtype dtype, int ndim,
                                               const int64_t *shape, baton_view *out, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_scope_begin(baton_node_orch *o, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_scope_end(baton_node_orch *o, baton_error *err);

/* Waits for one task, or with NULL for all of the run so far; its failure, or the run's, is the status. */
BATON_MUST_CHECK baton_status baton_node_wait(baton_node_orch *o, const baton_task *task, baton_error *err);

uint32_t baton_node_orch_workers(const baton_node_orch *o);
uint32_t baton_node_orch_subs(const baton_node_orch *o);

#ifdef __cplusplus
}
#endif
#endif
