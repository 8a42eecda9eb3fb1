#include "chip/record.h"
#include "base/memory.h"
#include <pthread.h>
#include <string.h>

struct chip_records {
  pthread_mutex_t lock;
  chip_record *first; /* the latest found first */
  uint32_t count;
};

int chip_record_grow(void *items, uint32_t *room, uint32_t count, size_t size) {
  void *block;
  if (count < *room) return 1;
  uint32_t wanted = *room ? 2 * *room : 8;
  memcpy(&block, items, sizeof block);
  block = base_realloc(block, wanted * size);
  if (!block) return 0;
  memcpy(items, &block, sizeof block);
  *room = wanted;
  return 1;
}

void chip_record_free(chip_record *record) {
  if (!record) return;
  for (uint32_t i = 0; i < record->nsteps; i++) base_free((void *)(uintptr_t)record->steps[i].options.name);
  base_free(record->key);
  base_free(record->args);
  base_free(record->steps);
  base_free(record->places);
  base_free(record->results);
  base_free(record->deps);
  base_free(record);
}

/* --- The list of a program ------------------------------------------------------------------------------ */

chip_records *chip_records_open(void) {
  chip_records *records = base_calloc(1, sizeof *records);
  if (records) pthread_mutex_init(&records->lock, NULL);
  return records;
}

void chip_records_close(chip_records *records) {
  if (!records) return;
  chip_records_forget(records);
  pthread_mutex_destroy(&records->lock);
  base_free(records);
}

/* The lock is held. */
static void unlist(chip_records *records, chip_record **link) {
  chip_record *record = *link;
  *link = record->next;
  record->listed = 0;
  records->count--;
  if (!record->uses) chip_record_free(record);
}

void chip_records_forget(chip_records *records) {
  pthread_mutex_lock(&records->lock);
  while (records->first) unlist(records, &records->first);
  pthread_mutex_unlock(&records->lock);
}

void chip_records_add(chip_records *records, chip_record *record) {
  pthread_mutex_lock(&records->lock);
  chip_record **last = &records->first;
  record->uses = 1;
  record->listed = 1;
  record->next = records->first;
  records->first = record;
  if (++records->count > CHIP_RECORDS) {
    while ((*last)->next) last = &(*last)->next;
    unlist(records, last);
  }
  pthread_mutex_unlock(&records->lock);
}

void chip_records_give(chip_records *records, chip_record *record) {
  pthread_mutex_lock(&records->lock);
  int last = --record->uses == 0 && !record->listed;
  pthread_mutex_unlock(&records->lock);
  if (last) chip_record_free(record);
}

static int same_shape(const baton_view *a, const baton_view *b) {
  size_t bytes = a->ndim * sizeof *a->shape;
  return a->dtype == b->dtype && a->ndim == b->ndim && !memcmp(a->shape, b->shape, bytes) &&
         !memcmp(a->strides, b->strides, bytes);
}

/* Argument `i` lies to argument `j` in one list as in the other. */
static int same_aliasing(const baton_arg *a, const baton_arg *b, uint32_t i, uint32_t j) {
  if (a[i].tag == BATON_SCALAR || a[j].tag == BATON_SCALAR) return 1;
  int shared = chip_same_buffer(&a[i].view, &a[j].view);
  if (shared != chip_same_buffer(&b[i].view, &b[j].view)) return 0;
  return !shared || (uintptr_t)a[i].view.data - (uintptr_t)a[j].view.data ==
                        (uintptr_t)b[i].view.data - (uintptr_t)b[j].view.data;
}

static int fits(const chip_record *record, const char *key, uint32_t clusters, const baton_arg *args,
                uint32_t nargs) {
  if (record->clusters != clusters || record->nargs != nargs || strcmp(record->key, key) != 0) return 0;
  for (uint32_t i = 0; i < nargs; i++) {
    int scalar = args[i].tag == BATON_SCALAR;
    if (scalar != (record->args[i].tag == BATON_SCALAR)) return 0;
    if (!scalar && !same_shape(&record->args[i].view, &args[i].view)) return 0;
    for (uint32_t j = 0; j < i; j++)
      if (!same_aliasing(record->args, args, i, j)) return 0;
  }
  return 1;
}

chip_record *chip_records_take(chip_records *records, const char *key, uint32_t clusters,
                               const baton_arg *args, uint32_t nargs) {
  pthread_mutex_lock(&records->lock);
  chip_record **link = &records->first;
  while (*link && !fits(*link, key, clusters, args, nargs)) link = &(*link)->next;
  chip_record *found = *link;
  if (found) {
    *link = found->next;
    found->next = records->first;
    records->first = found;
    found->uses++;
  }
  pthread_mutex_unlock(&records->lock);
  return found;
}

