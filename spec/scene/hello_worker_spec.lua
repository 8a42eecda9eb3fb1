local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"
local tensor = require "baton.tensor"

glue.scene "scenes/hello_worker.lua"

describe("scenes/hello_worker.lua", function()
  it("writes the user's text in capitals", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local text = tensor.from({ ("one core, 7 words"):byte(1, -1) }, "u8")
    local timing = chip:run(scenes.load("scenes/hello_worker.lua").program, { text })
    assert.equal("ONE CORE, 7 WORDS", string.char(table.unpack(text:totable())))
    assert.equal(1, timing.tasks)
  end)
end)
