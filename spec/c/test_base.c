/* The services of src/base: errors, log, allocator, pages, segments, pool, number of CPUs. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/pages.h"
#include "base/pool.h"
#include "base/segment.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs `body` in a child and asserts that it returns true. */
static void in_child(int (*body)(void)) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- errors ---- */

static void error_keeps_the_sentence(void **state) {
  (void)state;
  baton_error err = {0};
  assert_int_equal(baton_error_set(&err, BATON_OUT_OF_RANGE, "%d of %s", 7, "six"), BATON_OUT_OF_RANGE);
  assert_string_equal(err.message, "7 of six");
  assert_null(err.hint);
  assert_int_equal(baton_error_text(&err, BATON_FIELD_HINT, "use %d", 5), BATON_OUT_OF_RANGE);
  assert_string_equal(err.hint, "use 5");
  assert_int_equal(baton_error_context(&err, "slice %d", 2), BATON_OUT_OF_RANGE);
  assert_string_equal(err.message, "slice 2: 7 of six");
  assert_string_equal(err.hint, "use 5");
  /* a failure may describe itself with the texts of the one that it replaces */
  baton_error_set(&err, BATON_CANCELLED, "after %s", err.message);
  assert_string_equal(err.message, "after slice 2: 7 of six");
  assert_null(err.hint);
  baton_error_clear(&err);
  assert_null(err.message);
  assert_int_equal(err.code, BATON_OK);
  baton_error_clear(&err);
}

static void error_is_optional(void **state) {
  (void)state;
  assert_int_equal(baton_error_set(NULL, BATON_STATE, "nobody reads this"), BATON_STATE);
  assert_int_equal(baton_error_context(NULL, "nor this"), BATON_OK);
  assert_int_equal(baton_error_text(NULL, BATON_FIELD_HINT, "nor this"), BATON_OK);
  baton_error_clear(NULL);
}

static void error_copies_all_texts(void **state) {
  (void)state;
  baton_error err = {0}, copy = {0};
  baton_error_set(&err, BATON_POISONED, "task 5");
  baton_error_text(&err, BATON_FIELD_TASK, "five");
  baton_error_text(&err, BATON_FIELD_KERNEL, "add");
  baton_error_text(&err, BATON_FIELD_CAUSE, "task 4");
  baton_error_text(&err, BATON_FIELD_PATH, "a/b");
  err.core = 3;
  err.known = BATON_KNOWN_CORE;
  baton_error_set(&copy, BATON_BUSY, "old");
  assert_int_equal(baton_error_copy(&copy, &err), BATON_POISONED);
  baton_error_clear(&err);
  assert_string_equal(copy.message, "task 5");
  assert_string_equal(copy.task, "five");
  assert_string_equal(copy.kernel, "add");
  assert_string_equal(copy.cause, "task 4");
  assert_string_equal(copy.path, "a/b");
  assert_null(copy.hint);
  assert_int_equal(copy.core, 3);
  assert_int_equal(copy.known, BATON_KNOWN_CORE);
  baton_error_clear(&copy);
}

static void error_ends_at_64_kib(void **state) {
  (void)state;
  char *text = malloc(100000);
  memset(text, 'x', 99999);
  text[99999] = 0;
  baton_error err = {0};
  baton_error_set(&err, BATON_SIGNATURE, "%s", text);
  assert_int_equal(strlen(err.message), 65535);
  baton_error_context(&err, "in front");
  assert_int_equal(strlen(err.message), 65535);
  assert_memory_equal(err.message, "in front: xxx", 13);
  baton_error_clear(&err);
  free(text);
}

static void *no_memory(void *context, void *block, size_t size) {
  (void)context;
  if (size == 0) free(block);
  return NULL;
}

static void error_survives_without_memory(void **state) {
  (void)state;
  baton_error err = {0}, copy = {0};
  baton_set_allocator(no_memory, NULL);
  assert_int_equal(baton_error_set(&err, BATON_STATE, "%d", 1), BATON_STATE);
  const char *message = err.message;
  baton_error_context(&err, "more");
  baton_error_copy(&copy, &err);
  baton_set_allocator(NULL, NULL);
  assert_string_equal(message, "an error occurred, and no memory was left to describe it");
  assert_int_equal(copy.code, BATON_STATE);
  assert_string_equal(copy.message, message);
  baton_error_clear(&copy);
  baton_error_clear(&err);
}

