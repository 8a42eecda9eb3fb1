#include "node/draft.h"
#include "base/memory.h"
#include "base/text.h"
#include "chip/config.h"
#include "chip/span.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
  INLINE_MOST = 64 << 10
}; /* bytes of a command in the argument memory of the engine; a larger one has its own */

/* --- Messages ------------------------------------------------------------------------------------------- */

static const char *parameter_name(const node_draft *draft, uint32_t i) {
  const chip_signature *signature = draft->callable ? draft->callable->signature : NULL;
  return signature && i < signature->count ? signature->items[i].name : NULL;
}

BATON_PRINTF(6, 7)
static baton_status refuse(const node_draft *draft, uint32_t part, uint32_t i, baton_status code,
                           baton_error *err, const char *fmt, ...) {
  char message[512], member[32] = "";
  const char *name = parameter_name(draft, i);
  va_list values;
  va_start(values, fmt);
  base_vprint(message, sizeof message, fmt, values);
  va_end(values);
  if (draft->nparts > 1) snprintf(member, sizeof member, "member %u: ", part + 1);
  return baton_error_set(err, code, "%s: %sargument %u%s%s%s: %s", draft->who, member, i + 1,
                         name ? " (" : "", name ? name : "", name ? ")" : "", message);
}

/* --- Values --------------------------------------------------------------------------------------------- */

static const baton_view *view_of(const baton_node_value *value) {
  return value->tensor ? baton_tensor_view(value->tensor) : value->view;
}

uint32_t node_mode_of(const chip_signature *signature, const baton_node_value *value, uint32_t i) {
  switch (value->tag) {
  case BATON_INPUT: return TASK_READS;
  case BATON_OUTPUT: return TASK_WRITES;
  case BATON_INOUT: return TASK_READS | TASK_WRITES;
  case BATON_NO_DEP: return 0;
  default: break;
  }
  if (!signature) return TASK_READS | TASK_WRITES;
  baton_direction direction = signature->items[i].direction;
  return direction == BATON_IN ? TASK_READS : direction == BATON_OUT ? TASK_WRITES : TASK_READS | TASK_WRITES;
}

static baton_status check_signature(const node_draft *draft, const node_part *part, chip_value *checked,
                                    baton_error *err) {
  for (uint32_t i = 0; i < part->nvalues; i++) {
    const baton_view *view = view_of(&part->values[i]);
    checked[i] = (chip_value){.view = view, .dtype = part->values[i].dtype};
    if (!view) checked[i].scalar.u64 = part->values[i].scalar.u64;
    if (view && (view->dtype == BATON_NO_DTYPE || view->dtype >= BATON_DTYPE_COUNT))
      return refuse(draft, (uint32_t)(part - draft->parts), i, BATON_OUT_OF_RANGE, err,
                    "the result of a view operation that does not fit its tensor");
  }
  if (!draft->callable || !draft->callable->signature) return BATON_OK;
  return chip_signature_check(draft->callable->signature, draft->who, checked, part->nvalues, err);
}

/* Where the memory of a view is counted from. */
static uint64_t origin_of(const baton_node_value *value, const baton_view *view) {
  if (value->tensor) return (uint64_t)(uintptr_t)tensor_storage_address(tensor_storage_of(value->tensor));
  return value->buffer ? node_buffer_base(value->buffer) : view->base;
}

static void make_access(const baton_node_value *value, const baton_view *view, uint32_t mode,
                        task_access *access) {
  size_t element = baton_dtype_size((baton_dtype)view->dtype);
  access->base = origin_of(value, view);
  access->mode = mode;
  access->block = value->tensor || value->buffer ? 0 : view->block;
  access->generation = value->tensor || value->buffer ? 0 : view->generation;
  uint64_t offset = (uint64_t)(uintptr_t)view->data - access->base;
  if (baton_view_contiguous(view)) {
    access->region.offset = offset;
    access->region.run = (uint64_t)baton_view_numel(view) * element;
    access->region.ndim = 0;
    return;
  }
  task_region_make(&access->region, offset, (uint32_t)element, view->ndim, view->shape, view->strides);
}

