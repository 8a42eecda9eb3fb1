/* bind/bind.h - what every noun of the Lua binding uses: errors, arguments, option tables, classes.
**
** A noun is one file: it declares `void bind_open_<noun>(lua_State *L)` below, adds its line in module.c, and
** finds the table `baton` on top of the stack. Functions that raise leave by longjmp: hold nothing then that
** the Lua state does not own. */
#ifndef BIND_BIND_H
#define BIND_BIND_H

#include <baton/tensor.h>
#include <lauxlib.h>
#include <lua.h>

/* --- The nouns ------------------------------------------------------------------------------------------ */

void bind_open_error(lua_State *L);
void bind_open_tensor(lua_State *L);
void bind_open_program(lua_State *L);
void bind_open_arguments(lua_State *L);
void bind_open_device_tensor(lua_State *L);
void bind_open_graph(lua_State *L);
void bind_open_worker(lua_State *L);
void bind_open_json(lua_State *L);
void bind_open_platform(lua_State *L);
void bind_open_scene(lua_State *L);

/* Makes `require "baton"` and `require "baton.<noun>"` work in a program that links this library. Nothing is
** opened before it is required. */
void bind_preload(lua_State *L);

/* From now on SIGUSR1 makes all open workers and nodes write their dumps to stderr; why it does not is logged. A program does that for
** itself; a process that only loads Baton is asked to by BATON_DUMP_SIGNAL. */
void bind_dump_on_signal(void);

/* --- Errors --------------------------------------------------------------------------------------------- */

/* An empty error that the Lua state owns, for the call that follows. The next bind_error of the same state
** gives the same object again, cleared: what calls back into Lua and needs its error afterwards uses
** bind_push_error. */
baton_error *bind_error(lua_State *L);

/* Pushes a userdata that owns an empty error, which lives as long as the userdata. */
baton_error *bind_push_error(lua_State *L);

/* Pushes the error object of api.md section 9, a table with __tostring, and clears `err`. */
void bind_push_failure(lua_State *L, baton_error *err);

/* True for an error object. */
int bind_is_failure(lua_State *L, int index);

/* The other direction of bind_push_failure, for any value that was raised: what an error object says; the text of anything else,
** as `user_fail`. May raise what its __tostring raises. */
void bind_take_failure(lua_State *L, int index, baton_error *err);

/* Raises `err` as an error object and clears it. Never returns; the int allows `return bind_raise(L,
** err)`. */
int bind_raise(lua_State *L, baton_error *err);

/* Raises an error object made of a code and a sentence. Never returns. */
int bind_fail(lua_State *L, baton_status code, const char *fmt, ...) BATON_PRINTF(3, 4);

/* Raises invalid_argument "FUNCTION: sentence", where FUNCTION is the running function as bind_functions
** named it. Never returns. */
int bind_bad_argument(lua_State *L, const char *fmt, ...) BATON_PRINTF(2, 3);

/* Pushes what a message says of the value at `index`: numbers, strings and booleans as they are, "a table", …
** Returns the text, which lives as long as it is on the stack. */
const char *bind_describe(lua_State *L, int index);

/* --- Functions and classes ------------------------------------------------------------------------------ */

/* Stores functions in the table on top of the stack, like luaL_setfuncs, and remembers them as "NOUN.NAME"
** for error messages. */
void bind_functions(lua_State *L, const char *noun, const luaL_Reg *functions);

/* Pushes "NOUN.NAME" of the running function ("?" if nobody named it) and returns it. */
const char *bind_function_name(lua_State *L);

/* Pushes the metatable of a class of userdata, as luaL_newmetatable does. `class` is its name; its address is its
** identity. */
int bind_new_class(lua_State *L, const char *class);

/* The same with all that a class has: metamethods, and methods, whose errors call them "NOUN.NAME", as lists of lists that end with
** NULL. `index`: __index, with a table of the methods as its upvalue 1; NULL: the table itself. Pushes nothing. */
void bind_open_class(lua_State *L, const char *class, const char *noun, const luaL_Reg *events,
                     const luaL_Reg *const *methods, lua_CFunction index);

/* The userdata at `index` if it is of this class, else NULL. */
void *bind_test_class(lua_State *L, int index, const char *class);

/* The same in two halves, for what is on the way of every submit: the identity of the metatable of a class, and of the
** full userdata at `index` (NULL: it is none, or has no metatable). */
const void *bind_class_metatable(lua_State *L, const char *class);
const void *bind_metatable_at(lua_State *L, int index);

/* The userdata of a class at index 1, whose method is called; raises for anything else. `what` it is: "a run". */
void *bind_check_self(lua_State *L, const char *class, const char *what);

/* --- Arguments: `name` is what the message calls them --------------------------------------------------- */

int64_t bind_check_integer(lua_State *L, int arg, const char *name, int64_t min, int64_t max);
double bind_check_number(lua_State *L, int arg, const char *name);
const char *bind_check_string(lua_State *L, int arg, const char *name);
void bind_check_table(lua_State *L, int arg, const char *name);

