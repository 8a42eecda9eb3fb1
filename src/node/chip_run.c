/* One run of a chip in its child: posted, waited for, its end understood. */
#include "base/clock.h"
#include "base/futex.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "chip/kept.h"
#include "chip/runtime.h"
#include "node/chip.h"
#include <stdio.h>
#include <string.h>

enum {
  LOOKS = 64, /* between two at the clock */
  GRACE = 5,  /* seconds for a child to end a cancelled run, beyond what its own watch takes */
  STATS_SECONDS = 10
};

/* --- The command ---------------------------------------------------------------------------------------- */

static baton_status reserve(node_chip *chip, uint64_t bytes, baton_error *err) {
  if (bytes > NODE_DATA_MOST)
    return baton_error_set(err, BATON_RESOURCE_LIMIT,
                           "the arguments of the run take %llu bytes, a child takes %d",
                           (unsigned long long)bytes, NODE_DATA_MOST);
  if (bytes <= chip->room) return BATON_OK;
  node_command *larger = base_realloc(chip->command, bytes);
  if (!larger) return base_out_of_memory(err, "the arguments of a run");
  chip->command = larger;
  chip->room = bytes;
  return BATON_OK;
}

static double seconds(int64_t nanoseconds) { return (double)nanoseconds / 1e9; }

/* Graphs are called here; 0: of one that is not kept. */
static uint64_t graph_number(const baton_run *run) {
  uint64_t number = 0;
  if (run->graph) (void)chip_kept_calls_of(run->graph, &number);
  return number;
}

/* The sizes and times are those that hold, without defaults; the deadline is looked after here. */
static void fill_config(const baton_run *run, node_config *config) {
  *config = (node_config){.ring_task_window = run->asked.window,
                          .ring_dep_pool = run->asked.dep_pool,
                          .ring_heap = run->asked.heap,
                          .timeout = seconds(run->times.op),
                          .stream_timeout = seconds(run->times.stream),
                          .element_timeout = seconds(run->times.element)};
  snprintf(config->runtime, sizeof config->runtime, "%s", run->runtime->name);
}

/* An argument is a view in the half of the memory that both know. */
static void fill_value(const node_chip *chip, const chip_binding *binding, node_value *value) {
  *value = (node_value){.kind = NODE_SCALAR, .dtype = binding->argument.dtype};
  value->scalar.u64 = binding->argument.value.u64;
  if (!binding->argument.view) return;
  *value = (node_value){.kind = NODE_BUFFER_TENSOR, .buffer = NODE_CHIP_BUFFER, .view = binding->view};
  uint64_t first = binding->bytes ? (uint64_t)(binding->kernel_bytes - (char *)chip->memory.address) : 0;
  uint64_t inside = binding->bytes ? (uintptr_t)binding->view.data - binding->address : 0;
  value->view.data = (void *)(uintptr_t)(first + inside);
  value->view.argument = 0;
}

static baton_status fill_command(node_chip *chip, const baton_run *run, uint32_t callable, baton_error *err) {
  const chip_bindings *bindings = &run->bindings;
  if (bindings->count > NODE_VALUES_MOST)
    return baton_error_set(err, BATON_RESOURCE_LIMIT, "%s: %u arguments, a child takes %d",
                           baton_program_name(run->program), bindings->count, NODE_VALUES_MOST);
  uint64_t bytes = node_command_bytes(1, bindings->count, 0);
  BATON_TRY(reserve(chip, bytes, err));
  memset(chip->command, 0, bytes);
  int is_fed = chip_program_is_graph(run->program);
  *chip->command = (node_command){.bytes = (uint32_t)bytes,
                                  .operation = NODE_CALL_PROGRAM,
                                  .flags = NODE_CONFIG | NODE_REPORT | (is_fed ? NODE_FED : 0),
                                  .callable = callable,
                                  .size = graph_number(run),
                                  .nvalues = bindings->count};
  fill_config(run, (node_config *)(void *)(chip->command + 1));
  for (uint32_t i = 0; i < bindings->count; i++)
    fill_value(chip, &bindings->items[i], &node_command_values(chip->command)[i]);
  return BATON_OK;
}

/* --- Waiting -------------------------------------------------------------------------------------------- */

static int has_died(const node_chip *chip) {
  /* acquire: what the watcher knows of the death */
  return (int)atomic_load_explicit(&chip->endpoint->died, memory_order_acquire);
}

static int has_news(const node_chip *chip) {
  return node_mailbox_has(&chip->endpoint->mailbox, NODE_TASKS) || has_died(chip);
}

static int is_cancelled(const baton_run *run) {
  return (int)atomic_load_explicit(&run->cancelled, memory_order_relaxed); /* the bell rings after it */
}

