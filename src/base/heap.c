#include "base/heap.h"

/* Size class of `size` units: 8 classes for each power of two. A range goes into the class whose lower bound it reaches
** (floor); a request looks from the first class whose lower bound covers it (ceil). */
static uint32_t class_floor(uint64_t size) {
  if (size < 8) return (uint32_t)size;
  uint32_t exponent = 63u - (uint32_t)__builtin_clzll(size);
  return (exponent - 2) * 8 + (uint32_t)((size >> (exponent - 3)) & 7);
}

static uint32_t class_ceil(uint64_t size) {
  uint32_t index = class_floor(size);
  if (size < 8) return index;
  uint32_t exponent = index / 8 + 2;
  return index + ((size & (((uint64_t)1 << (exponent - 3)) - 1)) != 0);
}

static void list_insert(base_heap *heap, uint32_t index) {
  base_heap_range *range = &heap->ranges[index];
  uint32_t class = class_floor(range->size), head = heap->classes[class];
  range->used = 0;
  range->previous = 0;
  range->next = head;
  if (head) heap->ranges[head].previous = index;
  heap->classes[class] = index;
  heap->level2[class / 8] |= (uint8_t)(1u << class % 8);
  heap->level1 |= (uint64_t)1 << class / 8;
}

static void list_remove(base_heap *heap, uint32_t index) {
  base_heap_range *range = &heap->ranges[index];
  uint32_t class = class_floor(range->size);
  if (range->next) heap->ranges[range->next].previous = range->previous;
  if (range->previous) {
    heap->ranges[range->previous].next = range->next;
    return;
  }
  heap->classes[class] = range->next;
  if (range->next) return;
  heap->level2[class / 8] &= (uint8_t) ~(1u << class % 8);
  if (!heap->level2[class / 8]) heap->level1 &= ~((uint64_t)1 << class / 8);
}

static uint32_t record_take(base_heap *heap) {
  uint32_t index = heap->range_free;
  if (index)
    heap->range_free = heap->ranges[index].next;
  else if (heap->range_fresh < heap->range_count)
    index = heap->range_fresh++;
  return index;
}

static void record_give(base_heap *heap, uint32_t index) {
  heap->ranges[index].next = heap->range_free;
  heap->range_free = index;
}

size_t base_heap_records_size(uint32_t ranges) { return ((size_t)ranges + 1) * sizeof(base_heap_range); }

void base_heap_init(base_heap *heap, uint64_t capacity, uint64_t unit, void *records, uint32_t ranges) {
  heap->unit = unit;
  heap->capacity = capacity & ~(unit - 1);
  heap->high = 0;
  heap->ranges = records;
  heap->range_count = ranges + 1;
  base_heap_reset(heap);
}

void base_heap_reset(base_heap *heap) {
  heap->used = 0;
  heap->live = 0;
  heap->level1 = 0;
  for (uint32_t i = 0; i < sizeof heap->level2; i++) heap->level2[i] = 0;
  for (uint32_t i = 0; i < BASE_HEAP_CLASSES; i++) heap->classes[i] = 0;
  heap->range_fresh = 1;
  heap->range_free = 0;
  if (!heap->capacity) return;
  uint32_t whole = record_take(heap);
  heap->ranges[whole] = (base_heap_range){.size = heap->capacity / heap->unit};
  list_insert(heap, whole);
}

/* The first class from `class` on that has a free range; BASE_HEAP_CLASSES: none. */
static uint32_t class_search(const base_heap *heap, uint32_t class) {
  if (class >= BASE_HEAP_CLASSES) return BASE_HEAP_CLASSES;
  uint32_t row = class / 8, bits = heap->level2[row] & (0xffu << class % 8) & 0xffu;
  if (bits) return row * 8 + (uint32_t)__builtin_ctz(bits);
  uint64_t rows = row == 63 ? 0 : heap->level1 & (UINT64_MAX << (row + 1));
  if (!rows) return BASE_HEAP_CLASSES;
  row = (uint32_t)__builtin_ctzll(rows);
  return row * 8 + (uint32_t)__builtin_ctz(heap->level2[row]);
}

/* A range of the class below the rounded-up one may fit too. All are looked at: a refusal must mean that none does. */
static uint32_t search_near(const base_heap *heap, uint64_t units) {
  uint32_t index = heap->classes[class_floor(units)];
  while (index && heap->ranges[index].size < units) index = heap->ranges[index].next;
  return index;
}

