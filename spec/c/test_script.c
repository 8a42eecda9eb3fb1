/* Lua functions that run in another state: packing, unpacking, calling. Most checks are Lua, run in the state that packs; `call(f,
** args)` there runs a function in the state of a worker. */
#include "base/atomic.h"
#include "base/memory.h"
#include "bind/bind.h"
#include "bind/pack.h"
#include "bind/script.h"
#include "bind/tensor.h"
#include <baton/baton.h>
#include <errno.h>
#include <lualib.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_TENSORS = 64 };

typedef struct fixture {
  lua_State *L;
  const node_script_calls *scripts;
  void *worker;
} fixture;

static fixture *fixture_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* --- The functions of the checks ------------------------------------------------------------------------ */

static int count_userdata_tensor(lua_State *L, int index) {
  (void)L;
  (void)index;
  return 0;
}

static const bind_pack_options options = {.who = "submit", .is_tensor = count_userdata_tensor};

/* Calls what is packed, over the tensors of the list at `list`; pushes the results. */
static int call_packed(lua_State *L, const char *data, size_t size, int list) {
  const fixture *f = fixture_of(L);
  baton_view views[MOST_TENSORS];
  uint32_t count = list ? (uint32_t)lua_rawlen(L, list) : 0;
  for (uint32_t i = 0; i < count; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    views[i] = *baton_tensor_view(bind_check_tensor(L, -1));
    lua_pop(L, 1);
  }
  node_bytes result = {0};
  baton_error *err = bind_error(L);
  if (f->scripts->call(f->worker, data, size, views, count, &result, err) != BATON_OK) {
    base_free(result.data);
    return bind_raise(L, err);
  }
  lua_pushlstring(L, result.data, result.size);
  base_free(result.data);
  size_t length;
  const char *bytes = lua_tolstring(L, -1, &length);
  return bind_unpack_results(L, bytes, length);
}

static int check_call(lua_State *L) { /* call(function, args) -> results */
  bind_packed packed;
  lua_settop(L, 2);
  bind_pack_call(L, 1, 2, &options, &packed);
  return call_packed(L, packed.data, packed.size, 4);
}

static int check_pack(lua_State *L) { /* pack(function, args) -> bytes, tensors, tags */
  bind_packed packed;
  lua_settop(L, 2);
  bind_pack_call(L, 1, 2, &options, &packed);
  lua_pushlstring(L, packed.data, packed.size);
  lua_insert(L, -2);
  lua_pushlstring(L, (const char *)packed.tags, packed.ntensors);
  return 3;
}

static int check_feed(lua_State *L) { /* feed(bytes, tensors) -> results */
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  char *copy = lua_newuserdatauv(L, size + 1, 0);
  memcpy(copy, data, size);
  return call_packed(L, copy, size, lua_istable(L, 2) ? 2 : 0);
}

static int check_pack_results(lua_State *L) { /* pack_results(…) -> bytes */
  node_bytes *bytes = lua_newuserdatauv(L, sizeof *bytes, 0);
  *bytes = (node_bytes){0};
  bind_pack_results(L, 1, lua_gettop(L) - 1, "test", bytes);
  lua_pushlstring(L, bytes->data, bytes->size);
  base_free(bytes->data);
  return 1;
}

static int check_pack_function(lua_State *L) { /* pack_function(function) -> bytes */
  bind_packed packed;
  bind_pack_function(L, 1, "program", &packed);
  lua_pushlstring(L, packed.data, packed.size);
  return 1;
}

static int check_unpack_results(lua_State *L) { /* unpack_results(bytes) -> … */
  size_t size;
  const char *data = luaL_checklstring(L, 1, &size);
  return bind_unpack_results(L, data, size);
}

/* --- Fixture -------------------------------------------------------------------------------------------- */

static const char prelude[] = "baton = require 'baton'\n"
                              "tensor = require 'baton.tensor'\n"
                              "function same(got, want)\n"
                              "  if got ~= want and (got == got or want == want) then\n"
                              "    error(('got %s, want %s'):format(tostring(got), tostring(want)), 2)\n"
                              "  end\n"
                              "end\n"
                              "function refused(f, ...)\n"
                              "  local ok, err = pcall(f, ...)\n"
                              "  if ok then error('not refused', 2) end\n"
                              "  return err\n"
                              "end\n";

static void check_text(lua_State *L, const char *text) {
  int status = luaL_loadbuffer(L, text, strlen(text), "=scene.lua");
  if (status == LUA_OK) status = lua_pcall(L, 0, 0, 0);
  if (status != LUA_OK) {
    const char *message = luaL_tolstring(L, -1, NULL);
    print_error("%s\n", message);
  }
  assert_int_equal(status, LUA_OK);
  lua_settop(L, 0);
}

/* ThreadSanitizer remembers the frames that an error of Lua leaves, and becomes slow by thousands of them. */
#ifdef __SANITIZE_THREAD__
enum { IS_THREAD_SANITIZED = 1 };
#else
enum { IS_THREAD_SANITIZED = 0 };
#endif

