/* paged-attention - a peer: the medium case of scenes/paged_attention.lua as a plain C program with OpenMP. The same tiles
** and the same arithmetic (scenes/kernels/paged_attention.h), one loop over the sequences in parallel, and what a task
** of Baton hands to the next stays in memory of the thread. The clock runs around that loop. */
#include "../../scenes/kernels/paged_attention.h"
#include "base/clock.h"
#include "sample.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__clang__)
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif

enum {
  BATCH = 8,
  HEADS = 16,
  SIZE = 128,
  BLOCK = 128,
  CONTEXT = 2048,
  TABLE = 17,
  BLOCKS = BATCH * CONTEXT / BLOCK
};

typedef struct attention {
  float query[BATCH][HEADS][SIZE], out[BATCH][HEADS][SIZE];
  float keys[BLOCKS][BLOCK][SIZE], values[BLOCKS][BLOCK][SIZE];
  int32_t table[BATCH][TABLE], lengths[BATCH];
} attention;

/* What one thread keeps between the steps of a block. */
typedef struct scratch {
  float scores[BLOCK * HEADS], weights[BLOCK * HEADS], result[HEADS * SIZE], all_result[HEADS * SIZE];
  float maximum[HEADS], sum[HEADS], all_maximum[HEADS], all_sum[HEADS];
} scratch;

_Static_assert(HEADS % PADDING == 0, "rows need no padding");

static void attend(attention *all, int b, scratch *s) {
  attention_state block = {s->maximum, s->sum, s->result},
                  state = {s->all_maximum, s->all_sum, s->all_result};
  for (int64_t first = 0; first < all->lengths[b]; first += BLOCK) {
    int32_t number = all->table[b][first / BLOCK];
    int64_t count = smaller(BLOCK, all->lengths[b] - first);
    attention_scores(all->query[b], HEADS, SIZE, all->keys[number], count, 1, s->scores);
    attention_softmax(s->scores, HEADS, count, 1.0f, 1, s->weights, s->maximum, s->sum);
    attention_values(s->weights, all->values[number], HEADS, SIZE, count, 1, 0, s->result);
    attention_update(&block, HEADS, SIZE, first == 0, &state);
  }
  attention_finish(&state, HEADS, SIZE, &all->out[b][0][0]);
}

static double once(void *context) {
  attention *all = context;
  int64_t begin = base_now();
#pragma omp parallel for schedule(static)
  for (int b = 0; b < BATCH; b++) {
    _Alignas(64) scratch s;
    attend(all, b, &s);
  }
  int64_t end = base_now();
  for (int b = 0; b < BATCH; b++)
    if (!isfinite(all->out[b][0][0])) return -1;
  return (double)(end - begin) / 1e3;
}

static void fill(float *values, int64_t count, float range, uint32_t *seed) {
  for (int64_t i = 0; i < count; i++) {
    *seed = *seed * 1664525u + 1013904223u;
    values[i] = range * ((float)(*seed >> 8) / 8388608.0f - 1);
  }
}

int main(int argc, char **argv) {
  bench_options options;
  char who[64];
  const char *policy = getenv("OMP_WAIT_POLICY");
  uint32_t seed = 42;
  attention *all = aligned_alloc(64, (sizeof *all + 63) / 64 * 64);
  if (bench_options_parse(argc, argv, &options) != argc || !all) return 2;
  fill(&all->query[0][0][0], BATCH * HEADS * SIZE, 0.5f, &seed);
  fill(&all->keys[0][0][0], (int64_t)BLOCKS * BLOCK * SIZE, 0.5f, &seed);
  fill(&all->values[0][0][0], (int64_t)BLOCKS * BLOCK * SIZE, 1, &seed);
  for (int b = 0; b < BATCH; b++) {
    all->lengths[b] = CONTEXT;
    for (int i = 0; i < TABLE; i++)
      all->table[b][i] = (int32_t)((seed = seed * 1664525u + 1013904223u) >> 8) % BLOCKS;
  }
  omp_set_num_threads((int)options.threads);
  snprintf(who, sizeof who, "openmp_c/%s-%s", COMPILER, policy ? policy : "default");
  int measured = !bench_wanted(&options, "paged_attention") ||
                 bench_measure(&options, who, "paged_attention", "us", once, all);
  free(all);
  return !measured;
}
