#include "node/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/channel.h"
#include "node/endpoint.h"
#include "node/greeting.h"
#include "node/node.h"
#include "node/parent.h"
#include "node/point.h"
#include "node/spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct child {
  node_greeting greeting;
  node_shared shared;
  node_mapped *mapped;
  node_parent *parent;
  node_mailbox mailbox;
  node_executor *executor;
} child;

/* --- The points at which it dies, for tests ------------------------------------------------------------- */

void (*node_point_hook)(const char *name);

static char die_at[32];
static _Atomic int die_after; /* so many times more */

static void die_at_point(const char *name) {
  if (strcmp(name, die_at) == 0 && atomic_fetch_sub_explicit(&die_after, 1, memory_order_relaxed) == 1)
    raise(SIGKILL);
}

static void read_points(const node_greeting *greeting) {
  const char *text = getenv("BATON_WORKER_DIE_AT");
  unsigned nth = 1, started = 1, worker = greeting->worker, level = 3;
  if (!text || sscanf(text, "%31[^:]:%u:%u:%u:%u", die_at, &nth, &started, &worker, &level) < 1) return;
  if (started != greeting->started || worker != greeting->worker) return;
  if (level != (greeting->has_node ? 4 : 3)) return;
  atomic_store_explicit(&die_after, (int)nth, memory_order_relaxed);
  node_point_hook = die_at_point;
}

/* --- Beginning ------------------------------------------------------------------------------------------ */

static void go_on(int number) { (void)number; }

/* Output to a terminal is legal from a process group in its background. Output that nobody reads is an error of who writes it, as
** in a thread of the parent; programs that a function starts do not inherit a handler. */
static void settle(void) {
  const struct sigaction heedless = {.sa_handler = go_on, .sa_flags = SA_RESTART};
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
    if (fcntl(stream, F_GETFD) < 0) (void)open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  signal(SIGTTOU, SIG_IGN);
  sigaction(SIGPIPE, &heedless, NULL);
}

/* The parent has sent it before it started this process. */
static baton_status greet(child *self, baton_error *err) {
  node_message message;
  int fd, failure = node_channel_receive(NODE_CHILD_SOCKET, &message, &fd);
  if (failure || message.kind != NODE_MESSAGE_MEMORY || fd < 0)
    return baton_error_set(err, BATON_PROTOCOL_ERROR, "no greeting: %s",
                           strerror(failure ? failure : EPROTO));
  baton_status status = node_greeting_read(fd, message.size, &self->shared, &self->greeting, err);
  close(fd);
  return status;
}

static void *find(child *self, const node_place *place, baton_error *err) {
  return node_mapped_resolve(self->mapped, place->segment, place->offset, place->bytes, err);
}

static baton_status open_executor(child *self, const node_script_calls *scripts, baton_error *err) {
  const node_greeting *greeting = &self->greeting;
  baton_worker_options chip = node_greeting_chip(greeting);
  node_executor_options options = {.chip = greeting->has_chip ? &chip : NULL,
                                   .scripts = scripts,
                                   .memory = {self->mapped, node_mapped_resolve},
                                   .worker = greeting->worker,
                                   .kept = node_greeting_kept(&self->shared),
                                   .nkept = greeting->nkept};
  baton_node_chip chips[BATON_NODE_WORKERS];
  baton_node_options node;
  if (greeting->has_node) {
    node = node_greeting_node(greeting, chips);
    options.node = &node;
  }
  if (greeting->has_chip) {
    options.device_memory = find(self, &greeting->device_memory, err);
    options.device_memory_bytes = greeting->device_memory.bytes;
    if (!options.device_memory) return err->code;
  }
  node_point("open");
  return node_executor_open(&options, &self->executor, err);
}

static baton_status begin(child *self, const node_script_calls *scripts, baton_error *err) {
  const node_greeting *greeting = &self->greeting;
  read_points(greeting);
  BATON_TRY(node_mapped_open(&self->mapped, err));
  if (greeting->has_node) node_mapped_offer(self->mapped);
  BATON_TRY(node_parent_open(NODE_CHILD_SOCKET, greeting->parent, self->mapped, &self->parent, err));
  node_doorbell *bell = find(self, &greeting->bell, err);
  if (!bell) return err->code;
  void *memory = node_greeting_mailbox(&self->shared, greeting);
  BATON_TRY(node_mailbox_attach(&self->mailbox, memory, bell, 1, err));
  return open_executor(self, scripts, err);
}

/* --- Serving and ending --------------------------------------------------------------------------------- */

static baton_status serve(child *self, baton_error *err) {
  static const node_message ready = {.kind = NODE_MESSAGE_READY};
  node_point("ready");
  int failure = node_channel_send(NODE_CHILD_SOCKET, &ready, -1);
  if (failure) return baton_error_set(err, BATON_IO_ERROR, "ready: %s", strerror(failure));
  return node_serve(&self->mailbox, self->executor, err);
}

/* The first failure counts. */
static baton_status end(child *self, baton_status status, baton_error *err) {
  baton_error late = {0};
  if (node_executor_close(self->executor, &late) != BATON_OK && status == BATON_OK)
    status = baton_error_copy(err, &late);
  baton_error_clear(&late);
  node_mailbox_detach(&self->mailbox);
  return status;
}

static void report(child *self, const baton_error *error) {
  static const node_message failed = {.kind = NODE_MESSAGE_FAILED};
  if (!self->shared.memory) {
    base_log_error(error, "baton-worker");
    return;
  }
  node_answer_write(&self->shared, error);
  (void)node_channel_send(NODE_CHILD_SOCKET, &failed, -1);
}

static int run(const node_script_calls *scripts) {
  child self = {0};
  baton_error err = {0};
  baton_status status = greet(&self, &err);
  if (status == BATON_OK) {
    status = begin(&self, scripts, &err);
    if (status == BATON_OK) status = serve(&self, &err);
    status = end(&self, status, &err);
  }
  if (status != BATON_OK) report(&self, &err);
  baton_error_clear(&err);
  node_parent_close(self.parent);
  node_mapped_close(self.mapped);
  node_shared_unmap(&self.shared);
  return status == BATON_OK ? 0 : 1;
}

int node_child_main(int argc, char **argv, const node_script_calls *scripts) {
  char number[16];
  snprintf(number, sizeof number, "%d", NODE_CHILD_SOCKET);
  if (argc != 2 || strcmp(argv[1], number) != 0 || fcntl(NODE_CHILD_SOCKET, F_GETFD) < 0) {
    fprintf(stderr, "baton-worker " BATON_VERSION ": Baton starts it, where isolation is \"process\"\n");
    return 2;
  }
  settle();
  node_set_scripts(scripts);
  fcntl(NODE_CHILD_SOCKET, F_SETFD, FD_CLOEXEC);
  return run(scripts);
}
