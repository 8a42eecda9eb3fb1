-- The faults of a whole process that has a node: signals, output that nobody reads, limits. Each is a function of an isolation and
-- a number; the process is a `baton` of its own, and what must hold is checked when it has ended: its status, no child of it
-- lives, its devices are free, no file is left.
local check = require "spec.support.check"
local command = require "spec.support.command"
local gate = require "spec.support.gate"
local expect = check.expect

local faults = {}
local of_children = {} -- those that only children can have

local ORPHAN = 20 -- seconds; a child leaves within two when its parent is gone

-- Begins a script: a node of two chips and a sub worker; tells its children.
local opening = [[
  local gate = require "spec.support.gate"
  local nodes = require "spec.support.node_programs"
  local tensor = require "baton.tensor"
  local node <close> = nodes.open("%s", { subs = 1 })
  for pid in node:dump():gmatch "pid (%%d+)" do io.write("pids: ", pid, "\n") end
  io.flush()
]]

-- In a run that waits for the gate.
local waiting = opening .. [[
  node:run(function(orch)
    orch.submit_next_level(nodes.hold, { tensor.zeros("i64", { 1 }) }, { worker = 0 })
    gate.await "began"
    io.write("waits\n")
    io.flush()
  end)]]

-- In `close`, which waits for a run.
local closing = opening .. [[
  run = node:submit(function(orch) orch.submit_next_level(nodes.hold, { tensor.zeros("i64", { 1 }) }, { worker = 0 }) end)
  gate.await "began"
  io.write("waits\n")
  io.flush()
  node:close()
  while true do end]]

-- In the start of children that say nothing.
local starting = [[
  local folder = os.getenv "TMPDIR"
  local program = folder .. "/silent"
  local file <close> = assert(io.open(program, "w"))
  file:write("#!/bin/sh\necho pids: $$ >>", folder, "/../lines\necho waits >>", folder, "/../lines\nexec sleep 1000\n")
  file:close()
  os.execute("chmod +x " .. program)
  require("baton").worker { level = 3, devices = 2, isolation = "%s", worker_program = program, startup_timeout = 1000 }]]

