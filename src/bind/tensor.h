/* bind/tensor.h - shared by the files of the noun "tensor". */
#ifndef BIND_TENSOR_H
#define BIND_TENSOR_H

#include "bind/bind.h"

/* Functions of the module, which are methods of tensors too (tensor_math.c). */
extern const luaL_Reg bind_tensor_math[];

/* The metamethods of arithmetic. */
extern const luaL_Reg bind_tensor_operators[];

/* tensor.from and tensor:totable (tensor_table.c). */
int bind_tensor_from(lua_State *L);
int bind_tensor_totable(lua_State *L);

/* The identity of the metatable of tensors; and where a userdata that has it keeps its tensor, NULL there once it is closed. */
const void *bind_tensor_metatable(lua_State *L);
baton_tensor *const *bind_tensor_place(const void *userdata);

/* Raises unless `status` is BATON_OK; `err` is bind_error's. */
static inline void bind_check_status(lua_State *L, baton_status status, baton_error *err) {
  if (status != BATON_OK) bind_raise(L, err);
}

#endif
