local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local sanitizer = require "spec.support.sanitizer"
local tensor = require "baton.tensor"
local raises = glue.raises

local bump = baton.program {
  name = "bump", signature = { { "x", "inout", "f32" }, { "by", "f32" } },
  host = { code = [[
    #include <baton/kernel.h>
    BATON_KERNEL(bump) {
      float *x = baton_io(args, 0, float), by = baton_scalar_f32(args, 1);
      for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) x[i] += by;
    }]] },
}

-- The thread sanitizer hands a signal to a thread only when that calls into it, so a tight loop is never left.
local under_thread_sanitizer = sanitizer.name == "tsan"

for _, isolation in ipairs { "thread", "process" } do
describe("orch.submit_sub with isolation " .. isolation, function()
  local node, x

  before_each(function()
    node = baton.worker { level = 3, devices = "0", subs = 2, isolation = isolation }
    x = tensor.zeros("f32", { 4 })
  end)
  after_each(function() node:close() end)

  it("runs functions of the host, which run on chips too", function()
    local handle = node:register(bump)
    node:run(function(orch)
      orch.submit_sub(bump, { x, 2 })
      orch.submit_next_level(bump, { x = x, by = 3 }, { worker = 0 })
      orch.submit_sub(handle, baton.args { x, 4 }, { name = "last", priority = -3 })
    end)
    assert.equal(9, x:get(4))
  end)

  it("runs groups of them", function()
    local y = tensor.zeros("f32", { 4 })
    node:run(function(orch) orch.submit_sub_group(bump, { { x, 2 }, { x = y, by = 3 } }) end)
    assert.same({ 2, 3 }, { x:get(1), y:get(4) })
  end)

  it("runs Lua functions, whose tasks give their results", function()
    local three = 3
    node:run(function(orch)
      local first = orch.submit_sub(function(args)
        args.x:fill(args.value)
        return args.x:get(1), "text", { three }
      end, { x = x, value = 7 })
      local second = orch.submit_sub(function(args) return args[1]:get(2) + args[2] end, { baton.input(x), 1 }, { deps = { first } })
      assert.equal("task of 1 function", tostring(first))
      assert.same({ 7.0, "text", { 3 } }, { first:result() })
      assert.same({ 7.0, "text", { 3 } }, { first:result() })
      assert.equal(8.0, second:result())
      orch.wait(second)
    end)
    assert.equal(7, x:get(1))
  end)

  it("runs groups of Lua functions", function()
    local y = tensor.full("f32", { 4 }, 5)
    node:run(function(orch)
      local task = orch.submit_sub_group(function(args) return args[1]:get(1), nil end, { { x }, { y } })
      assert.same({ 0.0, 5.0 }, { (task:result()), (task:result(2)) })
      assert.equal(2, select("#", task:result(1)))
      assert.equal("task.result: member must be an integer in 1..2, got 3", raises("invalid_argument", task.result, task, 3))
    end)
  end)

  it("makes memory for output{…}, by position and then by name", function()
    node:run(function(orch)
      local task, a, b, c = orch.submit_sub(function(args)
        for key, value in pairs { 1, 2, last = 3 } do args[key]:fill(value) end
      end, { baton.output { "f32", { 4 } }, baton.output { "f32", { 5 } }, last = baton.output { "i32", 6 } })
      assert.same({ "f32", 4, "f32", 5, "i32", 6 }, { a.dtype, a.shape[1], b.dtype, b.shape[1], c.dtype, c.shape[1] })
      local sum = orch.submit_sub(function(args) return args[1]:get(1), args[2]:get(5), args[3]:get(6) end, { a, b, c })
      assert.same({ 1.0, 2.0, 3 }, { sum:result() })
      assert.equal(0, select("#", task:result()))
    end)
  end)

  it("says what is wrong", function()
    node:run(function(orch)
      assert.equal("orch.submit_sub: a function, a program or a handle expected, got 3",
        raises("invalid_argument", orch.submit_sub, 3, {}))
      assert.equal("orch.submit_sub: unknown option 'worker'",
        raises("unknown_option", orch.submit_sub, bump, { x, 1 }, { worker = 1 }))
      raises("unsupported", orch.submit_sub_group, bump, { { x, 1 }, { tensor.zeros("f32", 1), 1 }, { tensor.zeros("f32", 2), 1 } })
      assert.equal("orch.submit_sub_group: a list of argument lists expected, one for each member, got a table",
        raises("signature", orch.submit_sub_group, print, {}))
      assert.matches("coroutine", raises("invalid_argument", orch.submit_sub, function(args) return args end,
        { coroutine.create(print) }))
    end)
  end)

  it("needs sub workers", function()
    local other <close> = baton.worker { level = 3, devices = "1", isolation = isolation }
    other:run(function(orch)
      raises("unsupported", orch.submit_sub, bump, { x, 1 })
      raises("unsupported", orch.submit_sub, function() end, {})
    end)
  end)

  it("gives tasks that are dead with their run", function()
    local task
    node:run(function(orch) task = orch.submit_sub(function() return 1 end, {}) end)
    assert.equal("task.result: the run is over and gone, and its results with it", raises("state", task.result, task))
    node:run(function(orch)
      assert.equal("the task is none of this run", raises("stale_handle", orch.wait, task))
    end)
  end)

  it("raises what a function has raised", function()
    local ok, err = pcall(node.run, node, function(orch)
      local task = orch.submit_sub(function() error("broken", 0) end, {})
      task:result()
    end)
    assert.is_false(ok)
    assert.matches("broken", err.message)
    node:run(function(orch) orch.submit_sub(bump, { x, 1 }) end)
    assert.equal(1, x:get(1))
  end)

  it("copies what functions capture, and shares tensors", function()
    local factor, seen = 3, tensor.zeros("f32", { 4 })
    local function scaled(value) return factor * value end
    local function fill(args)
      for i = 1, args.x.shape[1] do args.x:set(scaled(i), i) end
      seen:slice(1, 1, args.x.shape[1]):copy(args.x)
      factor = 100
    end
    node:run(function(orch)
      orch.submit_sub(fill, { x = x })
      orch.submit_next_level(bump, { x, 1 }, { worker = 0 })
      orch.submit_next_level(bump, { seen, 2 })
      orch.submit_sub(fill, { x = x:slice(1, 1, 2) })
    end)
    assert.same({ 3, 6, 10, 13 }, x:totable())
    assert.same({ 3, 6 }, seen:slice(1, 1, 2):totable())
    assert.equal(3, factor)
  end)

  it("shares the memory of the runtime", function()
    local total
    node:run(function(orch)
      local part = orch.alloc("f32", { 4 })
      orch.submit_sub(function(args) args.part:fill(20) end, { part = baton.output(part) })
      orch.submit_next_level(bump, { part, 1 })
      total = orch.submit_sub(function() return part:sum() end):result()
    end)
    assert.equal(84.0, total)
  end)

  it("finds modules by name, and calls their functions", function()
    local pretty = require "baton.timings"
    node:run(function(orch)
      assert.equal("table", orch.submit_sub(function() return type(pretty) end):result())
      assert.equal("x", orch.submit_sub("table:unpack", { "x" }):result())
    end)
    local err = select(2, pcall(node.run, node, function(orch) orch.submit_sub("no.such.module:f") end))
    assert.matches("module 'no.such.module' not found", err.message, 1, true)
  end)

  it("keeps globals as long as the worker", function()
    local one <close> = baton.worker { level = 3, devices = 0, subs = 1, isolation = isolation }
    local function count()
      spec_calls = (spec_calls or 0) + 1 -- luacheck: ignore 111 113
      return spec_calls -- luacheck: ignore 113
    end
    for i = 1, 3 do
      one:run(function(orch) assert.equal(i, orch.submit_sub(count):result()) end)
    end
    assert.is_nil(rawget(_G, "spec_calls"))
  end)

  it("refuses results that cannot cross, without a traceback of what is not the user's", function()
    local _, err = pcall(node.run, node, function(orch) orch.submit_sub(function(args) return args[1] end, { x }) end)
    assert.same({ "invalid_argument", "the function: result 1 is a tensor", "write into a tensor of the arguments" },
      { err.code, err.message, err.hint })
    assert.is_nil(err.cause)
  end)

  it("gives results after the run has been waited for, while there is the run", function()
    local task
    local run = node:submit(function(orch) task = orch.submit_sub(function(args) return args[1] * 2 end, { 21 }) end)
    run:wait()
    assert.equal(42, task:result())
    run:close()
    assert.equal("task.result: the run is over and gone, and its results with it", raises("state", task.result, task))
  end)

  it("gives errors their message, the traceback and the task", function()
    local function inner() error "no bread" end
    local function bake() inner() end
    local err = select(2, pcall(node.run, node, function(orch) orch.submit_sub(bake, {}, { name = "bakery" }) end))
    assert.equal("user_fail", err.code)
    assert.matches("sub_spec.lua:%d+: no bread$", err.message)
    assert.matches("in upvalue 'inner'", err.cause, 1, true)
    assert.equal("bakery", err.task)
  end)

  it("keeps the code and the fields of error objects", function()
    local err = select(2, pcall(node.run, node, function(orch)
      orch.submit_sub(function()
        error(require "baton".error.new { code = "out_of_range", message = "too far", hint = "turn back", core = 7 })
      end)
    end))
    assert.same({ "out_of_range", "too far", "turn back", 7 }, { err.code, err.message, err.hint, err.core })
  end)

  it("names what a function cannot take along", function()
    local function report() return node end
    local function place() return { x, report } end
    node:run(function(orch)
      local message = raises("invalid_argument", orch.submit_sub, report)
      assert.matches("^report %(.-:%d+%): upvalue 'node' is a baton.node, which cannot go to another state$", message)
      assert.equal(message, raises("invalid_argument", orch.submit_sub, place))
      assert.equal("orch.submit_sub: args.b is a function, which an argument list cannot have",
        raises("invalid_argument", orch.submit_sub, print, { b = print }))
      local buffer <close> = orch.malloc(0, 16)
      assert.matches("args.t is a baton.child_tensor, which cannot go",
        raises("invalid_argument", orch.submit_sub, print, { t = buffer:tensor("f32", { 4 }) }))
    end)
  end)

  local function interrupts(name, test)
    if not under_thread_sanitizer then return it(name, test) end
    pending(name .. ": the thread sanitizer delivers no signal into a tight loop")
  end
  interrupts("ends an endless function when its run is cancelled", function()
    local path = os.tmpname()
    local run = node:submit(function(orch)
      orch.submit_sub(function(args)
        local file <close> = io.open(args.path, "w")
        file:write "begun"
        file:flush()
        while true do end
      end, { path = path })
    end)
    repeat assert.is_nil(run:wait(0.01)) until command.read(path) == "begun"
    os.remove(path)
    assert.is_true(run:cancel())
    raises("cancelled", run.wait, run, 60)
    node:run(function(orch)
      assert.equal(3, orch.submit_sub(function() return 3 end):result())
    end)
  end)

  interrupts("costs its run when a function is not over in time, and no sub worker", function()
    for _ = 1, 3 do -- more often than there are sub workers
      local _, err = pcall(node.run, node, function(orch)
        orch.submit_sub(function() while true do end end, {}, { name = "endless" })
      end, nil, { timeout = 0.2 })
      assert.equal("op_timeout", err.code)
      assert.matches("^endless: not over after 0.2 s on sub worker %d$", err.message)
    end
    node:run(function(orch)
      local task = orch.submit_sub_group(function(args) return args[1] end, { { 3 }, { 4 } })
      assert.same({ 3, 4 }, { task:result(1), (task:result(2)) })
    end)
  end)

  it("sends Lua graphs of programs to chips as they were at their first use", function()
    local halves = 2
    local half = baton.program {
      name = "half", signature = { { "x", "inout", "f32" }, { "by", "f32" } },
      kernels = { add = { core = "aiv", signature = { { "x", "inout" }, { "by", "f32" } }, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(add) {
          float *x = baton_io(args, 0, float), by = baton_scalar_f32(args, 1);
          for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) x[i] += by;
        }]] } },
      graph = function(g, t, by)
        for i = 1, halves do g.aiv("add", t:slice(1, 2 * i - 1, 2), by * i) end
      end,
    }
    for _ = 1, 2 do
      node:run(function(orch) orch.submit_next_level(half, { x, 5 }, { worker = 0 }) end)
      halves = 1
    end
    assert.same({ 10, 10, 20, 20 }, x:totable())
    local weight = tensor.zeros("f32", { 1 })
    local bad = baton.program { name = "bad", signature = { { "x", "inout" } }, kernels = {},
      graph = function(g) g.fail(tostring(weight)) end }
    node:run(function(orch)
      assert.matches("upvalue 'weight' is a tensor$", raises("invalid_argument", orch.submit_next_level, bad, { x }))
    end)
  end)
end)
end

describe("print in a sub function", function()
  for _, isolation in ipairs { "thread", "process" } do
    it("writes whole lines to the standard output with isolation " .. isolation, function()
      local result = command.run { "-e", ([[
        local baton = require "baton"
        local node <close> = baton.worker { level = 3, devices = 0, subs = 2, isolation = "%s" }
        node:run(function(orch)
          for i = 1, 20 do orch.submit_sub(function(args) print("line", args[1], nil) end, { i }) end
        end)]]):format(isolation) }
      assert.equal("", result.err)
      local lines = {}
      for number in result.out:gmatch "line\t(%d+)\tnil\n" do lines[#lines + 1] = tonumber(number) end
      table.sort(lines)
      assert.equal(20, #lines)
      assert.equal(20, lines[20])
      assert.equal(0, result.status)
    end)
  end
end)
