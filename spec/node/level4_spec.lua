-- Level 4: a node whose workers are nodes, each in a process of its own.
local baton = require "baton"
local glue = require "baton.busted"
local gate = require "spec.support.gate"
local host = require "baton.host"
local nodes = require "spec.support.node_programs"
local programs = require "spec.support.node"
local tensor = require "baton.tensor"
local raises = glue.raises

local function children()
  return {
    { level = 3, devices = "0-1", subs = 1, isolation = "thread" },
    { level = 3, devices = "2", isolation = "process" },
  }
end

local function arguments()
  return { a = tensor.full("f32", { 8 }, 2), b = tensor.full("f32", { 8 }, 3), c = tensor.full("f32", { 8 }, -1) }
end

local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

-- c = a + b on worker `place` of the child.
local function add(orch, args)
  orch.submit_next_level(programs.sum(), { a = args.a, b = args.b, c = args.c }, { worker = args.place })
  return orch.workers, orch.subs, { args.place }
end

describe("a node of nodes", function()
  local node, sum, halting

  setup(function()
    gate.close()
    sum, halting = programs.sum(), programs.halting()
    node = baton.worker { level = 4, subs = 1, children = children() }
  end)
  teardown(function()
    node:close()
    gate.gone()
  end)

  it("is asked for what it is", function()
    assert.same({ 2, 1, "ready" }, { node.workers, node.subs, node.state })
    local first, second = node:describe(0), node:describe(1)
    assert.same({ "ready", 1 }, { first.state, first.started })
    assert.is_true(first.pid ~= second.pid)
    assert.same({ { platform = "a2a3sim", device = 0 }, { platform = "a2a3sim", device = 1 } }, first.devices)
    assert.same({ { { platform = "a2a3sim", device = 2 } }, 1, 0 }, { second.devices, first.subs, second.subs })
    assert.same({}, { first.platform, first.device })
    assert.equal("device: worker 1 is a node, which has devices of its own",
      raises("unsupported", node.device, node, 1))
    assert.matches("worker 0: ready, node of 2 workers and 1 sub workers, pid " .. first.pid, node:dump(), 1, true)
    assert.is_true(node:stats().children_started >= 4)
  end)

  it("runs programs on the chips of its children", function()
    local x, y = arguments(), arguments()
    node:run(function(orch)
      orch.submit_next_level(sum, x, { worker = 0 })
      orch.submit_next_level(sum, { x.c, y.b, y.c }, { worker = 1 })
      orch.submit_next_level_group(sum, { arguments(), arguments() })
    end)
    assert.same({ 5, 8 }, { x.c:get(1), y.c:get(8) })
  end)

  it("runs functions there with an orch of the child, and has what they return", function()
    local x, results = arguments(), nil
    node:run(function(orch)
      local first = orch.submit_next_level(add, { a = x.a, b = x.b, c = x.c, place = 1 }, { worker = 0 })
      local second = orch.submit_next_level(add, { a = x.c, b = x.c, c = x.a, place = 0 }, { worker = 1, name = "twice" })
      results = { { first:result() }, { second:result() } }
    end)
    assert.same({ { 2, 1, { 1 } }, { 1, 0, { 0 } } }, results)
    assert.same({ 5, 10 }, { x.c:get(1), x.a:get(8) })
  end)

  it("runs functions in groups, on distinct children", function()
    local pids = {}
    node:run(function(orch)
      local task = orch.submit_next_level_group(function(_, args) return args.n end, { { n = 7 }, { n = 8 } },
        { workers = { 1, "any" } })
      pids = { task:result(1), task:result(2) }
    end)
    assert.same({ 7, 8 }, pids)
  end)

  it("gives functions device memory, intermediates and sub workers of the child", function()
    local x = arguments()
    local seen
    node:run(function(orch)
      local t = orch.alloc("f32", { 8 })
      orch.submit_sub(function(args) args.t:fill(4) end, { t = baton.output(t) })
      local task = orch.submit_next_level(function(inner, args)
        local buffer = inner.malloc(1, args.c.nbytes)
        inner.copy_to(buffer, args.t)
        inner.submit_next_level(programs.sum(), { buffer:tensor("f32", { 8 }), args.b, args.c })
        local scale = inner.submit_sub(function(a)
          a.c:set(10, 1)
          return a.c:get(2)
        end, { c = args.c })
        local value = scale:result()
        inner.free(buffer)
        return value, args.c:get(1)
      end, { t = baton.input(t), b = x.b, c = x.c }, { worker = 0 })
      seen = { task:result() }
    end)
    assert.same({ 7, 10 }, seen)
    assert.same({ 10, 7 }, { x.c:get(1), x.c:get(8) })
  end)

  it("keeps every field of an error across both processes, and adds the way", function()
    local err = failure(node.run, node, function(orch)
      orch.submit_next_level(halting, { tensor.zeros("f32", { 8 }) }, { worker = 1 })
    end)
    assert.same({ "user_fail", "halt", "stop", 0, "node 1 / worker 0" },
      { err.code, err.task, err.kernel, err.worker, err.path })
    err = failure(node.run, node, function(orch)
      orch.submit_next_level(function(inner)
        inner.submit_next_level(programs.halting(), { tensor.zeros("f32", { 8 }) }, { worker = 1 })
      end, {}, { worker = 0 })
    end)
    assert.same({ "user_fail", "halt", "stop", 1, "node 0 / worker 1" },
      { err.code, err.task, err.kernel, err.worker, err.path })
    err = failure(node.run, node, function(orch)
      orch.submit_next_level(function() error("mine") end, {}, { worker = 1 })
    end)
    assert.same({ "user_fail", "node 1" }, { err.code, err.path })
    assert.is_nil(err.worker)
    assert.matches("mine", err.message)
    assert.matches("level4_spec.lua", err.cause)
    err = failure(node.run, node, function(orch)
      orch.submit_next_level(function(inner) inner.fail("no more") end, {}, { worker = 0 })
    end)
    assert.same({ "user_fail", "no more", "node 0" }, { err.code, err.message, err.path })
  end)

  it("sends programs along with functions, as what they capture and as arguments", function()
    local x, y, seen = arguments(), arguments(), nil
    local factor = 7
    local graph = baton.program { name = "traced", signature = { { "x", "inout", "f32" } },
      kernels = { scale = { core = "aiv", signature = { { "x", "inout" }, { "by", "f32" } }, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(scale) {
          float *x = baton_io(args, 0, float);
          for (int64_t i = 0; i < baton_numel(args, 0); i++) x[i] *= baton_scalar_f32(args, 1);
        }]] } },
      graph = function(g, values) g.aiv("scale", values, factor) end }
    local bump = programs.bump()
    local box = { sum, sum }
    local function fn(inner, args)
      inner.submit_next_level(box[1], { a = args.a, b = args.b, c = args.c })
      inner.submit_next_level(graph, { args.c })
      inner.submit_next_level(args.bump, { args.c, 2 })
      return box[1] == box[2] and box[1] == sum and args.bump == args.again, sum.name, sum.signature, graph.runtimes, args.times
    end
    node:run(function(orch)
      local function list(of, times) return { a = of.a, b = of.b, c = of.c, bump = bump, again = bump, times = times } end
      local first = orch.submit_next_level(fn, list(x, 1), { worker = 0 })
      orch.submit_next_level_group(fn, { list(y, 2) }, { workers = { 1 } })
      seen = { first:result() }
    end)
    assert.same({ true, sum.name, sum.signature, graph.runtimes, 1 }, seen)
    assert.same({ 37, 37 }, { x.c:get(1), y.c:get(8) })
    factor = 0 -- a graph goes as it was at its first use
    node:run(function(orch)
      orch.submit_next_level(function(inner, args) inner.submit_next_level(graph, args) end, { x.c }, { worker = 0 })
    end)
    assert.equal(259, x.c:get(1))
  end)

  it("runs graphs of programs on chips that a function opens", function()
    local seen
    local graph = baton.program { name = "alone", signature = { { "x", "inout", "f32" } },
      kernels = { ten = { core = "aiv", signature = { { "x", "inout" } }, code = [[
        #include <baton/kernel.h>
        BATON_KERNEL(ten) { baton_io(args, 0, float)[0] = 10; }]] } },
      graph = function(g, x) g.aiv("ten", x) end }
    node:run(function(orch)
      local task = orch.submit_next_level(function()
        local chip <close>, x = baton.worker { device = 6, isolation = "thread" }, tensor.zeros("f32", { 1 })
        chip:run(graph, { x })
        return x:get(1)
      end, {}, { worker = 0 })
      seen = task:result()
    end)
    assert.equal(10, seen)
  end)

  it("keeps programs that a function has closed, or forgotten, usable for others", function()
    local x, mine = arguments(), programs.sum()
    for _ = 1, 2 do
      node:run(function(orch)
        orch.submit_next_level(function(inner, args)
          inner.submit_next_level(mine, { args.a, args.b, args.c })
          inner.wait()
          mine:close()
          collectgarbage()
        end, x, { worker = 0 })
      end)
    end
    assert.equal(5, x.c:get(1))
    mine:close()
    node:run(function(orch)
      assert.equal("program sum is closed",
        raises("closed", orch.submit_next_level, function(inner) return inner, mine end, {}))
    end)
  end)

  it("names programs and handles where they cannot go", function()
    local handle = node:register(sum)
    node:run(function(orch)
      assert.matches("upvalue 'sum' is a baton.program, which cannot go to another state",
        raises("invalid_argument", orch.submit_sub, function() return sum end, {}), 1, true)
      assert.matches("upvalue 'handle' is a baton.handle, which cannot go to another state",
        raises("invalid_argument", orch.submit_next_level, function() return handle end, {}), 1, true)
    end)
    local err = failure(node.run, node, function(orch)
      orch.submit_next_level(function() return sum end, {}, { worker = 0 })
    end)
    assert.same({ "invalid_argument", "node 0" }, { err.code, err.path })
    assert.matches("result 1 is a baton.program", err.message)
  end)

  it("does rounds", function()
    local x, tasks = arguments(), 0
    x.c:fill(0)
    local rounds <close> = node:rounds(function(orch, args, round)
      orch.submit_next_level(sum, { args.a, args.b, args.c }, { worker = round % 2 })
      orch.submit_next_level(function(inner, list) inner.submit_next_level(sum, { list.c, list.b, list.a }) end,
        { a = args.a, b = args.b, c = baton.input(args.c) }, { worker = 1 - round % 2 })
    end, x)
    for _, timing in rounds:each(3) do tasks = tasks + timing.tasks end
    assert.same({ 6, 2 + 3 * 6 }, { tasks, x.a:get(8) })
    assert.equal("rounds: resident tensors: the workers of this node are nodes, not chips",
      raises("unsupported", node.rounds, node, add, x, { resident = { "a" } }))
  end)

  it("refuses device memory, which belongs into the node function", function()
    local message = "orch.malloc: the workers of this node are nodes, not chips"
    node:run(function(orch)
      assert.equal(message, raises("unsupported", orch.malloc, 0, 64))
      for _, name in ipairs { "copy_to", "copy_from", "free" } do raises("unsupported", orch[name]) end
      assert.matches("node function", failure(orch.malloc, 0, 64).hint)
    end)
    raises("unsupported", node.malloc, node, 0, 64)
    raises("unsupported", node.setup_arena, node, 0, { heap = "1MiB" })
    raises("unsupported", node.add, node)
  end)

  it("cancels functions that run in a child", function()
    local mark = os.getenv "BATON_TEST_GATE" .. "/began"
    local run = node:submit(function(orch)
      orch.submit_next_level(function(inner)
        inner.submit_sub(function()
          io.open(mark, "w"):close()
          repeat local text = ("x"):rep(99) until text == "" -- under the thread sanitizer a signal waits for a call into it
        end, {})
        inner.wait()
      end, {}, { worker = 0 })
    end)
    gate.await "began"
    assert.is_true(run:cancel())
    raises("cancelled", run.wait, run, 60)
    local x = arguments()
    node:run(function(orch) orch.submit_next_level(sum, x, { worker = 0 }) end)
    assert.equal(5, x.c:get(1))
  end)

  it("cancels programs that run in a child", function()
    local long = baton.program { name = "long", signature = { { "x", "inout", "f32" } },
      kernels = { step = { core = "aiv", code = gate.mark .. [[
        #include <baton/kernel.h>
        BATON_KERNEL(step) { (void)args; mark("step"); usleep(20000); }]] } },
      orchestration = { entry = "go", code = [[
        #include <baton/orchestration.h>
        BATON_ORCHESTRATION(go) { /* much longer than a child that is cancelled has to end */
          for (int i = 0; i < 5000; i++)
            baton_aiv(o, baton_kernel(o, "step"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);
        }]] } }
    local run = node:submit(function(orch) orch.submit_next_level(long, { tensor.zeros("f32", { 1 }) }, { worker = 0 }) end)
    gate.await "step"
    assert.is_true(run:cancel())
    raises("cancelled", run.wait, run, 60)
  end)

  it("ends an orch of the child with its function", function()
    local seen
    node:run(function(orch)
      orch.submit_next_level(function(inner) KEPT = inner end, {}, { worker = 0 }) -- luacheck: ignore
      local task = orch.submit_next_level(function()
        local ok, err = pcall(KEPT.wait) -- luacheck: ignore
        return ok, err.code
      end, {}, { worker = 0 })
      seen = { task:result() }
    end)
    assert.same({ false, "state" }, seen)
  end)

  it("replaces a child that has lost a chip", function()
    local before = node:describe(0).started
    local err = failure(node.run, node, function(orch)
      orch.submit_next_level(nodes.crash, { tensor.zeros("i64", { 1 }) }, { worker = 0 })
    end)
    assert.same({ "kernel_crash", 11 }, { err.code, err.signal })
    assert.matches("^node 0 / worker [01]$", err.path)
    for place = 0, 1 do
      local x = arguments()
      x.place = place
      node:run(function(orch) orch.submit_next_level(add, x, { worker = 0 }) end)
      assert.equal(5, x.c:get(1))
    end
    assert.same({ "ready", before + 1 }, { node:describe(0).state, node:describe(0).started })
  end)

  it("replaces a child that dies, whose own children end", function()
    local before, x = node:describe(1), arguments()
    local grandchild
    local err = failure(node.run, node, function(orch)
      local task = orch.submit_next_level(function(inner)
        local sub = inner.submit_next_level(programs.bump(), { tensor.zeros("f32", { 1 }), 1 })
        inner.wait(sub)
        local pids = io.popen("pgrep -P " .. io.open("/proc/self/stat"):read("n")) -- luacheck: ignore
        return pids:read("n")
      end, {}, { worker = 1 })
      grandchild = task:result()
      orch.submit_next_level(function(_, args)
        os.execute("kill -KILL " .. args.pid)
        while true do end -- luacheck: ignore
      end, { pid = before.pid }, { worker = 1 })
    end)
    assert.same({ "worker_lost", 9, "node 1" }, { err.code, err.signal, err.path })
    node:run(function(orch) orch.submit_next_level(sum, x, { worker = 1 }) end)
    assert.equal(5, x.c:get(1))
    assert.equal(2, node:describe(1).started)
    assert.is_number(grandchild)
    local deadline = os.time() + 20
    local alive
    repeat alive = os.execute("kill -0 " .. grandchild .. " 2>/dev/null") until not alive or os.time() > deadline
    assert.is_nil(alive)
  end)
end)