/* Looks for as long as that may be sooner than a sleep. */
static int look(const node_chip *chip) {
  if (!chip->looks) return has_news(chip);
  for (int64_t until = base_now() + BASE_LOOK; base_now() < until;)
    for (int i = 0; i < LOOKS; i++) {
      if (has_news(chip)) return 1;
      base_relax();
    }
  return 0;
}

/* The moment at which a run that was cancelled at `since` is ended by force: its child may be stuck where its own watch cannot
** help, and nobody who closes a worker waits longer than that. */
static int64_t patience(const node_chip *chip, const baton_run *run, int64_t since) {
  int64_t grace = (int64_t)GRACE * 1000000000;
  if (atomic_load_explicit(&chip->closing, memory_order_relaxed)) return since + grace;
  return since + run->times.op + grace;
}

/* Until the child has answered or is dead. False: it does not end a run that was cancelled. */
static int await(const node_chip *chip, baton_run *run) {
  int64_t since = 0;
  if (look(chip)) return 1;
  while (!has_news(chip)) {
    if (base_interrupt_asked() != BASE_GO_ON) (void)chip_worker_cancel(run);
    if (!since && is_cancelled(run)) since = base_now();
    uint32_t closing = atomic_load_explicit(&chip->closing, memory_order_relaxed);
    int64_t until = since ? patience(chip, run, since) : INT64_MAX;
    if (since && base_now() >= until) return 0;
    uint32_t announced = node_doorbell_announce(chip->bell);
    if (has_news(chip) || (!since && is_cancelled(run)) ||
        closing != atomic_load_explicit(&chip->closing, memory_order_relaxed))
      node_doorbell_withdraw(chip->bell);
    else
      (void)node_doorbell_sleep(chip->bell, announced, base_interrupt_slice(until));
  }
  return 1;
}

/* --- One call ------------------------------------------------------------------------------------------- */

/* From here on a cancellation reaches the child. */
static uint32_t begin_running(node_chip *chip, const baton_run *run) {
  pthread_mutex_lock(&chip->lock);
  chip->running = run;
  uint32_t number = ++chip->number;
  pthread_mutex_unlock(&chip->lock);
  return number;
}

static void end_running(node_chip *chip) {
  pthread_mutex_lock(&chip->lock);
  chip->running = NULL;
  pthread_mutex_unlock(&chip->lock);
}

static baton_status explain_death(const node_chip *chip, baton_error *err) {
  chip->endpoint->calls->cause(chip->endpoint, err);
  node_chip_own_words(err);
  return err->code;
}

static baton_status refuse_silence(const node_chip *chip, const baton_run *run, baton_error *err) {
  return baton_error_set(
      err, BATON_WORKER_LOST,
      "%s: the run was cancelled, and its child (pid %d), which did not end it, was killed",
      baton_program_name(run->program), (int)chip->endpoint->pid);
}

baton_status node_chip_take(node_chip *chip, baton_run *run, const node_reply **out, baton_error *err) {
  const void *block = NULL;
  *out = NULL;
  if (!await(chip, run)) return refuse_silence(chip, run, err);
  BATON_TRY(node_mailbox_take(&chip->endpoint->mailbox, NODE_TASKS, &block, err));
  if (!block) return explain_death(chip, err);
  *out = block;
  if ((*out)->sequence == chip->command->sequence) return BATON_OK;
  *out = NULL;
  return baton_error_set(err, BATON_PROTOCOL_ERROR, "the child answered command %llu, %llu was asked",
                         (unsigned long long)((const node_reply *)block)->sequence,
                         (unsigned long long)chip->command->sequence);
}

/* The last reply; the first one may ask for the graph. */
static baton_status take_last(node_chip *chip, baton_run *run, const node_reply **out, baton_error *err) {
  BATON_TRY(node_chip_take(chip, run, out, err));
  if (!(*out)->asks) return BATON_OK;
  *out = NULL;
  if (!(chip->command->flags & NODE_FED))
    return baton_error_set(err, BATON_PROTOCOL_ERROR, "the child asks for the graph of what has none");
  BATON_TRY(node_chip_tell_graph(chip, run, err));
  BATON_TRY(node_chip_take(chip, run, out, err));
  if (!(*out)->asks) return BATON_OK;
  *out = NULL;
  return baton_error_set(err, BATON_PROTOCOL_ERROR, "the child asks for more than the whole graph");
}

static baton_status exchange(node_chip *chip, baton_run *run, const node_reply **out, baton_error *err) {
  *out = NULL;
  chip->command->sequence = chip->command->run = begin_running(chip, run);
  if (is_cancelled(run)) return BATON_OK; /* the run says so itself */
  if (!node_mailbox_post(&chip->endpoint->mailbox, NODE_TASKS, chip->command, 0))
    return baton_error_set(err, BATON_PROTOCOL_ERROR, "the mailbox of the child takes nothing");
  return take_last(chip, run, out, err);
}

/* --- Its end -------------------------------------------------------------------------------------------- */

