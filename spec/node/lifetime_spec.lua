local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local programs = require "spec.support.node"
local tensor = require "baton.tensor"
local raises = glue.raises

local isolation

local function open(options)
  options = options or {}
  options.level, options.devices, options.isolation = 3, options.devices or "0-1", isolation
  return baton.worker(options)
end

local function arguments()
  return { tensor.full("f32", { 8 }, 2), tensor.full("f32", { 8 }, 3), tensor.full("f32", { 8 }, -1) }
end

for _, kind in ipairs { "thread", "process" } do
  describe("a node, isolation " .. kind .. ",", function()
    setup(function() isolation = kind end)

    it("says what it has done when it is closed, too", function()
      local node, sum, list = open(), programs.sum(), arguments()
      for _ = 1, 3 do
        node:run(function(orch) orch.submit_next_level(sum, list) end)
      end
      local open_stats = node:stats()
      node:close()
      local stats = node:stats()
      assert.same({ 3, 3 }, { stats.runs, stats.tasks })
      assert.is_true(open_stats.bytes_to_device > 0 and stats.bytes_to_device >= open_stats.bytes_to_device)
      assert.equal("closed", select(2, pcall(node.stats, node, 0)).code)
    end)

    it("is asked for what it is", function()
      local node <close> = open { subs = 2, devices = "3,a5sim:1" }
      assert.same({ 2, 2, "ready" }, { node.workers, node.subs, node.state })
      assert.equal("node of 2 workers and 2 subs", tostring(node))
      local first, second = node:describe(0), node:describe(1)
      assert.same({ platform = "a5sim", device = 1, state = "ready", started = 1, pid = second.pid }, second)
      assert.equal(kind == "process", second.pid ~= nil and second.pid ~= first.pid)
      assert.matches("0", raises("out_of_range", node.device, node, 2))
      assert.equal("node.device: the worker must be an integer in 0..63, got -1",
        raises("invalid_argument", node.device, node, -1))
      assert.equal(0, node:stats(1).tasks)
      assert.equal(node:stats(0).streams_created + node:stats(1).streams_created, node:stats().streams_created)
      raises("out_of_range", node.stats, node, 9)
      assert.is_true(node:setup_arena(0, { heap = "1MiB" }))
      assert.is_false(node:setup_arena(0, { heap = "1MiB" }))
      assert.is_string(node:dump())
      assert.is_nil(node.nothing)
    end)

    it("gives memory back when it is freed", function()
      local node <close> = open()
      local before = node:stats(0)
      node:free(node:malloc(0, 64))
      node:malloc(0, 64):close()
      local last <close> = node:malloc(0, 64) -- comes after that
      local after = node:stats(0)
      assert.same({ 3, 2, 0 }, { after.allocations - before.allocations, after.frees - before.frees, last.worker })
    end)

    it("knows programs from the beginning", function()
      local broken = baton.program { name = "broken", signature = {}, host = { code = "this is no C" } }
      raises("compile_failed", open, { prewarm = { broken } })
      local node <close> = open { prewarm = { programs.sum(), programs.bump() } }
      assert.equal("ready", node.state)
    end)

    it("logs the failure of a run if nobody has waited for it, and only then", function()
      for waits, logged in pairs { ["false"] = 1, ["true"] = 0 } do
        local result = command.run { "-e", ([[
          local baton = require "baton"
          local x = baton.tensor.zeros("f32", { 1 })
          local failing = baton.program { name = "failing", signature = { { "x", "inout" } },
            host = { code = '#include <baton/kernel.h>\nBATON_KERNEL(failing) { baton_kernel_fail(args, "no luck"); }' } }
          local node = baton.worker { level = 3, devices = 1, isolation = %q }
          local run = node:submit(function(orch) orch.submit_next_level(failing, { x }) end)
          if %s then assert(not pcall(run.wait, run)) end
          while not run:done() do end
          run:close()
          node:close()]]):format(kind, waits) }
        assert.same({ 0, logged }, { result.status, select(2, result.err:gsub("no luck", "")) }, result.err)
      end
    end)

    it("closes its runs, buffers and handles", function()
      local node, sum = open(), programs.sum()
      local buffer, handle = node:malloc(1, 64), node:register(sum)
      local run = node:submit(function(orch) orch.submit_next_level(handle, arguments()) end)
      run:wait()
      node:close()
      node:close()
      assert.equal("closed", node.state)
      assert.equal("node (closed)", tostring(node))
      raises("closed", node.run, node, function() end)
      raises("closed", node.submit, node, function() end)
      raises("closed", node.malloc, node, 0, 64)
      raises("closed", node.copy_to, node, buffer, tensor.zeros("f32", { 4 }))
      raises("closed", node.register, node, sum)
      raises("closed", node.add, node)
      assert.is_true(run:done())
      handle:close()
      buffer:close()
      run:close()
      assert.equal("the run is closed", raises("closed", run.wait, run))
    end)

    it("cancels unfinished runs when it closes", function()
      local node, sum = open(), programs.sum()
      local runs = {}
      for i = 1, 4 do
        runs[i] = node:submit(function(orch)
          local list = baton.args(arguments())
          for _ = 1, 200 do orch.submit_next_level(sum, list) end
        end)
      end
      node:close()
      for _, run in ipairs(runs) do
        assert.is_true(run:done())
        local ok, err = pcall(run.wait, run)
        assert.is_true(ok or err.code == "cancelled" or err.code == "closed", tostring(err))
      end
    end)

    it("has runs with the words of level 2", function()
      local node <close>, sum, list = open(), programs.sum(), arguments()
      local run = node:submit(function(orch) orch.submit_next_level(sum, list) end, list)
      assert.is_true(run:wait(60))
      assert.is_true(run:done())
      assert.is_true(run:wait())
      assert.equal("run (over)", tostring(run))
      assert.equal(1, run:timing().tasks)
      assert.equal(5, list[3]:get(8))
      assert.is_false(run:cancel())
      assert.equal("run.wait: seconds must be 0 or more, got -1", raises("invalid_argument", run.wait, run, -1))
      run:close()
      run:close()
      assert.equal("run (closed)", tostring(run))
    end)

    it("keeps the failure of a task", function()
      local node <close> = open()
      local program = programs.halting()
      local x = tensor.zeros("f32", { 1 })
      local run = node:submit(function(orch) orch.submit_next_level(program, { x }, { worker = 1 }) end)
      for _ = 1, 2 do
        local ok, err = pcall(run.wait, run)
        assert.is_false(ok)
        assert.same({ "user_fail", "stop", 1 }, { err.code, err.kernel, err.worker })
        assert.matches("stopped at 2.5", err.message)
      end
      assert.equal("user_fail", select(2, pcall(node.run, node, function(orch)
        orch.submit_next_level(program, { x })
      end)).code)
      local list = arguments()
      node:run(function(orch) orch.submit_next_level(programs.sum(), list) end)
      assert.equal(5, list[3]:get(1))
    end)

    it("may be collected in any order with what belongs to it", function()
      for round = 1, 6 do
        local sum, list = programs.sum(), arguments()
        local parts = { open { devices = "0" } }
        parts[2], parts[3] = parts[1]:malloc(0, 64), parts[1]:register(sum)
        parts[4] = parts[2]:tensor("f32", { 8 })
        parts[1]:run(function(orch)
          parts[5], parts[6] = orch, orch.alloc("f32", { 8 })
          orch.copy_to(parts[2], list[1])
          orch.submit_next_level(parts[3], { parts[4], list[2], list[3] })
        end)
        parts[7] = parts[1]:submit(function(orch) orch.submit_next_level(sum, list) end, list)
        parts[8] = baton.args { parts[4], parts[6] }
        for step = 0, #parts - 1 do
          local i = (step * 3 + round) % #parts + 1
          if round % 2 == 0 and i <= 3 then parts[i]:close() end
          parts[i] = false
          collectgarbage()
        end
      end
    end)

    it("may be left open at the end of a state", function()
      local result = command.run { "-e", [[
        local baton = require "baton"
        local tensor = require "baton.tensor"
        node = baton.worker { level = 3, devices = "0", subs = 1, isolation = arg[1] }
        buffer = node:malloc(0, 64)
        child = buffer:tensor("f32", { 4 })
        run = node:submit(function(orch) kept = orch; orch.copy_to(buffer, tensor.zeros("f32", { 4 })) end)
      ]], "-", kind }
      assert.same({ 0, "", "" }, { result.status, result.out, result.err })
    end)
  end)

  describe("a node, isolation " .. kind .. ", that is handed nonsense", function()
    local node, sum
    local values
    setup(function()
      isolation = kind
      node, sum = open { subs = 1 }, programs.sum()
      local closed = tensor.zeros("f32", { 2 })
      closed:close()
      values = { false, true, 0, -1, 2, 1 << 62, math.mininteger, 0.5, 0 / 0, math.huge, "", "x\0y", "0", {}, { {} }, { 1, 2 },
        { worker = {} }, { name = {}, deps = 3 }, type, function() end, coroutine.create(type), io.stdout, closed,
        tensor.zeros("f32", { 2 }), tensor.zeros("f32", { 0 }), baton.scalar("f32", 1), baton.output { "f32", { 2 } },
        baton.input(closed), baton.args {}, baton.args { 1 }, node:malloc(0, 8), node:malloc(0, 8):tensor("f32", { 2 }), sum,
        node:register(sum), node }
    end)
    teardown(function() node:close() end)

    -- ThreadSanitizer has room for so many frames only that errors of Lua have left.
    local pairs_too = not os.getenv "BATON_TEST_SMALL"

    -- Calls f(…) with all kinds of values at each position; what it raises is an error object or a text.
    local function torment(f, ...)
      local fixed = table.pack(...)
      local function try(...)
        local ok, err = pcall(f, ...)
        assert.is_true(ok or type(err) == "string" or baton.error.is(err), tostring(err))
      end
      try(table.unpack(fixed))
      for i = 1, #values do
        local one = table.pack(table.unpack(fixed))
        one[#one + 1] = values[i]
        try(table.unpack(one))
        for j = i % 5 + 1, pairs_too and #values or 0, 5 do
          local two = table.pack(table.unpack(one))
          two[#two + 1] = values[j]
          try(table.unpack(two))
          two[#two + 1] = values[(i * j) % #values + 1]
          try(table.unpack(two))
        end
      end
    end

    for _, name in ipairs { "run", "submit", "malloc", "free", "copy_to", "copy_from", "register", "unregister", "setup_arena",
      "stats", "device", "describe" } do
      it("says so: node:" .. name, function()
        torment(node[name], node)
        torment(node[name])
        assert.equal("ready", node.state)
      end)
    end

    for _, name in ipairs { "submit_next_level", "submit_next_level_group", "malloc", "free", "copy_to", "copy_from", "alloc",
      "scope", "wait" } do
      it("says so: orch." .. name, function()
        pcall(node.run, node, function(orch)
          torment(orch[name])
          if name:match "^submit" then torment(orch[name], sum) end
        end)
        assert.equal("ready", node.state)
      end)
    end

    it("goes on", function()
      local list = arguments()
      node:run(function(orch) orch.submit_next_level(sum, list) end)
      assert.equal(5, list[3]:get(1))
    end)
  end)
end
