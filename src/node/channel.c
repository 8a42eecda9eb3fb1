#include "node/channel.h"
#include "base/descriptor.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one descriptor beside a message. */
typedef union node_control {
  struct cmsghdr header;
  char room[CMSG_SPACE(sizeof(int))];
} node_control;

int node_channel_open(int ends[2]) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  ends[0] = base_descriptor_above_streams(ends[0]);
  if (ends[0] < 0) {
    int failure = errno;
    close(ends[1]);
    return failure;
  }
  return 0;
}

int node_channel_send(int socket, const node_message *message, int fd) {
  node_message copy = *message;
  node_control control = {0};
  struct iovec bytes = {.iov_base = &copy, .iov_len = sizeof copy};
  struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
  if (fd >= 0) {
    header.msg_control = control.room;
    header.msg_controllen = sizeof control.room;
    struct cmsghdr *part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(part), &fd, sizeof fd);
  }
  ssize_t sent;
  do sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return errno == ECONNRESET ? EPIPE : errno;
  return 0;
}

static int take_descriptor(struct msghdr *header) {
  int fd = -1;
  struct cmsghdr *part = CMSG_FIRSTHDR(header);
  if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
      part->cmsg_len == CMSG_LEN(sizeof fd))
    memcpy(&fd, CMSG_DATA(part), sizeof fd);
  return fd;
}

int node_channel_receive(int socket, node_message *message, int *fd) {
  node_control control = {0};
  struct iovec bytes = {.iov_base = message, .iov_len = sizeof *message};
  struct msghdr header = {
      .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
  ssize_t received;
  do received = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  *fd = -1;
  if (received < 0) return errno == ECONNRESET ? EPIPE : errno;
  if (received == 0) return EPIPE;
  *fd = take_descriptor(&header);
  if (header.msg_flags & MSG_CTRUNC) return EMFILE;
  if (received == (ssize_t)sizeof *message && !(header.msg_flags & MSG_TRUNC)) return 0;
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return EPROTO;
}