static void each_code_has_a_word(void **state) {
  (void)state;
  assert_string_equal(baton_status_word(BATON_OK), "ok");
  assert_string_equal(baton_status_word(BATON_DOUBLE_FREE), "double_free");
  assert_string_equal(baton_status_word(BATON_POISONED), "poisoned");
  assert_string_equal(baton_status_word(BATON_STATUS_COUNT), "unknown");
}

/* ---- log ---- */

/* What `speak` writes to stderr. */
static const char *stderr_of(void (*speak)(void)) {
  static char text[8192];
  int ends[2], before = dup(STDERR_FILENO);
  assert_int_equal(pipe(ends), 0);
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  speak();
  dup2(before, STDERR_FILENO);
  close(before);
  ssize_t length = read(ends[0], text, sizeof text - 1);
  close(ends[0]);
  assert_true(length >= 0);
  text[length] = 0;
  return text;
}

static void speak_levels(void) {
  base_log(BASE_LOG_WARNING, "%d left", 3);
  base_log(BASE_LOG_DEBUG, "not to be seen");
  base_log_set_level(BASE_LOG_DEBUG);
  base_log(BASE_LOG_DEBUG, "now it is");
  base_log_set_level(BASE_LOG_NOTE);
}

static void speak_error(void) {
  baton_error err = {0};
  baton_error_set(&err, BATON_STREAM_TIMEOUT, "stream x");
  base_log_error(&err, "close");
  baton_error_clear(&err);
}

static void speak_much(void) { base_log(BASE_LOG_NOTE, "%4000d", 1); }

static void log_writes_lines(void **state) {
  (void)state;
  assert_string_equal(stderr_of(speak_levels), "baton: warning: 3 left\nbaton: debug: now it is\n");
  assert_string_equal(stderr_of(speak_error), "baton: error: close: stream x (stream_timeout)\n");
  const char *cut = stderr_of(speak_much);
  assert_true(strlen(cut) < 2048);
  assert_int_equal(cut[strlen(cut) - 1], '\n');
}

/* ---- allocator ---- */

static int allocator_calls;

static void *counting(void *context, void *block, size_t size) {
  allocator_calls++;
  assert_ptr_equal(context, &allocator_calls);
  if (size) return realloc(block, size);
  free(block);
  return NULL;
}

static void memory_comes_from_the_allocator(void **state) {
  (void)state;
  allocator_calls = 0;
  baton_set_allocator(counting, &allocator_calls);
  unsigned char *cells = base_calloc(16, 4);
  for (int i = 0; i < 64; i++) assert_int_equal(cells[i], 0);
  cells = base_realloc(cells, 128);
  char *text = base_strdup("copy");
  assert_string_equal(text, "copy");
  base_free(text);
  base_free(cells);
  base_free(NULL);
  assert_null(base_strdup(NULL));
  baton_set_allocator(NULL, NULL);
  assert_int_equal(allocator_calls, 5);
}

static void memory_refuses_overflow(void **state) {
  (void)state;
  assert_null(base_calloc(SIZE_MAX / 2, 3));
  baton_error err = {0};
  assert_int_equal(base_out_of_memory(&err, "a box"), BATON_OUT_OF_MEMORY);
  assert_string_equal(err.message, "no memory for a box");
  baton_error_clear(&err);
}

/* ---- pages ---- */

/* Pages of address space in use. */
static long mapped_pages(void) {
  char text[64] = {0};
  int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  assert_true(file >= 0);
  assert_true(read(file, text, sizeof text - 1) > 0);
  close(file);
  return strtol(text, NULL, 10);
}

static void pages_are_zero_and_go_back(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 4096, 5 << 20, BASE_PAGES_HUGE, BASE_PAGES_HUGE + 12345};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    long before = mapped_pages();
    char *pages = base_pages(sizes[i]);
    assert_non_null(pages);
    assert_int_equal((uintptr_t)pages % (sizes[i] < BASE_PAGES_HUGE ? 4096 : 2 << 20), 0);
    assert_int_equal(pages[0] | pages[sizes[i] / 2] | pages[sizes[i] - 1], 0);
    memset(pages, 7, 1);
    memset(pages + sizes[i] - 1, 7, 1);
    long page = sysconf(_SC_PAGESIZE);
    assert_int_equal(mapped_pages() - before, ((long)sizes[i] + page - 1) / page);
    base_pages_free(pages, sizes[i]);
    assert_int_equal(mapped_pages(), before);
  }
}

static void pages_may_be_out(void **state) {
  (void)state;
  assert_null(base_pages((size_t)1 << 60));
  assert_null(base_pages(SIZE_MAX));
  base_pages_free(NULL, SIZE_MAX);
}

