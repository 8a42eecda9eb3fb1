local baton = require "baton"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

-- y = (x + a) + b, with an intermediate of its own; counts how often it is built.
local function twice()
  local built = { count = 0 }
  return built, function(g)
    return function(x, y, a, b)
      built.count = built.count + 1
      local between = g.alloc("f32", x.shape)
      g.aiv("add_scalar", x, between, a)
      g.aiv("add_scalar", between, y, b)
    end
  end
end

for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
  describe("g.record on " .. runtime, function()
    local chip
    before_each(function() chip = baton.worker { runtime = runtime } end)
    after_each(function() chip:close() end)

    local function program(graph)
      return programs.vector { name = "test", signature = { { "x", "inout", "f32" } }, graph = graph }
    end
    local function run(graph, n)
      local x = tensor.zeros("f32", { n or 4 })
      chip:run(program(graph), { x })
      return x:totable()
    end
    local function message(code, graph) return raises(code, run, graph) end

    it("builds a sub-graph once and submits it over other tensors and scalars", function()
      local built, make = twice()
      local result = run(function(g, x)
        local add = make(g)
        for i = 1, 3 do g.record("add", add, { x:slice(1, i, 1), x:slice(1, i + 1, 1), i, 10 * i }) end
      end)
      assert.equal(1, built.count)
      assert.same({ 0, 11, 33, 66 }, result)
    end)

    it("builds it again for another key, shape, stride or aliasing", function()
      local built, make = twice()
      run(function(g, x)
        local add, y, square = make(g), g.alloc("f32", { 4 }), x:reshape { 2, 2 }
        local function record(key, from, to) g.record(key, add, { from, to, 1, 1 }) end
        record("one", x, y)
        record("one", y, x)
        assert.equal(1, built.count)
        record("two", x, y)
        record("one", x:slice(1, 1, 2), y:slice(1, 1, 2))
        record("one", x:slice(1, 1, 2), x:slice(1, 3, 2))
        assert.equal(4, built.count)
        record("one", x:slice(1, 3, 2), y:slice(1, 1, 2))
        record("one", y:slice(1, 1, 2), y:slice(1, 3, 2))
        assert.equal(4, built.count)
        record("one", square:slice(1, 1, 1), y:reshape { 2, 2 }:slice(1, 1, 1))
        assert.equal(5, built.count)
      end)
    end)

    it("keeps edges to what comes before and after", function()
      local result = run(function(g, x)
        local function digits(t, first, second)
          g.aiv("append", t, first)
          g.aiv("append", t, second)
        end
        g.aiv("append", x, 1)
        g.record("digits", digits, { x, 2, 3 })
        g.aiv("append", x, 4)
        g.record("digits", digits, { x, 5, 6 })
        g.aiv("append", x, 7)
      end, 1)
      assert.same({ 1234567 }, result)
    end)

    it("returns a task that is over after all of it, then what the function returned", function()
      local built = 0
      local result = run(function(g, x)
        local function sum(from, value)
          built = built + 1
          local whole = g.alloc("f32", { 4 }, { fill = 0 })
          g.aiv("add_scalar", from, whole, value)
          return whole:slice(1, 3, 2), from:slice(1, 1, 2)
        end
        local last
        for value = 1, 3 do
          local task, half, first = g.record("sum", sum, { x, value })
          assert.same({ 2, 2 }, { half:size(1), first:size(1) })
          g.scope({ mode = "manual" }, function()
            last = g.aiv("add_scalar", { half, first, 10 }, { deps = { task, last } })
          end)
        end
      end)
      assert.equal(1, built)
      assert.same({ 13, 13, 0, 0 }, result)
    end)

    it("waits as a whole for the deps of its call", function()
      for _ = 1, 20 do
        local result = run(function(g, x)
          g.scope({ mode = "manual" }, function()
            local function two(t, digit)
              local first = g.aiv("append", t, digit)
              g.aiv("append", { t, 9 }, { deps = { first } })
            end
            local last = g.aiv("append", x, 1)
            for digit = 2, 4 do last = g.record("two", two, { x, digit }, { deps = { last } }) end
          end)
        end, 1)
        assert.same({ 1293949 }, result)
      end
    end)

    it("records inside others, with scopes, fill values, mixed and empty tasks", function()
      local inner_built, outer_built = 0, 0
      local result = run(function(g, x)
        local function inner(t, value)
          inner_built = inner_built + 1
          g.scope(function()
            local s = g.alloc("f32", t.shape, { fill = 5 })
            g.mix({ aiv0 = "add_scalar" }, { s, t, value })
            g.dummy { t }
          end)
          return t:slice(1, 1, 1)
        end
        local function outer(t, u, value)
          outer_built = outer_built + 1
          local _, first = g.record("inner", inner, { t, value })
          g.record("inner", inner, { u, 100 })
          g.aiv("append", first, value)
        end
        for i = 1, 2 do
          g.record("outer", outer, { x:slice(1, 2 * i - 1, 1), x:slice(1, 2 * i, 1), i })
        end
      end)
      assert.same({ 1, 1 }, { inner_built, outer_built })
      assert.same({ 61, 105, 72, 105 }, result)
    end)

    it("fails the run as its tasks do, whether it builds or not", function()
      for calls = 1, 2 do
        local text = message("user_fail", function(g, x)
          local function maybe(t, value) g.aiv("stop", t, value) end
          for i = 1, calls do g.record("stop", maybe, { x:slice(1, i, 1), 7 * i }) end
        end)
        assert.truthy(text:find("kernel stop: stopped at ", 1, true), text)
      end
    end)

    it("refuses what it could not submit again", function()
      local function recorded(body, args)
        return function(g, x)
          local outside = g.alloc("f32", { 4 })
          local task = g.aiv("add_scalar", x, outside, 1)
          g.record("k", function(...) body(g, outside, task, ...) end, args and args(x) or { x })
        end
      end
      assert.equal("test: record k: task add_scalar: argument 2 is neither handed to the record nor made in it",
        message("invalid_argument", recorded(function(g, outside, _, x) g.aiv("add_scalar", x, outside, 1) end)))
      assert.equal("test: record k: task append: dep 1 is not a task of the record",
        message("invalid_argument", recorded(function(g, _, task, x) g.aiv("append", { x, 1 }, { deps = { task } }) end)))
      assert.equal("record k: reads an element in a sub-graph that is built once",
        message("unsupported", recorded(function(g, _, _, x) g.get(x, 1) end)))
      assert.equal("record k: stores an element in a sub-graph that is built once",
        message("unsupported", recorded(function(g, _, _, x) g.set(x, 1, 1) end)))
      assert.equal("test: record k: result 1 is neither handed to the record nor made in it",
        message("invalid_argument", function(g, x) g.record("k", function() return x end, {}) end))
      assert.equal("test: record k: argument 1 has a tag; tags belong to the tasks of the sub-graph",
        message("invalid_argument", recorded(function() end, function(x) return { baton.input(x) } end)))
      assert.equal("g.record: the function may return device tensors of this run, result 2 is 5",
        message("invalid_argument", function(g, x) g.record("k", function(t) return t, 5 end, { x }) end))
      assert.equal("g.record: a key expected, got 1",
        message("invalid_argument", function(g, x) g.record(1, print, { x }) end))
      assert.equal("g.record: a function expected, got nil",
        message("invalid_argument", function(g, x) g.record("k", nil, { x }) end))
      assert.equal("g.record: a list of arguments expected, got nil",
        message("invalid_argument", function(g) g.record("k", print) end))
    end)

    it("forgets a sub-graph whose function raised", function()
      local built = 0
      local result = run(function(g, x)
        local function flaky(t)
          built = built + 1
          g.aiv("append", t, built)
          if built == 1 then error { reason = "first" } end
        end
        local _, err = pcall(g.record, "k", flaky, { x })
        assert.equal("first", err.reason)
        for _ = 1, 2 do g.record("k", flaky, { x }) end
      end, 1)
      assert.equal(2, built)
      assert.same({ 122 }, result)
    end)

    it("runs a sub-graph of thousands of tasks, and one of none", function()
      local result = run(function(g, x)
        local function many(t)
          for _ = 1, 3000 do g.aiv("add_scalar", t:slice(1, 1, 1), t:slice(1, 2, 1), 1) end
          for _ = 1, 3000 do g.aiv("add_scalar", t:slice(1, 2, 1), t:slice(1, 3, 1), 1) end
        end
        for _ = 1, 3 do
          g.record("many", many, { x })
          g.record("none", function() end, {})
        end
      end)
      assert.same({ 0, 1, 2, 0 }, result)
    end)
  end)
