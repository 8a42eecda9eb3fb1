/* A chip with process isolation: its child begins, is replaced, ends. */
#include "node/chip.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "device/device.h"
#include <string.h>

enum {
  STARTUP_SECONDS = 60,
  CONTROL_SECONDS = 60,
  CLOSE_SECONDS = 15,
  LEAST_MEMORY = 64 << 20 /* bytes, of each half */
};

/* --- Words ---------------------------------------------------------------------------------------------- */

void node_chip_own_words(baton_error *err) {
  static const char prefix[] = "worker 0: ";
  if (!err) return;
  err->known &= ~(uint32_t)BATON_KNOWN_WORKER;
  err->worker = 0;
  if (!err->message || strncmp(err->message, prefix, sizeof prefix - 1) != 0) return;
  char *rest = base_strdup(err->message + sizeof prefix - 1);
  if (rest) baton_error_text(err, BATON_FIELD_MESSAGE, "%s", rest);
  base_free(rest);
}

static baton_status in_own_words(baton_status status, baton_error *err) {
  if (status != BATON_OK) node_chip_own_words(err);
  return status;
}

/* --- Children ------------------------------------------------------------------------------------------- */

static uint64_t sum(uint64_t a, uint64_t b) { return a + b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* What a child counts and this process does not. */
static void add_stats(baton_stats *to, const baton_stats *of) {
  to->tasks = sum(to->tasks, of->tasks);
  to->edges = sum(to->edges, of->edges);
  to->graph_builds = sum(to->graph_builds, of->graph_builds);
  to->graph_replays = sum(to->graph_replays, of->graph_replays);
  to->window_high = most(to->window_high, of->window_high);
  to->heap_high = most(to->heap_high, of->heap_high);
  to->dep_pool_high = most(to->dep_pool_high, of->dep_pool_high);
}

static void note_child(node_chip *chip) {
  pthread_mutex_lock(&chip->lock);
  add_stats(&chip->gone, &chip->alive);
  chip->alive = (baton_stats){0};
  chip->started = chip->endpoint->started;
  chip->pid = chip->endpoint->pid;
  pthread_mutex_unlock(&chip->lock);
}

baton_status node_chip_renew(node_chip *chip, baton_error *err) {
  node_endpoint *endpoint = chip->endpoint;
  baton_status status = endpoint->calls->restart(endpoint, err);
  if (status == BATON_OK) status = endpoint->calls->ready(endpoint, base_now() + chip->startup, err);
  note_child(chip);
  return in_own_words(status, err);
}

static baton_status restart(void *context, baton_error *err) {
  node_chip *chip = context;
  pthread_mutex_lock(&chip->server);
  baton_status status = node_chip_renew(chip, err);
  pthread_mutex_unlock(&chip->server);
  return status;
}

static void stats(void *context, baton_stats *out) {
  node_chip *chip = context;
  pthread_mutex_lock(&chip->lock);
  add_stats(out, &chip->gone);
  add_stats(out, &chip->alive);
  out->children_started += chip->started;
  pthread_mutex_unlock(&chip->lock);
}

static void describe(void *context, chip_text *text) {
  node_chip *chip = context;
  pthread_mutex_lock(&chip->lock);
  chip_text_add(text, "child: pid %d, the %u. that was started\n", (int)chip->pid, chip->started);
  pthread_mutex_unlock(&chip->lock);
}

/* --- The end -------------------------------------------------------------------------------------------- */

static void destroy(node_chip *chip) {
  node_chip_programs_close(chip);
  node_chip_graph_close(chip);
  base_free(chip->command);
  base_extent_free(&chip->memory);
  base_extent_free(&chip->bell_memory);
  device_claim_give(chip->claim);
  pthread_mutex_destroy(&chip->server);
  pthread_mutex_destroy(&chip->programs);
  pthread_mutex_destroy(&chip->lock);
  base_free(chip);
}

static baton_status close_chip(void *context, baton_error *err) {
  node_chip *chip = context;
  baton_status status = BATON_OK;
  pthread_mutex_lock(&chip->server); /* a launch that the device has given up may still start a child */
  pthread_mutex_unlock(&chip->server);
  if (chip->endpoint)
    status = chip->endpoint->calls->close(chip->endpoint, base_deadline(CLOSE_SECONDS), err);
  destroy(chip);
  return in_own_words(status, err);
}

static const chip_elsewhere table = {
    .accept = node_chip_accept,
    .execute = node_chip_execute,
    .listen = node_chip_listen,
    .cancel = node_chip_cancel,
    .hurry = node_chip_hurry,
    .restart = restart,
    .stats = stats,
    .describe = describe,
    .close = close_chip,
};

/* --- Opening -------------------------------------------------------------------------------------------- */

static baton_status take_memory(node_chip *chip, baton_error *err) {
  uint64_t half = device_memory_default();
  baton_status status = device_memory_alloc(2 * half, &chip->memory, err);
  for (; status != BATON_OK && half > LEAST_MEMORY;
       status = device_memory_alloc(2 * half, &chip->memory, err))
    half /= 2;
  BATON_TRY(status);
  BATON_TRY(base_extent_alloc(sizeof *chip->bell, 4096, &chip->bell_memory, err));
  chip->bell = chip->bell_memory.address;
  memset(chip->bell, 0, sizeof *chip->bell);
  return BATON_OK;
}

static baton_status claim(node_chip *chip, const device_options *options, baton_error *err) {
  const device_platform *platform;
  BATON_TRY(device_platform_find(options->platform, &platform, err));
  baton_status status =
      device_claim_take(platform->name, options->id, options->wait_seconds, &chip->claim, err);
  if (status == BATON_OK || !err) return status;
  err->device = (int32_t)options->id;
  err->known |= BATON_KNOWN_DEVICE;
  return status;
}

/* The options of the worker without what is done here. */
static baton_status start(node_chip *chip, const baton_worker_options *options, baton_error *err) {
  baton_worker_options theirs = {
      .platform = options->platform, .devices = options->devices, .threads = options->threads};
  device_options opened;
  BATON_TRY(chip_worker_device(options, &opened, err));
  BATON_TRY(claim(chip, &opened, err));
  BATON_TRY(take_memory(chip, err));
  node_endpoint_options child = {.chip = &theirs,
                                 .worker_program = options->worker_program,
                                 .bell = chip->bell,
                                 .device_memory = &chip->memory,
                                 .startup_deadline = base_now() + chip->startup};
  return node_endpoint_process.start(&child, &chip->endpoint, err);
}

/* The first half becomes a buffer of the child and of its successors: the first allocation of an empty device is its beginning. */
static baton_status share_memory(node_chip *chip, baton_error *err) {
  node_command command = {.bytes = sizeof command,
                          .operation = NODE_MALLOC,
                          .buffer = NODE_CHIP_BUFFER,
                          .size = chip->memory.size / 2};
  node_kept kept = {.number = NODE_CHIP_BUFFER, .nbytes = chip->memory.size / 2};
  node_bytes reply = {0};
  BATON_TRY(node_endpoint_control(chip->endpoint, &command, base_deadline(CONTROL_SECONDS), &reply, err));
  baton_status status = reply.size == sizeof kept.address
                            ? BATON_OK
                            : baton_error_set(err, BATON_PROTOCOL_ERROR, "the child has answered nonsense");
  if (status == BATON_OK) memcpy(&kept.address, reply.data, sizeof kept.address);
  base_free(reply.data);
  return status == BATON_OK ? node_endpoint_keep(chip->endpoint, &kept, err) : status;
}

static baton_status make_ready(node_chip *chip, const baton_worker_options *options, baton_error *err) {
  BATON_TRY(chip->endpoint->calls->ready(chip->endpoint, base_now() + chip->startup, err));
  BATON_TRY(share_memory(chip, err));
  note_child(chip);
  for (uint32_t i = 0; i < options->nprewarm; i++)
    BATON_TRY(node_chip_accept(chip, options->prewarm[i], err));
  return BATON_OK;
}

static node_chip *create(const baton_worker_options *options) {
  node_chip *chip = base_calloc(1, sizeof *chip);
  if (!chip) return NULL;
  pthread_mutex_init(&chip->server, NULL);
  pthread_mutex_init(&chip->programs, NULL);
  pthread_mutex_init(&chip->lock, NULL);
  double startup = options->startup_timeout > 0 ? options->startup_timeout : STARTUP_SECONDS;
  chip->startup = (int64_t)(startup * 1e9);
  chip->looks = base_cpu_count() > 1;
  return chip;
}

/* The device of this process, in the first half; its one thread waits for the child. */
static baton_status open_worker(const node_chip *chip, const baton_worker_options *options,
                                baton_worker **out, baton_error *err) {
  chip_lent_memory memory = {.address = chip->memory.address, .nbytes = chip->memory.size / 2};
  baton_worker_options ours = *options;
  ours.threads = 1;
  return chip_worker_open(&ours, &memory, out, err);
}

/* While the child starts the worker is opened here. */
baton_status chip_open_elsewhere(const baton_worker_options *options, baton_worker **out, baton_error *err) {
  baton_worker *worker = NULL;
  *out = NULL;
  node_chip *chip = create(options);
  if (!chip) return base_out_of_memory(err, "a worker");
  baton_status status = start(chip, options, err);
  if (status == BATON_OK) status = open_worker(chip, options, &worker, err);
  if (status == BATON_OK) status = make_ready(chip, options, err);
  if (status != BATON_OK) {
    node_chip_own_words(err);
    baton_worker_close(worker);
    (void)close_chip(chip, NULL);
    return status;
  }
  chip->worker = worker;
  chip_worker_move(worker, &table, chip);
  *out = worker;
  return BATON_OK;
}
