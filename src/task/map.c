#include "task/map.h"
#include "task/map_state.h"
#include <string.h>

static uint32_t power_of_two(uint32_t at_least) {
  return at_least <= 2 ? 2 : UINT32_C(1) << (32 - __builtin_clz(at_least - 1));
}

size_t task_map_size(uint32_t entries) {
  size_t records = entries + 1, heads = power_of_two(entries);
  return base_whole_lines(sizeof(task_map)) + base_whole_lines(records * sizeof(map_entry)) +
         2 * base_whole_lines(heads * sizeof(uint32_t)) + base_whole_lines(records * sizeof(map_buffer)) +
         base_whole_lines(records * sizeof(map_link)) + base_whole_lines(records * sizeof(map_chunk)) +
         base_whole_lines(records * sizeof(task_dim[TASK_REGION_DIMS]));
}

static void *carve(char **at, size_t size) {
  void *piece = *at;
  *at += base_whole_lines(size);
  return piece;
}

task_map *task_map_init(void *memory, uint32_t entries) {
  char *at = memory;
  size_t records = entries + 1, heads = power_of_two(entries);
  task_map *map = carve(&at, sizeof(task_map));
  map->entries = carve(&at, records * sizeof(map_entry));
  map->cells = carve(&at, heads * sizeof(uint32_t));
  map->buffer_heads = carve(&at, heads * sizeof(uint32_t));
  map->buffers = carve(&at, records * sizeof(map_buffer));
  map->links = carve(&at, records * sizeof(map_link));
  map->chunks = carve(&at, records * sizeof(map_chunk));
  map->dims = carve(&at, records * sizeof(task_dim[TASK_REGION_DIMS]));
  map->capacity = entries;
  map->mask = (uint32_t)heads - 1;
  map->entry_fresh = map->buffer_fresh = map->chunk_fresh = map->dims_fresh = 1;
  map->sweep = 1;
  map->buffers[0].base = MAP_NO_BASE; /* of entries that are free */
  return map;
}

uint32_t task_map_live(const task_map *map) { return map->entry_live; }

/* A block is known by its handle, not by where it lies: the memory of a block that is gone may be another block's now,
** which must not inherit the failures of the old one. */
static uint64_t identity(const task_access *access) {
  if (__builtin_expect(!access->block, 1)) return access->base;
  return UINT64_C(1) << 63 | (uint64_t)access->generation << 32 | access->block;
}

int task_map_knows(const task_map *map, const task_access *access) {
  return map->buffer_heads[task_map_mix(identity(access)) & map->mask] != 0;
}

static inline map_memo *memo_of(task_map *map, const task_access *access, uint32_t *tag) {
  uint64_t hash = (identity(access) + access->region.offset) * MAP_GOLDEN;
  *tag = (uint32_t)(hash >> 16);
  return &map->memo[hash >> (64 - MAP_MEMO_BITS)];
}

static void remember(task_map *map, const task_access *access, uint32_t index) {
  uint32_t tag;
  map_memo *memo = memo_of(map, access, &tag);
  *memo = (map_memo){tag, index};
}

/* Accesses that follow each other in memory have places of their own. */
static inline map_found *found_of(task_map *map, const task_access *access) {
  enum { LEAST_DISTANCE = 128 };
  _Static_assert(sizeof *access >= LEAST_DISTANCE, "neighbours do not share a place");
  return &map->found[(uintptr_t)access / LEAST_DISTANCE % MAP_FOUND];
}

MAP_APART static void depend_gone(task_window *window, map_name name) {
  task_window_depend(window, name.slot, name.sequence);
}

static inline void depend_writer(task_window *window, map_name writer) {
  if (__builtin_expect(window->residents[writer.slot].sequence == writer.sequence, 1))
    task_window_depend(window, writer.slot, writer.sequence);
  else
    depend_gone(window, writer);
}

/* The edges that one overlapping entry gives. */
static inline void infer_entry(const task_map *map, task_window *window, const map_entry *entry,
                               uint32_t mode) {
  if (mode & TASK_WRITES && entry->readers[0].sequence) {
    if (KEEP_WRITE_AFTER_READ) task_map_depend_readers(map, window, entry);
    return;
  }
  if (!KEEP_WRITE_AFTER_WRITE && mode == TASK_WRITES) return;
  if (!KEEP_READ_AFTER_WRITE && (mode & TASK_READS)) return;
  if (entry->writer.sequence) depend_writer(window, entry->writer);
}

