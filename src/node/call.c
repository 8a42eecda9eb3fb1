/* Calls on the task lane: programs of the chip, functions of the host, scripts. */
#include "base/memory.h"
#include "base/text.h"
#include "chip/executor/guard.h"
#include "chip/launch.h"
#include "node/execute.h"
#include "tensor/storage.h"
#include <string.h>

enum { FIRST_ARGUMENTS = 16, MESSAGE = 1024 };

/* --- Arguments ------------------------------------------------------------------------------------------ */

static void free_arguments(node_arguments *arguments) {
  base_free(arguments->views);
  base_free(arguments->items);
  base_free(arguments->values);
  *arguments = (node_arguments){0};
}

static int reserve(node_arguments *arguments, uint32_t count) {
  if (count <= arguments->capacity) return 1;
  uint32_t capacity = count < FIRST_ARGUMENTS ? FIRST_ARGUMENTS : count;
  free_arguments(arguments);
  arguments->views = base_calloc(capacity, sizeof *arguments->views);
  arguments->items = base_calloc(capacity, sizeof *arguments->items);
  arguments->values = base_calloc(capacity, sizeof *arguments->values);
  if (arguments->views && arguments->items && arguments->values) {
    arguments->capacity = capacity;
    return 1;
  }
  free_arguments(arguments);
  return 0;
}

baton_status node_map_view(const node_executor *executor, const node_value *value, baton_view *view,
                           baton_error *err) {
  static char nothing; /* the address of no bytes */
  const node_memory_map *memory = &executor->memory;
  uint64_t below = 0, above;
  *view = value->view;
  char *lowest = &nothing;
  if (value->bytes && executor->in_process)
    lowest = (char *)(uintptr_t)value->address;
  else if (value->bytes) /* segment 0 becomes the number of no segment */
    lowest = memory->resolve(memory->context, value->segment - 1u, value->offset, value->bytes, err);
  if (!lowest) return err->code;
  if (value->bytes && !baton_view_contiguous(view)) (void)tensor_reach(view, &below, &above);
  view->data = lowest + below;
  view->base = (uint64_t)(uintptr_t)lowest;
  view->block = view->generation = 0;
  view->mark = 0;
  return BATON_OK;
}

/* --- Functions of the host ------------------------------------------------------------------------------ */

typedef struct host_call {
  baton_args args; /* first: the function hands it back */
  chip_guard guard;
  int misuse;
  char message[MESSAGE]; /* in its own words */
} host_call;

static void fail(const baton_args *args, int misuse, const char *fmt, va_list values) {
  host_call *call = (host_call *)(uintptr_t)args;
  chip_guard_pause(&call->guard);
  call->misuse = misuse;
  base_vprint(call->message, sizeof call->message, fmt, values);
  chip_guard_leave(&call->guard);
}

static baton_status say_failure(const host_call *call, const chip_kernel *function, baton_error *err) {
  int signal = call->guard.signal;
  if (!signal) {
    baton_error_set(err, call->misuse ? BATON_SIGNATURE : BATON_USER_FAIL, "%s: %s", function->who,
                    call->message);
  } else {
    const char *name = sigabbrev_np(signal);
    baton_error_set(err, BATON_KERNEL_CRASH, "%s: crashed with SIG%s", function->who, name ? name : "?");
    err->signal = signal;
    err->known |= BATON_KNOWN_SIGNAL;
  }
  return baton_error_text(err, BATON_FIELD_KERNEL, "%s", function->name);
}

static baton_status bind_host(const node_executor *executor, const node_value *value, uint32_t i,
                              node_arguments *arguments, baton_error *err) {
  baton_argument *item = &arguments->items[i];
  if (value->kind == NODE_SCALAR) {
    *item = (baton_argument){.dtype = value->dtype, .argument = i + 1};
    item->value.u64 = value->scalar.u64;
    return BATON_OK;
  }
  if (value->kind != NODE_HOST_TENSOR)
    return baton_error_set(err, BATON_UNSUPPORTED,
                           "argument %u: child memory cannot be given to a function of the host", i + 1);
  baton_view *view = &arguments->views[i];
  BATON_TRY(node_map_view(executor, value, view, err));
  *item = (baton_argument){.view = view,
                           .dtype = view->dtype,
                           .contiguous = (uint8_t)baton_view_contiguous(view),
                           .written = value->tag != BATON_INPUT,
                           .argument = i + 1};
  item->value.data = view->data;
  return BATON_OK;
}

