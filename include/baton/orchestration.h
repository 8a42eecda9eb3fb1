/* baton/orchestration.h - build the tasks of one run.
**
** An orchestration is a sequential program: it submits tasks over views of device memory, and Baton infers from them
** what must wait for what. It sees device memory only, keeps no state between calls and needs no libc. After a failure
** every call is a no-op that returns zeros; the run ends with the first failure. C11 and C++17. */
#ifndef BATON_ORCHESTRATION_H
#define BATON_ORCHESTRATION_H

#include <baton/kernel.h>

typedef struct baton_orch baton_orch;

/* A task of this run: valid until the run ends, in any scope. All zero: none. */
typedef struct baton_task {
  uint32_t slot, generation;
} baton_task;

typedef enum baton_tag {
  BATON_UNTAGGED,
  BATON_INPUT,
  BATON_OUTPUT,
  BATON_INOUT,
  BATON_NO_DEP,
  BATON_SCALAR
} baton_tag;

typedef enum baton_core { BATON_AIC = 1, BATON_AIV = 2 } baton_core;

/* One argument of a submit: a tagged view, or a scalar. */
typedef struct baton_arg {
  baton_tag tag;
  baton_dtype dtype; /* scalars */
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } scalar;
  baton_view view; /* tensors; of a scalar only `argument`: see baton_scalar_param */
} baton_arg;

static inline baton_arg baton_tagged(baton_tag tag, baton_view view) {
  baton_arg arg = BATON_ZERO;
  arg.tag = tag;
  arg.dtype = (baton_dtype)view.dtype;
  arg.view = view;
  return arg;
}
/* Reads all of it. */
static inline baton_arg baton_input(baton_view view) { return baton_tagged(BATON_INPUT, view); }
/* Overwrites all of it, reads nothing. */
static inline baton_arg baton_output(baton_view view) { return baton_tagged(BATON_OUTPUT, view); }
/* Reads and writes. */
static inline baton_arg baton_inout(baton_view view) { return baton_tagged(BATON_INOUT, view); }
/* No edges from or to this argument. */
static inline baton_arg baton_no_dep(baton_view view) { return baton_tagged(BATON_NO_DEP, view); }

static inline baton_arg baton_scalar_of(baton_dtype dtype) {
  baton_arg arg = BATON_ZERO;
  arg.tag = BATON_SCALAR;
  arg.dtype = dtype;
  return arg;
}
static inline baton_arg baton_f64(double value) {
  baton_arg arg = baton_scalar_of(BATON_F64);
  arg.scalar.f64 = value;
  return arg;
}
static inline baton_arg baton_f32(float value) {
  baton_arg arg = baton_f64((double)value);
  arg.dtype = BATON_F32;
  return arg;
}
static inline baton_arg baton_i64(int64_t value) {
  baton_arg arg = baton_scalar_of(BATON_I64);
  arg.scalar.i64 = value;
  return arg;
}
static inline baton_arg baton_u64(uint64_t value) {
  baton_arg arg = baton_scalar_of(BATON_U64);
  arg.scalar.u64 = value;
  return arg;
}

typedef enum baton_compare {
  BATON_EQUAL,
  BATON_NOT_EQUAL,
  BATON_LESS,
  BATON_LESS_EQUAL,
  BATON_GREATER,
  BATON_GREATER_EQUAL
} baton_compare;

/* Whether a task is run at all: one element compared with `value` when the task is ready. If that is false its outputs stay
** as they are, and what depends on it goes on. The task reads the element: it waits for whoever writes it. */
typedef struct baton_predicate {
  baton_view tensor;    /* of an integer type or bool, whose elements are 0 and 1 */
  const int64_t *index; /* from 0, one for each dimension; NULL: the first element */
  baton_compare op;
  int64_t value;
} baton_predicate;

enum { BATON_TIMING_SLOTS = 16, BATON_HIGHEST_PRIORITY = 100 };

/* As timing_slot of a task: 0 ... 15. */
#define BATON_TIMING_SLOT(slot) ((slot) + 1u)

