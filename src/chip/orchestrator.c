#include "chip/orchestrator.h"
#include "base/memory.h"
#include "base/text.h"
#include "chip/element.h"
#include "chip/guarded.h"
#include "chip/record.h"
#include "chip/submit.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static chip_orchestrator *of(baton_orch *o) { return (chip_orchestrator *)o; }

static int call_kernel(baton_orch *o, const char *name) {
  chip_orchestrator *self = of(o);
  if (self->failure.code) return 0;
  int kernel = chip_program_find_kernel(self->bindings->program, name);
  if (kernel >= 0) return kernel;
  baton_error_set(&self->failure, BATON_INVALID_ARGUMENT, "%s: no kernel is named '%s'",
                  baton_program_name(self->bindings->program), name);
  return 0;
}

static baton_view call_param(baton_orch *o, const baton_args *args, uint32_t i) {
  chip_orchestrator *self = of(o);
  (void)args;
  if (self->failure.code) return baton_view_invalid();
  const char *program = baton_program_name(self->bindings->program);
  if (i >= self->bindings->count)
    baton_error_set(&self->failure, BATON_INVALID_ARGUMENT,
                    "%s: argument %u was asked for, the program has %u", program, i, self->bindings->count);
  else if (!self->bindings->items[i].argument.view)
    baton_error_set(&self->failure, BATON_SIGNATURE, "%s: argument %u is a scalar, not a tensor", program, i);
  else
    return self->bindings->items[i].view;
  return baton_view_invalid();
}

static const baton_task_options default_options;

/* A call of baton_record. */
typedef struct sub_graph_call {
  const baton_sub_graph *sub_graph;
  baton_view *made;
} sub_graph_call;

/* The kernel of that number; NULL, with a failure, if there is none. */
static const chip_kernel *check_kernel(chip_orchestrator *self, int kernel) {
  const baton_program *program = self->bindings->program;
  uint32_t count = chip_program_kernel_count(program);
  if (kernel >= 0 && (uint32_t)kernel < count) return chip_program_kernel(program, (uint32_t)kernel);
  baton_error_set(&self->failure, BATON_INVALID_ARGUMENT, "%s: kernel %d does not exist, there are %u",
                  baton_program_name(program), kernel, count);
  return NULL;
}

static baton_task call_submit(baton_orch *o, baton_core core, int kernel, const baton_arg *args,
                              uint32_t nargs, const baton_task_options *options) {
  chip_orchestrator *self = of(o);
  baton_task task = {0};
  const chip_kernel *found = self->failure.code ? NULL : check_kernel(self, kernel);
  if (found) (void)chip_submit(self, core, found, args, nargs, options ? options : &default_options, &task);
  return task;
}

static baton_task call_mix(baton_orch *o, const baton_lane *lanes, const baton_task_options *options) {
  chip_orchestrator *self = of(o);
  const chip_kernel *kernels[CHIP_PARTS] = {NULL};
  baton_task task = {0};
  int count = 0;
  for (int place = 0; place < CHIP_PARTS && !self->failure.code; place++)
    if (lanes[place].kernel >= 0) count += (kernels[place] = check_kernel(self, lanes[place].kernel)) != NULL;
  if (self->failure.code) return task;
  if (count)
    (void)chip_submit_mix(self, kernels, lanes, options ? options : &default_options, &task);
  else
    baton_error_set(&self->failure, BATON_INVALID_ARGUMENT, "%s: a mixed task needs a kernel",
                    baton_program_name(self->bindings->program));
  return task;
}

static baton_task call_dummy(baton_orch *o, const baton_arg *args, uint32_t nargs,
                             const baton_task_options *options) {
  baton_task task = {0};
  if (!of(o)->failure.code)
    (void)chip_submit(of(o), BATON_AIV, NULL, args, nargs, options ? options : &default_options, &task);
  return task;
}

/* Bytes of a contiguous shape; -1 if there are none such. */
static int64_t shape_bytes(baton_dtype dtype, int ndim, const int64_t *shape) {
  int64_t bytes = (int64_t)baton_dtype_size(dtype);
  if (bytes == 0 || ndim < 0 || ndim > BATON_MAX_DIMS) return -1;
  for (int d = 0; d < ndim; d++) {
    if (shape[d] < 0 || (shape[d] > 0 && bytes > (INT64_C(1) << 62) / shape[d])) return -1;
    bytes *= shape[d];
  }
  return bytes;
}

int64_t chip_alloc_bytes(chip_orchestrator *self, baton_dtype dtype, int ndim, const int64_t *shape) {
  int64_t bytes = shape_bytes(dtype, ndim, shape);
  if (bytes < 0)
    baton_error_set(&self->failure, BATON_INVALID_ARGUMENT,
                    "alloc: a known type, 0 to 8 dimensions and no negative or overflowing size expected");
  return bytes;
}

