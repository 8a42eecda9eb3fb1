#include "device/ranges.h"
#include "base/memory.h"
#include <string.h>

baton_status device_ranges_open(device_ranges *ranges, baton_error *err) {
  *ranges = (device_ranges){.capacity = 64};
  ranges->list = base_calloc(ranges->capacity, sizeof *ranges->list);
  if (!ranges->list) return base_out_of_memory(err, "the allocations of a device");
  ranges->count = 1;
  return BATON_OK;
}

void device_ranges_close(device_ranges *ranges) {
  base_free(ranges->list);
  *ranges = (device_ranges){0};
}

/* The last range that begins at or before `address`. */
static uint32_t floor_of(const device_ranges *ranges, uint64_t address) {
  uint32_t low = 0, high = ranges->count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (ranges->list[middle].address <= address)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static baton_status reserve(device_ranges *ranges, baton_error *err) {
  if (ranges->count < ranges->capacity) return BATON_OK;
  device_range *list = base_realloc(ranges->list, (size_t)ranges->capacity * 2 * sizeof *list);
  if (!list) return base_out_of_memory(err, "the allocations of a device");
  ranges->list = list;
  ranges->capacity *= 2;
  return BATON_OK;
}

baton_status device_ranges_insert(device_ranges *ranges, uint64_t address, uint64_t size, uint64_t token,
                                  baton_error *err) {
  BATON_TRY(reserve(ranges, err));
  device_range *before = &ranges->list[floor_of(ranges, address)], *range = before + 1;
  size_t after = (size_t)(ranges->list + ranges->count - range);
  memmove(range + 1, range, after * sizeof *range);
  ranges->count++;
  *range = (device_range){.address = address, .size = size, .token = token};
  /* what was freed on either side of the new range stays remembered */
  uint64_t end = address + size;
  if (before->freed_end > end) {
    range->freed_begin = before->freed_begin > end ? before->freed_begin : end;
    range->freed_end = before->freed_end;
  }
  if (before->freed_end > address) before->freed_end = address;
  if (before->freed_begin >= before->freed_end) before->freed_begin = before->freed_end = 0;
  return BATON_OK;
}

const device_range *device_ranges_find(const device_ranges *ranges, uint64_t address) {
  const device_range *range = &ranges->list[floor_of(ranges, address)];
  return address - range->address < range->size ? range : NULL;
}

int device_ranges_freed(const device_ranges *ranges, uint64_t address) {
  const device_range *before = &ranges->list[floor_of(ranges, address)];
  return address >= before->freed_begin && address < before->freed_end;
}

void device_ranges_remove(device_ranges *ranges, const device_range *range) {
  uint32_t index = (uint32_t)(range - ranges->list);
  device_range *before = &ranges->list[index - 1];
  uint64_t end = range->address + range->size;
  if (before->freed_begin == before->freed_end) before->freed_begin = range->address;
  before->freed_end = range->freed_end > end ? range->freed_end : end;
  ranges->count--;
  memmove(before + 1, before + 2, (ranges->count - index) * sizeof *before);
}
