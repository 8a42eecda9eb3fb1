/* The program `baton`: Lua 5.4 as its own interpreter runs it, with Baton preloaded, and the subcommands. */
#include "bind/bind.h"
#include "bind/coroutine.h"
#include "host/call.h"
#include "host/command.h"
#include "host/interrupt.h"
#include "host/module.h"
#include "host/options.h"
#include "host/prompt.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct host_line {
  int argc;
  char **argv;
  host_options options;
  int status; /* exit status */
} host_line;

/* Takes the places of standard streams that are closed, so that no file opened later is written as one of them. Open for
** the wrong direction, they still fail as closed ones do. */
static void keep_standard_streams(void) {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static void print_version(void) {
  printf("%s\nBaton " BATON_VERSION "\n", LUA_COPYRIGHT);
  fflush(stdout);
}

/* The table `arg`: the script is 0, what stands before it has negative indices. */
static void set_arg_table(lua_State *L, const host_line *line) {
  int script = line->options.has_script ? line->options.script : 0;
  lua_createtable(L, line->argc, line->argc);
  for (int i = 0; i < line->argc; i++) {
    lua_pushstring(L, line->argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* Pushes arg[1], arg[2], … as the script left them; returns how many. */
static int push_script_arguments(lua_State *L) {
  if (lua_getglobal(L, "arg") != LUA_TTABLE) luaL_error(L, "'arg' is not a table");
  int count = (int)luaL_len(L, -1);
  luaL_checkstack(L, count + 3, "too many arguments to script");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, -i, i);
  lua_remove(L, -count - 1);
  return count;
}

/* Calls the chunk that was just loaded (or reports why it was not). */
static int finish_chunk(lua_State *L, int status) {
  if (status == LUA_OK) status = host_call(L, 0, 0);
  return host_report(L, status);
}

static int run_text(lua_State *L, const char *text, const char *name) {
  return finish_chunk(L, luaL_loadbuffer(L, text, strlen(text), name));
}

static int run_init(lua_State *L) {
  const char *name = "=LUA_INIT_5_4", *text = getenv("LUA_INIT_5_4");
  if (!text) {
    name = "=LUA_INIT";
    text = getenv("LUA_INIT");
  }
  if (!text) return 1;
  if (text[0] == '@') return finish_chunk(L, luaL_loadfile(L, text + 1));
  return run_text(L, text, name);
}

/* -l mod or -l name=mod: the module becomes a global. */
static int run_library(lua_State *L, char *word) {
  char *module = strchr(word, '=');
  const char *name = word;
  if (module)
    *module++ = '\0';
  else {
    module = word;
    char *suffix = strchr(word, '-'); /* "mod-v2" is loaded whole and called "mod" */
    if (suffix) name = lua_pushlstring(L, word, (size_t)(suffix - word));
  }
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = host_call(L, 1, 1);
  if (status == LUA_OK) lua_setglobal(L, name);
  return host_report(L, status);
}

/* The options that do something at their place in the line: -e, -l, -W. */
static int run_options(lua_State *L, const host_line *line) {
  for (int i = 1; i < line->options.script && strcmp(line->argv[i], "--") != 0; i++) {
    char option = line->argv[i][1];
    if (option == 'W') lua_warning(L, "@on", 0);
    if (option != 'e' && option != 'l') continue;
    char *value = line->argv[i] + 2;
    if (!*value) value = line->argv[++i];
    if (!(option == 'e' ? run_text(L, value, "=(command line)") : run_library(L, value))) return 0;
  }
  return 1;
}

static int run_script(lua_State *L, const host_line *line) {
  const char *name = line->argv[line->options.script];
  if (!strcmp(name, "-") && strcmp(line->argv[line->options.script - 1], "--") != 0) name = NULL;
  int status = luaL_loadfile(L, name);
  if (status == LUA_OK) status = host_call(L, push_script_arguments(L), LUA_MULTRET);
  return host_report(L, status);
}

static int refuse_options(const host_line *line) {
  const char *format =
      line->options.needs_argument ? "%s: '%s' needs argument\n" : "%s: unrecognized option '%s'\n";
  fprintf(stderr, format, host_program(), line->options.bad);
  fprintf(stderr, "usage: %s [options] [script [args]]\nAvailable options are:\n%s", host_program(),
          host_usage());
  return EXIT_FAILURE;
}

static int run_interpreter(lua_State *L, const host_line *line) {
  const host_options *options = &line->options;
  if (!run_options(L, line)) return EXIT_FAILURE;
  if (options->has_script && !run_script(L, line)) return EXIT_FAILURE;
  if (options->interactive)
    host_prompt(L);
  else if (!options->has_script && !options->execute && !options->version) {
    if (!isatty(STDIN_FILENO)) return finish_chunk(L, luaL_loadfile(L, NULL)) ? EXIT_SUCCESS : EXIT_FAILURE;
    print_version();
    host_prompt(L);
  }
  return EXIT_SUCCESS;
}

static const bind_running running = {host_set_running};

/* Everything that may raise, under one protected call. Argument: the host_line. */
static int host_main(lua_State *L) {
  host_line *line = lua_touserdata(L, 1);
  lua_settop(L, 0);
  luaL_checkversion(L);
  if (line->options.ignore_environment) {
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* read by luaL_openlibs */
  }
  luaL_openlibs(L);
  bind_track_coroutines(L, &running);
  host_preload(L);
  bind_preload(L);
  lua_gc(L, LUA_GCGEN, 0, 0);
  set_arg_table(L, line);
  if (line->options.version && !host_is_command(line->argc, line->argv)) print_version();
  if (!line->options.ignore_environment && !run_init(L)) return 0; /* the status is EXIT_FAILURE already */
  line->status = host_is_command(line->argc, line->argv) ? host_command(L, line->argc, line->argv)
                                                         : run_interpreter(L, line);
  if (host_interrupted()) line->status = HOST_INTERRUPTED;
  return 0;
}

int main(int argc, char **argv) {
  keep_standard_streams();
  host_line line = {
      .argc = argc, .argv = argv, .options = host_options_read(argc, argv), .status = EXIT_FAILURE};
  if (argc > 0 && argv[0][0]) host_set_program(argv[0]);
  if (!host_is_command(argc, argv)) {
    if (line.options.bad) return refuse_options(&line);
    if (line.options.program_version) return print_version(), EXIT_SUCCESS;
    if (line.options.help) {
      printf("usage: %s [options] [script [args]]\n       %s COMMAND [arguments]\n%s", host_program(),
             host_program(), host_usage());
      return EXIT_SUCCESS;
    }
  }
  bind_dump_on_signal();
  lua_State *L = luaL_newstate();
  if (!L) {
    host_message("cannot create state: not enough memory");
    return 4;
  }
  lua_pushcfunction(L, host_main);
  lua_pushlightuserdata(L, &line);
  int status = lua_pcall(L, 1, 0, 0);
  host_report(L, status);
  lua_close(L);
  return line.status;
}
