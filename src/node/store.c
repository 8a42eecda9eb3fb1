/* What a worker keeps under the numbers of the node: programs and buffers. */
#include "base/memory.h"
#include "chip/program/pack.h"
#include "node/execute.h"
#include <string.h>

typedef unsigned long long number; /* as printf takes it */

/* --- Programs ------------------------------------------------------------------------------------------- */

static void free_program(node_program *entry) {
  baton_program_close(entry->program);
  base_free(entry);
}

static void free_retired(node_program *entry) {
  while (entry) {
    node_program *next = entry->retired;
    free_program(entry);
    entry = next;
  }
}

/* Out of the list, for the task lane to free; executor->lock is held. */
static void retire(node_executor *executor, node_program *entry) {
  if (entry->newer)
    entry->newer->older = entry->older;
  else
    executor->latest = entry->older;
  if (entry->older) entry->older->newer = entry->newer;
  entry->retired = executor->retired;
  executor->retired = entry;
  /* relaxed: who sees the change takes the lock */
  atomic_fetch_add_explicit(&executor->changes, 1, memory_order_relaxed);
}

/* The chip holds programs by their content: its hold ends with the last of them. */
static baton_handle last_handle(const node_executor *executor, const node_program *entry) {
  for (const node_program *other = executor->latest; other; other = other->older)
    if (other != entry && other->handle == entry->handle) return 0;
  return entry->handle;
}

/* Takes the number away from the program that has it. False: none has. executor->lock is held. */
static int drop(node_executor *executor, uint32_t callable, baton_handle *handle) {
  node_program *entry = node_numbers_remove(&executor->programs, callable);
  if (!entry) return 0;
  *handle = last_handle(executor, entry);
  retire(executor, entry);
  return 1;
}

static void forget_handle(node_executor *executor, baton_handle handle) {
  if (handle && executor->chip) (void)baton_worker_unregister(executor->chip, handle, NULL);
  if (handle && executor->node) (void)baton_node_unregister(executor->node, handle, NULL);
}

baton_status node_do_unregister(node_executor *executor, node_executor_lane *lane,
                                const node_command *command, baton_error *err) {
  baton_handle handle = 0;
  (void)lane;
  pthread_mutex_lock(&executor->lock);
  int found = drop(executor, command->callable, &handle);
  pthread_mutex_unlock(&executor->lock);
  forget_handle(executor, handle);
  if (found) return BATON_OK;
  return baton_error_set(err, BATON_STALE_HANDLE, "unregister: there is no program %u", command->callable);
}

/* A graph of this process is built on the thread that submits, which knows only its script. */
static baton_status repack(baton_program *program, baton_program **out, baton_error *err) {
  chip_text bytes = {0};
  baton_status status = chip_program_pack(program, &bytes, err);
  if (status == BATON_OK) status = chip_program_unpack(bytes.data, bytes.length, node_build_graph, out, err);
  chip_text_free(&bytes);
  return status;
}

static baton_status take_program(const node_executor *executor, const node_command *command,
                                 baton_program **out, baton_error *err) {
  baton_program *program = (baton_program *)(uintptr_t)command->buffer;
  uint64_t size;
  if (command->ndata || !executor->in_process)
    return chip_program_unpack(node_command_data(command), command->ndata, node_build_graph, out, err);
  if (chip_program_script(program, &size)) return repack(program, out, err);
  *out = chip_program_hold(program);
  return BATON_OK;
}

/* Takes the program and loads it; on a chip it is registered there too. */
static baton_status load(node_executor *executor, const node_command *command, node_program *entry,
                         baton_error *err) {
  uint64_t size;
  BATON_TRY(take_program(executor, command, &entry->program, err));
  if (chip_program_script(entry->program, &size) && !executor->scripts)
    return baton_error_set(err, BATON_UNSUPPORTED, "%s: its graph is a Lua function, this worker calls none",
                           baton_program_name(entry->program));
  BATON_TRY(baton_program_compile(entry->program, err));
  if (chip_program_is_host(entry->program)) return BATON_OK;
  if (executor->chip) return baton_worker_register(executor->chip, entry->program, &entry->handle, err);
  if (executor->node) return baton_node_register(executor->node, entry->program, &entry->handle, err);
  return baton_error_set(err, BATON_UNSUPPORTED, "%s: a sub worker runs functions of the host only",
                         baton_program_name(entry->program));
}

/* Another program under the same number goes. */
static baton_status enter_program(node_executor *executor, node_program *entry, baton_error *err) {
  baton_handle dropped = 0;
  pthread_mutex_lock(&executor->lock);
  int room = node_numbers_reserve(&executor->programs);
  if (room) {
    entry->older = executor->latest;
    if (entry->older) entry->older->newer = entry;
    executor->latest = entry;
    (void)drop(executor, entry->callable, &dropped);
    node_numbers_add(&executor->programs, entry->callable, entry);
  }
  pthread_mutex_unlock(&executor->lock);
  forget_handle(executor, dropped);
  return room ? BATON_OK : base_out_of_memory(err, "the programs of a worker");
}

baton_status node_do_register(node_executor *executor, node_executor_lane *lane, const node_command *command,
                              baton_error *err) {
  (void)lane;
  node_program *entry = base_calloc(1, sizeof *entry);
  if (!entry) return base_out_of_memory(err, "the programs of a worker");
  entry->callable = command->callable;
  baton_status status = load(executor, command, entry, err);
  if (status == BATON_OK) status = enter_program(executor, entry, err);
  if (status != BATON_OK) free_program(entry);
  return status;
}

