#include "node/resident.h"
#include "base/memory.h"
#include <string.h>

/* --- Life ----------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(const baton_view *view) {
  return (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
}

static void drop_copy(node_resident_copy *copy) {
  baton_node_buffer_close(copy->buffer);
  *copy = (node_resident_copy){0};
}

baton_status node_residents_open(baton_tensor *const *tensors, uint32_t count, node_residents *out,
                                 baton_error *err) {
  *out = (node_residents){0};
  if (!count) return BATON_OK;
  out->items = base_calloc(count, sizeof *out->items);
  if (!out->items) return base_out_of_memory(err, "resident tensors");
  for (; out->count < count; out->count++) {
    node_resident *item = &out->items[out->count];
    const baton_view *view = baton_tensor_view(tensors[out->count]);
    baton_status status = baton_tensor_from_view(tensors[out->count], view, &item->tensor, err);
    if (status != BATON_OK) {
      node_residents_close(out);
      return status;
    }
    item->bytes = bytes_of(view);
  }
  return BATON_OK;
}

void node_residents_close(node_residents *residents) {
  for (uint32_t i = 0; i < residents->count; i++) {
    for (int worker = 0; worker < BATON_NODE_WORKERS; worker++)
      drop_copy(&residents->items[i].copies[worker]);
    baton_tensor_close(residents->items[i].tensor);
  }
  base_free(residents->items);
  base_free(residents->values);
  base_free(residents->views);
  *residents = (node_residents){0};
}

static void outdate(node_resident *item) {
  for (int worker = 0; worker < BATON_NODE_WORKERS; worker++) item->copies[worker].current = 0;
}

baton_status node_residents_replace(node_residents *residents, uint32_t index, baton_tensor *tensor,
                                    baton_error *err) {
  node_resident *item = &residents->items[index];
  const baton_view *old = baton_tensor_view(item->tensor), *new = baton_tensor_view(tensor);
  baton_tensor *own;
  if (new->dtype != old->dtype || new->ndim != old->ndim ||
      memcmp(new->shape, old->shape, new->ndim * sizeof *new->shape) != 0)
    return baton_error_set(err, BATON_SIGNATURE,
                           "init_round: resident tensor %u must be replaced by one of its dtype and shape",
                           index + 1);
  BATON_TRY(baton_tensor_from_view(tensor, new, &own, err));
  baton_tensor_close(item->tensor);
  item->tensor = own;
  outdate(item);
  return BATON_OK;
}

void node_residents_begin(node_residents *residents) {
  memset(residents->given, 0, sizeof residents->given);
  for (uint32_t i = 0; i < residents->count; i++)
    for (int worker = 0; worker < BATON_NODE_WORKERS; worker++)
      residents->items[i].copies[worker].touched = 0;
}

void node_residents_distrust(node_residents *residents) {
  for (uint32_t i = 0; i < residents->count; i++)
    for (int worker = 0; worker < BATON_NODE_WORKERS; worker++)
      if (residents->items[i].copies[worker].touched) drop_copy(&residents->items[i].copies[worker]);
}

/* --- What a task reads and writes ----------------------------------------------------------------------- */

static int shares_storage(const node_resident *item, const baton_tensor *tensor) {
  return tensor_storage_of(item->tensor) == tensor_storage_of(tensor);
}

void node_residents_note(node_residents *residents, const node_draft *draft) {
  for (uint32_t part = 0, at = 0; part < draft->nparts; at += draft->parts[part++].nvalues)
    for (uint32_t i = 0; i < draft->parts[part].nvalues; i++) {
      const baton_tensor *tensor = draft->parts[part].values[i].tensor;
      if (!tensor || !(draft->modes[at + i] & TASK_WRITES)) continue;
      for (uint32_t j = 0; j < residents->count; j++)
        if (shares_storage(&residents->items[j], tensor)) outdate(&residents->items[j]);
    }
}

static void mark_written(node_residents *residents, const chip_signature *signature, const node_part *parts,
                         uint32_t count) {
  for (uint32_t j = 0; j < residents->count; j++) residents->items[j].is_written = 0;
  for (uint32_t part = 0; part < count; part++)
    for (uint32_t i = 0; i < parts[part].nvalues; i++) {
      const baton_node_value *value = &parts[part].values[i];
      if (!value->tensor || !(node_mode_of(signature, value, i) & TASK_WRITES)) continue;
      for (uint32_t j = 0; j < residents->count; j++)
        residents->items[j].is_written |= shares_storage(&residents->items[j], value->tensor);
    }
}

