-- Programs and scopes in which nothing but `deps` orders tasks, and the runtime that starts tasks at the end of their scope.
local baton = require "baton"
local gate = require "spec.support.gate"
local glue = require "baton.busted"
local programs = require "spec.support.programs"
local tensor = require "baton.tensor"
local raises = glue.raises

local marking = gate.mark .. [[
  #include <baton/kernel.h>
  BATON_KERNEL(release) { /* opens the gate; the name of the mark that ends the wait of `hold` */
    mark("open");
    baton_io(args, 0, float)[0] += 1;
  }
  BATON_KERNEL(begin) { mark("begun"); baton_io(args, 0, float)[0] += 1; }
  BATON_KERNEL(count) { baton_io(args, 0, float)[0] += 1; }]]

local one = { { "x", "inout" } }
local kernels = {
  append = programs.kernels.append, add_scalar = programs.kernels.add_scalar, stop = programs.kernels.stop, hold = gate.hold,
  release = { core = "aiv", code = marking, signature = one }, begin = { core = "aiv", code = marking, signature = one },
  count = { core = "aiv", code = marking, signature = one },
  sum = { core = "aiv", signature = { { "x", "in" }, { "s", "out" } }, code = [[
    #include <baton/kernel.h>
    BATON_KERNEL(sum) {
      float total = 0, *s = baton_out(args, 1, float);
      for (int64_t i = 0; i < baton_numel(args, 0); i++) total += baton_in(args, 0, float)[i];
      s[0] = total;
    }]] },
}

-- A program of x and y; `code` is the body of its orchestration in C, with the helpers of the gate and of chains.
local function explicit(code, options)
  return baton.program { name = "p", signature = { { "x", "inout", "f32" }, { "y", "inout", "f32" } }, kernels = kernels,
    edges = not (options and options.inferred) and "explicit" or nil, keep = not (options and options.anew),
    orchestration = { entry = "f", code = "#define _GNU_SOURCE\n" .. gate.mark .. [[
      #include <baton/orchestration.h>
      #include <string.h>
      static int marked(const char *name) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", getenv("BATON_TEST_GATE"), name);
        return access(path, F_OK) == 0;
      }
      static inline baton_task append(baton_orch *o, baton_view x, float digit, const baton_task *deps, uint32_t ndeps) {
        return baton_aiv(o, baton_kernel(o, "append"), BATON_ARGS(baton_inout(x), baton_f32(digit)),
                         &(baton_task_options){.deps = deps, .ndeps = ndeps});
      }
      static const int64_t first[1] = {0};
      ]] .. (options and options.before or "") .. [[
      BATON_ORCHESTRATION(f) {
        baton_view x = baton_param(o, args, 0), y = baton_param(o, args, 1);
        (void)y, (void)marked, (void)mark, (void)append, (void)first;
        ]] .. code .. "}" } }
end

local function graph(fn, edges)
  return baton.program { name = "p", signature = { { "x", "inout", "f32" }, { "y", "inout", "f32" } }, kernels = kernels,
    edges = edges, graph = fn }
end

local many = os.getenv "BATON_TEST_SMALL" and 20000 or 100000

local runtimes = { "tensormap_and_ringbuffer", "host_build_graph", "aicpu_build_graph" }

