#include "host/prompt.h"

#include "host/call.h"
#include "host/interrupt.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { LINE_SIZE = 512 };

/* Pushes the next line without its end; false at the end of the input. */
static int read_line(lua_State *L, const char *prompt) {
  luaL_Buffer line;
  char part[LINE_SIZE];
  int some = 0;
  fputs(prompt, stdout);
  fflush(stdout);
  luaL_buffinit(L, &line);
  while (fgets(part, sizeof part, stdin)) {
    size_t length = strlen(part);
    some = 1;
    if (length && part[length - 1] == '\n') {
      luaL_addlstring(&line, part, length - 1);
      break;
    }
    luaL_addlstring(&line, part, length);
  }
  luaL_pushresult(&line);
  if (!some) lua_pop(L, 1);
  return some;
}

/* The user's _PROMPT or _PROMPT2, or the usual one. Lives as long as the global does. */
static const char *prompt_text(lua_State *L, const char *name, const char *usual) {
  const char *text = lua_getglobal(L, name) == LUA_TSTRING ? lua_tostring(L, -1) : usual;
  lua_pop(L, 1);
  return text;
}

/* Compiles the text at index 1 as an expression; leaves the function, or nothing and returns false. */
static int load_expression(lua_State *L) {
  const char *text = lua_pushfstring(L, "return %s", lua_tostring(L, 1));
  int status = luaL_loadbuffer(L, text, strlen(text), "=stdin");
  lua_remove(L, -2);
  if (status != LUA_OK) lua_pop(L, 1);
  return status == LUA_OK;
}

static int is_incomplete(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  size_t length;
  const char *message = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= sizeof mark - 1 &&
         !strcmp(message + length - (sizeof mark - 1), mark);
}

/* Compiles the statement that begins with the line at index 1, reading more lines while it is incomplete. Leaves the function or
** the error on top. */
static int load_statement(lua_State *L) {
  for (;;) {
    size_t size;
    const char *text = lua_tolstring(L, 1, &size);
    int status = luaL_loadbuffer(L, text, size, "=stdin");
    if (!is_incomplete(L, status) || !read_line(L, prompt_text(L, "_PROMPT2", ">> "))) return status;
    lua_remove(L, -2); /* the message */
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, 1), lua_tostring(L, -1));
    lua_replace(L, 1);
    lua_settop(L, 1);
  }
}

/* Prints everything on the stack through the user's `print`. */
static void print_results(lua_State *L) {
  int count = lua_gettop(L);
  if (count == 0) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  if (lua_pcall(L, count, 0, 0) != LUA_OK)
    host_message(lua_pushfstring(L, "error calling 'print' (%s)", lua_tostring(L, -1)));
}

void host_prompt(lua_State *L) {
  const char *program = host_program();
  host_set_program("baton");
  for (;;) {
    lua_settop(L, 0);
    if (!read_line(L, prompt_text(L, "_PROMPT", "> "))) break;
    int status = load_expression(L) ? LUA_OK : load_statement(L);
    lua_remove(L, 1);
    if (status == LUA_OK) status = host_call(L, 0, LUA_MULTRET);
    if (host_report(L, status)) print_results(L);
    host_clear_interrupt();
  }
  lua_settop(L, 0);
  fputs("\n", stdout);
  fflush(stdout);
  host_set_program(program);
}
