-- vector_example: five tasks on vector cores, ordered by what they read and write: f = (a+b+1)(a+b+2) + (a+b).
local baton = require "baton"
local tensor = require "baton.tensor"

local add = { { "a", "in" }, { "b", "in" }, { "c", "out" } }

local program = baton.program {
  name = "vector_example",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "f", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = add },
    mul = { core = "aiv", source = "kernels/vector.c", signature = add },
    add_scalar = {
      core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "c", "out" }, { "value", "f32" } },
    },
  },
  graph = function(g, a, b, f)
    local c = g.alloc("f32", a.shape)
    g.aiv("add", a, b, c)
    g.scope(function()
      local d, e, product = g.alloc("f32", a.shape), g.alloc("f32", a.shape), g.alloc("f32", a.shape)
      g.aiv("add_scalar", c, d, 1)
      g.aiv("add_scalar", c, e, 2)
      g.aiv("mul", d, e, product)
      g.aiv("add", product, c, f)
    end)
  end,
}

return baton.scene {
  name = "vector_example",
  program = program,
  cases = { { name = "default", params = { n = 16384, a = 2.0, b = 3.0 } } },
  args = function(p)
    return { a = tensor.full("f32", { p.n }, p.a), b = tensor.full("f32", { p.n }, p.b), f = tensor.empty("f32", { p.n }) }
  end,
  golden = function(_, p)
    local sum = p.a + p.b
    return { f = tensor.full("f32", { p.n }, (sum + 1) * (sum + 2) + sum) }
  end,
  tolerance = { rtol = 1e-5, atol = 1e-5 },
}
