/* baton-bench-wake - how fast a task reaches another thread, and its end the thread that waits for it. Next to each stands
** what the machine itself needs for the same, in the same run: two threads with a word between them, on which the
** one that waits sleeps (`futex`) or spins (`spin`). A sample is one hand-over; with sleepers, the two take turns.
**
** idle_first: from the submit to the beginning of the task, after 1 ms in which there was nothing to do.
** idle_first_submitter: from the end of a task of 1 ms to the return of the wait for it.
** handoff: from the submit to the beginning of the task, when the other thread has just finished one. */
#include "base/clock.h"
#include "base/futex.h"
#include "rig.h"
#include <limits.h>
#include <sched.h>
#include <stdio.h>

enum { SPINS = 20000, IDLE_NS = 1000000, PAUSE_NS = 500, BODY_NS = 2000 };

typedef struct wake_bench wake_bench;

/* What hands over: an engine, or a bare thread. */
typedef struct wake_way {
  const char *who;
  void (*open)(wake_bench *bench);
  void (*close)(wake_bench *bench);
  void (*send)(wake_bench *bench); /* returns at once */
  void (*wait)(wake_bench *bench); /* for the end of what was sent */
} wake_way;

typedef struct wake_figure {
  const char *name;
  bench_once *once;
  const wake_way *ways[2];
  int in_turn; /* neither keeps a CPU busy while the other is measured */
} wake_figure;

struct wake_bench {
  const wake_way *way;
  bench_rig rig;
  baton_task task;
  pthread_t thread; /* the bare one, and its words */
  int over;
  _Atomic uint32_t sent, answered;
  /* of what was sent; the times are ordered by the counts */
  int64_t body_ns, begun_at, ended_at;
  _Atomic uint32_t begun, ended;
};

static void spin_until(int64_t end) {
  while (base_now() < end) base_relax();
}

static void await(const _Atomic uint32_t *count, uint32_t value) {
  for (uint32_t spins = 0; atomic_load_explicit(count, memory_order_acquire) != value; spins++) {
    if (spins < SPINS)
      base_relax();
    else
      sched_yield();
  }
}

static void body(wake_bench *bench) {
  bench->begun_at = base_now();
  atomic_fetch_add_explicit(&bench->begun, 1, memory_order_release);
  spin_until(bench->begun_at + bench->body_ns);
  bench->ended_at = base_now();
  atomic_fetch_add_explicit(&bench->ended, 1, memory_order_release);
}

/* --- The engine --------------------------------------------------------------------------------------- */

static int execute(void *context, const task_call *call) {
  (void)call;
  body(context);
  return 0;
}

static void engine_open(wake_bench *bench) {
  bench->rig = (bench_rig){
      .name = "wake", .execute = execute, .context = bench, .limits = rig_limits(BENCH_THREADS, 1024)};
  rig_open(&bench->rig, BENCH_OFFERED);
  rig_begin(&bench->rig);
}

static void engine_close(wake_bench *bench) {
  (void)rig_finish(&bench->rig);
  rig_close(&bench->rig);
}

static void engine_send(wake_bench *bench) { bench->task = rig_submit(&bench->rig, 0, NULL, 0); }

static void engine_wait(wake_bench *bench) {
  if (task_engine_wait(bench->rig.engine, bench->task, INT64_MAX))
    rig_give_up(&bench->rig, "the task has failed");
}

static const wake_way engine_way = {"baton", engine_open, engine_close, engine_send, engine_wait};

/* --- A bare thread ------------------------------------------------------------------------------------ */

static void serve(wake_bench *bench, void (*wait_for)(const _Atomic uint32_t *word, uint32_t seen)) {
  for (uint32_t seen = 0;; seen++) {
    wait_for(&bench->sent, seen);
    if (bench->over) return;
    body(bench);
    atomic_store_explicit(&bench->answered, seen + 1, memory_order_release);
    base_futex_wake(&bench->answered, 1);
  }
}

static void sleep_past(const _Atomic uint32_t *word, uint32_t seen) {
  while (atomic_load_explicit(word, memory_order_acquire) == seen) base_futex_wait(word, seen, INT64_MAX);
}

static void spin_past(const _Atomic uint32_t *word, uint32_t seen) { await(word, seen + 1); }

static void *sleeping_main(void *context) {
  serve(context, sleep_past);
  return NULL;
}

