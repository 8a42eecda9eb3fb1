/* bind/scope.h - scopes of `g` and of `orch`. */
#ifndef BIND_SCOPE_H
#define BIND_SCOPE_H

#include "bind/bind.h"

/* Ends the innermost open scope of the userdata that is upvalue 1 of its functions, unless that is dead. */
typedef baton_status bind_scope_end(void *owner, baton_error *err);

/* For a function of such a vocabulary that has begun a scope: with a function at index 1 calls it, ends the scope and returns how
** many results it left on the stack; an error of the function is raised behind the end. With nil there pushes an object that ends the
** scope once: when it is closed, at the end of its variable, or when it is collected; returns 1. */
int bind_scope_call(lua_State *L, bind_scope_end *end);

/* The class of those objects. */
void bind_open_scopes(lua_State *L);

#endif
