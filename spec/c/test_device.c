/* The device layer, through its own interface, on each simulated platform. */
#include "base/clock.h"
#include "base/memory.h"
#include "device/device.h"
#include "device/ranges.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const uint64_t first_address = (uint64_t)1 << 56;

static device *open_with(device_options options) {
  device *dev = NULL;
  baton_error err = {0};
  if (device_open(&options, &dev, &err) != BATON_OK) fail_msg("%s", err.message);
  return dev;
}

static device *open_device(void) {
  return open_with((device_options){.id = 3, .memory = 1 << 20, .threads = 2});
}

static void close_device(device *dev) {
  assert_int_equal(device_close(dev, INT64_MAX, NULL, NULL), BATON_OK);
}

static uint64_t alloc_on(device *dev, uint64_t size) {
  uint64_t address = 0;
  assert_int_equal(device_alloc(dev, size, &address, NULL), BATON_OK);
  return address;
}

/* Asserts code, message and device of a failure; the first argument is the status that was returned. */
static void assert_failed(baton_status status, baton_error *err, baton_status code, const char *message) {
  assert_string_equal(baton_status_word(status), baton_status_word(code));
  assert_int_equal(err->code, code);
  assert_string_equal(err->message, message);
  assert_true(err->known & BATON_KNOWN_DEVICE);
  assert_int_equal(err->device, 3);
  baton_error_clear(err);
}

/* ---- open and close ---- */

static void platforms_are_rows_of_a_table(void **state) {
  (void)state;
  const device_platform *a2a3 = device_platforms(0), *a5 = device_platforms(1);
  assert_string_equal(a2a3->name, "a2a3sim");
  assert_int_equal(a2a3->clusters, 24);
  assert_int_equal(a2a3->control_threads, 4);
  assert_int_equal(a2a3->clock_hz, 50000000);
  assert_string_equal(a5->name, "a5sim");
  assert_int_equal(a5->clusters, 36);
  assert_int_equal(a5->control_threads, 5);
  assert_int_equal(a5->clock_hz, 1000000000);
  assert_int_equal(a5->aic_per_cluster, 1);
  assert_int_equal(a5->aiv_per_cluster, 2);
  assert_null(device_platforms(2));
}

static void each_platform_opens_eagerly(void **state) {
  (void)state;
  for (uint32_t i = 0; device_platforms(i); i++) {
    device *dev = open_with((device_options){.platform = device_platforms(i)->name, .id = 7, .threads = 3});
    assert_ptr_equal(device_platform_of(dev), device_platforms(i));
    assert_int_equal(device_id(dev), 7);
    assert_int_equal(device_threads(dev), 3);
    assert_true(device_memory(dev) > 0);
    assert_int_equal(device_statistics(dev).streams_created, 2);
    close_device(dev);
  }
  assert_int_equal(device_close(NULL, 0, NULL, NULL), BATON_OK);
}

static void zero_options_mean_defaults(void **state) {
  (void)state;
  device *dev = open_with((device_options){0});
  assert_string_equal(device_platform_of(dev)->name, "a2a3sim");
  assert_true(device_threads(dev) >= 1);
  assert_true(device_memory(dev) <= (uint64_t)4 << 30);
  close_device(dev);
}

/* In a child whose files, and thus memory segments, may have 1 GiB at most. */
static int open_with_file_limit(void) {
  const struct rlimit limit = {1 << 30, 1 << 30};
  device *dev = NULL;
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 0;
  if (device_open(&(device_options){.memory = (uint64_t)2 << 30}, &dev, NULL) != BATON_OUT_OF_MEMORY)
    return 0;
  if (device_open(&(device_options){0}, &dev, NULL) != BATON_OK) return 0;
  return device_memory(dev) >= 1 << 28 && device_close(dev, INT64_MAX, NULL, NULL) == BATON_OK;
}

