local baton = require "baton"
local hostile = require "spec.support.hostile"
local nodes = require "spec.support.node_programs"
local sanitizer = require "spec.support.sanitizer"
local tensor = baton.tensor

-- Of all that is made here the thread sanitizer keeps shadow memory, 24 GiB in the end.
local function it_holds(name, f)
  if sanitizer.name == "tsan" then
    pending(name .. ": the thread sanitizer gives no memory back")
  else
    it(name, f)
  end
end

local function cells(count) return tensor.zeros("i64", { count }) end

describe("Hostile arguments", function()
  local node, values, complaints, calls

  -- What belongs to another node, which is closed.
  local function strangers()
    local other <close> = baton.worker { level = 3, devices = 1, subs = 1, isolation = "thread" }
    local buffer = other:malloc(0, 16)
    local found = { ["a closed node"] = other, ["a run"] = other:submit(function() end), ["a buffer"] = buffer,
      ["a child tensor"] = buffer:tensor("i64", { 1 }), ["a handle"] = other:register(nodes.append),
      ["rounds"] = other:rounds(function() end) }
    other:run(function(orch)
      found["a dead orch"], found["an intermediate"], found["a scope"] = orch, orch.alloc("i64", { 1 }), orch.scope()
      found["a task"] = orch.submit_next_level(nodes.append, { cells(1), 1 })
      found["a sub task"] = orch.submit_sub(function() end)
    end)
    return found
  end

  setup(function()
    node = baton.worker { level = 3, devices = 2, subs = 1, isolation = "thread" }
    values = hostile.values(strangers())
  end)
  teardown(function() node:close() end)
  before_each(function() complaints, calls = {}, 0 end)

  local function try(name, f, ...) calls = calls + hostile.try(name, f, { ... }, select("#", ...), values, complaints) end
  local function try_entries(...)
    local name, call, entries = ...
    calls = calls + hostile.try_entries(name, call, entries, values, complaints)
  end
  -- Nothing was said badly, and the node is as good as before.
  local function check(least)
    assert.same({}, complaints)
    assert.is_true(calls >= least, calls)
    local x = cells(1)
    node:run(function(orch) orch.submit_next_level(nodes.append, { x, 7 }) end)
    assert.equal(7, x:get(1))
  end

  it_holds("are refused by the methods of nodes, buffers, runs and rounds", function()
    local host, buffer = cells(4), node:malloc(0, 32)
    local child, run, rounds = buffer:tensor("i64", { 4 }), node:submit(function() end), node:rounds(function() end, {})
    run:wait()
    try("run", node.run, node, function() end, {}, {})
    try("submit", node.submit, node, function() end, {}, {})
    try("rounds", node.rounds, node, function() end, {}, {})
    try("malloc", node.malloc, node, 0, 16)
    try("copy_to", node.copy_to, node, buffer, host, {})
    try("copy_from", node.copy_from, node, host, buffer, {})
    try("register", node.register, node, nodes.append)
    try("setup_arena", node.setup_arena, node, 0, { heap = 4096 })
    try("tensor", buffer.tensor, buffer, "i64", { 4 }, 0)
    try("slice", child.slice, child, 1, 1, 2)
    try("view", child.view, child, 1, 2)
    try("reshape", child.reshape, child, { 2, 2 })
    try("wait", run.wait, run, 1)
    try("init_round", rounds.init_round, rounds)
    try("finalize_round", rounds.finalize_round, rounds, 1)
    for _, name in ipairs { "free", "unregister", "device", "describe", "stats", "restart" } do try(name, node[name], node) end
    for _, name in ipairs { "remove", "dump", "add", "close" } do try(name, node[name]) end
    for _, object in ipairs { buffer, child, run, rounds } do
      for _, name in ipairs { "close", "size", "select", "transpose", "done", "cancel", "timing", "launch", "each", "finalize" } do
        local found, method = pcall(function() return object[name] end)
        if found and type(method) == "function" then try(name, method) end
      end
    end
    check(4000)
  end)

  it_holds("are refused by the functions of orch", function()
    pcall(node.run, node, function(orch) -- what is taken, such as memory of 4 GiB, may fail the run
      local x, y, host, buffer, task = cells(1), cells(1), cells(4), orch.malloc(0, 32), orch.submit_sub(function() end)
      try("submit_next_level", orch.submit_next_level, nodes.append, { x, 1 }, {})
      try("submit_next_level_group", orch.submit_next_level_group, nodes.append, { { x, 1 }, { y, 1 } }, {})
      try("submit_sub", orch.submit_sub, function() end, { x }, {})
      try("submit_sub_group", orch.submit_sub_group, function() end, { { x } }, {})
      try("malloc", orch.malloc, 0, 16)
      try("copy_to", orch.copy_to, buffer, host, {})
      try("copy_from", orch.copy_from, host, buffer, {})
      try("free", orch.free)
      try("alloc", orch.alloc, "f32", { 1 })
      try("wait", orch.wait)
      try("fail", function(message) if type(message) ~= "string" then orch.fail(message) end end)
      try("result", task.result, task, 1)
      try("close of a scope", orch.scope().close)
      try("scope", orch.scope)
    end)
    check(1700)
  end)

  it_holds("are refused as entries of lists and options of submits", function()
    pcall(node.run, node, function(orch)
      local x = cells(1)
      local function next_level(list) return orch.submit_next_level(nodes.append, list) end
      try_entries("append", next_level, { x, 1 })
      try_entries("append by name", next_level, { x = x, digit = 1 })
      try_entries("prepared", function(list) return next_level(baton.args(list)) end, { x, 1 })
      try_entries("tagged", function(list) return next_level { baton.inout(list[1]), baton.scalar("i64", list[2]) } end, { x, 1 })
      try_entries("options", function(options) return orch.submit_next_level(nodes.append, { x, 1 }, options) end,
        { worker = 0, config = {}, deps = {}, name = "t", priority = 1 })
      try_entries("deps", function(deps) return orch.submit_next_level(nodes.append, { x, 1 }, { deps = deps }) end,
        { orch.submit_next_level(nodes.append, { x, 1 }) })
      try_entries("group options", function(options)
        return orch.submit_next_level_group(nodes.append, { { x, 1 } }, options)
      end, { workers = { 0 }, config = {}, deps = {}, name = "t", priority = 1 })
      try_entries("places", function(places)
        return orch.submit_next_level_group(nodes.append, { { x, 1 }, { cells(1), 1 } }, { workers = places })
      end, { 0, 1 })
      try_entries("members", function(list) return orch.submit_next_level_group(nodes.append, list) end, { { x, 1 }, { cells(1), 1 } })
      try_entries("sub list", function(list) return orch.submit_sub(function() end, list) end, { x, name = 1, { 1 } })
      try_entries("upvalue", function(list)
        local captured = list[1]
        return orch.submit_sub(function() return captured end)
      end, { 1 })
      try_entries("sub options", function(options) return orch.submit_sub(function() end, {}, options) end,
        { deps = {}, name = "t", priority = 1 })
      try_entries("copy", function(options) return orch.copy_to(orch.malloc(0, 8), x, options) end, { offset = 0, nbytes = 8 })
    end)
    check(1000)
  end)

  it_holds("are refused as options of nodes, runs and rounds", function()
    local function open(options)
      options.level, options.isolation = options.level or 3, options.isolation or "thread"
      if type(options.devices) == "number" and options.devices > 2 then options.devices = nil end
      return baton.worker(options)
    end
    try("worker", baton.worker)
    try_entries("worker", open, { level = 3, platform = "a2a3sim", devices = 0, subs = 1, isolation = "thread", heap = "1MiB",
      arena = {}, prewarm = {}, config = {}, runtime = "host_build_graph", startup_timeout = 60, wait_device = 0,
      worker_program = "none" })
    try_entries("devices", function(devices) return open { devices = devices } end, { 0, "1", { device = 2 } })
    try_entries("add", function(chip) return open({ devices = 0, subs = 1 }):add(chip) end, { platform = "a2a3sim", device = 5 })
    try_entries("config", function(config) return node:run(function() end, nil, config) end,
      { ring_task_window = 100, ring_dep_pool = 100, ring_heap = 4096, deadline = 60, timeout = 60, runtime = "host_build_graph",
        resident = {} })
    local x = cells(1)
    try_entries("resident", function(names) return node:rounds(function() end, { x = x }, { resident = names }) end, { "x" })
    try_entries("rebind", function(others)
      local rounds <close> = node:rounds(function() end, { x = x, n = 1 }, { resident = { "x" } })
      rounds:init_round(others)
    end, { x = x, n = 2 })
    check(1000)
  end)
end)
