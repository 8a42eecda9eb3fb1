/* host/command.h - the subcommands: baton run, baton test, … They are written in Lua (lua/baton/cli.lua). */
#ifndef HOST_COMMAND_H
#define HOST_COMMAND_H

#include <lua.h>

/* True if the first argument calls a subcommand: it is the name of one, and there is no regular file of that
*name in
** the working directory (that would be a script). */
int host_is_command(int argc, char **argv);

/* Runs subcommand argv[1] and returns the exit status. */
int host_command(lua_State *L, int argc, char **argv);

#endif
