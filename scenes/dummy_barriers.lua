-- dummy_barriers: in a manual scope only `deps` order tasks. Tasks that run nothing pass the order on: as a chain, as one
-- barrier behind two tasks, and as a fan of 18 between one task and the next.
local baton = require "baton"
local tensor = require "baton.tensor"

local LINE = 16

local function chain(g, first, length)
  for _ = 1, length do first = g.dummy({}, { deps = { first } }) end
  return first
end

local function fan(g, first, width)
  local dummies = {}
  for i = 1, width do dummies[i] = g.dummy({}, { deps = { first } }) end
  return dummies
end

local program = baton.program {
  name = "dummy_barriers",
  signature = {
    { "before", "inout", "f32", { 4, LINE } }, { "after", "inout", "f32", { 3, LINE } }, { "length", "i64" },
    { "width", "i64" },
  },
  kernels = {
    mark_late = { core = "aiv", source = "kernels/lines.c", waits = true, signature = { { "line", "inout" } } },
    mark_after = { core = "aiv", source = "kernels/lines.c", signature = { { "line", "inout" }, { "others", "in" } } },
  },
  graph = function(g, before, after, length, width)
    local function mark(i) return g.aiv("mark_late", before:select(1, i)) end
    local function check(i, first, count, deps)
      g.aiv("mark_after", { after:select(1, i), before:slice(1, first, count) }, { deps = deps })
    end
    g.scope({ mode = "manual" }, function()
      check(1, 1, 1, { chain(g, mark(1), length) })
      check(2, 2, 2, { g.dummy({}, { deps = { mark(2), mark(3) } }) })
      check(3, 4, 1, fan(g, mark(4), width))
    end)
  end,
}

return baton.scene {
  name = "dummy_barriers",
  program = program,
  cases = {
    { name = "default", params = { length = 4, width = 18 } },
    { name = "long", params = { length = 10000, width = 10000 } },
  },
  args = function(p)
    return { before = tensor.full("f32", { 4, LINE }, -1), after = tensor.full("f32", { 3, LINE }, -1),
      length = p.length, width = p.width }
  end,
  golden = function(args)
    args.before:slice(2, 1, 1):fill(42)
    args.after:slice(2, 1, 1):fill(42)
    return { before = args.before, after = args.after }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
