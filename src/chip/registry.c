#include "base/memory.h"
#include "chip/worker.h"
#include <stdio.h>
#include <string.h>

enum { FIRST_IMAGES = 64 }; /* a power of two */

void chip_registry_close(chip_registry *registry) {
  for (uint32_t i = 0; i < registry->count; i++) baton_program_close(registry->items[i].program);
  base_free(registry->items);
  base_free(registry->images);
  *registry = (chip_registry){.image_count = registry->image_count};
}

/* --- Images --------------------------------------------------------------------------------------------- */

/* Where the function is, or the free place for it. */
static baton_kernel_function *find_image(baton_kernel_function *images, uint32_t capacity,
                                         baton_kernel_function function) {
  uint64_t bits = 0;
  memcpy(&bits, &function, sizeof function);
  uint32_t place = (uint32_t)(bits * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (capacity - 1);
  while (images[place] && images[place] != function) place = (place + 1) & (capacity - 1);
  return &images[place];
}

/* Room for one more, at most half full; false when memory is out. */
static int reserve_image(chip_registry *registry) {
  if (2 * registry->image_count < registry->image_capacity) return 1;
  uint32_t capacity = registry->image_capacity ? 2 * registry->image_capacity : FIRST_IMAGES;
  baton_kernel_function *images = base_calloc(capacity, sizeof *images);
  if (!images) return 0;
  for (uint32_t i = 0; i < registry->image_capacity; i++)
    if (registry->images[i]) *find_image(images, capacity, registry->images[i]) = registry->images[i];
  base_free(registry->images);
  registry->images = images;
  registry->image_capacity = capacity;
  return 1;
}

void chip_registry_upload(chip_registry *registry, const baton_program *program) {
  for (uint32_t i = 0; i < chip_program_kernel_count(program) && reserve_image(registry); i++) {
    baton_kernel_function function = chip_program_kernel(program, i)->function;
    baton_kernel_function *place = find_image(registry->images, registry->image_capacity, function);
    registry->image_count += *place == NULL;
    *place = function;
  }
}

/* --- The same content ----------------------------------------------------------------------------------- */

static int same_texts(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static int same_parameter(const chip_parameter *a, const chip_parameter *b) {
  if (!same_texts(a->name, b->name) || a->direction != b->direction || a->dtypes != b->dtypes ||
      a->has_shape != b->has_shape || a->ndim != b->ndim)
    return 0;
  for (int32_t d = 0; d < a->ndim; d++) {
    const chip_dim *x = &a->shape[d], *y = &b->shape[d];
    if (x->kind != y->kind || x->argument != y->argument || x->dim != y->dim || x->size != y->size ||
        !same_texts(x->name, y->name))
      return 0;
  }
  return 1;
}

static int same_signature(const chip_signature *a, const chip_signature *b) {
  if (!a || !b) return a == b;
  if (a->count != b->count) return 0;
  for (uint32_t i = 0; i < a->count; i++)
    if (!same_parameter(&a->items[i], &b->items[i])) return 0;
  return 1;
}

/* Equal bytes are loaded once, so equal functions are equal code. */
static int same_kernel(const chip_kernel *a, const chip_kernel *b) {
  return same_texts(a->name, b->name) && a->core == b->core && a->strided == b->strided &&
         a->function == b->function && same_signature(a->signature, b->signature);
}

/* Both are compiled. A graph has state that nobody can compare: it is like itself only. */
static int same_program(const baton_program *a, const baton_program *b) {
  if (a == b) return 1;
  if (chip_program_is_host(a) != chip_program_is_host(b)) return 0;
  if (chip_program_is_host(a) && chip_program_host(a)->function != chip_program_host(b)->function) return 0;
  if (chip_program_is_graph(a) || chip_program_orchestrate(a) != chip_program_orchestrate(b)) return 0;
  if (!same_texts(baton_program_name(a), baton_program_name(b)) ||
      chip_program_kernel_count(a) != chip_program_kernel_count(b) ||
      !same_signature(chip_program_signature(a), chip_program_signature(b)))
    return 0;
  for (uint32_t i = 0; i < chip_program_kernel_count(a); i++)
    if (!same_kernel(chip_program_kernel(a, i), chip_program_kernel(b, i))) return 0;
  return 1;
}

/* --- Handles -------------------------------------------------------------------------------------------- */

static baton_handle handle_of(const chip_registry *registry, uint32_t i) {
  return (uint64_t)registry->items[i].generation << 32 | (i + 1);
}

/* The place of a program of the same content; else a free one; else one behind the last. */
static uint32_t find_place(const chip_registry *registry, const baton_program *program) {
  uint32_t free_place = registry->count;
  for (uint32_t i = registry->count; i-- > 0;) {
    if (!registry->items[i].program)
      free_place = i;
    else if (same_program(registry->items[i].program, program))
      return i;
  }
  return free_place;
}

baton_status chip_registry_add(chip_registry *registry, baton_program *program, baton_handle *out,
                               baton_error *err) {
  uint32_t i = find_place(registry, program);
  if (i == registry->capacity) {
    uint32_t capacity = i ? 2 * i : 8;
    chip_registration *items = base_realloc(registry->items, capacity * sizeof *items);
    if (!items) return base_out_of_memory(err, "the programs of a worker");
    registry->items = items;
    registry->capacity = capacity;
  }
  if (i == registry->count) registry->items[registry->count++] = (chip_registration){0};
  if (!registry->items[i].program) {
    registry->items[i].program = chip_program_hold(program);
    registry->items[i].generation++;
    chip_registry_upload(registry, program);
  }
  *out = handle_of(registry, i);
  return BATON_OK;
}

baton_status baton_worker_register(baton_worker *worker, baton_program *program, baton_handle *out,
                                   baton_error *err) {
  *out = 0;
  BATON_TRY(chip_worker_enter_quick(worker, err));
  baton_status status = baton_program_compile(program, err);
  if (status == BATON_OK && worker->elsewhere)
    status = worker->elsewhere->accept(worker->place, program, err);
  if (status == BATON_OK) {
    pthread_mutex_lock(&worker->lock);
    status = chip_registry_add(&worker->registry, program, out, err);
    pthread_mutex_unlock(&worker->lock);
  }
  chip_worker_leave(worker);
  return status;
}

/* The registration of a live handle. */
static baton_status find_handle(chip_registry *registry, baton_handle handle, chip_registration **out,
                                baton_error *err) {
  uint32_t i = (uint32_t)handle - 1, generation = (uint32_t)(handle >> 32);
  if (i >= registry->count || !generation || generation > registry->items[i].generation)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%llu is no handle of this worker",
                           (unsigned long long)handle);
  *out = &registry->items[i];
  if ((*out)->program && (*out)->generation == generation) return BATON_OK;
  int known = (*out)->generation == generation && (*out)->died[0];
  return baton_error_set(err, BATON_STALE_HANDLE, "the program was unregistered%s%s", known ? " at " : "",
                         known ? (*out)->died : "");
}

baton_status chip_registry_find(chip_registry *registry, baton_handle handle, baton_program **out,
                                baton_error *err) {
  chip_registration *found;
  *out = NULL;
  BATON_TRY(find_handle(registry, handle, &found, err));
  *out = chip_program_hold(found->program);
  return BATON_OK;
}

baton_status chip_registry_remove(chip_registry *registry, baton_handle handle, const char *where,
                                  baton_program **out, baton_error *err) {
  chip_registration *found;
  *out = NULL;
  BATON_TRY(find_handle(registry, handle, &found, err));
  *out = found->program;
  found->program = NULL;
  snprintf(found->died, sizeof found->died, "%s", where ? where : "");
  return BATON_OK;
}

baton_status baton_worker_program(baton_worker *worker, baton_handle handle, baton_program **out,
                                  baton_error *err) {
  *out = NULL;
  BATON_TRY(chip_worker_enter_quick(worker, err));
  pthread_mutex_lock(&worker->lock);
  baton_status status = chip_registry_find(&worker->registry, handle, out, err);
  pthread_mutex_unlock(&worker->lock);
  chip_worker_leave(worker);
  return status;
}

baton_status chip_worker_unregister(baton_worker *worker, baton_handle handle, const char *where,
                                    baton_error *err) {
  baton_program *program;
  BATON_TRY(chip_worker_enter_quick(worker, err));
  pthread_mutex_lock(&worker->lock);
  baton_status status = chip_registry_remove(&worker->registry, handle, where, &program, err);
  pthread_mutex_unlock(&worker->lock);
  chip_worker_leave(worker);
  baton_program_close(program);
  return status;
}

baton_status baton_worker_unregister(baton_worker *worker, baton_handle handle, baton_error *err) {
  return chip_worker_unregister(worker, handle, NULL, err);
}