static baton_status call_host(node_executor *executor, const chip_kernel *function,
                              const node_command *command, baton_error *err) {
  static const baton_kernel_services services = {.fail = fail};
  static const chip_pulse idle = {.condemned = 1}; /* no signal for a kernel that hangs is meant for this */
  node_arguments *arguments = &executor->arguments;
  const node_value *values = node_command_values(command);
  host_call call;
  if (!reserve(arguments, command->nvalues)) return base_out_of_memory(err, "the arguments of a function");
  for (uint32_t i = 0; i < command->nvalues; i++) {
    baton_status status = bind_host(executor, &values[i], i, arguments, err);
    if (status != BATON_OK) return baton_error_context(err, "%s", function->who);
  }
  call.args =
      (baton_args){.items = arguments->items, .count = command->nvalues, .blocks = 1, .services = &services};
  call.guard.pulse = &idle;
  chip_guard_thread();
  if (!chip_guard_call(&call.guard, function->function, &call.args)) return BATON_OK;
  return say_failure(&call, function, err);
}

/* --- Who runs, for those who cancel --------------------------------------------------------------------- */

/* executor->running_lock is held. The end cancels what belongs to no run, too. */
static int is_over(const node_executor *executor, uint32_t run) {
  return executor->cancelled == UINT32_MAX || (run && run <= executor->cancelled);
}

/* False: the run was cancelled. */
static int begin_running(node_executor *executor, uint32_t run, int in_script) {
  pthread_mutex_lock(&executor->running_lock);
  int begins = !is_over(executor, run);
  executor->running = run;
  executor->is_running = begins;
  executor->in_script = begins && in_script;
  pthread_mutex_unlock(&executor->running_lock);
  return begins;
}

static void end_running(node_executor *executor) {
  pthread_mutex_lock(&executor->running_lock);
  executor->is_running = executor->in_script = 0;
  pthread_mutex_unlock(&executor->running_lock);
}

static int is_cancelled(node_executor *executor, uint32_t run) {
  pthread_mutex_lock(&executor->running_lock);
  int cancelled = is_over(executor, run);
  pthread_mutex_unlock(&executor->running_lock);
  return cancelled;
}

static baton_status say_cancelled(baton_error *err) {
  return baton_error_set(err, BATON_CANCELLED, "the run was cancelled");
}

static baton_config config_of(const node_config *from) {
  if (!from) return (baton_config){0};
  return (baton_config){.ring_task_window = from->ring_task_window,
                        .ring_heap = from->ring_heap,
                        .ring_dep_pool = from->ring_dep_pool,
                        .runtime = from->runtime[0] ? from->runtime : NULL,
                        .deadline = from->deadline,
                        .timeout = from->timeout,
                        .stream_timeout = from->stream_timeout,
                        .element_timeout = from->element_timeout};
}

/* --- Scripts -------------------------------------------------------------------------------------------- */

static baton_status open_state(node_executor *executor, baton_error *err) {
  if (!executor->scripts)
    return baton_error_set(err, BATON_UNSUPPORTED, "this worker calls no Lua functions");
  return executor->state ? BATON_OK : executor->scripts->open(&executor->state, err);
}

static baton_status call_function(node_executor *executor, const node_command *command, node_bytes *result,
                                  baton_error *err) {
  const node_script_calls *scripts = executor->scripts;
  const char *data = node_command_data(command);
  const baton_view *views = executor->arguments.views;
  if (!executor->node)
    return scripts->call(executor->state, data, command->ndata, views, command->nvalues, result, err);
  baton_config config = config_of(node_command_config(command));
  return scripts->run(executor->state, executor->node, &config, data, command->ndata, views, command->nvalues,
                      result, err);
}

static baton_status call_script(node_executor *executor, node_executor_lane *lane,
                                const node_command *command, baton_error *err) {
  node_bytes *result = &executor->result;
  char *data;
  result->size = 0;
  BATON_TRY(call_function(executor, command, result, err));
  BATON_TRY(node_reply_room(lane, result->size, &data, err));
  if (result->size) memcpy(data, result->data, result->size);
  return BATON_OK;
}

