/* base/heap.h - hands out ranges of a region that it never touches. Freestanding.
**
** Constant time, any order of frees, neighbours coalesce. Only offsets are managed: the region may lie on a device or
** in a file. Free ranges sit in size classes of about 12 % width with two levels of bit maps, so that the first class
** that can hold a request is found with two bit scans; only when there is none, the list of the class below is searched.
** One thread at a time. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

enum { BASE_HEAP_CLASSES = 64 * 8, BASE_HEAP_NONE = 0 };

/* One range, free or used. */
typedef struct base_heap_range {
  uint64_t offset, size;   /* units */
  uint32_t before, after;  /* neighbours in the region; 0: none */
  uint32_t previous, next; /* in its free list */
  uint32_t used, reserved;
} base_heap_range;

typedef struct base_heap {
  uint64_t capacity, used, high, unit; /* bytes; `high`: the most ever used; sizes are multiples of `unit` */
  uint64_t level1;
  uint8_t level2[64];
  uint32_t classes[BASE_HEAP_CLASSES];
  base_heap_range *ranges;                       /* ranges[0] is not used */
  uint32_t range_count, range_fresh, range_free; /* capacity; first never used; list of free records */
  uint32_t live;                                 /* ranges handed out */
} base_heap;

/* Bytes of records for at most `ranges` ranges (free ones count too). */
size_t base_heap_records_size(uint32_t ranges);

/* Manages [0, capacity) in multiples of `unit` (a power of two). `records` has room for `ranges` and stays the caller's. */
void base_heap_init(base_heap *heap, uint64_t capacity, uint64_t unit, void *records, uint32_t ranges);

/* Forgets everything that was handed out. `high` stays. */
void base_heap_reset(base_heap *heap);

/* Hands out `size` bytes at *offset. Returns the range, or BASE_HEAP_NONE if no free range is large enough or the
** records are used up. size == 0 counts as one unit. */
uint32_t base_heap_alloc(base_heap *heap, uint64_t size, uint64_t *offset);

/* The same at a given offset, a multiple of the unit. Looks through all ranges: for a region whose contents are known. */
uint32_t base_heap_alloc_at(base_heap *heap, uint64_t offset, uint64_t size);

void base_heap_free(base_heap *heap, uint32_t range);

/* The largest request that would succeed now, in bytes. */
uint64_t base_heap_largest(const base_heap *heap);

#endif
