/* Which worker gets what, and when. Tasks for one worker go there in the order in which they became ready; tasks for any go
** where their data is, or to the worker with the least to do; a group begins when all of its workers are idle.
**
** A group that cannot begin reserves its workers, one after the other as soon as nothing that was ready before waits for
** them; a reserved worker is sent nothing else. Only the oldest group of a kind reserves, so two groups never wait for each
** other; a younger one begins if it can without. Singles that became ready before a group go first, so neither side can keep
** the other from ever running. */
#include "node/stage.h"

enum {
  DEEP = 64,       /* short tasks in a mailbox */
  SHORT_NS = 5000, /* up to this, DEEP; a longer task waits here, where another worker may take it */
  MEDIUM = 4,
  MEDIUM_NS = 100000,
  GROUP_TRIES = 16 /* groups that are looked at in one go */
};

/* --- Queues --------------------------------------------------------------------------------------------- */

static int priority_of(const node_member *member) { return member->task->priority; }

/* Behind the last one of its priority. The levels are few. */
static void queue_add(node_queue *queue, node_member *member) {
  node_member **link = &queue->first, *above = NULL;
  queue->count++;
  while (*link && priority_of(*link) > priority_of(member)) {
    above = *link;
    link = &above->next_level;
  }
  node_member *level = *link;
  if (level && priority_of(level) == priority_of(member)) {
    member->next = level->level_last->next;
    level->level_last->next = member;
    level->level_last = member;
    return;
  }
  member->next_level = level;
  member->next = level;
  member->level_last = member;
  if (above) above->level_last->next = member;
  *link = member;
}

static node_member *queue_take(node_queue *queue) {
  node_member *member = queue->first;
  if (!member) return NULL;
  queue->count--;
  if (member->level_last == member) {
    queue->first = member->next_level;
    return member;
  }
  member->next->level_last = member->level_last;
  member->next->next_level = member->next_level;
  queue->first = member->next;
  return member;
}

/* Puts back what was taken last. */
static void queue_return(node_queue *queue, node_member *member) {
  node_member *first = queue->first;
  int same = first && priority_of(first) == priority_of(member);
  member->next = first;
  member->next_level = same ? first->next_level : first;
  member->level_last = same ? first->level_last : member;
  queue->first = member;
  queue->count++;
}

/* Ends what `picks` says, with the failure; the others stay in order. */
static void queue_drop(node_queue *queue, const void *context,
                       int (*picks)(const void *, const node_member *), const baton_error *failure) {
  node_queue kept = {0};
  for (node_member *member; (member = queue_take(queue)) != NULL;) {
    if (picks(context, member))
      node_member_end(member, failure);
    else
      queue_add(&kept, member);
  }
  *queue = kept;
}

/* --- Workers -------------------------------------------------------------------------------------------- */

static int is_usable(const node_worker *worker) {
  /* relaxed: a driver looks again when it is rung for the death */
  return worker && worker->endpoint && worker->state == BATON_WORKER_READY && !worker->restarting &&
         !atomic_load_explicit(&worker->endpoint->died, memory_order_relaxed);
}

static uint32_t depth_of(const node_worker *worker) {
  return !worker->cost ? 1 : worker->cost <= SHORT_NS ? DEEP : worker->cost <= MEDIUM_NS ? MEDIUM : 1;
}

/* Notes where the memory of the member is from now on; hints may be lost. */
static void note_homes(node_worker *worker, const node_member *member) {
  const node_value *values = node_command_values(member->command);
  if (worker->kind != NODE_CHIPS || worker->node->counts[NODE_CHIPS] == 1) return;
  for (uint32_t i = 0; i < member->command->nvalues; i++) {
    if (values[i].kind != NODE_HOST_TENSOR) continue;
    node_home *home = &worker->node->homes[(values[i].view.base >> 6) % NODE_HOMES];
    *home = (node_home){values[i].view.base, (int32_t)worker->id};
  }
}

