/* baton/program.h - kernels, a signature, and the function that submits the tasks. */
#ifndef BATON_PROGRAM_H
#define BATON_PROGRAM_H

#include <baton/error.h>
#include <baton/orchestration.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_program baton_program;

typedef enum baton_direction {
  BATON_ANY_DIRECTION,
  BATON_IN,
  BATON_OUT,
  BATON_IN_OUT,
  BATON_BY_VALUE
} baton_direction;

/* One dimension of a shape in a signature. */
typedef struct baton_dim {
  const char *name; /* bound where first seen, equal everywhere else; "*": any; NULL: exactly `size` */
  int64_t size;
} baton_dim;

/* One entry of a signature. */
typedef struct baton_parameter {
  const char *name;
  baton_direction direction; /* BATON_BY_VALUE: a scalar */
  uint32_t dtypes;           /* set of 1u << baton_dtype; 0: any */
  int32_t ndim;              /* meant if has_shape */
  int32_t has_shape;         /* 0: any shape */
  baton_dim shape[BATON_MAX_DIMS];
} baton_parameter;

typedef void (*baton_kernel_function)(const baton_args *args);
typedef void (*baton_orchestrate)(baton_orch *o, const baton_args *args);

/* One kernel: exactly one of source, code, object and function. Lists of strings end with NULL. */
typedef struct baton_kernel_options {
  const char *name;
  baton_core core;
  const char *source;             /* a file: C11, or C++17 if it ends in .cc or .cpp */
  const char *code;               /* C11 text */
  const char *code_file;          /* where `code` stands, for the compiler's messages; NULL: unknown */
  uint32_t code_line;             /* its first line there, from 1 */
  const char *object;             /* a shared object, loaded as it is */
  baton_kernel_function function; /* a function of this process */
  const char *entry;              /* NULL: the name */
  const char *const *cflags, *const *include, *const *libs;
  const baton_parameter *params; /* NULL: no signature */
  uint32_t nparams;
  int strided; /* takes any view; 0: contiguous tensors only */
  int waits;   /* may wait for other kernels while it runs, also in tasks without sync_start */
} baton_kernel_options;

/* Exactly one of orchestrate, orchestration_source, orchestration_code, orchestration_object and host. */
typedef struct baton_program_options {
  const char *name;
  const char *directory;         /* relative paths start here; NULL: the working directory */
  const baton_parameter *params; /* NULL: no signature, arguments go unchecked */
  uint32_t nparams;
  const baton_kernel_options *kernels;
  uint32_t nkernels;
  baton_orchestrate orchestrate; /* a function of this process */
  int graph;                     /* `orchestrate` must be called on the thread that submits (a Lua graph) */
  int explicit_edges; /* only `deps` order the tasks, in every scope; 0: also what they read and write */
  int rebuild;        /* every run on host_build_graph builds its graph anew; 0: graphs are kept */
  const char *orchestration_source, *orchestration_code, *orchestration_object;
  const char *orchestration_code_file; /* as in a kernel */
  uint32_t orchestration_code_line;
  const char *orchestration_entry; /* NULL: the program's name */
  const char *const *orchestration_cflags, *const *orchestration_include, *const *orchestration_libs;
  const char *const *cflags, *const *include, *const *libs; /* of the orchestration and of every kernel */
  /* A function of the host instead: it runs on the thread of a worker or sub worker of a node, over host memory, in tasks
  ** (baton/node.h). It gets tensors as the task has them, strided ones too. Of these options count source … libs, and
  ** `name` (NULL: the program's); no kernels beside it. */
  const baton_kernel_options *host;
} baton_program_options;

/* Checks the options and copies them. Compiles nothing yet. The caller owns *out and closes it; runs that
** use the program keep it alive. Any thread. */
BATON_MUST_CHECK baton_status baton_program_create(const baton_program_options *options, baton_program **out,
                                                   baton_error *err);

/* Compiles and loads what the program needs; does nothing the second time. `compile_failed` carries the
** compiler's output as it is. Any thread; threads that compile the same program wait for each other. */
BATON_MUST_CHECK baton_status baton_program_compile(baton_program *program, baton_error *err);

/* The program's name; lives as long as the program. */
const char *baton_program_name(const baton_program *program);

/* The names of the runtimes that carry the program, the default one first; NULL behind the last. Static. */
const char *baton_program_runtime(const baton_program *program, uint32_t index);

/* Drops the graphs that were built on host_build_graph and kept. Any thread. */
void baton_program_forget(baton_program *program);

/* Gives back the caller's hold. NULL is ignored. */
void baton_program_close(baton_program *program);

#ifdef __cplusplus
}
#endif
#endif