static void default_memory_respects_limits(void **state) {
  (void)state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(open_with_file_limit() ? 0 : 1);
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

/* In a child of the process that has the device. */
static int child_is_refused(device *inherited, pid_t parent) {
  baton_error err = {0};
  char message[128];
  device *dev;
  snprintf(message, sizeof message, "device 3 of a2a3sim is in use by process %d", (int)parent);
  if (device_open(&(device_options){.id = 3}, &dev, &err) != BATON_DEVICE_BUSY) return 0;
  if (strcmp(err.message, message) != 0 || !(err.known & BATON_KNOWN_DEVICE) || err.device != 3) return 0;
  baton_error_clear(&err);
  return device_owner(device_platform_of(inherited), 3) == parent;
}

static void a_forked_child_is_another_process(void **state) {
  (void)state;
  device *dev = open_device();
  pid_t parent = getpid(), child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(child_is_refused(dev, parent) ? 0 : 1);
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(device_owner(device_platform_of(dev), 3), parent);
  close_device(dev);
}

static void the_last_close_of_a_process_ends_its_claim(void **state) {
  (void)state;
  const device_platform *platform = device_platforms(0);
  device *first = open_device(), *second = open_device();
  close_device(first);
  assert_int_equal(device_owner(platform, 3), getpid());
  close_device(second);
  assert_int_equal(device_owner(platform, 3), 0);
}

static void open_refuses_what_is_not_there(void **state) {
  (void)state;
  baton_error err = {0};
  device *dev = (device *)&err;
  device_options options = {.platform = "a2a3", .id = 3};
  assert_int_equal(device_open(&options, &dev, &err), BATON_UNSUPPORTED);
  assert_string_equal(err.message, "platform 'a2a3' is not supported, only: a2a3sim, a5sim");
  assert_null(dev);
  options = (device_options){.id = 3, .threads = 5000};
  assert_int_equal(device_open(&options, &dev, &err), BATON_OUT_OF_RANGE);
  assert_string_equal(err.message, "5000 threads for device 3: at most 1024");
  options = (device_options){.id = 3000000000u};
  assert_int_equal(device_open(&options, &dev, &err), BATON_OUT_OF_RANGE);
  assert_string_equal(err.message, "device 3000000000: the largest number is 2147483647");
  options = (device_options){.id = 3, .wait_seconds = -1};
  assert_int_equal(device_open(&options, &dev, &err), BATON_INVALID_ARGUMENT);
  assert_string_equal(err.message, "wait_device: a number of seconds in 0..1000000000 expected, got -1");
  options = (device_options){.id = 3, .wait_seconds = (double)NAN};
  assert_int_equal(device_open(&options, &dev, &err), BATON_INVALID_ARGUMENT);
  options = (device_options){.id = 3, .memory = UINT64_MAX};
  assert_failed(device_open(&options, &dev, &err), &err, BATON_OUT_OF_RANGE,
                "memory of 18446744073709551615 bytes for device 3: at most 72057594037927936");
  options = (device_options){.id = 3, .memory = (uint64_t)1 << 55};
  assert_failed(device_open(&options, &dev, &err), &err, BATON_OUT_OF_MEMORY,
                "memory of device 3: no memory for a block of 36028797018963968 bytes, 0 bytes are in use");
  assert_null(dev);
}

static int calls_until_failure, calls_that_fail;

static void *failing(void *context, void *block, size_t size) {
  (void)context;
  if (size == 0) {
    free(block);
    return NULL;
  }
  if (calls_until_failure > 0)
    calls_until_failure--;
  else if (calls_that_fail > 0) {
    calls_that_fail--;
    return NULL;
  }
  return realloc(block, size);
}

/* Opens, allocates and closes with `failures` failures of the host allocator after `good` calls. */
static baton_status cycle_with_failures(int good, int failures) {
  device *dev = NULL;
  uint64_t address = 0;
  calls_until_failure = good;
  calls_that_fail = failures;
  baton_set_allocator(failing, NULL);
  baton_status status = device_open(&(device_options){.memory = 1 << 20, .threads = 1}, &dev, NULL);
  for (int i = 0; i < 100 && status == BATON_OK; i++) status = device_alloc(dev, 8, &address, NULL);
  baton_set_allocator(NULL, NULL);
  if (!dev) return status;
  /* what failed holds no memory of the device */
  uint64_t rest = device_memory(dev) - device_statistics(dev).live * 1024;
  assert_int_equal(device_alloc(dev, rest, &address, NULL), BATON_OK);
  assert_int_equal(device_close(dev, INT64_MAX, NULL, NULL), BATON_OK);
  return status;
}

static void open_survives_each_failing_allocation(void **state) {
  (void)state;
  const int failures[] = {1, 1000};
  for (int kind = 0; kind < 2; kind++) {
    int good = 0;
    baton_status status;
    while ((status = cycle_with_failures(good, failures[kind])) != BATON_OK) {
      assert_int_equal(status, BATON_OUT_OF_MEMORY);
      good++;
    }
    assert_in_range(good, 5, 50);
  }
}

/* ---- memory that a caller lends ---- */

static void assert_byte(device *dev, uint64_t address, uint8_t expected) {
  uint8_t got = 0;
  assert_int_equal(device_copy_out(dev, address + 999, &got, 1, NULL), BATON_OK);
  assert_int_equal(got, expected);
}

static void memory_of_a_caller_outlives_its_device(void **state) {
  (void)state;
  base_extent memory;
  uint64_t kept[3];
  assert_int_equal(device_memory_alloc(1 << 20, &memory, NULL), BATON_OK);
  assert_int_equal(memory.size, 1 << 20);
  device_options options = {.id = 3, .memory_at = memory.address, .memory = memory.size, .threads = 1};
  device *dev = open_with(options);
  for (uint32_t i = 0; i < 3; i++) {
    kept[i] = alloc_on(dev, 5000);
    assert_int_equal(device_fill(dev, kept[i], (uint8_t)(i + 1), 5000, NULL), BATON_OK);
  }
  close_device(dev);
  dev = open_with(options);
  assert_int_equal(device_reserve(dev, kept[2], 5000, NULL), BATON_OK); /* in any order */
  assert_int_equal(device_reserve(dev, kept[0], 5000, NULL), BATON_OK);
  uint64_t next = alloc_on(dev, 5000);
  assert_int_equal(next, kept[1]); /* the hole between them is free, and large enough */
  assert_int_equal(device_fill(dev, next, 9, 5000, NULL), BATON_OK);
  assert_byte(dev, kept[0], 1);
  assert_byte(dev, kept[2], 3);
  assert_int_equal(device_free(dev, kept[0], NULL), BATON_OK);
  assert_int_equal(alloc_on(dev, 100), kept[0]);
  assert_int_equal(device_statistics(dev).live, 3);
  close_device(dev);
  base_extent_free(&memory);
}

static void a_place_that_is_not_free_is_not_reserved(void **state) {
  (void)state;
  device *dev = open_device();
  baton_error err = {0};
  uint64_t used = alloc_on(dev, 4096);
  assert_failed(device_reserve(dev, used, 1024, &err), &err, BATON_INVALID_ARGUMENT,
                "1024 bytes at 0x100000000000000 of device 3 are not free");
  assert_failed(device_reserve(dev, used + 8192, 1 << 20, &err), &err, BATON_INVALID_ARGUMENT,
                "1048576 bytes at 0x100000000002000 of device 3 are not free");
  assert_failed(device_reserve(dev, used + 8191, 1024, &err), &err, BATON_INVALID_ARGUMENT,
                "1024 bytes at 0x100000000001fff of device 3 are not free");
  assert_failed(device_reserve(dev, 1024, 1024, &err), &err, BATON_INVALID_ARGUMENT,
                "1024 bytes at 0x400 of device 3 are not free");
  assert_failed(device_reserve(dev, used + 4096, 0, &err), &err, BATON_INVALID_ARGUMENT,
                "an allocation of 0 bytes");
  close_device(dev);
  device_options lent = {.id = 3, .memory_at = &err};
  assert_int_equal(device_open(&lent, &dev, &err), BATON_INVALID_ARGUMENT);
  baton_error_clear(&err);
}

/* ---- memory ---- */

static void addresses_are_no_pointers(void **state) {
  (void)state;
  device *one = open_device(), *two = open_device();
  uint64_t address = alloc_on(one, 100);
  assert_int_equal(address, first_address);
  assert_int_equal(alloc_on(two, 100), address);
  assert_int_equal(alloc_on(one, 100), address + 1024);
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], (void *)(uintptr_t)address, 1), -1);
  assert_int_equal(errno, EFAULT);
  close(ends[0]);
  close(ends[1]);
  close_device(one);
  close_device(two);
}

