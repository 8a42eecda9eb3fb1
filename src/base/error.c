#include "base/memory.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_TEXT_MAX = 64 * 1024 };

static const char no_memory[] = "an error occurred, and no memory was left to describe it";

const char *baton_status_word(baton_status status) {
  static const char *const words[] = {"ok",
#define X(name, word) word,
                                      BATON_STATUS_LIST(X)
#undef X
  };
  return status < BATON_STATUS_COUNT ? words[status] : "unknown";
}

static const char **field_of(baton_error *err, baton_error_field field) {
  switch (field) {
  case BATON_FIELD_HINT: return &err->hint;
  case BATON_FIELD_TASK: return &err->task;
  case BATON_FIELD_KERNEL: return &err->kernel;
  case BATON_FIELD_CAUSE: return &err->cause;
  case BATON_FIELD_PATH: return &err->path;
  case BATON_FIELD_MESSAGE: break;
  }
  return &err->message;
}

static void release(const char *text) {
  if (text != no_memory) base_free((void *)(uintptr_t)text);
}

static void store(const char **slot, const char *text) {
  release(*slot);
  *slot = text;
}

/* "prefix" and the formatted text in one block; cut at ERROR_TEXT_MAX; no_memory when memory is out. */
BATON_PRINTF(1, 0) static const char *format(const char *fmt, va_list values) {
  va_list again;
  va_copy(again, values);
  int length = base_vprint(NULL, 0, fmt, again);
  va_end(again);
  if (length < 0) return no_memory;
  size_t size = (size_t)length + 1;
  if (size > ERROR_TEXT_MAX) size = ERROR_TEXT_MAX;
  char *text = base_alloc(size);
  if (!text) return no_memory;
  base_vprint(text, size, fmt, values);
  return text;
}

void baton_error_clear(baton_error *err) {
  if (!err) return;
  for (int field = BATON_FIELD_MESSAGE; field <= BATON_FIELD_PATH; field++)
    release(*field_of(err, (baton_error_field)field));
  memset(err, 0, sizeof *err);
}

baton_status baton_error_set(baton_error *err, baton_status code, const char *fmt, ...) {
  if (!err) return code;
  va_list values;
  va_start(values, fmt);
  const char *text = format(fmt, values); /* first: the values may point into *err */
  va_end(values);
  baton_error_clear(err);
  err->code = code;
  err->message = text;
  return code;
}

baton_status baton_error_text(baton_error *err, baton_error_field field, const char *fmt, ...) {
  if (!err) return BATON_OK;
  va_list values;
  va_start(values, fmt);
  const char *text = format(fmt, values);
  va_end(values);
  store(field_of(err, field), text);
  return err->code;
}

baton_status baton_error_context(baton_error *err, const char *fmt, ...) {
  if (!err) return BATON_OK;
  va_list values;
  va_start(values, fmt);
  const char *prefix = format(fmt, values);
  va_end(values);
  baton_error_text(err, BATON_FIELD_MESSAGE, "%s: %s", prefix, err->message ? err->message : "");
  release(prefix);
  return err->code;
}

baton_status baton_error_copy(baton_error *to, const baton_error *from) {
  if (!to || to == from) return from->code;
  baton_error_clear(to);
  baton_error copy = *from;
  for (int field = BATON_FIELD_MESSAGE; field <= BATON_FIELD_PATH; field++) {
    const char **text = field_of(&copy, (baton_error_field)field);
    if (!*text || *text == no_memory) continue;
    *text = base_strdup(*text);
    if (!*text) *text = no_memory;
  }
  *to = copy;
  return to->code;
}
