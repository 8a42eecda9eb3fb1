/* node/worker_program.h - where the program is that children execute. */
#ifndef NODE_WORKER_PROGRAM_H
#define NODE_WORKER_PROGRAM_H

#include <baton/error.h>
#include <limits.h>

/* Its path: `wanted`, if that is not NULL; else what the environment variable BATON_WORKER_PROGRAM names; else baton-worker beside
** the file that holds this code or at most two folders above it, or libexec/baton/baton-worker in a folder above it, if it belongs
** to the superuser, to this user or to the owner of that file. `io_error` names what was tried. Any thread. */
BATON_MUST_CHECK baton_status node_worker_program(const char *wanted, char path[PATH_MAX], baton_error *err);

#endif
