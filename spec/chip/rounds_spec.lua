-- Rounds: what a run needs is made once, each round moves its arguments only. The same on all platforms and runtimes.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local memory = require "spec.support.memory"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

local small = os.getenv "BATON_TEST_SMALL" ~= nil
local runtimes = { "host_build_graph", "tensormap_and_ringbuffer" }

-- c = a + b
local function sum_program()
  return programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
end

-- The same, built by C code on the chip.
local function c_program(edges)
  return baton.program { name = "csum", signature = programs.abc, kernels = programs.kernels, edges = edges, orchestration = { code = [[
    #include <baton/orchestration.h>
    BATON_ORCHESTRATION(csum) {
      baton_view a = baton_param(o, args, 0), b = baton_param(o, args, 1), c = baton_param(o, args, 2);
      baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(a), baton_input(b), baton_output(c)), NULL);
    }]], entry = "csum" } }
end

-- x = 10 x + digit
local function append_program(digit)
  return programs.vector { name = "append", signature = { { "x", "inout", "f32", { "n" } } },
    graph = function(g, x) g.aiv("append", x, digit) end }
end

local function full(value) return tensor.full("f32", { 8 }, value) end

local function round(rounds, rebind)
  rounds:init_round(rebind)
  rounds:launch()
  assert.is_true(rounds:finalize_round())
end

-- What differs between two looks at the statistics.
local function difference(before, after)
  local changed = {}
  for name, value in pairs(after) do
    if value ~= before[name] then changed[name] = value - before[name] end
  end
  return changed
end

-- What holds for programs of every runtime. Returns what the specs have in hand: the worker, and a config.
local function basics(platform, runtime, makers)
  local hand = {}
  local chip, config
  before_each(function()
    chip = baton.worker { platform = platform }
    config = { runtime = runtime }
    hand.chip, hand.config = chip, config
  end)
  after_each(function()
    chip:close()
    local stats = chip:stats()
    assert.equal(stats.allocations, stats.frees)
    assert.equal(0, stats.committed_bytes)
  end)

  for name, make in pairs(makers) do
    it(("of %s see what their inputs hold at init_round"):format(name), function()
      local a, b, c = full(0), full(1), full(-1)
      local rounds <close> = chip:rounds(make(), { a = a, b = b, c = c }, config)
      for i = 1, 5 do
        a:fill(i)
        rounds:init_round()
        a:fill(100)
        rounds:launch()
        assert.is_true(rounds:finalize_round())
        assert.equal(i + 1, c:get(8))
      end
    end)

    it(("of %s move arguments and nothing else from the second one on"):format(name), function()
      local rounds <close> = chip:rounds(make(), { full(1), full(2), full(0) }, config)
      round(rounds)
      local before = chip:stats()
      for _ = 1, 10 do round(rounds) end
      local changed = difference(before, chip:stats())
      if runtime == "host_build_graph" then
        assert.equal(10, changed.graph_replays)
        changed.graph_replays = nil
      end
      assert.same({ rounds = 10, runs = 10, tasks = 10, bytes_to_device = 10 * 64, bytes_from_device = 10 * 32 }, changed)
    end)
  end

  return hand
end

