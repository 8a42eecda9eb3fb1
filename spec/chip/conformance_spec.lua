-- What every graph runtime must carry, on every platform: with inferred edges and with explicit ones.
local baton = require "baton"
local glue = require "baton.busted"
local tensor = require "baton.tensor"
local raises = glue.raises

local wide = os.getenv "BATON_TEST_SMALL" and 20000 or 100000

local kernels = {}
for name, signature in pairs {
  step = { { "x", "inout" }, { "k", "i64" } }, plus = { { "a", "in" }, { "c", "out" }, { "k", "i64" } },
  add = { { "a", "in" }, { "b", "in" }, { "c", "out" } }, sum = { { "x", "in" }, { "s", "out" } },
  copy = { { "a", "in" }, { "c", "out" } }, share = { { "a", "in" }, { "c", "inout" } }, many = false,
} do
  kernels[name] = { core = "aiv", signature = signature or nil, strided = name == "copy", code = [[
    #include <baton/kernel.h>
    BATON_KERNEL(step) { /* shows the order of tasks */
      uint64_t *x = baton_io(args, 0, uint64_t);
      x[0] = 31 * x[0] + baton_scalar_u64(args, 1);
    }
    BATON_KERNEL(plus) {
      const int64_t *a = baton_in(args, 0, int64_t);
      for (int64_t i = 0; i < baton_numel(args, 0); i++) baton_out(args, 1, int64_t)[i] = a[i] + baton_scalar_i64(args, 2);
    }
    BATON_KERNEL(add) {
      const int64_t *a = baton_in(args, 0, int64_t), *b = baton_in(args, 1, int64_t);
      for (int64_t i = 0; i < baton_numel(args, 0); i++) baton_out(args, 2, int64_t)[i] = a[i] + b[i];
    }
    BATON_KERNEL(sum) {
      int64_t total = 0;
      for (int64_t i = 0; i < baton_numel(args, 0); i++) total += baton_in(args, 0, int64_t)[i];
      baton_out(args, 1, int64_t)[0] = total;
    }
    BATON_KERNEL(copy) { /* any view, element by element in C order */
      const baton_view *a = baton_arg_tensor(args, 0);
      int64_t *c = baton_out(args, 1, int64_t);
      for (int64_t i = 0, n = baton_view_numel(a); i < n; i++) {
        int64_t rest = i, at = 0;
        for (int d = a->ndim - 1; d >= 0; rest /= a->shape[d--]) at += rest % a->shape[d] * a->strides[d];
        c[i] = ((const int64_t *)a->data)[at];
      }
    }
    BATON_KERNEL(share) { /* an instance adds a to its elements */
      int64_t *c = baton_io(args, 1, int64_t), n = baton_numel(args, 1), blocks = baton_block_num(args);
      for (int64_t i = baton_block_idx(args); i < n; i += blocks) c[i] += baton_in(args, 0, int64_t)[0];
    }
    BATON_KERNEL(many) { /* 255 inputs, an output, 128 scalars */
      int64_t total = 0;
      for (uint32_t i = 0; i < 255; i++) total += (i + 1) * baton_in(args, i, int64_t)[0];
      for (uint32_t i = 0; i < 128; i++) total += baton_scalar_i64(args, 256 + i);
      baton_out(args, 255, int64_t)[0] = total;
    }]] }
end

