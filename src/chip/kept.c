#include "chip/kept.h"
#include "base/atomic.h"
#include "base/memory.h"
#include "chip/program/scalar.h"
#include <string.h>

enum { JOIN_NS = 5000 }; /* a thread of the device wakes up and takes part */

/* A place in a payload that follows an argument of the program, or the heap. */
typedef struct chip_patch {
  baton_argument *item;
  uint64_t offset; /* tensors: from the start of the argument, or of the heap */
} chip_patch;

struct chip_kept_graph {
  task_graph *graph;
  void *memory; /* of the graph, not aligned */
  chip_looks looks;
  chip_text calls;
  uint64_t way, number;
  chip_sizes sizes;
  const device_platform *platform;
  chip_patch *patches;
  uint32_t patch_count, patch_room;
  char **argument_bytes; /* what the patches hold now */
  char *heap_bytes;
  uint64_t forgets; /* of the program when this was listed */
  int in_use, listed;
  chip_kept_graph *next;
};

static void free_graph(chip_kept_graph *graph) {
  if (!graph) return;
  chip_looks_close(&graph->looks);
  chip_text_free(&graph->calls);
  base_free(graph->patches);
  base_free(graph->argument_bytes);
  base_free(graph->memory);
  base_free(graph);
}

void chip_kept_open(chip_kept *kept) {
  *kept = (chip_kept){0};
  pthread_mutex_init(&kept->lock, NULL);
}

/* Takes a graph out of the list; frees it unless a run still uses it. The lock is held. */
static void unlist(chip_kept *kept, chip_kept_graph **link) {
  chip_kept_graph *graph = *link;
  *link = graph->next;
  graph->listed = 0;
  kept->count--;
  if (!graph->in_use) free_graph(graph);
}

void chip_kept_forget(chip_kept *kept) {
  pthread_mutex_lock(&kept->lock);
  kept->forgets++;
  while (kept->graphs) unlist(kept, &kept->graphs);
  pthread_mutex_unlock(&kept->lock);
}

void chip_kept_close(chip_kept *kept) {
  chip_kept_forget(kept);
  pthread_mutex_destroy(&kept->lock);
}

void chip_kept_give(chip_kept *kept, chip_kept_graph *graph) {
  pthread_mutex_lock(&kept->lock);
  graph->in_use = 0;
  int listed = graph->listed;
  pthread_mutex_unlock(&kept->lock);
  if (!listed) free_graph(graph);
}

task_graph *chip_kept_graph_of(chip_kept_graph *graph) { return graph->graph; }

const chip_text *chip_kept_calls_of(const chip_kept_graph *graph, uint64_t *number) {
  *number = graph->number;
  return &graph->calls;
}

/* --- Patches ---------------------------------------------------------------------------------------------------- */

/* Points a tensor argument and its view at new memory. */
static void point(const chip_patch *patch, char *base) {
  baton_view *view = (baton_view *)(uintptr_t)patch->item->view;
  view->data = base + patch->offset;
  patch->item->value.data = view->data;
}

static baton_status patch_scalar(const chip_patch *patch, const chip_bindings *bindings, baton_error *err) {
  const baton_argument *now = &bindings->items[patch->item->argument - 1].argument;
  chip_value value = {.dtype = (baton_dtype)now->dtype, .scalar.u64 = now->value.u64};
  if (chip_scalar_convert(&value, 1u << patch->item->dtype)) {
    patch->item->value.u64 = value.scalar.u64;
    return BATON_OK;
  }
  char text[CHIP_SCALAR_TEXT], range[CHIP_RANGE_TEXT];
  chip_scalar_text(&value, text);
  chip_range_text((baton_dtype)patch->item->dtype, range);
  return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: argument %u: %s does not fit a kernel that takes %s",
                         baton_program_name(bindings->program), patch->item->argument, text, range);
}

