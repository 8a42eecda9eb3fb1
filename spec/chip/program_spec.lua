local baton = require "baton"
local programs = require "spec.support.programs"
local raises = require("baton.busted").raises
local tensor = require "baton.tensor"

-- Options of a good program; `change` replaces some.
local function options(change)
  local result = {
    name = "gemm",
    signature = { { "A", "in", "f32", { "m", "k" } }, { "B", "in", { "f32", "f16" } }, { "C", "out" }, { "alpha", "f64" } },
    kernels = {
      tile = { core = "aic", code = "int a;", signature = { { "a", "in" }, { "n", "i32" } } },
      neg = { core = "aiv", source = "neg.c", cflags = "-g", include = { "a", "b" }, strided = true },
    },
    graph = function() end,
  }
  for key, value in pairs(change or {}) do result[key] = value end
  return result
end

-- A value that stands for "not there" in a change.
local function without(key)
  local result = options()
  result[key] = nil
  return result
end

local function message(change, code) return raises(code or "invalid_argument", baton.program, options(change)) end

local function kernel(change, code)
  local tile = { core = "aic", code = "int a;" }
  for key, value in pairs(change) do tile[key] = value or nil end
  return message({ kernels = { tile = tile } }, code)
end

local function parameter(entry) return message { signature = { { "x", "in" }, entry } } end

