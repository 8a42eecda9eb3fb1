#include "node/parent.h"
#include "base/cause.h"
#include "base/memory.h"
#include "node/channel.h"
#include "node/point.h"
#include "node/start.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct node_parent {
  pthread_t thread;
  node_mapped *mapped;
  int socket; /* the caller's */
  int process, closing;
};

/* False: nothing is there now. A socket that ends is a parent that has ended. */
static int read_message(node_parent *parent) {
  node_message message;
  int fd, failure = node_channel_receive(parent->socket, &message, &fd);
  if (failure == EPIPE) _exit(NODE_PARENT_GONE);
  if (failure && failure != EMFILE) return 0;
  node_point("segment");
  if (message.kind == NODE_MESSAGE_SEGMENT) node_mapped_add(parent->mapped, message.number, message.size, fd);
  if (fd >= 0) close(fd);
  return 1;
}

/* The socket alone would not do: it stays open as long as some other process has inherited it. */
static void *watch(void *context) {
  node_parent *parent = context;
  struct pollfd events[] = {{.fd = parent->closing, .events = POLLIN},
                            {.fd = parent->process, .events = POLLIN},
                            {.fd = parent->socket, .events = POLLIN}};
  for (;;) {
    if (poll(events, 3, -1) < 0) continue; /* a signal */
    if (events[0].revents) return NULL;
    if (events[1].revents) _exit(NODE_PARENT_GONE);
    if (events[2].revents)
      while (read_message(parent)) {
      }
  }
}

/* 0 or an errno. */
static int open_descriptors(node_parent *parent, int pid) {
  parent->closing = eventfd(0, EFD_CLOEXEC);
  if (parent->closing < 0) return errno;
  parent->process = (int)syscall(SYS_pidfd_open, pid, 0);
  if (parent->process < 0 && errno != ESRCH) return errno;
  if (getppid() != pid) _exit(NODE_PARENT_GONE); /* it ended before: the number may be another's by now */
  return 0;
}

static void release(node_parent *parent) {
  if (parent->process >= 0) close(parent->process);
  if (parent->closing >= 0) close(parent->closing);
  base_free(parent);
}

static baton_status refuse(int failure, int pid, baton_error *err) {
  baton_status status = base_cause_status(failure, BATON_IO_ERROR);
  baton_error_set(err, status, "process %d cannot be watched", pid);
  baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  return status;
}

baton_status node_parent_open(int socket, int pid, node_mapped *mapped, node_parent **out, baton_error *err) {
  *out = NULL;
  node_parent *parent = base_calloc(1, sizeof *parent);
  if (!parent) return base_out_of_memory(err, "the watch over the parent");
  *parent = (node_parent){.mapped = mapped, .socket = socket, .process = -1, .closing = -1};
  int failure = open_descriptors(parent, pid);
  baton_status status = failure ? refuse(failure, pid, err)
                                : node_thread_start(&parent->thread, "node-parent", watch, parent, err);
  if (status == BATON_OK)
    *out = parent;
  else
    release(parent);
  return status;
}

void node_parent_close(node_parent *parent) {
  if (!parent) return;
  (void)eventfd_write(parent->closing, 1);
  pthread_join(parent->thread, NULL);
  release(parent);
}
