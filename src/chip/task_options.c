#include "chip/task_options.h"

static const char *program_name(const chip_orchestrator *self) {
  return baton_program_name(self->bindings->program);
}

static const char *kind_name(uint32_t kind) {
  return kind == CHIP_WHOLE ? "clusters" : kind == BATON_AIC ? "matrix cores" : "vector cores";
}

static baton_status check_range(chip_orchestrator *self, const char *task, const char *what, int64_t value,
                                int64_t least, int64_t most) {
  if (value >= least && value <= most) return BATON_OK;
  return baton_error_set(&self->failure, BATON_OUT_OF_RANGE,
                         "%s: task %s: %s must be in %lld..%lld, got %lld", program_name(self), task, what,
                         (long long)least, (long long)most, (long long)value);
}

static baton_status refuse_without_kernel(chip_orchestrator *self, const char *task,
                                          const baton_task_options *options) {
  const char *option = options->blocks > 1   ? "blocks"
                       : options->sync_start ? "sync_start"
                       : options->predicate  ? "predicate"
                                             : "timing_slot";
  return baton_error_set(&self->failure, BATON_INVALID_ARGUMENT,
                         "%s: task %s: option '%s' is for tasks with a kernel", program_name(self), task,
                         option);
}

/* Instances that start together need a core each. */
static baton_status check_width(chip_orchestrator *self, const char *task, uint32_t kind, uint32_t blocks) {
  uint32_t cores = chip_cores_of_kind(&self->engine->executor.cores, kind);
  if (blocks <= cores) return BATON_OK;
  baton_error_set(&self->failure, BATON_SYNC_START_TOO_WIDE,
                  "%s: task %s: %u blocks are to start together on %u %s", program_name(self), task, blocks,
                  cores, kind_name(kind));
  baton_error_text(&self->failure, BATON_FIELD_HINT,
                   "take %u blocks at most, or let them run in waves without sync_start", cores);
  return self->failure.code;
}

baton_status chip_options_check(chip_orchestrator *self, const char *task, uint32_t kind, int kernel,
                                const baton_task_options *options, chip_extra *extra) {
  const baton_predicate *predicate = options->predicate;
  uint32_t slot = options->timing_slot;
  *extra = (chip_extra){.blocks = options->blocks ? options->blocks : 1,
                        .shares = 1,
                        .together = options->sync_start != 0,
                        .timing_slot = slot ? slot - 1 : CHIP_NO_SLOT,
                        .predicated = predicate != NULL};
  if (!kernel && chip_options_extra(options)) return refuse_without_kernel(self, task, options);
  BATON_TRY(check_range(self, task, "blocks", extra->blocks, 1, INT32_MAX));
  if (slot) BATON_TRY(check_range(self, task, "timing_slot", (int64_t)slot - 1, 0, BATON_TIMING_SLOTS - 1));
  BATON_TRY(check_range(self, task, "priority", options->priority, -BATON_HIGHEST_PRIORITY,
                        BATON_HIGHEST_PRIORITY));
  if (extra->together) BATON_TRY(check_width(self, task, kind, extra->blocks));
  if (!predicate) return BATON_OK;
  BATON_TRY(check_range(self, task, "the comparison of its predicate", predicate->op, BATON_EQUAL,
                        BATON_GREATER_EQUAL));
  extra->op = predicate->op;
  extra->value = predicate->value;
  return BATON_OK;
}

static baton_status check_operand(chip_orchestrator *self, const char *task, const baton_view *view) {
  baton_dtype dtype = (baton_dtype)view->dtype;
  if (!dtype)
    return baton_error_set(
        &self->failure, BATON_OUT_OF_RANGE,
        "%s: task %s: predicate: the result of a view operation that does not fit its tensor",
        program_name(self), task);
  if (baton_dtype_is_float(dtype))
    return baton_error_set(&self->failure, BATON_SIGNATURE,
                           "%s: task %s: predicate: a tensor of integers expected, got %s",
                           program_name(self), task, baton_dtype_name(dtype));
  return BATON_OK;
}

baton_status chip_options_operand(chip_orchestrator *self, const char *task, const baton_predicate *predicate,
                                  baton_arg *out) {
  baton_view element = predicate->tensor;
  BATON_TRY(check_operand(self, task, &element));
  for (int d = 0; d < predicate->tensor.ndim; d++) {
    int64_t index = predicate->index ? predicate->index[d] : 0, size = predicate->tensor.shape[d];
    if (index < 0 || index >= size)
      return baton_error_set(
          &self->failure, BATON_OUT_OF_RANGE,
          "%s: task %s: predicate: index %lld of dimension %d, which has %lld elements (counted from 0)",
          program_name(self), task, (long long)index, d, (long long)size);
    element = baton_select(element, 0, index);
  }
  *out = baton_input(element);
  return BATON_OK;
}
