#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

static void *system_allocator(void *context, void *block, size_t size) {
  (void)context;
  if (size == 0) {
    free(block);
    return NULL;
  }
  return realloc(block, size);
}

static baton_allocator current = system_allocator;
static void *current_context;

void baton_set_allocator(baton_allocator allocator, void *context) {
  current = allocator ? allocator : system_allocator;
  current_context = allocator ? context : NULL;
}

void *base_alloc(size_t size) { return current(current_context, NULL, size ? size : 1); }

void *base_calloc(size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  void *block = base_alloc(count * size);
  if (block) memset(block, 0, count * size);
  return block;
}

void *base_realloc(void *block, size_t size) { return current(current_context, block, size ? size : 1); }

void base_free(void *block) {
  if (block) current(current_context, block, 0);
}

char *base_strdup(const char *text) {
  if (!text) return NULL;
  size_t size = strlen(text) + 1;
  char *copy = base_alloc(size);
  if (copy) memcpy(copy, text, size);
  return copy;
}

baton_status base_out_of_memory(baton_error *err, const char *what) {
  return baton_error_set(err, BATON_OUT_OF_MEMORY, "no memory for %s", what);
}
