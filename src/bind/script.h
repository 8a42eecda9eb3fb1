/* bind/script.h - Lua functions that run for a node, in a state of their own: the other half of node/scripts.h.
**
** A state has the standard library and `baton`. It belongs to one worker and lives as long: its globals stay from one function to
** the next. `print` writes whole lines to the standard output of the process. A function gets its upvalues anew each time, as
** they were when it was packed; tensors end with the call, so a function must keep neither them nor views of them. */
#ifndef BIND_SCRIPT_H
#define BIND_SCRIPT_H

#include "node/scripts.h"

/* What a server calls for functions in Lua. Static. `data` of its `call` is what bind_pack_call made, of its `graph`
** bind_pack_function; the result of a call is for bind_unpack_results. An error object that the function raises keeps its
** code and fields, anything else becomes the message of `user_fail`; `cause` has the traceback. */
const node_script_calls *bind_script_calls(void);

#endif
