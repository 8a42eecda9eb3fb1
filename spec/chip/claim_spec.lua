local baton = require "baton"
local command = require "spec.support.command"
local json = require "baton.json"
local raises = require("baton.busted").raises

-- The owner opens a device, says so with its process number, and closes a worker for each line that it gets.
local owner = [[
local baton = require "baton"
local workers = {}
for i = 1, tonumber(arg[1]) do workers[i] = baton.worker { device = 2 } end
io.stdout:setvbuf "no"
print(io.open("/proc/self/stat"):read("n"))
for _ in io.lines() do
  table.remove(workers):close()
  print "closed"
end
]]

-- Tries to open the device, says how that ended, then waits for it if it is told how long.
local other = [[
local baton = require "baton"
local function try(seconds)
  local ok, result = pcall(baton.worker, { device = 2, wait_device = seconds })
  if not ok then return print(("%s %s; %s"):format(result.code, result.message, result.hint)) end
  result:close()
  print "opened"
end
io.stdout:setvbuf "no"
try()
if arg[1] then try(tonumber(arg[1])) end
]]

describe("A device between processes", function()
  local folder
  setup(function()
    folder = command.folder()
    command.write(folder .. "/owner.lua", owner)
    command.write(folder .. "/other.lua", other)
  end)
  teardown(function() command.remove(folder) end)

  -- Runs shell lines beside a process that has the device with so many workers. $process is its number; `close` lets it
  -- close one and waits until it has; `other` tries to open the device. Returns what they print, OWNER for that number.
  local function beside_owner(workers, lines)
    local result = command.shell(([[
      cd %s && rm -f in out tried && mkfifo in out || exit 9
      other() { exec timeout --foreground -s KILL 120 %s other.lua "$@"; }
      close() { echo >&7 && read -r line <&8 && [ "$line" = closed ]; }
      timeout --foreground -s KILL 120 %s owner.lua %d <in >out & owner=$!
      exec 7>in 8<out
      read -r process <&8
      %s
      exec 7>&-
      wait $owner
      echo "OWNER $process"]]):format(command.quote(folder), command.quote(command.baton),
      command.quote(command.baton), workers, lines))
    local process = result.out:match "OWNER (%d+)\n$"
    assert.truthy(process, result.err)
    return (result.out:gsub("OWNER %d+\n$", ""):gsub("process " .. process .. "%f[%D]", "process OWNER")), result
  end

  it("belongs to one of them, and another one is told which", function()
    assert.equal("device_busy device 2 of a2a3sim is in use by process OWNER; "
      .. "wait some seconds for it with wait_device, or take another device\n", (beside_owner(1, "(other)")))
  end)

  it("is listed with its owner by `baton devices`", function()
    local list = command.quote(command.baton) .. " devices"
    assert.matches("\ndevice 2 of a2a3sim is in use by process OWNER\n$", (beside_owner(1, list)))
    local out, result = beside_owner(1, list .. " --json")
    assert.equal(1, #json.decode((result.out:gsub("OWNER %d+\n$", ""))).owned, out)
    assert.same({}, json.decode(command.run({ "devices", "--json" }).out).owned)
  end)

  it("is free again at once when its owner is killed", function()
    assert.equal("opened\n", (beside_owner(1, "kill -KILL $process; wait $owner; (other)")))
  end)

  it("is shared by the workers of a process, until the last one is closed", function()
    local out = beside_owner(2, "close; (other); close; (other)")
    assert.matches("^device_busy [^\n]*\nopened\n$", out)
  end)

  it("is waited for as long as the user says", function()
    assert.equal("opened\n", (beside_owner(1, [[
      mkfifo tried; other 600 >tried & exec 9<tried
      read -r first <&9; close; cat <&9]])))
  end)

  it("is refused when the time is up", function()
    local _, last = beside_owner(1, "(other 0.25)"):match "^([^\n]*)\n([^\n]*)\n$"
    assert.equal("device_busy device 2 of a2a3sim is in use by process OWNER, also after 0.25 s; "
      .. "wait longer for it with wait_device, or take another device", last)
  end)

  it("is not waited for after Ctrl-C", function()
    local out = beside_owner(1, ([[
      mkfifo tried; %s %s other.lua 600 >tried & guard=$!
      exec 9<tried; read -r waiting <&9; read -r first <&9
      kill -INT $waiting; wait $guard; echo "status $?"]]):format(command.guard(120), command.quote(command.baton)))
    assert.equal("status 130\n", out)
  end)

  it("has a place for its claim without HOME and without a runtime directory, closed to others", function()
    local result = command.shell(([[
      cd %s && mkdir temporary && chmod 755 temporary
      env -u HOME -u XDG_RUNTIME_DIR TMPDIR=$PWD/temporary %s other.lua
      XDG_RUNTIME_DIR=$PWD/missing TMPDIR=$PWD/temporary %s other.lua
      stat -c %%a temporary/baton-$(id -u)]]):format(command.quote(folder), command.quote(command.baton),
      command.quote(command.baton)))
    assert.equal("opened\nopened\n700\n", result.out)
  end)

  it("is not claimed in a folder that others could change", function()
    local result = command.shell(([[
      cd %s && mkdir runtime && chmod 755 runtime && mkdir elsewhere && chmod 700 elsewhere
      export XDG_RUNTIME_DIR=$PWD/runtime
      mkdir runtime/baton && chmod 777 runtime/baton && %s other.lua
      rmdir runtime/baton && ln -s ../elsewhere runtime/baton && %s other.lua]]):format(command.quote(folder),
      command.quote(command.baton), command.quote(command.baton)))
    local message = ("io_error device 2 of a2a3sim cannot be claimed in %s/runtime/baton: it is no private directory of this "
      .. "user; set XDG_RUNTIME_DIR to a directory of yours that can be written\n"):format(folder)
    assert.equal(message .. message, result.out)
  end)

  it("is not claimed without a file descriptor", function()
    local path = command.write(folder .. "/few.lua", [[
      local baton = require "baton"
      local files = {}
      for i = 1, 64 do files[i] = io.open "/dev/null" end
      local ok, err = pcall(baton.worker)
      print(ok, err.code, err.message, err.hint)
      files[1]:close()
      files[2]:close()]])
    local result = command.shell(("ulimit -n 40; %s %s"):format(command.quote(command.baton), path))
    assert.equal("false\tresource_limit\tdevice 0 of a2a3sim cannot be claimed: Too many open files\t"
      .. "close files, or raise the limit of the process (ulimit -n)\n", result.out)
  end)

  it("is waited for a number of seconds", function()
    local function open(seconds) return baton.worker { wait_device = seconds } end
    assert.equal("field 'wait_device' must be a number in 0..1000000000, got -1", raises("invalid_argument", open, -1))
    assert.matches("field 'wait_device' must be a number in 0..1000000000, got %-?nan", raises("invalid_argument", open, 0 / 0))
    assert.equal("field 'wait_device' must be a number in 0..1000000000, got soon", raises("invalid_argument", open, "soon"))
    open(0):close()
  end)
end)
