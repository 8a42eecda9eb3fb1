/* baton-bench-node - what a task of a node costs. Next to what waits for another process stands what the machine itself needs for
** the same way of waiting, in the same run (bare.h), and next to the copies memcpy.
**
** node_submit: a submit of one tensor, while the task that all of them must wait for runs. node_run_thread: a run of one function,
** thread isolation. node_roundtrip_awake, _asleep: a function in another process, from the submit to the return of the wait for it,
** again and again, or after 1 ms in which there was nothing to do. node_program_roundtrip: a device program of one kernel on 1 KiB.
** node_throughput_1, _2: functions that nothing orders, on so many children; node_program_throughput: device programs on two, each
** after the last one of its tensor. node_copy: 1 GiB to a device in another process and back. node_poison: from the failure of the
** head of a chain of 1,000,000 tasks to the end of the run. node_idle: CPU time of this process and of two children while one task
** takes 2 s, in percent of that. */
#include "bare.h"
#include "base/clock.h"
#include "sample.h"
#include <baton/baton.h>
#include <baton/node.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ELEMENTS = 256, TENSORS = 64, IDLE_NS = 1000000, COPIED = 1 << 30 };

typedef struct node_bench node_bench;

typedef struct node_figure {
  const char *name, *unit;
  baton_isolation isolation;
  uint32_t chips;
  uint32_t count;                                      /* of what one repetition measures together */
  double (*once)(node_bench *bench, baton_error *err); /* ns of one; negative: failed */
  bench_once *bare;                                    /* the peer's repetition; NULL: there is none */
  const char *who;
  double ns; /* of a unit */
} node_figure;

struct node_bench {
  const node_figure *figure;
  bare_peer *peer;
  baton_node *node;
  baton_program *nothing, *touch, *hold, *kernel, *await_and_fail, *sleep;
  baton_tensor *tensors[TENSORS];
  baton_tensor *host, *other; /* of node_copy */
  baton_node_buffer *buffer;
  int64_t took; /* ns, as the orchestrating function has measured */
};

/* --- What runs ------------------------------------------------------------------------------------------ */

static const char code[] =
    "#include <baton/kernel.h>\n"
    "#include <time.h>\n"
    "BATON_KERNEL(nothing) { (void)args; }\n"
    "BATON_KERNEL(touch) { baton_io(args, 0, float)[0] += 1; }\n"
    "BATON_KERNEL(hold) {\n"
    "  baton_io(args, 0, float)[0] += 1;\n"
    "  nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);\n"
    "}\n"
    "BATON_KERNEL(sleep) { (void)args; nanosleep(&(struct timespec){.tv_sec = 2}, NULL); }\n"
    "BATON_KERNEL(await_and_fail) {\n"
    "  const volatile float *told = baton_io(args, 0, float);\n"
    "  while (told[0] >= 0) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);\n"
    "  baton_kernel_fail(args, \"told to\");\n"
    "}\n";
static const char graph[] =
    "#include <baton/orchestration.h>\n"
    "BATON_ORCHESTRATION(once) {\n"
    "  baton_aiv(o, baton_kernel(o, \"touch\"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);\n"
    "}\n";
static const baton_parameter one_tensor = {.name = "x", .direction = BATON_IN_OUT};

static baton_status host_function(const char *name, uint32_t nparams, baton_program **out, baton_error *err) {
  baton_kernel_options host = {.name = name, .code = code};
  baton_program_options options = {.name = name, .params = &one_tensor, .nparams = nparams, .host = &host};
  return baton_program_create(&options, out, err);
}

static baton_status device_program(baton_program **out, baton_error *err) {
  baton_kernel_options kernel = {.name = "touch", .core = BATON_AIV, .code = code};
  baton_program_options options = {.name = "program",
                                   .params = &one_tensor,
                                   .nparams = 1,
                                   .kernels = &kernel,
                                   .nkernels = 1,
                                   .orchestration_code = graph,
                                   .orchestration_entry = "once"};
  return baton_program_create(&options, out, err);
}