glue.each_platform(function(platform)
  describe("edges = \"explicit\"", function()
    local chip
    before_each(function()
      gate.close()
      chip = baton.worker { platform = platform, config = gate.config }
    end)
    after_each(function()
      gate.open()
      chip:close()
      gate.gone()
    end)

    -- Runs on x = {0, …} and y = {0}; returns both.
    local function run(program, config, n)
      local x, y = tensor.zeros("f32", { n or 1 }), tensor.zeros("f32", { 1 })
      chip:run(program, { x, y }, config)
      return x, y
    end

    -- The first task ends only when the second one, which writes the same tensor, has begun.
    local unordered = {
      ["orchestration"] = explicit [[
        baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
        baton_aiv(o, baton_kernel(o, "release"), BATON_ARGS(baton_inout(x)), NULL);]],
      ["orchestration with a scope"] = explicit [[
        BATON_SCOPE(o) {
          baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
          baton_aiv(o, baton_kernel(o, "release"), BATON_ARGS(baton_inout(x)), NULL);
        }]],
      ["graph"] = graph(function(g, x)
        g.aiv("hold", x)
        g.scope(function() g.aiv("release", x) end)
      end, "explicit"),
    }

    for name, program in pairs(unordered) do
      it("orders nothing by what tasks read and write, in a" .. (name:match "^[aeiou]" and "n " or " ") .. name, function()
        for _, runtime in ipairs(program.runtimes) do
          gate.close()
          run(program, { runtime = runtime })
          assert.is_true(gate.marked "open")
          assert.equal(0, chip:stats().edges)
        end
      end)
    end

    for _, runtime in ipairs(runtimes) do
      local config = { runtime = runtime }

      describe("on " .. runtime, function()
        it("orders tasks by their deps, across scopes", function()
          assert.equal(123456, run(explicit [[
            baton_task t = append(o, x, 1, NULL, 0);
            BATON_SCOPE(o) {
              t = append(o, x, 2, &t, 1);
              BATON_SCOPE(o) t = append(o, x, 3, &t, 1);
              t = append(o, x, 4, &t, 1);
            }
            BATON_SCOPE(o) t = append(o, x, 5, &t, 1);
            append(o, x, 6, &t, 1);]], config):get(1))
        end)

        it("takes layers of 64 by 64 edges", function()
          local x = run(explicit [[
            baton_task tasks[2][64];
            for (int layer = 0; layer < 50; layer++)
              for (int i = 0; i < 64; i++)
                tasks[layer % 2][i] = append(o, baton_slice(x, 0, i, 1), (float)(layer % 10), tasks[1 - layer % 2],
                                             layer ? 64 : 0);]], config, 64)
          for i = 1, 64 do assert.is_true(x:get(i) > 1e38) end
          if runtime ~= "tensormap_and_ringbuffer" then assert.equal(49 * 64 * 64, chip:stats().edges) end
        end)

        it(("takes %d deps in one scope"):format(many), function()
          local x, y = run(explicit([[
            BATON_SCOPE(o) {
              for (int i = 0; i < MANY; i++) tasks[i] = append(o, baton_slice(x, 0, i, 1), 1, NULL, 0);
              baton_task half = baton_dummy(o, NULL, 0, &(baton_task_options){.deps = tasks, .ndeps = MANY / 2});
              tasks[0] = half;
              baton_aiv(o, baton_kernel(o, "sum"), BATON_ARGS(baton_input(x), baton_output(y)),
                        &(baton_task_options){.deps = tasks, .ndeps = MANY});
            }]], { before = ("enum { MANY = %d }; static baton_task tasks[MANY];"):format(many) }), config, many)
          assert.equal(1, x:get(many))
          assert.equal(many, y:get(1))
        end)

        it("counts a dep once, however often it is named", function()
          local _, y = run(explicit [[
            baton_task t = append(o, y, 1, NULL, 0), u = append(o, y, 2, &t, 1);
            append(o, y, 3, (const baton_task[]){u, u, u, t, u, t, {0}}, 7);]], config)
          assert.equal(123, y:get(1))
          assert.is_true(chip:stats().edges <= 3)
        end)

        it("does not run what follows a failed dep, and the rest of the run goes on", function()
          local x <close> = chip:malloc(16)
          local y <close> = chip:malloc(4)
          chip:copy_to(x, tensor.zeros("f32", { 4 }))
          chip:copy_to(y, tensor.zeros("f32", { 1 }))
          assert.equal("task stop: kernel stop: stopped at 7", raises("user_fail", chip.run, chip, explicit [[
            baton_view bad = baton_slice(x, 0, 0, 1);
            baton_task t = baton_aiv(o, baton_kernel(o, "stop"), BATON_ARGS(baton_inout(bad), baton_f64(7)), NULL);
            baton_task after = append(o, baton_slice(x, 0, 1, 1), 1, &t, 1);
            BATON_SCOPE(o) after = append(o, baton_slice(x, 0, 2, 1), 1, &after, 1);
            append(o, baton_slice(x, 0, 3, 1), 1, NULL, 0);
            append(o, y, 1, (const baton_task[]){append(o, y, 2, NULL, 0)}, 1);]],
            { x:tensor("f32", { 4 }), y:tensor("f32", { 1 }) }, config))
          local found, other = tensor.empty("f32", { 4 }), tensor.empty("f32", { 1 })
          chip:copy_from(found, x)
          chip:copy_from(other, y)
          assert.same({ 0, 0, 0, 1 }, found:totable())
          assert.equal(21, other:get(1))
        end)

        it("refuses a task of another run, of this worker and of any other", function()
          local program = explicit([[
            if (kept.generation)
              append(o, x, 2, (const baton_task[]){append(o, x, 1, NULL, 0), kept}, 2);
            else
              kept = append(o, x, 1, NULL, 0);]], { before = "static baton_task kept;", anew = true })
          pcall(run, program, config) -- may have kept the task of another worker: the code is loaded once
          assert.equal("p: task append: deps: entry 2 is no task of this run", raises("stale_handle", run, program, config))
        end)

        it("orders a filled intermediate before what uses it", function()
          assert.equal(6, run(explicit [[
            BATON_SCOPE(o) {
              baton_view t = baton_alloc(o, BATON_F32, BATON_SHAPE(4096));
              baton_fill(o, t, baton_f32(3));
              baton_fill(o, t, baton_f32(5));
              baton_aiv(o, baton_kernel(o, "add_scalar"), BATON_ARGS(baton_input(t), baton_output(x), baton_f32(1)), NULL);
            }]], config, 4096):get(4096))
          assert.equal("p: fill: an argument of the program; where no edges are inferred, intermediates only can be filled",
            raises("unsupported", run, explicit "baton_fill(o, x, baton_f32(3));", config))
        end)

        it("gives the memory of a scope back", function()
          local program = explicit [[
            baton_task last = {0};
            for (int i = 0; i < 64; i++) BATON_SCOPE(o) {
              baton_view t = baton_alloc(o, BATON_F32, BATON_SHAPE(4096));
              last = baton_aiv(o, baton_kernel(o, "add_scalar"), BATON_ARGS(baton_input(x), baton_output(t), baton_f32(1)),
                               &(baton_task_options){.deps = &last, .ndeps = 1});
              last = baton_aiv(o, baton_kernel(o, "add_scalar"), BATON_ARGS(baton_input(t), baton_output(x), baton_f32(1)),
                               &(baton_task_options){.deps = &last, .ndeps = 1});
            }]]
          local small = { runtime = runtime, ring_heap = "64KiB" }
          if runtime == "host_build_graph" then
            raises("heap_full", run, program, small, 4096)
          else
            assert.equal(128, run(program, small, 4096):get(4096))
            assert.is_true(chip:stats().heap_high <= 65536)
          end
        end)
      end)
    end

    it("costs nothing for deps on tasks that have ended", function()
      assert.equal(123, run(explicit [[
        baton_task t = append(o, x, 1, NULL, 0);
        (void)baton_get_f64(o, x, first);
        baton_task u = append(o, x, 2, (const baton_task[]){t, t}, 2);
        if (baton_get_f64(o, x, first) != 12) baton_orch_fail(o, "12 expected");
        append(o, x, 3, (const baton_task[]){t, u}, 2);]], { runtime = "tensormap_and_ringbuffer" }):get(1))
      assert.equal(0, chip:stats().edges)
    end)

    it("makes an element wait for every task before, which may be any that uses it", function()
      assert.equal(99, run(explicit [[
        for (int i = 0; i < 200; i++) {
          append(o, x, 1, NULL, 0);
          if (baton_get_f64(o, x, first) != 1) baton_orch_fail(o, "1 expected, round %d", i);
          baton_set_f64(o, x, first, 0);
        }
        baton_set_f64(o, x, first, 99);]], { runtime = "tensormap_and_ringbuffer" }):get(1))
      assert.matches("^p: get: an earlier task uses the element, and on host_build_graph no task runs",
        raises("unsupported", run, explicit [[
          append(o, x, 1, NULL, 0);
          if (baton_get_f64(o, y, first) != 0) baton_orch_fail(o, "0 expected");
          (void)baton_get_f64(o, x, first);]], { runtime = "host_build_graph" }))
    end)

    it("does not carry Lua graphs to the control processor, nor inferred edges", function()
      local lua, inferred = graph(function(g, x) g.aiv("append", x, 1) end, "explicit"), explicit("", { inferred = true })
      assert.same({ "host_build_graph", "tensormap_and_ringbuffer" }, lua.runtimes)
      assert.same({ "tensormap_and_ringbuffer", "host_build_graph" }, inferred.runtimes)
      assert.same(runtimes, explicit("").runtimes)
      local ok, err = pcall(run, lua, { runtime = "aicpu_build_graph" })
      assert.is_false(ok)
      assert.same({ "unsupported", "p: runtime aicpu_build_graph does not carry this program; those that do: host_build_graph, "
        .. "tensormap_and_ringbuffer", "aicpu_build_graph runs orchestrations in C only" }, { err.code, err.message, err.hint })
      ok, err = pcall(run, inferred, { runtime = "aicpu_build_graph" })
      assert.is_false(ok)
      assert.same({ "unsupported", "p: runtime aicpu_build_graph does not carry this program; those that do: "
        .. "tensormap_and_ringbuffer, host_build_graph", "aicpu_build_graph runs programs with edges = \"explicit\" only" },
        { err.code, err.message, err.hint })
    end)
  end)

  describe("aicpu_build_graph", function()
    local chip
    before_each(function()
      gate.close()
      chip = baton.worker { platform = platform, runtime = "aicpu_build_graph", config = gate.config }
    end)
    after_each(function()
      gate.open()
      chip:close()
      gate.gone()
    end)

    local function run(program, config)
      local x, y = tensor.zeros("f32", { 1 }), tensor.zeros("f32", { 1 })
      chip:run(program, { x, y }, config)
      return x
    end

    -- The get waits for every task that may start.
    local visible = explicit [[
      BATON_SCOPE(o) {
        baton_aiv(o, baton_kernel(o, "begin"), BATON_ARGS(baton_inout(x)), NULL);
        (void)baton_get_f64(o, y, first);
        if (marked("begun")) mark("within");
      }
      (void)baton_get_f64(o, x, first);
      if (marked("begun")) mark("behind");]]

    it("starts no task of an open scope, and all of them at its end", function()
      assert.equal(1, run(visible):get(1))
      assert.same({ false, true }, { gate.marked "within", gate.marked "behind" })
      gate.close()
      assert.equal(1, run(visible, { runtime = "tensormap_and_ringbuffer" }):get(1))
      assert.same({ true, true }, { gate.marked "within", gate.marked "behind" })
    end)

    it("starts none while the orchestration waits for the host inside the scope", function()
      local x, y = tensor.zeros("f32", { 1 }), tensor.zeros("f32", { 1 })
      local run_ <close> = chip:submit(explicit [[
        BATON_SCOPE(o) {
          for (int i = 0; i < 100; i++) baton_aiv(o, baton_kernel(o, "begin"), BATON_ARGS(baton_inout(x)), NULL);
          mark("inside");
          while (!marked("open")) {}
          if (marked("begun")) mark("within");
        }]], { x, y })
      gate.await "inside"
      assert.is_false(gate.marked "begun")
      assert.is_false(run_:done())
      gate.open()
      assert.is_true(run_:wait(gate.seconds))
      assert.same({ true, false }, { gate.marked "begun", gate.marked "within" })
    end)

    it("starts the tasks of an inner scope while the outer one is open, unless they wait for it", function()
      assert.equal(12, run(explicit [[
        BATON_SCOPE(o) {
          baton_task t = append(o, x, 1, NULL, 0);
          BATON_SCOPE(o) {
            baton_aiv(o, baton_kernel(o, "begin"), BATON_ARGS(baton_inout(y)), NULL);
            append(o, x, 2, &t, 1);
          }
          if (baton_get_f64(o, y, first) != 1) baton_orch_fail(o, "not begun");
        }]]):get(1))
      assert.is_true(gate.marked "begun")
    end)

    it("refuses an element that a task of an open scope will use", function()
      local hidden = "a task of an open scope uses the element, and on aicpu_build_graph it starts when the scope ends"
      assert.equal("p: get: " .. hidden, raises("unsupported", run, explicit [[
        append(o, y, 1, NULL, 0);
        (void)baton_get_f64(o, x, first);
        (void)baton_get_f64(o, y, first);]]))
      assert.equal("p: set: " .. hidden, raises("unsupported", run, explicit [[
        baton_aiv(o, baton_kernel(o, "add_scalar"), BATON_ARGS(baton_input(x), baton_output(y), baton_f32(1)), NULL);
        (void)baton_get_f64(o, x, first);
        baton_set_f64(o, x, first, 5);]]))
    end)

    it("waits at a full window for tasks of ended scopes", function()
      assert.equal(1000, run(explicit [[
        baton_task t = {0};
        for (int i = 0; i < 250; i++)
          BATON_SCOPE(o)
            for (int k = 0; k < 4; k++)
              t = baton_aiv(o, baton_kernel(o, "count"), BATON_ARGS(baton_inout(x)),
                            &(baton_task_options){.deps = &t, .ndeps = 1});]],
        { ring_task_window = 8 }):get(1))
      assert.is_true(chip:stats().window_high <= 8)
    end)

    it("names the scope that can never end, for a full window and for a full heap", function()
      local function failure(code, config)
        local ok, err = pcall(run, explicit(code), config)
        assert.is_false(ok)
        assert.equal("scope_deadlock", err.code)
        return { err.message, err.hint }
      end
      local hint = "; or end scopes earlier, so that their tasks start"
      assert.same({ "p: task append: the window of 8 tasks is full, and scope 2, whose end would start 6 of them, is open",
        "raise ring_task_window in config" .. hint }, failure([[
        BATON_SCOPE(o) {
          for (int i = 0; i < 2; i++) append(o, x, 1, NULL, 0);
          BATON_SCOPE(o) for (int i = 0; i < 7; i++) append(o, x, 1, NULL, 0);
        }]], { ring_task_window = 8 }))
      assert.same({ "p: alloc of 16384 bytes: the heap of 65536 bytes is full, the largest free piece is 0, and scope 1, whose "
        .. "end would give back 4 blocks of 65536 bytes, is open", "raise ring_heap in config" .. hint }, failure([[
        BATON_SCOPE(o)
          for (int i = 0; i < 5; i++)
            baton_aiv(o, baton_kernel(o, "count"), BATON_ARGS(baton_output(baton_alloc(o, BATON_F32, BATON_SHAPE(4096)))), NULL);]],
        { ring_heap = "64KiB" }))
      assert.equal(1, run(explicit "append(o, x, 1, NULL, 0);", { ring_task_window = 8 }):get(1))
    end)

    it("is cancelled with tasks that have not become visible", function()
      local x, y = tensor.zeros("f32", { 1 }), tensor.zeros("f32", { 1 })
      local run_ <close> = chip:submit(explicit [[
        BATON_SCOPE(o) {
          baton_aiv(o, baton_kernel(o, "begin"), BATON_ARGS(baton_inout(x)), NULL);
          mark("inside");
          while (!marked("open")) {}
        }]], { x, y })
      gate.await "inside"
      assert.is_true(run_:cancel())
      gate.open()
      assert.equal("p: the run was cancelled", raises("cancelled", run_.wait, run_))
      assert.is_false(gate.marked "begun")
    end)
  end)

  describe("a manual scope", function()
    local chip
    before_each(function()
      gate.close()
      chip = baton.worker { platform = platform, config = gate.config }
    end)
    after_each(function()
      gate.open()
      chip:close()
      gate.gone()
    end)

    local function run(program, runtime)
      local x, y = tensor.zeros("f32", { 1 }), tensor.zeros("f32", { 1 })
      chip:run(program, { x, y }, { runtime = runtime })
      return x:get(1)
    end

    for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
      it("infers nothing inside, and an auto scope in it infers again, on " .. runtime, function()
        assert.equal(12, run(graph(function(g, x, y)
          g.scope({ mode = "manual" }, function()
            g.scope(function()
              g.aiv("hold", x)
              g.aiv("append", x, 2)
            end)
            g.aiv("hold", y)
            g.aiv("release", y)
          end)
        end), runtime))
        gate.close()
        assert.equal(12, run(explicit([[
          baton_scope_begin(o, BATON_SCOPE_MANUAL);
          BATON_SCOPE(o) {
            baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(x)), NULL);
            append(o, x, 2, NULL, 0);
          }
          baton_aiv(o, baton_kernel(o, "hold"), BATON_ARGS(baton_inout(y)), NULL);
          baton_aiv(o, baton_kernel(o, "release"), BATON_ARGS(baton_inout(y)), NULL);
          baton_scope_end(o);]], { inferred = true }), runtime))
      end)

      it("in which a manual one is opened stays without inferred edges, on " .. runtime, function()
        run(graph(function(g, x)
          g.scope({ mode = "manual" }, function()
            g.aiv("hold", x)
            g.scope({ mode = "manual" }, function() g.aiv("release", x) end)
          end)
        end), runtime)
        assert.is_true(gate.marked "open")
      end)

      it("orders a filled intermediate before what uses it, on " .. runtime, function()
        assert.equal(2.5, run(graph(function(g, x)
          g.scope({ mode = "manual" }, function()
            local t = g.alloc("f32", { 1 }, { fill = 2.5 })
            g.aiv("add_scalar", t, x, 0)
          end)
        end), runtime))
      end)

      it("has tasks that order others later, on " .. runtime, function()
        assert.equal(1234, run(graph(function(g, x)
          local last
          g.scope({ mode = "manual" }, function()
            local first = g.aiv("append", x, 1)
            last = g.aiv("append", { x, 2 }, { deps = { first } })
          end)
          g.aiv("append", { x, 3 }, { deps = { last } })
          g.aiv("append", x, 4)
        end), runtime))
      end)
    end

    it("makes an element wait for its tasks", function()
      assert.equal(19, run(graph(function(g, x)
        for i = 1, 100 do
          g.scope({ mode = "manual" }, function()
            g.aiv("append", x, i % 10)
            assert.equal(i % 10, g.get(x, 1))
          end)
          g.set(x, 0, 1)
        end
        g.set(x, 1, 1)
        g.aiv("append", x, 9)
        assert.equal(19, g.get(x, 1))
      end), "tensormap_and_ringbuffer"))
      assert.matches("^p: get: an earlier task uses the element", raises("unsupported", run, graph(function(g, x)
        g.scope({ mode = "manual" }, function() g.aiv("append", x, 1) end)
        g.get(x, 1)
      end), "host_build_graph"))
    end)

    it("takes the tasks of its run only, whatever their numbers", function()
      local old
      run(graph(function(g, x) old = g.aiv("append", x, 1) end), "tensormap_and_ringbuffer")
      for _ = 1, 300 do
        local ok, err
        pcall(run, graph(function(g) ok, err = pcall(g.dummy, {}, { deps = { old } }) end), "tensormap_and_ringbuffer")
        assert.is_false(ok)
        assert.equal("stale_handle", err.code)
      end
    end)
  end)
end)