/* Says where a host tensor lies for this worker. False: the worker cannot see it. */
static int locate_value(node_endpoint *endpoint, node_value *value) {
  const void *address = (const void *)(uintptr_t)value->address;
  uint32_t segment;
  int found = endpoint->calls->shares(endpoint, address, value->bytes, &segment, &value->offset);
  value->segment = found ? segment + 1 : 0;
  return found;
}

/* The same for all of a member; what the worker cannot see is copied. */
static baton_status locate(node_endpoint *endpoint, node_member *member, baton_error *err) {
  node_value *values = node_command_values(member->command);
  for (uint32_t i = 0; i < member->command->nvalues; i++) {
    if (values[i].kind != NODE_HOST_TENSOR || !values[i].bytes || locate_value(endpoint, &values[i]))
      continue;
    BATON_TRY(node_stage_value(member, i, err));
    (void)locate_value(endpoint, &values[i]);
  }
  return BATON_OK;
}

/* False: it has failed, and ended. */
static int prepare(const node_worker *worker, node_member *member) {
  if (!member->command->nvalues || !worker->endpoint->calls->shares) return 1;
  baton_error failure = {0};
  if (locate(worker->endpoint, member, &failure) == BATON_OK) return 1;
  node_member_end(member, &failure);
  baton_error_clear(&failure);
  return 0;
}

/* False: its mailbox has no room now. A worker that has something to do is not rung for more: it looks by itself when it has done
** that, and in case it fell asleep in that very moment, node_ring_workers rings later. */
static int send(node_worker *worker, node_member *member) {
  node_lane lane = member->task->lane;
  node_sent *sent = &worker->sent[lane];
  if (!prepare(worker, member)) return 1;
  int later = sent->count != 0;
  if (!node_mailbox_post(&worker->endpoint->mailbox, lane, member->command, later)) return 0;
  if (later) worker->unrung |= 1u << lane;
  member->next = NULL;
  *(sent->last ? &sent->last->next : &sent->first) = member;
  sent->last = member;
  if (sent->count++ == 0 && lane == NODE_TASKS) node_limit_begin(worker);
  worker->node->sent++;
  note_homes(worker, member);
  return 1;
}

/* No mailbox takes a command of this size. */
static void refuse_size(node_member *member) {
  baton_error failure = {0};
  baton_error_set(&failure, BATON_RESOURCE_LIMIT,
                  "the arguments of the task take %u bytes, a worker takes %d",
                  (unsigned)member->command->bytes, NODE_DATA_MOST);
  node_member_end(member, &failure);
  baton_error_clear(&failure);
}

/* --- Groups --------------------------------------------------------------------------------------------- */

static int is_idle(const node_worker *worker) { return is_usable(worker) && !worker->sent[NODE_TASKS].count; }

/* True if something that became ready before the group waits for this worker alone, and is not less urgent. */
static int is_awaited_by_older(const node_worker *worker, const node_task *group) {
  const node_member *first = worker->waiting[NODE_TASKS].first;
  return first && first->task->order < group->order && first->task->priority >= group->priority;
}

static int may_join(const node_worker *worker, const node_task *group) {
  return (!worker->reserved || worker->reserved == group) && !is_awaited_by_older(worker, group);
}

static int has_place(const node_task *group, uint32_t worker) {
  for (uint32_t i = 0; i < group->count; i++)
    if (group->members[i].place == (int32_t)worker) return 1;
  return 0;
}

/* Fills `workers` with one for each member, fixed places first. False: not all are idle. With `reserves` those that could join
** are kept for the group. */
static int gather(node_worker *const *all, uint32_t count, node_task *group, int reserves,
                  node_worker **workers) {
  uint32_t free = 0;
  int complete = 1;
  for (uint32_t i = 0; i < group->count; i++) {
    node_worker *worker = group->members[i].place >= 0 ? all[group->members[i].place] : NULL;
    workers[i] = worker;
    if (!worker || !may_join(worker, group)) {
      complete &= !worker;
      continue;
    }
    if (reserves) worker->reserved = group;
    complete &= is_idle(worker);
  }
  for (uint32_t i = 0; i < group->count; i++) {
    if (workers[i]) continue;
    while (free < count && !(is_idle(all[free]) && may_join(all[free], group) && !has_place(group, free)))
      free++;
    if (free == count) return 0;
    if (reserves) all[free]->reserved = group;
    workers[i] = all[free++];
  }
  return complete;
}

