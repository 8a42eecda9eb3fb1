/* chip/executor/call.h - one call of a kernel. Private to the executor. */
#ifndef CHIP_CALL_H
#define CHIP_CALL_H

#include "chip/executor/executor.h"

struct chip_strand;

#define CHIP_NO_CORE UINT32_MAX

typedef enum chip_reason {
  CHIP_USER_FAIL,
  CHIP_MISUSE,
  CHIP_UNSUPPORTED,
  CHIP_STALLED, /* waited while the run made no progress */
  CHIP_GIVEN_UP /* waited while the run was stopped or another kernel of its task failed: no report */
} chip_reason;

typedef struct chip_call {
  baton_args args; /* first: the kernel hands it back */
  chip_guard guard;
  const chip_kernel *kernel;
  const char *task;
  struct chip_strand *strand; /* where it may wait; NULL: nowhere */
  chip_reason reason;         /* why it left by itself … */
  const char *hint;           /* … what to do about it (NULL: nothing is known) … */
  char message[1024];         /* … and in its own words */
} chip_call;

static inline chip_call *chip_call_of(const baton_args *args) { return (chip_call *)(uintptr_t)args; }

/* What the call needs of its task, for instance `block` of it and part `part` of a mixed one; the core is missing. */
void chip_call_make(chip_call *call, const chip_payload *payload, uint32_t block, uint32_t part,
                    const chip_pulse *pulse);

/* Calls the kernel; true: it failed, which was reported. */
int chip_call_kernel(chip_executor *executor, chip_call *call);

/* From a function that the kernel called: ends it. */
_Noreturn void chip_call_leave(chip_call *call, chip_reason reason, const char *fmt, ...) BATON_PRINTF(3, 4);

/* A failure of a task that no kernel reported. */
void chip_call_report(chip_executor *executor, const chip_call *call);

/* extra.c: begins a task with a chip_extra. As chip_executor_run. */
int chip_extra_run(chip_executor *executor, chip_lane *lane, const task_call *task);
/* Cores for the next of `left` instances of a task that has `held` ones already. Returns how many; 0: none now. */
uint32_t chip_extra_reserve(chip_cores *cores, const chip_extra *extra, uint32_t kind, uint32_t left,
                            uint32_t held, uint8_t *places);
/* It has ended, well or not. */
void chip_extra_end(chip_lane *lane, const chip_extra *extra);

/* waiting.c: begins a task whose kernels may wait, or for which no core is free now. As chip_executor_run. */
int chip_waiting_begin(chip_executor *executor, chip_lane *lane, const task_call *task);
void chip_waiting_close(chip_lane *lane);

/* The services of kernels that wait. */
void chip_waiting_wait(const baton_args *args, const int32_t *counter, int32_t value);
void chip_waiting_yield(const baton_args *args);
void chip_waiting_barrier(const baton_args *args);

#endif
