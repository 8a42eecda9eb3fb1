/* chip/orchestrator.h - the calls of baton/orchestration.h over a task engine; the same for every graph runtime.
**
** Lives for one run, on the thread that owns the engine. The first failure is kept; every call after it is a no-op. */
#ifndef CHIP_ORCHESTRATOR_H
#define CHIP_ORCHESTRATOR_H

#include "chip/binding.h"
#include "chip/engine.h"

typedef struct chip_orchestrator {
  baton_orch base; /* first: what the user is handed */
  chip_engine *engine;
  const chip_bindings *bindings;
  uint8_t *touched;      /* by argument of the program: what tasks do to it, TASK_READS | TASK_WRITES */
  const char *full_hint; /* what to do when a resource is full, in the words of the runtime */
  int held;              /* no task runs before the orchestration has returned */
  baton_error failure;   /* code BATON_OK: none */
  const baton_orch_calls *calls; /* behind those that guard an orchestration (chip/guarded.h) */
  chip_guard guard;
  struct chip_looks
      *looks; /* what the orchestration looked at, for a graph that is kept; NULL: nobody wants to know */
  struct chip_recorder *recorder;         /* the innermost sub-graph that is being recorded; NULL: none */
  const baton_orch_calls *recorded_calls; /* behind those that note calls … */
  baton_orch_calls recording_calls;       /* … and these */
  void *replay_memory;                    /* scratch for one submit of a record */
  size_t replay_room;
  struct chip_dictation *dictation; /* of one whose calls are carried out elsewhere (chip/dictation.h) */
  baton_argument *items;            /* what the orchestration is handed */
  uint32_t first_scope;             /* number of the run's own scope */
  chip_value *values;               /* scratch for one submit, `room` of each */
  task_access *accesses;
  uint32_t room;
} chip_orchestrator;

/* The calls of the innermost layer that is in use: records see them, the guard of an orchestration does not. */
static inline const baton_orch_calls *chip_orchestrator_calls(const chip_orchestrator *self) {
  return self->calls ? self->calls : self->base.calls;
}

/* Runs the orchestration of the bindings' program over them; their run task_engine_begin has started. The
** failure of the orchestration goes to `err`. */
BATON_MUST_CHECK baton_status chip_orchestrate(chip_engine *engine, const chip_bindings *bindings, int held,
                                               struct chip_looks *looks, const char *full_hint,
                                               baton_error *err);

/* In steps, for who has calls of its own: an orchestrator with the usual calls, which holds and hides nothing; the function of the
** program, which is a graph; the end, which says what has failed. */
BATON_MUST_CHECK baton_status chip_orchestrator_open(chip_orchestrator *self, chip_engine *engine,
                                                     const chip_bindings *bindings, baton_error *err);
void chip_orchestrator_enter(chip_orchestrator *self);
baton_status chip_orchestrator_close(chip_orchestrator *self, baton_error *err);

/* Bytes of an intermediate; negative, with a failure, if there is none such. */
int64_t chip_alloc_bytes(chip_orchestrator *self, baton_dtype dtype, int ndim, const int64_t *shape);
/* An intermediate, contiguous, but for its block. */
baton_view chip_made_view(uint64_t address, baton_dtype dtype, int ndim, const int64_t *shape);

#endif
