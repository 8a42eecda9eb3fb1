local command = require "spec.support.command"
local json = require "baton.json"
local scene_file = require "spec.support.scene"
local timings = require "baton.timings"

describe("a summary of times", function()
  it("has first, mean, mean of the second half, median, 99th percentile, least and most", function()
    assert.same({ first = 9, mean = 4.2, steady_mean = 3, median = 3, p99 = 9, min = 1, max = 9 },
      timings.summary { 9, 3, 6, 1, 2 })
    assert.same({ first = 7, mean = 7, steady_mean = 7, median = 7, p99 = 7, min = 7, max = 7 }, timings.summary { 7 })
    assert.equal(2.5, timings.summary({ 4, 1, 2, 3 }).median)
    assert.same({}, timings.summary {})
  end)

  it("leaves out the ten lowest and the ten highest of more than twenty in the trimmed mean", function()
    local values = {}
    for i = 1, 20 do values[i] = i <= 10 and 0 or 1000 end
    assert.is_nil(timings.summary(values).trimmed)
    values[21] = 5
    assert.equal(5, timings.summary(values).trimmed)
  end)

  it("takes the value that at most one in a hundred exceeds as the 99th percentile", function()
    local values = {}
    for i = 1, 200 do values[i] = 201 - i end
    assert.equal(198, timings.summary(values).p99)
  end)
end)

