#include "device/sim/sim.h"
#include "base/log.h"
#include "base/memory.h"
#include <string.h>
#include <sys/sysinfo.h>

enum {
  UNIT = DEVICE_MEMORY_UNIT,    /* of an allocation */
  LEAST_DEFAULT = 64 << 20,     /* less memory is given only to those who ask for it */
  MAX_LIVE = 1 << 16,           /* allocations of one device */
  MAX_RANGES = 2 * MAX_LIVE + 2 /* with the free ranges between them */
};

typedef unsigned long long number; /* as printf takes it */

/* Devices whose memory a launch still uses; reachable from here, hence no leaks to a leak checker. */
static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static sim_device *left_in_place;

uint64_t device_memory_default(void) {
  uint64_t memory = (uint64_t)4 << 30;
  struct sysinfo info;
  if (sysinfo(&info) != 0) return memory;
  uint64_t machine = (uint64_t)info.totalram * info.mem_unit & ~(uint64_t)(UNIT - 1);
  return machine < memory ? machine : memory;
}

static void sim_free_all(sim_device *sim) {
  base_pool_close(sim->pool);
  base_extent_free(&sim->memory);
  base_free(sim->records);
  pthread_mutex_destroy(&sim->lock);
  base_free(sim);
}

/* The memory that was asked for, or else as much as the limits of this process allow. */
baton_status device_memory_alloc(uint64_t asked, base_extent *out, baton_error *err) {
  uint64_t memory = asked ? asked : device_memory_default();
  memory = (memory + UNIT - 1) & ~(uint64_t)(UNIT - 1);
  baton_status status = base_extent_alloc(memory, 4096, out, err);
  while (status != BATON_OK && !asked && memory > LEAST_DEFAULT) {
    memory = memory / 2 & ~(uint64_t)(UNIT - 1);
    status = base_extent_alloc(memory, 4096, out, err);
  }
  return status;
}

static baton_status open_memory(sim_device *sim, const device_options *options, baton_error *err) {
  sim->bytes = options->memory_at;
  sim->base.memory = options->memory;
  if (sim->bytes) return BATON_OK;
  baton_status status = device_memory_alloc(options->memory, &sim->memory, err);
  if (status != BATON_OK) baton_error_context(err, "memory of device %u", options->id);
  sim->bytes = sim->memory.address;
  sim->base.memory = sim->memory.size;
  return status;
}

static baton_status open_parts(sim_device *sim, const device_options *options, baton_error *err) {
  sim->records = base_alloc(base_heap_records_size(MAX_RANGES));
  if (!sim->records) return base_out_of_memory(err, "the heap of a device");
  BATON_TRY(open_memory(sim, options, err));
  base_heap_init(&sim->heap, sim->base.memory, UNIT, sim->records, MAX_RANGES);
  return base_pool_open(options->threads, "core", &sim->pool, err);
}

static baton_status sim_open(const device_platform *platform, const device_options *options, device **out,
                             baton_error *err) {
  (void)platform;
  if (options->memory > SIM_ADDRESS_BASE)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "memory of %llu bytes for device %u: at most %llu",
                           (number)options->memory, options->id, (number)SIM_ADDRESS_BASE);
  sim_device *sim = base_calloc(1, sizeof *sim);
  if (!sim) return base_out_of_memory(err, "a device");
  pthread_mutex_init(&sim->lock, NULL);
  baton_status status = open_parts(sim, options, err);
  if (status != BATON_OK) {
    sim_free_all(sim);
    return status;
  }
  sim->base.threads = base_pool_threads(sim->pool);
  *out = &sim->base;
  return BATON_OK;
}

static void sim_close(device *dev) {
  sim_device *sim = (sim_device *)dev;
  if (!dev->abandoned) {
    sim_free_all(sim);
    return;
  }
  base_log(BASE_LOG_WARNING, "device %u is closed while a launch does not end; its memory stays in place",
           dev->id);
  pthread_mutex_lock(&left_lock);
  sim->next = left_in_place;
  left_in_place = sim;
  pthread_mutex_unlock(&left_lock);
}

