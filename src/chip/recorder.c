/* The calls of a sub-graph that is being built: each goes to the run, then into the records of all that are being built. */
#include "base/memory.h"
#include "chip/record.h"
#include "chip/task_options.h"
#include <stdio.h>
#include <string.h>

static chip_orchestrator *of(baton_orch *o) { return (chip_orchestrator *)o; }

static chip_recorder *innermost(const chip_orchestrator *self) { return self->recorder; }

static const baton_orch_calls *below(const chip_orchestrator *self) { return self->recorded_calls; }

/* --- Places --------------------------------------------------------------------------------------------- */

/* The mark that a view of the innermost sub-graph has for `recorder`. */
static uint16_t mark_for(const chip_orchestrator *self, const chip_recorder *recorder, uint16_t mark) {
  for (const chip_recorder *r = innermost(self); r != recorder && mark; r = r->outer)
    mark = mark <= r->record->nargs ? r->handed[mark - 1].view.mark : 0;
  return mark;
}

static void place_tensor(chip_place *out, chip_origin origin, uint32_t index, const baton_view *view,
                         const baton_view *source) {
  out->origin = origin;
  out->index = index;
  out->arg.view.data = (void *)((uintptr_t)view->data - (uintptr_t)source->data);
}

int chip_recorder_place(const chip_orchestrator *self, const chip_recorder *recorder, const baton_view *view,
                        chip_place *out) {
  uint16_t mark = mark_for(self, recorder, view->mark);
  if (mark) {
    if (mark > recorder->record->nargs || !chip_same_buffer(view, &recorder->handed[mark - 1].view)) return 0;
    place_tensor(out, CHIP_HANDED, mark - 1u, view, &recorder->handed[mark - 1].view);
    return 1;
  }
  for (uint32_t i = recorder->record->nmade; i-- > 0;) {
    if (!chip_same_buffer(view, &recorder->made[i])) continue;
    place_tensor(out, CHIP_MADE, i, view, &recorder->made[i]);
    return 1;
  }
  return 0;
}

static int place_scalar(const chip_orchestrator *self, const chip_recorder *recorder, const baton_arg *arg,
                        chip_place *out) {
  uint16_t mark = mark_for(self, recorder, arg->view.mark);
  out->origin = mark ? CHIP_HANDED : CHIP_CONSTANT;
  out->index = mark ? mark - 1u : 0;
  return mark || !arg->view.argument;
}

/* --- Noting --------------------------------------------------------------------------------------------- */

static void out_of_memory(chip_orchestrator *self) {
  (void)base_out_of_memory(&self->failure, "the record of a sub-graph");
}

static chip_step *add_step(chip_orchestrator *self, chip_record *record, const chip_step *step) {
  if (!chip_record_grow(&record->steps, &record->step_room, record->nsteps, sizeof *step)) {
    out_of_memory(self);
    return NULL;
  }
  chip_step *added = &record->steps[record->nsteps++];
  *added = *step;
  added->options = (baton_task_options){0};
  return added;
}

static void refuse(chip_orchestrator *self, const chip_recorder *recorder, const char *what, uint32_t i,
                   int scalar) {
  baton_error_set(&self->failure, BATON_INVALID_ARGUMENT, "%s: record %s: task %s: argument %u is %s",
                  baton_program_name(self->bindings->program), recorder->record->key, what, i + 1,
                  scalar ? "a scalar of the program, which a record cannot look up"
                         : "neither handed to the record nor made in it");
  baton_error_text(&self->failure, BATON_FIELD_HINT, "put it into the list of arguments of the record");
}

/* Adds `count` arguments; returns where they begin. */
static uint32_t add_places(chip_orchestrator *self, const chip_recorder *recorder, const baton_arg *args,
                           uint32_t count, const char *what) {
  chip_record *record = recorder->record;
  uint32_t first = record->nplaces;
  for (uint32_t i = 0; i < count && !self->failure.code; i++) {
    chip_place place = {.arg = args[i]};
    int scalar = args[i].tag == BATON_SCALAR;
    if (!(scalar ? place_scalar(self, recorder, &args[i], &place)
                 : chip_recorder_place(self, recorder, &args[i].view, &place)))
      refuse(self, recorder, what, i, scalar);
    else if (!chip_record_grow(&record->places, &record->place_room, record->nplaces, sizeof place))
      out_of_memory(self);
    else
      record->places[record->nplaces++] = place;
  }
  return first;
}

