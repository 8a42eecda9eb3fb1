#include "chip/program/library.h"
#include "base/memory.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

struct chip_library {
  chip_library *next;
  base_digest digest;
  char *path;
  void *handle;
  uint32_t holds;
};

/* Everything that is loaded. The lock is held while the system loads, so that two threads do not load
** twice. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static chip_library *loaded;

static chip_library *find(const base_digest *digest) {
  chip_library *library = loaded;
  while (library && memcmp(&library->digest, digest, sizeof *digest) != 0) library = library->next;
  return library;
}

static void destroy(chip_library *library) {
  if (library->handle) dlclose(library->handle);
  base_free(library->path);
  base_free(library);
}

static chip_library *load(const char *path, const base_digest *digest, chip_text *why) {
  chip_library *library = base_calloc(1, sizeof *library);
  if (library) library->path = base_strdup(path);
  if (!library || !library->path) {
    why->failed = 1;
    base_free(library);
    return NULL;
  }
  library->digest = *digest;
  library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library->handle) {
    const char *reason = dlerror();
    chip_text_add(why, "%s", reason ? reason : "unknown reason");
    destroy(library);
    return NULL;
  }
  library->next = loaded;
  loaded = library;
  return library;
}

chip_library *chip_library_open(const char *path, const base_digest *digest, chip_text *why) {
  pthread_mutex_lock(&lock);
  chip_library *library = find(digest);
  if (!library) library = load(path, digest, why);
  if (library) library->holds++;
  pthread_mutex_unlock(&lock);
  return library;
}

int chip_library_shadows(const char *path, const base_digest *digest) {
  int shadowed = 0;
  pthread_mutex_lock(&lock);
  for (const chip_library *library = loaded; library; library = library->next)
    if (strcmp(library->path, path) == 0 && memcmp(&library->digest, digest, sizeof *digest) != 0)
      shadowed = 1;
  pthread_mutex_unlock(&lock);
  return shadowed;
}

void *chip_library_symbol(const chip_library *library, const char *name) {
  return dlsym(library->handle, name);
}

const char *chip_library_path(const chip_library *library) { return library->path; }

void chip_library_close(chip_library *library) {
  if (!library) return;
  pthread_mutex_lock(&lock);
  if (--library->holds > 0) {
    library = NULL;
  } else {
    chip_library **place = &loaded;
    while (*place != library) place = &(*place)->next;
    *place = library->next;
  }
  if (library) destroy(library); /* before another thread loads the same object again */
  pthread_mutex_unlock(&lock);
}
