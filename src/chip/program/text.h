/* chip/program/text.h - texts and lists of texts that grow. Out of memory is remembered, so that one check at the
** end is enough. All zero is an empty one. One thread at a time. */
#ifndef CHIP_TEXT_H
#define CHIP_TEXT_H

#include <baton/error.h>
#include <stddef.h>

typedef struct chip_text {
  char *data; /* ends with a zero; NULL while empty */
  size_t length, capacity;
  int failed;
} chip_text;

void chip_text_add(chip_text *text, const char *fmt, ...) BATON_PRINTF(2, 3);
void chip_text_add_bytes(chip_text *text, const void *bytes, size_t size);
void chip_text_free(chip_text *text);

/* Ends with NULL, as argv does; NULL while empty. Owns its texts. */
typedef struct chip_list {
  char **items;
  size_t count, capacity;
  int failed;
} chip_list;

void chip_list_add(chip_list *list, const char *fmt, ...) BATON_PRINTF(2, 3);
/* The words of a text, split at blanks. */
void chip_list_add_words(chip_list *list, const char *words);
void chip_list_free(chip_list *list);

#endif
