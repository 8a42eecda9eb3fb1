-- The order of what a node runs, from what its tasks touch: as if they were run one after the other.
local baton = require "baton"
local gate = require "spec.support.gate"
local nodes = require "spec.support.node_programs"
local raises = require("baton.busted").raises
local tensor = require "baton.tensor"

local function cells(value, count) return tensor.full("i64", { count or 1 }, value) end
local function counters() return tensor.zeros("i32", { 8 }) end

for _, isolation in ipairs(nodes.isolations) do
  describe("with isolation " .. isolation .. " a node", function()
    before_each(function() gate.close() end)
    after_each(function() gate.gone() end)

    -- Runs `build` with chip 0 held, so that what it submits there waits; the gate is opened at the end of `build`.
    local function while_held(node, build)
      return node:run(function(orch)
        orch.submit_next_level(nodes.hold, { cells(0) }, { worker = 0 })
        build(orch)
        gate.open()
      end)
    end

    -- Waits for a task on chip 1 that has nothing to do with others.
    local function pass_time(orch)
      local counter = counters()
      orch.wait(orch.submit_next_level(nodes.tick, { counter:slice(1, 1, 1), counter:slice(1, 2, 1) }, { worker = 1 }))
    end

    it("runs tasks on one tensor one after the other, whatever chip they are on", function()
      local node <close> = nodes.open(isolation)
      local x = cells(0)
      node:run(function(orch, args)
        for digit = 1, 9 do orch.submit_next_level(nodes.append, { args.x, digit }, { worker = digit % 2 }) end
      end, { x = x })
      assert.equal(123456789, x:get(1))
    end)

    it("lets a reader wait for the writer before it", function()
      local node <close> = nodes.open(isolation)
      local x, y = cells(1), cells(0)
      while_held(node, function(orch)
        orch.submit_next_level(nodes.fill, { x, 5 }, { worker = 0 })
        orch.submit_next_level(nodes.copy, { x, y }, { worker = 1 })
        pass_time(orch)
      end)
      assert.equal(5, y:get(1))
    end)

    it("lets a writer wait for the readers before it", function()
      local node <close> = nodes.open(isolation)
      local x, y = cells(1), cells(0)
      while_held(node, function(orch)
        orch.submit_next_level(nodes.copy, { x, y }, { worker = 0 })
        orch.submit_next_level(nodes.fill, { x, 9 }, { worker = 1 })
        pass_time(orch)
      end)
      assert.same({ 1, 9 }, { y:get(1), x:get(1) })
    end)

    it("lets a writer wait for the writer before it", function()
      local node <close> = nodes.open(isolation)
      local x = cells(0)
      while_held(node, function(orch)
        orch.submit_next_level(nodes.fill, { x, 1 }, { worker = 0 })
        orch.submit_next_level(nodes.fill, { x, 2 }, { worker = 1 })
        pass_time(orch)
      end)
      assert.equal(2, x:get(1))
    end)

    it("orders an input and an output of views that share a part", function()
      local node <close> = nodes.open(isolation)
      local x, y = tensor.arange("i64", { 8 }), cells(0, 4)
      while_held(node, function(orch)
        orch.submit_next_level(nodes.copy, { x:slice(1, 1, 4), y }, { worker = 0 })
        orch.submit_next_level(nodes.fill, { x:slice(1, 4, 4), 9 }, { worker = 1 })
        pass_time(orch)
      end)
      assert.same({ 0, 1, 2, 3 }, y:totable())
      assert.same({ 0, 1, 2, 9, 9, 9, 9, 7 }, x:totable())
    end)

    it("does not let disjoint views of one tensor wait, nor readers, nor what is tagged no_dep", function()
      local node <close> = nodes.open(isolation)
      local x, y, z = tensor.arange("i64", { 8 }), cells(0), cells(0)
      local task
      while_held(node, function(orch)
        orch.submit_next_level(nodes.fill, { x:slice(1, 1, 4), 5 }, { worker = 0 })
        orch.wait(orch.submit_next_level(nodes.fill, { x:slice(1, 5, 4), 7 }, { worker = 1 }))
        orch.submit_next_level(nodes.copy, { x:slice(1, 8, 1), y }, { worker = 0 })
        orch.wait(orch.submit_next_level(nodes.copy, { x:slice(1, 8, 1), z }, { worker = 1 }))
        task = orch.submit_next_level(nodes.append, { baton.no_dep(y), 0 }, { worker = 1 })
        orch.wait(task)
      end)
      assert.same({ 5, 5, 5, 5, 7, 7, 7, 7 }, x:totable())
      assert.same({ 7, 7 }, { y:get(1), z:get(1) })
    end)

    it("takes edges from deps too", function()
      local node <close> = nodes.open(isolation)
      local counter = counters()
      local function tick(orch, i, options)
        return orch.submit_next_level(nodes.tick, { baton.no_dep(counter:slice(1, 1, 1)), counter:slice(1, i, 1) }, options)
      end
      while_held(node, function(orch)
        local first = tick(orch, 2, { worker = 0 })
        local second = tick(orch, 3, { worker = 1, deps = { first } })
        orch.wait(tick(orch, 4, { worker = 1 }))
        tick(orch, 5, { worker = 1, deps = { first, second } })
      end)
      assert.same({ 4, 2, 3, 1, 4 }, counter:slice(1, 1, 5):totable())
    end)

    describe("with memory of two chips, which begins at the same addresses,", function()
      it("keeps it apart", function()
        local node <close> = nodes.open(isolation)
        local zero, one = node:malloc(0, 64), node:malloc(1, 64)
        local a, b = cells(0, 8), cells(0, 8)
        node:copy_to(zero, cells(1, 8))
        node:copy_to(one, cells(2, 8))
        node:copy_from(a, zero)
        node:copy_from(b, one)
        assert.same({ 1, 2, 0, 1 }, { a:get(8), b:get(8), zero.worker, one.worker })
        while_held(node, function(orch)
          orch.submit_next_level(nodes.fill, { zero:tensor("i64", { 8 }), 5 })
          orch.wait(orch.submit_next_level(nodes.fill, { one:tensor("i64", { 8 }), 7 }))
        end)
        node:copy_from(a, zero)
        node:copy_from(b, one)
        assert.same({ 5, 7 }, { a:get(1), b:get(1) })
      end)

      it("refuses the memory of another chip, and goes on with the run", function()
        local node <close> = nodes.open(isolation)
        local zero, one, host = node:malloc(0, 64), node:malloc(1, 64), cells(0, 8)
        local x, y = zero:tensor("i64", { 8 }), one:tensor("i64", { 8 })
        node:run(function(orch)
          raises("wrong_device", orch.submit_next_level, nodes.fill, { x, 1 }, { worker = 1 })
          raises("wrong_device", orch.submit_next_level, nodes.copy, { x, y })
          raises("wrong_device", orch.submit_next_level_group, nodes.fill, { { y, 1 }, { x, 1 } }, { workers = { 0, 1 } })
          orch.submit_next_level_group(nodes.fill, { { y, 1 }, { x, 2 } }, { workers = { 1, 0 } })
          orch.copy_from(host, one)
        end)
        assert.equal(1, host:get(8))
      end)
    end)

    it("refuses a tensor that one task reads and writes, in either order", function()
      local node <close> = nodes.open(isolation)
      local x, buffer = cells(3, 8), node:malloc(0, 64)
      local d = buffer:tensor("i64", { 8 })
      node:run(function(orch)
        for _, pair in ipairs { { x, x }, { x:slice(1, 1, 4), x:slice(1, 4, 4) }, { d, d } } do
          raises("signature", orch.submit_next_level, nodes.copy, pair)
          raises("signature", orch.submit_next_level, nodes.turned, pair)
        end
      end)
      assert.same({ 3, 3, 3, 3, 3, 3, 3, 3 }, x:totable())
    end)

    it("orders malloc, copies and free with the tasks before and after them", function()
      local node <close> = nodes.open(isolation)
      local first, second = cells(1, 8), cells(0, 8)
      node:run(function(orch)
        local buffer = orch.malloc(1, 64)
        local x = buffer:tensor("i64", { 8 })
        orch.copy_to(buffer, first)
        for digit = 2, 5 do orch.submit_next_level(nodes.append, { x:slice(1, 1, 1), digit }) end
        orch.copy_from(second, buffer)
        orch.submit_next_level(nodes.fill, { x, 7 })
        assert.equal(12345, second:get(1)) -- waits for the copy
        orch.copy_from(first, buffer)
        orch.free(buffer)
        raises("stale_handle", orch.copy_from, second, buffer)
        raises("double_free", orch.free, buffer)
      end)
      assert.same({ 7, 7, 12345, 1 }, { first:get(1), first:get(8), second:get(1), second:get(8) })
    end)

    it("says of memory that there was not enough, and that a buffer has never had any", function()
      local node <close> = nodes.open(isolation)
      local buffer
      raises("out_of_memory", node.run, node, function(orch) buffer = orch.malloc(1, 1 << 50) end)
      assert.equal("the buffer of 1125899906842624 bytes on worker 1 was never allocated",
        raises("stale_handle", buffer.tensor, buffer, "i64", { 1 }))
    end)

    it("copies parts of a buffer, and strided views packed", function()
      local node <close> = nodes.open(isolation)
      local x, y = tensor.arange("i64", { 4, 4 }), tensor.zeros("i64", { 4, 4 })
      node:run(function(orch)
        local buffer = orch.malloc(0, 128)
        orch.copy_to(buffer, x)
        orch.copy_to(buffer, x:transpose(1, 2):slice(1, 1, 1), { offset = 32 })
        orch.copy_from(y:transpose(1, 2), buffer)
      end)
      assert.same({ { 0, 0, 8, 12 }, { 1, 4, 9, 13 }, { 2, 8, 10, 14 }, { 3, 12, 11, 15 } }, y:totable())
    end)

    it("runs several runs in the order in which they began", function()
      local node <close> = nodes.open(isolation)
      local x, runs = cells(0), {}
      for digit = 1, 9 do
        runs[digit] = node:submit(function(orch, args)
          orch.submit_next_level(nodes.append, { args[1], digit }, { worker = digit % 2 })
        end, { x })
      end
      for digit = 9, 1, -1 do assert.is_true(runs[digit]:wait()) end
      assert.equal(123456789, x:get(1))
    end)

    it("lets an access to a host tensor wait for the runs that use it", function()
      local node <close> = nodes.open(isolation)
      local x, y = cells(1), cells(0)
      local run = node:submit(function(orch)
        for digit = 2, 6 do orch.submit_next_level(nodes.append, { x, digit }, { worker = digit % 2 }) end
        orch.submit_next_level(nodes.copy, { x, y })
      end)
      x:set(9, 1)
      assert.same({ 123456, 9 }, { y:get(1), x:get(1) })
      assert.is_true(run:wait(20))
    end)
  end)
end
