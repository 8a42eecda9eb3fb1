local baton = require "baton"
local glue = require "baton.busted"
local tensor = require "baton.tensor"
local raises = glue.raises

local code = [[
#include <baton/kernel.h>
BATON_KERNEL(place) { /* where it runs, into its element */
  int64_t *out = baton_out(args, baton_block_num(args) - 1, int64_t);
  out[0] = baton_core_id(args);
  out[1] = baton_sub_block(args);
}
BATON_KERNEL(add_one) { baton_io(args, 0, float)[0] += 1; }
BATON_KERNEL(shared_matrix) { baton_out(args, 1, float)[0] = baton_in(args, 0, float)[0] + 1; }
BATON_KERNEL(shared_vector) {
  baton_out(args, 2 + baton_sub_block(args), float)[0] = baton_in(args, 0, float)[0] + 10 * (1 + baton_sub_block(args));
}
BATON_KERNEL(stop) { baton_kernel_fail(args, "no"); }
BATON_KERNEL(produce) { /* t = 3 x, in steps that the others follow */
  const float *x = baton_in(args, 0, float);
  float *t = baton_out(args, 1, float);
  for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) {
    t[i] = 3 * x[i];
    if (i % 16 == 15) baton_signal_add(args, baton_io(args, 2, int32_t), 16);
  }
  baton_block_barrier(args);
}
BATON_KERNEL(consume) { /* half of y = t + 1 */
  const float *t = baton_in(args, 0, float);
  float *y = baton_out(args, 1, float);
  int64_t half = baton_numel(args, 0) / 2, first = baton_sub_block(args) * half;
  for (int64_t i = first; i < first + half; i++) {
    baton_wait_ge(args, baton_io(args, 2, int32_t), (int32_t)(i / 16 * 16 + 16));
    y[i] = t[i] + 1;
  }
  baton_block_barrier(args);
}
BATON_KERNEL(spin) { /* sets its flag, waits for the other's in a loop of its own */
  int32_t *mine = baton_io(args, baton_sub_block(args), int32_t), *other = baton_io(args, 1 - baton_sub_block(args), int32_t);
  __atomic_store_n(mine, 1, __ATOMIC_RELEASE);
  while (!__atomic_load_n(other, __ATOMIC_ACQUIRE)) baton_spin_hint(args);
}
BATON_KERNEL(see) { /* marks its element, then counts the marks */
  int32_t *marks = baton_io(args, 0, int32_t), *mine = marks + baton_scalar_i64(args, 1), seen;
  *mine = 1;
  baton_block_barrier(args);
  seen = marks[0] + marks[1] + marks[2];
  baton_block_barrier(args);
  *mine = seen;
}
BATON_KERNEL(meet) { baton_block_barrier(args); }
]]

local kernels = {
  place_aic = { core = "aic", code = code, entry = "place" },
  place_aiv = { core = "aiv", code = code, entry = "place" },
  one_aic = { core = "aic", code = code, entry = "add_one", signature = { { "x", "inout" } } },
  one_aiv = { core = "aiv", code = code, entry = "add_one", signature = { { "x", "inout" } } },
  matrix = { core = "aic", code = code, entry = "shared_matrix" },
  vector = { core = "aiv", code = code, entry = "shared_vector" },
  stop = { core = "aiv", code = code },
  produce = { core = "aic", code = code, waits = true, signature = { { "x", "in" }, { "t", "out" }, { "steps", "inout" } } },
  consume = { core = "aiv", code = code, waits = true, signature = { { "t", "in" }, { "y", "out" }, { "steps", "inout" } } },
  spin = { core = "aiv", code = code, waits = true },
  see_aic = { core = "aic", code = code, entry = "see", waits = true },
  see_aiv = { core = "aiv", code = code, entry = "see", waits = true },
  meet = { core = "aiv", code = code, waits = true },
  stop_waits = { core = "aic", code = code, entry = "stop", waits = true },
}