/* ---- segments ---- */

static base_extent extent_of(uint64_t size, uint64_t alignment) {
  base_extent extent;
  baton_error err = {0};
  if (base_extent_alloc(size, alignment, &extent, &err) != BATON_OK) fail_msg("%s", err.message);
  return extent;
}

static uint64_t committed_of(uint32_t segment) {
  uint64_t size;
  struct stat info;
  assert_int_equal(fstat(base_segment_fd(segment, &size), &info), 0);
  return (uint64_t)info.st_blocks * 512;
}

static void extents_are_aligned_and_disjoint(void **state) {
  (void)state;
  enum { COUNT = 200 };
  base_extent extents[COUNT];
  uint64_t before = base_segment_live_bytes(), sum = 0;
  for (uint32_t i = 0; i < COUNT; i++) {
    uint64_t size = i * 37u, alignment = (uint64_t)1 << i % 13;
    extents[i] = extent_of(size, alignment);
    assert_int_equal(extents[i].size, size);
    assert_int_equal((uintptr_t)extents[i].address % alignment, 0);
    memset(extents[i].address, (int)i, size);
    sum += size;
  }
  assert_int_equal(base_segment_live_bytes() - before, sum);
  for (uint32_t i = 0; i < COUNT; i++)
    for (uint64_t byte = 0; byte < extents[i].size; byte++)
      assert_int_equal(((unsigned char *)extents[i].address)[byte], i);
  for (uint32_t i = 0; i < COUNT; i++) base_extent_free(&extents[i * 7 % COUNT]);
  assert_int_equal(base_segment_live_bytes(), before);
  assert_null(extents[0].address);
  base_extent_free(&extents[0]);
}

static void small_extents_share_pages(void **state) {
  (void)state;
  base_extent first = extent_of(64, 64), second = extent_of(64, 64);
  assert_true((uintptr_t)second.address - (uintptr_t)first.address < 4096);
  base_extent_free(&second);
  base_extent_free(&first);
}

static void large_extents_give_pages_back(void **state) {
  (void)state;
  const uint64_t size = 8u << 20;
  base_extent left = extent_of(100, 1), large = extent_of(size, 1), right = extent_of(100, 1);
  const uint32_t segment = large.segment;
  memset(left.address, 1, 100);
  memset(right.address, 2, 100);
  memset(large.address, 3, size);
  uint64_t before = committed_of(segment);
  base_extent_free(&large);
  assert_true(committed_of(segment) <= before - (size - 2 * 4096));
  for (int i = 0; i < 100; i++) {
    assert_int_equal(((char *)left.address)[i], 1);
    assert_int_equal(((char *)right.address)[i], 2);
  }
  base_extent_free(&left);
  base_extent_free(&right);
}

static void untouched_memory_is_not_committed(void **state) {
  (void)state;
  base_extent extent = extent_of((uint64_t)1 << 30, 4096);
  uint64_t before = committed_of(extent.segment);
  ((char *)extent.address)[0] = 1;
  ((char *)extent.address)[extent.size - 1] = 1;
  assert_true(committed_of(extent.segment) <= before + 2 * 4096);
  assert_int_equal(((char *)extent.address)[extent.size / 2], 0);
  base_extent_free(&extent);
}

static void a_request_may_exceed_a_segment(void **state) {
  (void)state;
  base_extent extent = extent_of(((uint64_t)4 << 30) + 12345, 4096);
  ((char *)extent.address)[extent.size - 1] = 7;
  uint64_t size = 0;
  assert_true(base_segment_fd(extent.segment, &size) >= 0);
  assert_true(size >= extent.offset + extent.size);
  base_extent_free(&extent);
}

static void segment_and_offset_identify_bytes(void **state) {
  (void)state;
  base_extent extent = extent_of(8192, 4096);
  uint32_t segment = 99;
  uint64_t offset = 0, size = 0;
  assert_true(base_segment_find((char *)extent.address + 5000, &segment, &offset));
  assert_int_equal(segment, extent.segment);
  assert_int_equal(offset, extent.offset + 5000);
  char *again = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, base_segment_fd(segment, &size),
                     (off_t)extent.offset);
  assert_ptr_not_equal(again, MAP_FAILED);
  strcpy(again + 5000, "the same byte");
  assert_string_equal((char *)extent.address + 5000, "the same byte");
  munmap(again, 8192);
  int local = 0;
  assert_false(base_segment_find(&local, &segment, &offset));
  assert_int_equal(base_segment_fd(4000, &size), -1);
  base_extent_free(&extent);
}

