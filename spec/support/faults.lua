-- The faults of nodes, each a function of an isolation and a number that makes one happen and checks what must hold afterwards:
-- the error says what it was, the node and this process are usable, host tensors and buffers are what they were, nothing is
-- left behind. The specs call each some times, tools/soak.sh very often.
local baton = require "baton"
local check = require "spec.support.check"
local command = require "spec.support.command"
local gate = require "spec.support.gate"
local host = require "baton.host"
local nodes = require "spec.support.node_programs"
local of_processes = require "spec.support.process_faults"
local sanitizer = require "spec.support.sanitizer"
local tensor = require "baton.tensor"
local await, expect, process_lives, raised = check.await, check.expect, check.process_lives, check.raised

local faults = of_processes.faults
local of_children = of_processes.of_children -- those that only children can have

local SHORT = 0.1 -- seconds without progress after which a kernel hangs

local function cells(value, count) return tensor.full("i64", { count or 1 }, value) end

-- How many descriptors this process has: those of memory, and the others. Nothing may open or close one while they are listed,
-- so they come through no pipe.
local function descriptors()
  local stat <close> = assert(io.open "/proc/self/stat")
  local memory, others = 0, 0
  for line in command.shell(("ls -l /proc/%d/fd"):format(stat:read "n")).out:gmatch "[^\n]+" do
    if line:find("memfd:", 1, true) then memory = memory + 1 elseif line:find("->", 1, true) then others = others + 1 end
  end
  return memory, others
end

--- Both chips and a sub worker work, and what a buffer held is there.
local function check_usable(node, buffer)
  local x, tickets, kept = cells(0), tensor.zeros("i32", { 2 }), cells(0, 8)
  node:run(function(orch)
    for digit = 1, 4 do orch.submit_next_level(nodes.append, { x, digit }, { worker = digit % 2 }) end
    orch.submit_sub(nodes.tick, { tickets:slice(1, 1, 1), tickets:slice(1, 2, 1) })
  end)
  expect(x:get(1) == 1234 and tickets:get(2) == 1, "a run afterwards gives " .. x:get(1))
  node:copy_from(kept, buffer)
  expect(kept:get(1) == 77 and kept:get(8) == 77, "a buffer has changed")
end

-- Calls f(node, buffer, x) with a node of two chips; x must stay as it is.
local function with_node(isolation, f, options)
  local node <close> = nodes.open(isolation, options or { subs = 1 })
  local buffer, x = node:malloc(0, 64), cells(5)
  node:copy_to(buffer, cells(77, 8))
  f(node, buffer, x)
  for id = 0, 1 do
    if node:describe(id).state == "lost" then node:restart(id) end
  end
  expect(x:get(1) == 5, "a host tensor has changed")
  check_usable(node, buffer)
end

-- Device programs that end their worker, and what the error says of each. `how` is in the code.
local ends = {
  invalid = { "*(volatile int *)8 = 1;", "kernel_crash", 11 }, division = { "volatile int z = 0; z = 7 / z;", "kernel_crash", 8 },
  bus_error = { "raise(SIGBUS);", "kernel_crash", 7 }, aborted = { "abort();", "kernel_crash worker_lost", 6 },
  exit_0 = { "_exit(0);", "worker_lost" }, exit_1 = { "_exit(1);", "worker_lost" }, hang = { "for (;;);", "no_progress op_timeout" },
}
for name, way in pairs(ends) do
  way.program = baton.program {
    name = name, signature = { { "x", "inout", "i64" } },
    kernels = { [name] = { core = "aiv", signature = { { "x", "inout" } }, code = ([[
      #include <baton/kernel.h>
      #include <signal.h>
      #include <stdlib.h>
      #include <unistd.h>
      BATON_KERNEL(%s) { baton_io(args, 0, int64_t)[0] = 9; %s }]]):format(name, way[1]) } },
    orchestration = { entry = name, code = ([[
      #include <baton/orchestration.h>
      BATON_ORCHESTRATION(%s) {
        baton_aiv(o, baton_kernel(o, "%s"), BATON_ARGS(baton_inout(baton_param(o, args, 0))), NULL);
      }]]):format(name, name) },
  }
end

