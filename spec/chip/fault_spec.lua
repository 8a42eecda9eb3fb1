-- A device whose n-th call fails, for every n: each failure is a clear error, the worker stays usable or closes cleanly,
-- and nothing is left behind.
local baton = require "baton"
local case_runner = require "baton.case"
local failure = require "baton.error"
local glue = require "baton.busted"
local scene_module = require "baton.scene"
local raises = glue.raises

local calls = { "alloc", "copy_in", "copy_out", "fill", "stream_create", "sync", "stream_destroy", "launch" }
local codes = { alloc = "out_of_memory", stream_create = "resource_limit" }

-- The error that a step raised, which must be the injected one.
local function check_error(err, fault)
  assert.is_true(failure.is(err), tostring(err))
  assert.equal(codes[fault.call] or "io_error", err.code)
  local number = tonumber(err.message:match("injected fault: call (%d+) of " .. fault.call .. " fails$"))
  assert.is_true(number == fault.nth or fault.forever and number > fault.nth, err.message)
end

-- Opens a worker, runs the case twice, closes; returns the errors on the way.
local function cycle(scene, case, platform, runtime, fault)
  local errors = {}
  local function step(f, ...)
    local ok, result = pcall(f, ...)
    if ok then return result end
    check_error(result, fault)
    errors[#errors + 1] = result
  end
  local chip = step(baton.worker, { platform = platform, fault = fault })
  if not chip then return errors end
  for _ = 1, 2 do
    local outcome = step(case_runner.run, scene, case, chip, { seed = 42, config = { runtime = runtime } })
    assert.is_true(not outcome or outcome.ok)
  end
  step(chip.close, chip)
  if fault.call == "stream_destroy" and fault.forever then step(chip.close, chip) end -- tries again
  chip:close()
  assert.equal("closed", chip.state)
  local stats = chip:stats()
  assert.equal(stats.allocations, stats.frees)
  assert.equal(0, stats.committed_bytes)
  assert.equal(stats.streams_created, stats.streams_destroyed)
  return errors
end

-- Returns how many calls of the kind a cycle without faults makes.
local function count_calls(scene, case, platform, runtime, call, forever)
  for nth = 1, 1000 do
    local errors = cycle(scene, case, platform, runtime, { call = call, nth = nth, forever = forever })
    if #errors == 0 then return nth - 1 end
    if not forever then assert.equal(1, #errors) end
  end
end

glue.each_platform(function(platform)
  describe("a fault", function()
    for _, path in ipairs { "scenes/vector_example.lua", "scenes/matmul.lua" } do
      local scene = scene_module.load(path)
      for _, runtime in ipairs(scene:fitting_runtimes()) do
        for _, call in ipairs(calls) do
          it(("at any %s of %s on %s is survived"):format(call, scene.name, runtime), function()
            local once = count_calls(scene, scene.cases[1], platform, runtime, call, false)
            local forever = count_calls(scene, scene.cases[1], platform, runtime, call, true)
            assert.is_true(once >= 2, once .. " calls")
            assert.equal(once, forever)
          end)
        end
      end
    end

    it("at a stream keeps it for a second close, which tries again", function()
      for nth = 1, 2 do
        local chip = baton.worker { platform = platform, fault = { call = "stream_destroy", nth = nth } }
        assert.equal(("injected fault: call %d of stream_destroy fails"):format(nth), raises("io_error", chip.close, chip))
        assert.same({ "closed", 2, 1 }, { chip.state, chip:stats().streams_created, chip:stats().streams_destroyed })
        chip:close()
        assert.equal(2, chip:stats().streams_destroyed)
      end
    end)

    it("at a stream that comes again is reported again, and then the device is given up", function()
      local chip = baton.worker { platform = platform, fault = { call = "stream_destroy", forever = true } }
      assert.equal("injected fault: call 1 of stream_destroy fails", raises("io_error", chip.close, chip))
      assert.equal(0, chip:stats().streams_destroyed)
      assert.equal("injected fault: call 3 of stream_destroy fails", raises("io_error", chip.close, chip))
      chip:close()
      assert.equal(2, chip:stats().streams_destroyed)
      baton.worker({ platform = platform }):close()
    end)

    it("at a stream of a worker that nobody closed is logged, and nothing stays", function()
      local command = require "spec.support.command"
      local function collected(forever)
        return command.run { "-e", ([[
          local baton = require "baton"
          local chip = baton.worker { platform = "%s", fault = { call = "stream_destroy", forever = %s } }
          chip = nil
          collectgarbage()
          baton.worker({ platform = "%s" }):close()]]):format(platform, forever, platform) }
      end
      local first = "baton: error: closing a worker: injected fault: call 1 of stream_destroy fails (io_error)\n"
      local again = "baton: error: closing a worker again: injected fault: call 3 of stream_destroy fails (io_error)\n"
      assert.same({ status = 0, out = "", err = first }, collected(false))
      assert.same({ status = 0, out = "", err = first .. again }, collected(true))
    end)

    it("while draining is reported once, and nothing is left for a second close", function()
      for nth = 1, 2 do
        local chip = baton.worker { platform = platform, fault = { call = "sync", nth = nth } }
        assert.equal(("injected fault: call %d of sync fails"):format(nth), raises("io_error", chip.close, chip))
        assert.equal(2, chip:stats().streams_destroyed)
        chip:close()
      end
    end)

    it("changes no output of the run that it hits", function()
      local tensor = require "baton.tensor"
      local programs = require "spec.support.programs"
      local program = programs.vector { name = "sum", signature = programs.abc,
        graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
      for _, call in ipairs { "alloc", "copy_in", "fill", "launch", "copy_out" } do
        local chip <close> = baton.worker { platform = platform, fault = { call = call } }
        local a, c = tensor.full("f32", { 8 }, 2), tensor.full("f32", { 8 }, -1)
        local ok, err = pcall(chip.run, chip, program, { a, a, c })
        assert.is_false(ok)
        check_error(err, { call = call, nth = 1 })
        assert.equal(-1, c:get(1))
        chip:run(program, { a, a, c })
        assert.equal(4, c:get(1))
      end
    end)

    it("names the argument that it hits", function()
      local tensor = require "baton.tensor"
      local programs = require "spec.support.programs"
      local program = programs.vector { name = "sum", signature = programs.abc,
        graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
      local chip <close> = baton.worker { platform = platform, fault = { call = "copy_in", nth = 2 } }
      local a = tensor.full("f32", { 8 }, 2)
      assert.equal("sum: argument 2 (b): injected fault: call 2 of copy_in fails",
        raises("io_error", chip.run, chip, program, { a, a, a:clone() }))
    end)

    it("names the output that cannot come back, and the next run brings it", function()
      local tensor = require "baton.tensor"
      local programs = require "spec.support.programs"
      local names = { "c", "d", "e" }
      local program = programs.vector { name = "three", graph = function(g, a, ...)
        for _, output in ipairs { ... } do g.aiv("add", a, a, output) end
      end, signature = { { "a", "in", "f32" }, { "c", "out", "f32" }, { "d", "out", "f32" }, { "e", "out", "f32" } } }
      for nth, name in ipairs(names) do
        local chip <close> = baton.worker { platform = platform, fault = { call = "copy_out", nth = nth } }
        local args = { a = tensor.full("f32", { 8 }, 2) }
        for _, output in ipairs(names) do args[output] = tensor.full("f32", { 8 }, -1) end
        assert.equal(("three: argument %d (%s): injected fault: call %d of copy_out fails"):format(nth + 1, name, nth),
          raises("io_error", chip.run, chip, program, args))
        assert.same({ -1, 2 }, { args[name]:get(8), args.a:get(8) })
        chip:run(program, args)
        assert.same({ 4, 4, 4 }, { args.c:get(8), args.d:get(8), args.e:get(8) })
      end
    end)

    it("must make sense", function()
      assert.equal("fault: 'malloc' is no call of a device",
        raises("invalid_argument", baton.worker, { fault = { call = "malloc" } }))
      assert.equal("field 'nth' must be an integer in 1..9223372036854775807, got 0",
        raises("invalid_argument", baton.worker, { fault = { call = "alloc", nth = 0 } }))
      assert.equal("fault: field 'call' is missing", raises("invalid_argument", baton.worker, { fault = { nth = 1 } }))
      assert.equal("fault: unknown option 'cal', did you mean 'call'?",
        raises("unknown_option", baton.worker, { fault = { cal = "alloc" } }))
    end)
  end)
end)
