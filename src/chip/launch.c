/* From a call of run or submit to the end of the run. */
#include "chip/launch.h"
#include "base/clock.h"
#include "base/memory.h"
#include "chip/config.h"
#include "chip/kept.h"
#include "chip/runtime.h"
#include "chip/worker.h"

static const uint64_t default_heap = UINT64_C(256) << 20;

/* --- Sizes ---------------------------------------------------------------------------------------------- */

static chip_sizes sizes_of(const baton_worker *worker, const baton_config *config,
                           const chip_runtime *runtime) {
  return (chip_sizes){.lanes = device_threads(worker->dev),
                      .window = config->ring_task_window ? config->ring_task_window : runtime->default_window,
                      .dep_pool = config->ring_dep_pool ? config->ring_dep_pool : runtime->default_dep_pool,
                      .heap = config->ring_heap ? config->ring_heap : default_heap};
}

static uint64_t graph_way(const baton_worker *worker, const baton_program *program,
                          const chip_runtime *runtime) {
  int built = chip_program_is_graph(program) && runtime == &chip_host_build_graph;
  return worker->elsewhere && built ? CHIP_GRAPH_RUNS_ELSEWHERE : CHIP_GRAPH_HERE;
}

/* Of the engine here: of one that executes elsewhere it has the heap only, unless its graph is built here. */
static chip_sizes sizes_here(const baton_run *run) {
  return run->worker->elsewhere && run->graph_way != CHIP_GRAPH_RUNS_ELSEWHERE
             ? (chip_sizes){.lanes = 1, .window = 64, .dep_pool = 64, .heap = run->asked.heap}
             : run->asked;
}

/* --- Runs that share host memory ------------------------------------------------------------------------ */

/* The unfinished runs of all workers whose outputs are still to come. */
static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static baton_run *pending;

/* The run has done with host memory: it wrote its outputs, or it never will. Legal when it was not
** pending. */
static void end_pending(baton_run *run) {
  pthread_mutex_lock(&pending_lock);
  baton_run **link = &pending;
  while (*link && *link != run) link = &(*link)->next_pending;
  if (*link) *link = run->next_pending;
  pthread_mutex_unlock(&pending_lock);
  chip_bindings_end(&run->bindings, run->failure.code ? &run->failure : NULL);
}

/* A pending run that uses the same host memory, held; NULL: there is none, and `run` is pending now
** itself. */
static baton_run *find_conflict(baton_run *run) {
  pthread_mutex_lock(&pending_lock);
  baton_run *other = pending;
  while (other && !chip_bindings_conflict(&other->bindings, &run->bindings)) other = other->next_pending;
  if (other) {
    chip_run_hold(other);
  } else {
    run->next_pending = pending;
    pending = run;
  }
  pthread_mutex_unlock(&pending_lock);
  return other;
}

/* A run that touches host memory of an unfinished one waits for it: its inputs are taken now, not later. */
static baton_status await_conflicts(baton_run *run, baton_error *err) {
  baton_run *other;
  while ((other = find_conflict(run)) != NULL) {
    baton_status status = chip_inside_run(other) ? chip_inside_error("submit", err) : BATON_OK;
    if (status == BATON_OK) {
      chip_run_await(other, INT64_MAX);
    }
    chip_run_release(other);
    if (status != BATON_OK) return status;
  }
  return BATON_OK;
}

baton_status chip_launch_claim(baton_run *run, baton_error *err) {
  BATON_TRY(await_conflicts(run, err));
  chip_bindings_begin(&run->bindings);
  return BATON_OK;
}

void chip_launch_drop(baton_run *run) {
  end_pending(run);
  chip_run_end(run);
}

/* --- The end -------------------------------------------------------------------------------------------- */

/* What was left by force, a kernel or an orchestration, may have left anything behind. */
static void report_failure(void *context, const baton_error *failure) {
  chip_run_fail(context, failure);
  if (failure->code == BATON_KERNEL_CRASH || failure->code == BATON_OP_TIMEOUT ||
      failure->code == BATON_STREAM_TIMEOUT)
    chip_worker_lose(context, failure);
}
static void first_failure(void *context, baton_error *out) { chip_run_failure(context, out); }

/* A cancellation that comes now comes too late. Says whether what the run has is to stay. */
static int refuse_cancellation(baton_run *run) {
  pthread_mutex_lock(&run->worker->lock);
  run->settled = 1;
  int stays = run->stays;
  pthread_mutex_unlock(&run->worker->lock);
  return stays;
}

