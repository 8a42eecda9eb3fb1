/* chip/worker.h - a worker from the inside: the device, its runs, engines, buffers and registrations.
** Private to src/chip.
**
** The object is held by its user, by each run, buffer and call; the device is closed by the shutdown,
** whoever holds the object. What uses the device does so between chip_worker_enter and chip_worker_leave,
** or belongs to an unfinished run: the shutdown waits for both. Order of locks: worker->rounds_lock,
** worker->lock, then those of the device and of runs. */
#ifndef CHIP_WORKER_H
#define CHIP_WORKER_H

#include "chip/buffer.h"
#include "chip/elsewhere.h"
#include "chip/registry.h"
#include "chip/rounds.h"
#include "chip/run.h"
#include "tensor/storage.h"

struct baton_worker {
  _Atomic uint32_t holders;
  const char *platform; /* static */
  uint32_t device_number;
  uint32_t cpus; /* of this process, when the worker was opened */
  baton_config config;
  char *runtime;                /* config.runtime points here */
  pthread_mutex_t closing_lock; /* one shutdown at a time; guards the next one */
  int ending;                   /* a shutdown has left streams that could not be destroyed */
  const chip_elsewhere
      *elsewhere; /* NULL: its kernels run in this process; constant once the worker is open */
  pthread_mutex_t
      rounds_lock;       /* guards the end of rounds, and their list, which changes under the next lock too */
  baton_rounds *rounds;  /* that are not closed, the latest first */
  pthread_mutex_t lock;  /* guards what follows */
  pthread_cond_t left;   /* `inside` became 0 */
  device *dev;           /* NULL: closed */
  void *place;           /* the context of `elsewhere`; NULL: closed */
  int closed;            /* or being closed: nothing enters */
  int lost;              /* a kernel was left by force: nothing is launched until the restart */
  char lost_by[192];     /* what happened then */
  uint32_t inside;       /* calls that use the device */
  baton_run *unfinished; /* the latest first */
  chip_engine *spare;
  baton_buffer *buffers; /* whose memory is not freed, the latest first */
  chip_registry registry;
  int heap_lent;       /* an engine uses the heap region of the arena */
  uint64_t run_count;  /* launched */
  baton_stats totals;  /* of ended runs: what does not come from the device */
  device_stats at_end; /* when the device was closed */
};

/* The device that the options of a worker name, as device_open takes it. */
BATON_MUST_CHECK baton_status chip_worker_device(const baton_worker_options *options, device_options *out,
                                                 baton_error *err);

/* Device memory that outlives workers: the caller's, and what lives in it since an earlier worker. Nothing else is allocated
** before `live` is reserved; chip_buffer_adopt gives the handles. */
typedef struct chip_lent_memory {
  void *address; /* NULL: the device has its own */
  uint64_t nbytes;
  const device_region *live;
  uint32_t nlive;
} chip_lent_memory;

/* baton_worker_open on lent memory, which is the caller's until the worker is shut down. */
BATON_MUST_CHECK baton_status chip_worker_open(const baton_worker_options *options,
                                               const chip_lent_memory *memory, baton_worker **out,
                                               baton_error *err);

void chip_worker_hold(baton_worker *worker);
void chip_worker_release(baton_worker *worker);

/* Begins a call that uses the device and may wait for runs; `closed`, and `state` if this thread is in an
** orchestration of the worker and would wait for itself. `what` begins the message. */
BATON_MUST_CHECK baton_status chip_worker_enter(baton_worker *worker, const char *what, baton_error *err);
/* The same for a call that waits for nothing. */
BATON_MUST_CHECK baton_status chip_worker_enter_quick(baton_worker *worker, baton_error *err);
void chip_worker_leave(baton_worker *worker);

/* Who is inside an orchestration on this thread: a frame lives on the stack around the orchestration of
** `run`. */
typedef struct chip_inside {
  const baton_run *run;
  struct chip_inside *outer;
} chip_inside;

void chip_inside_begin(chip_inside *frame, const baton_run *run);
void chip_inside_end(const chip_inside *frame);
/* True if this thread is in an orchestration of the worker; of the run. */
int chip_inside_worker(const baton_worker *worker);
int chip_inside_run(const baton_run *run);
/* True if a run whose orchestration this thread is in will read or write the memory. */
int chip_inside_uses(const tensor_storage *storage, int writes);
/* The error of a call that would wait for itself. */
baton_status chip_inside_error(const char *what, baton_error *err);

/* Waits for every run that was submitted before. */
void chip_worker_await_submitted(baton_worker *worker);

/* Frees device memory that nobody needs: spare engines. False if there was none. */
int chip_worker_reclaim(baton_worker *worker);

/* A spare engine of these sizes, or a new one; and back, which worker->lock must not be held for. */
BATON_MUST_CHECK baton_status chip_worker_take_engine(baton_worker *worker, const chip_sizes *sizes,
                                                      chip_engine **out, baton_error *err);
void chip_worker_give_engine(baton_worker *worker, chip_engine *engine);

/* The heap region of the arena, if it has `bytes` and no engine uses it: its address on the device. False
** otherwise. Given back by chip_worker_return_heap; as long as it is lent the arena does not change. */
int chip_worker_borrow_heap(baton_worker *worker, uint64_t bytes, uint64_t *address);
void chip_worker_return_heap(baton_worker *worker);

/* A kernel of the run or its orchestration was left by force, for `cause`: the worker is lost, and its other runs
** fail. Any lane. */
void chip_worker_lose(baton_run *run, const baton_error *cause);
/* The error of a lost worker; worker->lock is held. */
baton_status chip_worker_lost_error(const baton_worker *worker, baton_error *err);

/* Cancels a run that is not over. False: it was over. Any thread. */
int chip_worker_cancel(baton_run *run);

/* The same for every unfinished run of the worker. */
void chip_worker_cancel_all(baton_worker *worker);

/* Adds what an ended run did to the totals; worker->lock is held. */
void chip_stats_add(baton_worker *worker, const baton_run *run, const task_counts *counts);

#endif
