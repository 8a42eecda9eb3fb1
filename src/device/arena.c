/* The static arena: three regions, committed together or not at all. */
#include "device/driver.h"

static const char *const names[DEVICE_REGION_COUNT] = {
    [DEVICE_REGION_HEAP] = "heap",
    [DEVICE_REGION_SHARED] = "shared",
    [DEVICE_REGION_IMAGE] = "image",
};

device_region device_arena_region(const device *dev, device_region_name name) { return dev->regions[name]; }

void device_arena_release(device *dev) {
  for (int name = 0; name < DEVICE_REGION_COUNT; name++) {
    if (dev->regions[name].size) (void)device_free(dev, dev->regions[name].address, NULL);
    dev->regions[name] = (device_region){0};
  }
}

static int is_large_enough(const device *dev, const uint64_t sizes[DEVICE_REGION_COUNT]) {
  for (int name = 0; name < DEVICE_REGION_COUNT; name++)
    if (dev->regions[name].size < sizes[name]) return 0;
  return 1;
}

static baton_status commit(device *dev, const uint64_t sizes[DEVICE_REGION_COUNT], baton_error *err) {
  for (int name = 0; name < DEVICE_REGION_COUNT; name++) {
    if (!sizes[name]) continue;
    baton_status status = device_alloc(dev, sizes[name], &dev->regions[name].address, err);
    if (status != BATON_OK) {
      baton_error_context(err, "arena: region %s of %llu bytes", names[name],
                          (unsigned long long)sizes[name]);
      return status;
    }
    dev->regions[name].size = sizes[name];
  }
  pthread_mutex_lock(&dev->lock);
  dev->stats.arenas_committed++;
  pthread_mutex_unlock(&dev->lock);
  return BATON_OK;
}

baton_status device_arena_commit(device *dev, const uint64_t sizes[DEVICE_REGION_COUNT], int *changed,
                                 baton_error *err) {
  *changed = 0;
  if (is_large_enough(dev, sizes)) return BATON_OK;
  uint64_t larger[DEVICE_REGION_COUNT];
  for (int name = 0; name < DEVICE_REGION_COUNT; name++)
    larger[name] = sizes[name] > dev->regions[name].size ? sizes[name] : dev->regions[name].size;
  /* first, so that growing does not need room for both */
  device_arena_release(dev);
  baton_status status = commit(dev, larger, err);
  if (status != BATON_OK) device_arena_release(dev);
  *changed = status == BATON_OK;
  return status;
}
