/* chip/program/compile.h - from a source to a function: the machine's compiler behind the compile cache. Any
** thread. */
#ifndef CHIP_COMPILE_H
#define CHIP_COMPILE_H

#include "chip/program/library.h"
#include <baton/error.h>

/* One thing to load: exactly one of source, code and object. Everything is borrowed for the call; lists of
** strings end with NULL and may be NULL. */
typedef struct chip_unit {
  const char *who;                    /* begins the messages: "gemm: kernel tile" */
  const char *kernel;                 /* for the error's field; NULL: the orchestration */
  const char *directory;              /* absolute; relative paths start here */
  const char *source, *code, *object; /* as the user wrote them */
  const char *code_file;              /* where `code` stands, for the compiler's messages; NULL: unknown */
  uint32_t code_line;                 /* its first line there; 0: unknown */
  const char *entry;
  const char *const *cflags[2], *const *include[2], *const *libs[2]; /* the program's, then its own */
} chip_unit;

/* Compiles if no process did so before, loads, and finds the entry. The caller closes *library; *function
** is good until then. `compile_failed` carries the compiler's output as it is, `bad_file` a file that
** cannot be read or loaded. */
BATON_MUST_CHECK baton_status chip_unit_load(const chip_unit *unit, chip_library **library, void **function,
                                             baton_error *err);

/* How often this process called a compiler. */
uint64_t chip_compilations(void);

#endif
