#include "base/pool.h"
#include "base/memory.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct base_pool {
  pthread_mutex_t lock;   /* guards what follows and the private fields of the jobs in the pool */
  pthread_cond_t work;    /* a lane is waiting, or the pool is to end */
  base_job *first, *last; /* jobs with lanes that have not started */
  uint32_t active;        /* threads inside a job */
  uint32_t threads;       /* that run */
  int closing;
  pthread_t handles[];
};

static void job_push(base_pool *pool, base_job *job) {
  job->next = NULL;
  if (pool->first)
    pool->last->next = job;
  else
    pool->first = job;
  pool->last = job;
}

/* The next lane that waits for a thread. A job without lanes counts as one that does nothing. */
static base_job *lane_take(base_pool *pool, uint32_t *lane) {
  base_job *job = pool->first;
  *lane = job->started++;
  if (job->started >= job->lanes) pool->first = job->next;
  return job;
}

/* Runs one lane; called and left with the lock held. */
static void lane_run(base_pool *pool) {
  uint32_t lane;
  base_job *job = lane_take(pool, &lane);
  pool->active++;
  pthread_mutex_unlock(&pool->lock);
  if (lane < job->lanes) job->run(job, lane);
  pthread_mutex_lock(&pool->lock);
  int last = ++job->ended >= job->lanes;
  if (last && job->done) {
    pthread_mutex_unlock(&pool->lock);
    job->done(job); /* the job may be gone, or queued again, from here on */
    pthread_mutex_lock(&pool->lock);
  }
  pool->active--;
  if (pool->closing && pool->active == 0) pthread_cond_broadcast(&pool->work);
}

static void *thread_main(void *argument) {
  base_pool *pool = argument;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    if (pool->first)
      lane_run(pool);
    else if (pool->closing && pool->active == 0)
      break;
    else
      pthread_cond_wait(&pool->work, &pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* Signals that are sent to the process are for its main thread; those that a kernel raises itself stay. */
static void block_signals(sigset_t *before) {
  static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t blocked;
  sigfillset(&blocked);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&blocked, own[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, before);
}

/* Starts thread number pool->threads; 0 or an errno. */
static int thread_start(base_pool *pool, const char *name) {
  pthread_t *handle = &pool->handles[pool->threads];
  int failure = pthread_create(handle, NULL, thread_main, pool);
  if (failure) return failure;
  char text[16];
  snprintf(text, sizeof text, "%.10s-%u", name, pool->threads % 1000);
  pthread_setname_np(*handle, text);
  pool->threads++;
  return 0;
}

baton_status base_pool_open(uint32_t threads, const char *name, base_pool **out, baton_error *err) {
  *out = NULL;
  if (threads == 0) threads = base_cpu_count();
  base_pool *pool = base_calloc(1, sizeof *pool + threads * sizeof pool->handles[0]);
  if (!pool) return base_out_of_memory(err, "a thread pool");
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->work, NULL);
  sigset_t before;
  block_signals(&before);
  int failure = 0;
  while (!failure && pool->threads < threads) failure = thread_start(pool, name);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure) {
    baton_error_set(err, BATON_RESOURCE_LIMIT, "thread %u of %u of pool %s could not start",
                    pool->threads + 1, threads, name);
    baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
    base_pool_close(pool);
    return BATON_RESOURCE_LIMIT;
  }
  *out = pool;
  return BATON_OK;
}

uint32_t base_pool_threads(const base_pool *pool) { return pool->threads; }

void base_pool_submit(base_pool *pool, base_job *job) {
  job->started = job->ended = 0;
  pthread_mutex_lock(&pool->lock);
  job_push(pool, job);
  if (job->lanes > 1)
    pthread_cond_broadcast(&pool->work);
  else
    pthread_cond_signal(&pool->work);
  pthread_mutex_unlock(&pool->lock);
}

void base_pool_close(base_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->closing = 1;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (uint32_t i = 0; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->lock);
  base_free(pool);
}
