/* task/region.h - which bytes of a buffer an argument touches, and whether two such sets meet. Freestanding.
**
** A region is a run of bytes, repeated over at most 8 outer dimensions of descending strides. Every strided view of up
** to 8 dimensions has this form; contiguous dimensions melt into the run. */
#ifndef TASK_REGION_H
#define TASK_REGION_H

#include <stdint.h>

enum { TASK_REGION_DIMS = 8 };

typedef struct task_dim {
  uint64_t stride; /* bytes, more than the extent of what it repeats unless the view overlaps itself */
  uint64_t count;  /* 2 or more */
} task_dim;

typedef struct task_region {
  uint64_t offset; /* of the lowest byte, from the start of the buffer */
  uint64_t run;    /* bytes; 0: the region is empty */
  uint32_t ndim;   /* outer dimensions; 0: one run */
  task_dim dims[TASK_REGION_DIMS];
} task_region;

/* The region of a view: `offset` bytes from the start of the buffer to its first element, `ndim` (0..8) sizes and
** strides in elements of `element` bytes; strides may be 0 or negative. */
void task_region_make(task_region *region, uint64_t offset, uint32_t element, uint32_t ndim,
                      const int64_t *shape, const int64_t *strides);

/* One past the highest byte, from the start of the buffer. */
uint64_t task_region_end(const task_region *region);

int task_region_equal(const task_region *a, const task_region *b);

/* False only if no byte is in both. Exact for views of one layout, true when in doubt. */
int task_region_overlaps(const task_region *a, const task_region *b);

/* True only if every byte of `inner` is in `outer`. Exact for views of one layout, false when in doubt. */
int task_region_covers(const task_region *outer, const task_region *inner);

#define TASK_NO_CELL   UINT32_MAX
#define TASK_LAST_CELL (UINT32_MAX >> 1)

/* Lays a grid over the buffer whose cells have the extents of `cell` and start at byte 0, and returns the number of the
** cell that holds all bytes of `region`; TASK_NO_CELL if none does or it is in doubt. Each byte lies in one cell, so
** regions that overlap have the same number unless one has none; regions that do not may have the same number too. */
uint32_t task_region_cell(const task_region *cell, const task_region *region);

/* For task_region_run_cell; `size` is not 0. */
static inline uint64_t task_region_inverse(uint64_t size) { return UINT64_MAX / size; }

/* task_region_cell where cell and region are runs: one multiplication by the `inverse` of the cell's size. */
static inline uint32_t task_region_run_cell(uint64_t size, uint64_t inverse, uint64_t offset, uint64_t run) {
  __extension__ typedef unsigned __int128 wide;
  uint64_t number = (uint64_t)((wide)offset * inverse >> 64), inside = offset - number * size;
  int low = inside >= size; /* the inverse is rounded down: the product may lie just below a whole number */
  number += (uint64_t)low;
  inside -= low ? size : 0;
  if (inside + run > size) return TASK_NO_CELL;
  return (uint32_t)number & TASK_LAST_CELL;
}

#endif
