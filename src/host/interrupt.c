#include "host/interrupt.h"

#include "base/clock.h"
#include "base/interrupt.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>
#include <unistd.h>

/* What follows the first interrupt runs this many instructions more: enough for a `<close>` to clean up. Then every
** instruction is interrupted, so that no loop around pcall goes on. */
enum { CLEANUP_INSTRUCTIONS = 100000 };
/* The first hook; no calls: one of a message handler must not put "interrupted!" in the place of the error it handles. */
enum { AT_ONCE = LUA_MASKLINE | LUA_MASKCOUNT };

static const int64_t together = 2000000000; /* ns from one press to the next that counts as its repetition */

static lua_State *volatile running; /* what a signal interrupts */
static volatile sig_atomic_t patience, pending, series, reading, expired;
static pthread_t main_thread;
static volatile int64_t latest; /* the handler's own */

int host_interrupted(void) { return pending > 0; }
void host_clear_interrupt(void) { pending = 0; }
int host_interrupt_series(void) { return series; }
void host_interrupt_reading(int now) { reading = now; }

static base_interrupt asked(void) {
  return pending == 0 ? BASE_GO_ON : pending == 1 ? BASE_CANCEL : BASE_ABANDON;
}

static void raise_interrupt(lua_State *L, lua_Debug *where) {
  (void)where;
  if (!pending &&
      !expired) { /* left over from an interrupt that has been dealt with: coroutines inherit hooks */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  int first = lua_gethookmask(L) != LUA_MASKCOUNT;
  lua_sethook(L, raise_interrupt, LUA_MASKCOUNT, first ? CLEANUP_INSTRUCTIONS : 1);
  luaL_error(L, pending ? "interrupted!" : "the deadline has passed");
}

/* True on the main thread. Another thread that does not block the signal may get it while the main thread does, which then
** sleeps on: it hands the signal over. */
static int is_ours(int number) {
  if (pthread_equal(pthread_self(), main_thread)) return 1;
  pthread_kill(main_thread, number);
  return 0;
}

/* lua_sethook is the one function of Lua that a signal handler may call. */
static void on_signal(int number) {
  int kept = errno;
  if (!is_ours(number)) return;
  int64_t now = base_now();
  int repeated = now - latest < together;
  pending = repeated ? pending + 1 : 1;
  series = repeated ? series + 1 : 1;
  latest = now;
  if (patience == HOST_BATCH) signal(number, SIG_DFL);
  if (patience == HOST_PROMPT && series >= 3 && !reading) _exit(HOST_INTERRUPTED);
  if (running) lua_sethook(running, raise_interrupt, AT_ONCE, 1);
  errno = kept;
}

static void on_alarm(int number) {
  int kept = errno;
  if (!is_ours(number)) return;
  expired = 1;
  if (running) lua_sethook(running, raise_interrupt, AT_ONCE, 1);
  errno = kept;
}

lua_State *host_set_running(lua_State *L) {
  lua_State *before = running;
  running = L;
  /* a signal before the assignment went to the other one */
  if (L && (pending || expired) && lua_gethookmask(L) != LUA_MASKCOUNT)
    lua_sethook(L, raise_interrupt, AT_ONCE, 1);
  return before;
}

/* No SA_RESTART: a read or a sleep ends, and the Lua code that called it can be interrupted. */
static void install(int number, void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler};
  sigemptyset(&action.sa_mask);
  main_thread = pthread_self();
  sigaction(number, &action, NULL);
}

host_interruptible host_interrupt_enter(lua_State *L, host_patience how) {
  host_interruptible before = {running, (host_patience)patience};
  patience = (sig_atomic_t)how;
  series = 0;
  base_interrupt_watch(asked);
  install(SIGINT, on_signal);
  (void)host_set_running(L);
  return before;
}

void host_interrupt_leave(host_interruptible before) {
  lua_State *left = running;
  running = before.running;
  patience = (sig_atomic_t)before.patience;
  if (left) lua_sethook(left, NULL, 0, 0);
}

static void set_alarm(double seconds) {
  struct itimerval timer = {
      .it_value = {.tv_sec = (time_t)seconds,
                   .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)}};
  if (seconds > 0 && !timer.it_value.tv_sec && !timer.it_value.tv_usec) timer.it_value.tv_usec = 1;
  setitimer(ITIMER_REAL, &timer, NULL);
}

void host_deadline_begin(double seconds) {
  expired = 0;
  install(SIGALRM, on_alarm);
  set_alarm(seconds);
}

int host_deadline_end(void) {
  set_alarm(0);
  int passed = expired;
  expired = 0;
  if (passed && !pending && running) lua_sethook(running, NULL, 0, 0);
  return passed;
}
