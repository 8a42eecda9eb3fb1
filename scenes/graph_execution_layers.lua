-- graph_execution_layers: a layer of four tasks on matrix and vector cores is built once and called three times, each time
-- over the result of the call before and with weights of its own.
local baton = require "baton"
local tensor = require "baton.tensor"

local SIZE, LAYERS = 128, 3
local tile = { SIZE, SIZE }

local function kernel(core, signature)
  return { core = core, source = "kernels/diamond.c", libs = "m", signature = signature }
end

local program = baton.program {
  name = "graph_execution_layers",
  signature = {
    { "a", "in", "f16", tile }, { "W1", "in", "f16", { LAYERS, SIZE, SIZE } }, { "W2", "in", "f16", { LAYERS, SIZE, SIZE } },
    { "out", "out", "f16", tile },
  },
  kernels = {
    norm = kernel("aiv", { { "a", "in", "f16", tile }, { "b", "out", "f16", tile } }),
    project = kernel("aic", { { "a", "in", "f16", tile }, { "w", "in", "f16", tile }, { "c", "out", "f32", tile } }),
    exp_sum = kernel("aiv", { { "left", "in", "f32", tile }, { "right", "in", "f32", tile }, { "out", "out", "f16", tile } }),
  },
  graph = function(g, a, W1, W2, out)
    local function layer(x, left_weights, right_weights, result)
      local _, b = g.aiv("norm", x, baton.output { "f16", tile })
      local _, left = g.aic("project", b, left_weights, baton.output { "f32", tile })
      local _, right = g.aic("project", b, right_weights, baton.output { "f32", tile })
      g.aiv("exp_sum", left, right, result)
    end
    local x = a
    for i = 1, LAYERS do
      local result = i == LAYERS and out or g.alloc("f16", tile)
      g.record("layer", layer, { x, W1:select(1, i), W2:select(1, i), result })
      x = result
    end
  end,
}

-- Of every row of weights the elements add up to about a half, so that no layer's result is far from e.
local function weights(seed)
  return tensor.uniform("f32", { LAYERS, SIZE, SIZE }, { lo = 0, hi = 1 / SIZE, seed = seed }):cast "f16"
end

return baton.scene {
  name = "graph_execution_layers",
  program = program,
  args = function(_, seed)
    return { a = tensor.uniform("f32", tile, { lo = 2, hi = 50, seed = seed }):cast "f16", W1 = weights(seed + 1),
      W2 = weights(seed + 2), out = tensor.empty("f16", tile) }
  end,
  golden = function(args)
    local x = args.a
    for i = 1, LAYERS do
      local b = x:cast("f32"):log():sqrt():cast("f16"):cast "f32"
      local left, right = args.W1:select(1, i):cast "f32", args.W2:select(1, i):cast "f32"
      x = (b:matmul(left) + b:matmul(right)):exp():cast "f16"
    end
    return { out = x }
  end,
  tolerance = { rtol = 1e-2, atol = 1e-2 },
}
