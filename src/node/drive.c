/* Driving: what a thread does that holds the lock of the node, so that its tasks go on. */
#include "base/clock.h"
#include "base/futex.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "node/draft.h"
#include "node/stage.h"
#include <string.h>

enum {
  NAP_NS = 1000000,      /* the attendant's, while a run is being built */
  STAY_NS = 20000000,    /* so long the attendant looks for another run before it sleeps */
  LOOKS_A_TURN = 16,     /* at the mailboxes, between two of the engine at its queue */
  LOOKS = 64,            /* between two at the clock */
  COST_MOST = 1000000000 /* ns */
};

/* --- Ends of tasks -------------------------------------------------------------------------------------- */

void node_member_end(node_member *member, const baton_error *failure) {
  node_task *task = member->task;
  baton_node *node = task->run->node;
  if (failure && failure->code) node_run_fail(task->run, failure);
  if (failure || atomic_load_explicit(&task->run->cancelled, memory_order_relaxed)) task->failed = 1;
  if (--task->unanswered) return;
  task->next = NULL;
  *(node->last_ended ? &node->last_ended->next : &node->ended) = task;
  node->last_ended = task;
}

/* What fails without a cause of its own and before any other does so because the run was cancelled. */
static void blame_cancellation(baton_node_run *run) {
  baton_error failure = {0};
  if (run->failure.code) return;
  baton_error_set(&failure, BATON_CANCELLED, "the run was cancelled");
  node_run_fail(run, &failure);
  baton_error_clear(&failure);
}

void node_task_finish(node_task *task, int failed) {
  if (failed) blame_cancellation(task->run);
  for (uint32_t i = 0; i < task->count; i++) node_stage_free(&task->members[i]);
  node_draft_drop(task, failed ? &task->run->failure : NULL);
  task->run->unfinished--;
}

/* --- Replies -------------------------------------------------------------------------------------------- */

static void keep_result(const node_task *task, uint32_t member, const node_reply *reply) {
  node_result *result = base_calloc(1, sizeof *result);
  char *data = base_alloc(reply->ndata);
  if (!result || !data) {
    baton_error failure = {0};
    base_out_of_memory(&failure, "the result of a task");
    node_run_fail(task->run, &failure);
    baton_error_clear(&failure);
    base_free(result);
    base_free(data);
    return;
  }
  memcpy(data, node_reply_data(reply), reply->ndata);
  *result = (node_result){task->id, member, {data, reply->ndata, reply->ndata}, task->run->results};
  task->run->results = result;
}

/* What a task takes, smoothed; one that takes longer counts at once. */
static void note_cost(node_worker *worker, const node_reply *reply) {
  float took = reply->host_us * 1000;
  uint32_t cost = took < 1 ? 1 : took > (float)COST_MOST ? COST_MOST : (uint32_t)took;
  worker->cost = worker->cost > cost ? worker->cost - (worker->cost - cost) / 4 : cost;
}

static void unpack_failure(const node_worker *worker, const node_task *task, const node_reply *reply,
                           baton_error *failure) {
  if (!node_error_unpack(node_reply_data(reply), reply->ndata, failure) || !failure->code)
    baton_error_set(failure, BATON_PROTOCOL_ERROR, "a reply with status %u has no error in it",
                    reply->status);
  node_worker_blame(worker, failure);
  int known = worker->is_node && failure->task; /* the task of the child that failed */
  if (task->name && !known) baton_error_text(failure, BATON_FIELD_TASK, "%s", task->name);
}

/* A buffer that was asked for is there, or never will be. */
static void end_malloc(node_worker *worker, node_task *task, const node_reply *reply) {
  baton_node_buffer *buffer = task->uses[0].buffer;
  node_kept kept = {.number = buffer->number, .nbytes = buffer->nbytes};
  baton_error failure = {0};
  if (reply->status || reply->ndata != sizeof kept.address) {
    node_buffer_die(buffer, BATON_OUT_OF_MEMORY, NULL);
    return;
  }
  memcpy(&kept.address, node_reply_data(reply), sizeof kept.address);
  buffer->made = 1;
  if (node_endpoint_keep(worker->endpoint, &kept, &failure) == BATON_OK) return;
  node_run_fail(task->run, &failure); /* its contents would not outlive the child */
  baton_error_clear(&failure);
}