/* Cuts what is more than `units` off the end of a range. Without a record for the rest the range stays whole. */
static void split(base_heap *heap, uint32_t index, uint64_t units) {
  base_heap_range *range = &heap->ranges[index];
  if (range->size == units) return;
  uint32_t rest = record_take(heap);
  if (!rest) return;
  heap->ranges[rest] = (base_heap_range){
      .offset = range->offset + units, .size = range->size - units, .before = index, .after = range->after};
  if (range->after) heap->ranges[range->after].before = rest;
  range->after = rest;
  range->size = units;
  list_insert(heap, rest);
}

static uint64_t units_of(const base_heap *heap, uint64_t size) {
  return size ? (size + heap->unit - 1) / heap->unit : 1;
}

/* Hands out the first `units` of a range that is out of the free lists. */
static void take(base_heap *heap, uint32_t index, uint64_t units) {
  split(heap, index, units);
  heap->ranges[index].used = 1;
  heap->used += heap->ranges[index].size * heap->unit;
  heap->live++;
  if (heap->used > heap->high) heap->high = heap->used;
}

uint32_t base_heap_alloc(base_heap *heap, uint64_t size, uint64_t *offset) {
  if (size > heap->capacity) return BASE_HEAP_NONE;
  uint64_t units = units_of(heap, size);
  uint32_t class = class_search(heap, class_ceil(units));
  uint32_t index = class < BASE_HEAP_CLASSES ? heap->classes[class] : search_near(heap, units);
  if (!index) return BASE_HEAP_NONE;
  list_remove(heap, index);
  take(heap, index, units);
  *offset = heap->ranges[index].offset * heap->unit;
  return index;
}

/* The record of the lowest range is the first that was ever used: what is joined keeps the lower one. */
uint32_t base_heap_alloc_at(base_heap *heap, uint64_t offset, uint64_t size) {
  if (size > heap->capacity || offset > heap->capacity - size || offset % heap->unit) return BASE_HEAP_NONE;
  uint64_t first = offset / heap->unit, units = units_of(heap, size);
  uint32_t index = 1;
  while (index && heap->ranges[index].offset + heap->ranges[index].size <= first)
    index = heap->ranges[index].after;
  if (!index || heap->ranges[index].used) return BASE_HEAP_NONE;
  const base_heap_range *range = &heap->ranges[index];
  uint64_t before = first - range->offset;
  if (range->size - before < units) return BASE_HEAP_NONE;
  list_remove(heap, index);
  if (before) {
    uint32_t rest;
    split(heap, index, before);
    list_insert(heap, index);
    if (heap->ranges[index].size != before) return BASE_HEAP_NONE; /* no record for the rest */
    rest = heap->ranges[index].after;
    list_remove(heap, rest);
    index = rest;
  }
  take(heap, index, units);
  return index;
}

/* Joins `index` and the range after it, which must both be out of the free lists. */
static void join(base_heap *heap, uint32_t index) {
  base_heap_range *range = &heap->ranges[index];
  uint32_t after = range->after;
  range->size += heap->ranges[after].size;
  range->after = heap->ranges[after].after;
  if (range->after) heap->ranges[range->after].before = index;
  record_give(heap, after);
}

void base_heap_free(base_heap *heap, uint32_t index) {
  base_heap_range *range = &heap->ranges[index];
  heap->used -= range->size * heap->unit;
  heap->live--;
  if (range->after && !heap->ranges[range->after].used) {
    list_remove(heap, range->after);
    join(heap, index);
  }
  uint32_t before = range->before;
  if (before && !heap->ranges[before].used) {
    list_remove(heap, before);
    join(heap, before);
    index = before;
  }
  list_insert(heap, index);
}

uint64_t base_heap_largest(const base_heap *heap) {
  if (!heap->level1) return 0;
  uint32_t row = 63u - (uint32_t)__builtin_clzll(heap->level1);
  uint32_t class = row * 8 + 31u - (uint32_t)__builtin_clz(heap->level2[row]);
  uint64_t largest = 0;
  for (uint32_t index = heap->classes[class]; index; index = heap->ranges[index].next)
    if (heap->ranges[index].size > largest) largest = heap->ranges[index].size;
  return largest * heap->unit;
}
