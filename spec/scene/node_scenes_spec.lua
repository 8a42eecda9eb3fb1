local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local scenes = require "baton.scene"

local names = { "multi_chip_dispatch", "child_memory", "ffn_tensor_parallel", "pipeline", "data_parallel_rounds",
  "group_reservation", "moe_dispatch" }

for _, name in ipairs(names) do glue.scene(("scenes/%s.lua"):format(name)) end
glue.scene "scenes/node_of_nodes.lua"

local function path(name) return ("scenes/%s.lua"):format(name) end

describe("the scenes of level 3", function()
  for _, isolation in ipairs { "thread", "process" } do
    it("pass round after round with isolation " .. isolation, function()
      local arguments = { "run", "--isolation", isolation, "--rounds", "3" }
      for _, name in ipairs(names) do arguments[#arguments + 1] = path(name) end
      local result = command.run(arguments)
      assert.equal("", result.err)
      assert.equal(0, result.status, result.out)
      assert.truthy(result.out:find(("%d passed, 0 failed, 0 skipped"):format(#names), 1, true), result.out)
    end)
  end
end)

-- The default case of a scene on a node of its own; returns what it did, and the arguments.
local function run(name, params)
  local scene = scenes.load(path(name))
  local p = params or scene.cases[1].params
  local args = scene.args(p, 1)
  local node <close> = baton.worker { level = 3, devices = scene.worker.devices, subs = scene.worker.subs }
  node:run(function(orch, list) scene.orchestrate(orch, list, p, 1) end, args)
  local runs = 0 -- of device programs
  for worker = 0, node.workers - 1 do runs = runs + node:stats(worker).runs end
  return node:stats(), args, runs
end

describe("scenes/node_of_nodes.lua", function()
  for _, isolation in ipairs { "thread", "process" } do
    it("passes round after round on the devices that are chosen, with isolation " .. isolation, function()
      local result = command.run { "run", "--isolation", isolation, "--rounds", "3", "-d", "4-7", path "node_of_nodes" }
      assert.equal("", result.err)
      assert.truthy(result.out:find("2 passed, 0 failed, 0 skipped", 1, true), result.out)
    end)
  end

  it("gives each child devices of its own, in the order in which they are chosen", function()
    local place = require "baton.place"
    local scene = scenes.load(path "node_of_nodes")
    local node <close> = place.open(scene, "a5sim", { command = { device = { 6, 4, 5, 7 } }, environment = {} })
    local function device(number) return { platform = "a5sim", device = number } end
    assert.same({ { device(6), device(4) }, { device(5), device(7) } }, { node:describe(0).devices, node:describe(1).devices })
    assert.same({ 2, 1, 1 }, { node.workers, node.subs, node:describe(1).subs })
  end)

  it("is skipped where too few are chosen", function()
    local result = command.run { "run", "-d", "4-6", path "node_of_nodes" }
    assert.truthy(result.out:find("the scene needs 4 devices, -d chooses 3", 1, true), result.out)
  end)
end)

describe("scenes/child_memory.lua", function()
  it("moves the weight to the chip once, and with each task only its own input", function()
    local stats, args = run "child_memory"
    assert.equal(args.weight.nbytes + args.x1.nbytes + args.x2.nbytes, stats.bytes_to_device)
    assert.equal(args.y1.nbytes + args.y2.nbytes, stats.bytes_from_device)
  end)
end)

describe("scenes/pipeline.lua", function()
  it("moves a weight to each chip, and what lies between two chips once", function()
    local stats, args = run "pipeline"
    local between = args.x.nbytes * 2 -- goes up once for each chip
    assert.equal(args.weights.nbytes + args.x.nbytes + between, stats.bytes_to_device)
    assert.equal(args.y.nbytes + between, stats.bytes_from_device)
  end)
end)

describe("scenes/moe_dispatch.lua", function()
  it("asks only the experts that a token needs", function()
    local p = { tokens = 1, size = 8, experts = 5 }
    local _, _, runs = run("moe_dispatch", p)
    assert.equal(2, runs) -- the router's and one expert's
  end)
end)

describe("scenes/data_parallel_rounds.lua", function()
  it("as a script trains for a hundred rounds", function()
    local result = command.run { path "data_parallel_rounds" }
    assert.equal("", result.err)
    assert.equal(0, result.status)
    local losses = {}
    for round, loss in result.out:gmatch "round +(%d+)  loss (%S+)\n" do losses[#losses + 1] = { tonumber(round), tonumber(loss) } end
    assert.equal(5, #losses)
    for i, entry in ipairs(losses) do
      assert.equal(20 * i, entry[1])
      assert.is_true(i == 1 or entry[2] < losses[i - 1][2])
    end
  end)

  it("passes as a hundred rounds of one case", function()
    local result = command.run { "run", path "data_parallel_rounds", "--rounds", "100" }
    assert.equal(0, result.status, result.out .. result.err)
    assert.truthy(result.out:find("default  100 rounds  PASS", 1, true), result.out)
  end)
end)
