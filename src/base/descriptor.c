#include "base/descriptor.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int base_descriptor_above_streams(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), failure = errno;
  close(fd);
  errno = failure;
  return moved;
}
