-- vector_example_explicit: the tasks of vector_example submitted by a C function that names what each one waits for: with
-- explicit edges an orchestration runs on every runtime.
local baton = require "baton"
local tensor = require "baton.tensor"

local add = { { "a", "in" }, { "b", "in" }, { "c", "out" } }

local program = baton.program {
  name = "vector_example_explicit",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "f", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = add },
    mul = { core = "aiv", source = "kernels/vector.c", signature = add },
    add_scalar = {
      core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "c", "out" }, { "value", "f32" } },
    },
  },
  orchestration = { source = "kernels/vector_example_orchestration.c", entry = "vector_example" },
  edges = "explicit",
}

return baton.scene {
  name = "vector_example_explicit",
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