/* A size in bytes: a non-negative integer, or a text such as "64KiB", "256MiB", "2GiB", "1GB". */
uint64_t bind_check_size(lua_State *L, int arg, const char *name);

/* --- Option tables: `table` is the index of a table, or of nil or none for "all defaults" --------------- */

/* Raises unless the value is a table (or absent) whose keys all stand in `names` (ends with NULL). An unknown
** key raises `unknown_option` with the nearest known one; `what` says whose options they are ("worker"). */
void bind_check_options(lua_State *L, int table, const char *what, const char *const *names);

/* One option each, or `absent` if it is not there. A wrong type or range raises
** "field 'NAME' must be an integer in MIN..MAX, got VALUE". Texts live as long as the table holds them. */
int64_t bind_option_integer(lua_State *L, int table, const char *name, int64_t min, int64_t max,
                            int64_t absent);
double bind_option_number(lua_State *L, int table, const char *name, double min, double max, double absent);
const char *bind_option_string(lua_State *L, int table, const char *name, const char *absent);
int bind_option_boolean(lua_State *L, int table, const char *name, int absent);
uint64_t bind_option_size(lua_State *L, int table, const char *name, uint64_t absent);

/* Pushes the option; true if it is a table. Absent: pushes nil and returns false. Anything else raises. */
int bind_option_table(lua_State *L, int table, const char *name);

/* The entry of `names` (ends with NULL) that is nearest to `word` by edits; NULL if none is near. */
const char *bind_nearest(const char *word, const char *const *names);

/* Reads "256MiB" and the like; false if `text` is no size. */
int bind_parse_size(const char *text, uint64_t *out);

/* --- Tensors -------------------------------------------------------------------------------------------- */

/* The tensor at `arg`; raises `closed` for a closed one. It lives as long as its userdata is not closed. */
baton_tensor *bind_check_tensor(lua_State *L, int arg);

/* The same, but NULL for what is no tensor. */
baton_tensor *bind_test_tensor(lua_State *L, int arg);

/* Pushes a tensor and takes it over; if memory is out it is closed before the error leaves. */
void bind_push_tensor(lua_State *L, baton_tensor *tensor);

/* Pushes a closed tensor, to be opened through the result: baton_tensor_x(…, bind_new_tensor(L), err). */
baton_tensor **bind_new_tensor(lua_State *L);

/* A dtype by name; raises for others. */
baton_dtype bind_check_dtype(lua_State *L, int arg, const char *name);

/* A list of sizes, or one integer for one dimension. Returns the number of dimensions. */
int bind_check_shape(lua_State *L, int arg, const char *name, int64_t shape[BATON_MAX_DIMS]);

/* Pushes a read-only list of integers: #, ipairs, pairs, table.unpack and == work on it. */
void bind_push_shape(lua_State *L, int ndim, const int64_t *shape);

/* Pushes the plain list behind what bind_push_shape made; false, with nothing pushed, for anything else. */
int bind_push_shape_list(lua_State *L, int index);

/* Pushes a number as Lua has it: u64 as the integer of the same bits, an element of a bool tensor as a
** boolean. */
void bind_push_number(lua_State *L, baton_dtype dtype, baton_number number);

/* A number, or for bool a boolean, for an element of `dtype`. */
baton_number bind_check_element(lua_State *L, int arg, const char *name, baton_dtype dtype);

/* --- Views: what host tensors and device tensors have in common ----------------------------------------- */

/* Pushes the field `key` of a view (dtype ndim numel nbytes strides); false, with nothing pushed, if it has
** none of that name. The field `shape` is the owner's to make and keep: bind_push_shape. */
int bind_view_field(lua_State *L, const baton_view *view, const char *key);

/* Pushes "f32[2,3]" and returns it. */
const char *bind_view_text(lua_State *L, const baton_view *view);

/* The view operations, with their arguments in Lua's counting from `arg` on; what does not fit raises. */
int bind_check_dim(lua_State *L, const baton_view *view, int arg, const char *name);
int64_t bind_view_size(lua_State *L, const baton_view *view, int arg);         /* dim */
baton_view bind_view_slice(lua_State *L, const baton_view *view, int arg);     /* dim, first, count */
baton_view bind_view_tile(lua_State *L, const baton_view *view, int arg);      /* first1, count1, … */
baton_view bind_view_select(lua_State *L, const baton_view *view, int arg);    /* dim, i */
baton_view bind_view_reshape(lua_State *L, const baton_view *view, int arg);   /* shape */
baton_view bind_view_transpose(lua_State *L, const baton_view *view, int arg); /* dim1, dim2 */

/* Reads ndim element indices, and nothing behind them, into `index` (from 0). */
void bind_view_index(lua_State *L, const baton_view *view, int arg, int64_t index[BATON_MAX_DIMS]);

#endif
