#include "base/dump.h"
#include "base/atomic.h"
#include "base/log.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* --- The list ------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static base_dumpable *oldest, *newest; /* lock */

static void listen_if_asked(void);

void base_dumpable_add(base_dumpable *dumpable) {
  pthread_mutex_lock(&lock);
  if (!dumpable->listed) {
    dumpable->listed = 1;
    dumpable->newer = NULL;
    dumpable->older = newest;
    *(newest ? &newest->newer : &oldest) = dumpable;
    newest = dumpable;
  }
  pthread_mutex_unlock(&lock);
  listen_if_asked();
}

void base_dumpable_remove(base_dumpable *dumpable) {
  pthread_mutex_lock(&lock);
  if (dumpable->listed) {
    *(dumpable->newer ? &dumpable->newer->older : &newest) = dumpable->older;
    *(dumpable->older ? &dumpable->older->newer : &oldest) = dumpable->newer;
    dumpable->listed = 0;
  }
  pthread_mutex_unlock(&lock);
}

/* --- Writing -------------------------------------------------------------------------------------------- */

/* Without stdio: the thread that the signal has found may be inside it. */
static void write_all(const char *text, size_t size) {
  while (size) {
    ssize_t written = write(STDERR_FILENO, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text += written;
    size -= (size_t)written;
  }
}

/* It may grow between two looks. */
static void write_one(const base_dumpable *dumpable) {
  for (size_t room = dumpable->dump(dumpable->of, NULL, 0) + 1;;) {
    char *text = base_alloc(room);
    if (!text) return;
    size_t length = dumpable->dump(dumpable->of, text, room);
    if (length < room) write_all(text, length);
    base_free(text);
    if (length < room) return;
    room = length + length / 2 + 1;
  }
}

static const char none[] = "baton: no worker is open\n";

static void write_dumps(void) {
  pthread_mutex_lock(&lock);
  if (!oldest) write_all(none, sizeof none - 1);
  for (const base_dumpable *dumpable = oldest; dumpable; dumpable = dumpable->newer) write_one(dumpable);
  pthread_mutex_unlock(&lock);
}

/* --- The signal ----------------------------------------------------------------------------------------- */

static pthread_mutex_t signal_lock = PTHREAD_MUTEX_INITIALIZER;
static int asked;                /* signal_lock: the signal; 0: none */
static int pipes[2];             /* from the handler to the thread */
static _Atomic int is_listening; /* there is a thread: from the first worker on */

/* A full pipe holds enough of them. */
static void on_signal(int number) {
  int kept = errno, listening = atomic_load_explicit(&is_listening, memory_order_relaxed);
  (void)number;
  ssize_t ignored = listening ? write(pipes[1], "", 1) : write(STDERR_FILENO, none, sizeof none - 1);
  (void)ignored;
  errno = kept;
}

static void *listen(void *nothing) {
  char bytes[64]; /* several signals at once are one */
  for (;;) {
    ssize_t count = read(pipes[0], bytes, sizeof bytes);
    if (count > 0) write_dumps();
    if (count == 0 || (count < 0 && errno != EINTR)) return nothing;
  }
}

/* A thread that takes no signals. */
static int start_thread(void) {
  pthread_t thread;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failure = pthread_create(&thread, NULL, listen, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!failure) pthread_detach(thread);
  return failure;
}

static void listen_if_asked(void) {
  pthread_mutex_lock(&signal_lock);
  if (asked && !atomic_load_explicit(&is_listening, memory_order_relaxed)) {
    int failure = start_thread();
    if (failure) base_log(BASE_LOG_WARNING, "no thread for dumps: %s", strerror(failure));
    atomic_store_explicit(&is_listening, !failure, memory_order_relaxed);
  }
  pthread_mutex_unlock(&signal_lock);
}

static baton_status install(int number, baton_error *err) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK}, before;
  sigemptyset(&action.sa_mask);
  if (sigaction(number, NULL, &before) || before.sa_flags & SA_SIGINFO || before.sa_handler != SIG_DFL)
    return baton_error_set(err, BATON_STATE, "signal %d has another use in this process", number);
  if (pipe2(pipes, O_CLOEXEC))
    return baton_error_set(err, BATON_RESOURCE_LIMIT, "no pipe for signal %d: %s", number, strerror(errno));
  (void)fcntl(pipes[1], F_SETFL, O_NONBLOCK);
  sigaction(number, &action, NULL);
  asked = number;
  return BATON_OK;
}

baton_status base_dump_on_signal(int number, baton_error *err) {
  pthread_mutex_lock(&signal_lock);
  baton_status status = asked == number ? BATON_OK : install(number, err);
  pthread_mutex_unlock(&signal_lock);
  pthread_mutex_lock(&lock);
  int late = oldest != NULL;
  pthread_mutex_unlock(&lock);
  if (late) listen_if_asked();
  return status;
}
