/* host/call.h - calls into Lua that report what goes wrong and can be interrupted. The main thread only. */
#ifndef HOST_CALL_H
#define HOST_CALL_H

#include <lua.h>

/* The name in front of messages; static or argv[0]. */
void host_set_program(const char *name);
const char *host_program(void);

/* Calls the function under `nargs` arguments as lua_pcall does. Errors carry a traceback; an error object with __tostring
** becomes its text. Ctrl-C is handled as in batch (host/interrupt.h). */
int host_call(lua_State *L, int nargs, int nresults);

/* Writes "PROGRAM: text" to stderr. */
void host_message(const char *text);

/* If `status` is no success: writes the message on top of the stack and pops it. Returns true for success. */
int host_report(lua_State *L, int status);

#endif