/* Nothing of what the cache knows may be used any more; what was retired is free now. */
static void clear_cache(node_executor *executor) {
  pthread_mutex_lock(&executor->lock);
  node_program *retired = executor->retired;
  executor->retired = NULL;
  executor->changes_seen = atomic_load_explicit(&executor->changes, memory_order_relaxed);
  pthread_mutex_unlock(&executor->lock);
  for (uint32_t i = 0; i < NODE_CACHED_PROGRAMS; i++) executor->cache[i] = NULL;
  free_retired(retired);
}

baton_status node_find_program(node_executor *executor, uint32_t callable, node_program **out,
                               baton_error *err) {
  node_program **place = &executor->cache[callable % NODE_CACHED_PROGRAMS];
  /* relaxed: a program that is unregistered just now is not freed before the next call of this */
  if (atomic_load_explicit(&executor->changes, memory_order_relaxed) != executor->changes_seen)
    clear_cache(executor);
  *out = *place;
  if (*out && (*out)->callable == callable) return BATON_OK;
  pthread_mutex_lock(&executor->lock);
  *out = node_numbers_find(&executor->programs, callable);
  pthread_mutex_unlock(&executor->lock);
  if (!*out) return baton_error_set(err, BATON_STALE_HANDLE, "call: there is no program %u", callable);
  *place = *out;
  return BATON_OK;
}

/* --- Buffers -------------------------------------------------------------------------------------------- */

static baton_status no_chip(const char *what, baton_error *err) {
  return baton_error_set(err, BATON_UNSUPPORTED, "%s: a sub worker has no device memory", what);
}

baton_status node_use_buffer(node_executor *executor, uint64_t buffer, baton_buffer **out, baton_error *err) {
  pthread_mutex_lock(&executor->lock);
  baton_buffer *found = node_numbers_find(&executor->buffers, buffer);
  baton_status status = found ? chip_buffer_use(found, executor->chip, err) : BATON_STALE_HANDLE;
  pthread_mutex_unlock(&executor->lock);
  *out = status == BATON_OK ? found : NULL;
  if (found) return status;
  return baton_error_set(err, BATON_STALE_HANDLE, "there is no buffer %llu", (number)buffer);
}

static baton_status enter_buffer(node_executor *executor, uint64_t buffer, baton_buffer *made,
                                 baton_error *err) {
  pthread_mutex_lock(&executor->lock);
  int known = node_numbers_find(&executor->buffers, buffer) != NULL;
  int room = !known && node_numbers_reserve(&executor->buffers);
  if (room) node_numbers_add(&executor->buffers, buffer, made);
  pthread_mutex_unlock(&executor->lock);
  if (room) return BATON_OK;
  baton_buffer_close(made);
  if (!known) return base_out_of_memory(err, "the buffers of a worker");
  return baton_error_set(err, BATON_PROTOCOL_ERROR, "malloc: there is a buffer %llu", (number)buffer);
}

baton_status node_adopt_buffer(node_executor *executor, const node_kept *kept, baton_error *err) {
  baton_buffer *made;
  BATON_TRY(chip_buffer_adopt(executor->chip, kept->address, kept->nbytes, &made, err));
  return enter_buffer(executor, kept->number, made, err);
}

baton_status node_do_malloc(node_executor *executor, node_executor_lane *lane, const node_command *command,
                            baton_error *err) {
  baton_buffer *made;
  char *data;
  if (!executor->chip) return no_chip("malloc", err);
  BATON_TRY(node_reply_room(lane, sizeof made->address, &data, err));
  BATON_TRY(baton_worker_malloc(executor->chip, command->size, &made, err));
  memcpy(data, &made->address, sizeof made->address);
  return enter_buffer(executor, command->buffer, made, err);
}

baton_status node_do_free(node_executor *executor, node_executor_lane *lane, const node_command *command,
                          baton_error *err) {
  (void)lane;
  pthread_mutex_lock(&executor->lock);
  baton_buffer *buffer = node_numbers_remove(&executor->buffers, command->buffer);
  pthread_mutex_unlock(&executor->lock);
  if (!buffer)
    return baton_error_set(err, BATON_STALE_HANDLE, "free: there is no buffer %llu", (number)command->buffer);
  baton_status status = baton_worker_free(executor->chip, buffer, err);
  baton_buffer_close(buffer);
  return status;
}

static baton_status move(node_executor *executor, const node_command *command, const char *what,
                         baton_error *err) {
  int to = command->operation == NODE_COPY_TO;
  const node_value *values = node_command_values(command), *inner = &values[!to];
  uint64_t offset = (uint64_t)(uintptr_t)inner->view.data;
  baton_buffer *buffer;
  baton_view host;
  BATON_TRY(node_map_view(executor, &values[to], &host, err));
  baton_status status = node_use_buffer(executor, inner->buffer, &buffer, err);
  if (status != BATON_OK) return baton_error_context(err, "%s", what);
  status = to ? chip_buffer_move_to(buffer, offset, command->size, &host, err)
              : chip_buffer_move_from(&host, buffer, offset, command->size, err);
  chip_buffer_unuse(buffer);
  return status;
}

baton_status node_do_copy(node_executor *executor, node_executor_lane *lane, const node_command *command,
                          baton_error *err) {
  const char *what = command->operation == NODE_COPY_TO ? "copy_to" : "copy_from";
  (void)lane;
  return executor->chip ? move(executor, command, what, err) : no_chip(what, err);
}

/* --- The end -------------------------------------------------------------------------------------------- */

void node_store_close(node_executor *executor) {
  for (node_program *entry = executor->latest, *older; entry; entry = older) {
    older = entry->older;
    free_program(entry);
  }
  free_retired(executor->retired);
  node_numbers_close(&executor->programs);
  for (uint32_t i = 0; i < executor->buffers.capacity; i++)
    baton_buffer_close(executor->buffers.places[i].thing);
  node_numbers_close(&executor->buffers);
}
