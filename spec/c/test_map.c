/* Which earlier tasks the tensor map finds for an access: every kind of access on every relation of regions. */
#include "engine_fixture.h"
#include "task/map.h"

enum { R = TASK_READS, W = TASK_WRITES, RW = TASK_READS | TASK_WRITES, BYTES = 1300, MOST = 400 };

/* A map and a window without an engine: the test says when a task ends. */
typedef struct desk {
  task_window window;
  task_map *map;
  void *window_memory, *map_memory;
  size_t window_size, map_size;
} desk;

static void *zeroed(size_t size) {
  void *memory =
      aligned_alloc(BASE_CACHE_LINE, (size + BASE_CACHE_LINE - 1) & ~(size_t)(BASE_CACHE_LINE - 1));
  assert_non_null(memory);
  return memset(memory, 0, size);
}

static desk open_desk(uint32_t tasks, uint32_t regions) {
  desk d = {.window_size = task_window_size(tasks, 0), .map_size = task_map_size(regions)};
  d.window_memory = zeroed(d.window_size);
  d.map_memory = zeroed(d.map_size);
  task_window_init(&d.window, d.window_memory, tasks, 0);
  d.map = task_map_init(d.map_memory, regions);
  return d;
}

static void close_desk(desk *d) {
  free(d->window_memory);
  free(d->map_memory);
}

/* Submits a task; its producers are then in the window's draft. */
static uint32_t touch_all(desk *d, const task_access *accesses, uint32_t count) {
  uint32_t slot = task_window_take(&d->window);
  assert_int_not_equal(slot, TASK_NONE);
  assert_true(task_map_reserve(d->map, &d->window, count));
  for (uint32_t i = 0; i < count; i++) task_map_infer(d->map, &d->window, &accesses[i]);
  for (uint32_t i = 0; i < count; i++) task_map_record(d->map, &d->window, &accesses[i], slot);
  return slot;
}

static uint32_t touch(desk *d, uint32_t mode, uint64_t base, task_region region) {
  task_access access = {.base = base, .mode = mode, .region = region};
  return touch_all(d, &access, 1);
}

static void retire(desk *d, uint32_t slot) {
  (void)task_window_close(&d->window, slot, 0, 0);
  task_window_give(&d->window, slot);
}

static void empty(desk *d, const uint32_t *slots, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) retire(d, slots[i]);
  task_map_reset(d->map);
  assert_int_equal(task_map_live(d->map), 0);
}

static int is_producer(const desk *d, uint32_t slot) {
  for (uint32_t i = 0; i < d->window.producer_count; i++)
    if (d->window.producers[i] == slot) return 1;
  return 0;
}