describe("baton.program", function()
  it("makes a program of a graph or an orchestration", function()
    local program <close> = baton.program(options())
    assert.equal("gemm", program.name)
    assert.equal("program gemm", tostring(program))
    assert.is_nil(program.nothing)
    local other <close> = baton.program { name = "copy", orchestration = { source = "copy.c" } }
    assert.equal("copy", other.name)
  end)

  it("closes more than once and is then refused by name", function()
    local program = baton.program(options())
    program:close()
    program:close()
    assert.equal("program gemm (closed)", tostring(program))
    assert.equal("gemm", program.name)
    assert.equal("program gemm is closed", raises("closed", program.compile, program))
  end)

  it("compiles for a platform that there is", function()
    local program <close> = baton.program { name = "empty", graph = function() end }
    program:compile()
    program:compile "a2a3sim"
    assert.equal("empty: there is no platform 'a9'", raises("unsupported", program.compile, program, "a9"))
    assert.equal("program.compile: platform must be a string, got 7", raises("invalid_argument", program.compile, program, 7))
  end)

  it("lets the graph go when it is closed or collected", function()
    local seen = setmetatable({}, { __mode = "k" })
    local program = baton.program(options { graph = (function()
      local held = {}
      seen[held] = true
      return function() return held end
    end)() })
    collectgarbage()
    assert.is_not_nil(next(seen))
    program:close()
    collectgarbage()
    assert.is_nil(next(seen))
  end)

  it("refuses what is no table of options", function()
    assert.equal("baton.program: options must be a table, got 42", raises("invalid_argument", baton.program, 42))
    assert.equal("baton.program: field 'name' is missing", raises("invalid_argument", baton.program, without "name"))
    assert.equal("baton.program: field 'name' must be a string, got 1", message { name = 1 })
  end)

  it("names the nearest of unknown options", function()
    assert.equal("gemm: unknown option 'kernles', did you mean 'kernels'?", message({ kernles = {} }, "unknown_option"))
    assert.equal("gemm: kernel tile: unknown option 'entri', did you mean 'entry'?", kernel({ entri = "x" }, "unknown_option"))
    assert.equal("gemm: orchestration: unknown option 'sorce', did you mean 'source'?", raises("unknown_option",
      baton.program, { name = "gemm", orchestration = { sorce = "x.c" } }))
  end)

  it("wants exactly one of graph, orchestration and host", function()
    local function expected(got)
      return "gemm: exactly one of graph, orchestration and host expected, got " .. got
    end
    assert.equal(expected "none", raises("invalid_argument", baton.program, without "graph"))
    assert.equal(expected "graph and orchestration", message { orchestration = {} })
    assert.equal(expected "graph and host", message { host = {} })
    assert.equal(expected "all three", message { orchestration = {}, host = {} })
    assert.equal(expected "orchestration and host", raises("invalid_argument", baton.program,
      { name = "gemm", orchestration = {}, host = {} }))
    assert.equal("gemm: field 'graph' must be a function, got graph.lua", message { graph = "graph.lua" })
    local function orchestration(value)
      return raises("invalid_argument", baton.program, { name = "gemm", orchestration = value })
    end
    assert.equal("gemm: orchestration must be a table, got a.c", orchestration "a.c")
    assert.equal("gemm: orchestration: exactly one of source, code and object expected, got none", orchestration {})
  end)

  it("takes a function of the host, which no chip runs", function()
    local count <close> = baton.program { name = "count", host = {
      code = [[#include <baton/kernel.h>
        BATON_KERNEL(count) { baton_io(args, 0, int)[0]++; }]] } }
    count:compile()
    assert.same({}, count.runtimes)
    local chip <close> = baton.worker {}
    assert.equal("count: a function of the host is no program of a chip", raises("unsupported", chip.run, chip, count, {}))
    assert.equal("count: a function of the host is no program of a chip", raises("unsupported", chip.rounds, chip, count, {}))
    local function host(value)
      return raises("invalid_argument", baton.program, { name = "count", host = value })
    end
    assert.equal("count: host must be a table, got a.c", host "a.c")
    assert.equal("count: host: exactly one of source, code and object expected, got none", host {})
    assert.equal("count: host: unknown option 'sorce', did you mean 'source'?", raises("unknown_option",
      baton.program, { name = "count", host = { sorce = "x.c" } }))
    assert.equal("count: a function of the host has no kernels, got 1", raises("invalid_argument", baton.program,
      { name = "count", kernels = { k = { core = "aiv", code = "" } }, host = { code = "" } }))
    local none <close> = baton.program { name = "count", host = { code = "int there;", entry = "here" } }
    assert.equal("count: host function count: inline code has no function 'here'",
      (raises("compile_failed", none.compile, none):gsub("%S+ %(inline code%)", "inline code"):gsub(
        "%S+_spec.lua has", "inline code has")))
  end)

  it("wants each kernel with a core and one place for its code", function()
    assert.equal("gemm: field 'kernels' must be a table, got x", message { kernels = "x" })
    assert.equal("gemm: field 'kernels' must be keyed by the kernels' names, got the key 1", message { kernels = { {} } })
    assert.equal("gemm: kernel tile must be a table, got tile.c", message { kernels = { tile = "tile.c" } })
    assert.equal("gemm: kernel tile: field 'core' must be \"aic\" or \"aiv\", got cube", kernel { core = "cube" })
    assert.equal("gemm: kernel tile: field 'core' must be \"aic\" or \"aiv\", got nil", kernel { core = false })
    assert.equal("gemm: kernel tile: exactly one of source, code and object expected, got none", kernel { code = false })
    assert.equal("gemm: kernel tile: exactly one of source, code and object expected, got source and code",
      kernel { source = "a.c" })
    assert.equal("gemm: kernel tile: exactly one of source, code and object expected, got all three",
      kernel { source = "a.c", object = "a.so" })
    assert.equal("gemm: kernel tile: field 'source' must be a string, got 7", kernel { source = 7 })
    assert.equal("gemm: kernel tile: field 'source' must not contain a zero byte", kernel { source = "a\0b" })
    assert.equal("gemm: kernel tile: field 'strided' must be true or false, got yes", kernel { strided = "yes" })
    assert.equal("gemm: kernel tile: field 'cflags' must be a string or a list of strings, got 3", kernel { cflags = { "-g", 3 } })
  end)

  it("says what an option must be", function()
    assert.equal("gemm: field 'edges' must be \"explicit\", got some", message { edges = "some" })
    assert.equal("gemm: kernel tile: field 'waits' must be true or false, got 1", kernel { waits = 1 })
  end)

  it("reads signatures strictly", function()
    assert.equal("gemm: field 'signature' must be a list, got x", message { signature = "x" })
    assert.equal("gemm: parameter 2: {name, direction, dtype, shape} or {name, dtype} expected, got B", parameter "B")
    assert.equal("gemm: parameter 2: a name expected first, got nil", parameter {})
    assert.equal("gemm: parameter 2 (y): \"in\", \"out\", \"inout\" or a scalar's dtype expected, got nil", parameter { "y" })
    assert.equal("gemm: parameter 2 (y): there is no dtype 'f33', did you mean 'f32'?", parameter { "y", "in", "f33" })
    assert.equal("gemm: parameter 2 (y): there is no dtype 'complex'", parameter { "y", "complex" })
    assert.equal("gemm: parameter 2 (y): a dtype or a list of them expected, got a table", parameter { "y", "in", {} })
    assert.equal("gemm: parameter 2 (y): a shape, a list of sizes and names, expected, got 4", parameter { "y", "in", "f32", 4 })
    assert.equal("gemm: parameter 2 (y): a size, a name or \"*\" as dimension expected, got -1",
      parameter { "y", "in", "f32", { "n", -1 } })
    assert.equal("gemm: parameter 2 (y): at most 8 dimensions expected, got 9",
      parameter { "y", "in", "f32", { 1, 2, 3, 4, 5, 6, 7, 8, 9 } })
    assert.equal("gemm: parameter 2 (y): [5] does not belong here", parameter { "y", "in", "f32", {}, 1 })
    assert.equal("gemm: parameter 2 (y): [shape] does not belong here", parameter { "y", "in", shape = {} })
    assert.equal("gemm: parameter 2 (y): [3] does not belong here", parameter { "y", "f32", { 4 } })
    assert.equal("gemm: parameters 1 and 2 are both called 'x'", parameter { "x", "out" })
    assert.equal("gemm: kernel tile: parameter 1 (a): there is no dtype 'inn', did you mean 'any'?",
      kernel { signature = { { "a", "inn" } } })
  end)
end)

