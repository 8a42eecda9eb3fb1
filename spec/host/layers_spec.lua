local command = require "spec.support.command"

describe("tools/layers.lua", function()
  local folder
  before_each(function()
    folder = command.folder()
    os.execute(("mkdir -p %s/src/base %s/src/task %s/src/device/sim %s/src/device/cuda"):format(folder, folder, folder,
      folder))
  end)
  after_each(function() command.remove(folder) end)

  local function check(path, include)
    command.write(folder .. "/" .. path, "#include <stdint.h>\n#include " .. include .. "\n")
    return command.run { "tools/layers.lua", folder }
  end

  local function refused(path, include, why)
    local result = check(path, include)
    assert.equal(1, result.status)
    assert.equal(("%s:2: %s: %s\n"):format(path, include:match '["<](.*)[">]', why), result.err)
  end

  it("accepts includes of a layer's own headers and of those it needs", function()
    assert.same({ status = 0, out = "layers: 1 files, 0 mistakes\n", err = "" }, check("src/task/map.c", '"base/clock.h"'))
    assert.equal(0, check("src/task/map.c", '"task/map.h"').status)
    assert.equal(0, check("src/task/map.c", "<baton/error.h>").status)
  end)

  it("refuses a layer that is not needed", function()
    refused("src/base/log.c", '"task/map.h"', "layer 'base' does not need 'task'")
  end)

  it("refuses Lua outside bind and host", function()
    refused("src/base/log.c", "<lua.h>", "Lua's headers belong to bind/ and host/")
  end)

  it("refuses a backend that includes another", function()
    refused("src/device/sim/sim.c", '"device/cuda/cuda.h"', "backend 'sim' includes backend 'cuda'")
    assert.equal(0, check("src/device/sim/sim.c", '"device/driver.h"').status)
  end)

  it("refuses a path that does not begin with a layer", function()
    refused("src/base/log.c", '"log.h"', "write the path from src/: \"layer/header.h\"")
  end)

  it("fails where there are no sources", function()
    assert.equal(1, command.run({ "tools/layers.lua", folder }).status)
  end)
end)
