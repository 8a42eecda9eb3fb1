/* Child memory from C, and one worker in the hands of many threads. */
#include "chip/worker.h"
#include <baton/baton.h>
#include <pthread.h>
#include <sched.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>

enum { N = 1024, BYTES = N * sizeof(float) };

static void add(const baton_args *args) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
}

static _Atomic int gate; /* closed: the kernel `gated` does not end */

static void gated(const baton_args *args) {
  while (!atomic_load(&gate)) sched_yield();
  add(args);
}

static void gated_graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  baton_aiv(o, baton_kernel(o, "gated"), BATON_ARGS(baton_input(a), baton_input(b), baton_output(c)), NULL);
}

/* c = a + b, as one task or as several on slices. */
static void graph(baton_orch *o, const baton_args *args) {
  baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
  int sum = baton_kernel(o, "add");
  int64_t part = a.shape[0] / 4;
  for (int64_t first = 0; first < a.shape[0]; first += part)
    baton_aiv(o, sum,
              BATON_ARGS(baton_input(baton_slice(a, 0, first, part)),
                         baton_input(baton_slice(b, 0, first, part)),
                         baton_output(baton_slice(c, 0, first, part))),
              NULL);
}

static baton_program *program_of(baton_orchestrate orchestrate) {
  static const baton_parameter params[] = {{.name = "a", .direction = BATON_IN},
                                           {.name = "b", .direction = BATON_IN},
                                           {.name = "c", .direction = BATON_OUT}};
  static const baton_kernel_options kernels[] = {{.name = "add", .core = BATON_AIV, .function = add},
                                                 {.name = "gated", .core = BATON_AIV, .function = gated}};
  const baton_program_options options = {.name = "sum",
                                         .params = params,
                                         .nparams = 3,
                                         .kernels = kernels,
                                         .nkernels = 2,
                                         .orchestrate = orchestrate};
  baton_program *program;
  assert_int_equal(BATON_OK, baton_program_create(&options, &program, NULL));
  return program;
}

static baton_program *make_program(void) { return program_of(graph); }

static baton_worker *open_worker(void) {
  baton_worker *chip = NULL;
  baton_error err = {0};
  if (baton_worker_open(&(baton_worker_options){.threads = 2}, &chip, &err) != BATON_OK)
    fail_msg("%s", err.message);
  return chip;
}

static baton_tensor *make_tensor(float value) {
  baton_tensor *tensor;
  assert_int_equal(BATON_OK, baton_tensor_empty(BATON_F32, BATON_SHAPE(N), &tensor, NULL));
  float *data = baton_tensor_view(tensor)->data;
  for (int i = 0; i < N; i++) data[i] = value;
  return tensor;
}

static float first_of(const baton_tensor *tensor) { return *(const float *)baton_tensor_view(tensor)->data; }

static baton_buffer *make_buffer(baton_worker *chip, uint64_t nbytes) {
  baton_buffer *buffer = NULL;
  assert_int_equal(BATON_OK, baton_worker_malloc(chip, nbytes, &buffer, NULL));
  return buffer;
}

static baton_view view_of(baton_buffer *buffer, uint64_t offset) {
  baton_view view;
  assert_int_equal(BATON_OK, baton_buffer_tensor(buffer, BATON_F32, BATON_SHAPE(N), offset, &view, NULL));
  return view;
}

static void assert_failed(baton_status status, baton_error *err, baton_status code, const char *message) {
  assert_string_equal(baton_status_word(status), baton_status_word(code));
  assert_string_equal(err->message, message);
  baton_error_clear(err);
}

static void assert_nothing_left(baton_worker *chip) {
  baton_stats stats;
  baton_worker_stats(chip, &stats);
  assert_int_equal(stats.allocations, stats.frees);
  assert_int_equal(stats.committed_bytes, 0);
}

/* ---- buffers ---- */

