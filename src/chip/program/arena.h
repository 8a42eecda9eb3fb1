/* chip/program/arena.h - blocks that are freed together. All zero is an empty one. One thread at a time. */
#ifndef CHIP_ARENA_H
#define CHIP_ARENA_H

#include <stddef.h>

typedef struct chip_arena {
  struct chip_arena_block *last;
  int failed; /* memory was out at least once */
} chip_arena;

/* Cleared and aligned for any type; NULL when memory is out. */
void *chip_arena_alloc(chip_arena *arena, size_t size);
/* A copy; NULL for NULL. */
const char *chip_arena_text(chip_arena *arena, const char *text);
/* A copy of a list that ends with NULL; NULL for NULL. */
const char *const *chip_arena_texts(chip_arena *arena, const char *const *texts);
void chip_arena_free(chip_arena *arena);

#endif
