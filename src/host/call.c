#include "host/call.h"

#include "host/interrupt.h"

#include <lauxlib.h>
#include <stdio.h>

static const char *program = "baton";

void host_set_program(const char *name) { program = name; }
const char *host_program(void) { return program; }

static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (!message) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) return 1;
    message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

int host_call(lua_State *L, int nargs, int nresults) {
  int base = lua_gettop(L) - nargs;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  host_interruptible before = host_interrupt_enter(L, HOST_BATCH);
  int status = lua_pcall(L, nargs, nresults, base);
  host_interrupt_leave(before);
  lua_remove(L, base);
  return status;
}

void host_message(const char *text) {
  fflush(stdout);
  fprintf(stderr, "%s: %s\n", program, text);
  fflush(stderr);
}

int host_report(lua_State *L, int status) {
  if (status == LUA_OK) return 1;
  const char *message = lua_tostring(L, -1);
  host_message(message ? message : "(error message not a string)");
  lua_pop(L, 1);
  return 0;
}
