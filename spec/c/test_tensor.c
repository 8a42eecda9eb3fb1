/* Host tensors: what Lua cannot see. Elements, arithmetic and files have their specs in spec/tensor. */
#include "base/atomic.h"
#include "base/segment.h"
#include "tensor/storage.h"
#include <baton/memory.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define SHAPE(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

static baton_tensor *make(baton_status (*maker)(baton_dtype, int, const int64_t *, baton_tensor **,
                                                baton_error *),
                          baton_dtype dtype, int ndim, const int64_t *shape) {
  baton_tensor *tensor;
  assert_int_equal(maker(dtype, ndim, shape, &tensor, NULL), BATON_OK);
  return tensor;
}

static double element(const baton_tensor *tensor, int64_t i) {
  baton_number value;
  assert_int_equal(baton_tensor_get(tensor, &i, &value, NULL), BATON_OK);
  return value.dtype == BATON_F64 ? value.value.f64 : (double)value.value.i64;
}

static void storage_lives_as_long_as_its_last_view(void **state) {
  (void)state;
  uint64_t before = base_segment_live_bytes();
  baton_tensor *tensor = make(baton_tensor_arange, BATON_I32, SHAPE(100)), *view;
  assert_int_equal(baton_tensor_slice(tensor, 0, 50, 10, &view, NULL), BATON_OK);
  baton_tensor_close(tensor);
  assert_true(base_segment_live_bytes() > before);
  assert_true(element(view, 0) == 50);
  baton_tensor_close(view);
  assert_true(base_segment_live_bytes() == before);
  baton_tensor_close(NULL);
}

static void wrapped_memory_stays_the_callers(void **state) {
  (void)state;
  float data[6] = {1, 2, 3, 4, 5, 6};
  baton_error err = {0};
  baton_tensor *tensor, *sum;
  assert_int_equal(baton_tensor_wrap(data, BATON_F32, SHAPE(2, 3), &tensor, &err), BATON_OK);
  assert_ptr_equal(baton_tensor_view(tensor)->data, data);
  assert_int_equal(baton_tensor_add_(tensor, baton_operand_number(baton_number_f64(1)), &err), BATON_OK);
  assert_true(data[5] == 7);
  assert_int_equal(baton_tensor_sum(tensor, 0, 0, &sum, &err), BATON_OK);
  assert_true(element(sum, 2) == 11);
  baton_tensor_close(sum);
  baton_tensor_close(tensor);
  assert_int_equal(baton_tensor_wrap((char *)data + 1, BATON_F32, SHAPE(1), &tensor, &err),
                   BATON_INVALID_ARGUMENT);
  assert_null(tensor);
  assert_int_equal(baton_tensor_wrap(NULL, BATON_F32, SHAPE(1), &tensor, &err), BATON_INVALID_ARGUMENT);
  assert_string_equal(err.message, "NULL cannot hold f32[1]");
  assert_int_equal(baton_tensor_wrap(NULL, BATON_F32, SHAPE(0), &tensor, &err), BATON_OK);
  baton_tensor_close(tensor);
  baton_error_clear(&err);
}

/* A view of a caller may hold anything. */
static void views_beyond_the_storage_are_refused(void **state) {
  (void)state;
  baton_tensor *tensor = make(baton_tensor_zeros, BATON_F32, SHAPE(4, 4)), *out;
  const baton_view good = *baton_tensor_view(tensor);
  baton_view views[8];
  for (int i = 0; i < 8; i++) views[i] = good;
  views[0].shape[0] = 5;
  views[1].strides[0] = INT64_MAX;
  views[2].strides[1] = -1;
  views[3].data = (char *)good.data + 2;
  views[4].data = (char *)good.data + 64;
  views[5].shape[1] = -1;
  views[6].dtype = BATON_F64;
  views[7] = (baton_view){
      .data = good.data, .dtype = BATON_F32, .ndim = 2, .shape = {INT64_C(1) << 40, INT64_C(1) << 40}};
  for (int i = 0; i < 8; i++) {
    assert_int_equal(baton_tensor_from_view(tensor, &views[i], &out, NULL), BATON_OUT_OF_RANGE);
    assert_null(out);
  }
  baton_view none = baton_view_invalid();
  assert_int_equal(baton_tensor_from_view(tensor, &none, &out, NULL), BATON_OUT_OF_RANGE);
  baton_view backwards = good;
  backwards.data = (char *)good.data + 15 * 4;
  backwards.strides[0] = -4;
  backwards.strides[1] = -1;
  assert_int_equal(baton_tensor_from_view(tensor, &backwards, &out, NULL), BATON_OK);
  baton_tensor_close(out);
  baton_tensor_close(tensor);
}

