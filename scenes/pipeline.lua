-- pipeline: a network whose layers lie on three chips; microbatches go through one behind the other, so that a chip works on
-- one while the next chip works on the one before.
local baton = require "baton"
local tensor = require "baton.tensor"

local linear = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/linear.lua")
local STAGES = 3

local function random(shape, seed) return tensor.uniform("f32", shape, { lo = -1, hi = 1, seed = seed }) end

return baton.scene {
  name = "pipeline",
  level = 3,
  worker = { devices = STAGES },
  orchestrate = function(orch, args, p)
    local memory, weights = {}, {}
    for stage = 1, STAGES do
      local weight = args.weights:select(1, stage)
      memory[stage] = orch.malloc(stage - 1, weight.nbytes)
      weights[stage] = memory[stage]:tensor("f32", weight.shape)
      orch.copy_to(memory[stage], weight)
    end
    for batch = 1, p.batches do
      orch.scope(function() -- what lies between two chips is given back when its microbatch is through
        local x = args.x:select(1, batch)
        for stage = 1, STAGES do
          local y = stage < STAGES and orch.alloc("f32", { p.rows, p.size }) or args.y:select(1, batch)
          orch.submit_next_level(linear, { x, weights[stage], y }, { worker = stage - 1 })
          x = y
        end
      end)
    end
    for stage = 1, STAGES do orch.free(memory[stage]) end
  end,
  cases = {
    { name = "small", params = { batches = 8, rows = 16, size = 48 } },
    { name = "large", params = { batches = 64, rows = 128, size = 512 }, manual = true },
  },
  args = function(p, seed)
    return {
      x = random({ p.batches, p.rows, p.size }, seed), y = tensor.empty("f32", { p.batches, p.rows, p.size }),
      weights = random({ STAGES, p.size, p.size }, seed + 1),
    }
  end,
  golden = function(args)
    local y = args.x
    for stage = 1, STAGES do y = y:matmul(args.weights:select(1, stage)):maximum(0) end
    return { y = y }
  end,
  tolerance = { rtol = 1e-3, atol = 1e-2 },
}