describe("an orchestration in C", function()
  it("gets arguments by their number, or by orchestration and number where that has another name", function()
    local program <close> = baton.program {
      name = "vector", signature = programs.abc, kernels = programs.kernels,
      orchestration = { entry = "vector_orchestration", code = [[
        #include <baton/orchestration.h>
        static baton_view first(baton_orch *self, const baton_args *list) { return baton_param(self, list, 0); }
        BATON_ORCHESTRATION(vector_orchestration) {
          baton_view a = first(o, args), b = baton_param(args, 1), f = baton_param(args, 2);
          int add = baton_kernel(o, "add"), adds = baton_kernel(o, "add_scalar");
          baton_view c = baton_alloc(o, BATON_F32, a.ndim, a.shape), d = baton_alloc(o, BATON_F32, BATON_SHAPE(a.shape[0]));
          baton_task t = baton_aiv(o, add, BATON_ARGS(baton_input(a), baton_input(b), baton_output(c)), NULL);
          BATON_SCOPE(o) {
            baton_aiv(o, adds, BATON_ARGS(baton_input(c), baton_output(d), baton_f32(1)),
                      &(baton_task_options){ .deps = &t, .ndeps = 1 });
            baton_aiv(o, add, BATON_ARGS(baton_input(d), baton_input(c), baton_output(f)), NULL);
          }
        }]] },
    }
    local chip <close> = baton.worker {}
    local f = tensor.zeros("f32", { 3 })
    chip:run(program, { tensor.arange("f32", { 3 }), tensor.full("f32", { 3 }, 10), f })
    assert.same({ 21, 23, 25 }, f:totable())
  end)
end)