/* Some patches may point elsewhere by now: the next fit moves all of them. */
static void forget_addresses(chip_kept_graph *graph, const chip_bindings *bindings) {
  graph->heap_bytes = NULL;
  for (uint32_t i = 0; i < bindings->count; i++) graph->argument_bytes[i] = NULL;
}

static baton_status fit(chip_kept_graph *graph, const chip_engine *engine, const chip_bindings *bindings,
                        baton_error *err) {
  int heap_moved = graph->heap_bytes != engine->heap_bytes;
  for (uint32_t i = 0; i < graph->patch_count; i++) {
    const chip_patch *patch = &graph->patches[i];
    uint32_t argument = patch->item->argument;
    if (!patch->item->view) {
      baton_status status = patch_scalar(patch, bindings, err);
      if (status == BATON_OK) continue;
      forget_addresses(graph, bindings);
      return status;
    }
    if (!argument) {
      if (heap_moved) point(patch, engine->heap_bytes);
    } else if (graph->argument_bytes[argument - 1] != bindings->items[argument - 1].kernel_bytes) {
      point(patch, bindings->items[argument - 1].kernel_bytes);
    }
  }
  graph->heap_bytes = engine->heap_bytes;
  for (uint32_t i = 0; i < bindings->count; i++) graph->argument_bytes[i] = bindings->items[i].kernel_bytes;
  return BATON_OK;
}

/* --- Finding ---------------------------------------------------------------------------------------------------- */

static int same_engine(const chip_kept_graph *graph, const chip_engine *engine) {
  return graph->platform == device_platform_of(engine->dev) && graph->sizes.window == engine->sizes.window &&
         graph->sizes.heap == engine->sizes.heap && graph->sizes.dep_pool == engine->sizes.dep_pool;
}

baton_status chip_kept_take(chip_kept *kept, const chip_engine *engine, const chip_bindings *bindings,
                            uint64_t way, chip_kept_graph **out, baton_error *err) {
  *out = NULL;
  pthread_mutex_lock(&kept->lock);
  for (chip_kept_graph **link = &kept->graphs; *link && !*out; link = &(*link)->next) {
    chip_kept_graph *graph = *link;
    if (graph->in_use || graph->way != way || !same_engine(graph, engine) ||
        !chip_looks_same(&graph->looks, bindings))
      continue;
    graph->in_use = 1;
    *out = graph;
    *link = graph->next; /* to the front */
    graph->next = kept->graphs;
    kept->graphs = graph;
    break;
  }
  pthread_mutex_unlock(&kept->lock);
  if (!*out) return BATON_OK;
  chip_looks_replay(&(*out)->looks, bindings);
  baton_status status = fit(*out, engine, bindings, err);
  if (status == BATON_OK) return BATON_OK;
  chip_kept_give(kept, *out);
  *out = NULL;
  return status;
}

baton_status chip_kept_take_again(chip_kept *kept, chip_kept_graph *graph, const chip_engine *engine,
                                  const chip_bindings *bindings, int *same, baton_error *err) {
  pthread_mutex_lock(&kept->lock);
  *same = graph->forgets == kept->forgets && chip_looks_same(&graph->looks, bindings);
  pthread_mutex_unlock(&kept->lock);
  if (!*same) return BATON_OK;
  chip_looks_replay(&graph->looks, bindings);
  return fit(graph, engine, bindings, err);
}

/* --- Capturing -------------------------------------------------------------------------------------------------- */

typedef struct capture {
  chip_kept_graph *graph;
  const chip_engine *engine;
  const chip_bindings *bindings;
  int no_memory;
} capture;

static void add_patch(capture *c, baton_argument *item, uint64_t offset) {
  chip_kept_graph *graph = c->graph;
  if (graph->patch_count == graph->patch_room) {
    uint32_t room = graph->patch_room ? 2 * graph->patch_room : 64;
    chip_patch *patches = base_realloc(graph->patches, room * sizeof *patches);
    if (!patches) {
      c->no_memory = 1;
      return;
    }
    graph->patches = patches;
    graph->patch_room = room;
  }
  graph->patches[graph->patch_count++] = (chip_patch){item, offset};
}

