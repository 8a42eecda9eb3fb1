local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/fanin_lookup.lua"
glue.scene "scenes/dummy_barriers.lua"

-- Runs a case on a worker of its own; returns the numbers of tasks and of edges, and the arguments.
local function count(scene, runtime, params)
  local chip <close> = baton.worker { platform = "a2a3sim", runtime = runtime }
  local args = scene.args(params)
  local timing = chip:run(scene.program, args)
  return { timing.tasks, chip:stats().edges }, args
end

describe("scenes/fanin_lookup.lua", function()
  local scene = scenes.load "scenes/fanin_lookup.lua"

  it("has an edge from each of 64 tasks to each of 64 others", function()
    for _, name in ipairs { "tasks", "dummies" } do
      assert.same({ 128, 4096 }, (count(scene, "host_build_graph", scene:case(name).params)))
    end
  end)

  it("marks every line on any number of cores' worth of tasks", function()
    for _, runtime in ipairs(scene.program.runtimes) do
      local counts, args = count(scene, runtime, { count = 150, dummies = false }) -- three times the vector cores
      assert.equal(300, counts[1])
      assert.same({ 42, 42 }, { args.q:slice(2, 1, 1):min(), args.q:slice(2, 1, 1):max() })
      assert.same({ -1, -1 }, { args.q:slice(2, 2, 15):min(), args.q:slice(2, 2, 15):max() })
    end
  end)
end)

describe("scenes/dummy_barriers.lua", function()
  local scene = scenes.load "scenes/dummy_barriers.lua"

  it("has no edges but those of deps", function()
    for _, params in ipairs { scene.cases[1].params, { length = 0, width = 1 }, { length = 300, width = 300 } } do
      local length, width = params.length, params.width
      assert.same({ 4 + length + 1 + width + 3, (length + 1) + 3 + 2 * width }, (count(scene, "host_build_graph", params)))
    end
  end)
end)
