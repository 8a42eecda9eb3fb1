#include "chip/element.h"
#include "base/clock.h"
#include "base/memory.h"
#include "chip/looks.h"
#include "chip/submit.h"
#include "tensor/storage.h"
#include <string.h>

enum { ELEMENT_BYTES = 8 };

static baton_status fail(chip_orchestrator *self, baton_status code, const char *who, const char *why) {
  return baton_error_set(&self->failure, code, "%s: %s: %s", baton_program_name(self->bindings->program), who,
                         why);
}

/* The element as a view without dimensions. */
static baton_status find_element(chip_orchestrator *self, const char *who, const baton_view *view,
                                 const int64_t *index, baton_view *element) {
  *element = *view;
  if (!view->dtype)
    return fail(self, BATON_OUT_OF_RANGE, who, "the result of a view operation that does not fit");
  for (int d = 0; d < view->ndim; d++) {
    if (index[d] < 0 || index[d] >= view->shape[d])
      return baton_error_set(&self->failure, BATON_OUT_OF_RANGE,
                             "%s: %s: index %lld of dimension %d, which has %lld elements (counted from 0)",
                             baton_program_name(self->bindings->program), who, (long long)index[d], d,
                             (long long)view->shape[d]);
    *element = baton_select(*element, 0, index[d]);
  }
  return BATON_OK;
}

/* An element that an orchestration looks for in the arguments of tasks. */
typedef struct element_search {
  const char *address; /* as kernels see it */
  int writes;          /* it is going to be stored, so that readers count too */
} element_search;

static int uses_element(void *context, const void *task) {
  const element_search *search = context;
  const chip_payload *payload = task;
  for (uint32_t i = 0; i < payload->count; i++) {
    const baton_argument *item = &payload->items[i];
    uint64_t below, above;
    if (!item->view || !(item->written || search->writes) || !tensor_reach(item->view, &below, &above))
      continue;
    uintptr_t first = (uintptr_t)item->view->data - below, at = (uintptr_t)search->address;
    if (at >= first && at - first < below + above) return 1;
  }
  return 0;
}

/* True if no task of the run, over or not, does anything to the argument of the program that would matter. */
static int is_untouched(const chip_orchestrator *self, const baton_arg *arg) {
  const baton_view *view = &arg->view;
  if (view->block || view->argument - 1 >= self->bindings->count) return 0;
  uint32_t matters = arg->tag == BATON_INPUT ? TASK_WRITES : TASK_READS | TASK_WRITES;
  return !(self->touched[view->argument - 1] & matters);
}

/* True if an unfinished task that nobody has recorded uses the element; no task runs. */
static int is_used(const chip_orchestrator *self, const baton_arg *arg) {
  const baton_view *view = &arg->view;
  if (!task_engine_has_unrecorded(self->engine->tasks)) return 0;
  if (!view->block && view->argument - 1 >= self->bindings->count) return 0; /* no tensor of this run */
  if (is_untouched(self, arg)) return 0;
  element_search search = {chip_kernel_bytes(self, view), arg->tag != BATON_INPUT};
  return task_engine_find(self->engine->tasks, &search, uses_element);
}

/* Nothing runs while a graph is built on the host: the element must be an argument that no task has touched. */
static baton_status check_untouched(chip_orchestrator *self, const char *who, const baton_arg *arg) {
  task_access access = {.base = arg->view.base, .mode = arg->tag == BATON_INPUT ? TASK_READS : TASK_WRITES};
  task_region_make(&access.region, (uintptr_t)arg->view.data - arg->view.base,
                   (uint32_t)baton_dtype_size((baton_dtype)arg->view.dtype), 0, NULL, NULL);
  if (arg->view.block)
    return fail(
        self, BATON_UNSUPPORTED, who,
        "an intermediate; on host_build_graph only arguments of the program can be reached while building");
  if (!task_engine_awaits(self->engine->tasks, &access) && !is_used(self, arg)) return BATON_OK;
  return fail(
      self, BATON_UNSUPPORTED, who,
      "an earlier task uses the element, and on host_build_graph no task runs while the graph is built; use "
      "tensormap_and_ringbuffer");
}

static baton_status too_late(chip_orchestrator *self, const char *who) {
  double seconds = (double)self->engine->times.element * 1e-9;
  baton_error_set(&self->failure, BATON_TENSOR_WAIT_TIMEOUT,
                  "%s: %s: a task that the element depends on has not ended within %g s",
                  baton_program_name(self->bindings->program), who, seconds);
  return baton_error_text(&self->failure, BATON_FIELD_HINT,
                          "raise timeout.element in config if the task is only slow");
}

/* A task that does nothing, in the place of the access: when it is over, the element is as the program expects. */
static baton_status await_producers(chip_orchestrator *self, const char *who, const baton_arg *arg,
                                    int64_t deadline, task_status *status) {
  baton_task task;
  BATON_TRY(chip_submit(self, BATON_AIV, NULL, arg, 1, &(baton_task_options){.name = who}, &task));
  *status = task_engine_wait(self->engine->tasks, task, deadline);
  return BATON_OK;
}

/* Where no edges are inferred any earlier task may use the element. */
static baton_status await_all(chip_orchestrator *self, const char *who, const baton_arg *arg,
                              int64_t deadline, task_status *status) {
  BATON_TRY(chip_check_access(self, who, arg));
  *status = task_engine_settle(self->engine->tasks, deadline);
  if (*status != TASK_OK || !is_used(self, arg)) return BATON_OK;
  return fail(
      self, BATON_UNSUPPORTED, who,
      "a task of an open scope uses the element, and on aicpu_build_graph it starts when the scope ends");
}