/* An answer that has more to say than that a program ran well. */
static void end_with_answer(node_worker *worker, node_member *member, const node_reply *reply) {
  node_task *task = member->task;
  baton_error failure = {0};
  if (reply->status) unpack_failure(worker, task, reply, &failure);
  if (member->command->operation == NODE_MALLOC) end_malloc(worker, task, reply);
  if (!reply->status && member->command->operation == NODE_CALL_SCRIPT && reply->ndata)
    keep_result(task, (uint32_t)(member - task->members), reply);
  baton_status returned = reply->status ? BATON_OK : node_stage_return(member, &failure);
  node_member_end(member, reply->status || returned != BATON_OK ? &failure : NULL);
  baton_error_clear(&failure);
}

static void end_member(node_worker *worker, node_member *member, const node_reply *reply) {
  int plain = !reply->status && member->command->operation == NODE_CALL_PROGRAM && !member->stages;
  worker->tasks++;
  member->task->run->timing.device += (double)reply->device_us;
  if (plain)
    node_member_end(member, NULL);
  else
    end_with_answer(worker, member, reply);
}

static void forget_sent(node_sent *sent) {
  node_member *member = sent->first;
  sent->first = member->next;
  if (!sent->first) sent->last = NULL;
  sent->count--;
}

/* The answer to what has no task: memory that went back. */
static int is_for_nobody(const node_reply *reply) { return reply->sequence == 0; }

static void lose_by_answer(node_worker *worker, const node_member *asked, const node_reply *reply) {
  baton_error failure = {0};
  baton_error_set(&failure, BATON_PROTOCOL_ERROR, "%s %u answered command %llu, %llu was asked",
                  worker->kind == NODE_CHIPS ? "worker" : "sub worker", worker->id,
                  (unsigned long long)reply->sequence,
                  (unsigned long long)(asked ? asked->command->sequence : 0));
  node_worker_lost(worker, &failure);
  baton_error_clear(&failure);
}

static void take_reply(node_worker *worker, node_lane lane, const node_reply *reply) {
  node_sent *sent = &worker->sent[lane];
  node_member *member = sent->first;
  if (worker->node->unsent) worker->node->dirty = 1;
  if (is_for_nobody(reply) && lane == NODE_TRANSFERS && worker->freeing_sent) {
    worker->freeing_sent--;
    return;
  }
  if (!member || member->command->sequence != reply->sequence) {
    lose_by_answer(worker, member, reply);
    return;
  }
  forget_sent(sent);
  if (lane == NODE_TASKS) {
    note_cost(worker, reply);
    node_limit_begin(worker);
  }
  end_member(worker, member, reply);
  if (reply->lost) node_worker_lost(worker, NULL);
}

static int is_awaited(const node_worker *worker, node_lane lane) {
  return worker->endpoint && !worker->restarting &&
         (worker->sent[lane].count || (lane == NODE_TRANSFERS && worker->freeing_sent));
}

/* What it has answered makes no sense, or finds no memory here. */
static void lose_by_mailbox(node_worker *worker, node_lane lane) {
  const void *block;
  baton_error failure = {0};
  if (node_mailbox_take(&worker->endpoint->mailbox, lane, &block, &failure) == BATON_OK)
    base_out_of_memory(&failure, "an answer"); /* that there is some now comes too late */
  node_worker_lost(worker, &failure);
  baton_error_clear(&failure);
}

static int has_answered(const node_worker *worker, node_lane lane) {
  return is_awaited(worker, lane) && node_mailbox_has(&worker->endpoint->mailbox, lane);
}

static int poll_lane(node_worker *worker, node_lane lane) {
  const void *block;
  int found = 0;
  for (; has_answered(worker, lane); found = 1) {
    if (node_mailbox_take(&worker->endpoint->mailbox, lane, &block, NULL) != BATON_OK) {
      lose_by_mailbox(worker, lane);
      return 1;
    }
    if (block) take_reply(worker, lane, block);
  }
  return found;
}

static int has_died(const node_worker *worker) {
  /* acquire: what the watcher knows of the death */
  return worker->endpoint && !worker->restarting && worker->state == BATON_WORKER_READY &&
         atomic_load_explicit(&worker->endpoint->died, memory_order_acquire);
}

static int poll_worker(node_worker *worker) {
  int found = 0;
  for (int lane = 0; lane < NODE_CONTROL; lane++) found |= poll_lane(worker, (node_lane)lane);
  if (!has_died(worker)) return found;
  node_worker_died(worker);
  return 1;
}

int node_poll(baton_node *node) {
  int found = 0;
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++) found |= poll_worker(node->workers[kind][i]);
  return found;
}

/* --- What the engine asks ------------------------------------------------------------------------------- */

static uint64_t sequence_of(baton_task task) {
  return (uint64_t)task.generation << 32 | task.slot | UINT64_C(1) << 31;
}