static void runs_take_child_memory_as_it_is(void **state) {
  (void)state;
  baton_worker *chip = open_worker();
  baton_program *program = make_program();
  baton_tensor *host = make_tensor(3);
  baton_buffer *buffer = make_buffer(chip, 3 * BYTES);
  baton_view a = view_of(buffer, 0), b = view_of(buffer, BYTES), c = view_of(buffer, 2 * BYTES);
  const baton_value values[] = {
      {.buffer = buffer, .view = &a}, {.buffer = buffer, .view = &b}, {.buffer = buffer, .view = &c}};
  for (uint64_t part = 0; part < 2; part++)
    assert_int_equal(BATON_OK, baton_worker_copy_to(chip, buffer, host,
                                                    &(baton_copy_options){.offset = part * BYTES}, NULL));
  assert_int_equal(BATON_OK, baton_worker_run(chip, program, values, 3, NULL, NULL, NULL));
  assert_int_equal(
      BATON_OK, baton_worker_copy_from(chip, host, buffer, &(baton_copy_options){.offset = 2 * BYTES}, NULL));
  assert_true(first_of(host) == 6);
  assert_int_equal(baton_buffer_nbytes(buffer), 3 * BYTES);
  baton_buffer_close(buffer);
  baton_tensor_close(host);
  baton_program_close(program);
  baton_worker_close(chip);
}

static void dead_and_foreign_buffers_are_refused(void **state) {
  (void)state;
  baton_worker *chip = open_worker(), *other = open_worker();
  baton_tensor *host = make_tensor(0);
  baton_error err = {0};
  baton_view view;
  baton_buffer *buffer = make_buffer(chip, BYTES), *foreign = make_buffer(other, BYTES);
  assert_failed(
      baton_worker_free(chip, foreign, &err), &err, BATON_WRONG_DEVICE,
      "free: the buffer belongs to another worker (a2a3sim, device 0), not to this one (a2a3sim, device 0)");
  assert_int_equal(BATON_OK, baton_worker_free(chip, buffer, &err));
  assert_failed(baton_worker_free(chip, buffer, &err), &err, BATON_DOUBLE_FREE,
                "free: the buffer of 4096 bytes was freed before");
  assert_failed(baton_worker_copy_to(chip, buffer, host, NULL, &err), &err, BATON_STALE_HANDLE,
                "copy_to: the buffer of 4096 bytes was freed");
  assert_failed(baton_buffer_tensor(buffer, BATON_F32, BATON_SHAPE(4), 0, &view, &err), &err,
                BATON_STALE_HANDLE, "the buffer of 4096 bytes was freed");
  assert_int_equal(view.dtype, BATON_NO_DTYPE);
  baton_worker_close(other);
  assert_failed(baton_worker_copy_to(chip, foreign, host, NULL, &err), &err, BATON_CLOSED,
                "copy_to: the worker of the buffer is closed");
  baton_worker_close(chip);
  baton_buffer_close(buffer);
  baton_buffer_close(foreign);
  baton_buffer_close(NULL);
  baton_tensor_close(host);
}

static baton_status run_with(baton_worker *chip, baton_program *program, baton_buffer *buffer,
                             const baton_view *view, baton_error *err) {
  baton_tensor *host = make_tensor(0);
  const baton_value values[] = {
      {.buffer = buffer, .view = view}, {.buffer = buffer, .view = view}, {.tensor = host}};
  baton_status status = baton_worker_run(chip, program, values, 3, NULL, NULL, err);
  baton_tensor_close(host);
  return status;
}

static void views_that_were_tampered_with_are_refused(void **state) {
  (void)state;
  baton_worker *chip = open_worker();
  baton_program *program = make_program();
  baton_error err = {0};
  baton_buffer *buffer = make_buffer(chip, BYTES), *next = make_buffer(chip, BYTES);
  baton_view good = view_of(buffer, 0), bad = good;
  assert_failed(run_with(chip, program, next, &good, &err), &err, BATON_INVALID_ARGUMENT,
                "sum: argument 1 (a): the view does not belong to the buffer");
  bad.shape[0] = N + 1;
  assert_failed(run_with(chip, program, buffer, &bad, &err), &err, BATON_OUT_OF_RANGE,
                "sum: argument 1 (a): bytes [0,4100) of a buffer of 4096");
  bad.shape[0] = INT64_MAX;
  assert_failed(run_with(chip, program, buffer, &bad, &err), &err, BATON_OUT_OF_RANGE,
                "sum: argument 1 (a): the view does not fit the buffer of 4096 bytes");
  bad = good;
  bad.strides[0] = -1;
  assert_failed(run_with(chip, program, buffer, &bad, &err), &err, BATON_OUT_OF_RANGE,
                "sum: argument 1 (a): bytes [0,4) of a buffer of 4096");
  bad = good;
  bad.data = (char *)bad.data - 4;
  assert_failed(run_with(chip, program, buffer, &bad, &err), &err, BATON_OUT_OF_RANGE,
                "sum: argument 1 (a): the view does not fit the buffer of 4096 bytes");
  bad = baton_slice(good, 0, N, 1);
  assert_int_equal(run_with(chip, program, buffer, &bad, &err), BATON_OUT_OF_RANGE);
  baton_error_clear(&err);
  /* a buffer at the address of a freed one is another buffer */
  baton_worker_free(chip, buffer, NULL);
  baton_buffer *again = make_buffer(chip, BYTES);
  assert_true(view_of(again, 0).data == good.data);
  assert_failed(run_with(chip, program, again, &good, &err), &err, BATON_INVALID_ARGUMENT,
                "sum: argument 1 (a): the view does not belong to the buffer");
  baton_buffer_close(buffer);
  baton_buffer_close(next);
  baton_buffer_close(again);
  baton_program_close(program);
  baton_worker_close(chip);
}

