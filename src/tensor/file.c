#include "tensor/file.h"
#include "base/atomic.h"
#include "base/cause.h"
#include "base/memory.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AT_ONCE = 1 << 30 }; /* the most that one read or write is asked for */

/* --- Errors --------------------------------------------------------------------------------------------- */

static baton_status io_error(baton_error *err, const char *path, const char *what, int number) {
  char text[128];
  baton_status status = base_cause_status(number, BATON_IO_ERROR);
  baton_error_set(err, status, "%s: cannot %s: %s", path, what, strerror_r(number, text, sizeof text));
  baton_error_text(err, BATON_FIELD_PATH, "%s", path);
  return status;
}

baton_status tensor_bad_file(baton_error *err, const char *path, const char *fmt, ...) {
  char sentence[512];
  va_list values;
  va_start(values, fmt);
  base_vprint(sentence, sizeof sentence, fmt, values);
  va_end(values);
  baton_error_set(err, BATON_BAD_FILE, "%s: %s", path, sentence);
  baton_error_text(err, BATON_FIELD_PATH, "%s", path);
  return BATON_BAD_FILE;
}

/* --- Reading -------------------------------------------------------------------------------------------- */

baton_status tensor_file_read(tensor_file *file, void *to, size_t size, int64_t offset, baton_error *err) {
  char *at = to;
  while (size > 0) {
    ssize_t got = pread(file->descriptor, at, size < AT_ONCE ? size : AT_ONCE, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(err, file->source.path, "read", errno);
    if (got == 0)
      return tensor_bad_file(err, file->source.path, "offset %" PRId64 ": the file ends here", offset);
    at += got;
    offset += got;
    size -= (size_t)got;
  }
  return BATON_OK;
}

static baton_status read_on(tensor_source *source, void *to, size_t size, baton_error *err) {
  BATON_TRY(tensor_file_read((tensor_file *)(void *)source, to, size, source->at, err));
  source->at += (int64_t)size;
  return BATON_OK;
}

baton_status tensor_file_open(tensor_file *file, const char *path, baton_error *err) {
  struct stat status;
  *file = (tensor_file){.source = {.read = read_on, .path = path}};
  /* without O_NONBLOCK a pipe that nobody writes would block here */
  file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->descriptor < 0) return io_error(err, path, "open", errno);
  int failed = fstat(file->descriptor, &status) ? errno : S_ISDIR(status.st_mode) ? EISDIR : 0;
  if (!failed && S_ISREG(status.st_mode)) {
    file->source.size = status.st_size;
    return BATON_OK;
  }
  tensor_file_close(file);
  return failed ? io_error(err, path, "read", failed)
                : baton_error_set(err, BATON_IO_ERROR, "%s: is not a regular file", path);
}

void tensor_file_close(tensor_file *file) { close(file->descriptor); }

/* --- Writing -------------------------------------------------------------------------------------------- */

/* Returns 0 or errno. */
static int write_all(int descriptor, const tensor_piece *piece) {
  const char *at = piece->data;
  for (size_t left = piece->size; left > 0;) {
    ssize_t written = write(descriptor, at, left < AT_ONCE ? left : AT_ONCE);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    at += written;
    left -= (size_t)written;
  }
  return 0;
}

/* Writes, syncs where `sync`, and closes. Returns 0 or errno; *what names the step that failed. */
static int write_and_close(int descriptor, const tensor_piece *pieces, int count, int sync,
                           const char **what) {
  int failed = 0;
  *what = "write";
  for (int i = 0; i < count && !failed; i++) failed = write_all(descriptor, &pieces[i]);
  if (!failed && sync && fsync(descriptor)) failed = errno;
  if (close(descriptor) && !failed) failed = errno;
  return failed;
}

/* A new file beside `path`, with the rights that the umask leaves; its name is written into `name`. */
static int create_beside(const char *path, char *name, size_t size) {
  static _Atomic unsigned counter;
  for (int tries = 0; tries < 100; tries++) {
    snprintf(name, size, "%s.%ld-%u.tmp", path, (long)getpid(), counter++);
    int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

static baton_status replace_file(const char *path, const tensor_piece *pieces, int count, baton_error *err) {
  const char *what = "create";
  size_t size = strlen(path) + 48;
  char *name = base_alloc(size);
  if (!name) return base_out_of_memory(err, "a file name");
  int descriptor = create_beside(path, name, size), failed = descriptor < 0 ? errno : 0;
  if (!failed) {
    failed = write_and_close(descriptor, pieces, count, 1, &what);
    if (!failed && rename(name, path)) {
      failed = errno;
      what = "create";
    }
    if (failed) unlink(name);
  }
  base_free(name);
  return failed ? io_error(err, path, what, failed) : BATON_OK;
}

static baton_status write_directly(const char *path, const tensor_piece *pieces, int count,
                                   baton_error *err) {
  const char *what;
  int descriptor = open(path, O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return io_error(err, path, "open", errno);
  int failed = write_and_close(descriptor, pieces, count, 0, &what);
  return failed ? io_error(err, path, what, failed) : BATON_OK;
}

baton_status tensor_file_write(const char *path, const tensor_piece *pieces, int count, baton_error *err) {
  struct stat status;
  int exists = stat(path, &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) return io_error(err, path, "write", EISDIR);
  if (exists && !S_ISREG(status.st_mode)) return write_directly(path, pieces, count, err);
  char *target = exists ? realpath(path, NULL) : NULL; /* a link stays, and what it points at is replaced */
  baton_status written = replace_file(target ? target : path, pieces, count, err);
  free(target);
  return written;
}
