/* An executor as an object: opening, closing, which operation is whose, replies. */
#include "node/executor.h"
#include "base/clock.h"
#include "base/memory.h"
#include "chip/executor/guard.h"
#include "node/execute.h"
#include "node/node.h"
#include <string.h>

enum {
  FIRST_ROOM = 4096,   /* bytes of a reply */
  ERROR_ROOM = 1024,   /* of a packed error without its texts, and more */
  TEXT_MOST = 1 << 16, /* that an error keeps of each text */
  BRIEF_NS = 2000,     /* commands up to this are measured now and then: the clock would be a tenth of them */
  UNMEASURED = 7       /* in between */
};

/* --- Replies -------------------------------------------------------------------------------------------- */

static int grow(node_executor_lane *lane, uint64_t bytes) {
  if (bytes <= lane->room) return 1;
  node_reply *larger = base_realloc(lane->reply, bytes);
  if (!larger) return 0;
  lane->reply = larger;
  lane->room = bytes;
  return 1;
}

static void set_size(node_reply *reply, uint64_t ndata) {
  reply->ndata = (uint32_t)ndata;
  reply->bytes = (uint32_t)node_reply_bytes(ndata);
}

baton_status node_reply_room(node_executor_lane *lane, uint64_t ndata, char **data, baton_error *err) {
  uint64_t bytes = node_reply_bytes(ndata);
  *data = NULL;
  if (bytes > NODE_DATA_MOST)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "a reply of %llu bytes: at most %d",
                           (unsigned long long)bytes, NODE_DATA_MOST);
  if (!grow(lane, bytes)) return base_out_of_memory(err, "a reply");
  set_size(lane->reply, ndata);
  *data = node_reply_data(lane->reply);
  return BATON_OK;
}

static uint64_t text_room(const char *text) { return text ? strnlen(text, TEXT_MOST) + 1 : 0; }

static int is_lost(const node_executor *executor) {
  if (executor->node) return node_has_lost(executor->node);
  return executor->chip && baton_worker_state_of(executor->chip) == BATON_WORKER_IS_LOST;
}

void node_reply_failure(node_executor *executor, node_executor_lane *lane, baton_status status) {
  baton_error *err = &lane->err;
  if (executor->chip) {
    err->worker = (int32_t)executor->worker;
    err->known |= BATON_KNOWN_WORKER;
  }
  uint64_t room = ERROR_ROOM + text_room(err->message) + text_room(err->hint) + text_room(err->task) +
                  text_room(err->kernel) + text_room(err->cause) + text_room(err->path);
  (void)grow(lane, node_reply_bytes(room));
  if (room > lane->room - sizeof(node_reply)) room = lane->room - sizeof(node_reply);
  room &= ~(uint64_t)7; /* sizes are rounded up */
  node_reply *reply = lane->reply;
  set_size(reply, node_error_pack(err, node_reply_data(reply), room));
  reply->status = status;
  reply->lost = (uint16_t)is_lost(executor);
  baton_error_clear(err);
}

/* --- Small operations ----------------------------------------------------------------------------------- */

static baton_status do_setup_arena(node_executor *executor, node_executor_lane *lane,
                                   const node_command *command, baton_error *err) {
  baton_arena arena;
  int changed;
  char *data;
  if (!executor->chip)
    return baton_error_set(err, BATON_UNSUPPORTED, "setup_arena: a sub worker has no device memory");
  memcpy(&arena, node_command_data(command), sizeof arena);
  BATON_TRY(baton_worker_setup_arena(executor->chip, &arena, &changed, err));
  uint32_t flag = changed != 0;
  BATON_TRY(node_reply_room(lane, sizeof flag, &data, err));
  memcpy(data, &flag, sizeof flag);
  return BATON_OK;
}

static baton_status do_stats(node_executor *executor, node_executor_lane *lane, const node_command *command,
                             baton_error *err) {
  baton_stats stats = {0};
  char *data;
  (void)command;
  if (executor->chip) baton_worker_stats(executor->chip, &stats);
  if (executor->node) BATON_TRY(baton_node_stats(executor->node, BATON_ANY_WORKER, &stats, err));
  BATON_TRY(node_reply_room(lane, sizeof stats, &data, err));
  memcpy(data, &stats, sizeof stats);
  return BATON_OK;
}

