local baton = require "baton"
local glue = require "baton.busted"
local memory = require "spec.support.memory"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

local function sum_program()
  return programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
end

local function arguments(n)
  return { a = tensor.full("f32", { n }, 2), b = tensor.full("f32", { n }, 3), c = tensor.full("f32", { n }, -1) }
end

describe("baton.worker", function()
  it("refuses unknown options, naming the nearest", function()
    assert.equal("worker: unknown option 'platfrom', did you mean 'platform'?",
      raises("unknown_option", baton.worker, { platfrom = "a2a3sim" }))
    assert.equal("config: unknown option 'ring_task_windows', did you mean 'ring_task_window'?",
      raises("unknown_option", baton.worker, { config = { ring_task_windows = 4 } }))
  end)

  it("names the platforms that there are", function()
    assert.matches("a2a3sim, a5sim", raises("unsupported", baton.worker, { platform = "b7sim" }))
  end)

  it("refuses what this version cannot do instead of ignoring it", function()
    assert.equal("worker: isolation 'thread' or 'process' expected, got 'fork'",
      raises("invalid_argument", baton.worker, { isolation = "fork" }))
    assert.equal("worker: level 4 needs children, a list of options of nodes",
      raises("invalid_argument", baton.worker, { level = 4 }))
    assert.equal("config: option 'trace' is not in this version",
      raises("unsupported", baton.worker, { config = { trace = true } }))
  end)

  it("refuses options of nodes", function()
    for _, name in ipairs { "devices", "subs", "heap" } do
      local ok, err = pcall(baton.worker, { [name] = 2 })
      assert.is_false(ok)
      assert.same({ "invalid_argument", ("worker: option '%s' is for nodes (level 3)"):format(name),
        "open one with level = 3; a chip has one `device`" }, { err.code, err.message, err.hint })
    end
  end)

  it("refuses options of a wrong type or range", function()
    assert.equal("device: one number in 0..1023 expected, got 'x'", raises("invalid_argument", baton.worker, { device = "x" }))
    assert.equal("device: one number in 0..1023 expected, got '-1'", raises("invalid_argument", baton.worker, { device = -1 }))
    assert.equal("field 'ring_heap' must be a size in bytes such as 65536 or \"64KiB\", got 10QB",
      raises("invalid_argument", baton.worker, { config = { ring_heap = "10QB" } }))
    assert.equal("field 'ring_task_window' must be an integer in 1..4294967295, got 0",
      raises("invalid_argument", baton.worker, { config = { ring_task_window = 0 } }))
    assert.equal("ring_task_window: at most 16777216 tasks, got 4294967295", (function()
      local chip <close> = baton.worker { config = { ring_task_window = 4294967295 } }
      return raises("out_of_range", chip.run, chip, sum_program(), arguments(4))
    end)())
  end)
end)

