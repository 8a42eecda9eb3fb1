#include "device/claim_file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  FOLDER_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
  FILE_FLAGS = O_RDWR | O_NOFOLLOW | O_CLOEXEC,
  FILE_MODE = S_ISVTX | S_IRUSR | S_IWUSR /* sticky: those who tidy up runtime directories leave it alone */
};

typedef struct claim_folder {
  char path[PATH_MAX];
} claim_folder;

/* An absolute path to a directory of this user; others must not decide what is in it. */
static int is_own_directory(const char *path) {
  struct stat found;
  return path && path[0] == '/' && stat(path, &found) == 0 && S_ISDIR(found.st_mode) &&
         found.st_uid == geteuid();
}

/* False if the path is too long. */
static int name_folder(claim_folder *folder) {
  const char *runtime = getenv("XDG_RUNTIME_DIR"), *temporary = getenv("TMPDIR");
  int length;
  if (is_own_directory(runtime)) {
    length = snprintf(folder->path, sizeof folder->path, "%s/baton", runtime);
  } else {
    if (!temporary || temporary[0] != '/') temporary = "/tmp";
    length = snprintf(folder->path, sizeof folder->path, "%s/baton-%u", temporary, (unsigned)geteuid());
  }
  return length > 0 && (size_t)length < sizeof folder->path;
}

/* A descriptor of the folder; -1 with errno, which is EPERM for a folder that is not private. */
static int open_folder(const char *path, int make) {
  int fd = open(path, FOLDER_FLAGS);
  if (fd < 0 && errno == ENOENT && make && (mkdir(path, S_IRWXU) == 0 || errno == EEXIST))
    fd = open(path, FOLDER_FLAGS);
  struct stat found;
  if (fd < 0 ||
      (fstat(fd, &found) == 0 && found.st_uid == geteuid() && !(found.st_mode & (S_IRWXG | S_IRWXO))))
    return fd;
  close(fd);
  errno = EPERM;
  return -1;
}

/* -1 with errno. */
static int open_file(const claim_folder *folder, const char *platform, uint32_t id, int make) {
  char name[NAME_MAX];
  int directory = open_folder(folder->path, make);
  if (directory < 0) return -1;
  snprintf(name, sizeof name, "%s.%u", platform, id);
  int fd = openat(directory, name, make ? FILE_FLAGS | O_CREAT : FILE_FLAGS, FILE_MODE);
  int cause = errno;
  close(directory);
  errno = cause;
  return fd;
}

static baton_status refuse_folder(const char *platform, uint32_t id, const claim_folder *folder, int cause,
                                  baton_error *err) {
  char text[128];
  int foreign = cause == EPERM || cause == ENOTDIR || cause == ELOOP;
  const char *why =
      foreign ? "it is no private directory of this user" : strerror_r(cause, text, sizeof text);
  baton_error_set(err, BATON_IO_ERROR, "device %u of %s cannot be claimed in %s: %s", id, platform,
                  folder->path, why);
  baton_error_text(err, BATON_FIELD_HINT, "set XDG_RUNTIME_DIR to a directory of yours that can be written");
  baton_error_text(err, BATON_FIELD_PATH, "%s", folder->path);
  return BATON_IO_ERROR;
}

baton_status device_claim_file_error(const char *platform, uint32_t id, int number, baton_error *err) {
  claim_folder folder;
  char text[128];
  if (number == EMFILE || number == ENFILE || number == ENOLCK) {
    baton_error_set(err, BATON_RESOURCE_LIMIT, "device %u of %s cannot be claimed: %s", id, platform,
                    strerror_r(number, text, sizeof text));
    if (number == EMFILE)
      baton_error_text(err, BATON_FIELD_HINT, "close files, or raise the limit of the process (ulimit -n)");
    return BATON_RESOURCE_LIMIT;
  }
  if (!name_folder(&folder)) number = ENAMETOOLONG;
  return refuse_folder(platform, id, &folder, number, err);
}

baton_status device_claim_file_open(const char *platform, uint32_t id, int *fd, baton_error *err) {
  claim_folder folder;
  *fd = -1;
  errno = ENAMETOOLONG;
  if (name_folder(&folder)) *fd = open_file(&folder, platform, id, 1);
  return *fd < 0 ? device_claim_file_error(platform, id, errno, err) : BATON_OK;
}

int device_claim_file_find(const char *platform, uint32_t id) {
  claim_folder folder;
  return name_folder(&folder) ? open_file(&folder, platform, id, 0) : -1;
}
