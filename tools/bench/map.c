/* baton-bench-map - what the tensor map of src/task costs alone: no task runs, and none ends.
**
** Every figure is a row of the table at the end: so many disjoint regions, each written by a task of its own, are
** inserted, and then each is looked up as the input of a task. The value is the time of both for one region. Inserts and
** lookups of the random rows go in two different orders.
**
** map_floor and map_floor_chain are what the machine takes for looks at so many places: bare reads of a cache line for each
** region in random order, which overlap each other; and those that begin only when the one before is over. A lookup of a
** map of this size reads three such lines, each found through the one before. */
#include "task/map.h"
#include "base/clock.h"
#include "base/pages.h"
#include "graphs.h"
#include "sample.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_BYTES = 16384, LEAST_REGIONS = 100000 };

#define BUFFER_BYTES (UINT64_C(1) << 34)

typedef struct map_bench map_bench;

typedef struct map_figure {
  const char *name;
  const char *unit;
  bench_once *once;
  uint32_t buffers;
  uint32_t tiles;  /* of each buffer */
  uint32_t random; /* the order; else tile by tile, all buffers in turn */
  uint32_t fresh;  /* memory that nobody has touched, in each repetition */
  uint32_t chain;  /* of a floor: each read waits for the one before */
} map_figure;

/* Small, so that the orders take little of the caches from the map. */
typedef struct map_tile {
  uint32_t number : 20;
  uint32_t buffer : 12;
} map_tile;

/* One figure being measured. */
struct map_bench {
  const map_figure *figure;
  uint32_t regions;
  map_tile *inserts, *lookups; /* the orders */
  task_window window;
  void *memory; /* of window and map, as a chip gives it to an engine */
  size_t window_size, size;
  task_map *map;
};

_Noreturn static void give_up(const map_bench *bench, const char *what) {
  fprintf(stderr, "%s: %s\n", bench->figure->name, what);
  exit(1);
}

/* A window in which every task lives, and an empty map. */
static void open_map(map_bench *bench) {
  bench->memory = base_pages(bench->size);
  if (!bench->memory) give_up(bench, "no memory for a map");
  task_window_init(&bench->window, bench->memory, bench->regions, 0);
  for (uint32_t i = 0; i < bench->regions; i++) (void)task_window_take(&bench->window);
  bench->map = task_map_init((char *)bench->memory + bench->window_size, bench->regions + 16);
}

static void close_map(map_bench *bench) { base_pages_free(bench->memory, bench->size); }

static map_tile tile_of(uint32_t buffer, uint32_t number) {
  return (map_tile){.number = number & 0xfffff, .buffer = buffer & 0xfff};
}

static map_tile *make_order(const map_bench *bench, uint64_t seed) {
  uint32_t buffers = bench->figure->buffers;
  map_tile *order = malloc(bench->regions * sizeof *order);
  if (!order) give_up(bench, "no memory for an order");
  for (uint32_t i = 0; i < bench->regions; i++) order[i] = tile_of(i % buffers, i / buffers);
  for (uint32_t i = bench->regions; i > 1 && bench->figure->random; i--) {
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    uint32_t other = (uint32_t)((seed >> 32) * i >> 32);
    map_tile last = order[i - 1];
    order[i - 1] = order[other];
    order[other] = last;
  }
  return order;
}

static void open_bench(map_bench *bench, const map_figure *figure) {
  *bench = (map_bench){.figure = figure, .regions = figure->buffers * figure->tiles};
  bench->window_size = base_whole_lines(task_window_size(bench->regions, 0));
  bench->size = bench->window_size + task_map_size(bench->regions + 16);
  bench->inserts = make_order(bench, 1);
  bench->lookups = make_order(bench, 2);
  open_map(bench);
}

static void close_bench(map_bench *bench) {
  close_map(bench);
  free(bench->inserts);
  free(bench->lookups);
}

static void use(task_access *access, map_tile tile, uint32_t mode) {
  access->base = (UINT64_C(1) << 56) + (uint64_t)tile.buffer * BUFFER_BYTES;
  access->mode = mode;
  access->region.offset = (uint64_t)tile.number * TILE_BYTES;
}

static void insert_all(map_bench *bench) {
  task_access access = {.region = {.run = TILE_BYTES}};
  for (uint32_t i = 0; i < bench->regions; i++) {
    use(&access, bench->inserts[i], TASK_WRITES);
    if (!task_map_reserve(bench->map, &bench->window, 1)) give_up(bench, "the map is full");
    task_window_begin_draft(&bench->window);
    task_map_infer(bench->map, &bench->window, &access);
    task_map_record(bench->map, &bench->window, &access, i);
  }
}

/* Returns how many producers were found. */
static uint32_t look_up_all(map_bench *bench) {
  task_access access = {.region = {.run = TILE_BYTES}};
  uint32_t found = 0;
  for (uint32_t i = 0; i < bench->regions; i++) {
    use(&access, bench->lookups[i], TASK_READS);
    task_window_begin_draft(&bench->window);
    task_map_infer(bench->map, &bench->window, &access);
    found += bench->window.producer_count;
  }
  return found;
}

/* ns a region. Few regions are inserted and looked up many times; forgetting them is not in the value. */
static double once_insert_and_look_up(void *context) {
  map_bench *bench = context;
  int64_t spent = 0;
  uint32_t rounds = (LEAST_REGIONS + bench->regions - 1) / bench->regions;
  for (uint32_t round = 0; round < rounds; round++) {
    if (bench->figure->fresh) {
      close_map(bench);
      open_map(bench);
    } else {
      task_map_reset(bench->map);
    }
    int64_t begin = base_now();
    insert_all(bench);
    uint32_t found = look_up_all(bench);
    spent += base_now() - begin;
    if (found != bench->regions || task_map_live(bench->map) != bench->regions)
      give_up(bench, "the map has lost regions");
  }
  return (double)spent / rounds / bench->regions;
}

