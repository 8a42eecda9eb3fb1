-- paged_attention_manual_scope: the same tasks in manual scopes, where nothing is inferred: each task names those that it
-- waits for. Memory still comes and goes with the scopes.
local baton = require "baton"
local attention = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/paged_attention.lua")

local manual = { mode = "manual" }

-- One block of keys and values joins what has been added up for a query tile by `previous`; returns the task that did it.
local function add_block(g, tile, keys, values, count, previous, last)
  local dtype, block, width = keys.dtype, keys:size(1), tile.maximum:size(1)
  return g.scope(manual, function()
    local scores, weights = g.alloc("f32", { block, width }), g.alloc(dtype, { block, width })
    local maximum, sum, result = attention.state(g, tile)
    local scored = g.aic("scores_" .. dtype, tile.query, keys, scores, count)
    local weighted = g.aiv("softmax_" .. dtype, { scores, weights, maximum, sum, count, g.scalar "scale" },
      { deps = { scored } })
    local added = g.aic("values_" .. dtype, { weights, values, result, count }, { deps = { weighted } })
    return g.aiv("update",
      { maximum, sum, result, tile.maximum, tile.sum, tile.result, tile.out, previous == nil, last },
      { deps = { added, previous } })
  end)
end

local program = baton.program {
  name = "paged_attention_manual_scope",
  signature = attention.signature,
  kernels = attention.kernels,
  graph = function(g, query, key_cache, value_cache, block_table, context_lens, out)
    for b = 1, query:size(1) do
      local blocks = attention.blocks(g, b, key_cache, value_cache, block_table, context_lens)
      for _, tile in ipairs(attention.tiles(query, out, b)) do
        g.scope(manual, function()
          local previous
          tile.maximum, tile.sum, tile.result = attention.state(g, tile)
          for i, block in ipairs(blocks) do
            previous = add_block(g, tile, block[1], block[2], block[3], previous, i == #blocks)
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
local production = { batch = 256, context = 8192, most = 32768 }
local wide_heads = { batch = 64, heads = 64, block = 64, context = 8192, most = 32768 }
local large = { manual = true, config = { ring_heap = "1GiB", ring_task_window = 1 << 19 } }

return baton.scene {
  name = "paged_attention_manual_scope",
  program = program,
  cases = {
    case("small", "f32", small), case("small_bf16", "bf16", small),
    case("mixed", "f32", mixed), case("mixed_bf16", "bf16", mixed),
    case("tiles", "f32", tiles), case("tiles_bf16", "bf16", tiles),
    case("production_bf16", "bf16", production, large), case("wide_heads_bf16", "bf16", wide_heads, large),
  },
  args = attention.args,
  golden = attention.golden,
  tolerance = attention.tolerance,
}
