#include "chip/program/arena.h"
#include "base/memory.h"
#include <string.h>

struct chip_arena_block {
  struct chip_arena_block *before;
  max_align_t bytes[];
};

void *chip_arena_alloc(chip_arena *arena, size_t size) {
  struct chip_arena_block *block = base_calloc(1, sizeof *block + size);
  if (!block) {
    arena->failed = 1;
    return NULL;
  }
  block->before = arena->last;
  arena->last = block;
  return block->bytes;
}

const char *chip_arena_text(chip_arena *arena, const char *text) {
  if (!text) return NULL;
  size_t size = strlen(text) + 1;
  char *copy = chip_arena_alloc(arena, size);
  return copy ? memcpy(copy, text, size) : NULL;
}

const char *const *chip_arena_texts(chip_arena *arena, const char *const *texts) {
  size_t count = 0;
  if (!texts) return NULL;
  while (texts[count]) count++;
  const char **copy = chip_arena_alloc(arena, (count + 1) * sizeof *copy);
  for (size_t i = 0; copy && i < count; i++) copy[i] = chip_arena_text(arena, texts[i]);
  return copy;
}

void chip_arena_free(chip_arena *arena) {
  while (arena->last) {
    struct chip_arena_block *block = arena->last;
    arena->last = block->before;
    base_free(block);
  }
}
