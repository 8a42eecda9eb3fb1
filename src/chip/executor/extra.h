/* chip/executor/extra.h - what some tasks are besides one call of one kernel: kernels on a whole cluster, several instances,
** a name, a condition, a time to be taken. It lies in the payload; a task without any of this has none and pays for none. */
#ifndef CHIP_EXTRA_H
#define CHIP_EXTRA_H

#include "chip/program/program.h"

enum {
  CHIP_PARTS = 3,
  CHIP_NO_SLOT = BATON_TIMING_SLOTS
}; /* parts: matrix core, first and second vector core */

/* What the owner leaves for the lane that runs the task: this, `count` arguments and the operand of its predicate if it has
** one, then the views, the name, and the chip_extra. */
typedef struct chip_payload {
  const chip_kernel *kernel; /* of a mixed task: NULL */
  const char *name;
  uint32_t count;
  uint32_t extra; /* byte in the payload where the chip_extra begins; 0: none */
  baton_argument items[];
} chip_payload;

/* One kernel of a task, and its arguments among those of the task. */
typedef struct chip_part {
  const chip_kernel *kernel; /* NULL: the core has nothing to do */
  uint32_t first, count;
  uint32_t place; /* in the cluster: 0 the matrix core, 1 and 2 the vector cores */
  baton_core core;
} chip_part;

typedef struct chip_extra {
  uint32_t mixed;              /* `parts` is meant */
  chip_part parts[CHIP_PARTS]; /* by their place */
  uint32_t blocks;             /* instances of the task … */
  uint32_t share, shares;      /* … of which this runs every how manieth, beginning with which one */
  uint32_t together;           /* all at the same time, and they may wait for each other */
  uint32_t timing_slot;        /* CHIP_NO_SLOT: none */
  uint32_t predicated;
  baton_compare op;
  int64_t value;
} chip_extra;

static inline const chip_extra *chip_extra_of(const chip_payload *payload) {
  return payload->extra ? (const chip_extra *)(const void *)((const char *)payload + payload->extra) : NULL;
}

/* Arguments, with the operand of the predicate. */
static inline uint32_t chip_payload_items(const chip_payload *payload) {
  const chip_extra *extra = chip_extra_of(payload);
  return payload->count + (extra && extra->predicated);
}

/* Instances that a share runs. */
static inline uint32_t chip_share_count(uint32_t blocks, uint32_t share, uint32_t shares) {
  return blocks / shares + (share < blocks % shares);
}

#endif
