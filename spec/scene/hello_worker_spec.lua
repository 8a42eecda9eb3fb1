local command = require "spec.support.command"

describe("scenes/hello_worker.lua", function()
  it("prints what a core has written", function()
    local result = command.run { "scenes/hello_worker.lua" }
    assert.equal("", result.err)
    assert.equal("HELLO FROM A CORE\n", result.out)
    assert.equal(0, result.status)
  end)
end)
