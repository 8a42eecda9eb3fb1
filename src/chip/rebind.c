/* Arguments of rounds: which are resident, and others in their place. */
#include "base/memory.h"
#include "chip/binding.h"
#include "chip/buffer.h"
#include <stdio.h>
#include <string.h>

enum { SHAPE_TEXT = 256 };

baton_status chip_bindings_reside(chip_bindings *bindings, const char *name, baton_error *err) {
  const chip_signature *signature = chip_program_signature(bindings->program);
  const char *program = baton_program_name(bindings->program);
  if (!signature)
    return baton_error_set(err, BATON_SIGNATURE,
                           "%s: resident: no argument is named '%s', the program has no signature", program,
                           name);
  int position = chip_signature_find(signature, name);
  if (position < 0)
    return baton_error_set(err, BATON_SIGNATURE, "%s: resident: no argument is named '%s'", program, name);
  chip_binding *binding = &bindings->items[position];
  if (!binding->argument.view)
    return baton_error_set(err, BATON_SIGNATURE, "%s: resident: argument %d (%s) is a scalar", program,
                           position + 1, name);
  binding->resident = binding->tensor != NULL; /* child memory is so by itself */
  return BATON_OK;
}

static void describe(const baton_view *view, int child, char text[SHAPE_TEXT]) {
  size_t length = (size_t)snprintf(text, SHAPE_TEXT, "%s[", baton_dtype_name((baton_dtype)view->dtype));
  for (int d = 0; d < view->ndim; d++)
    length += (size_t)snprintf(text + length, SHAPE_TEXT - length, "%s%lld", d ? "," : "",
                               (long long)view->shape[d]);
  snprintf(text + length, SHAPE_TEXT - length, "] in %s memory", child ? "child" : "host");
}

static int same_form(const baton_view *a, const baton_view *b) {
  return a->dtype == b->dtype && a->ndim == b->ndim &&
         memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

/* The other value is of the same kind: a scalar, or a tensor of the same form in the same place. */
static baton_status check_form(const chip_binding *binding, const baton_value *value, baton_error *err) {
  const baton_view *view = value->tensor   ? baton_tensor_view(value->tensor)
                           : value->buffer ? value->view
                                           : NULL;
  char before[SHAPE_TEXT] = "a scalar", now[SHAPE_TEXT] = "a scalar";
  if (value->buffer && !value->tensor && !view)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "a buffer without a view of it");
  if (!binding->argument.view && !view) return BATON_OK;
  if (binding->argument.view && view && (binding->tensor != NULL) == (value->tensor != NULL) &&
      same_form(&binding->view, view))
    return BATON_OK;
  if (binding->argument.view) describe(&binding->view, !binding->tensor, before);
  if (view && view->ndim <= BATON_MAX_DIMS && view->dtype < BATON_DTYPE_COUNT)
    describe(view, !value->tensor, now);
  return baton_error_set(err, BATON_SIGNATURE, "rebound from %s to %s: dtype, shape and placement must stay",
                         before, now);
}

/* The replacement of one tensor, with a hold of its own. */
static baton_status hold(chip_binding *fresh, const baton_value *value, const baton_worker *worker,
                         baton_error *err) {
  if (value->tensor) {
    const baton_view *host = baton_tensor_view(value->tensor);
    fresh->current = fresh->changed = 0;
    return baton_tensor_from_view(value->tensor, host, &fresh->tensor, err);
  }
  if (!value->buffer) return BATON_OK;
  uint32_t argument = fresh->view.argument;
  fresh->buffer = NULL;
  BATON_TRY(chip_binding_hold_child(fresh, value, worker, err));
  fresh->view.argument = argument;
  fresh->argument.contiguous = (uint8_t)baton_view_contiguous(&fresh->view);
  return BATON_OK;
}

static void let_go(const chip_binding *binding) {
  baton_tensor_close(binding->tensor);
  if (binding->buffer) chip_buffer_unuse(binding->buffer);
}

