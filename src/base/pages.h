/* base/pages.h - large memory straight from the kernel. Any thread. */
#ifndef BASE_PAGES_H
#define BASE_PAGES_H

#include <stddef.h>

/* From this size on memory is asked to lie in huge pages: looks that are spread over it do not wait for address
** translation then, but touching one byte commits 2 MiB. */
#define BASE_PAGES_HUGE ((size_t)128 << 20)

/* Zero, aligned to a page, committed when touched. NULL when address space is out. */
void *base_pages(size_t size);

/* The same for memory that may stay nearly empty: in small pages, until base_pages_spread says that much of it will be used.
** What has been touched by then stays in small pages. */
void *base_pages_small(size_t size);
void base_pages_spread(void *pages, size_t size);

/* `pages` is what one of them returned for `size`; NULL is ignored. */
void base_pages_free(void *pages, size_t size);

#endif
