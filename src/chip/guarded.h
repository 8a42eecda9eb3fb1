/* chip/guarded.h - an orchestration that can be left by force: while it runs code of its own, not inside a call of
** Baton. */
#ifndef CHIP_GUARDED_H
#define CHIP_GUARDED_H

#include "chip/orchestrator.h"

/* The calls of `self` from now on, which no signal leaves in the middle. */
void chip_guarded_begin(chip_orchestrator *self, const baton_orch_calls *calls);

/* Calls `enter`, on the thread of lane 0. False: the orchestration was left. */
int chip_guarded_call(chip_orchestrator *self, const baton_argument *items,
                      void (*enter)(chip_orchestrator *self, const baton_argument *items));

#endif
