#include "device/device.h"
#include <baton/platform.h>
#include <stddef.h>
#include <string.h>

const char *baton_platform_name(uint32_t index) {
  const device_platform *platform = device_platforms(index);
  return platform ? platform->name : NULL;
}

baton_status baton_platform_describe(const char *name, baton_platform *out, baton_error *err) {
  device *dev;
  BATON_TRY(device_open(&(device_options){.platform = name, .look = 1}, &dev, err));
  const device_platform *platform = device_platform_of(dev);
  *out = (baton_platform){.name = platform->name,
                          .clusters = platform->clusters,
                          .aic_per_cluster = platform->aic_per_cluster,
                          .aiv_per_cluster = platform->aiv_per_cluster,
                          .control_threads = platform->control_threads,
                          .clock_hz = platform->clock_hz,
                          .memory = device_memory(dev),
                          .threads = device_threads(dev)};
  return device_close(dev, INT64_MAX, NULL, err);
}

int32_t baton_platform_owner(const char *name, uint32_t number) {
  const device_platform *platform;
  for (uint32_t i = 0; (platform = device_platforms(i)) != NULL; i++)
    if (strcmp(platform->name, name) == 0) return device_owner(platform, number);
  return 0;
}