local function conformance(platform, runtime)
  local hand = basics(platform, runtime, { ["a Lua graph"] = sum_program, ["a C orchestration"] = c_program })
  local chip, config
  before_each(function() chip, config = hand.chip, hand.config end)

  it("take inout arguments up and back each time", function()
    local x = full(1)
    local rounds <close> = chip:rounds(append_program(3), { x }, config)
    round(rounds)
    assert.equal(13, x:get(1))
    round(rounds)
    assert.equal(133, x:get(1))
    x:set(2, 1)
    round(rounds)
    assert.equal(23, x:get(1))
  end)

  it("pack strided inputs and unpack strided outputs", function()
    local whole, out = tensor.arange("f32", { 4, 3 }), tensor.zeros("f32", { 3, 4 })
    local rounds <close> = chip:rounds(sum_program(), { whole:select(2, 2), whole:select(2, 3), out:select(1, 2) }, config)
    for i = 1, 3 do
      whole:set(100 * i, 1, 2)
      round(rounds)
      assert.equal(100 * i + 2, out:get(2, 1))
      assert.equal(21, out:get(2, 4))
    end
    assert.equal(0, out:get(1, 4))
    assert.equal(0, out:get(3, 1))
  end)

  it("fill outputs that no task writes, as a run does", function()
    local nothing = programs.vector { name = "nothing", signature = { { "c", "out", "u8", { "n" } }, { "x", "inout" } },
      graph = function(g, _, x) g.aiv("append", x, 1) end }
    local c = tensor.zeros("u8", { 4 })
    local rounds <close> = chip:rounds(nothing, { c, full(0) }, config)
    for _ = 1, 2 do
      c:fill(1)
      round(rounds)
      assert.equal(0xA5, c:get(4))
    end
  end)

  it("read and write other tensors after a rebind, and go on with them", function()
    local a, b, c, d = full(1), full(2), full(-1), full(-1)
    local rounds <close> = chip:rounds(sum_program(), { a = a, b = b, c = c }, config)
    round(rounds)
    local before = chip:stats()
    round(rounds, { a = full(10), c = d })
    assert.equal(3, c:get(1))
    assert.equal(12, d:get(1))
    round(rounds, { [2] = full(20) })
    assert.equal(30, d:get(1))
    assert.equal(3, c:get(1))
    local changed = difference(before, chip:stats())
    assert.equal(nil, changed.allocations)
    assert.equal(nil, changed.graph_builds)
  end)

  it("are right when a few long ones follow many brief ones", function()
    local program = programs.vector { name = "wavering",
      signature = { { "x", "inout", "f32", { "n" } }, { "tasks", "i64" } },
      graph = function(g, x, tasks)
        for i = 1, tasks do g.aiv("add_scalar", x:slice(1, 1, 4), x:slice(1, 5, 4), i % 2) end
        g.aiv("append", x, 1)
      end }
    local x = full(0)
    local rounds <close> = chip:rounds(program, { x, 0 }, config)
    for _ = 1, small and 2 or 6 do
      for tasks, count in pairs { [0] = 40, [1000] = 3 } do
        x:fill(2)
        round(rounds, { tasks = tasks })
        for _ = 2, count do
          x:set(2, 1)
          round(rounds)
        end
        assert.equal(21, x:get(1))
        assert.equal(2, x:get(5))
      end
    end
  end)

  it("take other scalars", function()
    local scaled = programs.vector { name = "scaled",
      signature = { { "a", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } }, { "value", "f32" } },
      graph = function(g, a, c, value) g.aiv("add_scalar", a, c, value) end }
    local c = full(0)
    local rounds <close> = chip:rounds(scaled, { full(1), c, 2 }, config)
    round(rounds)
    assert.equal(3, c:get(1))
    round(rounds, { value = 5 })
    assert.equal(6, c:get(1))
    round(rounds)
    assert.equal(6, c:get(1))
    assert.equal("scaled: argument 3 (value): 1e+300 does not fit f32, which holds magnitudes up to 3.40282347e+38",
      raises("out_of_range", rounds.init_round, rounds, { value = 1e300 }))
    round(rounds)
    assert.equal(6, c:get(1))
  end)

  it("refuse a rebind that changes dtype, shape or placement", function()
    local buffer = chip:malloc(32)
    local rounds <close> = chip:rounds(sum_program(), { a = full(1), b = full(2), c = full(0) }, config)
    local stays = ": dtype, shape and placement must stay"
    local function refused(rebind) return raises("signature", rounds.init_round, rounds, rebind) end
    assert.equal("sum: argument 1 (a): rebound from f32[8] in host memory to f32[7] in host memory" .. stays,
      refused { a = tensor.zeros("f32", { 7 }) })
    assert.equal("sum: argument 1 (a): rebound from f32[8] in host memory to i32[8] in host memory" .. stays,
      refused { a = tensor.zeros("i32", { 8 }) })
    assert.equal("sum: argument 3 (c): rebound from f32[8] in host memory to f32[8] in child memory" .. stays,
      refused { c = buffer:tensor("f32", { 8 }) })
    assert.equal("sum: argument 2 (b): rebound from f32[8] in host memory to a scalar" .. stays, refused { b = 3 })
    assert.equal("sum: no argument is named d", refused { d = full(1) })
    local c = full(7)
    assert.equal("sum: arguments 1 (a) and 3 (c) overlap, and c is written", refused { a = c, c = c })
    round(rounds)
  end)

  it("keep resident arguments on the chip", function()
    local a, b, c = full(1), full(2), full(0)
    local rounds <close> = chip:rounds(sum_program(), { a = a, b = b, c = c }, { runtime = runtime, resident = { "b" } })
    round(rounds)
    local before = chip:stats()
    b:fill(50)
    round(rounds)
    assert.equal(3, c:get(1))
    assert.equal(32, chip:stats().bytes_to_device - before.bytes_to_device)
    round(rounds, { b = b })
    assert.equal(51, c:get(1))
    round(rounds)
    assert.equal(3 * 32 + 32, chip:stats().bytes_to_device - before.bytes_to_device)
  end)

  it("bring a resident argument back when it is rebound and at the end", function()
    local x, y = full(0), full(1)
    local rounds <close> = chip:rounds(append_program(1), { x }, { runtime = runtime, resident = { "x" } })
    round(rounds)
    round(rounds)
    assert.equal(0, x:get(1))
    rounds:init_round { x = y }
    assert.equal(11, x:get(1))
    rounds:launch()
    rounds:finalize_round()
    assert.equal(1, y:get(1))
    rounds:finalize()
    assert.equal(11, y:get(1))
    assert.equal(11, x:get(1))
    rounds:finalize()
  end)

  it("leave child memory where it is", function()
    local buffer = chip:malloc(32)
    chip:copy_to(buffer, full(4))
    local c = full(0)
    local rounds <close> = chip:rounds(sum_program(), { buffer:tensor("f32", { 8 }), full(2), c }, config)
    round(rounds)
    local before = chip:stats()
    round(rounds)
    assert.equal(32, chip:stats().bytes_to_device - before.bytes_to_device)
    assert.equal(6, c:get(1))
    local other = chip:malloc(32)
    chip:copy_to(other, full(40))
    round(rounds, { a = other:tensor("f32", { 8 }) })
    assert.equal(42, c:get(1))
    buffer:close()
    round(rounds)
    assert.equal(42, c:get(1))
  end)

  -- Five arguments of different sizes. A bit of `places` puts one elsewhere: into child memory, or, kept there, on the chip.
  local mixed = {
    { name = "a", direction = "in", count = 3 }, { name = "w", direction = "in", count = 5 },
    { name = "f", direction = "out", count = 7 }, { name = "v", direction = "in", count = 11 },
    { name = "g", direction = "inout", count = 13 },
  }
  local guard = 7777

  local function mixed_program()
    local signature, kernel = {}, {}
    for i, one in ipairs(mixed) do
      signature[i] = { one.name, one.direction, "f32", { one.count } }
      kernel[i] = { one.name, one.direction }
    end
    return baton.program { name = "mixed", signature = signature, graph = function(g, ...) g.aiv("mix", ...) end,
      kernels = { mix = { core = "aiv", signature = kernel, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(mix) {
          const float *a = baton_in(args, 0, float), *w = baton_in(args, 1, float), *v = baton_in(args, 3, float);
          float *f = baton_out(args, 2, float), *g = baton_io(args, 4, float);
          for (int i = 0; i < 7; i++) f[i] = a[i % 3] + 10 * w[i % 5];
          for (int i = 0; i < 13; i++) g[i] += v[i % 11] + f[i % 7];
        }]] } } }
  end

  -- The argument between two guards, in host memory or in a buffer: `value` for the list, `fill` sets it, `look` returns it
  -- and its guards as they are now.
  local function place(one, in_child)
    local whole = tensor.full("f32", { one.count + 2 }, guard)
    local inner = whole:slice(1, 2, one.count)
    local placed = { value = inner, look = function() return whole end }
    function placed.fill(data) inner:copy(data) end
    if not in_child then return placed end
    local buffer = chip:malloc(whole.nbytes)
    chip:copy_to(buffer, whole)
    placed.value = buffer:tensor("f32", { one.count }, 4)
    function placed.fill(data) chip:copy_to(buffer, data, { offset = 4 }) end
    function placed.look()
      chip:copy_from(whole, buffer)
      return whole
    end
    return placed
  end

  local function between_guards(data)
    return tensor.concat({ tensor.full("f32", { 1 }, guard), data, tensor.full("f32", { 1 }, guard) }, 1)
  end

  -- What a round makes of the values.
  local function mix(now)
    for i = 1, 7 do now.f:set(now.a:get((i - 1) % 3 + 1) + 10 * now.w:get((i - 1) % 5 + 1), i) end
    for i = 1, 13 do now.g:set(now.g:get(i) + now.v:get((i - 1) % 11 + 1) + now.f:get((i - 1) % 7 + 1), i) end
  end

  -- Three rounds with new inputs each; every argument must hold what it should, between guards that are whole.
  local function check_places(program, places, in_child)
    local placed, list, resident, now = {}, {}, {}, {}
    for i, one in ipairs(mixed) do
      local elsewhere = places >> (i - 1) & 1 == 1
      placed[one.name] = place(one, in_child and elsewhere)
      list[one.name] = placed[one.name].value
      if elsewhere and not in_child then resident[#resident + 1] = one.name end
      now[one.name] = tensor.arange("f32", { one.count }) * i
      placed[one.name].fill(now[one.name])
    end
    local rounds <close> = chip:rounds(program, list, { runtime = runtime, resident = resident })
    for number = 1, 3 do
      if places & 1 == 0 or in_child then
        now.a:fill(number)
        placed.a.fill(now.a)
      end
      round(rounds)
      mix(now)
    end
    rounds:finalize()
    for _, one in ipairs(mixed) do
      local what = ("%s with places %d"):format(one.name, places)
      assert.is_true(placed[one.name].look():allclose(between_guards(now[one.name]), { rtol = 0, atol = 0 }), what)
    end
  end

  for where, in_child in pairs { ["child memory"] = true, ["memory that stays on the chip"] = false } do
    it(("take arguments from %s and from the host in every combination"):format(where), function()
      local program = mixed_program()
      for places = 0, 31 do check_places(program, places, in_child) end
    end)
  end

  it("use the right memory after a round that a scalar has stopped half way", function()
    local program = baton.program { name = "narrow", signature = { { "x", "inout", "f32" }, { "v", "i64" } },
      kernels = { store = { core = "aiv", signature = { { "x", "inout" }, { "v", "i8" } }, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(store) { baton_io(args, 0, float)[0] += (float)baton_scalar_i64(args, 1); }]] } },
      graph = function(g, x) g.aiv("store", x, g.scalar "v") g.aiv("store", x, g.scalar "v") end }
    local first, other, seen = chip:malloc(32), chip:malloc(32), full(0)
    local near, far = first:tensor("f32", { 8 }), other:tensor("f32", { 8 })
    chip:copy_to(first, full(0))
    chip:copy_to(other, full(0))
    local rounds <close> = chip:rounds(program, { near, 1 }, config)
    round(rounds)
    rounds:init_round { x = far, v = 1000 }
    local function rest()
      rounds:launch()
      rounds:finalize_round()
    end
    local err = select(2, pcall(rest))
    assert.equal("out_of_range", err.code)
    round(rounds, { x = near, v = 5 })
    chip:copy_from(seen, first)
    assert.equal(12, seen:get(1))
    chip:copy_from(seen, other)
    assert.equal(0, seen:get(1))
  end)

  it("go on after a kernel that crashes, when the worker was restarted", function()
    local program = baton.program { name = "fragile", signature = { { "x", "inout", "f32" }, { "crash", "i64" } },
      kernels = { step = { core = "aiv", signature = { { "x", "inout" }, { "crash", "i64" } }, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(step) {
          if (baton_scalar_i64(args, 1)) *(volatile int *)8 = 1;
          baton_io(args, 0, float)[0] += 1;
        }]] } },
      graph = function(g, x, crash) g.aiv("step", x, crash) end }
    local x = full(0)
    local rounds <close> = chip:rounds(program, { x, 0 }, config)
    round(rounds)
    rounds:init_round { crash = 1 }
    rounds:launch()
    assert.equal("kernel_crash", select(2, pcall(rounds.finalize_round, rounds)).code)
    rounds:init_round { crash = 0 }
    assert.equal("worker_lost", select(2, pcall(rounds.launch, rounds)).code)
    chip:restart()
    round(rounds)
    assert.equal(2, x:get(1))
  end)

  it("let other runs of the worker in between", function()
    local program, c, x = sum_program(), full(0), full(5)
    local rounds <close> = chip:rounds(program, { full(1), full(2), c }, config)
    rounds:init_round()
    chip:run(append_program(7), { x }, config)
    rounds:launch()
    local run = chip:submit(append_program(8), { x }, config)
    assert.is_true(rounds:finalize_round())
    run:wait()
    assert.equal(578, x:get(1))
    assert.equal(3, c:get(1))
    local second <close> = chip:rounds(program, { full(3), full(4), c }, config)
    rounds:init_round()
    second:init_round()
    rounds:launch()
    second:launch() -- waits for the other round, which writes c too
    assert.is_true(second:finalize_round())
    assert.is_true(rounds:finalize_round())
    assert.equal(7, c:get(1))
  end)

  it("say what to call when a step comes out of order, and change nothing", function()
    local rounds <close> = chip:rounds(sum_program(), { full(1), full(2), full(0) }, config)
    assert.equal("launch: no round is open, call init_round first", raises("state", rounds.launch, rounds))
    assert.equal("finalize_round: no round is open, call init_round first",
      raises("state", rounds.finalize_round, rounds))
    rounds:init_round()
    assert.equal("init_round: round 1 is open and not launched, call launch first",
      raises("state", rounds.init_round, rounds))
    assert.equal("finalize_round: round 1 is open and not launched, call launch first",
      raises("state", rounds.finalize_round, rounds))
    rounds:launch()
    assert.equal("init_round: round 1 is open and launched, call finalize_round first",
      raises("state", rounds.init_round, rounds))
    assert.equal("launch: round 1 is open and launched, call finalize_round first", raises("state", rounds.launch, rounds))
    assert.is_true(rounds:finalize_round())
    round(rounds)
  end)

  it("go on after a round whose task fails, and after one whose graph raises", function()
    local broken, x = true, full(1)
    local program = programs.vector { name = "moody", signature = { { "x", "inout", "f32", { "n" } }, { "mood", "i64" } },
      graph = function(g, t, mood)
        if broken then error({ mood = mood }, 0) end
        g.aiv("append", t, 2)
        if mood == 1 then g.aiv("stop", t, 9) end
      end }
    local rounds <close> = chip:rounds(program, { x, 0 }, config)
    rounds:init_round()
    local _, raised = pcall(rounds.launch, rounds)
    assert.same({ mood = 0 }, raised)
    broken = false
    rounds:init_round { mood = 1 }
    rounds:launch()
    local _, failed = pcall(rounds.finalize_round, rounds)
    assert.equal("user_fail", failed.code)
    assert.equal(2, failed.round)
    assert.equal(1, x:get(1))
    round(rounds, { mood = 0 })
    assert.equal(12, x:get(1))
  end)

  it("are timed one by one", function()
    local rounds <close> = chip:rounds(sum_program(), { full(1), full(2), full(0) }, config)
    assert.is_nil(rounds:timing())
    local seen = {}
    for i, timing in rounds:each(3) do
      seen[#seen + 1] = i
      assert.equal(1, timing.tasks)
      assert.is_true(timing.host >= timing.device and timing.device > 0)
    end
    assert.same({ 1, 2, 3 }, seen)
    assert.equal(1, rounds:timing().tasks)
    rounds:each(5)()
    round(rounds)
    assert.equal(5, chip:stats().rounds)
  end)

  it("close before their worker, and answer closed then", function()
    local x = full(0)
    local rounds = chip:rounds(append_program(4), { x }, { runtime = runtime, resident = { "x" } })
    round(rounds)
    rounds:init_round()
    chip:close()
    assert.equal(4, x:get(1))
    assert.equal("the worker is closed", raises("closed", rounds.launch, rounds))
    rounds:close()
    rounds:finalize()
  end)

  it("answer closed when they are closed", function()
    local rounds = chip:rounds(sum_program(), { full(1), full(2), full(0) }, config)
    rounds:init_round()
    rounds:close()
    for _, step in ipairs { "init_round", "launch", "finalize_round" } do
      assert.equal("the rounds are closed", raises("closed", rounds[step], rounds))
    end
  end)

  it("are collected with what they hold", function()
    do
      local forgotten = chip:rounds(sum_program(), { full(1), full(2), full(0) }, config)
      round(forgotten)
    end
    collectgarbage()
    collectgarbage()
    chip:run(sum_program(), { full(1), full(2), full(0) }, config)
    chip:setup_arena { heap = "1MiB" }
    assert.equal(1 << 20, chip:stats().committed_bytes)
  end)

  if memory.is_telling then
    it("take the same memory whatever their number", function()
      local rounds <close> = chip:rounds(sum_program(), { full(1), full(2), full(0) }, config)
      for _ in rounds:each(5000) do end
      local before = memory.resident()
      for _ in rounds:each(20000) do end
      local more = memory.resident() - before
      assert.is_true(more < 2048, ("%d KiB more"):format(more))
    end)
  end
end

glue.each_platform(function(platform)
  for _, runtime in ipairs(runtimes) do
    describe("rounds on " .. runtime, function() conformance(platform, runtime) end)
  end
  describe("rounds on aicpu_build_graph", function()
    basics(platform, "aicpu_build_graph", { ["a C orchestration"] = function() return c_program "explicit" end })
  end)
end)

describe("rounds", function()
  it("are launched while the kernel runs, and outputs are waited for", function()
    gate.close()
    local chip <close> = baton.worker {}
    local program = baton.program { name = "held", signature = { { "x", "inout", "f32", { "n" } } },
      kernels = { hold = gate.hold }, graph = function(g, x) g.aiv("hold", x) end }
    local x = full(1)
    local rounds <close> = chip:rounds(program, { x }, gate.config)
    rounds:init_round()
    rounds:launch()
    assert.is_nil(rounds:finalize_round(0))
    assert.equal("busy", chip.state)
    assert.equal("init_round: round 1 is open and launched, call finalize_round first",
      raises("state", rounds.init_round, rounds))
    gate.open()
    assert.equal(2, x:get(1)) -- waits
    assert.is_true(rounds:finalize_round())
    gate.gone()
  end)

  it("cancel a round in flight when they are closed, and when its deadline has passed", function()
    gate.close()
    local chip <close> = baton.worker {}
    local program = baton.program { name = "held", signature = { { "x", "inout", "f32", { "n" } } },
      kernels = { hold = gate.hold }, graph = function(g, x) g.aiv("hold", x) end }
    local x = full(1)
    local late <close> = chip:rounds(program, { x }, { timeout = gate.seconds, deadline = 0.01 })
    late:init_round()
    late:launch()
    assert.equal("held: not over after the deadline of 0.01 s, and cancelled",
      raises("timeout", late.finalize_round, late))
    local rounds = chip:rounds(program, { x }, gate.config)
    rounds:init_round()
    rounds:launch()
    rounds:close()
    gate.open()
    assert.equal("held: the run was cancelled", raises("cancelled", x.get, x, 1))
    round(late)
    assert.equal(2, x:get(1))
    gate.gone()
  end)

  it("build their graph again when it would look at something else, or is forgotten", function()
    local chip <close> = baton.worker {}
    local built = 0
    local program = programs.vector { name = "looking", signature = { { "n", "in", "i32", { 1 } }, { "x", "inout", "f32" } },
      graph = function(g, n, x)
        built = built + 1
        for _ = 1, g.get(n, 1) do g.aiv("append", x, 1) end
      end }
    local n, x = tensor.from({ 1 }, "i32"), full(0)
    local rounds <close> = chip:rounds(program, { n, x })
    round(rounds)
    round(rounds)
    assert.equal(1, built)
    n:set(2, 1)
    round(rounds)
    assert.equal(2, built)
    assert.equal(1111, x:get(1))
    n:set(1, 1)
    round(rounds) -- its first graph was kept
    assert.equal(2, built)
    program:forget()
    round(rounds)
    assert.equal(3, built)
    assert.equal(111111, x:get(1))
  end)

  it("take arguments by name only where there are names, and refuse what cannot be resident", function()
    local chip <close> = baton.worker {}
    local program = sum_program()
    local function refused(resident)
      return raises("signature", chip.rounds, chip, program, { full(1), full(2), full(0) }, { resident = resident })
    end
    assert.equal("sum: resident: no argument is named 'd'", refused { "d" })
    local scaled = programs.vector { name = "scaled", signature = { { "x", "inout" }, { "value", "f32" } },
      graph = function(g, x, value) g.aiv("append", x, value) end }
    assert.equal("scaled: resident: argument 2 (value) is a scalar",
      raises("signature", chip.rounds, chip, scaled, { full(1), 2 }, { resident = { "value" } }))
    local plain = programs.vector { name = "plain", graph = function(g, x) g.aiv("append", x, 1) end }
    assert.equal("plain: resident: no argument is named 'x', the program has no signature",
      raises("signature", chip.rounds, chip, plain, { full(1) }, { resident = { "x" } }))
    assert.equal("resident: entry 1 must be a string, got 7",
      raises("invalid_argument", chip.rounds, chip, program, { full(1), full(2), full(0) }, { resident = { 7 } }))
    assert.equal("resident: names arguments of one program, it is no default of a worker",
      raises("invalid_argument", baton.worker, { config = { resident = { "a" } } }))
    assert.equal(0, chip:stats().committed_bytes)
  end)

  it("keep the heap of the arena while they are open", function()
    local chip <close> = baton.worker { arena = { heap = "1MiB" }, config = { ring_heap = "1MiB" } }
    local rounds = chip:rounds(sum_program(), { full(1), full(2), full(0) })
    round(rounds)
    assert.equal("setup_arena: open rounds use the heap", raises("busy", chip.setup_arena, chip, { heap = "2MiB" }))
    round(rounds)
    rounds:close()
    assert.is_true(chip:setup_arena { heap = "2MiB" })
  end)

  it("refuse what would wait for itself", function()
    local chip <close> = baton.worker {}
    local rounds
    local program = programs.vector { name = "nested", signature = { { "x", "inout" } }, graph = function(g, x)
      g.aiv("append", x, 1)
      rounds:finalize_round()
    end }
    rounds = chip:rounds(program, { full(0) })
    rounds:init_round()
    assert.equal("finalize_round: called inside an orchestration of the same worker, it would wait for itself",
      raises("state", rounds.launch, rounds))
    rounds:close()
  end)
end)
