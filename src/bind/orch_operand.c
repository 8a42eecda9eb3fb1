/* What a call of `orch` is handed. The functions of the name take are on the way of every submit. */
#include "bind/device_tensor.h"
#include "bind/orch.h"
#include "bind/tensor.h"
#include <string.h>

const char bind_sub_task_class[] = "baton.task";

/* --- Tasks ---------------------------------------------------------------------------------------------- */

/* 8 bits of the number of the orch, 24 of the slot, 32 of the generation. */
void bind_push_node_task(lua_State *L, const bind_orch *orch, baton_task task) {
  lua_pushinteger(L, (lua_Integer)(orch->number << 56 | (uint64_t)task.slot << 32 | task.generation));
}

int bind_test_node_task(lua_State *L, const bind_orch *orch, int index, baton_task *task) {
  const bind_sub_task *object = bind_test_class(L, index, bind_sub_task_class);
  if (object && object->orch == orch) {
    *task = object->task;
    return 1;
  }
  if (object) bind_fail(L, BATON_STALE_HANDLE, "the task is none of this run");
  if (!lua_isinteger(L, index)) return 0;
  uint64_t packed = (uint64_t)lua_tointeger(L, index);
  if (packed >> 56 != (orch->number & 0xff)) bind_fail(L, BATON_STALE_HANDLE, "the task is none of this run");
  *task = (baton_task){(uint32_t)(packed >> 32) & 0xffffff, (uint32_t)packed};
  return 1;
}

/* --- The short way -------------------------------------------------------------------------------------- */

static int take_tensor(baton_tensor *const *tensor, bind_orch_item *out) {
  out->tensor = tensor;
  out->value.tensor = *tensor;
  return *tensor != NULL;
}

static int take_intermediate(const bind_device_tensor *tensor, const bind_orch *orch, bind_orch_item *out) {
  out->value.view = &tensor->view;
  return tensor->graph == orch->number;
}

static int take_child(lua_State *L, int index, bind_orch_item *out) {
  const bind_child *child = lua_touserdata(L, index);
  lua_getiuservalue(L, index, 1);
  out->value.buffer = ((const bind_buffer *)lua_touserdata(L, -1))->node;
  lua_pop(L, 1);
  out->value.view = &child->view;
  return out->value.buffer != NULL;
}

/* A tensor of any kind at `index`, whose metatable this is. */
static int take_memory(lua_State *L, const bind_orch *orch, int index, const void *metatable,
                       bind_orch_item *out) {
  if (metatable == orch->tensors) return take_tensor(bind_tensor_place(lua_touserdata(L, index)), out);
  if (metatable == orch->intermediates) return take_intermediate(lua_touserdata(L, index), orch, out);
  return metatable == orch->children && take_child(L, index, out);
}

static int take_scalar(lua_State *L, int index, bind_orch_item *out) {
  baton_arg scalar;
  if (!bind_to_scalar(L, index, &scalar)) return 0;
  out->value.tag = BATON_SCALAR;
  out->value.dtype = scalar.dtype;
  out->value.scalar.u64 = scalar.scalar.u64;
  return 1;
}

int bind_take_value(lua_State *L, const bind_orch *orch, int index, bind_orch_item *out) {
  const void *metatable = bind_metatable_at(L, index);
  *out = (bind_orch_item){0};
  if (!metatable) return take_scalar(L, index, out);
  if (metatable != orch->arguments) return take_memory(L, orch, index, metatable, out);
  const bind_argument *argument = lua_touserdata(L, index);
  if (argument->tag == BATON_SCALAR) return take_scalar(L, index, out);
  if (argument->fresh) return 0;
  lua_getiuservalue(L, index, 1);
  metatable = bind_metatable_at(L, -1);
  int taken = metatable && take_memory(L, orch, lua_gettop(L), metatable, out);
  lua_pop(L, 1);
  out->value.tag = argument->tag;
  return taken;
}

/* --- The long way --------------------------------------------------------------------------------------- */

/* Raises what is wrong with the value at `index`. */
static void refuse_value(lua_State *L, const bind_orch *orch, int index, const chip_signature *signature,
                         const char *who, int position) {
  const bind_argument *argument = bind_test_argument(L, index);
  if (argument) {
    lua_getiuservalue(L, index, 1);
    index = lua_gettop(L);
  }
  const void *metatable = bind_metatable_at(L, index);
  if (metatable == orch->tensors) (void)bind_test_tensor(L, index); /* a closed one */
  if (metatable == orch->intermediates)
    bind_fail(L, BATON_STALE_HANDLE,
              "%s: argument %d: a tensor of another run; it lived until its function returned", who,
              position);
  if (metatable == orch->children) {
    lua_getiuservalue(L, index, 1);
    (void)bind_check_node_buffer(L, lua_gettop(L)); /* one of a chip */
  }
  int named = signature && (uint32_t)position <= signature->count;
  bind_fail(L, BATON_SIGNATURE, "%s: argument %d%s%s%s: a tensor or a number expected, got %s", who, position,
            named ? " (" : "", named ? signature->items[position - 1].name : "", named ? ")" : "",
            bind_describe(L, index));
}

void bind_read_value(lua_State *L, const bind_orch *orch, int index, const chip_signature *signature,
                     const char *who, int position, bind_orch_item *out) {
  if (bind_take_value(L, orch, index, out)) return;
  const bind_argument *argument = bind_test_argument(L, index);
  if (!argument || !argument->fresh) refuse_value(L, orch, index, signature, who, position);
  const baton_view *wanted = &argument->value.view;
  bind_push_intermediate(L, orch, (baton_dtype)wanted->dtype, wanted->ndim, wanted->shape);
  lua_replace(L, index);
  (void)bind_take_value(L, orch, index, out);
  out->value.tag = BATON_OUTPUT;
  out->fresh = 1;
}

int bind_read_values(lua_State *L, const bind_orch *orch, int first, int count,
                     const chip_signature *signature, const char *who, baton_node_value *values) {
  bind_orch_item item;
  int fresh = 0;
  luaL_checkstack(L, 8, "too many arguments");
  for (int i = 0; i < count; i++) {
    bind_read_value(L, orch, first + i, signature, who, i + 1, &item);
    values[i] = item.value;
    fresh += item.fresh;
  }
  return fresh;
}

/* Whoever tags a tensor as output hands over the tag, so an intermediate itself stands there in place of output{…} only. */
int bind_push_fresh(lua_State *L, const bind_orch *orch, int first, int count,
                    const baton_node_value *values) {
  int pushed = 0;
  luaL_checkstack(L, count + 1, "too many tensors");
  for (int i = 0; i < count; i++) {
    if (values[i].tag != BATON_OUTPUT || bind_metatable_at(L, first + i) != orch->intermediates) continue;
    lua_pushvalue(L, first + i);
    pushed++;
  }
  return pushed;
}
