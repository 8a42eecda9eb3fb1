/* The side that dictates. */
#include "base/memory.h"
#include "chip/dictation.h"
#include "chip/dictation_format.h"
#include "chip/task_options.h"
#include <string.h>

/* Intermediates are told apart by their blocks, the numbers + 1; their addresses are no memory. */
static const uint64_t made_address = UINT64_C(1) << 60;
enum { MADE_GENERATION = 1, SLOT_BITS = 24 };

static chip_orchestrator *of(baton_orch *o) { return (chip_orchestrator *)o; }

/* --- Numbers -------------------------------------------------------------------------------------------- */

/* The handle of a task fits the integer that Lua has. Generation 0 would be no task. */
static baton_task task_of(uint64_t number) {
  return (baton_task){.slot = (uint32_t)(number & ((1u << SLOT_BITS) - 1)),
                      .generation = (uint32_t)(number >> SLOT_BITS) + 1};
}

static uint32_t number_of(const chip_dictation *self, baton_task task) {
  uint64_t number = ((uint64_t)task.generation - 1) << SLOT_BITS | task.slot;
  return task.generation && !(task.slot >> SLOT_BITS) && number < self->tasks ? (uint32_t)number
                                                                              : CHIP_NO_TASK;
}

static chip_said_origin origin_of(const chip_orchestrator *self, const baton_view *view, uint32_t *number) {
  uint32_t argument = view->argument - 1; /* of none: beyond all of them */
  if (argument < self->bindings->count && self->bindings->items[argument].argument.view &&
      self->bindings->items[argument].view.base == view->base) {
    *number = argument;
    return CHIP_FROM_ARGUMENT;
  }
  *number = view->block - 1;
  return !view->argument && *number < self->dictation->made && view->generation == MADE_GENERATION
             ? CHIP_FROM_MADE
             : CHIP_FROM_NOWHERE;
}

/* --- Writing -------------------------------------------------------------------------------------------- */

static void put(chip_orchestrator *self, const void *bytes, uint64_t size) {
  static const char zeros[8];
  chip_text *block = &self->dictation->block;
  chip_text_add_bytes(block, bytes, size);
  if (size % 8) chip_text_add_bytes(block, zeros, 8 - size % 8);
}

static uint64_t begin(chip_orchestrator *self, chip_saying call, uint32_t detail, uint32_t flags) {
  uint64_t at = self->dictation->block.length;
  put(self, &(chip_said){.call = (uint8_t)call, .detail = (uint8_t)detail, .flags = (uint16_t)flags},
      sizeof(chip_said));
  return at;
}

static void put_arg(chip_orchestrator *self, const baton_arg *arg) {
  chip_said_arg said = {.tag = (uint8_t)arg->tag, .dtype = (uint8_t)arg->dtype};
  if (arg->tag == BATON_SCALAR) {
    said.number = arg->view.argument;
    said.value = arg->scalar.u64;
    put(self, &said, sizeof said);
    return;
  }
  const baton_view *view = &arg->view;
  said.dtype = view->dtype;
  said.ndim = view->dtype ? view->ndim : 0;
  said.origin = (uint8_t)origin_of(self, view, &said.number);
  said.value = (uintptr_t)view->data - view->base;
  put(self, &said, sizeof said);
  put(self, view->shape, said.ndim * sizeof *view->shape);
  put(self, view->strides, said.ndim * sizeof *view->strides);
}

/* Hands the block over. */
static void hand_over(chip_orchestrator *self, int answer, baton_arg *got) {
  chip_dictation *dictation = self->dictation;
  chip_text *block = &dictation->block;
  baton_error failure = {0};
  baton_status status = block->failed ? base_out_of_memory(&failure, "the calls of an orchestration")
                                      : dictation->sink->take(dictation->sink->context, block->data,
                                                              block->length, answer, got, &failure);
  if (block->failed) chip_text_free(block); /* what follows is short: the end */
  block->length = 0;
  if (status != BATON_OK && !self->failure.code) baton_error_copy(&self->failure, &failure);
  baton_error_clear(&failure);
}