/* Zero means default. What is not for a task without a kernel: blocks, sync_start, predicate, timing_slot. */
typedef struct baton_task_options {
  const baton_task *deps; /* edges besides the inferred ones: to tasks of this run, in any number */
  uint32_t ndeps;
  const char *name; /* copied; NULL: the kernel's */
  /* Instances of the task, each on a core (a mixed task: a cluster) of its own while it runs; more than there are cores run
  ** one after the other, and instances that may wait begin in the order of their numbers. For what depends on it it is one task, which fails if an instance does; 0: 1. */
  uint32_t blocks;
  /* All instances are on their cores before the first one runs, and may wait for each other. */
  int sync_start;
  const baton_predicate *predicate; /* NULL: none */
  uint32_t timing_slot;             /* BATON_TIMING_SLOT(…): where its time is added up; 0: nowhere */
  int32_t priority; /* -100 … 100: a CPU that looks for a ready task takes one of the highest priority */
} baton_task_options;

/* One kernel of a mixed task and its arguments. */
typedef struct baton_lane {
  int kernel; /* as from baton_kernel; negative: none */
  uint32_t nargs;
  const baton_arg *args;
} baton_lane;

typedef enum baton_scope_mode { BATON_SCOPE_AUTO, BATON_SCOPE_MANUAL } baton_scope_mode;

/* A sub-graph that is built once. `build` submits its tasks over `args` and over what it makes itself, and hands out `nmade`
** tensors in `made`; it may be called or not, so it does nothing else. It sees the scalars of `args` as opaque values. */
typedef struct baton_sub_graph {
  const char *key; /* tells it from others of the program */
  void (*build)(baton_orch *o, const baton_arg *args, uint32_t nargs, baton_view *made, void *context);
  void *context;
  uint32_t nmade;
} baton_sub_graph;

/* The calls of an orchestration; orchestration.h wraps each in a function of the same name. */
typedef struct baton_orch_calls {
  int (*kernel)(baton_orch *o, const char *name);
  baton_view (*param)(baton_orch *o, const baton_args *args, uint32_t i);
  baton_task (*submit)(baton_orch *o, baton_core core, int kernel, const baton_arg *args, uint32_t nargs,
                       const baton_task_options *options);
  baton_task (*mix)(baton_orch *o, const baton_lane *lanes, const baton_task_options *options);
  baton_task (*dummy)(baton_orch *o, const baton_arg *args, uint32_t nargs,
                      const baton_task_options *options);
  baton_view (*alloc)(baton_orch *o, baton_dtype dtype, int ndim, const int64_t *shape);
  int (*get)(baton_orch *o, const baton_view *view, const int64_t *index, baton_arg *out);
  void (*set)(baton_orch *o, const baton_view *view, const int64_t *index, const baton_arg *value);
  void (*fill)(baton_orch *o, const baton_view *view, const baton_arg *value);
  void (*scope_begin)(baton_orch *o, baton_scope_mode mode);
  void (*scope_end)(baton_orch *o);
  baton_task (*record)(baton_orch *o, const baton_sub_graph *sub_graph, const baton_arg *args, uint32_t nargs,
                       const baton_task_options *options, baton_view *made);
  void (*fail)(baton_orch *o, const char *fmt, va_list values);
  int (*is_failed)(baton_orch *o);
  uint32_t (*clusters)(baton_orch *o);
  uint32_t (*aiv_count)(baton_orch *o);
} baton_orch_calls;

struct baton_orch {
  const baton_orch_calls *calls;
};

/* Defines an orchestration. The parameters are called `o` and `args`. */
#define BATON_ORCHESTRATION(name) BATON_EXPORT_C void name(baton_orch *o, const baton_args *args)

/* The number of a kernel of the program, for baton_aic and baton_aiv. An unknown name fails the run. */
static inline int baton_kernel(baton_orch *o, const char *name) { return o->calls->kernel(o, name); }

/* Tensor argument `i` of the program: baton_param(args, i) where the orchestration is called `o`, as BATON_ORCHESTRATION does, or
** baton_param(o, args, i). */
static inline baton_view baton_param(baton_orch *o, const baton_args *args, uint32_t i) {
  return o->calls->param(o, args, i);
}
#define BATON_PARAM_OF_O(args, i)                               baton_param(o, args, i)
#define BATON_PARAM_OF(o, args, i)                              baton_param(o, args, i)
#define BATON_PARAM_BY_COUNT(first, second, third, chosen, ...) chosen
#define baton_param(...)                                        BATON_PARAM_BY_COUNT(__VA_ARGS__, BATON_PARAM_OF, BATON_PARAM_OF_O, )(__VA_ARGS__)

