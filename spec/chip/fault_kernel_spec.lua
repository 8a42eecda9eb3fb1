-- Kernels that crash or hang. Each case is a child process: what it loses is lost to nobody else.
local command = require "spec.support.command"

-- Runs `body` in a child after a prelude: `chip`, `run(kernel [, config])` over x = {0} and `failure(kernel [, config])`, the
-- error that it raised. The child prints with `say`.
local prelude = [==[
local baton = require "baton"
local tensor = require "baton.tensor"
local code = [[
#define _GNU_SOURCE
#include <baton/kernel.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
static void nap(int ms) {
  struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
  nanosleep(&t, NULL);
}
BATON_KERNEL(fine) { baton_io(args, 0, float)[0] += 1; }
BATON_KERNEL(segv) { *(volatile int *)16 = 1; }
static volatile int zero;
BATON_KERNEL(fpe) {
#if defined(__x86_64__)
  zero = 1000 / zero;
#else
  raise(SIGFPE);
#endif
}
BATON_KERNEL(bus) { /* a mapped page behind the end of its file */
  int file = memfd_create("bus", 0);
  volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  zero = page[0];
}
BATON_KERNEL(ill) { raise(SIGILL); }
BATON_KERNEL(trap) { __builtin_trap(); }
BATON_KERNEL(aborts) { abort(); }
static int deep(volatile char *above) {
  volatile char frame[4096];
  frame[0] = above[0];
  return deep(frame) + frame[0];
}
BATON_KERNEL(overflow) { volatile char c = 0; zero = deep(&c); }
BATON_KERNEL(hang) { while (1) zero = 0; }
BATON_KERNEL(deaf) { /* hangs, and finds hundreds of signals when it can be reached */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  nap(600);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  while (1) zero = 0;
}
BATON_KERNEL(sleeps) { while (1) pause(); }
BATON_KERNEL(slow) { nap(100); baton_io(args, 0, float)[0] += 1; }
BATON_KERNEL(waits) { baton_wait_ge(args, (const int32_t *)baton_io(args, 0, float), 1); }
BATON_KERNEL(bad_counter) { baton_wait_ge(args, (const int32_t *)16, 1); }
]]
local x = { { "x", "inout" } }
local kernels = {}
for name in ("fine segv fpe bus ill trap aborts overflow hang deaf sleeps slow waits bad_counter"):gmatch "%a+_?%a*" do
  kernels[name] = { core = "aiv", code = code, signature = x, waits = name == "waits" or name == "bad_counter" }
end
kernels.fine_aic = { core = "aic", code = code, entry = "fine", signature = x }
kernels.segv_waits = { core = "aiv", code = code, entry = "segv", signature = x, waits = true }
kernels.overflow_waits = { core = "aiv", code = code, entry = "overflow", signature = x, waits = true }
kernels.hang_waits = { core = "aiv", code = code, entry = "hang", signature = x, waits = true }
local chip <close> = baton.worker { config = { timeout = 0.3 } }
local function program(graph)
  return baton.program { name = "faulty", signature = { { "x", "inout", "f32" } }, kernels = kernels, graph = graph }
end
local function run(graph, config)
  if type(graph) == "string" then
    local kernel = graph
    graph = function(g, x) g.aiv(kernel, x) end
  end
  local t = tensor.zeros("f32", { 8 })
  chip:run(program(graph), { t }, config)
  return t:get(1)
end
local function failure(graph, config)
  local ok, err = pcall(run, graph, config)
  assert(not ok, "the run ended well")
  return err
end
local function say(...) io.stdout:write(table.concat({ ... }, " "), "\n") end
]==]

local function child(body, expected_status)
  local result = command.run { "-e", prelude .. body }
  assert.equal(expected_status or 0, result.status, result.err)
  return result.out, result.err
end

-- The thread sanitizer hands a signal to a thread only when that calls into it, so a tight loop is never left.
local tsan = (function()
  local file <close> = assert(io.open("/proc/self/maps"))
  return file:read("a"):find("libtsan", 1, true) ~= nil or os.getenv "BATON_TEST_TSAN" ~= nil
end)()
local function hang(name, test)
  if tsan then
    pending(name .. ": the thread sanitizer delivers no signal into a tight loop")
  else
    it(name, test)
  end
end

