#include "node/start.h"
#include <signal.h>
#include <string.h>

static void block_signals(sigset_t *before) {
  static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t blocked;
  sigfillset(&blocked);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&blocked, own[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, before);
}

baton_status node_thread_start(pthread_t *thread, const char *name, void *(*entry)(void *), void *argument,
                               baton_error *err) {
  sigset_t before;
  block_signals(&before);
  int failure = pthread_create(thread, NULL, entry, argument);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure) {
    baton_error_set(err, BATON_RESOURCE_LIMIT, "thread %s of a node could not start", name);
    baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
    return BATON_RESOURCE_LIMIT;
  }
  pthread_setname_np(*thread, name);
  return BATON_OK;
}