-- The numbers after "pids:" in a text.
local function pids_of(text)
  local list = {}
  for line in text:gmatch "pids:([^\n]*)" do
    for pid in line:gmatch "%d+" do list[#list + 1] = tonumber(pid) end
  end
  return list
end

-- Runs the script, sends it a signal while it waits and perhaps opens the gate then; returns its status and the rest of the
-- result. Its children have ended and its devices are free when this returns; of files there is none but those of `kept`.
local function signal_script(script, isolation, signal, opens, kept)
  gate.close()
  local baton = command.quote(command.baton)
  local result = command.shell(([[
    export TMPDIR="$XDG_RUNTIME_DIR/tmp"; mkdir "$TMPDIR"
    env --default-signal=HUP,TERM %s -e %s >> "$XDG_RUNTIME_DIR/lines" & process=$!
    until grep -q waits "$XDG_RUNTIME_DIR/lines"; do kill -0 $process || break; done
    kill -%s $process; %s
    wait $process; echo status $?; cat "$XDG_RUNTIME_DIR/lines"; ls "$TMPDIR" | sed 's/^/file: /'
    %s -e 'require("baton").worker { level = 3, devices = "0-1", isolation = "thread" }'; echo free $?]]):format(baton,
    command.quote(script:format(isolation)), signal, opens and ": > " .. os.getenv "BATON_TEST_GATE" .. "/open" or "", baton))
  check.await_ends(pids_of(result.out), ORPHAN)
  gate.gone()
  expect(result.out:find "free 0\n", "devices are still taken: " .. result.err)
  expect(result.out:match "file: ([^\n]*)" == kept, "files are left: " .. result.out)
  return tonumber(result.out:match "status (%d+)"), result
end

-- A signal ends the process by its own number, which is added to 128.
local function ends_by(name, number)
  return function(isolation)
    local status, result = signal_script(waiting, isolation, name)
    expect(status == 128 + number, "status " .. status .. ": " .. result.err)
    expect(isolation == "thread" or #pids_of(result.out) == 3, "the script says " .. result.out)
  end
end

--- The process that owns the node is killed.
faults.parent_killed = ends_by("KILL", 9)

--- It is asked to end, and its terminal is gone.
faults.terminated = ends_by("TERM", 15)
faults.hung_up = ends_by("HUP", 1)

-- Ctrl-C ends it with status 130.
local function interrupted(script, isolation, ...)
  local status, result = signal_script(script, isolation, "INT", ...)
  expect(status == 130, "status " .. status .. ": " .. result.err)
end

--- Ctrl-C while a run is waited for, while the node is closed, while its children start.
function faults.interrupted(isolation) interrupted(waiting, isolation, true) end
function faults.interrupted_in_close(isolation) interrupted(closing, isolation, true) end
function of_children.interrupted_at_the_start(isolation) interrupted(starting, isolation, false, "silent") end

-- Functions that print more than a pipe holds.
local printing = [[
  local node <close> = require("baton").worker { level = 3, devices = 1, subs = 1, isolation = "%s" }
  local x = require("baton.tensor").zeros("i64", { 1 })
  for _ = 1, 3 do
    node:run(function(orch)
      orch.submit_sub(function(args)
        for _ = 1, 4000 do print "a line of some forty bytes, more or less" end
        io.flush()
        args[1]:set(args[1]:get(1) + 1, 1)
      end, { x })
    end)
  end
  io.stderr:write(x:get(1), " tasks\n")]]

--- Nobody reads the output any more: functions go on.
function faults.output_closed(isolation)
  local result = command.shell(("{ %s -e %s; echo status $? >&2; } | head -n 1"):format(command.quote(command.baton),
    command.quote(printing:format(isolation))))
  expect(result.err == "3 tasks\nstatus 0\n", "it says " .. result.err)
end

-- Opens a node, uses it, closes it; says how that ended. Of a node that cannot be opened no child may be left.
local limited = [[
  local baton = require "baton"
  local function children()
    local file = io.open "/proc/thread-self/children"
    local text = file and file:read "a" or ""
    if file then file:close() end
    return text
  end
  local ok, result = pcall(baton.worker, { level = 3, devices = 2, subs = 1, isolation = "%s" })
  if ok then
    local used, err = pcall(result.run, result, function(orch) orch.submit_sub(function() return 1 end, {}) end)
    ok, result = pcall(result.close, result)
    if not used then ok, result = false, err end
  end
  print("ended", ok and "well" or type(result) == "table" and result.code or result, "left", children(), ok or tostring(result))]]

-- Runs that with a limit, which may let it work or not; if not, the error has one of the codes.
local function limit(isolation, prefix, codes)
  local result = command.shell(("%s %s -e %s; echo status $?"):format(prefix, command.quote(command.baton),
    command.quote(limited:format(isolation))))
  local code, left = result.out:match "ended\t(%S+)\tleft\t([%d ]*)\t"
  expect(code, "it says " .. result.out .. result.err)
  expect(left == "", "children are left: " .. left)
  expect((" well " .. codes .. " "):find(" " .. code .. " ", 1, true), codes .. " expected: " .. result.out)
  expect(result.out:find "status 0\n", result.out)
  return code
end

--- Too few descriptors for all of it.
function faults.few_descriptors(isolation, number) limit(isolation, ("ulimit -n %d;"):format(9 + number % 20), "resource_limit") end

--- Too little memory: 20 MiB to 20 GiB of addresses.
function faults.little_memory(isolation, number)
  limit(isolation, ("ulimit -v %d;"):format(20000 * 2 ^ (number % 11) // 1), "out_of_memory resource_limit")
end

-- Runs a command as a user who has no other process, if this one may do that.
local alone = "setpriv --reuid=64123 --clear-groups"

--- Too few processes and threads; a worker whose threads cannot start when it has said that it is ready is lost.
function faults.few_processes(isolation, number)
  limit(isolation, ([[own=$XDG_RUNTIME_DIR/own; chmod 711 "$XDG_RUNTIME_DIR"; mkdir -m 777 "$own"
    %s prlimit --nproc=%d env XDG_RUNTIME_DIR= TMPDIR="$own"]]):format(alone, 1 + number % 24), "resource_limit worker_lost")
end

local has_user -- unknown yet

-- Why a fault cannot be made here, nil if it can.
local function obstacle(name)
  if name == "few_processes" then
    if has_user == nil then has_user = command.shell(alone .. " " .. command.quote(command.baton) .. " -v").status == 0 end
    if not has_user then return "only root can run a process as a user of its own" end
  end
end

return { faults = faults, of_children = of_children, obstacle = obstacle }
