-- child_memory: a weight goes to a chip once and stays there; the two tasks that use it run where it is.
local baton = require "baton"
local tensor = require "baton.tensor"

local linear = dofile(((... or arg[0]):match "^.*/" or "") .. "shared/linear.lua")

local function random(shape, seed) return tensor.uniform("f32", shape, { lo = -1, hi = 1, seed = seed }) end

return baton.scene {
  name = "child_memory",
  level = 3,
  worker = { devices = 2 },
  orchestrate = function(orch, args)
    local memory = orch.malloc(1, args.weight.nbytes)
    local weight = memory:tensor("f32", args.weight.shape)
    orch.copy_to(memory, args.weight)
    orch.submit_next_level(linear, { x = args.x1, w = weight, y = args.y1 }) -- on worker 1, which has the weight
    orch.submit_next_level(linear, { x = args.x2, w = weight, y = args.y2 })
    orch.free(memory) -- after both tasks
  end,
  cases = {
    { name = "small", params = { rows = 16, inputs = 64, outputs = 48 } },
    { name = "large", params = { rows = 64, inputs = 2048, outputs = 2048 }, manual = true },
  },
  args = function(p, seed)
    return {
      x1 = random({ p.rows, p.inputs }, seed), x2 = random({ p.rows, p.inputs }, seed + 1),
      weight = random({ p.inputs, p.outputs }, seed + 2),
      y1 = tensor.empty("f32", { p.rows, p.outputs }), y2 = tensor.empty("f32", { p.rows, p.outputs }),
    }
  end,
  golden = function(args)
    return { y1 = args.x1:matmul(args.weight):maximum(0), y2 = args.x2:matmul(args.weight):maximum(0) }
  end,
  tolerance = { rtol = 1e-4, atol = 1e-4 },
}
