-- Faults that users of nodes will meet, each a few times; tools/soak.sh has many more.
local faults = require "spec.support.faults"
local nodes = require "spec.support.node_programs"

-- The thread sanitizer hands a signal to a thread only when that calls into it, so a tight loop is never left.
local maps <close> = assert(io.open "/proc/self/maps")
local under_thread_sanitizer = maps:read("a"):find("libtsan", 1, true) ~= nil
local hangs = { kernel_hang = true, two_at_once = true }

local repeats = os.getenv "BATON_TEST_SMALL" and 1 or 20

for _, isolation in ipairs(nodes.isolations) do
  describe("a node with isolation " .. isolation .. " survives the fault", function()
    for _, name in ipairs(faults.names(isolation)) do
      it(name, function()
        if under_thread_sanitizer and hangs[name] then
          return pending(name .. ": the thread sanitizer delivers no signal into a tight loop")
        end
        for i = 1, repeats do faults.make(name, isolation, (i - 1) % 10 + 1) end
      end)
    end
  end)
end
