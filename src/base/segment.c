#include "base/segment.h"
#include "base/atomic.h"
#include "base/cause.h"
#include "base/descriptor.h"
#include "base/heap.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum {
  UNIT = 64,
  PAGE = 4096,
  LARGE = 4 << 20,                         /* from here on a freed extent gives its pages back */
  SEGMENT_EXTENTS = 1 << 17,               /* alive in one segment */
  SEGMENT_RANGES = 2 * SEGMENT_EXTENTS + 2 /* with the free ranges between them */
};

static const uint64_t segment_size = (uint64_t)4 << 30;

/* The records of the heap follow the struct, in a mapping that is committed as it is used. A segment is never
** unmapped: another process may know it by its number. */
typedef struct segment {
  base_heap heap;
  char *address;
  uint64_t size;
  int fd;
  int adopted; /* another process allocates here; there is no heap */
} segment;

/* Guards all that follows; an extent that is alive belongs to its owner. The count is stored with release after the segment:
** who reads it with acquire may look at the address, size and descriptor of so many, which never change. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static segment *segments[BASE_SEGMENTS];
static _Atomic uint32_t segment_count;
static uint64_t live_bytes;

/* A request beyond memory and swap can only end in the out-of-memory killer. */
static uint64_t machine_limit(void) {
  struct sysinfo info;
  if (sysinfo(&info) != 0) return UINT64_MAX / 4;
  return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

/* A memfd counts as a file: growing one beyond this limit would raise SIGXFSZ. */
static uint64_t file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur;
}

static uint64_t round_up(uint64_t size, uint64_t unit) { return (size + unit - 1) & ~(unit - 1); }

/* Maps `size` bytes into `made`; 0 or an errno. */
static int segment_map(segment *made, uint64_t size) {
  if (size > file_limit()) return EFBIG;
  made->fd = base_descriptor_above_streams(memfd_create("baton", MFD_CLOEXEC));
  if (made->fd < 0) return errno;
  int failure = 0;
  if (ftruncate(made->fd, (off_t)size) == 0) {
    made->address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, made->fd, 0);
    made->size = size;
    if (made->address != MAP_FAILED) return 0;
  }
  failure = errno;
  close(made->fd);
  return failure;
}

static uint32_t count_segments(void) { return atomic_load_explicit(&segment_count, memory_order_acquire); }

/* Adds a segment for `size` bytes, a larger one if the limits of the process allow; 0 or an errno. */
static int segment_add(uint64_t size) {
  uint32_t count = count_segments();
  if (count == BASE_SEGMENTS) return ENOSPC;
  size_t bookkeeping = sizeof(segment) + base_heap_records_size(SEGMENT_RANGES);
  segment *made =
      mmap(NULL, bookkeeping, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) return errno;
  uint64_t least = round_up(size ? size : 1, PAGE), wanted = segment_size;
  while (wanted < least) wanted *= 2;
  int failure = segment_map(made, wanted);
  while (failure && wanted > least) {
    wanted = wanted / 2 > least ? wanted / 2 : least;
    failure = segment_map(made, wanted);
  }
  if (failure) {
    munmap(made, bookkeeping);
    return failure;
  }
  base_heap_init(&made->heap, wanted, UNIT, made + 1, SEGMENT_RANGES);
  segments[count] = made;
  atomic_store_explicit(&segment_count, count + 1, memory_order_release);
  return 0;
}

int base_segment_adopt(void *address, uint64_t size, int fd) {
  segment *made = base_calloc(1, sizeof *made);
  if (!made) return ENOMEM;
  *made = (segment){.address = address, .size = size, .adopted = 1};
  made->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int failure = made->fd < 0 ? errno : 0;
  pthread_mutex_lock(&lock);
  uint32_t count = count_segments();
  if (!failure && count == BASE_SEGMENTS) failure = ENOSPC;
  if (!failure) {
    segments[count] = made;
    atomic_store_explicit(&segment_count, count + 1, memory_order_release);
  }
  pthread_mutex_unlock(&lock);
  if (!failure) return 0;
  if (made->fd >= 0) close(made->fd);
  base_free(made);
  return failure;
}

