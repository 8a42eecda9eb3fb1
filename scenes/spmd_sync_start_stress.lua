-- spmd_sync_start_stress: tasks of many instances want the same cores, half of them only if all their instances get one at
-- the same time. They write disjoint lines, so nothing orders them: what must not happen is that two such tasks hold some
-- cores each and wait for the rest.
local baton = require "baton"
local tensor = require "baton.tensor"

local ROUNDS, LINE = 6, 16

-- The tasks of one round: how many, whether on whole clusters, whether their instances meet, and how many instances.
local function kinds(clusters)
  local function width(share) return math.max(1, clusters // share) end
  return {
    { count = 4, mixed = true, meet = false, blocks = width(6) },
    { count = 2, mixed = true, meet = true, blocks = width(2) },
    { count = 2, mixed = false, meet = true, blocks = width(3) },
    { count = 1, mixed = false, meet = false, blocks = width(6) },
  }
end

-- Calls `fn(kind, first, lines)` for every task, with the lines that it writes; returns how many lines there are.
local function each_task(clusters, fn)
  local first = 1
  for _ = 1, ROUNDS do
    for _, kind in ipairs(kinds(clusters)) do
      local lines = kind.mixed and 3 * kind.blocks or kind.blocks
      for _ = 1, kind.count do
        fn(kind, first, lines)
        first = first + lines
      end
    end
  end
  return first - 1
end

local kernels = {}
for _, name in ipairs { "number", "meet" } do
  local function kernel(core, entry)
    return { core = core, source = "kernels/instances.c", entry = entry, signature = { { "lines", "inout" } } }
  end
  kernels[name .. "_matrix"] = kernel("aic", name .. "_matrix")
  kernels[name .. "_vector"] = kernel("aiv", name .. "_vector")
  kernels[name .. "_alone"] = kernel("aiv", name .. "_alone")
end

local program = baton.program {
  name = "spmd_sync_start_stress",
  signature = {
    { "out", "inout", "f32", { "lines", LINE } }, { "layout", "out", "i32", { 4 } }, { "clusters", "i64" },
  },
  kernels = kernels,
  graph = function(g, out, layout, clusters)
    for i, kind in ipairs(kinds(clusters)) do g.set(layout, kind.blocks, i) end
    each_task(clusters, function(kind, first, lines)
      local name, view = kind.meet and "meet" or "number", { out:slice(1, first, lines) }
      local options = { blocks = kind.blocks, sync_start = kind.meet }
      if kind.mixed then
        g.mix({ aic = name .. "_matrix", aiv0 = name .. "_vector", aiv1 = name .. "_vector" }, view, options)
      else
        g.aiv(name .. "_alone", view, options)
      end
    end)
  end,
}

local function case(name, clusters) return { name = name, params = { clusters = clusters } } end

return baton.scene {
  name = "spmd_sync_start_stress",
  program = program,
  cases = { case("narrow", 8), case("default", 24), case("wide", 36), case("full", 48) }, -- full: all 24 clusters of an a2a3
  args = function(p)
    local lines = each_task(p.clusters, function() end)
    return { out = tensor.full("f32", { lines, LINE }, -1), layout = tensor.empty("i32", { 4 }), clusters = p.clusters }
  end,
  golden = function(args, p)
    local layout = {}
    for i, kind in ipairs(kinds(p.clusters)) do layout[i] = kind.blocks end
    each_task(p.clusters, function(kind, first, lines)
      local each = lines // kind.blocks
      for line = 0, lines - 1 do
        args.out:set(line // each, first + line, 1)
        if kind.meet then args.out:set(kind.blocks * (kind.blocks - 1) // 2, first + line, 2) end
      end
    end)
    return { out = args.out, layout = tensor.from(layout, "i32") }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
