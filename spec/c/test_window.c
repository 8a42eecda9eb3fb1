/* Slots, edges and the memory of failures, without an engine around them. */
#include "engine_fixture.h"
#include "task/queue.h"
#include "task/window.h"
#include <sched.h>

typedef struct desk {
  task_window window;
  void *memory;
} desk;

static desk *open_desk(uint32_t tasks, uint32_t edges) {
  desk *d = aligned_alloc(BASE_CACHE_LINE, sizeof *d);
  size_t size = task_window_size(tasks, edges);
  d->memory = aligned_alloc(BASE_CACHE_LINE, size);
  memset(d->memory, 0, size);
  task_window_init(&d->window, d->memory, tasks, edges);
  return d;
}

static void close_desk(desk *d) {
  free(d->memory);
  free(d);
}

static uint32_t sequence_of(const desk *d, uint32_t slot) { return d->window.residents[slot].sequence; }

/* A task that depends on `producers`; returns its slot. */
static uint32_t submit(desk *d, const uint32_t *producers, uint32_t count, int *ready) {
  uint32_t slot = task_window_take(&d->window);
  assert_int_not_equal(slot, TASK_NONE);
  for (uint32_t i = 0; i < count; i++)
    task_window_depend(&d->window, producers[i], sequence_of(d, producers[i]));
  assert_true(task_window_reserve_edges(&d->window, slot));
  *ready = task_window_link(&d->window, slot);
  return slot;
}

/* Completes a task; the number of tasks that became ready. */
static uint32_t complete(desk *d, uint32_t slot, int failed) {
  uint32_t ready = 0, edge = task_window_close(&d->window, slot, failed, 0);
  while (edge != TASK_NONE) ready += task_window_release(&d->window, &edge, failed) != TASK_NONE;
  return ready;
}

/* ---- slots ---- */

static void a_window_hands_out_each_slot_once(void **state) {
  (void)state;
  desk *d = open_desk(3, 0);
  uint32_t slots[3];
  for (int i = 0; i < 3; i++) slots[i] = task_window_take(&d->window);
  assert_int_equal(task_window_take(&d->window), TASK_NONE);
  assert_int_equal(d->window.live, 3);
  uint32_t first = sequence_of(d, slots[1]);
  assert_true(task_window_holds(&d->window, slots[1], first));
  complete(d, slots[1], 0);
  assert_true(task_window_holds(&d->window, slots[1], first));
  task_window_give(&d->window, slots[1]);
  assert_false(task_window_holds(&d->window, slots[1], first));
  assert_int_equal(task_window_take(&d->window), slots[1]);
  assert_int_not_equal(sequence_of(d, slots[1]), first);
  assert_false(task_window_holds(&d->window, slots[1], first));
  assert_false(task_window_holds(&d->window, 3, first));
  assert_int_equal(d->window.high, 3);
  close_desk(d);
}

static void a_task_is_ready_when_its_last_producer_closes(void **state) {
  (void)state;
  for (uint32_t count = 0; count <= 20; count++) {
    desk *d = open_desk(32, 64);
    uint32_t producers[20];
    int ready;
    for (uint32_t i = 0; i < count; i++) producers[i] = submit(d, NULL, 0, &ready);
    for (uint32_t i = 0; i < count / 3; i++) complete(d, producers[i], 0);
    uint32_t consumer = submit(d, producers, count, &ready);
    assert_int_equal(ready, count / 3 == count);
    for (uint32_t i = count / 3; i < count; i++)
      assert_int_equal(complete(d, producers[i], 0), i + 1 == count);
    assert_int_equal(d->window.slots[consumer].poisoned, 0);
    complete(d, consumer, 0);
    task_window_give(&d->window, consumer);
    assert_int_equal(d->window.edge_heap.used, 0);
    close_desk(d);
  }
}

static void a_producer_that_is_named_twice_is_one_edge(void **state) {
  (void)state;
  desk *d = open_desk(8, 0);
  int ready;
  uint32_t producer = submit(d, NULL, 0, &ready);
  uint32_t many[6] = {producer, producer, producer, producer, producer, producer};
  submit(d, many, 6, &ready);
  assert_int_equal(d->window.producer_count, 1);
  assert_int_equal(complete(d, producer, 0), 1);
  close_desk(d);
}