baton_status node_do_script(node_executor *executor, node_executor_lane *lane, const node_command *command,
                            baton_error *err) {
  const node_value *values = node_command_values(command);
  BATON_TRY(open_state(executor, err));
  if (!reserve(&executor->arguments, command->nvalues))
    return base_out_of_memory(err, "the arguments of a function");
  for (uint32_t i = 0; i < command->nvalues; i++) {
    if (values[i].kind != NODE_HOST_TENSOR)
      return baton_error_set(err, BATON_UNSUPPORTED, "tensor %u of a function is no host tensor", i + 1);
    BATON_TRY(node_map_view(executor, &values[i], &executor->arguments.views[i], err));
  }
  if (!begin_running(executor, command->run, 1)) return say_cancelled(err);
  baton_status status = call_script(executor, lane, command, err);
  end_running(executor);
  return status;
}

/* --- Programs of the chip ------------------------------------------------------------------------------- */

/* The graph that this thread is about to build. */
static _Thread_local struct {
  node_executor *executor;
  const baton_program *program; /* with a script */
  node_executor_lane *lane;     /* of a command that is fed … */
  uint64_t sequence;            /* … with this number */
} building;

void node_build_graph(baton_orch *o, const baton_args *args) {
  uint64_t size;
  const void *script = building.program ? chip_program_script(building.program, &size) : NULL;
  if (building.lane)
    node_build_fed(building.executor, building.lane, building.sequence, o, args);
  else if (script)
    building.executor->scripts->graph(building.executor->state, script, size, o, args);
  else
    baton_orch_fail(o, "the graph of a worker's program is built on the worker's thread only");
}

static baton_status bind_chip(node_executor *executor, const node_value *value, uint32_t i,
                              node_arguments *arguments, baton_error *err) {
  baton_value *to = &arguments->values[i];
  baton_view *view = &arguments->views[i];
  *to = (baton_value){0};
  if (value->kind == NODE_HOST_TENSOR) {
    BATON_TRY(node_map_view(executor, value, view, err));
    return tensor_over_view(view, &to->tensor, err);
  }
  if (value->kind == NODE_SCALAR) {
    to->dtype = (baton_dtype)value->dtype;
    to->scalar.u64 = value->scalar.u64;
    return BATON_OK;
  }
  BATON_TRY(node_use_buffer(executor, value->buffer, &to->buffer, err));
  *view = value->view;
  view->base = to->buffer->address;
  view->generation = to->buffer->number;
  view->data = (void *)((uintptr_t)to->buffer->address + (uintptr_t)value->view.data);
  view->block = view->mark = 0;
  to->view = view;
  return BATON_OK;
}

static void unbind(node_arguments *arguments, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    baton_tensor_close(arguments->values[i].tensor);
    if (arguments->values[i].buffer) chip_buffer_unuse(arguments->values[i].buffer);
  }
}

static baton_status report(const node_executor *executor, node_executor_lane *lane,
                           const baton_timing *timing, baton_error *err) {
  node_report made = {.timing = *timing};
  char *data;
  baton_worker_stats(executor->chip, &made.stats);
  BATON_TRY(node_reply_room(lane, sizeof made, &data, err));
  memcpy(data, &made, sizeof made);
  return BATON_OK;
}

/* A cancellation finds the run among those of the chip, from its launch on; one that came before is found here. */
static baton_status run_bound(node_executor *executor, node_executor_lane *lane, const node_command *command,
                              baton_program *program, baton_error *err) {
  baton_run *run;
  baton_timing timing;
  baton_config config = config_of(node_command_config(command));
  uint64_t graph = command->flags & NODE_FED ? command->size : 0;
  double deadline = config.deadline > 0 ? config.deadline : executor->deadline;
  BATON_TRY(chip_launch_lend(executor->chip, program, executor->arguments.values, command->nvalues, &config,
                             graph, &run, err));
  if (is_cancelled(executor, command->run)) (void)baton_run_cancel(run);
  baton_status status = chip_launch_finish(run, deadline, &timing, err);
  lane->reply->device_us = (float)timing.device;
  return status == BATON_OK && command->flags & NODE_REPORT ? report(executor, lane, &timing, err) : status;
}