static void refusal_names_the_bytes(void **state) {
  (void)state;
  base_extent live = extent_of(1000, 1), extent;
  baton_error err = {0};
  char wanted[128];
  snprintf(wanted, sizeof wanted, "no memory for a block of 1152921504606846976 bytes, %llu bytes are in use",
           (unsigned long long)base_segment_live_bytes());
  assert_int_equal(base_extent_alloc((uint64_t)1 << 60, 64, &extent, &err), BATON_OUT_OF_MEMORY);
  assert_string_equal(err.message, wanted);
  assert_string_equal(err.cause, strerror(ENOMEM));
  assert_non_null(strstr(err.hint, "memory and swap of this machine: "));
  assert_null(extent.address);
  assert_int_equal(base_extent_alloc(UINT64_MAX, 4096, &extent, NULL), BATON_OUT_OF_MEMORY);
  baton_error_clear(&err);
  base_extent_free(&live);
}

/* With a file-size limit below a segment, small requests still work and large ones are refused without a
** signal. */
static int with_file_limit(void) {
  const struct rlimit limit = {64 << 20, 64 << 20};
  baton_error err = {0};
  base_extent extents[4], extent;
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 0;
  if (base_extent_alloc((uint64_t)5 << 30, 64, &extent, &err) != BATON_OUT_OF_MEMORY) return 0;
  if (!err.hint || !strstr(err.hint, "67108864 bytes")) return 0;
  baton_error_clear(&err);
  for (int i = 0; i < 4; i++)
    if (base_extent_alloc(60 << 20, 64, &extents[i], &err) != BATON_OK) return 0;
  return base_extent_alloc(65 << 20, 64, &extent, NULL) == BATON_OUT_OF_MEMORY;
}

static void extents_respect_the_file_limit(void **state) {
  (void)state;
  in_child(with_file_limit);
}

static void *churn(void *argument) {
  unsigned seed = *(unsigned *)argument;
  base_extent held[32] = {0};
  for (int step = 0; step < 2000; step++) {
    seed = seed * 1664525u + 1013904223u;
    base_extent *extent = &held[seed >> 27];
    if (extent->address) {
      unsigned char *bytes = extent->address;
      assert_int_equal(bytes[0], extent->size & 0xff);
      assert_int_equal(bytes[extent->size - 1], extent->size & 0xff);
      base_extent_free(extent);
    } else {
      uint64_t size = 1 + (seed >> 7) % ((seed & 64) ? 1u << 20 : 4096u);
      assert_int_equal(base_extent_alloc(size, 64, extent, NULL), BATON_OK);
      memset(extent->address, (int)(size & 0xff), 1);
      memset((char *)extent->address + size - 1, (int)(size & 0xff), 1);
    }
  }
  for (int i = 0; i < 32; i++) base_extent_free(&held[i]);
  return NULL;
}

static void extents_from_many_threads(void **state) {
  (void)state;
  pthread_t threads[4];
  unsigned seeds[4] = {1, 2, 3, 4};
  uint64_t before = base_segment_live_bytes();
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, churn, &seeds[i]), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  assert_int_equal(base_segment_live_bytes(), before);
}

/* ---- pool ---- */

typedef struct counting_job {
  base_job job;
  base_pool *pool;
  pthread_barrier_t *meeting; /* all lanes wait for each other here; NULL: they do not */
  _Atomic uint32_t runs[64], dones;
  uint32_t again; /* times that `done` submits the job once more */
} counting_job;

static void count_lane(base_job *job, uint32_t lane) {
  counting_job *counting_lanes = (counting_job *)job;
  counting_lanes->runs[lane]++;
  if (counting_lanes->meeting) pthread_barrier_wait(counting_lanes->meeting);
}

static void count_done(base_job *job) {
  counting_job *counted = (counting_job *)job;
  counted->dones++;
  if (counted->again == 0) return;
  counted->again--;
  base_pool_submit(counted->pool, job);
}

static base_pool *pool_of(uint32_t threads) {
  base_pool *pool = NULL;
  assert_int_equal(base_pool_open(threads, "test", &pool, NULL), BATON_OK);
  assert_int_equal(base_pool_threads(pool), threads);
  return pool;
}

