-- graph_execution_mix: a sub-graph whose task has as many instances as the chip has clusters, all at work at the same time,
-- is built once and called twice. It gives three tensors, one from each core of a cluster.
local baton = require "baton"
local tensor = require "baton.tensor"

local code = [[
#include <baton/kernel.h>
#define ELEMENTS(i) int64_t i = baton_block_idx(args); i < baton_numel(args, 2); i += baton_block_num(args)
#define CORE(name, operator)                                                             \
  BATON_KERNEL(name) {                                                                   \
    const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);            \
    float *c = baton_out(args, 2, float);                                                \
    for (ELEMENTS(i)) c[i] = a[i] operator b[i];                                         \
  }
CORE(sum, +)
CORE(product, *)
CORE(difference, -)
]]

local vector = { "n" }
local function kernel(core) return { core = core, code = code, signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } } end

local program = baton.program {
  name = "graph_execution_mix",
  signature = {
    { "a", "in", "f32", vector }, { "b", "in", "f32", vector },
    { "sum", "out", "f32", vector }, { "product", "out", "f32", vector }, { "difference", "out", "f32", vector },
  },
  kernels = { sum = kernel "aic", product = kernel "aiv", difference = kernel "aiv" },
  graph = function(g, a, b, sum, product, difference)
    local function stage(x, y, s, p, d)
      g.mix({ aic = "sum", aiv0 = "product", aiv1 = "difference" },
        { aic = { x, y, s }, aiv0 = { x, y, p }, aiv1 = { x, y, d } }, { blocks = g.clusters, sync_start = true })
    end
    local s, p, d = g.alloc("f32", a.shape), g.alloc("f32", a.shape), g.alloc("f32", a.shape)
    g.record("stage", stage, { a, b, s, p, d })
    g.record("stage", stage, { s, p, sum, product, difference })
  end,
}

return baton.scene {
  name = "graph_execution_mix",
  program = program,
  cases = { { name = "default", params = { n = 16384 } }, { name = "short", params = { n = 5 } } },
  args = function(p, seed)
    local function random(offset) return tensor.uniform("f32", { p.n }, { seed = seed + offset }) end
    return { a = random(0), b = random(1), sum = tensor.empty("f32", { p.n }), product = tensor.empty("f32", { p.n }),
      difference = tensor.empty("f32", { p.n }) }
  end,
  golden = function(args)
    local s, p = args.a + args.b, args.a * args.b
    return { sum = s + p, product = s * p, difference = s - p }
  end,
  tolerance = { rtol = 1e-6, atol = 1e-6 },
}
