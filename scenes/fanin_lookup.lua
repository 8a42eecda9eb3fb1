-- fanin_lookup: 64 tasks that each name the same 64 tasks in `deps`: 4096 edges that nothing else gives, because all tasks
-- write lines of their own. With dummies for tasks it is the cost of the edges alone.
local baton = require "baton"
local tensor = require "baton.tensor"

local LINE = 16

local program = baton.program {
  name = "fanin_lookup",
  signature = {
    { "p", "inout", "f32", { "producers", LINE } }, { "q", "inout", "f32", { "consumers", LINE } }, { "dummies", "bool" },
  },
  kernels = {
    mark_late = { core = "aiv", source = "kernels/lines.c", waits = true, signature = { { "line", "inout" } } },
    mark_after = { core = "aiv", source = "kernels/lines.c", signature = { { "line", "inout" }, { "others", "in" } } },
  },
  graph = function(g, p, q, dummies)
    local producers = {}
    for i = 1, p:size(1) do
      producers[i] = dummies and g.dummy {} or g.aiv("mark_late", p:select(1, i))
    end
    for i = 1, q:size(1) do
      if dummies then
        g.dummy({}, { deps = producers })
      else
        g.aiv("mark_after", { q:select(1, i), baton.no_dep(p) }, { deps = producers })
      end
    end
  end,
}

local function case(name, count, dummies, config)
  return { name = name, params = { count = count, dummies = dummies }, manual = config ~= nil, config = config }
end

local wide = { ring_dep_pool = 1 << 21 }

return baton.scene {
  name = "fanin_lookup",
  program = program,
  cases = {
    case("tasks", 64, false), case("dummies", 64, true), case("wide", 1024, false, wide),
    case("wide_dummies", 1024, true, wide),
  },
  args = function(p)
    local function lines() return tensor.full("f32", { p.count, LINE }, -1) end
    return { p = lines(), q = lines(), dummies = p.dummies }
  end,
  golden = function(args, p)
    local lines = args.p:clone()
    if not p.dummies then lines:slice(2, 1, 1):fill(42) end
    return { p = lines, q = lines }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
