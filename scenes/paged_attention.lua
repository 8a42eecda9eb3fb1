-- paged_attention: attention over keys and values in scattered blocks; the graph follows a table that it reads while it
-- is built, and `inout` adds up the blocks of a sequence in order while everything else runs ahead.
local baton = require "baton"
local attention = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/paged_attention.lua")

-- One block of keys and values joins what has been added up for a query tile.
local function add_block(g, tile, keys, values, count, first, last)
  local dtype, block, width = keys.dtype, keys:size(1), tile.maximum:size(1)
  g.scope(function()
    local scores, weights = g.alloc("f32", { block, width }), g.alloc(dtype, { block, width })
    local maximum, sum, result = attention.state(g, tile)
    g.aic("scores_" .. dtype, tile.query, keys, scores, count)
    g.aiv("softmax_" .. dtype, scores, weights, maximum, sum, count, g.scalar "scale")
    g.aic("values_" .. dtype, weights, values, result, count)
    g.aiv("update", { maximum, sum, result, tile.maximum, tile.sum, tile.result, tile.out, first, last })
  end)
end

local program = baton.program {
  name = "paged_attention",
  signature = attention.signature,
  kernels = attention.kernels,
  graph = function(g, query, key_cache, value_cache, block_table, context_lens, out)
    for b = 1, query:size(1) do
      local blocks = attention.blocks(g, b, key_cache, value_cache, block_table, context_lens)
      for _, tile in ipairs(attention.tiles(query, out, b)) do
        g.scope(function()
          tile.maximum, tile.sum, tile.result = attention.state(g, tile)
          for i, block in ipairs(blocks) do
            add_block(g, tile, block[1], block[2], block[3], i == 1, i == #blocks)
          end
        end)
      end
    end
  end,
}

local case = attention.case
local small = { size = 16, block = 16, context = 33, most = 256 }
local mixed = { batch = 4, size = 16, block = 16, context = 128, most = 256, lengths = "mixed" }
local tiles = { batch = 2, heads = 144, size = 72, block = 24, context = 100, most = 120 }
local medium = { batch = 8 }
local production = { batch = 256, context = 8192, most = 32768 }
local wide_heads = { batch = 64, heads = 64, block = 64, context = 8192, most = 32768 }
local wide_size = { batch = 64, heads = 64, size = 256, block = 64, context = 8192, most = 32768 }
local large = { manual = true, config = { ring_heap = "1GiB", ring_task_window = 1 << 19 } }

return baton.scene {
  name = "paged_attention",
  program = program,
  cases = {
    case("small", "f32", small), case("small_bf16", "bf16", small),
    case("mixed", "f32", mixed), case("mixed_bf16", "bf16", mixed),
    case("tiles", "f32", tiles), case("tiles_bf16", "bf16", tiles),
    case("medium", "f32", medium), case("medium_bf16", "bf16", medium),
    case("production", "f32", production, large), case("production_bf16", "bf16", production, large),
    case("wide_heads_bf16", "bf16", wide_heads, large), case("wide_size_bf16", "bf16", wide_size, large),
  },
  args = attention.args,
  golden = attention.golden,
  tolerance = attention.tolerance,
}
