local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

local function hex(t)
  local out = {}
  for i, value in ipairs(t:totable()) do out[i] = ("%a"):format(value) end
  return out
end

describe("random numbers", function()
  it("have these bits for these seeds, everywhere", function()
    assert.same({ 0.34329192209867343, 0.9557467261317436, 0.48634953628166855, 0.06735789320333596,
      0.6769157388216522 }, tensor.uniform("f64", { 5 }, { seed = 42 }):totable())
    assert.same({ "-0x1.9d2de389eff8bp-2", "0x1.b40d5bbeaad18p+0", "-0x1.185b7fce57287p-5", "-0x1.7eea3bc4a4375p+0",
      "0x1.d61c0f3df8b44p-2" }, hex(tensor.normal("f64", { 5 }, { seed = 42 })))
    assert.same({ 443, 300, 99, 209, -304 },
      tensor.uniform("i32", { 5 }, { lo = -1000, hi = 1000, seed = 7 }):totable())
    assert.same({ 0.474609375, 0.1865234375, 0.265625, 0.5859375, 0.59375 },
      tensor.uniform("bf16", { 5 }, { lo = -1, hi = 1, seed = 3 }):totable())
  end)

  it("depend on seed and position only", function()
    local long, short = tensor.normal("f32", { 1 << 19 }, { seed = 5 }), tensor.normal("f32", { 10, 10 }, { seed = 5 })
    assert.is_true(long:slice(1, 1, 100):allclose(short:reshape { 100 }, { rtol = 0, atol = 0 }))
    assert.is_false((short:allclose(tensor.normal("f32", { 10, 10 }, { seed = 6 }))))
    assert.is_true(tensor.uniform("f32", { 9 }):allclose(tensor.uniform("f32", { 9 }, { seed = 0 }), { rtol = 0 }))
  end)

  it("stay in their range and fill it", function()
    local t = tensor.uniform("f32", { 20000 }, { lo = -2, hi = 3, seed = 1 })
    assert.is_true(t:min() >= -2 and t:min() < -1.99)
    assert.is_true(t:max() <= 3 and t:max() > 2.99)
    assert.is_true(math.abs(t:mean() - 0.5) < 0.05)
    local i = tensor.uniform("i8", { 5000 }, { lo = -128, hi = 127, seed = 1 })
    assert.equal(-128, i:min())
    assert.equal(127, i:max())
    assert.equal(1, tensor.uniform("bool", { 100 }, { seed = 1 }):cast("u8"):max())
  end)

  it("have the moments of a normal distribution", function()
    local t = tensor.normal("f64", { 100000 }, { mean = 3, std = 2, seed = 9 })
    local mean = t:mean()
    local centred = (t - mean) / 2
    assert.is_true(math.abs(mean - 3) < 0.03)
    assert.is_true(math.abs((centred * centred):mean() - 1) < 0.02)
    assert.is_true(math.abs((centred * centred * centred):mean()) < 0.05)
    local inside = centred:abs():lt(1.96):cast("f64"):mean()
    assert.is_true(math.abs(inside - 0.95) < 0.005)
  end)

  it("refuse ranges and options that make no sense", function()
    assert.equal("uniform: 1 to -1 is no range", raises("invalid_argument", tensor.uniform, "f32", { 2 },
      { lo = 1, hi = -1 }))
    assert.equal("256 does not fit u8", raises("out_of_range", tensor.uniform, "u8", { 2 }, { hi = 256 }))
    assert.equal("normal: i32 is no float type", raises("invalid_argument", tensor.normal, "i32", { 2 }))
    assert.equal("tensor.uniform: unknown option 'low', did you mean 'lo'?",
      raises("unknown_option", tensor.uniform, "f32", { 2 }, { low = 1 }))
    assert.equal("field 'lo' must be a number, got x", raises("invalid_argument", tensor.uniform, "f32", { 2 },
      { lo = "x" }))
    assert.equal("field 'seed' must be an integer in -9223372036854775808..9223372036854775807, got 1.5",
      raises("invalid_argument", tensor.uniform, "f32", { 2 }, { seed = 1.5 }))
  end)
end)
