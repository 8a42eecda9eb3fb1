#include "chip/config.h"

static const double default_op_timeout = 10, most_seconds = 1e9;

baton_config chip_config_merge(const baton_config *base, const baton_config *over) {
  baton_config config = *base;
  if (!over) return config;
  if (over->ring_task_window) config.ring_task_window = over->ring_task_window;
  if (over->ring_heap) config.ring_heap = over->ring_heap;
  if (over->ring_dep_pool) config.ring_dep_pool = over->ring_dep_pool;
  if (over->runtime) config.runtime = over->runtime;
  if (over->deadline != 0) config.deadline = over->deadline;
  if (over->timeout != 0) config.timeout = over->timeout;
  if (over->stream_timeout != 0) config.stream_timeout = over->stream_timeout;
  if (over->element_timeout != 0) config.element_timeout = over->element_timeout;
  if (over->resident) {
    config.resident = over->resident;
    config.nresident = over->nresident;
  }
  return config;
}

static baton_status check_time(const char *name, double seconds, baton_error *err) {
  if (seconds >= 0 && seconds <= most_seconds) return BATON_OK;
  return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: seconds from 0 to %g expected, got %g", name,
                         most_seconds, seconds);
}

static double op_timeout(const baton_config *config) {
  return config->timeout > 0 ? config->timeout : default_op_timeout;
}

baton_status chip_config_check_times(const baton_config *config, baton_error *err) {
  BATON_TRY(check_time("deadline", config->deadline, err));
  BATON_TRY(check_time("timeout", config->timeout, err));
  BATON_TRY(check_time("stream_timeout", config->stream_timeout, err));
  BATON_TRY(check_time("element_timeout", config->element_timeout, err));
  if (config->stream_timeout <= 0 || op_timeout(config) < config->stream_timeout) return BATON_OK;
  baton_error_set(err, BATON_INVALID_ARGUMENT, "timeout: op must be less than stream, got %g and %g",
                  op_timeout(config), config->stream_timeout);
  if (config->timeout <= 0)
    baton_error_text(err, BATON_FIELD_HINT, "without op it is %g", default_op_timeout);
  return BATON_INVALID_ARGUMENT;
}

baton_status chip_config_check(const baton_config *config, baton_error *err) {
  if (config->ring_task_window > 1u << 24)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "ring_task_window: at most %u tasks, got %u", 1u << 24,
                           config->ring_task_window);
  if (config->ring_dep_pool > 1u << 28)
    return baton_error_set(err, BATON_OUT_OF_RANGE, "ring_dep_pool: at most %u edges, got %u", 1u << 28,
                           config->ring_dep_pool);
  return chip_config_check_times(config, err);
}

static int64_t nanoseconds(double seconds) { return (int64_t)(seconds * 1e9); }

chip_times chip_config_times(const baton_config *config) {
  return (chip_times){.op = nanoseconds(op_timeout(config)),
                      .stream = nanoseconds(config->stream_timeout),
                      .element = nanoseconds(config->element_timeout)};
}
