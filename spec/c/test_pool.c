/* The two allocators below the engine: ranges of a region (base/heap.h), and memory for arguments (task/pool.h). */
#include "base/heap.h"
#include "engine_fixture.h"
#include "task/pool.h"

/* ---- ranges ---- */

enum { UNITS = 4096, UNIT = 64 };

/* The heap, and for each unit the range that holds it. */
typedef struct model {
  base_heap heap;
  base_heap_range *records;
  uint32_t owner[UNITS];
  uint64_t offsets[UNITS + 1], sizes[UNITS + 1]; /* of ranges, by their number; size 0: not handed out */
} model;

static model *open_model(uint64_t capacity, uint32_t ranges) {
  model *m = calloc(1, sizeof *m);
  m->records = calloc(1, base_heap_records_size(ranges));
  base_heap_init(&m->heap, capacity, UNIT, m->records, ranges);
  return m;
}

static void close_model(model *m) {
  free(m->records);
  free(m);
}

static uint64_t largest_gap(const model *m) {
  uint64_t largest = 0, gap = 0;
  for (uint64_t unit = 0; unit < m->heap.capacity / UNIT; unit++) {
    gap = m->owner[unit] ? 0 : gap + 1;
    if (gap > largest) largest = gap;
  }
  return largest * UNIT;
}

static uint32_t take(model *m, uint64_t size) {
  uint64_t offset = 0, units = size ? (size + UNIT - 1) / UNIT : 1;
  uint32_t range = base_heap_alloc(&m->heap, size, &offset);
  if (!range) return 0;
  assert_int_equal(offset % UNIT, 0);
  assert_true(offset / UNIT + units <= m->heap.capacity / UNIT);
  for (uint64_t unit = offset / UNIT; unit < offset / UNIT + units; unit++) {
    assert_int_equal(m->owner[unit], 0);
    m->owner[unit] = range;
  }
  m->offsets[range] = offset / UNIT;
  m->sizes[range] = units;
  return range;
}

static void give(model *m, uint32_t range) {
  for (uint64_t i = 0; i < m->sizes[range]; i++) m->owner[m->offsets[range] + i] = 0;
  m->sizes[range] = 0;
  base_heap_free(&m->heap, range);
}

static void ranges_are_disjoint_and_a_request_fails_only_if_no_gap_holds_it(void **state) {
  (void)state;
  uint32_t refused = 0;
  for (uint32_t seed = 0; seed < (fixture_small() ? 4u : 30u); seed++) {
    fixture_random random = {seed};
    model *m = open_model((uint64_t)UNITS * UNIT - seed, UNITS);
    uint32_t most = 1u << (4 + seed % 8), live[UNITS], count = 0;
    for (uint32_t step = 0; step < 4000; step++) {
      if (count && fixture_chance(&random, step % 1000 < 600 ? 35 : 60)) {
        uint32_t at = fixture_below(&random, count);
        give(m, live[at]);
        live[at] = live[--count];
        continue;
      }
      uint64_t size = fixture_below(&random, most * UNIT);
      uint32_t range = take(m, size);
      if (range)
        live[count++] = range;
      else
        refused++, assert_true(largest_gap(m) < size);
      if (step % 64 == 0) assert_int_equal(base_heap_largest(&m->heap), largest_gap(m));
    }
    while (count) give(m, live[--count]);
    assert_int_equal(m->heap.used, 0);
    assert_int_equal(m->heap.live, 0);
    assert_int_equal(base_heap_largest(&m->heap), m->heap.capacity);
    close_model(m);
  }
  assert_true(refused > 0);
}

/* Many free ranges of one size class, and only the one freed first is large enough. */
static void the_largest_request_that_is_promised_succeeds(void **state) {
  (void)state;
  enum { COUNT = 40, SMALL = 64, LARGE = 67 }; /* one class: 64 to 71 units */
  model *m = open_model((uint64_t)UNITS * UNIT, UNITS);
  uint32_t ranges[COUNT], walls[COUNT];
  for (int i = 0; i < COUNT; i++) {
    ranges[i] = take(m, (i ? SMALL : LARGE) * UNIT);
    walls[i] = take(m, UNIT);
    assert_true(ranges[i] && walls[i]);
  }
  while (take(m, UNIT)) {
  }
  for (int i = 0; i < COUNT; i++) give(m, ranges[i]);
  assert_int_equal(base_heap_largest(&m->heap), LARGE * UNIT);
  assert_int_not_equal(take(m, LARGE * UNIT), 0);
  close_model(m);
}

