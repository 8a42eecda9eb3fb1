-- graph_execution: a sub-graph is built once and submitted three times, as one call each, over other tensors and scalars;
-- its tasks wait for what was submitted before, as if each call had built them.
local baton = require "baton"
local tensor = require "baton.tensor"

local two_in_one_out = { { "a", "in" }, { "b", "in" }, { "c", "out" } }
local vector = { "n" }

-- out = (a + b + x) · (a + b + y), in five tasks; the third does nothing but stand between the sum and its readers.
local function layer(g, a, b, out, x, y)
  local sum, left, right = g.alloc("f32", a.shape), g.alloc("f32", a.shape), g.alloc("f32", a.shape)
  g.aiv("add", a, b, sum)
  g.dummy { baton.inout(sum) }
  g.aiv("add_scalar", sum, left, x)
  g.aiv("add_scalar", sum, right, y)
  g.aiv("mul", left, right, out)
end

local program = baton.program {
  name = "graph_execution",
  signature = {
    { "a", "in", "f32", vector }, { "b", "in", "f32", vector },
    { "first", "out", "f32", vector }, { "second", "out", "f32", vector }, { "third", "out", "f32", vector },
  },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = two_in_one_out },
    mul = { core = "aiv", source = "kernels/vector.c", signature = two_in_one_out },
    add_scalar = {
      core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "c", "out" }, { "value", "f32" } },
    },
  },
  graph = function(g, a, b, first, second, third)
    local function both(start, addend, out, x, y) layer(g, start, addend, out, x, y) end
    local function hundred(start, addend, out, y) layer(g, start, addend, out, 100, y) end
    local start = g.alloc("f32", a.shape)
    local seed = g.aiv("add_scalar", a, start, 0)
    g.record("both", both, { start, b, first, 1, 2 }, { deps = { seed } })
    g.record("hundred", hundred, { start, b, second, 4 }, { deps = { seed } })
    g.record("both", both, { start, b, third, 5, 6 }, { deps = { seed } })
  end,
}

return baton.scene {
  name = "graph_execution",
  program = program,
  cases = { { name = "default", params = { n = 16384, a = 2.0, b = 3.0 } } },
  args = function(p)
    local args = { a = tensor.full("f32", { p.n }, p.a), b = tensor.full("f32", { p.n }, p.b) }
    for _, name in ipairs { "first", "second", "third" } do args[name] = tensor.empty("f32", { p.n }) end
    return args
  end,
  golden = function(args)
    local sum = args.a + args.b
    return { first = (sum + 1) * (sum + 2), second = (sum + 100) * (sum + 4), third = (sum + 5) * (sum + 6) }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
