local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"
local tensor = require "baton.tensor"

glue.scene "scenes/graph_execution.lua"
glue.scene "scenes/graph_execution_layers.lua"
glue.scene "scenes/matmul_diamond.lua"

describe("scenes/graph_execution.lua", function()
  local scene = scenes.load "scenes/graph_execution.lua"

  local function run(chip, n, a, b)
    local args = scene.args({ n = n, a = a, b = b }, 1)
    local timing = chip:run(scene.program, args)
    return { args.first:get(n), args.second:get(n), args.third:get(1) }, timing
  end

  it("gives 42, 945 and 110 for the sum 5, and others for others", function()
    for _, runtime in ipairs(scene.program.runtimes) do
      local chip <close> = baton.worker { platform = "a2a3sim", runtime = runtime }
      for _, n in ipairs { 100, 1, 100 } do
        assert.same({ 42, 945, 110 }, (run(chip, n, 2, 3)))
        assert.same({ 2, 400, 30 }, (run(chip, n, -4, 4)))
      end
    end
  end)

  it("has five tasks in each of its three calls, and builds one graph for all runs", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    scene.program:forget()
    for _ = 1, 10 do
      local _, timing = run(chip, 16, 2, 3)
      assert.equal(1 + 3 * (5 + 1), timing.tasks) -- and one where each call ends
    end
    assert.same({ 1, 9 }, { chip:stats().graph_builds, chip:stats().graph_replays })
  end)
end)

describe("scenes/graph_execution_layers.lua", function()
  local scene = scenes.load "scenes/graph_execution_layers.lua"

  it("hands the weights of each layer to its call", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local args = scene.args({}, 3)
    chip:run(scene.program, args)
    local before = args.out:clone()
    for layer = 1, 3 do
      args.W1:select(1, layer):fill(1 / 200)
      chip:run(scene.program, args)
      assert.tensor_close(args.out, scene.golden(args).out, scene.tolerance)
      assert.is_false((args.out:allclose(before, scene.tolerance)))
      before = args.out:clone()
    end
    assert.equal(1, chip:stats().graph_builds)
  end)
end)

describe("scenes/matmul_diamond.lua", function()
  local scene = scenes.load "scenes/matmul_diamond.lua"

  it("is four tasks and the four edges of a diamond, and gives e² for e⁴", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local args = scene.args(scene.cases[1].params)
    assert.equal(4, chip:run(scene.program, args).tasks)
    assert.equal(4, chip:stats().edges)
    assert.tensor_close(args.F, tensor.full("f16", { 128, 128 }, math.exp(2)), scene.tolerance)
  end)
end)
