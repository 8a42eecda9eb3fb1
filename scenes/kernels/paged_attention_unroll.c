/* paged_attention_unroll.c - scores and weighted values of many blocks of keys in one task. The task gets the whole cache
** and the part of the block table that says where its blocks are; `count` keys of them belong to the sequence. */
#include "paged_attention.h"
#include <baton/kernel.h>

/* Keys or values, [blocks, block, 1, size], and the numbers of the blocks that belong to the task. */
typedef struct cache {
  const char *data;
  const int32_t *numbers;
  int64_t block, size, block_bytes;
} cache;

/* Checks what the kernels rely on: the query tile fits a core, and all blocks exist. */
static cache cache_of(const baton_args *args, uint32_t cache_at, uint32_t numbers_at, int64_t rows) {
  const baton_view *view = baton_arg_tensor(args, cache_at);
  cache c = {view->data, baton_in(args, numbers_at, int32_t), view->shape[1], view->shape[3], 0};
  c.block_bytes = c.block * c.size * (int64_t)baton_dtype_size((baton_dtype)view->dtype);
  if (rows > MOST_ROWS || c.size > MOST_SIZE)
    baton_kernel_fail(args, "a query of %lld rows of %lld elements, at most %d of %d fit a core",
                      (long long)rows, (long long)c.size, MOST_ROWS, MOST_SIZE);
  for (int64_t i = 0; i < baton_numel(args, numbers_at); i++)
    if (c.numbers[i] < 0 || c.numbers[i] >= view->shape[0])
      baton_kernel_fail(args, "the block table has block %d, there are blocks 0 to %lld", (int)c.numbers[i],
                        (long long)view->shape[0] - 1);
  return c;
}

static const void *block_at(const cache *c, int64_t key) {
  return c->data + c->numbers[key / c->block] * c->block_bytes;
}

/* query [rows, size], key cache, numbers, scores [keys, padded], count */
static inline void scores_of_blocks(const baton_args *args, int wide) {
  const baton_view *query = baton_arg_tensor(args, 0);
  int64_t rows = query->shape[0], count = baton_scalar_i64(args, 4);
  cache keys = cache_of(args, 1, 2, rows);
  float *scores = baton_out(args, 3, float);
  for (int64_t key = 0; key < count; key += keys.block)
    attention_scores(query->data, rows, keys.size, block_at(&keys, key), smaller(keys.block, count - key),
                     wide, scores + key * padded(rows));
}

BATON_KERNEL(scores_of_blocks_f32) { scores_of_blocks(args, 1); }
BATON_KERNEL(scores_of_blocks_bf16) { scores_of_blocks(args, 0); }

/* weights [keys, padded], value cache, numbers, result [rows, size], count */
static inline void values_of_blocks(const baton_args *args, int wide) {
  const char *weights = baton_arg_tensor(args, 0)->data;
  int64_t rows = baton_size(args, 3, 0), count = baton_scalar_i64(args, 4);
  int64_t key_bytes = padded(rows) * (wide ? (int64_t)sizeof(float) : (int64_t)sizeof(baton_bf16));
  cache values = cache_of(args, 1, 2, rows);
  for (int64_t key = 0; key < count; key += values.block)
    attention_values(weights + key * key_bytes, block_at(&values, key), rows, values.size,
                     smaller(values.block, count - key), wide, key > 0, baton_out(args, 3, float));
}

BATON_KERNEL(values_of_blocks_f32) { values_of_blocks(args, 1); }
BATON_KERNEL(values_of_blocks_bf16) { values_of_blocks(args, 0); }
