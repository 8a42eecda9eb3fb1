#include "chip/program/source.h"
#include "chip/program/file.h"
#include <string.h>

/* Removes the carriage returns before line feeds, as Lua does when it reads a long string. */
static void drop_returns(char *text) {
  char *to = text;
  for (const char *from = text; *from; from++)
    if (from[0] != '\r' || from[1] != '\n') *to++ = *from;
  *to = 0;
}

int chip_source_line(const char *path, const char *code, uint32_t *line) {
  chip_text text = {0};
  const char *found = NULL;
  if (chip_file_read(path, &text) == 0 && text.data && code[0]) {
    drop_returns(text.data);
    found = strstr(text.data, code);
  }
  *line = 1;
  for (const char *at = text.data; found && at < found; at++) *line += *at == '\n';
  chip_text_free(&text);
  return found != NULL;
}
