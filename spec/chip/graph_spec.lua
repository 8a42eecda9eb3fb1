local baton = require "baton"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

describe("a graph function", function()
  local chip
  before_each(function() chip = baton.worker { runtime = "host_build_graph" } end)
  after_each(function() chip:close() end)

  -- Runs `graph(g, x)` on x = {0, 0, …} and returns x.
  local function run(graph, config, n)
    local x = tensor.zeros("f32", { n or 1 })
    chip:run(programs.vector { name = "test", signature = { { "x", "inout", "f32" } }, graph = graph }, { x }, config)
    return x
  end

  local function message(code, graph, config) return raises(code, run, graph, config) end

  it("orders tasks on one tensor as they were submitted, on both kinds of cores", function()
    assert.equal(12345, run(function(g, x)
      for digit = 1, 5 do g[digit % 2 == 0 and "aic" or "aiv"](digit % 2 == 0 and "start" or "append", x, digit) end
    end):get(1))
  end)

  it("is handed scalars as Lua values and tensors as device tensors", function()
    local program = programs.vector {
      signature = { { "x", "inout", "f32" }, { "n", "i32" }, { "s", "f64" }, { "flag", "bool" } },
      graph = function(g, x, n, s, flag)
        assert.same({ "integer", 7, 2.5, true }, { math.type(n), n, s, flag })
        assert.same({ "f32", 2, 12, 48, 3 }, { x.dtype, x.ndim, x.numel, x.nbytes, x:size(1) })
        assert.same({ 3, 4 }, { x.shape[1], x.shape[2] })
        assert.same({ 4, 1 }, { x.strides[1], x.strides[2] })
        assert.equal("device tensor f32[3,4]", tostring(x))
        local clusters = ({ a2a3sim = 24, a5sim = 36 })[chip.platform]
        assert.same({ clusters, 2 * clusters }, { g.clusters, g.aiv_count })
      end,
    }
    chip:run(program, { tensor.zeros("f32", { 3, 4 }), 7, 2.5, true })
  end)

  it("has views of device tensors, from 1", function()
    local x = run(function(g, whole)
      local matrix = whole:reshape { 3, 4 }
      g.aiv("append", matrix:select(1, 2):slice(1, 3, 1), 1)
      g.aiv("append", matrix:view(3, 1, 4, 1), 2)
      g.aiv("append", matrix:transpose(1, 2):select(1, 1):slice(1, 1, 1), 3)
    end, nil, 12)
    assert.same({ 3, 1, 2 }, { x:get(1), x:get(7), x:get(12) })
  end)

  it("allocates intermediates in scopes", function()
    assert.equal(6, run(function(g, x)
      local a = g.alloc("f32", { 1 })
      g.aiv("add_scalar", x, a, 1)
      local b = g.scope(function()
        local inner = g.alloc("f32", 1)
        g.aiv("add_scalar", a, inner, 2)
        g.aiv("append", inner, 0)
        g.aiv("add", a, x, inner:slice(1, 1, 1))
        g.aiv("add_scalar", inner, x, 5)
        return a
      end)
      assert.equal(a, b)
    end):get(1))
  end)

  it("fills an intermediate with a value of its type", function()
    for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
      local x = run(function(g, x) g.aiv("add", x, g.alloc("f32", { 5 }, { fill = 2.5 }), g.alloc("f32", { 5 }, { fill = 0 })) end,
        { runtime = runtime }, 5)
      assert.equal(0, x:get(5))
      x = run(function(g, y) g.aiv("add", g.alloc("f32", 5, { fill = 2.5 }), g.alloc("f32", 5, { fill = -1 }), y) end,
        { runtime = runtime }, 5)
      assert.same({ 1.5, 1.5, 1.5, 1.5, 1.5 }, x:totable())
    end
    assert.equal("g.alloc: the type must be one of f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool, got f33",
      message("invalid_argument", function(g) g.alloc("f33", 1) end))
    assert.equal("g.alloc: field 'fill' must be a number or a boolean, got x",
      message("invalid_argument", function(g) g.alloc("f32", 1, { fill = "x" }) end))
    assert.matches("^test: fill: ", message("out_of_range", function(g) g.alloc("i8", 1, { fill = 300 }) end))
    assert.equal("g.alloc: unknown option 'full', did you mean 'fill'?",
      message("unknown_option", function(g) g.alloc("i8", 1, { full = 3 }) end))
  end)

  it("gets memory from the runtime through output{dtype, shape}", function()
    assert.equal(13, run(function(g, x)
      local _, a = g.aiv("add_scalar", x, baton.output { "f32", { 1 } }, 4)
      local task, b = g.aiv("add", { a = a, b = a, c = baton.output { "f32", { 1 } } }, { name = "double" })
      assert.equal("integer", math.type(task))
      g.aiv("add_scalar", { b, baton.output(x), 5 })
    end):get(1))
  end)

  it("adds explicit deps and barriers to the inferred edges", function()
    local x = run(function(g, x)
      local a, b = x:slice(1, 1, 1), x:slice(1, 2, 1)
      local first = g.aiv("append", a, 1)
      local barrier = g.dummy({ baton.inout(x) }, { deps = { first }, name = "barrier" })
      g.aiv("append", { b, 2 }, { deps = { barrier, first } })
    end, nil, 2)
    assert.same({ 1, 2 }, x:totable())
  end)

  it("takes only tasks of its run as deps", function()
    local old
    run(function(g, x) old = g.aiv("append", x, 1) end)
    assert.equal("field 'deps': entry 1 is no task of this run",
      message("stale_handle", function(g, x) g.aiv("append", { x, 1 }, { deps = { old } }) end))
    assert.equal("field 'deps' must be a list of tasks, entry 2 is x",
      message("invalid_argument", function(g, x) g.aiv("append", { x, 1 }, { deps = { g.dummy {}, "x" } }) end))
  end)

  it("infers nothing in a manual scope", function()
    assert.equal(123, run(function(g, x)
      g.scope({ mode = "manual" }, function()
        local a = g.aiv("append", x, 1)
        local b = g.aiv("append", { x, 2 }, { deps = { a } })
        g.aiv("append", { x, 3 }, { deps = { b } })
      end)
    end):get(1))
  end)

  it("takes a kernel without signature: untagged counts as inout", function()
    assert.equal(0, run(function(g, x)
      local a, b = g.alloc("f32", 1), g.alloc("f32", 1)
      g.aiv("plain", baton.input(x), baton.input(x), baton.output(a))
      g.aiv("plain", { a, x, b })
      g.aiv("add", a, b, x)
    end):get(1))
  end)

  it("raises its own error as it is", function()
    local own = setmetatable({}, { __tostring = function() return "mine" end })
    local ok, err = pcall(run, function(g, x)
      g.aiv("append", x, 1)
      error(own)
    end)
    assert.is_false(ok)
    assert.is_true(rawequal(own, err))
    assert.equal(1, run(function(g, x) g.aiv("append", x, 1) end):get(1))
  end)

  it("must not yield", function()
    assert.equal("test: the graph function must not yield", message("state", function() coroutine.yield() end))
    local thread = coroutine.wrap(function() return raises("state", run, function() coroutine.yield() end) end)
    assert.equal("test: the graph function must not yield", thread())
  end)

  it("ends a scope whose function raised", function()
    assert.equal(12, run(function(g, x)
      assert.is_false(pcall(g.scope, function() error "no" end))
      g.aiv("append", x, 1)
      g.aiv("append", x, 2)
    end):get(1))
  end)

  it("may give up with a message", function()
    assert.equal("test: not today", message("user_fail", function(g) g.fail "not today" end))
    assert.equal("test: not today", message("user_fail", function(g, x)
      pcall(g.fail, "not today")
      g.aiv("append", x, 1)
    end))
  end)

  it("must not be called like a method", function()
    assert.equal("g:aiv: g is a table of functions, write g.aiv(…)", message("invalid_argument", function(g, x) g:aiv("append", x, 1) end))
    assert.equal("g:alloc: g is a table of functions, write g.alloc(…)", message("invalid_argument", function(g) g:alloc("f32", 1) end))
  end)

  it("leaves a dead g and dead tensors behind", function()
    local kept, tensor_kept
    run(function(g, x) kept, tensor_kept = g, x end)
    assert.equal("g.alloc: the graph function has returned, its g is dead", raises("state", kept.alloc, "f32", 1))
    assert.equal("test: kernel append: argument 1: a device tensor of another run; it lived until its graph function returned",
      message("stale_handle", function(g) g.aiv("append", tensor_kept, 1) end))
  end)

  it("names what it cannot do", function()
    assert.equal("g.mul: no such function; there are aic aiv mix dummy alloc get set scalar scope record fail, and the "
      .. "numbers clusters aiv_count", message("invalid_argument", function(g) g.mul() end))
    assert.equal("test: no kernel is named 'sub'", message("invalid_argument", function(g, x) g.aiv("sub", x) end))
    assert.equal("g.aiv: the name of a kernel expected, got 7", message("invalid_argument", function(g) g.aiv(7) end))
    assert.equal("test: task append: kernel append is for the aiv cores, it was submitted to aic",
      message("signature", function(g, x) g.aic("append", x, 1) end))
    assert.equal("test: kernel append: unknown option 'dep', did you mean 'deps'?",
      message("unknown_option", function(g, x) g.aiv("append", { x, 1 }, { dep = {} }) end))
    assert.equal("g.scope: mode 'auto' or 'manual' expected, got 'automatic'",
      message("invalid_argument", function(g) g.scope { mode = "automatic" } end))
  end)

  it("says what is wrong with the arguments of a task", function()
    local host = tensor.zeros("f32", { 1 })
    assert.equal("test: kernel append: argument 1: a device tensor or a number expected, got baton.tensor; host tensors "
      .. "become device tensors as arguments of the run", message("invalid_argument", function(g) g.aiv("append", host, 1) end))
    assert.equal("test: kernel append: 2 arguments (x, digit) expected, got 1", message("signature", function(g, x) g.aiv("append", x) end))
    assert.equal("test: kernel append: argument 2 (digit) is missing", message("signature", function(g, x) g.aiv("append", { x = x }) end))
    assert.equal("test: kernel append: no argument is named y",
      message("signature", function(g, x) g.aiv("append", { x = x, digit = 1, y = 2 }) end))
    assert.matches("^test: kernel append: argument 2 %(digit%): ", message("signature", function(g, x) g.aiv("append", x, x) end))
    assert.matches("^test: kernel add: argument 3 ", message("signature", function(g, x) g.aiv("add", x, x, 4) end))
    assert.equal("test: task add: argument 3 (c): overlaps argument 1, and one of them is written",
      message("signature", function(g, x) g.aiv("add", x, g.alloc("f32", 1), x) end))
    assert.matches("strided", message("signature", function(g)
      local m = g.alloc("f32", { 4, 4 })
      g.aiv("append", m:transpose(1, 2), 1)
    end))
  end)

  it("may not write an input of its program", function()
    local program = programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, _, c) g.aiv("add", c, c, a) end }
    local t = { tensor.zeros("f32", { 4 }), tensor.zeros("f32", { 4 }), tensor.zeros("f32", { 4 }) }
    assert.equal("sum: task add: argument 3 (c): writes a, which the program declares as an input",
      raises("signature", chip.run, chip, program, t))
  end)

  it("names the scope of a stale intermediate", function()
    assert.equal("test: task append: argument 1 (x): an intermediate of scope 2 of this run, which has ended",
      message("stale_handle", function(g)
        local old
        g.scope(function() old = 1 end)
        do
          local _ <close> = g.scope()
          old = g.alloc("f32", 1)
        end
        g.aiv("append", old, 1)
      end))
  end)

  it("names a full window and a full heap with sizes and holder", function()
    local ok, err = pcall(run, function(g, x) for _ = 1, 9 do g.aiv("append", x, 1) end end, { ring_task_window = 8 })
    assert.is_false(ok)
    assert.equal("window_full", err.code)
    assert.equal("test: task append: the window of 8 tasks is full: 8 are unfinished", err.message)
    assert.equal("raise ring_task_window in config; host_build_graph holds every task and intermediate of a graph until "
      .. "it is launched", err.hint)
    assert.equal("test: alloc of 40000 bytes: the heap of 65536 bytes is full: 40960 in use, the largest free piece is 24576; "
      .. "1 blocks of 40000 bytes belong to the open scope 1", message("heap_full", function(g)
        g.scope(function() return g.alloc("f32", 10000), g.alloc("f32", 10000) end)
      end, { ring_heap = "64KiB" }))
    assert.equal("test: task append: the pool of 8 edges is full: 0 in use by 64 unfinished tasks", message("dep_pool_full", function(g, x)
      local tasks = {}
      for i = 1, 64 do tasks[i] = g.dummy {} end
      g.aiv("append", { x, 1 }, { deps = tasks })
    end, { ring_dep_pool = 8 }))
  end)

  it("keeps raising after a failure, and the next run starts clean", function()
    local second
    message("heap_full", function(g)
      pcall(g.alloc, "f32", 1 << 20)
      second = select(2, pcall(g.alloc, "f32", 1))
      g.alloc("f32", 1)
    end, { ring_heap = "64KiB" })
    assert.equal("heap_full", second.code)
    assert.equal(1, run(function(g, x) g.aiv("append", x, 1) end, { ring_heap = "64KiB" }):get(1))
  end)

  it("runs many tasks over several workers at once", function()
    local other <close> = baton.worker { platform = "a5sim" }
    local program = programs.vector {
      signature = { { "x", "inout", "f32" } },
      graph = function(g, x)
        for i = 1, 2000 do g.aiv("add_scalar", x:slice(1, i, 1), baton.output { "f32", 1 }, i) end
        for i = 1, 2000 do g.aiv("append", x:slice(1, i, 1), i % 10) end
      end,
    }
    local a, b = tensor.zeros("f32", { 2000 }), tensor.zeros("f32", { 2000 })
    local first, second = chip:submit(program, { a }), other:submit(program, { b })
    second:wait()
    first:wait()
    assert.equal(0, a:get(2000))
    assert.equal(9, b:get(1999))
    assert.is_true(a:allclose(b))
  end)
