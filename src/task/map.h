/* task/map.h - who wrote and who reads which region: the source of every inferred edge. Freestanding; the owner's alone.
**
** Each distinct region that a live task touches is an entry: its last writer and the readers since. A read depends on
** the writer of every entry that it overlaps; a write also on the readers. Where an entry has readers, the writer is
** skipped: each of them waited for it already. A write takes over the entries that it covers.
**
** Entries of a buffer are found through a grid of cells: the extents of one region, repeated over the buffer. A region
** that fits into one cell is kept in the hash chain of that cell, any other in the buffer's wide list, and a wide region
** looks at all entries of the buffer. So no state says that regions "are" uniform: every placement is right for every
** mix of regions, and the grid only decides what it costs. When looks are wasted on entries that do not overlap, the
** grid is laid anew with the extents of the region at hand.
**
** A region that was touched lately is recalled by the hash of its buffer and offset, and compared. If its entry is alone,
** that is all: no other entry of the buffer is in the chain of its cell (a bit, set by a look that saw so and cleared by
** what is added to the chain or by a new grid), and the buffer has no wide entry.
**
** An entry whose tasks are all gone orders nothing, but the next task often touches the same region: it stays while the
** map is less than an eighth full. Beyond that each new entry sweeps two old ones, unless no task has ended since all were
** looked at; so the map stays as large as the live tasks need. */
#ifndef TASK_MAP_H
#define TASK_MAP_H

#include "task/region.h"
#include "task/window.h"

enum { TASK_READS = 1, TASK_WRITES = 2 };

/* One argument of a task, as the map sees it. */
typedef struct task_access {
  uint64_t base;  /* identity of the buffer, below 1 << 63; a block has its handle instead */
  uint32_t mode;  /* TASK_READS | TASK_WRITES; 0: no edges */
  uint32_t block; /* runtime-owned memory: number and generation of the block; 0: the caller's */
  uint32_t generation;
  task_region region;
} task_access;

typedef struct task_map task_map;

/* Bytes of memory for `entries` regions. */
size_t task_map_size(uint32_t entries);

/* `memory` is zero, aligned to a cache line, and stays the caller's; returns the map in it. */
task_map *task_map_init(void *memory, uint32_t entries);

/* Forgets all regions; no task may be live. */
void task_map_reset(task_map *map);

/* True if `accesses` more regions surely fit. */
int task_map_has_room(const task_map *map, uint32_t accesses);

/* The same; sweeps dead entries if it must. */
int task_map_reserve(task_map *map, const task_window *window, uint32_t accesses);

/* False: no region of the buffer of this access is in the map, so that there is nothing to infer. */
int task_map_knows(const task_map *map, const task_access *access);

/* Adds to the window's draft all tasks that this access must wait for. */
void task_map_infer(task_map *map, task_window *window, const task_access *access);

/* Records the access of the task in `slot`, after all accesses of the task have been inferred. */
void task_map_record(task_map *map, task_window *window, const task_access *access, uint32_t slot);

/* Entries in use. */
uint32_t task_map_live(const task_map *map);

#endif