/* False: the call cannot go. */
static int finish(chip_orchestrator *self, uint64_t at) {
  chip_text *block = &self->dictation->block;
  uint64_t bytes = block->length - at;
  if (bytes > CHIP_DICTATION_LONGEST) {
    block->length = at;
    baton_error_set(&self->failure, BATON_RESOURCE_LIMIT,
                    "%s: one call of the graph takes %llu bytes, at most %d go to a child",
                    baton_program_name(self->bindings->program), (unsigned long long)bytes,
                    CHIP_DICTATION_LONGEST);
    return 0;
  }
  uint32_t size = (uint32_t)bytes;
  if (!block->failed) memcpy(block->data + at + offsetof(chip_said, bytes), &size, sizeof size);
  return 1;
}

/* The call that begins at `at` is complete. */
static void end(chip_orchestrator *self, uint64_t at) {
  const chip_sink *sink = self->dictation->sink;
  if (!finish(self, at)) return;
  uint64_t length = self->dictation->block.length;
  if (self->dictation->block.failed || length >= CHIP_DICTATION_BLOCK ||
      (length >= sink->least && sink->is_idle(sink->context)))
    hand_over(self, 0, NULL);
}

/* --- Tasks ---------------------------------------------------------------------------------------------- */

static int has_options(const baton_task_options *options) {
  return options && (options->ndeps || options->name || options->blocks || options->sync_start ||
                     options->timing_slot || options->priority);
}

static void put_options(chip_orchestrator *self, const baton_task_options *options) {
  uint64_t name = options->name ? strlen(options->name) + 1 : 0;
  put(self,
      &(chip_said_options){.ndeps = options->ndeps,
                           .name = (uint32_t)name,
                           .blocks = options->blocks,
                           .sync_start = options->sync_start,
                           .timing_slot = options->timing_slot,
                           .priority = options->priority},
      sizeof(chip_said_options));
  for (uint32_t i = 0; i < options->ndeps; i += 2) {
    uint32_t pair[2] = {number_of(self->dictation, options->deps[i]),
                        i + 1 < options->ndeps ? number_of(self->dictation, options->deps[i + 1]) : 0};
    put(self, pair, sizeof pair);
  }
  if (name) put(self, options->name, name);
}

static void put_predicate(chip_orchestrator *self, const baton_predicate *predicate) {
  uint32_t nindex = predicate->index ? predicate->tensor.dtype ? predicate->tensor.ndim : 0 : 0;
  const baton_arg tensor = baton_input(predicate->tensor);
  put(self, &(chip_said_predicate){.compare = predicate->op, .nindex = nindex, .value = predicate->value},
      sizeof(chip_said_predicate));
  put_arg(self, &tensor);
  if (nindex) put(self, predicate->index, nindex * sizeof *predicate->index);
}

/* What stands behind the header of every task. */
static void put_task(chip_orchestrator *self, const chip_said_lane *lanes, uint32_t nlanes,
                     const baton_task_options *options) {
  put(self, lanes, nlanes * sizeof *lanes);
  if (has_options(options)) put_options(self, options);
  if (options && options->predicate) put_predicate(self, options->predicate);
}

static void put_args(chip_orchestrator *self, const baton_arg *args, uint32_t nargs) {
  for (uint32_t i = 0; i < nargs; i++) put_arg(self, &args[i]);
}

static uint32_t flags_of(const baton_task_options *options) {
  return (has_options(options) ? CHIP_SAYS_OPTIONS : 0u) |
         (options && options->predicate ? CHIP_SAYS_PREDICATE : 0u);
}

static baton_task say_one(chip_orchestrator *self, chip_saying call, baton_core core, int kernel,
                          const baton_arg *args, uint32_t nargs, const baton_task_options *options) {
  if (self->failure.code) return (baton_task){0};
  const chip_said_lane lane = {.kernel = kernel, .nargs = nargs};
  uint64_t at = begin(self, call, core, flags_of(options));
  put_task(self, &lane, 1, options);
  put_args(self, args, nargs);
  end(self, at);
  return self->failure.code ? (baton_task){0} : task_of(self->dictation->tasks++);
}

static baton_task dictate_submit(baton_orch *o, baton_core core, int kernel, const baton_arg *args,
                                 uint32_t nargs, const baton_task_options *options) {
  return say_one(of(o), CHIP_SAYS_SUBMIT, core, kernel, args, nargs, options);
}

