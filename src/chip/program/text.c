#include "chip/program/text.h"
#include "base/memory.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int make_room(chip_text *text, size_t size) {
  if (text->failed) return 0;
  size_t needed = text->length + size + 1;
  if (needed <= text->capacity) return 1;
  size_t capacity = needed < 128 ? 128 : needed + needed / 2;
  char *data = base_realloc(text->data, capacity);
  if (!data) {
    text->failed = 1;
    return 0;
  }
  text->data = data;
  text->capacity = capacity;
  return 1;
}

void chip_text_add_bytes(chip_text *text, const void *bytes, size_t size) {
  if (!make_room(text, size)) return;
  if (size > 0) memcpy(text->data + text->length, bytes, size);
  text->length += size;
  text->data[text->length] = 0;
}

BATON_PRINTF(2, 0) static void add_formatted(chip_text *text, const char *fmt, va_list values) {
  va_list again;
  va_copy(again, values);
  int length = base_vprint(NULL, 0, fmt, again);
  va_end(again);
  if (length < 0 || !make_room(text, (size_t)length)) {
    text->failed = 1;
    return;
  }
  base_vprint(text->data + text->length, (size_t)length + 1, fmt, values);
  text->length += (size_t)length;
}

void chip_text_add(chip_text *text, const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  add_formatted(text, fmt, values);
  va_end(values);
}

void chip_text_free(chip_text *text) {
  base_free(text->data);
  *text = (chip_text){0};
}

static int make_place(chip_list *list) {
  if (list->failed) return 0;
  if (list->count + 2 <= list->capacity) return 1;
  size_t capacity = list->capacity ? 2 * list->capacity : 16;
  char **items = base_realloc(list->items, capacity * sizeof *items);
  if (!items) {
    list->failed = 1;
    return 0;
  }
  list->items = items;
  list->capacity = capacity;
  return 1;
}

void chip_list_add(chip_list *list, const char *fmt, ...) {
  if (!make_place(list)) return;
  chip_text text = {0};
  va_list values;
  va_start(values, fmt);
  add_formatted(&text, fmt, values);
  va_end(values);
  if (text.failed) {
    list->failed = 1;
    chip_text_free(&text);
    return;
  }
  list->items[list->count++] = text.data;
  list->items[list->count] = NULL;
}

void chip_list_add_words(chip_list *list, const char *words) {
  static const char blanks[] = " \t\n";
  for (words += strspn(words, blanks); *words; words += strspn(words, blanks)) {
    size_t length = strcspn(words, blanks);
    chip_list_add(list, "%.*s", (int)length, words);
    words += length;
  }
}

void chip_list_free(chip_list *list) {
  for (size_t i = 0; i < list->count; i++) base_free(list->items[i]);
  base_free(list->items);
  *list = (chip_list){0};
}