/* The first cause wins; a run that was cancelled before anything failed says so. */
static void settle(baton_run *run) {
  baton_error failure = {0};
  if (!run->failure.code && atomic_load_explicit(&run->cancelled, memory_order_relaxed)) {
    baton_error_set(&failure, BATON_CANCELLED, "%s: the run was cancelled", baton_program_name(run->program));
    chip_run_fail(run, &failure);
  }
  if (!run->failure.code && chip_bindings_download(&run->bindings, &failure) != BATON_OK)
    chip_run_fail(run, &failure);
  baton_error_clear(&failure);
}

/* Out of the list of the worker. */
static void forget_run(baton_worker *worker, baton_run *run, const task_counts *counts) {
  pthread_mutex_lock(&worker->lock);
  baton_run **link = &worker->unfinished;
  while (*link && *link != run) link = &(*link)->next;
  if (*link) *link = run->next;
  chip_stats_add(worker, run, counts);
  pthread_mutex_unlock(&worker->lock);
}

static void give_engine(baton_run *run) {
  chip_engine *engine = run->engine;
  run->engine = NULL;
  if (engine) chip_worker_give_engine(run->worker, engine);
}

void chip_launch_release(baton_run *run) {
  if (run->runtime->finish) run->runtime->finish(run);
  chip_bindings_unload(&run->bindings);
  give_engine(run);
}

/* How long the tasks took, how many they were; what runs elsewhere has said so itself. */
static void measure(baton_run *run, task_counts *counts) {
  *counts = (task_counts){0};
  if (run->worker->elsewhere) return;
  task_engine_counts(run->engine->tasks, counts);
  run->timing.device = (double)(base_now() - run->launched) / 1e3;
  run->timing.tasks = counts->tasks;
  run->timing.timed = chip_executor_times(&run->engine->executor, run->timing.slots);
}

/* What was begun and is not launched. */
static void give_up(baton_run *run) {
  if (run->worker->elsewhere) return;
  task_engine_cancel(run->engine->tasks);
  (void)task_engine_finish(run->engine->tasks);
}

/* On the device, after the last lane: copies back, gives everything back, ends the run. */
static void finish_run(void *context, baton_status status) {
  baton_run *run = context;
  task_counts counts;
  measure(run, &counts);
  if (status != BATON_OK) {
    atomic_store_explicit(&run->cancelled, 1, memory_order_relaxed);
    chip_runtime_give_turn(run, CHIP_TURN_MISSED);
    if (!run->worker->elsewhere)
      (void)task_engine_finish(run->engine->tasks); /* never begun: its tasks end unrun */
  }
  int stays = refuse_cancellation(run);
  settle(run);
  end_pending(run);
  if (!stays) chip_bindings_unload(&run->bindings);
  if (!stays && !run->failure.code) chip_bindings_close(&run->bindings);
  run->timing.host = (double)(base_now() - run->begun) / 1e3;
  forget_run(run->worker, run, &counts);
  if (!stays) chip_launch_release(run);
  chip_run_end(run);
  chip_run_release(run);
}

/* --- The beginning -------------------------------------------------------------------------------------- */

static void execute_elsewhere(void *context, uint32_t lane) {
  baton_run *run = context;
  (void)lane;
  atomic_store_explicit(&run->started, 1, memory_order_relaxed);
  run->worker->elsewhere->execute(run->worker->place, run);
}

static void execute_lane(void *context, uint32_t lane) {
  baton_run *run = context;
  chip_inside frame;
  if (lane == 0) atomic_store_explicit(&run->started, 1, memory_order_relaxed);
  chip_inside_begin(&frame, run);
  if (lane == 0) chip_engine_watch(run->engine);
  run->runtime->execute(run, lane);
  if (lane == 0) chip_engine_unwatch(run->engine);
  chip_inside_end(&frame);
}

baton_status chip_launch_place(baton_run *run, baton_error *err) {
  BATON_TRY(chip_worker_take_engine(run->worker, &run->sizes, &run->engine, err));
  return chip_bindings_place(&run->bindings, err);
}

static baton_status prepare(baton_run *run, baton_error *err) {
  chip_inside frame;
  if (run->worker->elsewhere && run->graph_way != CHIP_GRAPH_RUNS_ELSEWHERE) return BATON_OK;
  chip_engine_begin(run->engine,
                    &(chip_failures){.context = run, .report = report_failure, .first = first_failure},
                    &run->times);
  int64_t begin = base_now();
  chip_inside_begin(&frame, run);
  baton_status status = run->runtime->prepare(run, err);
  chip_inside_end(&frame);
  run->timing.orchestration += (double)(base_now() - begin) / 1e3;
  return status;
}

