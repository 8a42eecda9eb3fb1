local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"
local tensor = require "baton.tensor"

glue.scene "scenes/alternating_matmul_add.lua"
glue.scene "scenes/bgemm.lua"
glue.scene "scenes/bgemm_explicit.lua"

describe("scenes/alternating_matmul_add.lua", function()
  local scene = scenes.load "scenes/alternating_matmul_add.lua"

  it("submits a task for each group of tiles, and none waits for another", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local args = scene.args({ batch = 3, m = 2, n = 5, matmul_group = 4, add_group = 2 }, 1)
    assert.equal(2 + 8, chip:run(scene.program, args).tasks)
    assert.equal(0, chip:stats().edges)
  end)
end)

describe("scenes/bgemm.lua", function()
  local scene = scenes.load "scenes/bgemm.lua"
  local params = scene:case("bgemm64").params
  local config = { ring_heap = "64KiB" } -- four products of 32

  it("has an edge from each product to its sum, and from each sum to the next of its group", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    assert.equal(2 * params.g * params.k, chip:run(scene.program, scene.args(params, 7)).tasks)
    assert.equal(params.g * (params.k + params.k - 1), chip:stats().edges)
  end)

  it("gives the memory of a product back when it has been added", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "tensormap_and_ringbuffer" }
    local args = scene.args(params, 7)
    local want = scene.golden(args).C
    chip:run(scene.program, args, config)
    assert.tensor_close(args.C, want, scene.tolerance)
  end)

  it("needs room for all products where the whole graph is built first", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local message = glue.raises("heap_full", chip.run, chip, scene.program, scene.args(params, 7), config)
    assert.matches("bgemm: .*the heap of 65536 bytes is full", message)
  end)

  it("adds to what C held before", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local args = scene.args({ g = 1, k = 3, l = 2, t = 8 }, 7)
    args.C = tensor.full("f32", args.C.shape, 100)
    local want = scene.golden(args).C
    chip:run(scene.program, args)
    assert.tensor_close(args.C, want, scene.tolerance)
    assert.is_true(args.C:min() > 50)
  end)
end)
