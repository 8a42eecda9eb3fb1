-- The faults of nodes in soak.sh; arguments: how often each, or "-" and for how many seconds.
local faults = require "spec.support.faults"
local gate = require "spec.support.gate"
local host = require "baton.host"
local memory = require "spec.support.memory"

local count = math.tointeger(tonumber(arg[1])) or math.huge
local seconds = tonumber(arg[2]) or math.huge
local most_kib = 4096 -- that the process may grow in all but the first tenth

local begun, round, before = host.now(), 0, nil
local function elapsed() return host.now() - begun end

while round < count and elapsed() < seconds do
  round = round + 1
  for _, isolation in ipairs { "thread", "process" } do
    for _, name in ipairs(faults.names(isolation)) do
      local ok, err = true, nil
      if not faults.obstacle(name) then ok, err = pcall(faults.make, name, isolation, (round - 1) % 50 + 1) end
      if not ok then error(("round %d: %s, %s: %s"):format(round, name, isolation, tostring(err)), 0) end
    end
  end
  if not before and (round >= count / 10 or elapsed() >= seconds / 10) then before = memory.resident() end
end
gate.gone()
local grown = memory.resident() - (before or memory.resident())
print(("faults  %d kinds  %d times each  %d KiB more"):format(#faults.names "process", round, grown))
if memory.is_telling and grown > most_kib then error(("memory grows: %d KiB more, %d are allowed"):format(grown, most_kib), 0) end