baton_view chip_made_view(uint64_t address, baton_dtype dtype, int ndim, const int64_t *shape) {
  baton_view view = baton_view_invalid();
  view.base = address;
  view.data = (void *)(uintptr_t)address;
  view.dtype = (uint8_t)dtype;
  view.ndim = (uint8_t)ndim;
  for (int64_t d = ndim - 1, stride = 1; d >= 0; d--) {
    view.shape[d] = shape[d];
    view.strides[d] = stride;
    stride *= shape[d];
  }
  return view;
}

static baton_view call_alloc(baton_orch *o, baton_dtype dtype, int ndim, const int64_t *shape) {
  chip_orchestrator *self = of(o);
  uint32_t block, generation;
  uint64_t offset;
  if (self->failure.code) return baton_view_invalid();
  int64_t bytes = chip_alloc_bytes(self, dtype, ndim, shape);
  if (bytes < 0) return baton_view_invalid();
  task_status status = task_engine_alloc(self->engine->tasks, (uint64_t)bytes, &offset, &block, &generation);
  if (status != TASK_OK) {
    char what[64];
    snprintf(what, sizeof what, "alloc of %lld bytes", (long long)bytes);
    chip_report_full(self, status, (uint64_t)bytes, what);
    return baton_view_invalid();
  }
  baton_view view = chip_made_view(self->engine->heap_address + offset, dtype, ndim, shape);
  view.block = block;
  view.generation = generation;
  return view;
}

static int call_get(baton_orch *o, const baton_view *view, const int64_t *index, baton_arg *out) {
  return !of(o)->failure.code && chip_element_get(of(o), view, index, out) == BATON_OK;
}

static void call_fill(baton_orch *o, const baton_view *view, const baton_arg *value) {
  if (!of(o)->failure.code) (void)chip_element_fill(of(o), view, value);
}

static void call_set(baton_orch *o, const baton_view *view, const int64_t *index, const baton_arg *value) {
  if (!of(o)->failure.code) (void)chip_element_set(of(o), view, index, value);
}

static void call_scope_begin(baton_orch *o, baton_scope_mode mode) {
  chip_orchestrator *self = of(o);
  if (self->failure.code || task_engine_scope_begin(self->engine->tasks, mode == BATON_SCOPE_MANUAL)) return;
  baton_error_set(&self->failure, BATON_OUT_OF_RANGE, "scope: %d scopes are open, more do not nest",
                  TASK_SCOPE_DEPTH);
}

static void call_scope_end(baton_orch *o) {
  chip_orchestrator *self = of(o);
  if (self->failure.code || task_engine_scope_end(self->engine->tasks)) return;
  baton_error_set(&self->failure, BATON_STATE, "scope: ended once more than it was begun");
}

static void call_fail(baton_orch *o, const char *fmt, va_list values) {
  chip_orchestrator *self = of(o);
  char message[1024];
  if (self->failure.code) return;
  base_vprint(message, sizeof message, fmt, values);
  baton_error_set(&self->failure, BATON_USER_FAIL, "%s", message);
}

static int call_is_failed(baton_orch *o) { return of(o)->failure.code != BATON_OK; }

static uint32_t call_clusters(baton_orch *o) { return device_platform_of(of(o)->engine->dev)->clusters; }

static uint32_t call_aiv_count(baton_orch *o) {
  const device_platform *platform = device_platform_of(of(o)->engine->dev);
  return platform->clusters * platform->aiv_per_cluster;
}

static void build_sub_graph(chip_orchestrator *self, const baton_arg *args, uint32_t nargs, void *context) {
  const sub_graph_call *call = context;
  call->sub_graph->build(&self->base, args, nargs, call->made, call->sub_graph->context);
  for (uint32_t i = 0; i < call->sub_graph->nmade; i++) chip_record_result(self, &call->made[i]);
}

static baton_task call_record(baton_orch *o, const baton_sub_graph *sub_graph, const baton_arg *args,
                              uint32_t nargs, const baton_task_options *options, baton_view *made) {
  sub_graph_call call = {sub_graph, made};
  const chip_sub_graph noted = {.key = sub_graph->key, .build = build_sub_graph, .context = &call};
  const baton_view *results;
  uint32_t count;
  for (uint32_t i = 0; i < sub_graph->nmade; i++) made[i] = baton_view_invalid();
  baton_task task = chip_record_call(of(o), &noted, args, nargs, options, &results, &count);
  if (of(o)->failure.code) return task;
  if (count != sub_graph->nmade)
    baton_error_set(&of(o)->failure, BATON_INVALID_ARGUMENT,
                    "%s: record %s: hands out %u tensors, %u were asked for",
                    baton_program_name(of(o)->bindings->program), sub_graph->key, count, sub_graph->nmade);
  else if (count)
    memcpy(made, results, count * sizeof *made);
  return task;
}

static const baton_orch_calls calls = {.kernel = call_kernel,
                                       .param = call_param,
                                       .submit = call_submit,
                                       .mix = call_mix,
                                       .dummy = call_dummy,
                                       .alloc = call_alloc,
                                       .get = call_get,
                                       .set = call_set,
                                       .fill = call_fill,
                                       .scope_begin = call_scope_begin,
                                       .scope_end = call_scope_end,
                                       .record = call_record,
                                       .fail = call_fail,
                                       .is_failed = call_is_failed,
                                       .clusters = call_clusters,
                                       .aiv_count = call_aiv_count};

