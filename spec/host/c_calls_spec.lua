-- What Lua can do, C can do: the calls that are there for that have a test in C.
local command = require "spec.support.command"

local function sources()
  local list, pipe = {}, assert(io.popen "ls spec/c/*.c")
  for path in pipe:lines() do list[#list + 1] = command.read(path) end
  pipe:close()
  return table.concat(list)
end

describe("the tests in C", function()
  for _, name in ipairs { "worker", "buffer", "rounds", "node" } do
    it("make every call of baton/" .. name .. ".h", function()
      local calls, tests, missing = command.read("include/baton/" .. name .. ".h"):gsub("/%*.-%*/", ""), sources(), {}
      for call in calls:gmatch "(baton_[%w_]+)%(" do
        if not tests:find(call .. "%(") then missing[#missing + 1] = call end
      end
      assert.equal("", table.concat(missing, " "))
    end)
  end
end)
