/* bind/script_interrupt.h - ends the Lua function that a state runs, from another thread.
**
** Lua allows its hook to be set from a signal handler on the thread that runs the state, and from nowhere else. So who interrupts
** sends that thread a real-time signal that nobody uses, and the handler sets the hook. */
#ifndef BIND_SCRIPT_INTERRUPT_H
#define BIND_SCRIPT_INTERRUPT_H

#include "base/atomic.h"
#include "bind/coroutine.h"
#include <baton/error.h>
#include <pthread.h>

/* One signal is under way at most: they would pile up. */
enum { SCRIPT_GO_ON, SCRIPT_ASKED, SCRIPT_SIGNALLED };

typedef struct script_interrupt {
  pthread_mutex_t lock; /* guards the next two */
  pthread_t thread;     /* that runs a function, if one is */
  int busy;
  _Atomic int asked;           /* the function that runs shall end: SCRIPT_ASKED or SCRIPT_SIGNALLED */
  lua_State *volatile running; /* the coroutine that runs; only for its thread and the handler there */
} script_interrupt;

BATON_MUST_CHECK baton_status script_interrupt_open(script_interrupt *self, baton_error *err);
void script_interrupt_close(script_interrupt *self);

/* Around each function, on the thread that runs it. What Baton waits for in between ends early as well. */
void script_interrupt_begin(script_interrupt *self, lua_State *L);
void script_interrupt_end(script_interrupt *self, lua_State *L);

/* The function that runs now raises `cancelled`, once; after a while for `<close>` again and again, so that no pcall goes on.
** Nothing happens if none runs. Any thread. */
void script_interrupt_ask(script_interrupt *self);

/* For bind_track_coroutines. */
extern const bind_running script_interrupt_running;

#endif
