/* A driver in front of the driver of a device: one call of a kind fails, or every one from there on. For
** tests of what the layers above do then. */
#include "device/driver.h"

static const char *const names[DEVICE_CALL_COUNT] = {
    [DEVICE_CALL_ALLOC] = "alloc",
    [DEVICE_CALL_COPY_IN] = "copy_in",
    [DEVICE_CALL_COPY_OUT] = "copy_out",
    [DEVICE_CALL_FILL] = "fill",
    [DEVICE_CALL_STREAM_CREATE] = "stream_create",
    [DEVICE_CALL_SYNC] = "sync",
    [DEVICE_CALL_STREAM_DESTROY] = "stream_destroy",
    [DEVICE_CALL_LAUNCH] = "launch",
};

const char *device_call_name(device_call call) {
  return call > DEVICE_CALL_NONE && call < DEVICE_CALL_COUNT ? names[call] : NULL;
}

/* Counts the call; a failure if its time has come. */
static baton_status count_call(device *dev, device_call call, baton_status code, baton_error *err) {
  const device_fault *fault = &dev->fault;
  if (call != fault->call) return BATON_OK;
  uint64_t number = atomic_fetch_add_explicit(&dev->fault_calls, 1, memory_order_relaxed) + 1;
  if (number < fault->nth || (number > fault->nth && !fault->forever)) return BATON_OK;
  return baton_error_set(err, code, "injected fault: call %llu of %s fails", (unsigned long long)number,
                         names[call]);
}

static baton_status fault_alloc(device *dev, uint64_t size, uint64_t *address, uint64_t *token,
                                baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_ALLOC, BATON_OUT_OF_MEMORY, err));
  return dev->behind->alloc(dev, size, address, token, err);
}

/* Not a call that fails: what is there is taken back. */
static baton_status fault_alloc_at(device *dev, uint64_t address, uint64_t size, uint64_t *token,
                                   baton_error *err) {
  return dev->behind->alloc_at(dev, address, size, token, err);
}

static void fault_free(device *dev, uint64_t address, uint64_t token) {
  dev->behind->free(dev, address, token);
}

static baton_status fault_copy_in(device *dev, uint64_t address, const void *from, uint64_t size,
                                  baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_COPY_IN, BATON_IO_ERROR, err));
  return dev->behind->copy_in(dev, address, from, size, err);
}

static baton_status fault_copy_out(device *dev, uint64_t address, void *to, uint64_t size, baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_COPY_OUT, BATON_IO_ERROR, err));
  return dev->behind->copy_out(dev, address, to, size, err);
}

static baton_status fault_fill(device *dev, uint64_t address, uint8_t byte, uint64_t size, baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_FILL, BATON_IO_ERROR, err));
  return dev->behind->fill(dev, address, byte, size, err);
}

static void *fault_translate(device *dev, uint64_t address) { return dev->behind->translate(dev, address); }

static baton_status fault_stream_create(device *dev, const char *name, device_stream **out,
                                        baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_STREAM_CREATE, BATON_RESOURCE_LIMIT, err));
  return dev->behind->stream_create(dev, name, out, err);
}

static baton_status fault_stream_destroy(device *dev, device_stream *stream, baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_STREAM_DESTROY, BATON_IO_ERROR, err));
  return dev->behind->stream_destroy(dev, stream, err);
}

/* It does wait before it fails: what the device runs is over, so that a test can count what is left. */
static baton_status fault_stream_sync(device *dev, device_stream *stream, int64_t deadline,
                                      baton_error *err) {
  BATON_TRY(dev->behind->stream_sync(dev, stream, deadline, err));
  return count_call(dev, DEVICE_CALL_SYNC, BATON_IO_ERROR, err);
}

static baton_status fault_launch(device *dev, device_stream *stream, device_launch *launch,
                                 baton_error *err) {
  BATON_TRY(count_call(dev, DEVICE_CALL_LAUNCH, BATON_IO_ERROR, err));
  return dev->behind->launch(dev, stream, launch, err);
}

static void fault_execute(device *dev, device_stream *stream, device_launch *launch) {
  dev->behind->execute(dev, stream, launch);
}

static void fault_close(device *dev) { dev->behind->close(dev); }

/* Without platforms and open: it is never chosen, only put in front of an open device. */
static const device_driver fault_driver = {
    .close = fault_close,
    .alloc = fault_alloc,
    .alloc_at = fault_alloc_at,
    .free = fault_free,
    .copy_in = fault_copy_in,
    .copy_out = fault_copy_out,
    .fill = fault_fill,
    .translate = fault_translate,
    .stream_create = fault_stream_create,
    .stream_destroy = fault_stream_destroy,
    .stream_sync = fault_stream_sync,
    .launch = fault_launch,
    .execute = fault_execute,
};

baton_status device_fault_install(device *dev, const device_fault *fault, baton_error *err) {
  if (!device_call_name(fault->call))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "fault: %d is no call of a driver", (int)fault->call);
  if (fault->nth == 0)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "fault: calls of %s count from 1, got 0",
                           names[fault->call]);
  dev->fault = *fault;
  dev->behind = dev->driver;
  dev->driver = &fault_driver;
  return BATON_OK;
}

void device_fault_remove(device *dev) {
  if (dev->behind) dev->driver = dev->behind;
}