/* The orchestration's own arguments: a wrong use of them leaves it, as it would leave a kernel. */
typedef struct entry_frame {
  baton_args args; /* first: the orchestration hands it back */
  chip_orchestrator *self;
  jmp_buf leave;
} entry_frame;

static void leave_orchestration(const baton_args *args, int misuse, const char *fmt, va_list values) {
  entry_frame *frame = (entry_frame *)(uintptr_t)args;
  char message[1024];
  chip_guard_pause(&frame->self->guard);
  base_vprint(message, sizeof message, fmt, values);
  if (!frame->self->failure.code)
    baton_error_set(&frame->self->failure, misuse ? BATON_SIGNATURE : BATON_USER_FAIL, "%s: %s",
                    baton_program_name(frame->self->bindings->program), message);
  longjmp(frame->leave, 1);
}

static void enter(chip_orchestrator *self, const baton_argument *items) {
  static const baton_kernel_services services = {.fail = leave_orchestration};
  entry_frame frame = {
      .args = {.items = items, .count = self->bindings->count, .blocks = 1, .services = &services},
      .self = self};
  if (!_setjmp(frame.leave)) chip_program_orchestrate(self->bindings->program)(&self->base, &frame.args);
}

static void say_crash(const chip_orchestrator *self, baton_error *failure) {
  const char *name = sigabbrev_np(self->guard.signal);
  baton_error_set(failure, BATON_KERNEL_CRASH, "%s: the orchestration crashed with SIG%s",
                  baton_program_name(self->bindings->program), name ? name : "?");
  failure->signal = self->guard.signal;
  failure->known |= BATON_KNOWN_SIGNAL;
}

static void say_hang(const chip_orchestrator *self, baton_error *failure) {
  double after = (double)atomic_load_explicit(&self->engine->executor.silent, memory_order_relaxed) * 1e-6;
  baton_error_set(failure, BATON_OP_TIMEOUT,
                  "%s: the orchestration made no call for %.0f ms, no task began or ended, and it was left",
                  baton_program_name(self->bindings->program), after);
  baton_error_text(failure, BATON_FIELD_HINT, "raise timeout in config if the orchestration is only slow");
  failure->after_ms = after;
  failure->known |= BATON_KNOWN_AFTER_MS;
}

/* If the stream has stood still for too long, that is the first failure. */
static void report_left(chip_orchestrator *self) {
  const chip_failures *failures = &self->engine->executor.failures;
  baton_error failure = {0};
  if (chip_guard_is_timeout(self->guard.signal))
    say_hang(self, &failure);
  else
    say_crash(self, &failure);
  failures->report(failures->context, &failure);
  baton_error_clear(&failure);
  baton_error_clear(&self->failure);
  failures->first(failures->context, &self->failure);
}

/* A C orchestration is left by force when it crashes or hangs, as a kernel is. */
static void enter_guarded(chip_orchestrator *self, const baton_argument *items) {
  chip_guarded_begin(self, &calls);
  if (self->held) chip_engine_watch_building(self->engine);
  int left = !chip_guarded_call(self, items, enter);
  if (self->held) chip_engine_unwatch(self->engine);
  if (left) report_left(self);
}

baton_status chip_orchestrator_open(chip_orchestrator *self, chip_engine *engine,
                                    const chip_bindings *bindings, baton_error *err) {
  baton_argument *items = base_calloc(bindings->count, sizeof *items + sizeof(uint8_t));
  if (!items) return base_out_of_memory(err, "the arguments of an orchestration");
  for (uint32_t i = 0; i < bindings->count; i++) items[i] = bindings->items[i].argument;
  *self = (chip_orchestrator){.base = {&calls},
                              .engine = engine,
                              .bindings = bindings,
                              .items = items,
                              .touched = (uint8_t *)(items + bindings->count)};
  self->first_scope = task_engine_scope_number(engine->tasks);
  return BATON_OK;
}

void chip_orchestrator_enter(chip_orchestrator *self) { enter(self, self->items); }

baton_status chip_orchestrator_close(chip_orchestrator *self, baton_error *err) {
  baton_status status = self->failure.code;
  if (status != BATON_OK) baton_error_copy(err, &self->failure);
  baton_error_clear(&self->failure);
  chip_record_clear(self);
  base_free(self->replay_memory);
  base_free(self->values);
  base_free(self->accesses);
  base_free(self->items);
  return status;
}

baton_status chip_orchestrate(chip_engine *engine, const chip_bindings *bindings, int held,
                              struct chip_looks *looks, const char *full_hint, baton_error *err) {
  chip_orchestrator self;
  BATON_TRY(chip_orchestrator_open(&self, engine, bindings, err));
  self.full_hint = full_hint;
  self.held = held;
  self.looks = looks;
  if (chip_program_is_graph(bindings->program))
    chip_orchestrator_enter(&self);
  else
    enter_guarded(&self, self.items);
  return chip_orchestrator_close(&self, err);
}
