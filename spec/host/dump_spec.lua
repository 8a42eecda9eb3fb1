-- SIGUSR1: all open workers and nodes say what they are doing.
local command = require "spec.support.command"
local session = require "spec.support.session"

-- The thread sanitizer hands a signal to a thread only when that calls into it, so a thread that sleeps on a futex gets none.
local maps = assert(io.open "/proc/self/maps")
local tsan = maps:read("a"):find("libtsan", 1, true) ~= nil or os.getenv "BATON_TEST_TSAN" ~= nil
maps:close()

-- A chip whose kernel says "held" and waits for a line of input, while the main thread waits for the run; and a node.
local script = [[
  local baton = require "baton"
  local closed = baton.worker { device = 2 }
  closed:close()
  local node = baton.worker { level = 3, devices = "1", isolation = "thread" }
  local chip = baton.worker { device = 0 }
  local hold = baton.program { name = "hold", signature = { { "x", "inout", "f32", { "n" } } },
    kernels = { hold = { core = "aiv", signature = { { "x", "inout" } }, code = "#include <baton/kernel.h>\n" ..
      "#include <unistd.h>\nBATON_KERNEL(hold) { char c; if (write(1, \"held\\n\", 5) != 5 || read(0, &c, 1) != 1)" ..
      " baton_kernel_fail(args, \"no input\"); }" } },
    graph = function(g, x) g.aiv("hold", x) end }
  local x = baton.tensor.zeros("f32", { 4 })
  chip:run(hold, { x = x }, { timeout = 100 })
  chip:close()
  node:close()
  io.write "closed\n"
  io.stdout:flush()
  io.read()
  io.read()
  print "over"
]]

local function write_script()
  local folder = command.folder()
  command.write(folder .. "/script.lua", script)
  return folder, folder .. "/script.lua"
end

-- The steps: one signal while a run goes on, one when nothing is open.
local function watch(arguments, options)
  return session.run(arguments, {
    { "await", "held" }, { "signal", "USR1" }, { "await", "buffers: none" }, { "type", "go" },
    { "await", "closed" }, { "signal", "USR1" }, { "await", "baton: no worker is open" }, { "type", "more" }, { "type", "end" },
    { "exit" } }, options)
end

describe("SIGUSR1", function()
  it("makes the program tell what its workers do, also while it waits for a run", function()
    if tsan then return pending "tells what workers do: the thread sanitizer delivers no signal to a thread that waits" end
    local folder, file = write_script()
    local result = watch { file }
    command.remove(folder)
    assert.matches("over\n$", result.out)
    assert.equal(0, result.status)
    assert.matches("node: thread isolation, 1 workers, 0 sub workers\n", result.out)
    assert.matches("worker on a2a3sim, device 0: busy", result.out)
    assert.matches("run 1: hold on ", result.out)
    assert.is_nil(result.out:find("device 2", 1, true))
  end)

  it("does the same in plain Lua if BATON_DUMP_SIGNAL says so", function()
    if tsan then return pending "does the same in plain Lua: the thread sanitizer delivers no signal to a thread that waits" end
    local path = "LUA_CPATH=" .. command.quote(command.baton:match "(.*)/" .. "/?.so")
    if command.shell(("env %s lua5.4 -e 'require \"baton\"'"):format(path)).status ~= 0 then
      return pending "no lua5.4 that loads baton.so of this build"
    end
    local folder, file = write_script()
    local result = watch({ file }, { program = "lua5.4", env = path .. " BATON_DUMP_SIGNAL=1" })
    command.remove(folder)
    assert.matches("worker on a2a3sim, device 0: busy", result.out)
    assert.matches("over\n$", result.out)
  end)
end)