MAP_APART static int overlaps(const task_map *map, const map_entry *entry, const task_region *region) {
  task_region other;
  task_map_entry_region(map, entry, &other);
  return KEEP_PARTIAL_OVERLAP && task_region_overlaps(region, &other);
}

/* Looks at one entry of the buffer; true if it was in vain. */
static int look(task_map *map, task_window *window, const task_access *access, uint32_t index,
                uint32_t *known) {
  const map_entry *entry = &map->entries[index];
  if (__builtin_expect(task_map_same_region(map, entry, &access->region), 1))
    *known = index;
  else if (!overlaps(map, entry, &access->region))
    return 1;
  infer_entry(map, window, entry, access->mode);
  return 0;
}

/* A region that fits no cell may overlap any entry of the buffer. */
static uint32_t look_at_all(task_map *map, task_window *window, const task_access *access,
                            const map_buffer *buffer, uint32_t *known) {
  uint32_t wasted = 0, steps = 0;
  for (uint32_t index = buffer->entries; index; index = map->links[index].after) {
    MAP_STEP(map, steps);
    wasted += (uint32_t)look(map, window, access, index, known);
  }
  return wasted;
}

static uint32_t look_in_cell(task_map *map, task_window *window, const task_access *access, uint32_t buffer,
                             uint32_t head, uint32_t *known) {
  uint32_t wasted = 0, found = 0, steps = 0;
  for (uint32_t index = head; index; index = map->entries[index].next) {
    MAP_STEP(map, steps);
    if (map->entries[index].buffer != buffer) continue;
    wasted += (uint32_t)look(map, window, access, index, known);
    found++;
  }
  uint32_t wide = map->buffers[buffer].wide;
  if (*known && found == 1 && !wide) map->entries[*known].shape |= MAP_ALONE;
  for (; wide; wide = map->entries[wide].next) wasted += (uint32_t)look(map, window, access, wide, known);
  return wasted;
}

/* As task_map_infer, in any state of the map. */
MAP_APART static void search(task_map *map, task_window *window, const task_access *access) {
  map_found *found = found_of(map, access);
  uint32_t buffer = task_map_find_buffer(map, identity(access)), wasted;
  *found = (map_found){.access = access, .changes = map->changes};
  if (!buffer) return;
  uint32_t cell = task_map_cell_of(&map->buffers[buffer], &access->region);
  if (cell == TASK_NO_CELL)
    wasted = look_at_all(map, window, access, &map->buffers[buffer], &found->entry);
  else
    wasted = look_in_cell(map, window, access, buffer,
                          map->cells[task_map_head(map, &map->buffers[buffer], cell)], &found->entry);
  if (__builtin_expect(wasted != 0, 0)) task_map_count_wasted(map, buffer, &access->region, wasted);
  if (found->entry) remember(map, access, found->entry);
}

/* True if the entry is of exactly this run, and alone. */
static inline int is_alone(const map_entry *entry, const task_region *run) {
  return entry->offset == run->offset && entry->run == run->run &&
         (entry->shape & (MAP_ALONE | MAP_NDIM)) == MAP_ALONE;
}

static inline void infer_found(task_map *map, task_window *window, const task_access *access,
                               uint32_t index) {
  map_found *found = found_of(map, access);
  found->access = access;
  found->entry = index;
  found->changes = map->changes;
  infer_entry(map, window, &map->entries[index], access->mode);
}

/* As task_map_infer, for a region with outer dimensions. */
MAP_APART static void infer_dims(task_map *map, task_window *window, const task_access *access) {
  uint32_t tag;
  const map_memo *memo = memo_of(map, access, &tag);
  const map_entry *entry = &map->entries[memo->entry];
  if (memo->tag == tag && entry->shape & MAP_ALONE && task_map_same_region(map, entry, &access->region) &&
      map->buffers[entry->buffer].base == identity(access))
    infer_found(map, window, access, memo->entry);
  else
    search(map, window, access);
}

