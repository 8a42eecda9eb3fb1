-- data_parallel_rounds: two chips keep one half of the examples each; every round they compute gradients, a sub worker takes a
-- step and another function writes the log. As a script, `baton scenes/data_parallel_rounds.lua`, it trains for 100 rounds.
local baton = require "baton"
local tensor = require "baton.tensor"

local RANKS, RATE = 2, 0.3

local gradient = baton.program {
  name = "gradient",
  signature = {
    { "x", "in", "f32", { "rows", "size" } }, { "t", "in", "f32", { "rows" } }, { "w", "in", "f32", { "size" } },
    { "g", "out", "f32", { "size" } }, { "loss", "out", "f32", { 1 } },
  },
  kernels = {
    gradient = { core = "aiv", source = "kernels/regression.c",
      signature = { { "x", "in" }, { "t", "in" }, { "w", "in" }, { "g", "out" }, { "loss", "out" } } },
  },
  graph = function(g, ...) g.aiv("gradient", ...) end,
}

-- On a sub worker: the gradients of all ranks, for the mean over the examples.
local function step(args) args.w:sub_(args.g:sum(1) * (RATE / args.examples)) end

-- On a sub worker too: one entry a round.
local function log(args) args.log:set(args.loss:sum() / args.examples, args.round) end

local examples = {} -- of each rank: the memory on its chip, and the tensor in it

local scene = baton.scene {
  name = "data_parallel_rounds",
  level = 3,
  worker = { devices = RANKS, subs = 1 },
  orchestrate = function(orch, args, p, round)
    local count = RANKS * p.rows
    for rank = 1, RANKS do
      if round == 1 then -- what is on a chip stays there for all rounds
        local x = args.x:select(1, rank)
        local memory = orch.malloc(rank - 1, x.nbytes)
        orch.copy_to(memory, x)
        examples[rank] = memory:tensor("f32", x.shape)
      end
      orch.submit_next_level(gradient, {
        examples[rank], args.t:select(1, rank), args.w, args.g:select(1, rank), args.loss:select(1, rank),
      }, { worker = rank - 1 })
    end
    orch.submit_sub(step, { w = args.w, g = baton.input(args.g), examples = count })
    orch.submit_sub(log, { log = args.log, loss = baton.input(args.loss), round = round, examples = count })
  end,
  cases = { { name = "default", params = { rows = 64, size = 8, rounds = 100 } } },
  args = function(p, seed)
    local x = tensor.uniform("f32", { RANKS, p.rows, p.size }, { lo = -1, hi = 1, seed = seed })
    local weights = tensor.uniform("f32", { p.size, 1 }, { lo = -1, hi = 1, seed = seed + 1 })
    return {
      x = x, t = x:matmul(weights):reshape { RANKS, p.rows }, w = tensor.zeros("f32", { p.size }),
      g = tensor.zeros("f32", { RANKS, p.size }), loss = tensor.zeros("f32", { RANKS, 1 }),
      log = tensor.zeros("f32", { p.rounds }),
    }
  end,
  golden = function(args, p)
    local x = args.x:reshape { RANKS * p.rows, p.size }
    local difference = x:matmul(args.w:reshape { p.size, 1 }) - args.t:reshape { RANKS * p.rows, 1 }
    local mean = (x * difference):sum(1) * (1 / (RANKS * p.rows))
    return { w = args.w - mean * RATE }
  end,
  unchecked = { "g", "loss", "log" },
  tolerance = { rtol = 1e-4, atol = 1e-5 },
}

if ... then return scene end -- `baton run` loads the file with its path

local p = scene.cases[1].params
local args = scene.args(p, 42)
local node <close> = baton.worker { level = 3, devices = RANKS, subs = 1 }
for round = 1, p.rounds do
  node:run(function(orch) scene.orchestrate(orch, args, p, round) end)
  if round % 20 == 0 then print(("round %3d  loss %.1e"):format(round, args.log:get(round))) end
end
