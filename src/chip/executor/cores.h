/* chip/executor/cores.h - which core runs which task: a core runs one at a time, and a mixed task has a whole
** cluster.
**
** Lanes are fewer than cores. A lane leases some clusters and goes round their cores, because a lane runs
** one kernel at a time; after some tasks it trades them for others, so that every core has its turn, and
** when it has nothing to do it gives them back. Kernels that wait keep a core, or a cluster, of their own
** until they end.
**
** Cluster i has the matrix core i and the vector cores C+2i and C+2i+1, C being the number of clusters. */
#ifndef CHIP_CORES_H
#define CHIP_CORES_H

#include "device/device.h"
#include <baton/orchestration.h>
#include <pthread.h>

enum {
  CHIP_CLUSTERS = 64,
  CHIP_PLACES = 3,
  CHIP_MOST_OF_KIND = 2 * CHIP_CLUSTERS,
  CHIP_LEASE_TASKS = 16, /* at least, before a lease is traded … */
  CHIP_CLUSTER_TASKS = 4 /* … and for each of its clusters */
};

/* All cores of a device. Cores that are free belong to nobody; a lease holds whole clusters. */
typedef struct chip_cores {
  uint32_t clusters;
  uint32_t lease;       /* clusters that a lane leases at a time */
  pthread_mutex_t lock; /* guards what follows */
  uint64_t
      free[CHIP_PLACES]; /* a bit for each cluster: its matrix core, its first and its second vector core */
  uint64_t second;       /* clusters whose second vector core is the next to have its turn */
  uint32_t cursor;       /* the next lease begins here */
} chip_cores;

/* The clusters that one lane has; the lane's alone. All zero: none. */
typedef struct chip_lease {
  uint32_t count, left; /* clusters; tasks until they are traded */
  uint32_t turns[2];    /* in the list of clusters: of matrix cores and whole clusters, of vector cores */
  uint64_t set;         /* the clusters */
  uint64_t second;      /* as above, for the clusters of the lease */
  uint8_t clusters[CHIP_CLUSTERS];
} chip_lease;

void chip_cores_open(chip_cores *cores, const device_platform *platform, uint32_t lanes);
void chip_cores_close(chip_cores *cores);

/* Gives the clusters of a lease back, and takes others. The lease is empty if there are no others. */
void chip_cores_trade(chip_cores *cores, chip_lease *lease);

/* Gives the clusters of a lease back. */
void chip_cores_give_lease(chip_cores *cores, chip_lease *lease);

/* A core of this kind, or a whole cluster, of one's own. False: there is none now. */
int chip_cores_take(chip_cores *cores, baton_core kind, uint32_t *core);
int chip_cores_take_cluster(chip_cores *cores, uint32_t *cluster);

void chip_cores_give(chip_cores *cores, uint32_t core);
void chip_cores_give_cluster(chip_cores *cores, uint32_t cluster);

/* Cores of one kind, or with CHIP_WHOLE clusters, for the instances of a task: `count` at most, `least` at least, into
** `places` by their numbers. Those from the `first` one of the kind on come first, if they are free. Returns how many; 0:
** there are not enough now. */
enum { CHIP_WHOLE = 0 };
uint32_t chip_cores_reserve(chip_cores *cores, uint32_t kind, uint32_t first, uint32_t count, uint32_t least,
                            uint8_t *places);
void chip_cores_give_places(chip_cores *cores, uint32_t kind, const uint8_t *places, uint32_t count);

/* How many there are of a kind. */
static inline uint32_t chip_cores_of_kind(const chip_cores *cores, uint32_t kind) {
  return kind == BATON_AIV ? 2 * cores->clusters : cores->clusters;
}

/* The number of a core by its place in its cluster: 0 the matrix core, 1 and 2 the vector cores. */
static inline uint32_t chip_core_at(const chip_cores *cores, uint32_t cluster, uint32_t place) {
  return place == 0 ? cluster : cores->clusters + 2 * cluster + place - 1;
}

/* True if the lease has clusters for another task. */
static inline int chip_lease_ready(chip_cores *cores, chip_lease *lease) {
  if (lease->left-- == 0) chip_cores_trade(cores, lease);
  return lease->count != 0;
}

static inline uint32_t chip_lease_turn(chip_lease *lease, uint32_t *turn) {
  if (*turn >= lease->count) *turn = 0;
  return lease->clusters[(*turn)++];
}

/* The cluster of the lease whose turn it is, for a mixed task. */
static inline uint32_t chip_lease_cluster(chip_lease *lease) {
  return chip_lease_turn(lease, &lease->turns[0]);
}

/* The core of the lease whose turn it is. */
static inline uint32_t chip_lease_core(const chip_cores *cores, chip_lease *lease, baton_core kind) {
  if (kind == BATON_AIC) return chip_core_at(cores, chip_lease_cluster(lease), 0);
  uint32_t cluster = chip_lease_turn(lease, &lease->turns[1]);
  uint32_t second = (uint32_t)(lease->second >> cluster & 1);
  lease->second ^= UINT64_C(1) << cluster;
  return chip_core_at(cores, cluster, 1 + second);
}

#endif
