#include "chip/executor/watch.h"
#include "base/clock.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOKS = 8 }; /* in the time that a run is given */

static const int64_t longest_tick = 1000000000, shortest_tick = 1000000;

static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER; /* of starting and ending the thread */
static uint32_t users;
static pthread_t thread;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static pthread_cond_t changed;
static chip_watched *first;
static int64_t next_look; /* base_now; INT64_MAX: asleep until something begins */
static int closing;

static int64_t tick_of(const chip_watched *watched) {
  int64_t tick = watched->timeout / LOOKS;
  return tick < shortest_tick ? shortest_tick : tick > longest_tick ? longest_tick : tick;
}

/* How long the thread has been ready to run without a CPU, in ns; 0 where the system does not say. */
static int64_t queued_time(int32_t number) {
  char path[64], text[96];
  snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", (int)number);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return 0;
  text[length] = 0;
  const char *second = strchr(text, ' '); /* time on a CPU, time in the queue, times */
  return second ? strtoll(second, NULL, 10) : 0;
}

static int64_t queued_of(const chip_pulse *pulse) {
  int32_t number = atomic_load_explicit(&pulse->thread, memory_order_relaxed);
  return number ? queued_time(number) : 0;
}

/* A task has begun on the lane and not ended. */
static int is_occupied(const chip_pulse *pulse) {
  return atomic_load_explicit(&pulse->begun, memory_order_relaxed) !=
         atomic_load_explicit(&pulse->ended, memory_order_relaxed);
}

static uint64_t moves_of_pulse(const chip_pulse *pulse) {
  return atomic_load_explicit(&pulse->begun, memory_order_relaxed) +
         atomic_load_explicit(&pulse->ended, memory_order_relaxed);
}

/* Something runs on the lane. Instances that wait on fibers run only if they have had a turn since the last look: the owner
** of the engine, busy in a graph function, gives them none. */
static int runs(const chip_lane *lane, uint64_t *seen_turns) {
  const chip_pulse *pulse = &lane->pulse;
  uint64_t turns = atomic_load_explicit(&lane->turns, memory_order_relaxed);
  uint64_t ended = atomic_load_explicit(&pulse->ended, memory_order_relaxed);
  uint64_t open = atomic_load_explicit(&pulse->begun, memory_order_relaxed) - ended;
  int had_turn = turns % 2 || turns != *seen_turns;
  *seen_turns = turns;
  return open && (had_turn || open > atomic_load_explicit(&lane->held, memory_order_relaxed));
}

static uint64_t moves_of(chip_watched *watched, int *occupied) {
  const chip_executor *executor = watched->executor;
  uint64_t moves = 0;
  *occupied = 0;
  for (uint32_t i = 0; i < executor->count; i++) {
    moves += moves_of_pulse(&executor->lanes[i].pulse);
    *occupied |= runs(&executor->lanes[i], &watched->turns[i]);
  }
  return moves;
}

/* The longest time that a thread of the run could not use since the last progress; of those with a task, or of all. */
static int64_t time_in_queue(const chip_watched *watched, int all) {
  int64_t longest = 0;
  for (uint32_t i = 0; i < watched->executor->count; i++) {
    const chip_pulse *pulse = &watched->executor->lanes[i].pulse;
    int64_t queued = all || is_occupied(pulse) ? queued_of(pulse) - watched->queued[i] : 0;
    if (queued > longest) longest = queued;
  }
  return longest;
}

static void expire(const chip_watched *watched) {
  chip_executor *executor = watched->executor;
  atomic_store_explicit(&executor->stalled, watched->stalled, memory_order_relaxed);
  atomic_store_explicit(&executor->expired, 1, memory_order_relaxed);
  for (uint32_t i = 0; i < executor->count; i++) {
    chip_pulse *pulse = &executor->lanes[i].pulse;
    if (is_occupied(pulse))
      chip_guard_condemn(pulse, atomic_load_explicit(&pulse->begun, memory_order_relaxed));
  }
}

static void report_stream(const chip_watched *watched) {
  const chip_failures *failures = &watched->executor->failures;
  double after = (double)watched->still * 1e-6;
  baton_error failure = {0};
  baton_error_set(&failure, BATON_STREAM_TIMEOUT,
                  "the stream made no progress for %.0f ms: no task began or ended", after);
  baton_error_text(&failure, BATON_FIELD_HINT,
                   "raise timeout.stream in config if the orchestration is only slow");
  failure.after_ms = after;
  failure.known |= BATON_KNOWN_AFTER_MS;
  failures->report(failures->context, &failure);
  baton_error_clear(&failure);
}

/* Repeated at every look until the run ends: an orchestration that is inside a call just now is left later. */
static void expire_stream(const chip_watched *watched) {
  report_stream(watched);
  expire(watched);
  chip_guard_condemn(&watched->executor->control, CHIP_CONDEMN_ALL);
}

