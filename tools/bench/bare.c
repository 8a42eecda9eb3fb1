#include "bare.h"
#include "base/clock.h"
#include "base/futex.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPINS = 20000 };

struct bare_peer {
  BASE_ALIGNED _Atomic uint32_t question;
  BASE_ALIGNED _Atomic uint32_t answer;
  BASE_ALIGNED _Atomic uint32_t way; /* of the questions from now on */
  pid_t child;
};

static bare_way way_of(const bare_peer *peer) {
  return (bare_way)atomic_load_explicit(&peer->way, memory_order_relaxed); /* ordered by the questions */
}

static void say(bare_peer *peer, _Atomic uint32_t *word, uint32_t value) {
  atomic_store_explicit(word, value, memory_order_release);
  if (way_of(peer) != BARE_SPIN) base_futex_wake(word, 1);
}

/* Waits for the first value after `seen`. Where there is one CPU for both, a spin must end for the other to go on. */
static void hear(const bare_peer *peer, const _Atomic uint32_t *word, uint32_t seen) {
  for (uint32_t spins = 0; atomic_load_explicit(word, memory_order_acquire) == seen; spins++) {
    if (way_of(peer) != BARE_SPIN)
      base_futex_wait(word, seen, INT64_MAX);
    else if (spins < SPINS)
      base_relax();
    else
      sched_yield();
  }
}

static void answer(bare_peer *peer) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (uint32_t seen = 0;; seen++) {
    hear(peer, &peer->question, seen);
    if (way_of(peer) == BARE_END) _exit(0);
    say(peer, &peer->answer, seen + 1);
  }
}

bare_peer *bare_open(void) {
  bare_peer *peer = mmap(NULL, sizeof *peer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t child = peer == MAP_FAILED ? -1 : fork();
  if (child == 0) answer(peer);
  if (child > 0) {
    peer->child = child;
    return peer;
  }
  perror("no other process");
  if (peer != MAP_FAILED) munmap(peer, sizeof *peer);
  return NULL;
}

static void ask(bare_peer *peer) {
  uint32_t seen = atomic_load_explicit(&peer->answer, memory_order_relaxed);
  say(peer, &peer->question, seen + 1);
  hear(peer, &peer->answer, seen);
}

/* The first question of another way finds the other side waiting the old one. */
static void turn_to(bare_peer *peer, bare_way way) {
  uint32_t seen = atomic_load_explicit(&peer->answer, memory_order_relaxed);
  atomic_store_explicit(&peer->way, way, memory_order_relaxed);
  say(peer, &peer->question, seen + 1);
  base_futex_wake(&peer->question, 1);
  if (way != BARE_END) hear(peer, &peer->answer, seen);
}

void bare_close(bare_peer *peer) {
  turn_to(peer, BARE_END);
  waitpid(peer->child, NULL, 0);
  munmap(peer, sizeof *peer);
}

void bare_spin_until(int64_t end) {
  while (base_now() < end) base_relax();
}

double bare_round_trip(bare_peer *peer, bare_way way, uint32_t count, int64_t idle) {
  int64_t took = 0;
  turn_to(peer, way);
  for (uint32_t left = count; left > 0;) {
    uint32_t together = idle ? 1 : left;
    if (idle) bare_spin_until(base_now() + idle);
    int64_t begin = base_now();
    for (uint32_t i = 0; i < together; i++) ask(peer);
    took += base_now() - begin;
    left -= together;
  }
  turn_to(peer, BARE_FUTEX);
  return (double)took / count;
}
