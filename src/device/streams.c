/* The two streams of a device, and which of them are in order. */
#include "base/clock.h"
#include "device/driver.h"

static const char *const names[DEVICE_STREAM_COUNT] = {
    [DEVICE_STREAM_CONTROL] = "control",
    [DEVICE_STREAM_CORES] = "cores",
};

baton_status device_streams_open(device *dev, baton_error *err) {
  for (int name = 0; name < DEVICE_STREAM_COUNT; name++) {
    BATON_TRY(dev->driver->stream_create(dev, names[name], &dev->streams[name], err));
    dev->stats.streams_created++;
  }
  return BATON_OK;
}

static baton_status check_state(device *dev, device_stream_name name, baton_error *err) {
  pthread_mutex_lock(&dev->lock);
  device_stream_state state = dev->states[name];
  pthread_mutex_unlock(&dev->lock);
  if (state == DEVICE_STREAM_OK) return BATON_OK;
  baton_error_set(err, BATON_STATE, "stream %s of device %u %s before and is out of order", names[name],
                  dev->id, state == DEVICE_STREAM_FAILED ? "failed" : "ran out of time");
  baton_error_text(err, BATON_FIELD_HINT, "close the device and open it again");
  return device_blame(dev->id, BATON_STATE, err);
}

static void leave_order(device *dev, device_stream_name name, baton_status status) {
  pthread_mutex_lock(&dev->lock);
  dev->states[name] = status == BATON_STREAM_TIMEOUT ? DEVICE_STREAM_TIMED_OUT : DEVICE_STREAM_FAILED;
  pthread_mutex_unlock(&dev->lock);
}

baton_status device_launch_on(device *dev, device_stream_name name, device_launch *launch, baton_error *err) {
  if (launch->lanes == 0) {
    baton_error_set(err, BATON_INVALID_ARGUMENT, "a launch of 0 lanes on stream %s", names[name]);
    return device_blame(dev->id, BATON_INVALID_ARGUMENT, err);
  }
  BATON_TRY(check_state(dev, name, err));
  return device_blame(dev->id, dev->driver->launch(dev, dev->streams[name], launch, err), err);
}

void device_execute(device *dev, device_stream_name name, device_launch *launch) {
  dev->driver->execute(dev, dev->streams[name], launch);
}

static baton_status timed_out(const device *dev, device_stream_name name, int64_t begin, int64_t deadline,
                              baton_error *err) {
  double after_ms = deadline > begin ? (double)(deadline - begin) * 1e-6 : 0;
  baton_error_set(err, BATON_STREAM_TIMEOUT, "stream %s of device %u did not end within %.6g ms", names[name],
                  dev->id, after_ms);
  if (err) {
    err->after_ms = after_ms;
    err->known |= BATON_KNOWN_AFTER_MS;
  }
  return BATON_STREAM_TIMEOUT;
}

baton_status device_sync(device *dev, device_stream_name name, int64_t deadline, baton_error *err) {
  BATON_TRY(check_state(dev, name, err));
  int64_t begin = base_now();
  baton_status status = dev->driver->stream_sync(dev, dev->streams[name], deadline, err);
  if (status == BATON_STREAM_TIMEOUT) timed_out(dev, name, begin, deadline, err);
  /* a caller who may not wait says nothing about the stream */
  if (status != BATON_OK && status != BATON_STATE) leave_order(dev, name, status);
  return device_blame(dev->id, status, err);
}

static void count_destroyed(device *dev) {
  pthread_mutex_lock(&dev->lock);
  dev->stats.streams_destroyed++;
  pthread_mutex_unlock(&dev->lock);
}

static baton_status drain(device *dev, int64_t deadline, baton_error *err) {
  baton_status first = BATON_OK;
  for (int name = 0; name < DEVICE_STREAM_COUNT; name++) {
    if (!dev->streams[name]) continue;
    baton_status status =
        device_sync(dev, (device_stream_name)name, deadline, first == BATON_OK ? err : NULL);
    if (first == BATON_OK) first = status;
  }
  return first;
}

baton_status device_shutdown(device *dev, int64_t deadline, baton_error *err) {
  baton_status first = dev->drained ? BATON_OK : drain(dev, deadline, err);
  dev->drained = 1;
  for (int name = 0; name < DEVICE_STREAM_COUNT; name++) {
    if (!dev->streams[name]) continue;
    baton_status status =
        dev->driver->stream_destroy(dev, dev->streams[name], first == BATON_OK ? err : NULL);
    if (status == BATON_OK) {
      dev->streams[name] = NULL;
      count_destroyed(dev);
    } else if (first == BATON_OK) {
      first = device_blame(dev->id, status, err);
    }
  }
  return first;
}

uint32_t device_streams_left(const device *dev) {
  uint32_t left = 0;
  for (int name = 0; name < DEVICE_STREAM_COUNT; name++) left += dev->streams[name] != NULL;
  return left;
}