local function end_worker(isolation, name)
  local way = ends[name]
  with_node(isolation, function(node, _, x)
    local other = cells(1)
    local err = raised(way[2], node.run, node, function(orch)
      orch.submit_next_level(way.program, { x }, { worker = 0, config = { timeout = SHORT } })
      orch.submit_next_level(nodes.append, { x, 2 }, { worker = 1 }) -- depends on it
      orch.submit_next_level(nodes.append, { other, 2 }, { worker = 1 })
    end)
    expect(err.worker == 0, "the error names worker " .. tostring(err.worker))
    expect(not way[3] or err.signal == way[3], "the error names signal " .. tostring(err.signal))
    expect(name ~= "hang" or err.kernel == name and err.core and err.after_ms >= SHORT * 1000, "the error says " .. tostring(err))
  end)
end

--- A kernel crashes or hangs.
for _, name in ipairs { "invalid", "division", "bus_error", "hang" } do
  faults["kernel_" .. name] = function(isolation) end_worker(isolation, name) end
end

--- The child aborts or exits in the middle of a task.
for _, name in ipairs { "aborted", "exit_0", "exit_1" } do
  of_children["kernel_" .. name] = function(isolation) end_worker(isolation, name) end
end

--- Both chips crash in one run: the first cause is told.
function faults.two_at_once(isolation)
  with_node(isolation, function(node, _, x)
    local y = cells(6)
    raised("kernel_crash no_progress op_timeout", node.run, node, function(orch)
      orch.submit_next_level(ends.invalid.program, { x }, { worker = 0 })
      orch.submit_next_level(ends.hang.program, { y }, { worker = 1, config = { timeout = SHORT } })
    end)
    pcall(x.get, x, 1)
    pcall(y.get, y, 1)
    expect(y:get(1) == 6, "a host tensor has changed")
  end)
end

--- The child is killed while it is idle, and while it runs a task.
function of_children.child_killed(isolation)
  gate.close()
  with_node(isolation, function(node, _, x)
    local pid = node:describe(0).pid
    os.execute("kill -KILL " .. pid)
    await("the death of a child", function() return not process_lives(pid) end)
    await("its replacement", function()
      return pcall(node.run, node, function(orch) orch.submit_next_level(nodes.append, { cells(1), 1 }, { worker = 0 }) end)
    end)
    pid = node:describe(0).pid
    local run = node:submit(function(orch)
      orch.submit_next_level(nodes.hold, { x }, { worker = 0 })
      orch.submit_next_level(nodes.append, { x, 2 }, { worker = 1 })
    end)
    gate.await "began"
    os.execute("kill -KILL " .. pid)
    local err = raised("worker_lost", run.wait, run)
    expect(err.worker == 0 and err.signal == 9, "the error says " .. tostring(err))
    pcall(x.get, x, 1)
  end)
  gate.gone()
end

-- A run of all workers, one after the other.
local function use_all_workers(node)
  local x = cells(0)
  node:run(function(orch)
    for digit = 1, 4 do orch.submit_next_level(nodes.append, { x, digit }, { worker = digit % 2 }) end
    orch.submit_sub(function() end, { x })
  end)
  expect(x:get(1) == 1234, "a run gives " .. x:get(1))
end

-- Uses all workers until that goes well; before it does, a worker may be lost.
local function await_usable(node)
  await("a usable node", function()
    local ok, err = pcall(use_all_workers, node)
    expect(ok or err.code == "worker_lost", tostring(err))
    return ok
  end)
end

--- The child is killed at any time, in the middle of runs that follow each other.
function of_children.child_killed_at_any_time(isolation, number)
  with_node(isolation, function(node)
    local pid = node:describe(number % 2).pid
    os.execute(("(sleep 0.0%02d; kill -KILL %d) &"):format(number % 50, pid))
    await("the death of a child", function()
      local ok, err = pcall(use_all_workers, node)
      expect(ok or err.code == "worker_lost" and err.worker == number % 2 and err.signal == 9, tostring(err))
      return not process_lives(pid)
    end)
    await_usable(node)
    expect(node:describe(number % 2).started == 2, "children were started " .. node:describe(number % 2).started .. " times")
  end)
end