/* --- Submitting again ----------------------------------------------------------------------------------- */

/* One submit of a record; the arrays lie in the orchestrator's scratch memory. */
typedef struct replay {
  chip_orchestrator *self;
  const chip_record *record;
  const baton_arg *handed;
  const baton_task_options *options; /* of the call */
  baton_view *results, *made;
  baton_arg *args;
  baton_task *tasks, *deps;
  uint32_t ntasks, nmade;
} replay;

static void *carve(char **at, size_t bytes) {
  void *block = *at;
  *at += (bytes + 15) & ~(size_t)15;
  return block;
}

static int lay_out(replay *r) {
  const chip_record *record = r->record;
  chip_orchestrator *self = r->self;
  size_t bytes = (record->nresults + (size_t)record->nmade) * sizeof(baton_view) +
                 record->most_places * sizeof(baton_arg) + 2 * (size_t)record->ntasks * sizeof(baton_task) +
                 (size_t)record->ndeps * sizeof(baton_task) + 6 * 16;
  if (bytes > self->replay_room) {
    void *grown = base_realloc(self->replay_memory, bytes);
    if (!grown) return 0;
    self->replay_memory = grown;
    self->replay_room = bytes;
  }
  char *at = self->replay_memory;
  r->results = carve(&at, record->nresults * sizeof(baton_view));
  r->made = carve(&at, record->nmade * sizeof(baton_view));
  r->args = carve(&at, record->most_places * sizeof(baton_arg));
  r->tasks = carve(&at, record->ntasks * sizeof(baton_task));
  r->deps = carve(&at, (record->ntasks + (size_t)record->ndeps) * sizeof(baton_task));
  return 1;
}

static baton_view view_of(const replay *r, const chip_place *place) {
  const baton_view *source =
      place->origin == CHIP_HANDED ? &r->handed[place->index].view : &r->made[place->index];
  baton_view view = place->arg.view;
  view.data = (void *)((uintptr_t)source->data + (uintptr_t)place->arg.view.data);
  view.base = source->base;
  view.block = source->block;
  view.generation = source->generation;
  view.argument = source->argument;
  view.mark = source->mark;
  return view;
}

static void fill_args(const replay *r, uint32_t first, uint32_t count, baton_arg *args) {
  for (uint32_t i = 0; i < count; i++) {
    const chip_place *place = &r->record->places[first + i];
    if (place->arg.tag == BATON_SCALAR && place->origin == CHIP_HANDED) {
      args[i] = r->handed[place->index];
    } else {
      args[i] = place->arg;
      if (place->arg.tag != BATON_SCALAR) args[i].view = view_of(r, place);
    }
  }
}

/* `predicate` lives as long as the options. */
static baton_task_options options_of(const replay *r, const chip_step *step, baton_predicate *predicate) {
  baton_task_options options = step->options;
  if (step->predicated) {
    *predicate = (baton_predicate){.op = step->op, .value = step->value};
    predicate->tensor = view_of(r, &r->record->places[step->operand]);
    options.predicate = predicate;
  }
  options.deps = step->ndeps ? r->deps : r->options->deps;
  options.ndeps = step->ndeps ? step->ndeps : r->options->ndeps;
  for (uint32_t i = 0; i < step->ndeps; i++) r->deps[i] = r->tasks[r->record->deps[step->first_dep + i]];
  return options;
}

static baton_task repeat_mix(const replay *r, const chip_step *step, const baton_task_options *options) {
  baton_lane lanes[CHIP_PARTS];
  baton_arg *at = r->args;
  for (int i = 0; i < CHIP_PARTS; i++) {
    int same = i - 1;
    while (same >= 0 && (step->lanes[same].first != step->lanes[i].first ||
                         step->lanes[same].count < step->lanes[i].count))
      same--;
    lanes[i] = baton_lane_of(step->lanes[i].kernel, same < 0 ? at : lanes[same].args, step->lanes[i].count);
    if (same >= 0) continue;
    fill_args(r, step->lanes[i].first, step->lanes[i].count, at);
    at += step->lanes[i].count;
  }
  return chip_orchestrator_calls(r->self)->mix(&r->self->base, lanes, options);
}

static baton_task repeat_task(const replay *r, const chip_step *step) {
  const baton_orch_calls *calls = chip_orchestrator_calls(r->self);
  baton_predicate predicate;
  baton_task_options options = options_of(r, step, &predicate);
  uint32_t count = step->lanes[0].count;
  if (step->call == CHIP_CALL_MIX) return repeat_mix(r, step, &options);
  fill_args(r, step->lanes[0].first, count, r->args);
  if (step->call == CHIP_CALL_DUMMY) return calls->dummy(&r->self->base, r->args, count, &options);
  return calls->submit(&r->self->base, step->core, step->lanes[0].kernel, r->args, count, &options);
}

