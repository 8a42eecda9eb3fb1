/* A worker that is a thread of this process. */
#include "base/clock.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/endpoint.h"
#include "node/start.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum {
  STARTING, /* values of `state` */
  READY,
  FAILED,
  STOP_SECONDS = 15 /* that a restart waits for the end of what runs */
};

typedef struct thread_endpoint thread_endpoint;
struct thread_endpoint {
  node_endpoint base;
  void *memory; /* of the mailbox */
  node_doorbell *bell;
  node_mailbox server; /* the thread's end of it */
  node_executor_options options;
  baton_worker_options chip; /* texts are its own */
  node_executor *executor;   /* made by the first thread that gets so far; NULL: not yet */
  pthread_t thread;
  int is_started;
  _Atomic uint32_t state, ended; /* futexes; `ended`: the thread touches nothing any more */
  baton_error failure;           /* of the thread, from FAILED or `died` on */
  thread_endpoint *next;         /* among those that were left in place */
};

/* Whose thread did not end; reachable from here, hence no leaks to a leak checker. */
static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static thread_endpoint *left_in_place;

/* --- The server ----------------------------------------------------------------------------------------- */

static void tell(_Atomic uint32_t *word, uint32_t value) {
  atomic_store_explicit(word, value, memory_order_release); /* with what was done before */
  base_futex_wake(word, INT_MAX);
}

static baton_status serve(thread_endpoint *self, baton_error *err) {
  if (!self->executor) BATON_TRY(node_executor_open(&self->options, &self->executor, err));
  tell(&self->state, READY);
  return node_serve(&self->server, self->executor, err);
}

static void *thread_main(void *argument) {
  thread_endpoint *self = argument;
  if (serve(self, &self->failure) != BATON_OK) {
    atomic_store_explicit(&self->base.died, 1, memory_order_release); /* with the failure */
    if (atomic_load_explicit(&self->state, memory_order_relaxed) == STARTING) tell(&self->state, FAILED);
    node_mailbox_abandon(&self->server);
  }
  tell(&self->ended, 1);
  return NULL;
}

/* A mailbox and a thread for it. */
static baton_status open_mailbox(thread_endpoint *self, baton_error *err) {
  uint64_t size = node_mailbox_size();
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return baton_error_set(err, BATON_OUT_OF_MEMORY, "no memory for a mailbox of %llu bytes: %s",
                           (unsigned long long)size, strerror(errno));
  self->memory = memory;
  node_mailbox_init(memory);
  BATON_TRY(node_mailbox_attach(&self->base.mailbox, memory, self->bell, 0, err));
  return node_mailbox_attach(&self->server, memory, self->bell, 1, err);
}

static void close_mailbox(thread_endpoint *self) {
  node_mailbox_detach(&self->base.mailbox);
  node_mailbox_detach(&self->server);
  if (self->memory) munmap(self->memory, node_mailbox_size());
  self->memory = NULL;
}

static baton_status launch(thread_endpoint *self, baton_error *err) {
  char name[16];
  snprintf(name, sizeof name, "%s-%u", self->options.chip ? "chip" : "sub", self->options.worker % 10000);
  atomic_store_explicit(&self->state, STARTING, memory_order_relaxed);
  atomic_store_explicit(&self->ended, 0, memory_order_relaxed);
  atomic_store_explicit(&self->base.died, 0, memory_order_relaxed);
  BATON_TRY(open_mailbox(self, err));
  BATON_TRY(node_thread_start(&self->thread, name, thread_main, self, err));
  self->is_started = 1;
  self->base.started++;
  return BATON_OK;
}

/* What runs ends early, what waits is not begun. False: the thread does not end. */
static int stop(thread_endpoint *self, int64_t deadline) {
  if (!self->is_started) return 1;
  node_mailbox_cancel(&self->base.mailbox, UINT32_MAX);
  node_mailbox_abandon(&self->base.mailbox);
  while (!atomic_load_explicit(&self->ended, memory_order_acquire))
    if (!base_futex_wait(&self->ended, 0, deadline)) break;
  if (!atomic_load_explicit(&self->ended, memory_order_acquire)) return 0;
  pthread_join(self->thread, NULL);
  self->is_started = 0;
  return 1;
}

static baton_status refuse_busy(const thread_endpoint *self, const char *what, baton_error *err) {
  return baton_error_set(err, BATON_BUSY, "%s: what %s %u runs does not end", what,
                         self->options.chip ? "worker" : "sub worker", self->options.worker);
}

