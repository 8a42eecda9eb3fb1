-- Which worker runs what, and when.
local baton = require "baton"
local gate = require "spec.support.gate"
local nodes = require "spec.support.node_programs"
local raises = require("baton.busted").raises
local tensor = require "baton.tensor"

local function cells(value) return tensor.full("i64", { 1 }, value) end

for _, isolation in ipairs(nodes.isolations) do
  describe("with isolation " .. isolation .. " a node", function()
    before_each(function() gate.close() end)
    after_each(function() gate.gone() end)

    -- Tickets: task i takes number tickets[i].
    local function new_tickets() return { counter = tensor.zeros("i32", { 1 }), tickets = tensor.zeros("i32", { 16 }) } end
    local function ticket(t, i) return { baton.no_dep(t.counter), t.tickets:slice(1, i, 1) } end
    local function meeting(t, i, arrived, members)
      local list = ticket(t, i)
      list[3], list[4] = baton.no_dep(arrived), members
      return list
    end

    local function hold(orch, worker)
      orch.submit_next_level(nodes.hold, { cells(0) }, { worker = worker })
      gate.await "began"
    end

    it("runs tasks of one worker in the order of their submits", function()
      local node <close> = nodes.open(isolation)
      local t = new_tickets()
      node:run(function(orch)
        hold(orch, 0)
        for i = 1, 8 do orch.submit_next_level(nodes.tick, ticket(t, i), { worker = 0 }) end
        gate.open()
      end)
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, t.tickets:slice(1, 1, 8):totable())
    end)

    it("runs what one task makes ready in the order of the submits", function()
      local node <close> = nodes.open(isolation, { devices = 1 })
      local t = new_tickets()
      node:run(function(orch)
        local held = orch.submit_next_level(nodes.hold, { cells(0) })
        for i = 1, 8 do orch.submit_next_level(nodes.tick, ticket(t, i), { deps = { held } }) end
        gate.open()
      end)
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, t.tickets:slice(1, 1, 8):totable())
    end)

    it("prefers a higher priority among what is ready for a worker", function()
      local node <close> = nodes.open(isolation, { devices = 1 })
      local t = new_tickets()
      node:run(function(orch)
        -- what must wait for the held task becomes ready with it, all at once
        local held = orch.submit_next_level(nodes.hold, { cells(0) })
        for i, priority in ipairs { 0, 5, -3, 7, 9 } do
          orch.submit_next_level(nodes.tick, ticket(t, i), { priority = priority, deps = { held } })
        end
        gate.open()
      end)
      assert.same({ 4, 3, 5, 2, 1 }, t.tickets:slice(1, 1, 5):totable())
    end)

    it("says which of its workers are busy", function()
      local node <close> = nodes.open(isolation)
      local states = {}
      node:run(function(orch)
        hold(orch, 1)
        for id = 0, 1 do states[id + 1] = node:describe(id).state end
        gate.open()
      end)
      assert.same({ "ready", "busy" }, states)
      assert.equal("ready", node:describe(1).state)
    end)

    it("lets a task for any worker pass one that waits for its own", function()
      local node <close> = nodes.open(isolation)
      local t = new_tickets()
      node:run(function(orch)
        hold(orch, 0)
        orch.submit_next_level(nodes.tick, ticket(t, 1), { worker = 0 })
        orch.wait(orch.submit_next_level(nodes.tick, ticket(t, 2)))
        gate.open()
      end)
      assert.same({ 2, 1 }, t.tickets:slice(1, 1, 2):totable())
    end)

    it("runs a task for any worker where its child memory is", function()
      local node <close> = nodes.open(isolation)
      for worker = 0, 1 do
        local buffer, host = node:malloc(worker, 8), cells(0)
        node:run(function(orch)
          orch.submit_next_level(nodes.fill, { buffer:tensor("i64", { 1 }), 5 + worker })
          orch.copy_from(host, buffer)
        end)
        assert.equal(5 + worker, host:get(1))
      end
    end)

    it("runs a task for any worker where most of its data was last", function()
      local node <close> = nodes.open(isolation)
      local large, small, result = tensor.zeros("i64", { 64 }), tensor.zeros("i64", { 64 }), tensor.zeros("i64", { 64 })
      node:run(function(orch)
        orch.submit_next_level(nodes.fill, { small, 1 }, { worker = 0 })
        orch.wait(orch.submit_next_level(nodes.fill, { large, 2 }, { worker = 1 }))
      end)
      local before = node:stats(1).runs
      node:run(function(orch)
        orch.wait(orch.submit_next_level(nodes.copy, { large, result }))
        orch.submit_next_level(nodes.mix, { small:slice(1, 1, 8), large:slice(1, 1, 8), result:slice(1, 1, 8), 0 })
      end)
      assert.same({ 2, 5 }, { node:stats(1).runs - before, result:get(8) })
    end)

    it("ends what waits for a worker that is lost, and what waits for any if it was the last", function()
      for count = 1, 2 do
        gate.close()
        local node <close> = nodes.open(isolation, { devices = count })
        local x, y, z = cells(1), cells(2), cells(3)
        local run = node:submit(function(orch)
          hold(orch, 0)
          orch.submit_next_level(nodes.crash, { x }, { worker = 0 })
          local all = { { y, 3 }, { z, 4 } }
          if count == 2 then orch.submit_next_level_group(nodes.append, all) end
          orch.submit_next_level(nodes.append, { cells(0), 5 }, { worker = 0 })
          orch.submit_next_level(nodes.append, { cells(0), 6 })
          gate.open()
        end)
        raises("kernel_crash", function() assert(run:wait(gate.seconds)) end)
        if isolation == "thread" then
          assert.equal("lost", node:describe(0).state)
          run = node:submit(function(orch) orch.submit_next_level(nodes.append, { x, 2 }, { worker = 0 }) end)
          raises("worker_lost", function() assert(run:wait(gate.seconds)) end)
          pcall(x.get, x, 1) -- tells the failure, once
        end
        node:restart(0)
        node:run(function(orch) orch.submit_next_level(nodes.fill, { x, 8 }, { worker = 0 }) end)
        assert.equal(8, x:get(1))
      end
    end)

    describe("for a group", function()
      it("lets its members begin together on distinct workers", function()
        local node <close> = nodes.open(isolation, { devices = 3 })
        for _, workers in ipairs { { 0, 1, 2 }, { 2, "any", 0 }, { "any", "any", "any" }, { 1 }, {} } do
          local t, arrived = new_tickets(), tensor.zeros("i32", { 1 })
          local count = math.max(#workers, 1)
          node:run(function(orch)
            local members = {}
            for i = 1, count do members[i] = meeting(t, i, arrived, count) end
            orch.submit_next_level_group(nodes.meet, members, { workers = #workers > 0 and workers or nil })
          end)
          assert.same({ count, count }, { arrived:get(1), t.counter:get(1) })
        end
      end)

      it("is one task: what depends on a member waits for all", function()
        local node <close> = nodes.open(isolation)
        local x, y, z = cells(1), cells(2), cells(0)
        node:run(function(orch)
          local group = orch.submit_next_level_group(nodes.append, { { x, 3 }, { y, 4 } }, { workers = { 1, 0 } })
          orch.submit_next_level(nodes.mix, { x, y, z, 0 }, { worker = 0 })
          orch.wait(group)
          assert.same({ 13, 24 }, { x:get(1), y:get(1) })
        end)
        assert.equal(3 * 13 + 24, z:get(1))
      end)

      it("keeps its workers from later tasks until it has run, and others not", function()
        local node <close> = nodes.open(isolation, { devices = 3 })
        local t, arrived = new_tickets(), tensor.zeros("i32", { 1 })
        node:run(function(orch)
          hold(orch, 0)
          orch.submit_next_level_group(nodes.meet, { meeting(t, 1, arrived, 2), meeting(t, 2, arrived, 2) },
            { workers = { 0, 1 } })
          orch.submit_next_level(nodes.tick, ticket(t, 3), { worker = 1 })
          orch.wait(orch.submit_next_level(nodes.tick, ticket(t, 4), { worker = 2 }))
          gate.open()
        end)
        local order = t.tickets:slice(1, 1, 4):totable()
        assert.same({ 4, 1 }, { order[3], order[4] })
      end)

      it("keeps them from later groups too, which keep none for themselves", function()
        local node <close> = nodes.open(isolation, { devices = 3 })
        local t, first, second = new_tickets(), tensor.zeros("i32", { 1 }), tensor.zeros("i32", { 1 })
        node:run(function(orch)
          hold(orch, 0)
          orch.submit_next_level_group(nodes.meet, { meeting(t, 1, first, 2), meeting(t, 2, first, 2) }, { workers = { 0, 1 } })
          orch.submit_next_level_group(nodes.meet, { meeting(t, 3, second, 2), meeting(t, 4, second, 2) }, { workers = { 1, 2 } })
          orch.wait(orch.submit_next_level(nodes.tick, ticket(t, 5), { worker = 2 }))
          gate.open()
        end)
        local order = t.tickets:slice(1, 1, 5):totable()
        assert.equal(1, order[5])
        assert.is_true(math.max(order[1], order[2]) < math.min(order[3], order[4]))
      end)

      it("gives its workers back when it is cancelled", function()
        local node <close> = nodes.open(isolation)
        local t, x = new_tickets(), cells(0)
        local run = node:submit(function(orch)
          hold(orch, 0)
          orch.submit_next_level_group(nodes.tick, { ticket(t, 1), ticket(t, 2) }, { workers = { 0, 1 } })
        end)
        assert.is_true(run:cancel())
        gate.open()
        raises("cancelled", run.wait, run)
        run = node:submit(function(orch) orch.submit_next_level(nodes.append, { x, 7 }, { worker = 1 }) end)
        assert.is_true(run:wait(gate.seconds))
        assert.same({ 0, 7 }, { t.counter:get(1), x:get(1) })
      end)

      it("lets groups and single tasks that want the same workers all come to their turn", function()
        local node <close> = nodes.open(isolation, { devices = 3 })
        local rounds = os.getenv "BATON_TEST_SMALL" and 20 or 200
        local t, arrived = new_tickets(), tensor.zeros("i32", { 2 * rounds })
        node:run(function(orch)
          for i = 1, rounds do
            local low, high = arrived:slice(1, 2 * i - 1, 1), arrived:slice(1, 2 * i, 1)
            orch.submit_next_level_group(nodes.meet, { meeting(t, 1, low, 2), meeting(t, 2, low, 2) }, { workers = { 0, 1 } })
            orch.submit_next_level_group(nodes.meet, { meeting(t, 3, high, 2), meeting(t, 4, high, 2) }, { workers = { 1, 2 } })
            orch.submit_next_level(nodes.tick, ticket(t, 5), { worker = 0 })
            orch.submit_next_level(nodes.tick, ticket(t, 6), { worker = 2 })
            orch.submit_next_level(nodes.tick, ticket(t, 7))
          end
        end)
        assert.equal(7 * rounds, t.counter:get(1))
        assert.equal(4 * rounds, arrived:sum())
      end)

      it("ends as a whole when a member fails", function()
        local node <close> = nodes.open(isolation)
        local x, y, z = cells(1), cells(2), cells(3)
        local message = raises("user_fail", node.run, node, function(orch)
          orch.submit_next_level_group(nodes.stop, { { x, 4 }, { y, 4 } }, { workers = { 0, 1 } })
          orch.submit_next_level(nodes.copy, { x, z })
        end)
        assert.truthy(message:find("stopped at 4", 1, true), message)
        for _, unwritten in ipairs { x, y, z } do pcall(unwritten.get, unwritten, 1) end -- tells the failure, once
        assert.same({ 1, 2, 3 }, { x:get(1), y:get(1), z:get(1) })
      end)
    end)

    it("refuses at the submit what can never run, and goes on with the run", function()
      local node <close> = nodes.open(isolation, { subs = 2 })
      local x = cells(1)
      local function list(n)
        local made = {}
        for i = 1, n do made[i] = { cells(i), 1 } end
        return made
      end
      node:run(function(orch)
        raises("out_of_range", orch.submit_next_level, nodes.append, { x, 1 }, { worker = 2 })
        raises("invalid_argument", orch.submit_next_level, nodes.append, { x, 1 }, { worker = -1 })
        raises("out_of_range", orch.malloc, 2, 8)
        raises("out_of_range", orch.submit_next_level_group, nodes.append, list(2), { workers = { 0, 2 } })
        raises("unsupported", orch.submit_next_level_group, nodes.append, list(3))
        raises("invalid_argument", orch.submit_next_level_group, nodes.append, list(2), { workers = { 1, 1 } })
        raises("unsupported", orch.submit_sub_group, function() end, { {}, {}, {} })
        orch.submit_next_level(nodes.append, { x, 2 })
      end)
      assert.equal(12, x:get(1))
      local without <close> = nodes.open(isolation, { devices = 1 })
      without:run(function(orch)
        raises("unsupported", orch.submit_sub, function() end, {})
        raises("unsupported", orch.submit_sub_group, function() end, { {} })
        assert.same({ 1, 0 }, { orch.workers, orch.subs })
      end)
    end)

    it("runs functions of a group on distinct sub workers", function()
      local node <close> = nodes.open(isolation, { devices = 1, subs = 3 })
      local t, arrived = new_tickets(), tensor.zeros("i32", { 1 })
      node:run(function(orch)
        local members = {}
        for i = 1, 3 do members[i] = meeting(t, i, arrived, 3) end
        orch.submit_sub_group(nodes.meet, members)
      end)
      assert.equal(3, arrived:get(1))
    end)

    it("takes workers more while it lives, and ends one after what was submitted to it", function()
      local node <close> = nodes.open(isolation)
      local x = cells(1)
      local before, other = node:malloc(0, 8), node:malloc(1, 8)
      node:run(function(orch) orch.submit_next_level(nodes.append, { cells(0), 1 }) end) -- which the next worker is told
      local id = node:add { platform = "a5sim" }
      assert.same({ 2, 3 }, { id, node.workers })
      local run = node:submit(function(orch)
        for digit = 2, 4 do orch.submit_next_level(nodes.append, { x, digit }, { worker = digit - 2 }) end
      end)
      node:remove(0)
      assert.is_true(run:wait())
      assert.equal(1234, x:get(1))
      node:run(function(orch)
        raises("closed", orch.submit_next_level, nodes.append, { x, 5 }, { worker = 0 })
        for _ = 1, 4 do orch.submit_next_level(nodes.append, { x, 5 }) end
        assert.equal("closed", raises("closed", orch.copy_from, x, before) and "closed")
      end)
      assert.equal(12345555, x:get(1))
      node:copy_from(cells(0), other) -- memory of another worker stays
      assert.equal(3, node:add { device = 0 }) -- the device is free again
      raises("invalid_argument", node.add, node, { device = 0 })
    end)

    it("runs one program on chips of several platforms", function()
      local node <close> = nodes.open(isolation, { devices = { "a2a3sim:0", "a5sim:0" } })
      local x = cells(0)
      node:run(function(orch)
        for digit = 1, 6 do orch.submit_next_level(nodes.append, { x, digit }, { worker = digit % 2 }) end
      end)
      assert.equal(123456, x:get(1))
    end)
  end)
end