static void a_range_coalesces_with_both_neighbours(void **state) {
  (void)state;
  for (uint32_t order = 0; order < 6; order++) {
    static const uint32_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    model *m = open_model(UNIT * 30, 64);
    uint32_t ranges[3] = {take(m, UNIT * 10), take(m, UNIT * 10), take(m, UNIT * 10)};
    assert_int_equal(base_heap_largest(&m->heap), 0);
    assert_int_equal(take(m, 1), 0);
    for (int i = 0; i < 3; i++) give(m, ranges[orders[order][i]]);
    assert_int_not_equal(take(m, UNIT * 30), 0);
    close_model(m);
  }
}

static void a_heap_without_records_hands_out_what_it_can(void **state) {
  (void)state;
  model *m = open_model(UNIT * 30, 2);
  uint32_t first = take(m, UNIT), second = take(m, UNIT);
  assert_true(first && second);
  assert_int_equal(m->heap.used, UNIT * 30); /* the second could not be split */
  assert_int_equal(take(m, UNIT), 0);
  give(m, first);
  give(m, second);
  assert_int_equal(m->heap.used, 0);
  assert_int_equal(base_heap_largest(&m->heap), UNIT * 30);
  close_model(m);
}

static void a_heap_refuses_what_exceeds_it(void **state) {
  (void)state;
  model *m = open_model(UNIT * 30, 64);
  assert_int_equal(take(m, UNIT * 30 + 1), 0);
  uint64_t offset;
  assert_int_equal(base_heap_alloc(&m->heap, UINT64_MAX, &offset), BASE_HEAP_NONE);
  assert_int_not_equal(take(m, 0), 0);
  assert_int_equal(m->heap.used, UNIT);
  base_heap_reset(&m->heap);
  memset(m->owner, 0, sizeof m->owner);
  assert_int_not_equal(take(m, UNIT * 30), 0);
  assert_int_equal(m->heap.high, UNIT * 30);
  close_model(m);
  model *none = open_model(UNIT - 1, 64);
  assert_int_equal(take(none, 0), 0);
  assert_int_equal(base_heap_largest(&none->heap), 0);
  close_model(none);
}

/* Sizes near 2^62 units: the size classes end there. */
static void a_heap_may_be_as_large_as_an_address_space(void **state) {
  (void)state;
  base_heap heap;
  base_heap_range records[16];
  uint64_t offset;
  base_heap_init(&heap, UINT64_MAX, 1, records, 15);
  uint32_t range = base_heap_alloc(&heap, UINT64_MAX - 100, &offset);
  assert_int_not_equal(range, 0);
  assert_int_equal(base_heap_largest(&heap), 100);
  base_heap_free(&heap, range);
  assert_int_equal(base_heap_largest(&heap), UINT64_MAX);
}

/* ---- memory for arguments ---- */

enum { PIECES = 2000 };

typedef struct piece {
  uint32_t unit, bytes;
  unsigned char fill;
} piece;

static task_pool *open_pool(uint64_t bytes, void **memory) {
  task_pool *pool = malloc(sizeof *pool);
  size_t size = (task_pool_size(bytes) + TASK_POOL_PAGE - 1) / TASK_POOL_PAGE * TASK_POOL_PAGE;
  *memory = aligned_alloc(TASK_POOL_PAGE, size);
  memset(*memory, 0, size);
  task_pool_init(pool, *memory, bytes);
  return pool;
}

static void close_pool(task_pool *pool, void *memory) {
  free(memory);
  free(pool);
}

static void check_piece(const task_pool *pool, const piece *p) {
  const unsigned char *bytes = task_pool_at(pool, p->unit);
  for (uint32_t i = 0; i < p->bytes; i++) assert_int_equal(bytes[i], p->fill);
}

static uint32_t random_bytes(fixture_random *random) {
  uint32_t kind = fixture_below(random, 100);
  return kind < 70   ? fixture_below(random, 300)
         : kind < 95 ? fixture_below(random, 1400)
                     : fixture_below(random, 20000);
}

