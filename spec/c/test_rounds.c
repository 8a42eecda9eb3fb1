/* Rounds from C: the same loop as in Lua, values in other places, and other threads of the worker. */
#include <baton/baton.h>
#include <pthread.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { N = 256, BYTES = N * sizeof(float) };

static void add(const baton_args *args) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float), more = baton_scalar_f32(args, 3);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i] + more;
}

static void graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, "add"),
            BATON_ARGS(baton_input(a), baton_input(b), baton_output(c), baton_f32(baton_scalar_f32(args, 3))),
            NULL);
}

static const char *const runtimes[] = {"host_build_graph", "tensormap_and_ringbuffer"};
enum { RUNTIMES = sizeof runtimes / sizeof *runtimes };

/* A worker, a program c = a + b + more, its arguments 1, 2, 0, 0 in host memory, and rounds of it. */
typedef struct session {
  baton_worker *chip;
  baton_program *program;
  baton_tensor *a, *b, *c;
  baton_rounds *rounds;
} session;

static baton_tensor *make_tensor(float value) {
  baton_tensor *tensor;
  assert_int_equal(BATON_OK, baton_tensor_empty(BATON_F32, BATON_SHAPE(N), &tensor, NULL));
  float *data = baton_tensor_view(tensor)->data;
  for (int i = 0; i < N; i++) data[i] = value;
  return tensor;
}

static float last_of(const baton_tensor *tensor) {
  return ((const float *)baton_tensor_view(tensor)->data)[N - 1];
}

static baton_program *make_program(void) {
  static const baton_parameter params[] = {
      {.name = "a", .direction = BATON_IN},
      {.name = "b", .direction = BATON_IN},
      {.name = "c", .direction = BATON_OUT},
      {.name = "more", .dtypes = 1u << BATON_F32, .direction = BATON_BY_VALUE}};
  baton_program *program;
  assert_int_equal(
      BATON_OK, baton_program_create(
                    &(baton_program_options){
                        .name = "sum",
                        .params = params,
                        .nparams = 4,
                        .kernels = &(baton_kernel_options){.name = "add", .core = BATON_AIV, .function = add},
                        .nkernels = 1,
                        .orchestrate = graph},
                    &program, NULL));
  return program;
}

static baton_status open_rounds(session *s, const baton_config *config, baton_error *err) {
  const baton_value values[] = {
      {.tensor = s->a}, {.tensor = s->b}, {.tensor = s->c}, {.dtype = BATON_F64, .scalar.f64 = 0}};
  return baton_rounds_open(s->chip, s->program, values, 4, config, &s->rounds, err);
}

static void open_session(session *s, const baton_config *config) {
  baton_error err = {0};
  *s = (session){.program = make_program(), .a = make_tensor(1), .b = make_tensor(2), .c = make_tensor(0)};
  baton_status status = baton_worker_open(&(baton_worker_options){.threads = 2}, &s->chip, &err);
  if (status == BATON_OK) status = open_rounds(s, config, &err);
  if (status != BATON_OK) fail_msg("%s", err.message);
}

static void close_session(session *s) {
  baton_stats stats;
  assert_int_equal(BATON_OK, baton_worker_shutdown(s->chip, NULL));
  baton_worker_stats(s->chip, &stats);
  assert_int_equal(stats.allocations, stats.frees);
  assert_int_equal(stats.committed_bytes, 0);
  baton_rounds_close(s->rounds);
  baton_worker_close(s->chip);
  baton_program_close(s->program);
  baton_tensor_close(s->a);
  baton_tensor_close(s->b);
  baton_tensor_close(s->c);
}

static void round_of(baton_rounds *rounds, const baton_rebind *rebinds, uint32_t count) {
  int over = 0;
  assert_int_equal(BATON_OK, baton_rounds_init_round(rounds, rebinds, count, NULL));
  assert_int_equal(BATON_OK, baton_rounds_launch(rounds, NULL));
  assert_int_equal(BATON_OK, baton_rounds_finalize_round(rounds, -1, &over, NULL));
  assert_true(over);
}

static void assert_failed(baton_status status, baton_error *err, baton_status code, const char *message) {
  assert_string_equal(baton_status_word(status), baton_status_word(code));
  assert_string_equal(err->message, message);
  baton_error_clear(err);
}

