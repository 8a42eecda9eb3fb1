/* chip/brief.h - rounds that take less time than to wake a thread are launched with one lane. For runtimes whose lane 0 calls
** the orchestration, or waits for it. Private to src/chip. */
#ifndef CHIP_BRIEF_H
#define CHIP_BRIEF_H

#include "chip/run.h"

/* Before the launch: the lanes of this round, by what those before it were like. A run whose submitter lends its thread
** runs there if the runs of its program are brief. */
void chip_brief_choose(baton_run *run);

/* On lane 0, after the orchestration: executes what is left, and learns from how long both took. */
void chip_brief_finish(baton_run *run);

#endif
