/* instances.c - tasks of many instances, each of which writes lines of 16 floats of its own: on a matrix core and on the two
** vector cores of a cluster one each, lines 3i, 3i + 1 and 3i + 2 of instance i, or line i on a vector core by itself. */
#include <baton/kernel.h>

enum { LINE = 16 };

static float *own_line(const baton_args *args, uint32_t lines, uint32_t line) {
  return baton_io(args, 0, float) + (int64_t)(baton_block_idx(args) * lines + line) * LINE;
}

/* The number of the instance into the first element. */
static void number(const baton_args *args, uint32_t lines, uint32_t line) {
  own_line(args, lines, line)[0] = (float)baton_block_idx(args);
}

/* Then, when all instances have come that far, the sum of all their numbers into the second one. */
static void number_and_meet(const baton_args *args, uint32_t lines, uint32_t line) {
  const float *all = baton_io(args, 0, float);
  float sum = 0;
  number(args, lines, line);
  baton_block_barrier(args);
  for (uint32_t i = 0; i < baton_block_num(args); i++) sum += all[(int64_t)(i * lines + line) * LINE];
  own_line(args, lines, line)[1] = sum;
}

BATON_KERNEL(number_matrix) { number(args, 3, 0); }
BATON_KERNEL(number_vector) { number(args, 3, 1 + baton_sub_block(args)); }
BATON_KERNEL(number_alone) { number(args, 1, 0); }
BATON_KERNEL(meet_matrix) { number_and_meet(args, 3, 0); }
BATON_KERNEL(meet_vector) { number_and_meet(args, 3, 1 + baton_sub_block(args)); }
BATON_KERNEL(meet_alone) { number_and_meet(args, 1, 0); }
