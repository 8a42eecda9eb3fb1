/* Blocks of calls, taken apart: nothing is read beyond their end. */
#include "chip/dictation.h"
#include "chip/dictation_format.h"
#include "chip/executor/extra.h"
#include "tensor/storage.h"
#include <string.h>

typedef struct reader {
  const char *at;
  uint64_t left;
  const char *wrong; /* NULL: nothing yet */
} reader;

static void refuse(reader *r, const char *field) {
  if (!r->wrong) r->wrong = field;
  r->left = 0;
}

/* NULL: there are not so many bytes. */
static const void *take(reader *r, uint64_t bytes, const char *field) {
  const char *at = r->at;
  bytes = chip_said_words(bytes);
  if (bytes > r->left) {
    refuse(r, field);
    return NULL;
  }
  r->at += bytes;
  r->left -= bytes;
  return at;
}

static const char *take_text(reader *r, uint32_t bytes, const char *field) {
  const char *text = bytes ? take(r, bytes, field) : NULL;
  if (text && memchr(text, 0, bytes) != text + bytes - 1) refuse(r, field);
  return text;
}

static int is_memory(const chip_said_arg *arg, const int64_t *sizes) {
  baton_view view = {.dtype = arg->dtype, .ndim = arg->ndim};
  uint64_t below, above;
  memcpy(view.shape, sizes, arg->ndim * sizeof *sizes);
  memcpy(view.strides, sizes + arg->ndim, arg->ndim * sizeof *sizes);
  return tensor_reach(&view, &below, &above);
}

static const chip_said_arg *take_arg(reader *r) {
  const chip_said_arg *arg = take(r, sizeof *arg, "call.arg");
  if (!arg) return NULL;
  if (arg->tag > BATON_SCALAR || arg->dtype >= BATON_DTYPE_COUNT || arg->ndim > BATON_MAX_DIMS ||
      arg->origin > CHIP_FROM_MADE) {
    refuse(r, "call.arg");
    return NULL;
  }
  uint32_t ndim = chip_said_dims(arg);
  const int64_t *sizes = take(r, 2 * ndim * sizeof *sizes, "call.arg.shape");
  if (!sizes || arg->tag == BATON_SCALAR) return arg;
  if (arg->dtype ? !is_memory(arg, sizes) : ndim != 0) refuse(r, "call.arg.shape");
  return arg;
}

static const chip_said_arg *take_args(reader *r, uint64_t count) {
  const chip_said_arg *first = (const chip_said_arg *)(const void *)r->at;
  if (count > r->left / sizeof *first) refuse(r, "call.nargs");
  for (uint64_t i = 0; i < count && !r->wrong; i++) (void)take_arg(r);
  return first;
}

/* An element of a tensor: one position for each of its dimensions. */
static const int64_t *take_index(reader *r, const chip_said_arg *arg, uint32_t count) {
  if (arg && count != chip_said_dims(arg)) refuse(r, "call.index");
  return take(r, count * sizeof(int64_t), "call.index");
}

static void take_options(reader *r, chip_heard *out) {
  out->options = take(r, sizeof *out->options, "call.options");
  if (!out->options) return;
  out->deps = take(r, (uint64_t)out->options->ndeps * sizeof *out->deps, "call.deps");
  out->name = take_text(r, out->options->name, "call.name");
}

static void take_predicate(reader *r, chip_heard *out) {
  out->predicate = take(r, sizeof *out->predicate, "call.predicate");
  if (!out->predicate) return;
  if (out->predicate->compare > BATON_GREATER_EQUAL || out->predicate->nindex > BATON_MAX_DIMS)
    refuse(r, "call.predicate");
  out->operand = take_arg(r);
  if (out->operand && out->predicate->nindex)
    out->index = take_index(r, out->operand, out->predicate->nindex);
}

/* Arguments of all lists. A lane without a kernel has none; lanes that share a list have as many. */
static uint64_t count_args(reader *r, const chip_heard *heard) {
  uint64_t total = 0, shared = 0;
  for (uint32_t i = 0; i < heard->nlanes; i++) {
    const chip_said_lane *lane = &heard->lanes[i];
    if (heard->said->call == CHIP_SAYS_MIX && lane->kernel < 0) {
      if (lane->nargs) refuse(r, "call.lanes");
      continue;
    }
    if ((heard->said->flags & CHIP_SAYS_SHARED) && total && lane->nargs != shared) refuse(r, "call.lanes");
    shared = lane->nargs;
    total += lane->nargs;
  }
  return heard->said->flags & CHIP_SAYS_SHARED ? shared : total;
}

