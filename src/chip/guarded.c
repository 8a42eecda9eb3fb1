#include "chip/guarded.h"

/* The watch thread counts the stretches of the orchestration's own code as it counts the tasks of a lane. */
static void begin_stretch(chip_orchestrator *self) {
  chip_pulse_begin(&self->engine->executor.control);
  chip_guard_resume(&self->guard);
}

static void end_stretch(chip_orchestrator *self) {
  chip_guard_pause(&self->guard);
  chip_pulse_end(&self->engine->executor.control);
}

static chip_orchestrator *enter_call(baton_orch *o) {
  chip_orchestrator *self = (chip_orchestrator *)o;
  end_stretch(self);
  return self;
}

static void leave_call(chip_orchestrator *self) { begin_stretch(self); }

static int call_kernel(baton_orch *o, const char *name) {
  chip_orchestrator *self = enter_call(o);
  int kernel = self->calls->kernel(o, name);
  leave_call(self);
  return kernel;
}

static baton_view call_param(baton_orch *o, const baton_args *args, uint32_t i) {
  chip_orchestrator *self = enter_call(o);
  baton_view view = self->calls->param(o, args, i);
  leave_call(self);
  return view;
}

static baton_task call_submit(baton_orch *o, baton_core core, int kernel, const baton_arg *args,
                              uint32_t nargs, const baton_task_options *options) {
  chip_orchestrator *self = enter_call(o);
  baton_task task = self->calls->submit(o, core, kernel, args, nargs, options);
  leave_call(self);
  return task;
}

static baton_task call_mix(baton_orch *o, const baton_lane *lanes, const baton_task_options *options) {
  chip_orchestrator *self = enter_call(o);
  baton_task task = self->calls->mix(o, lanes, options);
  leave_call(self);
  return task;
}

static baton_task call_dummy(baton_orch *o, const baton_arg *args, uint32_t nargs,
                             const baton_task_options *options) {
  chip_orchestrator *self = enter_call(o);
  baton_task task = self->calls->dummy(o, args, nargs, options);
  leave_call(self);
  return task;
}

static baton_view call_alloc(baton_orch *o, baton_dtype dtype, int ndim, const int64_t *shape) {
  chip_orchestrator *self = enter_call(o);
  baton_view view = self->calls->alloc(o, dtype, ndim, shape);
  leave_call(self);
  return view;
}

static int call_get(baton_orch *o, const baton_view *view, const int64_t *index, baton_arg *out) {
  chip_orchestrator *self = enter_call(o);
  int got = self->calls->get(o, view, index, out);
  leave_call(self);
  return got;
}

static void call_set(baton_orch *o, const baton_view *view, const int64_t *index, const baton_arg *value) {
  chip_orchestrator *self = enter_call(o);
  self->calls->set(o, view, index, value);
  leave_call(self);
}

static void call_fill(baton_orch *o, const baton_view *view, const baton_arg *value) {
  chip_orchestrator *self = enter_call(o);
  self->calls->fill(o, view, value);
  leave_call(self);
}

static void call_scope_begin(baton_orch *o, baton_scope_mode mode) {
  chip_orchestrator *self = enter_call(o);
  self->calls->scope_begin(o, mode);
  leave_call(self);
}

static void call_scope_end(baton_orch *o) {
  chip_orchestrator *self = enter_call(o);
  self->calls->scope_end(o);
  leave_call(self);
}

/* Building the sub-graph is a stretch of the orchestration's own code inside the call. */
static void build_guarded(baton_orch *o, const baton_arg *args, uint32_t nargs, baton_view *made,
                          void *context) {
  const baton_sub_graph *sub_graph = context;
  begin_stretch((chip_orchestrator *)o);
  sub_graph->build(o, args, nargs, made, sub_graph->context);
  end_stretch((chip_orchestrator *)o);
}

static baton_task call_record(baton_orch *o, const baton_sub_graph *sub_graph, const baton_arg *args,
                              uint32_t nargs, const baton_task_options *options, baton_view *made) {
  chip_orchestrator *self = enter_call(o);
  baton_sub_graph guarded = *sub_graph;
  guarded.build = build_guarded;
  guarded.context = (void *)(uintptr_t)sub_graph;
  baton_task task = self->calls->record(o, &guarded, args, nargs, options, made);
  leave_call(self);
  return task;
}

static void call_fail(baton_orch *o, const char *fmt, va_list values) {
  chip_orchestrator *self = enter_call(o);
  self->calls->fail(o, fmt, values);
  leave_call(self);
}

static int call_is_failed(baton_orch *o) {
  chip_orchestrator *self = enter_call(o);
  int failed = self->calls->is_failed(o);
  leave_call(self);
  return failed;
}

/* These two hold nothing and change nothing. */
static uint32_t call_clusters(baton_orch *o) { return ((chip_orchestrator *)o)->calls->clusters(o); }
static uint32_t call_aiv_count(baton_orch *o) { return ((chip_orchestrator *)o)->calls->aiv_count(o); }

void chip_guarded_begin(chip_orchestrator *self, const baton_orch_calls *calls) {
  static const baton_orch_calls guarded = {.kernel = call_kernel,
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
  self->calls = calls;
  self->base.calls = &guarded;
}

int chip_guarded_call(chip_orchestrator *self, const baton_argument *items,
                      void (*enter)(chip_orchestrator *self, const baton_argument *items)) {
  chip_guard *guard = &self->guard;
  guard->signal = 0;
  guard->pulse = chip_executor_orchestrates(&self->engine->executor);
  if (_setjmp(guard->leave)) {
    end_stretch(self);
    return 0;
  }
  begin_stretch(self);
  enter(self, items);
  end_stretch(self);
  return 1;
}