glue.each_platform(function(platform)
  describe("a mixed task on " .. platform, function()
    local chip
    before_each(function() chip = baton.worker { platform = platform } end)
    after_each(function() chip:close() end)

    -- Runs `graph(g, x)` on x = {0, …} of n elements.
    local function run(graph, n, dtype)
      local x = tensor.zeros(dtype or "f32", { n or 1 })
      chip:run(baton.program { name = "mixed", signature = { { "x", "inout" } }, kernels = kernels, graph = graph }, { x })
      return x
    end

    local function message(status, graph, n) return raises(status, run, graph, n) end

    it("has the cores of one cluster", function()
      local clusters
      local x = run(function(g, x)
        clusters = g.clusters
        for i = 0, 99 do
          local function pair(lane) return { baton.output(x:slice(1, 6 * i + 2 * lane + 1, 2)) } end
          g.mix({ aic = "place_aic", aiv0 = "place_aiv", aiv1 = "place_aiv" }, { aic = pair(0), aiv0 = pair(1), aiv1 = pair(2) })
        end
      end, 600, "i64")
      for i = 0, 99 do
        local cluster = x:get(6 * i + 1)
        assert.is_true(cluster < clusters)
        assert.same({ 0, clusters + 2 * cluster, 0, clusters + 2 * cluster + 1, 1 },
          { x:get(6 * i + 2), x:get(6 * i + 3), x:get(6 * i + 4), x:get(6 * i + 5), x:get(6 * i + 6) })
      end
    end)

    it("shares one list, of which each kernel reads its places", function()
      assert.same({ 1, 2, 11, 21 }, run(function(g, x)
        local function at(i) return x:slice(1, i, 1) end
        g.aic("one_aic", at(1))
        g.mix({ aic = "matrix", aiv0 = "vector", aiv1 = "vector" },
          { baton.input(at(1)), baton.output(at(2)), baton.output(at(3)), baton.output(at(4)) })
      end, 4):totable())
    end)

    it("is over when all of its kernels are, and orders what follows", function()
      assert.same({ 2, 2, 2 }, run(function(g, x)
        local lists = { aic = { x:slice(1, 1, 1) }, aiv0 = { x:slice(1, 2, 1) }, aiv1 = { x:slice(1, 3, 1) } }
        local kernels_of = { aic = "one_aic", aiv0 = "one_aiv", aiv1 = "one_aiv" }
        local first = g.mix(kernels_of, lists)
        g.mix(kernels_of, lists, { deps = { first }, name = "second" })
      end, 3):totable())
    end)

    it("may leave cores of its cluster idle", function()
      assert.equal(2, run(function(g, x)
        g.mix({ aiv1 = "one_aiv" }, x)
        g.mix({ aic = "one_aic" }, { aic = { x } })
      end):get(1))
    end)

    it("hands a tensor from kernel to kernel that both name", function()
      assert.equal(3, run(function(g, x)
        g.mix({ aic = "one_aic", aiv0 = "one_aiv", aiv1 = "one_aiv" }, { aic = { x }, aiv0 = { x }, aiv1 = { x } })
      end):get(1))
    end)

    it("returns the memory that it asks for", function()
      assert.same({ 0, 1 }, run(function(g, x)
        local _, a, b = g.mix({ aic = "matrix", aiv0 = "one_aiv" },
          { aic = { baton.input(x:slice(1, 1, 1)), baton.output { "f32", { 1 } } }, aiv0 = { x:slice(1, 2, 1) } })
        assert.is_nil(b)
        assert.equal(1, a.numel)
      end, 2):totable())
    end)

    it("lets kernels that wait for each other pass data through", function()
      local n = 256
      local x, y = tensor.arange("f32", { n }), tensor.zeros("f32", { n })
      local program = baton.program {
        name = "pipe", signature = { { "x", "in" }, { "y", "out" }, { "steps", "inout", "i32" } }, kernels = kernels,
        graph = function(g, a, b, steps)
          local t = g.alloc("f32", n)
          g.mix({ aic = "produce", aiv0 = "consume", aiv1 = "consume" },
            { aic = { a, t, steps }, aiv0 = { t, b, steps }, aiv1 = { t, b, steps } })
        end,
      }
      for _ = 1, 5 do
        y:fill(0)
        chip:run(program, { x, y, tensor.zeros("i32", { 1 }) })
        for i = 1, n do assert.equal(3 * (i - 1) + 1, y:get(i)) end
      end
    end)

    it("lets no kernel pass a barrier before all have come", function()
      assert.same({ 3, 3, 3 }, run(function(g, x)
        g.mix({ aic = "see_aic", aiv0 = "see_aiv", aiv1 = "see_aiv" }, { aic = { x, 0 }, aiv0 = { x, 1 }, aiv1 = { x, 2 } })
      end, 3, "i32"):totable())
    end)

    it("lets kernels spin with a hint", function()
      assert.same({ 1, 1 }, run(function(g, x)
        g.mix({ aiv0 = "spin", aiv1 = "spin" }, { x:slice(1, 1, 1), x:slice(1, 2, 1) })
      end, 2, "i32"):totable())
    end)

    it("gives up its waiting kernels when one of them fails", function()
      assert.equal("task stop_waits: kernel stop_waits: no", message("user_fail", function(g, x)
        g.mix({ aic = "stop_waits", aiv0 = "meet", aiv1 = "meet" }, x)
      end))
    end)

    it("fails as a whole, and poisons what follows", function()
      assert.equal("task one_aic: kernel stop: no", message("user_fail", function(g, x)
        g.mix({ aic = "one_aic", aiv0 = "stop" }, x)
        g.aic("one_aic", x)
      end))
    end)

    it("refuses a barrier outside of mixed tasks", function()
      assert.equal("task meet: kernel meet: baton_block_barrier in a task that is not a mixed one",
        message("unsupported", function(g, x) g.aiv("meet", x) end))
    end)

    it("refuses lists that overlap without being the same", function()
      assert.equal("mixed: task one_aic: kernel one_aiv: argument 1 (x): overlaps argument 1 of kernel one_aic, and one of them is written",
        message("signature", function(g, x)
          g.mix({ aic = "one_aic", aiv0 = "one_aiv" }, { aic = { x:slice(1, 1, 3) }, aiv0 = { x:slice(1, 3, 2) } })
        end, 4))
    end)

    it("refuses kernels in the wrong place, and lists without kernels", function()
      assert.equal("mixed: task one_aiv: kernel one_aiv is for the aiv cores, it was submitted to aic",
        message("signature", function(g, x) g.mix({ aic = "one_aiv" }, x) end))
      assert.equal("mixed: no kernel is named 'two'", message("invalid_argument", function(g, x) g.mix({ aic = "two" }, x) end))
      assert.equal("g.mix: a kernel expected for one of aic, aiv0 and aiv1, got none",
        message("invalid_argument", function(g, x) g.mix({}, x) end))
      assert.equal("g.mix: unknown option 'aiv2', did you mean 'aiv0'?",
        message("unknown_option", function(g, x) g.mix({ aiv2 = "one_aiv" }, x) end))
      assert.equal("g.mix: no list without a kernel expected for aiv1, got a table", message("signature", function(g, x)
        g.mix({ aic = "one_aic" }, { aic = { x }, aiv1 = { x } })
      end))
      assert.equal("g.mix: a list of arguments expected for aiv0, got nil", message("signature", function(g, x)
        g.mix({ aic = "one_aic", aiv0 = "one_aiv" }, { aic = { x } })
      end))
    end)
  end)
end)
