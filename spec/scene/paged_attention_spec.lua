local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local scenes = require "baton.scene"
local tensor = require "baton.tensor"

glue.scene "scenes/paged_attention.lua"

describe("scenes/paged_attention.lua", function()
  local scene = scenes.load "scenes/paged_attention.lua"
  local mixed = scene:case("mixed").params

  local function with(changes)
    local params = {}
    for key, value in pairs(mixed) do params[key] = value end
    for key, value in pairs(changes) do params[key] = value end
    return params
  end

  local function check(chip, params, config)
    local args = scene.args(params, 11, {})
    local timing = chip:run(scene.program, args, config)
    assert.tensor_close(args.out, scene.golden(args, params).out, scene.tolerance)
    return timing, args
  end

  it("takes any number of heads, any size of a head and of a block", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    for _, dtype in ipairs { "f32", "bf16" } do
      for _, shape in ipairs { { 1, 1, 1 }, { 3, 8, 7 }, { 17, 40, 16 }, { 128, 33, 130 }, { 130, 64, 9 } } do
        local heads, size, block = table.unpack(shape)
        check(chip, with { dtype = dtype, heads = heads, size = size, block = block })
      end
    end
  end)

  it("is softmax over few keys when scores are far apart", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    check(chip, with { scale = 300.0 })
    check(chip, with { scale = -300.0 })
  end)

  it("submits four tasks for each block that a length reaches", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    local blocks = 3 + 4 + 8 + 1 -- of 16 keys, for 33, 64, 128 and 15
    assert.equal(4 * blocks, check(chip, mixed).tasks)
  end)

  it("follows the table and the lengths of each run", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local _, args = check(chip, mixed)
    args.block_table:set((args.block_table:get(3, 8) + 1) % args.key_cache:size(1), 3, 8)
    args.context_lens:set(1, 4)
    chip:run(scene.program, args)
    assert.tensor_close(args.out, scene.golden(args, mixed).out, scene.tolerance)
  end)

  it("runs in a small window and heap where tasks start while it submits", function()
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "tensormap_and_ringbuffer" }
    check(chip, with { batch = 16 }, { ring_task_window = 64, ring_heap = "64KiB", ring_dep_pool = 256 })
  end)

  it("ignores keys and values behind the length", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local params = with { batch = 1, lengths = "equal", context = 20, block = 16, most = 16 }
    local args = scene.args(params, 3, {})
    args.block_table:set(0, 1, 1)
    args.block_table:set(1, 1, 2)
    local want = scene.golden(args, params).out
    args.key_cache:view(2, 1, 5, 12, 1, 1, 1, 16):fill(0 / 0)
    args.value_cache:view(2, 1, 5, 12, 1, 1, 1, 16):fill(0 / 0)
    chip:run(scene.program, args)
    assert.tensor_close(args.out, want, scene.tolerance)
  end)

  it("names a length that the table has no room for, and a block that does not exist", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local args = scene.args(mixed, 11, {})
    local room, blocks = args.block_table:size(2) * 16, args.key_cache:size(1)
    for _, length in ipairs { 0, -1, room + 1 } do
      args.context_lens:set(length, 2)
      assert.equal(("paged_attention: context_lens[2] is %d, the block table has room for 1 to %d"):format(length, room),
        glue.raises("user_fail", chip.run, chip, scene.program, args))
    end
    args.context_lens:set(33, 2)
    for _, number in ipairs { -1, blocks } do
      args.block_table:set(number, 2, 3)
      assert.equal(("paged_attention: block_table[2, 3] is %d, there are blocks 0 to %d"):format(number, blocks - 1),
        glue.raises("user_fail", chip.run, chip, scene.program, args))
    end
  end)

  it("runs on the user's own query, caches, table and lengths", function()
    local folder = command.folder()
    local given = scene.args(with { heads = 5, size = 24, block = 32 }, 5, {})
    local words = { "run", "scenes/paged_attention.lua", "--output", "out=@" .. folder .. "/out.npy" }
    for _, name in ipairs { "query", "key_cache", "value_cache", "block_table", "context_lens" } do
      given[name]:save(("%s/%s.npy"):format(folder, name))
      table.move({ "--input", ("%s=@%s/%s.npy"):format(name, folder, name) }, 1, 2, #words + 1, words)
    end
    local result = command.run(words)
    assert.equal(0, result.status, result.out .. result.err)
    assert.tensor_close(tensor.load(folder .. "/out.npy"), scene.golden(given, mixed).out, scene.tolerance)
    command.remove(folder)
  end)

  it("says what does not fit in files of the user, before the expected results stumble over it", function()
    local folder = command.folder()
    local given = scene.args(with { heads = 5, size = 24, block = 32 }, 5, {})
    local function refused(name, changed)
      local words = { "run", "scenes/paged_attention.lua" }
      for _, input in ipairs { "query", "key_cache", "value_cache", "block_table", "context_lens" } do
        local path = ("%s/%s.npy"):format(folder, input);
        (input == name and changed or given[input]):save(path)
        table.move({ "--input", ("%s=@%s"):format(input, path) }, 1, 2, #words + 1, words)
      end
      local result = command.run(words)
      return result.status, result.out:match "FAIL  ([^\n]*)"
    end
    local numbers = given.block_table:clone()
    numbers:set(1000, 1, 1)
    local status, message = refused("block_table", numbers)
    assert.equal(3, status)
    assert.truthy(message:find("block_table[1, 1] is 1000, there are blocks 0 to ", 1, true), message)
    status, message = refused("query", given.query:reshape { given.query:size(1), 1, 5, 24 })
    assert.equal(2, status)
    assert.truthy(message:find("argument 1 (query): f32|bf16[batch,heads,size] expected, got f32", 1, true), message)
    command.remove(folder)
  end)

  it("generates what the user does not give, to fit", function()
    local folder = command.folder()
    tensor.uniform("bf16", { 3, 4, 8 }, { seed = 1 }):save(folder .. "/query.npy")
    tensor.from({ 5, 70, 1 }, "i32"):save(folder .. "/lengths.npy")
    for _, input in ipairs { "query=@" .. folder .. "/query.npy", "context_lens=@" .. folder .. "/lengths.npy" } do
      local result = command.run { "run", "scenes/paged_attention.lua", "--input", input }
      assert.equal(0, result.status, result.out .. result.err)
    end
    command.remove(folder)
  end)
end)
