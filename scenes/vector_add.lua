-- vector_add: c = a + b, a piece for each task: slices of one tensor are disjoint, so all pieces run side by side.
local baton = require "baton"
local tensor = require "baton.tensor"

local PIECE = 16384

local program = baton.program {
  name = "vector_add",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } },
  },
  graph = function(g, a, b, c)
    for first = 1, a.numel, PIECE do
      local count = math.min(PIECE, a.numel - first + 1)
      g.aiv("add", a:slice(1, first, count), b:slice(1, first, count), c:slice(1, first, count))
    end
  end,
}

return baton.scene {
  name = "vector_add",
  program = program,
  cases = {
    { name = "small", params = { n = 1024 } },
    { name = "pieces", params = { n = 100000 } },
    { name = "large", params = { n = 1 << 24 }, manual = true },
  },
  args = function(p, seed, given)
    local n = (given.a or given.b) and (given.a or given.b).numel or p.n
    return { a = tensor.uniform("f32", { n }, { lo = -1, hi = 1, seed = seed }),
      b = tensor.uniform("f32", { n }, { lo = -1, hi = 1, seed = seed + 1 }), c = tensor.empty("f32", { n }) }
  end,
  golden = function(args) return { c = args.a + args.b } end,
  tolerance = { rtol = 0, atol = 0 },
}
