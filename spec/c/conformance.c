/* The specs that are its arguments, in a C program that has a Lua state of its own and Baton linked into it: what is found from
** the path of the library, as the program of the children is, is found from the path of this program. */
#include "bind/bind.h"
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/baton-XXXXXX", gate[sizeof folder + sizeof "/gate"];

static void remove_folder(void) {
  (void)unlink(gate);
  (void)rmdir(folder);
}

/* What spec/support/plain.lua asks of the environment. */
static int prepare(void) {
  if (!mkdtemp(folder)) return 0;
  snprintf(gate, sizeof gate, "%s/gate", folder);
  return atexit(remove_folder) == 0 && setenv("BATON_TEST_GATE", gate, 1) == 0;
}

static void push_arguments(lua_State *L, int count, char **words) {
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, words[i]);
    lua_rawseti(L, -2, i);
  }
  lua_setglobal(L, "arg");
}

int main(int count, char **words) {
  lua_State *L = prepare() ? luaL_newstate() : NULL;
  if (!L) return EXIT_FAILURE;
  luaL_openlibs(L);
  bind_preload(L);
  push_arguments(L, count, words);
  int status = luaL_dofile(L, "spec/support/plain.lua");
  if (status != LUA_OK) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return status == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
