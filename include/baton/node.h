/* baton/node.h - one sequential function drives many chips: level 3; and many nodes: level 4.
**
** A node has workers, each a chip with a number from 0, and sub workers, which run functions of the host. An orchestrating
** function submits tasks to them; what must wait for what follows from the memory that the tasks touch, as if they were run
** one after the other.
**
** What takes a node, a run or a buffer may be called by any thread, also while others call, unless it says otherwise; what waits
** answers `state` inside an orchestrating function of the same node, and what needs workers `closed` after the shutdown. What makes
** an object has NULL in *out after a failure. Options are read during the call only; those of tasks and copies and each `config`
** may be NULL.
**
** At level 4 the workers are nodes. A program that is submitted to one becomes a run there with the program as its only task; functions
** that orchestrate there are Lua's only, as one of this process cannot be sent. Child memory belongs to the nodes: malloc, setup_arena
** and add are `unsupported` here. A node that has lost a worker is replaced when the task is over that saw it: its process ends, and
** another begins. A failure that comes from a node has `path`, such as "node 2 / worker 0", unless it names a file; its `worker` is
** the chip's, and unknown in a failure of the node itself. */
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

/* Opens all workers at the same time, and waits for them. If one fails, what was opened is closed again, and the error carries
** `worker` if it is a chip. `device_busy` names who has a device, `timeout` the worker that was not ready in time. The caller owns
** *out. */
BATON_MUST_CHECK baton_status baton_node_open(const baton_node_options *options, baton_node **out,
                                              baton_error *err);

/* Cancels unfinished runs, frees the buffers, ends threads and children; the status says what failed on the way. `busy` if a
** run or a call of another thread does not end for long: then the next call goes on. The object stays and answers `closed`. May
** be repeated. */
baton_status baton_node_shutdown(baton_node *node, baton_error *err);

/* Gives the object back, after a shutdown if there was none; what fails then is logged. Nobody else may use it any more; runs,
** rounds and buffers of the node may be closed later. NULL is ignored. */
void baton_node_close(baton_node *node);

/* Closed after a shutdown; else lost if a worker is, which baton_node_describe tells; else busy if runs are unfinished or a worker
** is; else ready. What it says may be old by then. */
baton_worker_state baton_node_state_of(baton_node *node);

/* How many ids were given out: they are 0 … count-1, those of removed workers included, after the shutdown too. */
uint32_t baton_node_workers(baton_node *node);
uint32_t baton_node_subs(baton_node *node);

/* What a worker is. Of one that was removed or closed only platform and device are known. */
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
/* Waits for nothing; what it says may be old by then. `out_of_range` names the ids that there are. */
BATON_MUST_CHECK baton_status baton_node_describe(baton_node *node, uint32_t worker, baton_node_worker *out,
                                                  baton_error *err);

/* Another chip, with the isolation of the node; returns when it is ready, with its number in *id. Unfinished runs go on, and may
** use it from then on. Fails as the opening of a node does; `resource_limit` when all ids were given out. */
BATON_MUST_CHECK baton_status baton_node_add(baton_node *node, const baton_node_chip *chip, uint32_t *id,
                                             baton_error *err);
/* Ends a worker after all runs that were submitted; its buffers die, they answer `closed`. Its id is not given out again: what
** names it is refused with `closed`, the second removal too. */
BATON_MUST_CHECK baton_status baton_node_remove(baton_node *node, uint32_t worker, baton_error *err);
/* Makes a lost worker ready again: with process isolation a new child, with thread isolation as baton_worker_restart. Waits for a
** restart that has begun by itself; without effect on a worker that is in order. Buffers keep their contents. Sub workers do that by
** themselves, when what they ran has ended. */
BATON_MUST_CHECK baton_status baton_node_restart(baton_node *node, uint32_t worker, baton_error *err);

/* Compiles the program and sends it to every worker now; runs do the same at its first use. A program with the same content as a
** registered one gets the handle of that. The node holds the program until it is unregistered or the node closed. Runs may be in
** flight. */
BATON_MUST_CHECK baton_status baton_node_register(baton_node *node, baton_program *program, baton_handle *out,
                                                  baton_error *err);
