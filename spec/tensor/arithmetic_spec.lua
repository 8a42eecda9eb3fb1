local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

describe("arithmetic", function()
  it("works element by element", function()
    local a, b = tensor.from { 7.0, -8 }, tensor.from { 2.0, 4 }
    assert.same({ 9, -4 }, (a + b):totable())
    assert.same({ 5, -12 }, (a - b):totable())
    assert.same({ 14, -32 }, (a * b):totable())
    assert.same({ 3.5, -2 }, (a / b):totable())
    assert.same({ -7, 8 }, (-a):totable())
    assert.same({ 7, 8 }, a:abs():totable())
    assert.same({ 7, 4 }, a:maximum(b):totable())
    assert.same({ 2, -8 }, tensor.minimum(a, b):totable())
  end)

  it("takes numbers on either side", function()
    local a = tensor.from({ 1, 2 }, "f32")
    assert.same({ 9, 8 }, (10 - a):totable())
    assert.same({ 0.5, 1 }, (a / 2):totable())
    assert.equal("f32", (a * 0.5).dtype)
    assert.same({ 1, 0 }, tensor.maximum(a:neg() + 2, 0):totable())
  end)

  it("broadcasts", function()
    local a, b = tensor.arange("i32", { 2, 1 }), tensor.arange("i32", { 3 })
    assert.same({ { 0, 1, 2 }, { 1, 2, 3 } }, (a + b):totable())
    assert.same({ 5, 5 }, (tensor.zeros("i32", { 2 }) + tensor.from(5, "i32")):totable())
    assert.equal(0, (tensor.zeros("f32", { 0, 3 }) + tensor.zeros("f32", { 3 })).numel)
    assert.equal("add: f32[2,3] and f32[4] do not broadcast",
      raises("invalid_argument", tensor.add, tensor.zeros("f32", { 2, 3 }), tensor.zeros("f32", { 4 })))
  end)

  it("goes through transposed and strided views", function()
    local a = tensor.arange("i64", { 40, 50 })
    local sum = a + a:transpose(1, 2):clone():transpose(1, 2)
    assert.is_true(sum:allclose(a * 2, { rtol = 0, atol = 0 }))
    local column = a:slice(2, 3, 1)
    assert.equal(7 * 50 + 2 + 1, (column + 1):get(8, 1))
  end)

  it("promotes", function()
    local function dtype(a, b) return (tensor.zeros(a, { 1 }) + tensor.zeros(b, { 1 })).dtype end
    local expected = { { "f32", "f64", "f64" }, { "bf16", "f32", "f32" }, { "bf16", "f16", "f32" },
      { "bf16", "bf16", "bf16" }, { "f16", "i64", "f16" }, { "i64", "f32", "f32" }, { "i8", "i32", "i32" },
      { "u8", "i8", "i16" }, { "u32", "i32", "i64" }, { "u64", "i64", "i64" }, { "bool", "i16", "i16" },
      { "bool", "bool", "u8" }, { "u16", "u32", "u32" } }
    for _, case in ipairs(expected) do
      assert.equal(case[3], dtype(case[1], case[2]))
      assert.equal(case[3], dtype(case[2], case[1]))
    end
  end)

  it("computes 16-bit floats in f32 and rounds once", function()
    local a = tensor.from({ 2048 }, "f16")
    assert.equal(2048, (a + 1):get(1)) -- 2049 lies between 2048 and 2050: to even
    assert.equal(2052, (a + 3):get(1))
    assert.equal("bf16", (tensor.from({ 1 }, "bf16") * 3).dtype)
  end)

  it("wraps integers and cuts their quotients", function()
    local t = tensor.from({ 100, -128 }, "i8")
    assert.same({ -56, 0 }, (t + t):totable())
    assert.same({ -100, -128 }, (-t):totable())
    assert.same({ 33, -42 }, (t / 3):totable())
    assert.same({ math.mininteger }, (tensor.from { math.mininteger } / -1):totable())
    assert.same({ math.mininteger }, (tensor.from { math.maxinteger } + 1):totable())
    assert.same({ 0 }, (tensor.from({ 0 }, "u64") / -1):totable())
    assert.equal("div: an element of the divisor i64[2] is 0",
      raises("invalid_argument", tensor.div, tensor.from { 1, 2 }, tensor.from { 1, 0 }))
    assert.equal(math.huge, (tensor.from { 1.0 } / 0):get(1))
  end)

  it("refuses numbers that the type cannot hold", function()
    local t = tensor.from({ 1 }, "i8")
    assert.equal("300 does not fit i8", raises("out_of_range", function() return t + 300 end))
    assert.equal("1.5 does not fit i8", raises("out_of_range", function() return t * 1.5 end))
    assert.equal("tensor.add: argument 2 must be a tensor or a number, got x",
      raises("invalid_argument", function() return t + "x" end))
    assert.equal("tensor.add: argument 2 must be a tensor or a number, got nil",
      raises("invalid_argument", tensor.add, t))
  end)

  it("works in place and returns the tensor", function()
    local t = tensor.from { { 1.0, 2 }, { 3, 4 } }
    assert.is_true(rawequal(t, t:add_(1):mul_(tensor.from { 1.0, 10 }):sub_(1):div_(2)))
    assert.same({ { 0.5, 14.5 }, { 1.5, 24.5 } }, t:totable())
    t:add_(t)
    assert.same({ { 1, 29 }, { 3, 49 } }, t:totable())
    t:add_(t:transpose(1, 2))
    assert.same({ { 2, 32 }, { 32, 98 } }, t:totable())
    t:slice(2, 2, 1):fill(0)
    assert.same({ { 2, 0 }, { 32, 0 } }, t:totable())
    local i = tensor.from { 1, 2 }
    assert.equal("add_: f64[2,2] does not promote to i64[2]", raises("invalid_argument", i.add_, i, t))
    assert.equal("add_: i64[2,1] does not broadcast to i64[2]",
      raises("invalid_argument", i.add_, i, tensor.zeros("i64", { 2, 1 })))
  end)

  it("keeps NaN in maximum and minimum", function()
    local nan = tensor.from { 0 / 0, 1 }
    local other = tensor.from { 1, 0 / 0 }
    for _, f in ipairs { tensor.maximum, tensor.minimum } do
      for _, value in ipairs(f(nan, other):totable()) do assert.is_true(value ~= value) end
    end
  end)

  it("has exp, log, sqrt and abs, in f64 for integers", function()
    local t = tensor.from { 0.0, 1 }
    assert.same({ 1, math.exp(1) }, t:exp():totable())
    assert.same({ -math.huge, 0 }, t:log():totable())
    assert.same({ 0, 1 }, t:sqrt():totable())
    assert.equal("f64", tensor.from({ 4 }):sqrt().dtype)
    assert.equal(2, tensor.from({ 4 }):sqrt():get(1))
    assert.equal("i64", tensor.from({ -4 }):abs().dtype)
    assert.equal("bf16", tensor.from({ 4 }, "bf16"):exp().dtype)
  end)

  it("is the same on one thread and on several", function()
    local n = (1 << 19) + 3
    local a = tensor.arange("i64", { n })
    local b = a * a - a
    for _, i in ipairs { 1, 2, 1 << 18, n } do assert.equal((i - 1) * (i - 2), b:get(i)) end
    assert.equal(n, (b:eq((a - 1) * a)):cast("i64"):sum())
  end)
end)

