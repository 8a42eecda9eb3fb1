/* device/ranges.h - the live allocations of a device by address, and where there were some before.
**
** A sorted array: a look-up is a binary search; an insertion at the end, the usual case, moves nothing.
** Between two neighbours that are alive one interval remembers the freed memory there, so that the freed can
** be told from what never was memory, in bounded space. One thread at a time. */
#ifndef DEVICE_RANGES_H
#define DEVICE_RANGES_H

#include <baton/error.h>

typedef struct device_range {
  uint64_t address, size;
  uint64_t token;                  /* the driver's */
  uint64_t freed_begin, freed_end; /* behind it, before the next one; equal: nothing was freed there */
} device_range;

typedef struct device_ranges {
  device_range *list; /* list[0] is empty and lies before all others */
  uint32_t count, capacity;
} device_ranges;

baton_status device_ranges_open(device_ranges *ranges, baton_error *err);
void device_ranges_close(device_ranges *ranges);

/* Adds a range that overlaps no live one. */
baton_status device_ranges_insert(device_ranges *ranges, uint64_t address, uint64_t size, uint64_t token,
                                  baton_error *err);

/* The live range that contains `address`; NULL: none. Valid until the next insertion or removal. */
const device_range *device_ranges_find(const device_ranges *ranges, uint64_t address);

/* True if `address` lies in no live range, and in one that was removed. */
int device_ranges_freed(const device_ranges *ranges, uint64_t address);

/* Removes a range that device_ranges_find returned. */
void device_ranges_remove(device_ranges *ranges, const device_range *range);

#endif
