/* Regions against the plain sets of bytes that they stand for. */
#include "engine_fixture.h"
#include "task/region.h"

enum { BYTES = 512, DIMS = 4 };

/* A view, and which bytes it touches. */
typedef struct sample {
  uint32_t element, ndim;
  uint64_t offset;
  int64_t shape[DIMS + 1], strides[DIMS + 1];
  task_region region;
  unsigned char bytes[BYTES];
} sample;

static void mark_view(sample *s) {
  int64_t index[DIMS + 1] = {0};
  memset(s->bytes, 0, sizeof s->bytes);
  for (uint32_t d = 0; d < s->ndim; d++)
    if (s->shape[d] == 0) return;
  for (;;) {
    int64_t at = 0;
    for (uint32_t d = 0; d < s->ndim; d++) at += index[d] * s->strides[d];
    memset(s->bytes + (int64_t)s->offset + at * (int64_t)s->element, 1, s->element);
    uint32_t d = s->ndim;
    while (d > 0 && ++index[d - 1] == s->shape[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

static void mark_region(const task_region *region, unsigned char *bytes) {
  uint64_t index[TASK_REGION_DIMS] = {0};
  memset(bytes, 0, BYTES);
  for (;;) {
    uint64_t at = region->offset;
    for (uint32_t d = 0; d < region->ndim; d++) at += index[d] * region->dims[d].stride;
    memset(bytes + at, 1, region->run);
    uint32_t d = region->ndim;
    while (d > 0 && ++index[d - 1] == region->dims[d - 1].count) index[--d] = 0;
    if (d == 0) return;
  }
}

static void finish_sample(sample *s) {
  task_region_make(&s->region, s->offset, s->element, s->ndim, s->shape, s->strides);
  mark_view(s);
}

static int meet(const sample *a, const sample *b) {
  for (int i = 0; i < BYTES; i++)
    if (a->bytes[i] && b->bytes[i]) return 1;
  return 0;
}

static int contains(const sample *outer, const sample *inner) {
  for (int i = 0; i < BYTES; i++)
    if (inner->bytes[i] && !outer->bytes[i]) return 0;
  return 1;
}

typedef struct shape {
  uint32_t element, ndim;
  int64_t sizes[DIMS];
} shape;

static shape random_shape(fixture_random *random) {
  shape s = {.element = 1u << fixture_below(random, 3), .ndim = 1 + fixture_below(random, DIMS)};
  int64_t rest = BYTES / s.element;
  for (uint32_t d = s.ndim; d-- > 0;) {
    int64_t most = d == 0 ? rest : rest < 6 ? rest : 6;
    s.sizes[d] = 1 + (int64_t)fixture_below(random, (uint32_t)most);
    rest /= s.sizes[d];
  }
  return s;
}

/* A box of an array of this shape: what slices and tiles give. Often all of a dimension. */
static sample random_box(fixture_random *random, const shape *array) {
  sample s = {.element = array->element, .ndim = array->ndim};
  int64_t stride = 1;
  for (uint32_t d = array->ndim; d-- > 0;) {
    int64_t size = array->sizes[d], count = 1 + (int64_t)fixture_below(random, (uint32_t)size);
    if (fixture_chance(random, 30)) count = size;
    s.offset += fixture_below(random, (uint32_t)(size - count + 1)) * (uint64_t)stride * s.element;
    s.shape[d] = count;
    s.strides[d] = stride;
    stride *= size;
  }
  finish_sample(&s);
  return s;
}

/* The same bytes seen with steps, backwards, repeated, transposed. */
static void distort(fixture_random *random, sample *s) {
  for (uint32_t d = 0; d < s->ndim; d++) {
    if (s->shape[d] > 2 && fixture_chance(random, 20)) {
      s->shape[d] = (s->shape[d] + 1) / 2;
      s->strides[d] *= 2;
    }
    if (fixture_chance(random, 20)) {
      s->offset = (uint64_t)((int64_t)s->offset + (s->shape[d] - 1) * s->strides[d] * (int64_t)s->element);
      s->strides[d] = -s->strides[d];
    }
  }
  if (fixture_chance(random, 20)) {
    s->shape[s->ndim] = 3;
    s->strides[s->ndim++] = 0;
  }
  uint32_t a = fixture_below(random, s->ndim), b = fixture_below(random, s->ndim);
  int64_t size = s->shape[a], stride = s->strides[a];
  s->shape[a] = s->shape[b];
  s->strides[a] = s->strides[b];
  s->shape[b] = size;
  s->strides[b] = stride;
  finish_sample(s);
}

/* Any strides, so that a view may also overlap itself. */
static sample random_wild(fixture_random *random) {
  sample s = {.element = 1 + fixture_below(random, 4), .ndim = fixture_below(random, 4)};
  uint64_t end = s.element;
  for (uint32_t d = 0; d < s.ndim; d++) {
    s.shape[d] = 1 + (int64_t)fixture_below(random, 4);
    s.strides[d] = (int64_t)fixture_below(random, 12);
    end += (uint64_t)((s.shape[d] - 1) * s.strides[d]) * s.element;
  }
  s.offset = fixture_below(random, (uint32_t)(BYTES - end));
  finish_sample(&s);
  return s;
}

static uint32_t rounds(void) { return fixture_small() ? 3000 : 200000; }

static void assert_sound(const sample *a, const sample *b) {
  if (!task_region_overlaps(&a->region, &b->region)) assert_false(meet(a, b));
  if (task_region_covers(&a->region, &b->region)) assert_true(contains(a, b));
  assert_int_equal(task_region_overlaps(&a->region, &b->region),
                   task_region_overlaps(&b->region, &a->region));
}

static sample random_sample(fixture_random *random, const shape *array) {
  if (fixture_chance(random, 20)) return random_wild(random);
  sample s = random_box(random, array);
  if (fixture_chance(random, 50)) distort(random, &s);
  return s;
}

static void a_region_holds_the_bytes_of_its_view(void **state) {
  (void)state;
  fixture_random random = {1};
  unsigned char bytes[BYTES];
  for (uint32_t i = 0; i < rounds(); i++) {
    shape array = random_shape(&random);
    sample s = random_sample(&random, &array);
    mark_region(&s.region, bytes);
    assert_memory_equal(bytes, s.bytes, BYTES);
    uint64_t end = BYTES;
    while (end && !bytes[end - 1]) end--;
    assert_int_equal(task_region_end(&s.region), end);
  }
}

static void no_overlap_and_no_gap_is_missed(void **state) {
  (void)state;
  fixture_random random = {2};
  for (uint32_t i = 0; i < rounds(); i++) {
    shape one = random_shape(&random), other = fixture_chance(&random, 50) ? one : random_shape(&random);
    sample a = random_sample(&random, &one), b = random_sample(&random, &other);
    assert_sound(&a, &b);
    assert_sound(&b, &a);
  }
}

static void boxes_of_one_array_are_compared_exactly(void **state) {
  (void)state;
  fixture_random random = {3};
  for (uint32_t i = 0; i < rounds(); i++) {
    shape array = random_shape(&random);
    sample a = random_box(&random, &array), b = random_box(&random, &array);
    assert_int_equal(task_region_overlaps(&a.region, &b.region), meet(&a, &b));
    assert_int_equal(task_region_covers(&a.region, &b.region), contains(&a, &b));
  }
}

/* Middle dimensions that are taken whole melt together; that must not make the region a doubtful one. */
static void a_band_of_whole_planes_is_no_neighbour_of_the_next_band(void **state) {
  (void)state;
  sample band = {.element = 1, .ndim = 3, .offset = 1, .shape = {2, 5, 2}, .strides = {30, 6, 1}};
  sample corner = {.element = 1, .ndim = 3, .offset = 4, .shape = {2, 2, 2}, .strides = {30, 6, 1}};
  finish_sample(&band);
  finish_sample(&corner);
  assert_int_equal(band.region.ndim, 1);
  assert_false(task_region_overlaps(&band.region, &corner.region));
  corner.offset = 2;
  finish_sample(&corner);
  assert_true(task_region_overlaps(&band.region, &corner.region));
}

static void assert_same_cell(const task_region *cell, const sample *a, const sample *b) {
  uint32_t x = task_region_cell(cell, &a->region), y = task_region_cell(cell, &b->region);
  if (x != TASK_NO_CELL && y != TASK_NO_CELL && meet(a, b)) assert_int_equal(x, y);
}

static void regions_that_meet_share_their_cell(void **state) {
  (void)state;
  fixture_random random = {4};
  uint32_t placed = 0;
  for (uint32_t i = 0; i < rounds(); i++) {
    shape array = random_shape(&random), other = fixture_chance(&random, 60) ? array : random_shape(&random);
    sample cell = random_sample(&random, &other), a = random_sample(&random, &array),
           b = random_sample(&random, &other);
    if (!cell.region.run) continue;
    assert_same_cell(&cell.region, &a, &b);
    assert_same_cell(&a.region, &a, &b);
    placed += task_region_cell(&cell.region, &a.region) != TASK_NO_CELL;
  }
  assert_true(placed > rounds() / 20);
}

static void tiles_of_a_grid_have_cells_of_their_own(void **state) {
  (void)state;
  uint32_t seen[64], count = 0;
  task_region cell, tile;
  task_region_make(&cell, 0, 4, 2, (int64_t[]){8, 8}, (int64_t[]){64, 1});
  for (uint64_t row = 0; row < 8; row++)
    for (uint64_t column = 0; column < 8; column++) {
      task_region_make(&tile, (row * 8 * 64 + column * 8) * 4, 4, 2, (int64_t[]){8, 8}, (int64_t[]){64, 1});
      uint32_t number = task_region_cell(&cell, &tile);
      assert_int_not_equal(number, TASK_NO_CELL);
      for (uint32_t i = 0; i < count; i++) assert_int_not_equal(seen[i], number);
      seen[count++] = number;
    }
}

/* Rows of 200 bytes, 150 of which are in the region; 100 bytes from the end of one row reach into the next. */
static void a_region_that_is_carried_into_the_next_row_has_no_cell(void **state) {
  (void)state;
  task_region cell = {.run = 150, .ndim = 1, .dims = {{200, 4}}};
  task_region carried = {.offset = 150, .run = 100}, next_row = {.offset = 200, .run = 10};
  assert_int_equal(task_region_cell(&cell, &carried), TASK_NO_CELL);
  assert_int_not_equal(task_region_cell(&cell, &next_row), TASK_NO_CELL);
  assert_true(task_region_overlaps(&carried, &next_row));
  task_region repeated = {.offset = 150, .run = 60, .ndim = 1, .dims = {{200, 2}}};
  assert_int_equal(task_region_cell(&cell, &repeated), TASK_NO_CELL);
}

static void empty_views_touch_nothing(void **state) {
  (void)state;
  task_region empty, all;
  task_region_make(&empty, 5, 4, 3, (int64_t[]){4, 0, 2}, (int64_t[]){10, 5, 1});
  task_region_make(&all, 0, 1, 1, (int64_t[]){100}, (int64_t[]){1});
  assert_int_equal(empty.run, 0);
  assert_false(task_region_overlaps(&empty, &all));
  assert_false(task_region_overlaps(&all, &empty));
  assert_true(task_region_covers(&all, &empty));
}

static void contiguous_dimensions_melt_into_the_run(void **state) {
  (void)state;
  task_region region;
  task_region_make(&region, 8, 4, 3, (int64_t[]){2, 3, 5}, (int64_t[]){15, 5, 1});
  assert_int_equal(region.ndim, 0);
  assert_int_equal(region.run, 120);
  task_region_make(&region, 8, 4, 3, (int64_t[]){5, 2, 3}, (int64_t[]){1, 15, 5});
  assert_int_equal(region.ndim, 0);
  task_region_make(&region, 100, 4, 1, (int64_t[]){5}, (int64_t[]){-1});
  assert_int_equal(region.offset, 84);
  assert_int_equal(region.run, 20);
  task_region_make(&region, 0, 2, 8, (int64_t[]){2, 2, 2, 2, 2, 2, 2, 2},
                   (int64_t[]){128 * 9, 64 * 8, 32 * 7, 16 * 6, 8 * 5, 4 * 4, 2 * 3, 2});
  assert_int_equal(region.ndim, 8);
}

/* The multiplication by an inverse against the division, where numbers are round, just below, and large. */
static void cells_of_runs_are_those_of_a_division(void **state) {
  (void)state;
  static const uint64_t sizes[] = {1, 2, 3, 7, 64, 1000, 16384, (1u << 31) - 1, UINT64_C(1) << 40};
  for (uint32_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (uint64_t factor = 1; factor < UINT64_C(1) << 21; factor = factor * 5 / 2 + 1)
      for (uint64_t shift = 0; shift < 3; shift++) {
        uint64_t size = sizes[s], offset = factor * size + shift - 1, rest = offset % size;
        uint64_t inverse = task_region_inverse(size);
        uint32_t cell = (uint32_t)(offset / size);
        assert_int_equal(task_region_run_cell(size, inverse, offset, size - rest), cell);
        assert_int_equal(task_region_run_cell(size, inverse, offset, size - rest + 1), TASK_NO_CELL);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_region_holds_the_bytes_of_its_view),
      cmocka_unit_test(no_overlap_and_no_gap_is_missed),
      cmocka_unit_test(boxes_of_one_array_are_compared_exactly),
      cmocka_unit_test(a_band_of_whole_planes_is_no_neighbour_of_the_next_band),
      cmocka_unit_test(regions_that_meet_share_their_cell),
      cmocka_unit_test(tiles_of_a_grid_have_cells_of_their_own),
      cmocka_unit_test(a_region_that_is_carried_into_the_next_row_has_no_cell),
      cmocka_unit_test(empty_views_touch_nothing),
      cmocka_unit_test(contiguous_dimensions_melt_into_the_run),
      cmocka_unit_test(cells_of_runs_are_those_of_a_division),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
