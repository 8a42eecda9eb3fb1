#include "base/pool.h"
#include "base/atomic.h"
#include "base/futex.h"
#include "base/memory.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
  TRIES = 1000 /* for the lock, which is held for a few instructions, before sleeping on it */
};

struct base_pool {
  pthread_mutex_t lock;    /* guards what follows and the private fields of the jobs in the pool */
  pthread_cond_t work;     /* a lane is waiting, or the pool is to end */
  base_job *first, *last;  /* jobs with lanes that have not started */
  uint32_t active;         /* threads inside a job */
  uint32_t threads;        /* that run */
  uint32_t lingering;      /* threads that look for a job without the lock … */
  uint32_t most_lingering; /* … how many may at once: they leave a CPU to others … */
  uint32_t expected;       /* … and how many a job in the queue counts on */
  int closing;
  _Atomic uint32_t news; /* counts jobs, and the closing */
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

static void lock_awake(base_pool *pool) {
  for (int i = 0; i < TRIES; i++) {
    if (pthread_mutex_trylock(&pool->lock) == 0) return;
    base_relax();
  }
  pthread_mutex_lock(&pool->lock);
}

/* A thread that has ended a lane looks for the next one before it sleeps: jobs that come soon after each other find a thread that is awake. Called and left with the lock held. */
static void linger(base_pool *pool) {
  uint32_t seen = atomic_load_explicit(&pool->news, memory_order_relaxed);
  pool->lingering++;
  pthread_mutex_unlock(&pool->lock);
  base_futex_look(&pool->news, seen, BASE_LOOK);
  lock_awake(pool);
  pool->lingering--;
  if (pool->expected) pool->expected--;
}

static void *thread_main(void *argument) {
  base_pool *pool = argument;
  int worked = 0;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    if (pool->first) {
      lane_run(pool);
      worked = 1;
    } else if (pool->closing && pool->active == 0) {
      break;
    } else if (worked && !pool->closing && pool->lingering < pool->most_lingering) {
      linger(pool);
      worked = 0;
    } else {
      pthread_cond_wait(&pool->work, &pool->lock);
    }
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
  uint32_t cpus = base_cpu_count();
  if (threads == 0) threads = cpus;
  base_pool *pool = base_calloc(1, sizeof *pool + threads * sizeof pool->handles[0]);
  if (!pool) return base_out_of_memory(err, "a thread pool");
  pool->most_lingering = cpus - 1;
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
  lock_awake(pool);
  job_push(pool, job);
  uint32_t needs = job->lanes ? job->lanes : 1, awake = pool->lingering - pool->expected;
  pool->expected += needs < awake ? needs : awake;
  if (needs > awake + 1)
    pthread_cond_broadcast(&pool->work);
  else if (needs > awake)
    pthread_cond_signal(&pool->work);
  atomic_fetch_add_explicit(&pool->news, 1, memory_order_relaxed);
  pthread_mutex_unlock(&pool->lock);
}

void base_pool_close(base_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  pool->closing = 1;
  atomic_fetch_add_explicit(&pool->news, 1, memory_order_relaxed);
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (uint32_t i = 0; i < pool->threads; i++) pthread_join(pool->handles[i], NULL);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->lock);
  base_free(pool);
}
