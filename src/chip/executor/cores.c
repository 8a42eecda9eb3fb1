#include "chip/executor/cores.h"
#include <assert.h>

void chip_cores_open(chip_cores *cores, const device_platform *platform, uint32_t lanes) {
  uint32_t clusters = platform->clusters, lease = clusters / (2 * lanes);
  assert(clusters <= CHIP_CLUSTERS && platform->aic_per_cluster == 1 && platform->aiv_per_cluster == 2);
  *cores = (chip_cores){.clusters = clusters, .lease = lease ? lease : 1};
  pthread_mutex_init(&cores->lock, NULL);
  for (int place = 0; place < CHIP_PLACES; place++)
    cores->free[place] = clusters == 64 ? UINT64_MAX : (UINT64_C(1) << clusters) - 1;
}

void chip_cores_close(chip_cores *cores) { pthread_mutex_destroy(&cores->lock); }

/* Clusters of which nobody has anything. The lock is held. */
static uint64_t whole_clusters(const chip_cores *cores) {
  return cores->free[0] & cores->free[1] & cores->free[2];
}

static void take_set(chip_cores *cores, uint64_t set) {
  for (int place = 0; place < CHIP_PLACES; place++) {
    assert((cores->free[place] & set) == set);
    cores->free[place] &= ~set;
  }
}

static void give_set(chip_cores *cores, uint64_t set) {
  for (int place = 0; place < CHIP_PLACES; place++) {
    assert((cores->free[place] & set) == 0);
    cores->free[place] |= set;
  }
}

/* The first cluster of the set from the cursor on, round the end; the set is not empty. */
static uint32_t next_of(const chip_cores *cores, uint64_t set) {
  uint64_t later = set & ~((UINT64_C(1) << cores->cursor) - 1);
  return (uint32_t)__builtin_ctzll(later ? later : set);
}

/* The next clusters of the set become those of the lease, as many as a lease has; returns them. */
static uint64_t choose(chip_cores *cores, chip_lease *lease, uint64_t set) {
  uint64_t chosen = 0;
  for (lease->count = 0; lease->count < cores->lease && set; lease->count++) {
    uint32_t cluster = next_of(cores, set);
    uint64_t bit = UINT64_C(1) << cluster;
    lease->clusters[lease->count] = (uint8_t)cluster;
    cores->cursor = cluster + 1 < cores->clusters ? cluster + 1 : 0;
    chosen |= bit;
    set &= ~bit;
  }
  return chosen;
}

static void give_back(chip_cores *cores, const chip_lease *lease) {
  give_set(cores, lease->set);
  cores->second = (cores->second & ~lease->set) | (lease->second & lease->set);
}

/* The old clusters go back last, so that they are not the next ones; they stay if there are no others. */
void chip_cores_trade(chip_cores *cores, chip_lease *lease) {
  pthread_mutex_lock(&cores->lock);
  uint64_t set = whole_clusters(cores);
  if (set) {
    set = choose(cores, lease, set);
    take_set(cores, set);
    give_back(cores, lease);
    lease->set = set;
    lease->second = cores->second;
  }
  pthread_mutex_unlock(&cores->lock);
  uint32_t tasks = CHIP_CLUSTER_TASKS * lease->count;
  lease->left = !lease->count ? 0 : tasks > CHIP_LEASE_TASKS ? tasks - 1 : CHIP_LEASE_TASKS - 1;
}

void chip_cores_give_lease(chip_cores *cores, chip_lease *lease) {
  lease->left = lease->count = 0;
  if (!lease->set) return;
  pthread_mutex_lock(&cores->lock);
  give_back(cores, lease);
  pthread_mutex_unlock(&cores->lock);
  lease->set = 0;
}

/* Clusters that are in use anyway come first, so that whole ones are left. */
static int take_place(chip_cores *cores, int first, int last, uint32_t *core) {
  for (int begun = 1; begun >= 0; begun--)
    for (int place = first; place <= last; place++) {
      uint64_t set = cores->free[place] & (begun ? ~whole_clusters(cores) : UINT64_MAX);
      if (!set) continue;
      uint32_t cluster = next_of(cores, set);
      cores->free[place] ^= UINT64_C(1) << cluster;
      *core = chip_core_at(cores, cluster, (uint32_t)place);
      return 1;
    }
  return 0;
}