static baton_status await_element(chip_orchestrator *self, const char *who, const baton_arg *arg) {
  if (self->held) return check_untouched(self, who, arg);
  int64_t patience = self->engine->times.element, deadline = patience ? base_now() + patience : INT64_MAX;
  int all = task_engine_has_unrecorded(self->engine->tasks);
  task_status status;
  BATON_TRY((all ? await_all : await_producers)(self, who, arg, deadline, &status));
  if (status == TASK_OK) return BATON_OK;
  if (status == TASK_LATE) return too_late(self, who);
  const chip_failures *failures = &self->engine->executor.failures;
  failures->first(failures->context, &self->failure); /* the cause says more */
  if (self->failure.code) return self->failure.code;
  return fail(self, BATON_POISONED, who, "a task that the element depends on has not run");
}

/* A host tensor over `bytes`, to convert between an element and a number. */
static baton_status wrap(chip_orchestrator *self, void *bytes, const baton_view *element,
                         baton_tensor **out) {
  return baton_tensor_wrap(bytes, (baton_dtype)element->dtype, 0, NULL, out, &self->failure);
}

static baton_status read_number(chip_orchestrator *self, const baton_view *element, baton_number *out) {
  uint64_t bytes[ELEMENT_BYTES / sizeof(uint64_t)] = {0};
  baton_tensor *number;
  BATON_TRY(device_copy_out(self->engine->dev, (uintptr_t)element->data, bytes,
                            baton_dtype_size((baton_dtype)element->dtype), &self->failure));
  BATON_TRY(wrap(self, bytes, element, &number));
  baton_status status = baton_tensor_get(number, NULL, out, &self->failure);
  baton_tensor_close(number);
  return status;
}

baton_status chip_element_get(chip_orchestrator *self, const baton_view *view, const int64_t *index,
                              baton_arg *out) {
  baton_view element;
  baton_number number;
  BATON_TRY(find_element(self, "get", view, index, &element));
  baton_arg arg = baton_input(element);
  BATON_TRY(await_element(self, "get", &arg));
  BATON_TRY(read_number(self, &element, &number));
  *out = (baton_arg){.tag = BATON_SCALAR, .dtype = number.dtype, .scalar.u64 = number.value.u64};
  if (!self->looks || chip_looks_add(self->looks, self->bindings, &element, 0)) return BATON_OK;
  return base_out_of_memory(&self->failure, "what a graph looked at");
}

/* `value` as an element of this type. */
static baton_status convert(chip_orchestrator *self, const char *who, const baton_view *element,
                            const baton_arg *value, uint64_t *bytes) {
  baton_tensor *number;
  BATON_TRY(wrap(self, bytes, element, &number));
  baton_status status = baton_tensor_set(
      number, NULL, (baton_number){.dtype = value->dtype, .value.u64 = value->scalar.u64}, &self->failure);
  baton_tensor_close(number);
  if (status == BATON_OK) return BATON_OK;
  return baton_error_context(&self->failure, "%s: %s", baton_program_name(self->bindings->program), who);
}

/* Argument 0 full of elements with the bits of argument 1. */
static void fill(const baton_args *args) {
  const baton_view *view = baton_arg_tensor(args, 0);
  uint64_t bits = baton_scalar_u64(args, 1);
  size_t size = baton_dtype_size((baton_dtype)view->dtype);
  char *bytes = view->data;
  for (int64_t i = 0, n = baton_view_numel(view); i < n; i++) memcpy(bytes + (size_t)i * size, &bits, size);
}

baton_status chip_element_fill(chip_orchestrator *self, const baton_view *view, const baton_arg *value) {
  static const chip_kernel kernel = {.name = "fill",
                                     .who = "fill",
                                     .core = BATON_AIV,
                                     .local = 1,
                                     .number = UINT32_MAX - 1,
                                     .function = fill};
  uint64_t bytes[ELEMENT_BYTES / sizeof(uint64_t)] = {0};
  baton_task task;
  BATON_TRY(convert(self, "fill", view, value, bytes));
  const baton_arg args[] = {baton_output(*view), baton_u64(bytes[0])};
  if (!view->block && task_engine_is_manual(self->engine->tasks))
    return fail(self, BATON_UNSUPPORTED, "fill",
                "an argument of the program; where no edges are inferred, intermediates only can be filled");
  BATON_TRY(chip_submit(self, BATON_AIV, &kernel, args, 2, &(baton_task_options){0}, &task));
  if (view->block) task_engine_made_by(self->engine->tasks, view->block, task);
  return BATON_OK;
}

baton_status chip_element_set(chip_orchestrator *self, const baton_view *view, const int64_t *index,
                              const baton_arg *value) {
  baton_view element;
  uint64_t bytes[ELEMENT_BYTES / sizeof(uint64_t)] = {0};
  BATON_TRY(find_element(self, "set", view, index, &element));
  BATON_TRY(convert(self, "set", &element, value, bytes));
  baton_arg arg = baton_output(element);
  BATON_TRY(await_element(self, "set", &arg));
  BATON_TRY(device_copy_in(self->engine->dev, (uintptr_t)element.data, bytes,
                           baton_dtype_size((baton_dtype)element.dtype), &self->failure));
  if (!self->looks || chip_looks_add(self->looks, self->bindings, &element, 1)) return BATON_OK;
  return base_out_of_memory(&self->failure, "what a graph stored");
}