static baton_status open_bench(node_bench *bench, baton_error *err) {
  static const baton_node_chip chips[] = {{.device = 0}, {.device = 1}};
  baton_node_options options = {
      .chips = chips, .nchips = bench->figure->chips, .isolation = bench->figure->isolation};
  BATON_TRY(baton_node_open(&options, &bench->node, err));
  BATON_TRY(host_function("nothing", 0, &bench->nothing, err));
  BATON_TRY(host_function("touch", 1, &bench->touch, err));
  BATON_TRY(host_function("hold", 1, &bench->hold, err));
  BATON_TRY(host_function("await_and_fail", 1, &bench->await_and_fail, err));
  BATON_TRY(host_function("sleep", 0, &bench->sleep, err));
  BATON_TRY(device_program(&bench->kernel, err));
  for (int i = 0; i < TENSORS; i++)
    BATON_TRY(baton_tensor_zeros(BATON_F32, 1, (int64_t[]){ELEMENTS}, &bench->tensors[i], err));
  return BATON_OK;
}

static void close_bench(node_bench *bench) {
  for (int i = 0; i < TENSORS; i++) baton_tensor_close(bench->tensors[i]);
  baton_tensor_close(bench->host);
  baton_tensor_close(bench->other);
  baton_node_buffer_close(bench->buffer);
  baton_program_close(bench->nothing);
  baton_program_close(bench->touch);
  baton_program_close(bench->hold);
  baton_program_close(bench->kernel);
  baton_program_close(bench->await_and_fail);
  baton_program_close(bench->sleep);
  baton_node_close(bench->node);
}

static baton_status submit(baton_node_orch *o, baton_program *program, baton_tensor *tensor, baton_task *task,
                           baton_error *err) {
  baton_node_value value = {.tensor = tensor};
  return baton_node_submit_next_level(o, program, &value, tensor ? 1 : 0, NULL, task, err);
}

/* ns a piece of a run of this function, as the function has measured, or (`whole`) of the whole run; negative: failed. */
static double run(node_bench *bench, baton_node_function function, int whole, baton_error *err) {
  int64_t begin = base_now();
  if (baton_node_run_function(bench->node, function, bench, NULL, NULL, err) != BATON_OK) return -1;
  int64_t took = whole ? base_now() - begin : bench->took;
  return (double)took / bench->figure->count;
}

/* --- Repetitions ---------------------------------------------------------------------------------------- */

static baton_status submit_held(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  BATON_TRY(submit(o, bench->hold, bench->tensors[0], NULL, err));
  int64_t begin = base_now();
  for (uint32_t i = 0; i < bench->figure->count; i++)
    BATON_TRY(submit(o, bench->touch, bench->tensors[0], NULL, err));
  bench->took = base_now() - begin;
  return BATON_OK;
}

static double once_submit(node_bench *bench, baton_error *err) { return run(bench, submit_held, 0, err); }

static baton_status submit_nothing(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  return submit(o, bench->nothing, NULL, NULL, err);
}

static double once_run(node_bench *bench, baton_error *err) {
  int64_t begin = base_now();
  for (uint32_t i = 0; i < bench->figure->count; i++)
    if (baton_node_run_function(bench->node, submit_nothing, bench, NULL, NULL, err) != BATON_OK) return -1;
  return (double)(base_now() - begin) / bench->figure->count;
}

static baton_status there_and_back(baton_node_orch *o, baton_program *program, baton_tensor *tensor,
                                   uint32_t count, baton_error *err) {
  for (uint32_t i = 0; i < count; i++) {
    baton_task task;
    BATON_TRY(submit(o, program, tensor, &task, err));
    BATON_TRY(baton_node_wait(o, &task, err));
  }
  return BATON_OK;
}

/* `count` tasks, each of which is waited for; with `idle` ns before each of them, or at once. */
static baton_status go_and_return(baton_node_orch *o, node_bench *bench, baton_program *program,
                                  baton_tensor *tensor, int64_t idle, baton_error *err) {
  bench->took = 0;
  for (uint32_t left = bench->figure->count; left > 0;) {
    uint32_t together = idle ? 1 : left;
    if (idle) bare_spin_until(base_now() + idle);
    int64_t begin = base_now();
    BATON_TRY(there_and_back(o, program, tensor, together, err));
    bench->took += base_now() - begin;
    left -= together;
  }
  return BATON_OK;
}

static baton_status go_awake(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  return go_and_return(o, bench, bench->nothing, NULL, 0, err);
}

static baton_status go_asleep(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  return go_and_return(o, bench, bench->nothing, NULL, IDLE_NS, err);
}