static int execute(void *context, const task_call *call) {
  node_engine *engine = context;
  node_task *task = call->payload;
  task->id = call->task;
  for (uint32_t i = 0; i < task->count; i++) task->members[i].command->sequence = sequence_of(call->task);
  node_schedule_add(engine->node, task);
  return TASK_CALL_WAITS;
}

/* It fails because another one did, or because the run was cancelled. */
static void drop(void *context, const task_call *call) {
  (void)context;
  node_task_finish(call->payload, 1);
}

static int next_ended(baton_node *node, task_end *end) {
  node_task *task = node->ended;
  if (!task) return TASK_CALL_WAITS;
  node->ended = task->next;
  if (!node->ended) node->last_ended = NULL;
  *end = (task_end){.task = task->id, .failed = task->failed};
  node_task_finish(task, task->failed);
  return TASK_CALL_ENDED;
}

/* Who waits looks again sooner than the engine would ask, for what is about to come. True: something has. */
static int poll_for(const node_engine *engine) {
  baton_node *node = engine->node;
  int looks = engine->run->awaits && node->cpus > 1 ? LOOKS_A_TURN : 1;
  while (!node_poll(node))
    if (--looks == 0) return 0;
  return 1;
}

static int resume(void *context, uint32_t lane, int stop, task_end *end) {
  node_engine *engine = context;
  baton_node *node = engine->node;
  (void)lane;
  if (node->ended) return next_ended(node, end);
  if (stop && !engine->run->dropped) {
    engine->run->dropped = 1;
    node_schedule_cancel(node, engine->run);
  }
  uint64_t sent = node->sent;
  if (node->dirty) node_schedule(node);
  int waits = node->hurried || sent != node->sent; /* what has just been sent is not answered yet */
  if (!node->ended && !waits && poll_for(engine) && node->dirty) node_schedule(node);
  return next_ended(node, end);
}

/* True if a driver would find something to do. */
static int work_in_sight(const baton_node *node) {
  const baton_node_run *run = node->runs;
  if (node->ended || node->dirty) return 1;
  if (run && !run->dropped && atomic_load_explicit(&run->cancelled, memory_order_relaxed)) return 1;
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++) {
      const node_worker *worker = node->workers[kind][i];
      for (int lane = 0; lane < NODE_CONTROL; lane++)
        if (has_answered(worker, (node_lane)lane)) return 1;
      if (has_died(worker)) return 1;
    }
  return 0;
}

/* Sleeps on the bell without the lock, unless there is something to do. */
static void sleep_on_bell(baton_node *node, int64_t deadline) {
  node_ring_workers(node);
  int64_t limit = node_limit_next(node);
  if (limit < deadline) deadline = limit;
  uint32_t announced = node_doorbell_announce(node->bell);
  if (work_in_sight(node)) {
    node_doorbell_withdraw(node->bell);
    return;
  }
  node_unlock(node);
  (void)node_doorbell_sleep(node->bell, announced, base_interrupt_slice(deadline));
  node_lock(node);
  node_limit_check(node);
}

/* The user of this thread wants no more of what it waits for. With the lock held. True: not even of the wait. */
static int heed_interrupt(baton_node_run *run) {
  base_interrupt asked = base_interrupt_asked();
  if (asked != BASE_GO_ON && !atomic_load_explicit(&run->cancelled, memory_order_relaxed))
    node_run_cancel(run);
  return asked == BASE_ABANDON;
}

static int park(void *context, const _Atomic uint32_t *word, uint32_t expected, int64_t timeout) {
  node_engine *engine = context;
  (void)word, (void)expected,
      (void)timeout; /* the bell rings for all that an engine with one lane can wait for */
  (void)heed_interrupt(engine->run);
  sleep_on_bell(engine->node, engine->deadline);
  return 1;
}

static void wake(void *context, const _Atomic uint32_t *word, int all) {
  (void)context, (void)word, (void)all; /* nobody sleeps on a word of the engine */
}

static int64_t now(void *context) {
  (void)context;
  return base_now();
}

task_hooks node_engine_hooks(node_engine *engine) {
  return (task_hooks){.context = engine,
                      .execute = execute,
                      .drop = drop,
                      .resume = resume,
                      .park = park,
                      .wake = wake,
                      .clock = now};
}

void node_wake(baton_node *node) { node_doorbell_ring(node->bell); }

/* --- Driving -------------------------------------------------------------------------------------------- */

