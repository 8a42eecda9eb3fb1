#include "host/module.h"

#include "base/clock.h"
#include "bind/bind.h"
#include "chip/program/toolchain.h"
#include "host/interrupt.h"
#include "host/line.h"
#include "node/worker_program.h"

#include <dlfcn.h>
#include <errno.h>
#include <ftw.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- Interrupts ---------------------------------------------------------------------------------------------------- */

static int module_interrupted(lua_State *L) { /* -> true once Ctrl-C was pressed */
  lua_pushboolean(L, host_interrupted());
  return 1;
}

/* begin_prompt(): from here on Ctrl-C is handled as at a prompt, and stops only what `guard` calls. */
static int module_begin_prompt(lua_State *L) {
  host_clear_interrupt();
  (void)host_interrupt_enter(NULL, HOST_PROMPT);
  lua_sethook(L, NULL, 0, 0); /* of an interrupt that came before */
  return 0;
}

static int add_trace(lua_State *L) { /* to a text; error objects stay as they are */
  if (lua_type(L, 1) == LUA_TSTRING) luaL_traceback(L, L, lua_tostring(L, 1), 1);
  return 1;
}

/* guard(f) -> whether Ctrl-C was pressed meanwhile, then as pcall; a text of an error has its traceback. One that came
** before f began ends it at once; none is left afterwards. */
static int module_guard(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_pushcfunction(L, add_trace);
  lua_insert(L, 1);
  host_interruptible before = host_interrupt_enter(L, HOST_PROMPT);
  int status = lua_pcall(L, 0, LUA_MULTRET, 1);
  host_interrupt_leave(before);
  lua_pushboolean(L, host_interrupted());
  lua_replace(L, 1);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 2);
  host_clear_interrupt();
  return lua_gettop(L);
}

/* with_deadline(seconds, f, …) -> whether the time was up, then as pcall; seconds nil: no deadline. */
static int module_with_deadline(lua_State *L) {
  double seconds = luaL_optnumber(L, 1, 0);
  luaL_checkany(L, 2);
  if (seconds > 0) host_deadline_begin(seconds);
  int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  int expired = seconds > 0 && host_deadline_end();
  lua_pushboolean(L, expired);
  lua_replace(L, 1);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 2);
  return lua_gettop(L);
}

/* --- Input --------------------------------------------------------------------------------------------------------- */

/* read_line(prompt) -> text; nil at the end of the input; false and the length of the series if Ctrl-C was
** pressed. */
static int module_read_line(lua_State *L) {
  switch (host_read_line(L, luaL_checkstring(L, 1))) {
  case HOST_LINE_READ: return 1;
  case HOST_LINE_INTERRUPTED:
    lua_pushboolean(L, 0);
    lua_pushinteger(L, host_interrupt_series());
    return 2;
  default: return 0;
  }
}

static int module_remember_line(lua_State *L) { /* remember_line(text): for the arrow keys */
  host_remember_line(luaL_checkstring(L, 1));
  return 0;
}

static int module_is_terminal(lua_State *L) { /* is_terminal(0, 1 or 2) -> boolean */
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int module_now(lua_State *L) { /* now() -> seconds since some fixed moment */
  lua_pushnumber(L, (lua_Number)base_now() / 1e9);
  return 1;
}

/* --- Files and environment ----------------------------------------------------------------------------------------- */

static int module_setenv(lua_State *L) { /* setenv(name, value); without value it is removed */
  const char *name = luaL_checkstring(L, 1), *value = luaL_optstring(L, 2, NULL);
  if ((value ? setenv(name, value, 1) : unsetenv(name)) != 0)
    return luaL_error(L, "no memory for the environment variable %s", name);
  return 0;
}

static int module_kind(lua_State *L) { /* kind(path) -> "file", "directory", "other", or nil */
  struct stat file;
  if (stat(luaL_checkstring(L, 1), &file) != 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushstring(L, S_ISREG(file.st_mode) ? "file" : S_ISDIR(file.st_mode) ? "directory" : "other");
  return 1;
}

static int module_may_execute(lua_State *L) { /* may_execute(path) -> boolean */
  lua_pushboolean(L, access(luaL_checkstring(L, 1), X_OK) == 0);
  return 1;
}

static int module_executable(lua_State *L) { /* the path of this program */
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length < 0 || length == sizeof path) return luaL_error(L, "the path of this program is unknown");
  lua_pushlstring(L, path, (size_t)length);
  return 1;
}

/* make_folder(path [, mode]) -> true, or nil and why not. Missing folders above it are made too; without a mode they are
** the user's alone. */
static int module_make_folder(lua_State *L) {
  char path[PATH_MAX];
  size_t length;
  const char *wanted = luaL_checklstring(L, 1, &length);
  mode_t mode = (mode_t)luaL_optinteger(L, 2, 0700);
  if (length == 0 || length >= sizeof path) return luaL_fileresult(L, (errno = ENAMETOOLONG, 0), wanted);
  memcpy(path, wanted, length + 1);
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(path, mode) != 0 && errno != EEXIST) return luaL_fileresult(L, 0, wanted);
    *slash = '/';
  }
  if (mkdir(path, mode) != 0 && errno != EEXIST) return luaL_fileresult(L, 0, wanted);
  return luaL_fileresult(L, 1, wanted);
}