/* Its workers are idle, so each has room, unless no mailbox has for such a command. */
static void start_group(node_worker *const *workers, node_task *group) {
  for (uint32_t i = 0; i < group->count; i++) workers[i]->reserved = NULL;
  for (uint32_t i = 0; i < group->count; i++)
    if (!send(workers[i], &group->members[i])) refuse_size(&group->members[i]);
}

static void schedule_groups(baton_node *node, node_kind kind) {
  node_worker *workers[BATON_NODE_WORKERS];
  node_task *before = NULL, *group = node->groups[kind];
  for (int tries = 0; group && tries < GROUP_TRIES; tries++) {
    node_task *next = group->next;
    if (gather(node->workers[kind], node->counts[kind], group, !before, workers)) {
      *(before ? &before->next : &node->groups[kind]) = next;
      if (!next) node->last_group[kind] = before;
      start_group(workers, group);
    } else {
      before = group;
    }
    group = next;
  }
}

static void add_group(baton_node *node, node_task *group) {
  group->next = NULL;
  *(node->last_group[group->kind] ? &node->last_group[group->kind]->next : &node->groups[group->kind]) =
      group;
  node->last_group[group->kind] = group;
}

/* Ends what `picks` says. */
static void drop_groups(baton_node *node, node_kind kind, const void *context,
                        int (*picks)(const void *, const node_member *), const baton_error *failure) {
  node_task *group = node->groups[kind];
  node->groups[kind] = node->last_group[kind] = NULL;
  while (group) {
    node_task *next = group->next;
    int ends = 0;
    for (uint32_t i = 0; i < group->count; i++) ends |= picks(context, &group->members[i]);
    if (!ends) add_group(node, group);
    for (uint32_t i = 0; ends && i < node->counts[kind]; i++)
      if (node->workers[kind][i]->reserved == group) node->workers[kind][i]->reserved = NULL;
    for (uint32_t i = 0, count = group->count; ends && i < count; i++)
      node_member_end(&group->members[i], failure);
    group = next;
  }
}

/* --- Singles -------------------------------------------------------------------------------------------- */

static int has_capacity(const node_worker *worker) {
  return is_usable(worker) && !worker->reserved && worker->sent[NODE_TASKS].count < depth_of(worker);
}

/* What cannot be sent now, although nothing is in the way, never can. False: later. */
static int send_first(node_worker *worker, node_queue *queue, node_lane lane) {
  node_member *member = queue_take(queue);
  if (send(worker, member)) return 1;
  if (worker->sent[lane].count) {
    queue_return(queue, member);
    return 0;
  }
  refuse_size(member);
  return 1;
}

static void schedule_bound(node_worker *worker) {
  node_queue *tasks = &worker->waiting[NODE_TASKS], *transfers = &worker->waiting[NODE_TRANSFERS];
  if (worker->freeing && is_usable(worker)) node_buffers_send(worker);
  while (transfers->first && is_usable(worker) && worker->sent[NODE_TRANSFERS].count < DEEP)
    if (!send_first(worker, transfers, NODE_TRANSFERS)) break;
  while (tasks->first && has_capacity(worker))
    if (!send_first(worker, tasks, NODE_TASKS)) break;
}

/* The worker that a task for any would best go to now; NULL: none has capacity. */
static node_worker *choose(node_worker *const *workers, uint32_t count, const node_member *member) {
  node_worker *best = NULL;
  if (member->liked >= 0 && has_capacity(workers[member->liked])) return workers[member->liked];
  for (uint32_t i = 0; i < count; i++)
    if (has_capacity(workers[i]) &&
        (!best || workers[i]->sent[NODE_TASKS].count < best->sent[NODE_TASKS].count))
      best = workers[i];
  return best;
}

