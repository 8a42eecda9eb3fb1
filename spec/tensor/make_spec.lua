local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

local dtypes = { "f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool" }
local sizes = { f64 = 8, f32 = 4, f16 = 2, bf16 = 2, i64 = 8, i32 = 4, i16 = 2, i8 = 1, u64 = 8, u32 = 4, u16 = 2,
  u8 = 1, bool = 1 }

describe("a new tensor", function()
  for _, dtype in ipairs(dtypes) do
    it("of " .. dtype .. " has the fields of its type and shape", function()
      local t = tensor.zeros(dtype, { 2, 3 })
      assert.equal(dtype, t.dtype)
      assert.equal(2, t.ndim)
      assert.equal(6, t.numel)
      assert.equal(6 * sizes[dtype], t.nbytes)
      assert.same({ 3, 1 }, t.strides)
      if dtype == "bool" then assert.is_false(t:get(2, 3)) else assert.equal(0, t:get(2, 3)) end
    end)
  end

  it("may have no dimensions, eight, or no elements", function()
    assert.equal(1, tensor.zeros("f32", {}).numel)
    assert.equal(0, tensor.zeros("f32", {}):get())
    assert.equal(256, tensor.zeros("u8", { 2, 2, 2, 2, 2, 2, 2, 2 }).numel)
    assert.equal(0, tensor.zeros("f32", { 3, 0, 2 }).numel)
    assert.equal(5, tensor.zeros("f32", 5).numel)
  end)

  it("names what is wrong with a dtype or a shape", function()
    assert.equal("tensor.zeros: dtype must be one of f64 f32 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool, got f33",
      raises("invalid_argument", tensor.zeros, "f33", { 2 }))
    assert.equal("tensor.zeros: shape[2] must be an integer of 0 or more, got -1",
      raises("invalid_argument", tensor.zeros, "f32", { 2, -1 }))
    assert.equal("tensor.zeros: shape[1] must be an integer of 0 or more, got 1.5",
      raises("invalid_argument", tensor.zeros, "f32", { 1.5 }))
    assert.equal("tensor.empty: shape must have 0 to 8 sizes, got 9",
      raises("invalid_argument", tensor.empty, "f32", { 1, 1, 1, 1, 1, 1, 1, 1, 1 }))
    assert.equal("tensor.empty: shape must be a list of sizes, got nil",
      raises("invalid_argument", tensor.empty, "f32"))
    assert.equal("f32[1099511627776,1073741824] has more than 2^62 bytes",
      raises("out_of_range", tensor.zeros, "f32", { 1 << 40, 1 << 30 }))
    raises("out_of_range", tensor.zeros, "f32", { 1 << 62, 1 << 62, 0 })
  end)

  it("that the machine cannot hold raises out_of_memory", function()
    assert.matches("^u8%[4611686018427387904%]: ", raises("out_of_memory", tensor.empty, "u8", { 1 << 62 }))
  end)

  it("is full of one value, which its type must hold", function()
    assert.same({ 7, 7 }, tensor.full("i8", { 2 }, 7):totable())
    assert.same({ true }, tensor.full("bool", { 1 }, true):totable())
    assert.equal("300 does not fit i8", raises("out_of_range", tensor.full, "i8", { 2 }, 300))
    assert.equal("0.5 does not fit u32", raises("out_of_range", tensor.full, "u32", { 2 }, 0.5))
    assert.equal("100000 does not fit f16", raises("out_of_range", tensor.full, "f16", { 2 }, 100000))
    assert.equal("tensor.full: value must be a number, got many",
      raises("invalid_argument", tensor.full, "f32", { 2 }, "many"))
    assert.equal(math.huge, tensor.full("f16", { 1 }, math.huge):get(1))
  end)

  it("counts from 0 with arange, as far as its type goes", function()
    assert.same({ { 0, 1, 2 }, { 3, 4, 5 } }, tensor.arange("f32", { 2, 3 }):totable())
    assert.same({ 0, 1 }, tensor.arange("u8", { 2 }):totable())
    assert.equal(255, tensor.arange("u8", { 256 }):get(256))
    assert.equal("arange: the last element: 256 does not fit u8", raises("out_of_range", tensor.arange, "u8", { 257 }))
  end)
end)