static int
module_temporary_folder(lua_State *L) { /* temporary_folder() -> path of a new one, or nil and why not */
  char path[] = "/tmp/baton-XXXXXX";
  if (!mkdtemp(path)) return luaL_fileresult(L, 0, "/tmp");
  lua_pushstring(L, path);
  return 1;
}

static int remove_entry(const char *path, const struct stat *file, int kind, struct FTW *place) {
  (void)file;
  (void)kind;
  (void)place;
  return remove(path);
}

static int module_remove_folder(lua_State *L) { /* remove_folder(path): with all that is in it */
  const char *path = luaL_checkstring(L, 1);
  return luaL_fileresult(L, nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0, path);
}

/* --- What is here -------------------------------------------------------------------------------------------------- */

static int module_has_library(lua_State *L) { /* has_library(name) -> boolean */
  void *library = dlopen(luaL_checkstring(L, 1), RTLD_LAZY | RTLD_LOCAL);
  lua_pushboolean(L, library != NULL);
  if (library) dlclose(library);
  return 1;
}

static int
module_include_folder(lua_State *L) { /* include_folder() -> what holds baton/kernel.h, or nil and why not */
  chip_text path = {0};
  baton_error *err = bind_error(L);
  if (chip_toolchain_include(&path, err) == BATON_OK) {
    lua_pushstring(L, path.data);
    chip_text_free(&path);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, err->message);
  chip_text_free(&path);
  return 2;
}

static int module_worker_program(
    lua_State *L) { /* worker_program() -> what children execute, or nil, why not and a hint */
  char path[PATH_MAX];
  baton_error *err = bind_error(L);
  if (node_worker_program(NULL, path, err) == BATON_OK) {
    lua_pushstring(L, path);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, err->message);
  lua_pushstring(L, err->hint);
  return 3;
}

static int
module_limit(lua_State *L) { /* limit("files", "memory" or "processes") -> number, or nil for none */
  static const char *const names[] = {"files", "memory", "processes", NULL};
  static const int resources[] = {RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_NPROC};
  struct rlimit limit;
  int which = luaL_checkoption(L, 1, NULL, names);
  if (getrlimit((__rlimit_resource_t)resources[which], &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    lua_pushnil(L);
  else
    lua_pushinteger(L, (lua_Integer)limit.rlim_cur);
  return 1;
}

static int open_host(lua_State *L) {
  static const luaL_Reg functions[] = {{"interrupted", module_interrupted},
                                       {"begin_prompt", module_begin_prompt},
                                       {"guard", module_guard},
                                       {"with_deadline", module_with_deadline},
                                       {"read_line", module_read_line},
                                       {"remember_line", module_remember_line},
                                       {"is_terminal", module_is_terminal},
                                       {"now", module_now},
                                       {"setenv", module_setenv},
                                       {"kind", module_kind},
                                       {"may_execute", module_may_execute},
                                       {"executable", module_executable},
                                       {"make_folder", module_make_folder},
                                       {"temporary_folder", module_temporary_folder},
                                       {"remove_folder", module_remove_folder},
                                       {"has_library", module_has_library},
                                       {"include_folder", module_include_folder},
                                       {"worker_program", module_worker_program},
                                       {"limit", module_limit},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

void host_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_host);
  lua_setfield(L, -2, "baton.host");
  lua_pop(L, 1);
}
