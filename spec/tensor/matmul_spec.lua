local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

local function normal(dtype, shape, seed) return tensor.normal("f64", shape, { seed = seed }):cast(dtype) end

-- The product by its definition, in f64.
local function product(a, b)
  local m, k, n = a:size(1), a:size(2), b:size(2)
  local left, right = a:cast("f64"):reshape { m, k, 1 }, b:cast("f64"):reshape { 1, k, n }
  return (left * right):sum(2)
end

describe("matmul", function()
  for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-4, f16 = 1e-1, bf16 = 1e-1 } do
    it("multiplies " .. dtype .. " matrices of ragged sizes", function()
      local a, b = normal(dtype, { 17, 31 }, 1), normal(dtype, { 31, 5 }, 2)
      local c = a:matmul(b)
      assert.equal(dtype, c.dtype)
      assert.tensor_close(c, product(a, b), { rtol = tolerance, atol = tolerance })
    end)
  end

  it("takes transposed, strided and sliced views", function()
    local a, b = normal("f32", { 40, 30 }, 3), normal("f32", { 20, 40 }, 4)
    local expected = product(a:transpose(1, 2):clone(), b:transpose(1, 2):clone())
    assert.tensor_close(a:transpose(1, 2):matmul(b:transpose(1, 2)), expected, { rtol = 1e-4, atol = 1e-4 })
    local tile = a:view(3, 10, 5, 20)
    assert.tensor_close(tile:matmul(b:view(1, 20, 2, 7)), product(tile:clone(), b:view(1, 20, 2, 7):clone()),
      { rtol = 1e-4, atol = 1e-4 })
    local cube = normal("f32", { 6, 7, 8 }, 5)
    local skewed = cube:transpose(1, 3):select(2, 3)
    assert.tensor_close(skewed:matmul(cube:select(2, 3)), product(skewed:clone(), cube:select(2, 3):clone()),
      { rtol = 1e-4, atol = 1e-4 })
  end)

  it("broadcasts what lies before the matrices", function()
    local a, b = normal("f64", { 3, 1, 4, 5 }, 6), normal("f64", { 2, 5, 6 }, 7)
    local c = a:matmul(b)
    assert.is_true(c.shape == { 3, 2, 4, 6 })
    for i = 1, 3 do
      for j = 1, 2 do
        assert.tensor_close(c:select(1, i):select(1, j), product(a:select(1, i):select(1, 1), b:select(1, j)))
      end
    end
  end)

  it("knows empty sizes and single rows and columns", function()
    assert.same({ { 0, 0 }, { 0, 0 } }, tensor.zeros("f32", { 2, 0 }):matmul(tensor.zeros("f32", { 0, 2 })):totable())
    assert.equal(0, tensor.zeros("f32", { 0, 3 }):matmul(tensor.zeros("f32", { 3, 2 })).numel)
    local row, column = normal("f64", { 1, 9 }, 8), normal("f64", { 9, 1 }, 9)
    assert.tensor_close(row:matmul(column), product(row, column))
    assert.tensor_close(column:matmul(row), product(column, row))
    assert.tensor_close(column:transpose(1, 2):matmul(row:transpose(1, 2)), product(row, column))
  end)

  it("refuses what is no product", function()
    local a = tensor.zeros("f32", { 2, 3 })
    assert.equal("matmul: f32[2,3] × f32[2,3] is no product of matrices", raises("invalid_argument", a.matmul, a, a))
    assert.equal("matmul: f32[2,3] × f32[3] is no product of matrices",
      raises("invalid_argument", a.matmul, a, tensor.zeros("f32", { 3 })))
    assert.equal("matmul: i32[1,1] × i32[1,1] has no float type",
      raises("invalid_argument", tensor.matmul, tensor.zeros("i32", { 1, 1 }), tensor.zeros("i32", { 1, 1 })))
    assert.equal("f32", a:matmul(tensor.zeros("i32", { 3, 1 })).dtype)
  end)
end)