static uint32_t find_task(const chip_recorder *recorder, baton_task task) {
  for (uint32_t i = recorder->record->ntasks; i-- > 0;)
    if (recorder->tasks[i].slot == task.slot && recorder->tasks[i].generation == task.generation) return i;
  return UINT32_MAX;
}

static void add_deps(chip_orchestrator *self, const chip_recorder *recorder, chip_step *step,
                     const baton_task *deps, uint32_t ndeps, const char *what) {
  chip_record *record = recorder->record;
  step->first_dep = record->ndeps;
  step->ndeps = ndeps;
  for (uint32_t i = 0; i < ndeps && !self->failure.code; i++) {
    uint32_t task = find_task(recorder, deps[i]);
    if (task == UINT32_MAX) {
      baton_error_set(&self->failure, BATON_INVALID_ARGUMENT,
                      "%s: record %s: task %s: dep %u is not a task of the record",
                      baton_program_name(self->bindings->program), record->key, what, i + 1);
      baton_error_text(&self->failure, BATON_FIELD_HINT, "pass deps to the call of the record itself");
    } else if (!chip_record_grow(&record->deps, &record->dep_room, record->ndeps, sizeof task)) {
      out_of_memory(self);
    } else {
      record->deps[record->ndeps++] = task;
    }
  }
}

static void add_task(chip_orchestrator *self, chip_recorder *recorder, baton_task task) {
  if (!chip_record_grow(&recorder->tasks, &recorder->task_room, recorder->record->ntasks, sizeof task))
    out_of_memory(self);
  else
    recorder->tasks[recorder->record->ntasks++] = task;
}

/* The tasks that one of the innermost sub-graph waits for, seen from `recorder`: its own deps, else those of the calls
** around it. */
static void deps_for(const chip_orchestrator *self, const chip_recorder *recorder,
                     const baton_task_options *options, const baton_task **deps, uint32_t *ndeps) {
  *deps = options->deps;
  *ndeps = options->ndeps;
  for (const chip_recorder *r = innermost(self); r != recorder && !*ndeps; r = r->outer) {
    *deps = r->deps;
    *ndeps = r->ndeps;
  }
}

static const char *name_of(const chip_orchestrator *self, const chip_step *step,
                           const baton_task_options *options) {
  if (options->name) return options->name;
  for (int i = 0; i < CHIP_PARTS && step->call != CHIP_CALL_DUMMY; i++)
    if (step->lanes[i].kernel >= 0)
      return chip_program_kernel(self->bindings->program, (uint32_t)step->lanes[i].kernel)->name;
  return "dummy";
}

static void add_predicate(chip_orchestrator *self, const chip_recorder *recorder, chip_step *step,
                          const baton_predicate *predicate, const char *what) {
  baton_arg operand;
  char name[300];
  snprintf(name, sizeof name, "%s: predicate", what);
  if (chip_options_operand(self, what, predicate, &operand) != BATON_OK) return;
  step->predicated = 1;
  step->operand = add_places(self, recorder, &operand, 1, name);
  step->op = predicate->op;
  step->value = predicate->value;
}