/* A range of `size` bytes at an aligned offset in one segment; BASE_HEAP_NONE: it has no room. */
static uint32_t segment_take(segment *from, uint64_t size, uint64_t alignment, uint64_t *offset) {
  if (from->adopted || from->heap.live >= SEGMENT_EXTENTS) return BASE_HEAP_NONE;
  uint32_t range = base_heap_alloc(&from->heap, size, offset);
  if (range == BASE_HEAP_NONE || *offset % alignment == 0) return range;
  base_heap_free(&from->heap, range);
  range = base_heap_alloc(&from->heap, size + alignment - UNIT, offset);
  *offset = round_up(*offset, alignment);
  return range;
}

/* Takes a range from any segment, or from a new one; 0 or an errno. */
static int take(uint64_t size, uint64_t alignment, base_extent *out) {
  for (;;) {
    uint32_t count = count_segments();
    for (uint32_t i = 0; i < count; i++) {
      uint32_t range = segment_take(segments[i], size, alignment, &out->offset);
      if (range == BASE_HEAP_NONE) continue;
      out->segment = i;
      out->token = range;
      out->address = segments[i]->address + out->offset;
      return 0;
    }
    int failure = segment_add(size);
    if (failure) return failure;
  }
}

static baton_status refuse(uint64_t size, uint64_t live, int failure, baton_error *err) {
  baton_status status = base_cause_status(failure, BATON_OUT_OF_MEMORY);
  baton_error_set(err, status, "no memory for a block of %llu bytes, %llu bytes are in use",
                  (unsigned long long)size, (unsigned long long)live);
  baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  if (failure == EFBIG)
    baton_error_text(err, BATON_FIELD_HINT, "the limit of this process for the size of a file is %llu bytes",
                     (unsigned long long)file_limit());
  else if (failure == ENOMEM && size > machine_limit())
    baton_error_text(err, BATON_FIELD_HINT, "memory and swap of this machine: %llu bytes",
                     (unsigned long long)machine_limit());
  return status;
}

baton_status base_extent_alloc(uint64_t size, uint64_t alignment, base_extent *out, baton_error *err) {
  *out = (base_extent){0};
  base_extent made = {.size = size};
  pthread_mutex_lock(&lock);
  int failure = size > machine_limit() ? ENOMEM : take(size, alignment, &made);
  if (!failure) live_bytes += size;
  uint64_t live = live_bytes;
  pthread_mutex_unlock(&lock);
  if (failure) return refuse(size, live, failure, err);
  *out = made;
  return BATON_OK;
}

void base_extent_free(base_extent *extent) {
  if (!extent->address) return;
  pthread_mutex_lock(&lock);
  segment *from = segments[extent->segment];
  base_heap_range range = from->heap.ranges[extent->token];
  pthread_mutex_unlock(&lock);
  /* the range is still ours, so that the system call needs no lock; neighbours share the pages at its ends */
  uint64_t first = round_up(range.offset * UNIT, PAGE),
           end = (range.offset + range.size) * UNIT & ~(uint64_t)(PAGE - 1);
  if (range.size * UNIT >= LARGE && first < end)
    fallocate(from->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first, (off_t)(end - first));
  pthread_mutex_lock(&lock);
  base_heap_free(&from->heap, extent->token);
  live_bytes -= extent->size;
  pthread_mutex_unlock(&lock);
  *extent = (base_extent){0};
}

int base_segment_find(const void *address, uint32_t *segment_number, uint64_t *offset) {
  uint32_t count = count_segments();
  for (uint32_t i = 0; i < count; i++) {
    uint64_t distance = (uint64_t)((uintptr_t)address - (uintptr_t)segments[i]->address);
    if (distance >= segments[i]->size) continue;
    *segment_number = i;
    *offset = distance;
    return 1;
  }
  return 0;
}

int base_segment_fd(uint32_t number, uint64_t *size) {
  if (number >= count_segments()) return -1;
  *size = segments[number]->size;
  return segments[number]->fd;
}

uint64_t base_segment_live_bytes(void) {
  pthread_mutex_lock(&lock);
  uint64_t bytes = live_bytes;
  pthread_mutex_unlock(&lock);
  return bytes;
}