static int open_fixture(void **state) {
  static const luaL_Reg functions[] = {{"call", check_call},
                                       {"pack", check_pack},
                                       {"feed", check_feed},
                                       {"pack_function", check_pack_function},
                                       {"pack_results", check_pack_results},
                                       {"unpack_results", check_unpack_results},
                                       {NULL, NULL}};
  fixture *f = calloc(1, sizeof *f);
  f->L = luaL_newstate();
  luaL_openlibs(f->L);
  bind_preload(f->L);
  lua_pushglobaltable(f->L);
  lua_pushlightuserdata(f->L, f);
  luaL_setfuncs(f->L, functions, 1);
  lua_settop(f->L, 0);
  lua_pushboolean(f->L, IS_THREAD_SANITIZED);
  lua_setglobal(f->L, "brief");
  check_text(f->L, prelude);
  f->scripts = bind_script_calls();
  assert_int_equal(f->scripts->open(&f->worker, NULL), BATON_OK);
  *state = f;
  return 0;
}

static int close_fixture(void **state) {
  fixture *f = *state;
  f->scripts->close(f->worker);
  lua_close(f->L);
  free(f);
  return 0;
}

static void check(void **state, const char *text) { check_text(((fixture *)*state)->L, text); }

/* --- Values --------------------------------------------------------------------------------------------- */

static void plain_values_cross_unchanged(void **state) {
  check(state,
        "local function echo(args) return table.unpack(args, 1, args.n) end\n"
        "local list = { true, false, nil, math.mininteger, -0.0, 1 / 0, 'a\\0b', '', 2^53, 3, 3.0, n = 11 }\n"
        "local got = table.pack(call(echo, list))\n"
        "same(got.n, 11)\n"
        "for i = 1, 11 do same(got[i], list[i]); same(math.type(got[i]), math.type(list[i])) end\n"
        "same(1 / got[5], -1 / 0)\n"
        "same(select('#', call(function() end)), 0)\n"
        "same(select('#', call(function() return nil, nil end)), 2)\n");
}

static void floats_keep_every_bit(void **state) {
  check(state, "local function bits(x) return string.pack('d', x) end\n"
               "for _, pattern in ipairs { '\\1\\0\\0\\0\\0\\0\\248\\127', '\\7\\6\\5\\4\\3\\2\\248\\255', "
               "'\\1\\0\\0\\0\\0\\0\\0\\0' } do\n"
               "  local x = string.unpack('d', pattern)\n"
               "  same(bits((call(function(args) return args[1] end, { x }))), pattern)\n"
               "end\n");
}

static void one_table_stays_one_table(void **state) {
  check(state, "local shared = { 1, 2 }\n"
               "local args = { a = shared, b = shared, deep = { { shared } } }\n"
               "args.self = args\n"
               "local got = call(function(args)\n"
               "  assert(args.a == args.b and args.deep[1][1] == args.a and args.self == args)\n"
               "  return args\n"
               "end, args)\n"
               "assert(got.a == got.b and got.deep[1][1] == got.a and got.self == got and got.a ~= shared)\n"
               "local upvalue = shared\n"
               "assert(call(function(args) return upvalue == args.a end, args))\n"
               "local keys = { [{}] = 1, [2.5] = 2, [true] = 3, [-1] = 4, [10] = 5 }\n"
               "local got = call(function(args) return args end, keys)\n"
               "same(got[2.5], 2); same(got[true], 3); same(got[-1], 4); same(got[10], 5)\n");
}