static void note_stats(node_chip *chip, const baton_stats *stats) {
  pthread_mutex_lock(&chip->lock);
  chip->alive = *stats;
  pthread_mutex_unlock(&chip->lock);
}

static void note_report(node_chip *chip, baton_run *run, const node_report *report) {
  run->timing.device = report->timing.device;
  if (!chip_program_is_graph(run->program)) run->timing.orchestration += report->timing.orchestration;
  run->timing.tasks = report->timing.tasks;
  run->timing.timed = report->timing.timed;
  memcpy(run->timing.slots, report->timing.slots, sizeof run->timing.slots);
  note_stats(chip, &report->stats);
}

/* A run that failed has not said what it counted. */
static void ask_stats(node_chip *chip) {
  node_command command = {.bytes = sizeof command, .operation = NODE_STATS};
  node_bytes reply = {0};
  baton_stats stats;
  if (node_endpoint_control(chip->endpoint, &command, base_deadline(STATS_SECONDS), &reply, NULL) ==
          BATON_OK &&
      reply.size == sizeof stats) {
    memcpy(&stats, reply.data, sizeof stats);
    note_stats(chip, &stats);
  }
  base_free(reply.data);
}

baton_status node_chip_read_failure(const node_reply *reply, baton_error *err) {
  if (reply->status == BATON_OK || !node_error_unpack(node_reply_data(reply), reply->ndata, err) ||
      !err->code)
    return baton_error_set(err, BATON_PROTOCOL_ERROR, "a reply with status %u makes no sense", reply->status);
  node_chip_own_words(err);
  return err->code;
}

/* What the child says of the run. */
static baton_status read_reply(node_chip *chip, baton_run *run, const node_reply *reply, baton_error *err) {
  node_report report;
  if (reply->status == BATON_OK && reply->ndata == sizeof report) {
    memcpy(&report, node_reply_data(reply), sizeof report);
    note_report(chip, run, &report);
    return BATON_OK;
  }
  run->timing.device = (double)reply->device_us;
  baton_status status = node_chip_read_failure(reply, err);
  ask_stats(chip);
  return status;
}

/* *lost: the child is of no more use. */
static baton_status call(node_chip *chip, baton_run *run, uint32_t callable, int *lost, baton_error *err) {
  const node_reply *reply;
  *lost = 0;
  BATON_TRY(fill_command(chip, run, callable, err));
  baton_status status = exchange(chip, run, &reply, err);
  end_running(chip);
  *lost = status != BATON_OK || (reply && reply->lost);
  return reply ? read_reply(chip, run, reply, err) : status;
}

static void replace(node_chip *chip) {
  baton_error why = {0};
  if (atomic_load_explicit(&chip->closing, memory_order_relaxed)) return;
  if (node_chip_renew(chip, &why) != BATON_OK) chip_worker_lose_place(chip->worker, &why);
  baton_error_clear(&why);
}

/* A child that died since the last run is replaced first. */
static baton_status prepare(node_chip *chip, baton_run *run, uint32_t *callable, baton_error *err) {
  if (has_died(chip)) BATON_TRY(node_chip_renew(chip, err));
  baton_status status = node_chip_tell(chip, run->program, callable, err);
  if (status != BATON_OK) node_chip_own_words(err);
  return status;
}

void node_chip_execute(void *context, baton_run *run) {
  node_chip *chip = context;
  baton_error failure = {0};
  uint32_t callable;
  int lost = 0;
  pthread_mutex_lock(&chip->server);
  baton_status status = is_cancelled(run) ? BATON_CANCELLED : prepare(chip, run, &callable, &failure);
  if (status == BATON_OK) status = call(chip, run, callable, &lost, &failure);
  int says_so =
      failure.code == BATON_CANCELLED && is_cancelled(run); /* the run does that itself, by its name */
  if (failure.code && !says_so) chip_run_fail(run, &failure);
  if (lost || has_died(chip)) replace(chip);
  pthread_mutex_unlock(&chip->server);
  /* relaxed: this thread gives it; a graph that was not called never is */
  if (!atomic_load_explicit(&run->turn, memory_order_relaxed) && chip_program_is_graph(run->program) &&
      !run->graph)
    chip_runtime_give_turn(run, CHIP_TURN_MISSED);
  baton_error_clear(&failure);
}

void node_chip_cancel(void *context, const baton_run *run) {
  node_chip *chip = context;
  pthread_mutex_lock(&chip->lock);
  int runs = chip->running == run;
  if (runs) node_mailbox_cancel(&chip->endpoint->mailbox, chip->number);
  pthread_mutex_unlock(&chip->lock);
  if (runs) node_doorbell_ring(chip->bell);
}

void node_chip_hurry(void *context) {
  node_chip *chip = context;
  atomic_store_explicit(&chip->closing, 1, memory_order_relaxed); /* the bell rings after it */
  node_doorbell_ring(chip->bell);
}
