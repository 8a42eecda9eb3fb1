#include "task/map.h"
#include <string.h>

/* A build for the property test can leave out one class of edges, to see that the test notices. */
#ifdef TASK_DROP_READ_AFTER_WRITE
#define KEEP_READ_AFTER_WRITE 0
#else
#define KEEP_READ_AFTER_WRITE 1
#endif
#ifdef TASK_DROP_WRITE_AFTER_READ
#define KEEP_WRITE_AFTER_READ 0
#else
#define KEEP_WRITE_AFTER_READ 1
#endif
#ifdef TASK_DROP_WRITE_AFTER_WRITE
#define KEEP_WRITE_AFTER_WRITE 0
#else
#define KEEP_WRITE_AFTER_WRITE 1
#endif
#ifdef TASK_DROP_PARTIAL_OVERLAP
#define KEEP_PARTIAL_OVERLAP 0
#else
#define KEEP_PARTIAL_OVERLAP 1
#endif

enum {
  OWN_READERS = 3,
  CHUNK_READERS = 7,
  LOOK_CHUNKS = 4,
  SWEEP_STEP = 2,
  SWEEP_SHARE = 8,
  RESET_SHARE = 16,
  MEMO_BITS = 10,
  SHAPE_NDIM = 15, /* bits of `shape` */
  SHAPE_ALONE = 16,
  SHAPE_DIMS = 5 /* where the number begins */
};

/* What is rarely needed stays out of the functions that every access goes through. */
#define APART __attribute__((noinline))

#define NO_BASE UINT64_MAX /* no buffer has this identity */

typedef struct task_name {
  uint32_t slot, sequence;
} task_name;

/* One region. Index 0 is not used: 0 means none everywhere below. */
typedef struct map_entry {
  uint64_t offset, run;
  uint32_t buffer;                /* 0: the entry is free */
  uint32_t next;                  /* in its cell's chain or the buffer's wide list; or in the free list */
  task_name writer;               /* sequence 0: none */
  task_name readers[OWN_READERS]; /* since the writer; sequence 0: none */
  uint32_t chunk;                 /* more readers: one chunk of a ring of chunks */
  uint32_t
      shape; /* outer dimensions: how many, and the number of their record; and whether it is alone: surely no other
                  ** entry of the buffer is in the chain of its cell */
} map_entry;

_Static_assert(sizeof(map_entry) == BASE_CACHE_LINE, "an entry is one cache line");

/* Readers that do not fit into the entry. The chunks of an entry form a ring, so that the place to look for dead
** readers moves around: a region that is read for ever holds as many chunks as it has live readers. */
typedef struct reader_chunk {
  task_name readers[CHUNK_READERS];
  uint32_t next;
  uint32_t reserved;
} reader_chunk;

/* The place of an entry in the list of all entries of its buffer. */
typedef struct map_link {
  uint32_t before, after;
} map_link;

/* An entry that was found lately, under the hash of its buffer and offset. It may have become another region's since: who
** finds it here compares. */
typedef struct map_memo {
  uint32_t tag;
  uint32_t entry;
} map_memo;

typedef struct map_buffer {
  BASE_ALIGNED uint64_t base;
  uint32_t next;    /* in its hash chain, or in the free list */
  uint32_t entries; /* list of all */
  uint32_t wide;    /* list of those that fit no cell */
  uint32_t count;
  uint64_t inverse; /* of the run of a cell */
  uint64_t wasted;  /* looks at entries that did not overlap, since the grid was laid */
  task_region cell; /* extents of one cell; the offset is not used */
} map_buffer;

struct task_map {
  map_entry *entries;
  uint32_t *cells;        /* hash heads: entries */
  uint32_t *buffer_heads; /* hash heads: buffers */
  map_buffer *buffers;
  map_link *links;
  reader_chunk *chunks;
  task_dim (*dims)[TASK_REGION_DIMS];
  uint32_t capacity, mask;
  uint32_t entry_fresh, entry_free, entry_live;
  uint32_t buffer_fresh, buffer_free;
  uint32_t chunk_fresh, chunk_free, chunk_live;
  uint32_t dims_fresh, dims_free;
  uint32_t sweep;        /* the entry to look at next */
  uint32_t swept, ended; /* looks since so many tasks have ended */
  uint32_t last_buffer;
  map_memo memo[1 << MEMO_BITS];
};

