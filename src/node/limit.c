/* Functions of the host that do not end. A device program is watched by its chip; a function of the host has a limit if its run or its
** task names a timeout, and every task has one once its run was cancelled. Past it the worker is left by force. What runs
** on a node is limited there, by the same code. */
#include "base/clock.h"
#include "node/node.h"

static const int64_t after_cancel = INT64_C(10) * 1000000000; /* ns; what a kernel has by default */

/* 0: none. */
static int64_t limit_of(const node_member *member) {
  const node_config *config = node_command_config(member->command);
  int on_node = member->task->run->node->has_nodes && member->task->kind == NODE_CHIPS;
  int watched = !on_node && (member->command->operation == NODE_CALL_SCRIPT || member->task->is_host);
  int64_t limit = watched && config ? (int64_t)(config->timeout * 1e9) : 0;
  int cancelled = atomic_load_explicit(&member->task->run->cancelled, memory_order_relaxed) != 0;
  int64_t most = on_node ? 2 * after_cancel : after_cancel; /* a node ends its own tasks first */
  return cancelled && (!limit || limit > most) ? most : limit;
}

void node_limit_begin(node_worker *worker) {
  const node_member *member = worker->sent[NODE_TASKS].first;
  int64_t limit = member ? limit_of(member) : 0;
  worker->expires = limit ? base_now() + limit : INT64_MAX;
}

int64_t node_limit_next(const baton_node *node) {
  int64_t next = INT64_MAX;
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      if (node->workers[kind][i]->expires < next) next = node->workers[kind][i]->expires;
  return next;
}

static void expire(node_worker *worker) {
  const node_member *member = worker->sent[NODE_TASKS].first;
  const char *who = worker->is_node ? "node" : worker->kind == NODE_CHIPS ? "worker" : "sub worker";
  baton_error failure = {0};
  double seconds = (double)limit_of(member) / 1e9;
  worker->expires = INT64_MAX;
  if (atomic_load_explicit(&member->task->run->cancelled, memory_order_relaxed)) {
    baton_error_set(
        &failure, BATON_CANCELLED,
        "%s: the run was cancelled, and %s %u, which did not end it within %g s, was left by force",
        node_member_name(member), who, worker->id, seconds);
  } else {
    baton_error_set(&failure, BATON_OP_TIMEOUT, "%s: not over after %g s on %s %u", node_member_name(member),
                    seconds, who, worker->id);
    baton_error_text(&failure, BATON_FIELD_HINT, "raise timeout in config if it needs longer");
  }
  failure.after_ms = seconds * 1e3;
  failure.known |= BATON_KNOWN_AFTER_MS;
  node_mailbox_cancel(&worker->endpoint->mailbox, member->task->run->number); /* a Lua function heeds that */
  node_worker_lost(worker, &failure);
  baton_error_clear(&failure);
}

void node_limit_check(baton_node *node) {
  int64_t next = node_limit_next(node), now = next == INT64_MAX ? 0 : base_now();
  if (next > now) return;
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      if (node->workers[kind][i]->expires <= now) expire(node->workers[kind][i]);
}