static void assert_producers(const desk *d, const uint32_t *slots, uint32_t count) {
  assert_int_equal(d->window.producer_count, count);
  for (uint32_t i = 0; i < count; i++) assert_true(is_producer(d, slots[i]));
}
#define ASSERT_PRODUCERS(d, ...)                       \
  assert_producers(d, (const uint32_t[]){__VA_ARGS__}, \
                   sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define ASSERT_NO_PRODUCERS(d) assert_int_equal((d)->window.producer_count, 0)

static task_region run(uint64_t offset, uint64_t bytes) {
  return (task_region){.offset = offset, .run = bytes};
}

static task_region rows(uint64_t offset, uint64_t bytes, uint64_t stride, uint64_t count) {
  return (task_region){.offset = offset, .run = bytes, .ndim = 1, .dims = {{stride, count}}};
}

/* ---- the exact producers ---- */

typedef struct relation {
  const char *name;
  task_region first, second;
  int meet;
} relation;

static uint32_t relations(relation *out) {
  const relation all[] = {
      {"the same run", run(100, 50), run(100, 50), 1},
      {"disjoint runs", run(100, 50), run(400, 50), 0},
      {"neighbouring cells", run(100, 50), run(150, 50), 0},
      {"runs that overlap", run(100, 50), run(125, 50), 1},
      {"one byte shared", run(100, 51), run(150, 50), 1},
      {"a run that covers", run(100, 50), run(50, 200), 1},
      {"a run that is covered", run(50, 200), run(100, 50), 1},
      {"a run that is covered, in a cell", run(100, 50), run(110, 20), 1},
      {"the same tile", rows(0, 50, 200, 4), rows(0, 50, 200, 4), 1},
      {"neighbouring tiles", rows(0, 50, 200, 4), rows(50, 50, 200, 4), 0},
      {"tiles one below the other", rows(0, 50, 200, 2), rows(400, 50, 200, 2), 0},
      {"tiles that overlap", rows(0, 50, 200, 4), rows(25, 50, 200, 4), 1},
      {"tiles that share a row", rows(0, 50, 200, 3), rows(400, 50, 200, 2), 1},
      {"a tile that covers", rows(0, 50, 200, 2), rows(0, 100, 200, 4), 1},
      {"a tile that is covered", rows(0, 100, 200, 4), rows(0, 50, 200, 2), 1},
      {"a run over a tile", rows(0, 50, 200, 4), run(0, 800), 1},
      {"a tile in a run", run(0, 800), rows(0, 50, 200, 4), 1},
      {"a run between the rows", rows(0, 50, 200, 4), run(50, 150), 0},
      {"a run carried into the next row", rows(0, 150, 200, 4), run(150, 100), 1},
      {"a run in the gap of the rows", rows(0, 150, 200, 4), run(150, 50), 0},
      {"another layout", rows(0, 50, 200, 4), rows(0, 40, 160, 5), 1},
      {"another layout, apart", rows(0, 50, 200, 2), rows(600, 40, 160, 2), 0},
      {"nothing", run(100, 0), run(100, 50), 0},
  };
  memcpy(out, all, sizeof all);
  return sizeof all / sizeof *all;
}

static void two_accesses_are_ordered_if_they_meet_and_one_writes(void **state) {
  (void)state;
  static const uint32_t modes[] = {R, W, RW};
  relation all[32];
  desk d = open_desk(8, 16);
  for (uint32_t i = 0, count = relations(all); i < count; i++)
    for (uint32_t m = 0; m < 9; m++) {
      uint32_t one = modes[m / 3], two = modes[m % 3], slots[2];
      slots[0] = touch(&d, one, 1, all[i].first);
      slots[1] = touch(&d, two, 1, all[i].second);
      int expected = all[i].meet && ((one | two) & W);
      if (d.window.producer_count != (uint32_t)expected)
        fail_msg("%s, modes %u and %u", all[i].name, one, two);
      if (expected) ASSERT_PRODUCERS(&d, slots[0]);
      empty(&d, slots, 2);
    }
  close_desk(&d);
}

/* On the same region a task waits for the last writer, or for the readers since, which have waited for it already. */
static void three_accesses_of_one_region_need_no_more_than_the_last_edges(void **state) {
  (void)state;
  static const uint32_t modes[] = {R, W, RW};
  static const task_region regions[] = {{.offset = 64, .run = 64},
                                        {.offset = 0, .run = 50, .ndim = 1, .dims = {{200, 4}}}};
  desk d = open_desk(8, 16);
  for (uint32_t m = 0; m < 54; m++) {
    uint32_t mode[3] = {modes[m % 3], modes[m / 3 % 3], modes[m / 9 % 3]}, slots[3], expected[2], count = 0;
    for (int i = 0; i < 3; i++) slots[i] = touch(&d, mode[i], 1, regions[m / 27]);
    int first_writes = (mode[0] & W) != 0, second_writes = (mode[1] & W) != 0,
        third_writes = (mode[2] & W) != 0;
    if (second_writes || third_writes) expected[count++] = slots[1];
    if (!second_writes && (third_writes ? !first_writes : first_writes)) expected[count++] = slots[0];
    assert_producers(&d, expected, count);
    empty(&d, slots, 3);
  }
  close_desk(&d);
}

static void a_write_takes_over_what_it_covers(void **state) {
  (void)state;
  desk d = open_desk(16, 16);
  uint32_t left = touch(&d, W, 1, run(0, 50)), right = touch(&d, W, 1, run(50, 50)),
           reader = touch(&d, R, 1, run(0, 20));
  ASSERT_PRODUCERS(&d, left);
  uint32_t all = touch(&d, W, 1, run(0, 100));
  ASSERT_PRODUCERS(&d, left, right, reader);
  assert_int_equal(task_map_live(d.map), 1);
  touch(&d, R, 1, run(10, 10));
  ASSERT_PRODUCERS(&d, all);
  touch(&d, R, 1, run(60, 10));
  ASSERT_PRODUCERS(&d, all);
  close_desk(&d);
}

static void a_write_inside_leaves_the_rest_to_the_earlier_writer(void **state) {
  (void)state;
  desk d = open_desk(16, 16);
  uint32_t all = touch(&d, W, 1, run(0, 100)), part = touch(&d, W, 1, run(40, 20));
  ASSERT_PRODUCERS(&d, all);
  touch(&d, R, 1, run(0, 40));
  ASSERT_PRODUCERS(&d, all);
  touch(&d, R, 1, run(30, 20));
  ASSERT_PRODUCERS(&d, all, part);
  close_desk(&d);
}

static void a_reader_of_a_part_orders_a_writer_of_another_part(void **state) {
  (void)state;
  desk d = open_desk(16, 16);
  uint32_t writer = touch(&d, W, 1, run(0, 100)), reader = touch(&d, R, 1, run(0, 100));
  ASSERT_PRODUCERS(&d, writer);
  uint32_t part = touch(&d, W, 1, run(20, 20));
  ASSERT_PRODUCERS(&d, reader);
  touch(&d, RW, 1, run(0, 100));
  ASSERT_PRODUCERS(&d, reader, part);
  close_desk(&d);
}

static void buffers_do_not_meet(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  uint32_t slots[COUNT];
  desk d = open_desk(3 * COUNT, 2 * COUNT);
  for (uint64_t base = 0; base < COUNT; base++) {
    slots[base] = touch(&d, W, base << 20, run(0, 64));
    ASSERT_NO_PRODUCERS(&d);
  }
  for (uint64_t base = COUNT; base-- > 0;) {
    touch(&d, R, base << 20, run(32, 64));
    ASSERT_PRODUCERS(&d, slots[base]);
  }
  close_desk(&d);
}

/* ---- regions that are found at once ---- */

/* A region that was touched before is found without a look around it: whatever comes to overlap it must be seen. */
static void a_region_found_before_meets_what_came_since(void **state) {
  (void)state;
  const task_region others[] = {run(110, 20),         /* in the same cell */
                                run(100, 10),         /* from the same byte */
                                run(125, 50),         /* in no cell */
                                run(0, 400),          /* around it */
                                rows(100, 10, 20, 3), /* of another shape */
                                rows(90, 20, 100, 3)};
  desk d = open_desk(16, 16);
  for (uint32_t i = 0; i < sizeof others / sizeof *others; i++)
    for (uint32_t writes = 0; writes < 2; writes++) {
      uint32_t slots[6];
      slots[0] = touch(&d, W, 1, run(100, 50));
      slots[1] = touch(&d, R, 1, run(100, 50));
      ASSERT_PRODUCERS(&d, slots[0]);
      slots[2] = touch(&d, RW, 1, run(100, 50));
      ASSERT_PRODUCERS(&d, slots[1]);
      slots[3] = touch(&d, writes ? W : R, 1, others[i]);
      ASSERT_PRODUCERS(&d, slots[2]);
      slots[4] = touch(&d, W, 1, run(100, 50));
      assert_true(is_producer(&d, slots[3]));
      slots[5] = touch(&d, W, 1, others[i]);
      assert_true(is_producer(&d, slots[4]));
      empty(&d, slots, 6);
    }
  close_desk(&d);
}

static void a_region_found_before_is_alone_again_when_the_other_is_gone(void **state) {
  (void)state;
  desk d = open_desk(16, 64);
  touch(&d, W, 1, run(100, 50));
  touch(&d, W, 1, run(110, 20));
  touch(&d, W, 1, run(90, 100));
  uint32_t cover = touch(&d, W, 1, run(0, 400));
  assert_int_equal(task_map_live(d.map), 1);
  for (int i = 0; i < 3; i++) {
    uint32_t writer = touch(&d, W, 1, run(100, 50)), before = cover;
    ASSERT_PRODUCERS(&d, before);
    cover = touch(&d, RW, 1, run(0, 400));
    ASSERT_PRODUCERS(&d, before, writer);
    assert_int_equal(task_map_live(d.map), 1);
  }
  close_desk(&d);
}

/* The grid is laid anew, and regions that had cells of their own share one. */
static void regions_found_before_are_ordered_under_another_grid(void **state) {
  (void)state;
  enum { TILES = 40 };
  desk d = open_desk(1000, 1000);
  uint32_t writers[TILES];
  for (uint32_t i = 0; i < TILES; i++) writers[i] = touch(&d, W, 1, run(i * 10, 10));
  for (uint32_t turn = 0; turn < 5; turn++)
    for (uint32_t i = 0; i < TILES / 4; i++) {
      uint32_t group = touch(&d, RW, 1, run(i * 40, 40));
      assert_int_equal(d.window.producer_count,
                       turn ? 5 : 4); /* and the group before, where it was not written since */
      for (uint32_t k = i * 4; k < i * 4 + 4; k++) assert_true(is_producer(&d, writers[k]));
      for (uint32_t k = i * 4; k < i * 4 + 4; k++) {
        writers[k] = touch(&d, W, 1, run(k * 10, 10));
        ASSERT_PRODUCERS(&d, group);
      }
    }
  for (uint32_t i = 0; i < TILES; i++) {
    touch(&d, R, 1, run(i * 10 + 5, 5));
    assert_true(is_producer(&d, writers[i]));
  }
  close_desk(&d);
}

/* What is forgotten at the end of a run is forgotten, few regions or many. */
static void a_map_that_was_reset_finds_nothing(void **state) {
  (void)state;
  enum { MANY = 600 };
  uint32_t slots[MANY];
  desk d = open_desk(MANY, MANY);
  for (uint32_t turn = 0; turn < 6; turn++) {
    uint32_t count = turn % 2 ? MANY : 3;
    for (uint32_t i = 0; i < count; i++) {
      slots[i] = touch(&d, W, i % 7, i % 5 ? run(i * 64, 64) : rows(i * 64, 8, 16, 4));
      ASSERT_NO_PRODUCERS(&d);
    }
    for (uint32_t i = 0; i < count; i++) retire(&d, slots[i]);
    for (uint32_t i = 0; i < 3; i++) slots[i] = touch(&d, RW, i % 7, run(i * 64, 64));
    empty(&d, slots, 3);
  }
  close_desk(&d);
}

/* Places of entries and of buffers are used again for others. */
static void a_region_is_not_taken_for_one_that_had_its_place(void **state) {
  (void)state;
  desk d = open_desk(8, 2);
  for (uint64_t i = 0; i < 50; i++) {
    uint64_t base = i / 3 % 2 ? i % 4 : 5;
    uint32_t writer = touch(&d, W, base, run(i % 3 * 64, 64));
    ASSERT_NO_PRODUCERS(&d);
    uint32_t reader = touch(&d, R, base, run(i % 3 * 64, 64));
    ASSERT_PRODUCERS(&d, writer);
    retire(&d, writer);
    retire(&d, reader);
  }
  close_desk(&d);
}

/* Not even the free entry of buffer 0, whose number is that of no buffer elsewhere. */
static void a_region_of_buffer_0_that_was_swept_is_made_anew(void **state) {
  (void)state;
  desk d = open_desk(8, 4);
  retire(&d, touch(&d, W, 0, run(64, 64)));
  touch(&d, W, 5, run(0, 64)); /* sweeps it */
  assert_int_equal(task_map_live(d.map), 1);
  uint32_t writer = touch(&d, W, 0, run(64, 64));
  assert_int_equal(task_map_live(d.map), 2);
  touch(&d, R, 0, run(100, 8));
  ASSERT_PRODUCERS(&d, writer);
  close_desk(&d);
}

/* ---- several accesses of one task ---- */

static void a_task_never_waits_for_itself(void **state) {
  (void)state;
  static const uint32_t modes[] = {R, W, RW};
  desk d = open_desk(16, 16);
  for (uint32_t m = 0; m < 9; m++) {
    uint32_t slots[3];
    slots[0] = touch(&d, W, 1, run(0, 100));
    task_access twice[2] = {{.base = 1, .mode = modes[m / 3], .region = run(0, 100)},
                            {.base = 1, .mode = modes[m % 3], .region = m < 5 ? run(0, 100) : run(50, 100)}};
    slots[1] = touch_all(&d, twice, 2);
    ASSERT_PRODUCERS(&d, slots[0]);
    slots[2] = touch(&d, W, 1, run(60, 10));
    assert_true(is_producer(&d, slots[1]));
    empty(&d, slots, 3);
  }
  close_desk(&d);
}

/* The first touch of a buffer lays its grid; a second extent of the same task must be found all the same. */
static void a_first_touch_with_two_extents_loses_neither(void **state) {
  (void)state;
  const task_region extents[] = {run(0, 50), run(0, 100), rows(0, 50, 200, 4), rows(25, 30, 200, 2),
                                 run(190, 20)};
  desk d = open_desk(8, 16);
  for (uint32_t i = 0; i < 25; i++) {
    task_region regions[2] = {extents[i / 5], extents[i % 5]};
    for (uint32_t look = 0; look < 2; look++) {
      uint32_t slots[2];
      task_access both[2] = {{.base = 1, .mode = W, .region = regions[0]},
                             {.base = 1, .mode = R, .region = regions[1]}};
      slots[0] = touch_all(&d, both, 2);
      slots[1] = touch(&d, W, 1, regions[look]);
      ASSERT_PRODUCERS(&d, slots[0]);
      empty(&d, slots, 2);
    }
  }
  close_desk(&d);
}

static void an_access_without_mode_orders_nothing(void **state) {
  (void)state;
  desk d = open_desk(8, 16);
  touch(&d, W, 1, run(0, 100));
  touch(&d, 0, 1, run(0, 100));
  ASSERT_NO_PRODUCERS(&d);
  assert_int_equal(task_map_live(d.map), 1);
  close_desk(&d);
}

/* ---- against all pairs ---- */

static void mark(const task_region *region, unsigned char *bytes) {
  memset(bytes, 0, BYTES);
  for (uint64_t row = 0; row < (region->ndim ? region->dims[0].count : 1); row++)
    memset(bytes + region->offset + (region->ndim ? row * region->dims[0].stride : 0), 1, region->run);
}

static int meet(const task_region *a, const task_region *b) {
  unsigned char x[BYTES], y[BYTES];
  mark(a, x);
  mark(b, y);
  for (int i = 0; i < BYTES; i++)
    if (x[i] && y[i]) return 1;
  return 0;
}

/* Tasks in the order of their submits, and who reaches whom through the edges that the map gave. */
typedef struct history {
  uint32_t count;
  uint32_t slots[MOST], mode[MOST], regions[MOST][2], accesses[MOST];
  unsigned char alive[MOST], reaches[MOST][MOST];
} history;

typedef struct family {
  uint32_t count;
  task_region regions[64];
  unsigned char meets[64][64], may_meet[64][64];
} family;

static void add_region(family *f, task_region region) {
  f->regions[f->count++] = region;
  for (uint32_t i = 0; i < f->count; i++) {
    uint32_t last = f->count - 1;
    f->meets[i][last] = f->meets[last][i] = (unsigned char)meet(&f->regions[i], &region);
    f->may_meet[i][last] = f->may_meet[last][i] =
        (unsigned char)task_region_overlaps(&f->regions[i], &region);
  }
}

static int conflict(const history *h, unsigned char meets[64][64], uint32_t i, uint32_t j) {
  if (!((h->mode[i] | h->mode[j]) & W)) return 0;
  for (uint32_t a = 0; a < h->accesses[i]; a++)
    for (uint32_t b = 0; b < h->accesses[j]; b++)
      if (meets[h->regions[i][a]][h->regions[j][b]]) return 1;
  return 0;
}

/* Submits one more task, which accesses one or two regions of the family in the same mode. */
static void submit(desk *d, family *f, history *h, uint32_t mode, uint32_t first, uint32_t second) {
  uint32_t j = h->count++;
  h->mode[j] = mode;
  h->accesses[j] = first == second ? 1 : 2;
  h->regions[j][0] = first;
  h->regions[j][1] = second;
  h->alive[j] = 1;
  task_access accesses[2] = {{.base = 7, .mode = mode, .region = f->regions[first]},
                             {.base = 7, .mode = mode, .region = f->regions[second]}};
  h->slots[j] = touch_all(d, accesses, h->accesses[j]);
  memset(h->reaches[j], 0, sizeof h->reaches[j]);
  for (uint32_t i = 0; i < j; i++) {
    if (!h->alive[i] || !is_producer(d, h->slots[i])) continue;
    if (!conflict(h, f->may_meet, i, j)) fail_msg("task %u waits for task %u, which it does not meet", j, i);
    h->reaches[j][i] = 1;
    for (uint32_t k = 0; k < i; k++) h->reaches[j][k] |= h->reaches[i][k];
  }
  for (uint32_t i = 0; i < j; i++)
    if (h->alive[i] && conflict(h, f->meets, i, j) && !h->reaches[j][i])
      fail_msg("task %u (mode %u) does not wait for task %u (mode %u)", j, mode, i, h->mode[i]);
}

static void end_all(desk *d, history *h) {
  for (uint32_t i = 0; i < h->count; i++)
    if (h->alive[i]) retire(d, h->slots[i]);
  h->count = 0;
  task_map_reset(d->map);
}

/* All triples of these regions in all modes; the first of them lays the grid. */
static void every_triple_of_regions_and_modes_is_ordered(void **state) {
  (void)state;
  static const uint32_t modes[] = {R, W, RW};
  static family f;
  static history h;
  f.count = 0;
  add_region(&f, rows(0, 50, 200, 4));
  add_region(&f, rows(50, 50, 200, 4));
  add_region(&f, rows(10, 20, 200, 2));
  add_region(&f, rows(0, 100, 200, 4));
  add_region(&f, rows(25, 50, 200, 4));
  add_region(&f, run(0, 800));
  add_region(&f, run(150, 100));
  add_region(&f, rows(0, 150, 200, 4));
  add_region(&f, rows(0, 40, 160, 5));
  add_region(&f, rows(400, 50, 200, 4));
  add_region(&f, rows(800, 50, 200, 2));
  add_region(&f, run(60, 1));
  add_region(&f, rows(5, 1, 3, 40));
  desk d = open_desk(8, 16);
  for (uint32_t r = 0; r < f.count * f.count * f.count; r++)
    for (uint32_t m = 0; m < 27; m++) {
      uint32_t a = r % f.count, b = r / f.count % f.count, c = r / f.count / f.count;
      submit(&d, &f, &h, modes[m % 3], a, a);
      submit(&d, &f, &h, modes[m / 3 % 3], b, b);
      submit(&d, &f, &h, modes[m / 9], c, c);
      end_all(&d, &h);
      submit(&d, &f, &h, modes[m % 3], a, b); /* first touch with two extents */
      submit(&d, &f, &h, modes[m / 3 % 3], c, c);
      end_all(&d, &h);
    }
  close_desk(&d);
}

/* A task may end when all that it waits for has ended. */
static void end_some(desk *d, history *h, fixture_random *random) {
  for (uint32_t i = 0; i < h->count; i++) {
    int ready = h->alive[i] && fixture_chance(random, 10);
    for (uint32_t k = 0; k < i && ready; k++) ready = !(h->reaches[i][k] && h->alive[k]);
    if (!ready) continue;
    retire(d, h->slots[i]);
    h->alive[i] = 0;
  }
}

/* Long programs that change their extents on the way, so that the grid is laid anew and dead entries are swept. */
static void long_programs_with_changing_extents_are_ordered(void **state) {
  (void)state;
  static const uint32_t modes[] = {R, R, W, RW};
  static family f;
  static history h;
  desk d = open_desk(MOST, 900);
  for (uint32_t seed = 1; seed <= (fixture_small() ? 20u : 200u); seed++) {
    fixture_random random = {seed};
    f.count = h.count = 0;
    for (int i = 0; i < 8; i++)
      for (uint64_t k = 0, extent = 10 + fixture_below(&random, 140); k < 8; k++)
        add_region(&f, i % 2 ? run(k * extent, extent)
                             : rows(k * extent % 200, extent / 2 + 1, 200, 1 + k % 4 + (k % 4 == 0)));
    for (uint32_t i = 0; i < MOST; i++) {
      uint32_t phase = i / 50 * 8, first = phase + fixture_below(&random, 8);
      if (fixture_chance(&random, 20)) first = fixture_below(&random, f.count);
      uint32_t second = fixture_chance(&random, 20) ? fixture_below(&random, f.count) : first;
      submit(&d, &f, &h, modes[fixture_below(&random, 4)], first, second);
      if (i % 16 == 0) end_some(&d, &h, &random);
    }
    end_all(&d, &h);
  }
  close_desk(&d);
}

/* ---- readers, sweeping, room ---- */

static void a_writer_waits_for_every_reader(void **state) {
  (void)state;
  uint32_t slots[52];
  desk d = open_desk(64, 16);
  for (uint32_t readers = 1; readers <= 50; readers++) {
    slots[0] = touch(&d, W, 1, run(0, 64));
    for (uint32_t i = 1; i <= readers; i++) {
      slots[i] = touch(&d, R, 1, run(0, 64));
      ASSERT_PRODUCERS(&d, slots[0]);
    }
    slots[readers + 1] = touch(&d, W, 1, run(0, 64));
    assert_producers(&d, slots + 1, readers);
    uint32_t reader = touch(&d, R, 1, run(0, 64));
    ASSERT_PRODUCERS(&d, slots[readers + 1]);
    retire(&d, reader);
    empty(&d, slots, readers + 2);
  }
  close_desk(&d);
}

/* Readers come and go; some stay. Places of those that went are used again. */
static void a_region_that_is_read_for_ever_needs_room_for_live_readers_only(void **state) {
  (void)state;
  enum { STAY = 20 };
  uint32_t stay[STAY];
  desk d = open_desk(32, 8);
  for (uint32_t i = 0; i < STAY; i++) stay[i] = touch(&d, R, 1, run(0, 64));
  for (uint32_t i = 0; i < 10000; i++) {
    uint32_t slot = touch(&d, R, 1, run(0, 64));
    retire(&d, i % 3 ? slot : stay[i % STAY]);
    if (i % 3 == 0) stay[i % STAY] = slot;
  }
  touch(&d, W, 1, run(0, 64));
  assert_producers(&d, stay, STAY);
  close_desk(&d);
}

static void entries_of_tasks_that_are_gone_are_swept(void **state) {
  (void)state;
  desk d = open_desk(4, 1000);
  for (uint64_t i = 0; i < 100000; i++) {
    retire(&d, touch(&d, W, i % 3, run(i * 64, 64)));
    assert_true(task_map_live(d.map) < 1000 / 8 + 16);
  }
  close_desk(&d);
}

static void a_buffer_that_was_forgotten_starts_anew(void **state) {
  (void)state;
  desk d = open_desk(8, 4);
  uint32_t old = touch(&d, W, 1, rows(0, 50, 200, 4));
  retire(&d, old);
  uint32_t other = touch(&d, W, 2, run(0, 8)); /* sweeps the only region of buffer 1 */
  assert_int_equal(task_map_live(d.map), 1);
  uint32_t writer = touch(&d, W, 1, run(0, 10));
  ASSERT_NO_PRODUCERS(&d);
  uint32_t wide = touch(&d, RW, 1, run(5, 100));
  ASSERT_PRODUCERS(&d, writer);
  touch(&d, R, 2, run(0, 8));
  ASSERT_PRODUCERS(&d, other);
  touch(&d, R, 1, run(90, 1));
  ASSERT_PRODUCERS(&d, wide);
  close_desk(&d);
}

/* Buffer 0 is a buffer like any other, and a record that was given back is nobody's. */
static void a_buffer_without_number_is_not_taken_for_a_forgotten_one(void **state) {
  (void)state;
  desk d = open_desk(8, 8);
  uint32_t gone = touch(&d, W, 7, run(0, 64));
  empty(&d, &gone, 1);
  uint32_t none = touch(&d, W, 0, run(0, 64)), seven = touch(&d, W, 7, run(0, 64));
  ASSERT_NO_PRODUCERS(&d);
  touch(&d, R, 0, run(0, 64));
  ASSERT_PRODUCERS(&d, none);
  touch(&d, R, 7, run(0, 64));
  ASSERT_PRODUCERS(&d, seven);
  close_desk(&d);
}

static void a_full_map_has_room_when_a_task_ends(void **state) {
  (void)state;
  uint32_t slots[4];
  desk d = open_desk(8, 4);
  for (uint64_t i = 0; i < 4; i++) slots[i] = touch(&d, W, i, run(0, 64));
  assert_false(task_map_reserve(d.map, &d.window, 1));
  assert_true(task_map_reserve(d.map, &d.window, 0));
  retire(&d, slots[2]);
  assert_true(task_map_reserve(d.map, &d.window, 1));
  assert_false(task_map_reserve(d.map, &d.window, 2));
  assert_int_equal(task_map_live(d.map), 3);
  uint32_t again = touch(&d, W, 9, rows(0, 10, 20, 3));
  ASSERT_NO_PRODUCERS(&d);
  retire(&d, slots[0]);
  touch(&d, R, 9, run(0, 64));
  ASSERT_PRODUCERS(&d, again);
  close_desk(&d);
}

static void a_failed_writer_is_remembered_until_it_is_covered(void **state) {
  (void)state;
  desk d = open_desk(8, 64);
  uint32_t failed = touch(&d, W, 1, run(0, 64));
  (void)task_window_close(&d.window, failed, 1, 0);
  task_window_give(&d.window, failed);
  for (uint64_t i = 0; i < 40; i++) retire(&d, touch(&d, W, 2 + i, run(0, 8)));
  retire(&d, touch(&d, R, 1, run(60, 10)));
  ASSERT_NO_PRODUCERS(&d);
  assert_true(d.window.draft_poisoned);
  retire(&d, touch(&d, R, 1, run(64, 10)));
  assert_false(d.window.draft_poisoned);
  uint32_t cover = touch(&d, W, 1, run(0, 64));
  assert_true(d.window.draft_poisoned);
  touch(&d, R, 1, run(0, 4));
  assert_false(d.window.draft_poisoned);
  ASSERT_PRODUCERS(&d, cover);
  close_desk(&d);
}

/* ---- numbers that come round ---- */

static void drafts_and_sequences_may_wrap(void **state) {
  (void)state;
  desk d = open_desk(32, 16);
  uint32_t writer = touch(&d, W, 1, run(0, 64));
  d.window.draft = d.window.sequence = UINT32_MAX - 3;
  for (int i = 0; i < 8; i++) {
    touch(&d, i % 2 ? R : RW, 2, run(0, 64));
    uint32_t reader = touch(&d, R, 1, run(0, 64));
    ASSERT_PRODUCERS(&d, writer);
    writer = touch(&d, W, 1, run(0, 64));
    ASSERT_PRODUCERS(&d, reader);
    if (i % 2) continue;
    retire(&d, reader);
  }
  close_desk(&d);
}

/* Drafts mark their producers with their number; marks of the last time round must not count. */
static void a_mark_of_long_ago_is_not_taken_for_one_of_this_draft(void **state) {
  (void)state;
  for (uint64_t mark = 1; mark <= 4; mark++) {
    desk d = open_desk(32, 16);
    for (uint64_t i = 1; i < mark; i++) touch(&d, W, 2, run(i * 64, 64));
    uint32_t writer = touch(&d, W, 1, run(0, 64));
    assert_int_equal(d.window.residents[writer].mark, mark);
    d.window.draft = UINT32_MAX;
    for (uint64_t i = 1; i < mark; i++) touch(&d, W, 3, run(i * 64, 64));
    touch(&d, R, 1, run(0, 64));
    assert_int_equal(d.window.draft, mark);
    ASSERT_PRODUCERS(&d, writer);
    close_desk(&d);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_accesses_are_ordered_if_they_meet_and_one_writes),
      cmocka_unit_test(three_accesses_of_one_region_need_no_more_than_the_last_edges),
      cmocka_unit_test(a_write_takes_over_what_it_covers),
      cmocka_unit_test(a_write_inside_leaves_the_rest_to_the_earlier_writer),
      cmocka_unit_test(a_reader_of_a_part_orders_a_writer_of_another_part),
      cmocka_unit_test(buffers_do_not_meet),
      cmocka_unit_test(a_region_found_before_meets_what_came_since),
      cmocka_unit_test(a_region_found_before_is_alone_again_when_the_other_is_gone),
      cmocka_unit_test(regions_found_before_are_ordered_under_another_grid),
      cmocka_unit_test(a_map_that_was_reset_finds_nothing),
      cmocka_unit_test(a_region_is_not_taken_for_one_that_had_its_place),
      cmocka_unit_test(a_region_of_buffer_0_that_was_swept_is_made_anew),
      cmocka_unit_test(a_task_never_waits_for_itself),
      cmocka_unit_test(a_first_touch_with_two_extents_loses_neither),
      cmocka_unit_test(an_access_without_mode_orders_nothing),
      cmocka_unit_test(every_triple_of_regions_and_modes_is_ordered),
      cmocka_unit_test(long_programs_with_changing_extents_are_ordered),
      cmocka_unit_test(a_writer_waits_for_every_reader),
      cmocka_unit_test(a_region_that_is_read_for_ever_needs_room_for_live_readers_only),
      cmocka_unit_test(entries_of_tasks_that_are_gone_are_swept),
      cmocka_unit_test(a_buffer_that_was_forgotten_starts_anew),
      cmocka_unit_test(a_buffer_without_number_is_not_taken_for_a_forgotten_one),
      cmocka_unit_test(a_full_map_has_room_when_a_task_ends),
      cmocka_unit_test(a_failed_writer_is_remembered_until_it_is_covered),
      cmocka_unit_test(drafts_and_sequences_may_wrap),
      cmocka_unit_test(a_mark_of_long_ago_is_not_taken_for_one_of_this_draft),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