static baton_status check_buffer(const node_draft *draft, uint32_t part, uint32_t i, int32_t *place,
                                 baton_error *err) {
  const baton_node_value *value = &draft->parts[part].values[i];
  chip_memory memory = {.base = node_buffer_base(value->buffer), .bytes = value->buffer->nbytes};
  uint64_t first, bytes;
  int32_t owner = (int32_t)value->buffer->worker;
  if (!value->view)
    return refuse(draft, part, i, BATON_INVALID_ARGUMENT, err, "a buffer without a view of it");
  if (draft->kind == NODE_SUBS)
    return refuse(
        draft, part, i, BATON_WRONG_DEVICE, err,
        "memory of worker %d, which a sub worker cannot touch; copy_from it into a host tensor first",
        (int)owner);
  if (draft->callable && draft->callable->is_host)
    return refuse(
        draft, part, i, BATON_UNSUPPORTED, err,
        "child memory, which a function of the host cannot touch; copy_from it into a host tensor first");
  if (*place >= 0 && *place != owner)
    return refuse(draft, part, i, BATON_WRONG_DEVICE, err, "memory of worker %d, the task is for worker %d",
                  (int)owner, (int)*place);
  *place = owner;
  baton_status status = chip_memory_span(&memory, value->view, &first, &bytes, err);
  if (status != BATON_OK && err) return refuse(draft, part, i, status, err, "%s", err->message);
  return status;
}

/* An intermediate of this run: a view of its heap. */
static baton_status check_block(const node_draft *draft, uint32_t part, uint32_t i, const task_access *access,
                                baton_error *err) {
  const node_engine *engine = draft->o->run->engine;
  const baton_view *view = draft->parts[part].values[i].view;
  uint64_t offset, bytes, end = task_region_end(&access->region);
  if (!view->block) return refuse(draft, part, i, BATON_INVALID_ARGUMENT, err, "not a tensor of this run");
  if (!task_engine_block_range(engine->tasks, view->block, view->generation, &offset, &bytes))
    return refuse(draft, part, i, BATON_STALE_HANDLE, err, "its scope %u has ended", view->generation);
  if ((uint64_t)(uintptr_t)engine->memory.address + offset != view->base)
    return refuse(draft, part, i, BATON_INVALID_ARGUMENT, err, "not a tensor of this run");
  if (!access->region.run || (access->region.offset <= bytes && end <= bytes)) return BATON_OK;
  return refuse(draft, part, i, BATON_OUT_OF_RANGE, err, "ends at byte %llu of a tensor of %llu bytes",
                (unsigned long long)end, (unsigned long long)bytes);
}

static baton_status check_overlap(const node_draft *draft, uint32_t part, const task_access *accesses,
                                  const uint32_t *arguments, uint32_t count, baton_error *err) {
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = i + 1; j < count; j++)
      if (accesses[i].base == accesses[j].base && ((accesses[i].mode | accesses[j].mode) & TASK_WRITES) &&
          task_region_overlaps(&accesses[i].region, &accesses[j].region))
        return refuse(draft, part, arguments[j], BATON_SIGNATURE, err,
                      "overlaps argument %u, and one of them is written", arguments[i] + 1);
  return BATON_OK;
}

static baton_status check_values(node_draft *draft, uint32_t part, uint32_t first, baton_error *err) {
  const node_part *given = &draft->parts[part];
  uint32_t begin = draft->naccesses, arguments[NODE_VALUES_MOST];
  for (uint32_t i = 0; i < given->nvalues; i++) {
    const baton_node_value *value = &given->values[i];
    const baton_view *view = view_of(value);
    draft->modes[first + i] = 0;
    if (!view) continue;
    task_access *access = &draft->accesses[draft->naccesses];
    draft->modes[first + i] = node_mode_of(draft->callable ? draft->callable->signature : NULL, value, i);
    make_access(value, view, draft->modes[first + i], access);
    if (value->buffer) BATON_TRY(check_buffer(draft, part, i, &draft->places[part], err));
    if (!value->buffer && !value->tensor) BATON_TRY(check_block(draft, part, i, access, err));
    arguments[draft->naccesses++ - begin] = i;
  }
  if (draft->naccesses - begin < 2) return BATON_OK;
  return check_overlap(draft, part, draft->accesses + begin, arguments, draft->naccesses - begin, err);
}

/* --- Places --------------------------------------------------------------------------------------------- */

