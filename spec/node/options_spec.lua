local baton = require "baton"
local command = require "spec.support.command"
local glue = require "baton.busted"
local host = require "baton.host"
local raises = glue.raises

-- Opens a node with these options; the level and the isolation need not be said.
local function open(options)
  options.level = 3
  options.isolation = options.isolation or "thread"
  return baton.worker(options)
end

-- "a2a3sim:0 a5sim:1": what the options make.
local function devices(options)
  local node <close> = open(options)
  local list = {}
  for worker = 0, node.workers - 1 do
    local device, platform = node:device(worker)
    list[#list + 1] = ("%s:%d"):format(platform, device)
  end
  return table.concat(list, " ")
end

describe("the options of a node", function()
  it("name its devices in many ways, in the order of the workers", function()
    assert.equal("a2a3sim:0", devices {})
    assert.equal("a2a3sim:0 a2a3sim:1 a2a3sim:2", devices { devices = "0-2" })
    assert.equal("a5sim:3 a5sim:1", devices { devices = "3,1", platform = "a5sim" })
    assert.equal("a2a3sim:2 a2a3sim:0", devices { devices = { 2, 0 } })
    assert.equal("a5sim:1 a2a3sim:1 a2a3sim:2", devices { devices = "a5sim:1,a2a3sim:1-2" })
    assert.equal("a2a3sim:5 a5sim:0 a5sim:2",
      devices { devices = { 5, "a5sim:0", { platform = "a5sim", device = 2 } } })
    assert.equal("", devices { devices = 0, subs = 1 })
    assert.equal("", devices { devices = {}, subs = 1 })
  end)

  it("take as many free devices as asked for", function()
    local list = devices { devices = 3, platform = "a5sim" }
    local seen = {}
    for platform, device in list:gmatch "(%S+):(%d+)" do
      assert.equal("a5sim", platform)
      assert.is_nil(seen[device], list)
      seen[device] = true
    end
    assert.is_true(next(seen) ~= nil)
  end)

  it("leave out devices that another process has", function()
    local _ <close> = baton.worker { platform = "a5sim", device = 0 }
    local child = assert(io.popen(command.quote(command.baton) .. [[ -e '
      local node = require("baton").worker { level = 3, platform = "a5sim", devices = 1 } print(node:device(0))']]))
    local device = tonumber(child:read "n")
    child:close()
    assert.is_true(device ~= nil and device > 0)
  end)

  it("say how a list of devices is written", function()
    local function message(list) return raises("invalid_argument", open, { devices = list }) end
    for _, text in ipairs { "", "x", "0-", "2-1", "0,,1", "0 1", "1024", "a5sim:", "99999999999999999999" } do
      assert.equal("devices: numbers in 0..1023 expected, such as \"0-3\", \"0,2\" or \"a5sim:1\", got '" .. text .. "'",
        message(text))
    end
    assert.equal("devices: a number of devices in 0..64 expected, got 65", message(65))
    assert.equal("devices: a number of devices in 0..64 expected, got 1.5", message(1.5))
    assert.equal("devices: a text such as \"0-3\", a list or a number of devices expected, got true", message(true))
    assert.equal("devices: a list expected, got a table with other keys", message { device = 1 })
    assert.equal("devices: entry 2 must be a device in 0..1023, a text such as \"a5sim:1\" or {platform=, device=}, got -1",
      message { 0, -1 })
    assert.equal("field 'device' must be an integer in 0..1023, got x", message { { device = "x" } })
    assert.equal("devices: unknown option 'devise', did you mean 'device'?",
      raises("unknown_option", open, { devices = { { devise = 1 } } }))
    assert.equal("devices: a node has at most 64 of them", raises("out_of_range", open, { devices = "0-64" }))
    assert.equal("worker 1: platform 'b7sim' is not supported, only: a2a3sim, a5sim",
      raises("unsupported", open, { devices = "0,b7sim:0" }))
  end)

  it("tell a text from the number or the word that it looks like", function()
    local function message(subs) return raises("invalid_argument", open, { subs = subs }) end
    assert.equal("field 'subs' must be an integer in 0..64, got '1'", message "1")
    assert.equal("field 'subs' must be an integer in 0..64, got 'nil'", message "nil")
    assert.equal("field 'subs' must be an integer in 0..64, got ''", message "")
    assert.equal("field 'subs' must be an integer in 0..64, got many", message "many")
    assert.equal("field 'subs' must be an integer in 0..64, got " .. ("é"):rep(40) .. "…", message(("é"):rep(1000)))
  end)

  it("refuse what belongs to a chip, and say what a node has", function()
    local ok, err = pcall(open, { device = 0 })
    assert.is_false(ok)
    assert.same({ "invalid_argument", "worker: option 'device' is for one chip (level 2)",
      "a node has devices: \"0-3\", {0, 2}, or how many" }, { err.code, err.message, err.hint })
    assert.equal("worker: option 'fault' is for one chip (level 2)",
      raises("invalid_argument", open, { fault = { call = "alloc" } }))
  end)

  it("refuse unknown ones, wrong types and ranges", function()
    assert.equal("worker: unknown option 'sub', did you mean 'subs'?", raises("unknown_option", open, { sub = 1 }))
    assert.equal("field 'subs' must be an integer in 0..64, got 65", raises("invalid_argument", open, { subs = 65 }))
    assert.equal("field 'subs' must be an integer in 0..64, got -1", raises("invalid_argument", open, { subs = -1 }))
    assert.equal("field 'heap' must be a size in bytes such as 65536 or \"64KiB\", got 3QB",
      raises("invalid_argument", open, { heap = "3QB" }))
    assert.equal("worker: isolation 'thread' or 'process' expected, got 'fork'",
      raises("invalid_argument", open, { isolation = "fork" }))
    assert.equal("prewarm: entry 1 must be a program, got 7", raises("invalid_argument", open, { prewarm = { 7 } }))
    assert.equal("config: unknown option 'deadlines', did you mean 'deadline'?",
      raises("unknown_option", open, { config = { deadlines = 1 } }))
  end)

  it("have defaults in the environment", function()
    local before = os.getenv "BATON_DEVICE"
    host.setenv("BATON_DEVICE", "1-2")
    local list = devices {}
    local own = devices { devices = "0" }
    host.setenv("BATON_DEVICE", before)
    assert.same({ "a2a3sim:1 a2a3sim:2", "a2a3sim:0" }, { list, own })
  end)

  it("add devices later", function()
    local node <close> = open { devices = "0" }
    assert.equal(1, node:add { platform = "a5sim", device = 7 })
    assert.equal(2, node.workers)
    assert.same({ 7, "a5sim" }, { node:device(1) })
    assert.equal(2, node:add())
    assert.equal("a2a3sim", select(2, node:device(2)))
    assert.equal("add: unknown option 'devices', did you mean 'device'?",
      raises("unknown_option", node.add, node, { devices = 1 }))
    assert.equal(3, node.workers)
  end)
end)
