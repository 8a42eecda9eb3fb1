/* node/numbers.h - things under numbers that another side gives out. One thread at a time. */
#ifndef NODE_NUMBERS_H
#define NODE_NUMBERS_H

#include <stdint.h>

typedef struct node_number {
  uint64_t number;
  void *thing; /* NULL: a free place */
} node_number;

/* A table of places, at most half full; a number is found at its own place or behind it, without a free place between.
** Zero-initialised. */
typedef struct node_numbers {
  node_number *places;
  uint32_t capacity, count; /* capacity: a power of two, or 0 */
} node_numbers;

/* NULL: nothing has this number. */
void *node_numbers_find(const node_numbers *numbers, uint64_t number);
/* Room for one more; false when memory is out. */
int node_numbers_reserve(node_numbers *numbers);
/* Adds a number that is not there, after node_numbers_reserve. */
void node_numbers_add(node_numbers *numbers, uint64_t number, void *thing);
/* Removes a number and returns its thing; NULL: it was not there. */
void *node_numbers_remove(node_numbers *numbers, uint64_t number);
/* The things are their owner's. */
void node_numbers_close(node_numbers *numbers);

#endif
