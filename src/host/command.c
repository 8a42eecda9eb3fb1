#include "host/command.h"

#include "bind/sources.h"
#include "host/call.h"
#include "host/interrupt.h"
#include "host/module.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

static const char *const commands[] = {"run", "test", "bench", "repl", "devices", "doctor", "new"};

int host_is_command(int argc, char **argv) {
  struct stat file;
  if (argc < 2) return 0;
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (!strcmp(argv[1], commands[i])) return stat(argv[1], &file) != 0 || !S_ISREG(file.st_mode);
  return 0;
}

/* Arguments: the subcommand and its arguments. Returns the exit status. */
static int call_command(lua_State *L) { return baton_lua_call(L, "baton.cli", "main"); }

int host_command(lua_State *L, int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN); /* results are still written when nobody reads the report */
  luaL_checkstack(L, argc + LUA_MINSTACK, "too many arguments");
  lua_pushcfunction(L, call_command);
  for (int i = 1; i < argc; i++) lua_pushstring(L, argv[i]);
  int ok = host_report(L, host_call(L, argc - 1, 1));
  if (host_interrupted()) return HOST_INTERRUPTED;
  return ok ? (int)lua_tointeger(L, -1) : 3;
}
