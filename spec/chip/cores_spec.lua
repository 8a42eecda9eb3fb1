local baton = require "baton"
local glue = require "baton.busted"
local tensor = require "baton.tensor"
local raises = glue.raises

-- log writes { core, start, end } into its row; hold does the same, and first waits until `count` tasks have begun.
local code = [[
#define _GNU_SOURCE
#include <baton/kernel.h>
#include <time.h>
static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
BATON_KERNEL(log_core) {
  int64_t *row = baton_out(args, 0, int64_t);
  struct timespec some_time = { 0, 20000 };
  row[0] = baton_core_id(args);
  row[1] = now();
  nanosleep(&some_time, NULL);
  row[2] = now();
}
BATON_KERNEL(hold) {
  int64_t *row = baton_out(args, 0, int64_t);
  int32_t *counter = baton_io(args, 1, int32_t);
  row[0] = baton_core_id(args);
  row[1] = now();
  baton_signal_add(args, counter, 1);
  baton_wait_ge(args, counter, (int32_t)baton_scalar_i64(args, 2));
  row[2] = now();
}
]]

local row = { { "row", "out" } }
local held = { { "row", "out" }, { "counter", "inout" }, { "count", "i64" } }
local kernels = {
  matrix = { core = "aic", code = code, entry = "log_core", signature = row },
  vector = { core = "aiv", code = code, entry = "log_core", signature = row },
  hold_matrix = { core = "aic", code = code, entry = "hold", signature = held, waits = true },
  hold_vector = { core = "aiv", code = code, entry = "hold", signature = held, waits = true },
  impatient = { core = "aiv", code = code, entry = "hold", signature = held },
}

-- No core runs two of the tasks at once; returns how many tasks each core ran, and how many cores there were.
local function check(log)
  local rows, used, cores = log:totable(), {}, 0
  table.sort(rows, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i, entry in ipairs(rows) do
    assert.is_true(entry[2] <= entry[3])
    if rows[i - 1] and rows[i - 1][1] == entry[1] then
      assert.is_true(rows[i - 1][3] <= entry[2], ("core %d runs two tasks at once"):format(entry[1]))
    else
      cores = cores + 1
    end
    used[entry[1]] = (used[entry[1]] or 0) + 1
  end
  return used, cores
end

glue.each_platform(function(platform)
  describe("the cores of " .. platform, function()
    local chip
    before_each(function() chip = baton.worker { platform = platform } end)
    after_each(function() chip:close() end)

    local function run(n, graph)
      local log = tensor.full("i64", { n, 3 }, -1)
      chip:run(baton.program {
        name = "log", signature = { { "log", "out", "i64" }, { "counter", "inout", "i32" } }, kernels = kernels,
        graph = graph,
      }, { log, tensor.zeros("i32", { 1 }) })
      return log
    end

    for _, mixture in ipairs { "one kind after the other", "both kinds in turn" } do
      it("all run tasks, one at a time, with " .. mixture, function()
        local clusters
        local log = run(1000, function(g, log)
          clusters = g.clusters
          for i = 1, 1000 do
            local matrix = i % 2 == 0
            if mixture == "one kind after the other" then matrix = i > 500 end
            g[matrix and "aic" or "aiv"](matrix and "matrix" or "vector", log:select(1, i))
          end
        end)
        local used, cores = check(log)
        assert.equal(platform == "a5sim" and 108 or 72, cores)
        local matrix_tasks = 0
        for core = 0, clusters - 1 do matrix_tasks = matrix_tasks + used[core] end
        assert.equal(500, matrix_tasks)
      end)
    end

    it("are all held at the same time by tasks that wait for each other", function()
      local n
      local log = run(platform == "a5sim" and 108 or 72, function(g, log, counter)
        n = 3 * g.clusters
        for i = 1, n do
          local matrix = i % 3 == 0
          g[matrix and "aic" or "aiv"](matrix and "hold_matrix" or "hold_vector", log:select(1, i), baton.no_dep(counter), n)
        end
      end)
      local _, cores = check(log)
      assert.equal(n, cores)
    end)

    it("take other tasks while some wait", function()
      local log = run(300, function(g, log, counter)
        g.aiv("hold_vector", log:select(1, 1), baton.no_dep(counter), 2)
        for i = 2, 299 do g.aiv("vector", log:select(1, i)) end
        g.aiv("hold_vector", log:select(1, 300), baton.no_dep(counter), 2)
      end)
      local used = check(log)
      assert.equal(1, used[log:get(1, 1)])
    end)

    it("are refused to kernels that wait without saying so", function()
      assert.equal("task impatient: kernel impatient: baton_wait_ge in a kernel that is not declared to wait",
        raises("unsupported", run, 1, function(g, log, counter) g.aiv("impatient", log:select(1, 1), counter, 2) end))
    end)
  end)
end)
