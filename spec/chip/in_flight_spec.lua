-- What may be done with a worker while a run of it goes on, and what a close makes of it.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"

local function sum_program()
  return programs.vector { name = "sum", signature = programs.abc, graph = function(g, a, b, c) g.aiv("add", a, b, c) end }
end

local function arguments()
  return { a = tensor.full("f32", { 8 }, 2), b = tensor.full("f32", { 8 }, 3), c = tensor.full("f32", { 8 }, -1) }
end

local function held_program()
  return baton.program { name = "held", signature = { { "x", "inout" } }, kernels = { hold = gate.hold },
    graph = function(g, x) g.aiv("hold", x) end }
end

glue.each_platform(function(platform)
  describe("while a run is in flight", function()
    before_each(function() gate.close() end)
    after_each(function() gate.gone() end)

    it("programs are registered, submitted by their handles, and unregistered", function()
      local chip <close> = baton.worker { platform = platform }
      local x, args = tensor.zeros("f32", { 1 }), arguments()
      local held = chip:submit(held_program(), { x }, gate.config)
      local handle = chip:register(sum_program())
      local later = chip:submit(handle, args, gate.config)
      chip:unregister(handle)
      assert.same({ false, false }, { held:done(), later:done() })
      gate.open()
      held:wait()
      later:wait()
      assert.same({ 1, 5 }, { x:get(1), args.c:get(8) })
    end)

    it("memory is taken and given back, and the accounts are exact", function()
      local chip <close> = baton.worker { platform = platform }
      chip:run(sum_program(), arguments())
      local held = chip:submit(held_program(), { tensor.zeros("f32", { 1 }) }, gate.config)
      local before = chip:stats()
      local buffers = {}
      for i = 1, 10 do buffers[i] = chip:malloc(1000) end
      assert.equal(before.committed_bytes + 10 * 1000, chip:stats().committed_bytes)
      for _, buffer in ipairs(buffers) do chip:free(buffer) end
      gate.open()
      held:wait()
      chip:close()
      local after = chip:stats()
      assert.same({ 0, after.allocations }, { after.committed_bytes, after.frees })
    end)

    it("close cancels it, changes no output and gives everything back", function()
      local chip = baton.worker { platform = platform }
      local x, args = tensor.zeros("f32", { 1 }), arguments()
      local held, waiting = chip:submit(held_program(), { x }, gate.config), chip:submit(sum_program(), args, gate.config)
      local buffer = chip:malloc(64)
      chip:close()
      for _, run in ipairs { held, waiting } do
        assert.is_true(run:done())
        glue.raises("cancelled", run.wait, run)
      end
      assert.equal("the worker is closed", glue.raises("closed", chip.copy_to, chip, buffer, tensor.zeros("u8", { 64 })))
      local stats = chip:stats()
      assert.same({ 0, stats.allocations, 2 }, { stats.committed_bytes, stats.frees, stats.streams_destroyed })
      gate.open()
    end)
  end)

  describe("a program that is registered early", function()
    it("leaves nothing to its first run but the graph, and gives what one gives that is not", function()
      local chip <close> = baton.worker { platform = platform }
      local other <close> = baton.worker { platform = platform, device = 1 }
      local program, args = sum_program(), arguments()
      local handle, before = chip:register(program), chip:stats()
      chip:run(handle, args)
      local after = chip:stats()
      assert.same({ before.compilations, before.images_uploaded }, { after.compilations, after.images_uploaded })
      local late = arguments()
      other:run(program, late)
      assert.same(args.c:totable(), late.c:totable())
      assert.same({ after.images_uploaded, after.graph_builds + after.graph_replays },
        { other:stats().images_uploaded, other:stats().graph_builds + other:stats().graph_replays })
      chip:run(chip:register(program), args)
      assert.equal(after.images_uploaded, chip:stats().images_uploaded)
    end)
  end)
end)
