-- Every code of an error, raised by a program that does nothing else: its sentence and its hint.
local baton = require "baton"
local command = require "spec.support.command"
local failure = require "baton.error"
local gate = require "spec.support.gate"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"

local one = { { "x", "inout" } }

local function kernel(body)
  return { core = "aiv", waits = true, signature = one, entry = "k",
    code = "#include <baton/kernel.h>\nBATON_KERNEL(k) { (void)args; " .. body .. " }" }
end

local kernels = {
  append = programs.kernels.append, stop = programs.kernels.stop, hold = gate.hold,
  waits = kernel "while (1) baton_spin_hint(args);", meets = kernel "baton_block_barrier(args);",
  crashes = kernel "*(volatile int *)16 = 1;",
}

local function program(graph)
  return baton.program { name = "p", signature = { { "x", "inout", "f32" } }, kernels = kernels, graph = graph }
end

local append = program(function(g, x) g.aiv("append", x, 1) end)
local on_device = { runtime = "tensormap_and_ringbuffer" }

local function with(config)
  for key, value in pairs(on_device) do config[key] = value end
  return config
end

describe("the error code", function()
  local chip, x
  before_each(function()
    gate.close()
    chip = baton.worker { platform = "a2a3sim", device = 0 }
    x = tensor.zeros("f32", { 1 })
  end)
  after_each(function()
    gate.open()
    chip:close()
    gate.gone()
  end)

  local function run(graph, config) return chip:run(type(graph) == "function" and program(graph) or graph, { x }, config) end

  local raised = {} -- the codes below

  -- f must raise `code` with this message, a pattern if it has a % in it, and this hint.
  local function is(code, message, hint, f)
    raised[code] = true
    it(code, function()
      local ok, err = pcall(f)
      assert.is_false(ok)
      assert.is_true(failure.is(err), tostring(err))
      assert.equal(code, err.code, tostring(err))
      if message:find("%", 1, true) then
        assert.matches("^" .. message .. "$", err.message)
      else
        assert.equal(message, err.message)
      end
      assert.equal(hint, err.hint)
    end)
  end

  is("invalid_argument", "baton.input: a tensor expected, got 7", nil, function() baton.input(7) end)
  is("unknown_option", "config: unknown option 'ring_haep', did you mean 'ring_heap'?", "known options: ring_task_window, "
    .. "ring_heap, ring_dep_pool, runtime, deadline, timeout, aicpu_threads, resident, trace, output_prefix",
    function() run(append, { ring_haep = 1 }) end)
  is("signature", "p: 1 argument (x) expected, got 2", nil, function() chip:run(append, { x, x }) end)
  is("out_of_range", "scalar: argument 1 (value): 128 does not fit i8, which holds integers from -128 to 127", nil,
    function() baton.scalar("i8", 128) end)
  is("closed", "the worker is closed", nil, function()
    chip:close()
    run(append)
  end)
  is("state", "run: called inside an orchestration of the same worker, it would wait for itself", nil,
    function() run(function() run(append) end) end)
  is("unsupported", "p: runtime aicpu_build_graph does not carry this program; those that do: host_build_graph, "
    .. "tensormap_and_ringbuffer", "aicpu_build_graph runs orchestrations in C only",
    function() run(append, { runtime = "aicpu_build_graph" }) end)

  -- Memory of the device.
  is("stale_handle", "copy_to: the buffer of 64 bytes was freed at spec/chip/error_codes_spec%.lua:%d+", nil, function()
    local buffer = chip:malloc(64)
    chip:free(buffer)
    chip:copy_to(buffer, x)
  end)
  is("double_free", "free: the buffer of 64 bytes was freed before, at spec/chip/error_codes_spec%.lua:%d+", nil, function()
    local buffer = chip:malloc(64)
    chip:free(buffer)
    chip:free(buffer)
  end)
  is("wrong_device", "free: the buffer belongs to another worker (a2a3sim, device 1), not to this one (a2a3sim, device 0)",
    nil, function()
      local other <close> = baton.worker { platform = "a2a3sim", device = 1 }
      chip:free(other:malloc(64))
    end)
  is("out_of_memory", "malloc: no room for 1099511627776 bytes on device 0: 0 of 4294967296 bytes are in use, the largest "
    .. "free block has 4294967296", "close buffers that are not needed any more", function() chip:malloc "1TiB" end)
  is("busy", "setup_arena: open rounds use the heap", nil, function()
    local own <close> = baton.worker { platform = "a2a3sim", device = 1, arena = { heap = "1MiB" }, config = { ring_heap = "1MiB" } }
    local _ <close> = own:rounds(append, { x })
    own:setup_arena { heap = "2MiB" }
  end)

  -- What a run is given.
  is("window_full", "p: task append: the window of 8 tasks is full: 8 are unfinished", "raise ring_task_window in config; "
    .. "host_build_graph holds every task and intermediate of a graph until it is launched", function()
      run(function(g, y) for _ = 1, 9 do g.aiv("append", y, 1) end end, { ring_task_window = 8 })
    end)
  is("heap_full", "p: alloc of 65537 bytes: the heap of 65536 bytes is full: 0 in use, the largest free piece is 65536; "
    .. "0 blocks of 0 bytes belong to the open scope 0", "raise ring_heap in config; or end scopes earlier, so that memory "
    .. "comes back", function() run(function(g) g.alloc("u8", 65537) end, with { ring_heap = "64KiB" }) end)
  is("dep_pool_full", "p: task join: the pool of 8 edges is full: 0 in use by 64 unfinished tasks", "raise ring_dep_pool in "
    .. "config; host_build_graph holds every task and intermediate of a graph until it is launched", function()
      run(function(g)
        local tasks = {}
        for i = 1, 64 do tasks[i] = g.dummy {} end
        g.dummy({}, { deps = tasks, name = "join" })
      end, { ring_dep_pool = 8 })
    end)
  is("scope_deadlock", "p: alloc of 40000 bytes: the heap of 65536 bytes is full, the largest free piece is 24576, and "
    .. "scope 1, whose end would give back 1 blocks of 40000 bytes, is open", "raise ring_heap in config; or end scopes "
    .. "earlier, so that memory comes back", function()
      run(function(g) g.scope(function() return g.alloc("u8", 40000), g.alloc("u8", 40000) end) end, with { ring_heap = "64KiB" })
    end)
  is("sync_start_too_wide", "p: task meets: 1000 blocks are to start together on 48 vector cores",
    "take 48 blocks at most, or let them run in waves without sync_start",
    function() run(function(g, y) g.aiv("meets", { y }, { blocks = 1000, sync_start = true }) end) end)

  -- What a run comes to.
  is("user_fail", "task stop: kernel stop: stopped at 7", nil, function() run(function(g, y) g.aiv("stop", y, 7) end) end)
  is("cancelled", "p: the run was cancelled", nil, function()
    local held <close> = chip:submit(program(function(g, y) g.aiv("hold", y) end), { x }, gate.config)
    held:cancel()
    held:wait()
  end)
  is("timeout", "p: not over after the deadline of 0.05 s, and cancelled", nil,
    function() run(function(g, y) g.aiv("waits", y) end, { deadline = 0.05 }) end)
  is("tensor_wait_timeout", "p: get: a task that the element depends on has not ended within 0.05 s",
    "raise timeout.element in config if the task is only slow", function()
      run(function(g, y)
        g.aiv("waits", y)
        g.get(y, 1)
      end, with { timeout = { element = 0.05 } })
    end)
  is("op_timeout", "task waits: kernel waits: no progress for %d+ ms while it waited on core %d+, and left",
    "raise timeout in config if the kernel is only slow",
    function() run(function(g, y) g.aiv("waits", y) end, { timeout = 0.05 }) end)
  is("stream_timeout", "the stream made no progress for %d+ ms: no task began or ended",
    "raise timeout.stream in config if the orchestration is only slow",
    function() run(function(g, y) repeat until not pcall(g.get, y, 1) end, with { timeout = { op = 0.05, stream = 0.2 } }) end)
  is("kernel_crash", "task crashes: kernel crashes: crashed with SIGSEGV at 0x10 on core %d+", nil,
    function() run(function(g, y) g.aiv("crashes", y) end) end)
  is("worker_lost", "the worker is lost since a kernel was left by force (kernel crashes of task crashes, kernel_crash)",
    "call restart; what was being written may be incomplete", function()
      pcall(run, function(g, y) g.aiv("crashes", y) end)
      run(append)
    end)

  -- What lies outside.
  is("compile_failed", "p: kernel broken: .* does not compile\n.*:%d+:%d+: error: .*", nil, function()
    baton.program { name = "p", kernels = { broken = { core = "aiv", code = "int broken(;" } }, graph = function() end }:compile()
  end)
  is("bad_file", "README.md: offset 0: is no .npy file, it does not begin with \\x93NUMPY", nil,
    function() tensor.load "README.md" end)
  is("io_error", "/nowhere/x.npy: cannot open: No such file or directory", nil, function() tensor.load "/nowhere/x.npy" end)
  is("resource_limit", "injected fault: call 1 of stream_create fails", nil,
    function() baton.worker { platform = "a2a3sim", device = 1, fault = { call = "stream_create", nth = 1 } } end)

  raised.device_busy = true
  it("device_busy", function()
    local child = assert(io.popen(command.quote(command.baton) .. [[ -e 'print(pcall(require("baton").worker, {
      platform = "a2a3sim", device = 0 }))']]))
    local stat <close> = assert(io.open "/proc/self/stat")
    assert.equal(("false\tdevice_busy: device 0 of a2a3sim is in use by process %d; wait some seconds for it with "
      .. "wait_device, or take another device (device 0)"):format(stat:read "n"), child:read "l")
    child:close()
  end)

  -- A task whose producer failed has no error of its own on one chip: the run has that of the producer. A mailbox that makes no
  -- sense takes a program that writes into it (spec/c/test_mailbox.c).
  local elsewhere = { poisoned = true, protocol_error = true }

  it("is one of those that are raised here", function()
    local list = command.read "include/baton/error.h":match "#define BATON_STATUS_LIST.-\n\n"
    local count = 0
    for word in list:gmatch 'X%([A-Z_]+, "([a-z_]+)"%)' do
      count = count + 1
      assert.is_true(raised[word] or elsewhere[word], word)
    end
    assert.is_true(count > 30)
  end)
end)
