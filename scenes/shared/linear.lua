-- What the scenes of neural networks share: the program y = max(x·w, 0) for one chip.
local baton = require "baton"

local linear = baton.program {
  name = "linear",
  signature = {
    { "x", "in", "f32", { "rows", "inputs" } }, { "w", "in", "f32", { "inputs", "outputs" } },
    { "y", "out", "f32", { "rows", "outputs" } },
  },
  kernels = {
    matmul = {
      core = "aic", source = "../kernels/matmul_tile.c", entry = "matmul_start",
      signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } },
    },
    relu = { core = "aiv", source = "../kernels/vector.c", signature = { { "x", "inout" } } },
  },
  graph = function(g, x, w, y)
    g.aic("matmul", x, w, y)
    g.aiv("relu", y)
  end,
}

return linear
