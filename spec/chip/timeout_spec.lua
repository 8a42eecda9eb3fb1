-- How long a run may go without progress, by what is waited for.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

local kernels = { hold = gate.hold, append = programs.kernels.append }

local function program(options)
  return baton.program { name = "p", signature = { { "x", "inout", "f32" } }, kernels = kernels, graph = options.graph,
    orchestration = options.code and { entry = "f",
      code = "#define _GNU_SOURCE\n#include <baton/orchestration.h>\n" .. options.code } }
end

-- The thread sanitizer hands a signal to a thread only when that calls into it, so a tight loop is never left.
local maps <close> = assert(io.open("/proc/self/maps"))
local tsan = maps:read("a"):find("libtsan", 1, true) ~= nil or os.getenv "BATON_TEST_TSAN" ~= nil

describe("config", function()
  local chip
  before_each(function() chip = baton.worker() end)
  after_each(function() chip:close() end)

  local plain = program { graph = function(g, x) g.aiv("append", x, 1) end }

  -- What a submit and opening a worker say, which must be the same.
  local function message(config)
    local x = tensor.zeros("f32", { 1 })
    local submit = raises("invalid_argument", chip.submit, chip, plain, { x }, config)
    assert.equal(submit, raises("invalid_argument", baton.worker, { config = config }))
    assert.equal(0, x:get(1))
    return (submit:gsub("%-nan", "nan"))
  end

  -- A value as messages have it.
  local function shown(value)
    return type(value) == "string" and "'" .. value .. "'" or (tostring(value):gsub("^%-nan", "nan"))
  end

  it("refuses times that are none", function()
    for _, value in ipairs { -1, 0, 0 / 0, math.huge, "1", true } do
      local range = " must be a number in 0.001..1000000000, got " .. shown(value)
      assert.equal("field 'timeout'" .. range, message { timeout = value })
      for _, key in ipairs { "op", "stream", "element" } do
        assert.equal("field '" .. key .. "'" .. range, message { timeout = { [key] = value } })
      end
    end
    for _, value in ipairs { -1, 0 / 0, math.huge, "1" } do
      assert.equal("field 'deadline' must be a number in 0..1000000000, got " .. shown(value), message { deadline = value })
    end
    raises("unknown_option", baton.worker, { config = { timeout = { ops = 1 } } })
  end)

  it("refuses an op that is not less than stream, wherever each comes from", function()
    assert.equal("timeout: op must be less than stream, got 2 and 1", message { timeout = { op = 2, stream = 1 } })
    assert.equal("timeout: op must be less than stream, got 1 and 1", message { timeout = { op = 1, stream = 1 } })
    assert.equal("timeout: op must be less than stream, got 10 and 9.5", message { timeout = { stream = 9.5 } })
    local strict <close> = baton.worker { device = 1, config = { timeout = { op = 1, stream = 5 } } }
    assert.equal("timeout: op must be less than stream, got 6 and 5",
      raises("invalid_argument", strict.run, strict, plain, { tensor.zeros("f32", { 1 }) }, { timeout = 6 }))
    strict:run(plain, { tensor.zeros("f32", { 1 }) }, { timeout = { op = 6, stream = 7, element = 1 } })
  end)

  it("takes an endless wait", function()
    local x = tensor.zeros("f32", { 1 })
    local run <close> = chip:submit(plain, { x })
    assert.is_true(run:wait(math.huge))
    assert.equal("run.wait: seconds must be a number, got 1s", raises("invalid_argument", run.wait, run, "1s"))
  end)
end)