end)

describe("baton.args", function()
  it("prepares a list once; its entries can be replaced, in order or by name", function()
    local chip <close> = baton.worker()
    local x = tensor.zeros("f32", { 1 })
    chip:run(programs.vector {
      signature = { { "x", "inout", "f32" } },
      graph = function(g, t)
        local list, named = baton.args { t, 1 }, baton.args { x = t, digit = 3 }
        g.aiv("append", list)
        list[2] = 2
        assert.equal(2, #list)
        g.aiv("append", list, { name = "second" })
        g.aiv("append", named)
        named.digit = 4
        g.aiv("append", named)
        assert.equal("baton.args: there is no entry y", raises("signature", function() named.y = 1 end))
        assert.equal("baton.args: an entry cannot be removed: x", raises("signature", function() named.x = nil end))
      end,
    }, baton.args { x })
    assert.equal(1234, x:get(1))
  end)
end)

describe("the tags", function()
  it("need a tensor", function()
    assert.equal("baton.input: a tensor expected, got 7", raises("invalid_argument", baton.input, 7))
    assert.equal("baton.inout: a tensor expected, got nil", raises("invalid_argument", baton.inout))
  end)

  it("make scalars of a type, which must fit", function()
    assert.matches("scalar: argument 1 %(value%)", raises("out_of_range", baton.scalar, "i8", 128))
    assert.equal("userdata", type(baton.scalar("u64", 3)))
  end)
end)