/* Values and their copies are equal if there is a one-to-one map of their tables. */
static void random_values_cross_unchanged(void **state) {
  check(
      state,
      "local tables\n"
      "local function leaf()\n"
      "  local kind = math.random(8)\n"
      "  if kind == 1 then return math.random(0) end\n"
      "  if kind == 2 then return math.random(2) == 1 end\n"
      "  if kind == 3 then return (string.unpack('d', string.pack('i8', math.random(0)))) end\n"
      "  if kind == 4 then return math.random(-3, 3) end\n"
      "  if kind == 5 then return math.random(-3, 3) + 0.0 end\n"
      "  local bytes = {}\n"
      "  for i = 1, math.random(0, 20) do bytes[i] = string.char(math.random(0, 255)) end\n"
      "  return table.concat(bytes)\n"
      "end\n"
      "local function make(depth)\n"
      "  local kind = math.random(10)\n"
      "  if depth == 0 or kind < 4 then return leaf() end\n"
      "  if kind == 4 and #tables > 0 then return tables[math.random(#tables)] end\n"
      "  local t = {}\n"
      "  tables[#tables + 1] = t\n"
      "  for i = 1, math.random(0, 6) do t[i] = make(depth - 1) end\n"
      "  for _ = 1, math.random(0, 4) do\n"
      "    local key = make(depth - 1)\n"
      "    if key == key then t[key] = make(depth - 1) end\n"
      "  end\n"
      "  return t\n"
      "end\n"
      "local function equal(a, b, to, from)\n"
      "  if math.type(a) ~= math.type(b) or type(a) ~= type(b) then return false end\n"
      "  if type(a) ~= 'table' then return a == b or (a ~= a and b ~= b) end\n"
      "  if to[a] or from[b] then return to[a] == b and from[b] == a end\n"
      "  to[a], from[b] = b, a\n"
      "  local others = {}\n"
      "  for key, value in pairs(b) do\n"
      "    if type(key) == 'table' then others[key] = value\n"
      "    elseif a[key] == nil then return false end\n"
      "  end\n"
      "  for key, value in pairs(a) do\n"
      "    if type(key) ~= 'table' then\n"
      "      if not equal(value, b[key], to, from) then return false end\n"
      "    elseif to[key] then\n"
      "      if not equal(value, others[to[key]], to, from) then return false end\n"
      "      others[to[key]] = nil\n"
      "    else\n"
      "      others.count = (others.count or 0) + 1\n"
      "    end\n"
      "  end\n"
      "  return true\n"
      "end\n"
      "local function echo(args) return args[1] end\n"
      "for seed = 1, 400 do\n"
      "  math.randomseed(seed)\n"
      "  tables = {}\n"
      "  local value = make(5)\n"
      "  if not equal(value, call(echo, { value }), {}, {}) then error('seed ' .. seed) end\n"
      "  if not equal(value, (unpack_results(pack_results(value))), {}, {}) then error('seed ' .. seed) end\n"
      "end\n");
}

static void what_is_too_deep_or_too_large_is_refused(void **state) {
  check(state,
        "local chain = {}\n"
        "for _ = 1, 900 do chain = { next = chain } end\n"
        "assert(call(function(args) return args.next.next ~= nil end, chain))\n"
        "for _ = 1, 100000 do chain = { next = chain } end\n"
        "local err = refused(call, function() end, chain)\n"
        "same(err.code, 'invalid_argument')\n"
        "same(err.message, 'submit: args is nested deeper than 1000 levels')\n"
        "local err = refused(call, function() end, { ('x'):rep(16 << 20) })\n"
        "same(err.message, 'submit: the values take more than 16515072 bytes when they are packed')\n"
        "same(err.hint, 'large data goes in tensors, which are not copied')\n"
        "same(#call(function(args) return args[1] end, { ('x'):rep(15 << 20) }), 15 << 20)\n"
        "local err = refused(call, function() return ('x'):rep(16 << 20) end)\n"
        "same(err.message, 'the function: the values take more than 16515072 bytes when they are packed')\n");
}

/* --- Functions ------------------------------------------------------------------------------------------ */

static void functions_take_their_upvalues_along(void **state) {
  check(state, "local count, name, list = 3, 'x', { 1, { 2 } }\n"
               "local function double(n) return 2 * n end\n"
               "local function fact(n) return n < 2 and 1 or n * fact(n - 1) end\n"
               "local even, odd\n"
               "function even(n) return n == 0 or odd(n - 1) end\n"
               "function odd(n) return n ~= 0 and even(n - 1) end\n"
               "same(call(function() return count + list[2][1] .. name end), '5x')\n"
               "same(call(function() return double(fact(5)) end), 240)\n"
               "same(call(function() return even(10) and not even(7) end), true)\n"
               "local box = { double = double, list = list }\n"
               "same(call(function() return box.double(box.list[1]) end), 2)\n");
}

static void functions_that_share_a_variable_share_it_there(void **state) {
  check(state, "local n = 5\n"
               "local function add() n = n + 1 end\n"
               "local function get() return n end\n"
               "local function run() add(); add(); return get(), n end\n"
               "local a, b = call(run)\n"
               "same(a, 7); same(b, 7); same(n, 5)\n"
               "same(call(run), 7)\n" /* loaded anew */
               "local f\n"
               "local holder = { function() return f end }\n"
               "f = function() return holder[1]() == f end\n"
               "same(call(f), true)\n");
}

static void globals_are_those_of_the_other_state(void **state) {
  check(state, "counter = 'here'\n"
               "local function step() counter = (counter or 0) + 1; return counter end\n"
               "same(call(step), 1); same(call(step), 2); same(counter, 'here')\n"
               "local globals = _G\n"
               "same(call(function() return globals == _G and globals.counter end), 2)\n"
               "call(function() counter = nil end)\n");
}