static baton_status check_place(const node_draft *draft, int32_t place, baton_error *err) {
  node_worker *worker;
  if (place < BATON_ANY_WORKER)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: worker %d: a number from 0 on expected", draft->who,
                           (int)place);
  if (place < 0) return BATON_OK;
  baton_status status = node_find_worker(draft->o->node, draft->kind, (uint32_t)place, &worker, err);
  if (status != BATON_OK) baton_error_context(err, "%s", draft->who);
  return status;
}

static baton_status check_group(const node_draft *draft, baton_error *err) {
  uint64_t taken = 0;
  for (uint32_t i = 0; i < draft->nparts; i++) {
    if (draft->places[i] < 0) continue;
    if (taken & UINT64_C(1) << draft->places[i])
      return baton_error_set(err, BATON_INVALID_ARGUMENT,
                             "%s: two members are for worker %d, each needs its own", draft->who,
                             (int)draft->places[i]);
    taken |= UINT64_C(1) << draft->places[i];
  }
  return BATON_OK;
}

static uint32_t count_workers(const node_draft *draft) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < draft->o->node->counts[draft->kind]; i++)
    count += draft->o->node->workers[draft->kind][i]->endpoint != NULL;
  return count;
}

static baton_status check_width(const node_draft *draft, baton_error *err) {
  uint32_t workers = draft->nparts > 1 || !draft->o->node->counts[draft->kind] ? count_workers(draft) : 1;
  if (!draft->nparts)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: a group needs a member", draft->who);
  if (!workers)
    return baton_error_set(err, BATON_UNSUPPORTED, "%s: this node has no %s", draft->who,
                           draft->kind == NODE_SUBS ? "sub workers, open it with subs = 1 or more" : "chips");
  if (draft->nparts > workers)
    return baton_error_set(err, BATON_UNSUPPORTED, "%s: a group of %u members, this node has %u %s",
                           draft->who, draft->nparts, workers,
                           draft->kind == NODE_SUBS ? "sub workers" : "workers");
  return BATON_OK;
}

/* --- All of it ------------------------------------------------------------------------------------------ */

static baton_status make_room(node_draft *draft, baton_error *err) {
  uint32_t needed = draft->nvalues > draft->nparts ? draft->nvalues : draft->nparts;
  if (needed <= draft->room) return BATON_OK;
  uint32_t room = needed < 16 ? 16 : needed;
  chip_value *checked = base_realloc(draft->checked, room * sizeof *checked);
  if (checked) draft->checked = checked;
  task_access *accesses = base_realloc(draft->accesses, room * sizeof *accesses);
  if (accesses) draft->accesses = accesses;
  uint32_t *modes = base_realloc(draft->modes, room * sizeof *modes);
  if (modes) draft->modes = modes;
  int32_t *places = base_realloc(draft->places, room * sizeof *places);
  if (places) draft->places = places;
  if (!checked || !accesses || !modes || !places) return base_out_of_memory(err, "the arguments of a task");
  draft->room = room;
  return BATON_OK;
}

int node_draft_configures(const baton_config *config) {
  return config->ring_task_window || config->ring_heap || config->ring_dep_pool || config->runtime ||
         config->timeout > 0 || config->stream_timeout > 0 || config->element_timeout > 0;
}

/* What the run says holds for its device programs; deadlines do not: they are the run's. */
static baton_status read_config(node_draft *draft, baton_error *err) {
  const baton_config *own = draft->options->config;
  const baton_node_run *run = draft->o->run;
  int calls = draft->operation == NODE_CALL_PROGRAM || draft->operation == NODE_CALL_SCRIPT;
  draft->has_config = calls && (own || run->configures);
  if (!draft->has_config) return BATON_OK;
  baton_config base = run->config;
  base.deadline = 0;
  base = chip_config_merge(&base, own);
  BATON_TRY(chip_config_check(&base, err));
  draft->config = (node_config){.ring_task_window = base.ring_task_window,
                                .ring_dep_pool = base.ring_dep_pool,
                                .ring_heap = base.ring_heap,
                                .deadline = base.deadline,
                                .timeout = base.timeout,
                                .stream_timeout = base.stream_timeout,
                                .element_timeout = base.element_timeout};
  if (base.runtime && strlen(base.runtime) >= sizeof draft->config.runtime)
    return baton_error_set(err, BATON_UNSUPPORTED, "%s: runtime '%s' is unknown", draft->who, base.runtime);
  if (base.runtime) strcpy(draft->config.runtime, base.runtime);
  return BATON_OK;
}

