local baton = require "baton"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

describe("a graph on host_build_graph", function()
  local chip, builds
  before_each(function() chip, builds = baton.worker { runtime = "host_build_graph" }, 0 end)
  after_each(function() chip:close() end)

  -- y = x + v + x[1]; `n` tasks append 0 to an intermediate.
  local function program(options)
    return baton.program {
      name = "kept", keep = options and options.keep,
      signature = { { "x", "in", "f32" }, { "y", "out", "f32" }, { "n", "i32" }, { "v", "f32" } },
      kernels = programs.kernels,
      graph = function(g, x, y, n)
        builds = builds + 1
        local t = g.alloc("f32", { x:size(1) })
        g.aiv("add_scalar", x, t, g.scalar "v")
        for _ = 1, n do g.aiv("append", t:slice(1, 2, 1), 0) end
        g.aiv("add_scalar", t, y, g.get(x, 1))
      end,
    }
  end

  local function run(p, x, n, v, worker)
    local y = tensor.zeros("f32", { x:size(1) })
    ;(worker or chip):run(p, { x, y, n, v })
    return y
  end

  it("is built once while all that its building looked at stays the same", function()
    local p, x = program(), tensor.zeros("f32", { 8 })
    for i = 1, 100 do
      x:set(i, 3)
      assert.equal(2 * i, run(p, x, 1, i):get(3))
    end
    assert.equal(1, builds)
  end)

  it("is built anew for another shape, scalar or element that was read, and kept beside the first", function()
    local p, x = program(), tensor.zeros("f32", { 8 })
    run(p, x, 1, 1)
    run(p, tensor.zeros("f32", { 9 }), 1, 1)
    assert.equal(2, builds)
    assert.equal(200, run(p, x, 2, 2):get(2))
    assert.equal(3, builds)
    x:set(5, 1)
    assert.equal(12, run(p, x, 1, 2):get(1))
    assert.equal(4, builds)
    x:set(0, 1)
    assert.equal(20, run(p, x, 1, 2):get(2))
    assert.equal(200, run(p, x, 2, 2):get(2))
    assert.equal(4, builds)
  end)

  it("is built anew when the limits of the run change", function()
    local p, x, y = program(), tensor.zeros("f32", { 8 }), tensor.zeros("f32", { 8 })
    chip:run(p, { x, y, 9, 1 })
    assert.matches("the window of 8 tasks is full", raises("window_full", chip.run, chip, p, { x, y, 9, 1 }, { ring_task_window = 8 }))
    assert.equal(2, builds)
    chip:run(p, { x, y, 9, 1 })
    assert.equal(2, builds)
  end)

  it("goes when it is forgotten, and is not kept with keep = false", function()
    local p, x = program(), tensor.zeros("f32", { 8 })
    run(p, x, 1, 1)
    p:forget()
    run(p, x, 1, 1)
    assert.equal(2, builds)
    p = program { keep = false }
    run(p, x, 1, 1)
    run(p, x, 1, 1)
    assert.equal(4, builds)
  end)

  it("is kept eight times a program", function()
    local p = program()
    for round = 1, 2 do
      for n = 1, 8 do run(p, tensor.zeros("f32", { n }), 0, 1) end
      assert.equal(8, builds, round)
    end
    run(p, tensor.zeros("f32", { 9 }), 0, 1)
    assert.equal(9, builds)
    run(p, tensor.zeros("f32", { 8 }), 0, 1) -- used lately: still there
    assert.equal(9, builds)
    run(p, tensor.zeros("f32", { 1 }), 0, 1)
    assert.equal(10, builds)
  end)

  it("is run by another worker of the same width, and built anew for another width", function()
    local p, x = program(), tensor.full("f32", { 8 }, 1)
    local twin <close> = baton.worker { runtime = "host_build_graph" }
    local other <close> = baton.worker { runtime = "host_build_graph",
      platform = chip.platform == "a5sim" and "a2a3sim" or "a5sim" }
    assert.equal(4, run(p, x, 1, 2):get(1))
    assert.equal(4, run(p, x, 1, 2, twin):get(1))
    assert.equal(1, builds)
    assert.equal(4, run(p, x, 1, 2, other):get(1))
    assert.equal(2, builds)
  end)

  it("is built twice when two unfinished runs need it", function()
    local p, x = program(), tensor.full("f32", { 1 << 18 }, 1)
    local outputs, runs = {}, {}
    for i = 1, 6 do
      outputs[i] = tensor.zeros("f32", { 1 << 18 })
      runs[i] = chip:submit(p, { x, outputs[i], 1, i })
    end
    for i = 1, 6 do
      runs[i]:wait()
      assert.equal(2 + i, outputs[i]:get(1 << 18))
    end
  end)

  it("refuses an opaque scalar that its kernel cannot take, at every run", function()
    local p = baton.program {
      name = "narrow", signature = { { "x", "inout", "f32" }, { "v", "i64" } },
      kernels = { small = { core = "aiv", signature = { { "x", "inout" }, { "v", "i8" } }, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(small) { baton_io(args, 0, float)[0] = (float)baton_scalar_i64(args, 1); }
      ]] } },
      graph = function(g, x) g.aiv("small", x, g.scalar "v") end,
    }
    local x = tensor.zeros("f32", { 1 })
    chip:run(p, { x, 100 })
    assert.equal(100, x:get(1))
    assert.equal("narrow: argument 2: 128 does not fit a kernel that takes integers from -128 to 127",
      raises("out_of_range", chip.run, chip, p, { x, 128 }))
    chip:run(p, { x, -128 })
    assert.equal(-128, x:get(1))
  end)

  it("stores again what was stored while building", function()
    local count = 0
    local p = programs.vector {
      signature = { { "x", "inout", "f32" } },
      graph = function(g, x)
        count = count + 1
        g.set(x, 40 + g.get(x, 2), 1)
        g.aiv("append", x:slice(1, 1, 1), g.get(x, 1) - 40)
      end,
    }
    for _ = 1, 3 do
      local x = tensor.from({ 1, 2 }, "f32")
      chip:run(p, { x })
      assert.equal(422, x:get(1))
    end
    assert.equal(1, count)
  end)

  it("reaches only elements that no task of it has used", function()
    local function message(graph)
      local early = programs.vector { name = "early", signature = { { "x", "inout", "f32" } }, graph = graph }
      return raises("unsupported", chip.run, chip, early, { tensor.zeros("f32", { 4 }) })
    end
    assert.matches("^early: get: an earlier task uses the element", message(function(g, x)
      g.aiv("append", x:slice(1, 2, 1), 1)
      assert.equal(0, g.get(x, 1))
      g.get(x, 2)
    end))
    assert.matches("^early: set: an earlier task uses the element", message(function(g, x)
      g.aiv("add", x:slice(1, 2, 1), x:slice(1, 2, 1), x:slice(1, 1, 1))
      g.set(x, 1, 2)
    end))
    assert.matches("^early: get: an intermediate", message(function(g) g.get(g.alloc("f32", 1), 1) end))
  end)