static uint32_t power_of_two(uint32_t at_least) {
  return at_least <= 2 ? 2 : UINT32_C(1) << (32 - __builtin_clz(at_least - 1));
}

size_t task_map_size(uint32_t entries) {
  size_t records = entries + 1, heads = power_of_two(entries);
  return base_whole_lines(sizeof(task_map)) + base_whole_lines(records * sizeof(map_entry)) +
         2 * base_whole_lines(heads * sizeof(uint32_t)) + base_whole_lines(records * sizeof(map_buffer)) +
         base_whole_lines(records * sizeof(map_link)) + base_whole_lines(records * sizeof(reader_chunk)) +
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
  map->chunks = carve(&at, records * sizeof(reader_chunk));
  map->dims = carve(&at, records * sizeof(task_dim[TASK_REGION_DIMS]));
  map->capacity = entries;
  map->mask = (uint32_t)heads - 1;
  map->entry_fresh = map->buffer_fresh = map->chunk_fresh = map->dims_fresh = 1;
  map->sweep = 1;
  map->buffers[0].base = NO_BASE; /* of entries that are free */
  return map;
}

uint32_t task_map_live(const task_map *map) { return map->entry_live; }

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* 2^64 over the golden ratio: spreads what differs in any bit */

static uint64_t mix(uint64_t value) { return value * GOLDEN >> 32; }

/* Neighbouring cells get neighbouring heads: a sweep over tiles walks the table in order. */
static uint32_t cell_hash(const task_map *map, uint32_t buffer, uint64_t cell) {
  return (uint32_t)(mix(buffer) + cell) & map->mask;
}

static void entry_region(const task_map *map, const map_entry *entry, task_region *region) {
  region->offset = entry->offset;
  region->run = entry->run;
  region->ndim = entry->shape & SHAPE_NDIM;
  const task_dim *dims = map->dims[entry->shape >> SHAPE_DIMS];
  for (uint32_t d = 0; d < region->ndim; d++) region->dims[d] = dims[d];
}

static uint32_t cell_of(const map_buffer *buffer, const task_region *region) {
  if (__builtin_expect(buffer->cell.ndim | region->ndim, 0)) return task_region_cell(&buffer->cell, region);
  return task_region_run_cell(buffer->cell.run, buffer->inverse, region->offset, region->run);
}

/* The list head that an entry of this region hangs from. */
static uint32_t *list_of(task_map *map, uint32_t buffer, const task_region *region) {
  uint32_t cell = cell_of(&map->buffers[buffer], region);
  return cell == TASK_NO_CELL ? &map->buffers[buffer].wide : &map->cells[cell_hash(map, buffer, cell)];
}

/* A block is known by its handle, not by where it lies: the memory of a block that is gone may be another block's now,
** which must not inherit the failures of the old one. */
static uint64_t identity(const task_access *access) {
  if (!access->block) return access->base;
  return UINT64_C(1) << 63 | (uint64_t)access->generation << 32 | access->block;
}

static map_memo *memo_of(task_map *map, uint64_t base, uint64_t offset, uint32_t *tag) {
  uint64_t hash = (base + offset) * GOLDEN;
  *tag = (uint32_t)(hash >> 16);
  return &map->memo[hash >> (64 - MEMO_BITS)];
}

static uint32_t find_buffer(task_map *map, uint64_t base) {
  if (map->last_buffer && map->buffers[map->last_buffer].base == base) return map->last_buffer;
  uint32_t index = map->buffer_heads[mix(base) & map->mask];
  while (index && map->buffers[index].base != base) index = map->buffers[index].next;
  if (index) map->last_buffer = index;
  return index;
}

/* A buffer record with the first region of the buffer as its grid. There are as many records as entries, and each
** buffer in use has an entry, so one is always free. */
static uint32_t add_buffer(task_map *map, uint64_t base, const task_region *region) {
  uint32_t index = map->buffer_free, *head = &map->buffer_heads[mix(base) & map->mask];
  if (index)
    map->buffer_free = map->buffers[index].next;
  else
    index = map->buffer_fresh++;
  map_buffer *buffer = &map->buffers[index];
  *buffer =
      (map_buffer){.base = base, .next = *head, .inverse = task_region_inverse(region->run), .cell = *region};
  *head = index;
  map->last_buffer = index;
  return index;
}

