/* chip/registry.h - the programs that were registered with a worker or a node, and the kernels that it was given.
** Guarded by the lock of the worker. */
#ifndef CHIP_REGISTRY_H
#define CHIP_REGISTRY_H

#include "chip/buffer.h"
#include "chip/program/program.h"

/* A handle is the position + 1, and in its upper half the generation. */
typedef struct chip_registration {
  baton_program *program; /* its own hold; NULL: free */
  uint32_t generation;
  char died[CHIP_PLACE_TEXT]; /* where the last program was unregistered, in Lua; empty: unknown */
} chip_registration;

typedef struct chip_registry {
  chip_registration *items;
  uint32_t count, capacity;
  baton_kernel_function *images; /* open addressing; NULL: free */
  uint32_t image_count, image_capacity;
} chip_registry;

/* Forgets everything but how many images there were. */
void chip_registry_close(chip_registry *registry);

/* Counts the kernels of a compiled program that are new to the worker, each as one image. */
void chip_registry_upload(chip_registry *registry, const baton_program *program);

/* The handle of a compiled program; equal content has the same one. */
BATON_MUST_CHECK baton_status chip_registry_add(chip_registry *registry, baton_program *program,
                                                baton_handle *out, baton_error *err);
/* A hold of the program of a handle. */
BATON_MUST_CHECK baton_status chip_registry_find(chip_registry *registry, baton_handle handle,
                                                 baton_program **out, baton_error *err);
/* From now on the handle is stale; the registry's hold of the program passes to *out. */
BATON_MUST_CHECK baton_status chip_registry_remove(chip_registry *registry, baton_handle handle,
                                                   const char *where, baton_program **out, baton_error *err);

/* baton_worker_unregister that knows where in Lua it was called ("file:line"); NULL: unknown. */
baton_status chip_worker_unregister(baton_worker *worker, baton_handle handle, const char *where,
                                    baton_error *err);

#endif
