/* task/map_state.h - the parts of a tensor map. Private to the files map*.c. */
#ifndef TASK_MAP_STATE_H
#define TASK_MAP_STATE_H

#include "task/map.h"

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
  MAP_OWN_READERS = 3,
  MAP_CHUNK_READERS = 7,
  MAP_MEMO_BITS = 10,
  MAP_FOUND = 16,
  MAP_NDIM = 15,  /* bits of `shape`: how many outer dimensions */
  MAP_ALONE = 16, /* surely no other entry of the buffer overlaps it */
  MAP_DIMS = 5    /* where the number of their record begins */
};

/* What is rarely needed stays out of the functions that every access goes through. */
#define MAP_APART __attribute__((noinline))

/* Counts the steps along a list of entries: a list that leads back to itself is our mistake, and ends the program rather
** than going round for ever. */
#ifdef NDEBUG
#define MAP_STEP(map, steps) ((void)(map), (void)(steps))
#else
#define MAP_STEP(map, steps) (++(steps) > (map)->capacity ? __builtin_trap() : (void)0)
#endif

#define MAP_NO_BASE UINT64_MAX /* no buffer has this identity */

typedef struct map_name {
  uint32_t slot, sequence;
} map_name;

/* One region. Index 0 is not used: 0 means none everywhere below. */
typedef struct map_entry {
  uint64_t offset, run;
  uint32_t buffer;                   /* 0: the entry is free */
  uint32_t next;                     /* in its cell's chain or the buffer's wide list; or in the free list */
  map_name writer;                   /* sequence 0: none */
  map_name readers[MAP_OWN_READERS]; /* since the writer; sequence 0: none */
  uint32_t chunk;                    /* more readers: one chunk of a ring of chunks */
  uint32_t shape;                    /* MAP_NDIM, MAP_ALONE, MAP_DIMS */
} map_entry;

_Static_assert(sizeof(map_entry) == BASE_CACHE_LINE, "an entry is one cache line");

/* Readers that do not fit into the entry. The chunks of an entry form a ring, so that the place to look for dead
** readers moves around: a region that is read for ever holds as many chunks as it has live readers. */
typedef struct map_chunk {
  map_name readers[MAP_CHUNK_READERS];
  uint32_t next;
  uint32_t reserved;
} map_chunk;

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

/* What task_map_infer has found for an access, for task_map_record. */
typedef struct map_found {
  _Alignas(32) const task_access *access; /* 32: its place is a shift and a mask */
  uint32_t entry;                         /* of exactly this region; 0: none */
  uint32_t buffer;                        /* without an entry: the buffer where it would be, or 0 */
  uint32_t changes; /* of the map then: what was found holds as long as there are no more */
  uint32_t cell;    /* with `buffer`: the head of its chain */
} map_found;

typedef struct map_buffer {
  BASE_ALIGNED uint64_t base;
  uint32_t next;    /* in its hash chain, or in the free list */
  uint32_t entries; /* list of all */
  uint32_t wide;    /* list of those that fit no cell; while there is one, no entry is alone */
  uint32_t count;
  uint64_t inverse; /* of the run of a cell */
  uint32_t first;   /* where the head of cell 0 is; task_map_head */
  task_region cell; /* extents of one cell; the offset is not used */
  uint64_t wasted;  /* looks at entries that did not overlap, since the grid was laid */
} map_buffer;

struct task_map {
  map_entry *entries;
  uint32_t *cells;        /* hash heads: entries */
  uint32_t *buffer_heads; /* hash heads: buffers */
  map_buffer *buffers;
  map_link *links;
  map_chunk *chunks;
  task_dim (*dims)[TASK_REGION_DIMS];
  uint32_t capacity, mask;
  uint32_t entry_fresh, entry_free, entry_live;
  uint32_t buffer_fresh, buffer_free;
  uint32_t chunk_fresh, chunk_free, chunk_live;
  uint32_t dims_fresh, dims_free;
  uint32_t changes;      /* entries that were removed and grids that were laid anew, in all */
  uint32_t sweep;        /* the entry to look at next */
  uint32_t swept, ended; /* looks since so many tasks have ended */
  BASE_ALIGNED map_found found[MAP_FOUND]; /* by the address of the access */
  BASE_ALIGNED map_memo memo[1 << MAP_MEMO_BITS];
};