static void *spinning_main(void *context) {
  serve(context, spin_past);
  return NULL;
}

static void thread_open(wake_bench *bench, void *(*main)(void *)) {
  if (pthread_create(&bench->thread, NULL, main, bench)) rig_give_up(&bench->rig, "no thread");
}
static void futex_open(wake_bench *bench) { thread_open(bench, sleeping_main); }
static void spin_open(wake_bench *bench) { thread_open(bench, spinning_main); }

static void futex_send(wake_bench *bench) {
  atomic_fetch_add_explicit(&bench->sent, 1, memory_order_release);
  base_futex_wake(&bench->sent, 1);
}

static void spin_send(wake_bench *bench) { atomic_fetch_add_explicit(&bench->sent, 1, memory_order_release); }

static void thread_wait(wake_bench *bench) {
  uint32_t sent = atomic_load_explicit(&bench->sent, memory_order_relaxed);
  sleep_past(&bench->answered, sent - 1);
}

static void thread_close(wake_bench *bench) {
  bench->over = 1;
  futex_send(bench);
  pthread_join(bench->thread, NULL);
}

static const wake_way futex_way = {"futex", futex_open, thread_close, futex_send, thread_wait};
static const wake_way spin_way = {"spin", spin_open, thread_close, spin_send, thread_wait};

/* --- Repetitions, in us ------------------------------------------------------------------------------- */

/* From the sending to the beginning, after `idle` ns. */
static double once_sent(wake_bench *bench, int64_t idle) {
  uint32_t begun = atomic_load_explicit(&bench->begun, memory_order_relaxed);
  uint32_t ended = atomic_load_explicit(&bench->ended, memory_order_relaxed);
  bench->body_ns = BODY_NS;
  spin_until(base_now() + idle);
  int64_t begin = base_now();
  bench->way->send(bench);
  await(&bench->begun, begun + 1);
  double took = (double)(bench->begun_at - begin) / 1e3;
  await(&bench->ended, ended + 1);
  return took;
}

static double once_idle(void *context) { return once_sent(context, IDLE_NS); }
static double once_awake(void *context) { return once_sent(context, PAUSE_NS); }

static double once_returned(void *context) {
  wake_bench *bench = context;
  uint32_t begun = atomic_load_explicit(&bench->begun, memory_order_relaxed);
  bench->body_ns = IDLE_NS;
  bench->way->send(bench);
  await(&bench->begun, begun + 1);
  bench->way->wait(bench);
  return (double)(base_now() - bench->ended_at) / 1e3;
}

static const wake_figure figures[] = {
    {"idle_first", once_idle, {&engine_way, &futex_way}, 1},
    {"idle_first_submitter", once_returned, {&engine_way, &futex_way}, 1},
    {"handoff", once_awake, {&engine_way, &spin_way}, 0},
};

static void open_way(wake_bench *bench, const wake_figure *figure, int way) {
  *bench = (wake_bench){.way = figure->ways[way], .rig = {.name = figure->name}};
  bench->way->open(bench);
}

static void measure_in_turn(const bench_options *options, const wake_figure *figure) {
  static wake_bench benches[2];
  static bench_samples samples[2];
  bench_once *const once[] = {figure->once, figure->once};
  void *const contexts[] = {&benches[0], &benches[1]};
  for (int i = 0; i < 2; i++) open_way(&benches[i], figure, i);
  int measured = bench_sample_both(options, once, contexts, samples);
  for (int i = 0; i < 2; i++) {
    if (measured) bench_print_samples(figure->ways[i]->who, figure->name, "us", &samples[i]);
    benches[i].way->close(&benches[i]);
  }
}

static void measure_each(const bench_options *options, const wake_figure *figure) {
  static wake_bench bench;
  for (int i = 0; i < 2; i++) {
    open_way(&bench, figure, i);
    bench_measure(options, bench.way->who, figure->name, "us", figure->once, &bench);
    bench.way->close(&bench);
  }
}

int main(int argc, char **argv) {
  bench_options options;
  if (bench_options_parse(argc, argv, &options) != argc) {
    fprintf(stderr, "usage: %s [--only NAME,…] [--repetitions N] [--seconds S]\n", argv[0]);
    return 2;
  }
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
    if (bench_wanted(&options, figures[i].name))
      (figures[i].in_turn ? measure_in_turn : measure_each)(&options, &figures[i]);
  return 0;
}