static void modules_and_functions_of_c_go_by_name(void **state) {
  check(state,
        "local baton, tensor, noun = require 'baton', require 'baton.tensor', baton.json\n"
        "local format, print, floor, zeros, out = string.format, print, math.floor, tensor.zeros, io.stdout\n"
        "same(call(function() return baton == require 'baton' and tensor == baton.tensor end), true)\n"
        "same(call(function() return noun == require 'baton.json' end), true)\n"
        "same(call(function() return format('%d', floor(2.5)) end), '2')\n"
        "same(call(function() return zeros('f32', { 2 }).numel end), 2)\n"
        "same(call(function() return print == _G.print and out == io.stdout end), true)\n"
        "same(call(table.unpack, { 'x' }), 'x')\n");
}

static void modules_are_found_where_the_caller_finds_them(void **state) {
  char folder[] = "/tmp/baton-test-script-XXXXXX", path[128];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/helper_of_test.lua", folder);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs("local M = { loaded = 0 }\nfunction M.twice(args) return 2 * args[1] end\nreturn M\n", file);
  fclose(file);
  lua_State *L = ((fixture *)*state)->L;
  lua_pushstring(L, folder);
  lua_setglobal(L, "folder");
  check(state,
        "package.path = folder .. '/?.lua;' .. package.path\n"
        "local helper = require 'helper_of_test'\n"
        "local twice = helper.twice\n"
        "same(call(function(args) return helper.twice(args) end, { 21 }), 42)\n"
        "same(call(function(args) return twice(args) end, { 4 }), 8)\n"
        "same(call('helper_of_test:twice', { 4 }), 8)\n"
        "local err = refused(call, 'helper_of_test:thrice', {})\n"
        "same(err.code, 'invalid_argument')\n"
        "same(err.message, \"module 'helper_of_test' has no 'thrice' in the state that the function runs "
        "in\")\n"
        "local err = refused(call, 'helper_of_test:loaded', {})\n"
        "same(err.message, '\"module:function\" must name a function, not 0')\n"
        "local err = refused(call, 'no_such_module:f', {})\n"
        "assert(err.message:find(\"module 'no_such_module' not found\", 1, true), err.message)\n"
        "for _, text in ipairs { 'module', ':f', 'm:', 'a:b:c' } do\n"
        "  same(refused(call, text, {}).message,\n"
        "    'submit: a function or \"module:function\" expected, got \"' .. text .. '\"')\n"
        "end\n"
        "same(refused(call, 5, {}).message, 'submit: a function or \"module:function\" expected, got 5')\n");
  unlink(path);
  rmdir(folder);
}

static void what_cannot_cross_is_named(void **state) {
  check(state,
        "local co = coroutine.create(print)\n"
        "local object = setmetatable({}, {})\n"
        "local file = io.tmpfile()\n"
        "local odd = pairs(object)\n"
        "local gmatch = ('x'):gmatch('.')\n"
        "local holder = { first = { 1, { ['a b'] = co } } }\n"
        "local function uses(what) return function() return what end end\n"
        "local function report() return co end\n"
        "local err = refused(call, report)\n"
        "same(err.code, 'invalid_argument')\n"
        "same(err.message, \"report (scene.lua:8): upvalue 'co' is a coroutine, which cannot go to another "
        "state\")\n"
        "assert(err.hint:find 'tensors')\n"
        "local function nested() return report() end\n"
        "same(refused(call, nested).message, err.message)\n"
        "same(refused(call, function() return object end).message,\n"
        "  \"a function (scene.lua:15): upvalue 'object' is a table with a metatable, which cannot go to "
        "another state\")\n"
        "same(refused(call, uses(file)).message,\n"
        "  \"a function (scene.lua:7): upvalue 'what' is a FILE*, which cannot go to another state\")\n"
        "same(refused(call, uses(gmatch)).message, \"a function (scene.lua:7): upvalue 'what' is a function "
        "of C \"\n"
        "  .. 'that is in no loaded module, which cannot go to another state')\n"
        "same(refused(call, function() return holder end).message,\n"
        "  \"a function (scene.lua:21): upvalue 'holder'.first[2]['a b'] is a coroutine, which cannot go to "
        "another state\")\n"
        "same(refused(call, function() end, { x = { y = co } }).message,\n"
        "  'submit: args.x.y is a coroutine, which cannot go to another state')\n"
        "local err = refused(call, function() end, { print })\n"
        "same(err.message, 'submit: args[1] is a function, which an argument list cannot have')\n"
        "same(err.hint, 'capture it as an upvalue')\n"
        "same(refused(call, function() end, 5).message, 'submit: a table of arguments expected, got 5')\n"
        "local tag = baton.input(tensor.zeros('f32', { 1 }))\n"
        "same(refused(call, uses(tag)).message,\n"
        "  \"a function (scene.lua:7): upvalue 'what' is a tagged argument, which cannot go to another "
        "state\")\n");
}

/* --- Tensors -------------------------------------------------------------------------------------------- */

