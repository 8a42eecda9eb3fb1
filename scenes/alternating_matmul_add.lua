-- alternating_matmul_add: C = A·B and Z = X + Y, tile by tile and alternately; views of one tensor that are disjoint
-- depend on nothing, so matrix and vector cores work at the same time.
local baton = require "baton"
local tensor = require "baton.tensor"

local SIZE = 128

-- A list of groups: for each, a view of `count` tiles of every tensor.
local function groups(count, tensors)
  local list, total = {}, tensors[1]:size(1) * tensors[1]:size(2)
  for i, t in ipairs(tensors) do tensors[i] = t:reshape { total, SIZE, SIZE } end
  for first = 1, total, count do
    local views = {}
    for i, t in ipairs(tensors) do views[i] = t:slice(1, first, math.min(count, total - first + 1)) end
    list[#list + 1] = views
  end
  return list
end

local two_in_one_out = { { "a", "in" }, { "b", "in" }, { "c", "out" } }

local program = baton.program {
  name = "alternating_matmul_add",
  signature = {
    { "A", "in", "f32", { "batch", "m", SIZE, SIZE } }, { "B", "in", "f32", { "batch", "m", SIZE, SIZE } },
    { "X", "in", "f32", { "batch", "n", SIZE, SIZE } }, { "Y", "in", "f32", { "batch", "n", SIZE, SIZE } },
    { "C", "out", "f32", { "batch", "m", SIZE, SIZE } }, { "Z", "out", "f32", { "batch", "n", SIZE, SIZE } },
    { "matmul_group", "i64" }, { "add_group", "i64" },
  },
  kernels = {
    matmul_tiles = { core = "aic", source = "kernels/tiles.c", signature = two_in_one_out },
    add = { core = "aiv", source = "kernels/vector.c", signature = two_in_one_out },
  },
  graph = function(g, A, B, X, Y, C, Z, matmul_group, add_group)
    local products, sums = groups(matmul_group, { A, B, C }), groups(add_group, { X, Y, Z })
    for i = 1, math.max(#products, #sums) do
      if products[i] then g.aic("matmul_tiles", products[i]) end
      if sums[i] then g.aiv("add", sums[i]) end
    end
  end,
}

local function case(name, batch, m, n, matmul_group, add_group, manual)
  return { name = name, manual = manual,
    params = { batch = batch, m = m, n = n, matmul_group = matmul_group, add_group = add_group } }
end

return baton.scene {
  name = "alternating_matmul_add",
  program = program,
  cases = {
    case("single", 1, 1, 1, 1, 1), case("uneven", 3, 2, 5, 4, 2),
    case("case1", 500, 4, 4, 4, 4, true), case("case2", 512, 2, 5, 4, 5, true),
  },
  args = function(p, seed)
    local function random(count, offset)
      return tensor.normal("f32", { p.batch, count, SIZE, SIZE }, { std = 0.01, seed = seed + offset })
    end
    return { A = random(p.m, 0), B = random(p.m, 1), X = random(p.n, 2), Y = random(p.n, 3),
      C = tensor.empty("f32", { p.batch, p.m, SIZE, SIZE }), Z = tensor.empty("f32", { p.batch, p.n, SIZE, SIZE }),
      matmul_group = p.matmul_group, add_group = p.add_group }
  end,
  golden = function(args) return { C = args.A:matmul(args.B), Z = args.X + args.Y } end,
  tolerance = { rtol = 1e-3, atol = 1e-6 },
}