static void copies_and_fills_arrive(void **state) {
  (void)state;
  device *dev = open_device();
  uint64_t address = alloc_on(dev, 3000);
  char bytes[3000], back[3000];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
  assert_int_equal(device_copy_in(dev, address, bytes, sizeof bytes, NULL), BATON_OK);
  assert_int_equal(device_fill(dev, address + 10, 0xa5, 20, NULL), BATON_OK);
  memset(bytes + 10, 0xa5, 20);
  assert_int_equal(device_copy_out(dev, address, back, sizeof back, NULL), BATON_OK);
  assert_memory_equal(bytes, back, sizeof back);
  assert_int_equal(device_copy_out(dev, address + 2995, back, 5, NULL), BATON_OK);
  assert_memory_equal(bytes + 2995, back, 5);
  void *kernel = NULL;
  assert_int_equal(device_translate(dev, address + 100, 2900, &kernel, NULL), BATON_OK);
  assert_memory_equal(kernel, bytes + 100, 2900);
  device_stats stats = device_statistics(dev);
  assert_int_equal(stats.bytes_to_device, 3000);
  assert_int_equal(stats.bytes_from_device, 3005);
  close_device(dev);
}

static void copies_stay_inside_one_allocation(void **state) {
  (void)state;
  device *dev = open_device();
  uint64_t address = alloc_on(dev, 256);
  char bytes[512] = {0};
  void *kernel;
  baton_error err = {0};
  alloc_on(dev, 1024);
  assert_failed(device_copy_in(dev, address + 100, bytes, 200, &err), &err, BATON_OUT_OF_RANGE,
                "copy to the device: bytes [100,300) of an allocation of 256");
  assert_failed(device_copy_out(dev, address, bytes, 257, &err), &err, BATON_OUT_OF_RANGE,
                "copy from the device: bytes [0,257) of an allocation of 256");
  assert_failed(device_fill(dev, address + 255, 0, UINT64_MAX, &err), &err, BATON_OUT_OF_RANGE,
                "fill: bytes [255,18446744073709551615) of an allocation of 256");
  assert_failed(device_translate(dev, address, 1 << 20, &kernel, &err), &err, BATON_OUT_OF_RANGE,
                "address for a kernel: bytes [0,1048576) of an allocation of 256");
  assert_failed(device_translate(dev, address, 0, &kernel, &err), &err, BATON_INVALID_ARGUMENT,
                "an address range of 0 bytes");
  assert_failed(device_copy_in(dev, address + 256, bytes, 1, &err), &err, BATON_INVALID_ARGUMENT,
                "copy to the device: 0x100000000000100 is no memory of device 3");
  assert_failed(device_copy_out(dev, 4096, bytes, 1, &err), &err, BATON_INVALID_ARGUMENT,
                "copy from the device: 0x1000 is no memory of device 3");
  assert_failed(device_copy_out(dev, UINT64_MAX, bytes, 1, &err), &err, BATON_INVALID_ARGUMENT,
                "copy from the device: 0xffffffffffffffff is no memory of device 3");
  assert_int_equal(device_copy_in(dev, 0, NULL, 0, &err), BATON_OK);
  device_stats stats = device_statistics(dev);
  assert_int_equal(stats.bytes_to_device + stats.bytes_from_device, 0);
  close_device(dev);
}

static void freed_memory_is_refused(void **state) {
  (void)state;
  device *dev = open_device();
  uint64_t address = alloc_on(dev, 2000), byte = 0;
  baton_error err = {0};
  assert_failed(
      device_free(dev, address + 8, &err), &err, BATON_INVALID_ARGUMENT,
      "0x100000000000008 is byte 8 of an allocation of 2000 bytes, only its start 0x100000000000000 can be "
      "freed");
  assert_failed(device_free(dev, 99, &err), &err, BATON_INVALID_ARGUMENT, "0x63 is no memory of device 3");
  assert_int_equal(device_free(dev, address, &err), BATON_OK);
  assert_failed(device_free(dev, address, &err), &err, BATON_DOUBLE_FREE,
                "memory 0x100000000000000 of device 3 was freed before");
  assert_int_equal(device_copy_out(dev, address + 1999, &byte, 1, &err), BATON_STALE_HANDLE);
  assert_string_equal(err.hint, "free a buffer after its last use");
  assert_failed(device_copy_out(dev, address + 1999, &byte, 1, &err), &err, BATON_STALE_HANDLE,
                "copy from the device: memory 0x1000000000007cf of device 3 was freed");
  assert_int_equal(alloc_on(dev, 2000), address);
  assert_int_equal(device_copy_out(dev, address + 1999, &byte, 1, &err), BATON_OK);
  close_device(dev);
}

