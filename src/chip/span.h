/* chip/span.h - tensors in memory that a user was handed as a whole: child memory, of a chip or of a node. Any thread. */
#ifndef CHIP_SPAN_H
#define CHIP_SPAN_H

#include <baton/error.h>
#include <baton/view.h>

/* What its views have in common. */
typedef struct chip_memory {
  uint64_t base, bytes;
  uint32_t generation;
} chip_memory;

/* A contiguous view from byte `offset` on. `invalid_argument`, `out_of_range`. */
BATON_MUST_CHECK baton_status chip_memory_tensor(const chip_memory *memory, baton_dtype dtype, int ndim,
                                                 const int64_t *shape, uint64_t offset, baton_view *out,
                                                 baton_error *err);

/* Where the first byte of a view lies in the memory, and how far it reaches. `invalid_argument` for a view of something
** else, `out_of_range` for one that does not fit. */
BATON_MUST_CHECK baton_status chip_memory_span(const chip_memory *memory, const baton_view *view,
                                               uint64_t *first, uint64_t *bytes, baton_error *err);

/* "bytes [first,end) of a buffer of n". */
baton_status chip_memory_refuse(uint64_t nbytes, uint64_t first, uint64_t end, baton_error *err);

#endif
