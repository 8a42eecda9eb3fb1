local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/predicated_dispatch.lua"
glue.scene "scenes/merge_pipeline_barrier.lua"
glue.scene "scenes/spmd_sync_start_stress.lua"
glue.scene "scenes/graph_execution_mix.lua"

local small = os.getenv "BATON_TEST_SMALL"

describe("scenes/predicated_dispatch.lua", function()
  local scene = scenes.load "scenes/predicated_dispatch.lua"

  it("has one graph for open and closed gates", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    scene.program:forget()
    for value = -2, 7 do
      local args = scene.args { value = value }
      assert.equal(4, chip:run(scene.program, args).tasks)
      local want = value > 0 and 999 or 42
      assert.same({ want, want, value }, { args.x:get(1), args.y:get(1), args.gate:get(1) })
    end
    assert.same({ 1, 9 }, { chip:stats().graph_builds, chip:stats().graph_replays })
  end)
end)

describe("scenes/merge_pipeline_barrier.lua", function()
  it("is one task", function()
    local scene = scenes.load "scenes/merge_pipeline_barrier.lua"
    local chip <close> = baton.worker { platform = "a2a3sim" }
    assert.equal(1, chip:run(scene.program, scene.args()).tasks)
  end)
end)

describe("scenes/spmd_sync_start_stress.lua", function()
  local scene = scenes.load "scenes/spmd_sync_start_stress.lua"

  it("submits 54 tasks, and none waits for another", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local args = scene.args(scene:case("default").params)
    assert.equal(54, chip:run(scene.program, args).tasks)
    assert.equal(0, chip:stats().edges)
    assert.same({ 4, 12, 8, 4 }, args.layout:totable())
  end)

  it("comes to its end on every run, whatever the threads do", function()
    for _, runtime in ipairs(scene.program.runtimes) do
      local chip <close> = baton.worker { platform = "a2a3sim", runtime = runtime }
      for _ = 1, small and 5 or 100 do
        for _, case in ipairs(scene.cases) do
          local args = scene.args(case.params)
          local want = scene.golden({ out = args.out:clone() }, case.params)
          chip:run(scene.program, args)
          assert.tensor_close(args.out, want.out, scene.tolerance)
        end
      end
    end
  end)

  it("is refused if instances that meet are more than there are clusters", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local message = glue.raises("sync_start_too_wide", chip.run, chip, scene.program, scene.args { clusters = 50 })
    assert.equal("spmd_sync_start_stress: task meet_matrix: 25 blocks are to start together on 24 clusters", message)
  end)
end)

describe("scenes/graph_execution_mix.lua", function()
  local scene = scenes.load "scenes/graph_execution_mix.lua"

  it("builds one graph of two calls for all runs", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    scene.program:forget()
    for seed = 1, 5 do
      local args = scene.args({ n = 1000 }, seed)
      local want = scene.golden(args)
      assert.equal(2, chip:run(scene.program, args).tasks)
      for name, expected in pairs(want) do assert.tensor_close(args[name], expected, scene.tolerance) end
    end
    assert.same({ 1, 4 }, { chip:stats().graph_builds, chip:stats().graph_replays })
  end)
end)