static baton_task dictate_dummy(baton_orch *o, const baton_arg *args, uint32_t nargs,
                                const baton_task_options *options) {
  return say_one(of(o), CHIP_SAYS_DUMMY, BATON_AIV, -1, args, nargs, options);
}

/* The first lane with a kernel if all others have its list; else NULL. */
static const baton_lane *shared_list(const baton_lane *lanes) {
  const baton_lane *first = NULL;
  for (int i = 0; i < CHIP_PARTS; i++) {
    if (lanes[i].kernel < 0) continue;
    if (first && (lanes[i].args != first->args || lanes[i].nargs != first->nargs)) return NULL;
    if (!first) first = &lanes[i];
  }
  return first;
}

static baton_task dictate_mix(baton_orch *o, const baton_lane *lanes, const baton_task_options *options) {
  chip_orchestrator *self = of(o);
  chip_said_lane said[CHIP_PARTS];
  const baton_lane *shared = shared_list(lanes);
  if (self->failure.code) return (baton_task){0};
  uint64_t at = begin(self, CHIP_SAYS_MIX, 0, flags_of(options) | (shared ? CHIP_SAYS_SHARED : 0u));
  for (int i = 0; i < CHIP_PARTS; i++)
    said[i] = (chip_said_lane){.kernel = lanes[i].kernel, .nargs = lanes[i].kernel < 0 ? 0 : lanes[i].nargs};
  put_task(self, said, CHIP_PARTS, options);
  if (shared) put_args(self, shared->args, shared->nargs);
  for (int i = 0; i < CHIP_PARTS && !shared; i++) put_args(self, lanes[i].args, said[i].nargs);
  end(self, at);
  return self->failure.code ? (baton_task){0} : task_of(self->dictation->tasks++);
}

/* --- Memory and elements -------------------------------------------------------------------------------- */

static baton_view dictate_alloc(baton_orch *o, baton_dtype dtype, int ndim, const int64_t *shape) {
  chip_orchestrator *self = of(o);
  if (self->failure.code || chip_alloc_bytes(self, dtype, ndim, shape) < 0) return baton_view_invalid();
  uint64_t at = begin(self, CHIP_SAYS_ALLOC, 0, 0);
  put(self, &(chip_said_shape){.dtype = dtype, .ndim = (uint32_t)ndim}, sizeof(chip_said_shape));
  put(self, shape, (uint64_t)ndim * sizeof *shape);
  end(self, at);
  if (self->failure.code) return baton_view_invalid();
  baton_view view = chip_made_view(made_address, dtype, ndim, shape);
  view.block = (uint32_t)++self->dictation->made;
  view.generation = MADE_GENERATION;
  return view;
}

static uint64_t begin_element(chip_orchestrator *self, chip_saying call, const baton_view *view,
                              const int64_t *index) {
  const baton_arg tensor = baton_inout(*view);
  uint64_t at = begin(self, call, 0, 0);
  put_arg(self, &tensor);
  if (index && view->dtype) put(self, index, view->ndim * sizeof *index);
  return at;
}

static int dictate_get(baton_orch *o, const baton_view *view, const int64_t *index, baton_arg *out) {
  chip_orchestrator *self = of(o);
  if (self->failure.code) return 0;
  if (finish(self, begin_element(self, CHIP_SAYS_GET, view, index))) hand_over(self, 1, out);
  return self->failure.code == BATON_OK;
}

static void dictate_set(baton_orch *o, const baton_view *view, const int64_t *index, const baton_arg *value) {
  chip_orchestrator *self = of(o);
  if (self->failure.code) return;
  uint64_t at = begin_element(self, CHIP_SAYS_SET, view, index);
  put_arg(self, value);
  end(self, at);
}

static void dictate_fill(baton_orch *o, const baton_view *view, const baton_arg *value) {
  chip_orchestrator *self = of(o);
  if (self->failure.code) return;
  uint64_t at = begin_element(self, CHIP_SAYS_FILL, view, NULL);
  put_arg(self, value);
  end(self, at);
}

static void say_word(chip_orchestrator *self, chip_saying call, uint32_t detail) {
  if (!self->failure.code) end(self, begin(self, call, detail, 0));
}

static void dictate_scope_begin(baton_orch *o, baton_scope_mode mode) {
  say_word(of(o), CHIP_SAYS_SCOPE_BEGIN, mode);
}

