/* base/pool.h - a pool of threads that runs jobs of several lanes. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <baton/error.h>

typedef struct base_pool base_pool;

/* CPUs that this process may use, at least 1: what its affinity allows, which the cpuset of its cgroup limits
** too (a quota of CPU time is not looked at), on machines of any size. Some 5 µs. Any thread. */
uint32_t base_cpu_count(void);

/* `run` is called once for each lane 0 … lanes-1, on pool threads, possibly at the same time; `done` once, on
** the thread that ended the last lane. The job belongs to the caller and must live until `done` has been
** called; `done` may free it or submit it again. A lane that cannot get a thread yet waits in the queue. */
typedef struct base_job base_job;
struct base_job {
  void (*run)(base_job *job, uint32_t lane);
  void (*done)(base_job *job); /* may be NULL */
  uint32_t lanes;
  base_job *next;          /* private to the pool */
  uint32_t started, ended; /* private to the pool */
};

/* Starts `threads` threads (0: base_cpu_count()), named after `name`. They sleep while there is nothing to do, but for
** the first 20 µs, in which they look for more if there is a CPU for that, and block all signals but those that their own code raises. `resource_limit` when the machine refuses a
** thread. */
baton_status base_pool_open(uint32_t threads, const char *name, base_pool **out, baton_error *err);
uint32_t base_pool_threads(const base_pool *pool);

/* Queues a job behind the earlier ones. Never blocks, never fails. Any thread. */
void base_pool_submit(base_pool *pool, base_job *job);

/* Waits for all jobs, ends the threads, frees; not from a job of this pool. NULL is ignored. */
void base_pool_close(base_pool *pool);

#endif
