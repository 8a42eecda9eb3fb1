/* chip/record.h - sub-graphs that are built once and then submitted as one call.
**
** While a sub-graph is built, its calls go to the run as always, and are noted (chip/recorder.c): each argument as a place
** in what the sub-graph was handed, or in what it has made itself. Submitting it again makes the same calls with the tensors
** and scalars of the moment, so that all of a submit holds: checks, inference, scopes. A record does not change any more and
** is shared by all runs of its program, on any thread; the program owns the list, and a record that is in use when it
** leaves the list is freed when its user gives it back. */
#ifndef CHIP_RECORD_H
#define CHIP_RECORD_H

#include "chip/orchestrator.h"

enum { CHIP_RECORDS = 256 }; /* of a program; the one that was found longest ago goes first */

typedef enum chip_origin { CHIP_CONSTANT, CHIP_HANDED, CHIP_MADE } chip_origin;

/* Where an argument comes from: `index` counts what the sub-graph was handed, or the intermediates that it has made. Of a
** tensor `view.data` is the distance in bytes from the start of that. */
typedef struct chip_place {
  chip_origin origin;
  uint32_t index;
  baton_arg arg;
} chip_place;

typedef enum chip_call {
  CHIP_CALL_SUBMIT,
  CHIP_CALL_MIX,
  CHIP_CALL_DUMMY,
  CHIP_CALL_ALLOC,
  CHIP_CALL_FILL,
  CHIP_CALL_SCOPE_BEGIN,
  CHIP_CALL_SCOPE_END
} chip_call;

/* One call of the sub-graph. Its tensors and scalars are places of the record. */
typedef struct chip_step {
  chip_call call;
  baton_core core;
  baton_scope_mode mode;
  struct {
    int kernel;
    uint32_t first, count;
  } lanes[CHIP_PARTS]; /* a submit has one */
  uint32_t first_dep, ndeps;
  baton_task_options options; /* without deps and predicate; the name is the step's own */
  int predicated;             /* by the element at … */
  uint32_t operand;           /* … this place */
  baton_compare op;
  int64_t value;
} chip_step;

typedef struct chip_record {
  char *key;
  uint32_t clusters, uses;
  int listed;
  baton_arg *args; /* what it was built over */
  uint32_t nargs;
  chip_step *steps;
  chip_place *places;
  chip_place *results; /* tensors that the sub-graph hands out */
  uint32_t *deps;      /* numbers of tasks, in the order of their submits */
  uint32_t nsteps, nplaces, nresults, ndeps, ntasks, nmade, most_places;
  uint32_t step_room, place_room, result_room, dep_room;
  struct chip_record *next;
} chip_record;

typedef struct chip_records chip_records;

/* True if both views lie in one buffer, in the same use of it. */
static inline int chip_same_buffer(const baton_view *a, const baton_view *b) {
  return a->base == b->base && a->block == b->block && a->generation == b->generation;
}

/* NULL when memory is out. */
chip_records *chip_records_open(void);
/* No run may use a record. NULL is ignored. */
void chip_records_close(chip_records *records);
void chip_records_forget(chip_records *records);

/* Puts a finished record into the list, used once. */
void chip_records_add(chip_records *records, chip_record *record);
/* Ends a use. */
void chip_records_give(chip_records *records, chip_record *record);
void chip_record_free(chip_record *record);

/* --- Calling -------------------------------------------------------------------------------------------- */

/* `build` gets the arguments with the marks by which they are told from others; it may call chip_record_result and
** chip_record_abandon. */
typedef struct chip_sub_graph {
  const char *key;
  void (*build)(chip_orchestrator *self, const baton_arg *args, uint32_t nargs, void *context);
  void *context;
} chip_sub_graph;

/* Submits the sub-graph, and builds it if there is none of that key over such arguments. `deps` of the options come before
** all of it. Returns a task that is over when all of it is; *results are the tensors that it hands out, until the next call.
** A failure is left in the orchestrator. */
baton_task chip_record_call(chip_orchestrator *self, const chip_sub_graph *sub_graph, const baton_arg *args,
                            uint32_t nargs, const baton_task_options *options, const baton_view **results,
                            uint32_t *nresults);

/* For the sub-graph that is being built: hands out a tensor; drops the record when the call is over, because the building
** has ended early. */
void chip_record_result(chip_orchestrator *self, const baton_view *view);
void chip_record_abandon(chip_orchestrator *self);

/* Gives up what is being built, because the orchestration was left. */
void chip_record_clear(chip_orchestrator *self);

/* The number of clusters and the arguments make the record `args` was built for the right one: types, shapes, strides and
** aliasing. */
chip_record *chip_records_take(chip_records *records, const char *key, uint32_t clusters,
                               const baton_arg *args, uint32_t nargs);

/* --- Building: chip/recorder.c -------------------------------------------------------------------------- */

/* One sub-graph that is being built, on the thread of its orchestration. */
typedef struct chip_recorder {
  struct chip_recorder *outer;
  chip_record *record;
  baton_arg *handed; /* with the marks of the outer one */
  const baton_task *deps;
  uint32_t ndeps;
  baton_task *tasks; /* `ntasks` of the record */
  baton_view *made;  /* `nmade` of the record */
  uint32_t task_room, made_room, scopes;
  int abandoned;
} chip_recorder;

/* Begins and ends the noting of calls. The recorder in the orchestrator is the innermost one. */
void chip_recorder_enter(chip_orchestrator *self, chip_recorder *recorder);
void chip_recorder_leave(chip_orchestrator *self);

/* Where a tensor of the innermost sub-graph comes from, for `recorder`, which is that one or one around it. False: from
** nowhere that it knows. */
int chip_recorder_place(const chip_orchestrator *self, const chip_recorder *recorder, const baton_view *view,
                        chip_place *out);

/* Room for one more; false when memory is out. */
int chip_record_grow(void *items, uint32_t *room, uint32_t count, size_t size);

#endif
