-- paged_attention_unroll: four tasks for 64 blocks instead of four for each. The tasks follow the block table themselves,
-- so the graph reads nothing but how many keys a sequence has, and is kept whatever the table says.
local baton = require "baton"
local attention = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/paged_attention.lua")

local GROUP = 64 -- blocks

-- `numbers`: where the blocks of a group are; `count` keys of them belong to the sequence.
local function add_group(g, tile, key_cache, value_cache, numbers, count, first, last)
  local dtype, keys, width = key_cache.dtype, numbers.numel * key_cache:size(2), tile.maximum:size(1)
  g.scope(function()
    local scores, weights = g.alloc("f32", { keys, width }), g.alloc(dtype, { keys, width })
    local maximum, sum, result = attention.state(g, tile)
    g.aic("scores_of_blocks_" .. dtype, tile.query, key_cache, numbers, scores, count)
    g.aiv("softmax_" .. dtype, scores, weights, maximum, sum, count, g.scalar "scale")
    g.aic("values_of_blocks_" .. dtype, weights, value_cache, numbers, result, count)
    g.aiv("update", { maximum, sum, result, tile.maximum, tile.sum, tile.result, tile.out, first, last })
  end)
end

local function graph(g, query, key_cache, value_cache, block_table, context_lens, out)
  local block = key_cache:size(2)
  for b = 1, query:size(1) do
    local length = attention.length(g, b, block_table, context_lens, block)
    local blocks = (length + block - 1) // block
    for _, tile in ipairs(attention.tiles(query, out, b)) do
      g.scope(function()
        tile.maximum, tile.sum, tile.result = attention.state(g, tile)
        for first = 1, blocks, GROUP do
          local some = math.min(GROUP, blocks - first + 1)
          local count = math.min(some * block, length - (first - 1) * block)
          add_group(g, tile, key_cache, value_cache, block_table:select(1, b):slice(1, first, some), count, first == 1,
            first + some > blocks)
        end
      end)
    end
  end
end

local kernels = { update = attention.kernels.update }
for _, dtype in ipairs { "f32", "bf16" } do
  local row, cache, pair = { "rows", "size" }, { "*", "block", 1, "size" }, { "keys", "width" }
  local function kernel(entry, signature)
    return { core = "aic", source = "kernels/paged_attention_unroll.c", entry = entry .. "_" .. dtype,
      cflags = "-ffp-contract=fast", signature = signature }
  end
  kernels["softmax_" .. dtype] = attention.kernels["softmax_" .. dtype]
  kernels["scores_of_blocks_" .. dtype] = kernel("scores_of_blocks",
    { { "query", "in", dtype, row }, { "keys", "in", dtype, cache }, { "numbers", "in", "i32", { "*" } },
      { "scores", "out", "f32", pair }, { "count", "i64" } })
  kernels["values_of_blocks_" .. dtype] = kernel("values_of_blocks",
    { { "weights", "in", dtype, pair }, { "values", "in", dtype, cache }, { "numbers", "in", "i32", { "*" } },
      { "result", "out", "f32", row }, { "count", "i64" } })
end

local case = attention.case
local small = { size = 16, block = 16, context = 33, most = 256 }
local mixed = { batch = 4, size = 16, block = 16, context = 128, most = 256, lengths = "mixed" }
local groups = { batch = 2, heads = 144, size = 24, block = 8, context = 1100, most = 2048 } -- 138 blocks: 64 + 64 + 10
local case1 = { batch = 256, context = 8192, most = 32768 }
local case2 = { batch = 64, heads = 64, block = 64, context = 8192, most = 32768 }
local large = { manual = true, config = { ring_heap = "1GiB" } }

return baton.scene {
  name = "paged_attention_unroll",
  program = baton.program {
    name = "paged_attention_unroll",
    signature = attention.signature,
    kernels = kernels,
    graph = graph,
  },
  cases = {
    case("small", "f32", small), case("small_bf16", "bf16", small),
    case("mixed", "f32", mixed), case("mixed_bf16", "bf16", mixed),
    case("groups", "f32", groups), case("groups_bf16", "bf16", groups),
    case("case1", "f32", case1, large), case("case1_bf16", "bf16", case1, large),
    case("case2_bf16", "bf16", case2, large),
  },
  args = attention.args,
  golden = attention.golden,
  tolerance = attention.tolerance,
}
