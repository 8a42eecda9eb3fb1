/* The endpoint whose server is a child. */
#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/segment.h"
#include "chip/worker.h"
#include "device/claim.h"
#include "node/channel.h"
#include "node/connection.h"
#include "node/endpoint.h"
#include "node/kept.h"
#include "node/spawn.h"
#include "node/watch.h"
#include "node/worker_program.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const double kill_seconds = 10; /* from a SIGKILL until the system has cleared up */

/* The claim on the device and its memory are this process's: they outlive the child, and others are told of this one. */
typedef struct process_endpoint {
  node_endpoint base;
  node_greeting greeting;
  char program[PATH_MAX];
  device_claim *claim;       /* NULL: lent … */
  base_extent device_memory; /* … as is this */
  node_doorbell *bell;
  node_connection connection;
  node_watched watched;
  int watching;        /* there is a child, perhaps a dead one */
  _Atomic int ready;   /* it has been, since its start */
  baton_error failure; /* why there is no child; changes under control_lock */
  struct {
    uint64_t begin, size; /* as addresses of this process */
    uint32_t number;
  } last; /* segment that a command named; the child has it */
} process_endpoint;

/* --- Words ---------------------------------------------------------------------------------------------- */

static const char *kind_of(const process_endpoint *endpoint) {
  return endpoint->greeting.has_chip ? "worker" : endpoint->greeting.has_node ? "node" : "sub worker";
}

static baton_status blame(const process_endpoint *endpoint, baton_error *err) {
  if (!err || !endpoint->greeting.has_chip) return err ? err->code : BATON_OK;
  err->worker = (int32_t)endpoint->greeting.worker;
  err->known |= BATON_KNOWN_WORKER;
  return err->code;
}

static void describe_signal(const process_endpoint *endpoint, const char *when, baton_error *err) {
  int signal = endpoint->watched.value;
  const char *name = sigdescr_np(signal);
  baton_error_set(err, BATON_WORKER_LOST, "%s %u: its child (pid %d) was killed by signal %d (%s)%s",
                  kind_of(endpoint), endpoint->greeting.worker, (int)endpoint->watched.pid, signal,
                  name ? name : "unknown", when);
  if (err) {
    err->signal = signal;
    err->known |= BATON_KNOWN_SIGNAL;
  }
  if (signal == SIGKILL)
    baton_error_text(
        err, BATON_FIELD_HINT,
        "it came from outside: from a user, or from the system when memory was out (dmesg tells)");
  else if (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGABRT)
    baton_error_text(err, BATON_FIELD_HINT, "what it ran then has crashed");
}

static void describe_end(const process_endpoint *endpoint, const char *when, baton_error *err) {
  const node_watched *watched = &endpoint->watched;
  if (watched->death == NODE_DEATH_SIGNAL) {
    describe_signal(endpoint, when, err);
  } else if (watched->death == NODE_DEATH_EXIT) {
    baton_error_set(err, BATON_WORKER_LOST, "%s %u: its child (pid %d) exited with status %d%s",
                    kind_of(endpoint), endpoint->greeting.worker, (int)watched->pid, watched->value, when);
    if (endpoint->ready) baton_error_text(err, BATON_FIELD_HINT, "what it ran then has ended the process");
  } else {
    baton_error_set(err, BATON_WORKER_LOST, "%s %u: its child (pid %d) ended%s", kind_of(endpoint),
                    endpoint->greeting.worker, (int)watched->pid, when);
    baton_error_text(err, BATON_FIELD_HINT,
                     "this process waits for all of its children, or ignores SIGCHLD: how it ended is lost");
  }
}

/* Why the child is dead: what it said itself, or else how it ended. */
static baton_status explain(const process_endpoint *endpoint, const char *when, baton_error *err) {
  baton_error answer = {0};
  if (endpoint->failure.code != BATON_OK) {
    baton_error_copy(err, &endpoint->failure);
  } else if (node_answer_read(&endpoint->connection.shared, &answer)) {
    baton_error_copy(err, &answer);
    baton_error_context(err, "%s %u", kind_of(endpoint), endpoint->greeting.worker);
  } else {
    describe_end(endpoint, when, err);
    if (!endpoint->ready) baton_error_text(err, BATON_FIELD_PATH, "%s", endpoint->program);
  }
  baton_error_clear(&answer);
  blame(endpoint, err);
  return err ? err->code : BATON_WORKER_LOST;
}

static void set_failure(process_endpoint *endpoint, const baton_error *why) {
  pthread_mutex_lock(&endpoint->base.control_lock);
  baton_error_copy(&endpoint->failure, why);
  pthread_mutex_unlock(&endpoint->base.control_lock);
}

