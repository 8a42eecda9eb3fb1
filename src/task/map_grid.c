/* Where the entries of the map are: buffers, their cells, and the lists that hang from them. */
#include "task/map_state.h"
#include <string.h>

void task_map_entry_region(const task_map *map, const map_entry *entry, task_region *region) {
  region->offset = entry->offset;
  region->run = entry->run;
  region->ndim = entry->shape & MAP_NDIM;
  const task_dim *dims = map->dims[entry->shape >> MAP_DIMS];
  for (uint32_t d = 0; d < region->ndim; d++) region->dims[d] = dims[d];
}

int task_map_same_dims(const task_map *map, const map_entry *entry, const task_region *region) {
  task_region other;
  task_map_entry_region(map, entry, &other);
  return task_region_equal(&other, region);
}

/* The list head that an entry of this region hangs from. */
static uint32_t *list_of(task_map *map, uint32_t buffer, const task_region *region) {
  map_buffer *record = &map->buffers[buffer];
  uint32_t cell = task_map_cell_of(record, region);
  return cell == TASK_NO_CELL ? &record->wide : &map->cells[task_map_head(map, record, cell)];
}

static void not_alone(map_entry *entry) { entry->shape &= ~(uint32_t)MAP_ALONE; }

/* A buffer record with the first region of the buffer as its grid. There are as many records as entries, and each
** buffer in use has an entry, so one is always free. */
static uint32_t add_buffer(task_map *map, uint64_t base, const task_region *region) {
  uint32_t index = map->buffer_free, *head = &map->buffer_heads[task_map_mix(base) & map->mask];
  if (index)
    map->buffer_free = map->buffers[index].next;
  else
    index = map->buffer_fresh++;
  map_buffer *buffer = &map->buffers[index];
  *buffer = (map_buffer){.base = base,
                         .next = *head,
                         .inverse = task_region_inverse(region->run),
                         .first = (uint32_t)task_map_mix(index),
                         .cell = *region};
  *head = index;
  return index;
}

static void remove_buffer(task_map *map, uint32_t index) {
  uint32_t *link = &map->buffer_heads[task_map_mix(map->buffers[index].base) & map->mask];
  for (uint32_t steps = 0; *link != index; link = &map->buffers[*link].next) MAP_STEP(map, steps);
  *link = map->buffers[index].next;
  map->buffers[index].base = 0;
  map->buffers[index].next = map->buffer_free;
  map->buffer_free = index;
}

static void unlink_entry(task_map *map, uint32_t index) {
  map_entry *entry = &map->entries[index];
  task_region region;
  task_map_entry_region(map, entry, &region);
  uint32_t *link = list_of(map, entry->buffer, &region);
  for (uint32_t steps = 0; *link != index; link = &map->entries[*link].next) MAP_STEP(map, steps);
  *link = entry->next;
}

void task_map_remove(task_map *map, uint32_t index) {
  map_entry *entry = &map->entries[index];
  unlink_entry(map, index);
  if (entry->chunk) task_map_free_chunks(map, entry);
  if (entry->shape & MAP_NDIM) {
    map->dims[entry->shape >> MAP_DIMS][0].stride = map->dims_free;
    map->dims_free = entry->shape >> MAP_DIMS;
  }
  map_link link = map->links[index];
  uint32_t buffer = entry->buffer;
  if (link.after) map->links[link.after].before = link.before;
  if (link.before)
    map->links[link.before].after = link.after;
  else
    map->buffers[buffer].entries = link.after;
  entry->buffer = entry->shape = 0;
  entry->next = map->entry_free;
  map->entry_free = index;
  map->entry_live--;
  map->changes++;
  if (--map->buffers[buffer].count == 0) remove_buffer(map, buffer);
}

/* Lays the grid of a buffer anew with the extents of `region`. */
static void lay_grid(task_map *map, uint32_t buffer, const task_region *region) {
  map_buffer *record = &map->buffers[buffer];
  for (uint32_t index = record->entries; index; index = map->links[index].after) unlink_entry(map, index);
  record->cell = *region;
  record->inverse = task_region_inverse(region->run);
  record->wasted = 0;
  map->changes++;
  for (uint32_t index = record->entries; index; index = map->links[index].after) {
    task_region other;
    task_map_entry_region(map, &map->entries[index], &other);
    uint32_t *head = list_of(map, buffer, &other);
    map->entries[index].next = *head;
    not_alone(&map->entries[index]);
    *head = index;
  }
}

