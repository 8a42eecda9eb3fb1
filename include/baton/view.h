/* baton/view.h - a strided window onto a buffer: what kernels and orchestrations see of a tensor. No libc. */
#ifndef BATON_VIEW_H
#define BATON_VIEW_H

#include <baton/dtype.h>

#define BATON_MAX_DIMS 8

#ifdef __cplusplus
#define BATON_ZERO \
  {}
#else
#define BATON_ZERO \
  { 0 }
#endif

/* A value type: copy it freely, it owns nothing. In a kernel `data` may be dereferenced; in an orchestration it is a
** device address that only Baton understands. */
typedef struct baton_view {
  void *data;                 /* the first element */
  uint64_t base;              /* where the buffer begins that it lies in; the identity of that buffer */
  uint32_t block, generation; /* runtime-owned memory: its block, and the block's use; 0: the caller's */
  uint8_t dtype;              /* baton_dtype; BATON_NO_DTYPE marks the result of a bad view operation */
  uint8_t ndim;               /* 0..8 */
  uint16_t
      mark; /* 1 + position of the argument of a record that it belongs to, while that is built; 0: none */
  uint32_t argument;               /* 1 + position of the program argument that it belongs to; 0: none */
  int64_t shape[BATON_MAX_DIMS];   /* elements */
  int64_t strides[BATON_MAX_DIMS]; /* elements; 0 repeats, negative runs backwards */
} baton_view;

static inline int64_t baton_view_numel(const baton_view *view) {
  int64_t numel = 1;
  for (int d = 0; d < view->ndim; d++) numel *= view->shape[d];
  return numel;
}

/* True if the elements lie one behind the other in C order. */
static inline int baton_view_contiguous(const baton_view *view) {
  int64_t expected = 1;
  for (int d = view->ndim - 1; d >= 0; d--) {
    if (view->shape[d] == 0) return 1;
    if (view->shape[d] != 1 && view->strides[d] != expected) return 0;
    expected *= view->shape[d];
  }
  return 1;
}

static inline baton_view baton_view_invalid(void) {
  baton_view view = BATON_ZERO;
  return view;
}

static inline void baton_view_move(baton_view *view, int64_t elements) {
  int64_t bytes = elements * (int64_t)baton_dtype_size((baton_dtype)view->dtype);
  view->data = (void *)((uintptr_t)view->data + (uintptr_t)bytes);
}

/* `count` elements of dimension `dim` from `first` on (from 0). What does not fit gives a view of BATON_NO_DTYPE,
** which every use refuses; so it is with all view operations. */
static inline baton_view baton_slice(baton_view view, int dim, int64_t first, int64_t count) {
  if (dim < 0 || dim >= view.ndim || first < 0 || count < 0 || first > view.shape[dim] - count)
    return baton_view_invalid();
  if (count > 0) baton_view_move(&view, first * view.strides[dim]);
  view.shape[dim] = count;
  return view;
}

/* A tile: firsts[d] and counts[d] for every dimension. */
static inline baton_view baton_tile(baton_view view, const int64_t *firsts, const int64_t *counts) {
  for (int d = 0, ndim = view.ndim; d < ndim && view.dtype; d++)
    view = baton_slice(view, d, firsts[d], counts[d]);
  return view;
}

/* Element `index` of dimension `dim`; that dimension goes away. */
static inline baton_view baton_select(baton_view view, int dim, int64_t index) {
  view = baton_slice(view, dim, index, 1);
  if (!view.dtype) return view;
  for (int d = dim; d + 1 < view.ndim; d++) {
    view.shape[d] = view.shape[d + 1];
    view.strides[d] = view.strides[d + 1];
  }
  view.ndim--;
  return view;
}

static inline baton_view baton_transpose(baton_view view, int dim1, int dim2) {
  if (dim1 < 0 || dim1 >= view.ndim || dim2 < 0 || dim2 >= view.ndim) return baton_view_invalid();
  int64_t shape = view.shape[dim1], stride = view.strides[dim1];
  view.shape[dim1] = view.shape[dim2];
  view.strides[dim1] = view.strides[dim2];
  view.shape[dim2] = shape;
  view.strides[dim2] = stride;
  return view;
}

/* The same elements under another shape; contiguous views only. */
static inline baton_view baton_reshape(baton_view view, int ndim, const int64_t *shape) {
  if (ndim < 0 || ndim > BATON_MAX_DIMS || !baton_view_contiguous(&view)) return baton_view_invalid();
  int64_t numel = 1, before = baton_view_numel(&view);
  for (int d = 0; d < ndim; d++) {
    if (shape[d] < 0 || (shape[d] > 0 && numel > INT64_MAX / shape[d])) return baton_view_invalid();
    numel *= shape[d];
  }
  if (numel != before) return baton_view_invalid();
  view.ndim = (uint8_t)ndim;
  for (int64_t d = ndim - 1, stride = 1; d >= 0; d--) {
    view.shape[d] = shape[d];
    view.strides[d] = stride;
    stride *= shape[d];
  }
  return view;
}

#endif
