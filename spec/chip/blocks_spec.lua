local baton = require "baton"
local glue = require "baton.busted"
local tensor = require "baton.tensor"
local raises = glue.raises

local code = [[
#define _GNU_SOURCE
#include <baton/kernel.h>
#include <time.h>
static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
/* { core, begin, end, instances } into the row of the instance, of each lane of a mixed task */
BATON_KERNEL(log) {
  int64_t lanes = baton_scalar_i64(args, 1), lane = baton_scalar_i64(args, 2) + baton_sub_block(args);
  int64_t *row = baton_out(args, 0, int64_t) + 4 * (lanes * baton_block_idx(args) + lane);
  struct timespec some_time = { 0, 20000 };
  row[0] = baton_core_id(args);
  row[1] = now();
  nanosleep(&some_time, NULL);
  row[2] = now();
  row[3] = baton_block_num(args);
}
BATON_KERNEL(add_block) { /* x[i] += i + 1 */
  int32_t *x = baton_io(args, 0, int32_t);
  x[baton_block_idx(args)] += (int32_t)baton_block_idx(args) + 1;
}
BATON_KERNEL(add) { baton_io(args, 0, int32_t)[0] += (int32_t)baton_scalar_i64(args, 1); }
BATON_KERNEL(sum) { /* of x into y */
  const int32_t *x = baton_in(args, 0, int32_t);
  int32_t *y = baton_out(args, 1, int32_t), total = 0;
  for (int64_t i = 0; i < baton_numel(args, 0); i++) total += x[i];
  y[0] = total;
}
BATON_KERNEL(stop_at) {
  if (baton_block_idx(args) == (uint32_t)baton_scalar_i64(args, 1)) baton_kernel_fail(args, "no");
}
BATON_KERNEL(exchange) { /* each instance sees what all have written before the barrier, as often as it is told */
  int32_t *x = baton_io(args, 0, int32_t);
  int64_t turns = baton_scalar_i64(args, 1), n = baton_block_num(args), i = baton_block_idx(args);
  for (int64_t turn = 0; turn < turns; turn++) {
    int32_t next = x[(i + 1) % n];
    baton_block_barrier(args);
    x[i] = next;
    baton_block_barrier(args);
  }
}
BATON_KERNEL(relay) { /* waits for the instance before it */
  int32_t *counter = baton_io(args, 0, int32_t);
  baton_wait_ge(args, counter, (int32_t)baton_block_idx(args));
  baton_signal_add(args, counter, 1);
}
BATON_KERNEL(meet_mixed) { /* counts all kernels of all instances before the last one leaves */
  int32_t *count = baton_io(args, 0, int32_t), *seen = baton_io(args, 1, int32_t);
  baton_signal_add(args, count, 1);
  baton_block_barrier(args);
  if (*count == 3 * (int32_t)baton_block_num(args)) baton_signal_add(args, seen, 1);
}
BATON_KERNEL(fail_one) {
  if (baton_block_idx(args) == 1) baton_kernel_fail(args, "no");
  baton_block_barrier(args);
}
BATON_KERNEL(meet) { baton_block_barrier(args); }
]]

local log = { { "rows", "out" }, { "lanes", "i64" }, { "lane", "i64" } }
local kernels = {
  log_matrix = { core = "aic", code = code, entry = "log", signature = log },
  log_vector = { core = "aiv", code = code, entry = "log", signature = log },
  log_waiting = { core = "aiv", code = code, entry = "log", signature = log, waits = true },
  add_block = { core = "aiv", code = code, signature = { { "x", "inout" } } },
  add = { core = "aiv", code = code, signature = { { "x", "inout" }, { "n", "i64" } } },
  sum = { core = "aiv", code = code, signature = { { "x", "in" }, { "y", "out" } } },
  stop_at = { core = "aiv", code = code, signature = { { "x", "inout" }, { "block", "i64" } } },
  exchange = { core = "aiv", code = code, signature = { { "x", "inout" }, { "turns", "i64" } } },
  relay = { core = "aiv", code = code, signature = { { "counter", "inout" } } },
  relay_waiting = { core = "aiv", code = code, entry = "relay", signature = { { "counter", "inout" } }, waits = true },
  meet_matrix = { core = "aic", code = code, entry = "meet_mixed" },
  meet_vector = { core = "aiv", code = code, entry = "meet_mixed" },
  fail_one = { core = "aiv", code = code },
  meet = { core = "aiv", code = code },
  meet_waiting = { core = "aiv", code = code, entry = "meet", waits = true },
}