/* `lists[i]` are the arguments of lane i; lanes may share one. */
static void note_for(chip_orchestrator *self, chip_recorder *recorder, const chip_step *template,
                     const baton_arg *const lists[CHIP_PARTS], const baton_task_options *options,
                     baton_task task) {
  const baton_task *deps;
  uint32_t ndeps, begin = recorder->record->nplaces;
  const char *what = name_of(self, template, options);
  chip_step *step = add_step(self, recorder->record, template);
  for (int i = 0; i < CHIP_PARTS && step; i++) {
    int same = i - 1;
    while (same >= 0 && (lists[same] != lists[i] || step->lanes[same].count < step->lanes[i].count)) same--;
    step->lanes[i].first = same >= 0 ? step->lanes[same].first
                                     : add_places(self, recorder, lists[i], step->lanes[i].count, what);
  }
  if (step && !self->failure.code && options->predicate)
    add_predicate(self, recorder, step, options->predicate, what);
  if (!step || self->failure.code) return;
  if (recorder->record->nplaces - begin > recorder->record->most_places)
    recorder->record->most_places = recorder->record->nplaces - begin;
  deps_for(self, recorder, options, &deps, &ndeps);
  add_deps(self, recorder, step, deps, ndeps, what);
  step->options = *options;
  step->options.deps = NULL;
  step->options.predicate = NULL;
  step->options.ndeps = 0;
  step->options.name = base_strdup(options->name);
  if (options->name && !step->options.name) out_of_memory(self);
  add_task(self, recorder, task);
}

static void note_task(chip_orchestrator *self, const chip_step *step,
                      const baton_arg *const lists[CHIP_PARTS], const baton_task_options *options,
                      baton_task task) {
  for (chip_recorder *r = innermost(self); r && !self->failure.code; r = r->outer)
    note_for(self, r, step, lists, options, task);
}

/* With the deps of the calls around it. */
static baton_task_options outermost_options(const chip_orchestrator *self,
                                            const baton_task_options *options) {
  baton_task_options real = options ? *options : (baton_task_options){0};
  deps_for(self, NULL, &real, &real.deps, &real.ndeps);
  return real;
}

static const baton_task_options *given(const baton_task_options *options) {
  static const baton_task_options none;
  return options ? options : &none;
}

/* --- The calls ------------------------------------------------------------------------------------------ */

static baton_task record_submit(baton_orch *o, baton_core core, int kernel, const baton_arg *args,
                                uint32_t nargs, const baton_task_options *options) {
  const baton_arg *const lists[CHIP_PARTS] = {args};
  baton_task_options real = outermost_options(of(o), options);
  baton_task task = below(of(o))->submit(o, core, kernel, args, nargs, &real);
  chip_step step = {.call = CHIP_CALL_SUBMIT, .core = core, .lanes = {{.kernel = kernel, .count = nargs}}};
  if (!of(o)->failure.code) note_task(of(o), &step, lists, given(options), task);
  return task;
}

static baton_task record_mix(baton_orch *o, const baton_lane *lanes, const baton_task_options *options) {
  const baton_arg *lists[CHIP_PARTS];
  chip_step step = {.call = CHIP_CALL_MIX};
  baton_task_options real = outermost_options(of(o), options);
  baton_task task = below(of(o))->mix(o, lanes, &real);
  for (int i = 0; i < CHIP_PARTS; i++) {
    lists[i] = lanes[i].args;
    step.lanes[i].kernel = lanes[i].kernel;
    step.lanes[i].count = lanes[i].kernel < 0 ? 0 : lanes[i].nargs;
  }
  if (!of(o)->failure.code) note_task(of(o), &step, lists, given(options), task);
  return task;
}

static baton_task record_dummy(baton_orch *o, const baton_arg *args, uint32_t nargs,
                               const baton_task_options *options) {
  const baton_arg *const lists[CHIP_PARTS] = {args};
  baton_task_options real = outermost_options(of(o), options);
  baton_task task = below(of(o))->dummy(o, args, nargs, &real);
  chip_step step = {.call = CHIP_CALL_DUMMY, .lanes = {{.count = nargs}}};
  if (!of(o)->failure.code) note_task(of(o), &step, lists, given(options), task);
  return task;
}

static void note_alloc(chip_orchestrator *self, chip_recorder *recorder, const baton_view *view) {
  chip_record *record = recorder->record;
  chip_place place = {.arg = {.view = *view}};
  chip_step *step = add_step(self, record, &(chip_step){.call = CHIP_CALL_ALLOC});
  if (!step) return;
  if (!chip_record_grow(&record->places, &record->place_room, record->nplaces, sizeof place) ||
      !chip_record_grow(&recorder->made, &recorder->made_room, record->nmade, sizeof *view)) {
    out_of_memory(self);
    return;
  }
  step->lanes[0].first = record->nplaces;
  record->places[record->nplaces++] = place;
  recorder->made[record->nmade++] = *view;
}

