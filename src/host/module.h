/* host/module.h - the module baton.host: what the program's own Lua code asks of this process. */
#ifndef HOST_MODULE_H
#define HOST_MODULE_H

#include <lua.h>

/* Enters the module into package.preload. */
void host_preload(lua_State *L);

#endif
