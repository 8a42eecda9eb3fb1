local command = require "spec.support.command"

describe("baton new", function()
  local folder
  before_each(function() folder = command.folder() end)
  after_each(function() command.remove(folder) end)

  it("makes a project whose scene runs and whose spec passes", function()
    local project = folder .. "/deep/project"
    local result = command.run { "new", project }
    assert.equal(0, result.status, result.err)
    assert.equal(("%s is ready:\n  cd %s\n  baton run scenes/axpy.lua\n  baton test spec\n"):format(project, project), result.out)
    for _, words in ipairs { "run scenes/axpy.lua", "test spec" } do
      result = command.shell(("cd %s && %s %s"):format(command.quote(project), command.quote(command.baton), words))
      assert.equal(0, result.status, result.out .. result.err)
    end
    assert.truthy(result.out:find("9 successes / 0 failures / 0 errors / 0 pending", 1, true), result.out)
  end)

  it("touches nothing that is there, and says what it cannot make", function()
    local result = command.run { "new", folder }
    assert.equal(2, result.status)
    assert.equal(("baton new: invalid_argument: %s is there already; name a folder that is not there yet\n"):format(folder),
      result.err)
    command.write(folder .. "/file", "")
    result = command.run { "new", folder .. "/file/project" }
    assert.equal(3, result.status)
    assert.truthy(result.err:find("io_error: cannot make the folder", 1, true), result.err)
    assert.equal(2, command.run({ "new" }).status)
  end)
end)