void node_step(baton_node *node) {
  for (baton_node_run *run; (run = node->runs) != NULL && !run->inside; node_run_end(run)) {
    task_engine_advance(run->engine->tasks);
    if (!run->built || run->unfinished) break;
  }
  if (!node->runs || !node->runs->unfinished)
    (void)node_poll(node); /* memory that went back: no engine asks for it */
  if (node->dirty) node_schedule(node);
}

/* Looks for something to do, for as long as that may be sooner than a sleep. False: there is nothing. */
static int look(baton_node *node) {
  node_ring_workers(node);
  if (node->cpus == 1) return 0;
  for (int64_t until = base_now() + BASE_LOOK; base_now() < until;)
    for (int i = 0; i < LOOKS; i++) {
      if (work_in_sight(node)) return 1;
      if (atomic_load_explicit(&node->wanted, memory_order_relaxed)) {
        node_give_way(node);
        return 1;
      }
      base_relax();
    }
  return 0;
}

/* The owner of the active run waits inside its engine, and drives as far as anyone can. */
static void await_owner(baton_node *node, const baton_node_run *run, int64_t deadline) {
  int64_t until = base_now() + NAP_NS;
  const _Atomic uint32_t *over = &run->over;
  node_unlock(node);
  (void)base_futex_wait(over, 0, until < deadline ? until : deadline);
  node_lock(node);
}

int node_drive(baton_node *node, baton_node_run *run, int (*done)(const void *context), const void *context,
               int64_t deadline) {
  int in_time = 1;
  node->drivers++;
  for (node_step(node); !done(context) && in_time; node_step(node)) {
    baton_node_run *first = node->runs;
    if (run && heed_interrupt(run)) break;
    if (first && first->inside)
      await_owner(node, run ? run : first, deadline);
    else if (!look(node))
      sleep_on_bell(node, deadline);
    in_time = deadline == INT64_MAX || base_now() < deadline;
  }
  node->drivers--;
  return done(context);
}

/* --- The attendant -------------------------------------------------------------------------------------- */

void node_attend(baton_node *node) {
  uint32_t asleep = NODE_ASLEEP;
  /* seq_cst: the run that it is to see is in the list; relaxed if it is awake and looks by itself */
  if (atomic_compare_exchange_strong_explicit(&node->attention, &asleep, NODE_AWAKE, memory_order_seq_cst,
                                              memory_order_relaxed))
    base_futex_wake(&node->attention, 1);
}

/* True if a run goes on that nobody else looks after. Its builder does as long as it makes calls. */
static int is_needed(baton_node *node) {
  baton_node_run *run = node->runs;
  if (!run || run->inside || node->drivers) return 0;
  int busy = !run->built && run->activity != run->noticed;
  run->noticed = run->activity;
  return !busy;
}

static int others_drive(const void *context) {
  const baton_node *node = context;
  const baton_node_run *run = node->runs;
  return !run || node->drivers > 1 || (!run->built && run->activity != run->noticed);
}

/* One turn; true if there was something to do. */
static int attend_once(baton_node *node) {
  if (pthread_mutex_trylock(&node->lock)) return 0; /* whoever has it drives, or is soon done */
  int needed = is_needed(node);
  node_ring_workers(node); /* the builder may have left them so */
  if (needed) (void)node_drive(node, NULL, others_drive, node, INT64_MAX);
  node_unlock(node);
  return needed;
}

/* True if the attendant may sleep until somebody calls it: there is no run, or somebody else drives. */
static int may_sleep(baton_node *node) {
  uint32_t awake = NODE_AWAKE;
  if (pthread_mutex_trylock(&node->lock)) return 0;
  int idle = !node->runs || node->drivers;
  if (idle) /* fails if it is sent home */
    (void)atomic_compare_exchange_strong_explicit(&node->attention, &awake, NODE_ASLEEP, memory_order_seq_cst,
                                                  memory_order_relaxed);
  node_unlock(node);
  return idle;
}

void *node_attendant(void *context) {
  baton_node *node = context;
  int64_t worked = base_now();
  uint32_t attention;
  while ((attention = atomic_load_explicit(&node->attention, memory_order_seq_cst)) != NODE_GO_HOME) {
    if (attention == NODE_ASLEEP || (base_now() - worked > STAY_NS && may_sleep(node))) {
      (void)base_futex_wait(&node->attention, NODE_ASLEEP, INT64_MAX);
      worked = base_now();
    } else {
      (void)base_futex_wait(&node->attention, NODE_AWAKE, base_now() + NAP_NS);
    }
    if (attend_once(node)) worked = base_now();
  }
  return NULL;
}