/* --- A child -------------------------------------------------------------------------------------------- */

/* On the watch thread. */
static void child_died(void *context) {
  process_endpoint *endpoint = context;
  atomic_store_explicit(&endpoint->base.died, 1, memory_order_release);
  node_mailbox_abandon(&endpoint->base.mailbox);
  node_doorbell_ring(endpoint->bell);
}

static baton_status start_child(process_endpoint *endpoint, int theirs, baton_error *err) {
  pid_t pid;
  BATON_TRY(node_spawn(endpoint->program, theirs, &pid, err));
  endpoint->watched = (node_watched){.pid = pid, .died = child_died, .context = endpoint};
  baton_status status = node_watch_add(&endpoint->watched, err);
  if (status != BATON_OK) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
  endpoint->watching = 1;
  endpoint->base.pid = pid;
  return BATON_OK;
}

static void close_connection(process_endpoint *endpoint) {
  if (endpoint->base.mailbox.memory) node_mailbox_detach(&endpoint->base.mailbox);
  node_connection_close(&endpoint->connection);
}

/* A new connection and a child at its other end, where there is none now; control_lock is held, or nobody knows the endpoint yet.
** After a failure the endpoint is dead, with a mailbox that nobody serves. */
static baton_status begin(process_endpoint *endpoint, baton_error *err) {
  node_connection made;
  node_mailbox mailbox;
  int theirs;
  endpoint->greeting.started = endpoint->base.started + 1;
  BATON_TRY(node_connection_open(&endpoint->greeting, endpoint->base.kept, endpoint->bell, &made, &mailbox,
                                 &theirs, err));
  close_connection(endpoint);
  endpoint->connection = made;
  endpoint->base.mailbox = mailbox;
  endpoint->last.size = 0;
  endpoint->ready = 0;
  baton_error_clear(&endpoint->failure);
  atomic_store_explicit(&endpoint->base.died, 0, memory_order_relaxed);
  baton_status status = start_child(endpoint, theirs, err);
  close(theirs);
  if (status == BATON_OK)
    endpoint->base.started++;
  else
    child_died(endpoint);
  return status;
}

/* By force, if it is alive. `io_error` if the system does not let it go; it is then nobody's. */
static baton_status end_child(process_endpoint *endpoint, baton_error *err) {
  if (!endpoint->watching) return BATON_OK;
  node_watched *watched = &endpoint->watched;
  node_watch_kill(watched);
  int dead = node_watch_await(watched, base_deadline(kill_seconds));
  node_watch_remove(watched);
  endpoint->watching = 0;
  endpoint->base.pid = 0;
  if (dead) return BATON_OK;
  child_died(endpoint);
  return baton_error_set(err, BATON_IO_ERROR, "%s %u: its child (pid %d) is still there %g s after a SIGKILL",
                         kind_of(endpoint), endpoint->greeting.worker, (int)watched->pid, kill_seconds);
}

/* --- Opening -------------------------------------------------------------------------------------------- */

/* The device of a chip and its memory, unless somebody else lends them. */
static baton_status take_device(process_endpoint *endpoint, const device_options *options, baton_error *err) {
  const device_platform *platform;
  BATON_TRY(device_platform_find(options->platform, &platform, err));
  BATON_TRY(device_claim_take(platform->name, options->id, options->wait_seconds, &endpoint->claim, err));
  return device_memory_alloc(options->memory, &endpoint->device_memory, err);
}

static baton_status open_device(process_endpoint *endpoint, const baton_worker_options *chip,
                                const base_extent *lent, baton_error *err) {
  device_options options;
  BATON_TRY(chip_worker_device(chip, &options, err));
  BATON_TRY(node_greeting_set_chip(&endpoint->greeting, chip, options.id, err));
  if (!lent) BATON_TRY(take_device(endpoint, &options, err));
  const base_extent *memory = lent ? lent : &endpoint->device_memory;
  endpoint->greeting.device_memory = (node_place){memory->segment, memory->offset, memory->size};
  return BATON_OK;
}

static baton_status open_parts(process_endpoint *endpoint, const node_endpoint_options *options,
                               baton_error *err) {
  node_place *bell = &endpoint->greeting.bell;
  endpoint->greeting.worker = options->worker;
  endpoint->bell = options->bell;
  bell->bytes = sizeof *options->bell;
  if (!base_segment_find(options->bell, &bell->segment, &bell->offset))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "the doorbell lies in no segment");
  endpoint->base.kept = node_kept_open();
  if (!endpoint->base.kept) return base_out_of_memory(err, "the list of buffers");
  BATON_TRY(node_worker_program(options->worker_program, endpoint->program, err));
  if (options->node)
    return node_greeting_set_node(&endpoint->greeting, options->node, endpoint->program, err);
  return options->chip ? open_device(endpoint, options->chip, options->device_memory, err) : BATON_OK;
}

