-- Faults that users of nodes will meet, each a few times; tools/soak.sh has many more.
local faults = require "spec.support.faults"
local nodes = require "spec.support.node_programs"

local repeats = os.getenv "BATON_TEST_SMALL" and 1 or 20

for _, isolation in ipairs(nodes.isolations) do
  describe("a node with isolation " .. isolation .. " survives the fault", function()
    for _, name in ipairs(faults.names(isolation)) do
      it(name, function()
        local obstacle = faults.obstacle(name)
        if obstacle then return pending(name .. ": " .. obstacle) end
        for i = 1, repeats do faults.make(name, isolation, (i - 1) % 10 + 1) end
      end)
    end
  end)
end
