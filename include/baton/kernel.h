/* baton/kernel.h - write a kernel: a plain function over the arguments of one task.
**
** A kernel runs to its end on one core. It holds no locks and owns no memory, because it may be left in the middle:
** when it fails, crashes or hangs. No libc is needed; C11 and C++17. Positions count tensors and scalars together,
** from 0, in signature order. */
#ifndef BATON_KERNEL_H
#define BATON_KERNEL_H

#include <baton/view.h>
#include <stdarg.h>

#define BATON_KERNEL_ABI 3

/* One argument of a task. */
typedef struct baton_argument {
  union {
    void *data;   /* tensor: the first element */
    double f64;   /* scalar of a float type */
    int64_t i64;  /* scalar of a signed type or bool */
    uint64_t u64; /* scalar of an unsigned type */
  } value;
  const baton_view *view; /* tensor: shape and strides; NULL: a scalar */
  uint8_t dtype;          /* baton_dtype */
  uint8_t contiguous;     /* tensor */
  uint8_t written;        /* tensor: the task may write it */
  uint8_t reserved;
  uint32_t argument; /* 1 + position of the program argument that it comes from; 0: none */
} baton_argument;

typedef struct baton_args baton_args;

/* What the runtime does for a kernel. */
typedef struct baton_kernel_services {
  /* Ends the kernel and fails its task with this message; does not return. `misuse`: the kernel asked for what its
  ** arguments are not (`signature`), else it failed by its own will (`user_fail`). */
  void (*fail)(const baton_args *args, int misuse, const char *fmt, va_list values);
  /* The next three are NULL where nothing waits: in an orchestration. They end a kernel that may not wait.
  ** Waits until *counter >= value. */
  void (*wait)(const baton_args *args, const int32_t *counter, int32_t value);
  /* Lets others run. */
  void (*yield)(const baton_args *args);
  /* Waits for the other kernels of the task. */
  void (*barrier)(const baton_args *args);
} baton_kernel_services;

/* The arguments of one task on one core. Lives as long as the kernel runs. */
struct baton_args {
  const baton_argument *items;
  uint32_t count;
  uint32_t core;          /* number of the core: AIC first, then AIV */
  uint32_t block, blocks; /* SPMD: this instance and how many there are */
  uint32_t lane;          /* 0 or 1 among the vector cores of a cluster */
  const baton_kernel_services *services;
};

#ifdef __cplusplus
#define BATON_EXPORT_C extern "C" __attribute__((visibility("default")))
#else
#define BATON_EXPORT_C __attribute__((visibility("default")))
#endif

/* Defines a kernel. The parameter is called `args`. */
#define BATON_KERNEL(name) BATON_EXPORT_C void name(const baton_args *args)

/* Ends the kernel and fails its task with a message of the user's. Does not return. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void baton_kernel_fail(const baton_args *args,
                                                                                     const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  args->services->fail(args, 0, fmt, values);
  va_end(values);
  __builtin_unreachable();
}

/* The same for a wrong use of the arguments, found by the functions below. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void baton_kernel_misuse(const baton_args *args,
                                                                                       const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  args->services->fail(args, 1, fmt, values);
  va_end(values);
  __builtin_unreachable();
}

static inline const baton_argument *baton_argument_at(const baton_args *args, uint32_t i) {
  if (__builtin_expect(i >= args->count, 0))
    baton_kernel_misuse(args, "argument %u was asked for, the task has %u", i, args->count);
  return &args->items[i];
}

/* The view of tensor argument `i`: dtype, shape, strides in elements, data. */
static inline const baton_view *baton_arg_tensor(const baton_args *args, uint32_t i) {
  const baton_argument *argument = baton_argument_at(args, i);
  if (__builtin_expect(!argument->view, 0))
    baton_kernel_misuse(args, "argument %u is a scalar, not a tensor", i);
  return argument->view;
}

static inline int64_t baton_numel(const baton_args *args, uint32_t i) {
  return baton_view_numel(baton_arg_tensor(args, i));
}

/* Number of elements in dimension `dim` (from 0) of tensor argument `i`. */
static inline int64_t baton_size(const baton_args *args, uint32_t i, int dim) {
  const baton_view *view = baton_arg_tensor(args, i);
  if (__builtin_expect(dim < 0 || dim >= view->ndim, 0))
    baton_kernel_misuse(args, "argument %u has %d dimensions, dimension %d was asked for", i, view->ndim,
                        dim);
  return view->shape[dim];
}

