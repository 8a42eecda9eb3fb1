-- spmd_basic: one task of many instances, each on a core of its own; they share rows by their numbers, wait for each other
-- at a barrier, and more instances than there are cores run in waves.
local baton = require "baton"
local tensor = require "baton.tensor"

local code = [[
#include <baton/kernel.h>

BATON_KERNEL(row_sums) { /* totals[r] = sum of row r; each instance has every how manieth row */
  const baton_view *x = baton_arg_tensor(args, 0);
  const int64_t rows = x->shape[0], columns = x->shape[1];
  const float *values = baton_in(args, 0, float);
  float *totals = baton_out(args, 1, float);
  for (int64_t r = baton_block_idx(args); r < rows; r += baton_block_num(args)) {
    float total = 0;
    for (int64_t c = 0; c < columns; c++) total += values[r * columns + c];
    totals[r] = total;
  }
}

BATON_KERNEL(prefix_sums) { /* totals[r] = sum of all rows up to r, in steps of twice the distance */
  float *totals = baton_io(args, 0, float), *before = baton_io(args, 1, float);
  const int64_t rows = baton_numel(args, 0), first = baton_block_idx(args), step = baton_block_num(args);
  for (int64_t distance = 1; distance < rows; distance *= 2) {
    for (int64_t r = first; r < rows; r += step) before[r] = totals[r];
    baton_block_barrier(args);
    for (int64_t r = first; r < rows; r += step)
      if (r >= distance) totals[r] = before[r] + before[r - distance];
    baton_block_barrier(args);
  }
}
]]

local program = baton.program {
  name = "spmd_basic",
  signature = { { "x", "in", "f32", { "rows", "columns" } }, { "totals", "out", "f32", { "rows" } }, { "blocks", "i64" } },
  kernels = {
    row_sums = { core = "aiv", code = code, signature = { { "x", "in" }, { "totals", "out" } } },
    prefix_sums = { core = "aiv", code = code, signature = { { "totals", "inout" }, { "before", "out" } } },
  },
  graph = function(g, x, totals, blocks)
    g.aiv("row_sums", { x, totals }, { blocks = blocks })
    g.aiv("prefix_sums", { totals, g.alloc("f32", totals.shape) }, { blocks = math.min(blocks, g.aiv_count), sync_start = true })
  end,
}

return baton.scene {
  name = "spmd_basic",
  program = program,
  cases = {
    { name = "few", params = { rows = 100, columns = 16, blocks = 7 } },
    { name = "waves", params = { rows = 500, columns = 16, blocks = 200 } },
  },
  args = function(p, seed)
    return {
      x = tensor.uniform("f32", { p.rows, p.columns }, { seed = seed }), totals = tensor.empty("f32", { p.rows }), blocks = p.blocks,
    }
  end,
  golden = function(args, p)
    local sums, total = args.x:sum(2), 0
    local totals = {}
    for r = 1, p.rows do
      total = total + sums:get(r)
      totals[r] = total
    end
    return { totals = tensor.from(totals, "f32") }
  end,
  tolerance = { rtol = 1e-4, atol = 1e-4 },
}
