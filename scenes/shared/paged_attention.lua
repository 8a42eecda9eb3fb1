-- What the scenes of paged attention share: the program's arguments and expected results, kernels, and how a query is cut.
local tensor = require "baton.tensor"

local MOST_ROWS = 128 -- of a query that a core takes at a time
local PADDING = 16    -- rows of scores are padded to a multiple of this

local attention = {}

--- The tiles of one sequence's query: a list of views { query, out }, of all heads or of as many as a core takes.
function attention.tiles(query, out, b)
  local heads, list = query:size(2), {}
  for first = 1, heads, MOST_ROWS do
    local rows = math.min(MOST_ROWS, heads - first + 1)
    list[#list + 1] = { query = query:select(1, b):slice(1, first, rows), out = out:select(1, b):slice(1, first, rows) }
  end
  return list
end

--- For one tile the memory of the largest scores, the sums of weights and the weighted values, as three tensors.
function attention.state(g, tile)
  local rows, size = tile.query:size(1), tile.query:size(2)
  local width = (rows + PADDING - 1) // PADDING * PADDING
  return g.alloc("f32", { width }), g.alloc("f32", { width }), g.alloc("f32", { rows, size })
end

--- How many keys a sequence has.
function attention.length(g, b, block_table, context_lens, block)
  local length, most = g.get(context_lens, b), block_table:size(2) * block
  if length < 1 or length > most then
    g.fail(("context_lens[%d] is %d, the block table has room for 1 to %d"):format(b, length, most))
  end
  return length
end

--- The keys and values that the table names for one sequence: a list of { keys, values, how many count }.
function attention.blocks(g, b, key_cache, value_cache, block_table, context_lens)
  local size, blocks = key_cache:size(2), {}
  local length = attention.length(g, b, block_table, context_lens, size)
  for first = 0, length - 1, size do
    local i = g.get(block_table, b, first // size + 1)
    if i < 0 or i >= key_cache:size(1) then
      g.fail(("block_table[%d, %d] is %d, there are blocks 0 to %d"):format(b, first // size + 1, i,
        key_cache:size(1) - 1))
    end
    local function rows(cache) return cache:select(1, i + 1):reshape { size, cache:size(4) } end
    blocks[#blocks + 1] = { rows(key_cache), rows(value_cache), math.min(size, length - first) }
  end
  return blocks
end

local per_row, per_key, per_pair = { "rows", "size" }, { "block", "size" }, { "block", "width" }
local one_a_row = { "width" }

-- Kernels for one type of query, keys, values and weights; multiplying and adding fuse.
local function kernels_for(dtype)
  local function kernel(core, entry, signature)
    return { core = core, source = "kernels/paged_attention.c", entry = entry .. "_" .. dtype, signature = signature,
      cflags = "-ffp-contract=fast" }
  end
  return {
    scores = kernel("aic", "scores",
      { { "query", "in", dtype, per_row }, { "keys", "in", dtype, per_key }, { "scores", "out", "f32", per_pair },
        { "count", "i64" } }),
    softmax = kernel("aiv", "softmax",
      { { "scores", "in", "f32", per_pair }, { "weights", "out", dtype, per_pair },
        { "maximum", "out", "f32", one_a_row }, { "sum", "out", "f32", one_a_row }, { "count", "i64" },
        { "scale", "f32" } }),
    values = kernel("aic", "values",
      { { "weights", "in", dtype, per_pair }, { "values", "in", dtype, per_key }, { "result", "out", "f32", per_row },
        { "count", "i64" } }),
  }
end

attention.kernels = {
  update = {
    core = "aiv", source = "kernels/paged_attention.c", cflags = "-ffp-contract=fast",
    signature = {
      { "maximum", "in", "f32", one_a_row }, { "sum", "in", "f32", one_a_row }, { "result", "in", "f32", per_row },
      { "all_maximum", "inout", "f32", one_a_row }, { "all_sum", "inout", "f32", one_a_row },
      { "all_result", "inout", "f32", per_row }, { "out", "inout", "f32", per_row },
      { "first", "bool" }, { "last", "bool" },
    },
  },
}
for _, dtype in ipairs { "f32", "bf16" } do
  for name, kernel in pairs(kernels_for(dtype)) do attention.kernels[name .. "_" .. dtype] = kernel end
end

local either = { "f32", "bf16" }
local cached = { "blocks", "block_size", 1, "size" }

attention.signature = {
  { "query", "in", either, { "batch", "heads", "size" } }, { "key_cache", "in", either, cached },
  { "value_cache", "in", either, cached }, { "block_table", "in", "i32", { "batch", "most_blocks" } },
  { "context_lens", "in", "i32", { "batch" } }, { "out", "out", "f32", { "batch", "heads", "size" } },
  { "scale", "f32" },
}

-- The sizes of everything, as far as possible from what the user gave.
local function sizes(p, given)
  local given_cache = given.key_cache or given.value_cache
  local s = { batch = p.batch, heads = p.heads, size = p.size, block = p.block, dtype = p.dtype }
  if given.query then s.batch, s.heads, s.size = table.unpack(given.query.shape) end
  if given_cache then s.block, s.size = given_cache:size(2), given_cache:size(4) end
  if given.context_lens or given.block_table then s.batch = (given.context_lens or given.block_table):size(1) end
  for _, name in ipairs { "query", "key_cache", "value_cache" } do
    if given[name] then s.dtype = given[name].dtype end
  end
  s.context = given.context_lens and math.tointeger(given.context_lens:max()) or p.context
  s.table = given.block_table and given.block_table:size(2) or math.max(p.most, s.context) // s.block + 1
  s.blocks = given_cache and given_cache:size(1)
    or given.block_table and math.tointeger(given.block_table:max()) + 1
    or s.batch * ((s.context + s.block - 1) // s.block)
  return s
end

-- Every sequence has the case's context, or, for `lengths = "mixed"`, one of four in turn.
local function lengths(p, s)
  local list = {}
  for b = 1, s.batch do list[b] = p.lengths == "mixed" and ({ 33, 64, 128, 15 })[(b - 1) % 4 + 1] or s.context end
  return tensor.from(list, "i32")
end

function attention.args(p, seed, given)
  local s = sizes(p, given)
  local function random(shape, range, offset)
    return tensor.uniform(s.dtype, shape, { lo = -range, hi = range, seed = seed + offset })
  end
  local cache_shape = { s.blocks, s.block, 1, s.size }
  return {
    query = given.query or random({ s.batch, s.heads, s.size }, 0.5, 0),
    key_cache = given.key_cache or random(cache_shape, 0.5, 1),
    value_cache = given.value_cache or random(cache_shape, 1, 2),
    block_table = given.block_table
      or tensor.uniform("i32", { s.batch, s.table }, { lo = 0, hi = s.blocks - 1, seed = seed + 3 }),
    context_lens = given.context_lens or lengths(p, s),
    out = tensor.empty("f32", { s.batch, s.heads, s.size }),
    scale = p.scale,
  }
end

-- Rows [1, length] of the blocks that a row of the table names, one behind the other.
local function gather(cache, numbers, length)
  local size, picked = cache:size(2), {}
  for i = 1, (length + size - 1) // size do picked[i] = numbers:get(i) + 1 end
  return cache:index(1, picked):reshape({ #picked * size, cache:size(4) }):slice(1, 1, length):cast "f32"
end

function attention.golden(args, p)
  local out = tensor.empty("f32", args.out.shape)
  for b = 1, args.query:size(1) do
    local length, numbers = args.context_lens:get(b), args.block_table:select(1, b)
    local keys, values = gather(args.key_cache, numbers, length), gather(args.value_cache, numbers, length)
    local scores = args.query:select(1, b):cast("f32"):matmul(keys:transpose(1, 2)) * p.scale
    out:select(1, b):copy(scores:softmax(2):matmul(values))
  end
  return { out = out }
end

--- A case: `context` keys a sequence; the table has room for `most`.
function attention.case(name, dtype, params, options)
  local scene_case = { name = name, manual = options and options.manual, config = options and options.config,
    params = { dtype = dtype, batch = 1, heads = 16, size = 128, block = 128, context = 2048, most = 2048,
      lengths = "equal", scale = 1.0 } }
  for key, value in pairs(params) do scene_case.params[key] = value end
  return scene_case
end

attention.tolerance = { rtol = 1e-3, atol = 1e-3 }

return attention
