local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"

glue.scene "scenes/paged_attention_unroll.lua"
glue.scene "scenes/paged_attention_manual_scope.lua"
glue.scene "scenes/paged_attention_ringbuffer.lua"

-- Runs a case and checks the result; returns the timing and the arguments.
local function check(scene, chip, name)
  local params = scene:case(name).params
  local args = scene.args(params, 11, {})
  local timing = chip:run(scene.program, args, scene.config)
  assert.tensor_close(args.out, scene.golden(args, params).out, scene.tolerance)
  return timing, args
end

describe("scenes/paged_attention_unroll.lua", function()
  local scene = scenes.load "scenes/paged_attention_unroll.lua"

  it("submits four tasks for 64 blocks of each query tile", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    assert.equal(4, check(scene, chip, "small").tasks)
    assert.equal(2 * 2 * 3 * 4, check(scene, chip, "groups").tasks) -- sequences, query tiles, groups
  end)

  it("keeps its graph when the block table changes, and builds another for other lengths", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    scene.program:forget()
    local params, _, args = scene:case("mixed").params, check(scene, chip, "mixed")
    local function again()
      chip:run(scene.program, args)
      assert.tensor_close(args.out, scene.golden(args, params).out, scene.tolerance)
      return { chip:stats().graph_builds, chip:stats().graph_replays }
    end
    args.block_table:set((args.block_table:get(3, 8) + 1) % args.key_cache:size(1), 3, 8)
    assert.same({ 1, 1 }, again())
    args.context_lens:set(1, 4)
    assert.same({ 2, 1 }, again())
  end)

  it("names a block that does not exist, and a length that the table has no room for", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local _, args = check(scene, chip, "mixed")
    local blocks, room = args.key_cache:size(1), args.block_table:size(2) * 16
    args.block_table:set(blocks, 2, 3)
    local message = glue.raises("user_fail", chip.run, chip, scene.program, args)
    local text = ("the block table has block %d, there are blocks 0 to %d"):format(blocks, blocks - 1)
    assert.truthy(message:find(text, 1, true), message)
    args.context_lens:set(room + 1, 2)
    assert.equal(("paged_attention_unroll: context_lens[2] is %d, the block table has room for 1 to %d"):format(room + 1, room),
      glue.raises("user_fail", chip.run, chip, scene.program, args))
  end)
end)

describe("scenes/paged_attention_manual_scope.lua", function()
  local scene = scenes.load "scenes/paged_attention_manual_scope.lua"

  it("has the edges that its deps name and no other", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local edges, tasks = 0, 0
    for _, blocks in ipairs { 3, 4, 8, 1 } do -- of 16 keys, for 33, 64, 128 and 15
      tasks = tasks + 4 * blocks
      edges = edges + 3 * blocks + blocks - 1
    end
    assert.equal(tasks, check(scene, chip, "mixed").tasks)
    assert.equal(edges, chip:stats().edges)
  end)

  it("gives the same on every run, whatever the threads do", function()
    for _, runtime in ipairs(scene.program.runtimes) do
      local chip <close> = baton.worker { platform = "a2a3sim", runtime = runtime }
      for _ = 1, 20 do check(scene, chip, "mixed") end
    end
  end)
end)

describe("scenes/paged_attention_ringbuffer.lua", function()
  local scene = scenes.load "scenes/paged_attention_ringbuffer.lua"

  it("stays in its window, heap and pool of edges with many times as many tasks", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "tensormap_and_ringbuffer" }
    assert.is_true(check(scene, chip, "default").tasks >= 4 * 8 * 16) -- sequences, blocks
    local stats = chip:stats()
    assert.is_true(stats.window_high <= 64, stats.window_high)
    assert.is_true(stats.heap_high > 0 and stats.heap_high <= 4 << 20, stats.heap_high)
    assert.is_true(stats.dep_pool_high <= 256, stats.dep_pool_high)
  end)

  it("does not fit where the whole graph is built first", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local args = scene.args(scene:case("default").params, 11, {})
    local message = glue.raises("window_full", chip.run, chip, scene.program, args, scene.config)
    assert.truthy(message:find("64", 1, true), message)
  end)
end)
