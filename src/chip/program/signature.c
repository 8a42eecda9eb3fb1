#include "chip/program/signature.h"
#include "base/memory.h"
#include "base/text.h"
#include "chip/program/scalar.h"
#include <baton/tensor.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DESCRIPTION = 640, ANY_DTYPE = (1 << BATON_DTYPE_COUNT) - 2 };

/* A description that is cut where it gets too long for a message. */
typedef struct description {
  char text[DESCRIPTION];
  size_t length;
} description;

BATON_PRINTF(2, 3) static void describe(description *out, const char *fmt, ...) {
  va_list values;
  va_start(values, fmt);
  int length = base_vprint(out->text + out->length, sizeof out->text - out->length, fmt, values);
  va_end(values);
  if (length > 0) out->length += (size_t)length;
  if (out->length >= sizeof out->text) out->length = sizeof out->text - 1;
}

/* ---- making one ---- */

static baton_status check_dims(const char *who, const baton_parameter *param, uint32_t i, baton_error *err) {
  if (param->ndim < 0 || param->ndim > BATON_MAX_DIMS)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "%s: parameter %u (%s): 0 to %d dimensions expected, got %d", who, i + 1,
                           param->name, BATON_MAX_DIMS, param->ndim);
  for (int32_t d = 0; d < param->ndim; d++) {
    const baton_dim *dim = &param->shape[d];
    if (dim->name && !dim->name[0])
      return baton_error_set(err, BATON_INVALID_ARGUMENT,
                             "%s: parameter %u (%s): dimension %d has an empty name", who, i + 1, param->name,
                             d + 1);
    if (!dim->name && dim->size < 0)
      return baton_error_set(err, BATON_INVALID_ARGUMENT,
                             "%s: parameter %u (%s): dimension %d is %" PRId64 ", at least 0 expected", who,
                             i + 1, param->name, d + 1, dim->size);
  }
  return BATON_OK;
}

static baton_status check_parameter(const char *who, const baton_parameter *params, uint32_t i,
                                    baton_error *err) {
  const baton_parameter *param = &params[i];
  if (!param->name || !param->name[0])
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: parameter %u has no name", who, i + 1);
  for (uint32_t j = 0; j < i; j++)
    if (strcmp(params[j].name, param->name) == 0)
      return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: parameters %u and %u are both called '%s'",
                             who, j + 1, i + 1, param->name);
  if (param->direction < BATON_IN || param->direction > BATON_BY_VALUE)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "%s: parameter %u (%s): direction in, out or inout expected, or a scalar's dtype",
                           who, i + 1, param->name);
  if (param->dtypes & ~(uint32_t)ANY_DTYPE)
    return baton_error_set(err, BATON_INVALID_ARGUMENT,
                           "%s: parameter %u (%s): 0x%" PRIx32 " is no set of dtypes", who, i + 1,
                           param->name, param->dtypes);
  if (!param->has_shape) return BATON_OK;
  if (param->direction == BATON_BY_VALUE)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: parameter %u (%s): a scalar has no shape", who,
                           i + 1, param->name);
  return check_dims(who, param, i, err);
}

/* Where a name of a shape was seen before dimension `dim` of parameter `argument`; `to` becomes that
** place. */
static int first_place(const chip_signature *signature, const char *name, uint32_t argument, uint32_t dim,
                       chip_dim *to) {
  for (uint32_t i = 0; i <= argument; i++) {
    uint32_t end = i == argument ? dim : (uint32_t)signature->items[i].ndim;
    for (uint32_t d = 0; d < end; d++) {
      const chip_dim *seen = &signature->items[i].shape[d];
      if (seen->kind != CHIP_DIM_FIRST || strcmp(seen->name, name) != 0) continue;
      to->argument = i;
      to->dim = d;
      return 1;
    }
  }
  return 0;
}

static const char *place_text(char **free_text, const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = memcpy(*free_text, text, size);
  *free_text += size;
  return copy;
}

static void place_dim(chip_signature *signature, uint32_t argument, uint32_t d, const baton_dim *from,
                      char **free_text) {
  chip_dim *dim = &signature->items[argument].shape[d];
  dim->size = from->size;
  dim->kind = CHIP_DIM_EXACT;
  if (!from->name) return;
  if (strcmp(from->name, "*") == 0)
    dim->kind = CHIP_DIM_ANY;
  else
    dim->kind = first_place(signature, from->name, argument, d, dim) ? CHIP_DIM_BOUND : CHIP_DIM_FIRST;
  dim->name = place_text(free_text, from->name);
}