/* From now on the handle is `stale_handle`; tasks that use its program go on. Waits for nothing. */
baton_status baton_node_unregister(baton_node *node, baton_handle handle, baton_error *err);
/* The program behind a handle: a hold that the caller gives back by baton_program_close. */
BATON_MUST_CHECK baton_status baton_node_program(baton_node *node, baton_handle handle, baton_program **out,
                                                 baton_error *err);

/* As baton_worker_setup_arena, of one worker; sizes in bytes. */
BATON_MUST_CHECK baton_status baton_node_setup_arena(baton_node *node, uint32_t worker,
                                                     const baton_arena *arena, int *changed,
                                                     baton_error *err);
/* What one worker has counted, or with BATON_ANY_WORKER the sums of all, where a run and its tasks count once; the sums are there
** after the shutdown too. `worker_lost` for one that is lost. */
BATON_MUST_CHECK baton_status baton_node_stats(baton_node *node, int32_t worker, baton_stats *out,
                                               baton_error *err);

/* Writes who runs what and who waits for whom: plain text for people, cut at `size` bytes with its zero. Returns its whole length;
** it may have grown at the next call. Waits for nothing, inside an orchestrating function neither. */
size_t baton_node_dump(baton_node *node, char *text, size_t size);

/* --- Child memory --------------------------------------------------------------------------------------- */

/* Device memory of one worker, outside runs; sizes and offsets in bytes. A buffer belongs to the worker, not to a run: it lives
** until it is freed or closed, or the worker is. What uses it then is `stale_handle`, or `closed`. */

/* `nbytes` of memory, not cleared. Done when it returns, after everything submitted before. The caller owns *out and closes it. */
BATON_MUST_CHECK baton_status baton_node_malloc(baton_node *node, uint32_t worker, uint64_t nbytes,
                                                baton_node_buffer **out, baton_error *err);
/* Gives the memory back after every task submitted before, without waiting for it. The handle is dead at once; a second free is
** `double_free`. */
baton_status baton_node_free(baton_node *node, baton_node_buffer *buffer, baton_error *err);
/* Copies between a host tensor and a buffer, as baton_worker_copy_to and baton_worker_copy_from: done when they return, after
** everything submitted before; strided tensors are packed, and unpacked. What does not fit on either side: `out_of_range`. */
BATON_MUST_CHECK baton_status baton_node_copy_to(baton_node *node, baton_node_buffer *buffer,
                                                 baton_tensor *host, const baton_copy_options *options,
                                                 baton_error *err);
BATON_MUST_CHECK baton_status baton_node_copy_from(baton_node *node, baton_tensor *host,
                                                   baton_node_buffer *buffer,
                                                   const baton_copy_options *options, baton_error *err);

/* A contiguous tensor in the buffer, from byte `offset` on, for baton_node_value. *out owns nothing and is good as long as the
** buffer is; after a failure it is a view that every call refuses. `out_of_range`, or `invalid_argument` for an offset between
** two elements. */
BATON_MUST_CHECK baton_status baton_node_buffer_tensor(baton_node_buffer *buffer, baton_dtype dtype, int ndim,
                                                       const int64_t *shape, uint64_t offset, baton_view *out,
                                                       baton_error *err);
/* Its size and its worker, also when it is dead. */
uint64_t baton_node_buffer_nbytes(const baton_node_buffer *buffer);
uint32_t baton_node_buffer_worker(const baton_node_buffer *buffer);
/* Frees the memory, if it is not freed yet, and gives the handle back; tasks that use it keep the memory until they end. Legal
** before and after its node is closed. NULL is ignored. */
void baton_node_buffer_close(baton_node_buffer *buffer);

/* --- Runs ----------------------------------------------------------------------------------------------- */

/* The orchestrating function, called on the thread that runs or submits; `o` is dead when it has returned. A status that it returns
** ends the run: what has not begun does not begin, and *err, which it fills in, is what the run failed with. So
** `return baton_error_set(err, BATON_USER_FAIL, …)` ends a run with a message of its own. */
typedef baton_status (*baton_node_function)(baton_node_orch *o, void *context, baton_error *err);

