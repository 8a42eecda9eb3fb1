/* The side that follows. */
#include "base/memory.h"
#include "chip/dictation.h"
#include "chip/dictation_format.h"
#include "chip/record.h"
#include <assert.h>
#include <string.h>

static chip_orchestrator *orchestrator_of(const chip_follower *self) { return (chip_orchestrator *)self->o; }

static int has_failed(const chip_follower *self) { return orchestrator_of(self)->failure.code != BATON_OK; }

static void out_of_memory(const chip_follower *self) {
  if (!has_failed(self)) (void)base_out_of_memory(&orchestrator_of(self)->failure, "the calls of a graph");
}

/* --- Arguments ------------------------------------------------------------------------------------------ */

/* The buffer that a tensor lies in; NULL: none of this run. */
static const baton_view *find_buffer(const chip_follower *self, const chip_said_arg *said) {
  const chip_bindings *bindings = orchestrator_of(self)->bindings;
  if (said->origin == CHIP_FROM_MADE) return said->number < self->nmade ? &self->made[said->number] : NULL;
  if (said->origin != CHIP_FROM_ARGUMENT || said->number >= bindings->count) return NULL;
  const chip_binding *binding = &bindings->items[said->number];
  return binding->argument.view ? &binding->view : NULL;
}

static void read_view(const chip_follower *self, const chip_said_arg *said, baton_view *view) {
  const baton_view *buffer = find_buffer(self, said);
  const int64_t *sizes = chip_said_sizes(said);
  size_t bytes = said->ndim * sizeof *sizes;
  view->base = buffer ? buffer->base : 0;
  view->data = (void *)(uintptr_t)(view->base + said->value);
  view->block = buffer ? buffer->block : 0;
  view->generation = buffer ? buffer->generation : 0;
  view->argument = buffer ? buffer->argument : 0;
  view->dtype = said->dtype;
  view->ndim = said->ndim;
  view->mark = 0;
  memcpy(view->shape, sizes, bytes);
  memcpy(view->strides, sizes + said->ndim, bytes);
}

/* What is handed on unseen is the scalar of this run. */
static void read_scalar(const chip_follower *self, const chip_said_arg *said, baton_arg *arg) {
  uint32_t argument = said->number - 1;
  const baton_args *args = self->args;
  arg->tag = BATON_SCALAR;
  arg->dtype = (baton_dtype)said->dtype;
  arg->scalar.u64 = said->value;
  arg->view.argument = 0;
  arg->view.mark = 0;
  if (argument >= args->count || args->items[argument].view) return;
  arg->dtype = (baton_dtype)args->items[argument].dtype;
  arg->scalar.u64 = args->items[argument].value.u64;
  arg->view.argument = said->number;
}

static const chip_said_arg *read_arg(const chip_follower *self, const chip_said_arg *said, baton_arg *arg) {
  if (said->tag == BATON_SCALAR) {
    read_scalar(self, said, arg);
  } else {
    arg->tag = (baton_tag)said->tag;
    arg->dtype = (baton_dtype)said->dtype;
    read_view(self, said, &arg->view);
  }
  return chip_said_next(said);
}

/* The arguments of a task, in the scratch of the follower. False: no memory. */
static int read_args(chip_follower *self, const chip_heard *heard) {
  if (heard->nargs > self->room) {
    uint32_t room = heard->nargs < 16 ? 16 : heard->nargs;
    baton_arg *list = base_realloc(self->list, room * sizeof *list);
    if (!list) return 0;
    self->list = list;
    self->room = room;
  }
  const chip_said_arg *at = heard->args;
  for (uint32_t i = 0; i < heard->nargs; i++) at = read_arg(self, at, &self->list[i]);
  return 1;
}

/* --- Tasks ---------------------------------------------------------------------------------------------- */

/* What belongs to the options of a task, for the time of its call. */
typedef struct followed_options {
  baton_task_options options;
  baton_predicate predicate;
  baton_task few[8], *deps;
} followed_options;

static int read_deps(const chip_follower *self, const chip_heard *heard, followed_options *out) {
  static const baton_task unknown = {UINT32_MAX, UINT32_MAX};
  uint32_t ndeps = heard->options->ndeps;
  out->deps = out->few;
  if (ndeps > sizeof out->few / sizeof *out->few) out->deps = base_alloc(ndeps * sizeof *out->deps);
  if (!out->deps) return 0;
  for (uint32_t i = 0; i < ndeps; i++)
    out->deps[i] = heard->deps[i] < self->ntasks ? self->tasks[heard->deps[i]] : unknown;
  out->options.deps = out->deps;
  out->options.ndeps = ndeps;
  return 1;
}