static baton_status count_values(node_draft *draft, baton_error *err) {
  draft->nvalues = draft->naccesses = 0;
  for (uint32_t i = 0; i < draft->nparts; i++) {
    if (draft->parts[i].nvalues > NODE_VALUES_MOST)
      return baton_error_set(err, BATON_RESOURCE_LIMIT, "%s: %u arguments, a task takes at most %d",
                             draft->who, draft->parts[i].nvalues, NODE_VALUES_MOST);
    draft->nvalues += draft->parts[i].nvalues;
  }
  return BATON_OK;
}

baton_status node_draft_check(node_draft *draft, baton_error *err) {
  BATON_TRY(check_width(draft, err));
  BATON_TRY(count_values(draft, err));
  BATON_TRY(make_room(draft, err));
  for (uint32_t part = 0, first = 0; part < draft->nparts; first += draft->parts[part++].nvalues) {
    draft->places[part] = draft->parts[part].worker;
    BATON_TRY(check_place(draft, draft->places[part], err));
    BATON_TRY(check_signature(draft, &draft->parts[part], draft->checked + first, err));
    BATON_TRY(check_values(draft, part, first, err));
  }
  if (draft->nparts > 1) BATON_TRY(check_group(draft, err));
  return read_config(draft, err);
}

/* --- Filling in ----------------------------------------------------------------------------------------- */

static uint64_t command_size(const node_draft *draft, uint32_t part) {
  return node_command_bytes(draft->has_config, draft->parts[part].nvalues, draft->parts[part].bytes);
}

static uint64_t head_size(const node_draft *draft) {
  return sizeof(node_task) + draft->nparts * sizeof(node_member) + draft->nvalues * sizeof(node_use);
}

uint64_t node_draft_size(const node_draft *draft) {
  uint64_t size = head_size(draft);
  for (uint32_t i = 0; i < draft->nparts; i++)
    if (command_size(draft, i) <= INLINE_MOST) size += command_size(draft, i);
  const char *name = draft->options->name;
  return size + (name ? strlen(name) + 1 : 0);
}