int chip_cores_take(chip_cores *cores, baton_core kind, uint32_t *core) {
  pthread_mutex_lock(&cores->lock);
  int found = kind == BATON_AIC ? take_place(cores, 0, 0, core) : take_place(cores, 1, 2, core);
  pthread_mutex_unlock(&cores->lock);
  return found;
}

void chip_cores_give(chip_cores *cores, uint32_t core) {
  uint32_t vector =
      core - cores->clusters; /* meant if the core is none of the matrix cores, which come first */
  uint32_t cluster = core < cores->clusters ? core : vector / 2;
  uint32_t place = core < cores->clusters ? 0 : 1 + vector % 2;
  pthread_mutex_lock(&cores->lock);
  cores->free[place] |= UINT64_C(1) << cluster;
  pthread_mutex_unlock(&cores->lock);
}

int chip_cores_take_cluster(chip_cores *cores, uint32_t *cluster) {
  pthread_mutex_lock(&cores->lock);
  uint64_t set = whole_clusters(cores);
  if (set) {
    *cluster = next_of(cores, set);
    take_set(cores, UINT64_C(1) << *cluster);
  }
  pthread_mutex_unlock(&cores->lock);
  return set != 0;
}

void chip_cores_give_cluster(chip_cores *cores, uint32_t cluster) {
  pthread_mutex_lock(&cores->lock);
  give_set(cores, UINT64_C(1) << cluster);
  pthread_mutex_unlock(&cores->lock);
}

/* --- Several at a time ------------------------------------------------------------------------------------------ */

/* Core `index` of its kind, or a cluster. */
static int take_index(chip_cores *cores, uint32_t kind, uint32_t index) {
  uint32_t cluster = kind == BATON_AIV ? index / 2 : index;
  uint32_t first = kind == BATON_AIV ? 1 + index % 2 : 0, last = kind == CHIP_WHOLE ? CHIP_PLACES - 1 : first;
  uint64_t bit = UINT64_C(1) << cluster;
  for (uint32_t place = first; place <= last; place++)
    if (!(cores->free[place] & bit)) return 0;
  for (uint32_t place = first; place <= last; place++) cores->free[place] ^= bit;
  return 1;
}

static void give_number(chip_cores *cores, uint32_t kind, uint32_t number) {
  uint32_t vector = number - cores->clusters; /* meant for vector cores, which come last */
  if (kind == CHIP_WHOLE)
    give_set(cores, UINT64_C(1) << number);
  else if (kind == BATON_AIC)
    cores->free[0] |= UINT64_C(1) << number;
  else
    cores->free[1 + vector % 2] |= UINT64_C(1) << vector / 2;
}

uint32_t chip_cores_reserve(chip_cores *cores, uint32_t kind, uint32_t first, uint32_t count, uint32_t least,
                            uint8_t *places) {
  uint32_t all = chip_cores_of_kind(cores, kind), found = 0;
  uint32_t before = kind == BATON_AIV ? cores->clusters : 0; /* numbers of other kinds */
  pthread_mutex_lock(&cores->lock);
  for (uint32_t i = 0; i < all && found < count; i++) {
    uint32_t index = (first + i) % all;
    if (take_index(cores, kind, index)) places[found++] = (uint8_t)(before + index);
  }
  if (found < least)
    while (found) give_number(cores, kind, places[--found]);
  pthread_mutex_unlock(&cores->lock);
  return found;
}

void chip_cores_give_places(chip_cores *cores, uint32_t kind, const uint8_t *places, uint32_t count) {
  pthread_mutex_lock(&cores->lock);
  for (uint32_t i = 0; i < count; i++) give_number(cores, kind, places[i]);
  pthread_mutex_unlock(&cores->lock);
}
