local command = require "spec.support.command"

describe("a strict spec", function()
  local folder
  before_each(function() folder = command.folder() end)
  after_each(function() command.remove(folder) end)

  -- Runs one test, whose body is Lua, in a file that is strict; `chip` is a worker that all tests of the file share.
  local function run(body)
    command.write(folder .. "/leak_spec.lua", [[
      local baton = require "baton"
      local chip, release
      local glue = require "baton.busted"
      glue.strict()
      setup(function() chip = baton.worker { device = 1 } end)
      teardown(function()
        if release then release() end
        chip:close()
      end)
      it("does it", function()
        ]] .. body .. "\n" .. [[
      end)
      it("does nothing", function() end)]])
    local result = command.run { "test", "-o", "TAP", folder .. "/leak_spec.lua" }
    return result.status, result.out
  end

  local function leaks(message, body)
    local status, out = run(body)
    assert.equal(1, status, out)
    assert.truthy(out:find("does it: leaked: " .. message:gsub("FILE", folder .. "/leak_spec.lua"), 1, true), out)
    assert.truthy(out:find("\nok %d %- does nothing\n"), out)
  end

  it("passes if everything is given back", function()
    local status, out = run [[
      local own <close> = baton.worker()
      local kept = own:malloc(64)
      local buffer <close> = chip:malloc(64)]]
    assert.equal(0, status, out)
  end)

  it("fails on a worker that stays open, and names its line", function()
    leaks("the worker opened at FILE:11 is not closed", "baton.worker()")
  end)

  it("fails on a buffer that stays on a worker of all tests", function()
    leaks("a buffer of 4096 bytes stays on the worker opened at FILE:5", "local buffer = chip:malloc(4096); package.loaded.keep = buffer")
  end)

  it("fails on a run that goes on", function()
    leaks("a run of held stays on the worker opened at FILE:5", [[
      local gate = require "spec.support.gate"
      gate.close()
      release = function() gate.open() end
      local program = baton.program { name = "held", kernels = { hold = gate.hold }, signature = { { "x", "inout" } },
        graph = function(g, x) g.aiv("hold", x) end }
      local run = chip:submit(program, { require("baton.tensor").zeros("f32", { 1 }) }, gate.config)
      package.loaded.keep = run]])
  end)
end)