static void test_loop(void **state) {
  (void)state;
  for (int r = 0; r < RUNTIMES; r++) {
    session s;
    baton_stats before, after;
    open_session(&s, &(baton_config){.runtime = runtimes[r]});
    round_of(s.rounds, NULL, 0);
    baton_worker_stats(s.chip, &before);
    for (int i = 0; i < 100; i++) {
      ((float *)baton_tensor_view(s.a)->data)[N - 1] = (float)i;
      round_of(s.rounds, NULL, 0);
      assert_float_equal(last_of(s.c), i + 2, 0);
    }
    baton_worker_stats(s.chip, &after);
    assert_int_equal(after.rounds - before.rounds, 100);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.frees, before.frees);
    assert_int_equal(after.streams_created, before.streams_created);
    assert_int_equal(after.images_uploaded, before.images_uploaded);
    assert_int_equal(after.compilations, before.compilations);
    assert_int_equal(after.graph_builds, before.graph_builds);
    assert_int_equal(after.arenas_committed, before.arenas_committed);
    assert_int_equal(after.bytes_to_device - before.bytes_to_device, 100 * 2 * BYTES);
    assert_int_equal(after.bytes_from_device - before.bytes_from_device, 100 * BYTES);
    assert_true(baton_rounds_timing(s.rounds).host > 0);
    close_session(&s);
  }
}

static void test_rebinds(void **state) {
  session s;
  baton_error err = {0};
  (void)state;
  open_session(&s, NULL);
  baton_tensor *other = make_tensor(10), *out = make_tensor(0);
  const baton_rebind all[] = {
      {0, {.tensor = other}}, {2, {.tensor = out}}, {3, {.dtype = BATON_F64, .scalar.f64 = 100}}};
  round_of(s.rounds, all, 3);
  assert_float_equal(last_of(out), 112, 0);
  assert_float_equal(last_of(s.c), 0, 0);
  baton_tensor_close(other); /* the rounds hold it */
  round_of(s.rounds, NULL, 0);
  assert_float_equal(last_of(out), 112, 0);
  const baton_rebind twice[] = {{1, {.tensor = out}}, {1, {.tensor = s.b}}};
  assert_failed(baton_rounds_init_round(s.rounds, twice, 2, &err), &err, BATON_SIGNATURE,
                "sum: argument 2 (b): rebound twice");
  const baton_rebind beyond = {4, {.tensor = out}};
  assert_failed(baton_rounds_init_round(s.rounds, &beyond, 1, &err), &err, BATON_SIGNATURE,
                "sum: argument 5 is to be rebound, the program has 4");
  baton_buffer *buffer;
  assert_int_equal(BATON_OK, baton_worker_malloc(s.chip, BYTES, &buffer, NULL));
  const baton_rebind no_view = {0, {.buffer = buffer}};
  assert_failed(baton_rounds_init_round(s.rounds, &no_view, 1, &err), &err, BATON_INVALID_ARGUMENT,
                "sum: argument 1 (a): a buffer without a view of it");
  round_of(s.rounds, &(baton_rebind){3, {.dtype = BATON_F64, .scalar.f64 = 5}}, 1);
  assert_float_equal(last_of(out), 17, 0);
  baton_buffer_close(buffer);
  baton_tensor_close(out);
  close_session(&s);
}

static void test_order_of_steps(void **state) {
  session s;
  baton_error err = {0};
  int over;
  (void)state;
  open_session(&s, NULL);
  assert_failed(baton_rounds_launch(s.rounds, &err), &err, BATON_STATE,
                "launch: no round is open, call init_round first");
  assert_int_equal(BATON_OK, baton_rounds_init_round(s.rounds, NULL, 0, NULL));
  assert_failed(baton_rounds_finalize_round(s.rounds, 0, &over, &err), &err, BATON_STATE,
                "finalize_round: round 1 is open and not launched, call launch first");
  assert_false(over);
  assert_int_equal(BATON_STATE, baton_rounds_init_round(s.rounds, NULL, 0, NULL));
  assert_int_equal(BATON_OK, baton_rounds_launch(s.rounds, NULL));
  assert_int_equal(BATON_STATE, baton_rounds_launch(s.rounds, NULL));
  assert_int_equal(BATON_OK, baton_rounds_finalize_round(s.rounds, -1, NULL, NULL));
  assert_int_equal(BATON_OK, baton_rounds_finalize(s.rounds, NULL));
  assert_int_equal(BATON_OK, baton_rounds_finalize(s.rounds, NULL));
  assert_failed(baton_rounds_init_round(s.rounds, NULL, 0, &err), &err, BATON_CLOSED,
                "the rounds are closed");
  close_session(&s);
  baton_rounds_close(NULL);
}

static void test_resident(void **state) {
  session s;
  static const char *const names[] = {"a", "c"};
  (void)state;
  open_session(&s, &(baton_config){.resident = names, .nresident = 2});
  round_of(s.rounds, NULL, 0);
  ((float *)baton_tensor_view(s.a)->data)[N - 1] = 50;
  round_of(s.rounds, NULL, 0);
  assert_float_equal(last_of(s.c), 0, 0);
  assert_int_equal(BATON_OK, baton_rounds_finalize(s.rounds, NULL));
  assert_float_equal(last_of(s.c), 3, 0);
  close_session(&s);
}

