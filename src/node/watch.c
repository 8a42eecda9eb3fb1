#include "node/watch.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "node/start.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER; /* of starting and ending the thread */
static uint32_t users;
static pthread_t thread;
static int events = -1;  /* an epoll: the descriptors of the children, and… */
static int closing = -1; /* … of an event: the thread ends */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows, and all that is watched */
static pthread_cond_t changed;
static node_watched *first;

/* --- The thread ----------------------------------------------------------------------------------------- */

static void take_status(node_watched *watched) {
  siginfo_t info = {0};
  int taken;
  do taken = waitid(P_PIDFD, (id_t)watched->fd, &info, WEXITED | WNOHANG);
  while (taken != 0 && errno == EINTR);
  if (taken != 0 || !info.si_pid) return;
  watched->death = info.si_code == CLD_EXITED ? NODE_DEATH_EXIT : NODE_DEATH_SIGNAL;
  watched->value = info.si_status;
}

/* An event that came before its child was removed finds it in the list no more. */
static void bury(const void *event) {
  pthread_mutex_lock(&lock);
  node_watched *watched = first;
  while (watched && watched != event) watched = watched->next;
  if (watched && !watched->over) {
    (void)epoll_ctl(events, EPOLL_CTL_DEL, watched->fd, NULL);
    take_status(watched);
    watched->died(watched->context);
    watched->over = 1;
    pthread_cond_broadcast(&changed);
  }
  pthread_mutex_unlock(&lock);
}

static void *watch(void *unused) {
  (void)unused;
  for (;;) {
    struct epoll_event event;
    if (epoll_wait(events, &event, 1, -1) != 1) continue; /* a signal */
    if (!event.data.ptr) return NULL;
    bury(event.data.ptr);
  }
}

/* --- Its life; users_lock is held ----------------------------------------------------------------------- */

static void close_descriptors(void) {
  if (closing >= 0) close(closing);
  if (events >= 0) close(events);
  closing = events = -1;
}

/* 0 or an errno. */
static int open_descriptors(void) {
  struct epoll_event event = {.events = EPOLLIN};
  events = base_descriptor_above_streams(epoll_create1(EPOLL_CLOEXEC));
  closing = events >= 0 ? base_descriptor_above_streams(eventfd(0, EFD_CLOEXEC)) : -1;
  if (closing >= 0 && epoll_ctl(events, EPOLL_CTL_ADD, closing, &event) == 0) return 0;
  int failure = errno;
  close_descriptors();
  return failure;
}

static baton_status refuse(int failure, const char *what, baton_error *err) {
  baton_status status = base_cause_status(failure, BATON_IO_ERROR);
  baton_error_set(err, status, "%s cannot be watched", what);
  baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  if (failure == ENOSYS || failure == EPERM)
    baton_error_text(
        err, BATON_FIELD_HINT,
        "it takes Linux 5.3 or later, and a sandbox that allows pidfd_open; or use thread isolation");
  return status;
}

static baton_status start(baton_error *err) {
  pthread_condattr_t monotonic;
  int failure = open_descriptors();
  if (failure) return refuse(failure, "children", err);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  baton_status status = node_thread_start(&thread, "node-children", watch, NULL, err);
  if (status == BATON_OK) return BATON_OK;
  pthread_cond_destroy(&changed);
  close_descriptors();
  return status;
}

static void stop(void) {
  (void)eventfd_write(closing, 1);
  pthread_join(thread, NULL);
  pthread_cond_destroy(&changed);
  close_descriptors();
}

static baton_status use(baton_error *err) {
  pthread_mutex_lock(&users_lock);
  baton_status status = users == 0 ? start(err) : BATON_OK;
  if (status == BATON_OK) users++;
  pthread_mutex_unlock(&users_lock);
  return status;
}

static void unuse(void) {
  pthread_mutex_lock(&users_lock);
  if (--users == 0) stop();
  pthread_mutex_unlock(&users_lock);
}

/* --- For endpoints -------------------------------------------------------------------------------------- */

/* 0 or an errno. */
static int begin(node_watched *watched) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = watched};
  watched->fd = base_descriptor_above_streams((int)syscall(SYS_pidfd_open, watched->pid, 0));
  if (watched->fd < 0) return errno;
  pthread_mutex_lock(&lock);
  watched->next = first;
  first = watched;
  int failure = epoll_ctl(events, EPOLL_CTL_ADD, watched->fd, &event) == 0 ? 0 : errno;
  if (failure) first = watched->next;
  pthread_mutex_unlock(&lock);
  if (failure) close(watched->fd);
  return failure;
}

baton_status node_watch_add(node_watched *watched, baton_error *err) {
  watched->death = NODE_DEATH_UNKNOWN;
  watched->value = watched->over = 0;
  BATON_TRY(use(err));
  int failure = begin(watched);
  if (!failure) return BATON_OK;
  unuse();
  return refuse(failure, "a child", err);
}

int node_watch_await(node_watched *watched, int64_t deadline) {
  struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
  pthread_mutex_lock(&lock);
  int in_time = 1;
  while (!watched->over && in_time) {
    if (deadline == INT64_MAX)
      pthread_cond_wait(&changed, &lock);
    else
      in_time = pthread_cond_timedwait(&changed, &lock, &until) == 0;
  }
  int over = watched->over;
  pthread_mutex_unlock(&lock);
  return over;
}

void node_watch_kill(node_watched *watched) {
  pthread_mutex_lock(&lock);
  if (!watched->over) (void)syscall(SYS_pidfd_send_signal, watched->fd, SIGKILL, NULL, 0);
  pthread_mutex_unlock(&lock);
}

void node_watch_remove(node_watched *watched) {
  pthread_mutex_lock(&lock);
  node_watched **link = &first;
  while (*link != watched) link = &(*link)->next;
  *link = watched->next;
  if (!watched->over) (void)epoll_ctl(events, EPOLL_CTL_DEL, watched->fd, NULL);
  pthread_mutex_unlock(&lock);
  close(watched->fd);
  unuse();
}