/* A payload points into itself; and what its items point to may lie elsewhere in the next run. */
static void payload_moved(void *context, void *copy, const void *original, uint32_t bytes) {
  capture *c = context;
  chip_payload *payload = copy;
  if (!bytes) return; /* of a task that runs nothing */
  const char *name = payload->name, *begin = original;
  if (name >= begin && name < begin + bytes) payload->name = (char *)copy + (name - begin);
  for (uint32_t i = 0, items = chip_payload_items(payload); i < items; i++) {
    baton_argument *item = &payload->items[i];
    if (!item->view) {
      if (item->argument) add_patch(c, item, 0);
      continue;
    }
    item->view = (const baton_view *)(const void *)((char *)copy + ((const char *)item->view - begin));
    if (c->graph->way == CHIP_GRAPH_RUNS_ELSEWHERE) continue; /* no kernel looks at it here */
    const char *base =
        item->argument ? c->bindings->items[item->argument - 1].kernel_bytes : c->engine->heap_bytes;
    add_patch(c, item, (uint64_t)((const char *)item->value.data - base));
  }
}

static void *align(void *memory) {
  return (void *)(((uintptr_t)memory + BASE_CACHE_LINE - 1) & ~(uintptr_t)(BASE_CACHE_LINE - 1));
}

static void list_graph(chip_kept *kept, chip_kept_graph *graph) {
  pthread_mutex_lock(&kept->lock);
  graph->listed = 1;
  graph->forgets = kept->forgets;
  graph->next = kept->graphs;
  kept->graphs = graph;
  if (++kept->count > CHIP_KEPT_GRAPHS) {
    chip_kept_graph **last = &kept->graphs;
    while ((*last)->next) last = &(*last)->next;
    unlist(kept, last);
  }
  pthread_mutex_unlock(&kept->lock);
}

void chip_built_free(chip_built *built) {
  chip_looks_close(&built->looks);
  chip_text_free(&built->calls);
}

static chip_kept_graph *new_graph(const chip_engine *engine, const chip_bindings *bindings,
                                  chip_built *built) {
  static _Atomic uint64_t numbers;
  chip_kept_graph *graph = base_calloc(1, sizeof *graph);
  if (!graph) {
    chip_built_free(built);
    return NULL;
  }
  graph->looks = built->looks;
  graph->calls = built->calls;
  graph->way = built->way;
  graph->number = 1 + atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
  graph->sizes = engine->sizes;
  graph->platform = device_platform_of(engine->dev);
  graph->heap_bytes = engine->heap_bytes;
  graph->in_use = 1;
  graph->argument_bytes = base_calloc(bindings->count, sizeof *graph->argument_bytes);
  graph->memory = base_alloc(task_graph_size(engine->tasks) + BASE_CACHE_LINE);
  if (graph->argument_bytes && graph->memory) return graph;
  free_graph(graph);
  return NULL;
}

baton_status chip_kept_capture(chip_kept *kept, chip_engine *engine, const chip_bindings *bindings,
                               chip_built *built, chip_kept_graph **out, baton_error *err) {
  *out = NULL;
  chip_kept_graph *graph = new_graph(engine, bindings, built);
  if (!graph) return base_out_of_memory(err, "a graph");
  capture c = {.graph = graph, .engine = engine, .bindings = bindings};
  graph->graph = task_graph_capture(engine->tasks, align(graph->memory), &c, payload_moved);
  graph->graph->join = JOIN_NS;
  for (uint32_t i = 0; i < bindings->count; i++) graph->argument_bytes[i] = bindings->items[i].kernel_bytes;
  if (c.no_memory) {
    free_graph(graph);
    return base_out_of_memory(err, "the patches of a graph");
  }
  if (built->keep) list_graph(kept, graph);
  *out = graph;
  return BATON_OK;
}