static int read_options(const chip_follower *self, const chip_heard *heard, followed_options *out) {
  const chip_said_options *said = heard->options;
  out->options = (baton_task_options){0};
  out->deps = NULL;
  if (heard->predicate) {
    baton_arg operand;
    (void)read_arg(self, heard->operand, &operand);
    out->predicate =
        (baton_predicate){.tensor = heard->operand->tag == BATON_SCALAR ? baton_view_invalid() : operand.view,
                          .index = heard->index,
                          .op = (baton_compare)heard->predicate->compare,
                          .value = heard->predicate->value};
    out->options.predicate = &out->predicate;
  }
  if (!said) return 1;
  out->options.name = heard->name;
  out->options.blocks = said->blocks;
  out->options.sync_start = said->sync_start;
  out->options.timing_slot = said->timing_slot;
  out->options.priority = said->priority;
  return read_deps(self, heard, out);
}

static baton_task call_mix(const chip_follower *self, const chip_heard *heard,
                           const baton_task_options *options) {
  baton_lane lanes[CHIP_PARTS];
  const baton_arg *at = self->list;
  for (int i = 0; i < CHIP_PARTS; i++) {
    lanes[i] = baton_lane_of(heard->lanes[i].kernel, at, heard->lanes[i].nargs);
    if (!(heard->said->flags & CHIP_SAYS_SHARED)) at += heard->lanes[i].nargs;
  }
  return self->o->calls->mix(self->o, lanes, options);
}

static baton_task call_task(const chip_follower *self, const chip_heard *heard,
                            const baton_task_options *options) {
  switch (heard->said->call) {
  case CHIP_SAYS_SUBMIT:
    return self->o->calls->submit(self->o, (baton_core)heard->said->detail, heard->lanes->kernel, self->list,
                                  heard->nargs, options);
  case CHIP_SAYS_MIX: return call_mix(self, heard, options);
  default: return self->o->calls->dummy(self->o, self->list, heard->nargs, options);
  }
}

static void follow_task(chip_follower *self, const chip_heard *heard) {
  followed_options with;
  if (!chip_record_grow(&self->tasks, &self->task_room, self->ntasks, sizeof *self->tasks) ||
      !read_args(self, heard) || !read_options(self, heard, &with)) {
    out_of_memory(self);
    return;
  }
  self->tasks[self->ntasks++] = call_task(self, heard, &with.options);
  if (with.deps != with.few) base_free(with.deps);
}

/* --- The other calls ------------------------------------------------------------------------------------ */

static void follow_alloc(chip_follower *self, const chip_heard *heard) {
  if (!chip_record_grow(&self->made, &self->made_room, self->nmade, sizeof *self->made)) {
    out_of_memory(self);
    return;
  }
  self->made[self->nmade++] =
      self->o->calls->alloc(self->o, (baton_dtype)heard->shape->dtype, (int)heard->shape->ndim, heard->sizes);
}

static void follow_element(chip_follower *self, const chip_heard *heard) {
  const baton_orch_calls *calls = self->o->calls;
  baton_arg tensor, value;
  (void)read_arg(self, heard->args, &tensor);
  if (heard->value) (void)read_arg(self, heard->value, &value);
  if (heard->said->call == CHIP_SAYS_FILL)
    calls->fill(self->o, &tensor.view, &value);
  else if (heard->said->call == CHIP_SAYS_SET)
    calls->set(self->o, &tensor.view, heard->index, &value);
  else if (!calls->get(self->o, &tensor.view, heard->index, &self->got))
    self->got.dtype = BATON_NO_DTYPE;
}

static void follow_failure(const chip_follower *self, const chip_heard *heard) {
  baton_error *failure = &orchestrator_of(self)->failure;
  if (failure->code) return;
  baton_error_set(failure, (baton_status)heard->failure->code, "%s", heard->message);
  if (heard->hint) baton_error_text(failure, BATON_FIELD_HINT, "%s", heard->hint);
}

static void follow_one(chip_follower *self, const chip_heard *heard) {
  switch (heard->said->call) {
  case CHIP_SAYS_ALLOC: follow_alloc(self, heard); break;
  case CHIP_SAYS_GET:
  case CHIP_SAYS_SET:
  case CHIP_SAYS_FILL: follow_element(self, heard); break;
  case CHIP_SAYS_SCOPE_BEGIN:
    self->o->calls->scope_begin(self->o, (baton_scope_mode)heard->said->detail);
    break;
  case CHIP_SAYS_SCOPE_END: self->o->calls->scope_end(self->o); break;
  case CHIP_SAYS_FAIL: follow_failure(self, heard); break;
  case CHIP_SAYS_END: self->ended = 1; break;
  default: follow_task(self, heard);
  }
}

void chip_follow(chip_follower *self, const void *block, uint64_t bytes) {
  const char *at = block, *field;
  chip_heard heard;
  self->got.dtype = BATON_NO_DTYPE;
  for (uint64_t one; bytes && !self->ended && !has_failed(self); at += one, bytes -= one) {
    one = chip_said_hear(at, bytes, &heard, &field);
    assert(one);
    follow_one(self, &heard);
  }
  self->ended |= has_failed(self);
}

void chip_follower_close(chip_follower *self) {
  base_free(self->made);
  base_free(self->tasks);
  base_free(self->list);
}
