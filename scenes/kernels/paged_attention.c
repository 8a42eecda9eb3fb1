/* paged_attention.c - the four kernels of paged attention over one block of keys: scores and weighted values on matrix
** cores, softmax and update on vector cores. `count` is how many keys of the block belong to the sequence. */
#include "paged_attention.h"
#include <baton/kernel.h>

/* How many rows and elements a head the query tile of argument `i` has; both must fit the local memory of a kernel. */
static void check_tile(const baton_args *args, int64_t rows, int64_t size) {
  if (rows > MOST_ROWS || size > MOST_SIZE)
    baton_kernel_fail(args, "a query of %lld rows of %lld elements, at most %d of %d fit a core",
                      (long long)rows, (long long)size, MOST_ROWS, MOST_SIZE);
}

/* query [rows, size], keys [block, size], scores [block, padded], count */
static inline void scores(const baton_args *args, int wide) {
  const baton_view *query = baton_arg_tensor(args, 0), *keys = baton_arg_tensor(args, 1);
  check_tile(args, query->shape[0], query->shape[1]);
  attention_scores(query->data, query->shape[0], query->shape[1], keys->data, baton_scalar_i64(args, 3), wide,
                   baton_out(args, 2, float));
}

BATON_KERNEL(scores_f32) { scores(args, 1); }
BATON_KERNEL(scores_bf16) { scores(args, 0); }

/* scores [block, padded], weights [block, padded], maximum [padded], sum [padded], count, scale */
static inline void softmax(const baton_args *args, int wide) {
  attention_softmax(baton_in(args, 0, float), baton_size(args, 0, 1), baton_scalar_i64(args, 4),
                    baton_scalar_f32(args, 5), wide, baton_arg_tensor(args, 1)->data,
                    baton_out(args, 2, float), baton_out(args, 3, float));
}

BATON_KERNEL(softmax_f32) { softmax(args, 1); }
BATON_KERNEL(softmax_bf16) { softmax(args, 0); }

/* weights [block, padded], values [block, size], result [rows, size], count */
static inline void values(const baton_args *args, int wide) {
  int64_t rows = baton_size(args, 2, 0), size = baton_size(args, 2, 1);
  check_tile(args, rows, size);
  attention_values(baton_arg_tensor(args, 0)->data, baton_arg_tensor(args, 1)->data, rows, size,
                   baton_scalar_i64(args, 3), wide, 0, baton_out(args, 2, float));
}

BATON_KERNEL(values_f32) { values(args, 1); }
BATON_KERNEL(values_bf16) { values(args, 0); }

/* maximum, sum, result of the block; maximum, sum, result so far; out [rows, size]; first, last */
BATON_KERNEL(update) {
  int64_t rows = baton_size(args, 2, 0), size = baton_size(args, 2, 1);
  attention_state block = {(float *)baton_in(args, 0, float), (float *)baton_in(args, 1, float),
                           (float *)baton_in(args, 2, float)};
  attention_state state = {baton_io(args, 3, float), baton_io(args, 4, float), baton_io(args, 5, float)};
  check_tile(args, rows, size);
  attention_update(&block, rows, size, baton_scalar_i64(args, 7) != 0, &state);
  if (baton_scalar_i64(args, 8)) attention_finish(&state, rows, size, baton_out(args, 6, float));
}