--- All children are killed at once, one in the middle of a task.
function of_children.all_children_killed(isolation)
  gate.close()
  with_node(isolation, function(node, _, x)
    local run = node:submit(function(orch)
      orch.submit_next_level(nodes.hold, { x }, { worker = 0 })
      orch.submit_next_level(nodes.append, { x, 2 }, { worker = 1 })
      orch.submit_sub(function() end, { x })
    end)
    gate.await "began"
    local pids = {}
    for pid in node:dump():gmatch "pid (%d+)" do pids[#pids + 1] = pid end
    expect(#pids == 3, node:dump())
    os.execute("kill -KILL " .. table.concat(pids, " "))
    raised("worker_lost", run.wait, run)
    pcall(x.get, x, 1)
    await_usable(node)
  end)
  gate.gone()
end

--- The child that takes the place of a dead one dies, too: the worker is lost until its restart.
for _, point in ipairs { "open", "ready" } do
  of_children["replacement_dies_at_" .. point] = function(isolation)
    host.setenv("BATON_WORKER_DIE_AT", point .. ":1:2:0")
    local ok, err = pcall(with_node, isolation, function(node)
      os.execute("kill -KILL " .. node:describe(0).pid)
      await("the loss of a worker", function()
        local ok, err = pcall(node.run, node, function(orch)
          orch.submit_next_level(nodes.append, { cells(1), 1 }, { worker = 0 })
        end)
        expect(ok or err.code == "worker_lost", tostring(err))
        return node:describe(0).state == "lost"
      end)
      local x = cells(1)
      node:run(function(orch) orch.submit_next_level(nodes.append, { x, 2 }, { worker = 1 }) end)
      expect(x:get(1) == 12, "another worker gives " .. x:get(1))
      node:restart(0)
      expect(node:describe(0).started == 3, "children were started " .. node:describe(0).started .. " times")
    end)
    host.setenv "BATON_WORKER_DIE_AT"
    expect(ok, tostring(err))
  end
end

--- The child ends when it is asked to end, before it has answered: close says so, and leaves nothing.
function of_children.child_dies_at_end(isolation)
  host.setenv("BATON_WORKER_DIE_AT", "end:1:1:0")
  local node = nodes.open(isolation, { subs = 1 })
  host.setenv "BATON_WORKER_DIE_AT"
  local pids = { node:describe(0).pid, node:describe(1).pid }
  raised("worker_lost", node.close, node)
  expect(node.state == "closed", "the node is " .. node.state)
  check.await_ends(pids)
  with_node(isolation, function() end)
end

-- A function of the host that writes over the rings of the mailbox, which lie behind its head.
local scribble = baton.program {
  name = "scribble", signature = { { "x", "inout", "i64" }, { "seed", "i64" } }, host = { entry = "scribble", code = [[
    #include <baton/kernel.h>
    #include <stdio.h>
    #include <string.h>
    BATON_KERNEL(scribble) {
      enum { HEAD = 1 << 17, END = 1400000 };
      uint64_t seed = (uint64_t)baton_scalar_i64(args, 1), state = seed * 0x9E3779B97F4A7C15u + 1;
      unsigned long begin, end;
      char line[512];
      FILE *maps = fopen("/proc/self/maps", "r");
      while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "/memfd:baton-node") && sscanf(line, "%lx-%lx", &begin, &end) == 2 && begin + END <= end)
          for (unsigned long at = begin + HEAD; at < begin + END; at += 8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *(volatile uint64_t *)at = seed % 2 ? state : ~(uint64_t)0;
          }
      if (maps) fclose(maps);
    }]] } }

--- The child writes what makes no sense into the memory that it shares with the parent: that costs its worker.
function of_children.malformed_frames(isolation, number)
  with_node(isolation, function(node, buffer, x)
    local y, back = cells(1), cells(0, 8)
    local function make_sense(ok, err)
      expect(ok or err.code == "protocol_error" or err.code == "worker_lost", tostring(err))
      return ok
    end
    make_sense(pcall(node.run, node, function(orch)
      orch.submit_next_level(nodes.append, { y, 2 }, { worker = 1 })
      orch.submit_next_level(scribble, { x, number }, { worker = 0 })
    end))
    pcall(x.get, x, 1)
    pcall(y.get, y, 1)
    -- what has come until then was in order, so each lane may say it later
    await("a usable worker", function()
      return make_sense(pcall(node.run, node, function(orch)
        orch.submit_next_level(nodes.append, { cells(1), 1 }, { worker = 0 })
      end)) and make_sense(pcall(node.copy_from, node, back, buffer))
    end)
    expect(node:describe(0).started == 2, "children were started " .. node:describe(0).started .. " times")
    expect(node:describe(1).started == 1, "another worker was started again")
  end)
