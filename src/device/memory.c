/* Allocations and copies: the checks, and the account of what is alive. */
#include "device/driver.h"

typedef unsigned long long number; /* as printf takes it */

/* Enters what the driver gave; the account and the list change together. */
static baton_status account(device *dev, uint64_t address, uint64_t size, uint64_t token, baton_error *err) {
  pthread_mutex_lock(&dev->lock);
  baton_status status = device_ranges_insert(&dev->ranges, address, size, token, err);
  if (status == BATON_OK) {
    device_stats *stats = &dev->stats;
    stats->live++;
    stats->allocations++;
    stats->committed_bytes += size;
    if (stats->committed_bytes > stats->committed_peak) stats->committed_peak = stats->committed_bytes;
  }
  pthread_mutex_unlock(&dev->lock);
  return status;
}

baton_status device_alloc(device *dev, uint64_t size, uint64_t *address, baton_error *err) {
  *address = 0;
  if (size == 0)
    return device_blame(dev->id, baton_error_set(err, BATON_INVALID_ARGUMENT, "an allocation of 0 bytes"),
                        err);
  uint64_t granted, token;
  baton_status status = dev->driver->alloc(dev, size, &granted, &token, err);
  if (status != BATON_OK) return device_blame(dev->id, status, err);
  status = account(dev, granted, size, token, err);
  if (status != BATON_OK) {
    dev->driver->free(dev, granted, token);
    return device_blame(dev->id, status, err);
  }
  *address = granted;
  return BATON_OK;
}

baton_status device_reserve(device *dev, uint64_t address, uint64_t size, baton_error *err) {
  uint64_t token;
  if (size == 0)
    return device_blame(dev->id, baton_error_set(err, BATON_INVALID_ARGUMENT, "an allocation of 0 bytes"),
                        err);
  baton_status status = dev->driver->alloc_at(dev, address, size, &token, err);
  if (status != BATON_OK) return device_blame(dev->id, status, err);
  status = account(dev, address, size, token, err);
  if (status != BATON_OK) dev->driver->free(dev, address, token);
  return device_blame(dev->id, status, err);
}

static baton_status refuse_unknown(const device *dev, uint64_t address, baton_error *err) {
  baton_error_set(err, BATON_INVALID_ARGUMENT, "0x%llx is no memory of device %u", (number)address, dev->id);
  baton_error_text(err, BATON_FIELD_HINT, "only addresses that this device handed out are valid");
  return BATON_INVALID_ARGUMENT;
}

/* The live allocation that begins at `address`; with dev->lock held. */
static baton_status find_start(const device *dev, uint64_t address, const device_range **range,
                               baton_error *err) {
  *range = device_ranges_find(&dev->ranges, address);
  if (*range && (*range)->address == address) return BATON_OK;
  if (*range)
    return baton_error_set(
        err, BATON_INVALID_ARGUMENT,
        "0x%llx is byte %llu of an allocation of %llu bytes, only its start 0x%llx can be freed",
        (number)address, (number)(address - (*range)->address), (number)(*range)->size,
        (number)(*range)->address);
  if (device_ranges_freed(&dev->ranges, address))
    return baton_error_set(err, BATON_DOUBLE_FREE, "memory 0x%llx of device %u was freed before",
                           (number)address, dev->id);
  return refuse_unknown(dev, address, err);
}

baton_status device_free(device *dev, uint64_t address, baton_error *err) {
  const device_range *range;
  uint64_t token = 0;
  pthread_mutex_lock(&dev->lock);
  baton_status status = find_start(dev, address, &range, err);
  if (status == BATON_OK) {
    token = range->token;
    dev->stats.live--;
    dev->stats.frees++;
    dev->stats.committed_bytes -= range->size;
    device_ranges_remove(&dev->ranges, range);
  }
  pthread_mutex_unlock(&dev->lock);
  /* only now can the driver hand the address out again */
  if (status == BATON_OK) dev->driver->free(dev, address, token);
  return device_blame(dev->id, status, err);
}

/* That [address, address+size) lies in one live allocation; with dev->lock held. */
static baton_status check(const device *dev, uint64_t address, uint64_t size, baton_error *err) {
  const device_range *range = device_ranges_find(&dev->ranges, address);
  if (range) {
    uint64_t first = address - range->address, end = size > UINT64_MAX - first ? UINT64_MAX : first + size;
    if (end <= range->size) return BATON_OK;
    return baton_error_set(err, BATON_OUT_OF_RANGE, "bytes [%llu,%llu) of an allocation of %llu",
                           (number)first, (number)end, (number)range->size);
  }
  if (!device_ranges_freed(&dev->ranges, address)) return refuse_unknown(dev, address, err);
  baton_error_set(err, BATON_STALE_HANDLE, "memory 0x%llx of device %u was freed", (number)address, dev->id);
  baton_error_text(err, BATON_FIELD_HINT, "free a buffer after its last use");
  return BATON_STALE_HANDLE;
}

static baton_status check_range(device *dev, uint64_t address, uint64_t size, const char *what,
                                baton_error *err) {
  pthread_mutex_lock(&dev->lock);
  baton_status status = check(dev, address, size, err);
  pthread_mutex_unlock(&dev->lock);
  if (status != BATON_OK) baton_error_context(err, "%s", what);
  return device_blame(dev->id, status, err);
}

static void count_bytes(device *dev, uint64_t *counter, uint64_t size) {
  pthread_mutex_lock(&dev->lock);
  *counter += size;
  pthread_mutex_unlock(&dev->lock);
}

baton_status device_copy_in(device *dev, uint64_t address, const void *from, uint64_t size,
                            baton_error *err) {
  if (size == 0) return BATON_OK;
  BATON_TRY(check_range(dev, address, size, "copy to the device", err));
  baton_status status = dev->driver->copy_in(dev, address, from, size, err);
  if (status == BATON_OK) count_bytes(dev, &dev->stats.bytes_to_device, size);
  return device_blame(dev->id, status, err);
}

baton_status device_copy_out(device *dev, uint64_t address, void *to, uint64_t size, baton_error *err) {
  if (size == 0) return BATON_OK;
  BATON_TRY(check_range(dev, address, size, "copy from the device", err));
  baton_status status = dev->driver->copy_out(dev, address, to, size, err);
  if (status == BATON_OK) count_bytes(dev, &dev->stats.bytes_from_device, size);
  return device_blame(dev->id, status, err);
}

baton_status device_fill(device *dev, uint64_t address, uint8_t byte, uint64_t size, baton_error *err) {
  if (size == 0) return BATON_OK;
  BATON_TRY(check_range(dev, address, size, "fill", err));
  return device_blame(dev->id, dev->driver->fill(dev, address, byte, size, err), err);
}

baton_status device_translate(device *dev, uint64_t address, uint64_t size, void **out, baton_error *err) {
  *out = NULL;
  if (size == 0)
    return device_blame(dev->id, baton_error_set(err, BATON_INVALID_ARGUMENT, "an address range of 0 bytes"),
                        err);
  BATON_TRY(check_range(dev, address, size, "address for a kernel", err));
  *out = dev->driver->translate(dev, address);
  return BATON_OK;
}
