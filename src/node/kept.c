#include "node/kept.h"
#include "base/memory.h"
#include "node/endpoint.h"
#include <string.h>

struct node_kept_list {
  pthread_mutex_t lock;
  node_kept *items;
  uint32_t count, capacity;
};

node_kept_list *node_kept_open(void) {
  node_kept_list *list = base_calloc(1, sizeof *list);
  if (list) pthread_mutex_init(&list->lock, NULL);
  return list;
}

void node_kept_close(node_kept_list *list) {
  if (!list) return;
  pthread_mutex_destroy(&list->lock);
  base_free(list->items);
  base_free(list);
}

/* The first place whose number is not below; the lock is held. */
static uint32_t place_of(const node_kept_list *list, uint64_t number) {
  uint32_t low = 0, high = list->count;
  if (high && list->items[high - 1].number < number) return high;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (list->items[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static int make_room(node_kept_list *list) {
  if (list->count < list->capacity) return 1;
  uint32_t capacity = list->capacity ? 2 * list->capacity : 16;
  node_kept *items = base_realloc(list->items, capacity * sizeof *items);
  if (!items) return 0;
  list->items = items;
  list->capacity = capacity;
  return 1;
}

baton_status node_kept_add(node_kept_list *list, const node_kept *buffer, baton_error *err) {
  baton_status status = BATON_OK;
  pthread_mutex_lock(&list->lock);
  if (make_room(list)) {
    uint32_t place = place_of(list, buffer->number);
    memmove(list->items + place + 1, list->items + place, (list->count - place) * sizeof *buffer);
    list->items[place] = *buffer;
    list->count++;
  } else {
    status = base_out_of_memory(err, "the list of buffers");
  }
  pthread_mutex_unlock(&list->lock);
  return status;
}

void node_kept_remove(node_kept_list *list, uint64_t number) {
  pthread_mutex_lock(&list->lock);
  uint32_t place = place_of(list, number);
  if (place < list->count && list->items[place].number == number) {
    list->count--;
    memmove(list->items + place, list->items + place + 1, (list->count - place) * sizeof *list->items);
  }
  pthread_mutex_unlock(&list->lock);
}

baton_status node_kept_with(node_kept_list *list,
                            baton_status (*take)(void *context, const node_kept *buffers, uint32_t count,
                                                 baton_error *err),
                            void *context, baton_error *err) {
  pthread_mutex_lock(&list->lock);
  baton_status status = take(context, list->items, list->count, err);
  pthread_mutex_unlock(&list->lock);
  return status;
}

baton_status node_endpoint_keep(node_endpoint *endpoint, const node_kept *buffer, baton_error *err) {
  return endpoint->kept ? node_kept_add(endpoint->kept, buffer, err) : BATON_OK;
}

void node_endpoint_forget(node_endpoint *endpoint, uint64_t number) {
  if (endpoint->kept) node_kept_remove(endpoint->kept, number);
}
