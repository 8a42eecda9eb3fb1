/* chip/program/program.h - what the chip layer sees of a program. */
#ifndef CHIP_PROGRAM_H
#define CHIP_PROGRAM_H

#include "base/atomic.h"
#include "chip/program/signature.h"
#include <baton/program.h>

/* A kernel; lives as long as its program and does not change after baton_program_compile. */
typedef struct chip_kernel {
  const char *name;
  const char *who; /* begins messages: "gemm: kernel tile" */
  baton_core core;
  int strided;                     /* takes any view */
  int waits;                       /* may wait for other kernels while it runs */
  int local;                       /* a function of this process: other processes cannot run it */
  uint32_t number;                 /* among all kernels of this process; the engine keeps its cost under it */
  const chip_signature *signature; /* NULL: none */
  baton_kernel_function function;  /* set by baton_program_compile */
} chip_kernel;

/* Another hold of the program, given back by baton_program_close. Any thread. */
baton_program *chip_program_hold(baton_program *program);

/* Unique in this process, and never that of another program. */
uint64_t chip_program_number(const baton_program *program);

/* NULL if the program has no signature: its arguments go unchecked. */
const chip_signature *chip_program_signature(const baton_program *program);

/* The function that submits the tasks; set by baton_program_compile. */
baton_orchestrate chip_program_orchestrate(const baton_program *program);

/* True if `orchestrate` must be called on the thread that submits the run. */
int chip_program_is_graph(const baton_program *program);

/* True for a function of the host; and the function, as a kernel that no chip runs. */
int chip_program_is_host(const baton_program *program);
const chip_kernel *chip_program_host(const baton_program *program);

/* The graph function as bytes that another process can call; what they mean is known to who gave them. Kept by the first
** call, any later one is ignored. Any thread. */
BATON_MUST_CHECK baton_status chip_program_set_script(baton_program *program, const void *bytes,
                                                      uint64_t size, baton_error *err);
/* NULL: it has none. They live as long as the program. Any thread. */
const void *chip_program_script(const baton_program *program, uint64_t *size);

/* True if only `deps` order its tasks. */
int chip_program_is_explicit(const baton_program *program);

/* True if the program holds functions of this process, so that no other process can run it. A graph with a script does
** not. */
int chip_program_is_local(const baton_program *program);

/* What another process loads to call kernel `index`, or for CHIP_PROGRAM_BODY the orchestration or the function of the host:
** the shared object and its function there. False: a function of this process. After baton_program_compile. */
#define CHIP_PROGRAM_BODY UINT32_MAX
int chip_program_object(const baton_program *program, uint32_t index, const char **path, const char **entry);

/* What its runs take, in ns, as chip/brief.c has learnt; 0: nothing is known. */
_Atomic uint64_t *chip_program_brief(baton_program *program);

/* The graphs that its runs have built. Any thread. */
struct chip_kept *chip_program_kept(baton_program *program);
/* The sub-graphs that its runs have recorded. Any thread. */
struct chip_records *chip_program_records(const baton_program *program);
/* False if every run shall build its own. */
int chip_program_keeps(const baton_program *program);

/* Kernels are numbered from 0 in the order of the options. */
uint32_t chip_program_kernel_count(const baton_program *program);
const chip_kernel *chip_program_kernel(const baton_program *program, uint32_t index);
/* The number of a kernel; -1 if there is none of that name. */
int chip_program_find_kernel(const baton_program *program, const char *name);

/* Compares the arguments of one task with its kernel: its signature, if it has one, and contiguous tensors
** unless it takes any view. Converts scalars in place, as chip_signature_check. */
BATON_MUST_CHECK baton_status chip_kernel_check(const chip_kernel *kernel, chip_value *values, uint32_t count,
                                                baton_error *err);

#endif