describe("baton bench", function()
  local folder
  setup(function() folder = command.folder() end)
  teardown(function() command.remove(folder) end)

  local function path(name) return folder .. "/" .. name end
  local function scene(changes) return scene_file.write(path "scene.lua", changes) end
  local function bench(...) return command.run { "bench", ... } end

  -- c = c + a, so that each round must begin with the first c
  local adding = [[
    scene.program = baton.program { name = "sum",
      signature = { { "a", "in", "f32", { "n" } }, { "c", "inout", "f32", { "n" } } },
      kernels = { add = { core = "aiv", signature = { { "a", "in" }, { "c", "inout" } }, code = [=[
        #include <baton/kernel.h>
        BATON_KERNEL(add) {
          const float *a = baton_in(args, 0, float);
          float *c = baton_io(args, 1, float);
          for (int64_t i = 0, n = baton_numel(args, 1); i < n; i++) c[i] += a[i];
        }]=] } },
      graph = function(g, a, c) g.aiv("add", a, c) end }
    scene.args = function(p) return { a = tensor.full("f32", { p.n }, p.x), c = tensor.full("f32", { p.n }, 1) } end
    scene.golden = function(args) return { c = args.a + args.c } end]]

  -- The lines of a table with one word for each time.
  local function lines(text)
    local list = {}
    for line in text:gmatch "[^\n]+" do
      list[#list + 1] = (line:gsub("%d+%.%d+", "T"):gsub(" +", " ")):gsub(" $", "")
    end
    return list
  end

  it("prints the times of each round and their summary", function()
    local result = bench(scene(), "--case", "small", "--rounds", "3")
    assert.equal(0, result.status, result.err)
    assert.same({ "sum a2a3sim host_build_graph small 3 rounds PASS",
      "Round Host (us) Device (us) Orch (us) Sched (us)",
      "1 T T T -", "2 T T T -", "3 T T T -",
      "first T T T -", "mean T T T -", "steady_mean T T T -", "median T T T -", "p99 T T T -", "min T T T -", "max T T T -",
      "trimmed - - - -", "1 passed, 0 failed, 0 skipped" }, lines(result.out))
  end)

  it("shows what the host does with --show-host", function()
    local reusing = lines(bench(scene(), "--case", "small", "--rounds", "2", "--show-host").out)
    assert.equal("Round Host (us) Device (us) Orch (us) Sched (us) Init (us) Launch (us) Finalize (us)", reusing[2])
    assert.equal("1 T T T - T T T", reusing[3])
    local opening = lines(bench(scene(), "--case", "small", "--rounds", "2", "--show-host", "--no-reuse").out)
    assert.equal("Round Host (us) Device (us) Orch (us) Sched (us) Open (us) Run (us) Close (us)", opening[2])
  end)

  -- What --json prints.
  local function measure(...)
    local result = bench("--json", ...)
    return json.decode(result.out), result
  end

  it("gives programs every number, and what the worker did", function()
    local value, result = measure(scene(), "--case", "small", "--rounds", "25")
    assert.equal(0, result.status, result.err)
    local case = value.cases[1]
    assert.same({ "sum", "a2a3sim", "host_build_graph", "small", "thread", true },
      { case.scene, case.platform, case.runtime, case.case, case.isolation, case.reuse })
    assert.equal(25, #case.rounds)
    for i, round in ipairs(case.rounds) do
      assert.equal(i, round.round)
      assert.is_true(round.host_us >= round.device_us and round.device_us > 0 and round.orch_us > 0)
      assert.equal(json.null, round.sched_us)
    end
    for _, name in ipairs(timings.summaries) do
      assert.equal("number", type(case.summary.host_us[name]))
      assert.equal(json.null, case.summary.sched_us[name])
    end
    assert.same({ 25, 25, 1, 2 },
      { case.stats.rounds, case.stats.runs, case.stats.graph_builds, case.stats.streams_created })
    assert.truthy(result.err:find("1 passed, 0 failed, 0 skipped", 1, true))
  end)

  it("opens and closes everything in each round with --no-reuse", function()
    local value, result = measure(scene(adding), "--case", "small", "--rounds", "4", "--no-reuse")
    assert.equal(0, result.status, result.err)
    local case = value.cases[1]
    assert.is_false(case.reuse)
    assert.equal(4, #case.rounds)
    assert.same({ 4, 4, 8, 8, 0 }, { case.stats.runs, case.stats.graph_builds, case.stats.streams_created,
      case.stats.streams_destroyed, case.stats.committed_bytes })
    assert.equal(case.stats.allocations, case.stats.frees)
  end)

  it("restores inout arguments before each round and checks the last one", function()
    for _, how in ipairs { "--rounds=3", "--no-reuse" } do
      local result = bench(scene(adding), "--case", "small", "--rounds", "3", how)
      assert.equal(0, result.status, result.out .. result.err)
    end
    local result = bench(scene(adding:gsub("args%.a %+ args%.c", "args.a")), "--case", "small", "--rounds", "2")
    assert.equal(1, result.status)
    assert.equal("sum a2a3sim host_build_graph small 2 rounds FAIL c", (lines(result.out)[1]:match "^(.-):"))
    assert.equal("0 passed, 1 failed, 0 skipped", lines(result.out)[13])
    assert.equal(0, bench(scene(adding:gsub("args%.a %+ args%.c", "args.a")), "--skip-golden").status)
  end)

  it("goes on after a case that cannot run, and refuses what makes no sense", function()
    local value, result = measure(scene [[
      scene.cases[1].config = { ring_heap = 1 << 50 } ]], "--rounds", "2")
    assert.equal(4, result.status)
    assert.equal("out_of_memory", value.cases[1].error.code)
    assert.same({}, value.cases[1].rounds)
    assert.equal(2, #value.cases[2].rounds)
    result = bench(scene(), "--rounds", "0")
    assert.equal("baton bench: invalid_argument: --rounds 0: an integer of at least 1 expected\n", result.err)
    assert.equal(2, result.status)
  end)

  it("times every platform and runtime that is asked for", function()
    local value = measure(scene(), "--case", "small", "--rounds", "2", "--platform", "all", "--runtime", "all")
    local seen = {}
    for i, case in ipairs(value.cases) do seen[i] = case.platform .. " " .. case.runtime end
    assert.same({ "a2a3sim host_build_graph", "a2a3sim tensormap_and_ringbuffer", "a5sim host_build_graph",
      "a5sim tensormap_and_ringbuffer" }, seen)
  end)
end)