static void tensors_are_shared_not_copied(void **state) {
  check(state, "local x, y = tensor.arange('f32', { 4, 3 }), tensor.zeros('i64', { 2 })\n"
               "local captured = tensor.full('f64', { 1 }, 7)\n"
               "local column = x:select(2, 2)\n"
               "local turned = x:transpose(1, 2)\n"
               "local function fill(args)\n"
               "  assert(args.x == args.again and args.column:get(3) == 7 and args.turned:get(2, 4) == 10)\n"
               "  args.y:set(42, 2)\n"
               "  args.column:fill(-1)\n"
               "  captured:set(captured:get(1) + args.scale, 1)\n"
               "  return args.x.shape[1], args.turned.strides[1], args.n\n"
               "end\n"
               "local rows, stride, n = call(fill, { x = x, again = x, y = baton.output(y), column = column, "
               "turned = turned,\n"
               "  scale = baton.scalar('f32', 0.5), n = baton.scalar('u8', 200) })\n"
               "same(rows, 4); same(stride, 1); same(n, 200)\n"
               "same(y:get(2), 42); same(x:get(3, 2), -1); same(x:get(3, 1), 6); same(captured:get(1), 7.5)\n"
               "local empty = tensor.zeros('f32', { 0, 3 })\n"
               "same(call(function(args) return args[1].numel end, { empty }), 0)\n");
}

static void tensors_are_listed_with_their_tags(void **state) {
  check(state, "local a, b, c, d = tensor.zeros('f32', { 1 }), tensor.zeros('f32', { 1 }), "
               "tensor.zeros('f32', { 1 }),\n"
               "  tensor.zeros('f32', { 1 })\n"
               "local function uses() return a, d end\n"
               "local bytes, list, tags = pack(uses, { baton.input(a), { baton.no_dep(b) }, c })\n"
               "same(#list, 4); same(list[1], a); same(list[2], b); same(list[3], c); same(list[4], d)\n"
               "same(tags, '\\1\\4\\0\\0')\n"
               "local _, _, tags = pack(print, { baton.input(a), baton.output(a) })\n"
               "same(tags, '\\3')\n"
               "local _, list, tags = pack(print, baton.args { x = baton.output(a) })\n"
               "same(list[1], a); same(tags, '\\2')\n"
               "same(#select(2, pack(print)), 0)\n"
               "local err = refused(pack, print, { out = baton.output { 'f32', { 2 } } })\n"
               "same(err.message, 'submit: args.out asks for memory of the runtime, which a function of the "
               "host cannot get')\n"
               "assert(err.hint:find 'orch.alloc')\n"
               "a:close()\n"
               "same(refused(pack, print, { a }).code, 'closed')\n");
}

static void shapes_stay_read_only_lists(void **state) {
  check(state, "local shape = tensor.zeros('f32', { 2, 5 }).shape\n"
               "local got, sum = call(function(args) return args.shape, args.shape[1] + shape[2] end, { "
               "shape = shape })\n"
               "assert(got == shape)\n"
               "same(sum, 7)\n"
               "same(refused(function() got[1] = 3 end).message, 'a shape is read-only')\n");
}

static void tensors_end_with_the_call(void **state) {
  check(state, "local x = tensor.zeros('f32', { 1 })\n"
               "call(function(args) kept = args[1] end, { x })\n"
               "local err = refused(call, function() return kept:get(1) end)\n"
               "same(err.code, 'closed'); same(err.message, 'the tensor is closed')\n"
               "refused(call, function(args) kept = args[1]; error 'x' end, { x })\n"
               "same(refused(call, function() return kept:get(1) end).code, 'closed')\n"
               "call(function() kept = nil end)\n");
}

/* --- Results and errors --------------------------------------------------------------------------------- */

static void results_are_plain_values(void **state) {
  check(state,
        "local err = refused(call, function(args) return 1, args end, { y = tensor.zeros('f32', { 1 }) })\n"
        "same(err.code, 'invalid_argument')\n"
        "same(err.message, 'the function: result 2.y is a tensor')\n"
        "same(err.hint, 'write into a tensor of the arguments')\n"
        "same(refused(call, function() return print end).message,\n"
        "  'the function: result 1 is a function, which cannot go to another state')\n"
        "same(refused(call, function() return { { f = print } } end).message,\n"
        "  'the function: result 1[1].f is a function, which cannot go to another state')\n");
}

