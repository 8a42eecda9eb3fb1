-- What a node promises, whether its workers are threads of this process or children.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local memory = require "spec.support.memory"
local nodes = require "spec.support.node_programs"
local raises = glue.raises
local tensor = require "baton.tensor"

local is_small = os.getenv "BATON_TEST_SMALL" ~= nil

local function cells(value, count) return tensor.full("i64", { count or 1 }, value) end

-- What `f` raises, which must be something.
local function raised(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

for _, isolation in ipairs(nodes.isolations) do
  describe("with isolation " .. isolation .. " a node", function()
    before_each(function() gate.close() end)
    after_each(function() gate.gone() end)

    -- It works after whatever has happened.
    local function check_usable(node)
      local x = cells(0)
      node:run(function(orch)
        for digit = 1, 4 do orch.submit_next_level(nodes.append, { x, digit }, { worker = digit % 2 }) end
      end)
      assert.equal(1234, x:get(1))
    end

    -- Submits a run in which chip 0 is held until the gate opens; `build` submits the rest.
    local function submit_held(node, build)
      local run = node:submit(function(orch)
        orch.submit_next_level(nodes.hold, { cells(0) }, { worker = 0 })
        if build then build(orch) end
      end)
      gate.await "began"
      return run
    end

    describe("as to results", function()
      it("has them in host tensors when run returns, and says what was done", function()
        local node <close> = nodes.open(isolation)
        local a, b, c = cells(1, 100), cells(2, 100), cells(0, 100)
        local timing = node:run(function(orch, args)
          assert.equal(a, args.a)
          orch.submit_next_level(nodes.mix, { a = args.a, b = args.b, c = args.c, k = 4 })
        end, { a = a, b = b, c = c })
        assert.same({ 9, 9 }, { c:get(1), c:get(100) })
        assert.equal(1, timing.tasks)
        assert.is_true(timing.host > 0 and timing.device > 0)
      end)

      it("gives an orchestrating function what a task wrote, in host and in child memory", function()
        local node <close> = nodes.open(isolation)
        local buffer, host, x = node:malloc(1, 64), cells(0, 8), cells(0)
        node:run(function(orch)
          orch.submit_next_level(nodes.fill, { buffer:tensor("i64", { 8 }), 6 })
          orch.copy_from(host, buffer)
          local six = host:get(8)
          for _ = 1, six do orch.submit_next_level(nodes.append, { x, 1 }) end
          assert.equal(111111, x:get(1))
        end)
        assert.equal(111111, x:get(1))
      end)

      it("carries what functions on sub workers return", function()
        local node <close> = nodes.open(isolation, { subs = 2 })
        local x = cells(20)
        node:run(function(orch)
          local sum = orch.submit_sub(function(args) return args.x:get(1) + args.more, "two", { 3, nested = { true } }, nil, 0.5 end,
            { x = x, more = 1 })
          local write = orch.submit_sub(function(args) args[1]:set(7, 1) end, { x })
          local n, word, list, none, half = sum:result()
          assert.same({ 21, "two", { 3, nested = { true } }, 0.5 }, { n, word, list, half })
          assert.is_nil(none)
          assert.equal(0, select("#", write:result()))
          assert.equal(7, x:get(1))
        end)
      end)

      it("keeps intermediates until their scope ends, and what they hold in order", function()
        local node <close> = nodes.open(isolation)
        local results = cells(0, 20)
        node:run(function(orch)
          local last
          for i = 1, 20 do
            orch.scope(function()
              local one, two = orch.alloc("i64", { 1 }), orch.alloc("i64", { 1 })
              orch.submit_next_level(nodes.fill, { one, i }, { worker = i % 2 })
              orch.submit_next_level(nodes.mix, { one, one, two, 1 })
              orch.submit_next_level(nodes.copy, { two, results:slice(1, i, 1) })
              last = two
            end)
          end
          raises("stale_handle", orch.submit_next_level, nodes.copy, { last, results:slice(1, 1, 1) })
        end)
        for i = 1, 20 do assert.equal(4 * i + 1, results:get(i)) end
      end)

      it("takes back the heap of intermediates, also when an error leaves their scope", function()
        local node <close> = nodes.open(isolation, { heap = "1MiB" })
        local most = 600 * 1024 // 8
        local result = cells(0)
        node:run(function(orch)
          for i = 1, 20 do
            local left = raised(orch.scope, function()
              local x = orch.alloc("i64", { most })
              orch.submit_next_level(nodes.fill, { x, i })
              orch.submit_next_level(nodes.copy, { x:slice(1, most, 1), result })
              error("left " .. i, 0)
            end)
            assert.equal("left " .. i, left)
          end
        end)
        assert.equal(20, result:get(1))
        local err = raised(node.run, node, function(orch)
          orch.alloc("i64", { most })
          orch.alloc("i64", { most })
        end)
        assert.is_truthy(err.code == "heap_full" or err.code == "scope_deadlock", tostring(err))
        check_usable(node)
      end)
    end)

    describe("as to runs", function()
      it("waits for so long, and says nil when the time is up", function()
        local node <close> = nodes.open(isolation)
        local x = cells(1)
        local run = submit_held(node, function(orch) orch.submit_next_level(nodes.append, { x, 2 }, { worker = 0 }) end)
        assert.is_nil(run:wait(0.01))
        assert.same({ false, "busy" }, { run:done(), node.state })
        gate.open()
        assert.is_true(run:wait())
        assert.equal("ready", node.state)
        assert.is_true(run:wait(0))
        assert.same({ true, 12 }, { run:done(), x:get(1) })
      end)

      it("keeps several in flight", function()
        local node <close> = nodes.open(isolation)
        local x, runs = cells(0), {}
        runs[1] = submit_held(node)
        for digit = 1, 5 do
          runs[digit + 1] = node:submit(function(orch) orch.submit_next_level(nodes.append, { x, digit }) end)
        end
        for _, run in ipairs(runs) do assert.is_false(run:done()) end
        gate.open()
        assert.is_true(runs[6]:wait())
        for _, run in ipairs(runs) do assert.is_true(run:done()) end
        assert.equal(12345, x:get(1))
      end)

      it("cancels one: what has not begun does not, and the next one is as if it had not been", function()
        local node <close> = nodes.open(isolation)
        local x, y = cells(1), cells(1)
        local run = submit_held(node, function(orch) orch.submit_next_level(nodes.append, { x, 2 }, { worker = 0 }) end)
        local next_run = node:submit(function(orch) orch.submit_next_level(nodes.append, { y, 3 }) end)
        assert.is_true(run:cancel())
        gate.open()
        raises("cancelled", run.wait, run)
        raises("cancelled", run.wait, run)
        assert.is_false(run:cancel())
        assert.is_true(next_run:wait())
        assert.equal(13, y:get(1))
        -- what the run should have written: who waited for it knows
        assert.equal(1, x:get(1))
        check_usable(node)
      end)

      it("tells of its failure who waits for it, or else who touches what it should have written", function()
        local node <close> = nodes.open(isolation)
        local x, y = cells(1), cells(1)
        local function fail(orch)
          orch.submit_next_level(nodes.stop, { x, 4 })
          orch.submit_next_level(nodes.copy, { x, y })
        end
        raises("user_fail", node.run, node, fail)
        assert.same({ 1, 1 }, { x:get(1), y:get(1) })
        local run = node:submit(fail)
        assert.matches("stopped at 4", raises("user_fail", x.get, x, 1))
        raises("user_fail", y.get, y, 1)
        assert.same({ 1, 1 }, { x:get(1), y:get(1) })
        raises("user_fail", run.wait, run)
        run = node:submit(fail)
        raises("user_fail", run.wait, run)
        assert.matches("no more$", select(2, pcall(node.run, node, function(orch)
          orch.submit_next_level(nodes.stop, { x, 4 })
          error "no more"
        end)))
        assert.same({ 1, 1 }, { x:get(1), y:get(1) })
      end)

      it("cancels one that waits for another", function()
        local node <close> = nodes.open(isolation)
        local x = cells(1)
        local run = submit_held(node)
        local next_run = node:submit(function(orch) orch.submit_next_level(nodes.append, { x, 2 }) end)
        assert.is_true(next_run:cancel())
        gate.open()
        raises("cancelled", next_run.wait, next_run)
        assert.is_true(run:wait())
        check_usable(node)
      end)

      it("closes with runs in flight, which are cancelled", function()
        local node = nodes.open(isolation)
        local run = submit_held(node)
        gate.open()
        node:close()
        node:close()
        local ok, err = pcall(run.wait, run)
        assert.is_true(ok or err.code == "cancelled" or err.code == "closed", tostring(err))
        raises("closed", node.run, node, function() end)
        raises("closed", node.malloc, node, 0, 8)
      end)

      it("sleeps while it waits for a task", function()
        local asleep = baton.program { name = "asleep", signature = { { "x", "inout", "i64" } }, host = { entry = "asleep", code = [[
          #include <baton/kernel.h>
          #include <unistd.h>
          BATON_KERNEL(asleep) { sleep(2); baton_io(args, 0, int64_t)[0] += 1; }]] } }
        local node <close> = nodes.open(isolation)
        local x = cells(1)
        check_usable(node)
        local before = os.clock() -- of all threads of this process
        node:run(function(orch)
          orch.submit_next_level(asleep, { x }, { worker = 0 })
          orch.submit_next_level(nodes.append, { x, 3 }, { worker = 1 })
        end)
        local used = os.clock() - before
        assert.equal(23, x:get(1))
        assert.is_true(used < 0.5, used .. " s of CPU in two seconds")
      end)

      it("needs as much memory after 20000 as after 5000, with one always registered", function()
        local node <close> = nodes.open(isolation)
        local count = is_small and 400 or 20000
        local x = cells(0)
        local function step(orch) orch.submit_next_level(nodes.fill, { x, 1 }) end
        local run, before = node:submit(step), nil
        for i = 1, count do
          local later = node:submit(step)
          run:wait()
          run = later
          if i == count // 4 then before = memory.resident() end
        end
        run:wait()
        local grown = memory.resident() - before
        if memory.is_telling then assert.is_true(grown < 2048, grown .. " KiB more") end
      end)
    end)

    describe("as to errors", function()
      it("rethrows what the function raised as it is, after what has begun has ended", function()
        local node <close> = nodes.open(isolation)
        local x, thrown = cells(1), setmetatable({}, { __tostring = function() return "mine" end })
        for _, method in ipairs { "run", "submit" } do
          assert.equal(thrown, raised(node[method], node, function(orch)
            orch.wait(orch.submit_next_level(nodes.append, { x, 2 }))
            error(thrown)
          end))
        end
        assert.equal(122, x:get(1))
        check_usable(node)
      end)

      it("cancels what has not begun when the function raises", function()
        local node <close> = nodes.open(isolation)
        local x = cells(1)
        local message = raised(node.run, node, function(orch)
          orch.submit_next_level(nodes.hold, { cells(0) }, { worker = 0 })
          gate.await "began"
          orch.submit_next_level(nodes.fill, { x, 2 }, { worker = 0 })
          gate.open()
          error("enough", 0)
        end)
        assert.equal("enough", message)
        check_usable(node)
      end)

      it("ends a run with the function's message", function()
        local node <close> = nodes.open(isolation)
        assert.equal("not like this", raises("user_fail", node.run, node, function(orch) orch.fail "not like this" end))
        check_usable(node)
      end)

      it("keeps their structure, and the first cause wins", function()
        local node <close> = nodes.open(isolation)
        local x, y = cells(1), cells(2)
        local err = raised(node.run, node, function(orch)
          orch.submit_next_level(nodes.stop, { x, 42 }, { worker = 1 })
          orch.submit_next_level(nodes.mix, { x, x, y, 0 }, { worker = 0 })
        end)
        assert.same({ "user_fail", "run", 1 }, { err.code, err.kernel, err.worker })
        assert.truthy(err.message:find("stopped at 42", 1, true), err.message)
        err = raised(node.run, node, function(orch)
          raised(orch.wait, orch.submit_next_level(nodes.stop, { x, 1 }))
          orch.submit_next_level(nodes.stop, { y, 2 })
        end)
        assert.truthy(err.message:find("stopped at 1", 1, true), err.message)
        check_usable(node)
      end)

      it("carries those of sub workers with code, traceback and 32 KiB of text", function()
        local node <close> = nodes.open(isolation, { subs = 1 })
        local long = ("long "):rep(6400)
        local err = raised(node.run, node, function(orch)
          orch.submit_sub(function(args) error(args.text, 0) end, { text = long })
        end)
        assert.truthy(err.message:find(long, 1, true), #err.message)
        err = raised(node.run, node, function(orch)
          orch.submit_sub(function()
            local function inner() error "deep inside" end
            inner()
          end, {})
        end)
        assert.truthy(err.message:find("deep inside", 1, true), err.message)
        local all = err.message .. tostring(err.cause)
        assert.truthy(all:find("conformance_spec.lua", 1, true), all)
        assert.truthy(all:find("traceback", 1, true), all)
        check_usable(node)
      end)

      it("are raised by who waits for a task, and by who reads what it should have written", function()
        local node <close> = nodes.open(isolation, { subs = 1 })
        local x = cells(1)
        local err = raised(node.run, node, function(orch)
          raises("user_fail", orch.wait, orch.submit_next_level(nodes.stop, { x, 5 }))
        end)
        assert.equal("user_fail", err.code)
        err = raised(node.run, node, function(orch)
          local task = orch.submit_sub(function() error "no result" end, {})
          task:result()
        end)
        assert.truthy(tostring(err):find("no result", 1, true), tostring(err))
        check_usable(node)
      end)

      it("poison a chain of 100000 tasks behind the head, as one", function()
        local node <close> = nodes.open(isolation)
        local length = is_small and 2000 or 100000
        local x, reached = cells(1), 0
        local err = raised(node.run, node, function(orch)
          orch.submit_next_level(nodes.stop, { x, 1 })
          local list = baton.args { x, 1 }
          for i = 1, length do
            orch.submit_next_level(nodes.append, list)
            reached = i
          end
        end)
        assert.equal("user_fail", err.code)
        assert.truthy(err.message:find("stopped at 1", 1, true), err.message)
        assert.is_true(reached <= length)
        check_usable(node)
      end)

      it("of a kernel that crashes cost the run; the buffers stay", function()
        local node <close> = nodes.open(isolation)
        local buffer, host, x = node:malloc(0, 64), cells(5, 8), cells(1)
        node:copy_to(buffer, host)
        for _ = 1, is_small and 1 or 3 do
          local err = raised(node.run, node, function(orch)
            orch.submit_next_level(nodes.crash, { x }, { worker = 0 })
            orch.submit_next_level(nodes.append, { x, 2 }, { worker = 1 })
          end)
          assert.same({ "kernel_crash", 0, 11 }, { err.code, err.worker, err.signal })
          if isolation == "thread" then
            assert.equal("lost", node.state)
            node:restart(0)
          end
          check_usable(node)
        end
        host:fill(0)
        node:copy_from(host, buffer)
        assert.same({ 5, 5 }, { host:get(1), host:get(8) })
      end)
    end)

    describe("as to what an orchestrating function must not do", function()
      it("answers state to run, close and yield inside, and to orch afterwards", function()
        local node <close> = nodes.open(isolation)
        local kept
        node:run(function(orch)
          kept = orch
          raises("state", node.run, node, function() end)
          raises("state", node.close, node)
          raises("state", node.malloc, node, 0, 8)
        end)
        raises("state", kept.wait)
        raises("state", kept.submit_next_level, nodes.fill, { cells(0), 1 })
        local co = coroutine.wrap(function() node:run(function() coroutine.yield() end) end)
        assert.is_false((pcall(co)))
        check_usable(node)
      end)

      it("says that orch takes a dot", function()
        local node <close> = nodes.open(isolation)
        node:run(function(orch)
          local err = raised(orch.submit_next_level, orch, nodes.fill, { cells(0), 1 })
          assert.truthy(tostring(err):find("write orch.submit_next_level", 1, true), tostring(err))
        end)
      end)
    end)

    describe("as to its workers", function()
      it("tells them and what they did", function()
        local node <close> = nodes.open(isolation, { subs = 3 })
        assert.same({ 2, 3 }, { node.workers, node.subs })
        check_usable(node)
        assert.same({ 2, 2, 1, 4 }, { node:stats(0).runs, node:stats(1).runs, node:stats().runs, node:stats().tasks })
        assert.truthy(node:dump():find("worker 1", 1, true), node:dump())
      end)

      it("takes programs early, by their handles", function()
        local node <close> = nodes.open(isolation)
        local handle, x = node:register(nodes.append), cells(1)
        assert.equal(handle, node:register(nodes.append))
        node:run(function(orch) orch.submit_next_level(handle, { x, 2 }) end)
        node:unregister(handle)
        raises("stale_handle", node.run, node, function(orch) orch.submit_next_level(handle, { x, 2 }) end)
        assert.equal(12, x:get(1))
        local prepared <close> = nodes.open(isolation, { prewarm = { nodes.append } })
        check_usable(prepared)
      end)

      it("frees a buffer once", function()
        local node <close> = nodes.open(isolation)
        local buffer = node:malloc(1, 64)
        assert.same({ 1, 64 }, { buffer.worker, buffer.nbytes })
        node:free(buffer)
        raises("double_free", node.free, node, buffer)
        raises("stale_handle", node.copy_to, node, buffer, cells(0, 8))
        raises("out_of_range", node.copy_to, node, node:malloc(0, 8), cells(0, 8))
        raises("out_of_memory", node.malloc, node, 0, 1 << 50)
        check_usable(node)
      end)
    end)
  end)
end
