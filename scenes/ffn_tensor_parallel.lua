-- ffn_tensor_parallel: y = max(x·w1, 0)·w2 with w1 and w2 cut over two chips: each computes a partial sum of y from its part,
-- then each adds up one half of the rows. That the second step waits for the first follows from the partial sums.
local baton = require "baton"
local tensor = require "baton.tensor"

local RANKS = 2

local abc = { { "a", "in" }, { "b", "in" }, { "c", "out" } }

local shard = baton.program {
  name = "ffn_shard",
  signature = {
    { "x", "in", "f32", { "rows", "size" } }, { "w1", "in", "f32", { "size", "hidden" } },
    { "w2", "in", "f32", { "hidden", "size" } }, { "partial", "out", "f32", { "rows", "size" } },
  },
  kernels = {
    matmul = { core = "aic", source = "kernels/matmul_tile.c", entry = "matmul_start", signature = abc },
    relu = { core = "aiv", source = "kernels/vector.c", signature = { { "x", "inout" } } },
  },
  graph = function(g, x, w1, w2, partial)
    local hidden = g.alloc("f32", { x:size(1), w1:size(2) })
    g.aic("matmul", x, w1, hidden)
    g.aiv("relu", hidden)
    g.aic("matmul", hidden, w2, partial)
  end,
}

local reduce = baton.program {
  name = "ffn_reduce",
  signature = { { "left", "in", "f32" }, { "right", "in", "f32" }, { "sum", "out", "f32" } },
  kernels = { add = { core = "aiv", source = "kernels/vector.c", signature = abc } },
  graph = function(g, left, right, sum) g.aiv("add", left, right, sum) end,
}

local function random(shape, seed) return tensor.uniform("f32", shape, { lo = -1, hi = 1, seed = seed }) end

return baton.scene {
  name = "ffn_tensor_parallel",
  level = 3,
  worker = { devices = RANKS },
  orchestrate = function(orch, args, p)
    local partial = orch.alloc("f32", { RANKS, p.rows, p.size })
    for rank = 1, RANKS do
      orch.submit_next_level(shard, { args.x, args.w1:select(1, rank), args.w2:select(1, rank), partial:select(1, rank) },
        { worker = rank - 1 })
    end
    local half, members = p.rows // RANKS, {}
    for rank = 1, RANKS do
      local first = (rank - 1) * half + 1
      local count = rank == RANKS and p.rows - first + 1 or half
      members[rank] = { partial:select(1, 1):slice(1, first, count), partial:select(1, 2):slice(1, first, count),
        args.y:slice(1, first, count) }
    end
    orch.submit_next_level_group(reduce, members, { workers = { 0, 1 } })
  end,
  cases = {
    { name = "small", params = { rows = 33, size = 64, hidden = 128 } },
    { name = "large", params = { rows = 512, size = 1024, hidden = 4096 }, manual = true },
  },
  args = function(p, seed) -- the parts of w1 and w2 one behind the other: each is contiguous
    return {
      x = random({ p.rows, p.size }, seed), y = tensor.empty("f32", { p.rows, p.size }),
      w1 = random({ RANKS, p.size, p.hidden // RANKS }, seed + 1), w2 = random({ RANKS, p.hidden // RANKS, p.size }, seed + 2),
    }
  end,
  golden = function(args)
    local w1 = tensor.concat({ args.w1:select(1, 1), args.w1:select(1, 2) }, 2)
    local w2 = tensor.concat({ args.w2:select(1, 1), args.w2:select(1, 2) }, 1)
    return { y = args.x:matmul(w1):maximum(0):matmul(w2) }
  end,
  tolerance = { rtol = 1e-3, atol = 1e-3 },
}
