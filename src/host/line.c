#include "host/line.h"

#include "host/interrupt.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HISTORY_LENGTH = 1000 };

/* --- libedit, opened when the first line is read from a terminal -------------------------------------------------- */

#define EDIT_FUNCTIONS(X)                                                \
  X(int, rl_initialize, (void))                                          \
  X(void, using_history, (void))                                         \
  X(void, stifle_history, (int))                                         \
  X(int, add_history, (const char *))                                    \
  X(void, rl_callback_handler_install, (const char *, void (*)(char *))) \
  X(void, rl_callback_read_char, (void))                                 \
  X(void, rl_callback_handler_remove, (void))

static struct {
#define X(result, name, parameters) result(*name) parameters;
  EDIT_FUNCTIONS(X)
#undef X
  int looked, found;
} edit;

static int find_functions(void *library) {
#define X(result, name, parameters)             \
  *(void **)&edit.name = dlsym(library, #name); \
  if (!edit.name) return 0;
  EDIT_FUNCTIONS(X)
#undef X
  return 1;
}

/* True if lines can be edited: a terminal that can move its cursor, and the library. */
static int can_edit(void) {
  const char *terminal = getenv("TERM");
  if (edit.looked) return edit.found;
  edit.looked = 1;
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return 0;
  if (!terminal || !*terminal || !strcmp(terminal, "dumb")) return 0;
  void *library = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!library || !find_functions(library)) return 0;
  int *catches_signals = dlsym(library, "rl_catch_signals");
  if (catches_signals) *catches_signals = 0; /* host/interrupt.h does */
  setlocale(LC_CTYPE, "");                   /* for characters of several bytes; numbers keep their point */
  edit.rl_initialize();
  edit.using_history();
  edit.stifle_history(HISTORY_LENGTH);
  edit.found = 1;
  return 1;
}

void host_remember_line(const char *line) {
  if (can_edit()) edit.add_history(line);
}

/* Sleeps until there is something to read; what poll says of it, 0 if Ctrl-C was pressed. Ctrl-C is let in only here: none
** is lost between the question and the sleep. */
static int await_input(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  sigset_t interrupt, open;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  sigprocmask(SIG_BLOCK, &interrupt, &open);
  int ready = 0;
  while (ready <= 0 && !host_interrupted()) ready = ppoll(&input, 1, NULL, &open);
  sigprocmask(SIG_SETMASK, &open, NULL);
  return host_interrupted() ? 0 : input.revents;
}

static struct {
  char *text; /* NULL: the end of the input */
  int complete;
} entered;

static void take_line(char *text) {
  entered.text = text;
  entered.complete = 1;
}

static host_line_end read_edited(lua_State *L, const char *prompt) {
  entered.complete = 0;
  entered.text = NULL;
  edit.rl_callback_handler_install(prompt, take_line);
  while (!entered.complete && (await_input() & POLLIN)) edit.rl_callback_read_char();
  edit.rl_callback_handler_remove();
  if (!entered.text) {
    putchar('\n');
    fflush(stdout);
    return entered.complete || !host_interrupted() ? HOST_LINE_END : HOST_LINE_INTERRUPTED;
  }
  lua_pushstring(L, entered.text);
  free(entered.text);
  return HOST_LINE_READ;
}

/* --- Plain --------------------------------------------------------------------------------------------------------- */

static host_line_end read_plain(lua_State *L, const char *prompt) {
  static int unbuffered;
  char *text = NULL;
  size_t size = 0;
  ssize_t length = -1;
  int terminal = isatty(STDIN_FILENO);
  if (!unbuffered) unbuffered = setvbuf(stdin, NULL, _IONBF, 0) == 0; /* what poll sees is all there is */
  if (terminal) fputs(prompt, stdout);
  fflush(stdout);
  clearerr(stdin); /* a read that a signal ended counts as an error */
  if (await_input()) length = getline(&text, &size, stdin);
  if (length > 0) {
    if (text[length - 1] == '\n') length--;
    lua_pushlstring(L, text, (size_t)length);
  }
  free(text);
  if (length >= 0) return HOST_LINE_READ;
  if (terminal) putchar('\n');
  return host_interrupted() ? HOST_LINE_INTERRUPTED : HOST_LINE_END;
}

host_line_end host_read_line(lua_State *L, const char *prompt) {
  luaL_checkstack(L, 1, NULL);
  host_interrupt_reading(1);
  host_line_end end = can_edit() ? read_edited(L, prompt) : read_plain(L, prompt);
  host_interrupt_reading(0);
  if (end == HOST_LINE_INTERRUPTED) host_clear_interrupt();
  return end;
}
