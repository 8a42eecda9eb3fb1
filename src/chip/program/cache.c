#include "chip/program/cache.h"
#include "base/cause.h"
#include "base/log.h"
#include "base/memory.h"
#include "chip/program/file.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char manifest_head[] = "baton manifest 1\n";

void chip_build_free(chip_build *build) {
  chip_text_free(&build->object);
  chip_list_free(&build->dependencies);
}

/* ---- where ---- */

/* The user's folder; an empty text if the environment names none. */
static void shared_folder(chip_text *out) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (cache && cache[0] == '/')
    chip_text_add(out, "%s/baton", cache);
  else if (home && home[0] == '/')
    chip_text_add(out, "%s/.cache/baton", home);
}

/* The folder of this process, made when the shared one failed for the first time; from then on new objects
** go here. */
static struct {
  pthread_mutex_t lock;
  chip_text folder;
  pid_t owner;
} fallback = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void remove_fallback(void) {
  if (fallback.owner == getpid()) chip_file_remove_directory(fallback.folder.data);
  chip_text_free(&fallback.folder);
}

/* Copies the path of the private folder; false if there is none yet. */
static int fallback_folder(chip_text *out) {
  pthread_mutex_lock(&fallback.lock);
  int made = fallback.folder.length > 0;
  if (made) chip_text_add(out, "%s", fallback.folder.data);
  pthread_mutex_unlock(&fallback.lock);
  return made;
}

static void announce_fallback(const char *shared, int cause) {
  const char *folder = fallback.folder.data;
  if (shared)
    base_log(BASE_LOG_NOTE, "the compile cache %s cannot be written (%s); using %s for this process", shared,
             strerror(cause), folder);
  else
    base_log(
        BASE_LOG_NOTE,
        "neither HOME nor XDG_CACHE_HOME names a folder for the compile cache; using %s for this process",
        folder);
}

/* Makes the private folder unless another thread did so. 0, or errno. */
static int make_fallback(const char *shared, int cause) {
  int failed = 0;
  pthread_mutex_lock(&fallback.lock);
  if (fallback.folder.length == 0) {
    chip_text folder = {0};
    failed = chip_file_temporary_directory(&folder);
    if (failed) {
      chip_text_free(&folder);
    } else {
      fallback.folder = folder;
      fallback.owner = getpid();
      atexit(remove_fallback);
      announce_fallback(shared, cause);
    }
  }
  pthread_mutex_unlock(&fallback.lock);
  return failed;
}

static void name_object(chip_text *out, const char *folder, const base_digest *digest) {
  char name[BASE_DIGEST_TEXT];
  base_digest_text(digest, name);
  chip_text_add(out, "%s/%s.so", folder, name);
}

static void name_manifest(chip_text *out, const char *folder, const base_digest *key) {
  char name[BASE_DIGEST_TEXT];
  base_digest_text(key, name);
  chip_text_add(out, "%s/%s.manifest", folder, name);
}

/* ---- finding ---- */

/* True if the file's content still has this digest. */
static int is_intact(const char *path, const base_digest *digest) {
  base_digest now;
  return chip_file_hash(path, &now) == 0 && memcmp(&now, digest, sizeof now) == 0;
}

