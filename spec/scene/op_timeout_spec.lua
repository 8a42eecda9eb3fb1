local command = require "spec.support.command"

-- The thread sanitizer hands a signal to a thread only when that calls into it, so a tight loop is never left.
local function under_thread_sanitizer()
  local maps = io.open "/proc/self/maps"
  return maps and maps:read("a"):find("libtsan", 1, true) ~= nil
end

describe("scenes/op_timeout.lua", function()
  if under_thread_sanitizer() then
    pending "leaves a kernel that hangs: the thread sanitizer delivers no signal into a tight loop"
    return
  end

  it("leaves a kernel that hangs, names it, and works on after a restart", function()
    local result = command.run { "scenes/op_timeout.lua" }
    assert.equal("", result.err)
    assert.equal("op_timeout: task counting, kernel count, worker lost\nafter the restart: x = 1, worker ready\n",
      result.out)
    assert.equal(0, result.status)
  end)
end)