static void each_lane_runs_once(void **state) {
  (void)state;
  enum { JOBS = 100 };
  static counting_job jobs[JOBS];
  memset(jobs, 0, sizeof jobs);
  base_pool *pool = pool_of(3);
  for (uint32_t i = 0; i < JOBS; i++) {
    jobs[i].job = (base_job){.run = count_lane, .done = count_done, .lanes = i % 9};
    base_pool_submit(pool, &jobs[i].job);
  }
  base_pool_close(pool);
  for (uint32_t i = 0; i < JOBS; i++) {
    assert_int_equal(jobs[i].dones, 1);
    for (uint32_t lane = 0; lane < 64; lane++) assert_int_equal(jobs[i].runs[lane], lane < i % 9);
  }
}

static void lanes_run_at_the_same_time(void **state) {
  (void)state;
  pthread_barrier_t meeting;
  pthread_barrier_init(&meeting, NULL, 4);
  counting_job job = {.job = {.run = count_lane, .lanes = 4}, .meeting = &meeting};
  base_pool *pool = pool_of(4);
  base_pool_submit(pool, &job.job);
  base_pool_close(pool);
  pthread_barrier_destroy(&meeting);
  for (int lane = 0; lane < 4; lane++) assert_int_equal(job.runs[lane], 1);
}

static void two_jobs_run_at_the_same_time(void **state) {
  (void)state;
  pthread_barrier_t meeting;
  pthread_barrier_init(&meeting, NULL, 2);
  counting_job one = {.job = {.run = count_lane, .lanes = 1}, .meeting = &meeting}, two = one;
  base_pool *pool = pool_of(2);
  base_pool_submit(pool, &one.job);
  base_pool_submit(pool, &two.job);
  base_pool_close(pool);
  pthread_barrier_destroy(&meeting);
  assert_int_equal(one.runs[0] + two.runs[0], 2);
}

typedef struct meeting_job {
  base_job job;
  pthread_barrier_t *meeting;
  sem_t *ended;
} meeting_job;

static void meet_lane(base_job *job, uint32_t lane) {
  (void)lane;
  pthread_barrier_wait(((meeting_job *)job)->meeting);
}

static void meeting_done(base_job *job) { sem_post(((meeting_job *)job)->ended); }

/* Waits for each job, so that the threads are asleep when the next one comes. */
static void sleeping_threads_wake_for_each_lane(void **state) {
  (void)state;
  pthread_barrier_t meeting;
  pthread_barrier_init(&meeting, NULL, 4);
  base_pool *pool = pool_of(4);
  for (int i = 0; i < 200; i++) {
    sem_t ended;
    sem_init(&ended, 0, 0);
    meeting_job job = {{.run = meet_lane, .done = meeting_done, .lanes = 4}, &meeting, &ended};
    base_pool_submit(pool, &job.job);
    while (sem_wait(&ended) != 0) {
    }
    sem_destroy(&ended);
  }
  base_pool_close(pool);
  pthread_barrier_destroy(&meeting);
}

static void submit_meeting(base_pool *pool, meeting_job *job, pthread_barrier_t *meeting, sem_t *ended) {
  *job = (meeting_job){{.run = meet_lane, .done = meeting_done, .lanes = 1}, meeting, ended};
  base_pool_submit(pool, &job->job);
}

static void await_meetings(sem_t *ended, int count) {
  while (count)
    if (sem_wait(ended) == 0) count--;
}

/* Right after a job one thread is still awake: it is enough for one of the two that come then, which need each other. */
static void a_thread_that_lingers_is_counted_on_by_one_job(void **state) {
  (void)state;
  pthread_barrier_t alone, together;
  sem_t ended;
  pthread_barrier_init(&alone, NULL, 1);
  pthread_barrier_init(&together, NULL, 2);
  sem_init(&ended, 0, 0);
  base_pool *pool = pool_of(4);
  for (int i = 0; i < 500; i++) {
    meeting_job first, one, two;
    submit_meeting(pool, &first, &alone, &ended);
    await_meetings(&ended, 1);
    submit_meeting(pool, &one, &together, &ended);
    submit_meeting(pool, &two, &together, &ended);
    await_meetings(&ended, 2);
  }
  base_pool_close(pool);
  sem_destroy(&ended);
  pthread_barrier_destroy(&alone);
  pthread_barrier_destroy(&together);
}

