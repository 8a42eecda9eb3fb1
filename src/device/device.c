#include "device/device.h"
#include "base/memory.h"
#include "device/driver.h"
#include <stdio.h>
#include <string.h>

enum { MAX_WAIT_SECONDS = 1000000000 };

static const device_driver *const drivers[] = {&device_driver_sim};

/* Platform number `index` of all drivers, and its driver. */
static const device_platform *platform_at(uint32_t index, const device_driver **driver) {
  for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
    *driver = drivers[i];
    for (const device_platform *platform = drivers[i]->platforms; platform->name; platform++)
      if (index-- == 0) return platform;
  }
  return NULL;
}

const device_platform *device_platforms(uint32_t index) {
  const device_driver *driver;
  return platform_at(index, &driver);
}

int32_t device_owner(const device_platform *platform, uint32_t id) {
  return device_claim_owner(platform->name, id);
}

static baton_status refuse_platform(const char *name, baton_error *err) {
  char names[256] = "";
  const device_platform *platform;
  for (uint32_t i = 0; (platform = device_platforms(i)) != NULL; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", platform->name);
  }
  return baton_error_set(err, BATON_UNSUPPORTED, "platform '%s' is not supported, only: %s", name, names);
}

static baton_status find_platform(const char *name, const device_platform **platform,
                                  const device_driver **driver, baton_error *err) {
  for (uint32_t i = 0; (*platform = platform_at(i, driver)) != NULL; i++)
    if (!name || strcmp(name, (*platform)->name) == 0) return BATON_OK;
  return refuse_platform(name, err);
}

baton_status device_platform_find(const char *name, const device_platform **out, baton_error *err) {
  const device_driver *driver;
  return find_platform(name, out, &driver, err);
}

baton_status device_blame(uint32_t id, baton_status status, baton_error *err) {
  if (err && status != BATON_OK) {
    err->device = (int32_t)id;
    err->known |= BATON_KNOWN_DEVICE;
  }
  return status;
}

/* A launch that was abandoned may still allocate, copy and free: then everything stays in place, and the device
** with this process. */
static void device_destroy(device *dev) {
  device_claim *claim = dev->abandoned ? NULL : dev->claim;
  if (!dev->abandoned) {
    device_ranges_close(&dev->ranges);
    pthread_mutex_destroy(&dev->lock);
  }
  dev->driver->close(dev);
  device_claim_give(claim);
}

static baton_status check_options(const device_options *options, baton_error *err) {
  if (options->id > INT32_MAX)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "device %u: the largest number is %d", options->id,
                           INT32_MAX);
  if (options->threads > DEVICE_MAX_THREADS)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%u threads for device %u: at most %d", options->threads,
                           options->id, DEVICE_MAX_THREADS);
  if (options->memory_at && (!options->memory || (uintptr_t)options->memory_at % DEVICE_MEMORY_UNIT ||
                             options->memory % DEVICE_MEMORY_UNIT))
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "memory at %p of %llu bytes for device %u: whole units of %d bytes expected",
                           options->memory_at, (unsigned long long)options->memory, options->id,
                           DEVICE_MEMORY_UNIT);
  if (!(options->wait_seconds >= 0 && options->wait_seconds <= MAX_WAIT_SECONDS))
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "wait_device: a number of seconds in 0..%d expected, got %g", MAX_WAIT_SECONDS,
                           options->wait_seconds);
  return BATON_OK;
}

/* What is the same for all drivers, on a device that its driver has opened. */
static baton_status open_parts(device *dev, const device_options *options, baton_error *err) {
  pthread_mutex_init(&dev->lock, NULL);
  BATON_TRY(device_ranges_open(&dev->ranges, err));
  if (options->fault.call != DEVICE_CALL_NONE) BATON_TRY(device_fault_install(dev, &options->fault, err));
  return device_streams_open(dev, err);
}

baton_status device_open(const device_options *options, device **out, baton_error *err) {
  *out = NULL;
  const device_platform *platform;
  const device_driver *driver;
  BATON_TRY(find_platform(options->platform, &platform, &driver, err));
  BATON_TRY(check_options(options, err));
  device_claim *claim = NULL;
  baton_status status = BATON_OK;
  if (!options->look && !options->memory_at)
    status = device_claim_take(platform->name, options->id, options->wait_seconds, &claim, err);
  device *dev;
  if (status == BATON_OK) status = driver->open(platform, options, &dev, err);
  if (status != BATON_OK) {
    device_claim_give(claim);
    return device_blame(options->id, status, err);
  }
  dev->driver = driver;
  dev->platform = platform;
  dev->id = options->id;
  dev->claim = claim;
  status = open_parts(dev, options, err);
  if (status != BATON_OK) {
    device_blame(dev->id, status, err);
    (void)device_close(dev, 0, NULL, NULL);
    return status;
  }
  *out = dev;
  return BATON_OK;
}

baton_status device_close(device *dev, int64_t deadline, device_stats *last, baton_error *err) {
  if (!dev) return BATON_OK;
  baton_status status = device_shutdown(dev, deadline, err);
  if (device_streams_left(dev)) {
    device_fault_remove(dev);
    (void)device_shutdown(dev, deadline, NULL);
  }
  if (!dev->abandoned) device_arena_release(dev);
  if (last) *last = device_statistics(dev);
  device_destroy(dev);
  return status;
}

const device_platform *device_platform_of(const device *dev) { return dev->platform; }

uint32_t device_id(const device *dev) { return dev->id; }

uint32_t device_threads(const device *dev) { return dev->threads; }

uint64_t device_memory(const device *dev) { return dev->memory; }

device_stats device_statistics(device *dev) {
  pthread_mutex_lock(&dev->lock);
  device_stats stats = dev->stats;
  pthread_mutex_unlock(&dev->lock);
  return stats;
}
