/* base/segment.h - the one source of tensor memory: large memfd segments.
**
** Host tensors and simulated device memory are extents of segments. A segment is a sparse memfd, mapped
** MAP_NORESERVE: pages are committed when touched. Segment number and offset identify any byte, so that
** another process can map the same memory later from one descriptor a segment. Any thread. */
#ifndef BASE_SEGMENT_H
#define BASE_SEGMENT_H

#include <baton/error.h>
#include <stddef.h>

enum { BASE_SEGMENTS = 4096 }; /* numbers are below that */

typedef struct base_extent {
  void *address;    /* in this process */
  uint64_t offset;  /* bytes into the segment */
  uint64_t size;    /* bytes, as asked for */
  uint32_t segment; /* number of the segment, from 0 */
  uint32_t token;   /* private to the allocator */
} base_extent;

/* `size` bytes, aligned to `alignment` (a power of two up to 4096). Fresh pages read as zero; reused ones
** hold what was there. size == 0 gives an extent of no bytes with a valid address. `out_of_memory` when the
** machine refuses. */
baton_status base_extent_alloc(uint64_t size, uint64_t alignment, base_extent *out, baton_error *err);

/* Gives the bytes back; whole pages of large extents (4 MiB and more) go back to the system. The extent
** becomes all zero; freeing an all-zero extent is legal. */
void base_extent_free(base_extent *extent);

/* Finds the segment of an address; false if it lies in none. Takes no lock. */
int base_segment_find(const void *address, uint32_t *segment, uint64_t *offset);

/* The descriptor and the size in bytes of a segment, for mapping it elsewhere; -1 if there is no such
** segment. */
int base_segment_fd(uint32_t segment, uint64_t *size);

/* Makes a segment of `size` bytes at `address`, a mapping of `fd` that another process has made and this one has mapped whole: it is
** found from now on, so that a child of this process can map it too, and nothing is allocated in it. The mapping stays until the
** process ends; `fd` stays the caller's. 0 or an errno. Any thread. */
int base_segment_adopt(void *address, uint64_t size, int fd);

/* Bytes of extents that are alive. */
uint64_t base_segment_live_bytes(void);

#endif
