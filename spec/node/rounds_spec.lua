-- Rounds of a node: one function again and again. The same with both isolations.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

local c_code = [[
  #include <baton/orchestration.h>
  BATON_ORCHESTRATION(sum) {
    baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(baton_param(o, args, 0)), baton_input(baton_param(o, args, 1)),
      baton_output(baton_param(o, args, 2))), NULL);
  }
  BATON_ORCHESTRATION(digit) {
    baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(baton_param(o, args, 0)), baton_f32(7)), NULL);
  }
  BATON_ORCHESTRATION(stopping) {
    baton_aiv(o, baton_kernel(o, "stop"), BATON_ARGS(baton_inout(baton_param(o, args, 0)), baton_f64(3)), NULL);
  }
  BATON_ORCHESTRATION(holding) {
    baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);
  }]]

local function program(entry, signature, kernels)
  return baton.program { name = entry, signature = signature, kernels = kernels or programs.kernels,
    orchestration = { code = c_code, entry = entry } }
end

local function full(value, n) return tensor.full("f32", { n or 8 }, value) end

local function round(rounds, rebind)
  rounds:init_round(rebind)
  rounds:launch()
  return rounds:finalize_round()
end

for _, isolation in ipairs { "thread", "process" } do
  describe("rounds of a node, " .. isolation .. " isolation", function()
    local node, sum, digit, stop, hold
    local a, b, c

    -- Bytes that went to devices since then.
    local function sent(before) return node:stats().bytes_to_device - before.bytes_to_device end

    setup(function()
      sum = program("sum", programs.abc)
      digit = program("digit", { { "x", "inout", "f32", { "n" } } })
      stop = program("stopping", { { "x", "inout", "f32", { "n" } } })
      hold = program("holding", { { "x", "inout", "f32", { "n" } } }, { hold = gate.hold })
    end)
    before_each(function()
      gate.close()
      node = baton.worker { level = 3, devices = "0-1", isolation = isolation }
      a, b, c = full(2), full(3), full(-1)
    end)
    after_each(function()
      gate.open()
      node:close()
    end)
    teardown(gate.gone)

    it("call the function with the arguments and the number of the round", function()
      local seen = {}
      local given = { a = a, b = b, c = c, label = "x" }
      local rounds <close> = node:rounds(function(orch, args, number)
        seen[#seen + 1] = ("%d %s"):format(number, args.label)
        args.a:fill(number)
        orch.submit_next_level(sum, { args.a, args.b, args.c })
      end, given)
      assert.is_nil(rounds:timing())
      assert.is_true(round(rounds))
      assert.equal(4, c:get(1))
      assert.is_true(round(rounds, { label = "y" }))
      assert.same({ "1 x", "2 y" }, seen)
      assert.equal("x", given.label)
      assert.equal(5, c:get(8))
      assert.equal(1, rounds:timing().tasks)
      assert.equal(2, node:stats().rounds)
    end)

    it("keep buffers from one round to the next, and end intermediates with theirs", function()
      local buffer, old
      local rounds <close> = node:rounds(function(orch, args, number)
        if number == 1 then
          buffer = orch.malloc(1, args.a.nbytes)
          orch.copy_to(buffer, args.a)
        end
        local between = orch.alloc("f32", { 8 })
        orch.submit_next_level(sum, { buffer:tensor("f32", { 8 }), args.b, between })
        orch.submit_next_level(sum, { between, args.b, args.c })
        if old then
          assert.matches("of another run", raises("stale_handle", orch.submit_next_level, sum, { old, args.b, args.c }))
        end
        old = between
      end, { a = a, b = b, c = c })
      local count = 0
      for i, timing in rounds:each(5) do
        count = count + i
        assert.equal(8, c:get(8))
        assert.equal(i == 1 and 4 or 2, timing.tasks)
        b:fill(3)
      end
      assert.equal(15, count)
    end)

    it("refuse steps out of order, and say what comes first", function()
      local rounds <close> = node:rounds(function() end, {})
      assert.equal("launch: no round is open, call init_round first", raises("state", rounds.launch, rounds))
      assert.equal("finalize_round: no round is open, call init_round first", raises("state", rounds.finalize_round, rounds))
      rounds:init_round()
      assert.equal("init_round: round 1 is open and not launched, call launch first", raises("state", rounds.init_round, rounds))
      rounds:launch()
      assert.equal("launch: round 1 is open and launched, call finalize_round first", raises("state", rounds.launch, rounds))
      assert.is_true(rounds:finalize_round())
      assert.equal("a function of orch, the arguments and the round expected, got 3",
        raises("invalid_argument", node.rounds, node, 3):match(": (.*)"))
    end)

    it("go on after a function that raises and after a task that fails", function()
      local wrong
      local rounds <close> = node:rounds(function(orch, args, number)
        orch.submit_next_level(sum, { args.a, args.b, args.c })
        if number == 1 then error("enough", 0) end
        if number == 2 then orch.submit_next_level(sum, { args.a }) end
        if number == 3 then orch.submit_next_level(stop, { args.c }) end
      end, { a = a, b = b, c = c })
      assert.equal("rounds of a function", tostring(rounds))
      rounds:init_round()
      assert.same({ false, "enough" }, { pcall(rounds.launch, rounds) })
      rounds:init_round()
      _, wrong = pcall(rounds.launch, rounds)
      assert.same({ "signature", 2 }, { wrong.code, wrong.round })
      rounds:init_round()
      rounds:launch()
      _, wrong = pcall(rounds.finalize_round, rounds)
      assert.same({ "user_fail", 3 }, { wrong.code, wrong.round })
      assert.equal(5, c:get(1)) -- who finalized the round knows of what failed behind the sum
      assert.is_true(round(rounds))
      assert.equal(5, c:get(1))
    end)

    it("return from launch while tasks go on", function()
      local x = full(1)
      local rounds = node:rounds(function(orch, args) orch.submit_next_level(hold, { args.x }, { config = gate.config }) end,
        { x = x })
      rounds:init_round()
      rounds:launch()
      assert.is_nil(rounds:finalize_round(0))
      assert.is_true(tostring(x):match "pending" ~= nil)
      gate.open()
      assert.is_true(rounds:finalize_round())
      assert.equal(2, x:get(1))
      rounds:close()
      assert.equal("the rounds are closed", raises("closed", rounds.init_round, rounds))
      rounds:close()
    end)

    it("are several on one node, and end with it", function()
      local x, y = full(1), full(1)
      local function append(orch, args) orch.submit_next_level(digit, { args.x }) end
      local first, second = node:rounds(append, { x = x }, { resident = { "x" } }), node:rounds(append, { x = y })
      first:init_round()
      second:init_round()
      first:launch()
      second:launch()
      assert.is_true(second:finalize_round())
      assert.is_true(first:finalize_round())
      assert.same({ 17, 17 }, { x:get(1), y:get(1) })
      first:init_round()
      first:launch()
      node:close()
      assert.equal("the node is closed", raises("closed", first.finalize_round, first))
      first:close()
      assert.equal("the node is closed", raises("closed", second.init_round, second))
    end)

    it("may not be stepped or ended inside a function of the node", function()
      local rounds
      rounds = node:rounds(function() raises("state", rounds.finalize, rounds) end, {})
      rounds:init_round()
      rounds:launch()
      assert.is_true(rounds:finalize_round())
      node:run(function() raises("state", rounds.init_round, rounds) end)
      rounds:finalize()
    end)

    it("replace arguments by others of their kind", function()
      local rounds <close> = node:rounds(function(orch, args) orch.submit_next_level(sum, { args.a, args.b, args.c }) end,
        { a = a, b = b, c = c, n = 1 })
      assert.equal("init_round: no argument is named d", raises("signature", rounds.init_round, rounds, { d = a }))
      assert.equal("init_round: argument a is f32[8], it cannot become f32[9]",
        raises("signature", rounds.init_round, rounds, { a = full(1, 9) }))
      assert.matches("argument n is 1, it cannot become baton.tensor", raises("signature", rounds.init_round, rounds, { n = a }))
      assert.is_true(round(rounds, { a = full(40) }))
      assert.equal(43, c:get(1))
      assert.is_true(round(rounds))
      assert.equal(43, c:get(1))
      local none <close> = node:rounds(function() end)
      assert.matches("nothing can be replaced", raises("signature", none.init_round, none, { a = a }))
    end)

    describe("with resident tensors", function()
      local n <const> = 1024
      local w

      before_each(function() w, b, c = full(1, n), full(3, n), full(0, n) end)

      -- A task on each worker that reads w.
      local function on_both(orch, args)
        orch.submit_next_level(sum, { args.w, args.b, args.c }, { worker = 0 })
        orch.submit_next_level(sum, { args.w, args.b, args.d }, { worker = 1 })
      end

      it("copy them once to each worker that uses them", function()
        local d = full(0, n)
        local kept = { node:malloc(0, a.nbytes), node:malloc(1, a.nbytes) }
        local before = node:stats()
        local rounds <close> = node:rounds(on_both, { w = w, b = b, c = c, d = d }, { resident = { "w" } })
        for _ in rounds:each(10) do assert.same({ 4, 4 }, { c:get(n), d:get(n) }) end
        assert.equal((2 + 10 * 2) * w.nbytes, sent(before)) -- w twice in all, b each time
        assert.is_true(round(rounds, { w = full(5, n) }))
        assert.same({ 8, 8 }, { c:get(n), d:get(n) })
        assert.equal((4 + 11 * 2) * w.nbytes, sent(before))
        local stats = node:stats()
        local live = stats.allocations - stats.frees
        rounds:finalize()
        node:run(function(orch) -- what goes back before these copies
          for _, buffer in ipairs(kept) do orch.copy_to(buffer, a) end
        end)
        stats = node:stats()
        assert.equal(live - 2, stats.allocations - stats.frees)
      end)

      it("give tasks that may go anywhere to all workers in turn", function()
        local d = full(0, n)
        local before = node:stats()
        local rounds <close> = node:rounds(function(orch, args)
          orch.submit_next_level(sum, { args.w, args.b, args.c })
          orch.submit_next_level(sum, { args.w, args.b, args.d })
        end, { w = w, b = b, c = c, d = d }, { resident = { "w" } })
        for _ in rounds:each(4) do assert.same({ 4, 4 }, { c:get(1), d:get(1) }) end
        assert.equal((2 + 4 * 2) * w.nbytes, sent(before))
      end)

      it("give parts of them, strided ones too, and members of groups", function()
        local d = full(0, n)
        local wide = tensor.arange("f32", { 8, 8 })
        local column = wide:select(2, 3) -- 2, 10, 18, …
        local out, again = full(0), full(0)
        local rounds <close> = node:rounds(function(orch, args)
          orch.submit_next_level(sum, { args.wide:select(1, 2), args.a, args.out })
          orch.submit_next_level(sum, { args.column, args.a, args.again })
          orch.submit_next_level_group(sum, { { args.w, args.b, args.c }, { args.w, args.b, args.d } })
        end, { w = w, b = b, c = c, d = d, wide = wide, column = column, a = a, out = out, again = again },
          { resident = { "w", "wide", "column" } })
        for _ in rounds:each(3) do
          assert.same({ 10, 17 }, { out:get(1), out:get(8) })
          assert.same({ 4, 12, 60 }, { again:get(1), again:get(2), again:get(8) })
          assert.same({ 4, 4 }, { c:get(n), d:get(n) })
        end
      end)

      it("copy them again after a task has written them", function()
        local x = full(1)
        local rounds <close> = node:rounds(function(orch, args)
          orch.submit_next_level(sum, { args.x, args.a, args.b }, { worker = 0 })
          orch.submit_next_level(digit, { args.x }, { worker = 1 })
          orch.submit_next_level(sum, { args.x, args.a, args.c }, { worker = 0 })
        end, { x = x, a = a, b = full(0), c = full(0) }, { resident = { "x" } })
        c = full(0)
        assert.is_true(round(rounds, { c = c }))
        assert.same({ 17, 19 }, { x:get(1), c:get(1) })
        assert.is_true(round(rounds))
        assert.same({ 177, 179 }, { x:get(1), c:get(1) })
      end)

      it("copy them again after a round that failed before they were there", function()
        local rounds <close> = node:rounds(function(orch, args, number)
          orch.submit_next_level(sum, { args.w, args.b, args.c }, { worker = 0 })
          if number == 1 then error("enough", 0) end
        end, { w = w, b = b, c = c }, { resident = { "w" } })
        rounds:init_round()
        assert.same({ false, "enough" }, { pcall(rounds.launch, rounds) })
        assert.is_true(round(rounds))
        assert.equal(4, c:get(n))
      end)

      it("refuse what is no host tensor of the arguments", function()
        assert.equal("resident: 'v' must name a host tensor of the arguments, it is nil",
          raises("invalid_argument", node.rounds, node, function() end, { w = w }, { resident = { "v" } }))
        assert.equal("resident: 'w' is named twice",
          raises("invalid_argument", node.rounds, node, function() end, { w = w }, { resident = { "w", "w" } }))
        local rounds <close> = node:rounds(function() end, { w = w }, { resident = { "w" } })
        assert.matches("cannot become", raises("signature", rounds.init_round, rounds, { w = full(1, 3) }))
      end)
    end)
  end)
end