static void dictate_scope_end(baton_orch *o) { say_word(of(o), CHIP_SAYS_SCOPE_END, 0); }

/* --- The end -------------------------------------------------------------------------------------------- */

static void say_failure(chip_orchestrator *self) {
  const char *message = self->failure.message ? self->failure.message : "the orchestration has failed";
  const char *hint = self->failure.hint;
  chip_said_failure said = {.code = self->failure.code,
                            .message = (uint32_t)strlen(message) + 1,
                            .hint = hint ? (uint32_t)strlen(hint) + 1 : 0};
  uint64_t at = begin(self, CHIP_SAYS_FAIL, 0, 0);
  put(self, &said, sizeof said);
  put(self, message, said.message);
  if (hint) put(self, hint, said.hint);
  (void)finish(self, at);
}

/* The other side learns how it has ended, and says what is wrong with what it was told last. */
static void say_end(chip_orchestrator *self) {
  if (self->failure.code)
    say_failure(self);
  else
    (void)finish(self, begin(self, CHIP_SAYS_END, 0, 0));
  hand_over(self, 1, NULL);
}

baton_status chip_dictate(chip_engine *engine, const chip_bindings *bindings, const chip_sink *sink,
                          baton_error *err) {
  chip_dictation dictation = {.sink = sink};
  chip_orchestrator self;
  BATON_TRY(chip_orchestrator_open(&self, engine, bindings, err));
  baton_orch_calls calls = *self.base.calls;
  calls.submit = dictate_submit;
  calls.mix = dictate_mix;
  calls.dummy = dictate_dummy;
  calls.alloc = dictate_alloc;
  calls.get = dictate_get;
  calls.set = dictate_set;
  calls.fill = dictate_fill;
  calls.scope_begin = dictate_scope_begin;
  calls.scope_end = dictate_scope_end;
  self.base.calls = &calls;
  self.dictation = &dictation;
  chip_orchestrator_enter(&self);
  say_end(&self);
  chip_text_free(&dictation.block);
  return chip_orchestrator_close(&self, err);
}

/* --- Over an engine of this process ---------------------------------------------------------------------- */

/* Carries each call out at once, and notes it. */
typedef struct noting {
  chip_follower follower;
  chip_text *calls;
} noting;

static int note_always(void *context) {
  (void)context;
  return 1;
}

static baton_status note(void *context, const void *block, uint64_t bytes, int answer, baton_arg *got,
                         baton_error *err) {
  noting *self = context;
  const chip_said *said = block;
  const baton_error *failure = &((const chip_orchestrator *)self->follower.o)->failure;
  (void)answer;
  chip_follow(&self->follower, block, bytes);
  if (failure->code) return baton_error_copy(err, failure);
  if (got) *got = self->follower.got;
  if (said->call != CHIP_SAYS_GET && said->call != CHIP_SAYS_SET)
    chip_text_add_bytes(self->calls, block, bytes);
  return self->calls->failed ? base_out_of_memory(err, "the calls of a graph") : BATON_OK;
}

baton_status chip_orchestrate_noting(chip_engine *engine, const chip_bindings *bindings,
                                     struct chip_looks *looks, const char *full_hint, chip_text *calls,
                                     baton_error *err) {
  chip_orchestrator inner;
  BATON_TRY(chip_orchestrator_open(&inner, engine, bindings, err));
  inner.held = 1;
  inner.looks = looks;
  inner.full_hint = full_hint;
  baton_args args = {.items = inner.items, .count = bindings->count, .blocks = 1};
  noting self = {.follower = {.o = &inner.base, .args = &args}, .calls = calls};
  const chip_sink sink = {.context = &self, .take = note, .is_idle = note_always};
  baton_status status = chip_dictate(engine, bindings, &sink, err);
  chip_follower_close(&self.follower);
  (void)chip_orchestrator_close(&inner, NULL);
  return status;
}

uint64_t chip_dictation_cut(const char *calls, uint64_t bytes) {
  uint64_t cut = 0;
  chip_said said;
  while (cut < bytes && cut < CHIP_DICTATION_BLOCK) {
    memcpy(&said, calls + cut, sizeof said);
    if (cut && cut + said.bytes > CHIP_DICTATION_LONGEST) break;
    cut += said.bytes;
  }
  return cut;
}
