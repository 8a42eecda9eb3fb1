/* baton/error.h - how a call says what went wrong. */
#ifndef BATON_ERROR_H
#define BATON_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BATON_MUST_CHECK         __attribute__((warn_unused_result))
#define BATON_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define BATON_MUST_CHECK
#define BATON_PRINTF(fmt, first)
#endif

/* Each code and the word by which Lua and JSON know it. */
#define BATON_STATUS_LIST(X)                    \
  X(INVALID_ARGUMENT, "invalid_argument")       \
  X(UNKNOWN_OPTION, "unknown_option")           \
  X(SIGNATURE, "signature")                     \
  X(OUT_OF_RANGE, "out_of_range")               \
  X(STALE_HANDLE, "stale_handle")               \
  X(DOUBLE_FREE, "double_free")                 \
  X(CLOSED, "closed")                           \
  X(STATE, "state")                             \
  X(BUSY, "busy")                               \
  X(WRONG_DEVICE, "wrong_device")               \
  X(OUT_OF_MEMORY, "out_of_memory")             \
  X(WINDOW_FULL, "window_full")                 \
  X(HEAP_FULL, "heap_full")                     \
  X(DEP_POOL_FULL, "dep_pool_full")             \
  X(SCOPE_DEADLOCK, "scope_deadlock")           \
  X(SYNC_START_TOO_WIDE, "sync_start_too_wide") \
  X(USER_FAIL, "user_fail")                     \
  X(TENSOR_WAIT_TIMEOUT, "tensor_wait_timeout") \
  X(OP_TIMEOUT, "op_timeout")                   \
  X(STREAM_TIMEOUT, "stream_timeout")           \
  X(TIMEOUT, "timeout")                         \
  X(KERNEL_CRASH, "kernel_crash")               \
  X(WORKER_LOST, "worker_lost")                 \
  X(PROTOCOL_ERROR, "protocol_error")           \
  X(RESOURCE_LIMIT, "resource_limit")           \
  X(COMPILE_FAILED, "compile_failed")           \
  X(UNSUPPORTED, "unsupported")                 \
  X(DEVICE_BUSY, "device_busy")                 \
  X(BAD_FILE, "bad_file")                       \
  X(IO_ERROR, "io_error")                       \
  X(CANCELLED, "cancelled")                     \
  X(POISONED, "poisoned")

typedef enum baton_status {
  BATON_OK = 0,
#define X(name, word) BATON_##name,
  BATON_STATUS_LIST(X)
#undef X
      BATON_STATUS_COUNT
} baton_status;

/* The word for a code: "signature"; "ok" for BATON_OK. Static text. */
const char *baton_status_word(baton_status status);

/* What is known of a failure. Zero-initialise it before first use (= {0}); the caller owns it and may hand it to any
** number of calls, one after the other: each failure replaces the last. Every function of Baton takes NULL for "only
** the status is wanted". Texts are NULL when unknown; they grow to 64 KiB at most, and become one static text when
** memory is out. A number is meant only if its bit is set in `known`. One thread at a time. */
typedef struct baton_error {
  baton_status code;
  uint32_t known;      /* BATON_KNOWN_* */
  const char *message; /* one sentence with the values in it */
  const char *hint;    /* what to do */
  const char *task;    /* name of the task */
  const char *kernel;  /* name of the kernel */
  const char *cause;   /* what this follows from */
  const char *path;    /* the file, or the way through the levels */
  int32_t core, device, worker, signal;
  int64_t round;
  double after_ms;
} baton_error;

enum {
  BATON_KNOWN_CORE = 1,
  BATON_KNOWN_DEVICE = 2,
  BATON_KNOWN_WORKER = 4,
  BATON_KNOWN_SIGNAL = 8,
  BATON_KNOWN_ROUND = 16,
  BATON_KNOWN_AFTER_MS = 32
};

/* The texts of an error, for baton_error_text. */
typedef enum baton_error_field {
  BATON_FIELD_MESSAGE,
  BATON_FIELD_HINT,
  BATON_FIELD_TASK,
  BATON_FIELD_KERNEL,
  BATON_FIELD_CAUSE,
  BATON_FIELD_PATH
} baton_error_field;

/* Forgets what `err` held, then stores code and message. Returns `code`, so that `return baton_error_set(...)` reads
** well. Legal with err == NULL. */
baton_status baton_error_set(baton_error *err, baton_status code, const char *fmt, ...) BATON_PRINTF(3, 4);

/* Puts "text: " in front of the message and keeps the code and the rest. Returns the code. */
baton_status baton_error_context(baton_error *err, const char *fmt, ...) BATON_PRINTF(2, 3);

/* Sets one text of a stored error, after baton_error_set. Returns the error's code. */
baton_status baton_error_text(baton_error *err, baton_error_field field, const char *fmt, ...)
    BATON_PRINTF(3, 4);

/* Copies `from` into `to`; both stay owned by their owners. Returns the code. */
baton_status baton_error_copy(baton_error *to, const baton_error *from);

/* Frees the texts and makes `err` empty. NULL is ignored; clearing twice is legal. */
void baton_error_clear(baton_error *err);

#define BATON_TRY(expr)                              \
  do {                                               \
    baton_status try_status_ = (expr);               \
    if (try_status_ != BATON_OK) return try_status_; \
  } while (0)

#ifdef __cplusplus
}
#endif
#endif