-- The shared memory that this process has mapped: inode -> true.
local function segments()
  local found = {}
  for line in io.lines "/proc/self/maps" do
    local inode = line:match " (%d+) +/memfd:baton"
    if inode then found[inode] = true end
  end
  return found
end

describe("the memory of a host tensor", function()
  it("is the same in a child's child", function()
    local x, theirs = arguments(), nil
    local node <close> = baton.worker { level = 4,
      children = { { level = 3, devices = 0, subs = 1, isolation = "process" } } }
    node:run(function(orch)
      local task = orch.submit_next_level(function(inner, args)
        return inner.submit_sub(function(list)
          list.a:set(9, 1)
          return segments()
        end, args):result()
      end, { a = x.a })
      theirs = task:result()
    end)
    local shared = 0
    for inode in pairs(segments()) do shared = shared + (theirs[inode] and 1 or 0) end
    assert.same({ 1, 9 }, { shared, x.a:get(1) })
  end)
end)

describe("a death in a node of nodes", function()
  local function open(point)
    host.setenv("BATON_WORKER_DIE_AT", point)
    return baton.worker { level = 4, children = { { level = 3, devices = 1, isolation = "process" } } }
  end
  after_each(function() host.setenv "BATON_WORKER_DIE_AT" end)

  -- Runs until one fails; returns its error, and the worker afterwards.
  local function run_until_failure(point)
    local node <close> = open(point)
    local sum, err = programs.sum(), nil
    for _ = 1, 8 do
      local x = arguments()
      local ok, failed = pcall(node.run, node, function(orch) orch.submit_next_level(sum, x) end)
      err = err or (not ok and failed) or nil
      if ok then assert.equal(5, x.c:get(1)) end
    end
    return err, node:describe(0)
  end

  it("costs a run, and the child, when it is the child's", function()
    local err, child = run_until_failure "begin:3:1:0:4"
    assert.same({ "worker_lost", 9, "node 0", 2 }, { err.code, err.signal, err.path, child.started })
  end)

  it("costs a run when it is that of a child's child", function()
    local err, child = run_until_failure "begin:3:1:0"
    assert.same({ "worker_lost", 9, "node 0 / worker 0", 1 }, { err.code, err.signal, err.path, child.started })
  end)

  it("is told when it comes before they are ready", function()
    local err = failure(open, "ready:1:1:0")
    assert.equal("worker_lost", err.code)
    assert.matches("^node 0: worker 0: its child %(pid %d+%) was killed by signal 9 %(Killed%) before it was ready$", err.message)
    err = failure(open, "ready:1:1:0:4")
    assert.equal("worker_lost", err.code)
    assert.matches("^node 0: its child %(pid %d+%) was killed by signal 9 %(Killed%) before it was ready$", err.message)
  end)
end)