glue.each_platform(function(platform)
  describe("a worker", function()
    local chip
    before_each(function()
      chip = baton.worker { platform = platform, device = 0, runtime = "host_build_graph" }
    end)
    after_each(function() chip:close() end)

    it("runs a program and returns its timing", function()
      local args = arguments(1000)
      local timing = chip:run(sum_program(), args)
      assert.equal(5, args.c:get(1))
      assert.equal(5, args.c:get(1000))
      assert.equal(1, timing.tasks)
      assert.is_true(timing.host > 0 and timing.device > 0 and timing.orch > 0)
    end)

    if memory.is_telling then
      it("touches little memory for a few tasks, although there is room for many", function()
        local program, args = sum_program(), arguments(8)
        do
          local small <close> = baton.worker { platform = platform, device = 0, config = { ring_task_window = 64 } }
          small:run(program, args)
          program:forget()
        end
        local before = memory.resident()
        chip:run(program, args)
        local more = memory.resident() - before
        assert.is_true(more < 8192, ("%d KiB more"):format(more))
      end)
    end

    it("takes arguments in order or by name", function()
      local args = arguments(8)
      chip:run(sum_program(), { args.a, args.b, args.c })
      assert.equal(5, args.c:get(8))
    end)

    it("says what is wrong with an argument list", function()
      local program, args = sum_program(), arguments(8)
      local function message(list) return raises("signature", chip.run, chip, program, list) end
      assert.equal("sum: argument 3 (c) is missing", message { a = args.a, b = args.b })
      assert.equal("sum: no argument is named d", message { a = args.a, b = args.b, c = args.c, d = 1 })
      assert.equal("sum: 3 arguments (a, b, c) expected, got 2", message { args.a, args.b })
      assert.equal("sum: 3 arguments (a, b, c) expected, got 4", message { args.a, args.b, args.c, args.c })
      assert.equal("sum: argument 2 (b): a host tensor or a number expected, got nothing", message { args.a, "nothing", args.c })
      assert.equal("sum: argument 2 (b): f32[n=8] expected, got f32[9]",
        message { args.a, tensor.zeros("f32", { 9 }), args.c })
      assert.equal("sum: argument 1 (a): f32[n] expected, got f16[8]", message { tensor.zeros("f16", { 8 }), args.b, args.c })
      assert.equal("sum: argument 1 (a): f32[n] expected, got f32[2,4]", message { args.a:reshape { 2, 4 }, args.b, args.c })
      assert.equal("sum: a table of arguments expected, got 7", message(7))
      assert.equal(-1, args.c:get(1))
    end)

    it("refuses arguments that overlap while one is written", function()
      local args = arguments(8)
      assert.equal("sum: arguments 1 (a) and 3 (c) overlap, and c is written",
        raises("signature", chip.run, chip, sum_program(), { args.c:slice(1, 1, 5), args.b:slice(1, 1, 5), args.c:slice(1, 4, 5) }))
      chip:run(sum_program(), { args.b, args.b, args.c })
      assert.equal(6, args.c:get(1))
    end)

    it("packs strided host views on both ways", function()
      local whole, out = tensor.arange("f32", { 4, 6 }), tensor.zeros("f32", { 4, 6 })
      local column = whole:select(2, 2)
      chip:run(sum_program(), { column, column, out:select(2, 3) })
      assert.same({ 2 * whole:get(1, 2), 2 * whole:get(4, 2) }, { out:get(1, 3), out:get(4, 3) })
      assert.equal(0, out:get(1, 2) + out:get(1, 4))
    end)

    it("takes tensors without elements", function()
      local args = arguments(0)
      chip:run(sum_program(), args)
      assert.equal(0, args.c.numel)
    end)

    it("fills outputs that no task writes with 0xA5", function()
      local program = programs.vector { signature = programs.abc, graph = function() end }
      local args = arguments(2)
      chip:run(program, args)
      assert.equal(0xA5A5A5A5, string.unpack("<I4", string.pack("<f", args.c:get(1))))
    end)

    it("submits without waiting and waits with a limit", function()
      local args = arguments(1000)
      local run = chip:submit(sum_program(), args)
      assert.is_true(run:wait(60))
      assert.is_true(run:done())
      assert.is_true(run:wait())
      assert.equal(1, run:timing().tasks)
      assert.equal(5, args.c:get(500))
      assert.is_false(run:cancel())
      run:close()
      run:close()
      assert.equal("the run is closed", raises("closed", run.wait, run))
    end)

    it("orders runs that share host memory", function()
      local args = arguments(1 << 16)
      local first = chip:submit(sum_program(), args)
      local second = tensor.empty("f32", { 1 << 16 })
      local run = chip:submit(sum_program(), { args.c, args.c, second })
      run:wait()
      first:wait()
      assert.equal(10, second:get(1 << 16))
    end)

    it("refuses a wait that makes no sense", function()
      local run = chip:submit(sum_program(), arguments(4))
      assert.equal("run.wait: seconds must be 0 or more, got -1", raises("invalid_argument", run.wait, run, -1))
      assert.matches("seconds must be 0 or more, got %-?nan", raises("invalid_argument", run.wait, run, 0 / 0))
      run:wait()
    end)

    it("keeps the failure of a kernel and changes no output", function()
      local program = programs.vector {
        name = "halting", signature = { { "x", "inout", "f32" } },
        graph = function(g, x)
          g.aiv("append", x, 1)
          g.aiv("stop", { x, 2.5 }, { name = "halt" })
          g.aiv("append", x, 3)
        end,
      }
      local x = tensor.zeros("f32", { 1 })
      local run = chip:submit(program, { x })
      for _ = 1, 2 do
        local ok, err = pcall(run.wait, run)
        assert.is_false(ok)
        assert.equal("user_fail", err.code)
        assert.equal("task halt: kernel stop: stopped at 2.5", err.message)
        assert.equal("halt", err.task)
        assert.equal("stop", err.kernel)
        assert.is_number(err.core)
      end
      assert.equal(0, x:get(1))
      local args = arguments(4)
      chip:run(sum_program(), args)
      assert.equal(5, args.c:get(1))
    end)

    it("names the runtimes that fit", function()
      assert.equal("sum: runtime host_graph does not carry this program; those that do: host_build_graph, tensormap_and_ringbuffer",
        raises("unsupported", chip.run, chip, sum_program(), arguments(4), { runtime = "host_graph" }))
    end)

    it("is busy while runs are unfinished", function()
      assert.equal("ready", chip.state)
      local program = programs.vector { signature = programs.abc, graph = function(g, a, b, c)
        assert.equal("ready", chip.state)
        for _ = 1, 2000 do g.aiv("add", a, b, c) end
      end }
      local run = chip:submit(program, arguments(1 << 14))
      local state, over = chip.state, run:done()
      assert.is_true(state == "busy" or over)
      run:wait()
      assert.equal("ready", chip.state)
    end)

    it("refuses to wait for itself inside a graph function", function()
      local args, messages = arguments(4), {}
      local inner = sum_program()
      local earlier = chip:submit(inner, arguments(1 << 16))
      local program = programs.vector { name = "outer", signature = programs.abc, graph = function(g, a, b, c)
        messages = {
          raises("state", chip.run, chip, inner, arguments(4)), raises("state", chip.submit, chip, inner, arguments(4)),
          raises("state", chip.close, chip), raises("state", args.c.get, args.c, 1),
          raises("state", args.a.set, args.a, 0, 1), args.a:get(1),
        }
        earlier:done()
        g.aiv("add", a, b, c)
      end }
      local function inside(what) return what .. ": called inside an orchestration of the same worker, it would wait for itself" end
      local argument = "f32[4] is an argument of the run that is being built here"
      for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
        chip:run(program, args, { runtime = runtime })
        assert.same({ inside "run", inside "submit", inside "close", argument, argument, 2.0 }, messages)
        assert.equal(5, args.c:get(1))
        program:forget()
      end
    end)

    it("runs what was registered by its handle", function()
      local program, args = sum_program(), arguments(8)
      local handle <close> = chip:register(program)
      assert.equal(handle, chip:register(program))
      assert.equal("handle of program sum", tostring(handle))
      chip:run(handle, args)
      assert.equal(5, args.c:get(8))
      args.c:fill(0)
      chip:submit(handle, args):wait()
      assert.equal(5, args.c:get(8))
      assert.equal("sum: argument 3 (c) is missing", raises("signature", chip.run, chip, handle, { a = args.a, b = args.b }))
    end)

    it("forgets what was unregistered, and says where", function()
      local program, args = sum_program(), arguments(8)
      local handle = chip:register(program)
      local run = chip:submit(handle, args)
      chip:unregister(handle)
      local caller = debug.getinfo(1, "Sl")
      local place = ("%s:%d"):format(caller.short_src, caller.currentline - 1)
      assert.equal("the program was unregistered at " .. place, raises("stale_handle", chip.run, chip, handle, args))
      assert.equal("unregister: the program was unregistered at " .. place,
        raises("stale_handle", chip.unregister, chip, handle))
      handle:close()
      run:wait()
      assert.equal(5, args.c:get(8))
      local again = chip:register(program)
      assert.is_true(again ~= handle)
      chip:run(again, args)
      assert.matches("was unregistered", raises("stale_handle", chip.run, chip, handle, args))
      chip:run(program, args)
    end)

    it("gives equal content one handle and loads it once", function()
      local code = [[
        #include <baton/orchestration.h>
        BATON_ORCHESTRATION(twice) {
          baton_view x = baton_param(o, args, 0);
          for (int i = 0; i < 2; i++) baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(1)), NULL);
        }]]
      local kernel = [[
        #include <baton/kernel.h>
        BATON_KERNEL(append) { float *x = baton_io(args, 0, float); x[0] = 10 * x[0] + baton_scalar_f32(args, 1); }]]
      local function make(name, direction)
        return baton.program { name = name, signature = { { "x", direction, "f32" } },
          kernels = { append = { core = "aiv", code = kernel } }, orchestration = { code = code, entry = "twice" } }
      end
      local first = chip:register(make("twice", "inout"))
      assert.equal(1, chip:stats().images_uploaded)
      assert.equal(first, chip:register(make("twice", "inout")))
      assert.equal(1, chip:stats().images_uploaded)
      assert.is_true(first ~= chip:register(make("thrice", "inout")))
      assert.is_true(first ~= chip:register(make("twice", "out")))
      assert.equal(1, chip:stats().images_uploaded)
      local x = tensor.zeros("f32", { 1 })
      chip:run(first, { x })
      assert.equal(11, x:get(1))
    end)

    it("refuses handles of another worker", function()
      local other <close> = baton.worker { platform = platform, device = 1 }
      local handle = other:register(sum_program())
      assert.equal("the handle belongs to another worker", raises("wrong_device", chip.run, chip, handle, arguments(4)))
      assert.equal("unregister: the handle belongs to another worker",
        raises("wrong_device", chip.unregister, chip, handle))
      other:close()
      assert.equal("the worker is closed", raises("closed", other.run, other, handle, arguments(4)))
    end)

    it("compiles early what it shall prewarm", function()
      local program = sum_program()
      local other <close> = baton.worker { platform = platform, device = 1, prewarm = { program } }
      local compilations = other:stats().compilations
      assert.is_true(other:stats().images_uploaded >= 1)
      other:run(program, arguments(4))
      assert.equal(compilations, other:stats().compilations)
      assert.equal("prewarm: entry 2 must be a program, got 7",
        raises("invalid_argument", baton.worker, { prewarm = { program, 7 } }))
      local broken = baton.program { name = "broken", kernels = { k = { core = "aiv", code = "no C" } }, graph = function() end }
      raises("compile_failed", baton.worker, { prewarm = { broken } })
    end)

    it("counts what it does", function()
      local zero = chip:stats()
      assert.same({ 2, 0, 0, 0, 0, 0, 0, 0 }, { zero.streams_created, zero.streams_destroyed, zero.runs, zero.tasks,
        zero.allocations, zero.frees, zero.bytes_to_device, zero.images_uploaded })
      local args, program = arguments(1024), sum_program()
      for _ = 1, 3 do chip:run(program, args) end
      local stats = chip:stats()
      assert.same({ 3, 3, 3 * 2 * 4096, 3 * 4096, 1, 2 }, { stats.runs, stats.tasks, stats.bytes_to_device,
        stats.bytes_from_device, stats.graph_builds, stats.graph_replays })
      assert.same({ 10, 9 }, { stats.allocations, stats.frees }) -- the heap of the engine stays
      assert.equal(stats.committed_bytes + 3 * 4096, stats.committed_peak)
      chip:run(program, args, { runtime = "tensormap_and_ringbuffer" })
      assert.equal(1, chip:stats().window_high)
      chip:close()
      stats = chip:stats()
      assert.same({ 2, 2, 14, 14, 0 }, { stats.streams_created, stats.streams_destroyed, stats.allocations, stats.frees,
        stats.committed_bytes })
      local keys = {}
      for key in pairs(stats) do keys[#keys + 1] = key end
      table.sort(keys)
      assert.equal("allocations arenas_committed bytes_from_device bytes_to_device children_started committed_bytes "
        .. "committed_peak compilations dep_pool_high edges frees graph_builds graph_replays heap_high images_uploaded "
        .. "rounds runs streams_created streams_destroyed tasks window_high", table.concat(keys, " "))
    end)

    it("tells who runs what", function()
      local command = require "spec.support.command"
      assert.matches("^worker on " .. platform .. ", device 0: ready, 0 calls inside, 0 runs launched\nmemory: 0 of %d+ bytes in "
        .. "0 allocations\nruns in flight: none\nbuffers: none\n$", chip:dump())
      local buffer <close> = chip:malloc(4096)
      local text
      local program = programs.vector { name = "seen", signature = programs.abc, graph = function(g, a, b, c)
        g.aiv("add", a, b, c)
        text = chip:dump()
      end }
      chip:run(program, arguments(64), { runtime = "tensormap_and_ringbuffer" })
      assert.matches("\nruns in flight:\n  run 1: seen on tensormap_and_ringbuffer, running, launched %d+%.%d+ ms ago\n", text)
      assert.matches("\nbuffers:\n  buffer %d+: 4096 bytes, live, 0 users\n", text)
      local path = os.tmpname()
      chip:dump(path)
      assert.equal(chip:dump(), command.read(path))
      os.remove(path)
      raises("io_error", chip.dump, chip, "/nowhere/dump")
      assert.equal(4096, buffer.nbytes)
    end)

    it("makes who touches host tensors wait", function()
      local n = 1 << 16
      local program = programs.vector { name = "slow", signature = programs.abc, graph = function(g, a, b, c)
        for _ = 1, 100 do g.aiv("add", a, b, c) end
      end }
      for _ = 1, 5 do
        local args = arguments(n)
        local run = chip:submit(program, args)
        local text, over = tostring(args.c), run:done()
        assert.is_true(over or text == "f32[65536] pending", text)
        assert.equal(2, args.a:get(n))
        assert.equal(5, args.c:get(n))
        run = chip:submit(program, args)
        args.b:fill(0)
        assert.equal(5, args.c:get(n))
        run:close()
      end
    end)

    it("makes who touches the outputs of a failed run see why, unless he knows", function()
      local program = programs.vector { name = "halting", signature = { { "x", "inout", "f32" } }, graph = function(g, x)
        for _ = 1, 500 do g.aiv("append", x, 1) end
        g.aiv("stop", x, 2)
      end }
      for _ = 1, 5 do
        local x = tensor.zeros("f32", { 1 << 14 })
        local run = chip:submit(program, { x })
        assert.equal("task stop: kernel stop: stopped at 2", raises("user_fail", x.get, x, 1))
        assert.equal(0, x:get(1))
        assert.equal("task stop: kernel stop: stopped at 2", raises("user_fail", run.wait, run))
        run = chip:submit(program, { x })
        raises("user_fail", run.wait, run)
        assert.equal(0, x:get(1))
        local y = tensor.full("f32", { 1 << 14 }, 5)
        run = chip:submit(program, { y })
        local args = { a = y, b = y, c = tensor.zeros("f32", { 1 << 14 }) }
        assert.equal("sum: argument 1 (a): task stop: kernel stop: stopped at 2",
          raises("user_fail", chip.run, chip, sum_program(), args))
        chip:run(sum_program(), args)
        assert.equal(10, args.c:get(1))
        raises("user_fail", run.wait, run)
      end
    end)

    it("cancels a run that is closed, so that its outputs raise", function()
      local program = programs.vector { name = "slow", signature = programs.abc, graph = function(g, a, b, c)
        for _ = 1, 200 do g.aiv("add", a, b, c) end
      end }
      local args = arguments(1 << 18)
      local run = chip:submit(program, args)
      local unfinished = run:cancel()
      run:close()
      if unfinished then assert.equal("slow: the run was cancelled", raises("cancelled", args.c.get, args.c, 1)) end
      assert.equal(unfinished and -1 or 5, args.c:get(1))
    end)

    it("orders runs of several workers that share host memory", function()
      local other <close> = baton.worker { platform = platform, device = 1 }
      local n, program = 1 << 16, programs.vector { name = "slow", signature = programs.abc, graph = function(g, a, b, c)
        for _ = 1, 50 do g.aiv("add", a, b, c) end
      end }
      for _ = 1, 5 do
        local args, out = arguments(n), tensor.zeros("f32", { n })
        local first <close> = chip:submit(program, args)
        local second <close> = other:submit(program, { args.c, args.c, out })
        assert.equal(10, out:get(n))
        assert.is_true(first:wait() and second:wait())
      end
    end)

    it("is closed for good, and its runs with it", function()
      local run = chip:submit(sum_program(), arguments(4))
      chip:close()
      chip:close()
      assert.equal("closed", chip.state)
      assert.equal("the worker is closed", raises("closed", chip.run, chip, sum_program(), arguments(4)))
      assert.is_true(run:done())
    end)

    it("may be collected in any order", function()
      for _ = 1, 20 do
        local worker = baton.worker { platform = platform }
        local run = worker:submit(sum_program(), arguments(64))
        worker, run = run, worker -- luacheck: ignore
        worker, run = nil, nil -- luacheck: ignore
        collectgarbage()
      end
    end)
  end)
end)