-- The orchestrations: AFTER(task, …) are the deps, where edges are not inferred.
local prelude = ([[
  #include <baton/orchestration.h>
  enum { WIDE = %d };
  #define OPTIONS(list, count) &(baton_task_options){.deps = list, .ndeps = count}
  #ifdef INFERRED
  #define AFTER_ALL(list, count) NULL
  #else
  #define AFTER_ALL(list, count) OPTIONS(list, count)
  #endif
  #define AFTER(...) \
    AFTER_ALL(((const baton_task[]){__VA_ARGS__}), sizeof((const baton_task[]){__VA_ARGS__}) / sizeof(baton_task))
  static baton_task tasks[WIDE];
  static inline baton_view at(baton_view v, int64_t i) { return baton_slice(v, 0, i, 1); }
  static inline baton_task step(baton_orch *o, baton_view x, int64_t k, const baton_task_options *options) {
    return baton_aiv(o, baton_kernel(o, "step"), BATON_ARGS(baton_inout(x), baton_i64(k)), options);
  }
  static inline baton_task plus(baton_orch *o, baton_view a, baton_view c, int64_t k, const baton_task_options *options) {
    return baton_aiv(o, baton_kernel(o, "plus"), BATON_ARGS(baton_input(a), baton_output(c), baton_i64(k)), options);
  }
  static inline baton_task copy(baton_orch *o, baton_view a, baton_view c, const baton_task_options *options) {
    return baton_aiv(o, baton_kernel(o, "copy"), BATON_ARGS(baton_input(a), baton_output(c)), options);
  }
  static inline baton_view cell(baton_orch *o) { return baton_alloc(o, BATON_I64, BATON_SHAPE(1)); }
  /* handed[0] += k by way of an intermediate */
  static void pair(baton_orch *o, const baton_arg *handed, uint32_t count, baton_view *made, void *context) {
    baton_view between = cell(o);
    (void)count, (void)made, (void)context;
    baton_task t = baton_aiv(o, baton_kernel(o, "plus"), BATON_ARGS(baton_input(handed[0].view), baton_output(between),
                                                                   handed[1]), NULL);
    copy(o, between, handed[0].view, AFTER(t));
  }
  BATON_ORCHESTRATION(f) {
    baton_view x = baton_param(o, args, 0), y = baton_param(o, args, 1);
    (void)x, (void)y, (void)tasks, (void)at, (void)step, (void)plus, (void)copy, (void)cell, (void)pair;
]]):format(wide)

local function program(body, edges)
  return baton.program { name = "p", signature = { { "x", "inout", "i64" }, { "y", "inout", "i64" } }, kernels = kernels,
    edges = edges, orchestration = { entry = "f", code = prelude .. body .. "}", cflags = edges and {} or "-DINFERRED" } }
end

-- The program of a case with inferred and with explicit edges, once for all runtimes that carry it.
local function programs(body) return { inferred = program(body), explicit = program(body, "explicit") } end

local function repeated(n, value)
  local list = {}
  for i = 1, n do list[i] = value(i) end
  return list
end

-- What a stencil over a ring leaves: each cell is the sum of its neighbours and itself.
local function stencil(width, rounds)
  local now = repeated(width, function(i) return i - 1 end)
  for _ = 1, rounds do
    now = repeated(width, function(i) return now[(i - 2) % width + 1] + now[i] + now[i % width + 1] end)
  end
  return now
end

local function chain(n)
  local value = 0
  for i = 0, n - 1 do value = 31 * value + i end
  return value
end

-- Each: the number of elements of x (y has one), the body, and what x and y[1] are afterwards; x begins as 0, 1, 2 …
local cases = {
  { "an empty graph", n = 3, body = "", x = { 0, 1, 2 }, y = 0, tasks = 0 },
  { "one task", n = 1, body = "step(o, x, 5, NULL);", x = { 5 }, y = 0, tasks = 1 },
  { "independent tasks", n = 1000, body = "for (int i = 0; i < 1000; i++) step(o, at(x, i), 7, NULL);",
    x = repeated(1000, function(i) return 31 * (i - 1) + 7 end), y = 0, tasks = 1000 },
  { "a chain", n = 1, body = [[
      baton_task t = {0};
      for (int i = 0; i < 3000; i++) t = step(o, x, i, AFTER(t));]], x = { chain(3000) }, y = 0, tasks = 3000 },
  { "a diamond", n = 1, body = [[
      baton_view left = cell(o), right = cell(o);
      baton_task top = step(o, x, 3, NULL);
      baton_task l = plus(o, x, left, 10, AFTER(top)), r = plus(o, x, right, 200, AFTER(top));
      baton_task both = baton_aiv(o, baton_kernel(o, "add"), BATON_ARGS(baton_input(left), baton_input(right), baton_output(y)),
                                  AFTER(l, r));
      step(o, x, 1, AFTER(both));]], x = { 94 }, y = 216, tasks = 5 },
  { "a fan of " .. wide, n = wide, body = [[
      baton_task root = step(o, y, 7, NULL);
      for (int i = 0; i < WIDE; i++) tasks[i] = plus(o, y, at(x, i), i, AFTER(root));
      baton_aiv(o, baton_kernel(o, "sum"), BATON_ARGS(baton_input(x), baton_output(y)), AFTER_ALL(tasks, WIDE));]],
    x = repeated(wide, function(i) return 6 + i end), y = wide * (wide + 13) // 2, tasks = wide + 2 },
  { "10,000 tasks that are ready at once", n = 10000, body = [[
      baton_view gate = cell(o);
      baton_task root = plus(o, y, gate, 1, NULL);
      for (int i = 0; i < 10000; i++) copy(o, gate, at(x, i), AFTER(root));]],
    x = repeated(10000, function() return 1 end), y = 0, tasks = 10001 },
  { "a stencil", n = 64, body = [[
      baton_view other = baton_alloc(o, BATON_I64, BATON_SHAPE(64)), rows[2] = {x, other};
      baton_task last[2][64] = {{{0}}};
      for (int round = 0; round < 30; round++) {
        baton_view from = rows[round % 2], to = rows[1 - round % 2];
        baton_task *before = last[round % 2], *now = last[1 - round % 2];
        baton_view pairs = baton_alloc(o, BATON_I64, BATON_SHAPE(64));
        for (int i = 0; i < 64; i++) {
          int l = (i + 63) % 64, r = (i + 1) % 64, add = baton_kernel(o, "add");
          baton_task half = baton_aiv(o, add, BATON_ARGS(baton_input(at(from, l)), baton_input(at(from, i)),
            baton_output(at(pairs, i))), AFTER(before[l], before[i], now[l], now[i], now[r]));
          tasks[i] = baton_aiv(o, add, BATON_ARGS(baton_input(at(pairs, i)), baton_input(at(from, r)), baton_output(at(to, i))),
            AFTER(half, before[r], before[i], before[l], now[l], now[r], now[i]));
        }
        for (int i = 0; i < 64; i++) now[i] = tasks[i];
        baton_task all = baton_dummy(o, NULL, 0, OPTIONS(tasks, 64));
        for (int i = 0; i < 64; i++) now[i] = all;
      }]], x = stencil(64, 30), y = 0, tasks = 30 * 129 },
  { "nested scopes", n = 1, body = [[
      baton_view last = y;
      baton_task t = {0};
      for (int depth = 0; depth < 60; depth++) {
        baton_scope_begin(o, BATON_SCOPE_AUTO);
        baton_view next = cell(o);
        t = plus(o, last, next, depth, AFTER(t));
        last = next;
      }
      t = plus(o, last, x, 1, AFTER(t));
      for (int depth = 0; depth < 60; depth++) baton_scope_end(o);
      step(o, x, 0, AFTER(t));]], x = { 31 * (59 * 60 // 2 + 1) }, y = 0, tasks = 62 },
  { "intermediates of many scopes", n = 200, body = [[
      for (int i = 0; i < 200; i++) BATON_SCOPE(o) {
        baton_view a = cell(o), b = cell(o), c = cell(o);
        baton_fill(o, a, baton_i64(i));
        baton_task t = plus(o, a, b, 1, NULL), u = plus(o, b, c, 1, AFTER(t));
        copy(o, c, at(x, i), AFTER(u));
      }]], x = repeated(200, function(i) return i + 1 end), y = 0, tasks = 800 },
  { "deps that nothing else implies", n = 1, body = [[
      baton_task t = {0};
      for (int i = 0; i < 500; i++)
        t = baton_aiv(o, baton_kernel(o, "step"), BATON_ARGS(baton_no_dep(x), baton_i64(i)), OPTIONS(&t, 1));]],
    x = { chain(500) }, y = 0, tasks = 500 },
  { "barriers without arguments", n = 64, body = [[
      for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 64; i++)
          tasks[i] = baton_aiv(o, baton_kernel(o, "step"), BATON_ARGS(baton_no_dep(at(x, (i + round) % 64)), baton_i64(round)),
                               round ? OPTIONS(&tasks[64], 1) : NULL);
        tasks[64] = baton_dummy(o, NULL, 0, OPTIONS(tasks, 64));
      }]], x = repeated(64, function(i)
        local value = i - 1
        for round = 0, 9 do value = 31 * value + round end
        return value
      end), y = 0, tasks = 650 },
  { "256 tensors and 128 scalars of one task", n = 255, body = [[
      baton_arg list[256 + 128];
      for (int i = 0; i < 255; i++) {
        tasks[i] = step(o, at(x, i), i, NULL);
        list[i] = baton_input(at(x, i));
      }
      list[255] = baton_output(y);
      for (int i = 0; i < 128; i++) list[256 + i] = baton_i64(1000 * i);
      baton_aiv(o, baton_kernel(o, "many"), list, 384, AFTER_ALL(tasks, 255));]],
    x = repeated(255, function(i) return 32 * (i - 1) end), y = 32 * 254 * 255 * 256 // 3 + 1000 * 127 * 128 // 2, tasks = 256 },
  { "a task of 200 instances", n = 500, body = [[
      baton_task t = step(o, y, 9, NULL);
      for (int i = 0; i < 3; i++) {
        baton_task_options options = {.deps = &t, .ndeps = 1, .blocks = 200};
        t = baton_aiv(o, baton_kernel(o, "share"), BATON_ARGS(baton_input(y), baton_inout(x)), &options);
      }
      step(o, y, 1, AFTER(t));]], x = repeated(500, function(i) return i - 1 + 27 end), y = 280, tasks = 5 },
  { "sub-graphs that are recorded", n = 4, body = [[
      baton_sub_graph graph = {.key = "pair", .build = pair};
      baton_task t = step(o, at(x, 0), 1, NULL);
      for (int i = 0; i < 100; i++)
        t = baton_record(o, &graph, BATON_ARGS(baton_untagged(at(x, 0)), baton_i64(i)), AFTER(t), NULL);
      copy(o, at(x, 0), y, AFTER(t));]], x = { 4951, 1, 2, 3 }, y = 4951, tasks = 302 },
  { "views of eight dimensions", n = 512, body = [[
      baton_view a = baton_slice(x, 0, 0, 256), b = baton_slice(x, 0, 256, 256);
      a = baton_transpose(baton_reshape(a, BATON_SHAPE(2, 2, 2, 2, 2, 2, 2, 2)), 0, 7);
      baton_task t = copy(o, a, b, NULL);
      baton_task u = copy(o, baton_reshape(b, BATON_SHAPE(2, 2, 2, 2, 2, 2, 2, 2)), baton_slice(x, 0, 0, 256), AFTER(t));
      step(o, y, 1, AFTER(u));]],
    x = repeated(512, function(i)
      i = (i - 1) % 256
      return i & ~129 | (i & 1) << 7 | i >> 7
    end), y = 1, tasks = 3 },
  { "strides of 0 and below as inputs", n = 30, body = [[
      baton_view back = baton_slice(x, 0, 0, 10), same = at(x, 4);
      back.data = (void *)((uintptr_t)back.data + 9 * 8);
      back.strides[0] = -1;
      same.shape[0] = 10;
      same.strides[0] = 0;
      baton_task t = copy(o, back, baton_slice(x, 0, 10, 10), NULL), u = copy(o, same, baton_slice(x, 0, 20, 10), NULL);
      baton_view all = x; /* the whole backwards, after both */
      all.data = (void *)((uintptr_t)x.data + 29 * 8);
      all.strides[0] = -1;
      baton_view reversed = baton_alloc(o, BATON_I64, BATON_SHAPE(30));
      baton_task v = copy(o, all, reversed, AFTER(t, u));
      copy(o, reversed, x, AFTER(v));]],
    x = repeated(30, function(i)
      i = 30 - i
      return i < 10 and i or i < 20 and 19 - i or 4
    end), y = 0, tasks = 4 },
}

-- A program of any length: its tasks need a few slots and bytes at a time.
local endless = programs [[
  baton_task t = {0};
  for (int i = 0; i < 20000; i++) BATON_SCOPE(o) {
    baton_view a = baton_alloc(o, BATON_I64, BATON_SHAPE(512));
    baton_task u = plus(o, at(x, i % 8), at(a, 0), 1, AFTER(t));
    t = copy(o, at(a, 0), at(x, (i + 1) % 8), AFTER(u));
  }]]

for _, case in ipairs(cases) do case.programs = programs(case.body) end

-- 8 tasks in flight, 4 with 12 edges more than lie in a task, two blocks of 4 KiB.
local measured = programs [[
  baton_view a = baton_alloc(o, BATON_I64, BATON_SHAPE(512)), b = baton_alloc(o, BATON_I64, BATON_SHAPE(512));
  for (int i = 0; i < 6; i++) tasks[i] = plus(o, at(x, i), at(a, i), i, NULL);
  tasks[6] = baton_dummy(o, NULL, 0, OPTIONS(tasks, 6));
  copy(o, a, b, OPTIONS(tasks, 7));]]

glue.each_platform(function(platform)
  for edges, runtimes in pairs { inferred = { "host_build_graph", "tensormap_and_ringbuffer" },
    explicit = { "host_build_graph", "tensormap_and_ringbuffer", "aicpu_build_graph" } } do
    for _, runtime in ipairs(runtimes) do
      describe(("%s with %s edges"):format(runtime, edges), function()
        local chip
        before_each(function() chip = baton.worker { platform = platform, runtime = runtime } end)
        after_each(function() chip:close() end)

        local function run(of, n, config)
          local x, y = tensor.arange("i64", { n }), tensor.zeros("i64", { 1 })
          local timing = chip:run(of[edges], { x, y }, config)
          return x, y, timing
        end

        for _, case in ipairs(cases) do
          it("carries " .. case[1], function()
            for _ = 1, 2 do -- the second one may be a replay
              local x, y, timing = run(case.programs, case.n)
              assert.same({ case.y, case.tasks }, { y:get(1), timing.tasks })
              assert.is_true(x:allclose(tensor.from(case.x, "i64")))
            end
          end)
        end

        it("carries rounds", function()
          local x, y = tensor.zeros("i64", { 1 }), tensor.zeros("i64", { 1 })
          local rounds <close> = chip:rounds(cases[2].programs[edges], { x, y })
          for _, want in ipairs { 5, 31 * 5 + 5, 31 * (31 * 5 + 5) + 5 } do
            rounds:init_round()
            rounds:launch()
            rounds:finalize_round()
            assert.equal(want, x:get(1))
          end
        end)

        it("takes rings of a given size or \"auto\"", function()
          for _, config in ipairs { { ring_task_window = "auto", ring_heap = "auto", ring_dep_pool = "auto" },
            { ring_task_window = 64, ring_heap = "64KiB", ring_dep_pool = 64 } } do
            local x = run(cases[2].programs, 1, config)
            assert.equal(5, x:get(1))
          end
        end)

        local small = { ring_task_window = 16, ring_heap = "64KiB", ring_dep_pool = 64 }
        if runtime == "host_build_graph" then
          it("says which ring is too small for a graph that it must hold, and what to do", function()
            local x = tensor.zeros("i64", { 8 })
            local ok, err = pcall(chip.run, chip, endless[edges], { x, tensor.zeros("i64", { 1 }) }, small)
            assert.is_false(ok)
            assert.same({ "window_full", "p: task plus: the window of 16 tasks is full: 16 are unfinished", "raise "
              .. "ring_task_window in config; host_build_graph holds every task and intermediate of a graph until it is launched" },
              { err.code, err.message, err.hint })
          end)

          it("counts what it needs, no more of which it takes", function()
            run(measured, 8)
            local stats = chip:stats()
            assert.same({ 8, 8192 }, { stats.window_high, stats.heap_high })
            assert.is_true(stats.dep_pool_high > 0 and stats.dep_pool_high <= 16)
            local exact = { ring_task_window = 8, ring_heap = 8192, ring_dep_pool = stats.dep_pool_high }
            run(measured, 8, exact)
            for code, less in pairs { window_full = { ring_task_window = 7 }, heap_full = { ring_heap = 4096 },
              dep_pool_full = { ring_dep_pool = 1 } } do
              for key, value in pairs(exact) do less[key] = less[key] or value end
              raises(code, run, measured, 8, less)
            end
          end)
        else
          it("carries a program of any length in small rings", function()
            local x, _, timing = run(endless, 8, small)
            assert.equal(40000, timing.tasks)
            assert.same(repeated(8, function(i) return 20000 - (8 - i) end), { x:get(2), x:get(3), x:get(4), x:get(5), x:get(6),
              x:get(7), x:get(8), x:get(1) })
            local stats = chip:stats()
            assert.is_true(stats.window_high <= 16 and stats.heap_high <= 65536 and stats.dep_pool_high <= 64)
          end)
        end
      end)
    end
  end
end)