/* The worker goes first, in the middle of a round; what is resident comes back. */
static void test_worker_closes_rounds(void **state) {
  session s;
  static const char *const names[] = {"c"};
  baton_error err = {0};
  (void)state;
  open_session(&s, &(baton_config){.resident = names, .nresident = 1});
  baton_rounds *older = s.rounds, *newer;
  round_of(older, NULL, 0);
  baton_tensor *first = s.c;
  s.c = make_tensor(0);
  assert_int_equal(BATON_OK, open_rounds(&s, NULL, NULL));
  newer = s.rounds;
  assert_int_equal(BATON_OK, baton_rounds_init_round(newer, NULL, 0, NULL));
  assert_int_equal(BATON_OK, baton_rounds_launch(newer, NULL));
  assert_int_equal(BATON_OK, baton_worker_shutdown(s.chip, NULL));
  assert_float_equal(last_of(first), 3, 0);
  assert_failed(baton_rounds_init_round(older, NULL, 0, &err), &err, BATON_CLOSED, "the worker is closed");
  assert_int_equal(BATON_OK, baton_rounds_finalize(newer, NULL));
  baton_rounds_close(older);
  close_session(&s);
  baton_tensor_close(first);
}

/* --- Threads -------------------------------------------------------------------------------------------- */

typedef struct companion {
  session *s;
  _Atomic int done;
} companion;

/* Runs, copies and other rounds, each of which waits for what was launched before. */
static void *keep_company(void *context) {
  companion *c = context;
  session *s = c->s;
  baton_tensor *a = make_tensor(3), *b = make_tensor(4), *out = make_tensor(0), *seen = make_tensor(0);
  const baton_value values[] = {
      {.tensor = a}, {.tensor = b}, {.tensor = out}, {.dtype = BATON_F64, .scalar.f64 = 1}};
  baton_buffer *buffer;
  baton_rounds *rounds;
  assert_int_equal(BATON_OK, baton_worker_malloc(s->chip, BYTES, &buffer, NULL));
  assert_int_equal(BATON_OK, baton_rounds_open(s->chip, s->program, values, 4, NULL, &rounds, NULL));
  for (int i = 0; i < 20; i++) {
    assert_int_equal(BATON_OK, baton_worker_run(s->chip, s->program, values, 4, NULL, NULL, NULL));
    assert_int_equal(BATON_OK, baton_worker_copy_to(s->chip, buffer, out, NULL, NULL));
    assert_int_equal(BATON_OK, baton_worker_copy_from(s->chip, seen, buffer, NULL, NULL));
    assert_float_equal(last_of(seen), 8, 0);
    round_of(rounds, NULL, 0);
  }
  baton_rounds_close(rounds);
  baton_buffer_close(buffer);
  baton_tensor_close(a);
  baton_tensor_close(b);
  baton_tensor_close(out);
  baton_tensor_close(seen);
  atomic_store(&c->done, 1);
  return NULL;
}

/* Whoever waits for a launched round does not wait for those after it, too: these end only when he has. */
static void test_others_between_rounds(void **state) {
  session s;
  pthread_t thread;
  (void)state;
  open_session(&s, NULL);
  companion c = {.s = &s};
  assert_int_equal(0, pthread_create(&thread, NULL, keep_company, &c));
  while (!atomic_load(&c.done)) {
    round_of(s.rounds, NULL, 0);
    assert_float_equal(last_of(s.c), 3, 0);
  }
  pthread_join(thread, NULL);
  close_session(&s);
}

static void *shut_worker(void *context) {
  session *s = context;
  assert_int_equal(BATON_OK, baton_worker_shutdown(s->chip, NULL));
  return NULL;
}

/* The worker may be closed between any two steps, and in each. */
static void test_worker_closes_meanwhile(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    session s;
    pthread_t thread;
    open_session(&s, &(baton_config){.runtime = runtimes[i % RUNTIMES]});
    baton_status status = BATON_OK;
    for (int n = 0; n < 1 + i % 5; n++) round_of(s.rounds, NULL, 0);
    assert_int_equal(0, pthread_create(&thread, NULL, shut_worker, &s));
    while (status == BATON_OK) {
      status = baton_rounds_init_round(s.rounds, NULL, 0, NULL);
      if (status == BATON_OK) status = baton_rounds_launch(s.rounds, NULL);
      if (status == BATON_OK) status = baton_rounds_finalize_round(s.rounds, -1, NULL, NULL);
    }
    assert_true(status == BATON_CLOSED || status == BATON_CANCELLED);
    pthread_join(thread, NULL);
    close_session(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_loop),
      cmocka_unit_test(test_rebinds),
      cmocka_unit_test(test_order_of_steps),
      cmocka_unit_test(test_resident),
      cmocka_unit_test(test_worker_closes_rounds),
      cmocka_unit_test(test_others_between_rounds),
      cmocka_unit_test(test_worker_closes_meanwhile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
