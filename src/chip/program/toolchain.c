#include "chip/program/toolchain.h"
#include "base/memory.h"
#include "base/own_file.h"
#include "chip/program/file.h"
#include "chip/program/target.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

chip_language chip_language_of(const char *source) {
  const char *dot = strrchr(source, '.');
  return dot && (strcmp(dot, ".cc") == 0 || strcmp(dot, ".cpp") == 0) ? CHIP_CXX : CHIP_C;
}

/* ---- which compiler ---- */

static int is_program(const char *path) {
  struct stat status;
  return access(path, X_OK) == 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* The absolute path of a program as a shell would find it; an empty text if there is none. */
static void find_program(const char *name, chip_text *out) {
  if (strchr(name, '/')) {
    char resolved[PATH_MAX];
    if (is_program(name) && realpath(".", resolved)) chip_file_join(out, resolved, name);
    return;
  }
  const char *path = getenv("PATH");
  if (!path || !path[0]) path = "/usr/local/bin:/usr/bin:/bin";
  while (*path) {
    size_t length = strcspn(path, ":");
    chip_text candidate = {0};
    chip_text_add(&candidate, "%.*s/%s", (int)length, path, name);
    if (path[0] == '/' && !candidate.failed && is_program(candidate.data)) {
      *out = candidate;
      return;
    }
    out->failed |= candidate.failed;
    chip_text_free(&candidate);
    path += length + (path[length] == ':');
  }
}

baton_status chip_toolchain_find(chip_language language, chip_list *command, baton_error *err) {
  const char *variable = language == CHIP_CXX ? "CXX" : "CC", *package = language == CHIP_CXX ? "g++" : "gcc";
  const char *words = getenv(variable);
  int chosen = words && words[strspn(words, " \t\n")];
  chip_list_add_words(command, chosen ? words : language == CHIP_CXX ? "c++" : "cc");
  if (command->failed) return base_out_of_memory(err, "the compiler's command line");
  chip_text path = {0};
  find_program(command->items[0], &path);
  if (path.failed) return base_out_of_memory(err, "the compiler's path");
  if (path.length == 0) {
    const char *why = chosen ? "set in" : "the default without";
    baton_error_set(err, BATON_COMPILE_FAILED, "the compiler '%s' (%s %s) does not exist", command->items[0],
                    why, variable);
    baton_error_text(err, BATON_FIELD_HINT, "install %s, or set %s to a compiler", package, variable);
    return BATON_COMPILE_FAILED;
  }
  base_free(command->items[0]);
  command->items[0] = path.data;
  return BATON_OK;
}

/* ---- what its output depends on ---- */

static void identify_program(const char *path, chip_text *identity) {
  struct stat status;
  if (stat(path, &status) != 0) return;
  chip_text_add(identity, "%s %lld %lld.%09ld\n", path, (long long)status.st_size,
                (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

void chip_toolchain_identify(const chip_list *command, chip_text *identity) {
  static const char *const variables[] = {"CPATH",        "C_INCLUDE_PATH",  "CPLUS_INCLUDE_PATH",
                                          "LIBRARY_PATH", "GCC_EXEC_PREFIX", "COMPILER_PATH"};
  for (size_t i = 0; i < command->count; i++) { /* a launcher in front of the compiler: "ccache gcc" */
    if (command->items[i][0] == '-') continue;
    chip_text path = {0};
    find_program(command->items[i], &path);
    if (path.length > 0) identify_program(path.data, identity);
    identity->failed |= path.failed;
    chip_text_free(&path);
  }
  for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
    const char *value = getenv(variables[i]);
    if (value) chip_text_add(identity, "%s=%s\n", variables[i], value);
  }
  chip_text_add(identity, "%s\n", chip_target_identity());
}

/* ---- where Baton's headers are ---- */

static int holds_headers(const char *directory) {
  char header[PATH_MAX];
  int length = snprintf(header, sizeof header, "%s/baton/kernel.h", directory);
  return length > 0 && length < (int)sizeof header && access(header, R_OK) == 0;
}

/* Looks for include/ beside each folder on the way up: bin/baton, lib/<triple>/lua/5.4/baton.so,
** build/dev/baton. */
static int find_beside(char *file, chip_text *path) {
  for (int level = 0; level < 6; level++) {
    char *slash = strrchr(file, '/');
    if (!slash) return 0;
    *slash = 0;
    path->length = 0;
    chip_text_add(path, "%s/include", file);
    if (path->failed || holds_headers(path->data)) return 1;
  }
  return 0;
}

baton_status chip_toolchain_include(chip_text *path, baton_error *err) {
  char file[PATH_MAX];
  const char *variable = getenv("BATON_INCLUDE");
  if (variable && variable[0]) {
    chip_text_add(path, "%s", variable);
    if (holds_headers(variable)) return BATON_OK;
    return baton_error_set(err, BATON_IO_ERROR, "BATON_INCLUDE names %s, which does not hold baton/kernel.h",
                           variable);
  }
  if (base_own_file(file) && find_beside(file, path))
    return path->failed ? base_out_of_memory(err, "the path of baton/kernel.h") : BATON_OK;
  path->length = 0;
#ifdef BATON_SOURCE_INCLUDE
  chip_text_add(path, "%s", BATON_SOURCE_INCLUDE);
  if (holds_headers(BATON_SOURCE_INCLUDE)) return BATON_OK;
#endif
  baton_error_set(err, BATON_IO_ERROR, "baton/kernel.h is not found beside this program");
  baton_error_text(err, BATON_FIELD_HINT, "set BATON_INCLUDE to the folder that holds baton/kernel.h");
  return BATON_IO_ERROR;
}

/* ---- running it ---- */

/* The compiler's messages in English, whatever the user's language: programs and tests read them. The
** variables stay the caller's; the list itself is freed by the caller. */
static char **stable_environment(void) {
  size_t count = 0, kept = 0;
  while (environ[count]) count++;
  char **variables = base_calloc(count + 2, sizeof *variables);
  if (!variables) return NULL;
  static char locale[] = "LC_ALL=C";
  variables[kept++] = locale;
  for (size_t i = 0; i < count; i++)
    if (strncmp(environ[i], "LC_ALL=", 7) != 0 && strncmp(environ[i], "LANGUAGE=", 9) != 0)
      variables[kept++] = environ[i];
  return variables;
}

static int add_actions(posix_spawn_file_actions_t *actions, int output, const char *directory) {
  int cause = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
  if (cause == 0) cause = posix_spawn_file_actions_adddup2(actions, output, STDERR_FILENO);
  /* last: `output` may be 0 in a host that closed its standard input */
  if (cause == 0) cause = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (cause == 0 && directory) cause = posix_spawn_file_actions_addchdir_np(actions, directory);
  return cause;
}

/* The host may block signals or ignore some; the compiler starts with neither. */
static int set_attributes(posix_spawnattr_t *attributes) {
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  sigaddset(&usual, SIGCHLD);
  posix_spawnattr_setsigmask(attributes, &none);
  posix_spawnattr_setsigdefault(attributes, &usual);
  return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int start(const chip_list *command, const char *directory, int output, pid_t *child) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  char **variables = stable_environment();
  if (!variables) return ENOMEM;
  int cause = posix_spawn_file_actions_init(&actions);
  if (cause == 0) {
    cause = posix_spawnattr_init(&attributes);
    if (cause == 0) {
      cause = add_actions(&actions, output, directory);
      if (cause == 0) cause = set_attributes(&attributes);
      if (cause == 0)
        cause = posix_spawn(child, command->items[0], &actions, &attributes, command->items, variables);
      posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
  }
  base_free(variables);
  return cause;
}

static void collect(int fd, chip_text *output) {
  char chunk[4096];
  for (;;) {
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    chip_text_add_bytes(output, chunk, (size_t)got);
  }
}

int chip_toolchain_run(const chip_list *command, const char *directory, chip_text *output, int *status) {
  int ends[2];
  pid_t child;
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  int cause = start(command, directory, ends[1], &child);
  close(ends[1]);
  if (cause == 0) collect(ends[0], output);
  close(ends[0]);
  if (cause != 0) return cause;
  *status = 0;
  while (waitpid(child, status, 0) <
         0) /* ECHILD: the host ignores SIGCHLD; the output file tells how it went */
    if (errno != EINTR) break;
  return 0;
}
