#include "node/mapped.h"
#include "base/atomic.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/segment.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

typedef unsigned long long number; /* as printf takes it */

/* The address is stored last, with release: who reads it with acquire knows the size. */
typedef struct mapping {
  _Atomic(char *) address; /* NULL: not here */
  uint64_t size;
  int failure; /* errno, guarded by the lock */
} mapping;

struct node_mapped {
  pthread_mutex_t lock;
  pthread_cond_t added;
  int offers; /* to children of this process */
  mapping segments[BASE_SEGMENTS];
};

static const double patience = 10; /* seconds; the segment was on its way before the command */

baton_status node_mapped_open(node_mapped **out, baton_error *err) {
  node_mapped *mapped = *out = base_calloc(1, sizeof *mapped);
  if (!mapped) return base_out_of_memory(err, "the segments of the parent");
  pthread_condattr_t monotonic;
  pthread_mutex_init(&mapped->lock, NULL);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&mapped->added, &monotonic);
  pthread_condattr_destroy(&monotonic);
  return BATON_OK;
}

static char *address_of(const mapping *segment) {
  return atomic_load_explicit(&segment->address, memory_order_acquire);
}

void node_mapped_offer(node_mapped *mapped) { mapped->offers = 1; }

void node_mapped_close(node_mapped *mapped) {
  if (!mapped) return;
  for (uint32_t i = 0; i < BASE_SEGMENTS && !mapped->offers; i++)
    if (address_of(&mapped->segments[i])) munmap(address_of(&mapped->segments[i]), mapped->segments[i].size);
  pthread_cond_destroy(&mapped->added);
  pthread_mutex_destroy(&mapped->lock);
  base_free(mapped);
}

/* 0 or an errno. */
static int map(const node_mapped *mapped, uint64_t size, int fd, void **out) {
  void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (address == MAP_FAILED) return errno;
  int failure = mapped->offers ? base_segment_adopt(address, size, fd) : 0;
  if (failure)
    munmap(address, size);
  else
    *out = address;
  return failure;
}

void node_mapped_add(node_mapped *mapped, uint32_t segment_number, uint64_t size, int fd) {
  if (segment_number >= BASE_SEGMENTS || address_of(&mapped->segments[segment_number])) return;
  mapping *segment = &mapped->segments[segment_number];
  void *address = NULL;
  int failure = EMFILE; /* a descriptor for which there was no room */
  if (fd >= 0) failure = map(mapped, size, fd, &address);
  pthread_mutex_lock(&mapped->lock);
  if (failure) {
    segment->failure = failure;
  } else {
    segment->size = size;
    atomic_store_explicit(&segment->address, address, memory_order_release);
  }
  pthread_cond_broadcast(&mapped->added);
  pthread_mutex_unlock(&mapped->lock);
}

/* Waits for what the parent has sent; NULL after a failure. */
static char *await(node_mapped *mapped, uint32_t segment_number, baton_error *err) {
  mapping *segment = &mapped->segments[segment_number];
  int64_t deadline = base_deadline(patience);
  struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
  int in_time = 1;
  pthread_mutex_lock(&mapped->lock);
  while (!address_of(segment) && !segment->failure && in_time)
    in_time = pthread_cond_timedwait(&mapped->added, &mapped->lock, &until) == 0;
  char *address = address_of(segment);
  int failure = segment->failure;
  pthread_mutex_unlock(&mapped->lock);
  if (address) return address;
  if (!failure) {
    baton_error_set(err, BATON_PROTOCOL_ERROR, "segment %u of host memory did not come in %g s",
                    segment_number, patience);
    return NULL;
  }
  baton_error_set(err, base_cause_status(failure, BATON_IO_ERROR),
                  "segment %u of host memory cannot be mapped", segment_number);
  baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  return NULL;
}

void *node_mapped_resolve(void *context, uint32_t segment_number, uint64_t offset, uint64_t bytes,
                          baton_error *err) {
  node_mapped *mapped = context;
  if (segment_number >= BASE_SEGMENTS) {
    baton_error_set(err, BATON_PROTOCOL_ERROR, "segment %u of host memory: there are at most %d",
                    segment_number, BASE_SEGMENTS);
    return NULL;
  }
  const mapping *segment = &mapped->segments[segment_number];
  char *address = address_of(segment);
  if (!address) address = await(mapped, segment_number, err);
  if (!address) return NULL;
  if (offset <= segment->size && bytes <= segment->size - offset) return address + offset;
  baton_error_set(err, BATON_PROTOCOL_ERROR, "%llu bytes from byte %llu of segment %u, which has %llu",
                  (number)bytes, (number)offset, segment_number, (number)segment->size);
  return NULL;
}
