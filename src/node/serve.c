/* The loop of a server: takes commands out of a mailbox, has them carried out, replies. */
#include "base/futex.h"
#include "base/memory.h"
#include "node/endpoint.h"
#include "node/point.h"
#include "node/start.h"
#include <string.h>
#include <time.h>

enum {
  CANCELLED_REPLY = 512, /* bytes */
  LONGEST_SLEEP =
      1000000000 /* ns: doorbells lie in memory that a kernel may overwrite, and ring no more then */
};

typedef struct server {
  node_mailbox *mailbox;
  node_executor *executor;
  node_command
      *fed; /* a copy of the command on the task lane, if that is fed: the next block takes its place … */
  uint32_t fed_room;       /* … and its bytes */
  _Atomic uint32_t ending; /* NODE_END was answered: what has come is carried out, then all lanes end */
  pthread_mutex_t lock;    /* guards failure */
  baton_error failure;     /* the first: a mailbox that makes no sense */
} server;

typedef struct server_lane {
  server *server;
  node_lane lane;
  pthread_t thread;
} server_lane;

/* The mailbox is used no more: every lane ends. */
static void give_up(server *self, const baton_error *failure) {
  pthread_mutex_lock(&self->lock);
  if (!self->failure.code) baton_error_copy(&self->failure, failure);
  pthread_mutex_unlock(&self->lock);
  node_mailbox_abandon(self->mailbox);
}

/* What came makes no sense, or found no memory. */
static void give_up_lane(server *self, node_lane lane) {
  const void *block;
  baton_error failure = {0};
  if (node_mailbox_take(self->mailbox, lane, &block, &failure) == BATON_OK)
    base_out_of_memory(&failure, "a command"); /* that there is some now comes too late */
  give_up(self, &failure);
  baton_error_clear(&failure);
}

static int reply_cancelled(server *self, node_lane lane, const node_command *command) {
  union {
    node_reply reply;
    char bytes[CANCELLED_REPLY];
  } block = {.reply = {.status = BATON_CANCELLED, .sequence = command->sequence}};
  baton_error err = {0};
  baton_error_set(&err, BATON_CANCELLED, "the run was cancelled");
  block.reply.ndata =
      (uint32_t)node_error_pack(&err, node_reply_data(&block.reply), sizeof block - sizeof block.reply);
  block.reply.bytes = (uint32_t)node_reply_bytes(block.reply.ndata);
  baton_error_clear(&err);
  return node_mailbox_reply(self->mailbox, lane, &block.reply);
}

/* False: abandoned. */
static int carry_out(server *self, node_lane lane, const node_command *command) {
  if (command->run && command->run <= node_mailbox_cancelled(self->mailbox))
    return reply_cancelled(self, lane, command);
  if (lane == NODE_TASKS) node_mailbox_begin(self->mailbox, command->sequence);
  node_point("begin");
  const node_reply *reply = node_executor_do(self->executor, lane, command);
  node_point(command->operation == NODE_END ? "end" : "reply");
  int replied = node_mailbox_reply(self->mailbox, lane, reply);
  node_point("replied");
  return replied;
}

/* False: the mailbox is abandoned. */
static int await_command(const server *self, node_lane lane) {
  while (!node_mailbox_await(self->mailbox, lane, BASE_LOOK, LONGEST_SLEEP))
    if (node_mailbox_is_abandoned(self->mailbox)) return 0;
  return 1;
}

/* The next block for the command that the task lane carries out. */
static baton_status await_block(server *self, uint64_t sequence, const node_command **out, baton_error *err) {
  const void *block = NULL;
  baton_status status = BATON_OK;
  while (!block && status == BATON_OK && await_command(self, NODE_TASKS))
    status = node_mailbox_take(self->mailbox, NODE_TASKS, &block, err);
  *out = block;
  if (status == BATON_OK && !block)
    return baton_error_set(err, BATON_WORKER_LOST, "nobody dictates the graph any more");
  if (status == BATON_OK && ((*out)->operation != NODE_GRAPH || (*out)->sequence != sequence))
    status = baton_error_set(err, BATON_PROTOCOL_ERROR, "a block of a graph was asked for, command %u came",
                             (*out)->operation);
  if (status != BATON_OK) give_up(self, err);
  return status;
}

