local command = require "spec.support.command"

describe("baton test", function()
  local folder
  setup(function()
    folder = command.folder()
    command.write(folder .. "/mixed_spec.lua", [[
      describe("two words", function()
        it("passes with 'quotes'", function() end)
        it("fails", function() error "no" end)
        it("prints the platform", function() io.stderr:write("platform ", os.getenv "BATON_PLATFORM" or "none", "\n") end)
      end)]])
  end)
  teardown(function() command.remove(folder) end)

  it("ends with status 1 if a spec fails and 0 if none does", function()
    assert.equal(1, command.run({ "test", "-o", "TAP", folder }).status)
    assert.equal(0, command.run({ "test", "-o", "TAP", "--filter", "passes", folder }).status)
  end)

  it("keeps the quoting of its arguments", function()
    local result = command.run { "test", "-o", "TAP", "--filter", "two words passes with 'quotes'", folder }
    assert.truthy(result.out:find("ok 1 - two words passes with 'quotes'", 1, true))
    assert.equal("1..1", result.out:match "1%.%.%d+")
  end)

  it("hands the options before -- to the workers that specs open", function()
    local result = command.run({ "test", "-p", "a5sim", "--", "-o", "TAP", "--filter", "platform", folder })
    assert.equal("platform a5sim\n", result.err)
  end)

  it("has workers with process isolation unless somebody asks for threads", function()
    command.write(folder .. "/isolation_spec.lua", [[
      it("opens a worker", function()
        local chip <close> = require("baton").worker()
        io.stderr:write(chip:stats().children_started, "\n")
      end)]])
    local function children(variable, options)
      local line = "cd %s && %s %s test %s -o TAP isolation_spec.lua"
      return command.shell(line:format(folder, variable, command.quote(command.baton), options)).err
    end
    assert.equal("1\n", children("", ""))
    assert.equal("0\n", children("", "--isolation thread --"))
    assert.equal("0\n", children("BATON_ISOLATION=thread", ""))
    assert.equal("1\n", children("BATON_ISOLATION=thread", "--isolation process --"))
  end)

  it("refuses an unknown option before --", function()
    local result = command.run { "test", "--platfrom", "a5sim", "--", folder }
    assert.equal(2, result.status)
    assert.equal("baton test: invalid_argument: unknown option '--platfrom', Did you mean '--platform'?\n", result.err)
  end)
end)
