-- group_reservation: groups on chips 0 and 1, groups on chips 1 and 2, single tasks on chips 0 and 2. The members of a group
-- begin together, which they show by waiting for each other; and no task overtakes a group that waits for its chips.
local baton = require "baton"
local tensor = require "baton.tensor"

local DEVICES = 3
local SETS = { { 0, 1 }, { 1, 2 }, { 0 }, { 2 } } -- the chips of one group or task after the other
local LAUNCHES = 6                                -- what these are together

local meet = baton.program {
  name = "meet",
  signature = {
    { "counter", "inout", "i32", { 1 } }, { "arrived", "inout", "i32", { 1 } }, { "members", "i64" },
    { "ticket", "out", "i32", { 1 } },
  },
  host = { source = "kernels/meeting.c", entry = "meet" },
}

-- On a sub worker: whether the tickets of each chip rise.
local function check(args)
  local last = { 0, 0, 0 }
  args.in_order:fill(1)
  for i, chip in ipairs(args.chips) do
    local ticket = args.tickets:get(i)
    if ticket <= last[chip + 1] then args.in_order:set(0, chip + 1) end
    last[chip + 1] = ticket
  end
end

return baton.scene {
  name = "group_reservation",
  level = 3,
  worker = { devices = DEVICES, subs = 1 },
  orchestrate = function(orch, args, p)
    local chips, sets = {}, 0
    for _ = 1, p.repeats do
      for _, set in ipairs(SETS) do
        local members = {}
        sets = sets + 1
        for i, chip in ipairs(set) do
          chips[#chips + 1] = chip
          members[i] = { baton.no_dep(args.counter), baton.no_dep(args.arrived:slice(1, sets, 1)), #set,
            args.tickets:slice(1, #chips, 1) }
        end
        if #set > 1 then
          orch.submit_next_level_group(meet, members, { workers = set })
        else
          orch.submit_next_level(meet, members[1], { worker = set[1] })
        end
      end
      orch.wait()
    end
    orch.submit_sub(check, { tickets = baton.input(args.tickets), in_order = args.in_order, chips = chips })
  end,
  cases = { { name = "small", params = { repeats = 10 } }, { name = "large", params = { repeats = 1000 }, manual = true } },
  args = function(p)
    return { counter = tensor.zeros("i32", { 1 }), arrived = tensor.zeros("i32", { p.repeats * #SETS }),
      tickets = tensor.zeros("i32", { p.repeats * LAUNCHES }), in_order = tensor.zeros("i32", { DEVICES }) }
  end,
  golden = function(_, p)
    local arrived = {}
    for i = 1, p.repeats * #SETS do arrived[i] = #SETS[(i - 1) % #SETS + 1] end
    return { counter = tensor.full("i32", { 1 }, p.repeats * LAUNCHES), arrived = tensor.from(arrived, "i32"),
      in_order = tensor.full("i32", { DEVICES }, 1) }
  end,
  unchecked = { "tickets" },
}
