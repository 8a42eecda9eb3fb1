-- What a submit leaves to the device: runs whose kernels are held until the spec lets them go.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"

local kernels = { hold = gate.hold, append = programs.kernels.append }

local graph = { graph = function(g, x)
  g.aiv("hold", x)
  g.aiv("append", x, 2)
end }

local orchestration = { orchestration = { entry = "held", code = [[
  #include <baton/orchestration.h>
  BATON_ORCHESTRATION(held) {
    baton_view x = baton_param(o, args, 0);
    baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
    baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(2)), NULL);
  }]] } }

local reader = { orchestration = { entry = "reader", code = gate.mark .. [[
  #include <baton/orchestration.h>
  BATON_ORCHESTRATION(reader) {
    baton_view x = baton_param(o, args, 0);
    baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
    mark("reads");
    (void)baton_get_f64(o, x, (int64_t[]){0});
  }]] } }

-- With a window of 4 tasks, all behind the first: a fifth does not fit before that has ended.
local crowd = { orchestration = { entry = "crowd", code = gate.mark .. [[
  #include <baton/orchestration.h>
  BATON_ORCHESTRATION(crowd) {
    baton_view x = baton_param(o, args, 0);
    baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
    for (int i = 2; i <= 7; i++) {
      if (i == 5) mark("full");
      baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32((float)i)), NULL);
      if (i == 5) mark("passed");
    }
  }]] } }

local function program(options)
  return baton.program { name = "held", signature = { { "x", "inout", "f32" } }, kernels = kernels, graph = options.graph,
    orchestration = options.orchestration }
end

glue.each_platform(function(platform)
  describe("a run whose kernel waits for the host", function()
    local chip
    before_each(function()
      gate.close()
      chip = baton.worker { platform = platform, config = gate.config }
    end)
    after_each(function()
      gate.open() -- whatever a failed spec has left behind goes on
      chip:close()
      gate.gone()
    end)

    for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
      for kind, options in pairs { graph = graph, orchestration = orchestration } do
        it(("goes on after submit has returned, for a %s on %s"):format(kind, runtime), function()
          local x = tensor.zeros("f32", { 1 })
          local run <close> = chip:submit(program(options), { x }, { runtime = runtime })
          assert.is_false(run:done())
          assert.is_nil(run:wait(0))
          assert.equal("busy", chip.state)
          gate.open()
          assert.is_true(run:wait(gate.seconds))
          assert.is_true(run:done())
          assert.equal(12, x:get(1))
        end)
      end
    end

    for _, second in ipairs {
      { "host_build_graph", "graph", graph }, { "host_build_graph", "orchestration", orchestration },
      { "tensormap_and_ringbuffer", "orchestration", orchestration },
    } do
      it(("lets the next run be prepared, of the %s of %s"):format(second[2], second[1]), function()
        local x, y = tensor.zeros("f32", { 1 }), tensor.zeros("f32", { 1 })
        local first <close> = chip:submit(program(orchestration), { x })
        local run <close> = chip:submit(program(second[3]), { y }, { runtime = second[1] })
        assert.is_false(first:done())
        assert.is_false(run:done())
        gate.open()
        assert.is_true(run:wait(gate.seconds))
        assert.is_true(first:done())
        assert.same({ 12, 12 }, { x:get(1), y:get(1) })
      end)
    end

    it("is cancelled while its orchestration waits for an element", function()
      local x = tensor.zeros("f32", { 1 })
      local run <close> = chip:submit(program(reader), { x }, { runtime = "tensormap_and_ringbuffer" })
      gate.await "reads"
      assert.is_true(run:cancel())
      assert.equal("held: the run was cancelled", glue.raises("cancelled", run.wait, run))
      assert.equal("ready", chip.state)
      assert.equal(0, x:get(1))
    end)

    it("is not over while its orchestration is blocked by a full window, and then ends", function()
      local x = tensor.zeros("f32", { 1 })
      local run <close> = chip:submit(program(crowd), { x }, { runtime = "tensormap_and_ringbuffer", ring_task_window = 4 })
      gate.await "full"
      assert.is_false(run:done())
      assert.is_false(gate.marked "passed")
      gate.open()
      assert.is_true(run:wait(gate.seconds))
      assert.is_true(gate.marked "passed")
      assert.equal(1234567, x:get(1))
      assert.equal(4, chip:stats().window_high)
    end)
  end)
end)
