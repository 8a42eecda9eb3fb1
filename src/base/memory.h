/* base/memory.h - host-side objects: small blocks through the replaceable allocator of baton/memory.h. Any thread. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <baton/memory.h>

/* Not cleared. NULL when memory is out. */
void *base_alloc(size_t size);
/* `count` cleared elements of `size` bytes; NULL when memory is out or the product overflows. */
void *base_calloc(size_t count, size_t size);
/* NULL when memory is out; `block` then stays as it was. */
void *base_realloc(void *block, size_t size);
void base_free(void *block);
/* A copy of `text`; NULL for NULL and when memory is out. */
char *base_strdup(const char *text);

/* The error of a failed base_alloc: "no memory for WHAT". */
baton_status base_out_of_memory(baton_error *err, const char *what);

#endif