static void fill_value(const baton_node_value *given, const chip_value *checked, uint32_t mode,
                       node_value *value) {
  const baton_view *view = view_of(given);
  uint64_t below = 0, above;
  *value = (node_value){.kind = NODE_SCALAR, .tag = BATON_SCALAR, .dtype = (uint8_t)checked->dtype};
  if (!view) {
    value->scalar.u64 = checked->scalar.u64;
    return;
  }
  value->tag = (uint8_t)(mode == TASK_READS    ? BATON_INPUT
                         : mode == TASK_WRITES ? BATON_OUTPUT
                         : mode                ? BATON_INOUT
                                               : BATON_NO_DEP);
  value->dtype = view->dtype;
  value->view = *view;
  value->view.base = origin_of(given, view);
  if (given->buffer) {
    value->kind = NODE_BUFFER_TENSOR;
    value->buffer = given->buffer->number;
    value->view.data = (void *)((uintptr_t)view->data - (uintptr_t)value->view.base);
    return;
  }
  value->kind = NODE_HOST_TENSOR;
  if (baton_view_contiguous(view))
    above = (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
  else
    (void)tensor_reach(view, &below, &above);
  value->address = (uint64_t)(uintptr_t)view->data - below;
  value->bytes = below + above;
}

static void fill_command(const node_draft *draft, uint32_t part, uint32_t first, node_command *command) {
  const node_part *given = &draft->parts[part];
  *command = (node_command){.bytes = (uint32_t)command_size(draft, part),
                            .operation = (uint16_t)draft->operation,
                            .flags = draft->has_config ? NODE_CONFIG : 0,
                            .run = draft->o->run->number,
                            .callable = draft->callable ? draft->callable->number : 0,
                            .buffer = draft->buffer,
                            .size = draft->size,
                            .nvalues = given->nvalues,
                            .ndata = (uint32_t)given->bytes};
  if (draft->has_config) memcpy(command + 1, &draft->config, sizeof draft->config);
  node_value *values = node_command_values(command);
  for (uint32_t i = 0; i < given->nvalues; i++)
    fill_value(&given->values[i], &draft->checked[first + i], draft->modes[first + i], &values[i]);
  if (given->bytes) memcpy(node_command_data(command), given->data, given->bytes);
}

/* The command of a member, in the argument memory from *at on, or in memory of its own. */
static baton_status fill_member(const node_draft *draft, node_task *task, uint32_t part, uint32_t first,
                                char **at, baton_error *err) {
  node_member *member = &task->members[part];
  uint64_t size = command_size(draft, part);
  member->task = task;
  member->place = draft->places[part];
  member->liked = BATON_ANY_WORKER;
  member->owned = 0;
  member->stages = NULL;
  if (size > INLINE_MOST) {
    member->command = base_alloc(size);
    if (!member->command) return base_out_of_memory(err, "the arguments of a task");
    member->owned = 1;
  } else {
    member->command = (node_command *)(void *)*at;
    *at += size;
  }
  fill_command(draft, part, first, member->command);
  return BATON_OK;
}

static baton_status begin_uses(const node_draft *draft, node_task *task, baton_error *err) {
  for (uint32_t part = 0, i = 0; part < draft->nparts; part++)
    for (uint32_t j = 0; j < draft->parts[part].nvalues; j++, i++) {
      const baton_node_value *value = &draft->parts[part].values[j];
      node_use *use = &task->uses[task->nuses];
      *use = (node_use){.writes = (draft->modes[i] & TASK_WRITES) != 0};
      if (value->tensor) {
        use->storage = tensor_storage_of(value->tensor);
        tensor_use_begin(use->storage, use->writes);
      } else if (value->buffer) {
        BATON_TRY(node_buffer_use(draft->o->node, value->buffer, err));
        use->buffer = value->buffer;
      } else {
        continue;
      }
      task->nuses++;
    }
  return BATON_OK;
}

static const char *operation_name(const node_draft *draft) {
  switch (draft->operation) {
  case NODE_CALL_SCRIPT: return draft->kind == NODE_SUBS ? "sub function" : "node function";
  case NODE_COPY_TO: return "copy_to";
  case NODE_COPY_FROM: return "copy_from";
  default: return "malloc";
  }
}

/* Each field by itself: to clear all of them first would cost as much as the rest of a short submit. */
static void fill_head(const node_draft *draft, node_task *task) {
  const node_callable *callable = draft->callable;
  task->run = draft->o->run;
  task->kind = draft->kind;
  task->lane = draft->lane;
  task->priority = draft->options->priority;
  task->count = 0;
  task->unanswered = draft->nparts;
  task->failed = 0;
  task->who = callable ? baton_program_name(callable->program) : operation_name(draft);
  task->is_host = callable && callable->is_host;
  task->name = NULL;
  task->nuses = 0;
}

baton_status node_draft_fill(const node_draft *draft, node_task *task, baton_error *err) {
  char *at = (char *)task + sizeof *task + draft->nparts * sizeof(node_member);
  baton_status status = BATON_OK;
  fill_head(draft, task);
  task->uses = (node_use *)(void *)at;
  at += draft->nvalues * sizeof(node_use);
  for (uint32_t part = 0, first = 0; part < draft->nparts && status == BATON_OK;
       first += draft->parts[part++].nvalues, task->count++)
    status = fill_member(draft, task, part, first, &at, err);
  if (status == BATON_OK && draft->options->name) task->name = strcpy(at, draft->options->name);
  if (status == BATON_OK) status = begin_uses(draft, task, err);
  if (status != BATON_OK) node_draft_drop(task, NULL);
  return status;
}

void node_draft_drop(node_task *task, const baton_error *failure) {
  for (uint32_t i = 0; i < task->count; i++)
    if (task->members[i].owned) base_free(task->members[i].command);
  for (uint32_t i = 0; i < task->nuses; i++)
    if (task->uses[i].storage && task->uses[i].writes && failure)
      tensor_use_fail(task->uses[i].storage, failure, task->run->notice);
    else if (task->uses[i].storage)
      tensor_use_end(task->uses[i].storage, task->uses[i].writes, NULL);
    else
      node_buffer_unuse(task->uses[i].buffer);
}

void node_draft_free(node_draft *draft) {
  if (!draft) return;
  base_free(draft->checked);
  base_free(draft->accesses);
  base_free(draft->modes);
  base_free(draft->places);
  base_free(draft);
}
