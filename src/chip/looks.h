/* chip/looks.h - what the building of a graph looked at: the same again means the same graph again.
**
** The arguments: types, shapes, placement, aliasing, and the values of scalars; elements that were read while building;
** elements that were stored, to be stored again. Addresses are not among them. One thread at a time. */
#ifndef CHIP_LOOKS_H
#define CHIP_LOOKS_H

#include "chip/binding.h"

/* One argument. */
typedef struct chip_look {
  int tensor, child; /* child: it lies in memory of the user's, on the device */
  baton_dtype dtype;
  int32_t ndim;
  int64_t shape[BATON_MAX_DIMS], strides[BATON_MAX_DIMS];
  uint32_t alias;   /* 1 + the first argument that shares bytes with it; 0: none */
  int64_t distance; /* bytes from the start of that one */
  uint64_t scalar;  /* its bits … */
  int opaque;       /* … unless only tasks were handed it, by baton_scalar_param */
} chip_look;

/* One element that was read or stored while building. */
typedef struct chip_touch {
  uint32_t argument, bytes;
  int stored, reserved;
  uint64_t offset, value;
} chip_touch;

typedef struct chip_looks {
  chip_look *arguments;
  chip_touch *touches;
  uint32_t count, touch_count, touch_room;
} chip_looks;

/* The arguments of a run. False when memory is out. */
int chip_looks_open(chip_looks *looks, const chip_bindings *bindings);
void chip_looks_close(chip_looks *looks);

/* An element of an argument, after it was read or stored. False when memory is out. */
int chip_looks_add(chip_looks *looks, const chip_bindings *bindings, const baton_view *element, int stored);

/* Scalar `argument` (from 1) is handed on unseen. NULL is ignored. */
void chip_looks_ignore_scalar(chip_looks *looks, uint32_t argument);

/* True if building over these arguments would look at the same. */
int chip_looks_same(const chip_looks *looks, const chip_bindings *bindings);

/* Stores again what the building stored. */
void chip_looks_replay(const chip_looks *looks, const chip_bindings *bindings);

#endif