static void a_closed_worker_leaves_nothing(void **state) {
  (void)state;
  baton_worker *chip = open_worker();
  baton_program *program = make_program();
  baton_tensor *host = make_tensor(1), *out = make_tensor(0);
  baton_buffer *buffer = make_buffer(chip, BYTES);
  baton_view view = view_of(buffer, 0);
  const baton_value values[] = {{.buffer = buffer, .view = &view}, {.tensor = host}, {.tensor = out}};
  baton_run *run;
  assert_int_equal(BATON_OK, baton_worker_submit(chip, program, values, 3, NULL, &run, NULL));
  assert_int_equal(BATON_OK, baton_worker_shutdown(chip, NULL));
  assert_int_equal(BATON_OK, baton_worker_shutdown(chip, NULL));
  assert_true(baton_run_done(run));
  assert_nothing_left(chip);
  assert_int_equal(baton_worker_state_of(chip), BATON_WORKER_CLOSED);
  assert_int_equal(BATON_CLOSED, baton_worker_run(chip, program, values, 3, NULL, NULL, NULL));
  baton_worker_close(chip);
  /* what it owned outlives the object */
  assert_int_equal(BATON_CLOSED, baton_buffer_tensor(buffer, BATON_F32, BATON_SHAPE(4), 0, &view, NULL));
  (void)baton_run_wait(run, -1, NULL, NULL);
  baton_run_close(run);
  baton_buffer_close(buffer);
  baton_tensor_close(host);
  baton_tensor_close(out);
  baton_program_close(program);
}

/* A run under way whose kernel waits for the gate: c = a + a, with both in one buffer. */
typedef struct under_way {
  baton_worker *chip;
  baton_program *program;
  baton_buffer *buffer;
  baton_tensor *host;
  baton_run *run;
} under_way;

static under_way start_gated(void) {
  under_way w = {.chip = open_worker(), .program = program_of(gated_graph), .host = make_tensor(3)};
  atomic_store(&gate, 0);
  w.buffer = make_buffer(w.chip, 2 * BYTES);
  baton_view a = view_of(w.buffer, 0), c = view_of(w.buffer, BYTES);
  const baton_value values[] = {
      {.buffer = w.buffer, .view = &a}, {.buffer = w.buffer, .view = &a}, {.buffer = w.buffer, .view = &c}};
  assert_int_equal(BATON_OK, baton_worker_copy_to(w.chip, w.buffer, w.host, NULL, NULL));
  assert_int_equal(BATON_OK, baton_worker_submit(w.chip, w.program, values, 3, NULL, &w.run, NULL));
  return w;
}

static void end_gated(under_way *w) {
  assert_int_equal(BATON_OK, baton_run_wait(w->run, -1, NULL, NULL));
  baton_run_close(w->run);
  baton_buffer_close(w->buffer);
  baton_tensor_close(w->host);
  baton_program_close(w->program);
  baton_worker_close(w->chip);
}

static void a_free_waits_for_the_runs_before_it_but_not_here(void **state) {
  (void)state;
  under_way w = start_gated();
  baton_stats before, freed, after;
  baton_worker_stats(w.chip, &before);
  assert_int_equal(BATON_OK, baton_worker_free(w.chip, w.buffer, NULL));
  baton_worker_stats(w.chip, &freed);
  assert_int_equal(freed.committed_bytes, before.committed_bytes);
  assert_false(baton_run_done(w.run));
  atomic_store(&gate, 1);
  assert_int_equal(BATON_OK, baton_run_wait(w.run, -1, NULL, NULL));
  baton_worker_stats(w.chip, &after);
  assert_int_equal(after.committed_bytes, before.committed_bytes - 2 * BYTES);
  end_gated(&w);
}

