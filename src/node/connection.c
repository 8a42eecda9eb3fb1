#include "node/connection.h"
#include "base/cause.h"
#include "base/memory.h"
#include "node/channel.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { WORD = 64 };

void node_connection_close(node_connection *made) {
  if (!made->shared.memory) return;
  node_shared_unmap(&made->shared);
  if (made->socket >= 0) close(made->socket);
  *made = (node_connection){.socket = -1};
}

int node_connection_send_segment(node_connection *to, uint32_t number) {
  node_message message = {.kind = NODE_MESSAGE_SEGMENT, .number = number};
  if (to->sent[number / WORD] >> number % WORD & 1) return 0;
  int fd = base_segment_fd(number, &message.size);
  int failure = node_channel_send(to->socket, &message, fd);
  if (!failure) to->sent[number / WORD] |= (uint64_t)1 << number % WORD;
  return failure;
}

/* What the child needs before it can say anything. */
static int send_memory(const node_greeting *greeting, node_connection *to, int fd) {
  node_message message = {.kind = NODE_MESSAGE_MEMORY, .size = to->shared.bytes};
  int failure = node_channel_send(to->socket, &message, fd);
  if (!failure) failure = node_connection_send_segment(to, greeting->bell.segment);
  if (!failure && greeting->has_chip)
    failure = node_connection_send_segment(to, greeting->device_memory.segment);
  return failure;
}

static baton_status open_socket(const node_greeting *greeting, node_connection *made, int fd, int *theirs,
                                baton_error *err) {
  int ends[2], failure = node_channel_open(ends);
  if (!failure) {
    made->socket = ends[0];
    *theirs = ends[1];
    failure = send_memory(greeting, made, fd);
    if (failure) close(ends[1]);
  }
  if (!failure) return BATON_OK;
  baton_status status = base_cause_status(failure, BATON_IO_ERROR);
  baton_error_set(err, status, "no socket for a child");
  baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  return status;
}

typedef struct making {
  const node_greeting *greeting;
  node_connection *made;
  int fd;
} making;

static baton_status make_memory(void *context, const node_kept *buffers, uint32_t count, baton_error *err) {
  making *job = context;
  return node_greeting_make(job->greeting, buffers, count, &job->made->shared, &job->fd, err);
}

baton_status node_connection_open(const node_greeting *greeting, node_kept_list *kept, node_doorbell *bell,
                                  node_connection *out, node_mailbox *mailbox, int *theirs,
                                  baton_error *err) {
  *out = (node_connection){.socket = -1};
  *mailbox = (node_mailbox){0};
  making job = {greeting, out, -1};
  BATON_TRY(node_kept_with(kept, make_memory, &job, err));
  void *memory = node_greeting_mailbox(&out->shared, out->shared.memory);
  node_mailbox_init(memory);
  baton_status status = node_mailbox_attach(mailbox, memory, bell, 0, err);
  if (status == BATON_OK) status = open_socket(greeting, out, job.fd, theirs, err);
  close(job.fd);
  if (status != BATON_OK) {
    node_mailbox_detach(mailbox);
    node_connection_close(out);
  }
  return status;
}
