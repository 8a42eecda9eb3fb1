#include "node/worker_program.h"
#include "base/memory.h"
#include "base/own_file.h"
#include "chip/program/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  FOLDERS = 6,       /* that are looked at: lib/TRIPLE/lua/5.4/baton.so is five below libexec */
  FOLDERS_BESIDE = 3 /* of them those that may hold the program itself, as build trees do */
};

/* What somebody asked for by name. */
static baton_status take_named(const char *name, const char *source, char path[PATH_MAX], baton_error *err) {
  struct stat file;
  int failure = 0;
  if (strlen(name) >= PATH_MAX)
    failure = ENAMETOOLONG;
  else if (stat(name, &file) != 0 || (S_ISREG(file.st_mode) && access(name, X_OK) != 0))
    failure = errno;
  else if (!S_ISREG(file.st_mode))
    failure = S_ISDIR(file.st_mode) ? EISDIR : EACCES;
  if (!failure) {
    strcpy(path, name);
    return BATON_OK;
  }
  baton_error_set(err, BATON_IO_ERROR, "the worker program '%s' (%s) cannot be executed: %s", name, source,
                  strerror(failure));
  baton_error_text(err, BATON_FIELD_PATH, "%s", name);
  return baton_error_text(err, BATON_FIELD_HINT, "%s must name baton-worker of this version of Baton",
                          source);
}

/* Looks at one place; a file of somebody else is none: a folder above may be open to everyone. */
static int try_place(const char *path, uid_t owner, chip_text *tried) {
  struct stat file;
  const char *why = "";
  if (stat(path, &file) == 0 && S_ISREG(file.st_mode)) {
    int trusted = file.st_uid == 0 || file.st_uid == geteuid() || file.st_uid == owner;
    if (trusted && access(path, X_OK) == 0) return 1;
    why = trusted ? " (cannot be executed)" : " (belongs to another user)";
  }
  chip_text_add(tried, "%s%s%s", tried->length ? ", " : "", path, why);
  return 0;
}

/* Looks on the way up from `folder`, which is changed. */
static int find_above(char *folder, char path[PATH_MAX], chip_text *tried) {
  struct stat own;
  uid_t owner = stat(folder, &own) == 0 ? own.st_uid : 0;
  for (int level = 0; level < FOLDERS; level++) {
    char *slash = strrchr(folder, '/');
    if (!slash) return 0;
    *slash = 0;
    static const char *const places[] = {"baton-worker", "libexec/baton/baton-worker"};
    for (int place = level < FOLDERS_BESIDE ? 0 : 1; place < (level == 0 ? 1 : 2); place++) {
      int length = snprintf(path, PATH_MAX, "%s/%s", folder, places[place]);
      if (length < PATH_MAX && try_place(path, owner, tried)) return 1;
    }
  }
  return 0;
}

baton_status node_worker_program(const char *wanted, char path[PATH_MAX], baton_error *err) {
  const char *variable = getenv("BATON_WORKER_PROGRAM");
  if (wanted) return take_named(wanted, "worker_program", path, err);
  if (variable && variable[0]) return take_named(variable, "BATON_WORKER_PROGRAM", path, err);
  char file[PATH_MAX];
  chip_text tried = {0};
  int found = base_own_file(file) && find_above(file, path, &tried);
  if (!found) {
    baton_error_set(err, BATON_IO_ERROR, "the worker program baton-worker is in none of: %s",
                    tried.length ? tried.data : "(the place of this code is unknown)");
    baton_error_text(err, BATON_FIELD_HINT,
                     "set worker_program or the environment variable BATON_WORKER_PROGRAM to its path");
  }
  chip_text_free(&tried);
  return found ? BATON_OK : BATON_IO_ERROR;
}