end)

describe("a graph on tensormap_and_ringbuffer", function()
  local chip
  before_each(function() chip = baton.worker { config = { runtime = "tensormap_and_ringbuffer" } } end)
  after_each(function() chip:close() end)

  local function run(graph, x, config)
    chip:run(programs.vector { name = "live", signature = { { "x", "inout", "f32" } }, graph = graph }, { x }, config)
    return x
  end

  it("waits for the producers of an element that is read, and for its users before it is stored", function()
    local x = run(function(g, x)
      g.aiv("append", x:slice(1, 1, 1), 4)
      local t = g.alloc("f32", 1)
      g.aiv("add_scalar", x:slice(1, 1, 1), t, 1)
      assert.equal(5, g.get(t, 1))
      g.aiv("add_scalar", x:slice(1, 1, 1), x:slice(1, 2, 1), 1)
      g.set(x, 7, 1)
      g.set(t, 2, 1)
      g.aiv("add", t, x:slice(1, 1, 1), x:slice(1, 3, 1))
    end, tensor.zeros("f32", { 3 }))
    assert.same({ 7, 5, 9 }, x:totable())
  end)

  it("needs no window for the whole graph", function()
    local x = run(function(g, x)
      for i = 1, 1000 do g.aiv("append", x:slice(1, i % 10 + 1, 1), 0) end
      g.aiv("append", x:slice(1, 1, 1), 6)
    end, tensor.zeros("f32", { 10 }), { ring_task_window = 4 })
    assert.equal(6, x:get(1))
  end)

  it("reuses the heap of ended scopes", function()
    run(function(g, x)
      for _ = 1, 200 do
        g.scope(function()
          local t = g.alloc("f32", 8192)
          g.aiv("add_scalar", x, t, 1)
          g.aiv("add_scalar", t, x, 1)
        end)
      end
    end, tensor.zeros("f32", { 8192 }), { ring_heap = "64KiB" })
  end)

  it("proves that a heap stays full", function()
    assert.equal("live: alloc of 40000 bytes: the heap of 65536 bytes is full: 40960 in use, the largest free piece is 24576; "
      .. "1 blocks of 40000 bytes belong to the open scope 0", raises("heap_full", run, function(g, x)
      g.aiv("append", x, 1)
      return g.alloc("f32", 10000), g.alloc("f32", 10000)
    end, tensor.zeros("f32", { 1 }), { ring_heap = "64KiB" }))
  end)

  it("raises what a producer of an element failed with", function()
    local x = tensor.zeros("f32", { 1 })
    local function failing(g, y)
      g.aiv("stop", y, 3)
      g.get(y, 1)
    end
    assert.equal("task stop: kernel stop: stopped at 3", raises("user_fail", run, failing, x))
    assert.equal(0, x:get(1))
  end)

  it("raises an error of the graph function as it is, and the next run starts clean", function()
    local own = {}
    local x = tensor.zeros("f32", { 1 })
    local ok, err = pcall(run, function(g, y)
      g.aiv("append", y, 1)
      error(own)
    end, x)
    assert.is_false(ok)
    assert.is_true(rawequal(own, err))
    assert.equal(0, x:get(1))
    assert.equal(1, run(function(g, y) g.aiv("append", y, 1) end, x):get(1))
  end)
end)

describe("a C orchestration", function()
  local function run(code)
    local chip <close> = baton.worker()
    local program = baton.program {
      name = "forged", signature = { { "x", "inout", "f32" } }, kernels = programs.kernels,
      orchestration = { entry = "forged", code = [[
        #include <baton/orchestration.h>
        BATON_ORCHESTRATION(forged) {
          static float here[16];
          baton_view x = baton_param(o, args, 0);
          ]] .. code .. [[
          baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(1)), NULL);
          (void)here;
        }]] },
    }
    local x = tensor.zeros("f32", { 16 })
    chip:run(program, { x })
    return x:get(1)
  end

  it("sees device memory only: an address of the host is an error, not a read", function()
    assert.equal(1, run "")
    assert.matches("^forged: task append: argument 1 %(x%): ends at byte ", raises("out_of_range", run, "x.data = here;"))
    assert.equal("forged: task append: argument 1 (x): not a tensor of this run",
      raises("invalid_argument", run, "x.data = here; x.base = (uint64_t)(uintptr_t)here;"))
    assert.equal("forged: task append: argument 1 (x): not a tensor of this run",
      raises("invalid_argument", run, "x.argument = 0;"))
  end)
end)
