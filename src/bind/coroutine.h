/* bind/coroutine.h - who wants to interrupt a Lua state must know which of its coroutines runs. */
#ifndef BIND_COROUTINE_H
#define BIND_COROUTINE_H

#include <lua.h>

/* Who is told. */
typedef struct bind_running {
  lua_State *(*set)(
      lua_State *L); /* `L` runs now; returns who did before. On the thread that runs the state. */
} bind_running;

/* Replaces coroutine.resume and coroutine.wrap by functions that do the same and tell `running`, which is static. */
void bind_track_coroutines(lua_State *L, const bind_running *running);

#endif
