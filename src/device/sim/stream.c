#include "base/memory.h"
#include "device/sim/sim.h"
#include <errno.h>
#include <time.h>

struct device_stream {
  base_job job; /* first: of the launch that runs, one at a time */
  sim_device *sim;
  const char *name;
  device_launch *running; /* changes only while no lane runs */
  pthread_mutex_t lock;   /* guards what follows */
  pthread_cond_t idle;
  device_launch *first, *last; /* that wait */
  int busy;                    /* a launch runs or ends; its last thread takes the next one */
  int closing;
};

/* The device whose launch this thread is in. */
static _Thread_local const sim_device *inside;

static void begin(device_stream *stream, device_launch *launch) {
  stream->running = launch;
  stream->job.lanes = launch->lanes;
  base_pool_submit(stream->sim->pool, &stream->job);
}

static void run_lane(base_job *job, uint32_t lane) {
  const device_stream *stream = (device_stream *)job;
  inside = stream->sim;
  stream->running->run(stream->running->context, lane);
  inside = NULL;
}

static device_launch *pop(device_stream *stream) {
  device_launch *launch = stream->first;
  if (launch) stream->first = launch->next;
  return launch;
}

/* On the thread that ended the last lane. */
static void end(base_job *job) {
  device_stream *stream = (device_stream *)job;
  device_launch *launch = stream->running;
  const sim_device *outer = inside;
  inside = stream->sim;
  if (launch->done) launch->done(launch->context, BATON_OK); /* the launch may be gone from here on */
  inside = outer;
  pthread_mutex_lock(&stream->lock);
  device_launch *next = pop(stream);
  if (!next) {
    stream->busy = 0;
    pthread_cond_broadcast(&stream->idle);
  }
  pthread_mutex_unlock(&stream->lock); /* without a next launch the stream may be gone from here on */
  if (next) begin(stream, next);
}

baton_status sim_stream_create(device *dev, const char *name, device_stream **out, baton_error *err) {
  device_stream *stream = base_calloc(1, sizeof *stream);
  if (!stream) return base_out_of_memory(err, "a stream");
  stream->job = (base_job){.run = run_lane, .done = end};
  stream->sim = (sim_device *)dev;
  stream->name = name;
  pthread_mutex_init(&stream->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&stream->idle, &monotonic);
  pthread_condattr_destroy(&monotonic);
  *out = stream;
  return BATON_OK;
}

baton_status sim_stream_destroy(device *dev, device_stream *stream, baton_error *err) {
  (void)err;
  pthread_mutex_lock(&stream->lock);
  device_launch *waiting = stream->first;
  stream->first = NULL;
  stream->closing = 1;
  int busy = stream->busy;
  pthread_mutex_unlock(&stream->lock);
  while (waiting) {
    device_launch *launch = waiting;
    waiting = launch->next;
    if (launch->done) launch->done(launch->context, BATON_CANCELLED);
  }
  if (busy) {
    dev->abandoned++;
    return BATON_OK;
  }
  pthread_cond_destroy(&stream->idle);
  pthread_mutex_destroy(&stream->lock);
  base_free(stream);
  return BATON_OK;
}

/* Waits with stream->lock held; 0 or ETIMEDOUT. */
static int wait_idle(device_stream *stream, int64_t deadline) {
  struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
  int failure = 0;
  while (stream->busy && !failure)
    failure = deadline == INT64_MAX ? pthread_cond_wait(&stream->idle, &stream->lock)
                                    : pthread_cond_timedwait(&stream->idle, &stream->lock, &until);
  return stream->busy ? failure : 0;
}

baton_status sim_stream_sync(device *dev, device_stream *stream, int64_t deadline, baton_error *err) {
  if (inside == (sim_device *)dev)
    return baton_error_set(err, BATON_STATE, "a launch of device %u waits for stream %s of its own device",
                           dev->id, stream->name);
  pthread_mutex_lock(&stream->lock);
  int failure = wait_idle(stream, deadline);
  pthread_mutex_unlock(&stream->lock);
  return failure ? BATON_STREAM_TIMEOUT : BATON_OK;
}

baton_status sim_launch(device *dev, device_stream *stream, device_launch *launch, baton_error *err) {
  pthread_mutex_lock(&stream->lock);
  int closing = stream->closing, starts = !closing && !stream->busy;
  if (starts) stream->busy = 1;
  launch->here = starts && launch->here && launch->lanes == 1;
  int here = launch->here;
  if (!closing && !starts) {
    launch->next = NULL;
    if (stream->first)
      stream->last->next = launch;
    else
      stream->first = launch;
    stream->last = launch;
  }
  pthread_mutex_unlock(&stream->lock);
  if (closing) return baton_error_set(err, BATON_CLOSED, "device %u is being closed", dev->id);
  if (starts && !here) begin(stream, launch);
  return BATON_OK;
}

void sim_execute(device *dev, device_stream *stream, device_launch *launch) {
  const sim_device *outer = inside;
  inside = (sim_device *)dev;
  stream->running = launch;
  launch->run(launch->context, 0);
  inside = outer;
  end(&stream->job);
}
