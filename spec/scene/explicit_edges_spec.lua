local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/vector_example_explicit.lua"

-- Runs a case on each runtime; returns the tasks, which must be as many on all, and the edges where none is over before it
-- is waited for.
local function count(scene, params)
  local tasks, edges = {}, nil
  for i, runtime in ipairs(scene.program.runtimes) do
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = runtime }
    tasks[i] = chip:run(scene.program, scene.args(params, 7)).tasks
    assert.equal(tasks[1], tasks[i], runtime)
    if runtime == "host_build_graph" then edges = chip:stats().edges end
  end
  return tasks[1], edges
end

describe("scenes/vector_example_explicit.lua", function()
  local scene = scenes.load "scenes/vector_example_explicit.lua"

  it("fits every runtime, and has six edges", function()
    local runtimes = { table.unpack(scene.program.runtimes) }
    table.sort(runtimes)
    assert.same({ "aicpu_build_graph", "host_build_graph", "tensormap_and_ringbuffer" }, runtimes)
    assert.same({ 5, 6 }, { count(scene, scene.cases[1].params) })
  end)
end)

describe("scenes/bgemm_explicit.lua", function()
  local scene = scenes.load "scenes/bgemm_explicit.lua"

  it("has an edge from each product to its sum, and from each sum to the next of its group", function()
    assert.same({ 2 * 5 * 3, 5 * (3 + 2) }, { count(scene, { g = 5, k = 3, l = 2, t = 8 }) })
  end)
end)
