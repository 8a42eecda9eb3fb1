#include "node/spawn.h"
#include "base/cause.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Descriptors in this order: the socket may be one of the numbers that come after it. 0 or an errno. */
static int add_descriptors(posix_spawn_file_actions_t *actions, int socket) {
  int failure = posix_spawn_file_actions_adddup2(actions, socket, NODE_CHILD_SOCKET);
  if (!failure) failure = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!failure) failure = posix_spawn_file_actions_addclosefrom_np(actions, NODE_CHILD_SOCKET + 1);
  return failure;
}

static int add_attributes(posix_spawnattr_t *attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int failure = posix_spawnattr_setsigmask(attributes, &none);
  if (!failure) failure = posix_spawnattr_setsigdefault(attributes, &all);
  if (!failure) failure = posix_spawnattr_setpgroup(attributes, 0);
  if (!failure)
    failure = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                       POSIX_SPAWN_SETPGROUP);
  return failure;
}

static int spawn(const char *program, int socket, pid_t *pid) {
  char number[16];
  char *arguments[] = {(char *)(uintptr_t)program, number, NULL};
  snprintf(number, sizeof number, "%d", NODE_CHILD_SOCKET);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int failure = posix_spawn_file_actions_init(&actions);
  if (failure) return failure;
  failure = posix_spawnattr_init(&attributes);
  if (!failure) {
    failure = add_descriptors(&actions, socket);
    if (!failure) failure = add_attributes(&attributes);
    if (!failure) failure = posix_spawn(pid, program, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return failure;
}

baton_status node_spawn(const char *program, int socket, pid_t *pid, baton_error *err) {
  int failure = spawn(program, socket, pid);
  if (!failure) return BATON_OK;
  baton_status status = base_cause_status(failure, BATON_IO_ERROR);
  baton_error_set(err, status, "the worker program '%s' could not be started: %s", program,
                  strerror(failure));
  baton_error_text(err, BATON_FIELD_PATH, "%s", program);
  if (failure == EAGAIN)
    baton_error_text(err, BATON_FIELD_HINT, "end other processes, or raise the limit: ulimit -u");
  else if (status == BATON_IO_ERROR)
    baton_error_text(err, BATON_FIELD_HINT, "it must be the program baton-worker of this version of Baton");
  return status;
}
