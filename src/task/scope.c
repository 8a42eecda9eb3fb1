#include "task/scope.h"
#include "base/atomic.h"

static size_t records_size(uint32_t blocks) {
  return (((size_t)blocks + 1) * sizeof(task_block) + BASE_CACHE_LINE - 1) & ~(size_t)(BASE_CACHE_LINE - 1);
}

/* A free range may lie between any two blocks. */
static uint32_t range_count(uint32_t blocks) { return 2 * blocks + 1; }

size_t task_scopes_size(uint32_t blocks) {
  return records_size(blocks) + base_heap_records_size(range_count(blocks));
}

void task_scopes_init(task_scopes *scopes, void *memory, uint64_t bytes, uint64_t unit, uint32_t blocks) {
  scopes->blocks = memory;
  scopes->block_capacity = blocks + 1;
  scopes->block_fresh = 1;
  scopes->block_free = 0;
  scopes->last = 0;
  base_heap_init(&scopes->heap, bytes, unit, (char *)memory + records_size(blocks), range_count(blocks));
  task_scopes_reset(scopes, 0);
}

void task_scopes_reset(task_scopes *scopes, int all_manual) {
  scopes->depth = 0;
  scopes->all_manual = all_manual != 0;
  scopes->open[0] = (task_scope){.number = ++scopes->last, .manual = scopes->all_manual};
}

int task_scope_begin(task_scopes *scopes, int manual) {
  if (scopes->depth == TASK_SCOPE_DEPTH) return 0;
  scopes->open[++scopes->depth] =
      (task_scope){.number = ++scopes->last, .manual = manual || scopes->all_manual};
  return 1;
}

static void end_innermost(task_scopes *scopes) {
  task_scope *scope = &scopes->open[scopes->depth];
  for (uint32_t block = scope->blocks, next; block; block = next) {
    next = scopes->blocks[block].next;
    scopes->blocks[block].generation = 0;
    task_block_release(scopes, block);
  }
  *scope = (task_scope){.number = scope->number};
}

int task_scope_end(task_scopes *scopes) {
  if (!scopes->depth) return 0;
  end_innermost(scopes);
  scopes->depth--;
  return 1;
}

void task_scopes_end_all(task_scopes *scopes) {
  while (task_scope_end(scopes)) {
  }
  end_innermost(scopes);
}

uint32_t task_block_take(task_scopes *scopes, uint64_t bytes, uint64_t *offset) {
  uint32_t block = scopes->block_free ? scopes->block_free : scopes->block_fresh;
  if (block >= scopes->block_capacity) return 0;
  uint32_t range = base_heap_alloc(&scopes->heap, bytes, offset);
  if (!range) return 0;
  task_block *record = &scopes->blocks[block];
  if (scopes->block_free)
    scopes->block_free = record->next;
  else
    scopes->block_fresh++;
  task_scope *scope = &scopes->open[scopes->depth];
  *record = (task_block){.range = range, .generation = scope->number, .holders = 1, .next = scope->blocks};
  scope->blocks = block;
  scope->block_count++;
  scope->bytes += bytes;
  return block;
}

void task_block_release(task_scopes *scopes, uint32_t block) {
  task_block *record = &scopes->blocks[block];
  if (--record->holders) return;
  base_heap_free(&scopes->heap, record->range);
  record->range = 0;
  record->next = scopes->block_free;
  scopes->block_free = block;
}

const task_scope *task_scope_largest(const task_scopes *scopes) {
  const task_scope *largest = &scopes->open[0];
  for (uint32_t depth = 1; depth <= scopes->depth; depth++)
    if (scopes->open[depth].bytes > largest->bytes) largest = &scopes->open[depth];
  return largest;
}

const task_scope *task_scope_most_hidden(const task_scopes *scopes) {
  const task_scope *most = &scopes->open[0];
  for (uint32_t depth = 1; depth <= scopes->depth; depth++)
    if (scopes->open[depth].hidden > most->hidden) most = &scopes->open[depth];
  return most;
}
