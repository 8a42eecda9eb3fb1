-- matmul: C = A·B for matrices of any size, f32 or f64, cut into tiles for the matrix cores; the partial products of one
-- tile of C are ordered by `inout`, everything else runs side by side.
local baton = require "baton"
local tensor = require "baton.tensor"

local TILE = 128
local c_type = { f32 = "float", f64 = "double" }
local dtypes = { "f32", "f64" }

-- The first row of each tile and how many it has; one empty tile for no rows at all if `at_least_one`.
local function tiles(size, at_least_one)
  local list = {}
  for first = 1, size, TILE do list[#list + 1] = { first, math.min(TILE, size - first + 1) } end
  if #list == 0 and at_least_one then list[1] = { 1, 0 } end
  return list
end

local function matmul(g, A, B, C)
  local rows, columns, depths = tiles(A:size(1)), tiles(B:size(2)), tiles(A:size(2), true)
  local start, add = "start_" .. A.dtype, "add_" .. A.dtype
  for _, row in ipairs(rows) do
    for _, column in ipairs(columns) do
      local c = C:view(row[1], row[2], column[1], column[2])
      for i, depth in ipairs(depths) do
        local a = A:view(row[1], row[2], depth[1], depth[2])
        local b = B:view(depth[1], depth[2], column[1], column[2])
        g.aic(i == 1 and start or add, a, b, c)
      end
    end
  end
end

local function kernel(entry, direction, dtype)
  return {
    core = "aic", source = "kernels/matmul_tile.c", entry = entry, cflags = "-DELEMENT=" .. c_type[dtype], strided = true,
    signature = {
      { "a", "in", dtype, { "m", "k" } }, { "b", "in", dtype, { "k", "n" } }, { "c", direction, dtype, { "m", "n" } },
    },
  }
end

local kernels = {}
for _, dtype in ipairs(dtypes) do
  kernels["start_" .. dtype] = kernel("matmul_start", "out", dtype)
  kernels["add_" .. dtype] = kernel("matmul_add", "inout", dtype)
end

local program = baton.program {
  name = "matmul",
  signature = {
    { "A", "in", dtypes, { "m", "k" } }, { "B", "in", dtypes, { "k", "n" } }, { "C", "out", dtypes, { "m", "n" } },
  },
  kernels = kernels,
  graph = matmul,
}

local function describe(t) return ("%s[%s]"):format(t.dtype, table.concat(t.shape, ",")) end

-- A matrix that the user gave must be one that the kernels can multiply.
local function check_matrix(name, t)
  if t.ndim ~= 2 then
    error(("%s is %s: a matrix of 2 dimensions expected, it has %d"):format(name, describe(t), t.ndim), 0)
  elseif not c_type[t.dtype] then
    error(("%s is %s: elements of type f32 or f64 expected"):format(name, describe(t)), 0)
  end
end

local function check_given(A, B, dtype)
  if not c_type[dtype] then error(("parameter dtype is '%s': f32 or f64 expected"):format(dtype), 0) end
  if A then check_matrix("A", A) end
  if B then check_matrix("B", B) end
  if not A or not B then return end
  if A.dtype ~= B.dtype then
    error(("A is %s and B is %s: both must have elements of one type"):format(describe(A), describe(B)), 0)
  elseif A:size(2) ~= B:size(1) then
    error(("A is %s and B is %s: A has %d columns, B %d rows"):format(describe(A), describe(B), A:size(2), B:size(1)), 0)
  end
end

-- A matrix that the user gave, or a random one.
local function matrix(given, dtype, rows, columns, seed)
  return given or tensor.uniform(dtype, { rows, columns }, { lo = -1, hi = 1, seed = seed })
end

local function case(name, m, k, n, more)
  local made = { name = name, params = { m = m, k = k, n = n, dtype = "f32" } }
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

return baton.scene {
  name = "matmul",
  program = program,
  cases = {
    case("small", 300, 200, 260),
    case("one_tile", 128, 128, 128),
    case("row", 1, 513, 129),
    case("double", 300, 200, 260, {
      params = { m = 300, k = 200, n = 260, dtype = "f64" }, tolerance = { rtol = 1e-12, atol = 1e-12 },
    }),
    case("large", 2048, 2048, 2048, { manual = true }),
  },
  args = function(p, seed, given)
    check_given(given.A, given.B, p.dtype)
    local dtype = (given.A or given.B or p).dtype
    local A = matrix(given.A, dtype, p.m, given.B and given.B:size(1) or p.k, seed)
    local B = matrix(given.B, dtype, A:size(2), p.n, seed + 1)
    return { A = A, B = B, C = tensor.empty(dtype, { A:size(1), B:size(2) }) }
  end,
  golden = function(args) return { C = args.A:matmul(args.B) } end,
  tolerance = { rtol = 1e-4, atol = 1e-4 },
}