/* Into the list of the worker and onto the stream; worker->lock is held. */
static baton_status enlist(baton_worker *worker, baton_run *run, baton_error *err) {
  if (worker->closed) return baton_error_set(err, BATON_CLOSED, "the worker is closed");
  if (worker->lost) return chip_worker_lost_error(worker, err);
  chip_run_hold(run);
  run->number = ++worker->run_count;
  run->launched = base_now();
  run->next = worker->unfinished;
  worker->unfinished = run;
  baton_status status = device_launch_on(worker->dev, DEVICE_STREAM_CORES, &run->launch, err);
  if (status == BATON_OK) return BATON_OK;
  worker->unfinished = run->next;
  chip_run_release(run); /* not the last hold: the caller has his */
  return status;
}

/* From here on the run ends on the device, unless the launch is refused. */
static baton_status launch(baton_worker *worker, baton_run *run, baton_error *err) {
  run->launch = (device_launch){.run = worker->elsewhere ? execute_elsewhere : execute_lane,
                                .done = finish_run,
                                .context = run,
                                .lanes = run->lanes ? run->lanes : run->engine->sizes.lanes,
                                .here = run->lends && run->here};
  pthread_mutex_lock(&worker->lock);
  baton_status status = enlist(worker, run, err);
  int here = status == BATON_OK && run->launch.here;
  pthread_mutex_unlock(&worker->lock);
  if (here) device_execute(worker->dev, DEVICE_STREAM_CORES, &run->launch);
  if (status != BATON_OK) give_up(run);
  return status;
}

static baton_status build(baton_run *run, baton_error *err) {
  chip_inside frame;
  if (!run->runtime->build) return BATON_OK;
  chip_inside_begin(&frame, run);
  baton_status status = run->runtime->build(run, err);
  chip_inside_end(&frame);
  if (status == BATON_OK) return BATON_OK;
  chip_run_await(run, INT64_MAX); /* it ends by itself */
  chip_run_told(run);
  return status;
}

baton_status chip_launch_start(baton_run *run, baton_error *err) {
  BATON_TRY(prepare(run, err));
  BATON_TRY(launch(run->worker, run, err));
  return build(run, err);
}

baton_status chip_launch_open(baton_worker *worker, baton_program *program, const baton_value *values,
                              uint32_t nvalues, const baton_config *config, baton_run **out,
                              baton_error *err) {
  const chip_runtime *runtime;
  baton_run *run;
  *out = NULL;
  BATON_TRY(chip_config_check(config, err));
  BATON_TRY(baton_program_compile(program, err));
  BATON_TRY(chip_runtime_find(config->runtime, program, &runtime, err));
  BATON_TRY(chip_run_create(worker, program, &run, err));
  run->runtime = runtime;
  run->graph_way = graph_way(worker, program, runtime);
  run->asked = sizes_of(worker, config, runtime);
  run->sizes = sizes_here(run);
  run->times = chip_config_times(config);
  pthread_mutex_lock(&worker->lock);
  chip_registry_upload(&worker->registry, program);
  pthread_mutex_unlock(&worker->lock);
  baton_status status = chip_bindings_open(&run->bindings, worker, program, values, nvalues, err);
  if (status == BATON_OK && worker->elsewhere)
    status = worker->elsewhere->accept(worker->place, program, err);
  if (status == BATON_OK)
    *out = run;
  else
    chip_run_release(run);
  return status;
}

/* Inputs that a failed run should have written are refused. */
static baton_status take_inputs(baton_run *run, baton_error *err) {
  BATON_TRY(await_conflicts(run, err));
  BATON_TRY(chip_bindings_check_inputs(&run->bindings, err));
  chip_bindings_begin(&run->bindings);
  BATON_TRY(chip_launch_place(run, err));
  int64_t begin = base_now();
  baton_status status = chip_bindings_upload(&run->bindings, err);
  run->timing.orchestration = (double)(base_now() - begin) / 1e3;
  return status;
}

/* One call of run or submit. */
typedef struct submission {
  const char *what;
  baton_program *program;
  const baton_value *values;
  uint32_t nvalues;
  baton_config config; /* merged */
  int lends;
  uint64_t graph; /* the number of one that was built elsewhere */
} submission;

