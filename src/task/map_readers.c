/* Who reads a region since its last writer. */
#include "task/map_state.h"

enum { LOOK_CHUNKS = 4 };

void task_map_depend_readers(const task_map *map, task_window *window, const map_entry *entry) {
  for (int i = 0; i < MAP_OWN_READERS; i++)
    if (entry->readers[i].sequence)
      task_window_depend(window, entry->readers[i].slot, entry->readers[i].sequence);
  uint32_t first = entry->chunk, chunk = first, steps = 0;
  if (first) do {
      for (int i = 0; i < MAP_CHUNK_READERS; i++)
        if (map->chunks[chunk].readers[i].sequence)
          task_window_depend(window, map->chunks[chunk].readers[i].slot,
                             map->chunks[chunk].readers[i].sequence);
      chunk = map->chunks[chunk].next;
      MAP_STEP(map, steps);
    } while (chunk != first);
}

void task_map_free_chunks(task_map *map, map_entry *entry) {
  uint32_t first = entry->chunk, chunk = first, steps = 0;
  do {
    uint32_t next = map->chunks[chunk].next;
    map->chunks[chunk].next = map->chunk_free;
    map->chunk_free = chunk;
    map->chunk_live--;
    chunk = next;
    MAP_STEP(map, steps);
  } while (chunk != first);
  entry->chunk = 0;
}

/* Takes the place of a dead reader in one of the next few chunks of the ring; else the search goes on behind them. */
static int reuse_place(task_map *map, const task_window *window, map_entry *entry, map_name reader) {
  for (int turn = 0; turn < LOOK_CHUNKS; turn++) {
    map_chunk *chunk = &map->chunks[entry->chunk];
    for (int i = 0; i < MAP_CHUNK_READERS; i++)
      if (!task_map_name_matters(window, chunk->readers[i])) {
        chunk->readers[i] = reader;
        return 1;
      }
    entry->chunk = chunk->next;
  }
  return 0;
}

static void add_chunk(task_map *map, map_entry *entry, map_name reader) {
  uint32_t chunk = map->chunk_free;
  if (chunk)
    map->chunk_free = map->chunks[chunk].next;
  else
    chunk = map->chunk_fresh++;
  map->chunk_live++;
  map->chunks[chunk] = (map_chunk){.readers = {reader}, .next = chunk};
  if (entry->chunk) {
    map->chunks[chunk].next = map->chunks[entry->chunk].next;
    map->chunks[entry->chunk].next = chunk;
  }
  entry->chunk = chunk;
}

void task_map_add_to_chunks(task_map *map, const task_window *window, map_entry *entry, map_name reader) {
  if (!entry->chunk || !reuse_place(map, window, entry, reader)) add_chunk(map, entry, reader);
}

int task_map_entry_dead(const task_map *map, const task_window *window, const map_entry *entry) {
  if (task_map_name_matters(window, entry->writer)) return 0;
  for (int i = 0; i < MAP_OWN_READERS; i++)
    if (task_map_name_matters(window, entry->readers[i])) return 0;
  uint32_t first = entry->chunk, chunk = first, steps = 0;
  if (first) do {
      for (int i = 0; i < MAP_CHUNK_READERS; i++)
        if (task_map_name_matters(window, map->chunks[chunk].readers[i])) return 0;
      chunk = map->chunks[chunk].next;
      MAP_STEP(map, steps);
    } while (chunk != first);
  return 1;
}
