/* host/line.h - one line of input from the user: edited with libedit where the terminal and the machine have it, else as
** it comes. The main thread only. */
#ifndef HOST_LINE_H
#define HOST_LINE_H

#include <lua.h>

typedef enum host_line_end { HOST_LINE_READ, HOST_LINE_END, HOST_LINE_INTERRUPTED } host_line_end;

/* Pushes the next line without its end; pushes nothing at the end of the input and when Ctrl-C was pressed meanwhile,
** or before and nobody has dealt with it.
** `prompt` is shown if standard input is a terminal. */
host_line_end host_read_line(lua_State *L, const char *prompt);

/* Adds a line to those that the arrow keys bring back. Does nothing without libedit. */
void host_remember_line(const char *line);

#endif