/* 2^64 over the golden ratio: spreads what differs in any bit. */
#define MAP_GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static inline uint64_t task_map_mix(uint64_t value) { return value * MAP_GOLDEN >> 32; }

/* ---- map_grid.c ---- */

static inline uint32_t task_map_find_buffer(const task_map *map, uint64_t base) {
  uint32_t index = map->buffer_heads[task_map_mix(base) & map->mask];
  for (uint32_t steps = 0; index && map->buffers[index].base != base; index = map->buffers[index].next)
    MAP_STEP(map, steps);
  return index;
}

/* The number of the cell that holds the region, or TASK_NO_CELL. */
static inline uint32_t task_map_cell_of(const map_buffer *buffer, const task_region *region) {
  if (__builtin_expect(buffer->cell.ndim | region->ndim, 0)) return task_region_cell(&buffer->cell, region);
  return task_region_run_cell(buffer->cell.run, buffer->inverse, region->offset, region->run);
}

/* Where the chain of a cell begins. Neighbouring cells get neighbouring heads: a sweep over tiles walks the table in
** order. */
static inline uint32_t task_map_head(const task_map *map, const map_buffer *buffer, uint32_t cell) {
  return (buffer->first + cell) & map->mask;
}

void task_map_entry_region(const task_map *map, const map_entry *entry, task_region *region);

int task_map_same_dims(const task_map *map, const map_entry *entry, const task_region *region);

static inline int task_map_same_region(const task_map *map, const map_entry *entry,
                                       const task_region *region) {
  if (entry->offset != region->offset || entry->run != region->run ||
      (entry->shape & MAP_NDIM) != region->ndim)
    return 0;
  return !region->ndim || task_map_same_dims(map, entry, region);
}

/* The entry of exactly this region, made if need be. */
uint32_t task_map_claim(task_map *map, uint64_t base, const task_region *region);

/* The same where the buffer, and the head that the region hangs from, have been found. */
uint32_t task_map_claim_at(task_map *map, uint32_t buffer, uint32_t *head, const task_region *region);

void task_map_remove(task_map *map, uint32_t index);

/* Removes the other entries that this region covers. */
void task_map_take_over(task_map *map, uint32_t buffer, const task_region *region, uint32_t own);

/* Says that so many looks at entries of the buffer were in vain; may lay its grid anew with the extents of `region`. */
void task_map_count_wasted(task_map *map, uint32_t buffer, const task_region *region, uint32_t wasted);

/* ---- map_readers.c ---- */

/* True if a later task may have to wait for this one, or fail because it failed. */
static inline int task_map_name_matters(const task_window *window, map_name name) {
  if (!name.sequence) return 0;
  if (window->residents[name.slot].sequence == name.sequence) return 1;
  const task_failures *failures = &window->failures;
  return failures->count && !failures->all && task_failures_find(failures, name.sequence);
}

void task_map_depend_readers(const task_map *map, task_window *window, const map_entry *entry);

/* Adds a reader beyond those that an entry has room for. */
void task_map_add_to_chunks(task_map *map, const task_window *window, map_entry *entry, map_name reader);

void task_map_free_chunks(task_map *map, map_entry *entry);

/* True if no task that the entry names matters any more. */
int task_map_entry_dead(const task_map *map, const task_window *window, const map_entry *entry);

/* ---- map_sweep.c ---- */

/* After an entry was added. */
void task_map_sweep_a_little(task_map *map, const task_window *window);

#endif