static void take_task(reader *r, chip_heard *out) {
  out->nlanes = out->said->call == CHIP_SAYS_MIX ? CHIP_PARTS : 1;
  out->lanes = take(r, out->nlanes * sizeof *out->lanes, "call.lanes");
  if (out->said->detail != BATON_AIC && out->said->detail != BATON_AIV && out->said->call == CHIP_SAYS_SUBMIT)
    refuse(r, "call.detail");
  if (out->said->flags & CHIP_SAYS_OPTIONS) take_options(r, out);
  if (out->said->flags & CHIP_SAYS_PREDICATE) take_predicate(r, out);
  if (!out->lanes || r->wrong) return;
  uint64_t count = count_args(r, out);
  out->args = take_args(r, count);
  out->nargs = (uint32_t)count;
}

static void take_shape(reader *r, chip_heard *out) {
  out->shape = take(r, sizeof *out->shape, "call.shape");
  if (!out->shape) return;
  if (out->shape->ndim > BATON_MAX_DIMS) refuse(r, "call.shape");
  out->sizes = take(r, out->shape->ndim * sizeof *out->sizes, "call.shape");
}

static void take_element(reader *r, chip_heard *out) {
  out->nargs = 1;
  out->args = take_arg(r);
  if (out->args && out->args->tag == BATON_SCALAR) refuse(r, "call.arg");
  if (out->args && out->said->call != CHIP_SAYS_FILL) out->index = take_index(r, out->args, out->args->ndim);
  if (out->said->call == CHIP_SAYS_GET) return;
  out->value = take_arg(r);
  if (out->value && out->value->tag != BATON_SCALAR) refuse(r, "call.value");
}

static void take_failure(reader *r, chip_heard *out) {
  out->failure = take(r, sizeof *out->failure, "call.failure");
  if (!out->failure) return;
  if (!out->failure->code || out->failure->code >= BATON_STATUS_COUNT || !out->failure->message)
    refuse(r, "call.failure");
  out->message = take_text(r, out->failure->message, "call.failure");
  out->hint = take_text(r, out->failure->hint, "call.failure");
}

static void take_call(reader *r, chip_heard *out) {
  switch (out->said->call) {
  case CHIP_SAYS_SUBMIT:
  case CHIP_SAYS_MIX:
  case CHIP_SAYS_DUMMY: take_task(r, out); break;
  case CHIP_SAYS_ALLOC: take_shape(r, out); break;
  case CHIP_SAYS_GET:
  case CHIP_SAYS_SET:
  case CHIP_SAYS_FILL: take_element(r, out); break;
  case CHIP_SAYS_SCOPE_BEGIN:
    if (out->said->detail > BATON_SCOPE_MANUAL) refuse(r, "call.detail");
    break;
  case CHIP_SAYS_SCOPE_END:
  case CHIP_SAYS_END: break;
  case CHIP_SAYS_FAIL: take_failure(r, out); break;
  default: refuse(r, "call");
  }
}

uint64_t chip_said_hear(const void *block, uint64_t bytes, chip_heard *out, const char **field) {
  static const uint32_t flags = CHIP_SAYS_OPTIONS | CHIP_SAYS_PREDICATE | CHIP_SAYS_SHARED;
  reader r = {.at = block, .left = bytes};
  *out = (chip_heard){0};
  out->said = take(&r, sizeof *out->said, "call.bytes");
  if (out->said && (out->said->bytes < sizeof *out->said || out->said->bytes > bytes || out->said->bytes % 8))
    refuse(&r, "call.bytes");
  if (out->said && out->said->flags & ~flags) refuse(&r, "call.flags");
  if (!r.wrong) r.left = out->said->bytes - sizeof *out->said;
  if (!r.wrong) take_call(&r, out);
  if (r.left) refuse(&r, "call.bytes");
  *field = r.wrong;
  return r.wrong ? 0 : out->said->bytes;
}

int chip_dictation_check(const void *block, uint64_t bytes, const char **field) {
  const char *at = block;
  chip_heard heard;
  *field = NULL;
  for (uint64_t one; bytes; at += one, bytes -= one)
    if ((one = chip_said_hear(at, bytes, &heard, field)) == 0) return 0;
  return 1;
}
