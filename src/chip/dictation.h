/* chip/dictation.h - an orchestration that is called on one side and carried out on the other: its calls cross as bytes.
**
** The side that calls dictates: its orchestrator has the calls of every other one, with records, names and checks of its own, but
** what concerns the engine is appended to a block, which goes to a sink. The other side follows: it carries a block out by the
** calls of an orchestrator over an engine. Tasks and intermediates are numbered by both in the order in which they are made, so a
** block needs no answer but for an element that is read. What the engine refuses is the failure of the call that hands the sink
** the next block, or waits for an answer, or ends the orchestration.
**
** Both sides are one build. Nothing of a block is believed before chip_dictation_check has passed over a private copy. */
#ifndef CHIP_DICTATION_H
#define CHIP_DICTATION_H

#include "chip/orchestrator.h"
#include "chip/program/text.h"

enum {
  CHIP_DICTATION_BLOCK = 1 << 16,  /* bytes that a block reaches before it goes; one call may be longer … */
  CHIP_DICTATION_LONGEST = 1 << 23 /* … up to this */
};

/* Who takes blocks, on the thread of the orchestration. */
typedef struct chip_sink {
  void *context;
  /* `answer`: waits until the block is carried out; *got is the element that its last call reads, if that reads one. The
  ** status says what has failed so far; after a failure nothing is handed over but the end. */
  baton_status (*take)(void *context, const void *block, uint64_t bytes, int answer, baton_arg *got,
                       baton_error *err);
  /* Whether a block that has reached `least` bytes shall go already. */
  int (*is_idle)(void *context);
  uint64_t least;
} chip_sink;

/* What the orchestrator of a dictation works with. */
typedef struct chip_dictation {
  const chip_sink *sink;
  chip_text block;
  uint64_t tasks, made;
} chip_dictation;

/* Runs the orchestration of the bindings' program on this thread; its calls go to the sink, the last is its end or its failure.
** `engine` stands for the device only. The failure goes to `err`. */
BATON_MUST_CHECK baton_status chip_dictate(chip_engine *engine, const chip_bindings *bindings,
                                           const chip_sink *sink, baton_error *err);

/* Like chip_orchestrate, for a held engine of this process; also appends to *calls what another engine must be told to build
** the same graph: what reads and stores elements is done here and not repeated. */
BATON_MUST_CHECK baton_status chip_orchestrate_noting(chip_engine *engine, const chip_bindings *bindings,
                                                      struct chip_looks *looks, const char *full_hint,
                                                      chip_text *calls, baton_error *err);

/* The bytes of the first calls of `calls` that make a block of about the usual size; 0: there are none left. */
uint64_t chip_dictation_cut(const char *calls, uint64_t bytes);

/* True if these bytes are whole calls whose sizes, kinds and shapes make sense; else *field names what is wrong (static text).
** Reads only these bytes. `block` is aligned to 8 bytes. */
int chip_dictation_check(const void *block, uint64_t bytes, const char **field);

/* --- The other side ------------------------------------------------------------------------------------- */

/* Zero-initialised but for `o` and `args`. */
typedef struct chip_follower {
  baton_orch *o;
  const baton_args *args; /* of the orchestration */
  baton_view *made;
  baton_task *tasks;
  baton_arg *list; /* scratch for one call */
  uint32_t made_room, task_room, room, nmade, ntasks;
  baton_arg got; /* the element that the last block read; dtype BATON_NO_DTYPE: none */
  int ended;     /* the orchestration has returned, or failed */
} chip_follower;

/* Carries out a block that has been checked, up to the first failure, which is left in the orchestrator. */
void chip_follow(chip_follower *follower, const void *block, uint64_t bytes);
void chip_follower_close(chip_follower *follower);

#endif
