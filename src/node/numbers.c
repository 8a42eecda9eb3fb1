#include "node/numbers.h"
#include "base/memory.h"

enum { FIRST_PLACES = 16 };

static uint32_t home_of(const node_numbers *numbers, uint64_t number) {
  return (uint32_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (numbers->capacity - 1);
}

/* The place of the number, or the free one where it belongs. */
static node_number *place_of(const node_numbers *numbers, uint64_t number) {
  uint32_t at = home_of(numbers, number);
  while (numbers->places[at].thing && numbers->places[at].number != number)
    at = (at + 1) & (numbers->capacity - 1);
  return &numbers->places[at];
}

void *node_numbers_find(const node_numbers *numbers, uint64_t number) {
  return numbers->capacity ? place_of(numbers, number)->thing : NULL;
}

int node_numbers_reserve(node_numbers *numbers) {
  if (2 * numbers->count < numbers->capacity) return 1;
  node_numbers larger = {.capacity = numbers->capacity ? 2 * numbers->capacity : FIRST_PLACES,
                         .count = numbers->count};
  larger.places = base_calloc(larger.capacity, sizeof *larger.places);
  if (!larger.places) return 0;
  for (uint32_t i = 0; i < numbers->capacity; i++)
    if (numbers->places[i].thing) *place_of(&larger, numbers->places[i].number) = numbers->places[i];
  base_free(numbers->places);
  *numbers = larger;
  return 1;
}

void node_numbers_add(node_numbers *numbers, uint64_t number, void *thing) {
  *place_of(numbers, number) = (node_number){number, thing};
  numbers->count++;
}

/* What stands behind the free place moves into it, unless it would come to stand before its home. */
static void close_gap(node_numbers *numbers, uint32_t gap) {
  uint32_t mask = numbers->capacity - 1;
  for (uint32_t at = (gap + 1) & mask; numbers->places[at].thing; at = (at + 1) & mask) {
    uint32_t home = home_of(numbers, numbers->places[at].number);
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    numbers->places[gap] = numbers->places[at];
    gap = at;
  }
  numbers->places[gap] = (node_number){0};
}

void *node_numbers_remove(node_numbers *numbers, uint64_t number) {
  if (!numbers->capacity) return NULL;
  node_number *place = place_of(numbers, number);
  void *thing = place->thing;
  if (!thing) return NULL;
  numbers->count--;
  close_gap(numbers, (uint32_t)(place - numbers->places));
  return thing;
}

void node_numbers_close(node_numbers *numbers) {
  base_free(numbers->places);
  *numbers = (node_numbers){0};
}