/* Converts the new scalars as a run would: the whole list is checked. */
static baton_status convert_scalars(const chip_bindings *bindings, chip_binding *fresh,
                                    const baton_rebind *rebinds, uint32_t count, baton_error *err) {
  const chip_signature *signature = chip_program_signature(bindings->program);
  chip_value *values = base_calloc(bindings->count, sizeof *values);
  if (!values) return base_out_of_memory(err, "the arguments of a round");
  for (uint32_t i = 0; i < bindings->count; i++) {
    values[i] = (chip_value){.dtype = (baton_dtype)fresh[i].argument.dtype};
    if (fresh[i].argument.view)
      values[i].view = fresh[i].tensor ? baton_tensor_view(fresh[i].tensor) : &fresh[i].view;
    else
      values[i].scalar.u64 = fresh[i].argument.value.u64;
  }
  for (uint32_t r = 0; r < count; r++)
    if (!fresh[rebinds[r].argument].argument.view) {
      values[rebinds[r].argument].dtype = rebinds[r].value.dtype;
      values[rebinds[r].argument].scalar.u64 = rebinds[r].value.scalar.u64;
    }
  baton_status status = BATON_OK;
  if (signature)
    status =
        chip_signature_check(signature, baton_program_name(bindings->program), values, bindings->count, err);
  for (uint32_t i = 0; i < bindings->count && status == BATON_OK; i++)
    if (!fresh[i].argument.view) {
      fresh[i].argument.dtype = (uint8_t)values[i].dtype;
      fresh[i].argument.value.u64 = values[i].scalar.u64;
    }
  base_free(values);
  return status;
}

static baton_status check_rebinds(const chip_bindings *bindings, const baton_rebind *rebinds, uint32_t count,
                                  baton_error *err) {
  for (uint32_t r = 0; r < count; r++) {
    uint32_t i = rebinds[r].argument;
    if (i >= bindings->count)
      return baton_error_set(err, BATON_SIGNATURE, "%s: argument %u is to be rebound, the program has %u",
                             baton_program_name(bindings->program), i + 1, bindings->count);
    for (uint32_t s = 0; s < r; s++)
      if (rebinds[s].argument == i)
        return chip_bindings_blame(bindings, i, baton_error_set(err, BATON_SIGNATURE, "rebound twice"), err);
    BATON_TRY(chip_bindings_blame(bindings, i, check_form(&bindings->items[i], &rebinds[r].value, err), err));
  }
  return BATON_OK;
}

/* Into `fresh`, a copy of the items; the first *held of the replacements may have holds, also after a failure. */
static baton_status replace(chip_bindings *bindings, chip_binding *fresh, const baton_worker *worker,
                            const baton_rebind *rebinds, uint32_t count, uint32_t *held, baton_error *err) {
  while (*held < count) {
    uint32_t i = rebinds[*held].argument;
    const baton_value *value = &rebinds[(*held)++].value;
    BATON_TRY(chip_bindings_blame(bindings, i, hold(&fresh[i], value, worker, err), err));
  }
  BATON_TRY(convert_scalars(bindings, fresh, rebinds, count, err));
  chip_bindings after = *bindings;
  after.items = fresh;
  BATON_TRY(chip_bindings_check_overlap(&after, err));
  for (uint32_t r = 0; r < count; r++) BATON_TRY(chip_bindings_collect(bindings, rebinds[r].argument, err));
  return BATON_OK;
}

baton_status chip_bindings_rebind(chip_bindings *bindings, const baton_worker *worker,
                                  const baton_rebind *rebinds, uint32_t count, baton_error *err) {
  uint32_t held = 0;
  if (!count) return BATON_OK;
  BATON_TRY(check_rebinds(bindings, rebinds, count, err));
  chip_binding *fresh = base_alloc(bindings->count * sizeof *fresh);
  if (!fresh) return base_out_of_memory(err, "the arguments of a round");
  memcpy(fresh, bindings->items, bindings->count * sizeof *fresh);
  baton_status status = replace(bindings, fresh, worker, rebinds, count, &held, err);
  for (uint32_t r = 0; r < held; r++) {
    uint32_t i = rebinds[r].argument;
    if (!fresh[i].argument.view) continue;
    let_go(status == BATON_OK ? &bindings->items[i] : &fresh[i]);
  }
  if (status == BATON_OK) memcpy(bindings->items, fresh, bindings->count * sizeof *fresh);
  base_free(fresh);
  return status;
}
