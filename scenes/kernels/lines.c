/* lines.c - tasks that mark lines of 16 floats with 42. A line that is not marked holds something else. */
#include <baton/kernel.h>

enum { TURNS = 100 };
static const float MARK = 42;

/* Marks a line, but lets others run first: whoever does not wait for it comes too early. */
BATON_KERNEL(mark_late) {
  float *line = baton_io(args, 0, float);
  for (int turn = 0; turn < TURNS; turn++) baton_spin_hint(args);
  line[0] = MARK;
}

/* Marks a line if all lines of another tensor are marked. */
BATON_KERNEL(mark_after) {
  float *line = baton_io(args, 0, float);
  const float *others = baton_in(args, 1, float);
  int64_t count = baton_size(args, 1, 0), width = baton_size(args, 1, 1), marked = 0;
  for (int64_t i = 0; i < count; i++) marked += others[i * width] == MARK;
  if (marked == count) line[0] = MARK;
}