/* All threads must be there to the end: the lanes wait for each other. */
static void done_may_submit_again_while_closing(void **state) {
  (void)state;
  for (uint32_t threads = 1; threads <= 4; threads++) {
    pthread_barrier_t meeting;
    pthread_barrier_init(&meeting, NULL, threads);
    base_pool *pool = pool_of(threads);
    counting_job job = {.job = {.run = count_lane, .done = count_done, .lanes = threads},
                        .pool = pool,
                        .meeting = &meeting,
                        .again = 500};
    base_pool_submit(pool, &job.job);
    base_pool_close(pool);
    pthread_barrier_destroy(&meeting);
    assert_int_equal(job.dones, 501);
    for (uint32_t lane = 0; lane < threads; lane++) assert_int_equal(job.runs[lane], 501);
  }
}

static void free_job(base_job *job) { free(job); }

static void done_may_free_the_job(void **state) {
  (void)state;
  base_pool *pool = pool_of(2);
  for (int i = 0; i < 200; i++) {
    counting_job *job = calloc(1, sizeof *job);
    job->job = (base_job){.run = count_lane, .done = free_job, .lanes = 2};
    base_pool_submit(pool, &job->job);
  }
  base_pool_close(pool);
  base_pool_close(NULL);
}

static void note_signals(base_job *job, uint32_t lane) {
  counting_job *noted = (counting_job *)job;
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, NULL, &blocked);
  noted->runs[lane] = sigismember(&blocked, SIGINT) && !sigismember(&blocked, SIGSEGV);
}

static void pool_threads_leave_signals_alone(void **state) {
  (void)state;
  base_pool *pool = pool_of(1);
  counting_job job = {.job = {.run = note_signals, .lanes = 1}};
  base_pool_submit(pool, &job.job);
  base_pool_close(pool);
  assert_int_equal(job.runs[0], 1);
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, NULL, &blocked);
  assert_false(sigismember(&blocked, SIGINT));
}

/* ---- number of CPUs ---- */

static int bound_to_one(void) {
  cpu_set_t one, all;
  if (sched_getaffinity(0, sizeof all, &all) != 0) return 0;
  CPU_ZERO(&one);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all)) {
      CPU_SET(cpu, &one);
      break;
    }
  return sched_setaffinity(0, sizeof one, &one) == 0 && base_cpu_count() == 1;
}

/* Makes the kernel answer as on a machine with more CPUs than a cpu_set_t has bits. */
static int with_small_sets_refused(void) {
  uint32_t count = base_cpu_count();
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_getaffinity, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, sizeof(cpu_set_t), 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 0;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 0;
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) != 0 && base_cpu_count() == count;
}

static void cpu_count_respects_affinity(void **state) {
  (void)state;
  assert_true(base_cpu_count() >= 1);
  in_child(bound_to_one);
}

static void cpu_count_works_on_huge_machines(void **state) {
  (void)state;
  in_child(with_small_sets_refused);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(error_keeps_the_sentence),
      cmocka_unit_test(error_is_optional),
      cmocka_unit_test(error_copies_all_texts),
      cmocka_unit_test(error_ends_at_64_kib),
      cmocka_unit_test(error_survives_without_memory),
      cmocka_unit_test(each_code_has_a_word),
      cmocka_unit_test(log_writes_lines),
      cmocka_unit_test(memory_comes_from_the_allocator),
      cmocka_unit_test(memory_refuses_overflow),
      cmocka_unit_test(pages_are_zero_and_go_back),
      cmocka_unit_test(pages_may_be_out),
      cmocka_unit_test(extents_respect_the_file_limit),
      cmocka_unit_test(extents_are_aligned_and_disjoint),
      cmocka_unit_test(small_extents_share_pages),
      cmocka_unit_test(large_extents_give_pages_back),
      cmocka_unit_test(untouched_memory_is_not_committed),
      cmocka_unit_test(a_request_may_exceed_a_segment),
      cmocka_unit_test(segment_and_offset_identify_bytes),
      cmocka_unit_test(refusal_names_the_bytes),
      cmocka_unit_test(extents_from_many_threads),
      cmocka_unit_test(each_lane_runs_once),
      cmocka_unit_test(lanes_run_at_the_same_time),
      cmocka_unit_test(two_jobs_run_at_the_same_time),
      cmocka_unit_test(sleeping_threads_wake_for_each_lane),
      cmocka_unit_test(a_thread_that_lingers_is_counted_on_by_one_job),
      cmocka_unit_test(done_may_submit_again_while_closing),
      cmocka_unit_test(done_may_free_the_job),
      cmocka_unit_test(pool_threads_leave_signals_alone),
      cmocka_unit_test(cpu_count_respects_affinity),
      cmocka_unit_test(cpu_count_works_on_huge_machines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