static uint32_t dim_count(const baton_parameter *param) {
  return param->has_shape ? (uint32_t)param->ndim : 0;
}

static size_t text_size(const baton_parameter *param) {
  size_t size = strlen(param->name) + 1;
  for (uint32_t d = 0; d < dim_count(param); d++)
    size += param->shape[d].name ? strlen(param->shape[d].name) + 1 : 0;
  return size;
}

baton_status chip_signature_create(const char *who, const baton_parameter *params, uint32_t count,
                                   chip_signature **out, baton_error *err) {
  *out = NULL;
  size_t dims = 0, text = 0;
  for (uint32_t i = 0; i < count; i++) {
    BATON_TRY(check_parameter(who, params, i, err));
    dims += dim_count(&params[i]);
    text += text_size(&params[i]);
  }
  /* one block: the signature, its parameters, their dimensions, all texts */
  size_t size = sizeof(chip_signature) + count * sizeof(chip_parameter) + dims * sizeof(chip_dim) + text;
  chip_signature *signature = base_calloc(1, size);
  if (!signature) return base_out_of_memory(err, "a signature");
  signature->count = count;
  signature->items = (chip_parameter *)(signature + 1);
  chip_dim *free_dim = (chip_dim *)(signature->items + count);
  char *free_text = (char *)(free_dim + dims);
  for (uint32_t i = 0; i < count; i++) {
    chip_parameter *item = &signature->items[i];
    *item = (chip_parameter){.direction = params[i].direction,
                             .dtypes = params[i].dtypes ? params[i].dtypes : (uint32_t)ANY_DTYPE,
                             .has_shape = params[i].has_shape != 0,
                             .ndim = (int32_t)dim_count(&params[i]),
                             .shape = free_dim};
    free_dim += item->ndim;
    item->name = place_text(&free_text, params[i].name);
    for (uint32_t d = 0; d < (uint32_t)item->ndim; d++)
      place_dim(signature, i, d, &params[i].shape[d], &free_text);
  }
  *out = signature;
  return BATON_OK;
}

void chip_signature_free(chip_signature *signature) { base_free(signature); }

int chip_signature_find(const chip_signature *signature, const char *name) {
  for (uint32_t i = 0; i < signature->count; i++)
    if (strcmp(signature->items[i].name, name) == 0) return (int)i;
  return -1;
}

/* ---- saying what does not match ---- */

static void describe_dtypes(description *out, uint32_t dtypes) {
  if (dtypes == (uint32_t)ANY_DTYPE) {
    describe(out, "any");
    return;
  }
  const char *separator = "";
  for (baton_dtype dtype = BATON_F64; dtype < BATON_DTYPE_COUNT; dtype++) {
    if (!(dtypes & (1u << dtype))) continue;
    describe(out, "%s%s", separator, baton_dtype_name(dtype));
    separator = "|";
  }
}

/* A name that an earlier argument bound shows its value. */
static void describe_dim(description *out, const chip_dim *dim, uint32_t argument, const chip_value *values) {
  if (dim->kind == CHIP_DIM_EXACT)
    describe(out, "%" PRId64, dim->size);
  else if (dim->kind == CHIP_DIM_BOUND && dim->argument < argument)
    describe(out, "%s=%" PRId64, dim->name, values[dim->argument].view->shape[dim->dim]);
  else
    describe(out, "%s", dim->name);
}

static void describe_expected(description *out, const chip_signature *signature, uint32_t i,
                              const chip_value *values) {
  const chip_parameter *param = &signature->items[i];
  if (param->direction == BATON_BY_VALUE) {
    describe(out, "scalar ");
    describe_dtypes(out, param->dtypes);
    return;
  }
  describe_dtypes(out, param->dtypes);
  if (!param->has_shape) {
    describe(out, " tensor of any shape");
    return;
  }
  describe(out, "[");
  for (int32_t d = 0; d < param->ndim; d++) {
    if (d > 0) describe(out, ",");
    describe_dim(out, &param->shape[d], i, values);
  }
  describe(out, "]");
}

