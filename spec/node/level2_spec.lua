-- A chip with process isolation: what crashes, hangs or ends its process costs the run, and nothing else.
local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local sanitizer = require "spec.support.sanitizer"
local tensor = require "baton.tensor"
local raises = glue.raises

local seconds = 120 -- then whatever is awaited will never come

local code = [[
#include <baton/kernel.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
BATON_KERNEL(add) {
  const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
  float *c = baton_out(args, 2, float);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
}
BATON_KERNEL(end) {
  float *x = baton_io(args, 0, float);
  volatile int64_t how = baton_scalar_i64(args, 1), zero = 0;
  for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) x[i] += 1;
  switch (how) {
  case 1: raise(SIGSEGV); break;
  case 2: raise(SIGFPE); break;
  case 3: raise(SIGBUS); break;
  case 4: abort();
  case 5: _exit(7);
  case 6: kill(getpid(), SIGKILL); pause(); break;
  case 7: for (;;) baton_kernel_fail_never(args, zero);
  case 8: baton_kernel_fail(args, "asked to"); break;
  default: break;
  }
}]]
code = code:gsub("baton_kernel_fail_never%(args, zero%)", "usleep(1000)")

local function orchestrated(name, signature, kernel, call)
  return baton.program { name = name, signature = signature, kernels = { [kernel] = { core = "aiv", code = code } },
    orchestration = { entry = "f", code = "#include <baton/orchestration.h>\nBATON_ORCHESTRATION(f) {" .. call .. "}" } }
end

local sum = orchestrated("sum", { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
  "add", [[baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(baton_param(o, args, 0)),
    baton_input(baton_param(o, args, 1)), baton_output(baton_param(o, args, 2))), NULL);]])

local ending = orchestrated("ending", { { "x", "inout", "f32" }, { "how", "i64" } }, "end",
  [[baton_aiv(o, baton_kernel(o, "end"), BATON_ARGS(baton_inout(baton_param(o, args, 0)),
    baton_i64(baton_scalar_i64(args, 1))), NULL);]])

local function open(options)
  options = options or {}
  options.isolation, options.device = "process", options.device or 0
  return baton.worker(options)
end

local function arguments(n)
  return { a = tensor.full("f32", { n }, 2), b = tensor.full("f32", { n }, 3), c = tensor.full("f32", { n }, -1) }
end

-- The failure of a run of `ending`; its argument has not changed then.
local function failure(chip, how, config)
  local x = tensor.full("f32", { 4 }, 10)
  local ok, err = pcall(chip.run, chip, ending, { x = x, how = how }, config)
  assert.is_false(ok)
  assert.equal(10, x:get(1))
  return err
end

local function check_works(chip)
  local list = arguments(1000)
  chip:run(sum, list)
  assert.equal(5, list.c:get(1000))
  assert.equal("ready", chip.state)
end

