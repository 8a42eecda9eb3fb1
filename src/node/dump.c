/* Who runs what, and who waits for whom. */
#include "chip/program/text.h"
#include "node/node.h"
#include <string.h>

enum { SHOWN = 8 }; /* tasks of one queue */

static const char *const kinds[NODE_KINDS] = {"worker", "sub worker"};
static const char *const lanes[NODE_CONTROL] = {"task", "transfer"};

const char *node_member_name(const node_member *member) {
  return member->task->name ? member->task->name : member->task->who;
}

static void add_members(chip_text *text, const node_member *member, uint32_t count, const char *what) {
  uint32_t shown = 0;
  for (; member && shown < SHOWN; member = member->next, shown++)
    chip_text_add(text, "    %s %s of run %u%s\n", what, node_member_name(member), member->task->run->number,
                  member->task->count > 1 ? ", member of a group" : "");
  if (count > shown) chip_text_add(text, "    … and %u more\n", count - shown);
}

static const char *state_word(const node_worker *worker) {
  if (!worker->endpoint) return "closed";
  if (worker->restarting) return "restarting";
  return worker->state == BATON_WORKER_IS_LOST ? "lost" : worker->sent[NODE_TASKS].count ? "busy" : "ready";
}

static void add_worker(chip_text *text, const node_worker *worker) {
  chip_text_add(text, "  %s %u: %s", kinds[worker->kind], worker->id, state_word(worker));
  if (worker->platform) chip_text_add(text, ", %s device %u", worker->platform, worker->chip.device);
  if (worker->is_node)
    chip_text_add(text, ", node of %u workers and %u sub workers", worker->nchips, worker->subs);
  if (worker->endpoint && worker->pid) chip_text_add(text, ", pid %d", worker->pid);
  chip_text_add(text, ", %llu tasks done\n", (unsigned long long)worker->tasks);
  for (int lane = 0; lane < NODE_CONTROL; lane++) {
    add_members(text, worker->sent[lane].first, worker->sent[lane].count, "has been sent");
    if (worker->waiting[lane].count)
      chip_text_add(text, "    %u %ss wait for it:\n", worker->waiting[lane].count, lanes[lane]);
    add_members(text, worker->waiting[lane].first, worker->waiting[lane].count, "waiting:");
  }
  if (worker->reserved)
    chip_text_add(text, "    reserved for group %s of run %u\n",
                  node_member_name(&worker->reserved->members[0]), worker->reserved->run->number);
}

static void add_group(chip_text *text, const node_task *group) {
  chip_text_add(text, "  group %s of run %u waits for %s", node_member_name(&group->members[0]),
                group->run->number, kinds[group->kind]);
  for (uint32_t i = 0; i < group->count; i++)
    if (group->members[i].place >= 0)
      chip_text_add(text, " %d", (int)group->members[i].place);
    else
      chip_text_add(text, " any");
  chip_text_add(text, "\n");
}

static void add_run(chip_text *text, const baton_node_run *run) {
  chip_text_add(text, "  run %u: %s%s, %llu tasks submitted, %llu not over\n", run->number,
                run->active ? "active" : "waits for the runs before", run->built ? "" : ", being built",
                (unsigned long long)run->tasks, (unsigned long long)run->unfinished);
}

static void add_all(chip_text *text, const baton_node *node) {
  chip_text_add(text, "node: %s isolation, %u workers, %u sub workers%s\n",
                node->isolation == BATON_PROCESS ? "process" : "thread", node->counts[NODE_CHIPS],
                node->counts[NODE_SUBS], node->closed ? ", closed" : "");
  for (const baton_node_run *run = node->runs; run; run = run->next) add_run(text, run);
  for (int kind = 0; kind < NODE_KINDS; kind++) {
    for (uint32_t i = 0; i < node->counts[kind]; i++) add_worker(text, node->workers[kind][i]);
    for (const node_task *group = node->groups[kind]; group; group = group->next) add_group(text, group);
    if (node->waiting[kind].count) chip_text_add(text, "  for any %s:\n", kinds[kind]);
    add_members(text, node->waiting[kind].first, node->waiting[kind].count, "waiting:");
  }
  for (const baton_node_buffer *buffer = node->buffers; buffer; buffer = buffer->older)
    chip_text_add(text, "  buffer %llu: %llu bytes on worker %u, %u tasks use it\n",
                  (unsigned long long)buffer->number, (unsigned long long)buffer->nbytes, buffer->worker,
                  buffer->users);
}

size_t baton_node_dump(baton_node *node, char *out, size_t size) {
  chip_text text = {0};
  node_lock(node);
  add_all(&text, node);
  node_unlock(node);
  size_t length = text.length, copied = length < size ? length : size ? size - 1 : 0;
  if (copied) memcpy(out, text.data, copied);
  if (size) out[copied] = 0;
  chip_text_free(&text);
  return length;
}