static void describe_given(description *out, const chip_value *value) {
  char number[CHIP_SCALAR_TEXT];
  if (!value->view && (value->dtype == BATON_NO_DTYPE || value->dtype >= BATON_DTYPE_COUNT)) {
    describe(out, "nothing");
    return;
  }
  if (!value->view) {
    chip_scalar_text(value, number);
    describe(out, "the scalar %s", number);
    return;
  }
  if (value->view->dtype == BATON_NO_DTYPE) {
    describe(out, "the result of a slice, tile or reshape that does not fit");
    return;
  }
  describe(out, "%s[", baton_dtype_name((baton_dtype)value->view->dtype));
  for (int d = 0; d < value->view->ndim; d++)
    describe(out, "%s%" PRId64, d > 0 ? "," : "", value->view->shape[d]);
  describe(out, "]");
}

static baton_status mismatch(const chip_signature *signature, const char *who, uint32_t i,
                             const chip_value *values, baton_error *err) {
  description expected = {.length = 0}, given = {.length = 0};
  describe_expected(&expected, signature, i, values);
  describe_given(&given, &values[i]);
  return baton_error_set(err, BATON_SIGNATURE, "%s: argument %u (%s): %s expected, got %s", who, i + 1,
                         signature->items[i].name, expected.text, given.text);
}

static baton_status wrong_count(const chip_signature *signature, const char *who, uint32_t count,
                                baton_error *err) {
  description names = {.length = 0};
  for (uint32_t i = 0; i < signature->count; i++)
    describe(&names, "%s%s", i > 0 ? ", " : " (", signature->items[i].name);
  return baton_error_set(err, BATON_SIGNATURE, "%s: %u argument%s%s%s expected, got %u", who,
                         signature->count, signature->count == 1 ? "" : "s", names.text,
                         signature->count > 0 ? ")" : "", count);
}

static baton_status does_not_fit(const chip_parameter *param, const char *who, uint32_t i,
                                 const chip_value *value, baton_error *err) {
  char number[CHIP_SCALAR_TEXT], range[CHIP_RANGE_TEXT];
  description types = {.length = 0};
  chip_scalar_text(value, number);
  describe_dtypes(&types, param->dtypes);
  if (param->dtypes & (param->dtypes - 1))
    return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: argument %u (%s): %s fits none of %s", who, i + 1,
                           param->name, number, types.text);
  chip_range_text((baton_dtype)__builtin_ctz(param->dtypes), range);
  return baton_error_set(err, BATON_OUT_OF_RANGE, "%s: argument %u (%s): %s does not fit %s, which holds %s",
                         who, i + 1, param->name, number, types.text, range);
}

/* ---- the check ---- */

static int dim_matches(const chip_dim *dim, int64_t size, const chip_value *values) {
  if (dim->kind == CHIP_DIM_EXACT) return size == dim->size;
  return dim->kind != CHIP_DIM_BOUND || size == values[dim->argument].view->shape[dim->dim];
}

static int tensor_matches(const chip_parameter *param, const baton_view *view, const chip_value *values) {
  if (!(param->dtypes & (1u << view->dtype))) return 0; /* bit 0, an invalid view, is in no set */
  if (!param->has_shape) return 1;
  if (view->ndim != param->ndim) return 0;
  for (int32_t d = 0; d < param->ndim; d++)
    if (!dim_matches(&param->shape[d], view->shape[d], values)) return 0;
  return 1;
}

baton_status chip_signature_check(const chip_signature *signature, const char *who, chip_value *values,
                                  uint32_t count, baton_error *err) {
  if (count != signature->count) return wrong_count(signature, who, count, err);
  for (uint32_t i = 0; i < count; i++) {
    const chip_parameter *param = &signature->items[i];
    if ((param->direction == BATON_BY_VALUE) == (values[i].view != NULL))
      return mismatch(signature, who, i, values, err);
    if (values[i].view) {
      if (!tensor_matches(param, values[i].view, values)) return mismatch(signature, who, i, values, err);
    } else if (values[i].dtype == BATON_NO_DTYPE || values[i].dtype >= BATON_DTYPE_COUNT) {
      return mismatch(signature, who, i, values, err);
    } else if (!chip_scalar_convert(&values[i], param->dtypes)) {
      return does_not_fit(param, who, i, &values[i], err);
    }
  }
  return BATON_OK;
}
