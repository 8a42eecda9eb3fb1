/* chip/dictation_format.h - the calls of an orchestration as bytes. Private to src/chip/dictat*.c and src/chip/follow.c.
**
** A block is a sequence of calls, each of them a header and what belongs to it, in the order of struct chip_heard; every part is
** a multiple of 8 bytes. Numbers are those of this machine. */
#ifndef CHIP_DICTATION_FORMAT_H
#define CHIP_DICTATION_FORMAT_H

#include <baton/error.h>
#include <baton/orchestration.h>

typedef enum chip_saying {
  CHIP_SAYS_SUBMIT = 1,  /* detail: the kind of core; one lane */
  CHIP_SAYS_MIX,         /* three lanes */
  CHIP_SAYS_DUMMY,       /* one lane without a kernel */
  CHIP_SAYS_ALLOC,       /* shape */
  CHIP_SAYS_GET,         /* one argument, its index */
  CHIP_SAYS_SET,         /* the same, and a second argument: the value */
  CHIP_SAYS_FILL,        /* two arguments: the tensor, the value */
  CHIP_SAYS_SCOPE_BEGIN, /* detail: the mode */
  CHIP_SAYS_SCOPE_END,
  CHIP_SAYS_FAIL, /* failure */
  CHIP_SAYS_END,  /* the orchestration has returned */
  CHIP_SAYINGS
} chip_saying;

/* Flags of tasks: options follow; a predicate follows; the lanes share one list. */
enum { CHIP_SAYS_OPTIONS = 1, CHIP_SAYS_PREDICATE = 2, CHIP_SAYS_SHARED = 4 };

typedef struct chip_said {
  uint32_t bytes; /* of the whole call */
  uint8_t call;   /* chip_saying */
  uint8_t detail;
  uint16_t flags;
} chip_said;

typedef struct chip_said_lane {
  int32_t kernel; /* negative: none, and no arguments */
  uint32_t nargs;
} chip_said_lane;

typedef struct chip_said_options {
  uint32_t ndeps, name; /* bytes of the name with its zero; 0: none */
  uint32_t blocks;
  int32_t sync_start;
  uint32_t timing_slot;
  int32_t priority;
} chip_said_options;

typedef struct chip_said_predicate {
  uint32_t compare, nindex; /* 0: the first element */
  int64_t value;
} chip_said_predicate;

/* Where a tensor lies: nowhere in this run; in an argument of the program; in an intermediate. */
typedef enum chip_said_origin { CHIP_FROM_NOWHERE, CHIP_FROM_ARGUMENT, CHIP_FROM_MADE } chip_said_origin;

/* Of a tensor `ndim` sizes and as many strides follow. */
typedef struct chip_said_arg {
  uint8_t tag, dtype, ndim, origin;
  uint32_t
      number; /* of the argument, from 0, or of the intermediate; scalars: 1 + the argument that is handed on unseen, or 0 */
  uint64_t value; /* bytes from the beginning of that; scalars: the bits */
} chip_said_arg;

typedef struct chip_said_shape {
  uint32_t dtype, ndim; /* sizes follow */
} chip_said_shape;

typedef struct chip_said_failure {
  uint32_t code, message, hint, unused; /* bytes of the texts with their zeros; hint 0: none */
} chip_said_failure;

enum { CHIP_NO_TASK = UINT32_MAX }; /* among deps: what is no task of this run */

/* A call taken apart; points into the block. */
typedef struct chip_heard {
  const chip_said *said;
  const chip_said_lane *lanes;
  const chip_said_options *options; /* NULL: none */
  const uint32_t *deps;
  const char *name;                     /* NULL: none */
  const chip_said_predicate *predicate; /* NULL: none; its tensor is `operand` */
  const chip_said_arg *operand;
  const int64_t *index;      /* of the predicate, or of the element */
  const chip_said_arg *args; /* of all lists, one behind the other */
  const chip_said_arg *value;
  const chip_said_shape *shape;
  const int64_t *sizes;
  const chip_said_failure *failure;
  const char *message, *hint;
  uint32_t nlanes, nargs;
} chip_heard;

static inline uint64_t chip_said_words(uint64_t bytes) { return (bytes + 7) & ~(uint64_t)7; }

static inline const int64_t *chip_said_sizes(const chip_said_arg *arg) {
  return (const int64_t *)(const void *)(arg + 1);
}
static inline uint32_t chip_said_dims(const chip_said_arg *arg) {
  return arg->tag == BATON_SCALAR ? 0 : arg->ndim;
}
static inline const chip_said_arg *chip_said_next(const chip_said_arg *arg) {
  return (const chip_said_arg *)(const void *)(chip_said_sizes(arg) + 2 * (uint64_t)chip_said_dims(arg));
}

/* Takes the first call of a block apart. Returns its bytes; 0: it is none, and *field names what is wrong (static text). Reads
** only these bytes. */
uint64_t chip_said_hear(const void *block, uint64_t bytes, chip_heard *out, const char **field);

#endif