static inline void *baton_arg_data(const baton_args *args, uint32_t i, size_t element, int write) {
  const baton_argument *argument = baton_argument_at(args, i);
  if (__builtin_expect(!argument->view, 0))
    baton_kernel_misuse(args, "argument %u is a scalar, not a tensor", i);
  size_t size = baton_dtype_size((baton_dtype)argument->dtype);
  if (__builtin_expect(size != element, 0))
    baton_kernel_misuse(args, "argument %u has elements of %u bytes, the kernel reads it in units of %u", i,
                        (unsigned)size, (unsigned)element);
  if (__builtin_expect(!argument->contiguous, 0))
    baton_kernel_misuse(args, "argument %u is not contiguous, use baton_arg_tensor and its strides", i);
  if (__builtin_expect(write && !argument->written, 0))
    baton_kernel_misuse(args, "argument %u is an input of this task, the kernel asked to write it", i);
  return argument->value.data;
}

/* The first element of a contiguous argument. A wrong element size, a strided view, or baton_out/baton_io of an input
** fails the task. */
#define baton_in(args, i, type)  ((const type *)baton_arg_data(args, i, sizeof(type), 0))
#define baton_out(args, i, type) ((type *)baton_arg_data(args, i, sizeof(type), 1))
#define baton_io(args, i, type)  ((type *)baton_arg_data(args, i, sizeof(type), 1))

static inline const baton_argument *baton_scalar_at(const baton_args *args, uint32_t i) {
  const baton_argument *argument = baton_argument_at(args, i);
  if (__builtin_expect(argument->view != 0, 0))
    baton_kernel_misuse(args, "argument %u is a tensor, not a scalar", i);
  return argument;
}

/* Scalar argument `i`, converted as C converts. */
static inline double baton_scalar_f64(const baton_args *args, uint32_t i) {
  const baton_argument *argument = baton_scalar_at(args, i);
  if (baton_dtype_is_float((baton_dtype)argument->dtype)) return argument->value.f64;
  return baton_dtype_is_signed((baton_dtype)argument->dtype) ? (double)argument->value.i64
                                                             : (double)argument->value.u64;
}

static inline float baton_scalar_f32(const baton_args *args, uint32_t i) {
  return (float)baton_scalar_f64(args, i);
}

static inline int64_t baton_scalar_i64(const baton_args *args, uint32_t i) {
  const baton_argument *argument = baton_scalar_at(args, i);
  return baton_dtype_is_float((baton_dtype)argument->dtype) ? (int64_t)argument->value.f64
                                                            : argument->value.i64;
}

static inline uint64_t baton_scalar_u64(const baton_args *args, uint32_t i) {
  const baton_argument *argument = baton_scalar_at(args, i);
  return baton_dtype_is_float((baton_dtype)argument->dtype) ? (uint64_t)argument->value.f64
                                                            : argument->value.u64;
}

/* Which instance this is, of how many, and where it runs. */
static inline uint32_t baton_block_idx(const baton_args *args) { return args->block; }
static inline uint32_t baton_block_num(const baton_args *args) { return args->blocks; }
static inline uint32_t baton_sub_block(const baton_args *args) { return args->lane; }
static inline uint32_t baton_core_id(const baton_args *args) { return args->core; }

/* --- Waiting inside a kernel. In a task with sync_start and in a kernel that is declared with `waits = true`; elsewhere the
** task fails. Counters are elements of i32 tensors, which the tasks that share them take as no_dep. --- */

/* Waits until *counter >= value: until another kernel that runs at the same time has added enough. What that one wrote
** before is visible afterwards. */
static inline void baton_wait_ge(const baton_args *args, const int32_t *counter, int32_t value) {
  if (!args->services->wait) baton_kernel_misuse(args, "baton_wait_ge is for kernels");
  args->services->wait(args, counter, value);
}

/* Adds `n` to *counter, at once and as a whole. Legal in every kernel. */
static inline void baton_signal_add(const baton_args *args, int32_t *counter, int32_t n) {
  (void)args;
  (void)__atomic_fetch_add(counter, n, __ATOMIC_ACQ_REL);
}

/* In a loop of one's own that waits for another kernel: lets others run. */
static inline void baton_spin_hint(const baton_args *args) {
  if (!args->services->yield) baton_kernel_misuse(args, "baton_spin_hint is for kernels");
  args->services->yield(args);
}

/* Waits until every kernel of the task has come here or ended: with sync_start those of all instances; without, in a mixed
** task of one instance, those of its cluster. What they wrote before is visible afterwards. */
static inline void baton_block_barrier(const baton_args *args) {
  if (!args->services->barrier) baton_kernel_misuse(args, "baton_block_barrier is for kernels");
  args->services->barrier(args);
}

#endif
