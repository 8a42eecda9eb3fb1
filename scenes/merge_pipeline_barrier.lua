-- merge_pipeline_barrier: three steps of a pipeline in one task. Its eight instances share out the tiles differently in
-- each step, and wait for each other in between: out = 2 (x + 1) + 1.
local baton = require "baton"
local tensor = require "baton.tensor"

local BLOCKS, TILE = 8, 128

local program = baton.program {
  name = "merge_pipeline_barrier",
  signature = { { "x", "in", "f32", { BLOCKS * TILE } }, { "out", "out", "f32", { BLOCKS * TILE } } },
  kernels = {
    pipeline = { core = "aiv", signature = { { "x", "in" }, { "out", "out" } }, code = [[
      #include <baton/kernel.h>
      enum { TILE = 128 };
      BATON_KERNEL(pipeline) {
        const float *x = baton_in(args, 0, float);
        float *out = baton_out(args, 1, float);
        const int block = (int)baton_block_idx(args), blocks = (int)baton_block_num(args), half = blocks / 2;
        if (block == 0) /* one instance, all tiles */
          for (int i = 0; i < blocks * TILE; i++) out[i] = x[i] + 1;
        baton_block_barrier(args);
        if (block < half) /* half of them, two tiles each */
          for (int i = 2 * block * TILE; i < 2 * (block + 1) * TILE; i++) out[i] *= 2;
        baton_block_barrier(args);
        for (int i = block * TILE; i < (block + 1) * TILE; i++) out[i] += 1; /* all, a tile each */
      }]] },
  },
  graph = function(g, x, out) g.aiv("pipeline", { x, out }, { blocks = BLOCKS, sync_start = true }) end,
}

return baton.scene {
  name = "merge_pipeline_barrier",
  program = program,
  args = function()
    return { x = tensor.arange("f32", { BLOCKS * TILE }) / 7, out = tensor.empty("f32", { BLOCKS * TILE }) }
  end,
  golden = function(args) return { out = args.x * 2 + 3 } end,
  tolerance = { rtol = 1e-5, atol = 1e-5 },
}