static void full_memory_names_its_sizes(void **state) {
  (void)state;
  device *dev = open_with((device_options){.id = 3, .memory = 8000, .threads = 1});
  uint64_t address = 1, first = alloc_on(dev, 3000);
  baton_error err = {0};
  assert_int_equal(device_memory(dev), 8192);
  alloc_on(dev, 1);
  assert_failed(
      device_alloc(dev, 5000, &address, &err), &err, BATON_OUT_OF_MEMORY,
      "no room for 5000 bytes on device 3: 4096 of 8192 bytes are in use, the largest free block has 4096");
  assert_int_equal(address, 0);
  assert_failed(
      device_alloc(dev, UINT64_MAX, &address, &err), &err, BATON_OUT_OF_MEMORY,
      "no room for 18446744073709551615 bytes on device 3: 4096 of 8192 bytes are in use, the largest free "
      "block has 4096");
  assert_failed(device_alloc(dev, 0, &address, &err), &err, BATON_INVALID_ARGUMENT,
                "an allocation of 0 bytes");
  assert_int_equal(device_free(dev, first, NULL), BATON_OK);
  assert_int_equal(alloc_on(dev, 3072), first);
  close_device(dev);
}

static void the_number_of_allocations_is_bounded(void **state) {
  (void)state;
  device *dev = open_with((device_options){.id = 3, .memory = 128u << 20, .threads = 1});
  uint64_t address = 0, last = 0;
  baton_error err = {0};
  for (uint32_t i = 0; i < 65536; i++) last = alloc_on(dev, 1);
  assert_failed(device_alloc(dev, 1, &address, &err), &err, BATON_RESOURCE_LIMIT,
                "device 3 has 65536 live allocations, more it cannot have");
  assert_int_equal(device_free(dev, last, NULL), BATON_OK);
  assert_int_equal(alloc_on(dev, 1), last);
  close_device(dev);
}

typedef struct churner {
  device *dev;
  unsigned seed;
  uint64_t allocations, frees, copied;
} churner;

/* Allocates, writes, reads back and frees, and keeps its own account. */
static void *churn(void *argument) {
  churner *self = argument;
  uint64_t held[16] = {0}, value;
  unsigned random = self->seed;
  for (unsigned step = 0; step < 3000; step++) {
    random = random * 1664525u + 1013904223u;
    uint64_t *slot = &held[random >> 28], size = 8 + (random >> 8) % 8192,
             mark = (uint64_t)self->seed << 32 | step;
    if (*slot) {
      assert_int_equal(device_copy_out(self->dev, *slot, &value, 8, NULL), BATON_OK);
      assert_int_equal(value >> 32, self->seed);
      assert_int_equal(device_free(self->dev, *slot, NULL), BATON_OK);
      self->frees++;
      *slot = 0;
    } else if (device_alloc(self->dev, size, slot, NULL) == BATON_OK) {
      assert_int_equal(device_copy_in(self->dev, *slot, &mark, 8, NULL), BATON_OK);
      self->allocations++;
      self->copied += 8;
    }
  }
  return NULL;
}