/* The caller is inside the worker. */
static baton_status submit(baton_worker *worker, const submission *s, baton_run **out, baton_error *err) {
  baton_run *run;
  BATON_TRY(chip_launch_open(worker, s->program, s->values, s->nvalues, &s->config, &run, err));
  run->lends = s->lends && !(s->config.deadline > 0); /* who runs it cannot end it */
  if (s->graph) run->graph_way = s->graph;
  baton_status status = take_inputs(run, err);
  if (status == BATON_OK) status = chip_launch_start(run, err);
  if (status == BATON_OK) {
    *out = run;
    return BATON_OK;
  }
  chip_launch_drop(run);
  if (run->failure.code) chip_run_told(run); /* by `err` */
  chip_launch_release(run);
  chip_run_release(run);
  return status;
}

static baton_status enter_and_submit(baton_worker *worker, const submission *s, baton_run **out,
                                     baton_error *err) {
  *out = NULL;
  BATON_TRY(chip_worker_enter(worker, s->what, err));
  baton_status status = submit(worker, s, out, err);
  chip_worker_leave(worker);
  return status;
}

static submission submission_of(const baton_worker *worker, const char *what, baton_program *program,
                                const baton_value *values, uint32_t nvalues, const baton_config *config) {
  return (submission){.what = what,
                      .program = program,
                      .values = values,
                      .nvalues = nvalues,
                      .config = chip_config_merge(&worker->config, config)};
}

baton_status baton_worker_submit(baton_worker *worker, baton_program *program, const baton_value *values,
                                 uint32_t nvalues, const baton_config *config, baton_run **out,
                                 baton_error *err) {
  submission s = submission_of(worker, "submit", program, values, nvalues, config);
  return enter_and_submit(worker, &s, out, err);
}

baton_status chip_launch_lend(baton_worker *worker, baton_program *program, const baton_value *values,
                              uint32_t nvalues, const baton_config *config, uint64_t graph, baton_run **out,
                              baton_error *err) {
  submission s = submission_of(worker, "run", program, values, nvalues, config);
  s.lends = 1;
  s.graph = graph;
  return enter_and_submit(worker, &s, out, err);
}

int chip_worker_cancel(baton_run *run) {
  if (baton_run_done(run)) return 0;
  baton_worker *worker = run->worker;
  pthread_mutex_lock(&worker->lock);
  const baton_run *found = worker->unfinished;
  while (found && found != run) found = found->next;
  int cancels = found && !run->settled;
  if (cancels) chip_run_cancel(run);
  pthread_mutex_unlock(&worker->lock);
  return cancels;
}

void chip_worker_cancel_all(baton_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  for (baton_run *run = worker->unfinished; run; run = run->next)
    if (!run->settled) chip_run_cancel(run);
  pthread_mutex_unlock(&worker->lock);
}

/* One that ended well just when its deadline passed has ended well. */
static baton_status cancel_late(baton_run *run, double deadline, int *over, baton_error *err) {
  int cancelled = baton_run_cancel(run);
  baton_status status = baton_run_wait(run, -1, over, err);
  if (!cancelled || status != BATON_CANCELLED) return status;
  return baton_error_set(err, BATON_TIMEOUT, "%s: not over after the deadline of %g s, and cancelled",
                         baton_program_name(run->program), deadline);
}

baton_status chip_launch_await(baton_run *run, double seconds, double deadline, int *over, baton_error *err) {
  double left = deadline > 0 ? deadline - (double)(base_now() - run->begun) / 1e9 : -1;
  int bounded = deadline > 0 && (seconds < 0 || left < seconds);
  if (bounded) seconds = left < 0 ? 0 : left;
  uint32_t begun = atomic_load_explicit(&run->over, memory_order_acquire);
  if (seconds != 0 && !(begun & 1)) chip_run_look(run, &run->over, begun);
  baton_status status = baton_run_wait(run, seconds, over, err);
  return *over || !bounded || status != BATON_OK ? status : cancel_late(run, deadline, over, err);
}

baton_status chip_launch_finish(baton_run *run, double deadline, baton_timing *timing, baton_error *err) {
  int over;
  baton_status status = chip_launch_await(run, -1, deadline, &over, err);
  if (timing) *timing = baton_run_timing(run);
  baton_run_close(run);
  return status;
}

baton_status baton_worker_run(baton_worker *worker, baton_program *program, const baton_value *values,
                              uint32_t nvalues, const baton_config *config, baton_timing *timing,
                              baton_error *err) {
  baton_run *run;
  submission s = submission_of(worker, "run", program, values, nvalues, config);
  BATON_TRY(enter_and_submit(worker, &s, &run, err));
  return chip_launch_finish(run, s.config.deadline, timing, err);
}