static void errors_carry_message_and_traceback(void **state) {
  check(state, "local function inner(x) error('no ' .. x) end\n"
               "local function outer(args) inner(args[1]) end\n"
               "local err = refused(call, outer, { 'bread' })\n"
               "same(err.code, 'user_fail')\n"
               "same(err.message, 'scene.lua:1: no bread')\n"
               "assert(err.cause:find '^stack traceback:', err.cause)\n"
               "assert(err.cause:find(\"scene.lua:1: in upvalue 'inner'\", 1, true), err.cause)\n"
               "assert(err.cause:find 'scene.lua:2: in function <scene.lua:2>$', err.cause)\n"
               "local err = refused(call, function() require 'baton'.error.nothing.at.all = 1 end)\n"
               "same(err.message, \"scene.lua:9: attempt to index a nil value (field 'nothing')\")\n"
               "local err = refused(call, function()\n"
               "  error(require 'baton'.error.new { code = 'out_of_range', message = 'm', hint = 'h', task = "
               "'t', kernel = 'k',\n"
               "    path = 'p', cause = 'c', core = 1, device = 2, worker = 3, signal = 4, round = 5, "
               "after_ms = 1.5 })\n"
               "end)\n"
               "for key, value in pairs { code = 'out_of_range', message = 'm', hint = 'h', task = 't', "
               "kernel = 'k', path = 'p',\n"
               "  core = 1, device = 2, worker = 3, signal = 4, round = 5, after_ms = 1.5 } do "
               "same(err[key], value) end\n"
               "assert(err.cause:find '^c\\nstack traceback:', err.cause)\n"
               "same(refused(call, function() require 'baton.tensor'.zeros('f32', { -1 }) end).code, "
               "'invalid_argument')\n"
               "same(refused(call, function() error { } end).message:match '^table: ', 'table: ')\n"
               "same(refused(call, function() error() end).message, 'nil')\n"
               "same(refused(call, function() error(setmetatable({}, { __tostring = function() return "
               "'shown' end })) end).message,\n"
               "  'shown')\n"
               "local bad = refused(call, function() error(setmetatable({}, { __tostring = error })) end)\n"
               "same(bad.code, 'user_fail')\n"
               "local function forever() return 1 + forever() end\n"
               "assert(refused(call, forever).message:find 'stack overflow')\n"
               "assert(refused(call, function() coroutine.yield() end).message:find 'outside a coroutine')\n"
               "same(call(function() return 'usable' end), 'usable')\n");
}

/* --- Bytes that are no packs ---------------------------------------------------------------------------- */

static const char attack[] =
    "function attack(bytes, try, first, last)\n" /* spare bytes first … last */
    "  local step = brief and 16 or 1\n"
    "  for cut = 0, #bytes - 1, step do refused(try, bytes:sub(1, cut)) end\n"
    "  refused(try, bytes .. '\\0')\n"
    "  for at = 1, #bytes, step do\n"
    "    for _, flip in ipairs { 1, 2, 4, 8, 16, 32, 64, 128, 255 } do\n"
    "      if at < first or at > last then\n"
    "        pcall(try, bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ flip) .. bytes:sub(at + 1))\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "value = { 1, 2.5, 'text', true, false, { x = { y = 'deep' } }, [7] = 'seven', list = { {}, {} } }\n"
    "value.again = value[6]\n";

static void hostile_results_are_refused(void **state) {
  check(state, attack);
  check(state,
        "attack(pack_results(value, nil, 'x', tensor.zeros('f32', { 1, 2 }).shape), unpack_results, 1, 0)\n"
        "local bytes = pack(print, {})\n"
        "same(refused(unpack_results, bytes).message,\n"
        "  ('packed Lua values: another kind of pack at byte 2 of %d'):format(#bytes))\n"
        "for word = 0, 255 do pcall(unpack_results, '\\xBA\\3\\1\\0\\0\\0' .. string.char(word) .. "
        "('\\0'):rep(20)) end\n"
        "refused(unpack_results, '\\xBA\\3\\255\\255\\255\\255')\n"
        "refused(unpack_results, '\\xBA\\3' .. string.pack('I4', 1) .. ('\\7\\1\\0\\0\\0'):rep(100000))\n");
}

static void hostile_calls_are_refused(void **state) {
  check(state, attack);
  check(state, "local a = tensor.zeros('f32', { 2 })\n"
               "local rep, n = string.rep, 5\n"
               "value.tensor = a\n"
               "package.path, package.cpath = '', ''\n" /* no file is looked for */
               "local bytes, tensors = pack('table:unpack', value)\n"
               "local function try(packed) return feed(packed, tensors) end\n"
               "attack(bytes, try, 1, 0)\n"
               "local function f(args) return rep(args[3], n & 7), a:get(1) end\n"
               "local bytes, tensors = pack(f, value)\n"
               "same(feed(bytes, tensors), ('text'):rep(5))\n"
               "local code = string.dump(f)\n"
               "local first = bytes:find(code, 1, true)\n"
               "attack(bytes, function(packed) return feed(packed, tensors) end, first, first + #code - 1)\n"
               "refused(feed, bytes)\n"); /* its tensors are missing */
}

/* --- Interrupts ----------------------------------------------------------------------------------------- */

typedef struct endless {
  fixture *f;
  bind_packed packed;
  baton_status status;
  char message[128];
  _Atomic int over;
} endless;

static void *run_endless(void *context) {
  endless *run = context;
  node_bytes result = {0};
  baton_error err = {0};
  run->status =
      run->f->scripts->call(run->f->worker, run->packed.data, run->packed.size, NULL, 0, &result, &err);
  if (err.message) snprintf(run->message, sizeof run->message, "%s", err.message);
  baton_error_clear(&err);
  base_free(result.data);
  atomic_store(&run->over, 1);
  return NULL;
}