static void pieces_are_disjoint_aligned_and_all_come_back(void **state) {
  (void)state;
  for (uint32_t seed = 1; seed <= (fixture_small() ? 4u : 20u); seed++) {
    fixture_random random = {seed};
    void *memory;
    const uint64_t capacity = 64 * TASK_POOL_PAGE;
    task_pool *pool = open_pool(capacity, &memory);
    piece live[PIECES];
    uint32_t count = 0, refused = 0;
    for (uint32_t step = 0; step < 20000; step++) {
      if (count == PIECES || (count && fixture_chance(&random, step % 5000 < 3000 ? 40 : 62))) {
        uint32_t at = fixture_below(&random, count);
        check_piece(pool, &live[at]);
        task_pool_give(pool, live[at].unit);
        live[at] = live[--count];
        continue;
      }
      piece new = {.bytes = random_bytes(&random), .fill = (unsigned char)step};
      new.unit = task_pool_take(pool, new.bytes);
      refused += new.unit == UINT32_MAX;
      if (new.unit == UINT32_MAX) continue;
      assert_int_equal((uintptr_t)task_pool_at(pool, new.unit) % TASK_POOL_UNIT, 0);
      assert_true((uint64_t) new.unit *TASK_POOL_UNIT + new.bytes <= capacity);
      memset(task_pool_at(pool, new.unit), new.fill, new.bytes);
      live[count++] = new;
    }
    assert_true(refused > 0);
    while (count) task_pool_give(pool, live[--count].unit);
    uint32_t all = task_pool_take(pool, (uint32_t)capacity); /* no mix of sizes has worn it out */
    assert_int_not_equal(all, UINT32_MAX);
    task_pool_give(pool, all);
    close_pool(pool, memory);
  }
}

static void each_size_can_fill_the_pool(void **state) {
  (void)state;
  void *memory;
  task_pool *pool = open_pool(16 * TASK_POOL_PAGE, &memory);
  uint32_t units[16 * 64 + 1]; /* the last take is refused */
  for (uint32_t bytes = 0; bytes <= 9000; bytes += 61) {
    uint32_t class = bytes ? (bytes + 63) / 64 : 1, count = 0;
    uint32_t pages = (bytes + TASK_POOL_PAGE - 1) / TASK_POOL_PAGE;
    uint32_t expected = class <= TASK_POOL_CLASSES ? 16 * (64 / class) : 16 / pages;
    while ((units[count] = task_pool_take(pool, bytes)) != UINT32_MAX) count++;
    assert_int_equal(count, expected);
    for (uint32_t i = 0; i < count; i++) task_pool_give(pool, units[i]);
  }
  close_pool(pool, memory);
}

static void a_pool_refuses_what_exceeds_it(void **state) {
  (void)state;
  void *memory;
  task_pool *pool = open_pool(4 * TASK_POOL_PAGE, &memory);
  assert_int_equal(task_pool_take(pool, 4 * TASK_POOL_PAGE + 1), UINT32_MAX);
  assert_int_equal(task_pool_take(pool, UINT32_MAX), UINT32_MAX);
  assert_int_equal(task_pool_take(pool, UINT32_MAX - 30), UINT32_MAX);
  assert_int_not_equal(task_pool_take(pool, 4 * TASK_POOL_PAGE), UINT32_MAX);
  assert_int_equal(task_pool_take(pool, 1), UINT32_MAX);
  close_pool(pool, memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges_are_disjoint_and_a_request_fails_only_if_no_gap_holds_it),
      cmocka_unit_test(the_largest_request_that_is_promised_succeeds),
      cmocka_unit_test(a_range_coalesces_with_both_neighbours),
      cmocka_unit_test(a_heap_without_records_hands_out_what_it_can),
      cmocka_unit_test(a_heap_refuses_what_exceeds_it),
      cmocka_unit_test(a_heap_may_be_as_large_as_an_address_space),
      cmocka_unit_test(pieces_are_disjoint_aligned_and_all_come_back),
      cmocka_unit_test(each_size_can_fill_the_pool),
      cmocka_unit_test(a_pool_refuses_what_exceeds_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