static int same_layout(const baton_view *a, const baton_view *b) {
  return a->data == b->data && a->dtype == b->dtype && a->ndim == b->ndim &&
         memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape) == 0 &&
         memcmp(a->strides, b->strides, a->ndim * sizeof *a->strides) == 0;
}

/* True if a copy of the tensor has the view: as a contiguous one, which is what a program is handed for any host tensor, and
** `distance` bytes from the beginning. */
static int has(const node_resident *item, const baton_view *view, uint64_t *distance) {
  const baton_view *whole = baton_tensor_view(item->tensor);
  uint64_t bytes = bytes_of(view);
  *distance = 0;
  if (same_layout(view, whole)) return item->bytes != 0; /* strided ones are packed by the copy */
  *distance = (uint64_t)((uintptr_t)view->data - (uintptr_t)whole->data);
  return bytes && baton_view_contiguous(whole) && baton_view_contiguous(view) && bytes <= item->bytes &&
         *distance <= item->bytes - bytes;
}

/* The resident tensor that the value can be read from; NULL: none. */
static node_resident *find(const node_residents *residents, const chip_signature *signature,
                           const baton_node_value *value, uint32_t i, uint64_t *distance) {
  if (!value->tensor || node_mode_of(signature, value, i) != TASK_READS) return NULL;
  for (uint32_t j = 0; j < residents->count; j++) {
    node_resident *item = &residents->items[j];
    if (!item->is_written && shares_storage(item, value->tensor) &&
        has(item, baton_tensor_view(value->tensor), distance))
      return item;
  }
  return NULL;
}

/* Bytes of the part that come from resident tensors, and of them those that `worker` has. */
static uint64_t count_bytes(const node_residents *residents, const chip_signature *signature,
                            const node_part *part, int32_t worker) {
  uint64_t bytes = 0, ignored;
  for (uint32_t i = 0; i < part->nvalues; i++) {
    const node_resident *item = find(residents, signature, &part->values[i], i, &ignored);
    if (item && (worker < 0 || item->copies[worker].current)) bytes += item->bytes;
  }
  return bytes;
}

/* --- Places --------------------------------------------------------------------------------------------- */

/* Where the part must go anyway. */
static int32_t fixed_place(const node_part *part) {
  for (uint32_t i = 0; i < part->nvalues; i++)
    if (part->values[i].buffer) return (int32_t)part->values[i].buffer->worker;
  return part->worker;
}

/* The workers that take tasks, as bits. */
static uint64_t usable_workers(baton_node *node) {
  uint64_t usable = 0;
  node_lock(node);
  for (uint32_t i = 0; i < node->counts[NODE_CHIPS]; i++) {
    const node_worker *worker = node->workers[NODE_CHIPS][i];
    if (worker->endpoint && (worker->restarting || worker->state == BATON_WORKER_READY))
      usable |= UINT64_C(1) << i;
  }
  node_unlock(node);
  return usable;
}

/* The one that has been given the fewest tasks of this round, of those the one that has most of the data. */
static int32_t choose(const node_residents *residents, const chip_signature *signature, const node_part *part,
                      uint64_t free) {
  int32_t best = BATON_ANY_WORKER;
  uint64_t most = 0;
  for (int32_t i = 0; i < BATON_NODE_WORKERS; i++) {
    if (!(free >> i & 1)) continue;
    uint64_t bytes = count_bytes(residents, signature, part, i);
    if (best >= 0 && residents->given[i] > residents->given[best]) continue;
    if (best >= 0 && residents->given[i] == residents->given[best] && bytes <= most) continue;
    best = i;
    most = bytes;
  }
  return best;
}

/* --- Copies --------------------------------------------------------------------------------------------- */

static int is_dead(baton_node *node, const baton_node_buffer *buffer) {
  node_lock(node);
  int dead = buffer->dead;
  node_unlock(node);
  return dead;
}