static size_t dump(const node_executor *executor, char *text, size_t size) {
  return executor->chip ? baton_worker_dump(executor->chip, text, size)
                        : baton_node_dump(executor->node, text, size);
}

/* The text may grow between the two calls: then it is cut. */
static baton_status do_dump(node_executor *executor, node_executor_lane *lane, const node_command *command,
                            baton_error *err) {
  char *data;
  (void)command;
  if (!executor->chip && !executor->node) return BATON_OK;
  size_t size = dump(executor, NULL, 0) + FIRST_ROOM;
  if (size > NODE_DATA_MOST / 2) size = NODE_DATA_MOST / 2;
  BATON_TRY(node_reply_room(lane, size, &data, err));
  dump(executor, data, size);
  set_size(lane->reply, strlen(data));
  return BATON_OK;
}

static baton_status do_nothing(node_executor *executor, node_executor_lane *lane, const node_command *command,
                               baton_error *err) {
  (void)executor, (void)lane, (void)command, (void)err;
  return BATON_OK;
}

/* --- One command ---------------------------------------------------------------------------------------- */

typedef struct operation {
  const char *name;
  baton_status (*act)(node_executor *executor, node_executor_lane *lane, const node_command *command,
                      baton_error *err);
  uint32_t lanes; /* a bit for each that it may come on */
} operation;

enum { TASKS = 1 << NODE_TASKS, TRANSFERS = 1 << NODE_TRANSFERS, CONTROL = 1 << NODE_CONTROL };

static const operation operations[NODE_OPERATION_COUNT] = {
    [NODE_CALL_PROGRAM] = {"call of a program", node_do_program, TASKS},
    [NODE_CALL_SCRIPT] = {"call of a function", node_do_script, TASKS},
    [NODE_COPY_TO] = {"copy_to", node_do_copy, TRANSFERS | CONTROL},
    [NODE_COPY_FROM] = {"copy_from", node_do_copy, TRANSFERS | CONTROL},
    [NODE_MALLOC] = {"malloc", node_do_malloc, TRANSFERS | CONTROL},
    [NODE_FREE] = {"free", node_do_free, TRANSFERS | CONTROL},
    [NODE_REGISTER] = {"register", node_do_register, CONTROL},
    [NODE_UNREGISTER] = {"unregister", node_do_unregister, CONTROL},
    [NODE_SETUP_ARENA] = {"setup_arena", do_setup_arena, CONTROL},
    [NODE_STATS] = {"stats", do_stats, CONTROL},
    [NODE_DUMP] = {"dump", do_dump, CONTROL},
    [NODE_PING] = {"ping", do_nothing, CONTROL},
    [NODE_END] = {"end", do_nothing, CONTROL},
    [NODE_GRAPH] = {"graph", do_nothing, 0},
};

static baton_status carry_out(node_executor *executor, node_lane number, const node_command *command) {
  node_executor_lane *lane = &executor->lanes[number];
  const operation *one = &operations[command->operation];
  if (one->lanes & 1u << number) return one->act(executor, lane, command, &lane->err);
  return baton_error_set(&lane->err, BATON_PROTOCOL_ERROR, "%s: does not belong on lane %d", one->name,
                         (int)number);
}

const node_reply *node_executor_do(node_executor *executor, node_lane number, const node_command *command) {
  node_executor_lane *lane = &executor->lanes[number];
  int measured = lane->unmeasured == 0;
  int64_t begin = measured ? base_now() : 0;
  *lane->reply = (node_reply){.bytes = sizeof *lane->reply, .sequence = command->sequence};
  baton_status status = carry_out(executor, number, command);
  if (status != BATON_OK) node_reply_failure(executor, lane, status);
  if (measured) {
    int64_t took = base_now() - begin;
    lane->took_us = (float)took / 1e3f;
    lane->unmeasured = took < BRIEF_NS ? UNMEASURED : 0;
  } else {
    lane->unmeasured--;
  }
  lane->reply->host_us = lane->took_us;
  return lane->reply;
}

