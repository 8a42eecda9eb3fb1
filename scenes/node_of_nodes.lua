-- node_of_nodes: two nodes with two chips each, a level above; each node is handed half of a batch, whose rows its chips share,
-- and adds up its results on a sub worker of its own. The program and the functions go along with the node function.
local baton = require "baton"
local tensor = require "baton.tensor"

local linear = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/linear.lua")
local NODES, CHIPS = 2, 2

-- On a sub worker.
local function add_up(args) args.sum:set(args.parts:sum(), 1) end

-- On a node, whose chips `orch` drives: y = relu(x w), a part on each.
local function forward(orch, args)
  for chip = 1, orch.workers do
    local memory = orch.malloc(chip - 1, args.w.nbytes)
    orch.copy_to(memory, args.w)
    orch.submit_next_level(linear, { args.x:select(1, chip), memory:tensor("f32", args.w.shape), args.y:select(1, chip) },
      { worker = chip - 1 })
    orch.free(memory)
  end
  orch.submit_sub(add_up, { parts = baton.input(args.y), sum = baton.output(args.sum) })
end

return baton.scene {
  name = "node_of_nodes",
  level = 4,
  worker = { children = { { devices = CHIPS, subs = 1 }, { devices = CHIPS, subs = 1 } }, subs = 1 },
  orchestrate = function(orch, args)
    local sums = orch.alloc("f32", { NODES })
    for node = 1, NODES do
      orch.submit_next_level(forward, {
        x = baton.input(args.x:select(1, node)), w = baton.input(args.w),
        y = baton.output(args.y:select(1, node)), sum = baton.output(sums:slice(1, node, 1)),
      }, { worker = node - 1 })
    end
    orch.submit_sub(add_up, { parts = baton.input(sums), sum = baton.output(args.sum) })
  end,
  cases = { { name = "small", params = { rows = 16, size = 32 } }, { name = "wide", params = { rows = 64, size = 96 } } },
  args = function(p, seed)
    return {
      x = tensor.uniform("f32", { NODES, CHIPS, p.rows, p.size }, { lo = -1, hi = 1, seed = seed }),
      w = tensor.uniform("f32", { p.size, p.size }, { lo = -1, hi = 1, seed = seed + 1 }),
      y = tensor.empty("f32", { NODES, CHIPS, p.rows, p.size }), sum = tensor.zeros("f32", { 1 }),
    }
  end,
  golden = function(args, p)
    local y = args.x:reshape({ NODES * CHIPS * p.rows, p.size }):matmul(args.w):maximum(0)
    return { y = y:reshape(args.y.shape), sum = tensor.full("f32", { 1 }, y:sum()) }
  end,
  tolerance = { rtol = 1e-3, atol = 1e-3 },
}
