/* Loops over the elements of several views at once, and parts of them on several threads. */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/pool.h"
#include "tensor/tensor.h"
#include <pthread.h>

/* --- Several threads ------------------------------------------------------------------------------------ */

enum {
  PARALLEL_ELEMENTS = 1 << 18,
  PARALLEL_PARTS = 64
}; /* below, waking a thread costs more than it brings */

/* Threads for large tensors, started at the first one. NULL where threads are not to be had: then one is
** enough. */
static base_pool *parallel_pool;
static pthread_once_t parallel_once = PTHREAD_ONCE_INIT;

static void parallel_open(void) {
  uint32_t threads = base_cpu_count();
  if (threads < 2 || base_pool_open(threads - 1, "tensor", &parallel_pool, NULL) != BATON_OK)
    parallel_pool = NULL;
}

__attribute__((destructor)) static void parallel_close(void) {
  base_pool_close(parallel_pool);
  parallel_pool = NULL;
}

typedef struct parallel_job {
  base_job job; /* first: base_job points at it */
  tensor_part work;
  const void *context;
  int64_t count, parts;
  _Atomic int64_t next;
  _Atomic uint32_t over;
} parallel_job;

static void parallel_work(parallel_job *job) {
  for (;;) {
    int64_t part = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
    if (part >= job->parts) return;
    int64_t each = job->count / job->parts;
    job->work(job->context, part * each, part + 1 == job->parts ? job->count : (part + 1) * each);
  }
}

static void parallel_run(base_job *job, uint32_t lane) {
  (void)lane;
  parallel_work((parallel_job *)(void *)job);
}

static void parallel_done(base_job *job) {
  parallel_job *done = (parallel_job *)(void *)job;
  atomic_store_explicit(&done->over, 1, memory_order_release);
  base_futex_wake(&done->over, 1);
}

void tensor_parallel(int64_t count, tensor_part work, const void *context) {
  if (count >= PARALLEL_ELEMENTS) pthread_once(&parallel_once, parallel_open);
  if (count < PARALLEL_ELEMENTS || !parallel_pool) {
    if (count > 0) work(context, 0, count);
    return;
  }
  parallel_job job = {
      .job = {.run = parallel_run, .done = parallel_done, .lanes = base_pool_threads(parallel_pool)},
      .work = work,
      .context = context,
      .count = count,
      .parts = PARALLEL_PARTS};
  base_pool_submit(parallel_pool, &job.job);
  parallel_work(&job);
  while (!atomic_load_explicit(&job.over, memory_order_acquire)) base_futex_wait(&job.over, 0, INT64_MAX);
}

/* --- Loops ---------------------------------------------------------------------------------------------- */

tensor_loop tensor_loop_over(int ndim, const int64_t *shape) {
  tensor_loop loop = {.ndim = ndim};
  for (int d = 0; d < ndim; d++) loop.shape[d] = shape[d];
  return loop;
}

void tensor_loop_add(tensor_loop *loop, const baton_view *view) {
  int operand = loop->operands++, missing = loop->ndim - view->ndim;
  int64_t size = (int64_t)baton_dtype_size((baton_dtype)view->dtype);
  loop->data[operand] = view->data;
  for (int d = 0; d < loop->ndim; d++)
    loop->strides[operand][d] =
        d < missing || view->shape[d - missing] == 1 ? 0 : view->strides[d - missing] * size;
}

/* True if stepping over the end of dimension d+1 is one step of dimension d, for every operand. */
static int joinable(const tensor_loop *loop, int d) {
  for (int i = 0; i < loop->operands; i++)
    if (loop->strides[i][d] != loop->strides[i][d + 1] * loop->shape[d + 1]) return 0;
  return 1;
}

static void remove_dim(tensor_loop *loop, int d) {
  for (loop->ndim--; d < loop->ndim; d++) {
    loop->shape[d] = loop->shape[d + 1];
    for (int i = 0; i < loop->operands; i++) loop->strides[i][d] = loop->strides[i][d + 1];
  }
}

