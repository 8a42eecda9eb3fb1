#include "chip/executor/guard.h"
#include "base/log.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 64 << 10 };

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
enum { FAULTS = sizeof faults / sizeof *faults };

static struct sigaction before[FAULTS]; /* who handled them until now */
static int timeout_signal;              /* 0: none was free */
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static pthread_key_t stack_key; /* the thread's stack for handlers */

static _Thread_local chip_guard *volatile current; /* of the kernel whose code this thread runs */
static _Thread_local int32_t thread_number;        /* 0: the thread is not prepared */

/* The handler does not return, so what it blocks must be unblocked here. */
static void leave(chip_guard *guard, int signal, void *address, const ucontext_t *context) {
  guard->inside = 0;
  pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
  guard->signal = signal;
  guard->address = address;
  current = NULL;
  longjmp(guard->leave, 1);
}

/* Nobody handled it: it does what it does by default. A fault comes again when the handler returns, a
** signal that was sent is sent again. */
static void default_action(int signal, const siginfo_t *info) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(signal, &action, NULL);
  if (info->si_code <= 0) raise(signal);
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  chip_guard *guard = current;
  if (guard && guard->inside) leave(guard, signal, info->si_code > 0 ? info->si_addr : NULL, context);
  int i = 0;
  while (faults[i] != signal) i++;
  if (before[i].sa_flags & SA_SIGINFO)
    before[i].sa_sigaction(signal, info, context);
  else if (before[i].sa_handler == SIG_DFL || (before[i].sa_handler == SIG_IGN && info->si_code > 0))
    default_action(signal, info);
  else if (before[i].sa_handler != SIG_IGN)
    before[i].sa_handler(signal);
}

static void on_timeout(int signal, siginfo_t *info, void *context) {
  (void)info;
  chip_guard *guard = current;
  if (!guard || !guard->inside) return;
  /* relaxed: `begun` was written by this thread; a late look at `condemned` is repeated */
  uint64_t begun = atomic_load_explicit(&guard->pulse->begun, memory_order_relaxed);
  uint64_t condemned = atomic_load_explicit(&guard->pulse->condemned, memory_order_relaxed);
  if (condemned == begun || condemned == CHIP_CONDEMN_ALL) leave(guard, signal, NULL, context);
}

static void install_timeout(struct sigaction *action) {
  struct sigaction old;
  for (int signal = SIGRTMIN + 4; signal <= SIGRTMAX && !timeout_signal; signal++)
    if (sigaction(signal, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
      timeout_signal = signal;
  if (timeout_signal && sigaction(timeout_signal, action, NULL) == 0) return;
  timeout_signal = 0;
  base_log(BASE_LOG_WARNING, "no real-time signal is free: kernels that hang cannot be left");
}

static void free_stack(void *stack) {
  stack_t none = {.ss_flags = SS_DISABLE};
  sigaltstack(&none, NULL);
  munmap(stack, STACK_BYTES);
}

/* SA_NODEFER: a fault in a handler of those who were there before is theirs too. Not so for timeouts: those that were sent
** while the thread had no CPU come one after the other, not one on top of the other until the stack is full. */
static void install(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < FAULTS; i++) sigaction(faults[i], NULL, &before[i]);
  for (int i = 0; i < FAULTS; i++) sigaction(faults[i], &action, NULL);
  action.sa_sigaction = on_timeout;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  install_timeout(&action);
  pthread_key_create(&stack_key, free_stack);
}

void chip_guard_install(void) { pthread_once(&installed, install); }

/* A handler that runs because the stack is full needs another one. */
static void prepare_thread(void) {
  stack_t stack = {.ss_size = STACK_BYTES};
  sigset_t set;
  thread_number = (int32_t)gettid();
  sigemptyset(&set);
  for (int i = 0; i < FAULTS; i++) sigaddset(&set, faults[i]);
  if (timeout_signal) sigaddset(&set, timeout_signal);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  if (sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE)) return;
  stack = (stack_t){.ss_size = STACK_BYTES};
  stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack.ss_sp == MAP_FAILED) return;
  sigaltstack(&stack, NULL);
  pthread_setspecific(stack_key, stack.ss_sp);
}

int32_t chip_guard_thread(void) {
  if (!thread_number) prepare_thread();
  return thread_number;
}

int chip_guard_call(chip_guard *guard, baton_kernel_function function, const baton_args *args) {
  guard->signal = 0;
  if (_setjmp(guard->leave)) return 1;
  chip_guard_resume(guard);
  function(args);
  chip_guard_pause(guard);
  return 0;
}

void chip_guard_leave(chip_guard *guard) {
  chip_guard_pause(guard);
  longjmp(guard->leave, 1);
}

void chip_guard_pause(chip_guard *guard) {
  guard->inside = 0;
  current = NULL;
}

void chip_guard_resume(chip_guard *guard) {
  current = guard;
  guard->inside = 1;
}

int chip_guard_is_timeout(int signal) { return signal != 0 && signal == timeout_signal; }

void chip_guard_condemn(chip_pulse *pulse, uint64_t begun) {
  int32_t thread = atomic_load_explicit(&pulse->thread, memory_order_relaxed);
  atomic_store_explicit(&pulse->condemned, begun, memory_order_relaxed);
  if (thread && timeout_signal) syscall(SYS_tgkill, getpid(), thread, timeout_signal);
}
