-- multi_chip_dispatch: two chips add two vectors each; a function of the host, which reads what both wrote, runs after both.
local baton = require "baton"
local tensor = require "baton.tensor"

local vector_add = baton.program {
  name = "vector_add",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", source = "kernels/vector.c", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } },
  },
  graph = function(g, a, b, c) g.aiv("add", a, b, c) end,
}

-- Runs on a sub worker, in a Lua state of its own; the tensors are the caller's memory.
local function add_halves(args) args.total:copy(args.first + args.second) end

local function vectors(n, seed) return tensor.uniform("f32", { n }, { lo = -1, hi = 1, seed = seed }) end

return baton.scene {
  name = "multi_chip_dispatch",
  level = 3,
  worker = { devices = 2, subs = 1 },
  orchestrate = function(orch, args)
    orch.submit_next_level(vector_add, { args.a, args.b, args.ab }, { worker = 0 })
    orch.submit_next_level(vector_add, { args.c, args.d, args.cd }, { worker = 1 })
    orch.submit_sub(add_halves, {
      first = baton.input(args.ab), second = baton.input(args.cd), total = baton.output(args.total),
    })
  end,
  cases = { { name = "small", params = { n = 1024 } }, { name = "large", params = { n = 1 << 24 }, manual = true } },
  args = function(p, seed)
    local args = { ab = tensor.empty("f32", { p.n }), cd = tensor.empty("f32", { p.n }), total = tensor.empty("f32", { p.n }) }
    for i, name in ipairs { "a", "b", "c", "d" } do args[name] = vectors(p.n, seed + i) end
    return args
  end,
  golden = function(args)
    local ab, cd = args.a + args.b, args.c + args.d
    return { ab = ab, cd = cd, total = ab + cd }
  end,
  tolerance = { rtol = 0, atol = 0 },
}