static void accounts_are_exact_with_many_threads(void **state) {
  (void)state;
  device *dev = open_with((device_options){.id = 3, .memory = 256 << 10, .threads = 1});
  pthread_t threads[4];
  churner churners[4] = {0};
  uint64_t allocations = 0, frees = 0, copied = 0;
  for (unsigned i = 0; i < 4; i++) {
    churners[i] = (churner){.dev = dev, .seed = i + 1};
    assert_int_equal(pthread_create(&threads[i], NULL, churn, &churners[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    allocations += churners[i].allocations;
    frees += churners[i].frees;
    copied += churners[i].copied;
  }
  device_stats stats = device_statistics(dev);
  assert_int_equal(stats.allocations, allocations);
  assert_int_equal(stats.frees, frees);
  assert_int_equal(stats.live, allocations - frees);
  assert_int_equal(stats.bytes_to_device, copied);
  close_device(dev);
}

static void accounts_count_bytes_as_asked(void **state) {
  (void)state;
  device *dev = open_device();
  uint64_t first = alloc_on(dev, 1000), second = alloc_on(dev, 500);
  assert_int_equal(device_free(dev, first, NULL), BATON_OK);
  alloc_on(dev, 100);
  device_stats stats = device_statistics(dev);
  assert_int_equal(stats.committed_bytes, 600);
  assert_int_equal(stats.committed_peak, 1500);
  assert_int_equal(stats.live, 2);
  assert_int_equal(device_free(dev, second, NULL), BATON_OK);
  assert_int_equal(device_statistics(dev).committed_bytes, 100);
  close_device(dev);
}

/* Random insertions and removals against a map of bytes: 0 never used, 1 freed, 2 and up alive. */
static void ranges_agree_with_a_map(void **state) {
  (void)state;
  enum { SPACE = 512, BASE = 1000 };
  unsigned char map[SPACE] = {0};
  device_ranges ranges;
  unsigned random = 5;
  assert_int_equal(device_ranges_open(&ranges, NULL), BATON_OK);
  for (int step = 0; step < 20000; step++) {
    random = random * 1664525u + 1013904223u;
    uint64_t at = (random >> 8) % SPACE, size = 1 + (random >> 20) % 24, end = at;
    const device_range *range = device_ranges_find(&ranges, BASE + at);
    assert_int_equal(range != NULL, map[at] >= 2);
    if (map[at] == 1) assert_true(device_ranges_freed(&ranges, BASE + at));
    if (range) {
      assert_true(BASE + at - range->address < range->size);
      memset(&map[range->address - BASE], 1, range->size);
      device_ranges_remove(&ranges, range);
      continue;
    }
    while (end < SPACE && end < at + size && map[end] < 2) end++;
    assert_int_equal(device_ranges_insert(&ranges, BASE + at, end - at, 0, NULL), BATON_OK);
    memset(&map[at], 2, end - at);
    assert_false(device_ranges_freed(&ranges, BASE + at));
  }
  assert_false(device_ranges_freed(&ranges, BASE - 1));
  assert_false(device_ranges_freed(&ranges, BASE + SPACE));
  device_ranges_close(&ranges);
}

/* ---- streams ---- */

enum { LAUNCHES = 300 };

typedef struct recorder {
  device *dev;
  _Atomic uint32_t lanes[LAUNCHES], clock;
  uint32_t began[LAUNCHES], ended[LAUNCHES]; /* as told by the clock */
  baton_status statuses[LAUNCHES];
  _Atomic uint32_t dones;
} recorder;

typedef struct recorded {
  device_launch launch;
  recorder *recorder;
  uint32_t number;
} recorded;

static void record_lane(void *context, uint32_t lane) {
  recorded *self = context;
  (void)lane;
  if (self->recorder->lanes[self->number]++ == 0)
    self->recorder->began[self->number] = self->recorder->clock++;
}

static void record_done(void *context, baton_status status) {
  recorded *self = context;
  self->recorder->ended[self->number] = self->recorder->clock++;
  self->recorder->statuses[self->number] = status;
  self->recorder->dones++;
}

static void prepare(recorded *launch, recorder *into, uint32_t number, uint32_t lanes) {
  *launch = (recorded){.launch = {.run = record_lane, .done = record_done, .context = launch, .lanes = lanes},
                       .recorder = into,
                       .number = number};
}

static void launches_of_a_stream_run_in_order(void **state) {
  (void)state;
  device *dev = open_device();
  static recorder records;
  static recorded launches[LAUNCHES];
  for (uint32_t i = 0; i < LAUNCHES; i++) {
    prepare(&launches[i], &records, i, 1 + i % 5);
    assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CORES, &launches[i].launch, NULL), BATON_OK);
  }
  assert_int_equal(device_sync(dev, DEVICE_STREAM_CORES, INT64_MAX, NULL), BATON_OK);
  assert_int_equal(records.dones, LAUNCHES);
  for (uint32_t i = 0; i < LAUNCHES; i++) {
    assert_int_equal(records.lanes[i], 1 + i % 5);
    assert_int_equal(records.statuses[i], BATON_OK);
    assert_int_equal(records.began[i], 2 * i);
    assert_int_equal(records.ended[i], 2 * i + 1);
  }
  close_device(dev);
}

static void meet(void *context, uint32_t lane) {
  (void)lane;
  pthread_barrier_wait(context);
}

static void an_idle_stream_may_be_lent_a_thread(void **state) {
  (void)state;
  recorder all = {.dev = open_device()};
  recorded first, behind, wide;
  prepare(&first, &all, 0, 1);
  prepare(&behind, &all, 1, 1);
  prepare(&wide, &all, 2, 2);
  first.launch.here = behind.launch.here = wide.launch.here = 1;
  assert_int_equal(device_launch_on(all.dev, DEVICE_STREAM_CORES, &first.launch, NULL), BATON_OK);
  assert_true(first.launch.here);
  assert_int_equal(device_launch_on(all.dev, DEVICE_STREAM_CORES, &behind.launch, NULL), BATON_OK);
  assert_false(behind.launch.here); /* it goes to the device's own threads, after the first */
  assert_int_equal(all.dones, 0);
  device_execute(all.dev, DEVICE_STREAM_CORES, &first.launch);
  assert_true(all.dones >= 1);
  assert_int_equal(device_sync(all.dev, DEVICE_STREAM_CORES, INT64_MAX, NULL), BATON_OK);
  assert_true(all.ended[0] < all.began[1]);
  assert_int_equal(device_launch_on(all.dev, DEVICE_STREAM_CORES, &wide.launch, NULL), BATON_OK);
  assert_false(wide.launch.here); /* one thread has one lane */
  assert_int_equal(device_sync(all.dev, DEVICE_STREAM_CORES, INT64_MAX, NULL), BATON_OK);
  assert_int_equal(all.dones, 3);
  close_device(all.dev);
}

static void lanes_and_streams_overlap(void **state) {
  (void)state;
  device *dev = open_with((device_options){.id = 3, .memory = 1 << 20, .threads = 4});
  pthread_barrier_t meeting;
  pthread_barrier_init(&meeting, NULL, 4);
  device_launch control = {.run = meet, .context = &meeting, .lanes = 1};
  device_launch cores = {.run = meet, .context = &meeting, .lanes = 3};
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CONTROL, &control, NULL), BATON_OK);
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CORES, &cores, NULL), BATON_OK);
  close_device(dev);
  pthread_barrier_destroy(&meeting);
}

typedef struct repeated {
  device_launch launch;
  device *dev;
  _Atomic uint32_t runs;
  uint32_t left;
} repeated;

static void count_run(void *context, uint32_t lane) {
  (void)lane;
  ((repeated *)context)->runs++;
}

static void launch_again(void *context, baton_status status) {
  repeated *self = context;
  assert_int_equal(status, BATON_OK);
  if (self->left-- == 0) return;
  assert_int_equal(device_launch_on(self->dev, DEVICE_STREAM_CONTROL, &self->launch, NULL), BATON_OK);
}

static int allocations;

static void *counting(void *context, void *block, size_t size) {
  (void)context;
  allocations++;
  if (size) return realloc(block, size);
  free(block);
  return NULL;
}

static void done_may_launch_again_and_nothing_is_allocated(void **state) {
  (void)state;
  device *dev = open_device();
  repeated job = {.launch = {.run = count_run, .done = launch_again, .context = &job, .lanes = 2},
                  .dev = dev,
                  .left = 99};
  allocations = 0;
  baton_set_allocator(counting, NULL);
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CONTROL, &job.launch, NULL), BATON_OK);
  assert_int_equal(device_sync(dev, DEVICE_STREAM_CONTROL, INT64_MAX, NULL), BATON_OK);
  baton_set_allocator(NULL, NULL);
  assert_int_equal(allocations, 0);
  assert_int_equal(job.runs, 200);
  close_device(dev);
}

