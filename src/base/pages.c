#include "base/pages.h"
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

static void *map_pages(size_t size) {
  void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages == MAP_FAILED ? NULL : pages;
}

static size_t whole_pages(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (size + page - 1) / page * page;
}

/* Begins where a huge page can begin; what is mapped around it is given back. */
static void *map_huge_pages(size_t size) {
  char *mapped = map_pages(size + HUGE_PAGE);
  if (!mapped) return NULL;
  size_t before = (HUGE_PAGE - (uintptr_t)mapped % HUGE_PAGE) % HUGE_PAGE;
  if (before) munmap(mapped, before);
  munmap(mapped + before + size, HUGE_PAGE - before);
  (void)madvise(mapped + before, size, MADV_HUGEPAGE); /* a kernel without them has other pages */
  return mapped + before;
}

void *base_pages(size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size = whole_pages(size);
  return size < BASE_PAGES_HUGE ? map_pages(size) : map_huge_pages(size);
}

void base_pages_free(void *pages, size_t size) {
  if (pages) munmap(pages, whole_pages(size));
}
