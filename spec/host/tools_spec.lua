local command = require "spec.support.command"
local scene_file = require "spec.support.scene"

describe("tools/benchmark_rounds.sh", function()
  local folder
  setup(function() folder = command.folder() end)
  teardown(function() command.remove(folder) end)

  local function benchmark(scene, options)
    return command.shell(("tools/benchmark_rounds.sh --baton %s --rounds 3 %s %s"):format(command.quote(command.baton), options,
      command.quote(scene)))
  end

  it("prints a line for each case, with and without reuse, and sums", function()
    local result = benchmark(scene_file.write(folder .. "/scene.lua"), "--platform all --runtime host_build_graph")
    assert.equal(0, result.status, result.out .. result.err)
    local lines = {}
    for line in result.out:gmatch "[^\n]+" do lines[#lines + 1] = line:gsub("%d+%.%d+", "T"):gsub(" +", " ") end
    assert.same({ "scene platform runtime case first host device orch no reuse ratio",
      "sum a2a3sim host_build_graph small T T T T T T", "sum a2a3sim host_build_graph wide T T T T T T",
      "sum a5sim host_build_graph small T T T T T T", "sum a5sim host_build_graph wide T T T T T T",
      "sum a2a3sim host_build_graph T T T T T T", "sum a5sim host_build_graph T T T T T T",
      "8 passed, 0 failed" }, lines)
  end)

  it("says which cases fail and why, and fails itself", function()
    local scene = scene_file.write(folder .. "/scene.lua", "scene.cases[1].config = { ring_heap = 1 << 50 }")
    local result = benchmark(scene, "--platform a2a3sim --runtime host_build_graph")
    assert.equal(1, result.status)
    assert.truthy(result.out:find("sum  a2a3sim  host_build_graph  small  FAIL  ring_heap of", 1, true), result.out)
    assert.truthy(result.out:find("2 passed, 2 failed\n", 1, true), result.out)
    result = benchmark(folder .. "/none.lua", "")
    assert.equal(1, result.status)
    result = benchmark(scene, "--round")
    assert.equal(2, result.status)
    assert.truthy(result.err:find("usage: benchmark_rounds.sh", 1, true))
  end)
end)

describe("tools/soak.sh", function()
  it("prints how much the process grew on each platform and runtime, and with each isolation of a node", function()
    local result = command.shell(("tools/soak.sh --rounds 2500 --faults 0 --baton %s"):format(command.quote(command.baton)))
    local seen = {}
    for line in result.out:gmatch "[^\n]+" do
      seen[#seen + 1] = line:match "^(%S+  %S+  %d+ r%a+)  [%d.]+ us a r" or line:match "^faults  %d+ kinds  (%d+ times each)"
    end
    assert.same({ "a2a3sim  host_build_graph  2500 rounds", "a2a3sim  tensormap_and_ringbuffer  2500 rounds",
      "a5sim  host_build_graph  2500 rounds", "a5sim  tensormap_and_ringbuffer  2500 rounds", "node  thread  2500 runs",
      "node  process  2500 runs", "0 times each" }, seen, result.err)
    assert.equal(0, result.status)
  end)

  it("refuses arguments that it does not know", function()
    local result = command.shell "tools/soak.sh --minute 3"
    assert.equal(2, result.status)
    assert.truthy(result.err:find("usage: soak.sh", 1, true))
  end)
end)