static void destroy(process_endpoint *endpoint) {
  close_connection(endpoint);
  base_extent_free(&endpoint->device_memory);
  device_claim_give(endpoint->claim);
  node_kept_close(endpoint->base.kept);
  baton_error_clear(&endpoint->failure);
  pthread_mutex_destroy(&endpoint->base.control_lock);
  base_free(endpoint);
}

static baton_status process_start(const node_endpoint_options *options, node_endpoint **out,
                                  baton_error *err) {
  *out = NULL;
  process_endpoint *endpoint = base_calloc(1, sizeof *endpoint);
  if (!endpoint) return base_out_of_memory(err, "a worker");
  endpoint->base.calls = &node_endpoint_process;
  endpoint->connection.socket = -1;
  pthread_mutex_init(&endpoint->base.control_lock, NULL);
  baton_status status = open_parts(endpoint, options, err);
  if (status == BATON_OK) status = begin(endpoint, err);
  if (status == BATON_OK) {
    *out = &endpoint->base;
    return BATON_OK;
  }
  blame(endpoint, err);
  destroy(endpoint);
  return status;
}

/* --- Ready ---------------------------------------------------------------------------------------------- */

/* Sleeps until there is something to read; false: the deadline has passed, or the user of this thread wants no more. */
static int await_socket(int socket, int64_t deadline) {
  struct pollfd event = {.fd = socket, .events = POLLIN};
  for (;;) {
    int64_t now = base_now(), until = base_interrupt_slice(deadline);
    if (base_interrupt_asked() != BASE_GO_ON || now >= deadline) return 0;
    int64_t left = until == INT64_MAX ? -1 : until > now ? (until - now + 999999) / 1000000 : 0;
    int count = poll(&event, 1, left > INT32_MAX ? INT32_MAX : (int)left);
    if (count > 0) return 1;
  }
}

static baton_status refuse_silence(const process_endpoint *endpoint, baton_error *err) {
  const char *kind = kind_of(endpoint);
  unsigned worker = endpoint->greeting.worker;
  int pid = (int)endpoint->watched.pid;
  if (base_interrupt_asked() != BASE_GO_ON)
    return baton_error_set(err, BATON_CANCELLED, "%s %u: the wait for its child (pid %d) was interrupted",
                           kind, worker, pid);
  baton_error_set(err, BATON_TIMEOUT, "%s %u: its child (pid %d) was not ready in time", kind, worker, pid);
  baton_error_text(err, BATON_FIELD_PATH, "%s", endpoint->program);
  return baton_error_text(err, BATON_FIELD_HINT,
                          "raise startup_timeout; or the worker program is not that of Baton");
}

/* What the child says first: 0 and a message; EAGAIN: nothing in time; EPIPE: it is gone. */
static int hear(const process_endpoint *endpoint, int64_t deadline, node_message *message) {
  int fd, failure;
  while ((failure = node_channel_receive(endpoint->connection.socket, message, &fd)) == EAGAIN)
    if (!await_socket(endpoint->connection.socket, deadline)) return EAGAIN;
  if (fd >= 0) close(fd);
  return failure;
}

/* Why it is not ready; it is dead then. */
static void explain_start(process_endpoint *endpoint, int failure, const node_message *message,
                          baton_error *why) {
  if (failure == EAGAIN) {
    refuse_silence(endpoint, why);
  } else if (failure && failure != EPIPE) {
    baton_error_set(why, BATON_PROTOCOL_ERROR, "%s %u: its child (pid %d) said what is no message: %s",
                    kind_of(endpoint), endpoint->greeting.worker, (int)endpoint->watched.pid,
                    strerror(failure));
  } else if (!failure && message->kind != NODE_MESSAGE_FAILED) {
    baton_error_set(why, BATON_PROTOCOL_ERROR, "%s %u: its child (pid %d) said %u before it was ready",
                    kind_of(endpoint), endpoint->greeting.worker, (int)endpoint->watched.pid, message->kind);
  } else {
    (void)node_watch_await(&endpoint->watched, base_deadline(kill_seconds)); /* it is on its way out */
    explain(endpoint, " before it was ready", why);
  }
  blame(endpoint, why);
  (void)end_child(endpoint, NULL);
}