static baton_view record_alloc(baton_orch *o, baton_dtype dtype, int ndim, const int64_t *shape) {
  chip_orchestrator *self = of(o);
  baton_view view = below(self)->alloc(o, dtype, ndim, shape);
  for (chip_recorder *r = innermost(self); r && !self->failure.code; r = r->outer) note_alloc(self, r, &view);
  return view;
}

static void record_fill(baton_orch *o, const baton_view *view, const baton_arg *value) {
  chip_orchestrator *self = of(o);
  const baton_arg args[] = {baton_output(*view), *value};
  below(self)->fill(o, view, value);
  for (chip_recorder *r = innermost(self); r && !self->failure.code; r = r->outer) {
    chip_step *step = add_step(self, r->record, &(chip_step){.call = CHIP_CALL_FILL});
    if (step) step->lanes[0].first = add_places(self, r, args, 2, "fill");
    if (r->record->most_places < 2) r->record->most_places = 2;
  }
}

static void record_scope_begin(baton_orch *o, baton_scope_mode mode) {
  chip_orchestrator *self = of(o);
  below(self)->scope_begin(o, mode);
  innermost(self)->scopes++;
  for (chip_recorder *r = innermost(self); r && !self->failure.code; r = r->outer)
    (void)add_step(self, r->record, &(chip_step){.call = CHIP_CALL_SCOPE_BEGIN, .mode = mode});
}

static void record_scope_end(baton_orch *o) {
  chip_orchestrator *self = of(o);
  if (!self->failure.code && innermost(self)->scopes-- == 0)
    baton_error_set(&self->failure, BATON_STATE, "record %s: ended a scope that it did not begin",
                    innermost(self)->record->key);
  below(self)->scope_end(o);
  for (chip_recorder *r = innermost(self); r && !self->failure.code; r = r->outer)
    (void)add_step(self, r->record, &(chip_step){.call = CHIP_CALL_SCOPE_END});
}

static void refuse_element(chip_orchestrator *self, const char *what) {
  if (self->failure.code) return;
  baton_error_set(&self->failure, BATON_UNSUPPORTED, "record %s: %s in a sub-graph that is built once",
                  innermost(self)->record->key, what);
  baton_error_text(&self->failure, BATON_FIELD_HINT,
                   "do it before the call, and hand what was read to the record as an argument");
}

static int record_get(baton_orch *o, const baton_view *view, const int64_t *index, baton_arg *out) {
  (void)view, (void)index, (void)out;
  refuse_element(of(o), "reads an element");
  return 0;
}

static void record_set(baton_orch *o, const baton_view *view, const int64_t *index, const baton_arg *value) {
  (void)view, (void)index, (void)value;
  refuse_element(of(o), "stores an element");
}

/* --- Entering ------------------------------------------------------------------------------------------- */

/* The table that the next call goes through; of a guarded orchestration the one behind its guard. */
static const baton_orch_calls **entry(chip_orchestrator *self) {
  return self->calls ? &self->calls : &self->base.calls;
}

void chip_recorder_enter(chip_orchestrator *self, chip_recorder *recorder) {
  recorder->outer = self->recorder;
  self->recorder = recorder;
  if (recorder->outer) return;
  const baton_orch_calls **calls = entry(self);
  self->recorded_calls = *calls;
  self->recording_calls = **calls;
  self->recording_calls.submit = record_submit;
  self->recording_calls.mix = record_mix;
  self->recording_calls.dummy = record_dummy;
  self->recording_calls.alloc = record_alloc;
  self->recording_calls.get = record_get;
  self->recording_calls.set = record_set;
  self->recording_calls.fill = record_fill;
  self->recording_calls.scope_begin = record_scope_begin;
  self->recording_calls.scope_end = record_scope_end;
  *calls = &self->recording_calls;
}

void chip_recorder_leave(chip_orchestrator *self) {
  self->recorder = self->recorder->outer;
  if (!self->recorder) *entry(self) = self->recorded_calls;
}
