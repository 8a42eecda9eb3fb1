local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/mixed_example.lua"

describe("scenes/mixed_example.lua", function()
  it("submits five tasks an iteration, and none waits for another", function()
    local scene = scenes.load "scenes/mixed_example.lua"
    local chip <close> = baton.worker { platform = "a2a3sim" }
    assert.equal(5 * 3, chip:run(scene.program, scene.args({ iterations = 3 }, 1)).tasks)
    assert.equal(0, chip:stats().edges)
  end)
end)
