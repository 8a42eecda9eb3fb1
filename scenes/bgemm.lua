-- bgemm: groups of tiles of C add up products over k; `inout` makes a chain of each group, and the products, in memory
-- that the runtime gives, run ahead of it.
local baton = require "baton"
local tensor = require "baton.tensor"

local group = { "l", "t", "t" }

local program = baton.program {
  name = "bgemm",
  signature = {
    { "A", "in", "f32", { "g", "k", "l", "t", "t" } }, { "B", "in", "f32", { "g", "k", "l", "t", "t" } },
    { "C", "inout", "f32", { "n", "t", "t" } },
  },
  kernels = {
    matmul_tiles = { core = "aic", source = "kernels/tiles.c",
      signature = { { "a", "in", "f32", group }, { "b", "in", "f32", group }, { "p", "out", "f32", group } } },
    accumulate = { core = "aiv", source = "kernels/tiles.c",
      signature = { { "p", "in", "f32", group }, { "c", "inout", "f32", group } } },
  },
  graph = function(g, A, B, C)
    local groups, depth, tiles, size = table.unpack(A.shape)
    for i = 1, groups do
      local a, b, c = A:select(1, i), B:select(1, i), C:slice(1, (i - 1) * tiles + 1, tiles)
      g.scope(function()
        for k = 1, depth do
          local product = baton.output { "f32", { tiles, size, size } }
          local _, p = g.aic("matmul_tiles", a:select(1, k), b:select(1, k), product)
          g.aiv("accumulate", p, c)
        end
      end)
    end
  end,
}

local function case(name, n, t, l, k, manual)
  return { name = name, manual = manual, params = { g = n // k, k = k, l = l, t = t } }
end

return baton.scene {
  name = "bgemm",
  program = program,
  cases = {
    case("small", 8, 32, 4, 2), case("bgemm64", 32, 64, 1, 4),
    case("case0", 500, 128, 4, 2, true), case("case1", 64, 128, 4, 2, true), case("case2", 256, 128, 4, 2, true),
    case("case3", 64, 128, 16, 2, true), case("case4", 64, 128, 4, 4, true),
  },
  args = function(p, seed)
    local shape = { p.g, p.k, p.l, p.t, p.t }
    return { A = tensor.normal("f32", shape, { seed = seed }), B = tensor.normal("f32", shape, { seed = seed + 1 }),
      C = tensor.zeros("f32", { p.g * p.l, p.t, p.t }) }
  end,
  golden = function(args) return { C = args.C + args.A:matmul(args.B):sum(2):reshape(args.C.shape) } end,
  tolerance = { rtol = 1e-3, atol = 1e-3 },
}
