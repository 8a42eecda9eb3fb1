-- vector_add_c: the tasks of vector_add submitted by a C function, which runs on the chip's control processor.
local baton = require "baton"
local tensor = require "baton.tensor"

local program = baton.program {
  name = "vector_add_c",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } },
  },
  orchestration = { source = "kernels/vector_add_orchestration.c", entry = "vector_add" },
}

return baton.scene {
  name = "vector_add_c",
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