static baton_status go_to_device(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  return go_and_return(o, bench, bench->kernel, bench->tensors[0], 0, err);
}

static double once_awake(node_bench *bench, baton_error *err) { return run(bench, go_awake, 0, err); }
static double once_asleep(node_bench *bench, baton_error *err) { return run(bench, go_asleep, 0, err); }
static double once_program(node_bench *bench, baton_error *err) { return run(bench, go_to_device, 0, err); }

static baton_status submit_many(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  for (uint32_t i = 0; i < bench->figure->count; i++) BATON_TRY(submit(o, bench->nothing, NULL, NULL, err));
  return BATON_OK;
}

static baton_status submit_programs(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  for (uint32_t i = 0; i < bench->figure->count; i++)
    BATON_TRY(submit(o, bench->kernel, bench->tensors[i % TENSORS], NULL, err));
  return BATON_OK;
}

static double once_many(node_bench *bench, baton_error *err) { return run(bench, submit_many, 1, err); }
static double once_programs(node_bench *bench, baton_error *err) {
  return run(bench, submit_programs, 1, err);
}

/* Memory whose pages are there. */
static baton_status make_bytes(baton_tensor **out, baton_error *err) {
  BATON_TRY(baton_tensor_empty(BATON_U8, 1, (int64_t[]){COPIED}, out, err));
  memset(baton_tensor_view(*out)->data, 1, COPIED);
  return BATON_OK;
}

static double once_copied(node_bench *bench, baton_error *err) {
  if (!bench->host && make_bytes(&bench->host, err) != BATON_OK) return -1;
  if (!bench->buffer && baton_node_malloc(bench->node, 0, COPIED, &bench->buffer, err) != BATON_OK) return -1;
  int64_t begin = base_now();
  if (baton_node_copy_to(bench->node, bench->buffer, bench->host, NULL, err) != BATON_OK ||
      baton_node_copy_from(bench->node, bench->host, bench->buffer, NULL, err) != BATON_OK)
    return -1;
  return (double)(base_now() - begin);
}

/* The head is told to fail when the whole chain hangs on it. */
static baton_status submit_chain(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  float *told = baton_tensor_view(bench->tensors[0])->data;
  *told = 0;
  BATON_TRY(submit(o, bench->await_and_fail, bench->tensors[0], NULL, err));
  for (uint32_t i = 1; i < bench->figure->count; i++)
    BATON_TRY(submit(o, bench->touch, bench->tensors[0], NULL, err));
  bench->took = base_now();
  *(volatile float *)told = -1;
  return BATON_OK;
}

static double once_poisoned(node_bench *bench, baton_error *err) {
  baton_config config = {.ring_task_window = bench->figure->count};
  baton_status status = baton_node_run_function(bench->node, submit_chain, bench, &config, NULL, err);
  double took = (double)(base_now() - bench->took);
  if (status == BATON_USER_FAIL) return took;
  if (status == BATON_OK) baton_error_set(err, BATON_STATE, "the chain did not fail");
  return -1;
}

