-- moe_dispatch: a router on one chip scores the experts for each token; Lua reads the scores in the middle of the run and sends
-- each token to the best expert. The experts lie on two chips, functions of the host gather and scatter their tokens.
local baton = require "baton"
local tensor = require "baton.tensor"

local linear = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/linear.lua")

local router = baton.program {
  name = "router",
  signature = {
    { "x", "in", "f32", { "tokens", "size" } }, { "w", "in", "f32", { "size", "experts" } },
    { "scores", "out", "f32", { "tokens", "experts" } },
  },
  kernels = {
    matmul = { core = "aic", source = "kernels/matmul_tile.c", entry = "matmul_start",
      signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } },
  },
  graph = function(g, x, w, scores) g.aic("matmul", x, w, scores) end,
}

-- On a sub worker: rows of `from` one behind the other in `to`.
local function gather(args) args.to:copy(args.from:index(1, args.rows)) end

-- And back.
local function scatter(args)
  for i, row in ipairs(args.rows) do args.to:select(1, row):copy(args.from:select(1, i)) end
end

-- The tokens of each expert.
local function route(scores)
  local tokens, best = {}, scores:argmax(2)
  for expert = 1, scores:size(2) do tokens[expert] = {} end
  for token = 1, best.numel do table.insert(tokens[best:get(token)], token) end
  return tokens
end

local function random(shape, seed) return tensor.uniform("f32", shape, { lo = -1, hi = 1, seed = seed }) end

return baton.scene {
  name = "moe_dispatch",
  level = 3,
  worker = { devices = 2, subs = 2 },
  orchestrate = function(orch, args, p)
    local memory = orch.malloc(0, args.scores.nbytes)
    orch.submit_next_level(router, { args.x, args.router, memory:tensor("f32", args.scores.shape) })
    orch.copy_from(args.scores, memory)
    orch.free(memory)
    for expert, rows in ipairs(route(args.scores)) do -- to look at the scores waits until they are there
      if #rows > 0 then
        local x, y = orch.alloc("f32", { #rows, p.size }), orch.alloc("f32", { #rows, p.size })
        orch.submit_sub(gather, { from = baton.input(args.x), to = baton.output(x), rows = rows })
        orch.submit_next_level(linear, { x, args.experts:select(1, expert), y }, { worker = expert % orch.workers })
        orch.submit_sub(scatter, { from = baton.input(y), to = args.y, rows = rows })
      end
    end
  end,
  cases = {
    { name = "small", params = { tokens = 40, size = 32, experts = 6 } },
    { name = "large", params = { tokens = 2048, size = 512, experts = 16 }, manual = true },
  },
  args = function(p, seed)
    return {
      x = random({ p.tokens, p.size }, seed), router = random({ p.size, p.experts }, seed + 1),
      experts = random({ p.experts, p.size, p.size }, seed + 2), scores = tensor.empty("f32", { p.tokens, p.experts }),
      y = tensor.zeros("f32", { p.tokens, p.size }),
    }
  end,
  golden = function(args)
    local scores, y = args.x:matmul(args.router), tensor.zeros("f32", args.y.shape)
    for expert, rows in ipairs(route(scores)) do
      for _, row in ipairs(rows) do
        y:slice(1, row, 1):copy(args.x:slice(1, row, 1):matmul(args.experts:select(1, expert)):maximum(0))
      end
    end
    return { scores = scores, y = y }
  end,
  tolerance = { rtol = 1e-4, atol = 1e-4 },
}
