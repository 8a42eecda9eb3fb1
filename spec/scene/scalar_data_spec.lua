local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/scalar_data.lua"

describe("scenes/scalar_data.lua", function()
  local scene = scenes.load "scenes/scalar_data.lua"

  it("gives the same on every run, whatever the threads do", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "tensormap_and_ringbuffer" }
    for _ = 1, 50 do
      local args = scene.args { n = 4096 }
      local want = scene.golden { a = args.a, b = args.b:clone() }
      chip:run(scene.program, args)
      for name, expected in pairs(want) do assert.tensor_close(args[name], expected, scene.tolerance) end
    end
  end)

  it("cannot be built before its tasks run", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local message = glue.raises("unsupported", chip.run, chip, scene.program, scene.args { n = 16 })
    assert.equal("scalar_data: get: an intermediate; on host_build_graph only arguments of the program can be reached "
      .. "while building", message)
  end)
end)
