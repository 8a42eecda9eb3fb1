-- An output handler of busted for tools/test.sh: prints what plainTerminal prints, and writes how long each test took to the
-- file that -Xoutput names, a line each: seconds, a tab, the file of the spec and the name of the test.
local busted = require "busted"

local function file_of(element)
  while element and element.descriptor ~= "file" do element = busted.parent(element) end
  return element and element.name or "?"
end

return function(options)
  local handler = require "busted.outputHandlers.plainTerminal"(options)
  local times = assert(io.open(assert(options.arguments[1], "-Xoutput FILE is missing"), "w"))

  busted.subscribe({ "test", "end" }, function(element)
    local name = handler.getFullName(element):gsub("%s+", " ")
    times:write(("%.3f\t%s: %s\n"):format(element.duration or 0, file_of(element), name))
    times:flush()
    return nil, true
  end)
  return handler
end