static void poison_comes_from_open_closed_and_forgotten_producers(void **state) {
  (void)state;
  desk *d = open_desk(8, 0);
  int ready;
  uint32_t fails = submit(d, NULL, 0, &ready), early = submit(d, &fails, 1, &ready);
  uint32_t sequence = sequence_of(d, fails);
  assert_false(ready);
  assert_int_equal(complete(d, fails, 1), 1);
  assert_int_equal(d->window.slots[early].poisoned, 1);
  uint32_t late = submit(d, &fails, 1, &ready);
  assert_true(ready);
  assert_int_equal(d->window.slots[late].poisoned, 1);
  task_window_give(&d->window, fails);
  uint32_t later = task_window_take(&d->window);
  task_window_depend(&d->window, fails, sequence);
  assert_true(task_window_link(&d->window, later));
  assert_int_equal(d->window.slots[later].poisoned, 1);
  uint32_t clean = submit(d, NULL, 0, &ready);
  assert_int_equal(d->window.slots[clean].poisoned, 0);
  close_desk(d);
}

/* ---- edges ---- */

static void edges_beyond_the_own_ones_come_from_the_pool(void **state) {
  (void)state;
  desk *d = open_desk(64, 16);
  uint32_t producers[40], slot;
  int ready;
  for (int i = 0; i < 40; i++) producers[i] = submit(d, NULL, 0, &ready);
  uint32_t first = submit(d, producers, TASK_OWN_EDGES, &ready);
  assert_int_equal(d->window.edge_heap.used, 0);
  uint32_t second = submit(d, producers, TASK_OWN_EDGES + 16, &ready);
  assert_int_equal(d->window.edge_heap.used, 16);
  slot = task_window_take(&d->window);
  for (int i = 0; i < TASK_OWN_EDGES + 1; i++)
    task_window_depend(&d->window, producers[i], sequence_of(d, producers[i]));
  assert_false(task_window_reserve_edges(&d->window, slot));
  for (int i = 0; i < 40; i++) complete(d, producers[i], 0);
  complete(d, first, 0);
  complete(d, second, 0);
  task_window_give(&d->window, second);
  assert_int_equal(d->window.edge_heap.used, 0);
  assert_true(task_window_reserve_edges(&d->window, slot));
  assert_true(task_window_link(&d->window, slot)); /* they all were over in the meantime */
  close_desk(d);
}

static void producers_that_complete_while_the_pool_is_full_need_no_edge(void **state) {
  (void)state;
  desk *d = open_desk(64, 0);
  uint32_t producers[40], slot;
  int ready;
  for (int i = 0; i < 40; i++) producers[i] = submit(d, NULL, 0, &ready);
  slot = task_window_take(&d->window);
  for (int i = 0; i < 40; i++) task_window_depend(&d->window, producers[i], sequence_of(d, producers[i]));
  assert_false(task_window_reserve_edges(&d->window, slot));
  assert_int_equal(d->window.producer_count, 40);
  for (int i = 0; i < 20; i++) complete(d, producers[i], 0);
  for (int i = 20; i < 37; i++) complete(d, producers[i], i == 30);
  assert_true(task_window_reserve_edges(&d->window, slot));
  assert_int_equal(d->window.producer_count, 3);
  assert_false(task_window_link(&d->window, slot));
  for (int i = 37; i < 40; i++) assert_int_equal(complete(d, producers[i], 0), i == 39);
  assert_int_equal(d->window.slots[slot].poisoned, 1); /* by number 30 */
  close_desk(d);
}

/* ---- failures ---- */

static void give_failed(desk *d, uint32_t slot) {
  complete(d, slot, 1);
  task_window_give(&d->window, slot);
}

static void failures_are_remembered_in_any_order(void **state) {
  (void)state;
  enum { COUNT = 1500 };
  static int failed[COUNT + 1];
  for (uint64_t seed = 1; seed <= 20; seed++) {
    fixture_random random = {seed};
    desk *d = open_desk(COUNT, 0);
    uint32_t slots[COUNT], left = COUNT;
    memset(failed, 0, sizeof failed);
    for (int i = 0; i < COUNT; i++) slots[i] = task_window_take(&d->window);
    while (left) {
      uint32_t at = fixture_below(&random, left), slot = slots[at], sequence = sequence_of(d, slot);
      slots[at] = slots[--left];
      failed[sequence] = fixture_chance(&random, seed % 2 ? 90 : 20);
      if (failed[sequence])
        give_failed(d, slot);
      else
        complete(d, slot, 0), task_window_give(&d->window, slot);
    }
    assert_false(d->window.failures.all);
    for (uint32_t sequence = 1; sequence <= COUNT; sequence++)
      assert_int_equal(task_failures_find(&d->window.failures, sequence), failed[sequence]);
    assert_false(task_failures_find(&d->window.failures, COUNT + 1));
    task_window_reset(&d->window);
    assert_false(task_failures_any(&d->window.failures));
    close_desk(d);
  }
}