/* As task_map_infer, for a run in a grid of runs whose entry is alone and first in its chain, or that has none and meets
** none; searches for any other. */
MAP_APART static void infer_run(task_map *map, task_window *window, const task_access *access) {
  const task_region *region = &access->region;
  uint32_t buffer = task_map_find_buffer(map, identity(access)), cell = TASK_NO_CELL;
  const map_buffer *record = &map->buffers[buffer];
  if (!record->cell.ndim)
    cell = task_region_run_cell(record->cell.run, record->inverse, region->offset, region->run);
  if (cell == TASK_NO_CELL) {
    search(map, window, access);
    return;
  }
  uint32_t head = task_map_head(map, record, cell), index = map->cells[head];
  const map_entry *entry = &map->entries[index];
  /* Read once, and in a large map not again for long: the caches are for heads and residents, of which a line has many. */
  __builtin_prefetch(entry, 0, 0);
  if (index && entry->buffer == buffer && is_alone(entry, region))
    infer_found(map, window, access, index);
  else if (!index && !record->wide)
    *found_of(map, access) = (map_found){access, 0, buffer, map->changes, head};
  else
    search(map, window, access);
}

void task_map_infer(task_map *map, task_window *window, const task_access *access) {
  if (!access->mode || !access->region.run) return;
  if (access->region.ndim) {
    infer_dims(map, window, access);
    return;
  }
  if (map->entry_live > 1 << MAP_MEMO_BITS) { /* more than can be remembered */
    infer_run(map, window, access);
    return;
  }
  uint32_t tag;
  const map_memo *memo = memo_of(map, access, &tag);
  const map_entry *entry = &map->entries[memo->entry];
  if (memo->tag == tag && is_alone(entry, &access->region) &&
      map->buffers[entry->buffer].base == identity(access))
    infer_found(map, window, access, memo->entry);
  else
    infer_run(map, window, access);
}

/* Takes the place of a reader that is gone, or a new one. */
MAP_APART static void add_reader_anywhere(task_map *map, const task_window *window, map_entry *entry,
                                          map_name reader) {
  for (int i = 0; i < MAP_OWN_READERS; i++)
    if (!task_map_name_matters(window, entry->readers[i])) {
      entry->readers[i] = reader;
      return;
    }
  task_map_add_to_chunks(map, window, entry, reader);
}

static inline void add_reader(task_map *map, const task_window *window, map_entry *entry, map_name reader) {
  for (int i = 0; i < MAP_OWN_READERS; i++) {
    if (entry->readers[i].sequence == reader.sequence) return;
    if (!entry->readers[i].sequence) {
      entry->readers[i] = reader;
      return;
    }
  }
  add_reader_anywhere(map, window, entry, reader);
}

/* The write has waited for everything that it covers: those entries order nothing any more. */
MAP_APART static void take_over(task_map *map, const task_access *access, uint32_t index) {
  map_entry *entry = &map->entries[index];
  if (entry->chunk) task_map_free_chunks(map, entry);
  if (!(entry->shape & MAP_ALONE)) task_map_take_over(map, entry->buffer, &access->region, index);
}

/* As task_map_record, in the entry of the access. */
static inline void record_in(task_map *map, const task_window *window, const task_access *access,
                             uint32_t slot, uint32_t index) {
  map_entry *entry = &map->entries[index];
  map_name name = {slot, window->residents[slot].sequence};
  if (access->mode & TASK_WRITES) {
    memset(entry->readers, 0, sizeof entry->readers);
    entry->writer = name;
    if (__builtin_expect(entry->chunk || !(entry->shape & MAP_ALONE), 0)) take_over(map, access, index);
  } else if (entry->writer.sequence != name.sequence) {
    add_reader(map, window, entry, name);
  }
}

MAP_APART static void record_anew(task_map *map, const task_window *window, const task_access *access,
                                  uint32_t slot) {
  const map_found *found = found_of(map, access);
  uint32_t live = map->entry_live, index;
  if (found->access == access && found->changes == map->changes && found->buffer)
    index = task_map_claim_at(map, found->buffer, &map->cells[found->cell], &access->region);
  else
    index = task_map_claim(map, identity(access), &access->region);
  remember(map, access, index);
  record_in(map, window, access, slot, index);
  if (map->entry_live > live) task_map_sweep_a_little(map, window);
}

void task_map_record(task_map *map, task_window *window, const task_access *access, uint32_t slot) {
  if (!access->mode || !access->region.run) return;
  const map_found *found = found_of(map, access);
  if (__builtin_expect(found->access == access && found->changes == map->changes && found->entry != 0, 1))
    record_in(map, window, access, slot, found->entry);
  else
    record_anew(map, window, access, slot);
}
