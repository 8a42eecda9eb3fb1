/* chip/executor/guard.h - calls kernels so that they can be left in the middle: by themselves, when they crash,
** when they hang.
**
** A kernel that crashes raises a signal on its own thread; one that hangs is sent one. The handler leaves
** the kernel by a jump into chip_guard_call if the thread is in the kernel's own code, and in no function
** of Baton that the kernel called; a fault anywhere else goes to whoever handled that signal before. The
** handlers are installed once for the process. */
#ifndef CHIP_GUARD_H
#define CHIP_GUARD_H

#include "base/atomic.h"
#include <baton/program.h>
#include <setjmp.h>
#include <signal.h>

#define CHIP_CONDEMN_ALL UINT64_MAX

/* What one lane does, for the watchdog. Counters never turn back. An orchestration has one too: there a stretch of its
** own code, between two calls of Baton, is what a task is on a lane. */
typedef struct chip_pulse {
  _Atomic uint64_t begun; /* tasks */
  _Atomic uint64_t ended;
  _Atomic uint64_t
      condemned; /* what runs is to be left if so many tasks have begun, or in any case: CHIP_CONDEMN_ALL */
  _Atomic int32_t thread; /* of the lane, as the kernel numbers threads; 0: none has come in yet */
} chip_pulse;

typedef struct chip_guard {
  jmp_buf leave;                /* by longjmp: sanitizers know that one */
  volatile sig_atomic_t inside; /* in the kernel's own code */
  volatile sig_atomic_t signal; /* that left it; 0: none */
  void *volatile address;       /* of a fault */
  const chip_pulse *pulse;
} chip_guard;

/* Installs the handlers; the signal for kernels that hang is the first real-time signal that nobody uses.
** Any thread. */
void chip_guard_install(void);

/* Prepares the calling thread: a stack for handlers, and the signal that leaves a hanging kernel. Returns
** its number. Cheap when done. */
int32_t chip_guard_thread(void);

/* Calls the kernel. True: it was left in the middle, by chip_guard_leave or by a signal. guard->pulse must
** be set. */
int chip_guard_call(chip_guard *guard, baton_kernel_function function, const baton_args *args);

/* Inside the kernel's call, on its stack: leaves it. */
_Noreturn void chip_guard_leave(chip_guard *guard);

/* A function of Baton that a kernel has called begins and ends: no signal leaves it in between. */
void chip_guard_pause(chip_guard *guard);
void chip_guard_resume(chip_guard *guard);

/* True if `signal` is the one of kernels that hang. */
int chip_guard_is_timeout(int signal);

/* A task begins and ends. On the thread of the lane. */
static inline void chip_pulse_begin(chip_pulse *pulse) {
  /* relaxed: only the lane writes it, and the watchdog needs no more than a recent value */
  uint64_t begun = atomic_load_explicit(&pulse->begun, memory_order_relaxed);
  atomic_store_explicit(&pulse->begun, begun + 1, memory_order_relaxed);
}
static inline void chip_pulse_end(chip_pulse *pulse) {
  uint64_t ended = atomic_load_explicit(&pulse->ended, memory_order_relaxed);
  atomic_store_explicit(&pulse->ended, ended + 1, memory_order_relaxed);
}

/* Has the kernel that a lane runs left, if so many tasks have begun on it then. Any thread; may be
** repeated. */
void chip_guard_condemn(chip_pulse *pulse, uint64_t begun);

#endif