static void schedule_any(baton_node *node, node_kind kind) {
  node_queue *queue = &node->waiting[kind];
  while (queue->first) {
    node_worker *worker = choose(node->workers[kind], node->counts[kind], queue->first);
    if (!worker || !send_first(worker, queue, NODE_TASKS)) return;
  }
}

void node_ring_workers(baton_node *node) {
  for (int kind = 0; kind < NODE_KINDS; kind++)
    for (uint32_t i = 0; i < node->counts[kind]; i++) {
      node_worker *worker = node->workers[kind][i];
      for (int lane = 0; lane < NODE_CONTROL && is_usable(worker); lane++)
        if (worker->unrung & 1u << lane) node_mailbox_flush(&worker->endpoint->mailbox, (node_lane)lane);
      worker->unrung = 0;
    }
}

/* --- Coming and going ----------------------------------------------------------------------------------- */

/* Where most of its host memory was last. */
static int32_t find_liked(const baton_node *node, const node_member *member) {
  uint64_t bytes[BATON_NODE_WORKERS] = {0};
  const node_value *values = node_command_values(member->command);
  int32_t liked = BATON_ANY_WORKER;
  for (uint32_t i = 0; i < member->command->nvalues; i++) {
    const node_home *home = &node->homes[(values[i].view.base >> 6) % NODE_HOMES];
    if (values[i].kind != NODE_HOST_TENSOR || home->base != values[i].view.base) continue;
    bytes[home->worker] += values[i].bytes;
    if (liked < 0 || bytes[home->worker] > bytes[liked]) liked = home->worker;
  }
  return liked;
}

/* True if the worker takes tasks, now or when it has been restarted. */
static int has_future(const node_worker *worker) {
  return worker->endpoint && (worker->restarting || worker->state != BATON_WORKER_IS_LOST);
}

/* A place that will take the member; NULL: there is none, or too few for all of its task. */
static const node_worker *find_place(const baton_node *node, const node_task *task,
                                     const node_member *member) {
  if (member->place >= 0) {
    const node_worker *worker = node->workers[task->kind][member->place];
    return has_future(worker) ? worker : NULL;
  }
  const node_worker *found = NULL;
  uint32_t able = 0;
  for (uint32_t i = 0; able < task->count && i < node->counts[task->kind]; i++)
    if (has_future(node->workers[task->kind][i])) {
      found = node->workers[task->kind][i];
      able++;
    }
  return able == task->count ? found : NULL;
}

static void explain_homeless(const node_task *task, int place, baton_error *err) {
  if (task->kind == NODE_SUBS) {
    baton_error_set(err, BATON_WORKER_LOST, "all sub workers are lost: what they run does not end");
    baton_error_text(err, BATON_FIELD_HINT, "with isolation = \"process\" others take their place");
  } else if (place >= 0) {
    baton_error_set(err, BATON_WORKER_LOST, "worker %d is lost", place);
    baton_error_text(err, BATON_FIELD_HINT, "call node:restart(%d)", place);
  } else {
    baton_error_set(err, BATON_WORKER_LOST,
                    task->count > 1 ? "too few workers for the group are left"
                                    : "all workers that could run it are lost");
    baton_error_text(err, BATON_FIELD_HINT, "call node:restart(worker) for each of them");
  }
}

static void end_homeless(node_task *task, int place) {
  baton_error failure = {0};
  explain_homeless(task, place, &failure);
  for (uint32_t i = 0, count = task->count; i < count; i++) node_member_end(&task->members[i], &failure);
  baton_error_clear(&failure);
}

static int fail_homeless(const baton_node *node, node_task *task) {
  uint32_t i = 0;
  while (i < task->count && find_place(node, task, &task->members[i])) i++;
  if (i == task->count) return 0;
  end_homeless(task, (int)task->members[i].place);
  return 1;
}

/* A task that finds no other ready, none that waits, and a worker for it need not wait in between. False: it must. */
static int send_at_once(baton_node *node, node_kind kind, node_member *member) {
  if (node->groups[kind] || node->waiting[kind].first) return 0;
  node_worker *worker = choose(node->workers[kind], node->counts[kind], member);
  return worker && !worker->waiting[NODE_TASKS].first && send(worker, member);
}

