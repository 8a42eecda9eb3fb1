/* chip/launch.h - the steps from a call to a run on the device. A run takes all of them once; rounds take the first two
** once, and the others again and again. The caller is inside the worker. Private to src/chip. */
#ifndef CHIP_LAUNCH_H
#define CHIP_LAUNCH_H

#include "chip/run.h"

/* Checks everything, compiles the program, and holds the arguments. `config` is merged. The caller owns *out. */
BATON_MUST_CHECK baton_status chip_launch_open(baton_worker *worker, baton_program *program,
                                               const baton_value *values, uint32_t nvalues,
                                               const baton_config *config, baton_run **out, baton_error *err);

/* An engine, and memory on the device for the arguments; their copies are a matter of chip_bindings_upload. */
BATON_MUST_CHECK baton_status chip_launch_place(baton_run *run, baton_error *err);

/* Waits for runs that share host memory with this one. From here on others wait for its end; also after a failure, which
** chip_launch_drop follows. */
BATON_MUST_CHECK baton_status chip_launch_claim(baton_run *run, baton_error *err);

/* Builds what is to be executed and launches it. After a failure the run is not in flight, and chip_launch_drop follows. */
BATON_MUST_CHECK baton_status chip_launch_start(baton_run *run, baton_error *err);

/* After a step that failed: nobody waits for this run any more. */
void chip_launch_drop(baton_run *run);

/* baton_run_wait that cancels the run when `deadline` seconds (0: none) have passed since it began: `timeout`. */
BATON_MUST_CHECK baton_status chip_launch_await(baton_run *run, double seconds, double deadline, int *over,
                                                baton_error *err);

/* baton_worker_submit for a thread that waits for the run at once, on a stack like that of a pool's thread: a launch that is
** expected to take less than a wake-up it may run itself. `graph`: the number under which the graph is known where it was built
** (chip/kept.h), 0: it is built here. */
BATON_MUST_CHECK baton_status chip_launch_lend(baton_worker *worker, baton_program *program,
                                               const baton_value *values, uint32_t nvalues,
                                               const baton_config *config, uint64_t graph, baton_run **out,
                                               baton_error *err);

/* Waits for a run that was submitted with this deadline (0: none), as baton_worker_run does, and closes it. `timing` may be
** NULL. */
BATON_MUST_CHECK baton_status chip_launch_finish(baton_run *run, double deadline, baton_timing *timing,
                                                 baton_error *err);

/* Gives back engine, graph and memory of a run that stays, and is over or never began. */
void chip_launch_release(baton_run *run);

#endif