end

describe("a recorded sub-graph", function()
  it("serves later runs, other threads' devices and scalars of each run", function()
    local built = 0
    local program = programs.vector {
      signature = { { "x", "inout", "f32" }, { "n", "i64" } },
      graph = function(g, x, n)
        local function add(t, value)
          built = built + 1
          g.aiv("append", t, value)
        end
        for _ = 1, n do g.record("add", add, { x, g.scalar "n" }) end
      end,
    }
    for device, platform in ipairs { "a2a3sim", "a5sim" } do
      local chip <close> = baton.worker { platform = platform, device = device, runtime = "tensormap_and_ringbuffer" }
      for n = 1, 3 do
        local x = tensor.zeros("f32", { 1 })
        chip:run(program, { x, n })
        assert.equal(tonumber((tostring(n)):rep(n)), x:get(1))
      end
      assert.equal(platform == "a2a3sim" and 1 or 2, built) -- devices of another width have their own
    end
    program:forget()
    local chip <close> = baton.worker { runtime = "tensormap_and_ringbuffer" }
    chip:run(program, { tensor.zeros("f32", { 1 }), 2 })
    assert.equal(3, built)
  end)

  it("takes new scalars when the graph around it is kept", function()
    local program = programs.vector {
      signature = { { "x", "inout", "f32" }, { "n", "f32" } },
      graph = function(g, x)
        local function add(t, value) g.aiv("append", t, value) end
        for _ = 1, 2 do g.record("add", add, { x, g.scalar "n" }) end
      end,
    }
    local chip <close> = baton.worker { runtime = "host_build_graph" }
    for n = 1, 3 do
      local x = tensor.zeros("f32", { 1 })
      chip:run(program, { x, n })
      assert.equal(11 * n, x:get(1))
    end
    assert.equal(1, chip:stats().graph_builds)
  end)

  it("is the same in C, and a crash while it is built is left", function()
    local code = [[
      #include <baton/orchestration.h>
      static void step(baton_orch *o, const baton_arg *args, uint32_t nargs, baton_view *made, void *context) {
        int *built = context;
        (void)nargs;
        (*built)++;
        made[0] = baton_alloc(o, BATON_F32, args[0].view.ndim, args[0].view.shape);
        baton_aiv(o, baton_kernel(o, "add_scalar"), BATON_ARGS(args[0], baton_untagged(made[0]), args[1]), NULL);
        if (args[0].view.shape[0] == 13) *(volatile int *)8 = 0;
      }
      BATON_ORCHESTRATION(chain) {
        int built = 0;
        baton_view x = baton_param(o, args, 0), y = x;
        for (int i = 1; i <= 4; i++) {
          baton_sub_graph sub_graph = {.key = "step", .build = step, .context = &built, .nmade = 1};
          baton_record(o, &sub_graph, BATON_ARGS(baton_untagged(y), baton_f32((float)i)), NULL, &y);
        }
        baton_aiv(o, baton_kernel(o, "add_scalar"), BATON_ARGS(baton_untagged(y), baton_untagged(x), baton_f32(0)), NULL);
        if (built > 2) baton_orch_fail(o, "built %d times", built);
      }]]
    local program = baton.program {
      name = "chain", signature = { { "x", "inout", "f32" } }, kernels = programs.kernels,
      orchestration = { entry = "chain", code = code },
    }
    for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
      local chip <close> = baton.worker { runtime = runtime }
      local x = tensor.zeros("f32", { 3 })
      chip:run(program, { x })
      assert.same({ 10, 10, 10 }, x:totable())
      local text = raises("kernel_crash", chip.run, chip, program, { tensor.zeros("f32", { 13 }) })
      assert.equal("chain: the orchestration crashed with SIGSEGV", text)
      chip:restart()
      chip:run(program, { x })
      assert.same({ 20, 20, 20 }, x:totable())
    end
  end)
end)