static int64_t cpu_time(clockid_t clock) {
  struct timespec used = {0};
  clock_gettime(clock, &used);
  return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

/* ns of CPU that this process and the children of the node have used. */
static int64_t cpu_used(node_bench *bench) {
  int64_t used = cpu_time(CLOCK_PROCESS_CPUTIME_ID);
  for (uint32_t i = 0; i < bench->figure->chips; i++) {
    baton_node_worker worker;
    clockid_t clock;
    if (baton_node_describe(bench->node, i, &worker, NULL) == BATON_OK &&
        !clock_getcpuclockid(worker.pid, &clock))
      used += cpu_time(clock);
  }
  return used;
}

static baton_status submit_sleep(baton_node_orch *o, void *context, baton_error *err) {
  node_bench *bench = context;
  return submit(o, bench->sleep, NULL, NULL, err);
}

static double once_idle(node_bench *bench, baton_error *err) {
  if (baton_node_run_function(bench->node, submit_nothing, bench, NULL, NULL, err) != BATON_OK) return -1;
  int64_t begin = base_now(), used = cpu_used(bench);
  if (baton_node_run_function(bench->node, submit_sleep, bench, NULL, NULL, err) != BATON_OK) return -1;
  return 100 * (double)(cpu_used(bench) - used) / (double)(base_now() - begin);
}

/* --- The machine's own ---------------------------------------------------------------------------------- */

static double bare_awake(void *context) {
  node_bench *bench = context;
  return bare_round_trip(bench->peer, BARE_SPIN, bench->figure->count, 0) / bench->figure->ns;
}

static double bare_asleep(void *context) {
  node_bench *bench = context;
  return bare_round_trip(bench->peer, BARE_FUTEX, bench->figure->count, IDLE_NS) / bench->figure->ns;
}

static double bare_copied(void *context) {
  node_bench *bench = context;
  if (!bench->other && make_bytes(&bench->other, NULL) != BATON_OK) return -1;
  void *host = baton_tensor_view(bench->host)->data, *other = baton_tensor_view(bench->other)->data;
  int64_t begin = base_now();
  memcpy(other, host, COPIED);
  memcpy(host, other, COPIED);
  return (double)(base_now() - begin) / bench->figure->ns;
}

/* --- Figures -------------------------------------------------------------------------------------------- */

static const node_figure figures[] = {
    {"node_submit", "ns a submit", BATON_THREAD, 1, 4000, once_submit, NULL, NULL, 1},
    {"node_run_thread", "ns", BATON_THREAD, 1, 1000, once_run, NULL, NULL, 1},
    {"node_roundtrip_awake", "ns", BATON_PROCESS, 1, 2000, once_awake, bare_awake, "bare/spin", 1},
    {"node_roundtrip_asleep", "us", BATON_PROCESS, 1, 20, once_asleep, bare_asleep, "bare/futex", 1e3},
    {"node_program_roundtrip", "ns", BATON_PROCESS, 1, 1000, once_program, NULL, NULL, 1},
    {"node_throughput_1", "ns a task", BATON_PROCESS, 1, 20000, once_many, NULL, NULL, 1},
    {"node_throughput_2", "ns a task", BATON_PROCESS, 2, 20000, once_many, NULL, NULL, 1},
    {"node_program_throughput", "ns a task", BATON_PROCESS, 2, 5000, once_programs, NULL, NULL, 1},
    {"node_copy", "ms", BATON_PROCESS, 1, 1, once_copied, bare_copied, "bare/memcpy", 1e6},
    {"node_poison", "ms", BATON_PROCESS, 1, 1000000, once_poisoned, NULL, NULL, 1e6},
    {"node_idle", "% CPU", BATON_PROCESS, 2, 1, once_idle, NULL, NULL, 1},
};

static double fail(const node_figure *figure, baton_error *err) {
  fprintf(stderr, "%s: %s\n", figure->name, err->message);
  baton_error_clear(err);
  return -1;
}

static double once(void *context) {
  node_bench *bench = context;
  baton_error err = {0};
  double ns = bench->figure->once(bench, &err);
  return ns < 0 ? fail(bench->figure, &err) : ns / bench->figure->ns;
}

/* Baton and the machine in turn, so that what else the machine does meets both. */
static int sample(const bench_options *options, node_bench *bench) {
  static bench_samples samples[2];
  const node_figure *figure = bench->figure;
  void *const contexts[] = {bench, bench};
  if (!figure->bare) return bench_measure(options, "baton", figure->name, figure->unit, once, bench);
  if (!bench_sample_both(options, (bench_once *const[]){once, figure->bare}, contexts, samples)) return 0;
  bench_print_samples("baton", figure->name, figure->unit, &samples[0]);
  bench_print_samples(figure->who, figure->name, figure->unit, &samples[1]);
  return 1;
}

/* False if it failed, which was said. */
static int measure(const bench_options *options, const node_figure *figure, bare_peer *peer) {
  node_bench bench = {.figure = figure, .peer = peer};
  baton_error err = {0};
  int measured = open_bench(&bench, &err) == BATON_OK ? sample(options, &bench) : fail(figure, &err) > 0;
  close_bench(&bench);
  return measured;
}

int main(int argc, char **argv) {
  bench_options options;
  if (bench_options_parse(argc, argv, &options) != argc) return 2;
  bare_peer *peer = bare_open();
  int good = peer != NULL;
  for (size_t i = 0; good && i < sizeof figures / sizeof *figures; i++)
    if (bench_wanted(&options, figures[i].name)) good = measure(&options, &figures[i], peer);
  if (peer) bare_close(peer);
  return !good;
}
