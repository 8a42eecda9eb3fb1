#include "task/pool.h"
#include <string.h>

enum { PAGE_UNITS = TASK_POOL_PAGE / TASK_POOL_UNIT };

size_t task_pool_size(uint64_t bytes) {
  uint64_t pages = bytes / TASK_POOL_PAGE;
  return (size_t)(pages * TASK_POOL_PAGE + pages * sizeof(task_slab)) +
         base_heap_records_size((uint32_t)pages);
}

void task_pool_init(task_pool *pool, void *memory, uint64_t bytes) {
  uint64_t pages = bytes / TASK_POOL_PAGE;
  memset(pool, 0, sizeof *pool);
  pool->memory = memory;
  pool->slabs = (task_slab *)(void *)(pool->memory + pages * TASK_POOL_PAGE);
  base_heap_init(&pool->pages, pages * TASK_POOL_PAGE, TASK_POOL_PAGE, pool->slabs + pages, (uint32_t)pages);
}

static void list_insert(task_pool *pool, uint32_t page) {
  task_slab *slab = &pool->slabs[page];
  uint32_t *head = &pool->partial[slab->class];
  slab->before = 0;
  slab->after = *head;
  slab->listed = 1;
  if (*head) pool->slabs[*head - 1].before = page + 1;
  *head = page + 1;
}

static void list_remove(task_pool *pool, uint32_t page) {
  task_slab *slab = &pool->slabs[page];
  if (slab->after) pool->slabs[slab->after - 1].before = slab->before;
  if (slab->before)
    pool->slabs[slab->before - 1].after = slab->after;
  else
    pool->partial[slab->class] = slab->after;
  slab->listed = 0;
}

/* Each class keeps a slab at hand even when it is empty; under pressure those go too. */
static void trim(task_pool *pool) {
  for (uint32_t class = 1; class <= TASK_POOL_CLASSES; class ++)
    for (uint32_t link = pool->partial[class], next; link; link = next) {
      next = pool->slabs[link - 1].after;
      if (pool->slabs[link - 1].live) continue;
      list_remove(pool, link - 1);
      base_heap_free(&pool->pages, pool->slabs[link - 1].range);
    }
}

/* The page at which `bytes` of whole pages begin, or UINT32_MAX. */
static uint32_t take_pages(task_pool *pool, uint32_t bytes, uint16_t class) {
  uint64_t offset;
  uint32_t range = base_heap_alloc(&pool->pages, bytes, &offset);
  if (!range) {
    trim(pool);
    range = base_heap_alloc(&pool->pages, bytes, &offset);
    if (!range) return UINT32_MAX;
  }
  uint32_t page = (uint32_t)(offset / TASK_POOL_PAGE);
  pool->slabs[page] = (task_slab){.range = range, .class = class};
  return page;
}

static uint32_t take_piece(task_pool *pool, uint16_t class) {
  if (!pool->partial[class]) {
    uint32_t page = take_pages(pool, TASK_POOL_PAGE, class);
    if (page == UINT32_MAX) return UINT32_MAX;
    list_insert(pool, page);
  }
  uint32_t page = pool->partial[class] - 1, unit;
  task_slab *slab = &pool->slabs[page];
  if (slab->free) {
    unit = slab->free - 1;
    memcpy(&slab->free, task_pool_at(pool, page * PAGE_UNITS + unit), sizeof slab->free);
  } else {
    unit = slab->fresh;
    slab->fresh = (uint16_t)(slab->fresh + class);
  }
  slab->live++;
  if (!slab->free && slab->fresh + class > PAGE_UNITS) list_remove(pool, page);
  return page * PAGE_UNITS + unit;
}

uint32_t task_pool_take(task_pool *pool, uint32_t bytes) {
  uint32_t class = bytes ? (bytes - 1) / TASK_POOL_UNIT + 1 : 1;
  if (class <= TASK_POOL_CLASSES) return take_piece(pool, (uint16_t) class);
  uint32_t page = take_pages(pool, bytes, 0);
  return page == UINT32_MAX ? UINT32_MAX : page * PAGE_UNITS;
}

void task_pool_give(task_pool *pool, uint32_t unit) {
  uint32_t page = unit / PAGE_UNITS;
  task_slab *slab = &pool->slabs[page];
  if (!slab->class) {
    base_heap_free(&pool->pages, slab->range);
    return;
  }
  memcpy(task_pool_at(pool, unit), &slab->free, sizeof slab->free);
  slab->free = unit % PAGE_UNITS + 1;
  slab->live--;
  if (!slab->listed) list_insert(pool, page);
  if (slab->live || (!slab->before && !slab->after))
    return; /* in use, or the only one with room: kept at hand */
  list_remove(pool, page);
  base_heap_free(&pool->pages, slab->range);
}