/* --- The table ------------------------------------------------------------------------------------------ */

/* The options are the caller's only as long as `start`. */
static baton_status copy_options(thread_endpoint *self, const node_endpoint_options *options,
                                 baton_error *err) {
  self->bell = options->bell;
  self->options =
      (node_executor_options){.scripts = options->scripts, .worker = options->worker, .in_process = 1};
  if (!options->chip) return BATON_OK;
  const baton_worker_options *from = options->chip;
  const char *platform = base_strdup(from->platform), *devices = base_strdup(from->devices),
             *runtime = base_strdup(from->config.runtime), *fault = base_strdup(from->fault.call);
  self->chip = *from;
  self->chip.platform = platform;
  self->chip.devices = devices;
  self->chip.config.runtime = runtime;
  self->chip.fault.call = fault;
  self->chip.prewarm = NULL; /* programs come by NODE_REGISTER */
  self->chip.nprewarm = 0;
  self->options.chip = &self->chip;
  int failed = (from->platform && !platform) || (from->devices && !devices) ||
               (from->config.runtime && !runtime) || (from->fault.call && !fault);
  return failed ? base_out_of_memory(err, "the options of a worker") : BATON_OK;
}

static void destroy(thread_endpoint *self) {
  close_mailbox(self);
  baton_error_clear(&self->failure);
  base_free((char *)(uintptr_t)self->chip.platform);
  base_free((char *)(uintptr_t)self->chip.devices);
  base_free((char *)(uintptr_t)self->chip.config.runtime);
  base_free((char *)(uintptr_t)self->chip.fault.call);
  pthread_mutex_destroy(&self->base.control_lock);
  base_free(self);
}

static baton_status start(const node_endpoint_options *options, node_endpoint **out, baton_error *err) {
  *out = NULL;
  thread_endpoint *self = base_calloc(1, sizeof *self);
  if (!self) return base_out_of_memory(err, "a worker");
  self->base.calls = &node_endpoint_thread;
  pthread_mutex_init(&self->base.control_lock, NULL);
  baton_status status = copy_options(self, options, err);
  if (status == BATON_OK) status = launch(self, err);
  if (status == BATON_OK)
    *out = &self->base;
  else
    destroy(self);
  return status;
}

static baton_status ready(node_endpoint *endpoint, int64_t deadline, baton_error *err) {
  thread_endpoint *self = (thread_endpoint *)endpoint;
  while (atomic_load_explicit(&self->state, memory_order_acquire) == STARTING)
    if (!base_futex_wait(&self->state, STARTING, deadline)) break;
  switch (atomic_load_explicit(&self->state, memory_order_acquire)) {
  case READY: return BATON_OK;
  case FAILED: return baton_error_copy(err, &self->failure);
  default:
    return baton_error_set(err, BATON_TIMEOUT, "%s %u: not ready in time",
                           self->options.chip ? "worker" : "sub worker", self->options.worker);
  }
}

static void cause(node_endpoint *endpoint, baton_error *err) {
  baton_error_copy(err, &((thread_endpoint *)endpoint)->failure);
}

/* Programs and buffers stay. */
static baton_status restart(node_endpoint *endpoint, baton_error *err) {
  thread_endpoint *self = (thread_endpoint *)endpoint;
  if (!stop(self, base_deadline(STOP_SECONDS))) return refuse_busy(self, "restart", err);
  close_mailbox(self);
  baton_error_clear(&self->failure);
  if (self->executor) BATON_TRY(node_executor_restart(self->executor, err));
  return launch(self, err);
}

static baton_status close_endpoint(node_endpoint *endpoint, int64_t deadline, baton_error *err) {
  thread_endpoint *self = (thread_endpoint *)endpoint;
  if (!stop(self, deadline)) {
    baton_status status = refuse_busy(self, "close", err);
    pthread_mutex_lock(&left_lock);
    self->next = left_in_place;
    left_in_place = self;
    pthread_mutex_unlock(&left_lock);
    return status;
  }
  baton_status status = node_executor_close(self->executor, err);
  destroy(self);
  return status;
}

const node_endpoint_calls node_endpoint_thread = {.name = "thread",
                                                  .start = start,
                                                  .ready = ready,
                                                  .restart = restart,
                                                  .cause = cause,
                                                  .close = close_endpoint};
