/* Rounds of a node: one function again and again, each time as a run of its own. What stays between them is what stays between
** runs, and copies of resident tensors. */
#include "chip/rounds.h"
#include "base/log.h"
#include "base/memory.h"
#include "chip/config.h"
#include "node/resident.h"

struct baton_node_rounds {
  baton_node *node; /* its own hold */
  baton_node_round_function function;
  void *context;
  baton_config config;
  char *runtime; /* config.runtime points here */
  node_residents residents;
  chip_step step;
  int64_t number;      /* of the open round, or of the last one */
  baton_node_run *run; /* of the round that is launched */
  baton_timing timing; /* of the last round that ended */
  int launching;       /* its function is being called … */
  int closing;         /* … and has closed the rounds */
  /* guarded by node->rounds_lock: */
  int ended;                        /* everything was given back */
  baton_node_rounds *older, *newer; /* in the list of the node, until then */
};

/* --- Opening -------------------------------------------------------------------------------------------- */

static void enlist(baton_node_rounds *rounds) {
  baton_node *node = rounds->node;
  pthread_mutex_lock(&node->rounds_lock);
  rounds->older = node->rounds;
  if (rounds->older) rounds->older->newer = rounds;
  node->rounds = rounds;
  pthread_mutex_unlock(&node->rounds_lock);
}

/* node->rounds_lock is held. */
static void unlist(baton_node_rounds *rounds) {
  if (rounds->newer)
    rounds->newer->older = rounds->older;
  else
    rounds->node->rounds = rounds->older;
  if (rounds->older) rounds->older->newer = rounds->newer;
  rounds->older = rounds->newer = NULL;
}

static void destroy(baton_node_rounds *rounds) {
  base_free(rounds->runtime);
  node_release(rounds->node);
  base_free(rounds);
}

static baton_status prepare(baton_node_rounds *rounds, const baton_node_rounds_options *options,
                            baton_error *err) {
  if (options->config) rounds->config = *options->config;
  if (rounds->config.resident)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "rounds: resident tensors of a node are handed over as tensors, not as names");
  if (options->nresidents) BATON_TRY(node_children_refuse(rounds->node, "rounds: resident tensors", err));
  BATON_TRY(chip_config_check(&rounds->config, err));
  if (rounds->config.runtime) {
    rounds->config.runtime = rounds->runtime = base_strdup(rounds->config.runtime);
    if (!rounds->runtime) return base_out_of_memory(err, "rounds");
  }
  return node_residents_open(options->residents, options->nresidents, &rounds->residents, err);
}

static baton_status create(baton_node *node, const baton_node_rounds_options *options,
                           baton_node_rounds **out, baton_error *err) {
  baton_node_rounds *rounds = base_calloc(1, sizeof *rounds);
  if (!rounds) return base_out_of_memory(err, "rounds");
  node_hold(node);
  rounds->node = node;
  rounds->function = options->function;
  rounds->context = options->context;
  baton_status status = prepare(rounds, options, err);
  if (status != BATON_OK) {
    destroy(rounds);
    return status;
  }
  enlist(rounds);
  *out = rounds;
  return BATON_OK;
}

baton_status baton_node_rounds_open(baton_node *node, const baton_node_rounds_options *options,
                                    baton_node_rounds **out, baton_error *err) {
  *out = NULL;
  BATON_TRY(node_enter(node, "rounds", err));
  baton_status status = create(node, options, out, err);
  node_leave(node);
  return status;
}

/* --- Steps ---------------------------------------------------------------------------------------------- */

/* A step begins: nobody ends the rounds meanwhile. */
static baton_status enter(const baton_node_rounds *rounds, const char *what, chip_step expected,
                          baton_error *err) {
  BATON_TRY(node_enter(rounds->node, what, err));
  baton_status status = rounds->ended ? baton_error_set(err, BATON_CLOSED, "the rounds are closed")
                                      : chip_round_check(rounds->step, rounds->number, what, expected, err);
  if (status != BATON_OK) node_leave(rounds->node);
  return status;
}

/* A step ends: the round is closed if it failed. */
static baton_status conclude(baton_node_rounds *rounds, baton_status status, chip_step reached,
                             baton_error *err) {
  rounds->step = status == BATON_OK ? reached : CHIP_ROUND_CLOSED;
  if (status != BATON_OK) {
    node_residents_distrust(&rounds->residents);
    if (err) err->round = rounds->number;
    if (err) err->known |= BATON_KNOWN_ROUND;
  }
  node_leave(rounds->node);
  return status;
}

