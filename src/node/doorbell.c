#include "base/futex.h"
#include "node/mailbox.h"
#include <limits.h>

/* Every access is seq_cst, so all of them happen in one order. Who tells has published, then reads `sleepers`, then takes `rung`; a
** sleeper adds itself, reads `rings`, clears `rung`, then looks for what was published. Found it `rung` taken before it was
** cleared, the sleeper looks after the publication. Took it `rung` itself, then `rings` changes after the sleeper has read it,
** who does not sleep then, or before, and then again the sleeper looks after the publication. */

static void wake(node_doorbell *bell) {
  atomic_fetch_add(&bell->rings, 1);
  base_futex_wake(&bell->rings, INT_MAX);
}

void node_doorbell_ring(node_doorbell *bell) {
  /* a change, not only a look: it orders all that was written before with the next announcement */
  if (atomic_fetch_add(&bell->sleepers, 0) > 0) wake(bell);
}

void node_doorbell_tell(node_doorbell *bell) {
  if (atomic_load(&bell->sleepers) > 0 && !atomic_exchange(&bell->rung, 1)) wake(bell);
}

uint32_t node_doorbell_announce(node_doorbell *bell) {
  atomic_fetch_add(&bell->sleepers, 1);
  uint32_t announced = atomic_load(&bell->rings);
  atomic_store(&bell->rung, 0);
  return announced;
}

int node_doorbell_sleep(node_doorbell *bell, uint32_t announced, int64_t deadline) {
  int in_time = base_futex_wait(&bell->rings, announced, deadline);
  node_doorbell_withdraw(bell);
  return in_time;
}

void node_doorbell_withdraw(node_doorbell *bell) { atomic_fetch_sub(&bell->sleepers, 1); }
