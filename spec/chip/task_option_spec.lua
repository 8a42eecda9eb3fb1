local baton = require "baton"
local glue = require "baton.busted"
local tensor = require "baton.tensor"
local gated = require "spec.support.gate"
local raises = glue.raises

local code = [[
#define _GNU_SOURCE
#include <baton/kernel.h>
#include <time.h>
BATON_KERNEL(store) { /* value into every element of x, at the place of the instance */
  int32_t *x = baton_io(args, 0, int32_t);
  for (int64_t i = baton_block_idx(args); i < baton_numel(args, 0); i += baton_block_num(args)) x[i] = (int32_t)baton_scalar_i64(args, 1);
}
BATON_KERNEL(copy) { baton_out(args, 1, int32_t)[0] = baton_in(args, 0, int32_t)[0]; }
BATON_KERNEL(decrement) { baton_io(args, 0, int32_t)[0] -= 1; }
BATON_KERNEL(rest) {
  struct timespec some_time = { 0, (long)baton_scalar_i64(args, 1) * 1000 };
  nanosleep(&some_time, NULL);
}
]]

local kernels = {
  store = { core = "aiv", code = code, signature = { { "x", "inout" }, { "value", "i64" } } },
  store_matrix = { core = "aic", code = code, entry = "store", signature = { { "x", "inout" }, { "value", "i64" } } },
  copy = { core = "aiv", code = code, signature = { { "x", "in" }, { "y", "out" } } },
  decrement = { core = "aiv", code = code, signature = { { "x", "inout" } } },
  rest = { core = "aiv", code = code, signature = { { "x", "inout" }, { "us", "i64" } } },
}

local integers = { "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64" }

