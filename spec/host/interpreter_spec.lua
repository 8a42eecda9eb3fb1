local command = require "spec.support.command"

describe("baton as a Lua interpreter", function()
  local folder
  setup(function() folder = command.folder() end)
  teardown(function() command.remove(folder) end)

  local function script(text) return command.write(folder .. "/script.lua", text) end

  it("fills arg with positive and negative indices and passes the rest to the script", function()
    local path = script [[print(arg[-2], arg[-1], arg[0], arg[1], arg[2], select("#", ...), ...)]]
    local result = command.run { "-e", "x = 1", path, "a", "two words" }
    assert.equal(("-e\tx = 1\t%s\ta\ttwo words\t2\ta\ttwo words\n"):format(path), result.out)
    assert.equal(0, result.status)
  end)

  it("skips a first line that begins with #!", function()
    local result = command.run { script "#!/usr/bin/env baton\nprint(42)" }
    assert.equal("42\n", result.out)
  end)

  it("is started by #! itself", function()
    local path = script("#!" .. command.baton .. "\nprint(#arg, ...)")
    local result = command.shell(("chmod +x %s && %s 'a b'"):format(path, path))
    assert.same({ status = 0, out = "1\ta b\n", err = "" }, result)
  end)

  it("keeps the script's exit status", function()
    assert.equal(7, command.run({ "-e", "os.exit(7)" }).status)
    assert.equal(1, command.run({ "-e", "os.exit(false)" }).status)
    assert.equal(1, command.run({ "-e", "error 'no'" }).status)
  end)

  it("runs -l, -l name=module, -e, -W and -v in the order of the line", function()
    local result = command.run { "-l", "s=string", "-e", "print(s.rep('a', 3))", "-W", "-e", "warn 'careful'" }
    assert.equal("aaa\n", result.out)
    assert.equal("Lua warning: careful\n", result.err)
    assert.equal("Lua 5.4", command.run({ "-v" }).out:match "^Lua 5%.4")
  end)

  it("reads a script from standard input", function()
    assert.equal("a\tb\n", command.run({ "-", "a", "b" }, { input = "print(...)" }).out)
    assert.equal("1\n", command.run({}, { input = "print(1)" }).out)
  end)

  it("runs LUA_INIT first and leaves it out with -E", function()
    local env = [['LUA_INIT=print "init"']]
    assert.equal("init\n1\n", command.run({ "-e", "print(1)" }, { env = env }).out)
    assert.equal("1\n", command.run({ "-E", "-e", "print(1)" }, { env = env }).out)
    assert.equal("init 5.4\n", command.run({ "-e", "" }, { env = env .. [[ 'LUA_INIT_5_4=print "init 5.4"']] }).out)
  end)

  it("prefixes messages with its name and adds a traceback", function()
    local result = command.run { "-e", "local function f() error 'broken' end f()" }
    assert.equal(command.baton .. ": (command line):1: broken", result.err:match "^[^\n]*")
    assert.truthy(result.err:find("stack traceback:", 1, true))
  end)

  it("prints an error object through __tostring", function()
    local result = command.run { "-e", "error(setmetatable({}, { __tostring = function() return 'as text' end }))" }
    assert.equal(command.baton .. ": as text\n", result.err)
    result = command.run { "-e", "error {}" }
    assert.equal(command.baton .. ": (error object is a table value)", result.err:match "^[^\n]*")
  end)

  it("refuses an unknown option and an option without its argument", function()
    local result = command.run { "-q" }
    assert.equal(1, result.status)
    assert.equal(command.baton .. ": unrecognized option '-q'", result.err:match "^[^\n]*")
    assert.equal(command.baton .. ": '-l' needs argument", command.run({ "-l" }).err:match "^[^\n]*")
  end)

  it("closes the state at the end", function()
    local text = [[setmetatable({}, { __gc = function() print "closed" end })]]
    assert.equal("closed\n", command.run({ "-e", text }).out)
  end)

  it("continues incomplete input at the prompt, prints values and survives errors", function()
    local result = command.run({ "-i" }, { input = "x = 2\nx + 1\nfor i = 1, 2 do\nprint(i)\nend\nerror 'no'\nnil, x\n" })
    assert.equal(0, result.status)
    assert.equal("> > 3\n> >> >> 1\n2\n> > nil\t2\n> \n", result.out:match "(> .*)")
    assert.equal("baton: stdin:1: no", result.err:match "^[^\n]*")
  end)

  it("ends with status 130 when it is interrupted, also inside a loop around pcall", function()
    -- the flush inside: the thread sanitizer delivers no signal into a loop without system calls
    local text = [[
      io.stdout:write "ready\n"
      io.stdout:flush()
      while true do pcall(function() while true do io.stdout:flush() end end) end]]
    local result = command.shell(([[
      mkfifo %s/ready
      %s %s -e %s >%s/ready & guard=$!
      { read -r process; read -r line; } <%s/ready
      kill -INT $process
      wait $guard]]):format(folder, command.guard(60), command.quote(command.baton), command.quote(text), folder, folder))
    assert.equal(130, result.status)
    assert.truthy(result.err:match "^[^\n]*: interrupted!\n", result.err)
  end)

  it("has coroutines as Lua has them", function()
    local text = [[
      local co = coroutine.create(function(a, b) local c = coroutine.yield(a + b) error("no " .. c) end)
      print(coroutine.resume(co, 1, 2))
      print(coroutine.resume(co, 3))
      print(coroutine.resume(co))
      print(pcall(coroutine.resume))
      print(pcall(coroutine.wrap))
      local wrapped = coroutine.wrap(function(...)
        local closed <close> = setmetatable({}, { __close = function() print "closed" end })
        error(select("#", ...) .. " arguments")
      end)
      print(pcall(wrapped, 1, 2))
      print(pcall(wrapped))
      print(pcall(coroutine.wrap(function() error({}, 0) end)))
      local endless
      endless = coroutine.wrap(function() endless() end)
      print(pcall(endless))]]
    local ours = command.run { command.write(folder .. "/coroutines.lua", text) }
    local theirs = command.shell("lua5.4 " .. folder .. "/coroutines.lua")
    assert.equal((theirs.out:gsub("table: 0x%x+", "table")), (ours.out:gsub("table: 0x%x+", "table")))
    assert.equal(0, ours.status)
  end)

  it("takes a file that is called like a command as a script", function()
    command.write(folder .. "/run", "print 'a script'")
    local result = command.shell(("cd %s && %s run x"):format(folder, command.quote(command.baton)))
    assert.equal("a script\n", result.out)
  end)

  it("has baton preloaded and opens it only when it is required", function()
    assert.equal("nil\n", command.run({ "-e", "print(package.loaded.baton)" }).out)
    assert.equal("0.1.0\n", command.run({ "-e", "print(require 'baton'.version)" }).out)
  end)
end)