describe("comparison", function()
  it("gives bools", function()
    local a = tensor.from { 1, 2, 3 }
    assert.same({ true, false, false }, a:lt(2):totable())
    assert.same({ true, true, false }, a:le(2):totable())
    assert.same({ false, true, false }, tensor.eq(a, 2):totable())
    assert.same({ true, true, false }, a:lt(2.5):totable())
    assert.same({ true, true, true }, tensor.from({ 1, 2, 3 }, "i8"):lt(1000):totable())
    assert.equal("bool", a:lt(2).dtype)
  end)

  it("chooses with where", function()
    local a = tensor.from { 1, -2, 3 }
    assert.same({ 0, -2, 0 }, tensor.where(a:lt(0), a, 0):totable())
    assert.same({ 1.5, 0.5, 1.5 }, tensor.where(a:lt(0), 0.5, 1.5):totable())
    assert.same({ { 1, 0 }, { 0, 1 } },
      tensor.where(tensor.from { { true, false }, { false, true } }, tensor.from { 1, 1 }, 0):totable())
    assert.same({ 1, 1, 1 }, tensor.where(a, 1, 0):totable())
    assert.same({ true, false }, tensor.where(tensor.from { true, false }, tensor.from { true, true }, false):totable())
  end)
end)

describe("allclose", function()
  it("compares with rtol and atol", function()
    local a = tensor.from { 1.0, 2, 3 }
    assert.is_true(a:allclose(a + 1e-9))
    assert.is_true(a:allclose(a + 0.5, { atol = 0.5 }))
    assert.is_true(a:allclose(a:cast("f32")))
    assert.is_false((a:allclose(a + 0.1)))
  end)

  it("reports how many differ and the worst", function()
    local a = tensor.zeros("f64", { 2, 3 })
    local b = a:clone()
    b:set(0.5, 1, 2)
    b:set(-2, 2, 3)
    local close, report = a:allclose(b)
    assert.is_false(close)
    assert.equal(2, report.differ)
    assert.equal(6, report.numel)
    assert.same({ 2, 3 }, report.index)
    assert.equal(0, report.got)
    assert.equal(-2, report.want)
    assert.equal(2, report.distance)
    assert.equal("2 of 6 elements differ, the worst at [2,3]: got 0.0, want -2.0, 2.0 apart", tostring(report))
  end)

  it("finds NaN and infinity", function()
    local nan, inf = tensor.from { 0 / 0, 1 }, tensor.from { math.huge, 1 }
    assert.is_false((nan:allclose(nan)))
    assert.is_true(nan:allclose(nan, { equal_nan = true }))
    assert.is_true(inf:allclose(inf))
    assert.is_false((inf:allclose(-inf)))
    assert.is_false((tensor.from({ 5.0, 1 }):allclose(inf)))
    local _, report = tensor.from({ 1e30, 0 / 0 }):allclose(tensor.from { 1.0, 1 })
    assert.same({ 2 }, report.index)
  end)

  it("is exact for integers", function()
    local a = tensor.from { math.maxinteger }
    assert.is_false((a:allclose(a - 1, { rtol = 0, atol = 0 })))
  end)

  it("refuses other shapes and unknown options", function()
    local a = tensor.zeros("f32", { 2, 3 })
    assert.equal("allclose: f32[2,3] and f32[3,2] have different shapes",
      raises("invalid_argument", a.allclose, a, tensor.zeros("f32", { 3, 2 })))
    assert.equal("tensor.allclose: unknown option 'rtoll', did you mean 'rtol'?",
      raises("unknown_option", a.allclose, a, a, { rtoll = 1 }))
    assert.equal("field 'rtol' must be a number in 0..inf, got -1",
      raises("invalid_argument", a.allclose, a, a, { rtol = -1 }))
  end)
end)
