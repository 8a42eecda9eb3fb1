#include "chip/brief.h"
#include "base/clock.h"
#include "base/futex.h"

enum {
  BRIEF_ROUNDS = 4,        /* in a row: then the next one is expected to be brief too */
  MISJUDGED = 8,           /* times that this is doubled at most */
  FORGIVEN = 64,           /* brief rounds after which it is halved again */
  LONG_RUN = 3 * BASE_LOOK /* ns that a run counts for at most */
};

void chip_brief_choose(baton_run *run) {
  if (run->lends) {
    uint64_t expected = atomic_load_explicit(chip_program_brief(run->program), memory_order_relaxed);
    run->here = expected > 0 && expected < BASE_LOOK;
    run->lanes = run->here ? 1 : 0;
    return;
  }
  run->lanes = run->brief >= (uint32_t)BRIEF_ROUNDS << run->misjudged ? 1 : 0;
}

/* What runs of a program take, smoothed: one that was interrupted counts as a long one, and does not make the next ones so. Two
** that run at the same time may overwrite what the other one has learnt. */
static void learn_expected(const baton_run *run, int64_t nanoseconds) {
  _Atomic uint64_t *expected = chip_program_brief(run->program);
  uint64_t before = atomic_load_explicit(expected, memory_order_relaxed),
           sample = nanoseconds < LONG_RUN ? (uint64_t)nanoseconds : LONG_RUN,
           after = before ? before - before / 8 + sample / 8 : sample;
  atomic_store_explicit(expected, after ? after : 1, memory_order_relaxed);
}

/* A round that was taken for brief and is not makes that harder for the next ones. */
static void learn(baton_run *run, int64_t nanoseconds) {
  if (nanoseconds < BASE_LOOK) {
    if (++run->brief % FORGIVEN == 0 && run->misjudged) run->misjudged--;
    return;
  }
  run->brief = 0;
  if (run->lanes == 1 && run->misjudged < MISJUDGED) run->misjudged++;
}

void chip_brief_finish(baton_run *run) {
  int64_t begin = base_now();
  (void)task_engine_finish(run->engine->tasks);
  int64_t took = run->building + base_now() - begin;
  if (run->lends)
    learn_expected(run, took);
  else
    learn(run, took);
}