static void *copy_back(void *context) {
  under_way *w = context;
  assert_int_equal(BATON_OK, baton_worker_copy_from(w->chip, w->host, w->buffer,
                                                    &(baton_copy_options){.offset = BYTES}, NULL));
  return NULL;
}

static int calls_inside(baton_worker *chip) {
  pthread_mutex_lock(&chip->lock);
  int inside = (int)chip->inside;
  pthread_mutex_unlock(&chip->lock);
  return inside;
}

static void a_copy_comes_after_the_runs_before_it(void **state) {
  (void)state;
  under_way w = start_gated();
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, copy_back, &w), 0);
  while (!calls_inside(w.chip)) sched_yield();
  for (int i = 0; i < 1000; i++) sched_yield(); /* time to do it wrong; the test holds either way */
  atomic_store(&gate, 1);
  pthread_join(thread, NULL);
  assert_true(first_of(w.host) == 6);
  end_gated(&w);
}

/* ---- handles ---- */

static void handles_carry_generations(void **state) {
  (void)state;
  baton_worker *chip = open_worker();
  baton_program *program = make_program(), *equal = make_program(), *found;
  baton_handle first, second;
  baton_error err = {0};
  assert_int_equal(BATON_OK, baton_worker_register(chip, program, &first, NULL));
  assert_int_equal(BATON_OK, baton_worker_register(chip, equal, &second, NULL));
  assert_true(first == second);
  assert_int_equal(BATON_OK, baton_worker_program(chip, first, &found, NULL));
  assert_ptr_equal(found, program);
  baton_program_close(found);
  assert_int_equal(BATON_OK, baton_worker_unregister(chip, first, NULL));
  assert_failed(baton_worker_program(chip, first, &found, &err), &err, BATON_STALE_HANDLE,
                "the program was unregistered");
  assert_null(found);
  assert_failed(baton_worker_unregister(chip, first, &err), &err, BATON_STALE_HANDLE,
                "the program was unregistered");
  assert_int_equal(BATON_OK, baton_worker_register(chip, equal, &second, NULL));
  assert_true(first != second);
  assert_int_equal(BATON_STALE_HANDLE, baton_worker_program(chip, first, &found, NULL));
  assert_failed(baton_worker_unregister(chip, 77, &err), &err, BATON_INVALID_ARGUMENT,
                "77 is no handle of this worker");
  assert_int_equal(BATON_INVALID_ARGUMENT, baton_worker_unregister(chip, 0, NULL));
  baton_program_close(program);
  baton_program_close(equal);
  baton_worker_close(chip);
}

/* ---- arenas ---- */

static void the_heap_region_is_lent_once(void **state) {
  (void)state;
  baton_worker *chip = open_worker();
  uint64_t address, again;
  baton_error err = {0};
  assert_false(chip_worker_borrow_heap(chip, 1, &address));
  assert_int_equal(BATON_OK, baton_worker_setup_arena(chip, &(baton_arena){.heap = 4096}, NULL, NULL));
  assert_false(chip_worker_borrow_heap(chip, 4097, &address));
  assert_true(chip_worker_borrow_heap(chip, 4096, &address));
  assert_true(address != 0);
  assert_false(chip_worker_borrow_heap(chip, 1, &again));
  assert_int_equal(BATON_OK, baton_worker_setup_arena(chip, &(baton_arena){.heap = 4000}, NULL, NULL));
  assert_failed(baton_worker_setup_arena(chip, &(baton_arena){.heap = 8192}, NULL, &err), &err, BATON_BUSY,
                "setup_arena: a run that was submitted meanwhile uses the heap");
  chip_worker_return_heap(chip);
  assert_int_equal(BATON_OK, baton_worker_setup_arena(chip, &(baton_arena){.heap = 8192}, NULL, NULL));
  assert_true(chip_worker_borrow_heap(chip, 8192, &address));
  chip_worker_return_heap(chip);
  baton_worker_close(chip);
}

/* ---- many threads ---- */

enum { THREADS = 4 };

typedef struct crowd {
  baton_worker *chip;
  baton_program *program;
  int rounds; /* of each thread; 0: until the worker is closed */
  _Atomic uint32_t done;
} crowd;

/* A round that ends when the worker closes; false then. Anything else that fails fails the test. */
static int goes_on(const crowd *c, baton_status status) {
  if (status == BATON_OK) return 1;
  if (!c->rounds && (status == BATON_CLOSED || status == BATON_CANCELLED)) return 0;
  fail_msg("%s", baton_status_word(status));
  return 0;
}