static int hex_value(char digit) {
  return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static int parse_digest(const char *text, base_digest *out) {
  for (int i = 0; i < BASE_DIGEST_SIZE; i++) {
    int high = hex_value(text[2 * i]), low = high < 0 ? -1 : hex_value(text[2 * i + 1]);
    if (low < 0) return 0;
    out->bytes[i] = (uint8_t)(high << 4 | low);
  }
  return 1;
}

/* One line "DIGEST REST"; REST ends with a zero afterwards. NULL if it is none. */
static char *parse_line(char *line, base_digest *digest, char **rest) {
  char *end = strchr(line, '\n');
  if (!end || end - line < BASE_DIGEST_TEXT || line[BASE_DIGEST_TEXT - 1] != ' ' ||
      !parse_digest(line, digest))
    return NULL;
  *end = 0;
  *rest = line + BASE_DIGEST_TEXT;
  return end + 1;
}

/* The object's digest, if every file that the manifest lists is as it was. The last line says "end": a cut
** manifest would forget files. */
static int check_manifest(char *text, base_digest *digest) {
  base_digest expected;
  char *rest, *line = text + strlen(manifest_head);
  if (strncmp(text, manifest_head, strlen(manifest_head)) != 0) return 0;
  line = parse_line(line, digest, &rest);
  while (line && strcmp(line, "end\n") != 0) {
    line = parse_line(line, &expected, &rest);
    if (line && !is_intact(rest, &expected)) return 0;
  }
  return line != NULL;
}

static int find_in(const char *folder, const base_digest *key, base_digest *digest, chip_text *path) {
  chip_text name = {0}, manifest = {0};
  name_manifest(&name, folder, key);
  int found = !name.failed && chip_file_read(name.data, &manifest) == 0 && manifest.length > 0 &&
              check_manifest(manifest.data, digest);
  chip_text_free(&name);
  chip_text_free(&manifest);
  if (!found) return 0;
  name_object(path, folder, digest);
  if (!path->failed && is_intact(path->data, digest)) return 1;
  chip_text_free(path);
  return 0;
}

int chip_cache_find(const base_digest *key, base_digest *digest, chip_text *path) {
  chip_text folder = {0};
  shared_folder(&folder);
  int found = folder.length > 0 && find_in(folder.data, key, digest, path);
  chip_text_free(&folder);
  if (!found && fallback_folder(&folder)) found = !folder.failed && find_in(folder.data, key, digest, path);
  chip_text_free(&folder);
  return found;
}

/* ---- storing ---- */

static int is_later(const struct timespec *a, const struct timespec *b) {
  return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* One line of the manifest; false if the file cannot be vouched for. */
static int add_dependency(const char *path, const struct timespec *begun, chip_text *manifest) {
  struct stat status;
  base_digest digest;
  char text[BASE_DIGEST_TEXT];
  if (strchr(path, '\n') || chip_file_hash(path, &digest) != 0 || stat(path, &status) != 0) return 0;
  if (is_later(&status.st_mtim, begun) || is_later(&status.st_ctim, begun)) return 0;
  base_digest_text(&digest, text);
  chip_text_add(manifest, "%s %s\n", text, path);
  return 1;
}

/* False if the compilation cannot be vouched for: it then gets no manifest. */
static int write_manifest(const chip_build *build, const base_digest *digest, chip_text *manifest) {
  char text[BASE_DIGEST_TEXT];
  base_digest_text(digest, text);
  chip_text_add(manifest, "%s%s object\n", manifest_head, text);
  for (size_t i = 0; i < build->dependencies.count; i++)
    if (!add_dependency(build->dependencies.items[i], &build->begun, manifest)) return 0;
  chip_text_add(manifest, "end\n");
  return !manifest->failed;
}

/* 0, or errno. */
static int store_in(const char *folder, const base_digest *key, const chip_text *manifest,
                    const chip_text *object, const base_digest *digest, chip_text *path) {
  chip_text name = {0};
  int cause = chip_file_make_directory(folder);
  name_object(path, folder, digest);
  if (key) name_manifest(&name, folder, key);
  if (cause == 0 && (path->failed || name.failed)) cause = ENOMEM;
  if (cause == 0) cause = chip_file_write(path->data, object->data, object->length);
  if (cause == 0 && key) cause = chip_file_write(name.data, manifest->data, manifest->length);
  if (cause != 0) chip_text_free(path);
  chip_text_free(&name);
  return cause;
}

/* Stores in the shared folder, or from the first failure there on in the private one. 0, or errno. */
static int store_somewhere(const base_digest *key, const chip_text *manifest, const chip_text *object,
                           const base_digest *digest, chip_text *path) {
  chip_text folder = {0};
  if (!fallback_folder(&folder)) {
    shared_folder(&folder);
    int cause = folder.failed        ? ENOMEM
                : folder.length == 0 ? ENOENT
                                     : store_in(folder.data, key, manifest, object, digest, path);
    /* a limit of this process says nothing about the folder */
    int failed = base_cause_status(cause, BATON_OK) != BATON_OK ? cause : 0;
    if (cause != 0 && failed == 0) failed = make_fallback(folder.data, cause);
    chip_text_free(&folder);
    if (cause == 0 || failed != 0) return failed;
    fallback_folder(&folder);
  }
  int cause = folder.failed ? ENOMEM : store_in(folder.data, key, manifest, object, digest, path);
  chip_text_free(&folder);
  return cause;
}

static baton_status store(const base_digest *key, const chip_text *manifest, const chip_text *object,
                          const base_digest *digest, chip_text *path, baton_error *err) {
  int cause = store_somewhere(key, manifest, object, digest, path);
  if (cause == 0) return BATON_OK;
  if (cause == ENOMEM) return base_out_of_memory(err, "the compile cache");
  return baton_error_set(err, base_cause_status(cause, BATON_IO_ERROR),
                         "no folder takes a compiled kernel: %s", strerror(cause));
}

baton_status chip_cache_store(const base_digest *key, const chip_build *build, base_digest *digest,
                              chip_text *path, baton_error *err) {
  if (!base_hash(build->object.data, build->object.length, digest))
    return base_out_of_memory(err, "a digest");
  chip_text manifest = {0};
  int vouched = write_manifest(build, digest, &manifest);
  baton_status status = store(vouched ? key : NULL, &manifest, &build->object, digest, path, err);
  chip_text_free(&manifest);
  return status;
}

baton_status chip_cache_store_object(const chip_text *object, base_digest *digest, chip_text *path,
                                     baton_error *err) {
  if (!base_hash(object->data, object->length, digest)) return base_out_of_memory(err, "a digest");
  return store(NULL, NULL, object, digest, path, err);
}