describe("tensor.from", function()
  it("takes shape and type from nested lists", function()
    local t = tensor.from { { 1, 2 }, { 3, 4 } }
    assert.equal("i64", t.dtype)
    assert.same({ { 1, 2 }, { 3, 4 } }, t:totable())
    assert.equal("f64", tensor.from({ 1, 2.5 }).dtype)
    assert.equal("bool", tensor.from({ true, false }).dtype)
    assert.equal("f16", tensor.from({ 1, 2 }, "f16").dtype)
    assert.equal(0, tensor.from(3.5).ndim)
    assert.equal(3.5, tensor.from(3.5):get())
    assert.is_true(tensor.from({}).shape == { 0 })
    assert.same({ 2, 2 }, tensor.from(t.shape):totable())
  end)

  it("says where a list is ragged or holds something else", function()
    assert.equal("tensor.from: [2] must be a list of 2, got a list of 1",
      raises("invalid_argument", tensor.from, { { 1, 2 }, { 3 } }))
    assert.equal("tensor.from: [2] must be a list of 2, got 3", raises("invalid_argument", tensor.from, { { 1, 2 }, 3 }))
    assert.equal("tensor.from: [1][2] must be a number or a boolean, got x",
      raises("invalid_argument", tensor.from, { { 1, "x" } }))
    assert.equal("tensor.from: numbers and booleans are mixed", raises("invalid_argument", tensor.from, { 1, true }))
    assert.equal("-1 does not fit u8", raises("out_of_range", tensor.from, { 1, -1 }, "u8"))
    local deep = {}
    deep[1] = deep
    assert.equal("tensor.from: lists are nested deeper than 8", raises("invalid_argument", tensor.from, deep))
  end)
end)

describe("a tensor", function()
  it("is closed once or more often, and says so", function()
    local kept
    do
      local t <close> = tensor.zeros("f32", { 2 })
      kept = t
    end
    kept:close()
    kept:close()
    assert.equal("closed tensor", tostring(kept))
    assert.equal("the tensor is closed", raises("closed", kept.get, kept, 1))
    assert.equal("the tensor is closed", raises("closed", function() return kept.shape end))
    raises("closed", function() return kept + 1 end)
  end)

  it("keeps its elements alive in views", function()
    local t = tensor.from { 1, 2, 3 }
    local view = t:slice(1, 2, 2)
    t:close()
    collectgarbage()
    assert.same({ 2, 3 }, view:totable())
  end)

  it("has one read-only shape", function()
    local t = tensor.zeros("f32", { 2, 3 })
    assert.is_true(rawequal(t.shape, t.shape))
    assert.equal(2, #t.shape)
    assert.same({ 2, 3 }, { table.unpack(t.shape) })
    assert.is_true(t.shape == { 2, 3 })
    assert.is_false(t.shape == { 2, 4 })
    assert.equal("{2, 3}", tostring(t.shape))
    local pairs_seen = {}
    for i, size in pairs(t.shape) do pairs_seen[i] = size end
    assert.same({ 2, 3 }, pairs_seen)
    assert.equal("a shape is read-only", raises("invalid_argument", function() t.shape[1] = 5 end))
    assert.is_true(tensor.zeros("i8", t.shape).shape == t.shape)
  end)

  it("refuses fields that it has not", function()
    local t = tensor.zeros("f32", { 2 })
    assert.equal("a tensor has no field 'size1'", raises("invalid_argument", function() return t.size1 end))
    assert.equal("field 'dtype' of a tensor cannot be assigned",
      raises("invalid_argument", function() t.dtype = "f64" end))
  end)

  it("prints type, shape and an excerpt", function()
    assert.equal("f32[2,2]\n[[1, 2],\n [3, 4.5]]", tostring(tensor.from({ { 1, 2 }, { 3, 4.5 } }, "f32")))
    assert.equal("i64[100] [0, 1, 2, ..., 97, 98, 99]", tostring(tensor.arange("i64", { 100 })))
    assert.equal("bool[2] [true, false]", tostring(tensor.from { true, false }))
    assert.equal("f64[] 3.5", tostring(tensor.from(3.5)))
    assert.equal("f32[0,3]", tostring(tensor.zeros("f32", { 0, 3 })))
    assert.equal("u64[1] [18446744073709551615]", tostring(tensor.full("u64", { 1 }, -1)))
    assert.is_true(#tostring(tensor.zeros("f32", { 20, 20, 20, 20, 20 })) < 4096)
  end)
end)

describe("every type", function()
  for _, dtype in ipairs(dtypes) do
    it(dtype .. " keeps what is stored in it", function()
      local values = dtype == "bool" and { true, false, true } or dtype:sub(1, 1) == "u" and { 0, 1, 100 } or
        { -3, 0, 100 }
      local t = tensor.from(values, dtype)
      assert.same(values, t:totable())
      assert.same(values, t:clone():totable())
      t:set(values[1], 2)
      assert.equal(values[1], t:get(2))
    end)
  end

  it("u64 holds integers of 64 bits, whose bits Lua has as signed ones", function()
    local t = tensor.from({ -1, 5 }, "u64")
    assert.equal(-1, t:get(1))
    assert.equal(5, t:min())
    assert.equal(-1, t:max())
    assert.equal(1.8446744073709552e19, t:cast("f64"):get(1))
  end)
end)
