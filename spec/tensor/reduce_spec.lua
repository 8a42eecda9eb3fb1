local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

describe("a reduction", function()
  local t
  before_each(function() t = tensor.from({ { 1, 5, 3 }, { 4, 2, 6 } }, "f32") end)

  it("over all dimensions is a number", function()
    assert.equal(21, t:sum())
    assert.equal(3.5, t:mean())
    assert.equal(6, tensor.max(t))
    assert.equal(1, t:min())
    assert.equal("integer", math.type(tensor.from({ 1, 2 }):sum()))
    assert.equal(2, tensor.from({ true, false, true }):sum())
  end)

  it("over one dimension drops it, or keeps it with size 1", function()
    assert.same({ 5, 7, 9 }, t:sum(1):totable())
    assert.same({ 9, 12 }, t:sum(2):totable())
    assert.same({ { 9 }, { 12 } }, t:sum(2, { keep = true }):totable())
    assert.same({ 3, 4 }, t:mean(2):totable())
    assert.same({ 4, 5, 6 }, t:max(1):totable())
    assert.same({ 1, 2 }, t:min(2):totable())
    assert.equal("f32", t:sum(1).dtype)
    assert.equal("i64", tensor.zeros("i8", { 2, 2 }):sum(1).dtype)
    assert.equal("f64", tensor.zeros("i8", { 2, 2 }):mean(1).dtype)
    assert.same({ 9, 12 }, t:transpose(1, 2):sum(1):totable())
  end)

  it("works along each of three dimensions, and for long lines", function()
    local c = tensor.arange("i64", { 3, 700, 5 })
    for dim = 1, 3 do
      assert.equal(c:sum(), c:sum(dim):sum())
      assert.equal(c:max(), c:max(dim):max())
      assert.equal(0, c:min(dim):min())
    end
    assert.equal((0 + 3499) * 3500 // 2, c:select(1, 1):sum())
    local middle = c:sum(2)
    for k = 1, 5 do assert.equal(c:view(2, 1, 1, 700, k, 1):sum(), middle:get(2, k)) end
  end)

  it("loses nothing in a long sum of floats", function()
    local ones = tensor.full("f32", { 100000 }, 0.1)
    assert.is_true(math.abs(ones:sum() - 100000 * ones:get(1)) < 1e-9)
    assert.equal(2, tensor.from({ 1, 1e100, 1, -1e100 }):sum())
    assert.equal(math.huge, tensor.from({ math.huge, 1.0 }):sum())
  end)

  it("of nothing is 0, NaN or an error", function()
    local empty = tensor.zeros("f32", { 0, 2 })
    assert.equal(0, empty:sum())
    assert.same({ 0, 0 }, empty:sum(1):totable())
    assert.is_true(empty:mean() ~= empty:mean())
    assert.equal("max: f32[0,2] has no elements to choose from", raises("invalid_argument", empty.max, empty))
    assert.equal(0, empty:max(2).numel)
  end)

  it("lets NaN win", function()
    local nan = tensor.from { 1, 0 / 0, 3 }
    for _, f in ipairs { "max", "min", "sum", "mean" } do assert.is_true(nan[f](nan) ~= nan[f](nan)) end
  end)

  it("refuses dimensions and options that there are not", function()
    assert.equal("tensor.sum: dim must be one of the 2 dimensions of f32[2,3], got 3",
      raises("invalid_argument", t.sum, t, 3))
    assert.equal("tensor.sum: unknown option 'kep', did you mean 'keep'?",
      raises("unknown_option", t.sum, t, 1, { kep = true }))
    assert.equal("field 'keep' must be true or false, got 1", raises("invalid_argument", t.sum, t, 1, { keep = 1 }))
  end)
end)

describe("choosing", function()
  local t
  before_each(function() t = tensor.from { { 3, 1, 2 }, { 9, 9, 8 } } end)

  it("argmax counts from 1 and takes the first of equals", function()
    assert.same({ 1, 1 }, t:argmax(2):totable())
    assert.same({ 2, 2, 2 }, t:argmax(1):totable())
    assert.same({ { 1 }, { 1 } }, t:argmax(2, { keep = true }):totable())
    assert.same({ 1 }, tensor.from({ { -0.0, 0.0 } }):argmax(2):totable())
    assert.same({ 2 }, tensor.from({ { 1, 0 / 0, 5 } }):argmax(2):totable())
    assert.same({ 1 }, tensor.from({ { -1, 5 } }, "u64"):argmax(2):totable())
  end)

  it("topk gives values and positions in order", function()
    local values, positions = t:topk(2)
    assert.same({ { 3, 2 }, { 9, 9 } }, values:totable())
    assert.same({ { 1, 3 }, { 1, 2 } }, positions:totable())
    values, positions = t:topk(1, 1)
    assert.same({ { 9, 9, 8 } }, values:totable())
    assert.same({ { 2, 2, 2 } }, positions:totable())
    assert.same({ { 2.5, -1 } }, (tensor.from { { -1, 2.5, -7 } }:topk(2)):totable())
    assert.equal("topk: 4 of 3 elements", raises("out_of_range", t.topk, t, 4))
  end)

  it("index takes elements by position", function()
    assert.same({ { 2, 3 }, { 8, 9 } }, t:index(2, { 3, 1 }):totable())
    assert.same({ { 9, 9, 8 } }, t:index(1, tensor.from({ 2 }, "i32")):totable())
    assert.equal("index: position 4 of 3 elements", raises("out_of_range", t.index, t, 2, { 1, 4 }))
    assert.equal("index: position 0 of 3 elements", raises("out_of_range", t.index, t, 2, { 0 }))
    assert.equal("index: positions are integers of one dimension, got f64[1]",
      raises("invalid_argument", t.index, t, 2, tensor.from { 1.5 }))
  end)

  it("concat joins along a dimension", function()
    assert.same({ { 3, 1, 2, 3, 1, 2 }, { 9, 9, 8, 9, 9, 8 } }, tensor.concat({ t, t }, 2):totable())
    assert.same({ { 3, 1, 2 }, { 9, 9, 8 }, { 0, 0, 0 } }, t:concat(tensor.zeros("i64", { 1, 3 })):totable())
    assert.equal("f32", t:concat({ tensor.zeros("f32", { 1, 3 }) }, 1).dtype)
    assert.equal("concat: i64[2,3] and i64[2,2] differ in more than one dimension",
      raises("invalid_argument", tensor.concat, { t, tensor.zeros("i64", { 2, 2 }) }, 1))
    assert.equal("tensor.concat: tensors must not be empty", raises("invalid_argument", tensor.concat, {}))
    assert.equal("tensor.concat: tensors[2] must be a tensor, got 5", raises("invalid_argument", tensor.concat, { t, 5 }))
  end)

  it("softmax sums to 1 and stands large values", function()
    local s = tensor.from({ { 1, 2, 3 }, { 1000, 1000, -1000 } }, "f64"):softmax(2)
    assert.tensor_close(s:sum(2), tensor.from { 1.0, 1.0 })
    assert.same({ 0.5, 0.5, 0 }, s:select(1, 2):totable())
    local e1, e2, e3 = math.exp(-2), math.exp(-1), 1
    assert.tensor_close(s:select(1, 1), tensor.from { e1, e2, e3 } / (e1 + e2 + e3))
    assert.tensor_close(s:transpose(1, 2):softmax(1), s:softmax(2):transpose(1, 2))
    assert.equal("softmax: i64[2,3] is not of a float type", raises("invalid_argument", t.softmax, t, 1))
  end)
end)