static baton_status run_program(node_executor *executor, node_executor_lane *lane,
                                const node_command *command, baton_program *program, baton_error *err) {
  uint64_t size;
  int is_fed = (command->flags & NODE_FED) != 0;
  int is_script = !is_fed && chip_program_script(program, &size) != NULL;
  if (is_script) BATON_TRY(open_state(executor, err));
  if (!begin_running(executor, command->run, is_script)) return say_cancelled(err);
  building.executor = executor;
  building.program = is_script ? program : NULL;
  building.lane = is_fed ? lane : NULL;
  building.sequence = command->sequence;
  baton_status status = run_bound(executor, lane, command, program, err);
  building.program = NULL;
  building.lane = NULL;
  end_running(executor);
  return status;
}

static baton_status call_chip(node_executor *executor, node_executor_lane *lane, const node_command *command,
                              baton_program *program, baton_error *err) {
  node_arguments *arguments = &executor->arguments;
  const node_value *values = node_command_values(command);
  baton_status status = BATON_OK;
  uint32_t bound = 0;
  if (!reserve(arguments, command->nvalues)) return base_out_of_memory(err, "the arguments of a program");
  for (; bound < command->nvalues && status == BATON_OK; bound++)
    status = bind_chip(executor, &values[bound], bound, arguments, err);
  if (status != BATON_OK)
    baton_error_context(err, "%s: argument %u", baton_program_name(program), bound);
  else
    status = run_program(executor, lane, command, program, err);
  unbind(arguments, bound);
  return status;
}

/* --- Programs of a node: a run with one task ------------------------------------------------------------ */

typedef struct node_call {
  baton_program *program;
  baton_node_value *values;
  uint32_t nvalues;
} node_call;

static baton_status submit_only_task(baton_node_orch *o, void *context, baton_error *err) {
  const node_call *call = context;
  int to_sub = chip_program_is_host(call->program) && !baton_node_orch_workers(o);
  return (to_sub ? baton_node_submit_sub : baton_node_submit_next_level)(o, call->program, call->values,
                                                                         call->nvalues, NULL, NULL, err);
}

static baton_status bind_node(node_executor *executor, const node_value *value, uint32_t i,
                              baton_node_value *to, baton_error *err) {
  baton_view *view = &executor->arguments.views[i];
  *to = (baton_node_value){.tag = value->tag};
  if (value->kind == NODE_HOST_TENSOR) {
    BATON_TRY(node_map_view(executor, value, view, err));
    return tensor_over_view(view, &to->tensor, err);
  }
  if (value->kind != NODE_SCALAR)
    return baton_error_set(err, BATON_UNSUPPORTED, "child memory belongs to the nodes");
  to->dtype = (baton_dtype)value->dtype;
  to->scalar.u64 = value->scalar.u64;
  return BATON_OK;
}

static baton_status run_only_task(node_executor *executor, const node_command *command, node_call *call,
                                  baton_error *err) {
  const node_value *values = node_command_values(command);
  baton_config config = config_of(node_command_config(command));
  for (; call->nvalues < command->nvalues; call->nvalues++)
    BATON_TRY(bind_node(executor, &values[call->nvalues], call->nvalues, &call->values[call->nvalues], err));
  if (!begin_running(executor, command->run, 0)) return say_cancelled(err);
  baton_status status = baton_node_run_function(executor->node, submit_only_task, call, &config, NULL, err);
  end_running(executor);
  return status;
}

static baton_status call_on_node(node_executor *executor, const node_command *command, baton_program *program,
                                 baton_error *err) {
  node_call call = {.program = program};
  call.values = base_calloc(command->nvalues + 1, sizeof *call.values);
  int room = call.values && reserve(&executor->arguments, command->nvalues);
  baton_status status = room ? run_only_task(executor, command, &call, err)
                             : base_out_of_memory(err, "the arguments of a program");
  for (uint32_t i = 0; i < call.nvalues; i++) baton_tensor_close(call.values[i].tensor);
  base_free(call.values);
  return status;
}

baton_status node_do_program(node_executor *executor, node_executor_lane *lane, const node_command *command,
                             baton_error *err) {
  node_program *found;
  BATON_TRY(node_find_program(executor, command->callable, &found, err));
  if (executor->node) return call_on_node(executor, command, found->program, err);
  if (chip_program_is_host(found->program))
    return call_host(executor, chip_program_host(found->program), command, err);
  return call_chip(executor, lane, command, found->program, err);
}

void node_calls_close(node_executor *executor) {
  if (executor->state) executor->scripts->close(executor->state);
  free_arguments(&executor->arguments);
  base_free(executor->result.data);
}
