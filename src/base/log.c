#include "base/log.h"
#include "base/atomic.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static _Atomic int log_level = BASE_LOG_NOTE;

void base_log_set_level(base_log_level level) {
  atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void base_log(base_log_level level, const char *fmt, ...) {
  static const char *const words[] = {"error", "warning", "note", "debug"};
  if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed)) return;
  char line[2048];
  int length = snprintf(line, sizeof line - 1, "baton: %s: ", words[level]);
  va_list values;
  va_start(values, fmt);
  length += base_vprint(line + length, sizeof line - 1 - (size_t)length, fmt, values);
  va_end(values);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length++] = '\n';
  /* one write a line, so that lines of several threads do not mix; a closed stderr has no reader to tell */
  ssize_t written = write(STDERR_FILENO, line, (size_t)length);
  (void)written;
}

void base_log_error(const baton_error *err, const char *what) {
  base_log(BASE_LOG_ERROR, "%s: %s (%s)", what, err->message ? err->message : "?",
           baton_status_word(err->code));
}
