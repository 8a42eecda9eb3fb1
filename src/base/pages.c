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
static void *map_aligned(size_t size) {
  char *mapped = map_pages(size + HUGE_PAGE);
  if (!mapped) return NULL;
  size_t before = (HUGE_PAGE - (uintptr_t)mapped % HUGE_PAGE) % HUGE_PAGE;
  if (before) munmap(mapped, before);
  munmap(mapped + before + size, HUGE_PAGE - before);
  return mapped + before;
}

void *base_pages_small(size_t size) {
  if (size > SIZE_MAX / 2) return NULL;
  size = whole_pages(size);
  if (size < BASE_PAGES_HUGE) return map_pages(size);
  void *pages = map_aligned(size);
  if (pages) (void)madvise(pages, size, MADV_NOHUGEPAGE);
  return pages;
}

/* A kernel without huge pages has others. */
void base_pages_spread(void *pages, size_t size) {
  size = whole_pages(size);
  if (size >= BASE_PAGES_HUGE) (void)madvise(pages, size, MADV_HUGEPAGE);
}

void *base_pages(size_t size) {
  void *pages = base_pages_small(size);
  if (pages) base_pages_spread(pages, size);
  return pages;
}

void base_pages_free(void *pages, size_t size) {
  if (pages) munmap(pages, whole_pages(size));
}