/* A ready task goes to where it waits for its workers. */
static void place(baton_node *node, node_task *task, int alone) {
  task->order = ++node->order;
  if (fail_homeless(node, task)) return;
  if (task->count > 1) {
    add_group(node, task);
    return;
  }
  node_member *member = &task->members[0];
  if (member->place >= 0) {
    queue_add(&node->workers[task->kind][member->place]->waiting[task->lane], member);
    return;
  }
  member->liked =
      task->kind == NODE_CHIPS && node->counts[NODE_CHIPS] > 1 ? find_liked(node, member) : BATON_ANY_WORKER;
  if (!alone || !send_at_once(node, task->kind, member)) queue_add(&node->waiting[task->kind], member);
}

static node_task *next_ready(baton_node *node) {
  node_task *task = node->ready;
  node->ready = task->next;
  if (!node->ready) node->last_ready = NULL;
  return task;
}

/* `alone`: it may be sent at once, as nothing else is ready. */
static void place_ready(baton_node *node, int alone) {
  while (node->ready) place(node, next_ready(node), alone);
}

static int submitted_before(const node_task *a, const node_task *b) {
  return (int32_t)(a->id.generation - b->id.generation) < 0;
}

/* What one task makes ready comes in any order; it is put into that of the submits. Mostly the newest comes last, or first. */
void node_schedule_add(baton_node *node, node_task *task) {
  node_task **link = &node->ready;
  node->dirty = 1;
  if (node->last_ready && submitted_before(node->last_ready, task)) link = &node->last_ready->next;
  while (*link && submitted_before(*link, task)) link = &(*link)->next;
  task->next = *link;
  *link = task;
  if (!task->next) node->last_ready = task;
}

static int has_unsent(const node_worker *worker) {
  return worker->waiting[NODE_TASKS].first || worker->waiting[NODE_TRANSFERS].first || worker->freeing;
}

void node_schedule(baton_node *node) {
  while (node->dirty) {
    node->dirty = node->unsent = 0; /* what ends for want of room makes it dirty again */
    place_ready(node, node->ready && !node->ready->next);
    for (int kind = 0; kind < NODE_KINDS; kind++) {
      if (node->groups[kind]) schedule_groups(node, (node_kind)kind);
      for (uint32_t i = 0; i < node->counts[kind]; i++) schedule_bound(node->workers[kind][i]);
      if (node->waiting[kind].first) schedule_any(node, (node_kind)kind);
      for (uint32_t i = 0; i < node->counts[kind]; i++) node->unsent |= has_unsent(node->workers[kind][i]);
      if (node->groups[kind] || node->waiting[kind].first) node->unsent = 1;
    }
  }
}

static int is_of_run(const void *run, const node_member *member) { return member->task->run == run; }

void node_schedule_cancel(baton_node *node, const baton_node_run *run) {
  place_ready(node, 0);
  for (int kind = 0; kind < NODE_KINDS; kind++) {
    drop_groups(node, (node_kind)kind, run, is_of_run, NULL);
    queue_drop(&node->waiting[kind], run, is_of_run, NULL);
    for (uint32_t i = 0; i < node->counts[kind]; i++)
      for (int lane = 0; lane < NODE_CONTROL; lane++)
        queue_drop(&node->workers[kind][i]->waiting[lane], run, is_of_run, NULL);
  }
}

/* True for a member that has no place any more. */
static int is_homeless(const void *node, const node_member *member) {
  return !find_place(node, member->task, member);
}

void node_schedule_lose(baton_node *node, node_worker *worker, const baton_error *failure) {
  for (int lane = 0; lane < NODE_CONTROL; lane++)
    queue_drop(&worker->waiting[lane], node, is_homeless, failure);
  queue_drop(&node->waiting[worker->kind], node, is_homeless, failure);
  drop_groups(node, worker->kind, node, is_homeless, failure);
  node->dirty = 1;
}
