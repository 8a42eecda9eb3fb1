#include "chip/brief.h"
#include "base/clock.h"
#include "base/futex.h"

enum {
  BRIEF_ROUNDS = 4, /* in a row: then the next one is expected to be brief too */
  MISJUDGED = 8,    /* times that this is doubled at most */
  FORGIVEN = 64     /* brief rounds after which it is halved again */
};

void chip_brief_choose(baton_run *run) {
  run->lanes = run->brief >= (uint32_t)BRIEF_ROUNDS << run->misjudged ? 1 : 0;
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
}