static void close_drains_the_streams(void **state) {
  (void)state;
  device *dev = open_device();
  static recorder records;
  recorded launches[20];
  for (uint32_t i = 0; i < 20; i++) {
    prepare(&launches[i], &records, i, 3);
    assert_int_equal(
        device_launch_on(dev, i % 2 ? DEVICE_STREAM_CORES : DEVICE_STREAM_CONTROL, &launches[i].launch, NULL),
        BATON_OK);
  }
  close_device(dev);
  assert_int_equal(records.dones, 20);
}

static void a_launch_needs_lanes(void **state) {
  (void)state;
  device *dev = open_device();
  device_launch launch = {.run = meet};
  baton_error err = {0};
  assert_failed(device_launch_on(dev, DEVICE_STREAM_CORES, &launch, &err), &err, BATON_INVALID_ARGUMENT,
                "a launch of 0 lanes on stream cores");
  close_device(dev);
}

typedef struct insider {
  device *dev;
  baton_status status;
  char message[128];
} insider;

static void sync_inside(void *context, uint32_t lane) {
  (void)lane;
  insider *self = context;
  baton_error err = {0};
  self->status = device_sync(self->dev, DEVICE_STREAM_CONTROL, INT64_MAX, &err);
  snprintf(self->message, sizeof self->message, "%s", err.message);
  baton_error_clear(&err);
}

static void a_launch_cannot_wait_for_its_device(void **state) {
  (void)state;
  device *dev = open_device();
  insider self = {.dev = dev};
  device_launch launch = {.run = sync_inside, .context = &self, .lanes = 1};
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CONTROL, &launch, NULL), BATON_OK);
  assert_int_equal(device_sync(dev, DEVICE_STREAM_CONTROL, INT64_MAX, NULL), BATON_OK);
  assert_int_equal(self.status, BATON_STATE);
  assert_string_equal(self.message, "a launch of device 3 waits for stream control of its own device");
  /* such a refusal is no failure of the stream */
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CONTROL, &launch, NULL), BATON_OK);
  close_device(dev);
}

typedef struct hanging {
  device_launch launch;
  sem_t release, ended;
} hanging;

static void hang(void *context, uint32_t lane) {
  (void)lane;
  while (sem_wait(&((hanging *)context)->release) != 0) {
  }
}

static void hang_ended(void *context, baton_status status) {
  assert_int_equal(status, BATON_OK);
  sem_post(&((hanging *)context)->ended);
}

static void hang_on(hanging *self, device *dev) {
  self->launch = (device_launch){.run = hang, .done = hang_ended, .context = self, .lanes = 1};
  sem_init(&self->release, 0, 0);
  sem_init(&self->ended, 0, 0);
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CORES, &self->launch, NULL), BATON_OK);
}

static void hang_release(hanging *self) {
  sem_post(&self->release);
  while (sem_wait(&self->ended) != 0) {
  }
}

static void a_timed_out_stream_is_left_alone(void **state) {
  (void)state;
  device *dev = open_device();
  static hanging launch;
  static recorder records;
  static recorded waiting, other;
  baton_error err = {0};
  hang_on(&launch, dev);
  prepare(&waiting, &records, 0, 1);
  prepare(&other, &records, 1, 1);
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CORES, &waiting.launch, NULL), BATON_OK);
  assert_failed(device_sync(dev, DEVICE_STREAM_CORES, 0, &err), &err, BATON_STREAM_TIMEOUT,
                "stream cores of device 3 did not end within 0 ms");
  const char *again = "stream cores of device 3 ran out of time before and is out of order";
  assert_failed(device_sync(dev, DEVICE_STREAM_CORES, INT64_MAX, &err), &err, BATON_STATE, again);
  assert_failed(device_launch_on(dev, DEVICE_STREAM_CORES, &other.launch, &err), &err, BATON_STATE, again);
  /* the other stream is in order */
  assert_int_equal(device_launch_on(dev, DEVICE_STREAM_CONTROL, &other.launch, NULL), BATON_OK);
  assert_int_equal(device_sync(dev, DEVICE_STREAM_CONTROL, INT64_MAX, NULL), BATON_OK);
  assert_int_equal(records.statuses[1], BATON_OK);
  /* close neither waits for it nor takes its memory away, and cancels what did not begin */
  assert_failed(device_close(dev, INT64_MAX, NULL, &err), &err, BATON_STATE, again);
  assert_int_equal(records.dones, 2);
  assert_int_equal(records.statuses[0], BATON_CANCELLED);
  assert_int_equal(records.lanes[0], 0);
  hang_release(&launch);
}

static void close_has_a_deadline(void **state) {
  (void)state;
  device *dev = open_device();
  static hanging launch;
  baton_error err = {0};
  hang_on(&launch, dev);
  assert_int_equal(device_close(dev, base_now() + 20000000, NULL, &err), BATON_STREAM_TIMEOUT);
  assert_true(err.known & BATON_KNOWN_AFTER_MS);
  assert_true(err.after_ms > 0 && err.after_ms <= 20);
  baton_error_clear(&err);
  hang_release(&launch);
}

static void a_timed_out_stream_may_still_end(void **state) {
  (void)state;
  device *dev = open_device();
  static hanging launch;
  hang_on(&launch, dev);
  assert_int_equal(device_sync(dev, DEVICE_STREAM_CORES, 0, NULL), BATON_STREAM_TIMEOUT);
  hang_release(&launch);
  assert_int_equal(device_close(dev, INT64_MAX, NULL, NULL), BATON_STATE);
}

/* ---- faults and arenas ---- */

static device *open_faulty(device_call call, uint64_t nth, int forever) {
  return open_with((device_options){.id = 3, .memory = 1 << 20, .threads = 1, .fault = {call, nth, forever}});
}

