#include "chip/brief.h"
#include "base/clock.h"
#include "base/futex.h"

enum {
  BRIEF_ROUNDS = 4, /* in a row: then the next one is expected to be brief too */
  MISJUDGED = 8,    /* times that this is doubled at most */
  FORGIVEN = 64     /* brief rounds after which it is halved again */
};

/* What is known of the runs of a program. Two that run at the same time may overwrite what the other one has learnt. */
static void recall(baton_run *run) {
  const _Atomic uint64_t *known = chip_program_brief(run->program);
  uint64_t value = atomic_load_explicit(known, memory_order_relaxed);
  run->brief = (uint32_t)value;
  run->misjudged = (uint32_t)(value >> 32);
}

static void remember(const baton_run *run) {
  uint64_t value = (uint64_t)run->misjudged << 32 | run->brief;
  atomic_store_explicit(chip_program_brief(run->program), value, memory_order_relaxed);
}

void chip_brief_choose(baton_run *run) {
  if (run->lends) recall(run);
  run->lanes = run->brief >= (uint32_t)BRIEF_ROUNDS << run->misjudged ? 1 : 0;
  run->here = run->lanes == 1;
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
  learn(run, run->building + base_now() - begin);
  if (run->lends) remember(run);
}