/* Submits one task on a matrix or vector core. The arguments are copied. */
static inline baton_task baton_aic(baton_orch *o, int kernel, const baton_arg *args, uint32_t nargs,
                                   const baton_task_options *options) {
  return o->calls->submit(o, BATON_AIC, kernel, args, nargs, options);
}
static inline baton_task baton_aiv(baton_orch *o, int kernel, const baton_arg *args, uint32_t nargs,
                                   const baton_task_options *options) {
  return o->calls->submit(o, BATON_AIV, kernel, args, nargs, options);
}

/* `baton_lane_of(k, BATON_ARGS(…))`; the list must live until baton_mix returns. */
static inline baton_lane baton_lane_of(int kernel, const baton_arg *args, uint32_t nargs) {
  baton_lane lane = BATON_ZERO;
  lane.kernel = kernel;
  lane.nargs = nargs;
  lane.args = args;
  return lane;
}
/* For a core of the cluster that has nothing to do. */
static inline baton_lane baton_no_lane(void) { return baton_lane_of(-1, 0, 0); }

/* One task on a whole cluster: a kernel on its matrix core and on each of its vector cores. It is over when all are. The
** three may share one list (the same array); what only one of them writes counts as written by the task. Several lists may
** name the same tensor, to hand it from kernel to kernel; the kernels run at the same time, so they wait for each other
** by baton_wait_ge or baton_block_barrier if they do. */
static inline baton_task baton_mix(baton_orch *o, baton_lane aic, baton_lane aiv0, baton_lane aiv1,
                                   const baton_task_options *options) {
  baton_lane lanes[3];
  lanes[0] = aic;
  lanes[1] = aiv0;
  lanes[2] = aiv1;
  return o->calls->mix(o, lanes, options);
}

/* A task that does nothing: a barrier over its arguments and deps. */
static inline baton_task baton_dummy(baton_orch *o, const baton_arg *args, uint32_t nargs,
                                     const baton_task_options *options) {
  return o->calls->dummy(o, args, nargs, options);
}

/* An intermediate on the device heap, contiguous, not cleared. Lives to the end of the scope it was made in and until
** the tasks that use it are done; used later it raises `stale_handle`. A full heap fails the run: `heap_full`, or
** `scope_deadlock` if only the end of an open scope would make room. */
static inline baton_view baton_alloc(baton_orch *o, baton_dtype dtype, int ndim, const int64_t *shape) {
  return o->calls->alloc(o, dtype, ndim, shape);
}

/* A task that stores `value` (baton_f32, baton_i64 …) into every element of a contiguous tensor, usually an intermediate
** that was just made; what uses that intermediate from then on waits for it, in manual scopes too, where only
** intermediates can be filled. What the type cannot hold fails the run. */
static inline void baton_fill(baton_orch *o, baton_view view, baton_arg value) {
  o->calls->fill(o, &view, &value);
}

/* Scalar argument `i` of the program as an opaque value for tasks: a kept graph takes the value of each run, and is not
** built anew when it changes. */
static inline baton_arg baton_scalar_param(const baton_args *args, uint32_t i) {
  const baton_argument *item = baton_scalar_at(args, i);
  baton_arg arg = baton_scalar_of((baton_dtype)item->dtype);
  arg.scalar.u64 = item->value.u64;
  arg.view.argument = i + 1;
  return arg;
}

/* One element of a tensor while building, `index[d]` from 0: waits for the tasks that write it; where edges are not
** inferred, for every task before. On host_build_graph only arguments of the program that no earlier task writes; on
** aicpu_build_graph not what tasks of an open scope write. */
static inline int64_t baton_get_i64(baton_orch *o, baton_view view, const int64_t *index) {
  baton_arg value = baton_i64(0);
  if (!o->calls->get(o, &view, index, &value)) return 0;
  return baton_dtype_is_float(value.dtype) ? (int64_t)value.scalar.f64 : value.scalar.i64;
}
static inline double baton_get_f64(baton_orch *o, baton_view view, const int64_t *index) {
  baton_arg value = baton_f64(0);
  if (!o->calls->get(o, &view, index, &value)) return 0;
  if (baton_dtype_is_float(value.dtype)) return value.scalar.f64;
  return baton_dtype_is_signed(value.dtype) ? (double)value.scalar.i64 : (double)value.scalar.u64;
}