describe("a kernel that crashes", function()
  for kernel, signal in pairs {
    segv = "SIGSEGV at 0x10", bus = "SIGBUS at 0x%x+", ill = "SIGILL", aborts = "SIGABRT", fpe = "SIGFPE", trap = "SIG%u+",
    overflow = "SIGSEGV at 0x%x+", segv_waits = "SIGSEGV at 0x10", overflow_waits = "SIGSEGV at 0x%x+",
    bad_counter = "SIGSEGV at 0x10",
  } do
    it("by " .. kernel .. " fails its run and is named", function()
      assert.matches("^kernel_crash task one: kernel " .. kernel .. ": crashed with " .. signal ..
        "[%xx at]* on core %d+ one " .. kernel .. " true true\nlost\nready\n1\n$",
        (child(([[
          local err = failure(function(g, x) g.aiv("%s", { x }, { name = "one" }) end)
          say(err.code, err.message, err.task, err.kernel, tostring(err.core >= 24), tostring(err.signal > 0))
          say(chip.state)
          chip:restart()
          say(chip.state)
          say(string.format("%%d", run "fine"))]]):format(kernel))))
    end)
  end

  it("loses no thread, however often", function()
    assert.equal("ok\n", (child [[
      for i = 1, 40 do
        local err = failure(function(g, x)
          for part = 1, 8 do g.aiv(part % 2 == 0 and "segv" or "aborts", x:slice(1, part, 1)) end
        end)
        assert(err.code == "kernel_crash", tostring(err))
        chip:restart()
        assert(run(function(g, x) for i = 1, 100 do g.aiv("fine", x) end end) == 100)
      end
      say "ok"]]))
  end)

  it("is left on the calling thread too, which plays the control processor", function()
    assert.equal("kernel_crash kernel_crash 64\n", (child [[
      local config = { runtime = "tensormap_and_ringbuffer", ring_task_window = 16 }
      local first = failure(function(g, x)
        for part = 1, 100 do g.aiv("segv", x:slice(1, part % 8 + 1, 1)) end
      end, config)
      chip:restart()
      local second = failure(function(g, x)
        g.aiv("aborts", x)
        g.get(x, 1)
      end, config)
      chip:restart()
      say(first.code, second.code, string.format("%d", run(function(g, x) for i = 1, 64 do g.aiv("fine", x) end end, config)))]]))
  end)

  it("makes the worker refuse runs until its restart", function()
    assert.equal("worker_lost the worker is lost since a kernel was left by force (kernel segv of task segv, kernel_crash)\n1\n",
      (child [[
        failure "segv"
        local err = failure "fine"
        say(err.code, err.message)
        chip:restart()
        say(string.format("%d", run "fine"))]]))
  end)

  it("fails the runs behind it, and changes no output of its own", function()
    assert.equal("kernel_crash worker_lost 0 0\n", (child [[
      local a, b = tensor.zeros("f32", { 8 }), tensor.zeros("f32", { 8 })
      local first = chip:submit(program(function(g, x)
        g.aiv("fine", x)
        g.aiv("slow", x)
        g.aiv("segv", x)
      end), { a })
      local second = chip:submit(program(function(g, x) g.aiv("fine", x) end), { b })
      local _, one = pcall(first.wait, first)
      local _, two = pcall(second.wait, second)
      chip:restart()
      say(one.code, two.code, string.format("%d %d", a:get(1), b:get(1)))]]))
  end)

  it("leaves faults elsewhere to whoever handles them", function()
    local body = prelude .. [[
      say(string.format("%d", run "fine"))
      io.stdout:flush()
      os.execute("kill -SEGV " .. io.open("/proc/self/stat"):read("n"))]]
    local result = command.shell(command.quote(command.baton) .. " -e " .. command.quote(body) .. "; exit $?")
    assert.equal("1\n", result.out)
    assert.is_true(result.status == 128 + 11 or result.err:find("Sanitizer", 1, true) ~= nil, result.err)
  end)
end)

describe("a kernel that hangs", function()
  for _, kernel in ipairs { "hang", "sleeps", "hang_waits" } do
    hang("by " .. kernel .. " is left after the timeout and named", function()
      assert.matches("^op_timeout task " .. kernel .. ": kernel " .. kernel .. ": no progress for %d+ ms on core %d+, and left "
        .. kernel .. " " .. kernel .. " true true\nlost\n1\n$", (child(([[
          local err = failure("%s", { timeout = 0.2 })
          say(err.code, err.message, err.task, err.kernel, tostring(err.core >= 24), tostring(err.after_ms >= 200))
          say(chip.state)
          chip:restart()
          say(string.format("%%d", run "fine"))]]):format(kernel))))
    end)
  end

  hang("is left once, whatever came while its thread could not be reached", function()
    assert.equal("op_timeout 1\n", (child [[
      local err = failure("deaf", { timeout = 0.005 })
      chip:restart()
      say(err.code, string.format("%d", run("fine", { timeout = 100 })))]]))
  end)

  hang("on every thread leaves none behind", function()
    assert.equal("op_timeout 100\nop_timeout 100\n", (child [[
      for round = 1, 2 do
        local err = failure(function(g, x) for part = 1, 8 do g.aiv("hang", x:slice(1, part, 1)) end end, { timeout = 0.1 })
        chip:restart()
        say(err.code, string.format("%d", run(function(g, x) for i = 1, 100 do g.aiv("fine", x) end end)))
      end]]))
  end)
end)

describe("a run that waits", function()
  it("for a kernel that never comes ends by the timeout", function()
    assert.matches("^op_timeout task waits: kernel waits: no progress for %d+ ms while it waited on core %d+, and left\n1\n$",
      (child [[
        local err = failure("waits", { timeout = 0.1 })
        say(err.code, err.message)
        chip:restart()
        say(string.format("%d", run "fine"))]]))
  end)

  it("is cancelled while a kernel waits", function()
    assert.equal("true cancelled ready\n", (child [[
      local x = tensor.zeros("f32", { 8 })
      local waiting = chip:submit(program(function(g, x) g.aiv("waits", x) end), { x }, { timeout = 100 })
      local done = waiting:cancel()
      local _, err = pcall(waiting.wait, waiting)
      say(tostring(done), err.code, chip.state)]]))
  end)

  it("does not time out as long as tasks end, however long it takes", function()
    assert.equal("8\n", (child [[
      say(string.format("%d", run(function(g, x) for i = 1, 8 do g.aiv("slow", x) end end, { timeout = 0.4 })))]]))
  end)
end)

describe("config.timeout", function()
  it("is checked", function()
    assert.equal("invalid_argument field 'timeout' must be a number in 0.001..1000000000, got -1\n" ..
      "invalid_argument field 'timeout' must be a number in 0.001..1000000000, got nan\n" ..
      "invalid_argument timeout: op must be less than stream, got 2 and 1\n" ..
      "unknown_option timeout: unknown option 'ops', did you mean 'op'?\n",
      (child [[
        for _, timeout in ipairs { -1, 0 / 0, { op = 2, stream = 1 }, { ops = 1 } } do
          local err = failure("fine", { timeout = timeout })
          say(err.code, (err.message:gsub("-nan", "nan")))
        end]]))
  end)
end)