static baton_status init_round(baton_node_rounds *rounds, const baton_node_rebind *rebinds, uint32_t count,
                               baton_error *err) {
  rounds->number++;
  node_residents_begin(&rounds->residents);
  for (uint32_t i = 0; i < count; i++) {
    if (rebinds[i].resident >= rounds->residents.count)
      return baton_error_set(err, BATON_OUT_OF_RANGE, "init_round: resident tensor %u of %u",
                             rebinds[i].resident + 1, rounds->residents.count);
    BATON_TRY(node_residents_replace(&rounds->residents, rebinds[i].resident, rebinds[i].tensor, err));
  }
  return BATON_OK;
}

baton_status baton_node_rounds_init_round(baton_node_rounds *rounds, const baton_node_rebind *rebinds,
                                          uint32_t nrebinds, baton_error *err) {
  BATON_TRY(enter(rounds, "init_round", CHIP_ROUND_CLOSED, err));
  return conclude(rounds, init_round(rounds, rebinds, nrebinds, err), CHIP_ROUND_READY, err);
}

static baton_status call_function(baton_node_orch *o, void *context, baton_error *err) {
  const baton_node_rounds *rounds = context;
  return rounds->function(o, rounds->context, rounds->number, err);
}

baton_status baton_node_rounds_launch(baton_node_rounds *rounds, baton_error *err) {
  BATON_TRY(enter(rounds, "launch", CHIP_ROUND_READY, err));
  rounds->launching = 1;
  baton_status status = node_submit_round(rounds->node, call_function, rounds, &rounds->config,
                                          &rounds->residents, &rounds->run, err);
  rounds->launching = 0;
  status = conclude(rounds, status, CHIP_ROUND_LAUNCHED, err);
  if (rounds->closing) baton_node_rounds_close(rounds);
  return status;
}

static baton_status finalize_round(baton_node_rounds *rounds, double seconds, int *over, baton_error *err) {
  baton_status status = baton_node_run_wait(rounds->run, seconds, over, err);
  if (status == BATON_OK && !*over) return BATON_OK;
  if (*over) rounds->timing = baton_node_run_timing(rounds->run);
  baton_node_run_close(rounds->run); /* cancels what nobody wants to wait for */
  rounds->run = NULL;
  return status;
}

baton_status baton_node_rounds_finalize_round(baton_node_rounds *rounds, double seconds, int *over,
                                              baton_error *err) {
  int ended = 0;
  if (!over) over = &ended;
  *over = 0;
  BATON_TRY(enter(rounds, "finalize_round", CHIP_ROUND_LAUNCHED, err));
  baton_status status = finalize_round(rounds, seconds, over, err);
  return conclude(rounds, status, *over ? CHIP_ROUND_CLOSED : CHIP_ROUND_LAUNCHED, err);
}

baton_timing baton_node_rounds_timing(const baton_node_rounds *rounds) { return rounds->timing; }

/* --- The end -------------------------------------------------------------------------------------------- */

/* node->rounds_lock is held. A run in flight is cancelled, and ends by itself. */
static void give_back(baton_node_rounds *rounds) {
  if (rounds->ended) return;
  baton_node_run_close(rounds->run);
  rounds->run = NULL;
  node_residents_close(&rounds->residents);
  rounds->step = CHIP_ROUND_CLOSED;
  rounds->ended = 1;
  unlist(rounds);
}

static void end(baton_node_rounds *rounds) {
  pthread_mutex_lock(&rounds->node->rounds_lock);
  give_back(rounds);
  pthread_mutex_unlock(&rounds->node->rounds_lock);
}

/* Cancels a round in flight and waits for its end. The node does not end the rounds meanwhile. */
static void settle(const baton_node_rounds *rounds) {
  if (!rounds->ended && rounds->run && baton_node_run_cancel(rounds->run))
    (void)baton_node_run_wait(rounds->run, -1, NULL, NULL);
  node_leave(rounds->node);
}

baton_status baton_node_rounds_finalize(baton_node_rounds *rounds, baton_error *err) {
  baton_status status = node_enter(rounds->node, "finalize", err);
  if (status == BATON_STATE) return status;
  if (status == BATON_OK) settle(rounds);
  if (status != BATON_OK) baton_error_clear(err); /* the node is closed: nothing is in flight for long */
  end(rounds);
  return BATON_OK;
}

void baton_node_rounds_close(baton_node_rounds *rounds) {
  if (!rounds) return;
  if (rounds->launching) {
    rounds->closing = 1;
    return;
  }
  if (node_enter(rounds->node, "close", NULL) == BATON_OK) settle(rounds);
  end(rounds);
  destroy(rounds);
}

void node_rounds_end(baton_node *node) {
  pthread_mutex_lock(&node->rounds_lock);
  while (node->rounds) give_back(node->rounds);
  pthread_mutex_unlock(&node->rounds_lock);
}