/* Calls the function on this thread, waits for all of its tasks; the first failure is the status. Runs of one node execute one
** after the other, in the order of their beginnings; the next one may be built meanwhile. `config`: the deadline of the run, and
** what its device programs take as their defaults; what it leaves at zero comes from the node. `timeout` when the deadline has
** passed: the run is cancelled then. `timing` may be NULL. */
BATON_MUST_CHECK baton_status baton_node_run_function(baton_node *node, baton_node_function function,
                                                      void *context, const baton_config *config,
                                                      baton_timing *timing, baton_error *err);

/* The same, but returns when the function has returned; if that fails, when what had begun has ended, with *out NULL. The run holds
** the tensors, programs and buffers of its tasks. The caller owns *out. */
BATON_MUST_CHECK baton_status baton_node_submit(baton_node *node, baton_node_function function, void *context,
                                                const baton_config *config, baton_node_run **out,
                                                baton_error *err);

/* True when the run is over, well or not. Waits for nothing. */
int baton_node_run_done(const baton_node_run *run);
/* Waits at most `seconds` (negative: until the end), and until the deadline of the run, which only who waits sees to. *over (may be
** NULL) tells whether the run is over; then the status is the run's, the same one each time. */
baton_status baton_node_run_wait(baton_node_run *run, double seconds, int *over, baton_error *err);
/* Starts nothing new of the run; what runs ends. True; false if the run was over. */
int baton_node_run_cancel(baton_node_run *run);
/* In microseconds; all zero until the run is over. */
baton_timing baton_node_run_timing(const baton_node_run *run);
/* Cancels an unfinished run and gives it back, waiting for nothing; a failure that nobody has waited for is logged. Legal before
** and after the node is closed. NULL is ignored. */
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
** their round. The caller owns *out and closes it, before or after the node; one thread at a time uses it. A step out of order is
** `state`, says what to call first, and changes nothing; after a step that fails the round is closed, and the next init_round starts
** clean. Errors know the number of the round. After a failed round its copies of resident tensors are made again. */
BATON_MUST_CHECK baton_status baton_node_rounds_open(baton_node *node,
                                                     const baton_node_rounds_options *options,
                                                     baton_node_rounds **out, baton_error *err);
/* Opens a round. `rebinds` (NULL: none) replaces resident tensors from now on; the function sees to the tensors that it hands to
** tasks. `signature` if one differs in dtype or shape. */
BATON_MUST_CHECK baton_status baton_node_rounds_init_round(baton_node_rounds *rounds,
                                                           const baton_node_rebind *rebinds,
                                                           uint32_t nrebinds, baton_error *err);
/* Calls the function and returns when it has returned. */
BATON_MUST_CHECK baton_status baton_node_rounds_launch(baton_node_rounds *rounds, baton_error *err);
/* Waits for the tasks of the round, at most `seconds` (negative: until the end), and as baton_node_run_wait. *over (may be NULL)
** tells whether the round has ended; then it is closed. */
BATON_MUST_CHECK baton_status baton_node_rounds_finalize_round(baton_node_rounds *rounds, double seconds,
                                                               int *over, baton_error *err);
/* Of the last round that finalize_round found to be over, in microseconds; all zero before. */
baton_timing baton_node_rounds_timing(const baton_node_rounds *rounds);
/* Cancels a round in flight, waits for it and frees the copies; steps answer `closed` then. Closing the node does the same. Inside
** an orchestrating function of the node: `state`. */
baton_status baton_node_rounds_finalize(baton_node_rounds *rounds, baton_error *err);
/* Finalizes and gives the object back. Inside an orchestrating function of the node it does not wait, in that of these rounds it
** takes effect when the function has returned. NULL is ignored. */
void baton_node_rounds_close(baton_node_rounds *rounds);

/* --- Orchestration: on the thread that called, until the function returns ------------------------------- */

/* Another thread gets `state`. Submits return at once; only a full resource makes them wait. *out (may be NULL) is the task, which
** is valid until the run ends. A task that fails ends what depends on it, and is what the run fails with. */

