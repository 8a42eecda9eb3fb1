local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

describe("a view", function()
  local t
  before_each(function() t = tensor.arange("i32", { 3, 4 }) end)

  it("shares its elements", function()
    local row, column, tile = t:select(1, 2), t:slice(2, 2, 1), t:view(2, 2, 3, 2)
    assert.same({ 4, 5, 6, 7 }, row:totable())
    assert.same({ { 1 }, { 5 }, { 9 } }, column:totable())
    assert.same({ { 6, 7 }, { 10, 11 } }, tile:totable())
    tile:fill(-1)
    assert.same({ { 0, 1, 2, 3 }, { 4, 5, -1, -1 }, { 8, 9, -1, -1 } }, t:totable())
    assert.same({ 4, 5, -1, -1 }, row:totable())
  end)

  it("may be transposed, reshaped and empty", function()
    assert.same({ { 0, 4, 8 }, { 1, 5, 9 }, { 2, 6, 10 }, { 3, 7, 11 } }, t:transpose(1, 2):totable())
    assert.same({ 1, 4 }, t:transpose(1, 2).strides)
    assert.same({ { 0, 1, 2, 3, 4, 5 }, { 6, 7, 8, 9, 10, 11 } }, t:reshape({ 2, 6 }):totable())
    assert.equal(0, t:slice(1, 4, 0).numel)
    assert.equal(4, t:size(2))
  end)

  it("that does not fit is refused with its numbers", function()
    assert.equal("tensor.slice: 3 elements from 2 on do not fit dimension 1 of i32[3,4], which has 3",
      raises("out_of_range", t.slice, t, 1, 2, 3))
    assert.equal("tensor.slice: dim must be one of the 2 dimensions of i32[3,4], got 3",
      raises("invalid_argument", t.slice, t, 3, 1, 1))
    assert.equal("tensor.slice: first must be an integer in 1..9223372036854775807, got 0",
      raises("invalid_argument", t.slice, t, 1, 0, 1))
    assert.equal("tensor.view: i32[3,4] needs 4 numbers, a first and a count for each dimension, got 2",
      raises("invalid_argument", t.view, t, 1, 2))
    assert.equal("tensor.select: element 4 of dimension 1 of i32[3,4]", raises("out_of_range", t.select, t, 1, 4))
    assert.equal("tensor.reshape: i32[3,4] has 12 elements, i32[5,2] another number",
      raises("invalid_argument", t.reshape, t, { 5, 2 }))
    assert.equal("tensor.reshape: i32[4,3] is not contiguous",
      raises("invalid_argument", tensor.reshape, t:transpose(1, 2), { 12 }))
    assert.equal("tensor.size: dim must be one of the 2 dimensions of i32[3,4], got 0", raises("invalid_argument",
      t.size, t, 0))
    raises("out_of_range", t.slice, t, 1, math.maxinteger, math.maxinteger)
  end)
end)

describe("an element", function()
  local t
  before_each(function() t = tensor.arange("i32", { 3, 4 }) end)

  it("is read and written by its indices from 1", function()
    assert.equal(6, t:get(2, 3))
    t:set(60, 2, 3)
    assert.equal(60, t:get(2, 3))
    assert.equal(60, t:transpose(1, 2):get(3, 2))
  end)

  it("outside is refused", function()
    assert.equal("tensor.get: element 4 of dimension 1 of i32[3,4]", raises("out_of_range", t.get, t, 4, 1))
    local ok, err = pcall(t.get, t, 0, 1)
    assert.is_false(ok)
    assert.equal("elements count from 1", err.hint)
    assert.equal("tensor.get: i32[3,4] needs 2 indices, got 1", raises("invalid_argument", t.get, t, 1))
    assert.equal("tensor.get: index must be an integer in -9223372036854775808..9223372036854775807, got 1.5",
      raises("invalid_argument", t.get, t, 1.5, 1))
  end)

  it("of the wrong kind is refused", function()
    assert.equal("1.5 does not fit i32", raises("out_of_range", t.set, t, 1.5, 1, 1))
    assert.equal("2147483648 does not fit i32", raises("out_of_range", t.set, t, 1 << 31, 1, 1))
    assert.equal("nan does not fit i32", raises("out_of_range", t.set, t, 0 / 0, 1, 1))
    assert.equal("tensor.set: value must be a number, got true", raises("invalid_argument", t.set, t, true, 1, 1))
    t:set(-2147483648, 1, 1)
    assert.equal(-2147483648, t:get(1, 1))
    t:set(3.0, 1, 1)
    assert.equal(3, t:get(1, 1))
    local b = tensor.zeros("bool", { 1 })
    assert.equal("2 does not fit bool", raises("out_of_range", b.set, b, 2, 1))
  end)
end)

