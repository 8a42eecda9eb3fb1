#include "task/region.h"

static void insert_dim(task_region *region, uint64_t stride, uint64_t count) {
  uint32_t at = region->ndim++;
  for (; at > 0 && region->dims[at - 1].stride < stride; at--) region->dims[at] = region->dims[at - 1];
  region->dims[at] = (task_dim){stride, count};
}

/* Inner dimensions that continue the run belong to it; so do outer ones that continue each other. */
static void melt(task_region *region) {
  while (region->ndim && region->dims[region->ndim - 1].stride == region->run)
    region->run *= region->dims[--region->ndim].count;
  uint32_t kept = 0;
  for (uint32_t d = 0; d < region->ndim; d++) {
    task_dim dim = region->dims[d];
    if (kept && region->dims[kept - 1].stride == dim.stride * dim.count) {
      region->dims[kept - 1] = (task_dim){dim.stride, dim.count * region->dims[kept - 1].count};
    } else {
      region->dims[kept++] = dim;
    }
  }
  region->ndim = kept;
}

void task_region_make(task_region *region, uint64_t offset, uint32_t element, uint32_t ndim,
                      const int64_t *shape, const int64_t *strides) {
  region->offset = offset;
  region->run = element;
  region->ndim = 0;
  for (uint32_t d = 0; d < ndim; d++) {
    if (shape[d] == 0) {
      region->run = 0;
      region->ndim = 0;
      return;
    }
    if (shape[d] == 1 || strides[d] == 0) continue;
    int64_t stride = strides[d] * (int64_t)element;
    if (stride < 0) {
      region->offset -= (uint64_t)-stride * (uint64_t)(shape[d] - 1);
      stride = -stride;
    }
    insert_dim(region, (uint64_t)stride, (uint64_t)shape[d]);
  }
  if (region->ndim) melt(region);
}

static uint64_t span(const task_region *region) {
  uint64_t bytes = region->run;
  for (uint32_t d = 0; d < region->ndim; d++) bytes += region->dims[d].stride * (region->dims[d].count - 1);
  return bytes;
}

uint64_t task_region_end(const task_region *region) { return region->offset + span(region); }

int task_region_equal(const task_region *a, const task_region *b) {
  if (a->offset != b->offset || a->run != b->run || a->ndim != b->ndim) return 0;
  for (uint32_t d = 0; d < a->ndim; d++)
    if (a->dims[d].stride != b->dims[d].stride || a->dims[d].count != b->dims[d].count) return 0;
  return 1;
}

/* A region as a box in a layout of nested strides: at level l it takes the positions [first, first + count). The last
** level is the byte in the innermost stride. */
typedef struct box {
  uint64_t first[2 * TASK_REGION_DIMS + 1], count[2 * TASK_REGION_DIMS + 1];
} box;

/* The strides of both regions, descending, each once. */
static uint32_t common_layout(const task_region *a, const task_region *b, uint64_t *strides) {
  uint32_t levels = 0, i = 0, j = 0;
  while (i < a->ndim || j < b->ndim) {
    uint64_t x = i < a->ndim ? a->dims[i].stride : 0, y = j < b->ndim ? b->dims[j].stride : 0;
    strides[levels++] = x > y ? x : y;
    if (x >= y) i++;
    if (y >= x) j++;
  }
  return levels;
}

/* True if a dimension goes through whole strides of an outer level, because a dimension of that stride has melted into
** it. */
static int spans(const task_dim *dim, uint64_t stride) {
  return stride % dim->stride == 0 && dim->stride * dim->count % stride == 0;
}