static void indices_and_dimensions_count_from_zero(void **state) {
  (void)state;
  baton_error err = {0};
  baton_number value;
  baton_tensor *tensor = make(baton_tensor_arange, BATON_F32, SHAPE(2, 3)), *out, *positions;
  assert_int_equal(baton_tensor_get(tensor, (int64_t[]){1, 2}, &value, &err), BATON_OK);
  assert_true(value.value.f64 == 5);
  assert_int_equal(baton_tensor_get(tensor, (int64_t[]){1, 3}, &value, &err), BATON_OUT_OF_RANGE);
  assert_string_equal(err.message, "index 3 of dimension 1 is outside f32[2,3]");
  assert_int_equal(baton_tensor_sum(tensor, 2, 0, &out, &err), BATON_OUT_OF_RANGE);
  assert_string_equal(err.message, "sum: f32[2,3] has no dimension 2");
  assert_int_equal(baton_tensor_argmax(tensor, 1, 0, &positions, &err), BATON_OK);
  assert_true(element(positions, 0) == 2);
  assert_int_equal(baton_tensor_index(tensor, 1, positions, &out, &err), BATON_OK);
  assert_int_equal(baton_tensor_view(out)->shape[1], 2);
  baton_tensor_close(out);
  baton_tensor_close(positions);
  baton_tensor_close(tensor);
  baton_error_clear(&err);
}

/* --- Memory that runs out ------------------------------------------------------------------------------ */

static int64_t calls, fail_from, fail_to;

static void *failing(void *context, void *block, size_t size) {
  (void)context;
  if (size == 0) {
    free(block);
    return NULL;
  }
  calls++;
  return calls >= fail_from && calls < fail_to ? NULL : realloc(block, size);
}

/* Every function that takes memory; stops at the first failure. */
static baton_status many_operations(const char *path, baton_error *err) {
  baton_tensor *all[16] = {0}, *a, *b;
  baton_status status = baton_tensor_uniform(BATON_F32, SHAPE(8, 8), -1, 1, 1, &all[0], err);
  if (status == BATON_OK) status = baton_tensor_transpose(all[0], 0, 1, &all[1], err);
  a = all[0];
  b = all[1];
  baton_operand left = baton_operand_tensor(a), right = baton_operand_tensor(b);
  if (status == BATON_OK) status = baton_tensor_add(left, right, &all[2], err);
  if (status == BATON_OK) status = baton_tensor_matmul(b, b, &all[3], err);
  if (status == BATON_OK) status = baton_tensor_softmax(b, 0, &all[4], err);
  if (status == BATON_OK) status = baton_tensor_topk(b, 3, 1, &all[5], &all[6], err);
  if (status == BATON_OK) status = baton_tensor_mean(b, 1, 1, &all[7], err);
  if (status == BATON_OK) status = baton_tensor_concat((const baton_tensor *[]){a, b}, 2, 0, &all[8], err);
  if (status == BATON_OK) status = baton_tensor_where(a, left, right, &all[9], err);
  if (status == BATON_OK) status = baton_tensor_cast(a, BATON_BF16, &all[10], err);
  if (status == BATON_OK) status = baton_tensor_matmul(all[10], b, &all[11], err);
  if (status == BATON_OK) status = baton_tensor_copy(a, b, err);
  if (status == BATON_OK) status = baton_tensor_argmax(b, 0, 0, &all[12], err);
  if (status == BATON_OK) status = baton_tensor_index(b, 0, all[12], &all[13], err);
  if (status == BATON_OK) status = baton_tensor_save(b, path, err);
  if (status == BATON_OK) status = baton_tensor_load(path, NULL, &all[14], err);
  if (status == BATON_OK) status = baton_tensor_add_(a, baton_operand_tensor(b), err);
  for (int i = 0; i < 16; i++) baton_tensor_close(all[i]);
  return status;
}

