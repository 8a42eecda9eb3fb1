-- mixed_example: tasks that take a whole cluster, a matrix core and its two vector cores at once; what the lanes of one
-- task compute is whatever their kernels are, with a list of arguments each or one for all.
local baton = require "baton"
local tensor = require "baton.tensor"

local SIZE, LENGTH = 128, 16384

local two_in_one_out = { { "a", "in" }, { "b", "in" }, { "c", "out" } }
local four_in_two_out = {
  { "a1", "in" }, { "b1", "in" }, { "a2", "in" }, { "b2", "in" }, { "c1", "out" }, { "c2", "out" },
}

local square, vector, long = { SIZE, SIZE }, { LENGTH }, { "total" }

local signature = { { "A", "in", "f32", square }, { "B", "in", "f32", square } }
for _, name in ipairs { "D", "E", "G", "H" } do signature[#signature + 1] = { name, "in", "f32", vector } end
for _, name in ipairs { "C", "F", "I", "J", "K", "L", "M", "N", "O" } do
  signature[#signature + 1] = { name, "out", "f32", long }
end

local program = baton.program {
  name = "mixed_example",
  signature = signature,
  kernels = {
    matmul = { core = "aic", source = "kernels/tiles.c", entry = "matmul_tiles", signature = two_in_one_out },
    add = { core = "aiv", source = "kernels/vector.c", signature = two_in_one_out },
    mul = { core = "aiv", source = "kernels/vector.c", signature = two_in_one_out },
    add_or_mul = { core = "aiv", source = "kernels/mixed.c", signature = four_in_two_out },
  },
  graph = function(g, A, B, D, E, G, H, C, F, I, J, K, L, M, N, O)
    local a, b = A:reshape { 1, SIZE, SIZE }, B:reshape { 1, SIZE, SIZE }
    for first = 1, C.numel, LENGTH do
      local function part(t) return t:slice(1, first, LENGTH) end
      local function tile(t) return part(t):reshape { 1, SIZE, SIZE } end
      g.scope(function()
        g.mix({ aic = "matmul", aiv0 = "add", aiv1 = "mul" },
          { aic = { a, b, tile(C) }, aiv0 = { D, E, part(F) }, aiv1 = { G, H, part(I) } })
        g.aic("matmul", a, b, tile(J))
        g.aiv("add", D, E, part(K))
        g.mix({ aiv0 = "add_or_mul", aiv1 = "add_or_mul" }, { D, E, G, H, part(L), part(M) })
        g.mix({ aic = "matmul", aiv0 = "add" }, { aic = { a, b, tile(N) }, aiv0 = { D, E, part(O) } })
      end)
    end
  end,
}

-- `t` as often as the case has iterations, one behind the other.
local function repeated(t, count)
  local list = {}
  for i = 1, count do list[i] = t:reshape { LENGTH } end
  return tensor.concat(list)
end

return baton.scene {
  name = "mixed_example",
  program = program,
  cases = { { name = "four", params = { iterations = 4 } }, { name = "one", params = { iterations = 1 } } },
  args = function(p, seed)
    local args = {}
    for i, entry in ipairs(signature) do
      local name, shape = entry[1], entry[4]
      args[name] = shape == long and tensor.empty("f32", { p.iterations * LENGTH })
        or tensor.normal("f32", shape, { std = 0.01, seed = seed + i })
    end
    return args
  end,
  golden = function(args, p)
    local product, sum, scaled = args.A:matmul(args.B), args.D + args.E, args.G * args.H
    local want = {}
    for _, name in ipairs { "C", "J", "N" } do want[name] = repeated(product, p.iterations) end
    for _, name in ipairs { "F", "K", "L", "O" } do want[name] = repeated(sum, p.iterations) end
    for _, name in ipairs { "I", "M" } do want[name] = repeated(scaled, p.iterations) end
    return want
  end,
  tolerance = { rtol = 1e-3, atol = 1e-6 },
}
