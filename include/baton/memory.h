/* baton/memory.h - the allocator behind every object of Baton. */
#ifndef BATON_MEMORY_H
#define BATON_MEMORY_H

#include <baton/error.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Resizes `block` to `size` bytes; block == NULL allocates, size == 0 frees and returns NULL. Returns NULL when memory
** is out and then leaves `block` as it was. Called from any thread. */
typedef void *(*baton_allocator)(void *context, void *block, size_t size);

/* Replaces malloc for the host-side objects of Baton (tensor and device memory come from memory segments instead).
** Only before the first other call of Baton; NULL restores malloc. */
void baton_set_allocator(baton_allocator allocator, void *context);

#ifdef __cplusplus
}
#endif
#endif
