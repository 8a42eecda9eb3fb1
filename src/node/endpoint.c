/* Control calls: the same for every kind of endpoint. */
#include "node/endpoint.h"
#include "base/memory.h"
#include <string.h>

static baton_status lost(node_endpoint *endpoint, baton_error *err) {
  if (!atomic_load_explicit(&endpoint->died, memory_order_acquire))
    return baton_error_set(err, BATON_WORKER_LOST, "the worker has ended");
  endpoint->calls->cause(endpoint, err);
  return BATON_WORKER_LOST;
}

/* The next reply on the control lane. */
static baton_status next_reply(node_endpoint *endpoint, int64_t deadline, const node_reply **out,
                               baton_error *err) {
  const void *block;
  int in_time = node_mailbox_await_control(&endpoint->mailbox, deadline);
  *out = NULL;
  BATON_TRY(
      node_mailbox_take(&endpoint->mailbox, NODE_CONTROL, &block, err)); /* an end replies, then abandons */
  *out = block;
  if (block || in_time) return BATON_OK;
  if (node_mailbox_is_abandoned(&endpoint->mailbox)) return lost(endpoint, err);
  return baton_error_set(err, BATON_TIMEOUT, "the worker has not answered in time");
}

/* Replies to calls that nobody waits for any more go. */
static baton_status post(node_endpoint *endpoint, const node_command *command, int64_t deadline,
                         baton_error *err) {
  const node_reply *old;
  const void *block = NULL;
  do BATON_TRY(node_mailbox_take(&endpoint->mailbox, NODE_CONTROL, &block, err));
  while (block);
  if (node_mailbox_is_abandoned(&endpoint->mailbox)) return lost(endpoint, err);
  while (!node_mailbox_post(&endpoint->mailbox, NODE_CONTROL, command, 0))
    BATON_TRY(next_reply(endpoint, deadline, &old, err));
  return BATON_OK;
}

static baton_status keep(const node_reply *reply, node_bytes *out, baton_error *err) {
  if (reply->ndata > out->room) {
    char *larger = base_realloc(out->data, reply->ndata);
    if (!larger) return base_out_of_memory(err, "what a worker has answered");
    out->data = larger;
    out->room = reply->ndata;
  }
  if (reply->ndata) memcpy(out->data, node_reply_data(reply), reply->ndata);
  out->size = reply->ndata;
  return BATON_OK;
}

static baton_status read_reply(const node_reply *reply, node_bytes *out, baton_error *err) {
  if (reply->status == BATON_OK) return out ? keep(reply, out, err) : BATON_OK;
  if (node_error_unpack(node_reply_data(reply), reply->ndata, err)) return (baton_status)reply->status;
  return baton_error_set(err, BATON_PROTOCOL_ERROR, "the error of a worker makes no sense");
}

static baton_status call(node_endpoint *endpoint, const node_command *command, int64_t deadline,
                         node_bytes *out, baton_error *err) {
  const node_reply *reply;
  BATON_TRY(post(endpoint, command, deadline, err));
  do BATON_TRY(next_reply(endpoint, deadline, &reply, err));
  while (!reply || reply->sequence != command->sequence);
  return read_reply(reply, out, err);
}

baton_status node_endpoint_control(node_endpoint *endpoint, node_command *command, int64_t deadline,
                                   node_bytes *out, baton_error *err) {
  pthread_mutex_lock(&endpoint->control_lock);
  command->sequence = ++endpoint->control_sequence;
  baton_status status = call(endpoint, command, deadline, out, err);
  pthread_mutex_unlock(&endpoint->control_lock);
  return status;
}