typedef struct floor_line {
  BASE_ALIGNED uint32_t next;
} floor_line;

/* Each line names the next one to look at. Huge pages, however few regions there are. */
static floor_line *make_lines(const map_bench *bench, size_t size) {
  floor_line *lines = base_pages(size);
  if (!lines) give_up(bench, "no memory for lines");
  for (uint32_t i = 0; i < bench->regions; i++)
    lines[bench->lookups[i].number].next = bench->lookups[i + 1 < bench->regions ? i + 1 : 0].number;
  return lines;
}

/* ns a line: bare reads, where each line says which one is next or the order does. */
static double once_floor(void *context) {
  const map_bench *bench = context;
  size_t size = bench->regions * sizeof(floor_line) + BASE_PAGES_HUGE;
  floor_line *lines = make_lines(bench, size);
  uint32_t at = bench->lookups[0].number;
  uint64_t sum = 0;
  int64_t begin = base_now();
  for (uint32_t i = 0; i < bench->regions; i++) {
    at = lines[bench->figure->chain ? at : bench->lookups[i].number].next;
    sum += at;
  }
  int64_t spent = base_now() - begin;
  base_pages_free(lines, size);
  if (sum != (uint64_t)bench->regions * (bench->regions - 1) / 2) give_up(bench, "a line was not read");
  return (double)spent / bench->regions;
}

enum { KNOWN_TILES = 8 };

/* A stencil over two buffers: three inputs of one and one output to the other for each task, there and back. */
static void stencil_accesses(task_access out[2][KNOWN_TILES][4]) {
  for (uint32_t step = 0; step < 2; step++)
    for (uint32_t x = 0; x < KNOWN_TILES; x++) {
      task_access *task = out[step][x];
      for (uint32_t i = 0; i < 4; i++) task[i] = (task_access){.region = {.run = TILE_BYTES}};
      use(&task[0], tile_of(step, (x + KNOWN_TILES - 1) % KNOWN_TILES), TASK_READS);
      use(&task[1], tile_of(step, x), TASK_READS);
      use(&task[2], tile_of(step, (x + 1) % KNOWN_TILES), TASK_READS);
      use(&task[3], tile_of(1 - step, x), TASK_WRITES);
    }
}

/* ns an access, when every region is known. */
static double once_known(void *context) {
  map_bench *bench = context;
  task_access accesses[2][KNOWN_TILES][4];
  uint32_t steps = LEAST_REGIONS / KNOWN_TILES, slot = 0;
  stencil_accesses(accesses);
  task_map_reset(bench->map);
  int64_t begin = base_now();
  for (uint32_t step = 0; step < steps; step++)
    for (uint32_t x = 0; x < KNOWN_TILES; x++, slot = slot + 1 == bench->regions ? 0 : slot + 1) {
      const task_access *task = accesses[step % 2][x];
      task_window_begin_draft(&bench->window);
      for (int i = 0; i < 4; i++) task_map_infer(bench->map, &bench->window, &task[i]);
      for (int i = 0; i < 4; i++) task_map_record(bench->map, &bench->window, &task[i], slot);
    }
  return (double)(base_now() - begin) / steps / KNOWN_TILES / 4;
}

#define MEASURED .unit = "ns a region", .once = once_insert_and_look_up
#define FLOOR    .unit = "ns a line", .once = once_floor, .buffers = 1, .tiles = 1000000, .random = 1

static const map_figure figures[] = {
    {MEASURED, .name = "map_1x1000000", .buffers = 1, .tiles = 1000000},
    {MEASURED, .name = "map_1000x1000", .buffers = 1000, .tiles = 1000},
    {MEASURED, .name = "map_1x1000000_random", .buffers = 1, .tiles = 1000000, .random = 1},
    {MEASURED, .name = "map_growing", .buffers = 1, .tiles = 1000000, .random = 1, .fresh = 1},
    {FLOOR, .name = "map_floor"},
    {FLOOR, .name = "map_floor_chain", .chain = 1},
    {MEASURED, .name = "map_live_10", .buffers = 1, .tiles = 10, .random = 1},
    {MEASURED, .name = "map_live_100", .buffers = 1, .tiles = 100, .random = 1},
    {MEASURED, .name = "map_live_1000", .buffers = 1, .tiles = 1000, .random = 1},
    {MEASURED, .name = "map_live_10000", .buffers = 1, .tiles = 10000, .random = 1},
    {MEASURED, .name = "map_live_100000", .buffers = 1, .tiles = 100000, .random = 1},
    {MEASURED, .name = "map_live_1000000", .buffers = 1, .tiles = 1000000, .random = 1},
    {.name = "map_known", .unit = "ns an access", .once = once_known, .buffers = 2, .tiles = KNOWN_TILES},
};

int main(int argc, char **argv) {
  bench_options options;
  if (bench_options_parse(argc, argv, &options) != argc) {
    fprintf(stderr, "usage: %s [--only NAME,…] [--repetitions N] [--seconds S]\n", argv[0]);
    return 2;
  }
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
    map_bench bench;
    if (!bench_wanted(&options, figures[i].name)) continue;
    open_bench(&bench, &figures[i]);
    bench_measure(&options, "baton", figures[i].name, figures[i].unit, figures[i].once, &bench);
    close_bench(&bench);
  }
  return 0;
}