describe("a chip with process isolation", function()
  it("runs programs in a child", function()
    local chip <close> = open()
    local list = arguments(100)
    local timing = chip:run(sum, list)
    assert.equal(5, list.c:get(1))
    assert.equal(5, list.c:get(100))
    assert.equal(1, timing.tasks)
    assert.is_true(timing.host > 0 and timing.device > 0)
    local run = chip:submit(sum, arguments(8))
    assert.is_true(run:wait(seconds))
    local stats = chip:stats()
    assert.same({ 2, 2, 1, 2 }, { stats.runs, stats.tasks, stats.children_started, stats.streams_created })
    assert.matches("child: pid %d+", chip:dump())
    assert.equal("worker on a2a3sim", tostring(chip))
  end)

  it("says the same as one with thread isolation", function()
    local chip <close> = open()
    local thread <close> = baton.worker { isolation = "thread", device = 1 }
    local list = arguments(8)
    for _, wrong in ipairs { { list.a, list.b }, { list.a, list.b, tensor.zeros("f32", { 9 }) }, { list.a, list.c, list.c } } do
      assert.equal(raises("signature", thread.run, thread, sum, wrong), raises("signature", chip.run, chip, sum, wrong))
    end
    assert.equal(raises("unsupported", thread.run, thread, sum, list, { runtime = "aicpu_build_graph" }),
      raises("unsupported", chip.run, chip, sum, list, { runtime = "aicpu_build_graph" }))
    local mine, other = failure(chip, 8), failure(thread, 8)
    assert.same({ other.code, other.message, other.kernel, other.task }, { mine.code, mine.message, mine.kernel, mine.task })
    assert.is_nil(mine.worker)
    assert.equal("user_fail", mine.code)
    assert.equal(1, chip:stats().children_started)
  end)

  for how, signal in ipairs { "SEGV", "FPE", "BUS", "ABRT" } do
    it("survives SIG" .. signal .. " in a kernel", function()
      local chip <close> = open()
      local buffer <close> = chip:malloc(32)
      chip:copy_to(buffer, tensor.full("f32", { 8 }, 42))
      local err = failure(chip, how)
      assert.same({ "kernel_crash", "end" }, { err.code, err.kernel })
      assert.matches("crashed with SIG" .. signal, err.message)
      assert.is_nil(err.worker)
      assert.equal("ready", chip.state)
      check_works(chip)
      local back = tensor.zeros("f32", { 8 })
      chip:copy_from(back, buffer)
      assert.equal(42, back:get(8))
      assert.equal(2, chip:stats().children_started)
    end)
  end

  it("survives a kernel that ends the process", function()
    local chip <close> = open()
    local buffer <close> = chip:malloc(32)
    local x = buffer:tensor("f32", { 8 })
    chip:copy_to(buffer, tensor.full("f32", { 8 }, 1))
    local err = failure(chip, 5)
    assert.equal("worker_lost", err.code)
    assert.matches("^its child %(pid %d+%) exited with status 7$", err.message)
    err = failure(chip, 6)
    assert.same({ "worker_lost", 9 }, { err.code, err.signal })
    assert.matches("^its child %(pid %d+%) was killed by signal 9", err.message)
    chip:run(ending, { x = x, how = 0 })
    local back = tensor.zeros("f32", { 8 })
    chip:copy_from(back, buffer)
    assert.equal(2, back:get(8))
    check_works(chip)
    assert.equal(3, chip:stats().children_started)
  end)

  it("survives a kernel that hangs", function()
    if sanitizer.name == "tsan" then
      return pending "a kernel that hangs: the thread sanitizer delivers no signal into a tight loop"
    end
    local chip <close> = open()
    local err = failure(chip, 7, { timeout = 0.2 })
    assert.same({ "op_timeout", "end" }, { err.code, err.kernel })
    check_works(chip)
    assert.equal(2, chip:stats().children_started)
  end)

  it("runs what was submitted behind a crash", function()
    local chip <close> = open()
    local x, list = tensor.zeros("f32", { 4 }), arguments(64)
    local bad, good = chip:submit(ending, { x = x, how = 5 }), chip:submit(sum, list)
    assert.equal("worker_lost", select(2, pcall(bad.wait, bad)).code)
    assert.is_true(good:wait(seconds))
    assert.equal(5, list.c:get(64))
  end)

  it("counts on when a child is replaced", function()
    local chip <close> = open()
    for _ = 1, 3 do chip:run(sum, arguments(8)) end
    assert.equal(3, chip:stats().tasks)
    failure(chip, 5)
    chip:run(sum, arguments(8))
    local stats = chip:stats()
    assert.same({ 4, 5, 2 }, { stats.tasks, stats.runs, stats.children_started })
    chip:close()
    assert.equal(4, chip:stats().tasks)
    assert.equal(2, chip:stats().children_started)
  end)

  it("gets another child by restart", function()
    local chip <close> = open()
    check_works(chip)
    chip:restart()
    check_works(chip)
    assert.equal(2, chip:stats().children_started)
  end)

  it("replaces a child that was killed while it had nothing to do", function()
    local chip <close> = open()
    check_works(chip)
    local pid = chip:dump():match "child: pid (%d+)"
    assert.is_true(os.execute("kill -KILL " .. pid))
    -- its death may be noticed in the middle of the next run, which is lost then
    local ok, err = pcall(chip.run, chip, sum, arguments(8))
    assert.is_true(ok or err.code == "worker_lost", tostring(err))
    check_works(chip)
    assert.equal(2, chip:stats().children_started)
  end)

  it("is lost while there can be no other child, until its restart", function()
    local folder = command.folder()
    local program, away = folder .. "/baton-worker", folder .. "/away"
    local place = command.baton:gsub("[^/]*$", "baton-worker")
    assert.is_true(os.execute(("cp %s %s"):format(command.quote(place), program)))
    local chip <close> = open { worker_program = program }
    check_works(chip)
    assert.is_true(os.rename(program, away))
    local x, list = tensor.zeros("f32", { 4 }), arguments(8)
    local bad = chip:submit(ending, { x = x, how = 5 })
    local function behind() chip:submit(sum, list):wait() end -- the submit fails if the worker is lost already
    assert.matches("^the worker is lost since its child could not be started again", raises("worker_lost", behind))
    assert.matches("exited with status 7", raises("worker_lost", bad.wait, bad))
    assert.equal("lost", chip.state)
    raises("worker_lost", chip.run, chip, sum, list)
    raises("io_error", chip.restart, chip)
    assert.equal("lost", chip.state)
    assert.is_true(os.rename(away, program))
    chip:restart()
    check_works(chip)
    command.remove(folder)
  end)

  it("cancels a run, and one whose deadline has passed", function()
    local chip <close> = open()
    local x = tensor.zeros("f32", { 4 })
    local hung, waiting = chip:submit(ending, { x = x, how = 7 }, { timeout = 0.5 }), chip:submit(sum, arguments(8))
    assert.is_true(waiting:cancel())
    assert.is_nil(hung:wait(0))
    assert.equal("op_timeout", select(2, pcall(hung.wait, hung)).code)
    assert.equal("sum: the run was cancelled", raises("cancelled", waiting.wait, waiting))
    local err = failure(chip, 7, { timeout = 1, deadline = 0.1 })
    assert.is_true(err.code == "timeout" or err.code == "op_timeout", tostring(err))
    check_works(chip)
  end)

  it("keeps rounds over a crash", function()
    local chip <close> = open()
    local x = tensor.full("f32", { 4 }, 1)
    local rounds <close> = chip:rounds(ending, { x = x, how = 0 }, { resident = { "x" } })
    local function turn(how)
      rounds:init_round { how = how }
      rounds:launch()
      return rounds:finalize_round()
    end
    assert.is_true(turn(0))
    assert.is_true(turn(0))
    local allocations = chip:stats().allocations
    assert.equal("worker_lost", select(2, pcall(turn, 5)).code)
    assert.equal("kernel_crash", select(2, pcall(turn, 1)).code)
    assert.is_true(turn(0))
    assert.equal(allocations, chip:stats().allocations)
    rounds:finalize()
    assert.equal(6, x:get(4)) -- what a round that failed has written to a resident tensor stays
    assert.equal(3, chip:stats().children_started)
  end)

  it("keeps its device from other processes", function()
    local chip <close> = open()
    check_works(chip)
    local result = command.run { "-e", [[
      local baton = require "baton"
      local chip = baton.worker { isolation = "process" }
      assert(chip.state == "ready")
      local other = baton.worker { isolation = "process" } -- workers of one process share it
      chip:close()
      other:close()
      other:close()
      assert(other.state == "closed" and not pcall(other.malloc, other, 8))
      left = baton.worker { isolation = "process" }
      buffer = left:malloc(64)
    ]] }
    assert.same({ 0, "", "" }, { result.status, result.out, result.err })
  end)

  it("says why it cannot open", function()
    assert.matches("^the worker program '/nowhere/baton%-worker' %(worker_program%) cannot be executed",
      raises("io_error", open, { worker_program = "/nowhere/baton-worker" }))
    raises("invalid_argument", open, { device = "x" })
    raises("unsupported", open, { platform = "b7sim" })
  end)

  it("takes its programs when it opens, and by handle", function()
    local chip <close> = open { prewarm = { sum }, arena = { heap = "300MiB" } }
    local handle <close> = chip:register(sum)
    local list = arguments(8)
    chip:run(handle, list)
    assert.equal(5, list.c:get(1))
    assert.is_false(chip:setup_arena { heap = "300MiB" })
  end)

  it("names the owner of a device that another process has", function()
    local _ <close> = open()
    local child = assert(io.popen(command.quote(command.baton) .. [[ -e 'local ok, err = pcall(require("baton").worker,
      { platform = "a2a3sim", device = 0, isolation = "process" }) print(ok, err.code, err.device)']]))
    assert.equal("false\tdevice_busy\t0", child:read "l")
    child:close()
  end)

  it("runs more programs than a child keeps", function()
    local chip <close> = open()
    local many = {}
    for i = 1, 70 do
      many[i] = orchestrated("p" .. i, { { "x", "inout", "f32" }, { "how", "i64" } }, "end",
        [[baton_aiv(o, baton_kernel(o, "end"), BATON_ARGS(baton_inout(baton_param(o, args, 0)), baton_i64(0)), NULL);]])
    end
    local x = tensor.zeros("f32", { 4 })
    for _ = 1, 2 do
      for _, program in ipairs(many) do chip:run(program, { x = x, how = 0 }) end
    end
    assert.equal(140, x:get(1))
  end)
end)

describe("a Lua graph for a chip with process isolation", function()
  local runtimes = { "host_build_graph", "tensormap_and_ringbuffer" }
  local chip
  before_each(function() chip = open() end)
  after_each(function() chip:close() end)

  local function program(graph, options)
    options = options or {}
    return baton.program { name = "lua", signature = options.signature or programs.abc, kernels = programs.kernels, graph = graph,
      keep = options.keep }
  end

  -- What is raised with thread isolation, and the same is raised here.
  local function same_error(graph, arguments_of, config, signature)
    local thread <close> = baton.worker { isolation = "thread", device = 1 }
    local failing = program(graph, { signature = signature })
    local ok, expected = pcall(thread.run, thread, failing, arguments_of(), config)
    assert.is_false(ok)
    local done, err = pcall(chip.run, chip, failing, arguments_of(), config)
    assert.is_false(done)
    assert.same({ expected.code, expected.message, expected.hint, expected.kernel, expected.task },
      { err.code, err.message, err.hint, err.kernel, err.task })
    check_works(chip)
    assert.equal(1, chip:stats().children_started)
    return err.message
  end

  it("is called here, as often as with thread isolation", function()
    local calls = 0
    local counting = program(function(g, a, b, c)
      calls = calls + 1
      g.aiv("add", a, b, c)
      g.aiv("append", c, 7)
    end)
    for _ = 1, 3 do
      local list = arguments(8)
      chip:run(counting, list)
      assert.equal(57, list.c:get(1))
      assert.equal(5, list.c:get(8))
    end
    assert.equal(1, calls)
    local stats = chip:stats()
    assert.same({ 1, 2, 6 }, { stats.graph_builds, stats.graph_replays, stats.tasks })
    chip:run(counting, arguments(9)) -- of another shape
    assert.equal(2, calls)
    counting:forget()
    chip:run(counting, arguments(8))
    assert.equal(3, calls)
    for i = 1, 2 do
      chip:run(counting, arguments(8), { runtime = "tensormap_and_ringbuffer" })
      assert.equal(3 + i, calls)
    end
  end)

  it("is executed as it was built last", function()
    local digit = 1
    local changing = program(function(g, a, b, c)
      g.aiv("add", a, b, c)
      g.aiv("append", c, digit)
    end, { keep = false })
    for i = 1, 3 do
      local list = arguments(8)
      digit = i
      chip:run(changing, list)
      assert.equal(50 + i, list.c:get(1))
    end
    local kept = program(function(g, a, b, c)
      g.aiv("add", a, b, c)
      g.aiv("append", c, digit)
    end)
    local first, again = arguments(8), arguments(8)
    chip:run(kept, first)
    kept:forget()
    digit = 9
    chip:run(kept, again)
    assert.same({ 53, 59 }, { first.c:get(1), again.c:get(1) })
  end)

  it("prints where everything else does", function()
    local result = command.run { "-e", [[
      local baton, tensor = require "baton", require "baton.tensor"
      local line = "seen"
      local function print_line() print(line) end
      local chip <close> = baton.worker { isolation = "process" }
      local p = baton.program { name = "p", signature = { { "x", "inout", "f32" } }, kernels = {}, graph = function(g, x)
        print_line()
        line = "gone"
        g.dummy { x }
      end }
      chip:run(p, { x = tensor.zeros("f32", { 4 }) })
      print(line)
    ]] }
    assert.same({ 0, "seen\ngone\n", "" }, { result.status, result.out, result.err })
  end)

  for _, runtime in ipairs(runtimes) do
    describe("on " .. runtime, function()
      local config = { runtime = runtime }

      it("may capture anything", function()
        local seen
        chip:run(program(function(g, a, b, c)
          seen = chip.state
          g.aiv("add", a, b, c)
        end), arguments(8), config)
        assert.is_true(seen == "ready" or seen == "busy")
      end)

      it("has what it raises rethrown as it is", function()
        local object = setmetatable({}, { __tostring = function() return "mine" end })
        for _, raised in ipairs { object, "text", 7 } do
          local failing = program(function(g, a, b, c)
            g.aiv("add", a, b, c)
            error(raised, 0)
          end)
          local list = arguments(8)
          for _, call in ipairs { chip.run, chip.submit } do
            local ok, err = pcall(call, chip, failing, list, config)
            assert.is_false(ok)
            assert.is_true(rawequal(raised, err))
          end
          assert.equal(-1, list.c:get(1))
        end
        check_works(chip)
        assert.equal(1, chip:stats().children_started)
      end)

      it("reads elements, as often as it likes", function()
        local reading = program(function(g, a, c)
          for i = 1, 50 do
            if g.get(a, i) ~= i then g.fail("element " .. i) end
          end
          g.aiv("add_scalar", a, c, g.get(a, 2))
        end, { signature = { { "a", "in", "f32" }, { "c", "out", "f32" } } })
        for _ = 1, 2 do
          local a, c = tensor.arange("f32", { 50 }), tensor.zeros("f32", { 50 })
          for i = 1, 50 do a:set(i, i) end
          chip:run(reading, { a = a, c = c }, config)
          assert.equal(52, c:get(50))
        end
      end)

      it("stores elements", function()
        local storing = program(function(g, a, b, c)
          g.set(c, 5, 1)
          g.aiv("append", c, 3)
          g.aiv("add", a, b, c:slice(1, 2, 8))
        end, { signature = { { "a", "in", "f32" }, { "b", "in", "f32" }, { "c", "inout", "f32" } } })
        for _ = 1, 2 do
          local list = arguments(8)
          list.c = tensor.zeros("f32", { 9 })
          chip:run(storing, list, config)
          assert.same({ 53, 5, 5 }, { list.c:get(1), list.c:get(2), list.c:get(9) })
        end
      end)

      it("uses scopes, intermediates, deps, records, mixed tasks and views", function()
        local function build(g, a, b, c)
          local function plus(x, y)
            local z = g.alloc("f32", { 8 })
            g.aiv("add", x, y, z)
            return z
          end
          local added, joined
          g.scope(function()
            local t <const> = g.alloc("f32", { 8 }, { fill = 1 })
            g.scope(function()
              local u = plus(a, t)
              added = g.aiv("add", u, b, c)
            end)
            g.scope({ mode = "manual" }, function() -- deps alone order what happens here
              local first = g.aiv("append", { c, 1 }, { deps = { added } })
              local second = g.aiv("append", { c, 2 }, { deps = { first }, name = "second" })
              joined = g.dummy({}, { deps = { added, first, second } })
            end)
          end)
          for i = 3, 4 do
            joined = g.record("digit", function(x, digit) g.aiv("append", x, digit) end, { c, i }, { deps = { joined } })
          end
          g.mix({ aic = "start" }, { c, 5 })
          local _, last = g.aiv("add", a:slice(1, 1, 4), b:slice(1, 5, 4), baton.output { "f32", { 4 } })
          g.aiv("add", last, last, c:slice(1, 5, 4))
        end
        local thread <close> = baton.worker { isolation = "thread", device = 1 }
        local mixed = program(build)
        for _ = 1, 2 do
          local mine, expected = arguments(8), arguments(8)
          thread:run(mixed, expected, config)
          chip:run(mixed, mine, config)
          for i = 1, 8 do assert.equal(expected.c:get(i), mine.c:get(i)) end
          assert.equal(612345, mine.c:get(1))
          assert.equal(10, mine.c:get(8))
        end
      end)

      it("hands on scalars of the run", function()
        local calls = 0
        local scaled = program(function(g, a, c)
          calls = calls + 1
          g.aiv("add_scalar", a, c, g.scalar "value")
        end, { signature = { { "a", "in", "f32" }, { "c", "out", "f32" }, { "value", "f32" } } })
        for i = 1, 3 do
          local a, c = tensor.full("f32", { 4 }, 1), tensor.zeros("f32", { 4 })
          chip:run(scaled, { a = a, c = c, value = i }, config)
          assert.equal(1 + i, c:get(4))
        end
        assert.equal(runtime == "host_build_graph" and 1 or 3, calls)
      end)

      it("may be long", function()
        local count = os.getenv "BATON_TEST_SMALL" and 5000 or 100000
        local x = tensor.zeros("f32", { 4 })
        local kernel = { core = "aiv", code = [[
          #include <baton/kernel.h>
          BATON_KERNEL(count) { baton_io(args, 0, float)[0] += 1; }]], signature = { { "x", "inout" } } }
        local long = baton.program { name = "long", signature = { { "x", "inout", "f32" } }, kernels = { count = kernel },
          graph = function(g, t)
            for _ = 1, count do g.aiv("count", t) end
          end }
        for i = 1, 2 do
          chip:run(long, { x = x }, config)
          assert.equal(i * count, x:get(1))
        end
      end)

      it("says the same as with thread isolation when it is wrong", function()
        local function sixteen() return arguments(16) end
        assert.matches("no kernel", same_error(function(g, a) g.aiv("nothing", a) end, sixteen, config))
        same_error(function(g, a, b) g.aiv("add", a, b) end, sixteen, config)
        same_error(function(g, a, b) g.aiv("add", a, b, a) end, sixteen, config)
        same_error(function(g, a, b, c)
          g.aiv("add", a, b, c)
          g.fail("enough")
        end, sixteen, config)
        same_error(function(g, a, b, c)
          local stale
          g.scope(function() stale = g.alloc("f32", { 16 }) end)
          g.aiv("add", a, b, c)
          g.aiv("add", a, stale, c)
        end, sixteen, config)
        same_error(function(g) g.alloc("f32", { 1 << 40 }) end, sixteen, config)
        same_error(function(g)
          for _ = 1, 200 do g.scope() end
        end, sixteen, config)
        same_error(function(g, _, _, c)
          for _ = 1, 3 do g.aiv("stop", c, 4.5) end
        end, sixteen, config)
        same_error(function(g, _, _, c)
          for _ = 1, 1000 do g.alloc("f32", { 16 }) end
          g.aiv("append", c, 1)
        end, sixteen, { runtime = runtime, ring_heap = 4096 })
      end)

      it("is called in every round that builds", function()
        local calls, list = 0, arguments(8)
        local rounds <close> = chip:rounds(program(function(g, a, b, c)
          calls = calls + 1
          g.aiv("add", a, b, c)
        end), list, config)
        for i in rounds:each(5) do
          assert.equal(5, list.c:get(8))
          assert.equal(runtime == "host_build_graph" and 1 or i, calls)
        end
      end)

      it("loses its run when the child is killed in the middle", function()
        local before, after
        local killing = program(function(g, a, b, c)
          g.aiv("add", a, b, c)
          before = true
          assert(os.execute("kill -KILL " .. chip:dump():match "child: pid (%d+)"))
          if runtime == "tensormap_and_ringbuffer" then
            for _ = 1, 100000 do g.aiv("append", c, 1) end
          end
          after = true
        end)
        local list = arguments(8)
        local ok, err = pcall(chip.run, chip, killing, list, config)
        assert.is_true(before)
        if ok then -- nothing was under way, and its death was seen before
          assert.equal("host_build_graph", runtime)
        else
          assert.equal("worker_lost", err.code)
          assert.equal(-1, list.c:get(1))
          assert.equal(runtime == "host_build_graph" or nil, after)
        end
        check_works(chip)
        assert.equal(2, chip:stats().children_started)
      end)

      it("may be submitted behind runs in flight", function()
        local graph = program(function(g, a, b, c) g.aiv("add", a, b, c) end)
        local lists, runs = {}, {}
        for i = 1, 4 do
          lists[i] = arguments(64)
          runs[i] = chip:submit(i % 2 == 0 and graph or sum, lists[i], i % 2 == 0 and config or nil)
        end
        for i = 1, 4 do
          assert.is_true(runs[i]:wait(seconds))
          assert.equal(5, lists[i].c:get(64))
        end
      end)

      it("is told to the next child, too", function()
        local calls = 0
        local told = program(function(g, a, b, c)
          calls = calls + 1
          g.aiv("add", a, b, c)
        end)
        chip:run(told, arguments(8), config)
        assert.equal("worker_lost", failure(chip, 5).code)
        local list = arguments(8)
        chip:run(told, list, config)
        assert.equal(5, list.c:get(8))
        assert.equal(runtime == "host_build_graph" and 1 or 2, calls)
      end)

      it("must not wait for its own worker", function()
        local inside
        chip:run(program(function(g, a, b, c)
          inside = select(2, pcall(chip.run, chip, sum, arguments(8)))
          g.aiv("add", a, b, c)
        end), arguments(8), config)
        assert.equal("state", inside.code)
      end)
    end)
  end
end)
