-- bgemm_explicit: the tasks of bgemm from a C function that writes their edges down, so that nothing is inferred; the
-- runtime aicpu_build_graph starts those of a group when its scope ends.
local baton = require "baton"
local tensor = require "baton.tensor"

local group = { "l", "t", "t" }

local program = baton.program {
  name = "bgemm_explicit",
  edges = "explicit",
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
  orchestration = { source = "kernels/bgemm_orchestration.c", entry = "bgemm" },
}

local function case(name, groups, k, l, t, manual)
  return { name = name, manual = manual, params = { g = groups, k = k, l = l, t = t } }
end

return baton.scene {
  name = "bgemm_explicit",
  program = program,
  cases = { case("small", 4, 2, 4, 32), case("deep", 2, 16, 1, 64), case("large", 64, 4, 4, 128, true) },
  args = function(p, seed)
    local shape = { p.g, p.k, p.l, p.t, p.t }
    return { A = tensor.normal("f32", shape, { seed = seed }), B = tensor.normal("f32", shape, { seed = seed + 1 }),
      C = tensor.zeros("f32", { p.g * p.l, p.t, p.t }) }
  end,
  golden = function(args) return { C = args.C + args.A:matmul(args.B):sum(2):reshape(args.C.shape) } end,
  tolerance = { rtol = 1e-3, atol = 1e-3 },
}
