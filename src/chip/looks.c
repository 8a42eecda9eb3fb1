#include "chip/looks.h"
#include "base/memory.h"
#include <string.h>

/* The first argument that shares bytes of the device with argument `i`; 0: none. */
static uint32_t alias_of(const chip_bindings *bindings, uint32_t i, int64_t *distance) {
  const chip_binding *self = &bindings->items[i];
  *distance = 0;
  for (uint32_t j = 0; j < i && self->bytes; j++) {
    const chip_binding *other = &bindings->items[j];
    if (!other->bytes || other->address >= self->address + self->bytes ||
        self->address >= other->address + other->bytes)
      continue;
    *distance = (int64_t)(self->address - other->address);
    return j + 1;
  }
  return 0;
}

static chip_look look_at(const chip_bindings *bindings, uint32_t i) {
  const chip_binding *binding = &bindings->items[i];
  chip_look look = {.tensor = binding->argument.view != NULL, .dtype = (baton_dtype)binding->argument.dtype};
  if (!look.tensor) {
    look.scalar = binding->argument.value.u64;
    return look;
  }
  look.child = binding->tensor == NULL;
  look.ndim = binding->view.ndim;
  memcpy(look.shape, binding->view.shape, (size_t)look.ndim * sizeof *look.shape);
  memcpy(look.strides, binding->view.strides, (size_t)look.ndim * sizeof *look.strides);
  look.alias = alias_of(bindings, i, &look.distance);
  return look;
}

int chip_looks_open(chip_looks *looks, const chip_bindings *bindings) {
  *looks = (chip_looks){.count = bindings->count};
  looks->arguments = base_calloc(bindings->count, sizeof *looks->arguments);
  if (!looks->arguments) return 0;
  for (uint32_t i = 0; i < bindings->count; i++) looks->arguments[i] = look_at(bindings, i);
  return 1;
}

void chip_looks_close(chip_looks *looks) {
  base_free(looks->arguments);
  base_free(looks->touches);
  *looks = (chip_looks){0};
}

static const char *byte_of(const chip_bindings *bindings, const chip_touch *touch) {
  return bindings->items[touch->argument].kernel_bytes + touch->offset;
}

int chip_looks_add(chip_looks *looks, const chip_bindings *bindings, const baton_view *element, int stored) {
  if (looks->touch_count == looks->touch_room) {
    uint32_t room = looks->touch_room ? 2 * looks->touch_room : 16;
    chip_touch *touches = base_realloc(looks->touches, room * sizeof *touches);
    if (!touches) return 0;
    looks->touches = touches;
    looks->touch_room = room;
  }
  chip_touch *touch = &looks->touches[looks->touch_count++];
  *touch = (chip_touch){.argument = element->argument - 1,
                        .bytes = (uint32_t)baton_dtype_size((baton_dtype)element->dtype),
                        .stored = stored != 0,
                        .offset = (uintptr_t)element->data - element->base};
  memcpy(&touch->value, byte_of(bindings, touch), touch->bytes);
  return 1;
}

void chip_looks_ignore_scalar(chip_looks *looks, uint32_t argument) {
  if (looks) looks->arguments[argument - 1].opaque = 1;
}

static int same_argument(const chip_look *look, const chip_look *now) {
  if (look->tensor != now->tensor || look->dtype != now->dtype) return 0;
  if (!look->tensor) return look->opaque || look->scalar == now->scalar;
  return look->child == now->child && look->ndim == now->ndim && look->alias == now->alias &&
         look->distance == now->distance &&
         memcmp(look->shape, now->shape, (size_t)look->ndim * sizeof *look->shape) == 0 &&
         memcmp(look->strides, now->strides, (size_t)look->ndim * sizeof *look->strides) == 0;
}

/* What was stored is not compared: it is stored again. A later read of a stored element reads that value. */
static int same_touches(const chip_looks *looks, const chip_bindings *bindings) {
  for (uint32_t i = 0; i < looks->touch_count; i++) {
    const chip_touch *touch = &looks->touches[i];
    int own = touch->stored != 0;
    for (uint32_t j = 0; j < i && !own; j++)
      own = looks->touches[j].stored && looks->touches[j].argument == touch->argument &&
            looks->touches[j].offset < touch->offset + touch->bytes &&
            touch->offset < looks->touches[j].offset + looks->touches[j].bytes;
    if (!own && memcmp(&touch->value, byte_of(bindings, touch), touch->bytes) != 0) return 0;
  }
  return 1;
}

int chip_looks_same(const chip_looks *looks, const chip_bindings *bindings) {
  if (looks->count != bindings->count) return 0;
  for (uint32_t i = 0; i < looks->count; i++) {
    chip_look now = look_at(bindings, i);
    if (!same_argument(&looks->arguments[i], &now)) return 0;
  }
  return same_touches(looks, bindings);
}

void chip_looks_replay(const chip_looks *looks, const chip_bindings *bindings) {
  for (uint32_t i = 0; i < looks->touch_count; i++) {
    const chip_touch *touch = &looks->touches[i];
    if (touch->stored)
      memcpy(bindings->items[touch->argument].kernel_bytes + touch->offset, &touch->value, touch->bytes);
  }
}