/* False if the region is no box in this layout: two positions of one level would then stand for the same byte. */
static int make_box(const task_region *region, const uint64_t *strides, uint32_t levels, box *out) {
  uint64_t rest = region->offset, run = region->run, before[2 * TASK_REGION_DIMS + 1];
  uint32_t dim = 0;
  task_dim left = region->ndim ? region->dims[0] : (task_dim){0, 0}; /* of dimension `dim` */
  for (uint32_t level = 0; level < levels; level++) {
    uint64_t stride = strides[level];
    before[level] = rest;
    out->first[level] = rest / stride;
    rest %= stride;
    out->count[level] = 1;
    if (dim < region->ndim && left.stride == stride) {
      out->count[level] = left.count;
      if (++dim < region->ndim) left = region->dims[dim];
      if (dim < region->ndim && left.stride == stride) return 0;
    } else if (dim < region->ndim && rest < left.stride && spans(&left, stride)) {
      out->count[level] = left.stride * left.count / stride;
      left.count = stride / left.stride;
    } else if (dim == region->ndim &&
               rest + run > stride) { /* the run itself spans this level: whole strides only */
      if (rest || run % stride) return 0;
      out->count[level] = run / stride;
      run = stride;
    }
  }
  out->first[levels] = rest;
  out->count[levels] = run;
  uint64_t extent = run;
  for (uint32_t level = levels; level > 0; level--) {
    uint64_t inside = level == levels ? rest : before[level];
    if (inside + extent > strides[level - 1]) return 0;
    extent += (out->count[level - 1] - 1) * strides[level - 1];
  }
  return 1;
}

int task_region_overlaps(const task_region *a, const task_region *b) {
  if (!a->run || !b->run) return 0;
  if (task_region_end(a) <= b->offset || task_region_end(b) <= a->offset) return 0;
  if (!a->ndim && !b->ndim) return 1;
  uint64_t strides[2 * TASK_REGION_DIMS];
  uint32_t levels = common_layout(a, b, strides);
  box x, y;
  if (!make_box(a, strides, levels, &x) || !make_box(b, strides, levels, &y)) return 1;
  for (uint32_t level = 0; level <= levels; level++)
    if (x.first[level] + x.count[level] <= y.first[level] ||
        y.first[level] + y.count[level] <= x.first[level])
      return 0;
  return 1;
}

int task_region_covers(const task_region *outer, const task_region *inner) {
  if (!inner->run) return 1;
  if (inner->offset < outer->offset || task_region_end(inner) > task_region_end(outer)) return 0;
  if (!outer->ndim || task_region_equal(outer, inner)) return 1;
  uint64_t strides[2 * TASK_REGION_DIMS];
  uint32_t levels = common_layout(outer, inner, strides);
  box x, y;
  if (!make_box(outer, strides, levels, &x) || !make_box(inner, strides, levels, &y)) return 0;
  for (uint32_t level = 0; level <= levels; level++)
    if (y.first[level] < x.first[level] || y.first[level] + y.count[level] > x.first[level] + x.count[level])
      return 0;
  return 1;
}

uint32_t task_region_cell(const task_region *cell, const task_region *region) {
  if (!cell->ndim && !region->ndim)
    return task_region_run_cell(cell->run, task_region_inverse(cell->run), region->offset, region->run);
  uint64_t rest = region->offset, number = 0, before[TASK_REGION_DIMS], counts[TASK_REGION_DIMS];
  uint32_t dim = 0;
  for (uint32_t d = 0; d < cell->ndim; d++) {
    uint64_t at = rest / cell->dims[d].stride, extent = cell->dims[d].count;
    before[d] = rest;
    counts[d] = 1;
    rest %= cell->dims[d].stride;
    if (dim < region->ndim && region->dims[dim].stride == cell->dims[d].stride)
      counts[d] = region->dims[dim++].count;
    if (at % extent + counts[d] > extent) return TASK_NO_CELL;
    number = number * 1021 + at / extent; /* a prime: rows of cells fall on different numbers */
  }
  if (dim < region->ndim || rest % cell->run + region->run > cell->run) return TASK_NO_CELL;
  /* no carry: what repeats at one level stays inside the stride above it */
  uint64_t extent = region->run;
  for (uint32_t d = cell->ndim; d > 0; d--) {
    uint64_t inside = d == cell->ndim ? rest : before[d];
    if (inside + extent > cell->dims[d - 1].stride) return TASK_NO_CELL;
    extent += (counts[d - 1] - 1) * cell->dims[d - 1].stride;
  }
  return (uint32_t)(number * 1021 + rest / cell->run) & TASK_LAST_CELL;
}
