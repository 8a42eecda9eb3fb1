#include "device/claim.h"
#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/text.h"
#include "device/claim_file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Closing any descriptor of a file drops the locks that the process has on it: so there is one descriptor for each
** file, kept as long as anyone in the process has the claim or waits for it. */
struct device_claim {
  device_claim *next;
  const char *platform;
  uint32_t id;
  int fd;
  pid_t process;  /* that made the entry: the locks of a parent are not those of its child */
  uint32_t users; /* who have the claim or wait for it */
  uint32_t takes; /* who have it */
};

/* From one look at a busy device to the next; the pause grows from the first to the second. */
static const int64_t shortest_pause = 1000000, longest_pause = 50000000;

/* Guards what follows; not held while anyone waits. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static device_claim *claims;

/* --- The table; `lock` is held -------------------------------------------------------------------------- */

static device_claim *find(const char *platform, uint32_t id) {
  pid_t process = getpid();
  device_claim *claim = claims;
  while (claim && (claim->id != id || claim->process != process || strcmp(claim->platform, platform) != 0))
    claim = claim->next;
  return claim;
}

static baton_status make(const char *platform, uint32_t id, device_claim **out, baton_error *err) {
  device_claim *claim = base_calloc(1, sizeof *claim);
  if (!claim) return base_out_of_memory(err, "the claim on a device");
  baton_status status = device_claim_file_open(platform, id, &claim->fd, err);
  if (status != BATON_OK) {
    base_free(claim);
    return status;
  }
  claim->platform = platform;
  claim->id = id;
  claim->process = getpid();
  claim->next = claims;
  *out = claims = claim;
  return BATON_OK;
}

static void leave(device_claim *claim) {
  if (--claim->users) return;
  device_claim **link = &claims;
  while (*link != claim) link = &(*link)->next;
  *link = claim->next;
  close(claim->fd);
  base_free(claim);
}

/* --- The lock of the kernel ----------------------------------------------------------------------------- */

static struct flock whole_file(int type) {
  return (struct flock){.l_type = (short)type, .l_whence = SEEK_SET};
}

/* True if another process has the lock; *process is 0 if it cannot be seen from here, as in another container. */
static int is_locked(int fd, pid_t *process) {
  struct flock found = whole_file(F_WRLCK);
  *process = 0;
  if (fcntl(fd, F_GETLK, &found) != 0) return 1;
  if (found.l_type != F_UNLCK && found.l_pid > 0) *process = found.l_pid;
  return found.l_type != F_UNLCK;
}

/* *taken says whether this process has the device now. */
static baton_status try_take(device_claim *claim, int *taken, baton_error *err) {
  struct flock wanted = whole_file(F_WRLCK);
  *taken = claim->takes || fcntl(claim->fd, F_SETLK, &wanted) == 0;
  if (*taken)
    claim->takes++;
  else if (errno != EACCES && errno != EAGAIN)
    return device_claim_file_error(claim->platform, claim->id, errno, err);
  return BATON_OK;
}

/* --- Waiting -------------------------------------------------------------------------------------------- */

static baton_status refuse(const device_claim *claim, pid_t owner, double seconds, baton_error *err) {
  char process[32] = "another process", waited[64] = "";
  if (owner) snprintf(process, sizeof process, "process %d", (int)owner);
  if (base_interrupt_asked() != BASE_GO_ON)
    return baton_error_set(err, BATON_CANCELLED, "device %u of %s: the wait for %s was interrupted",
                           claim->id, claim->platform, process);
  if (seconds > 0) base_print(waited, sizeof waited, ", also after %g s", seconds);
  baton_error_set(err, BATON_DEVICE_BUSY, "device %u of %s is in use by %s%s", claim->id, claim->platform,
                  process, waited);
  baton_error_text(err, BATON_FIELD_HINT, "wait %s for it with wait_device, or take another device",
                   seconds > 0 ? "longer" : "some seconds");
  return BATON_DEVICE_BUSY;
}

/* A signal ends the pause early, so that an interrupt is noticed at once. */
static void pause_until(int64_t moment) {
  struct timespec until = {.tv_sec = moment / 1000000000, .tv_nsec = moment % 1000000000};
  (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* With `lock` held, but not while it sleeps: other threads of this process go on. */
static baton_status await(device_claim *claim, double seconds, baton_error *err) {
  int64_t deadline = base_deadline(seconds), pause = shortest_pause;
  for (;;) {
    int taken;
    pid_t owner;
    BATON_TRY(try_take(claim, &taken, err));
    if (taken) return BATON_OK;
    if (!is_locked(claim->fd, &owner)) continue; /* just given back */
    int64_t now = base_now();
    if (now >= deadline || base_interrupt_asked() != BASE_GO_ON) return refuse(claim, owner, seconds, err);
    pthread_mutex_unlock(&lock);
    pause_until(deadline - now < pause ? deadline : now + pause);
    if (pause < longest_pause) pause *= 2;
    pthread_mutex_lock(&lock);
  }
}

/* --- For device.c --------------------------------------------------------------------------------------- */

baton_status device_claim_take(const char *platform, uint32_t id, double seconds, device_claim **out,
                               baton_error *err) {
  *out = NULL;
  baton_status status = BATON_OK;
  pthread_mutex_lock(&lock);
  device_claim *claim = find(platform, id);
  if (!claim) status = make(platform, id, &claim, err);
  if (status == BATON_OK) {
    claim->users++;
    status = await(claim, seconds, err);
    if (status == BATON_OK)
      *out = claim;
    else
      leave(claim);
  }
  pthread_mutex_unlock(&lock);
  return status;
}

void device_claim_give(device_claim *claim) {
  struct flock none = whole_file(F_UNLCK);
  if (!claim || claim->process != getpid()) return;
  pthread_mutex_lock(&lock);
  if (--claim->takes == 0)
    (void)fcntl(claim->fd, F_SETLK, &none); /* a thread may still wait with the file open */
  leave(claim);
  pthread_mutex_unlock(&lock);
}

int32_t device_claim_owner(const char *platform, uint32_t id) {
  pid_t owner = 0;
  pthread_mutex_lock(&lock);
  device_claim *claim = find(platform, id);
  int fd = claim ? claim->fd : device_claim_file_find(platform, id);
  if (claim && claim->takes)
    owner = getpid();
  else if (fd >= 0)
    (void)is_locked(fd, &owner);
  if (!claim && fd >= 0) close(fd);
  pthread_mutex_unlock(&lock);
  return (int32_t)owner;
}