/* An argument of a task. One of tensor, buffer with view, view alone (of baton_node_alloc), or a scalar. Copied by the submit; the
** run holds what it names. */
typedef struct baton_node_value {
  baton_tag tag;             /* 0: what the signature of the program says, else BATON_INOUT */
  baton_tensor *tensor;      /* host memory */
  baton_node_buffer *buffer; /* child memory … */
  const baton_view *view;    /* … and the tensor in it; or an intermediate */
  baton_dtype dtype;         /* scalars: as in baton_value */
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } scalar;
} baton_node_value;

/* Zero means default, but for `worker`. */
typedef struct baton_node_task_options {
  int32_t worker;             /* BATON_ANY_WORKER: the engine picks */
  const baton_config *config; /* of the device program; what it leaves at zero comes from the run */
  const baton_task *deps;     /* edges besides the inferred ones; a failed one ends the task */
  uint32_t ndeps;
  const char *name; /* for messages; NULL: the program's */
  int priority;     /* -100 … 100 */
} baton_node_task_options;

/* One task on one worker: a device program, or one with a function of the host. NULL options: any worker. Arguments in signature
** order, checked as those of a run: `signature`. What can never run is refused: an unknown worker (`out_of_range`), one that was
** removed (`closed`), child memory of another one (`wrong_device`), a task of another run (`stale_handle`). */
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

/* One task with a member on each of `count` distinct workers, which begin together. `worker` of the options is not used. Nothing
** orders the members among each other. `unsupported` with more members than workers. */
BATON_MUST_CHECK baton_status baton_node_submit_next_level_group(baton_node_orch *o, baton_program *program,
                                                                 const baton_node_member *members,
                                                                 uint32_t count,
                                                                 const baton_node_task_options *options,
                                                                 baton_task *out, baton_error *err);

/* A program with a function of the host, on a free sub worker, or on that of the options. What it has to say it writes into its
** arguments, which are there after a wait for the task. `unsupported` without sub workers, and for a device program. */
BATON_MUST_CHECK baton_status baton_node_submit_sub(baton_node_orch *o, baton_program *program,
                                                    const baton_node_value *values, uint32_t nvalues,
                                                    const baton_node_task_options *options, baton_task *out,
                                                    baton_error *err);
BATON_MUST_CHECK baton_status baton_node_submit_sub_group(baton_node_orch *o, baton_program *program,
                                                          const baton_node_member *members, uint32_t count,
                                                          const baton_node_task_options *options,
                                                          baton_task *out, baton_error *err);

/* Device memory and copies as tasks: as the calls of the node above, but ordered with the tasks before and after by the memory that
** they touch. The handle is good at once, the caller owns *out, and a buffer lives on after the run. */
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

/* An intermediate in shared host memory, not cleared, until the end of its scope; tasks that use it keep it until they end. `data`
** of the view is its memory in this process, to be touched when the tasks that use it have been waited for; view operations may be
** applied to it. Waits for room: `heap_full`, or `scope_deadlock` if open scopes hold it all. */
BATON_MUST_CHECK baton_status baton_node_alloc(baton_node_orch *o, baton_dtype dtype, int ndim,
                                               const int64_t *shape, baton_view *out, baton_error *err);
/* Scopes nest; the one of the function ends with it. Their end waits for nothing. */
BATON_MUST_CHECK baton_status baton_node_scope_begin(baton_node_orch *o, baton_error *err);
BATON_MUST_CHECK baton_status baton_node_scope_end(baton_node_orch *o, baton_error *err);

/* Waits for one task, or with NULL for all of the run so far; its failure, or the run's, is the status. */
BATON_MUST_CHECK baton_status baton_node_wait(baton_node_orch *o, const baton_task *task, baton_error *err);

/* As baton_node_workers and baton_node_subs. */
uint32_t baton_node_orch_workers(const baton_node_orch *o);
uint32_t baton_node_orch_subs(const baton_node_orch *o);

#ifdef __cplusplus
}
#endif
#endif
