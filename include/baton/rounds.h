/* baton/rounds.h - run one program again and again: what a run needs is made once, each round moves its arguments only. */
#ifndef BATON_ROUNDS_H
#define BATON_ROUNDS_H

#include <baton/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_rounds baton_rounds;

/* Another value for an argument, from a round on. */
typedef struct baton_rebind {
  uint32_t argument; /* position in the signature, from 0 */
  baton_value value;
} baton_rebind;

/* Prepares rounds of `program` on the worker: compiles, gives every host tensor its memory on the device, and sets up what
** executes the tasks. From the second round on nothing of that is done again; an orchestration whose graph is kept is
** called again only when a round would look at something else. Baton holds the tensors until they are replaced or the
** rounds are closed. config->resident names host tensors that go up in the first round and when they are replaced only,
** and come back, if a round has written them, then and at the end. The caller owns *out and closes it, before or after
** the worker; one thread at a time uses it. Other runs of the worker queue between rounds. */
BATON_MUST_CHECK baton_status baton_rounds_open(baton_worker *worker, baton_program *program,
                                                const baton_value *values, uint32_t nvalues,
                                                const baton_config *config, baton_rounds **out,
                                                baton_error *err);

/* The steps of a round. A step out of order is `state`, says what to call first, and changes nothing. If a step fails, the
** round is closed, and the next init_round starts clean. Then no output of the round came back, except those that did
** before the copy of another failed; what it has written to child memory and to resident tensors on the device stays.
** Errors know the number of the round, from 1. */

/* Opens a round: waits for what still writes its inputs and copies them to the device. `rebinds` (NULL: none) replaces
** arguments from now on: tensors by others of the same dtype, shape and placement, scalars by others that fit. */
BATON_MUST_CHECK baton_status baton_rounds_init_round(baton_rounds *rounds, const baton_rebind *rebinds,
                                                      uint32_t nrebinds, baton_error *err);

/* Returns as soon as the device has the round. From here on who touches an output waits for the end of the round. */
BATON_MUST_CHECK baton_status baton_rounds_launch(baton_rounds *rounds, baton_error *err);

/* Waits at most `seconds` (negative: until the end, or until the deadline of the config, then the round is cancelled).
** *over tells whether the round has ended; then it is closed, outputs are there if the status is BATON_OK. `over` may be
** NULL. */
BATON_MUST_CHECK baton_status baton_rounds_finalize_round(baton_rounds *rounds, double seconds, int *over,
                                                          baton_error *err);

/* How long the last round took that finalize_round found to be over; `host` counts init_round and the time from the launch
** until the outputs were back. All zero before the first one. */
baton_timing baton_rounds_timing(const baton_rounds *rounds);

/* Ends the rounds: cancels one that is in flight, copies back what is resident and was written, gives everything back. The
** object stays and answers `closed`. After a failure nothing is given back, and the call may be repeated. */
baton_status baton_rounds_finalize(baton_rounds *rounds, baton_error *err);

/* Finalizes; what fails then is logged, and everything is given back all the same. NULL is ignored. */
void baton_rounds_close(baton_rounds *rounds);

#ifdef __cplusplus
}
#endif
#endif