/* Drops dimensions of size 1 and joins neighbours, so that rows get long. */
static void simplify(tensor_loop *loop) {
  for (int d = loop->ndim - 1; d >= 0; d--)
    if (loop->shape[d] == 1) remove_dim(loop, d);
  for (int d = loop->ndim - 2; d >= 0; d--) {
    if (!joinable(loop, d)) continue;
    loop->shape[d + 1] *= loop->shape[d];
    remove_dim(loop, d);
  }
}

typedef struct loop_run {
  const tensor_loop *loop;
  tensor_row row;
  const void *context;
  int64_t line; /* elements of the last dimension */
} loop_run;

/* The addresses of line `line` and of element `column` in it. */
static void locate(const tensor_loop *loop, int64_t line, int64_t column, char **data) {
  int last = loop->ndim - 1;
  for (int i = 0; i < loop->operands; i++)
    data[i] = loop->data[i] + (last < 0 ? 0 : column * loop->strides[i][last]);
  for (int d = last - 1; d >= 0; d--) {
    int64_t at = line % loop->shape[d];
    line /= loop->shape[d];
    for (int i = 0; i < loop->operands; i++) data[i] += at * loop->strides[i][d];
  }
}

static void run_elements(const void *context, int64_t first, int64_t last) {
  const loop_run *run = context;
  const tensor_loop *loop = run->loop;
  int64_t strides[TENSOR_OPERANDS] = {0};
  for (int i = 0; i < loop->operands && loop->ndim > 0; i++) strides[i] = loop->strides[i][loop->ndim - 1];
  while (first < last) {
    char *data[TENSOR_OPERANDS];
    int64_t column = first % run->line, count = run->line - column;
    if (count > last - first) count = last - first;
    locate(loop, first / run->line, column, data);
    run->row(run->context, data, strides, count);
    first += count;
  }
}

static int64_t loop_numel(const tensor_loop *loop) {
  int64_t numel = 1;
  for (int d = 0; d < loop->ndim; d++) numel *= loop->shape[d];
  return numel;
}

void tensor_loop_run(tensor_loop *loop, tensor_row row, const void *context) {
  int64_t numel = loop_numel(loop);
  if (numel == 0) return;
  simplify(loop);
  loop_run run = {loop, row, context, loop->ndim ? loop->shape[loop->ndim - 1] : 1};
  tensor_parallel(numel, run_elements, &run);
}

void tensor_loop_lines(const tensor_loop *loop, tensor_row row, const void *context) {
  int64_t numel = loop_numel(loop);
  loop_run run = {loop, row, context, loop->ndim ? loop->shape[loop->ndim - 1] : 1};
  if (numel > 0) run_elements(&run, 0, numel);
}

/* --- Broadcasting --------------------------------------------------------------------------------------- */

baton_status tensor_broadcast(const char *what, const baton_view *a, const baton_view *b, baton_view *out,
                              baton_error *err) {
  const baton_view *longer = a->ndim >= b->ndim ? a : b, *other = longer == a ? b : a;
  int missing = longer->ndim - other->ndim;
  *out = *longer;
  for (int d = missing; d < longer->ndim; d++) {
    int64_t size = other->shape[d - missing];
    if (longer->shape[d] == 1)
      out->shape[d] = size;
    else if (size != 1 && size != longer->shape[d])
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: %s and %s do not broadcast", what,
                             tensor_name_of(a).text, tensor_name_of(b).text);
  }
  return BATON_OK;
}

/* --- Lines ---------------------------------------------------------------------------------------------- */

tensor_lines tensor_lines_of(const baton_view *view, int dim) {
  tensor_lines lines = {1, 1, 1};
  for (int d = 0; d < view->ndim; d++)
    *(dim == BATON_ALL_DIMS || d == dim ? &lines.length
      : d < dim                         ? &lines.before
                                        : &lines.after) *= view->shape[d];
  return lines;
}