static void expire_orchestration(const chip_watched *watched) {
  chip_executor *executor = watched->executor;
  atomic_store_explicit(&executor->silent, watched->silent, memory_order_relaxed);
  chip_guard_condemn(&executor->control,
                     atomic_load_explicit(&executor->control.begun, memory_order_relaxed));
}

static void begin_anew(chip_watched *watched, int all) {
  for (uint32_t i = 0; i < watched->executor->count; i++) {
    const chip_pulse *pulse = &watched->executor->lanes[i].pulse;
    if (all || is_occupied(pulse)) watched->queued[i] = queued_of(pulse);
  }
}

static int is_over(const chip_watched *watched, int64_t still, int64_t limit, int all) {
  return still >= limit && still - time_in_queue(watched, all) >= limit;
}

/* One that waits inside a call waits for tasks, and they are looked at. The time for the stream is the orchestration's if
** there is one. */
static void look_at_orchestration(chip_watched *watched, int64_t elapsed, int moved) {
  const chip_pulse *control = &watched->executor->control;
  uint64_t calls = moves_of_pulse(control);
  if (watched->stream || !is_occupied(control)) return;
  if (moved || calls != watched->calls) {
    watched->calls = calls;
    watched->silent = 0;
    watched->control_queued = queued_of(control);
    return;
  }
  watched->silent += elapsed;
  int64_t queued = queued_of(control) - watched->control_queued;
  if (watched->silent >= watched->timeout && watched->silent - queued >= watched->timeout)
    expire_orchestration(watched);
}

/* `elapsed` ns after the last look. */
static void look(chip_watched *watched, int64_t elapsed) {
  int occupied;
  uint64_t moves = moves_of(watched, &occupied);
  look_at_orchestration(watched, elapsed, moves != watched->moves);
  if (moves != watched->moves) {
    watched->moves = moves;
    watched->stalled = watched->still = 0;
    begin_anew(watched, watched->stream != 0);
    return;
  }
  watched->still += elapsed;
  if (occupied) {
    watched->stalled += elapsed;
    if (is_over(watched, watched->stalled, watched->timeout, 0)) expire(watched);
  }
  if (watched->stream && is_over(watched, watched->still, watched->stream, 1)) expire_stream(watched);
}

/* Looks at every run; returns when to look again. The lock is held. A process that was stopped has not
** looked for long: such a time counts as two ticks. */
static int64_t look_at_all(int64_t last) {
  int64_t now = base_now(), next = INT64_MAX;
  for (chip_watched *watched = first; watched; watched = watched->next) {
    int64_t tick = tick_of(watched), elapsed = now - last;
    look(watched, elapsed > 2 * tick ? 2 * tick : elapsed);
    if (now + tick < next) next = now + tick;
  }
  return next;
}

static void sleep_until(int64_t moment) {
  struct timespec until = {.tv_sec = moment / 1000000000, .tv_nsec = moment % 1000000000};
  if (moment == INT64_MAX)
    pthread_cond_wait(&changed, &lock);
  else
    pthread_cond_timedwait(&changed, &lock, &until);
}

static void *watch(void *unused) {
  (void)unused;
  int64_t last = base_now();
  pthread_mutex_lock(&lock);
  while (!closing) {
    next_look = look_at_all(last);
    last = base_now();
    sleep_until(next_look);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* The thread takes no signals: they are for the program's own. */
static int start(void) {
  sigset_t all, before;
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  closing = 0;
  next_look = INT64_MAX;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failure = pthread_create(&thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure)
    pthread_cond_destroy(&changed);
  else
    pthread_setname_np(thread, "watch");
  return failure;
}

baton_status chip_watch_open(baton_error *err) {
  pthread_mutex_lock(&users_lock);
  int failure = users == 0 ? start() : 0;
  if (!failure) users++;
  pthread_mutex_unlock(&users_lock);
  if (!failure) return BATON_OK;
  baton_error_set(err, BATON_RESOURCE_LIMIT, "the thread that watches over kernels could not start");
  baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  return BATON_RESOURCE_LIMIT;
}

static void stop(void) {
  pthread_mutex_lock(&lock);
  closing = 1;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
  pthread_join(thread, NULL);
  pthread_cond_destroy(&changed);
}

void chip_watch_close(void) {
  pthread_mutex_lock(&users_lock);
  if (--users == 0) stop();
  pthread_mutex_unlock(&users_lock);
}

void chip_watch_begin(chip_watched *watched, int64_t timeout, int64_t stream) {
  watched->timeout = timeout;
  watched->stream = stream;
  watched->stalled = watched->still = watched->silent = 0;
  watched->moves = watched->calls = UINT64_MAX; /* the first look finds progress */
  pthread_mutex_lock(&lock);
  watched->next = first;
  first = watched;
  int64_t wanted = base_now() + tick_of(watched);
  if (wanted < next_look) pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}

void chip_watch_end(chip_watched *watched) {
  pthread_mutex_lock(&lock);
  chip_watched **link = &first;
  while (*link != watched) link = &(*link)->next;
  *link = watched->next;
  pthread_mutex_unlock(&lock);
}
