/* chip/element.h - single elements of device memory, read and written by an orchestration. Private to src/chip. */
#ifndef CHIP_ELEMENT_H
#define CHIP_ELEMENT_H

#include "chip/orchestrator.h"

/* Waits for the tasks that write the element, then reads it into the scalar `out`. A failure is left in the
** orchestrator: a bad index, a failed task, or on a held engine a task that would have to run first. */
baton_status chip_element_get(chip_orchestrator *self, const baton_view *view, const int64_t *index,
                              baton_arg *out);

/* Waits for the tasks that write or read the element, then stores `value`, converted to the type of the tensor. */
baton_status chip_element_set(chip_orchestrator *self, const baton_view *view, const int64_t *index,
                              const baton_arg *value);

/* Submits a task that stores `value`, converted to its type, into every element of a contiguous tensor. */
baton_status chip_element_fill(chip_orchestrator *self, const baton_view *view, const baton_arg *value);

#endif