describe("options of a node of nodes", function()
  it("name what cannot be", function()
    local function refused(code, options)
      options.level = 4
      return raises(code, baton.worker, options)
    end
    assert.equal("worker: level 4 needs children, a list of options of nodes", refused("invalid_argument", {}))
    assert.equal("a child is a node, level = 3, got 2", refused("invalid_argument", { children = { {} } }))
    assert.equal("children: entry 1 must be a table of options, got 3", refused("invalid_argument", { children = { 3 } }))
    assert.matches("device 1 of a2a3sim is asked for twice", refused("invalid_argument",
      { children = { { level = 3, devices = "0-1" }, { level = 3, devices = "1" } } }))
    assert.matches("devices", refused("invalid_argument", { devices = "0", children = { { level = 3 } } }))
    assert.equal("worker: isolation 'thread' at level 4: each child is a process", refused("unsupported",
      { isolation = "thread", children = { { level = 3 } } }))
    raises("invalid_argument", baton.worker, { level = 3, children = { { level = 3 } } })
    raises("invalid_argument", baton.worker, { children = { { level = 3 } } })
  end)

  it("of a child are its own", function()
    local node <close> = baton.worker { level = 4, children = {
      { level = 3, devices = "a5sim:1", heap = "1MiB", prewarm = { programs.sum() } }, { level = 3, devices = 0, subs = 2 } } }
    assert.is_true(node:stats().images_uploaded > 0)
    assert.same({ { platform = "a5sim", device = 1 } }, node:describe(0).devices)
    local function alloc(inner, args) inner.alloc("f32", { args.count }) end
    local err = failure(node.run, node, function(orch)
      orch.submit_next_level(alloc, { count = 1 << 19 }, { worker = 0 })
    end)
    assert.same({ "heap_full", "node 0" }, { err.code, err.path })
    node:run(function(orch)
      orch.submit_next_level(alloc, { count = 1 << 17 }, { worker = 0 })
      orch.submit_next_level(alloc, { count = 1 << 19 }, { worker = 1 })
    end)
  end)

  it("say which child could not open", function()
    local owner <close> = baton.worker { device = 5 }
    local err = failure(baton.worker, { level = 4, children = { { level = 3, devices = "4" }, { level = 3, devices = "5" } } })
    assert.same({ "device_busy", "node 1 / worker 0", 0 }, { err.code, err.path, err.worker })
    assert.is_truthy(owner)
  end)

  it("give free devices to each child", function()
    local node <close> = baton.worker { level = 4,
      children = { { level = 3, devices = 1 }, { level = 3, devices = 2 }, { level = 3, devices = "0" } } }
    assert.equal(3, node.workers)
  end)
end)
