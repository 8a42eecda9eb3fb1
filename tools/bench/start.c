/* baton-bench-start - how long a whole program takes, from its start to its exit: NAME PROGRAM ARGUMENT…
**
** Its standard output goes nowhere. Its standard error stays: a program that fails says why, and gives
** no figure. */
#include "base/clock.h"
#include "sample.h"
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct start_command {
  const char *name;
  char **words; /* ends with NULL */
  posix_spawn_file_actions_t files;
} start_command;

static double once_time(void *context) {
  start_command *command = context;
  pid_t child;
  int status;
  int64_t begin = base_now();
  int failure = posix_spawn(&child, command->words[0], &command->files, NULL, command->words, environ);
  if (failure) {
    fprintf(stderr, "%s: %s: %s\n", command->name, command->words[0], strerror(failure));
    return -1;
  }
  if (waitpid(child, &status, 0) != child) return -1;
  int64_t end = base_now();
  if (status == 0) return (double)(end - begin) / 1e6;
  if (WIFSIGNALED(status))
    fprintf(stderr, "%s: %s died of signal %d\n", command->name, command->words[0], WTERMSIG(status));
  else
    fprintf(stderr, "%s: %s ended with status %d\n", command->name, command->words[0], WEXITSTATUS(status));
  return -1;
}

int main(int argc, char **argv) {
  bench_options options;
  int first = bench_options_parse(argc, argv, &options);
  if (argc - first < 2) {
    fprintf(stderr, "usage: %s [--repetitions N] NAME PROGRAM [ARGUMENT…]\n", argv[0]);
    return 2;
  }
  start_command command = {.name = argv[first], .words = argv + first + 1};
  posix_spawn_file_actions_init(&command.files);
  posix_spawn_file_actions_addopen(&command.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&command.files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  int measured = bench_measure(&options, "baton", command.name, "ms", once_time, &command);
  posix_spawn_file_actions_destroy(&command.files);
  return !measured;
}
