/* baton/worker.h - open a chip, run programs on it. */
#ifndef BATON_WORKER_H
#define BATON_WORKER_H

#include <baton/error.h>
#include <baton/program.h>
#include <baton/tensor.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_worker baton_worker;
typedef struct baton_run baton_run;
typedef struct baton_buffer baton_buffer; /* baton/buffer.h */

/* One argument of a run, in signature order: a host tensor, child memory, or a scalar. */
typedef struct baton_value {
  baton_tensor *tensor;
  baton_buffer *buffer;   /* child memory … */
  const baton_view *view; /* … and the tensor in it, by baton_buffer_tensor */
  baton_dtype dtype;      /* scalars: BATON_F64, BATON_I64, BATON_U64 or the exact type */
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } scalar;
} baton_value;

/* Settings of runs. Zero means default; what a call leaves at zero comes from its worker. */
typedef struct baton_config {
  uint32_t
      ring_task_window;   /* tasks in flight; default 16,384 on tensormap_and_ringbuffer; on host_build_graph,
                                which holds a whole graph, and aicpu_build_graph, which holds scopes, 262,144 */
  uint64_t ring_heap;     /* bytes for intermediates; default 256 MiB */
  uint32_t ring_dep_pool; /* edges beyond the four that each task has; default 65,536, and there 1,048,576 */
  const char *runtime;    /* NULL: the first that fits */
  double deadline;        /* seconds for the whole run; 0: none */
  double timeout; /* seconds without progress, then kernels are left by force, and so is a C orchestration
                                that makes no call; default 10 */
  double stream_timeout;  /* seconds in which no task begins or ends, nor runs: then the run fails, and a C
                                orchestration on the device is left by force, then and not before; above `timeout`;
                                0: none */
  double element_timeout; /* seconds that a get or set of an element waits for tasks; 0: no limit */
  const char *const
      *resident; /* rounds: names of arguments that stay on the device; one round by itself, a run, has
                                  no use for that; not for a worker */
  uint32_t nresident;
} baton_config;

/* How long a run took, in microseconds. */
typedef struct baton_timing {
  double host;          /* from the submit until the outputs are back */
  double device;        /* from the launch to the end of the last task */
  double orchestration; /* copies to the device and building the graph */
  uint64_t tasks;
  uint32_t timed;                   /* a bit for each timing slot that a task has used … */
  double slots[BATON_TIMING_SLOTS]; /* … and what passed from the first begin to the last end of its tasks */
} baton_timing;

/* The regions of device memory that a worker keeps from one run to the next, in bytes. */
typedef struct baton_arena {
  uint64_t heap;   /* intermediates of runs */
  uint64_t shared; /* state of engines */
  uint64_t image;  /* what runtimes load */
} baton_arena;

/* Where kernels and functions of the host run: threads of this process, or a child process for each worker. */
typedef enum baton_isolation { BATON_THREAD, BATON_PROCESS } baton_isolation;

/* For tests of what happens when a device fails: call number `nth` of one kind fails, on this worker. The
** kinds: alloc, copy_in, copy_out, fill, stream_create, sync, stream_destroy, launch. */
typedef struct baton_fault {
  const char *call; /* NULL: none */
  uint64_t nth;     /* from 1 */
  int forever;      /* and every later one */
} baton_fault;

/* Zero means default. */
typedef struct baton_worker_options {
  int level;            /* 2 */
  const char *platform; /* "a2a3sim" */
  const char *devices;  /* "0" */
  uint32_t
      threads; /* simulators: threads that execute kernels; default: the CPUs that this process may use */
  baton_config config;           /* defaults of its runs */
  baton_arena arena;             /* committed when the worker opens */
  baton_program *const *prewarm; /* compiled and registered when the worker opens */
  uint32_t nprewarm;
  double wait_device; /* seconds to wait for another process that owns the device; default: do not wait */
  baton_fault fault;
  baton_isolation
      isolation; /* with BATON_PROCESS what crashes, hangs or ends its process costs the run that it was for: the
                                child is replaced, and the worker and its buffers are as before. Graphs are called
                                on the thread that submits, as ever; on tensormap_and_ringbuffer the failure of a
                                call may then come with a later one */
  const char *worker_program; /* what a child executes; NULL: baton-worker beside this library or program */
  double startup_timeout;     /* seconds for a child to be ready; default 60 */
} baton_worker_options;

/* Opens a chip: streams and memory are made here, once. The caller owns *out. `unsupported` names the
** platforms that there are. A device belongs to one process at a time, whose workers share it: `device_busy`
** names the process that has it. The claim ends with the worker, or with the process however that ends. */
BATON_MUST_CHECK baton_status baton_worker_open(const baton_worker_options *options, baton_worker **out,
                                                baton_error *err);

/* Cancels unfinished runs, frees the buffers, drains, closes the device; the status says what failed on
** the way. Streams that the device does not give back stay for the next call, which tries once more and then closes the
** device whatever happens. The object stays: it, its runs and its buffers then answer `closed`. Other threads may be
** inside calls of the worker: those end first. May be repeated. Inside an orchestration of the same
** worker: `state`. Any thread. */
baton_status baton_worker_shutdown(baton_worker *worker, baton_error *err);

/* Gives the object back, after a shutdown if there was none; what fails then is logged. Runs and buffers
** may be closed later. NULL is ignored. */
void baton_worker_close(baton_worker *worker);

