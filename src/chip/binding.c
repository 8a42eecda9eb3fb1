#include "chip/binding.h"
#include "base/memory.h"
#include "chip/worker.h"
#include "task/region.h"
#include "tensor/storage.h"
#include <string.h>

/* True if the end of the run writes the host tensor. */
static int comes_back(const chip_binding *binding) {
  return chip_binding_written(binding) && !binding->resident;
}

/* --- Overlap -------------------------------------------------------------------------------------------- */

/* The bytes of a view, as offsets from address 0. */
static void region_of(const baton_view *view, task_region *region) {
  task_region_make(region, (uintptr_t)view->data, (uint32_t)baton_dtype_size((baton_dtype)view->dtype),
                   view->ndim, view->shape, view->strides);
}

static int overlap(const baton_view *a, const baton_view *b) {
  task_region x, y;
  region_of(a, &x);
  region_of(b, &y);
  return task_region_overlaps(&x, &y);
}

static int share_host(const chip_binding *a, const chip_binding *b) {
  return a->tensor && b->tensor && overlap(baton_tensor_view(a->tensor), baton_tensor_view(b->tensor));
}

static int share_device(const chip_binding *a, const chip_binding *b) {
  return a->buffer && a->buffer == b->buffer && overlap(&a->view, &b->view);
}

int chip_bindings_conflict(const chip_bindings *earlier, const chip_bindings *later) {
  for (uint32_t i = 0; i < earlier->count; i++)
    for (uint32_t j = 0; j < later->count; j++)
      if ((comes_back(&earlier->items[i]) || comes_back(&later->items[j])) &&
          share_host(&earlier->items[i], &later->items[j]))
        return 1;
  return 0;
}

static int clash(const chip_binding *a, const chip_binding *b) {
  return (chip_binding_written(a) || chip_binding_written(b)) && (share_host(a, b) || share_device(a, b));
}

baton_status chip_bindings_check_overlap(const chip_bindings *bindings, baton_error *err) {
  const chip_signature *signature = chip_program_signature(bindings->program);
  for (uint32_t i = 0; i < bindings->count; i++)
    for (uint32_t j = i + 1; j < bindings->count; j++) {
      if (!clash(&bindings->items[i], &bindings->items[j])) continue;
      uint32_t written = chip_binding_written(&bindings->items[j]) ? j : i;
      if (!signature)
        return baton_error_set(err, BATON_SIGNATURE,
                               "%s: arguments %u and %u overlap, and argument %u is written",
                               baton_program_name(bindings->program), i + 1, j + 1, written + 1);
      return baton_error_set(err, BATON_SIGNATURE,
                             "%s: arguments %u (%s) and %u (%s) overlap, and %s is written",
                             baton_program_name(bindings->program), i + 1, signature->items[i].name, j + 1,
                             signature->items[j].name, signature->items[written].name);
    }
  return BATON_OK;
}

/* --- Holding -------------------------------------------------------------------------------------------- */

baton_status chip_bindings_blame(const chip_bindings *bindings, uint32_t i, baton_status status,
                                 baton_error *err) {
  const chip_signature *signature = chip_program_signature(bindings->program);
  const char *program = baton_program_name(bindings->program);
  if (status != BATON_OK && signature && i < signature->count)
    baton_error_context(err, "%s: argument %u (%s)", program, i + 1, signature->items[i].name);
  else if (status != BATON_OK)
    baton_error_context(err, "%s: argument %u", program, i + 1);
  return status;
}

static baton_status check_values(const baton_program *program, const baton_value *values, chip_value *checked,
                                 uint32_t count, baton_error *err) {
  const chip_signature *signature = chip_program_signature(program);
  for (uint32_t i = 0; i < count; i++) {
    checked[i] = (chip_value){.dtype = values[i].dtype};
    if (values[i].tensor)
      checked[i].view = baton_tensor_view(values[i].tensor);
    else if (values[i].buffer)
      checked[i].view = values[i].view;
    else
      checked[i].scalar.u64 = values[i].scalar.u64;
  }
  if (!signature) return BATON_OK;
  return chip_signature_check(signature, baton_program_name(program), checked, count, err);
}

/* A contiguous view of the shape of a host tensor; it gets its addresses when it is placed. */
static baton_status hold_tensor(chip_binding *binding, baton_tensor *tensor, baton_error *err) {
  const baton_view *host = baton_tensor_view(tensor);
  BATON_TRY(baton_tensor_from_view(tensor, host, &binding->tensor, err));
  baton_view *view = &binding->view;
  view->dtype = host->dtype;
  view->ndim = host->ndim;
  memcpy(view->shape, host->shape, sizeof view->shape);
  for (int64_t d = host->ndim - 1, stride = 1; d >= 0; d--) {
    view->strides[d] = stride;
    stride *= host->shape[d];
  }
  binding->bytes = (uint64_t)baton_view_numel(host) * baton_dtype_size((baton_dtype)host->dtype);
  return BATON_OK;
}

/* The view of child memory as it is. Its binding begins at its own first byte, so that two views of one
** buffer are two pieces of memory: they share no byte that is written. */
baton_status chip_binding_hold_child(chip_binding *binding, const baton_value *value,
                                     const baton_worker *worker, baton_error *err) {
  uint64_t first, bytes;
  if (!value->view) return baton_error_set(err, BATON_INVALID_ARGUMENT, "a buffer without a view of it");
  BATON_TRY(chip_buffer_use(value->buffer, worker, err));
  binding->buffer = value->buffer;
  BATON_TRY(chip_buffer_span(value->buffer, value->view, &first, &bytes, err));
  binding->address = value->buffer->address + first;
  binding->bytes = bytes;
  binding->kernel_bytes = value->buffer->kernel_bytes + first;
  binding->view = *value->view;
  binding->view.base = binding->address;
  binding->view.generation = 0;
  binding->argument.value.data = binding->view.data;
  return BATON_OK;
}