static void the_nth_call_fails(void **state) {
  (void)state;
  baton_error err = {0};
  uint64_t address;
  char byte = 0;
  device *dev = open_faulty(DEVICE_CALL_ALLOC, 2, 0);
  alloc_on(dev, 8);
  assert_failed(device_alloc(dev, 8, &address, &err), &err, BATON_OUT_OF_MEMORY,
                "injected fault: call 2 of alloc fails");
  alloc_on(dev, 8);
  assert_int_equal(device_statistics(dev).allocations, 2);
  close_device(dev);
  dev = open_faulty(DEVICE_CALL_COPY_IN, 1, 1);
  address = alloc_on(dev, 8);
  for (int i = 0; i < 3; i++) assert_int_equal(device_copy_in(dev, address, &byte, 1, NULL), BATON_IO_ERROR);
  assert_int_equal(device_copy_out(dev, address, &byte, 1, NULL), BATON_OK);
  assert_int_equal(device_statistics(dev).bytes_to_device, 0);
  close_device(dev);
}

static void a_fault_while_opening_leaves_nothing_behind(void **state) {
  (void)state;
  for (uint64_t nth = 1; nth <= DEVICE_STREAM_COUNT; nth++) {
    baton_error err = {0};
    device *dev;
    device_options options = {
        .id = 3, .memory = 1 << 20, .threads = 1, .fault = {DEVICE_CALL_STREAM_CREATE, nth, 0}};
    char message[64];
    snprintf(message, sizeof message, "injected fault: call %d of stream_create fails", (int)nth);
    assert_failed(device_open(&options, &dev, &err), &err, BATON_RESOURCE_LIMIT, message);
    assert_null(dev);
  }
}

static void a_fault_while_closing_frees_all_the_same(void **state) {
  (void)state;
  const device_call calls[] = {DEVICE_CALL_SYNC, DEVICE_CALL_STREAM_DESTROY};
  for (int i = 0; i < 2; i++)
    for (uint64_t nth = 1; nth <= DEVICE_STREAM_COUNT; nth++) {
      device_stats last;
      device *dev = open_faulty(calls[i], nth, 0);
      assert_int_equal(device_close(dev, INT64_MAX, &last, NULL), BATON_IO_ERROR);
      assert_int_equal(last.streams_created, DEVICE_STREAM_COUNT);
      assert_int_equal(last.streams_destroyed, DEVICE_STREAM_COUNT);
    }
}

static void a_stream_stays_until_it_is_destroyed(void **state) {
  (void)state;
  for (uint64_t nth = 1; nth <= DEVICE_STREAM_COUNT; nth++) {
    baton_error err = {0};
    device *dev = open_faulty(DEVICE_CALL_STREAM_DESTROY, nth, 0);
    char message[64];
    snprintf(message, sizeof message, "injected fault: call %d of stream_destroy fails", (int)nth);
    assert_failed(device_shutdown(dev, INT64_MAX, &err), &err, BATON_IO_ERROR, message);
    assert_int_equal(device_streams_left(dev), 1);
    assert_int_equal(device_statistics(dev).streams_destroyed, DEVICE_STREAM_COUNT - 1);
    assert_int_equal(device_shutdown(dev, INT64_MAX, &err), BATON_OK);
    assert_int_equal(device_streams_left(dev), 0);
    close_device(dev);
  }
}

static void a_second_shutdown_waits_for_nothing(void **state) {
  (void)state;
  static hanging launch;
  device *dev = open_faulty(DEVICE_CALL_STREAM_DESTROY, 1, 1);
  hang_on(&launch, dev);
  assert_int_equal(device_shutdown(dev, 0, NULL), BATON_STREAM_TIMEOUT);
  assert_int_equal(device_shutdown(dev, INT64_MAX, NULL), BATON_IO_ERROR);
  assert_int_equal(device_streams_left(dev), DEVICE_STREAM_COUNT);
  device_stats last;
  assert_int_equal(device_close(dev, INT64_MAX, &last, NULL), BATON_IO_ERROR);
  assert_int_equal(last.streams_destroyed, DEVICE_STREAM_COUNT);
  hang_release(&launch);
}

static void faults_that_make_no_sense_are_refused(void **state) {
  (void)state;
  baton_error err = {0};
  device *dev;
  device_options options = {.id = 3, .memory = 1 << 20, .fault = {DEVICE_CALL_ALLOC, 0, 0}};
  assert_failed(device_open(&options, &dev, &err), &err, BATON_OUT_OF_RANGE,
                "fault: calls of alloc count from 1, got 0");
  options.fault.call = DEVICE_CALL_COUNT;
  assert_failed(device_open(&options, &dev, &err), &err, BATON_INVALID_ARGUMENT,
                "fault: 9 is no call of a driver");
}

static void an_arena_is_committed_once(void **state) {
  (void)state;
  device *dev = open_device();
  const uint64_t sizes[] = {4096, 2048, 1024}, smaller[] = {4096, 0, 1};
  int changed;
  assert_int_equal(device_arena_commit(dev, sizes, &changed, NULL), BATON_OK);
  assert_true(changed);
  device_region heap = device_arena_region(dev, DEVICE_REGION_HEAP);
  assert_int_equal(heap.size, 4096);
  assert_int_equal(device_arena_commit(dev, smaller, &changed, NULL), BATON_OK);
  assert_false(changed);
  assert_int_equal(device_arena_region(dev, DEVICE_REGION_HEAP).address, heap.address);
  device_stats stats = device_statistics(dev), last;
  assert_int_equal(stats.live, 3);
  assert_int_equal(stats.committed_bytes, 4096 + 2048 + 1024);
  assert_int_equal(stats.arenas_committed, 1);
  assert_int_equal(device_close(dev, INT64_MAX, &last, NULL), BATON_OK);
  assert_int_equal(last.live, 0);
}