/* "a2a3sim". Static. */
const char *baton_worker_platform(const baton_worker *worker);

typedef enum baton_worker_state {
  BATON_WORKER_READY,
  BATON_WORKER_BUSY, /* runs are unfinished */
  BATON_WORKER_IS_LOST, /* a kernel crashed or hung and was left by force, or its child could not be replaced: nothing runs
                           until the restart */
  BATON_WORKER_CLOSED
} baton_worker_state;

/* Any thread; what it says may be old by then. */
baton_worker_state baton_worker_state_of(baton_worker *worker);

/* Makes a lost worker ready again, after its unfinished runs have ended. Buffers keep their contents,
** which the kernel that was left may have spoiled. Legal and without effect on a worker that is not lost; with process isolation
** the child is replaced all the same. Any thread. */
baton_status baton_worker_restart(baton_worker *worker, baton_error *err);

/* Commits the regions of the arena, after everything submitted before. Regions that are large enough stay;
** if one is not, all are committed anew, in the larger of the old and the new sizes. *changed (may be
** NULL) says whether that was so. If one region fails, all three are released and `out_of_memory` names
** it; a smaller call may follow. */
BATON_MUST_CHECK baton_status baton_worker_setup_arena(baton_worker *worker, const baton_arena *arena,
                                                       int *changed, baton_error *err);

/* A program that was registered with a worker; meaningless on others. Never 0. */
typedef uint64_t baton_handle;

/* Compiles and loads the program now instead of at its first run. A program with the same content as a
** registered one gets the handle of that and loads nothing. The worker holds the program until it is
** unregistered or the worker is closed. Legal at any time, while runs are in flight too. */
BATON_MUST_CHECK baton_status baton_worker_register(baton_worker *worker, baton_program *program,
                                                    baton_handle *out, baton_error *err);

/* From now on the handle is `stale_handle`; runs that use its program go on. */
baton_status baton_worker_unregister(baton_worker *worker, baton_handle handle, baton_error *err);

/* The program behind a handle, to run it: a hold that the caller gives back by baton_program_close. */
BATON_MUST_CHECK baton_status baton_worker_program(baton_worker *worker, baton_handle handle,
                                                   baton_program **out, baton_error *err);

/* What programs read of a worker: counts since it was opened, `committed_bytes` now, `…_peak` and `…_high`
** the most there ever was; after a shutdown the numbers of the end. `compilations` counts for the whole
** process. */
#define BATON_STATS_LIST(X) \
  X(streams_created)        \
  X(streams_destroyed)      \
  X(images_uploaded)        \
  X(compilations)           \
  X(graph_builds)           \
  X(graph_replays)          \
  X(arenas_committed)       \
  X(allocations)            \
  X(frees)                  \
  X(bytes_to_device)        \
  X(bytes_from_device)      \
  X(committed_bytes)        \
  X(committed_peak)         \
  X(runs)                   \
  X(rounds)                 \
  X(tasks)                  \
  X(edges)                  \
  X(window_high)            \
  X(heap_high)              \
  X(dep_pool_high)          \
  X(children_started)

typedef struct baton_stats {
#define X(name) uint64_t name;
  BATON_STATS_LIST(X)
#undef X
} baton_stats;

void baton_worker_stats(baton_worker *worker, baton_stats *out);

/* Writes who runs what: runs in flight, buffers, memory; plain text, cut at `size` bytes with its zero.
** Returns its whole length; it may have grown at the next call. */
size_t baton_worker_dump(baton_worker *worker, char *text, size_t size);

/* Runs `program` and waits: afterwards the outputs hold the results. After a failure no output has
** changed. `timing` may be NULL. Child memory is written in place, also by a run that fails later.
** `timeout` when the deadline of the config has passed: the run is cancelled then. */
BATON_MUST_CHECK baton_status baton_worker_run(baton_worker *worker, baton_program *program,
                                               const baton_value *values, uint32_t nvalues,
                                               const baton_config *config, baton_timing *timing,
                                               baton_error *err);

/* The same without waiting for the end. Inputs are copied, and on host_build_graph the orchestration is
** called, on the calling thread before this returns; a run that shares written host memory with an
** unfinished one waits for it first. On tensormap_and_ringbuffer the calling thread plays the control processor for a graph
** function: it waits until the runs before have ended, and returns when all tasks are submitted. Baton holds the storage of the tensors; outputs are written when the
** run ends. The caller owns *out. Runs of one worker execute one after the other, in the order of their
** submits. */
BATON_MUST_CHECK baton_status baton_worker_submit(baton_worker *worker, baton_program *program,
                                                  const baton_value *values, uint32_t nvalues,
                                                  const baton_config *config, baton_run **out,
                                                  baton_error *err);

/* True when the run is over, well or not. Any thread. */
int baton_run_done(const baton_run *run);

/* Waits at most `seconds` (negative: until the end). Inside an orchestration of the same worker: `state`.
** *over tells whether the run is over; then the status is the run's, the same one each time. Any thread. */
baton_status baton_run_wait(baton_run *run, double seconds, int *over, baton_error *err);

/* Starts nothing new of the run; what runs ends. True; false if the run was over. Any thread. */
int baton_run_cancel(baton_run *run);

/* All zero until the run is over. */
baton_timing baton_run_timing(const baton_run *run);

/* Cancels an unfinished run, then gives it back. NULL is ignored. */
void baton_run_close(baton_run *run);

#ifdef __cplusplus
}
#endif
#endif
