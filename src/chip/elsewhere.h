/* chip/elsewhere.h - a worker whose kernels run elsewhere: in a child process.
**
** Device, memory, arguments, copies, runs and rounds are here, as for any worker; the child maps the same memory. What is
** elsewhere is the execution: in the place of the lanes of a launch the table is asked to have the program run over memory that
** is placed already. So what a user sees of checks, messages, buffers and rounds is the same code.
**
** The engine of a run here executes nothing: it stands for the heap, which the run takes of the device's memory. Graphs must be
** called on the thread that submits. On host_build_graph they are, over this engine, before the launch, and what runs elsewhere
** is another graph of the same calls; on tensormap_and_ringbuffer they are dictated while the run has its turn
** (chip/dictation.h). */
#ifndef CHIP_ELSEWHERE_H
#define CHIP_ELSEWHERE_H

#include "chip/dictation.h"
#include <baton/worker.h>

typedef struct chip_elsewhere {
  /* On the thread that submits: whether the program can go there; `unsupported` if not. May wait for what the worker runs. */
  baton_status (*accept)(void *context, baton_program *program, baton_error *err);

  /* On the device's thread, in the order of the launches: runs the program of a run, whose arguments are placed. Its failure goes
  ** into the run, as do its times. What has crashed or hung has been replaced when this returns; if it cannot be, the worker is
  ** lost. */
  void (*execute)(void *context, baton_run *run);

  /* On the thread that submits, while `execute` waits: who takes what the graph of the run dictates, until its function has
  ** returned. */
  void (*listen)(void *context, baton_run *run, chip_sink *out);

  /* run->cancelled is set; any run of the worker, begun or not. Any thread, with the lock of the worker held. */
  void (*cancel)(void *context, const baton_run *run);

  /* The worker is being closed: what still runs, cancelled, is ended by force soon. Any thread. */
  void (*hurry)(void *context);

  /* Makes a new place, whatever the old one was like; nothing runs. */
  baton_status (*restart)(void *context, baton_error *err);

  /* Adds what was counted there. Any thread, with the lock of the worker held. */
  void (*stats)(void *context, baton_stats *out);
  void (*describe)(void *context, chip_text *text);

  /* Ends it and frees the context, whatever fails; the status says what did. Nothing runs, the device is closed. */
  baton_status (*close)(void *context, baton_error *err);
} chip_elsewhere;

/* From now on the worker, which nobody uses yet, executes there. The table is static; the context is the worker's. */
void chip_worker_move(baton_worker *worker, const chip_elsewhere *table, void *context);

/* There is no place any more, and no new one, for `why`: the worker is lost, and its unfinished runs fail. Any thread. */
void chip_worker_lose_place(baton_worker *worker, const baton_error *why);

/* baton_worker_open with process isolation. The layer above provides it; a program that opens workers links it. */
BATON_MUST_CHECK baton_status chip_open_elsewhere(const baton_worker_options *options, baton_worker **out,
                                                  baton_error *err);

#endif