/* Stores one element while building: waits for the tasks that write or read it. What the type cannot hold fails the run.
** On host_build_graph only arguments of the program that no earlier task uses. */
static inline void baton_set_i64(baton_orch *o, baton_view view, const int64_t *index, int64_t value) {
  baton_arg arg = baton_i64(value);
  o->calls->set(o, &view, index, &arg);
}
static inline void baton_set_f64(baton_orch *o, baton_view view, const int64_t *index, double value) {
  baton_arg arg = baton_f64(value);
  o->calls->set(o, &view, index, &arg);
}

/* Intermediates made inside die at the end, which waits for nothing; on aicpu_build_graph it starts the tasks of the scope.
** In a manual scope only `deps` order tasks; in an auto scope inside of it edges are inferred again, unless the program has
** explicit edges. */
static inline void baton_scope_begin(baton_orch *o, baton_scope_mode mode) { o->calls->scope_begin(o, mode); }
static inline void baton_scope_end(baton_orch *o) { o->calls->scope_end(o); }

/* An argument of baton_record. */
static inline baton_arg baton_untagged(baton_view view) { return baton_tagged(BATON_UNTAGGED, view); }

/* Submits a sub-graph as one call. It is built once for each key and for arguments of the same types, shapes, strides and
** aliasing; later calls, in later runs too, submit the same tasks over the tensors and scalars of that call. Tensors come
** untagged (baton_untagged). Of the options, `deps` come before all of its tasks. Returns a task that is over when all of
** them are; `made` gets the tensors that the sub-graph hands out (NULL if it has none). Sub-graphs may record others. Inside,
** a tensor that is neither handed over nor made there, reading or storing an element, and deps on tasks from outside fail the
** run. */
static inline baton_task baton_record(baton_orch *o, const baton_sub_graph *sub_graph, const baton_arg *args,
                                      uint32_t nargs, const baton_task_options *options, baton_view *made) {
  return o->calls->record(o, sub_graph, args, nargs, options, made);
}

/* Ends the run with a message of the user's. */
__attribute__((format(printf, 2, 3))) static inline void baton_orch_fail(baton_orch *o, const char *fmt,
                                                                         ...) {
  va_list values;
  va_start(values, fmt);
  o->calls->fail(o, fmt, values);
  va_end(values);
}
static inline int baton_is_failed(baton_orch *o) { return o->calls->is_failed(o); }

/* Width of the device. */
static inline uint32_t baton_clusters(baton_orch *o) { return o->calls->clusters(o); }
static inline uint32_t baton_aiv_count(baton_orch *o) { return o->calls->aiv_count(o); }

/* An argument list in place: two arguments of a call, the array and its length. */
#ifdef __cplusplus
#include <initializer_list>
#define BATON_ARGS(...)                                  \
  std::initializer_list<baton_arg>{__VA_ARGS__}.begin(), \
      (uint32_t)std::initializer_list<baton_arg>{__VA_ARGS__}.size()
#else
#define BATON_ARGS(...) \
  (const baton_arg[]){__VA_ARGS__}, (uint32_t)(sizeof((const baton_arg[]){__VA_ARGS__}) / sizeof(baton_arg))
#endif

/* A shape in place, for baton_alloc and baton_reshape. */
#ifndef __cplusplus
#define BATON_SHAPE(...) \
  (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }
#else
#define BATON_SHAPE(...) \
  (int)std::initializer_list<int64_t>{__VA_ARGS__}.size(), std::initializer_list<int64_t>{__VA_ARGS__}.begin()
#endif

/* BATON_SCOPE(o) { … }: a scope around a block. Leave it at its end only (no break, goto or return). */
#define BATON_SCOPE(o)                                                                         \
  for (int baton_scope_open_ = (baton_scope_begin(o, BATON_SCOPE_AUTO), 1); baton_scope_open_; \
       baton_scope_open_ = 0, baton_scope_end(o))

#endif