static void repeat_step(replay *r, const chip_step *step) {
  const baton_orch_calls *calls = chip_orchestrator_calls(r->self);
  const baton_view *shape;
  baton_arg fill[2];
  switch (step->call) {
  case CHIP_CALL_ALLOC:
    shape = &r->record->places[step->lanes[0].first].arg.view;
    r->made[r->nmade++] = calls->alloc(&r->self->base, (baton_dtype)shape->dtype, shape->ndim, shape->shape);
    break;
  case CHIP_CALL_FILL:
    fill_args(r, step->lanes[0].first, 2, fill);
    calls->fill(&r->self->base, &fill[0].view, &fill[1]);
    break;
  case CHIP_CALL_SCOPE_BEGIN: calls->scope_begin(&r->self->base, step->mode); break;
  case CHIP_CALL_SCOPE_END: calls->scope_end(&r->self->base); break;
  default: r->tasks[r->ntasks++] = repeat_task(r, step);
  }
}

/* One task for all of them. */
static baton_task join(chip_orchestrator *self, const baton_task *tasks, uint32_t ntasks, const char *name,
                       const baton_task_options *options) {
  if (ntasks == 1) return tasks[0];
  baton_task_options all = {
      .deps = ntasks ? tasks : options->deps, .ndeps = ntasks ? ntasks : options->ndeps, .name = name};
  return chip_orchestrator_calls(self)->dummy(&self->base, NULL, 0, &all);
}

static baton_task repeat(chip_orchestrator *self, const chip_record *record, const baton_arg *handed,
                         const baton_task_options *options, const baton_view **results) {
  replay r = {.self = self, .record = record, .handed = handed, .options = options};
  if (!lay_out(&r)) {
    (void)base_out_of_memory(&self->failure, "the tasks of a record");
    return (baton_task){0};
  }
  for (uint32_t i = 0; i < record->nsteps && !self->failure.code; i++) repeat_step(&r, &record->steps[i]);
  if (self->failure.code) return (baton_task){0};
  for (uint32_t i = 0; i < record->nresults; i++) r.results[i] = view_of(&r, &record->results[i]);
  *results = r.results;
  return join(self, r.tasks, r.ntasks, record->key, options);
}

/* --- Building ------------------------------------------------------------------------------------------- */

static void free_recorder(chip_recorder *recorder) {
  if (!recorder) return;
  chip_record_free(recorder->record);
  base_free(recorder->handed);
  base_free(recorder->tasks);
  base_free(recorder->made);
  base_free(recorder);
}

static chip_recorder *new_recorder(const char *key, uint32_t clusters, const baton_arg *args, uint32_t nargs,
                                   const baton_task_options *options) {
  chip_recorder *recorder = base_calloc(1, sizeof *recorder);
  if (!recorder) return NULL;
  chip_record *record = recorder->record = base_calloc(1, sizeof *record);
  recorder->handed = base_alloc(nargs * sizeof *args + 1);
  if (record) {
    record->key = base_strdup(key);
    record->args = base_alloc(nargs * sizeof *args + 1);
  }
  if (!record || !record->key || !record->args || !recorder->handed) {
    free_recorder(recorder);
    return NULL;
  }
  if (nargs) memcpy(recorder->handed, args, nargs * sizeof *args);
  if (nargs) memcpy(record->args, args, nargs * sizeof *args);
  for (uint32_t i = 0; i < nargs; i++) record->args[i].view.mark = (uint16_t)(i + 1);
  record->nargs = nargs;
  record->clusters = clusters;
  recorder->deps = options->deps;
  recorder->ndeps = options->ndeps;
  return recorder;
}

void chip_record_result(chip_orchestrator *self, const baton_view *view) {
  chip_recorder *recorder = self->recorder;
  chip_record *record = recorder->record;
  chip_place place = {.arg = {.view = *view}};
  if (self->failure.code) return;
  if (!chip_recorder_place(self, recorder, view, &place))
    baton_error_set(&self->failure, BATON_INVALID_ARGUMENT,
                    "%s: record %s: result %u is neither handed to the record nor made in it",
                    baton_program_name(self->bindings->program), record->key, record->nresults + 1);
  else if (!chip_record_grow(&record->results, &record->result_room, record->nresults, sizeof place))
    (void)base_out_of_memory(&self->failure, "the record of a sub-graph");
  else
    record->results[record->nresults++] = place;
}