static void remove_buffer(task_map *map, uint32_t index) {
  uint32_t *link = &map->buffer_heads[mix(map->buffers[index].base) & map->mask];
  while (*link != index) link = &map->buffers[*link].next;
  *link = map->buffers[index].next;
  map->buffers[index].base = 0;
  map->buffers[index].next = map->buffer_free;
  map->buffer_free = index;
  if (map->last_buffer == index) map->last_buffer = 0;
}

APART static void free_chunks(task_map *map, map_entry *entry) {
  uint32_t first = entry->chunk, chunk = first;
  do {
    uint32_t next = map->chunks[chunk].next;
    map->chunks[chunk].next = map->chunk_free;
    map->chunk_free = chunk;
    map->chunk_live--;
    chunk = next;
  } while (chunk != first);
  entry->chunk = 0;
}

static void unlink_entry(task_map *map, uint32_t index) {
  map_entry *entry = &map->entries[index];
  task_region region;
  entry_region(map, entry, &region);
  uint32_t *link = list_of(map, entry->buffer, &region);
  while (*link != index) link = &map->entries[*link].next;
  *link = entry->next;
}

static void remove_entry(task_map *map, uint32_t index) {
  map_entry *entry = &map->entries[index];
  unlink_entry(map, index);
  if (entry->chunk) free_chunks(map, entry);
  if (entry->shape & SHAPE_NDIM) {
    map->dims[entry->shape >> SHAPE_DIMS][0].stride = map->dims_free;
    map->dims_free = entry->shape >> SHAPE_DIMS;
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
  if (--map->buffers[buffer].count == 0) remove_buffer(map, buffer);
}

/* True if a later task may have to wait for this one, or fail because it failed. */
static int name_matters(const task_window *window, task_name name) {
  if (!name.sequence) return 0;
  if (window->residents[name.slot].sequence == name.sequence) return 1;
  const task_failures *failures = &window->failures;
  return failures->count && !failures->all && task_failures_find(failures, name.sequence);
}

static int entry_dead(const task_map *map, const task_window *window, const map_entry *entry) {
  if (name_matters(window, entry->writer)) return 0;
  for (int i = 0; i < OWN_READERS; i++)
    if (name_matters(window, entry->readers[i])) return 0;
  uint32_t first = entry->chunk, chunk = first;
  if (first) do {
      for (int i = 0; i < CHUNK_READERS; i++)
        if (name_matters(window, map->chunks[chunk].readers[i])) return 0;
      chunk = map->chunks[chunk].next;
    } while (chunk != first);
  return 1;
}

APART static void sweep(task_map *map, const task_window *window, uint32_t steps) {
  map->swept += steps;
  while (steps--) {
    if (map->sweep >= map->entry_fresh) map->sweep = 1;
    if (map->sweep >= map->entry_fresh) return;
    uint32_t index = map->sweep++;
    if (map->entries[index].buffer && entry_dead(map, window, &map->entries[index])) remove_entry(map, index);
  }
}

/* False if all entries have been looked at since the last task ended. */
static int worth_sweeping(task_map *map, const task_window *window) {
  uint32_t ended = window->sequence - window->live;
  if (map->ended != ended) {
    map->ended = ended;
    map->swept = 0;
  }
  return map->swept < map->entry_fresh;
}

static int has_room(const task_map *map, uint32_t accesses) {
  return map->capacity - map->entry_live >= accesses && map->capacity - map->chunk_live >= accesses;
}

int task_map_reserve(task_map *map, const task_window *window, uint32_t accesses) {
  if (__builtin_expect(has_room(map, accesses), 1)) return 1;
  sweep(map, window, map->entry_fresh);
  return has_room(map, accesses);
}

/* Many entries are forgotten by forgetting the heads that they hang from. */
static void remove_all(task_map *map) {
  memset(map->cells, 0, ((size_t)map->mask + 1) * sizeof *map->cells);
  for (uint32_t index = 1; index < map->buffer_fresh; index++)
    map->buffer_heads[mix(map->buffers[index].base) & map->mask] = 0;
  map->entry_live = map->chunk_live = map->last_buffer = 0;
}

void task_map_reset(task_map *map) {
  if (map->entry_live > map->mask / RESET_SHARE)
    remove_all(map);
  else
    for (uint32_t index = 1; map->entry_live; index++)
      if (map->entries[index].buffer) remove_entry(map, index);
  memset(map->memo, 0, sizeof map->memo);
  map->entry_fresh = map->buffer_fresh = map->chunk_fresh = map->dims_fresh = map->sweep = 1;
  map->entry_free = map->buffer_free = map->chunk_free = map->dims_free = 0;
}

/* Lays the grid of a buffer anew with the extents of `region`. */
static void lay_grid(task_map *map, uint32_t buffer, const task_region *region) {
  map_buffer *record = &map->buffers[buffer];
  for (uint32_t index = record->entries; index; index = map->links[index].after) unlink_entry(map, index);
  record->cell = *region;
  record->inverse = task_region_inverse(region->run);
  record->wasted = 0;
  for (uint32_t index = record->entries; index; index = map->links[index].after) {
    task_region other;
    entry_region(map, &map->entries[index], &other);
    uint32_t *head = list_of(map, buffer, &other);
    map->entries[index].next = *head;
    map->entries[index].shape &= ~(uint32_t)SHAPE_ALONE;
    *head = index;
  }
}

static int same_extents(const task_region *a, const task_region *b) {
  task_region moved = *a;
  moved.offset = b->offset;
  return task_region_equal(&moved, b);
}

APART static int same_dims(const task_map *map, const map_entry *entry, const task_region *region) {
  task_region other;
  entry_region(map, entry, &other);
  return task_region_equal(&other, region);
}

static inline int same_region(const task_map *map, const map_entry *entry, const task_region *region) {
  if (entry->offset != region->offset || entry->run != region->run ||
      (entry->shape & SHAPE_NDIM) != region->ndim)
    return 0;
  return !region->ndim || same_dims(map, entry, region);
}

/* The entry of exactly this region, if it was found lately. */
static inline uint32_t recall(const task_map *map, const map_memo *memo, uint32_t tag, uint64_t base,
                              const task_region *region) {
  if (memo->tag != tag) return 0;
  const map_entry *entry = &map->entries[memo->entry];
  return map->buffers[entry->buffer].base == base && same_region(map, entry, region) ? memo->entry : 0;
}

APART static void depend_readers(task_map *map, task_window *window, const map_entry *entry) {
  for (int i = 0; i < OWN_READERS; i++)
    if (entry->readers[i].sequence)
      task_window_depend(window, entry->readers[i].slot, entry->readers[i].sequence);
  uint32_t first = entry->chunk, chunk = first;
  if (first) do {
      for (int i = 0; i < CHUNK_READERS; i++)
        if (map->chunks[chunk].readers[i].sequence)
          task_window_depend(window, map->chunks[chunk].readers[i].slot,
                             map->chunks[chunk].readers[i].sequence);
      chunk = map->chunks[chunk].next;
    } while (chunk != first);
}

static int has_readers(const map_entry *entry) { return entry->readers[0].sequence != 0; }

/* The edges that one overlapping entry gives. */
static inline void infer_entry(task_map *map, task_window *window, const map_entry *entry, uint32_t mode) {
  if (mode & TASK_WRITES) {
    if (has_readers(entry)) {
      if (KEEP_WRITE_AFTER_READ) depend_readers(map, window, entry);
      return;
    }
    if (!KEEP_WRITE_AFTER_WRITE && !(mode & TASK_READS)) return;
  }
  if (!KEEP_READ_AFTER_WRITE && (mode & TASK_READS)) return;
  if (entry->writer.sequence) task_window_depend(window, entry->writer.slot, entry->writer.sequence);
}

/* Looks at one entry of the buffer; true if it was in vain. */
static int look(task_map *map, task_window *window, const task_access *access, uint32_t index,
                uint32_t *known) {
  const map_entry *entry = &map->entries[index];
  if (same_region(map, entry, &access->region)) {
    *known = index;
  } else {
    task_region other;
    entry_region(map, entry, &other);
    if (!KEEP_PARTIAL_OVERLAP || !task_region_overlaps(&access->region, &other)) return 1;
  }
  infer_entry(map, window, entry, access->mode);
  return 0;
}

/* A region that fits no cell may overlap any entry of the buffer. */
static uint32_t look_at_all(task_map *map, task_window *window, const task_access *access,
                            const map_buffer *buffer, uint32_t *known) {
  uint32_t wasted = 0;
  for (uint32_t index = buffer->entries; index; index = map->links[index].after)
    wasted += (uint32_t)look(map, window, access, index, known);
  return wasted;
}

static uint32_t look_in_cell(task_map *map, task_window *window, const task_access *access, uint32_t buffer,
                             uint32_t head, uint32_t *known) {
  uint32_t wasted = 0, found = 0;
  for (uint32_t index = head; index; index = map->entries[index].next) {
    if (map->entries[index].buffer != buffer) continue;
    wasted += (uint32_t)look(map, window, access, index, known);
    found++;
  }
  if (*known && found == 1) map->entries[*known].shape |= SHAPE_ALONE;
  for (uint32_t index = map->buffers[buffer].wide; index; index = map->entries[index].next)
    wasted += (uint32_t)look(map, window, access, index, known);
  return wasted;
}

/* The grid is laid anew when it has cost more than that costs. */
static void count_wasted(task_map *map, uint32_t buffer, const task_region *region, uint32_t wasted) {
  map_buffer *record = &map->buffers[buffer];
  record->wasted += wasted;
  if (record->wasted <= 64 + 4 * (uint64_t)record->count) return;
  if (same_extents(&record->cell, region))
    record->wasted = 0;
  else
    lay_grid(map, buffer, region);
}

/* As task_map_infer; returns the entry of exactly this region, or 0. */
APART static uint32_t search(task_map *map, task_window *window, const task_access *access, uint64_t base) {
  uint32_t buffer = find_buffer(map, base), known = 0, wasted;
  if (!buffer) return 0;
  uint32_t cell = cell_of(&map->buffers[buffer], &access->region);
  if (cell == TASK_NO_CELL)
    wasted = look_at_all(map, window, access, &map->buffers[buffer], &known);
  else
    wasted = look_in_cell(map, window, access, buffer, map->cells[cell_hash(map, buffer, cell)], &known);
  if (__builtin_expect(wasted != 0, 0)) count_wasted(map, buffer, &access->region, wasted);
  return known;
}

void task_map_infer(task_map *map, task_window *window, const task_access *access) {
  if (!access->mode || !access->region.run) return;
  uint32_t tag;
  uint64_t base = identity(access);
  map_memo *memo = memo_of(map, base, access->region.offset, &tag);
  uint32_t index = recall(map, memo, tag, base, &access->region);
  const map_entry *entry = &map->entries[index];
  if (__builtin_expect(entry->shape & SHAPE_ALONE && !map->buffers[entry->buffer].wide, 1)) {
    infer_entry(map, window, entry, access->mode);
    return;
  }
  index = search(map, window, access, base);
  if (index) *memo = (map_memo){tag, index};
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
  if (region->ndim) {
    uint32_t dims = map->dims_free;
    if (dims)
      map->dims_free = (uint32_t)map->dims[dims][0].stride;
    else
      dims = map->dims_fresh++;
    memcpy(map->dims[dims], region->dims, region->ndim * sizeof(task_dim));
    entry->shape = dims << SHAPE_DIMS | region->ndim;
  }
  map->links[index] = (map_link){.after = record->entries};
  if (record->entries) map->links[record->entries].before = index;
  record->entries = index;
  record->count++;
  map->entry_live++;
  return index;
}

/* The entry of exactly this region, made if need be. Whatever else of the buffer is in its list is not alone. */
static uint32_t claim_entry(task_map *map, uint32_t buffer, const task_region *region) {
  uint32_t *head = list_of(map, buffer, region), alone = head != &map->buffers[buffer].wide ? SHAPE_ALONE : 0;
  for (uint32_t index = *head; index; index = map->entries[index].next) {
    if (map->entries[index].buffer != buffer) continue;
    if (same_region(map, &map->entries[index], region)) return index;
    map->entries[index].shape &= ~(uint32_t)SHAPE_ALONE;
    alone = 0;
  }
  uint32_t index = add_entry(map, buffer, region, head);
  map->entries[index].shape |= alone;
  return index;
}

static void remove_if_covered(task_map *map, uint32_t index, const task_region *region) {
  task_region other;
  entry_region(map, &map->entries[index], &other);
  if (task_region_covers(region, &other)) remove_entry(map, index);
}

/* A write has waited for everything that it covers: those entries order nothing any more. */
APART static void take_over(task_map *map, uint32_t buffer, const task_region *region, uint32_t own) {
  uint32_t next, cell = cell_of(&map->buffers[buffer], region);
  if (cell == TASK_NO_CELL) {
    for (uint32_t index = map->buffers[buffer].entries; index; index = next) {
      next = map->links[index].after;
      if (index != own) remove_if_covered(map, index, region);
    }
    return;
  }
  for (uint32_t index = map->cells[cell_hash(map, buffer, cell)]; index; index = next) {
    next = map->entries[index].next;
    if (index != own && map->entries[index].buffer == buffer) remove_if_covered(map, index, region);
  }
}

/* Takes the place of a dead reader in one of the next few chunks of the ring; else the search goes on behind them. */
static int reuse_place(task_map *map, const task_window *window, map_entry *entry, task_name reader) {
  for (int turn = 0; turn < LOOK_CHUNKS; turn++) {
    reader_chunk *chunk = &map->chunks[entry->chunk];
    for (int i = 0; i < CHUNK_READERS; i++)
      if (!name_matters(window, chunk->readers[i])) {
        chunk->readers[i] = reader;
        return 1;
      }
    entry->chunk = chunk->next;
  }
  return 0;
}

static void add_chunk(task_map *map, map_entry *entry, task_name reader) {
  uint32_t chunk = map->chunk_free;
  if (chunk)
    map->chunk_free = map->chunks[chunk].next;
  else
    chunk = map->chunk_fresh++;
  map->chunk_live++;
  map->chunks[chunk] = (reader_chunk){.readers = {reader}, .next = chunk};
  if (entry->chunk) {
    map->chunks[chunk].next = map->chunks[entry->chunk].next;
    map->chunks[entry->chunk].next = chunk;
  }
  entry->chunk = chunk;
}

APART static void add_to_chunks(task_map *map, const task_window *window, map_entry *entry,
                                task_name reader) {
  if (!entry->chunk || !reuse_place(map, window, entry, reader)) add_chunk(map, entry, reader);
}

static inline void add_reader(task_map *map, const task_window *window, map_entry *entry, task_name reader) {
  for (int i = 0; i < OWN_READERS; i++) {
    if (entry->readers[i].sequence == reader.sequence) return;
    if (!name_matters(window, entry->readers[i])) {
      entry->readers[i] = reader;
      return;
    }
  }
  add_to_chunks(map, window, entry, reader);
}

/* The entry of a region that was not found lately, made if need be. */
static uint32_t find_entry(task_map *map, uint64_t base, const task_region *region) {
  uint32_t buffer = find_buffer(map, base);
  if (!buffer) buffer = add_buffer(map, base, region);
  return claim_entry(map, buffer, region);
}

/* As task_map_record, in the entry of the access. */
static inline void record_in(task_map *map, task_window *window, const task_access *access, uint32_t slot,
                             uint32_t index) {
  map_entry *entry = &map->entries[index];
  task_name name = {slot, window->residents[slot].sequence};
  if (access->mode & TASK_WRITES) {
    if (entry->chunk) free_chunks(map, entry);
    memset(entry->readers, 0, sizeof entry->readers);
    entry->writer = name;
    if (!(entry->shape & SHAPE_ALONE)) take_over(map, entry->buffer, &access->region, index);
  } else if (entry->writer.slot != slot || entry->writer.sequence != name.sequence) {
    add_reader(map, window, entry, name);
  }
}

APART static void record_anew(task_map *map, task_window *window, const task_access *access, uint32_t slot,
                              uint64_t base) {
  uint32_t tag, live = map->entry_live, index = find_entry(map, base, &access->region);
  map_memo *memo = memo_of(map, base, access->region.offset, &tag);
  *memo = (map_memo){tag, index};
  record_in(map, window, access, slot, index);
  if (map->entry_live > live && map->entry_live > map->capacity / SWEEP_SHARE && worth_sweeping(map, window))
    sweep(map, window, SWEEP_STEP);
}

void task_map_record(task_map *map, task_window *window, const task_access *access, uint32_t slot) {
  if (!access->mode || !access->region.run) return;
  uint32_t tag;
  uint64_t base = identity(access);
  const map_memo *memo = memo_of(map, base, access->region.offset, &tag);
  uint32_t index = recall(map, memo, tag, base, &access->region);
  if (__builtin_expect(index != 0, 1))
    record_in(map, window, access, slot, index);
  else
    record_anew(map, window, access, slot, base);
}
