local command = require "spec.support.command"
local glue = require "baton.busted"

glue.scene "scenes/prepared_callable.lua"

describe("scenes/prepared_callable.lua", function()
  it("as a script runs one handle a thousand times, for which its kernel goes to the chip once", function()
    local result = command.run { "scenes/prepared_callable.lua" }
    assert.equal("", result.err)
    assert.equal("1000 runs, 1 kernel given to the chip\nstale_handle\n", result.out)
    assert.equal(0, result.status)
  end)
end)