static int use_buffer(const crowd *c, baton_buffer *buffer, baton_tensor *in, baton_tensor *out, int round) {
  baton_view view;
  baton_run *run;
  if (!goes_on(c, baton_worker_copy_to(c->chip, buffer, in, NULL, NULL)) ||
      !goes_on(c, baton_buffer_tensor(buffer, BATON_F32, BATON_SHAPE(N), 0, &view, NULL)))
    return 0;
  const baton_value values[] = {{.buffer = buffer, .view = &view}, {.tensor = in}, {.tensor = out}};
  if (!goes_on(c, baton_worker_submit(c->chip, c->program, values, 3, NULL, &run, NULL))) return 0;
  if (round % 8 == 7) (void)baton_run_cancel(run);
  baton_status freed = round % 2 ? baton_worker_free(c->chip, buffer, NULL) : BATON_OK;
  int over;
  baton_status ended = baton_run_wait(run, -1, &over, NULL);
  assert_true(over);
  baton_run_close(run);
  if (!goes_on(c, freed)) return 0;
  if (ended == BATON_CANCELLED) return 1;
  if (!goes_on(c, ended)) return 0;
  assert_true(first_of(out) == 2 * first_of(in));
  return 1;
}

static int play_round(crowd *c, baton_tensor *in, baton_tensor *out, int round) {
  baton_buffer *buffer;
  baton_handle handle;
  baton_stats stats;
  char text[512];
  if (!goes_on(c, baton_worker_malloc(c->chip, BYTES, &buffer, NULL))) return 0;
  int going = use_buffer(c, buffer, in, out, round);
  baton_buffer_close(buffer);
  if (!going || !goes_on(c, baton_worker_register(c->chip, c->program, &handle, NULL))) return 0;
  if (round % 16 == 0) (void)baton_worker_unregister(c->chip, handle, NULL);
  if (round % 16 == 1)
    going = goes_on(
        c, baton_worker_setup_arena(c->chip, &(baton_arena){.image = 1024u * (uint32_t)round}, NULL, NULL));
  baton_worker_stats(c->chip, &stats);
  (void)baton_worker_dump(c->chip, text, sizeof text);
  return going;
}

static void *play(void *context) {
  crowd *c = context;
  baton_tensor *in = make_tensor(0), *out = make_tensor(0);
  for (int round = 0; round < c->rounds || !c->rounds; round++) {
    float *data = baton_tensor_view(in)->data;
    for (int i = 0; i < N; i++) data[i] = (float)round;
    if (!play_round(c, in, out, round)) break;
    atomic_fetch_add(&c->done, 1);
  }
  baton_tensor_close(in);
  baton_tensor_close(out);
  return NULL;
}

static void start(crowd *c, pthread_t threads[THREADS]) {
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, play, c), 0);
}

static void many_threads_share_a_worker(void **state) {
  (void)state;
  crowd c = {.chip = open_worker(), .program = make_program(), .rounds = 100};
  pthread_t threads[THREADS];
  start(&c, threads);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(c.done, THREADS * 100);
  assert_int_equal(BATON_OK, baton_worker_shutdown(c.chip, NULL));
  assert_nothing_left(c.chip);
  baton_program_close(c.program);
  baton_worker_close(c.chip);
}

static void a_worker_may_be_closed_under_its_users(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    crowd c = {.chip = open_worker(), .program = make_program()};
    pthread_t threads[THREADS];
    start(&c, threads);
    while (atomic_load(&c.done) < (uint32_t)round) sched_yield();
    assert_int_equal(BATON_OK, baton_worker_shutdown(c.chip, NULL));
    assert_nothing_left(c.chip);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    baton_program_close(c.program);
    baton_worker_close(c.chip);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_take_child_memory_as_it_is),
      cmocka_unit_test(dead_and_foreign_buffers_are_refused),
      cmocka_unit_test(views_that_were_tampered_with_are_refused),
      cmocka_unit_test(a_closed_worker_leaves_nothing),
      cmocka_unit_test(a_free_waits_for_the_runs_before_it_but_not_here),
      cmocka_unit_test(a_copy_comes_after_the_runs_before_it),
      cmocka_unit_test(handles_carry_generations),
      cmocka_unit_test(the_heap_region_is_lent_once),
      cmocka_unit_test(many_threads_share_a_worker),
      cmocka_unit_test(a_worker_may_be_closed_under_its_users),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