end

-- The points of the protocol that a child passes again and again. At `open` and `ready` it has not been a worker yet.
local points = { "take", "begin", "reply", "replied", "segment" }

-- Opens a node whose first child for worker 0 ends at a point, when it comes there for the `nth` time.
local function open_dying(isolation, point, nth)
  host.setenv("BATON_WORKER_DIE_AT", ("%s:%d:1:0"):format(point, nth))
  local opened = table.pack(pcall(nodes.open, isolation, { subs = 1 }))
  host.setenv "BATON_WORKER_DIE_AT"
  return table.unpack(opened)
end

--- The child ends at each point, in the middle of tasks, transfers and control commands.
for _, point in ipairs(points) do
  of_children["child_dies_at_" .. point] = function(isolation, nth)
    local opened, result = open_dying(isolation, point, nth)
    if not opened then -- in the middle of what opening asks of it
      expect(result.code == "worker_lost", tostring(result))
      return
    end
    local node <close> = result
    local x, buffer = cells(0), nil
    local function use_all()
      buffer = buffer or node:malloc(0, 64)
      node:copy_to(buffer, cells(77, 8))
      node:run(function(orch) orch.submit_next_level(nodes.append, { x, 1 }, { worker = 0 }) end)
    end
    for _ = 1, 4 do -- somewhere in here the child dies, and what it was doing fails
      local ok, err = pcall(use_all)
      expect(ok or err.code == "worker_lost", tostring(err))
      pcall(x.get, x, 1)
    end
    await("a usable node", function() return pcall(use_all) and pcall(check_usable, node, buffer) end)
  end
end

--- The child ends before it is ready: the node does not open, and the next one does.
for _, point in ipairs { "open", "ready" } do
  of_children["child_dies_at_" .. point] = function(isolation)
    local opened, err = open_dying(isolation, point, 1)
    expect(not opened and err.code == "worker_lost" and err.worker == 0, tostring(err))
    with_node(isolation, function() end)
  end
end

--- A function that raises in the middle of submitting.
function faults.raises_while_submitting(isolation)
  with_node(isolation, function(node)
    local y, thrown = cells(1), {}
    local ok, err = pcall(node.run, node, function(orch)
      for digit = 1, 20 do
        orch.submit_next_level(nodes.append, { y, digit % 10 }, { worker = digit % 2 })
        if digit == 10 then error(thrown) end
      end
    end)
    expect(not ok and err == thrown, "another error: " .. tostring(err))
    pcall(y.get, y, 1)
  end)
end

--- A function raises while a child dies, and while a variable that it leaves raises in turn: what it raised is what counts.
function of_children.raises_while_a_child_dies(isolation)
  with_node(isolation, function(node)
    local y, thrown = cells(1), {}
    local ok, err = pcall(node.run, node, function(orch)
      local _ <close> = setmetatable({}, { __close = function(_, err) error(err) end })
      orch.submit_next_level(nodes.append, { y, 2 }, { worker = 0 })
      os.execute("kill -KILL " .. node:describe(0).pid)
      orch.submit_next_level(nodes.append, { y, 3 }, { worker = 0 })
      error(thrown)
    end)
    expect(not ok and (err == thrown or err.code == "worker_lost"), "another error: " .. tostring(err))
    pcall(y.get, y, 1)
    await_usable(node)
  end)
end

--- A run is cancelled while one of its tasks runs.
function faults.cancelled(isolation)
  gate.close()
  with_node(isolation, function(node, _, x)
    local run = node:submit(function(orch)
      local held = orch.submit_next_level(nodes.hold, { cells(0) }, { worker = 0 })
      orch.submit_next_level(nodes.append, { x, 2 }, { deps = { held } })
    end)
    gate.await "began"
    expect(run:cancel(), "nothing to cancel")
    gate.open()
    raised("cancelled", run.wait, run)
    pcall(x.get, x, 1)
  end)
  gate.gone()
