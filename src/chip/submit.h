/* chip/submit.h - one task: tags, checks, regions, payload. Private to src/chip. */
#ifndef CHIP_SUBMIT_H
#define CHIP_SUBMIT_H

#include "chip/orchestrator.h"

/* Submits one task of `kernel`; NULL: a dummy. A failure is left in the orchestrator. */
baton_status chip_submit(chip_orchestrator *self, baton_core core, const chip_kernel *kernel,
                         const baton_arg *args, uint32_t nargs, const baton_task_options *options,
                         baton_task *out);

/* Submits a mixed task: a kernel for the matrix core and for each vector core of a cluster, at least one
** of them not NULL, with the lists of `lanes`. */
baton_status chip_submit_mix(chip_orchestrator *self, const chip_kernel *const kernels[CHIP_PARTS],
                             const baton_lane lanes[CHIP_PARTS], const baton_task_options *options,
                             baton_task *out);

/* What a submit of a task with this one argument would say against it. */
baton_status chip_check_access(chip_orchestrator *self, const char *name, const baton_arg *arg);

/* Where kernels see the first element of a tensor of this run. */
char *chip_kernel_bytes(const chip_orchestrator *self, const baton_view *view);

/* Leaves the error of a full resource in the orchestrator: which one, its size, who holds it. `what` was
** asked for, and so many bytes of heap. */
void chip_report_full(chip_orchestrator *self, task_status status, uint64_t bytes, const char *what);

#endif
