-- A chip with process isolation: what crashes, hangs or ends its process costs the run, and nothing else.
local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
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
    local maps <close> = assert(io.open "/proc/self/maps")
    if maps:read("a"):find("libtsan", 1, true) then
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
  local chip
  before_each(function() chip = open() end)
  after_each(function() chip:close() end)

  it("is called in the child with copies of its upvalues, and kept there", function()
    local digit, calls = 7, 0
    local program = programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, b, c)
      calls = calls + 1
      g.aiv("add", a, b, c)
      g.aiv("append", c, digit)
    end }
    for _ = 1, 3 do
      local list = arguments(8)
      chip:run(program, list)
      assert.equal(57, list.c:get(1))
      assert.equal(5, list.c:get(8))
    end
    local stats = chip:stats()
    assert.same({ 1, 2, 6 }, { stats.graph_builds, stats.graph_replays, stats.tasks })
    program:forget()
    chip:run(program, arguments(8))
    assert.equal(2, chip:stats().graph_builds)
    assert.equal(0, calls)
  end)

  it("reads elements on both runtimes", function()
    local program = programs.vector { name = "copy", signature = { { "a", "in", "f32" }, { "c", "out", "f32" } },
      graph = function(g, a, c) g.aiv("add_scalar", a, c, g.get(a, 2)) end }
    for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
      for value = 1, 2 do
        local a, c = tensor.full("f32", { 4 }, 10), tensor.zeros("f32", { 4 })
        a:set(value, 2)
        chip:run(program, { a = a, c = c }, { runtime = runtime })
        assert.equal(10 + value, c:get(1))
      end
    end
  end)

  it("raises what it raised there", function()
    local program = programs.vector { name = "failing", signature = programs.abc, graph = function() error("no way") end }
    assert.matches("no way", raises("user_fail", chip.run, chip, program, arguments(8)))
    local wrong = programs.vector { name = "wrong", signature = programs.abc, graph = function(g, a) g.aiv("nothing", a) end }
    local thread <close> = baton.worker { isolation = "thread", device = 1 }
    local ok, err = pcall(thread.run, thread, wrong, arguments(8))
    assert.is_false(ok)
    assert.equal(err.message, raises(err.code, chip.run, chip, wrong, arguments(8)))
    check_works(chip)
    assert.equal(1, chip:stats().children_started)
  end)

  it("is refused if it captures what cannot go there, by name", function()
    local program = programs.vector { name = "capturing", signature = programs.abc, graph = function() return chip.state end }
    local message = raises("invalid_argument", chip.run, chip, program, arguments(8))
    assert.matches("upvalue 'chip' is a baton.worker", message)
    assert.equal(message, raises("invalid_argument", chip.rounds, chip, program, arguments(8)))
    assert.equal(message, raises("invalid_argument", chip.register, chip, program))
    assert.equal(message, raises("invalid_argument", open, { prewarm = { program }, device = 1 }))
  end)

  it("is told to the next child, too", function()
    local program = programs.vector { name = "sum", signature = programs.abc,
      graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
    chip:run(program, arguments(8))
    assert.equal("worker_lost", failure(chip, 5).code)
    local list = arguments(8)
    chip:run(program, list)
    assert.equal(5, list.c:get(8))
    assert.equal(2, chip:stats().graph_builds)
  end)
end)
