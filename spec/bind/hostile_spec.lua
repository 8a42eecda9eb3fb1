local baton = require "baton"
local hostile = require "spec.support.hostile"
local programs = require "spec.support.programs"
local sanitizer = require "spec.support.sanitizer"
local tensor = baton.tensor

-- Of all that is made here the thread sanitizer keeps shadow memory, 24 GiB in the end.
local function it_holds(name, f)
  if sanitizer.name == "tsan" then
    pending(name .. ": the thread sanitizer gives no memory back")
  else
    it(name, f)
  end
end

local function cells(count) return tensor.zeros("f32", { count }) end

-- c = a + b.
local function new_sum()
  return programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
end

describe("Hostile arguments", function()
  local chip, values, complaints, calls

  -- What belongs to a chip that is closed.
  local function strangers()
    local other <close> = baton.worker { device = 1, isolation = "thread" }
    local buffer, program = other:malloc(16), programs.vector { signature = {}, graph = function() end }
    return { ["a closed chip"] = other, ["a run"] = other:submit(program), ["a buffer"] = buffer, ["a program"] = program,
      ["a child tensor"] = buffer:tensor("f32", { 1 }), ["a handle"] = other:register(program), ["rounds"] = other:rounds(program) }
  end

  setup(function()
    chip = baton.worker { isolation = "thread" }
    values = hostile.values(strangers())
  end)
  teardown(function() chip:close() end)
  before_each(function() complaints, calls = {}, 0 end)

  local function try(name, f, ...) calls = calls + hostile.try(name, f, { ... }, select("#", ...), values, complaints) end
  local function try_entries(name, call, entries) calls = calls + hostile.try_entries(name, call, entries, values, complaints) end
  local function check(least)
    assert.same({}, complaints)
    assert.is_true(calls >= least, calls)
    local a, c = cells(1), cells(1)
    chip:run(new_sum(), { tensor.full("f32", { 1 }, 2), a, c })
    assert.equal(2, c:get(1))
  end

  it_holds("are refused by the methods of chips", function()
    local sum, buffer, host = new_sum(), chip:malloc(16), cells(4)
    local list = { cells(4), cells(4), cells(4) }
    local handle, run, rounds, child = chip:register(sum), chip:submit(sum, list), chip:rounds(sum, list), buffer:tensor("f32", { 4 })
    run:wait()
    try("run", chip.run, chip, sum, list, {})
    try("submit", chip.submit, chip, handle, list, {})
    try("rounds", chip.rounds, chip, sum, list, {})
    try("malloc", chip.malloc, chip)
    try("copy_to", chip.copy_to, chip, buffer, host, {})
    try("copy_from", chip.copy_from, chip, host, buffer, {})
    try("setup_arena", chip.setup_arena, chip, {})
    try("tensor", buffer.tensor, buffer, "f32", { 4 }, 0)
    try("wait", run.wait, run)
    try("init_round", rounds.init_round, rounds)
    try("compile", sum.compile, sum)
    for _, name in ipairs { "register", "unregister", "free" } do try(name, chip[name], chip) end
    for _, name in ipairs { "dump", "stats", "close", "restart" } do try(name, chip[name]) end
    for _, object in ipairs { buffer, child, run, rounds, handle, sum } do
      for _, name in ipairs { "close", "size", "slice", "view", "select", "reshape", "transpose", "done", "cancel", "timing", "launch",
        "finalize_round", "each", "finalize", "forget" } do
        local found, method = pcall(function() return object[name] end)
        if found and type(method) == "function" then try(name, method) end
      end
    end
    try_entries("config", function(config) return chip:run(sum, list, config) end,
      { ring_task_window = 100, ring_dep_pool = 100, ring_heap = 4096, deadline = 60, timeout = 60, runtime = "host_build_graph" })
    try_entries("list", function(arguments) return chip:run(sum, arguments) end, list)
    try_entries("names", function(arguments) return chip:run(sum, arguments) end, { a = list[1], b = list[2], c = list[3] })
    check(3000)
  end)

  it_holds("are refused as programs", function()
    local kernel = { core = "aiv", code = "int a;", signature = { { "a", "in" } }, cflags = {}, include = {}, libs = {},
      entry = "k", strided = true, waits = false }
    try("program", baton.program)
    try_entries("program", baton.program, { name = "p", signature = { { "x", "in", "f32", { "n" } } }, kernels = { k = kernel },
      graph = function() end, keep = true, edges = "explicit", cflags = {}, include = {}, libs = {} })
    try_entries("kernel", function(k) return baton.program { name = "p", kernels = { k = k }, graph = function() end } end, kernel)
    try_entries("parameter", function(parameter)
      return baton.program { name = "p", kernels = {}, signature = { parameter }, graph = function() end }
    end, { "x", "in", "f32", { "n", 1 } })
    try_entries("orchestration", function(o) return baton.program { name = "p", kernels = {}, orchestration = o } end,
      { code = "int a;", entry = "f" })
    for _, tag in ipairs { "input", "output", "inout", "no_dep", "scalar", "args" } do try(tag, baton[tag]) end
    try("scalar", baton.scalar, "f32", 1)
    check(1000)
  end)

  it_holds("are refused by g", function()
    local X, call = {}, nil -- X stands for the tensor of the graph
    local program <close> = programs.vector { signature = { { "x", "inout", "f32" }, { "n", "i64" } }, keep = false,
      graph = function(g, x) call(g, x) end }
    local function with(x, value)
      if value == X then return x end
      if type(value) ~= "table" or getmetatable(value) or #value > 10 or value[1] == value then return value end
      local copy = {}
      for k, v in pairs(value) do copy[k] = v == X and x or v end
      return copy
    end
    -- Each call in a run of its own: one that fails is the end of it.
    local function in_graph(f)
      return function(...)
        local arguments = table.pack(...)
        call = function(g, x)
          for i = 1, arguments.n do arguments[i] = with(x, arguments[i]) end
          f(g, table.unpack(arguments, 1, arguments.n))
        end
        chip:run(program, { cells(1), 1 }, { runtime = "tensormap_and_ringbuffer" })
      end
    end
    local function try_g(name, ...) try(name, in_graph(function(g, ...) return g[name](...) end), ...) end
    local function entries(name, f, list) try_entries(name, in_graph(f), list) end
    try_g("aiv", "append", { X, 1 }, {})
    try_g("aic", "start", X, 1)
    try_g("mix", { aiv0 = "append" }, { X, 1 }, {})
    try_g("dummy", { X }, {})
    try_g("alloc", "f32", { 1 }, {})
    try_g("get", X, 1)
    try_g("set", X, 1, 1)
    try_g("scalar", "n")
    try_g("scope", {})
    try_g("record", "key", function() end, { X })
    try_g("fail")
    try("close of a scope", in_graph(function(g, object) g.scope().close(object) end), 1)
    for _, name in ipairs { "slice", "view", "select", "reshape", "transpose", "size" } do
      try(name, in_graph(function(g, ...) return g.alloc("f32", { 1 })[name](...) end), X, 1, 1)
    end
    entries("options", function(g, options) return g.aiv("append", { g.alloc("f32", { 1 }), 1 }, options) end,
      { deps = {}, blocks = 1, sync_start = false, name = "t", timing_slot = 1, priority = 1 })
    entries("predicate", function(g, predicate) return g.aiv("append", { g.alloc("f32", { 1 }), 1 }, { predicate = predicate }) end,
      { X, 1, "==", 0 })
    entries("list", function(g, list) return g.aiv("append", list) end, { X, 1 })
    entries("lanes", function(g, lanes) return g.mix(lanes, { aiv0 = { g.alloc("f32", { 1 }), 1 } }) end, { aiv0 = "append" })
    check(2000)
  end)

  it_holds("are refused by tensors", function()
    local x, y = tensor.arange("f32", { 2, 3 }), tensor.arange("f32", { 3, 2 })
    local makers = { empty = 0, zeros = 0, full = 0, arange = 0, uniform = 0, normal = 0, from = 0, load = 0, save = 0 }
    for name, f in pairs(tensor) do -- what makes large ones is taken, and takes long
      if not makers[name] then
        try(name, f, x)
        try(name, f, x, y)
      end
    end
    try("load", tensor.load, "/nowhere/x.npy", "key")
    try("save", function(t, path) return tensor.save(t, type(path) == "string" and "/nowhere/x.npy" or path) end, x)
    check(5000)
  end)
end)
