/* bind/device_tensor.h - device tensors in a graph function: the fields and views of a host tensor, no elements. */
#ifndef BIND_DEVICE_TENSOR_H
#define BIND_DEVICE_TENSOR_H

#include "bind/bind.h"

typedef struct bind_device_tensor {
  baton_view view;
  uint64_t graph; /* number of the graph that it belongs to */
} bind_device_tensor;

extern const char bind_device_tensor_class[];

void bind_push_device_tensor(lua_State *L, const baton_view *view, uint64_t graph);

/* NULL for what is none. */
const bind_device_tensor *bind_test_device_tensor(lua_State *L, int index);

#endif
