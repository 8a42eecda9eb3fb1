/* host/interrupt.h - Ctrl-C: what it does while Lua code runs, while Baton waits, and while a prompt reads. The main
** thread only.
**
** The first one raises "interrupted!" in the running Lua code, coroutines included, and cancels what Baton waits for; it
** stays pending until host_clear_interrupt, so that no loop around pcall swallows it. In batch the second one ends the
** process. At a prompt the second one within two seconds gives up the wait, and the third ends the process with
** HOST_INTERRUPTED. */
#ifndef HOST_INTERRUPT_H
#define HOST_INTERRUPT_H

#include <lua.h>

enum { HOST_INTERRUPTED = 130 }; /* exit status after Ctrl-C */

typedef enum host_patience { HOST_BATCH, HOST_PROMPT } host_patience;

/* What an interrupt finds. */
typedef struct host_interruptible {
  lua_State *running; /* the Lua code that it stops; NULL: none */
  host_patience patience;
} host_interruptible;

/* From now on Ctrl-C is handled as above; returns what was before, for host_interrupt_leave. With `L` NULL an interrupt is
** only counted. */
host_interruptible host_interrupt_enter(lua_State *L, host_patience patience);
void host_interrupt_leave(host_interruptible before);

/* True if Ctrl-C was pressed and nobody has dealt with it yet. */
int host_interrupted(void);
void host_clear_interrupt(void);

/* How many times Ctrl-C was pressed since the last host_interrupt_enter, with less than two seconds between one and the
** next, dealt with or not. */
int host_interrupt_series(void);

/* A prompt reads the terminal, whose mode must be restored before the process ends: three interrupts are only counted. */
void host_interrupt_reading(int reading);

/* Between the two, Lua code is stopped by "the deadline has passed" once so many seconds are over; the second one tells
** whether that was so. Not nested. */
void host_deadline_begin(double seconds);
int host_deadline_end(void);

/* Tells that `L` runs now; returns who did before (bind/coroutine.h). */
lua_State *host_set_running(lua_State *L);

#endif