void chip_record_abandon(chip_orchestrator *self) { self->recorder->abandoned = 1; }

void chip_record_clear(chip_orchestrator *self) {
  while (self->recorder) {
    chip_recorder *recorder = self->recorder;
    chip_recorder_leave(self);
    free_recorder(recorder);
  }
}

/* The tensors that were handed out, as the caller knows them. */
static int show_results(chip_orchestrator *self, const chip_recorder *recorder, const baton_view **results) {
  replay r = {.self = self, .record = recorder->record, .handed = recorder->handed};
  if (!lay_out(&r)) return 0;
  if (recorder->record->nmade)
    memcpy(r.made, recorder->made, recorder->record->nmade * sizeof *recorder->made);
  for (uint32_t i = 0; i < recorder->record->nresults; i++)
    r.results[i] = view_of(&r, &recorder->record->results[i]);
  *results = r.results;
  return 1;
}

static void build(chip_orchestrator *self, chip_recorder *recorder, const chip_sub_graph *sub_graph) {
  chip_recorder_enter(self, recorder);
  sub_graph->build(self, recorder->record->args, recorder->record->nargs, sub_graph->context);
  if (!self->failure.code && !recorder->abandoned && recorder->scopes)
    baton_error_set(&self->failure, BATON_STATE, "%s: record %s: %u scopes that it began are still open",
                    baton_program_name(self->bindings->program), recorder->record->key, recorder->scopes);
  chip_recorder_leave(self);
}

static baton_task record(chip_orchestrator *self, const chip_sub_graph *sub_graph, const baton_arg *args,
                         uint32_t nargs, const baton_task_options *options, const baton_view **results,
                         uint32_t *nresults) {
  uint32_t clusters = self->base.calls->clusters(&self->base);
  chip_recorder *recorder = new_recorder(sub_graph->key, clusters, args, nargs, options);
  baton_task task = {0};
  if (!recorder) {
    (void)base_out_of_memory(&self->failure, "the record of a sub-graph");
    return task;
  }
  build(self, recorder, sub_graph);
  if (!self->failure.code && !recorder->abandoned) {
    chip_record *finished = recorder->record;
    task = join(self, recorder->tasks, finished->ntasks, finished->key, options);
    *nresults = finished->nresults;
    if (show_results(self, recorder, results)) {
      chip_records *records = chip_program_records(self->bindings->program);
      recorder->record = NULL;
      chip_records_add(records, finished);
      chip_records_give(records, finished);
    } else {
      (void)base_out_of_memory(&self->failure, "the tensors of a record");
    }
  }
  free_recorder(recorder);
  return task;
}

/* --- The call ------------------------------------------------------------------------------------------- */

static int check_args(chip_orchestrator *self, const char *key, const baton_arg *args, uint32_t nargs) {
  const char *program = baton_program_name(self->bindings->program);
  if (nargs > UINT16_MAX)
    baton_error_set(&self->failure, BATON_OUT_OF_RANGE, "%s: record %s: %u arguments, at most %d", program,
                    key, nargs, UINT16_MAX);
  for (uint32_t i = 0; i < nargs && !self->failure.code; i++) {
    if (args[i].tag == BATON_SCALAR) continue;
    if (args[i].tag != BATON_UNTAGGED)
      baton_error_set(&self->failure, BATON_INVALID_ARGUMENT,
                      "%s: record %s: argument %u has a tag; tags belong to the tasks of the sub-graph",
                      program, key, i + 1);
    else if (!args[i].view.dtype)
      baton_error_set(&self->failure, BATON_OUT_OF_RANGE,
                      "%s: record %s: argument %u is the result of a view operation that does not fit its "
                      "tensor",
                      program, key, i + 1);
  }
  return !self->failure.code;
}

baton_task chip_record_call(chip_orchestrator *self, const chip_sub_graph *sub_graph, const baton_arg *args,
                            uint32_t nargs, const baton_task_options *options, const baton_view **results,
                            uint32_t *nresults) {
  static const baton_task_options none;
  *results = NULL;
  *nresults = 0;
  if (self->failure.code || !check_args(self, sub_graph->key, args, nargs)) return (baton_task){0};
  chip_records *records = chip_program_records(self->bindings->program);
  uint32_t clusters = self->base.calls->clusters(&self->base);
  chip_record *found = chip_records_take(records, sub_graph->key, clusters, args, nargs);
  if (!options) options = &none;
  if (!found) return record(self, sub_graph, args, nargs, options, results, nresults);
  baton_task task = repeat(self, found, args, options, results);
  *nresults = found->nresults;
  chip_records_give(records, found);
  return task;
}
