local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/spmd_basic.lua"

describe("scenes/spmd_basic.lua", function()
  it("is two tasks, however many instances they have", function()
    local scene = scenes.load "scenes/spmd_basic.lua"
    local chip <close> = baton.worker { platform = "a2a3sim" }
    assert.equal(2, chip:run(scene.program, scene.args({ rows = 300, columns = 4, blocks = 1000 }, 1)).tasks)
  end)
end)