end

--- A node is closed while a task runs.
function faults.closed(isolation)
  gate.close()
  local x = cells(0)
  local node = nodes.open(isolation)
  local run = node:submit(function(orch) orch.submit_next_level(nodes.hold, { x }, { worker = 0 }) end)
  gate.await "began"
  local pids = { node:describe(0).pid, node:describe(1).pid }
  gate.open()
  node:close()
  pcall(run.wait, run)
  check.await_ends(pids)
  gate.gone()
end

--- A node is closed while a function runs that never ends: its child is killed.
function of_children.closed_while_a_task_hangs(isolation)
  gate.close()
  local x = cells(0)
  local node = nodes.open(isolation)
  local run = node:submit(function(orch) orch.submit_next_level(nodes.hold, { x }, { worker = 0 }) end, nil, { timeout = SHORT })
  await("its beginning", function() return gate.marked "began" or run:done() end) -- on a busy machine its time is over before
  local pids = { node:describe(0).pid, node:describe(1).pid }
  pcall(node.close, node)
  expect(node.state == "closed", "the node is " .. node.state)
  raised("cancelled op_timeout closed worker_lost", run.wait, run)
  check.await_ends(pids)
  pcall(x.get, x, 1)
  expect(x:get(1) == 0, "a host tensor has changed")
  gate.gone()
end

--- A dump to a full disk, while a task runs.
function faults.dump_to_a_full_disk(isolation)
  gate.close()
  with_node(isolation, function(node)
    local run = node:submit(function(orch) orch.submit_next_level(nodes.hold, { cells(0) }, { worker = 0 }) end)
    gate.await "began"
    raised("io_error", node.dump, node, "/dev/full")
    gate.open()
    run:wait()
  end)
  gate.gone()
end

--- Control commands and transfers are answered while a task runs.
function faults.control_during_a_task(isolation)
  gate.close()
  with_node(isolation, function(node)
    local run = node:submit(function(orch) orch.submit_next_level(nodes.hold, { cells(0) }, { worker = 0 }) end)
    gate.await "began"
    node:unregister(node:register(nodes.mix))
    expect(node:stats(0).runs ~= nil and #node:dump() > 0, "no answer")
    expect(not run:done(), "the task is over")
    gate.open()
    run:wait()
  end)
  gate.gone()
end

--- A worker program that is missing or no worker at all: the error names it, nothing is left.
function of_children.spawn_fails(isolation)
  local memory, others = descriptors()
  for _, program in ipairs { "/nowhere/baton-worker", "/bin/true", "/bin/false" } do
    local ok, err = pcall(nodes.open, isolation, { worker_program = program, startup_timeout = 20 })
    expect(not ok and tostring(err):find(program, 1, true), "the error is " .. tostring(err))
  end
  collectgarbage()
  local memory_now, others_now = descriptors()
  expect(others_now <= others, ("%d descriptors are left"):format(others_now - others))
  -- segments of tensors are kept for others; each of the six workers had a mailbox of its own
  expect(memory_now < memory + 4, ("%d descriptors of memory are left"):format(memory_now - memory))
end

local list = {}

--- The names of the faults that workers with this isolation can have, sorted.
function list.names(isolation)
  local names = {}
  for name in pairs(faults) do names[#names + 1] = name end
  if isolation == "process" then
    for name in pairs(of_children) do names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- The thread sanitizer hands a signal to a thread only when that calls into it.
local hangs = { kernel_hang = true, two_at_once = true }

--- Why a fault cannot be made here; nil if it can.
function list.obstacle(name)
  if sanitizer.name == "tsan" and hangs[name] then return "the thread sanitizer delivers no signal into a tight loop" end
  if sanitizer.name and name == "little_memory" then return "sanitizers need terabytes of addresses" end
  return of_processes.obstacle(name)
end

--- Makes a fault happen; `number` says at which of its places, from 1.
function list.make(name, isolation, number) (faults[name] or of_children[name])(isolation, number) end

return list
