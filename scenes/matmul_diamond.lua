-- matmul_diamond: one task, two that need it, one that needs both: the two products run side by side on matrix cores,
-- between tasks on vector cores. F = e^(√log a · W1 + √log a · W2), in f16.
local baton = require "baton"
local tensor = require "baton.tensor"

local SIZE = 128
local tile = { SIZE, SIZE }

local function kernel(core, signature)
  return { core = core, source = "kernels/diamond.c", libs = "m", signature = signature }
end

local program = baton.program {
  name = "matmul_diamond",
  signature = {
    { "a", "in", "f16", tile }, { "W1", "in", "f16", tile }, { "W2", "in", "f16", tile }, { "F", "out", "f16", tile },
  },
  kernels = {
    norm = kernel("aiv", { { "a", "in", "f16", tile }, { "b", "out", "f16", tile } }),
    project = kernel("aic", { { "a", "in", "f16", tile }, { "w", "in", "f16", tile }, { "c", "out", "f32", tile } }),
    exp_sum = kernel("aiv", { { "left", "in", "f32", tile }, { "right", "in", "f32", tile }, { "out", "out", "f16", tile } }),
  },
  graph = function(g, a, W1, W2, F)
    local _, b = g.aiv("norm", a, baton.output { "f16", tile })
    local _, left = g.aic("project", b, W1, baton.output { "f32", tile })
    local _, right = g.aic("project", b, W2, baton.output { "f32", tile })
    g.aiv("exp_sum", left, right, F)
  end,
}

return baton.scene {
  name = "matmul_diamond",
  program = program,
  cases = { { name = "default", params = { a = math.exp(4), weight = 1 / 256 } } },
  args = function(p)
    return { a = tensor.full("f16", tile, p.a), W1 = tensor.full("f16", tile, p.weight),
      W2 = tensor.full("f16", tile, p.weight), F = tensor.empty("f16", tile) }
  end,
  golden = function(args)
    local b = args.a:cast("f32"):log():sqrt()
    return { F = (b:matmul(args.W1:cast "f32") + b:matmul(args.W2:cast "f32")):exp():cast "f16" }
  end,
  tolerance = { rtol = 1e-2, atol = 1e-2 },
}