static baton_status hold(chip_binding *binding, const baton_value *value, const chip_value *checked,
                         uint32_t position, baton_error *err) {
  if (!checked->view) {
    binding->argument.dtype = (uint8_t)checked->dtype;
    binding->argument.value.u64 = checked->scalar.u64;
    return BATON_OK;
  }
  if (value->tensor) BATON_TRY(hold_tensor(binding, value->tensor, err));
  binding->view.argument = position + 1;
  binding->argument.view = &binding->view;
  binding->argument.dtype = binding->view.dtype;
  binding->argument.contiguous = (uint8_t)baton_view_contiguous(&binding->view);
  binding->argument.written = (uint8_t)chip_binding_written(binding);
  return BATON_OK;
}

/* Child memory first: its views are what a caller wrote, and are good to look at only when they are known
** to fit. */
static baton_status hold_all(chip_bindings *bindings, const baton_worker *worker, const baton_value *values,
                             chip_value *checked, baton_error *err) {
  const chip_signature *signature = chip_program_signature(bindings->program);
  chip_binding *items = bindings->items;
  for (uint32_t i = 0; i < bindings->count; i++)
    if (!values[i].tensor && values[i].buffer)
      BATON_TRY(
          chip_bindings_blame(bindings, i, chip_binding_hold_child(&items[i], &values[i], worker, err), err));
  BATON_TRY(check_values(bindings->program, values, checked, bindings->count, err));
  for (uint32_t i = 0; i < bindings->count; i++) {
    items[i].direction = signature ? signature->items[i].direction : BATON_IN_OUT;
    BATON_TRY(chip_bindings_blame(bindings, i, hold(&items[i], &values[i], &checked[i], i, err), err));
  }
  return chip_bindings_check_overlap(bindings, err);
}

baton_status chip_bindings_open(chip_bindings *bindings, const baton_worker *worker,
                                const baton_program *program, const baton_value *values, uint32_t count,
                                baton_error *err) {
  *bindings = (chip_bindings){.dev = worker->dev, .program = program, .count = count};
  bindings->items = base_calloc(count, sizeof *bindings->items);
  chip_value *checked = base_calloc(count, sizeof *checked);
  baton_status status = bindings->items && checked ? hold_all(bindings, worker, values, checked, err)
                                                   : base_out_of_memory(err, "the arguments of a run");
  base_free(checked);
  if (status != BATON_OK) chip_bindings_close(bindings);
  return status;
}

/* --- Host tensors in use -------------------------------------------------------------------------------- */

void chip_bindings_begin(chip_bindings *bindings) {
  bindings->in_use = 1;
  for (uint32_t i = 0; i < bindings->count; i++) {
    const chip_binding *binding = &bindings->items[i];
    if (binding->tensor) tensor_use_begin(tensor_storage_of(binding->tensor), comes_back(binding));
  }
}

void chip_bindings_end(chip_bindings *bindings, const baton_error *failure) {
  for (uint32_t i = 0; i < bindings->count && bindings->in_use; i++) {
    const chip_binding *binding = &bindings->items[i];
    if (binding->tensor) tensor_use_end(tensor_storage_of(binding->tensor), comes_back(binding), failure);
  }
  bindings->in_use = 0;
}

baton_status chip_bindings_check_inputs(const chip_bindings *bindings, baton_error *err) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    const chip_binding *binding = &bindings->items[i];
    if (!binding->tensor || !chip_binding_read(binding)) continue;
    BATON_TRY(
        chip_bindings_blame(bindings, i, tensor_take_failure(tensor_storage_of(binding->tensor), err), err));
  }
  return BATON_OK;
}

void chip_bindings_tell(const chip_bindings *bindings) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    const chip_binding *binding = &bindings->items[i];
    if (binding->tensor && comes_back(binding))
      (void)tensor_take_failure(tensor_storage_of(binding->tensor), NULL);
  }
}

int chip_bindings_told(const chip_bindings *bindings) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    const chip_binding *binding = &bindings->items[i];
    if (binding->tensor && comes_back(binding) && !tensor_untold(tensor_storage_of(binding->tensor)))
      return 1;
  }
  return 0;
}

int chip_bindings_use(const chip_bindings *bindings, const tensor_storage *storage) {
  for (uint32_t i = 0; i < bindings->count && bindings->in_use; i++)
    if (bindings->items[i].tensor && tensor_storage_of(bindings->items[i].tensor) == storage) return 1;
  return 0;
}

void chip_bindings_unload(chip_bindings *bindings) {
  for (uint32_t i = 0; i < bindings->count && bindings->items; i++) {
    chip_binding *binding = &bindings->items[i];
    if (binding->tensor && binding->address) (void)device_free(bindings->dev, binding->address, NULL);
    if (binding->buffer) chip_buffer_unuse(binding->buffer);
    binding->address = 0;
    binding->buffer = NULL;
  }
}

void chip_bindings_close(chip_bindings *bindings) {
  chip_bindings_unload(bindings);
  for (uint32_t i = 0; i < bindings->count && bindings->items; i++)
    baton_tensor_close(bindings->items[i].tensor);
  base_free(bindings->items);
  bindings->items = NULL;
  bindings->count = 0;
}