/* The copy on this worker, with the tasks that make it submitted. */
static baton_status bring(node_resident *item, baton_node_orch *o, int32_t worker, baton_node_buffer **out,
                          baton_error *err) {
  node_resident_copy *copy = &item->copies[worker];
  if (copy->buffer && is_dead(o->node, copy->buffer)) drop_copy(copy);
  if (!copy->buffer) {
    copy->touched = 1;
    BATON_TRY(baton_node_orch_malloc(o, (uint32_t)worker, item->bytes, &copy->buffer, err));
  }
  *out = copy->buffer;
  if (copy->current) return BATON_OK;
  copy->touched = 1;
  BATON_TRY(baton_node_orch_copy_to(o, copy->buffer, item->tensor, NULL, NULL, err));
  copy->current = 1;
  return BATON_OK;
}

static baton_status substitute(node_resident *item, uint64_t distance, baton_node_orch *o, int32_t worker,
                               baton_node_value *value, baton_view *view, baton_error *err) {
  const baton_view *asked = baton_tensor_view(value->tensor);
  baton_node_buffer *buffer;
  baton_status status = bring(item, o, worker, &buffer, err);
  if (status == BATON_OK)
    status = baton_node_buffer_tensor(buffer, (baton_dtype)asked->dtype, asked->ndim, asked->shape, distance,
                                      view, err);
  if (status != BATON_OK) return baton_error_context(err, "resident");
  *value = (baton_node_value){.tag = value->tag, .buffer = buffer, .view = view};
  return BATON_OK;
}

static baton_status place_part(node_residents *residents, baton_node_orch *o, const chip_signature *signature,
                               node_part *part, uint32_t first, baton_error *err) {
  uint64_t distance;
  baton_node_value *values = residents->values + first;
  memcpy(values, part->values, part->nvalues * sizeof *values);
  for (uint32_t i = 0; i < part->nvalues; i++) {
    node_resident *item = find(residents, signature, &part->values[i], i, &distance);
    if (!item) continue;
    BATON_TRY(substitute(item, distance, o, part->worker, &values[i], &residents->views[first + i], err));
  }
  part->values = values;
  residents->given[part->worker]++;
  return BATON_OK;
}

static baton_status make_room(node_residents *residents, uint32_t needed, baton_error *err) {
  if (needed <= residents->room) return BATON_OK;
  baton_node_value *values = base_realloc(residents->values, needed * sizeof *values);
  if (values) residents->values = values;
  baton_view *views = base_realloc(residents->views, needed * sizeof *views);
  if (views) residents->views = views;
  if (!values || !views) return base_out_of_memory(err, "the arguments of a task");
  residents->room = needed;
  return BATON_OK;
}

/* A task whose arguments do not fit its signature is refused later, as any other is. */
static int fits(const chip_signature *signature, const node_part *parts, uint32_t count) {
  for (uint32_t i = 0; signature && i < count; i++)
    if (parts[i].nvalues != signature->count) return 0;
  return 1;
}

baton_status node_residents_place(node_residents *residents, baton_node_orch *o,
                                  const chip_signature *signature, node_part *parts, uint32_t count,
                                  baton_error *err) {
  uint64_t free = usable_workers(o->node), total = 0;
  if (!residents->count || !fits(signature, parts, count)) return BATON_OK;
  mark_written(residents, signature, parts, count);
  for (uint32_t i = 0; i < count; i++) {
    int32_t place = fixed_place(&parts[i]);
    if (place >= BATON_NODE_WORKERS || (place >= 0 && !(free >> place & 1))) return BATON_OK;
    if (place >= 0) free &= ~(UINT64_C(1) << place);
    total += parts[i].nvalues;
  }
  if (total > UINT32_MAX / sizeof(baton_view)) return BATON_OK;
  BATON_TRY(make_room(residents, (uint32_t)total, err));
  for (uint32_t i = 0, first = 0; i < count; first += parts[i++].nvalues) {
    if (!count_bytes(residents, signature, &parts[i], BATON_ANY_WORKER)) continue;
    int32_t place = fixed_place(&parts[i]);
    if (place < 0) place = choose(residents, signature, &parts[i], free);
    if (place < 0) continue;
    free &= ~(UINT64_C(1) << place);
    parts[i].worker = place;
    BATON_TRY(place_part(residents, o, signature, &parts[i], first, err));
  }
  return BATON_OK;
}
