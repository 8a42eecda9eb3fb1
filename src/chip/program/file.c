#include "chip/program/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

/* A regular file, open for reading; -1 and errno if it is none: a pipe would never end. */
static int open_regular(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  struct stat status;
  int cause = fstat(fd, &status) != 0   ? errno
              : S_ISREG(status.st_mode) ? 0
              : S_ISDIR(status.st_mode) ? EISDIR
                                        : EINVAL;
  if (cause == 0) return fd;
  close(fd);
  errno = cause;
  return -1;
}

static ssize_t read_some(int fd, void *buffer, size_t size) {
  ssize_t got;
  do {
    got = read(fd, buffer, size);
  } while (got < 0 && errno == EINTR);
  return got;
}

int chip_file_read(const char *path, chip_text *text) {
  int fd = open_regular(path);
  if (fd < 0) return errno;
  char chunk[CHUNK];
  ssize_t got;
  while ((got = read_some(fd, chunk, sizeof chunk)) > 0) chip_text_add_bytes(text, chunk, (size_t)got);
  int cause = got < 0 ? errno : text->failed ? ENOMEM : 0;
  close(fd);
  return cause;
}

int chip_file_hash(const char *path, base_digest *out) {
  int fd = open_regular(path);
  if (fd < 0) return errno;
  base_hasher *hasher = base_hasher_open();
  char chunk[CHUNK];
  ssize_t got;
  while ((got = read_some(fd, chunk, sizeof chunk)) > 0) base_hasher_add(hasher, chunk, (size_t)got);
  int cause = got < 0 ? errno : 0;
  close(fd);
  if (!base_hasher_end(hasher, out) && cause == 0) cause = ENOMEM;
  return cause;
}

static int write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    data += written;
    size -= (size_t)written;
  }
  return 0;
}

int chip_file_write(const char *path, const void *data, size_t size) {
  chip_text temporary = {0};
  chip_text_add(&temporary, "%s.XXXXXX", path);
  if (temporary.failed) {
    chip_text_free(&temporary);
    return ENOMEM;
  }
  int fd = mkostemp(temporary.data, O_CLOEXEC), cause = fd < 0 ? errno : 0;
  if (fd >= 0) {
    cause = write_all(fd, data, size);
    if (close(fd) != 0 && cause == 0) cause = errno; /* a network file system reports a full disk here */
    if (cause == 0 && rename(temporary.data, path) != 0) cause = errno;
    if (cause != 0) unlink(temporary.data);
  }
  chip_text_free(&temporary);
  return cause;
}

int chip_file_make_directory(const char *path) {
  if (mkdir(path, 0700) == 0) return 0;
  if (errno == EEXIST) {
    struct stat status;
    if (stat(path, &status) != 0) return errno;
    return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
  }
  const char *slash = strrchr(path, '/');
  if (errno != ENOENT || !slash || slash == path) return errno;
  chip_text parent = {0};
  chip_text_add(&parent, "%.*s", (int)(slash - path), path);
  int cause = parent.failed ? ENOMEM : chip_file_make_directory(parent.data);
  chip_text_free(&parent);
  if (cause != 0) return cause;
  return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

void chip_file_remove_directory(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) return;
  struct dirent *entry;
  while ((entry = readdir(directory)))
    unlinkat(dirfd(directory), entry->d_name, 0); /* refuses "." and ".." */
  closedir(directory);
  rmdir(path);
}

int chip_file_temporary_directory(chip_text *path) {
  const char *parent = getenv("TMPDIR");
  chip_text_add(path, "%s/baton.XXXXXX", parent && parent[0] == '/' ? parent : "/tmp");
  if (path->failed) return ENOMEM;
  return mkdtemp(path->data) ? 0 : errno;
}

void chip_file_join(chip_text *out, const char *directory, const char *path) {
  if (path[0] == '/' || !directory)
    chip_text_add(out, "%s", path);
  else
    chip_text_add(out, "%s/%s", directory, path);
}
