/* chip/task_options.h - what the options of a task ask for besides edges and a name. Private to src/chip. */
#ifndef CHIP_TASK_OPTIONS_H
#define CHIP_TASK_OPTIONS_H

#include "chip/orchestrator.h"

/* True if the task needs a chip_extra for its options. */
static inline int chip_options_extra(const baton_task_options *options) {
  return options->blocks > 1 || options->sync_start || options->predicate || options->timing_slot;
}

/* Checks the options of a task for `kind` (baton_core, or CHIP_WHOLE), and fills in `extra` except the parts. `kernel`: it
** has one. A failure is left in the orchestrator. */
BATON_MUST_CHECK baton_status chip_options_check(chip_orchestrator *self, const char *task, uint32_t kind,
                                                 int kernel, const baton_task_options *options,
                                                 chip_extra *extra);

/* The element that decides, as an argument. */
BATON_MUST_CHECK baton_status chip_options_operand(chip_orchestrator *self, const char *task,
                                                   const baton_predicate *predicate, baton_arg *out);

#endif
