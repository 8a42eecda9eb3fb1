#include "bind/script_interrupt.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "bind/bind.h"
#include <errno.h>
#include <signal.h>

/* So much may a `<close>` do after the interrupt. */
enum { CLEANUP_INSTRUCTIONS = 100000 };
/* The first hook; no calls: one of a message handler must not be ended by what it handles. */
enum { AT_ONCE = LUA_MASKLINE | LUA_MASKCOUNT };

static int interrupt_signal; /* 0: none was free */
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static _Thread_local script_interrupt *volatile current; /* of the function that this thread runs */
static _Thread_local int prepared;                       /* the thread gets the signal */

/* relaxed: whoever reads it here was sent a signal after it was set, or looks again */
static int is_asked(const script_interrupt *self) {
  return self && atomic_load_explicit(&self->asked, memory_order_relaxed);
}

static void raise_cancelled(lua_State *L, lua_Debug *where) {
  (void)where;
  if (!is_asked(current)) { /* left over: coroutines inherit hooks */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  int first = lua_gethookmask(L) != LUA_MASKCOUNT;
  lua_sethook(L, raise_cancelled, LUA_MASKCOUNT, first ? CLEANUP_INSTRUCTIONS : 1);
  bind_fail(L, BATON_CANCELLED, "the function was cancelled while it ran");
}

static void on_signal(int number) {
  int kept = errno;
  (void)number;
  script_interrupt *self = current;
  if (is_asked(self)) {
    if (self->running && lua_gethookmask(self->running) != LUA_MASKCOUNT)
      lua_sethook(self->running, raise_cancelled, AT_ONCE, 1);
    atomic_store_explicit(&self->asked, SCRIPT_SIGNALLED, memory_order_relaxed);
  }
  errno = kept;
}

/* No SA_RESTART: a read or a sleep ends, and the Lua code that called it goes on, to its end. */
static void install(void) {
  struct sigaction old, action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  for (int signal = SIGRTMIN + 4; signal <= SIGRTMAX && !interrupt_signal; signal++)
    if (sigaction(signal, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
      interrupt_signal = signal;
  if (interrupt_signal && sigaction(interrupt_signal, &action, NULL) == 0) return;
  interrupt_signal = 0;
  base_log(BASE_LOG_WARNING,
           "no real-time signal is free: Lua functions of sub workers cannot be interrupted");
}

static void prepare_thread(void) {
  sigset_t set;
  prepared = 1;
  if (!interrupt_signal) return;
  sigemptyset(&set);
  sigaddset(&set, interrupt_signal);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

baton_status script_interrupt_open(script_interrupt *self, baton_error *err) {
  *self = (script_interrupt){0};
  pthread_once(&installed, install);
  if (pthread_mutex_init(&self->lock, NULL) == 0) return BATON_OK;
  return baton_error_set(err, BATON_OUT_OF_MEMORY, "no memory for a lock");
}

void script_interrupt_close(script_interrupt *self) { pthread_mutex_destroy(&self->lock); }

/* For what waits inside Baton. */
static base_interrupt what_is_asked(void) { return is_asked(current) ? BASE_CANCEL : BASE_GO_ON; }

void script_interrupt_begin(script_interrupt *self, lua_State *L) {
  if (!prepared) prepare_thread();
  atomic_store_explicit(&self->asked, SCRIPT_GO_ON, memory_order_relaxed); /* nobody asks before `busy` */
  self->running = L;
  current = self;
  base_interrupt_watch(what_is_asked);
  pthread_mutex_lock(&self->lock);
  self->thread = pthread_self();
  self->busy = 1;
  pthread_mutex_unlock(&self->lock);
}

void script_interrupt_end(script_interrupt *self, lua_State *L) {
  pthread_mutex_lock(&self->lock);
  self->busy = 0;
  pthread_mutex_unlock(&self->lock);
  current = NULL; /* a signal that comes late finds nothing */
  base_interrupt_watch(NULL);
  if (lua_gethookmask(L)) lua_sethook(L, NULL, 0, 0);
}

void script_interrupt_ask(script_interrupt *self) {
  pthread_mutex_lock(&self->lock);
  if (self->busy) {
    int before = atomic_exchange_explicit(&self->asked, SCRIPT_ASKED, memory_order_relaxed);
    if (before != SCRIPT_ASKED && interrupt_signal) pthread_kill(self->thread, interrupt_signal);
  }
  pthread_mutex_unlock(&self->lock);
}

/* A signal before the change went to the other one. */
static lua_State *set_running(lua_State *L) {
  script_interrupt *self = current;
  if (!self) return NULL;
  lua_State *before = self->running;
  self->running = L;
  if (L && is_asked(self) && lua_gethookmask(L) != LUA_MASKCOUNT) lua_sethook(L, raise_cancelled, AT_ONCE, 1);
  return before;
}

const bind_running script_interrupt_running = {set_running};
