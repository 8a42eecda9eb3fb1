/* The static arena of a worker. */
#include "chip/worker.h"

/* The heap region may be used by engines: all must be spare, and go. worker->lock is held. */
static baton_status commit(baton_worker *worker, const baton_arena *arena, int *changed, baton_error *err) {
  const uint64_t sizes[DEVICE_REGION_COUNT] = {[DEVICE_REGION_HEAP] = arena->heap,
                                               [DEVICE_REGION_SHARED] = arena->shared,
                                               [DEVICE_REGION_IMAGE] = arena->image};
  if (worker->heap_lent)
    return baton_error_set(err, BATON_BUSY, "setup_arena: %s the heap",
                           worker->rounds ? "open rounds use" : "a run that was submitted meanwhile uses");
  return device_arena_commit(worker->dev, sizes, changed, err);
}

static int is_large_enough(baton_worker *worker, const baton_arena *arena) {
  pthread_mutex_lock(&worker->lock);
  int enough = device_arena_region(worker->dev, DEVICE_REGION_HEAP).size >= arena->heap &&
               device_arena_region(worker->dev, DEVICE_REGION_SHARED).size >= arena->shared &&
               device_arena_region(worker->dev, DEVICE_REGION_IMAGE).size >= arena->image;
  pthread_mutex_unlock(&worker->lock);
  return enough;
}

static baton_status grow(baton_worker *worker, const baton_arena *arena, int *changed, baton_error *err) {
  if (is_large_enough(worker, arena)) return BATON_OK;
  chip_worker_await_submitted(worker);
  (void)chip_worker_reclaim(worker);
  pthread_mutex_lock(&worker->lock);
  baton_status status = commit(worker, arena, changed, err);
  pthread_mutex_unlock(&worker->lock);
  return status;
}

baton_status baton_worker_setup_arena(baton_worker *worker, const baton_arena *arena, int *changed,
                                      baton_error *err) {
  int grown = 0;
  if (changed) *changed = 0;
  BATON_TRY(chip_worker_enter(worker, "setup_arena", err));
  baton_status status = grow(worker, arena, &grown, err);
  chip_worker_leave(worker);
  if (changed) *changed = grown;
  return status;
}

int chip_worker_borrow_heap(baton_worker *worker, uint64_t bytes, uint64_t *address) {
  pthread_mutex_lock(&worker->lock);
  device_region heap = device_arena_region(worker->dev, DEVICE_REGION_HEAP);
  int lent = !worker->heap_lent && heap.size >= bytes && bytes > 0;
  if (lent) worker->heap_lent = 1;
  pthread_mutex_unlock(&worker->lock);
  *address = lent ? heap.address : 0;
  return lent;
}

void chip_worker_return_heap(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  worker->heap_lent = 0;
  pthread_mutex_unlock(&worker->lock);
}