static void a_chain_of_failures_is_one_range(void **state) {
  (void)state;
  desk *d = open_desk(4, 0);
  for (int i = 0; i < 100000; i++) give_failed(d, task_window_take(&d->window));
  assert_int_equal(d->window.failures.count, 1);
  assert_false(d->window.failures.all);
  close_desk(d);
}

static void too_many_ranges_of_failures_count_as_all(void **state) {
  (void)state;
  desk *d = open_desk(4, 0);
  for (int i = 0; i < 2 * TASK_FAILED_RANGES; i++) {
    uint32_t slot = task_window_take(&d->window);
    complete(d, slot, i % 2);
    task_window_give(&d->window, slot);
  }
  assert_int_equal(d->window.failures.count, TASK_FAILED_RANGES);
  assert_false(task_failures_find(&d->window.failures, 1));
  uint32_t slot = task_window_take(&d->window);
  complete(d, slot, 0);
  task_window_give(&d->window, slot);
  give_failed(d, task_window_take(&d->window));
  assert_true(task_failures_find(&d->window.failures, 1));
  close_desk(d);
}

static void sequences_wrap_past_zero(void **state) {
  (void)state;
  desk *d = open_desk(4, 0);
  d->window.sequence = UINT32_MAX - 2;
  for (int i = 0; i < 6; i++) give_failed(d, task_window_take(&d->window));
  assert_false(task_failures_find(&d->window.failures, 0));
  assert_true(task_failures_find(&d->window.failures, UINT32_MAX));
  assert_true(task_failures_find(&d->window.failures, 1));
  assert_true(task_failures_find(&d->window.failures, 4));
  assert_false(task_failures_find(&d->window.failures, 5));
  assert_false(task_failures_find(&d->window.failures, UINT32_MAX - 2));
  close_desk(d);
}

/* ---- the queue ---- */

static void a_queue_is_first_in_first_out_and_keeps_long_ones_apart(void **state) {
  (void)state;
  static _Atomic uint32_t entries[32];
  task_queue queue;
  uint32_t out[32];
  task_queue_init(&queue, entries, 32);
  atomic_store(&queue.top, UINT32_MAX - 40);
  atomic_store(&queue.bottom, UINT32_MAX - 40); /* the counters wrap on the way */
  for (uint32_t round = 0; round < 10; round++) {
    for (uint32_t i = 0; i < 12; i++)
      task_queue_push(&queue, i == 5 ? i | TASK_ENTRY_FLAGS : i, memory_order_release);
    assert_int_equal(task_queue_claim(&queue, out, 32, 0), 0);
    assert_int_equal(task_queue_claim(&queue, out, 3, 1), 3);
    assert_int_equal(out[2], 2);
    assert_int_equal(task_queue_claim(&queue, out, 32, 1), 2);
    assert_int_equal(task_queue_claim(&queue, out, 32, 0), 1);
    assert_int_equal(out[0], 5 | TASK_ENTRY_FLAGS);
    assert_int_equal(task_queue_count(&queue), 6);
    assert_int_equal(task_queue_claim(&queue, out, 32, 1), 6);
    assert_int_equal(out[5], 11);
    assert_int_equal(task_queue_claim(&queue, out, 32, 1), 0);
  }
}

static void others_take_the_run_of_entries_that_is_offered(void **state) {
  (void)state;
  static _Atomic uint32_t entries[8];
  task_queue queue;
  uint32_t out[8];
  task_queue_init(&queue, entries, 8);
  task_queue_push(&queue, 0 | TASK_ENTRY_OFFERED, memory_order_release);
  task_queue_push(&queue, 1 | TASK_ENTRY_OFFERED, memory_order_release);
  for (uint32_t i = 2; i < 5; i++) task_queue_push(&queue, i, memory_order_release);
  assert_int_equal(task_queue_claim(&queue, out, 8, 0), 2);
  assert_int_equal(task_queue_claim(&queue, out, 8, 0), 0);
  task_queue_offer(&queue, 2);
  assert_int_equal(task_queue_claim(&queue, out, 8, 0), 1);
  assert_int_equal(out[0], 2 | TASK_ENTRY_OFFERED);
  assert_int_equal(task_queue_claim(&queue, out, 8, 1), 2);
}