static void lost_memory_is_an_error_and_no_leak(void **state) {
  (void)state;
  char path[] = "/tmp/test_tensor_XXXXXX";
  close(mkstemp(path));
  baton_set_allocator(failing, NULL);
  for (int persistent = 0; persistent < 2; persistent++) {
    baton_status status = BATON_OUT_OF_MEMORY;
    uint64_t before = base_segment_live_bytes();
    for (int64_t n = 1; status != BATON_OK; n++) {
      baton_error err = {0};
      calls = 0;
      fail_from = n;
      fail_to = persistent ? INT64_MAX : n + 1;
      status = many_operations(path, &err);
      fail_from = INT64_MAX;
      assert_true(status == BATON_OK || status == BATON_OUT_OF_MEMORY);
      assert_int_equal(err.code, status);
      baton_error_clear(&err);
      assert_true(base_segment_live_bytes() == before);
      assert_true(n < 1000);
    }
  }
  baton_set_allocator(NULL, NULL);
  unlink(path);
}

/* --- A disk that is full -------------------------------------------------------------------------------- */

static int entries_of(const char *directory) {
  int count = 0;
  DIR *listing = opendir(directory);
  assert_non_null(listing);
  for (const struct dirent *entry; (entry = readdir(listing));) count += entry->d_name[0] != '.';
  closedir(listing);
  return count;
}

/* A limit on the size of files stands for the full disk: write fails in the middle. */
static void a_failed_save_leaves_the_old_file_and_nothing_else(void **state) {
  (void)state;
  char directory[] = "/tmp/test_tensor_XXXXXX", path[64];
  baton_error err = {0};
  struct rlimit unlimited, limited;
  assert_non_null(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/a.npy", directory);
  baton_tensor *small = make(baton_tensor_arange, BATON_I32, SHAPE(3)), *back;
  baton_tensor *large = make(baton_tensor_zeros, BATON_F64, SHAPE(100000));
  assert_int_equal(baton_tensor_save(small, path, &err), BATON_OK);
  getrlimit(RLIMIT_FSIZE, &unlimited);
  limited = unlimited;
  limited.rlim_cur = 4096;
  void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limited);
  baton_status status = baton_tensor_save(large, path, &err);
  setrlimit(RLIMIT_FSIZE, &unlimited);
  signal(SIGXFSZ, before);
  assert_int_equal(status, BATON_IO_ERROR);
  assert_non_null(strstr(err.message, ": cannot write: File too large"));
  assert_int_equal(entries_of(directory), 1);
  assert_int_equal(baton_tensor_load(path, NULL, &back, &err), BATON_OK);
  assert_true(element(back, 2) == 2);
  baton_tensor_close(back);
  baton_tensor_close(large);
  baton_tensor_close(small);
  baton_error_clear(&err);
  unlink(path);
  rmdir(directory);
}

/* --- Runs that use tensors ------------------------------------------------------------------------------ */

typedef struct user {
  baton_tensor *tensor;
  _Atomic int started;
  const baton_error *failure;
} user;

/* Plays a run: writes the first element, then ends. */
static void *run_writes(void *argument) {
  user *run = argument;
  atomic_store(&run->started, 1);
  for (int i = 0; i < 100; i++)
    sched_yield(); /* lets the other thread wait sometimes; the test holds either way */
  *(float *)baton_tensor_view(run->tensor)->data = 7;
  tensor_use_end(tensor_storage_of(run->tensor), 1, run->failure);
  return NULL;
}

static void reading_waits_for_the_run_that_writes(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    user run = {.tensor = make(baton_tensor_zeros, BATON_F32, SHAPE(4))};
    baton_tensor *view;
    pthread_t thread;
    tensor_use_begin(tensor_storage_of(run.tensor), 1);
    assert_true(tensor_pending(run.tensor));
    char text[64];
    baton_tensor_text(run.tensor, text, sizeof text);
    assert_string_equal(text, "f32[4] pending");
    assert_int_equal(pthread_create(&thread, NULL, run_writes, &run), 0);
    assert_int_equal(baton_tensor_slice(run.tensor, 0, 0, 1, &view, NULL), BATON_OK);
    assert_true(element(view, 0) == 7);
    assert_false(tensor_pending(run.tensor));
    pthread_join(thread, NULL);
    baton_tensor_close(view);
    baton_tensor_close(run.tensor);
  }
}

