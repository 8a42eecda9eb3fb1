/* chip/rounds.h - rounds from the inside: one run that stays in place and begins again each round. Private to src/chip. */
#ifndef CHIP_ROUNDS_H
#define CHIP_ROUNDS_H

#include <baton/rounds.h>

typedef enum chip_step {
  CHIP_ROUND_CLOSED,   /* no round is open */
  CHIP_ROUND_READY,    /* its inputs are on the device */
  CHIP_ROUND_LAUNCHED, /* it is in flight, or over and not waited for */
} chip_step;

struct baton_rounds {
  baton_worker *worker; /* its own hold */
  baton_run *run;       /* NULL: given back; it holds the program */
  double deadline;
  chip_step step;
  int64_t number;              /* of the open round, or of the last one */
  double copied;               /* us that its init_round took */
  baton_timing timing;         /* of the last round that ended */
  baton_rounds *older, *newer; /* in the list of the worker, until everything is given back */
};

/* Refuses a step, `what`, that is not the turn of: the round of this number has come to `step`. Also for rounds of nodes. */
BATON_MUST_CHECK baton_status chip_round_check(chip_step step, int64_t number, const char *what,
                                               chip_step expected, baton_error *err);

/* For the shutdown, when the device has nothing to do and nobody is inside: finalizes all rounds, the newest first, and
** gives back what they have whatever fails. */
baton_status chip_rounds_close(baton_worker *worker, baton_error *err);

#endif