-- No core runs two instances at once; returns how many cores there were.
local function check(rows, instances)
  local list, cores = rows:totable(), 0
  table.sort(list, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i, entry in ipairs(list) do
    assert.equal(instances, entry[4])
    if list[i - 1] and list[i - 1][1] == entry[1] then
      assert.is_true(list[i - 1][3] <= entry[2], ("core %d runs two instances at once"):format(entry[1]))
    else
      cores = cores + 1
    end
  end
  return cores
end

local runtimes = { "host_build_graph", "tensormap_and_ringbuffer" }

glue.each_platform(function(platform) for _, runtime in ipairs(runtimes) do
  describe(("a task with blocks on %s, %s,"):format(platform, runtime), function()
    local chip, clusters
    before_each(function() chip = baton.worker { platform = platform, runtime = runtime } end)
    after_each(function() chip:close() end)
    clusters = platform == "a5sim" and 36 or 24

    local function program(graph)
      return baton.program { name = "blocks", signature = { { "x", "inout" } }, kernels = kernels, graph = graph }
    end

    local function run(x, graph)
      local timing = chip:run(program(graph), { x })
      return x, timing
    end

    local function message(status, graph) return raises(status, run, tensor.zeros("i32", { 4 }), graph) end

    it("has a core of its own for each instance", function()
      for _, kind in ipairs { "matrix", "vector" } do
        local n = kind == "matrix" and clusters or 2 * clusters
        local rows = run(tensor.full("i64", { n, 4 }, -1), function(g, x)
          g[kind == "matrix" and "aic" or "aiv"]("log_" .. kind, { x, 1, 0 }, { blocks = n })
        end)
        assert.equal(n, check(rows, n))
      end
    end)

    it("has a cluster of its own for each instance of a mixed task, and so all cores of the device", function()
      local rows = run(tensor.full("i64", { 3 * clusters, 4 }, -1), function(g, x)
        local vector = { baton.no_dep(x), 3, 1 }
        g.mix({ aic = "log_matrix", aiv0 = "log_vector", aiv1 = "log_vector" },
          { aic = { x, 3, 0 }, aiv0 = vector, aiv1 = vector }, { blocks = clusters })
      end)
      assert.equal(3 * clusters, check(rows, clusters))
      for block = 0, clusters - 1 do
        local cluster = rows:get(3 * block + 1, 1)
        assert.same({ clusters + 2 * cluster, clusters + 2 * cluster + 1 },
          { rows:get(3 * block + 2, 1), rows:get(3 * block + 3, 1) })
      end
    end)

    it("runs in waves when it has more instances than there are cores", function()
      for _, kernel in ipairs { "log_vector", "log_waiting" } do
        local n = 5 * clusters + 3
        local rows = run(tensor.full("i64", { n, 4 }, -1), function(g, x) g.aiv(kernel, { x, 1, 0 }, { blocks = n }) end)
        assert.equal(2 * clusters, check(rows, n))
      end
    end)

    it("shares the cores with other tasks", function()
      local n = 2 * clusters
      local rows = run(tensor.full("i64", { 6 * n, 4 }, -1), function(g, x)
        for i = 0, 5 do g.aiv("log_vector", { x:slice(1, i * n + 1, n), 1, 0 }, { blocks = n, sync_start = i % 3 == 1 }) end
      end)
      check(rows, n)
    end)

    it("is one task for what comes before and after it", function()
      local x, timing = run(tensor.zeros("i32", { 401 }), function(g, x)
        local first, rest, total = x:slice(1, 1, 1), x:slice(1, 1, 400), x:slice(1, 401, 1)
        g.aiv("add", first, 5)
        g.aiv("add_block", { rest }, { blocks = 400 })
        g.aiv("sum", rest, total)
        g.aiv("add_block", { rest }, { blocks = 400, sync_start = false })
      end)
      assert.equal(4, timing.tasks)
      assert.equal(5 + 400 * 401 // 2, x:get(401))
      for i = 2, 400 do assert.equal(2 * i, x:get(i)) end
    end)

    it("orders by deps in a manual scope", function()
      assert.same({ 3, 2, 3, 4, 10 }, run(tensor.zeros("i32", { 5 }), function(g, x)
        g.scope({ mode = "manual" }, function()
          local rest = x:slice(1, 1, 4)
          local first = g.aiv("add_block", { rest }, { blocks = 4 })
          local total = g.aiv("sum", { rest, x:slice(1, 5, 1) }, { deps = { first } })
          g.aiv("add", { x:slice(1, 1, 1), 2 }, { deps = { total } })
        end)
      end):totable())
    end)

    it("gives the same again when its graph is run again", function()
      local chained = program(function(g, x)
        g.aiv("add_block", { x }, { blocks = 4 })
        g.aiv("exchange", { x, 1 }, { blocks = 4, sync_start = true })
      end)
      local x = tensor.zeros("i32", { 4 })
      for _ = 1, 6 do
        chip:run(chained, { x:fill(0) })
        assert.same({ 2, 3, 4, 1 }, x:totable())
      end
      assert.equal(12, chip:stats().tasks)
    end)

    it("has instances that wait for each other when they start together", function()
      local x = run(tensor.arange("i32", { 2 * clusters }), function(g, x)
        g.aiv("exchange", { x, 2 * clusters + 1 }, { blocks = 2 * clusters, sync_start = true })
      end)
      for i = 1, 2 * clusters do assert.equal(i % (2 * clusters), x:get(i)) end
      assert.equal(2 * clusters, run(tensor.zeros("i32", { 1 }), function(g, counter)
        g.aiv("relay", { counter }, { blocks = 2 * clusters, sync_start = true })
      end):get(1))
    end)

    it("has kernels on whole clusters that wait for each other when they start together", function()
      assert.same({ 3 * clusters, 3 * clusters }, run(tensor.zeros("i32", { 2 }), function(g, x)
        g.mix({ aic = "meet_matrix", aiv0 = "meet_vector", aiv1 = "meet_vector" }, { x:slice(1, 1, 1), x:slice(1, 2, 1) },
          { blocks = clusters, sync_start = true })
      end):totable())
    end)

    it("is the same in every call of a record", function()
      local x = tensor.zeros("i32", { 12 })
      local _, timing = run(x, function(g, all)
        for i = 0, 2 do
          g.record("meeting", function(part)
            g.aiv("add_block", { part }, { blocks = 4 })
            g.aiv("exchange", { part, 1 }, { blocks = 4, sync_start = true })
          end, { all:slice(1, 4 * i + 1, 4) })
        end
      end)
      assert.same({ 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1 }, x:totable())
      assert.is_true(timing.tasks >= 6)
    end)

    it("may wait without starting together if its kernel is declared to", function()
      assert.equal(200, run(tensor.zeros("i32", { 1 }), function(g, x) g.aiv("relay_waiting", { x }, { blocks = 200 }) end):get(1))
    end)

    it("lets tasks that need most of the cores go one after the other", function()
      local n, tasks = clusters + 1, 12
      local x = run(tensor.arange("i32", { n * tasks }), function(g, x)
        for i = 0, tasks - 1 do
          g.aiv("exchange", { x:slice(1, i * n + 1, n), n }, { blocks = n, sync_start = true })
        end
      end)
      for i = 1, n * tasks do assert.equal(i - 1, x:get(i)) end
    end)

    if runtime == "tensormap_and_ringbuffer" then
      it("may wait for cores as long as the graph function takes", function()
        local x = tensor.zeros("i32", { 2 * clusters })
        chip:run(program(function(g, all)
          for _ = 1, 1000 do g.aiv("add", all:slice(1, 1, 1), 1) end
          g.aiv("exchange", { all, 1 }, { blocks = 2 * clusters, sync_start = true })
          local stop = os.clock() + 2
          while os.clock() < stop do end
        end), { x }, { timeout = 0.5 })
        assert.equal(1000, x:get(2 * clusters))
      end)
    end

    it("fails if one of its instances does, and says which", function()
      for _, blocks in ipairs { 10, 1000 } do
        assert.equal(("task stop_at: kernel stop_at: block 7 of %d: no"):format(blocks), message("user_fail", function(g, x)
          g.aiv("stop_at", { x, 7 }, { blocks = blocks })
          g.aiv("add", x:slice(1, 1, 1), 1)
        end))
      end
      assert.equal("task meeting: kernel fail_one: block 1 of 8: no", message("user_fail", function(g, x)
        g.aiv("fail_one", { x }, { blocks = 8, sync_start = true, name = "meeting" })
      end))
    end)

    it("does not start together on more cores than there are", function()
      local what = "blocks: task exchange: %d blocks are to start together on %d vector cores"
      assert.equal(what:format(2 * clusters + 1, 2 * clusters), message("sync_start_too_wide", function(g, x)
        g.aiv("exchange", { x, 1 }, { blocks = 2 * clusters + 1, sync_start = true })
      end))
      assert.equal(("blocks: task meet_matrix: 1000 blocks are to start together on %d clusters"):format(clusters),
        message("sync_start_too_wide", function(g, x)
          g.mix({ aic = "meet_matrix" }, { x, x }, { blocks = 1000, sync_start = true })
        end))
      local _, err = pcall(run, tensor.zeros("i32", { 1 }), function(g, x)
        g.aiv("relay", { x }, { blocks = 1000, sync_start = true })
      end)
      assert.equal(("take %d blocks at most, or let them run in waves without sync_start"):format(2 * clusters), err.hint)
    end)

    it("refuses barriers to instances that do not start together", function()
      local function refused(kernel)
        return (message("unsupported", function(g, x) g.aiv(kernel, { x }, { blocks = 4 }) end):gsub("block %d", "block N"))
      end
      assert.equal("task meet: kernel meet: block N of 4: baton_block_barrier in a kernel that is not declared to wait", refused "meet")
      assert.equal("task meet_waiting: kernel meet_waiting: block N of 4: baton_block_barrier in a task without sync_start",
        refused "meet_waiting")
    end)

    it("is refused with options that make no sense", function()
      local function refused(status, options)
        return message(status, function(g, x) g.aiv("add_block", { x }, options) end)
      end
      assert.equal("blocks: kernel add_block: field 'blocks' must be in 1..2147483647, got 0", refused("out_of_range", { blocks = 0 }))
      assert.equal("blocks: kernel add_block: field 'blocks' must be in 1..2147483647, got 4294967296",
        refused("out_of_range", { blocks = 1 << 32 }))
      assert.equal("blocks: kernel add_block: field 'blocks' must be an integer, got many",
        refused("invalid_argument", { blocks = "many" }))
      assert.equal("field 'sync_start' must be true or false, got 1", refused("invalid_argument", { sync_start = 1 }))
      assert.equal("blocks: kernel add_block: unknown option 'block', did you mean 'blocks'?", refused("unknown_option", { block = 2 }))
      assert.equal("blocks: task dummy: option 'blocks' is for tasks with a kernel",
        message("invalid_argument", function(g, x) g.dummy({ x }, { blocks = 2 }) end))
    end)
  end)
end end)
