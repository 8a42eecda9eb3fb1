#include "chip/program/depend.h"
#include "chip/program/file.h"
#include <string.h>

static const char *skip_blanks(const char *at) {
  for (;;) {
    at += strspn(at, " \t\r\n");
    if (at[0] != '\\' || (at[1] != '\n' && at[1] != '\r')) return at;
    at++;
  }
}

/* One path: a blank or # in it is escaped by a backslash, a dollar by a dollar. */
static const char *take_path(const char *at, chip_text *path) {
  while (*at && !strchr(" \t\r\n", *at)) {
    if (at[0] == '\\' && (at[1] == '\n' || at[1] == '\r')) break;
    if (at[0] == '\\' && (at[1] == ' ' || at[1] == '#')) at++;
    if (at[0] == '$' && at[1] == '$') at++;
    chip_text_add_bytes(path, at++, 1);
  }
  return at;
}

static int lies_in(const char *path, const char *directory) {
  size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && path[length] == '/';
}

void chip_depend_parse(const char *rule, const char *directory, const char *scratch, chip_list *paths) {
  const char *at = strstr(rule, ": ");
  if (!at) return;
  for (at = skip_blanks(at + 1); *at; at = skip_blanks(at)) {
    chip_text path = {0}, absolute = {0};
    at = take_path(at, &path);
    if (path.data) chip_file_join(&absolute, directory, path.data);
    if (absolute.data && !lies_in(absolute.data, scratch)) chip_list_add(paths, "%s", absolute.data);
    paths->failed |= path.failed || absolute.failed;
    chip_text_free(&path);
    chip_text_free(&absolute);
  }
}