for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
  describe("on " .. runtime, function()
    local chip
    before_each(function() chip = baton.worker { runtime = runtime } end)
    after_each(function() chip:close() end)

    local function program(graph)
      return baton.program {
        name = "options", signature = { { "x", "inout", "i32" }, { "gate", "inout" } }, kernels = kernels, graph = graph,
      }
    end

    local function run(graph, gate)
      local x = tensor.full("i32", { 4 }, -1)
      local timing = chip:run(program(graph), { x, gate or tensor.zeros("i32", { 16 }) })
      return x:totable(), timing
    end

    local function message(status, graph) return raises(status, run, graph) end

    describe("a predicate", function()
      it("decides when the task is ready, and what depends on it goes on", function()
        for value, want in pairs { [0] = { 42, 42, -1, -1 }, [1] = { 999, 999, -1, -1 } } do
          assert.same(want, run(function(g, x, gate)
            local first, second = x:slice(1, 1, 1), x:slice(1, 2, 1)
            g.aiv("store", gate:slice(1, 5, 1), value)
            g.aiv("store", first, 42)
            g.aiv("store", { first, 999 }, { predicate = { gate, 5, ">", 0 } })
            g.aiv("copy", first, second)
          end))
        end
      end)

      it("is evaluated again each time that the graph is run", function()
        local switch = program(function(g, x, gate)
          g.aiv("store", { x:slice(1, 1, 2), 7 }, { predicate = { gate, 1, "==", 3 }, blocks = 2 })
          g.aiv("store", { x:slice(1, 3, 2), 8 }, { predicate = { gate, 1, "~=", 3 }, blocks = 2, sync_start = true })
        end)
        for i = 1, 8 do
          local x, gate = tensor.full("i32", { 4 }, -1), tensor.full("i32", { 16 }, i % 2 == 0 and 3 or 4)
          chip:run(switch, { x, gate })
          assert.same(i % 2 == 0 and { 7, 7, -1, -1 } or { -1, -1, 8, 8 }, x:totable())
        end
      end)

      it("finds its element wherever the memory of a run lies", function()
        local switch = program(function(g, x, gate) g.aiv("store", { x, 7 }, { predicate = { gate, 2, "==", 3 } }) end)
        local views = {}
        for value = 3, 4 do
          local buffer = chip:malloc(1024)
          views[value] = buffer:tensor("i32", { 16 })
          chip:copy_to(buffer, tensor.full("i32", { 16 }, value))
        end
        for i = 1, 6 do
          local x = tensor.full("i32", { 4 }, -1)
          chip:run(switch, { x, views[3 + i % 2] })
          assert.equal(i % 2 == 0 and 7 or -1, x:get(1))
        end
        if runtime == "host_build_graph" then assert.equal(1, chip:stats().graph_builds) end
      end)

      it("compares elements of every integer type", function()
        for _, dtype in ipairs(integers) do
          local signed = dtype:sub(1, 1) == "i"
          local values = tensor.from({ signed and -5 or 5, 100 }, dtype)
          for op, want in pairs { ["=="] = -1, ["~="] = 1, ["<"] = 1, ["<="] = 1, [">"] = -1, [">="] = -1 } do
            local x = run(function(g, x, gate)
              g.aiv("store", { x:slice(1, 1, 1), 1 }, { predicate = { gate, 1, op, 100 } })
              g.aiv("store", { x:slice(1, 2, 1), 1 }, { predicate = { gate, 2, "==", 100 } })
              g.aiv("store", { x:slice(1, 3, 1), 1 }, { predicate = { gate, 1, "==", signed and -5 or 5 } })
            end, values)
            assert.same({ want, 1, 1, -1 }, x, dtype .. op)
          end
        end
      end)

      it("takes unsigned numbers beyond all signed ones as larger, and booleans as 0 and 1", function()
        local function stored(values, op, value)
          return run(function(g, x, gate) g.aiv("store", { x, 1 }, { predicate = { gate, 1, op, value } }) end, values)[1] == 1
        end
        local huge = tensor.full("u64", { 1 }, -1)
        assert.is_true(stored(huge, ">", math.maxinteger))
        assert.is_false(stored(huge, "==", math.maxinteger))
        assert.is_false(stored(huge, "<=", math.maxinteger))
        assert.is_true(stored(tensor.full("bool", { 1 }, true), "==", true))
        assert.is_false(stored(tensor.full("bool", { 1 }, false), "==", 1))
      end)

      it("finds its element in a view of any shape", function()
        assert.same({ 5, -1, -1, -1 }, run(function(g, x, gate)
          local table_of = gate:reshape { 4, 4 }
          g.aiv("store", gate:slice(1, 7, 1), 1)
          g.aiv("store", { x:slice(1, 1, 1), 5 }, { predicate = { table_of:transpose(1, 2), { 3, 2 }, "==", 1 } })
          g.aiv("store", { x:slice(1, 2, 1), 5 }, { predicate = { table_of, { 3, 2 }, "==", 1 } })
        end))
      end)

      it("may look at what its own task writes", function()
        local values = tensor.full("i32", { 16 }, 3)
        run(function(g, _, gate)
          for _ = 1, 10 do g.aiv("decrement", { gate:slice(1, 1, 1) }, { predicate = { gate, 1, ">", 0 } }) end
          g.aiv("store", { gate:slice(1, 2, 8), 0 }, { predicate = { gate, 2, "==", 3 }, blocks = 8 })
        end, values)
        assert.same({ 0, 0, 0, 0, 0, 0, 0, 0, 0, 3 }, { table.unpack(values:totable(), 1, 10) })
      end)

      it("makes later writers of its element wait", function()
        for _ = 1, 20 do
          assert.same({ 1, 1, 1, 1 }, run(function(g, x, gate)
            for i = 1, 4 do
              g.aiv("rest", gate:slice(1, 2, 1), 50)
              g.aiv("store", { x:slice(1, i, 1), 1 }, { predicate = { gate, 1, "<", i }, deps = { g.aiv("rest", x:slice(1, i, 1), 20) } })
              g.aiv("store", gate:slice(1, 1, 1), i)
            end
          end))
        end
      end)

      it("looks at what each call of a record is handed", function()
        for _ = 1, 3 do
          assert.same({ -1, 2, 2, -1 }, run(function(g, x, gate)
            g.aiv("store", gate:slice(1, 2, 2), 1)
            for i = 1, 4 do
              g.record("gated", function(y, gates)
                g.aiv("store", { y, 2 }, { predicate = { gates:slice(1, 1, 2), 1, "==", 1 }, blocks = 3 })
              end, { x:slice(1, i, 1), gate:slice(1, i, 3) })
            end
          end))
        end
        assert.equal("options: record gated: task store: predicate: argument 1 is neither handed to the record nor made in it",
          message("invalid_argument", function(g, x, gate)
            g.record("gated", function(y) g.aiv("store", { y, 2 }, { predicate = { gate, 1, "==", 1 } }) end, { x })
          end))
      end)

      it("is for mixed tasks too", function()
        for value, want in pairs { [0] = -1, [1] = 6 } do
          assert.same({ want, want, -1, -1 }, run(function(g, x, gate)
            g.mix({ aic = "store_matrix", aiv0 = "store" }, { aic = { x:slice(1, 1, 1), 6 }, aiv0 = { x:slice(1, 2, 1), 6 } },
              { predicate = { gate, 1, "==", value == 1 and 0 or 1 } })
          end))
        end
      end)

      it("is refused if it cannot be evaluated", function()
        local function refused(status, ...)
          local entries = { ... }
          return message(status, function(g, x, gate)
            if entries[1] == "gate" then entries[1] = gate end
            g.aiv("store", { x, 1 }, { predicate = entries })
          end)
        end
        assert.equal("options: kernel store: predicate: a device tensor expected, got 7", refused("invalid_argument", 7))
        assert.equal("options: kernel store: predicate: index 17 is outside of dimension 1, which has 16 elements",
          refused("out_of_range", "gate", 17, "==", 0))
        assert.equal("options: kernel store: predicate: i32[16] needs 1 indices, got 2",
          refused("invalid_argument", "gate", { 1, 1 }, "==", 0))
        assert.equal("options: kernel store: predicate: one of == ~= < <= > >= expected, got !=",
          refused("invalid_argument", "gate", 1, "!=", 0))
        assert.equal("options: kernel store: predicate: an integer expected to compare with, got 1.5",
          refused("invalid_argument", "gate", 1, "==", 1.5))
        assert.equal("options: task store: predicate: a tensor of integers expected, got f32",
          message("signature", function(g, x)
            g.aiv("store", { x, 1 }, { predicate = { g.alloc("f32", { 1 }), 1, "==", 0 } })
          end))
        assert.equal("options: task store: predicate: an intermediate of scope 1 of this run, which has ended",
          message("stale_handle", function(g, x)
            local gone = g.scope(function() return g.alloc("i32", { 1 }) end)
            g.aiv("store", { x, 1 }, { predicate = { gone, 1, "==", 0 } })
          end))
        assert.equal("options: task dummy: option 'predicate' is for tasks with a kernel",
          message("invalid_argument", function(g, x, gate) g.dummy({ x }, { predicate = { gate, 1, "==", 0 } }) end))
      end)
    end)

    describe("a priority", function()
      it("changes nothing in what a program computes, also when its graph is run again", function()
        local ordered = program(function(g, x, gate)
          for i = 1, 200 do
            g.aiv("store", { x:slice(1, 1 + i % 4, 1), i }, { priority = i * 37 % 201 - 100, blocks = i % 3 == 0 and 3 or nil })
            g.aiv("copy", { x:slice(1, 1 + i % 4, 1), gate:slice(1, 1 + i % 16, 1) }, { priority = i % 3 - 1 })
          end
        end)
        for _ = 1, 5 do
          local x, gate = tensor.zeros("i32", { 4 }), tensor.zeros("i32", { 16 })
          chip:run(ordered, { x, gate })
          assert.same({ 200, 197, 198, 199 }, x:totable())
          assert.same({ 192, 193, 194, 195, 196, 197, 198, 199, 200, 185, 186, 187, 188, 189, 190, 191 }, gate:totable())
        end
      end)

      it("is one of -100 to 100", function()
        for _, priority in ipairs { -101, 101 } do
          assert.equal(("options: kernel rest: field 'priority' must be in -100..100, got %d"):format(priority),
            message("out_of_range", function(g, x) g.aiv("rest", { x, 1 }, { priority = priority }) end))
        end
        assert.same({ -1, -1, -1, -1 }, run(function(g, x)
          g.dummy({ x }, { priority = 100 })
          g.aiv("rest", { x, 1 }, { priority = -100 })
        end))
      end)
    end)

    describe("a name", function()
      it("tells in the dump what a lane has begun", function()
        local held = baton.program {
          name = "held", signature = { { "x", "inout", "f32" } }, kernels = { hold = gated.hold },
          graph = function(g, x) g.aiv("hold", { x }, { name = "tail" }) end,
        }
        gated.close()
        local held_run <close> = chip:submit(held, { tensor.zeros("f32", { 1 }) }, gated.config)
        local last = os.time() + gated.seconds
        while not chip:dump():find("\n    lane %d+: began tail last, %d+ tasks and instances have not ended\n") do
          assert(os.time() < last, chip:dump())
        end
        gated.open()
        held_run:wait()
        assert.is_nil(chip:dump():find("tail", 1, true))
        gated.gone()
      end)
    end)

    describe("a timing slot", function()
      it("tells what passed from the first begin to the last end of its tasks", function()
        local _, timing = run(function(g, x)
          g.aiv("rest", { x, 2000 }, { timing_slot = 0 })
          g.aiv("rest", { x, 2000 }, { timing_slot = 15 })
          g.aiv("rest", { x, 2000 })
          g.aiv("rest", { x, 2000 }, { timing_slot = 15, blocks = 3 })
        end)
        local used = {}
        for slot in pairs(timing.slots) do used[#used + 1] = slot end
        table.sort(used)
        assert.same({ 0, 15 }, used)
        assert.is_true(timing.slots[0] >= 2000)
        assert.is_true(timing.slots[15] >= 6000)
        assert.is_true(timing.slots[15] <= timing.device)
      end)

      it("is empty when no task of the run has used it", function()
        local _, timing = run(function(g, x) g.aiv("rest", { x, 1 }, { timing_slot = 3 }) end)
        assert.is_number(timing.slots[3])
        _, timing = run(function(g, x, gate)
          g.aiv("rest", x, 1)
          g.aiv("rest", { x, 1 }, { timing_slot = 4, predicate = { gate, 1, "==", 9 } })
        end)
        assert.same({}, timing.slots)
      end)

      it("is one of 0 to 15", function()
        assert.equal("options: kernel rest: field 'timing_slot' must be in 0..15, got 16",
          message("out_of_range", function(g, x) g.aiv("rest", { x, 1 }, { timing_slot = 16 }) end))
        assert.equal("options: kernel rest: field 'timing_slot' must be an integer, got 0.5",
          message("invalid_argument", function(g, x) g.aiv("rest", { x, 1 }, { timing_slot = 0.5 }) end))
      end)
    end)
  end)
end
