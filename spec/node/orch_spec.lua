local baton = require "baton"
local glue = require "baton.busted"
local programs = require "spec.support.node"
local tensor = require "baton.tensor"
local raises = glue.raises

-- "file:line" so many lines above the caller.
local function place(above)
  local caller = debug.getinfo(2, "Sl")
  return ("%s:%d"):format(caller.short_src, caller.currentline - above)
end

for _, isolation in ipairs { "thread", "process" } do
  describe("orch, isolation " .. isolation .. ",", function()
    local node, sum
    local a, b, c

    setup(function() sum = programs.sum() end)
    before_each(function()
      node = baton.worker { level = 3, devices = "0-1", isolation = isolation }
      a, b, c = tensor.full("f32", { 8 }, 2), tensor.full("f32", { 8 }, 3), tensor.full("f32", { 8 }, -1)
    end)
    after_each(function() node:close() end)

    it("is handed over with the arguments as they are", function()
      local given = setmetatable({}, {})
      local seen
      local timing = node:run(function(orch, args)
        seen = args
        assert.same({ 2, 0 }, { orch.workers, orch.subs })
      end, given)
      assert.is_true(rawequal(given, seen))
      assert.equal(0, timing.tasks)
      node:run(function(_, args) seen = args end)
      assert.is_nil(seen)
    end)

    it("runs programs on the workers, ordered by what they touch", function()
      local d = tensor.zeros("f32", { 8 })
      local timing = node:run(function(orch, args)
        orch.submit_next_level(sum, { a, b, c }, { worker = 1 })
        orch.submit_next_level(sum, { a = c, b = c, c = args.d }, { worker = 0, name = "twice", priority = 3 })
      end, { d = d })
      assert.same({ 5, 10 }, { c:get(1), d:get(8) })
      assert.equal(2, timing.tasks)
    end)

    it("keeps intermediates in shared memory, and makes those of output{…}", function()
      node:run(function(orch)
        local t = orch.alloc("f32", { 8 })
        assert.same({ "f32", 8 }, { t.dtype, t.shape[1] })
        orch.submit_next_level(sum, { a, b, t })
        local task, u = orch.submit_next_level(sum, { a = t, b = t, c = baton.output { "f32", { 8 } } }, { worker = 1 })
        orch.submit_next_level(sum, { u, a, c }, { deps = { task } })
      end)
      assert.equal(12, c:get(8))
    end)

    it("has memory of the workers, with buffers that live on", function()
      local buffer
      node:run(function(orch)
        buffer = orch.malloc(1, a.nbytes)
        assert.same({ 1, 32 }, { buffer.worker, buffer.nbytes })
        orch.copy_to(buffer, a)
        orch.submit_next_level(sum, { buffer:tensor("f32", { 8 }), b, c })
      end)
      assert.equal(5, c:get(1))
      node:copy_from(b, buffer)
      assert.equal(2, b:get(8))
      node:copy_to(buffer, c, { offset = 4, nbytes = 8 })
      node:copy_to(buffer, c, { nbytes = 0 })
      node:copy_from(b, buffer)
      assert.same({ 2, 5, 5, 2 }, { b:get(1), b:get(2), b:get(3), b:get(4) })
      node:free(buffer)
    end)

    it("says where a buffer died", function()
      local buffer, other = node:malloc(0, 64), node:malloc(0, 64)
      local child = buffer:tensor("f32", { 8 })
      node:free(buffer)
      local freed = place(1)
      assert.equal("the buffer of 64 bytes was freed at " .. freed,
        raises("stale_handle", buffer.tensor, buffer, "f32", { 8 }))
      assert.equal("free: the buffer of 64 bytes was freed before, at " .. freed,
        raises("double_free", node.free, node, buffer))
      local wide = tensor.zeros("f32", { 100 }) -- more than it had room for
      for _, host in ipairs { a, wide } do
        assert.equal("the buffer of 64 bytes was freed at " .. freed, raises("stale_handle", node.copy_to, node, buffer, host))
      end
      local list = baton.args { child, b, c }
      other:close()
      local closed = place(1)
      other:close()
      node:run(function(orch)
        assert.equal("the buffer of 64 bytes was freed at " .. freed, raises("stale_handle", orch.submit_next_level, sum, list))
        assert.equal("the buffer of 64 bytes was closed at " .. closed, raises("closed", orch.copy_to, other, a))
        assert.equal("the buffer of 64 bytes was closed at " .. closed, raises("closed", orch.free, other))
        local inner = orch.malloc(0, 64)
        orch.free(inner)
        assert.equal("the buffer of 64 bytes was freed at " .. place(1),
          raises("stale_handle", inner.tensor, inner, "f32", { 8 }))
      end)
      assert.same({ 64, 0 }, { buffer.nbytes, buffer.worker })
    end)

    it("refuses memory that is not of the worker, the node or this level", function()
      local chip <close> = baton.worker { device = 5 }
      local other <close> = baton.worker { level = 3, devices = "6", isolation = isolation }
      local of_chip, of_other, own = chip:malloc(32), other:malloc(0, 32), node:malloc(1, 32)
      node:run(function(orch)
        local function submit(buffer, options)
          return raises("wrong_device", orch.submit_next_level, sum, { buffer:tensor("f32", { 8 }), b, c }, options)
        end
        submit(of_other)
        submit(own, { worker = 0 })
        assert.equal("the buffer belongs to a chip, not to this node", submit(of_chip))
        assert.equal("the buffer belongs to a chip, not to this node", raises("wrong_device", orch.free, of_chip))
      end)
      assert.equal("the buffer belongs to a node, not to this worker", raises("wrong_device", chip.free, chip, own))
      assert.equal("the buffer belongs to a node, not to this worker",
        raises("wrong_device", chip.run, chip, sum, { own:tensor("f32", { 8 }), b, c }))
    end)

    it("takes handles, and says where one was unregistered", function()
      local handle = node:register(sum)
      assert.is_true(handle == node:register(sum))
      node:run(function(orch) orch.submit_next_level(handle, { a, b, c }) end)
      assert.equal(5, c:get(8))
      node:unregister(handle)
      local at = place(1)
      node:run(function(orch)
        assert.equal("the program was unregistered at " .. at, raises("stale_handle", orch.submit_next_level, handle, { a, b, c }))
      end)
      assert.equal("unregister: the program was unregistered at " .. at, raises("stale_handle", node.unregister, node, handle))
      local other <close> = baton.worker { level = 3, devices = "6", isolation = isolation }
      local foreign = other:register(sum)
      node:run(function(orch)
        assert.equal("the handle belongs to another worker", raises("wrong_device", orch.submit_next_level, foreign, { a, b, c }))
      end)
    end)

    it("submits groups, one list for each member", function()
      local d = tensor.zeros("f32", { 8 })
      node:run(function(orch)
        orch.submit_next_level_group(sum, { { a, b, c }, { a = b, b = b, c = d } }, { workers = { 1, "any" }, name = "pair" })
        local _, e, f = orch.submit_next_level_group(sum, {
          { c, d, baton.output { "f32", { 8 } } }, baton.args { d, d, baton.output { "f32", { 8 } } } })
        orch.submit_next_level(sum, { e, f, a })
      end)
      assert.same({ 5, 6, 23 }, { c:get(1), d:get(1), a:get(1) })
    end)

    it("says what is wrong with a submit", function()
      node:run(function(orch)
        local function message(list, options) return raises("signature", orch.submit_next_level, sum, list, options) end
        assert.equal("sum: argument 3 (c) is missing", message { a = a, b = b })
        assert.equal("sum: no argument is named d", message { a = a, b = b, c = c, d = 1 })
        assert.equal("sum: argument 2 (b): a tensor or a number expected, got nothing", message { a, "nothing", c })
        assert.equal("sum: argument 2 (b): f32[n=8] expected, got f32[9]", message { a, tensor.zeros("f32", { 9 }), c })
        assert.equal("sum: a table of arguments expected, got 7", message(7))
        assert.equal("orch.submit_next_level: a program or a handle expected, got a function",
          raises("invalid_argument", orch.submit_next_level, function() end, {}))
        assert.equal("orch.submit_next_level: a program or a handle expected, got nil",
          raises("invalid_argument", orch.submit_next_level))
        assert.equal("orch.submit_next_level: a list of arguments and options expected, got more",
          raises("invalid_argument", orch.submit_next_level, sum, a, b, c))
        assert.equal("orch.submit_next_level_group: 2 members, but field 'workers' has 1 place",
          raises("invalid_argument", orch.submit_next_level_group, sum, { { a, b, c }, { b, b, c } }, { workers = { 0 } }))
        assert.equal("sum: member 2: a list of arguments expected, got 3",
          raises("signature", orch.submit_next_level_group, sum, { { a, b, c }, 3 }))
        assert.equal("sum: a list of argument lists expected, one for each member, got a table",
          raises("signature", orch.submit_next_level_group, sum, {}))
      end)
    end)

    it("says what is wrong with an option", function()
      node:run(function(orch)
        local function message(code, options) return raises(code, orch.submit_next_level, sum, { a, b, c }, options) end
        assert.equal("orch.submit_next_level: unknown option 'worke', did you mean 'worker'?", message("unknown_option", { worke = 1 }))
        assert.equal("orch.submit_next_level: unknown option 'workers', did you mean 'worker'?",
          message("unknown_option", { workers = { 1 } }))
        assert.equal("field 'worker' must be the number of a worker or \"any\", got -1", message("invalid_argument", { worker = -1 }))
        assert.equal("field 'worker' must be the number of a worker or \"any\", got 0.5", message("invalid_argument", { worker = 0.5 }))
        message("out_of_range", { worker = 2 })
        message("out_of_range", { worker = 0x7fffffff })
        assert.equal("field 'priority' must be an integer in -100..100, got 101", message("invalid_argument", { priority = 101 }))
        assert.equal("field 'deps' must be a list of tasks, entry 1 is x", message("invalid_argument", { deps = { "x" } }))
        assert.equal("the task is none of this run", message("stale_handle", { deps = { 7 } }))
        assert.equal("field 'name' must be a string, got 3", message("invalid_argument", { name = 3 }))
        message("unknown_option", { config = { tracer = true } })
        assert.equal("orch.submit_next_level: options must be a table, got 3", message("invalid_argument", 3))
        orch.submit_next_level(sum, { a, b, c }, { worker = "any" })
      end)
      assert.equal(5, c:get(1))
    end)

    it("is a table of functions", function()
      node:run(function(orch)
        assert.equal("orch:submit_next_level: orch is a table of functions, write orch.submit_next_level(…)",
          raises("invalid_argument", function() orch:submit_next_level(sum, { a, b, c }) end))
        assert.matches("^orch.submit: no such function; there are submit_next_level ",
          raises("invalid_argument", function() return orch.submit end))
      end)
    end)

    it("is dead when the function has returned, and so are its tasks and tensors", function()
      local kept, task, t
      node:run(function(orch)
        kept, t = orch, orch.alloc("f32", { 8 })
        task = orch.submit_next_level(sum, { a, b, c })
      end)
      for _, name in ipairs { "submit_next_level", "submit_next_level_group", "malloc", "free", "copy_to", "copy_from", "alloc",
        "scope", "wait", "fail" } do
        assert.equal(("orch.%s: the orchestrating function has returned, its orch is dead"):format(name), raises("state", kept[name]))
      end
      node:run(function(orch)
        assert.equal("the task is none of this run", raises("stale_handle", orch.wait, task))
        assert.equal("sum: argument 1: a tensor of another run; it lived until its function returned",
          raises("stale_handle", orch.submit_next_level, sum, { t, b, c }))
      end)
    end)

    it("rethrows what the function raises, as it is", function()
      local value = setmetatable({}, {})
      local function raised(fn) return select(2, pcall(node.run, node, fn)) end
      assert.is_true(rawequal(value, raised(function() error(value) end)))
      assert.is_nil(raised(function() error(nil) end))
      assert.equal(7, raised(function() error(7) end))
      assert.equal("plain", raised(function() error("plain", 0) end))
      assert.is_true(rawequal(value, select(2, pcall(node.submit, node, function() error(value) end))))
      assert.equal("run: the orchestrating function must not yield", raised(function() coroutine.yield() end).message)
      assert.equal("run: the orchestrating function must not yield", (select(2, coroutine.resume(coroutine.create(function()
        node:run(function() coroutine.yield() end)
      end)))).message)
      node:run(function(orch) orch.submit_next_level(sum, { a, b, c }) end)
      assert.equal(5, c:get(1))
    end)

    it("ends the run with the user's message", function()
      assert.equal("no more", raises("user_fail", node.run, node, function(orch) orch.fail "no more" end))
      assert.equal("no more", raises("user_fail", node.run, node, function(orch)
        assert.equal("no more", raises("user_fail", orch.fail, "no more"))
        assert.equal("no more", raises("user_fail", orch.submit_next_level, sum, { a, b, c }))
      end))
      node:run(function(orch)
        assert.equal("orch.fail: a message expected, got nil", raises("invalid_argument", orch.fail))
      end)
    end)

    it("cannot wait for itself", function()
      local earlier, buffer = node:submit(function(orch) orch.submit_next_level(sum, { a, b, c }) end), node:malloc(0, a.nbytes)
      node:run(function(orch)
        raises("state", node.run, node, function() end)
        raises("state", node.submit, node, function() end)
        for name, arguments in pairs { malloc = { 0, 64 }, copy_to = { buffer, a }, copy_from = { a, buffer } } do
          assert.equal(name .. ": called inside an orchestrating function of the same node, it would wait for itself",
            raises("state", node[name], node, table.unpack(arguments)))
        end
        raises("state", node.close, node)
        orch.submit_next_level(sum, { a, b, c })
      end)
      earlier:wait()
      assert.equal(5, c:get(1))
      assert.equal("ready", node.state)
    end)

    it("has scopes", function()
      local names = {}
      node:run(function(orch)
        local t
        names[1] = orch.scope(function()
          t = orch.alloc("f32", { 8 })
          orch.submit_next_level(sum, { a, b, t })
          orch.submit_next_level(sum, { t, t, c })
          return "value"
        end)
        raises("stale_handle", orch.submit_next_level, sum, { t, t, c })
        names[2] = select(2, pcall(orch.scope, function() error("inside", 0) end))
        do
          local _ <close> = orch.scope()
          t = orch.alloc("f32", { 8 })
        end
        raises("stale_handle", orch.submit_next_level, sum, { t, t, c })
        assert.equal("orch.scope: a function expected, got 3", raises("invalid_argument", orch.scope, 3))
      end)
      assert.same({ "value", "inside" }, names)
      assert.equal(10, c:get(1))
    end)

    it("waits for tasks in the middle of a run", function()
      node:run(function(orch)
        local task = orch.submit_next_level(sum, { a, b, c })
        orch.wait(task)
        assert.equal(5, c:get(1))
        orch.submit_next_level(sum, { c, c, a })
        orch.wait()
        assert.equal(10, a:get(8))
        assert.equal("orch.wait: a task expected, got x", raises("invalid_argument", orch.wait, "x"))
      end)
    end)

    -- KiB that 1,000 submits leave behind.
    local function garbage(submit)
      submit()
      collectgarbage()
      collectgarbage "stop"
      local before = collectgarbage "count"
      for _ = 1, 1000 do submit() end
      local after = collectgarbage "count"
      collectgarbage "restart"
      return after - before
    end

    it("makes no garbage from prepared lists", function()
      local list, named, where = baton.args { a, b, c }, baton.args { c = c, b = b, a = a }, { worker = 1, priority = 2 }
      local made = {}
      node:run(function(orch)
        made[1] = garbage(function() orch.submit_next_level(sum, list) end)
        made[2] = garbage(function() orch.submit_next_level(sum, named, where) end)
        made[3] = garbage(function() orch.submit_next_level(sum, { a, b, c }) end) > 0
      end)
      assert.same({ 0, 0, true }, made)
    end)

    it("reads prepared lists anew when an entry has changed, in another order, and in another run", function()
      local turned = programs.turned()
      local list, d = baton.args { a = a, b = b, c = c }, tensor.zeros("f32", { 8 })
      for _ = 1, 2 do
        node:run(function(orch)
          orch.submit_next_level(sum, list)
          orch.submit_next_level(turned, list)
          list.a, list.c = c, d
          orch.submit_next_level(sum, list)
          list.a, list.c = a, c
        end)
        assert.same({ 5, 8 }, { c:get(1), d:get(1) })
      end
      d:close()
      node:run(function(orch)
        list.c = c
        orch.submit_next_level(sum, list)
        a:close()
        assert.equal("the tensor is closed", raises("closed", orch.submit_next_level, sum, list))
      end)
    end)
  end)
end