void node_executor_set_feed(node_executor *executor, const node_feed *feed) { executor->feed = *feed; }

/* --- Cancelling ----------------------------------------------------------------------------------------- */

int node_executor_cancel(node_executor *executor, uint32_t run) {
  pthread_mutex_lock(&executor->running_lock);
  if (run > executor->cancelled) executor->cancelled = run;
  int runs = executor->is_running && executor->running <= run && (executor->running || run == UINT32_MAX);
  if (runs && executor->chip) chip_worker_cancel_all(executor->chip);
  if (runs && executor->node) node_cancel_runs(executor->node);
  if (runs && executor->in_script) executor->scripts->interrupt(executor->state);
  pthread_mutex_unlock(&executor->running_lock);
  return runs;
}

baton_status node_executor_restart(node_executor *executor, baton_error *err) {
  BATON_TRY(executor->chip ? baton_worker_restart(executor->chip, err) : BATON_OK);
  pthread_mutex_lock(&executor->running_lock);
  executor->cancelled = 0;
  pthread_mutex_unlock(&executor->running_lock);
  return BATON_OK;
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static baton_status open_chip(node_executor *executor, const node_executor_options *options,
                              baton_error *err) {
  device_region *live = base_calloc(options->nkept + 1, sizeof *live);
  if (!live) return base_out_of_memory(err, "the buffers of a worker");
  for (uint32_t i = 0; i < options->nkept; i++)
    live[i] = (device_region){.address = options->kept[i].address, .size = options->kept[i].nbytes};
  chip_lent_memory memory = {.address = options->device_memory,
                             .nbytes = options->device_memory_bytes,
                             .live = live,
                             .nlive = options->nkept};
  baton_status status = chip_worker_open(options->chip, &memory, &executor->chip, err);
  base_free(live);
  for (uint32_t i = 0; i < options->nkept && status == BATON_OK; i++)
    status = node_adopt_buffer(executor, &options->kept[i], err);
  return status;
}

static baton_status open_parts(node_executor *executor, const node_executor_options *options,
                               baton_error *err) {
  for (int i = 0; i < NODE_LANES; i++)
    if (!grow(&executor->lanes[i], FIRST_ROOM)) return base_out_of_memory(err, "a worker");
  chip_guard_install(); /* for functions of the host */
  if (options->node) return baton_node_open(options->node, &executor->node, err);
  return options->chip ? open_chip(executor, options, err) : BATON_OK;
}

baton_status node_executor_open(const node_executor_options *options, node_executor **out, baton_error *err) {
  *out = NULL;
  node_executor *executor = base_calloc(1, sizeof *executor);
  if (!executor) return base_out_of_memory(err, "a worker");
  pthread_mutex_init(&executor->lock, NULL);
  pthread_mutex_init(&executor->running_lock, NULL);
  executor->scripts = options->scripts;
  executor->memory = options->memory;
  executor->worker = options->worker;
  executor->in_process = options->in_process;
  executor->deadline = options->chip ? options->chip->config.deadline : 0;
  baton_status status = open_parts(executor, options, err);
  if (status == BATON_OK)
    *out = executor;
  else
    (void)node_executor_close(executor, NULL);
  return status;
}

baton_status node_executor_close(node_executor *executor, baton_error *err) {
  if (!executor) return BATON_OK;
  baton_status status = executor->chip ? baton_worker_shutdown(executor->chip, err) : BATON_OK;
  if (executor->node) status = baton_node_shutdown(executor->node, err);
  node_calls_close(executor);
  node_store_close(executor);
  baton_worker_close(executor->chip);
  baton_node_close(executor->node);
  for (int i = 0; i < NODE_LANES; i++) {
    base_free(executor->lanes[i].reply);
    baton_error_clear(&executor->lanes[i].err);
  }
  pthread_mutex_destroy(&executor->running_lock);
  pthread_mutex_destroy(&executor->lock);
  base_free(executor);
  return status;
}
