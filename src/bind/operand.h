/* bind/operand.h - a graph that is being built from Lua, and what its calls are handed: kernels, tensors, scalars. */
#ifndef BIND_OPERAND_H
#define BIND_OPERAND_H

#include "bind/arguments.h"
#include "chip/orchestrator.h"

extern const char bind_graph_class[];

enum { BIND_KNOWN_KERNELS = 16 };

/* Lives as long as `g`; dead after the graph function returned. User value 1 is a table that keeps the strings of Lua
** whose addresses are remembered here: a string that is kept is told by its address alone. */
typedef struct bind_graph {
  baton_orch *o; /* NULL: dead */
  const baton_args *args;
  const baton_program *program;
  uint64_t number;
  const void *tensors, *arguments, *lists; /* the metatables of what a submit is handed */
  struct {
    const char *name;
    const chip_kernel *kernel;
    int index;
  } known[BIND_KNOWN_KERNELS];
  const char **names[]; /* of each kernel: the names of its parameters; NULL: nobody has used them yet */
} bind_graph;

/* Pushes a graph. */
bind_graph *bind_push_new_graph(lua_State *L, baton_orch *o, const baton_args *args,
                                const baton_program *program, uint64_t number);

/* The graph of the running function, called as g.name(…); upvalues: the graph, and the name of the function. Raises if
** the graph is dead or has failed. */
bind_graph *bind_check_graph(lua_State *L);

/* Raises what has failed, again at every call. */
void bind_raise_graph_failure(lua_State *L, const bind_graph *graph);
static inline void bind_raise_failure(lua_State *L, const bind_graph *graph) {
  if (__builtin_expect(((const chip_orchestrator *)graph->o)->failure.code != BATON_OK, 0))
    bind_raise_graph_failure(L, graph);
}

/* The kernel named by the string at index 1, and its number. A script names the same few kernels again and again, by the
** same strings. */
const chip_kernel *bind_find_kernel(lua_State *L, bind_graph *graph, int *index);

/* The strings of Lua that name the parameters of kernel `index`, in order; NULL: it has no signature. */
const char **bind_parameter_names(lua_State *L, bind_graph *graph, int index,
                                  const chip_signature *signature);

/* Reads the argument at `index` if that is a tensor of this graph, with a tag or without, or a scalar. Raises nothing. */
int bind_take_operand(lua_State *L, const bind_graph *graph, int index, baton_arg *out);

/* Reads the entries of the table at `index` into `out`, in the order of positions, or of `names` (NULL: none). Returns how
** many there are; -1 if it is not so simple, for whatever reason: then the long way says what is wrong, if anything is. */
int bind_take_operands(lua_State *L, const bind_graph *graph, int index, const char *const *names,
                       int name_count, baton_arg *out, int room);

/* Makes `list` ready for this graph and for the order of `names`; false as above. */
int bind_make_ready(lua_State *L, const bind_graph *graph, int index, bind_list *list,
                    const chip_signature *signature, const char *const *names);

/* Reads any argument; true for output{dtype, shape}, for which memory is allocated. `who` and `position` are for
** messages. */
int bind_read_operand(lua_State *L, const bind_graph *graph, int index, const char *who, int position,
                      baton_arg *out);

/* The same for a tensor without a tag. */
void bind_read_tensor(lua_State *L, const bind_graph *graph, int index, const char *who, int position,
                      baton_arg *out);

#endif
