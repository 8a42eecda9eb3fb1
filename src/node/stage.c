#include "node/stage.h"
#include "base/memory.h"
#include <string.h>

struct node_stage {
  struct node_stage *next;
  base_extent extent;
  baton_view original, copy;
  int written;
};

static uint64_t bytes_of(const baton_view *view) {
  return (uint64_t)baton_view_numel(view) * baton_dtype_size((baton_dtype)view->dtype);
}

static baton_status copy_elements(const baton_view *to, const baton_view *from, baton_error *err) {
  baton_tensor *target = NULL, *source = NULL;
  if (baton_view_contiguous(to) && baton_view_contiguous(from)) {
    memcpy(to->data, from->data, bytes_of(from));
    return BATON_OK;
  }
  baton_status status = tensor_over_view(to, &target, err);
  if (status == BATON_OK) status = tensor_over_view(from, &source, err);
  if (status == BATON_OK) status = baton_tensor_copy(target, source, err);
  baton_tensor_close(source);
  baton_tensor_close(target);
  return status;
}

static baton_view pack(const baton_view *view, void *data) {
  baton_view packed = *view;
  int64_t stride = 1;
  packed.data = data;
  for (int d = view->ndim - 1; d >= 0; stride *= view->shape[d--]) packed.strides[d] = stride;
  return packed;
}

static void destroy(node_stage *stage) {
  base_extent_free(&stage->extent);
  base_free(stage);
}

baton_status node_stage_value(node_member *member, uint32_t i, baton_error *err) {
  node_value *value = &node_command_values(member->command)[i];
  uint32_t segment;
  uint64_t offset;
  if (base_segment_find((const void *)(uintptr_t)value->address, &segment, &offset)) return BATON_OK;
  node_stage *stage = base_calloc(1, sizeof *stage);
  if (!stage) return base_out_of_memory(err, "the copy of a tensor");
  stage->original = value->view;
  stage->written = value->tag != BATON_INPUT;
  baton_status status = base_extent_alloc(bytes_of(&value->view), BASE_CACHE_LINE, &stage->extent, err);
  if (status == BATON_OK) {
    stage->copy = pack(&stage->original, stage->extent.address);
    status = copy_elements(&stage->copy, &stage->original, err);
  }
  if (status != BATON_OK) {
    destroy(stage);
    return baton_error_context(err, "a copy of a tensor in memory that a worker can see");
  }
  stage->next = member->stages;
  member->stages = stage;
  value->view = stage->copy;
  value->address = (uint64_t)(uintptr_t)stage->extent.address;
  value->bytes = bytes_of(&stage->copy);
  return BATON_OK;
}

baton_status node_stage_return(const node_member *member, baton_error *err) {
  for (const node_stage *stage = member->stages; stage; stage = stage->next)
    if (stage->written) BATON_TRY(copy_elements(&stage->original, &stage->copy, err));
  return BATON_OK;
}

void node_stage_free(node_member *member) {
  while (member->stages) {
    node_stage *stage = member->stages;
    member->stages = stage->next;
    destroy(stage);
  }
}
