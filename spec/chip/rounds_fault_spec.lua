-- Rounds on a device whose n-th call fails, for every n: whatever step of whatever round it hits, the step raises, the next
-- round starts clean, and nothing is left behind.
local baton = require "baton"
local failure = require "baton.error"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"

local calls = { "alloc", "copy_in", "copy_out", "fill", "stream_create", "sync", "stream_destroy", "launch" }
local codes = { alloc = "out_of_memory", stream_create = "resource_limit" }
local last = 4 -- rounds of a session
local small = os.getenv "BATON_TEST_SMALL" ~= nil

local function full(value) return tensor.full("f32", { 8 }, value) end

-- c = a + b, total = 10 total + 1, through an intermediate on the device heap
local function make_program()
  return programs.vector {
    name = "faulty",
    signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } },
      { "total", "inout", "f32", { "n" } } },
    graph = function(g, a, b, c, total)
      local sum = g.alloc("f32", a.shape)
      g.aiv("add", a, b, sum)
      g.aiv("add_scalar", sum, c, 0)
      g.aiv("append", total, 1)
    end,
  }
end

-- A session: every step that a fault hits is counted and must raise just that.
local session = {}
session.__index = session

function session:step(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return true, result end
  local fault = self.fault
  assert.is_true(failure.is(result), tostring(result))
  assert.equal(codes[fault.call] or "io_error", result.code)
  local number = tonumber(result.message:match("injected fault: call (%d+) of " .. fault.call .. " fails"))
  assert.is_true(number == fault.nth or fault.forever and number > fault.nth, result.message)
  self.errors[#self.errors + 1] = result
  return false
end

-- A round; `a` is rebound at the third. After a failure no output has changed, but for one that had come back before
-- the copy of another failed.
function session:round(number)
  local args, rebind = self.args, number == 3 and { a = full(30) } or nil
  local value, before, total = number < 3 and 1 or 30, args.c:get(1), args.total:get(1)
  local rounds = self.rounds
  local ok = self:step(rounds.init_round, rounds, rebind) and self:step(rounds.launch, rounds)
  if ok then ok = self:step(rounds.finalize_round, rounds) end
  if ok then
    assert.equal(value + 2, args.c:get(8))
    assert.equal(10 * total + 1, args.total:get(1))
  else
    local err = self.errors[#self.errors]
    assert.is_true(err.round ~= nil and err.round >= number)
    local came = err.message:find("copy_out", 1, true) and args.c:get(1) == value + 2
    assert.is_true(came or args.c:get(1) == before)
    assert.equal(total, args.total:get(1))
    assert.equal("init_round", (select(2, pcall(rounds.launch, rounds)).message:match "call ([%w_]+) first"))
  end
  return ok
end

-- All rounds; one that fails is tried again, once.
function session:work()
  local chip = self.chip
  self.args = { a = full(1), b = full(2), c = full(-1), total = full(0) }
  local opened, rounds = self:step(chip.rounds, chip, self.program, self.args, self.config)
  if not opened then return end
  self.rounds = rounds
  for number = 1, last do
    if not self:round(number) and not self:round(number) and not self.fault.forever then
      error("a round failed twice")
    end
  end
  if not self:step(self.rounds.finalize, self.rounds) then self:step(self.rounds.finalize, self.rounds) end
end

-- Opens a worker, makes two sessions of rounds, closes; returns the errors on the way.
local function cycle(program, platform, runtime, resident, fault)
  local self = setmetatable({ errors = {}, fault = fault, program = program,
    config = { runtime = runtime, resident = resident, ring_task_window = 64, ring_heap = "64KiB" } }, session)
  local ok
  ok, self.chip = self:step(baton.worker, { platform = platform, fault = fault })
  if not ok then return self.errors end
  self:work()
  self:work()
  if not self:step(self.chip.close, self.chip) and fault.forever then self:step(self.chip.close, self.chip) end -- tries again
  self.chip:close()
  local stats = self.chip:stats()
  assert.equal(stats.allocations, stats.frees)
  assert.equal(0, stats.committed_bytes)
  assert.equal(stats.streams_created, stats.streams_destroyed)
  return self.errors
end

-- Returns how many calls of the kind a cycle without faults makes.
local function count_calls(program, platform, runtime, resident, call, forever)
  for nth = 1, 1000 do
    local errors = cycle(program, platform, runtime, resident, { call = call, nth = nth, forever = forever })
    if #errors == 0 then return nth - 1 end
    if not forever then assert.equal(1, #errors) end
  end
end

glue.each_platform(function(platform)
  describe("a fault in rounds", function()
    for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
      for _, call in ipairs(calls) do
        it(("at any %s on %s leaves them usable and nothing behind"):format(call, runtime), function()
          local program = make_program()
          for _, resident in ipairs(small and { { "b" } } or { {}, { "b" } }) do
            assert.is_true(count_calls(program, platform, runtime, resident, call, false) >= 2)
            if not small then count_calls(program, platform, runtime, resident, call, true) end
          end
        end)
      end
    end

    for _, call in ipairs { "copy_in", "copy_out" } do
      it(("at any %s loses nothing that rounds have written to a resident argument"):format(call), function()
        local program = programs.vector { name = "append", signature = { { "x", "inout", "f32", { "n" } } },
          graph = function(g, x) g.aiv("append", x, 1) end }
        local failures = 0
        -- Tries a step again when the fault has hit it.
        local function twice(f, ...)
          local ok, err = pcall(f, ...)
          if ok then return end
          assert.equal("io_error", err.code)
          failures = failures + 1
          f(...)
        end
        for nth = 1, 3 do
          local chip <close> = baton.worker { platform = platform, fault = { call = call, nth = nth } }
          local x, y = full(0), full(5)
          local rounds <close> = chip:rounds(program, { x }, { resident = { "x" } })
          local function finish_round()
            rounds:launch()
            rounds:finalize_round()
          end
          twice(rounds.init_round, rounds)
          finish_round()
          twice(rounds.init_round, rounds, { x = y })
          finish_round()
          twice(rounds.finalize, rounds)
          assert.equal(1, x:get(1))
          assert.equal(51, y:get(1))
        end
        assert.equal(2, failures)
      end)
    end
  end)
end)
