local baton = require "baton"
local command = require "spec.support.command"
local json = require "baton.json"
local raises = require("baton.busted").raises

describe("baton devices", function()
  it("lists the platforms of this build", function()
    local result = command.run { "devices" }
    assert.equal(0, result.status)
    local header, first, second = result.out:match "^([^\n]*)\n([^\n]*)\n([^\n]*)\n$"
    assert.equal("platform clusters matrix cores vector cores control threads clock memory simulated on",
      (header:gsub("%s+", " ")))
    assert.truthy(first:gsub("%s+", " "):find("^a2a3sim 24 24 48 4 50 MHz "), first)
    assert.truthy(second:gsub("%s+", " "):find("^a5sim 36 36 72 5 1000 MHz "), second)
  end)

  it("writes the same as JSON", function()
    local value = json.decode(command.run({ "devices", "--json" }).out)
    assert.equal(baton.version, value.baton)
    assert.same({ "a2a3sim", "a5sim" }, { value.platforms[1].name, value.platforms[2].name })
    assert.same(baton.platform "a5sim", value.platforms[2])
  end)

  it("refuses what it does not know", function()
    local result = command.run { "devices", "--jsn" }
    assert.equal("baton devices: invalid_argument: unknown option '--jsn', Did you mean '--json'?\n", result.err)
    assert.equal(2, result.status)
    assert.truthy(raises("unsupported", baton.platform, "a4sim"):find("a2a3sim", 1, true))
  end)
end)