typedef struct contest {
  task_queue queue;
  _Atomic uint32_t entries[64];
  _Atomic uint32_t taken[100000], stop;
} contest;

static void *steal(void *argument) {
  contest *c = argument;
  uint32_t out[16];
  for (;;) {
    uint32_t last = atomic_load(&c->stop), count = task_queue_claim(&c->queue, out, 16, 1);
    for (uint32_t i = 0; i < count; i++) atomic_fetch_add(&c->taken[out[i] & ~TASK_ENTRY_FLAGS], 1);
    if (!count && last) return NULL;
  }
}

static void each_entry_is_claimed_once_by_many(void **state) {
  (void)state;
  static contest c;
  pthread_t threads[3];
  uint32_t pushed = 0, out[4], total = fixture_small() ? 10000 : 100000;
  task_queue_init(&c.queue, c.entries, 64);
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, steal, &c), 0);
  while (pushed < total) {
    if (task_queue_count(&c.queue) < 64)
      task_queue_push(&c.queue, pushed % 5 ? pushed : pushed | TASK_ENTRY_FLAGS, memory_order_release),
          pushed++;
    else
      for (uint32_t i = 0, count = task_queue_claim(&c.queue, out, 4, 1); i < count; i++)
        atomic_fetch_add(&c.taken[out[i] & ~TASK_ENTRY_FLAGS], 1);
  }
  atomic_store(&c.stop, 1);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  for (uint32_t i = 0; i < total; i++) assert_int_equal(c.taken[i], 1);
}

/* ---- linking while producers close ---- */

typedef struct race {
  desk *d;
  uint32_t producers[8];
  _Atomic uint32_t round, ready, ended;
  uint32_t rounds;
} race;

static void until(_Atomic uint32_t *word, uint32_t value) {
  for (uint32_t spins = 0; atomic_load(word) < value; spins++)
    spins < 1000 ? base_relax() : (void)sched_yield();
}

static void *close_producers(void *argument) {
  race *r = argument;
  for (uint32_t round = 1; round <= r->rounds; round++) {
    until(&r->round, round);
    for (int i = 0; i < 8; i++)
      atomic_fetch_add(&r->ready, complete(r->d, r->producers[i], i == 7 && round % 2));
    atomic_store(&r->ended, round);
  }
  return NULL;
}

static void a_link_and_a_close_agree_on_who_has_the_task(void **state) {
  (void)state;
  race r = {.d = open_desk(16, 64), .rounds = fixture_small() ? 2000 : 30000};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, close_producers, &r), 0);
  for (uint32_t round = 1; round <= r.rounds; round++) {
    int ready;
    for (int i = 0; i < 8; i++) r.producers[i] = submit(r.d, NULL, 0, &ready);
    atomic_store(&r.ready, 0);
    atomic_store(&r.round, round);
    uint32_t consumer = submit(r.d, r.producers, 8, &ready);
    until(&r.ended, round);
    assert_int_equal((uint32_t)ready + atomic_load(&r.ready), 1);
    assert_int_equal(r.d->window.slots[consumer].poisoned, round % 2);
    for (int i = 0; i < 8; i++) task_window_give(&r.d->window, r.producers[i]);
    complete(r.d, consumer, 0);
    task_window_give(&r.d->window, consumer);
    task_window_reset(&r.d->window);
  }
  pthread_join(thread, NULL);
  assert_int_equal(r.d->window.edge_heap.used, 0);
  close_desk(r.d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_window_hands_out_each_slot_once),
      cmocka_unit_test(a_task_is_ready_when_its_last_producer_closes),
      cmocka_unit_test(a_producer_that_is_named_twice_is_one_edge),
      cmocka_unit_test(poison_comes_from_open_closed_and_forgotten_producers),
      cmocka_unit_test(edges_beyond_the_own_ones_come_from_the_pool),
      cmocka_unit_test(producers_that_complete_while_the_pool_is_full_need_no_edge),
      cmocka_unit_test(failures_are_remembered_in_any_order),
      cmocka_unit_test(a_chain_of_failures_is_one_range),
      cmocka_unit_test(too_many_ranges_of_failures_count_as_all),
      cmocka_unit_test(sequences_wrap_past_zero),
      cmocka_unit_test(a_queue_is_first_in_first_out_and_keeps_long_ones_apart),
      cmocka_unit_test(others_take_the_run_of_entries_that_is_offered),
      cmocka_unit_test(each_entry_is_claimed_once_by_many),
      cmocka_unit_test(a_link_and_a_close_agree_on_who_has_the_task),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