static baton_status process_ready(node_endpoint *base, int64_t deadline, baton_error *err) {
  process_endpoint *endpoint = (process_endpoint *)base;
  node_message message = {0};
  if (!endpoint->watching) return explain(endpoint, "", err);
  int failure = hear(endpoint, deadline, &message);
  if (!failure && message.kind == NODE_MESSAGE_READY) {
    endpoint->ready = 1;
    return BATON_OK;
  }
  baton_error why = {0};
  explain_start(endpoint, failure, &message, &why);
  baton_status status = baton_error_copy(err, &why);
  set_failure(endpoint, &why);
  baton_error_clear(&why);
  return status;
}

/* --- While it lives ------------------------------------------------------------------------------------- */

static int process_shares(node_endpoint *base, const void *address, uint64_t bytes, uint32_t *segment,
                          uint64_t *offset) {
  process_endpoint *endpoint = (process_endpoint *)base;
  uint64_t distance = (uintptr_t)address - endpoint->last.begin;
  if (distance < endpoint->last.size) {
    *segment = endpoint->last.number;
    *offset = distance;
    return bytes <= endpoint->last.size - distance;
  }
  uint64_t size;
  if (!base_segment_find(address, segment, offset)) return 0;
  int failure = node_connection_send_segment(&endpoint->connection, *segment);
  if (failure == EPIPE) return 1; /* it is dead: the command will fail by that */
  if (failure || base_segment_fd(*segment, &size) < 0) return 0;
  endpoint->last.begin = (uintptr_t)address - *offset;
  endpoint->last.size = size;
  endpoint->last.number = *segment;
  return bytes <= size - *offset;
}

static void process_cause(node_endpoint *base, baton_error *err) {
  (void)explain((process_endpoint *)base, "", err);
}

/* A control call that waits for its reply is over when the old child is dead. */
static baton_status process_restart(node_endpoint *base, baton_error *err) {
  process_endpoint *endpoint = (process_endpoint *)base;
  BATON_TRY(end_child(endpoint, err));
  baton_error why = {0};
  pthread_mutex_lock(&base->control_lock);
  baton_status status = begin(endpoint, &why);
  pthread_mutex_unlock(&base->control_lock);
  if (status != BATON_OK) {
    blame(endpoint, &why);
    baton_error_copy(err, &why);
    set_failure(endpoint, &why);
  }
  baton_error_clear(&why);
  return status;
}

/* --- The end -------------------------------------------------------------------------------------------- */

/* What runs ends early. One that does not answer because it has been asked before is on its way. */
static baton_status end_gently(process_endpoint *endpoint, int64_t deadline, baton_error *err) {
  const node_watched *watched = &endpoint->watched;
  node_command command = {.bytes = (uint32_t)node_command_bytes(0, 0, 0), .operation = NODE_END};
  node_mailbox_cancel(&endpoint->base.mailbox, UINT32_MAX);
  baton_status status = node_endpoint_control(&endpoint->base, &command, deadline, NULL, err);
  int may_end = status == BATON_OK || node_mailbox_is_abandoned(&endpoint->base.mailbox);
  if (!may_end && status != BATON_TIMEOUT) return status;
  baton_error_clear(err);
  if (may_end && node_watch_await(&endpoint->watched, deadline)) {
    int good = watched->death == NODE_DEATH_UNKNOWN || (watched->death == NODE_DEATH_EXIT && !watched->value);
    return good ? BATON_OK : explain(endpoint, " at its end", err);
  }
  return baton_error_set(err, BATON_TIMEOUT, "%s %u: its child (pid %d) did not end in time and was killed",
                         kind_of(endpoint), endpoint->greeting.worker, (int)watched->pid);
}

/* A child that died before has been reported by its cause. */
static baton_status process_close(node_endpoint *base, int64_t deadline, baton_error *err) {
  process_endpoint *endpoint = (process_endpoint *)base;
  baton_status status = BATON_OK;
  int alive = endpoint->watching && !atomic_load_explicit(&base->died, memory_order_acquire);
  if (alive && endpoint->ready) {
    node_mailbox_cancel(&base->mailbox, UINT32_MAX); /* what runs ends early */
    status = end_gently(endpoint, deadline, err);
    if (status != BATON_OK) blame(endpoint, err);
  }
  baton_status killed = end_child(endpoint, status == BATON_OK ? err : NULL);
  destroy(endpoint);
  return status == BATON_OK ? killed : status;
}

const node_endpoint_calls node_endpoint_process = {
    .name = "process",
    .start = process_start,
    .ready = process_ready,
    .shares = process_shares,
    .restart = process_restart,
    .cause = process_cause,
    .close = process_close,
};
