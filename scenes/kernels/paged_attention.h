/* paged_attention.h - the arithmetic of attention over one block of keys, on plain arrays: four steps that
** paged_attention.c and paged_attention_unroll.c make kernels of.
**
** Scores and weights lie transposed, [key][row] with the rows padded to a multiple of PADDING: a vector then holds one
** key's values for all rows of the query, so the maximum and the sum over keys run down the vectors and no step adds up
** the lanes of one. Rows beyond the last are computed from zeros and dropped.
**
** Elements are f32, or bf16 computed in f32; `wide` below is true for f32. Callers pass it as a constant. */
#ifndef PAGED_ATTENTION_H
#define PAGED_ATTENTION_H

#include <baton/dtype.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

enum {
  PADDING = 16,      /* of rows; every LANES divides it */
  KEYS = 8,          /* keys in registers while scores are computed */
  ROWS = 8,          /* rows of results in registers while values are added up, */
  WIDTH = 2 * LANES, /* and columns: two vectors */
  DEPTH = 128,       /* keys whose values are added up at a time */
  AHEAD = 16,        /* keys from the fetch of a value to its use: no hardware foresees columns */
  MOST_ROWS = 128,   /* of a query tile */
  MOST_SIZE = 512    /* elements of a head */
};

/* A loop of its own: inlined among others it would lose its vectors to the stack. */
#define INNERMOST static __attribute__((noinline))

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t lanes_bits __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint16_t lanes_half __attribute__((vector_size(LANES * sizeof(uint16_t))));

