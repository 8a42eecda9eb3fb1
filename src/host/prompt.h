/* host/prompt.h - the plain interactive prompt of `baton -i`: lines from standard input, no editing. */
#ifndef HOST_PROMPT_H
#define HOST_PROMPT_H

#include <lua.h>

/* Reads and executes until the end of the input. An expression is printed; an incomplete statement continues
*on the
** next line. Errors are written and the prompt goes on. */
void host_prompt(lua_State *L);

#endif