static baton_status refuse(const sim_device *sim, uint64_t size, uint64_t used, uint64_t largest,
                           baton_error *err) {
  baton_error_set(
      err, BATON_OUT_OF_MEMORY,
      "no room for %llu bytes on device %u: %llu of %llu bytes are in use, the largest free block has %llu",
      (number)size, sim->base.id, (number)used, (number)sim->base.memory, (number)largest);
  baton_error_text(err, BATON_FIELD_HINT, "close buffers that are not needed any more");
  return BATON_OUT_OF_MEMORY;
}

static baton_status sim_alloc(device *dev, uint64_t size, uint64_t *address, uint64_t *token,
                              baton_error *err) {
  sim_device *sim = (sim_device *)dev;
  uint64_t offset = 0, used = 0, largest = 0;
  pthread_mutex_lock(&sim->lock);
  int full = sim->heap.live == MAX_LIVE;
  uint32_t range = full ? BASE_HEAP_NONE : base_heap_alloc(&sim->heap, size, &offset);
  if (range == BASE_HEAP_NONE) {
    used = sim->heap.used;
    largest = base_heap_largest(&sim->heap);
  }
  pthread_mutex_unlock(&sim->lock);
  if (full)
    return baton_error_set(err, BATON_RESOURCE_LIMIT,
                           "device %u has %d live allocations, more it cannot have", dev->id, MAX_LIVE);
  if (range == BASE_HEAP_NONE) return refuse(sim, size, used, largest, err);
  *address = SIM_ADDRESS_BASE + offset;
  *token = range;
  return BATON_OK;
}

static baton_status sim_alloc_at(device *dev, uint64_t address, uint64_t size, uint64_t *token,
                                 baton_error *err) {
  sim_device *sim = (sim_device *)dev;
  uint32_t range = BASE_HEAP_NONE;
  pthread_mutex_lock(&sim->lock);
  if (address >= SIM_ADDRESS_BASE && sim->heap.live < MAX_LIVE)
    range = base_heap_alloc_at(&sim->heap, address - SIM_ADDRESS_BASE, size);
  pthread_mutex_unlock(&sim->lock);
  if (range == BASE_HEAP_NONE)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%llu bytes at 0x%llx of device %u are not free",
                           (number)size, (number)address, dev->id);
  *token = range;
  return BATON_OK;
}

static void sim_free(device *dev, uint64_t address, uint64_t token) {
  (void)address;
  sim_device *sim = (sim_device *)dev;
  pthread_mutex_lock(&sim->lock);
  base_heap_free(&sim->heap, (uint32_t)token);
  pthread_mutex_unlock(&sim->lock);
}

static void *sim_translate(device *dev, uint64_t address) {
  return ((sim_device *)dev)->bytes + (address - SIM_ADDRESS_BASE);
}

static baton_status sim_copy_in(device *dev, uint64_t address, const void *from, uint64_t size,
                                baton_error *err) {
  (void)err;
  memcpy(sim_translate(dev, address), from, size);
  return BATON_OK;
}

static baton_status sim_copy_out(device *dev, uint64_t address, void *to, uint64_t size, baton_error *err) {
  (void)err;
  memcpy(to, sim_translate(dev, address), size);
  return BATON_OK;
}

static baton_status sim_fill(device *dev, uint64_t address, uint8_t byte, uint64_t size, baton_error *err) {
  (void)err;
  memset(sim_translate(dev, address), byte, size);
  return BATON_OK;
}

const device_driver device_driver_sim = {
    .platforms = sim_platforms,
    .open = sim_open,
    .close = sim_close,
    .alloc = sim_alloc,
    .alloc_at = sim_alloc_at,
    .free = sim_free,
    .copy_in = sim_copy_in,
    .copy_out = sim_copy_out,
    .fill = sim_fill,
    .translate = sim_translate,
    .stream_create = sim_stream_create,
    .stream_destroy = sim_stream_destroy,
    .stream_sync = sim_stream_sync,
    .launch = sim_launch,
    .execute = sim_execute,
};
