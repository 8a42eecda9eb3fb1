local baton = require "baton"
local failure = require "baton.error"
local raises = require("baton.busted").raises
local tensor = require "baton.tensor"

describe("an error object", function()
  it("is a table with code and message, and a line of text", function()
    local ok, err = pcall(tensor.zeros, "f32", { 2, -1 })
    assert.is_false(ok)
    assert.equal("table", type(err))
    assert.is_true(failure.is(err))
    assert.equal("invalid_argument", err.code)
    assert.equal("invalid_argument: tensor.zeros: shape[2] must be an integer of 0 or more, got -1", tostring(err))
  end)

  it("tells all that is known of the failure", function()
    local err = failure.new { code = "user_fail", message = "it broke", hint = "mend it", task = "t1", core = 3,
      cause = "a stone" }
    assert.equal("user_fail: it broke; mend it (task t1, core 3); cause: a stone", tostring(err))
  end)

  it("names a path once", function()
    local _, err = pcall(tensor.load, "/proc/nonexistent/a.npy")
    assert.equal("/proc/nonexistent/a.npy", err.path)
    assert.equal("io_error: /proc/nonexistent/a.npy: cannot open: No such file or directory", tostring(err))
  end)

  it("is told from other values", function()
    assert.is_false(failure.is("text"))
    assert.is_false(failure.is({ code = "user_fail", message = "x" }))
    assert.is_true(failure.is(failure.new { code = "user_fail", message = "x" }))
  end)

  it("needs code and message", function()
    assert.equal("error.new: fields.code must be a string", raises("invalid_argument", failure.new, { message = "x" }))
    assert.equal("error.new: fields must be a table, got nil", raises("invalid_argument", failure.new))
  end)

  it("survives a collection while it is on its way", function()
    for _ = 1, 100 do
      local _, err = pcall(tensor.zeros, "f32", { 1 << 40, 1 << 40 })
      collectgarbage "step"
      assert.equal("out_of_range", err.code)
    end
  end)
end)

describe("the nearest name", function()
  it("is offered if it is near", function()
    local names = { "devices", "device", "platform", "config" }
    assert.equal("devices", failure.nearest("devises", names))
    assert.equal("device", failure.nearest("devic", names))
    assert.equal("platform", failure.nearest("plattform", names))
    assert.is_nil(failure.nearest("x", names))
    assert.is_nil(failure.nearest("colour", names))
    assert.is_nil(failure.nearest(("x"):rep(1000), names))
  end)
end)

describe("an option table", function()
  it("names an unknown key, the nearest one and all", function()
    local ok, err = pcall(tensor.uniform, "f32", { 2 }, { sed = 1 })
    assert.is_false(ok)
    assert.equal("tensor.uniform: unknown option 'sed', did you mean 'seed'?", err.message)
    assert.equal("known options: lo, hi, seed", err.hint)
    assert.equal("tensor.uniform: [1] is no option", raises("unknown_option", tensor.uniform, "f32", { 2 }, { 5 }))
    assert.equal("tensor.uniform: options must be a table, got 5",
      raises("invalid_argument", tensor.uniform, "f32", { 2 }, 5))
  end)

  it("takes sizes as integers and as text", function()
    local function open(size)
      local chip <close> = baton.worker { config = { ring_heap = size } }
      return chip ~= nil
    end
    for _, size in ipairs { 1 << 20, "1048576", "1024KiB", "1MiB", "2MB" } do assert.is_true(open(size)) end
    for _, size in ipairs { "10QB", "-1MiB", 1.5, -1, "1.5GiB", "", "MiB", "9999999999GiB", "1 MiB", "1MiB\0" } do
      assert.matches("^field 'ring_heap' must be a size in bytes such as 65536 or \"64KiB\", got ",
        raises("invalid_argument", open, size))
    end
    assert.matches("got ''$", raises("invalid_argument", open, ""))
    assert.matches("got ' '$", raises("invalid_argument", open, " "))
  end)
end)