glue.each_platform(function(platform)
  describe("timeout.element", function()
    local chip
    before_each(function()
      gate.close()
      chip = baton.worker { platform = platform, runtime = "tensormap_and_ringbuffer",
        config = { timeout = { op = gate.seconds, element = 0.05 } } }
    end)
    after_each(function()
      gate.open()
      chip:close()
      gate.gone()
    end)

    local late = " a task that the element depends on has not ended within 0.05 s"

    local function message(options)
      local x = tensor.zeros("f32", { 1 })
      local text = raises("tensor_wait_timeout", chip.run, chip, program(options), { x })
      assert.equal("ready", chip.state)
      assert.equal(0, x:get(1))
      chip:run(program { graph = function(g, y) g.aiv("append", y, 1) g.get(y, 1) end }, { x }, { timeout = { element = 100 } })
      assert.equal(1, x:get(1))
      return text
    end

    it("ends a get and a set of a Lua graph that wait for too long", function()
      assert.equal("p: get:" .. late, message { graph = function(g, x)
        g.aiv("hold", x)
        g.get(x, 1)
      end })
      assert.equal("p: set:" .. late, message { graph = function(g, x)
        g.aiv("hold", x)
        g.set(x, 5, 1)
      end })
    end)

    it("ends those of a C orchestration", function()
      local code = [[
        BATON_ORCHESTRATION(f) {
          baton_view x = baton_param(o, args, 0);
          baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
          %s;
          baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(1)), NULL);
        }]]
      assert.equal("p: get:" .. late, message { code = code:format "(void)baton_get_f64(o, x, (int64_t[]){0})" })
      assert.equal("p: set:" .. late, message { code = code:format "baton_set_f64(o, x, (int64_t[]){0}, 1)" })
    end)
  end)

  describe("timeout.stream", function()
    local times = { timeout = { op = 0.05, stream = 0.2 } }

    local function message(config, options, lost)
      local chip <close> = baton.worker { platform = platform, runtime = "tensormap_and_ringbuffer", config = config }
      local x = tensor.zeros("f32", { 1 })
      local text = raises("stream_timeout", chip.run, chip, program(options), { x })
      assert.equal(0, x:get(1))
      assert.equal("lost", chip.state)
      assert.equal("the worker is lost since its stream stood still (stream_timeout)",
        raises(lost or "worker_lost", chip.run, chip, program(options), { x }))
      chip:restart()
      chip:run(program { graph = function(g, y) g.aiv("append", y, 1) end }, { x }, { timeout = { op = 10, stream = 100 } })
      assert.equal(1, x:get(1))
      return text
    end

    local stood_still = "^the stream made no progress for %d+ ms: no task began or ended$"
    local hang = [[
      BATON_ORCHESTRATION(f) {
        baton_view x = baton_param(o, args, 0);
        baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(1)), NULL);
        %s;
      }]]

    local function leaves(name, code)
      if tsan then
        pending(name .. ": the thread sanitizer delivers no signal into a tight loop")
      else
        it(name, function() assert.matches(stood_still, message(times, { code = hang:format(code) })) end)
      end
    end
    leaves("ends a C orchestration that hangs", "for (volatile int i = 0;; i++) {}")
    leaves("ends one that asks for ever", "while (!baton_is_failed(o) || 1) {}")

    it("fails the run of a Lua graph that stands still", function()
      assert.matches(stood_still, message(times, { graph = function(g, x)
        g.aiv("append", x, 1)
        repeat until not pcall(g.get, x, 1)
      end }))
    end)

    it("leaves a run alone whose tasks go on", function()
      local chip <close> = baton.worker { platform = platform, runtime = "tensormap_and_ringbuffer",
        config = { timeout = { op = 50, stream = 100 } } }
      local x = tensor.zeros("f32", { 1 })
      chip:run(program { code = [[
        BATON_ORCHESTRATION(f) {
          baton_view x = baton_param(o, args, 0);
          for (int i = 1; i <= 4; i++)
            baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32((float)i)), NULL);
          if (baton_get_f64(o, x, (int64_t[]){0}) != 1234) baton_orch_fail(o, "lost");
        }]] }, { x })
      assert.equal(1234, x:get(1))
    end)

  end)

  for _, runtime in ipairs { "tensormap_and_ringbuffer", "host_build_graph" } do
    describe("a C orchestration on " .. runtime, function()
      local body = [[
        #include <signal.h>
        #include <stdlib.h>
        #include <time.h>
        BATON_ORCHESTRATION(f) {
          baton_view x = baton_param(o, args, 0);
          baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(1)), NULL);
          volatile int zero = 0;
          %s;
          (void)zero;
        }]]

      -- What a run of the code says; then the worker is lost until its restart.
      local function left(code, statement, config)
        local chip <close> = baton.worker { platform = platform, runtime = runtime }
        local x = tensor.zeros("f32", { 1 })
        local text = raises(code, chip.run, chip, program { code = body:format(statement) }, { x }, config)
        assert.equal("lost", chip.state)
        assert.equal(0, x:get(1))
        assert.equal("the worker is lost since an orchestration was left by force (" .. code .. ")",
          raises("worker_lost", chip.run, chip, program { code = body:format "" }, { x }))
        chip:restart()
        chip:run(program { code = body:format "" }, { x }, { timeout = 100 })
        assert.equal(1, x:get(1))
        return text
      end

      it("that crashes is left", function()
        for name, statement in pairs { SEGV = "*(volatile int *)16 = 1", FPE = "raise(SIGFPE)", ABRT = "abort()" } do
          assert.equal("p: the orchestration crashed with SIG" .. name, left("kernel_crash", statement))
        end
      end)

      it("that crashes is left when the stream is limited, too", function()
        assert.equal("p: the orchestration crashed with SIGSEGV",
          left("kernel_crash", "*(volatile int *)16 = 1", { timeout = { op = 50, stream = 100 } }))
      end)

      if tsan then
        pending "that hangs is left: the thread sanitizer delivers no signal into a tight loop"
      else
        it("that hangs is left", function()
          assert.matches("^p: the orchestration made no call for %d+ ms, no task began or ended, and it was left$",
            left("op_timeout", "for (;;) zero++", { timeout = 0.05 }))
        end)
      end

      it("has all the time that it wants as long as it makes calls", function()
        local chip <close> = baton.worker { platform = platform, runtime = runtime }
        local x = tensor.zeros("f32", { 1 })
        chip:run(program { code = body:format [[
          struct timespec begin, now;
          for (int i = 0; i < 24; i++) {
            clock_gettime(CLOCK_MONOTONIC, &begin);
            do clock_gettime(CLOCK_MONOTONIC, &now);
            while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 25);
            (void)baton_kernel(o, "append");
          } ]] }, { x }, { timeout = 0.3 })
        assert.equal(1, x:get(1))
      end)

      it("that reads its arguments wrongly ends its run only", function()
        local chip <close> = baton.worker { platform = platform, runtime = runtime }
        assert.matches("^p: ", raises("signature", chip.run, chip, program { code = [[
          BATON_ORCHESTRATION(f) { (void)o; (void)baton_scalar_f64(args, 7); }]] }, { tensor.zeros("f32", { 1 }) }))
        assert.equal("ready", chip.state)
      end)
    end)
  end

  it("leaves an orchestration alone that waits in a full window while tasks go on", function()
    local chip <close> = baton.worker { platform = platform, runtime = "tensormap_and_ringbuffer" }
    local x = tensor.zeros("f32", { 1 })
    chip:run(baton.program { name = "p", signature = { { "x", "inout", "f32" } },
      kernels = { nap = { core = "aiv", signature = { { "x", "inout" } }, code = [[
        #define _GNU_SOURCE
        #include <baton/kernel.h>
        #include <time.h>
        BATON_KERNEL(nap) {
          nanosleep(&(struct timespec){0, 25000000}, NULL);
          baton_io(args, 0, float)[0] += 1;
        }]] } },
      orchestration = { entry = "f", code = [[
        #include <baton/orchestration.h>
        BATON_ORCHESTRATION(f) {
          baton_view x = baton_param(o, args, 0);
          for (int i = 0; i < 24; i++) baton_aiv(o, baton_kernel(o, "nap"), BATON_ARGS(baton_inout(x)), NULL);
        }]] } }, { x }, { timeout = 0.3, ring_task_window = 4 })
    assert.equal(24, x:get(1))
  end)
end)
