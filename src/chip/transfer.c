/* Arguments on their way to the device and back. */
#include "chip/binding.h"
#include "task/region.h"
#include "tensor/storage.h"

enum { UNDEFINED_BYTE = 0xA5 };

/* The elements of a host view as a tensor that nobody waits for: the run itself counts as a user of its
** own one. */
static baton_status alias_host(const baton_view *host, baton_tensor **out, baton_error *err) {
  task_region region;
  baton_tensor *whole;
  task_region_make(&region, (uintptr_t)host->data, (uint32_t)baton_dtype_size((baton_dtype)host->dtype),
                   host->ndim, host->shape, host->strides);
  int64_t size = (int64_t)baton_dtype_size((baton_dtype)host->dtype);
  int64_t count = (int64_t)(task_region_end(&region) - region.offset) / size;
  *out = NULL;
  BATON_TRY(
      baton_tensor_wrap((void *)(uintptr_t)region.offset, (baton_dtype)host->dtype, 1, &count, &whole, err));
  baton_status status = baton_tensor_from_view(whole, host, out, err);
  baton_tensor_close(whole);
  return status;
}

static baton_status copy_in(device *dev, const chip_binding *binding, baton_error *err) {
  const baton_view *host = baton_tensor_view(binding->tensor);
  if (baton_view_contiguous(host))
    return device_copy_in(dev, binding->address, host->data, binding->bytes, err);
  baton_tensor *alias, *packed;
  BATON_TRY(alias_host(host, &alias, err));
  baton_status status = baton_tensor_clone(alias, &packed, err);
  baton_tensor_close(alias);
  if (status != BATON_OK) return status;
  status = device_copy_in(dev, binding->address, baton_tensor_view(packed)->data, binding->bytes, err);
  baton_tensor_close(packed);
  return status;
}

static baton_status copy_out(device *dev, const chip_binding *binding, baton_error *err) {
  const baton_view *host = baton_tensor_view(binding->tensor);
  if (baton_view_contiguous(host))
    return device_copy_out(dev, binding->address, host->data, binding->bytes, err);
  baton_tensor *alias, *packed;
  BATON_TRY(baton_tensor_empty((baton_dtype)host->dtype, host->ndim, host->shape, &packed, err));
  baton_status status = alias_host(host, &alias, err);
  if (status == BATON_OK) {
    status = device_copy_out(dev, binding->address, baton_tensor_view(packed)->data, binding->bytes, err);
    if (status == BATON_OK) status = baton_tensor_copy(alias, packed, err);
    baton_tensor_close(alias);
  }
  baton_tensor_close(packed);
  return status;
}

static baton_status place(device *dev, chip_binding *binding, baton_error *err) {
  void *bytes;
  BATON_TRY(device_alloc(dev, binding->bytes, &binding->address, err));
  BATON_TRY(device_translate(dev, binding->address, binding->bytes, &bytes, err));
  binding->kernel_bytes = bytes;
  binding->view.base = binding->address;
  binding->view.data = (void *)(uintptr_t)binding->address;
  binding->argument.value.data = binding->view.data;
  return BATON_OK;
}

/* Host tensors without elements have no memory on the device. */
static int travels(const chip_binding *binding) { return binding->tensor && binding->bytes; }

baton_status chip_bindings_place(chip_bindings *bindings, baton_error *err) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    chip_binding *binding = &bindings->items[i];
    if (travels(binding))
      BATON_TRY(chip_bindings_blame(bindings, i, place(bindings->dev, binding, err), err));
  }
  return BATON_OK;
}

static baton_status upload(device *dev, const chip_binding *binding, baton_error *err) {
  if (chip_binding_read(binding)) return copy_in(dev, binding, err);
  return device_fill(dev, binding->address, UNDEFINED_BYTE, binding->bytes, err);
}

baton_status chip_bindings_upload(chip_bindings *bindings, baton_error *err) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    chip_binding *binding = &bindings->items[i];
    if (!travels(binding) || binding->current) continue;
    BATON_TRY(chip_bindings_blame(bindings, i, upload(bindings->dev, binding, err), err));
    binding->current = binding->resident;
  }
  return BATON_OK;
}

baton_status chip_bindings_await_inputs(const chip_bindings *bindings, baton_error *err) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    const chip_binding *binding = &bindings->items[i];
    if (travels(binding) && chip_binding_read(binding) && !binding->current)
      BATON_TRY(chip_bindings_blame(bindings, i, tensor_await(binding->tensor, 0, err), err));
  }
  return BATON_OK;
}

baton_status chip_bindings_download(chip_bindings *bindings, baton_error *err) {
  for (uint32_t i = 0; i < bindings->count; i++) {
    chip_binding *binding = &bindings->items[i];
    if (!travels(binding) || !chip_binding_written(binding)) continue;
    if (binding->resident)
      binding->changed = 1;
    else
      BATON_TRY(chip_bindings_blame(bindings, i, copy_out(bindings->dev, binding, err), err));
  }
  return BATON_OK;
}

baton_status chip_bindings_collect(chip_bindings *bindings, uint32_t i, baton_error *err) {
  chip_binding *binding = &bindings->items[i];
  if (!binding->changed) return BATON_OK;
  baton_status status = tensor_await(binding->tensor, 1, err);
  if (status == BATON_OK) status = copy_out(bindings->dev, binding, err);
  if (status == BATON_OK) binding->changed = 0;
  return chip_bindings_blame(bindings, i, status, err);
}
