local baton = require "baton"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

local function sum_program()
  return programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
end

-- The line of the caller, as messages name it.
local function here(offset)
  local caller = debug.getinfo(2, "Sl")
  return ("%s:%d"):format(caller.short_src, caller.currentline + (offset or 0))
end

glue.each_platform(function(platform)
  describe("a buffer", function()
    local chip
    before_each(function() chip = baton.worker { platform = platform, device = 0 } end)
    after_each(function() chip:close() end)

    it("has a worker and a size", function()
      local buffer <close> = chip:malloc("4KiB")
      assert.equal(4096, buffer.nbytes)
      assert.equal(0, buffer.worker)
      assert.equal("buffer of 4096 bytes", tostring(buffer))
    end)

    it("keeps what is copied there", function()
      local buffer <close> = chip:malloc(400)
      local host, back = tensor.arange("f32", { 100 }), tensor.zeros("f32", { 100 })
      chip:copy_to(buffer, host)
      chip:copy_from(back, buffer)
      assert.same(host:totable(), back:totable())
    end)

    it("takes copies at an offset and of a part", function()
      local buffer <close> = chip:malloc(40)
      chip:copy_to(buffer, tensor.zeros("f32", { 10 }))
      chip:copy_to(buffer, tensor.full("f32", { 10 }, 7), { offset = 8, nbytes = 12 })
      local back = tensor.full("f32", { 4 }, -1)
      chip:copy_from(back, buffer, { offset = 4, nbytes = 8 })
      assert.same({ 0, 7, -1, -1 }, back:totable())
      chip:copy_from(back, buffer, { offset = 40, nbytes = 0 })
      chip:copy_from(back, buffer, { offset = 24 })
      assert.same({ 0, 0, 0, 0 }, back:totable())
    end)

    it("packs strided host views, and unpacks them", function()
      local buffer <close> = chip:malloc(16)
      local matrix = tensor.arange("f32", { 4, 3 })
      chip:copy_to(buffer, matrix:select(2, 2))
      local packed, other = tensor.zeros("f32", { 4 }), tensor.full("f32", { 4, 3 }, -1)
      chip:copy_from(packed, buffer)
      assert.same(matrix:select(2, 2):totable(), packed:totable())
      chip:copy_from(other:select(2, 3), buffer, { nbytes = 8 })
      assert.same({ { -1, -1, 1 }, { -1, -1, 4 }, { -1, -1, -1 }, { -1, -1, -1 } }, other:totable())
    end)

    it("refuses copies that do not fit", function()
      local buffer <close> = chip:malloc(64)
      local host = tensor.zeros("f32", { 16 })
      local function to(options) return raises("out_of_range", chip.copy_to, chip, buffer, host, options) end
      assert.equal("copy_to: bytes [4,68) of a buffer of 64", to { offset = 4 })
      assert.equal("copy_to: bytes [0,65) of a buffer of 64", to { nbytes = 65 })
      local larger <close> = chip:malloc(128)
      assert.equal("copy_from: bytes [0,65) of a host tensor of 64",
        raises("out_of_range", chip.copy_from, chip, host, larger, { nbytes = 65 }))
      assert.equal("copy_from: bytes [9223372036854775807,9223372036854775871) of a buffer of 128",
        raises("out_of_range", chip.copy_from, chip, host, larger, { offset = math.maxinteger }))
      assert.equal("copy: unknown option 'ofset', did you mean 'offset'?", raises("unknown_option", chip.copy_to, chip,
        buffer, host, { ofset = 4 }))
    end)

    it("says so when arguments are swapped or wrong", function()
      local buffer <close> = chip:malloc(64)
      local host = tensor.zeros("f32", { 16 })
      assert.equal("worker.copy_to: the destination comes first: (buffer, host); the arguments are swapped",
        raises("invalid_argument", chip.copy_to, chip, host, buffer))
      assert.equal("worker.copy_from: the destination comes first: (host, buffer); the arguments are swapped",
        raises("invalid_argument", chip.copy_from, chip, buffer, host))
      assert.equal("worker.copy_to: argument 1 must be a buffer, got nil", raises("invalid_argument", chip.copy_to, chip))
      assert.equal("worker.copy_to: argument 2 must be a host tensor, got 7",
        raises("invalid_argument", chip.copy_to, chip, buffer, 7))
      assert.equal("malloc: at least one byte expected, got 0", raises("invalid_argument", chip.malloc, chip, 0))
      assert.equal("worker.malloc: nbytes must be a size in bytes such as 65536 or \"64KiB\", got -1",
        raises("invalid_argument", chip.malloc, chip, -1))
    end)

    it("says what is left when memory is short", function()
      assert.matches("^malloc: no room for 1099511627776 bytes on device 0: 0 of %d+ bytes are in use",
        raises("out_of_memory", chip.malloc, chip, "1TiB"))
    end)

    it("is dead at once when it is freed, and says where", function()
      local buffer = chip:malloc(64)
      local child = buffer:tensor("f32", { 16 })
      chip:free(buffer)
      local place, host = here(-1), tensor.zeros("f32", { 16 })
      local was = ("the buffer of 64 bytes was freed at %s"):format(place)
      assert.equal("copy_to: " .. was, raises("stale_handle", chip.copy_to, chip, buffer, host))
      assert.equal("copy_from: " .. was, raises("stale_handle", chip.copy_from, chip, host, buffer))
      assert.equal(was, raises("stale_handle", buffer.tensor, buffer, "f32", { 4 }))
      assert.equal("sum: argument 2 (b): " .. was,
        raises("stale_handle", chip.run, chip, sum_program(), { host, child, host:clone() }))
      assert.equal("free: the buffer of 64 bytes was freed before, at " .. place,
        raises("double_free", chip.free, chip, buffer))
      buffer:close()
      buffer:close()
      assert.same({ 16 }, { child:size(1) })
    end)

    it("is freed by close, once", function()
      local buffer = chip:malloc(64)
      buffer:close()
      local place = here(-1)
      buffer:close()
      assert.equal("the buffer of 64 bytes was closed at " .. place, raises("closed", buffer.tensor, buffer, "f32", { 4 }))
      assert.equal("free: the buffer of 64 bytes was closed before, at " .. place,
        raises("double_free", chip.free, chip, buffer))
      local stats = chip:stats()
      assert.equal(1, stats.frees)
      assert.equal(0, stats.committed_bytes)
    end)

    it("of another worker is refused", function()
      local other <close> = baton.worker { platform = platform, device = 1 }
      local buffer <close> = other:malloc(64)
      local host = tensor.zeros("f32", { 16 })
      local message = ("the buffer belongs to another worker (%s, device 1), not to this one (%s, device 0)"):format(
        platform, platform)
      assert.equal("copy_to: " .. message, raises("wrong_device", chip.copy_to, chip, buffer, host))
      assert.equal("free: " .. message, raises("wrong_device", chip.free, chip, buffer))
      assert.equal("sum: argument 1 (a): " .. message,
        raises("wrong_device", chip.run, chip, sum_program(), { buffer:tensor("f32", { 16 }), host, host:clone() }))
      other:copy_to(buffer, host)
    end)

    it("dies with its worker", function()
      local other = baton.worker { platform = platform, device = 1 }
      local buffer = other:malloc(64)
      local child, host = buffer:tensor("f32", { 16 }), tensor.zeros("f32", { 16 })
      other:close()
      assert.equal(0, other:stats().committed_bytes)
      assert.equal("the worker of the buffer is closed", raises("closed", buffer.tensor, buffer, "f32", { 4 }))
      assert.equal("sum: argument 1 (a): the worker of the buffer is closed",
        raises("closed", chip.run, chip, sum_program(), { child, host, host:clone() }))
      assert.equal("the worker is closed", raises("closed", other.free, other, buffer))
      assert.equal("the worker is closed", raises("closed", other.malloc, other, 8))
      buffer:close()
    end)

    it("may be collected in any order", function()
      for _ = 1, 20 do
        local worker = baton.worker { platform = platform }
        local child = worker:malloc(64):tensor("f32", { 4 })
        collectgarbage()
        assert.equal(64, child.buffer.nbytes)
        worker:copy_to(child.buffer, tensor.zeros("f32", { 4 }))
        worker, child = child, worker -- luacheck: ignore
        worker, child = nil, nil -- luacheck: ignore
        collectgarbage()
      end
      for _ = 1, 100 do chip:malloc("64MiB") end
      collectgarbage()
      assert.equal(0, chip:stats().committed_bytes)
    end)
  end)

  describe("child memory", function()
    local chip
    before_each(function() chip = baton.worker { platform = platform, device = 0 } end)
    after_each(function() chip:close() end)

    it("has the fields and views of a tensor", function()
      local buffer <close> = chip:malloc(1024)
      local t = buffer:tensor("f32", { 8, 16 }, 512)
      assert.same({ "f32", 2, 128, 512, 8, 16 }, { t.dtype, t.ndim, t.numel, t.nbytes, t.shape[1], t.shape[2] })
      assert.equal(t.shape, t.shape)
      assert.equal(buffer, t.buffer)
      assert.equal("child tensor f32[8,16]", tostring(t))
      assert.same({ 2, 16 }, { t:slice(1, 3, 2):size(1), t:slice(1, 3, 2):size(2) })
      assert.equal("child tensor f32[16,8]", tostring(t:transpose(1, 2)))
      assert.equal("child tensor f32[4,2]", tostring(t:view(1, 4, 5, 2)))
      assert.equal("child tensor f32[8]", tostring(t:select(2, 16)))
      assert.equal("child tensor f32[128]", tostring(t:reshape { 128 }))
      assert.matches("tensors in device memory have no 'get'", raises("invalid_argument", function() return t.get end))
    end)

    it("must fit its buffer", function()
      local buffer <close> = chip:malloc(64)
      assert.equal("tensor: bytes [0,68) of a buffer of 64", raises("out_of_range", buffer.tensor, buffer, "f32", { 17 }))
      assert.equal("tensor: bytes [60,68) of a buffer of 64",
        raises("out_of_range", buffer.tensor, buffer, "f32", { 2 }, 60))
      assert.equal("tensor: offset 6 is not aligned for elements of f32",
        raises("invalid_argument", buffer.tensor, buffer, "f32", { 2 }, 6))
      assert.equal("tensor: offset 68 of a buffer of 64 bytes",
        raises("out_of_range", buffer.tensor, buffer, "f32", { 0 }, 68))
      assert.equal("child tensor f32[0]", tostring(buffer:tensor("f32", { 0 }, 64)))
      assert.equal("tensor: more than 2^63 elements",
        raises("out_of_range", buffer.tensor, buffer, "f32", { 1 << 32, 1 << 32 }))
    end)

    it("goes to a run as it is, and stays", function()
      local buffer <close> = chip:malloc(3 * 4096)
      local a, b, c = buffer:tensor("f32", { 1024 }), buffer:tensor("f32", { 1024 }, 4096),
        buffer:tensor("f32", { 1024 }, 8192)
      chip:copy_to(buffer, tensor.full("f32", { 1024 }, 2))
      chip:copy_to(buffer, tensor.full("f32", { 1024 }, 3), { offset = 4096 })
      local program, before = sum_program(), chip:stats()
      chip:run(program, { a, b, c })
      for _ = 1, 3 do chip:run(program, { a = c, b = b, c = a }) chip:run(program, { a = a, b = b, c = c }) end
      local after, host = chip:stats(), tensor.zeros("f32", { 1024 })
      assert.equal(before.bytes_to_device, after.bytes_to_device)
      assert.equal(before.bytes_from_device, after.bytes_from_device)
      assert.equal(before.allocations + 1, after.allocations) -- the heap of the engine
      chip:copy_from(host, buffer, { offset = 8192 })
      assert.same({ 23, 23 }, { host:get(1), host:get(1024) })
    end)

    it("mixes with host tensors, in any place", function()
      local buffer <close> = chip:malloc(64)
      local child = buffer:tensor("f32", { 16 })
      chip:copy_to(buffer, tensor.arange("f32", { 16 }))
      local ones, out = tensor.full("f32", { 16 }, 1), tensor.zeros("f32", { 16 })
      local program = sum_program()
      chip:run(program, { child, ones, out })
      assert.same({ 1, 16 }, { out:get(1), out:get(16) })
      chip:run(program, { ones, child, out })
      assert.same({ 1, 16 }, { out:get(1), out:get(16) })
      chip:run(program, { ones, ones, child })
      chip:copy_from(out, buffer)
      assert.same({ 2, 2 }, { out:get(1), out:get(16) })
    end)

    it("is checked against the signature", function()
      local buffer <close> = chip:malloc(64)
      local host = tensor.zeros("f32", { 16 })
      assert.equal("sum: argument 2 (b): f32[n=16] expected, got f32[8]",
        raises("signature", chip.run, chip, sum_program(), { host, buffer:tensor("f32", { 8 }), host:clone() }))
      assert.equal("sum: argument 2 (b): f32[n=16] expected, got i32[16]",
        raises("signature", chip.run, chip, sum_program(), { host, buffer:tensor("i32", { 16 }), host:clone() }))
    end)

    it("must not overlap what is written", function()
      local buffer <close> = chip:malloc(128)
      local a, host = buffer:tensor("f32", { 16 }), tensor.zeros("f32", { 16 })
      local program = sum_program()
      assert.equal("sum: arguments 1 (a) and 3 (c) overlap, and c is written",
        raises("signature", chip.run, chip, program, { a, host, buffer:tensor("f32", { 16 }, 60) }))
      chip:run(program, { a, a, buffer:tensor("f32", { 16 }, 64) })
      local bare = programs.vector { graph = function(g, x, y) g.aiv("add", x, x, y) end }
      assert.equal("vector: arguments 1 and 2 overlap, and argument 2 is written", raises("signature", chip.run, chip, bare,
        { a, buffer:tensor("f32", { 16 }, 4) }))
    end)

    it("may be a strided view where the kernel takes one", function()
      local buffer <close> = chip:malloc(128)
      local matrix = buffer:tensor("f32", { 8, 4 })
      local ones, out = tensor.full("f32", { 8 }, 1), tensor.zeros("f32", { 8 })
      chip:copy_to(buffer, tensor.arange("f32", { 8, 4 }))
      assert.matches("a contiguous tensor expected, got a strided view",
        raises("signature", chip.run, chip, sum_program(), { matrix:select(2, 1), ones, out }))
      local columns = programs.vector { name = "columns", signature = programs.abc, graph = function(g, a, b, c)
        for i = 1, a:size(1) do g.aiv("add", a:slice(1, i, 1), b:slice(1, i, 1), c:slice(1, i, 1)) end
      end }
      for column = 1, 4 do
        chip:run(columns, { matrix:select(2, column), ones, out })
        assert.same({ column, column + 28 }, { out:get(1), out:get(8) })
      end
      chip:run(columns, { matrix:transpose(1, 2):select(1, 2), ones, matrix:select(2, 4) })
      local back = tensor.zeros("f32", { 8, 4 })
      chip:copy_from(back, buffer)
      assert.same({ 0, 1, 2, 2, 28, 29, 30, 30 }, { back:get(1, 1), back:get(1, 2), back:get(1, 3), back:get(1, 4),
        back:get(8, 1), back:get(8, 2), back:get(8, 3), back:get(8, 4) })
    end)

    it("is read while building, each time anew", function()
      local buffer <close> = chip:malloc(64)
      local child, seen = buffer:tensor("f32", { 16 }), {}
      local program = programs.vector { name = "peek", signature = { { "x", "in", "f32", { "n" } }, { "y", "out", "f32", { "n" } } },
        graph = function(g, x, y)
          seen[#seen + 1] = g.get(x, 3)
          g.aiv("add_scalar", x, y, g.get(x, 3))
        end }
      local out = tensor.zeros("f32", { 16 })
      for value = 1, 3 do
        chip:copy_to(buffer, tensor.full("f32", { 16 }, value))
        chip:run(program, { child, out })
        assert.equal(2 * value, out:get(5))
      end
      assert.same({ 1, 2, 3 }, seen)
    end)

    it("is freed after the runs that were submitted before", function()
      local n = 1 << 16
      local program = programs.vector { name = "many", signature = programs.abc, graph = function(g, a, b, c)
        for _ = 1, 50 do g.aiv("add", a, b, c) end
      end }
      local outs, runs = {}, {}
      for i = 1, 8 do
        local buffer = chip:malloc(4 * n)
        chip:copy_to(buffer, tensor.full("f32", { n }, i))
        outs[i] = tensor.zeros("f32", { n })
        local child = buffer:tensor("f32", { n })
        runs[i] = chip:submit(program, { child, child, outs[i] })
        chip:free(buffer)
        assert.matches("was freed", raises("stale_handle", chip.run, chip, program, { child, child, outs[i] }))
      end
      for i = 1, 8 do
        runs[i]:wait()
        assert.equal(2 * i, outs[i]:get(n))
      end
      local stats = chip:stats()
      assert.is_true(stats.allocations - stats.frees <= 2) -- heaps of spare engines
    end)

    it("comes back when a later malloc needs the room", function()
      local half = chip:malloc("1500MiB")
      local child = half:tensor("f32", { 1 << 16 })
      local out = tensor.zeros("f32", { 1 << 16 })
      local program = sum_program()
      local total = tonumber(chip:dump():match "of (%d+) bytes in")
      for _ = 1, 5 do
        local run = chip:submit(program, { child, child, out })
        chip:free(half)
        half = chip:malloc(total - (1 << 20) >= 1500 << 20 and 1500 << 20 or 1 << 20)
        child = half:tensor("f32", { 1 << 16 })
        run:wait()
      end
    end)

    it("is copied after everything submitted before", function()
      local n = 1 << 16
      local buffer <close> = chip:malloc(4 * n)
      local child, host = buffer:tensor("f32", { n }), tensor.zeros("f32", { n })
      local program = programs.vector { name = "steps", signature = { { "x", "inout", "f32", { "n" } } }, graph = function(g, x)
        for digit = 1, 4 do g.aiv("append", x, digit) end
      end }
      chip:copy_to(buffer, host)
      for _ = 1, 5 do
        local run = chip:submit(program, { child })
        chip:copy_from(host, buffer)
        assert.equal(1234, host:get(1))
        assert.is_true(run:done())
        chip:copy_to(buffer, tensor.zeros("f32", { n }))
      end
    end)

    it("cannot be copied inside a graph function of the worker", function()
      local buffer <close> = chip:malloc(64)
      local host, messages = tensor.zeros("f32", { 16 }), {}
      local program = programs.vector { name = "nested", signature = programs.abc, graph = function(g, a, b, c)
        messages[#messages + 1] = raises("state", chip.copy_to, chip, buffer, host)
        g.aiv("add", a, b, c)
      end }
      for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
        program:forget()
        chip:run(program, { host, host, tensor.zeros("f32", { 16 }) }, { runtime = runtime })
      end
      local message = "copy_to: called inside an orchestration of the same worker, it would wait for itself"
      assert.same({ message, message }, messages)
    end)
  end)
end)