/* Packs the function that `text` returns, runs it on another thread, and interrupts until it has ended: what comes before its
** beginning does nothing. */
static endless run_and_interrupt(void **state, const char *text) {
  endless run = {.f = *state};
  lua_State *L = run.f->L;
  pthread_t thread;
  assert_int_equal(luaL_dostring(L, text), LUA_OK);
  bind_pack_call(L, 1, 0, &options, &run.packed);
  assert_int_equal(pthread_create(&thread, NULL, run_endless, &run), 0);
  while (!atomic_load(&run.over)) {
    run.f->scripts->interrupt(run.f->worker);
    sched_yield();
  }
  pthread_join(thread, NULL);
  lua_settop(L, 0);
  if (run.status != BATON_OK) {
    assert_int_equal(run.status, BATON_CANCELLED);
    assert_string_equal(run.message, "the function was cancelled while it ran");
  }
  run.f->scripts->interrupt(run.f->worker); /* nothing runs: nothing happens */
  check(state, "same(call(function() local n = 0; for i = 1, 1000 do n = n + i end; return n end), 500500)");
  return run;
}

static void an_endless_function_can_be_interrupted(void **state) {
  static const char *const functions[] = {
      "return function() while true do end end",
      "return function() while true do pcall(function() while true do end end) end end",
      "return function() coroutine.wrap(function() while true do end end)() end",
      "return function()\n"
      "  local co = coroutine.wrap(function() while true do coroutine.yield() end end)\n"
      "  while true do co() end\n"
      "end"};
  if (IS_THREAD_SANITIZED) skip(); /* it delivers no signal into a tight loop */
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    assert_int_equal(run_and_interrupt(state, functions[i]).status, BATON_CANCELLED);
}

static void an_interrupt_may_come_at_any_moment(void **state) {
  enum { TIMES = 100 };
  for (int i = 0; i < TIMES; i++)
    (void)run_and_interrupt(state, "return function() return ('x'):rep(10) .. tostring(require 'baton') end");
}

/* --- Graphs --------------------------------------------------------------------------------------------- */

static struct {
  const node_script_calls *scripts;
  void *worker;
  bind_packed packed;
} graph_call;

static void build_packed_graph(baton_orch *o, const baton_args *args) {
  graph_call.scripts->graph(graph_call.worker, graph_call.packed.data, graph_call.packed.size, o, args);
}

static void add_scaled(const baton_args *args) {
  const float *a = baton_in(args, 0, float);
  float *b = baton_io(args, 1, float);
  float scale = (float)baton_scalar_f64(args, 2);
  for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) b[i] += scale * a[i];
}

/* Runs the graph function that `text` returns over a = {1, 2, 3, 4}, b = 0, scale = 3. */
static baton_status run_graph(void **state, const char *text, baton_tensor **b, baton_error *err) {
  fixture *f = *state;
  baton_worker *worker;
  baton_program *program;
  baton_tensor *a;
  const baton_kernel_options kernel = {.name = "add", .core = BATON_AIV, .function = add_scaled};
  const baton_parameter params[] = {
      {.name = "a", .direction = BATON_IN},
      {.name = "b", .direction = BATON_IN_OUT},
      {.name = "scale", .direction = BATON_BY_VALUE, .dtypes = 1u << BATON_F32}};
  assert_int_equal(luaL_dostring(f->L, text), LUA_OK);
  bind_pack_function(f->L, 1, "program", &graph_call.packed);
  graph_call.scripts = f->scripts;
  graph_call.worker = f->worker;
  assert_int_equal(baton_worker_open(&(baton_worker_options){0}, &worker, NULL), BATON_OK);
  assert_int_equal(baton_program_create(&(baton_program_options){.name = "scaled",
                                                                 .params = params,
                                                                 .nparams = 3,
                                                                 .kernels = &kernel,
                                                                 .nkernels = 1,
                                                                 .orchestrate = build_packed_graph,
                                                                 .graph = 1},
                                        &program, NULL),
                   BATON_OK);
  assert_int_equal(baton_tensor_arange(BATON_F32, 1, (int64_t[]){4}, &a, NULL), BATON_OK);
  assert_int_equal(baton_tensor_zeros(BATON_F32, 1, (int64_t[]){4}, b, NULL), BATON_OK);
  const baton_value values[] = {{.tensor = a}, {.tensor = *b}, {.dtype = BATON_F32, .scalar.f64 = 3}};
  baton_status status = baton_worker_run(worker, program, values, 3, NULL, NULL, err);
  baton_tensor_close(a);
  baton_program_close(program);
  baton_worker_close(worker);
  lua_settop(f->L, 0);
  return status;
}