static void *waiter(void *argument) {
  user *run = argument;
  baton_error *err = calloc(1, sizeof *err);
  baton_number value;
  atomic_store(&run->started, 1);
  baton_status status = baton_tensor_get(run->tensor, (int64_t[]){0}, &value, err);
  assert_int_equal(err->code, status);
  return err;
}

static void a_failed_run_fails_who_waits_for_it(void **state) {
  (void)state;
  baton_error failure = {0};
  baton_error_set(&failure, BATON_USER_FAIL, "task 3 failed");
  user run = {.tensor = make(baton_tensor_zeros, BATON_F32, SHAPE(4))};
  tensor_storage *storage = tensor_storage_of(run.tensor);
  pthread_t thread;
  void *result;
  /* whether the other thread waits already cannot be seen from outside: repeat until it did */
  for (int failed = 0; !failed;) {
    atomic_store(&run.started, 0);
    tensor_use_begin(storage, 1);
    assert_int_equal(pthread_create(&thread, NULL, waiter, &run), 0);
    while (!atomic_load(&run.started)) sched_yield();
    for (int i = 0; i < 100; i++) sched_yield();
    tensor_use_end(storage, 1, &failure);
    pthread_join(thread, &result);
    baton_error *err = result;
    failed = err->code == BATON_USER_FAIL;
    if (failed) assert_string_equal(err->message, "task 3 failed");
    baton_error_clear(err);
    free(err);
  }
  assert_true(element(run.tensor, 0) == 0); /* later accesses have nothing to wait for */
  baton_error_clear(&failure);
  baton_tensor_close(run.tensor);
}

static void readers_disturb_writers_only(void **state) {
  (void)state;
  baton_tensor *tensor = make(baton_tensor_zeros, BATON_F32, SHAPE(4));
  tensor_storage *storage = tensor_storage_of(tensor);
  tensor_use_begin(storage, 0);
  assert_false(tensor_pending(tensor));
  assert_true(element(tensor, 0) == 0);
  tensor_use_end(storage, 0, NULL);
  assert_int_equal(baton_tensor_fill(tensor, baton_number_i64(1), NULL), BATON_OK);
  tensor_use_begin(storage, 1);
  baton_tensor_close(tensor); /* the use keeps the storage */
  tensor_use_end(storage, 1, NULL);
}

/* --- Threads -------------------------------------------------------------------------------------------- */

/* Tensors of its own and one that all read, small and large. */
static void *compute(void *argument) {
  const baton_tensor *shared = argument;
  for (int i = 0; i < 4; i++) {
    baton_tensor *own, *sum, *all;
    assert_int_equal(baton_tensor_full(BATON_F32, SHAPE(1 << 19), baton_number_i64(i), &own, NULL), BATON_OK);
    assert_int_equal(baton_tensor_add(baton_operand_tensor(own), baton_operand_tensor(shared), &sum, NULL),
                     BATON_OK);
    assert_int_equal(baton_tensor_sum(sum, BATON_ALL_DIMS, 0, &all, NULL), BATON_OK);
    baton_number total;
    assert_int_equal(baton_tensor_get(all, NULL, &total, NULL), BATON_OK);
    assert_true(total.value.f64 == (double)(1 << 19) * (i + 1));
    baton_tensor_close(own);
    baton_tensor_close(sum);
    baton_tensor_close(all);
  }
  return NULL;
}

static void several_threads_compute_at_once(void **state) {
  (void)state;
  baton_tensor *shared;
  pthread_t threads[3];
  assert_int_equal(baton_tensor_full(BATON_F32, SHAPE(1), baton_number_i64(1), &shared, NULL), BATON_OK);
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, compute, shared), 0);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  baton_tensor_close(shared);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(storage_lives_as_long_as_its_last_view),
      cmocka_unit_test(wrapped_memory_stays_the_callers),
      cmocka_unit_test(views_beyond_the_storage_are_refused),
      cmocka_unit_test(indices_and_dimensions_count_from_zero),
      cmocka_unit_test(lost_memory_is_an_error_and_no_leak),
      cmocka_unit_test(a_failed_save_leaves_the_old_file_and_nothing_else),
      cmocka_unit_test(reading_waits_for_the_run_that_writes),
      cmocka_unit_test(a_failed_run_fails_who_waits_for_it),
      cmocka_unit_test(readers_disturb_writers_only),
      cmocka_unit_test(several_threads_compute_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
