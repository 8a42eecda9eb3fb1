/* Room in the map: which entries order nothing any more. */
#include "task/map_state.h"
#include <string.h>

enum { SWEEP_STEP = 2, SWEEP_SHARE = 8, RESET_SHARE = 16 };

static void sweep(task_map *map, const task_window *window, uint32_t steps) {
  map->swept += steps;
  while (steps--) {
    if (map->sweep >= map->entry_fresh) map->sweep = 1;
    if (map->sweep >= map->entry_fresh) return;
    uint32_t index = map->sweep++;
    const map_entry *entry = &map->entries[index];
    if (entry->buffer && task_map_entry_dead(map, window, entry)) task_map_remove(map, index);
  }
}

/* False if all entries have been looked at since the last task ended. */
static int worth_sweeping(task_map *map, const task_window *window) {
  uint32_t ended = window->sequence - window->live;
  if (map->ended != ended) {
    map->ended = ended;
    map->swept = 0;
  }
  return map->swept < map->entry_fresh;
}

void task_map_sweep_a_little(task_map *map, const task_window *window) {
  if (map->entry_live > map->capacity / SWEEP_SHARE && worth_sweeping(map, window))
    sweep(map, window, SWEEP_STEP);
}

int task_map_has_room(const task_map *map, uint32_t accesses) {
  return map->capacity - map->entry_live >= accesses && map->capacity - map->chunk_live >= accesses;
}

int task_map_reserve(task_map *map, const task_window *window, uint32_t accesses) {
  if (__builtin_expect(task_map_has_room(map, accesses), 1)) return 1;
  sweep(map, window, map->entry_fresh);
  return task_map_has_room(map, accesses);
}

/* Many entries are forgotten by forgetting the heads that they hang from. */
static void remove_all(task_map *map) {
  memset(map->cells, 0, ((size_t)map->mask + 1) * sizeof *map->cells);
  for (uint32_t index = 1; index < map->buffer_fresh; index++)
    map->buffer_heads[task_map_mix(map->buffers[index].base) & map->mask] = 0;
  map->entry_live = map->chunk_live = 0;
  map->changes++;
}

void task_map_reset(task_map *map) {
  if (map->entry_live > map->mask / RESET_SHARE)
    remove_all(map);
  else
    for (uint32_t index = 1; map->entry_live; index++)
      if (map->entries[index].buffer) task_map_remove(map, index);
  memset(map->memo, 0, sizeof map->memo);
  map->entry_fresh = map->buffer_fresh = map->chunk_fresh = map->dims_fresh = map->sweep = 1;
  map->entry_free = map->buffer_free = map->chunk_free = map->dims_free = 0;
}