static baton_status ask(void *context, const node_reply *reply, const node_command **out, baton_error *err) {
  server *self = context;
  node_point("reply");
  if (!node_mailbox_reply(self->mailbox, NODE_TASKS, reply))
    return baton_error_set(err, BATON_WORKER_LOST, "nobody dictates the graph any more");
  node_mailbox_begin(self->mailbox, reply->sequence); /* it goes on */
  node_point("replied");
  return out ? await_block(self, reply->sequence, out, err) : BATON_OK;
}

/* A command that lives while blocks are taken; NULL: no memory, the mailbox is given up. */
static const node_command *keep_fed(server *self, const node_command *command) {
  if (command->bytes > self->fed_room) {
    node_command *larger = base_realloc(self->fed, command->bytes);
    if (!larger) {
      baton_error err = {0};
      (void)base_out_of_memory(&err, "a command");
      give_up(self, &err);
      baton_error_clear(&err);
      return NULL;
    }
    self->fed = larger;
    self->fed_room = command->bytes;
  }
  return memcpy(self->fed, command, command->bytes);
}

/* The next command of a lane. False: there is none, or the lane ends. */
static int serve_one(server *self, node_lane lane) {
  const void *block;
  if (node_mailbox_take(self->mailbox, lane, &block, NULL) != BATON_OK) {
    give_up_lane(self, lane);
    return 0;
  }
  const node_command *command = block;
  if (command && command->flags & NODE_FED && lane == NODE_TASKS) command = keep_fed(self, command);
  if (!command) return 0;
  node_point("take");
  if (!carry_out(self, lane, command)) return 0;
  if (lane != NODE_CONTROL || command->operation != NODE_END) return 1;
  /* release: with what was posted before the end, which the lanes look for once more */
  atomic_store_explicit(&self->ending, 1, memory_order_release);
  node_mailbox_abandon(self->mailbox);
  return 0;
}

static void *serve_lane(void *argument) {
  const server_lane *self = argument;
  while (await_command(self->server, self->lane))
    while (serve_one(self->server, self->lane)) {
    }
  if (self->lane != NODE_CONTROL && atomic_load_explicit(&self->server->ending, memory_order_acquire))
    while (serve_one(self->server, self->lane)) {
    }
  return NULL;
}

/* Tasks that run end early when their run is cancelled. */
static void *watch_cancellations(void *argument) {
  static const struct timespec nap = {.tv_nsec = 10000000};
  const server *self = ((const server_lane *)argument)->server;
  uint32_t seen = 0;
  while (node_mailbox_await_cancel(self->mailbox, seen)) {
    seen = node_mailbox_cancelled(self->mailbox);
    while (node_executor_cancel(self->executor, seen)) {
      nanosleep(&nap, NULL);
      seen = node_mailbox_cancelled(self->mailbox);
    }
  }
  return NULL;
}

baton_status node_serve(node_mailbox *mailbox, node_executor *executor, baton_error *err) {
  static void *(*const entries[])(void *) = {serve_lane, serve_lane, watch_cancellations};
  static const char *const names[] = {"node-transfers", "node-control", "node-cancel"};
  enum { OTHERS = 3 };
  server self = {.mailbox = mailbox, .executor = executor};
  server_lane tasks = {&self, NODE_TASKS, 0},
              others[OTHERS] = {{&self, NODE_TRANSFERS, 0}, {&self, NODE_CONTROL, 0}, {&self, NODE_LANES, 0}};
  baton_status status = BATON_OK;
  int started = 0;
  pthread_mutex_init(&self.lock, NULL);
  node_executor_set_feed(executor, &(node_feed){&self, ask});
  for (; started < OTHERS && status == BATON_OK; started += status == BATON_OK)
    status =
        node_thread_start(&others[started].thread, names[started], entries[started], &others[started], err);
  if (status == BATON_OK)
    serve_lane(&tasks);
  else
    node_mailbox_abandon(mailbox);
  for (int i = 0; i < started; i++) pthread_join(others[i].thread, NULL);
  if (status == BATON_OK) status = baton_error_copy(err, &self.failure);
  if (self.failure.code) status = self.failure.code;
  baton_error_clear(&self.failure);
  base_free(self.fed);
  pthread_mutex_destroy(&self.lock);
  return status;
}