static void an_arena_grows_and_keeps_its_larger_regions(void **state) {
  (void)state;
  device *dev = open_device();
  const uint64_t sizes[] = {4096, 2048, 1024}, grown[] = {1, 512 << 10, 0};
  int changed;
  assert_int_equal(device_arena_commit(dev, sizes, &changed, NULL), BATON_OK);
  assert_int_equal(device_arena_commit(dev, grown, &changed, NULL), BATON_OK);
  assert_true(changed);
  assert_int_equal(device_arena_region(dev, DEVICE_REGION_HEAP).size, 4096);
  assert_int_equal(device_arena_region(dev, DEVICE_REGION_SHARED).size, 512 << 10);
  assert_int_equal(device_arena_region(dev, DEVICE_REGION_IMAGE).size, 1024);
  assert_int_equal(device_statistics(dev).live, 3);
  close_device(dev);
}

static void an_arena_that_does_not_fit_leaves_nothing(void **state) {
  (void)state;
  static const char *const names[] = {"heap", "shared", "image"};
  device *dev = open_device();
  for (int region = 0; region < DEVICE_REGION_COUNT; region++) {
    uint64_t sizes[] = {4096, 4096, 4096}, good[] = {1024, 1024, 1024};
    baton_error err = {0};
    int changed;
    char begin[64];
    assert_int_equal(device_arena_commit(dev, good, &changed, NULL), BATON_OK);
    assert_true(changed);
    sizes[region] = 2 << 20;
    assert_int_equal(device_arena_commit(dev, sizes, &changed, &err), BATON_OUT_OF_MEMORY);
    assert_false(changed);
    snprintf(begin, sizeof begin, "arena: region %s of 2097152 bytes: ", names[region]);
    assert_memory_equal(err.message, begin, strlen(begin));
    baton_error_clear(&err);
    assert_int_equal(device_statistics(dev).live, 0);
    for (int name = 0; name < DEVICE_REGION_COUNT; name++)
      assert_int_equal(device_arena_region(dev, (device_region_name)name).size, 0);
  }
  close_device(dev);
}

static void each_region_may_fail_a_hundred_times(void **state) {
  (void)state;
  const uint64_t sizes[] = {4096, 2048, 1024}, grown[] = {8192, 2048, 1024};
  for (int round = 0; round < 100; round++)
    for (uint64_t nth = 1; nth <= 2 * DEVICE_REGION_COUNT; nth++) {
      device *dev = open_faulty(DEVICE_CALL_ALLOC, nth, 0);
      int changed;
      baton_status first = device_arena_commit(dev, sizes, &changed, NULL);
      assert_int_equal(first, nth <= 3 ? BATON_OUT_OF_MEMORY : BATON_OK);
      if (first == BATON_OK)
        assert_int_equal(device_arena_commit(dev, grown, &changed, NULL), BATON_OUT_OF_MEMORY);
      assert_int_equal(device_statistics(dev).live, 0);
      assert_int_equal(device_arena_commit(dev, sizes, &changed, NULL), BATON_OK);
      device_stats last;
      assert_int_equal(device_close(dev, INT64_MAX, &last, NULL), BATON_OK);
      assert_int_equal(last.allocations, last.frees);
      assert_int_equal(last.committed_bytes, 0);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(platforms_are_rows_of_a_table),
      cmocka_unit_test(default_memory_respects_limits),
      cmocka_unit_test(open_refuses_what_is_not_there),
      cmocka_unit_test(each_platform_opens_eagerly),
      cmocka_unit_test(zero_options_mean_defaults),
      cmocka_unit_test(a_forked_child_is_another_process),
      cmocka_unit_test(the_last_close_of_a_process_ends_its_claim),
      cmocka_unit_test(open_survives_each_failing_allocation),
      cmocka_unit_test(addresses_are_no_pointers),
      cmocka_unit_test(copies_and_fills_arrive),
      cmocka_unit_test(copies_stay_inside_one_allocation),
      cmocka_unit_test(freed_memory_is_refused),
      cmocka_unit_test(full_memory_names_its_sizes),
      cmocka_unit_test(the_number_of_allocations_is_bounded),
      cmocka_unit_test(memory_of_a_caller_outlives_its_device),
      cmocka_unit_test(a_place_that_is_not_free_is_not_reserved),
      cmocka_unit_test(accounts_are_exact_with_many_threads),
      cmocka_unit_test(accounts_count_bytes_as_asked),
      cmocka_unit_test(ranges_agree_with_a_map),
      cmocka_unit_test(launches_of_a_stream_run_in_order),
      cmocka_unit_test(an_idle_stream_may_be_lent_a_thread),
      cmocka_unit_test(lanes_and_streams_overlap),
      cmocka_unit_test(done_may_launch_again_and_nothing_is_allocated),
      cmocka_unit_test(close_drains_the_streams),
      cmocka_unit_test(a_launch_needs_lanes),
      cmocka_unit_test(a_launch_cannot_wait_for_its_device),
      cmocka_unit_test(a_timed_out_stream_is_left_alone),
      cmocka_unit_test(close_has_a_deadline),
      cmocka_unit_test(a_timed_out_stream_may_still_end),
      cmocka_unit_test(the_nth_call_fails),
      cmocka_unit_test(a_fault_while_opening_leaves_nothing_behind),
      cmocka_unit_test(a_fault_while_closing_frees_all_the_same),
      cmocka_unit_test(a_stream_stays_until_it_is_destroyed),
      cmocka_unit_test(a_second_shutdown_waits_for_nothing),
      cmocka_unit_test(faults_that_make_no_sense_are_refused),
      cmocka_unit_test(an_arena_is_committed_once),
      cmocka_unit_test(an_arena_grows_and_keeps_its_larger_regions),
      cmocka_unit_test(an_arena_that_does_not_fit_leaves_nothing),
      cmocka_unit_test(each_region_may_fail_a_hundred_times),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