static int same_extents(const task_region *a, const task_region *b) {
  task_region moved = *a;
  moved.offset = b->offset;
  return task_region_equal(&moved, b);
}

/* The grid is laid anew when it has cost more than that costs. */
void task_map_count_wasted(task_map *map, uint32_t buffer, const task_region *region, uint32_t wasted) {
  map_buffer *record = &map->buffers[buffer];
  record->wasted += wasted;
  if (record->wasted <= 64 + 4 * (uint64_t)record->count) return;
  if (same_extents(&record->cell, region))
    record->wasted = 0;
  else
    lay_grid(map, buffer, region);
}

MAP_APART static uint32_t keep_dims(task_map *map, const task_region *region) {
  uint32_t dims = map->dims_free;
  if (dims)
    map->dims_free = (uint32_t)map->dims[dims][0].stride;
  else
    dims = map->dims_fresh++;
  memcpy(map->dims[dims], region->dims, region->ndim * sizeof(task_dim));
  return dims << MAP_DIMS | region->ndim;
}

/* Makes the entry of a region, at the front of its list. */
static uint32_t add_entry(task_map *map, uint32_t buffer, const task_region *region, uint32_t *head) {
  uint32_t index = map->entry_free;
  if (index)
    map->entry_free = map->entries[index].next;
  else
    index = map->entry_fresh++;
  map_buffer *record = &map->buffers[buffer];
  map_entry *entry = &map->entries[index];
  *entry = (map_entry){.offset = region->offset, .run = region->run, .buffer = buffer, .next = *head};
  *head = index;
  if (region->ndim) entry->shape = keep_dims(map, region);
  map->links[index] = (map_link){.after = record->entries};
  if (record->entries) map->links[record->entries].before = index;
  record->entries = index;
  record->count++;
  map->entry_live++;
  return index;
}

/* The first wide entry of a buffer may overlap any entry. */
MAP_APART static void leave_none_alone(task_map *map, const map_buffer *record) {
  for (uint32_t index = record->entries; index; index = map->links[index].after)
    not_alone(&map->entries[index]);
}

/* Whatever else of the buffer is in the list is not alone. */
uint32_t task_map_claim_at(task_map *map, uint32_t buffer, uint32_t *head, const task_region *region) {
  map_buffer *record = &map->buffers[buffer];
  uint32_t alone = MAP_ALONE, steps = 0;
  for (uint32_t index = *head; index; index = map->entries[index].next) {
    MAP_STEP(map, steps);
    if (map->entries[index].buffer != buffer) continue;
    if (task_map_same_region(map, &map->entries[index], region)) return index;
    not_alone(&map->entries[index]);
    alone = 0;
  }
  if (head == &record->wide && !record->wide) leave_none_alone(map, record);
  uint32_t index = add_entry(map, buffer, region, head);
  if (!record->wide) map->entries[index].shape |= alone;
  return index;
}

uint32_t task_map_claim(task_map *map, uint64_t base, const task_region *region) {
  uint32_t buffer = task_map_find_buffer(map, base);
  if (!buffer) buffer = add_buffer(map, base, region);
  return task_map_claim_at(map, buffer, list_of(map, buffer, region), region);
}

static void remove_if_covered(task_map *map, uint32_t index, const task_region *region) {
  task_region other;
  task_map_entry_region(map, &map->entries[index], &other);
  if (task_region_covers(region, &other)) task_map_remove(map, index);
}

void task_map_take_over(task_map *map, uint32_t buffer, const task_region *region, uint32_t own) {
  uint32_t next, cell = task_map_cell_of(&map->buffers[buffer], region), steps = 0;
  if (cell == TASK_NO_CELL) {
    for (uint32_t index = map->buffers[buffer].entries; index; index = next) {
      next = map->links[index].after;
      MAP_STEP(map, steps);
      if (index != own) remove_if_covered(map, index, region);
    }
    return;
  }
  for (uint32_t index = map->cells[task_map_head(map, &map->buffers[buffer], cell)]; index; index = next) {
    next = map->entries[index].next;
    MAP_STEP(map, steps);
    if (index != own && map->entries[index].buffer == buffer) remove_if_covered(map, index, region);
  }
}