describe("cast", function()
  local function cast(values, from, to) return tensor.from(values, from):cast(to):totable() end

  it("cuts floats towards zero and stops at the ends of the type", function()
    assert.same({ 1, -1, 127, -128, 0 }, cast({ 1.9, -1.9, 1e9, -1e9, 0 / 0 }, "f64", "i8"))
    assert.same({ 0, 255 }, cast({ -5, 300 }, "f32", "u8"))
    assert.same({ math.maxinteger, math.mininteger }, cast({ 1e30, -1e30 }, "f64", "i64"))
    assert.same({ -1, 0 }, cast({ 1e30, -1 }, "f64", "u64"))
  end)

  it("takes integers modulo the width", function()
    assert.same({ 44, -1 }, cast({ 300, 255 }, "i32", "i8"))
    assert.same({ 255 }, cast({ -1 }, "i64", "u8"))
  end)

  it("rounds once, to the nearest even", function()
    assert.same({ 1 + 2 ^ -10 }, cast({ 1 + 2 ^ -11 + 2 ^ -40 }, "f64", "f16")) -- in two steps this were 1
    assert.same({ 1 }, cast({ 1 + 2 ^ -11 }, "f64", "f16"))
    assert.same({ 1 + 2 ^ -7 }, cast({ 1 + 2 ^ -8 + 2 ^ -40 }, "f64", "bf16"))
    assert.same({ math.huge, 65504, 2 ^ -24, 0 }, cast({ 65520, 65519, 2 ^ -24, 2 ^ -26 }, "f64", "f16"))
    assert.same({ -65504, -math.huge }, cast({ -65519.99, -1e300 }, "f64", "f16"))
  end)

  it("knows truth", function()
    assert.same({ true, false, true }, cast({ 0.5, 0, -2 }, "f32", "bool"))
    assert.same({ 1.0, 0.0 }, cast({ true, false }, "bool", "f32"))
  end)
end)

describe("copy", function()
  it("converts and goes through views", function()
    local t = tensor.zeros("f32", { 2, 3 })
    assert.is_true(rawequal(t, t:copy(tensor.arange("i32", { 3, 2 }):transpose(1, 2))))
    assert.same({ { 0, 2, 4 }, { 1, 3, 5 } }, t:totable())
  end)

  it("within one tensor reads before it writes", function()
    local t = tensor.arange("i32", { 6 })
    t:slice(1, 2, 5):copy(t:slice(1, 1, 5))
    assert.same({ 0, 0, 1, 2, 3, 4 }, t:totable())
    local m = tensor.arange("i32", { 3, 3 })
    m:copy(m:transpose(1, 2))
    assert.same({ { 0, 3, 6 }, { 1, 4, 7 }, { 2, 5, 8 } }, m:totable())
  end)

  it("refuses another shape", function()
    local t = tensor.zeros("f32", { 2, 3 })
    assert.equal("copy: f32[3] into f32[2,3]", raises("invalid_argument", t.copy, t, tensor.zeros("f32", { 3 })))
    assert.equal("tensor.copy: argument 2 must be a tensor, got 5", raises("invalid_argument", t.copy, t, 5))
  end)
end)