static inline int64_t padded(int64_t rows) { return (rows + PADDING - 1) / PADDING * PADDING; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* --- Vectors ---------------------------------------------------------------------------------------------------- */

static inline lanes load(const float *from) {
  lanes value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

static inline void store(float *to, lanes value) { __builtin_memcpy(to, &value, sizeof value); }

static inline lanes select_lanes(lanes_bits mask, lanes yes, lanes no) {
  return (lanes)(((lanes_bits)yes & mask) | ((lanes_bits)no & ~mask));
}

static inline lanes larger(lanes a, lanes b) { return select_lanes(a > b, a, b); }

/* Nearest even; finite values only. */
static inline lanes_bits round_to_bf16(lanes value) {
  lanes_bits bits = (lanes_bits)value;
  return bits + 0x7fff + ((bits >> 16) & 1);
}

static inline lanes load_bf16(const baton_bf16 *from) {
  lanes_half half;
  __builtin_memcpy(&half, from, sizeof half);
  return (lanes)(__builtin_convertvector(half, lanes_bits) << 16);
}

static inline void store_bf16(baton_bf16 *to, lanes_bits rounded) {
  lanes_half half = __builtin_convertvector((rounded >> 16) & 0xffff, lanes_half);
  __builtin_memcpy(to, &half, sizeof half);
}

/* e^x for x <= 0, to about 2 units in the last place; below -87 it stays at e^-87. x = n ln 2 + r, the polynomial is
** Taylor's for |r| <= ln 2 / 2, and 2^n is added to the exponent. */
static inline lanes exp_lanes(lanes x) {
  const float shift =
      12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, which then lies in the low bits */
  x = larger(x, (lanes){0} - 87.0f);
  lanes shifted = x * 1.44269504f + shift, n = shifted - shift;
  lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
  lanes sum = r * (1 / 5040.0f) + 1 / 720.0f;
  sum = sum * r + 1 / 120.0f;
  sum = sum * r + 1 / 24.0f;
  sum = sum * r + 1 / 6.0f;
  sum = sum * r + 0.5f;
  sum = (sum * r + 1.0f) * r + 1.0f;
  return (lanes)((lanes_bits)sum + ((lanes_bits)shifted << 23));
}

/* Element `i` of an array of either type. */
static inline float element(const void *array, int64_t i, int wide) {
  return wide ? ((const float *)array)[i] : baton_bf16_to_f32(((const baton_bf16 *)array)[i]);
}

/* Elements [first, first + count) of an array as f32: where they are, or converted into `room`. */
static inline const float *elements(const void *array, int64_t first, int64_t count, int wide, float *room) {
  if (wide) return (const float *)array + first;
  const baton_bf16 *from = (const baton_bf16 *)array + first;
  for (int64_t i = 0; i < count; i++) room[i] = baton_bf16_to_f32(from[i]);
  return room;
}

/* --- Scores: query · key ---------------------------------------------------------------------------------------- */

/* LANES rows of the query from `first` on, transposed, zeros beyond the last row. */
static inline void pack_query(const void *query, int64_t rows, int64_t size, int64_t first, int wide,
                              lanes *out) {
  float *to = (float *)out;
  for (int64_t r = 0; r < LANES; r++)
    if (first + r < rows)
      for (int64_t d = 0; d < size; d++) to[d * LANES + r] = element(query, (first + r) * size + d, wide);
    else
      for (int64_t d = 0; d < size; d++) to[d * LANES + r] = 0;
}

/* sums[key] = the product of one vector of rows with each of KEYS keys. */
INNERMOST void multiply_keys(const lanes *query, const float *const keys[KEYS], int64_t size,
                             lanes sums[KEYS]) {
  const float *key[KEYS];
  lanes sum[KEYS];
#pragma GCC unroll 16
  for (int k = 0; k < KEYS; k++) {
    key[k] = keys[k];
    sum[k] = (lanes){0};
  }
#pragma GCC unroll 2
  for (int64_t d = 0; d < size; d++) {
#pragma GCC unroll 16
    for (int k = 0; k < KEYS; k++) sum[k] += query[d] * key[k][d];
  }
#pragma GCC unroll 16
  for (int k = 0; k < KEYS; k++) sums[k] = sum[k];
}

/* scores[key][row] = query[row] · keys[key] for the first `count` keys. */
static inline void attention_scores(const void *query, int64_t rows, int64_t size, const void *keys,
                                    int64_t count, int wide, float *scores) {
  lanes packed[MOST_SIZE], sums[KEYS];
  float room[KEYS][MOST_SIZE];
  for (int64_t first = 0; first < padded(rows); first += LANES) {
    pack_query(query, rows, size, first, wide, packed);
    for (int64_t j = 0; j < count; j += KEYS) {
      const float *key[KEYS];
      for (int k = 0; k < KEYS; k++)
        key[k] = elements(keys, smaller(j + k, count - 1) * size, size, wide, room[k]);
      multiply_keys(packed, key, size, sums);
      for (int64_t k = 0; k < smaller(KEYS, count - j); k++)
        store(&scores[(j + k) * padded(rows) + first], sums[k]);
    }
  }
}

/* --- Softmax of one block --------------------------------------------------------------------------------------- */

/* weights = e^(scale·scores - maximum), and their sum; `maximum` and `sum` have a value for each padded row. Weights in
** bf16 are rounded before they are added up. */
static inline void attention_softmax(const float *scores, int64_t rows, int64_t count, float scale, int wide,
                                     void *weights, float *maximum, float *sum) {
  int64_t width = padded(rows);
  for (int64_t first = 0; first < width; first += LANES) {
    lanes most = (lanes){0} - 1e30f, total = {0};
    for (int64_t j = 0; j < count; j++) most = larger(most, load(&scores[j * width + first]) * scale);
    for (int64_t j = 0; j < count; j++) {
      lanes weight = exp_lanes(load(&scores[j * width + first]) * scale - most);
      if (wide) {
        store((float *)weights + j * width + first, weight);
      } else {
        lanes_bits rounded = round_to_bf16(weight);
        store_bf16((baton_bf16 *)weights + j * width + first, rounded);
        weight = (lanes)(rounded & -0x10000);
      }
      total += weight;
    }
    store(&maximum[first], most);
    store(&sum[first], total);
  }
}

/* --- Values, weighted ------------------------------------------------------------------------------------------- */

/* One piece of a block: `count` keys of the weights and of WIDTH columns of values. */
typedef struct attention_piece {
  const float *weights, *values;
  int64_t count, width, stride; /* elements from one key to the next */
} attention_piece;

INNERMOST void add_values(const attention_piece *piece, int64_t row, float sum[ROWS][WIDTH]) {
  lanes left[ROWS], right[ROWS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) left[r] = right[r] = (lanes){0};
  for (int64_t j = 0; j < piece->count; j++) {
    const float *weight = piece->weights + j * piece->width + row, *value = piece->values + j * piece->stride;
    const float *ahead = piece->values + smaller(j + AHEAD, piece->count - 1) * piece->stride;
    __builtin_prefetch(ahead);
    __builtin_prefetch(ahead + LANES);
    lanes first = load(value), second = load(value + LANES);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      left[r] += weight[r] * first;
      right[r] += weight[r] * second;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; r++) {
    store(sum[r], left[r]);
    store(sum[r] + LANES, right[r]);
  }
}

/* Columns [column, column + wanted) of the values of a piece, in rows of WIDTH with zeros at the end. */
static inline const float *pack_values(const void *values, int64_t first, int64_t count, int64_t size,
                                       int64_t column, int wide, float *room) {
  int64_t wanted = smaller(WIDTH, size - column);
  for (int64_t j = 0; j < count; j++)
    for (int64_t c = 0; c < WIDTH; c++)
      room[j * WIDTH + c] = c < wanted ? element(values, (first + j) * size + column + c, wide) : 0;
  return room;
}

/* result[row] += (or =) sum over keys of weights[key][row] * values[key], for one piece and WIDTH columns. */
static inline void add_piece(const attention_piece *piece, int64_t rows, int64_t size, int64_t column,
                             int add, float *result) {
  float sum[ROWS][WIDTH];
  int64_t wanted = smaller(WIDTH, size - column);
  for (int64_t row = 0; row < rows; row += ROWS) {
    add_values(piece, row, sum);
    for (int64_t r = 0; r < smaller(ROWS, rows - row); r++) {
      const float *from = sum[r];
      float *to = result + (row + r) * size + column;
      for (int64_t c = 0; c < wanted; c++) to[c] = from[c] + (add ? to[c] : 0);
    }
  }
}

/* result[row] = (or += if `add`) sum over the first `count` keys of weights[key][row] * values[key]. */
static inline void attention_values(const void *weights, const void *values, int64_t rows, int64_t size,
                                    int64_t count, int wide, int add, float *result) {
  float weight_room[DEPTH * MOST_ROWS], value_room[DEPTH * WIDTH];
  int64_t width = padded(rows);
  for (int64_t first = 0; first < count; first += DEPTH) {
    int64_t depth = smaller(DEPTH, count - first);
    attention_piece piece = {.count = depth, .width = width, .stride = size};
    piece.weights = elements(weights, first * width, depth * width, wide, weight_room);
    for (int64_t column = 0; column < size; column += WIDTH) {
      piece.values = (const float *)values + first * size + column;
      if (!wide || size - column < WIDTH) {
        piece.stride = WIDTH;
        piece.values = pack_values(values, first, depth, size, column, wide, value_room);
      }
      add_piece(&piece, rows, size, column, add || first > 0, result);
    }
  }
}

/* --- One block joins those before it ---------------------------------------------------------------------------- */

/* What has been added up over blocks: the largest score, the sum of weights, and the weighted values of each row. */
typedef struct attention_state {
  float *maximum, *sum, *result;
} attention_state;

/* Adds a block to the state; the first one replaces it. */
static inline void attention_update(const attention_state *block, int64_t rows, int64_t size, int first_block,
                                    const attention_state *state) {
  float old_factor[MOST_ROWS + PADDING], new_factor[MOST_ROWS + PADDING];
  for (int64_t row = 0; row < padded(rows); row += LANES) {
    lanes now = load(block->maximum + row), before = first_block ? now : load(state->maximum + row);
    lanes most = larger(before, now), scale = exp_lanes(now - most);
    lanes old_scale = first_block ? (lanes){0} : exp_lanes(before - most);
    lanes old_sum = first_block ? (lanes){0} : load(state->sum + row) * old_scale;
    store(state->sum + row, old_sum + load(block->sum + row) * scale);
    store(state->maximum + row, most);
    store(old_factor + row, old_scale);
    store(new_factor + row, scale);
  }
  for (int64_t row = 0; row < rows; row++) {
    float old_scale = old_factor[row], scale = new_factor[row];
    const float *from = block->result + row * size;
    float *to = state->result + row * size;
    for (int64_t d = 0; d < size; d++) to[d] = from[d] * scale + (first_block ? 0 : to[d] * old_scale);
  }
}

/* out = weighted values / sum of weights. */
static inline void attention_finish(const attention_state *state, int64_t rows, int64_t size, float *out) {
  for (int64_t row = 0; row < rows; row++) {
    float factor = 1 / state->sum[row];
    for (int64_t d = 0; d < size; d++) out[row * size + d] = state->result[row * size + d] * factor;
  }
}

#endif