static void a_packed_graph_builds_its_tasks(void **state) {
  baton_error err = {0};
  baton_tensor *b;
  baton_number last;
  baton_status status =
      run_graph(state,
                "local kernel, halves = 'add', 2\n"
                "return function(g, a, b, scale)\n"
                "  for i = 1, halves do\n"
                "    g.aiv(kernel, { g.scope and baton == nil and a:slice(1, 2 * i - 1, 2),\n"
                "      b:slice(1, 2 * i - 1, 2), scale })\n"
                "  end\n"
                "end",
                &b, &err);
  if (status != BATON_OK) print_error("%s\n", err.message);
  assert_int_equal(status, BATON_OK);
  assert_int_equal(baton_tensor_get(b, (int64_t[]){3}, &last, NULL), BATON_OK);
  assert_true(last.value.f64 == 9);
  baton_tensor_close(b);
}

static void a_packed_graph_that_fails_says_where(void **state) {
  baton_error err = {0};
  baton_tensor *b;
  assert_int_equal(
      run_graph(state, "return function(g, a) local function deep() a.no.where = 1 end deep() end", &b, &err),
      BATON_INVALID_ARGUMENT);
  assert_non_null(strstr(err.message, "device tensors have no 'no'"));
  assert_non_null(strstr(err.cause, "in local 'deep'"));
  baton_tensor_close(b);
  assert_int_equal(run_graph(state, "return function(g, a, b) g.aiv('sub', { a, b }) end", &b, &err),
                   BATON_INVALID_ARGUMENT);
  assert_string_equal(err.message, "scaled: no kernel is named 'sub'");
  baton_tensor_close(b);
  assert_int_equal(run_graph(state, "return function(g) g.fail 'enough' end", &b, &err), BATON_USER_FAIL);
  assert_string_equal(err.message, "scaled: enough");
  baton_tensor_close(b);
  baton_error_clear(&err);
}

static void a_packed_graph_captures_no_tensors(void **state) {
  check(state, "local weight = tensor.zeros('f32', { 1 })\n"
               "local err = refused(pack_function, function(g) g.alloc(weight.dtype, weight.shape) end)\n"
               "same(err.code, 'invalid_argument')\n"
               "same(err.message, \"a function (scene.lua:2): upvalue 'weight' is a tensor\")\n"
               "same(err.hint, 'pass it as an argument of the program')\n");
}

/* --- The state ------------------------------------------------------------------------------------------ */

static void print_writes_whole_lines(void **state) {
  char text[64] = "";
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  fflush(stdout);
  int kept = dup(STDOUT_FILENO);
  dup2(ends[1], STDOUT_FILENO);
  check(state, "call(function() print('a', 1, nil, setmetatable({}, { __tostring = function() return 't' end "
               "})) end)\n"
               "call(function() io.write 'rest' end)\n");
  dup2(kept, STDOUT_FILENO);
  close(kept);
  close(ends[1]);
  size_t length = 0;
  for (ssize_t got; (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
    length += (size_t)got;
  close(ends[0]);
  assert_string_equal(text, "a\t1\tnil\tt\nrest");
}

/* Two states at the same time, on two threads. */
static void states_are_independent(void **state) {
  enum { CALLS = 200 };
  fixture *f = *state;
  void *other;
  assert_int_equal(f->scripts->open(&other, NULL), BATON_OK);
  check(state, "call(function() place = 'first' end)");
  void *first = f->worker;
  f->worker = other;
  check(state, "same(call(function() return place end), nil)");
  f->worker = first;
  check(state, "same(call(function() return place end), 'first')");
  f->scripts->close(other);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
  const struct CMUnitTest tests[] = {
      TEST(plain_values_cross_unchanged),
      TEST(floats_keep_every_bit),
      TEST(one_table_stays_one_table),
      TEST(random_values_cross_unchanged),
      TEST(what_is_too_deep_or_too_large_is_refused),
      TEST(functions_take_their_upvalues_along),
      TEST(functions_that_share_a_variable_share_it_there),
      TEST(globals_are_those_of_the_other_state),
      TEST(modules_and_functions_of_c_go_by_name),
      TEST(modules_are_found_where_the_caller_finds_them),
      TEST(what_cannot_cross_is_named),
      TEST(tensors_are_shared_not_copied),
      TEST(tensors_are_listed_with_their_tags),
      TEST(shapes_stay_read_only_lists),
      TEST(tensors_end_with_the_call),
      TEST(results_are_plain_values),
      TEST(errors_carry_message_and_traceback),
      TEST(hostile_results_are_refused),
      TEST(hostile_calls_are_refused),
      TEST(an_endless_function_can_be_interrupted),
      TEST(an_interrupt_may_come_at_any_moment),
      TEST(a_packed_graph_builds_its_tasks),
      TEST(a_packed_graph_that_fails_says_where),
      TEST(a_packed_graph_captures_no_tensors),
      TEST(print_writes_whole_lines),
      TEST(states_are_independent),
  };
  return cmocka_run_group_tests_name("script", tests, NULL, NULL);
}
