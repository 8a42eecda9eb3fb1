/* base/log.h - notes for the user on stderr, one line each: "baton: warning: …". Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <baton/error.h>

typedef enum base_log_level {
  BASE_LOG_ERROR,
  BASE_LOG_WARNING,
  BASE_LOG_NOTE,
  BASE_LOG_DEBUG
} base_log_level;

/* What is above `level` is dropped. Default: BASE_LOG_NOTE. */
void base_log_set_level(base_log_level level);

void base_log(base_log_level level, const char *fmt, ...) BATON_PRINTF(2, 3);

/* Logs a failure that nobody can be given any more: "WHAT: message (code)". */
void base_log_error(const baton_error *err, const char *what);

#endif
