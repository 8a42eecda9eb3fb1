local command = require "spec.support.command"
local scene_file = require "spec.support.scene"
local session = require "spec.support.session"

describe("baton repl", function()
  local folder
  setup(function() folder = command.folder() end)
  teardown(function() command.remove(folder) end)

  local function repl(input, ...) return command.run({ "repl", ... }, { input = input }) end
  local function prints(expected, input, ...)
    local result = repl(input, ...)
    assert.equal(expected, result.out, result.err)
    assert.equal("", result.err)
    assert.equal(0, result.status)
  end

  it("prints the values of expressions, and none after a semicolon", function()
    prints("3\n1\tnil\tx\n", "1 + 2\n1, nil, 'x'\n7;\nlocal y = 1\nx = 2\nnil;\n")
  end)

  it("prints nothing for a call without results", function() prints("", "(function() end)()\n") end)

  it("shows plain tables by their first entries", function()
    prints("{ 1, 'two', a = { 3 }, b = { c = { … } } }\n{}\n", "{ 1, 'two', b = { c = { 1 } }, a = { 3 } }\n{}\n")
    prints("{ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, … 84 more }\n",
      "(function() local t = {} for i = 1, 100 do t[i] = 1 end return t end)()\n")
  end)

  it("continues incomplete input", function()
    prints("1\n2\n6\n", "for i = 1, 2 do\n  print(i)\nend\n2 *\n3\n")
  end)

  it("keeps the last value in _, which the collector may take", function()
    prints("5\n10\n{}\nnil\n", "5\n_ * 2\n{}\ndo collectgarbage() end\n_\n")
  end)

  it("has baton, tensor and a chip", function()
    prints("worker on a5sim\nf32[3] [0, 1, 2]\n0.1.0\n", "chip\ntensor.arange('f32', { 3 })\nbaton.version\n", "-p", "a5sim")
  end)

  it("says what is there, and names nothing that is not", function()
    for what, arguments in pairs { chip = {}, node = { scene_file.write_for_node(folder .. "/scene.lua") } } do
      local result = repl("help\n", table.unpack(arguments))
      local methods = result.out:match("^" .. what .. " +the %l+ that is open: ([%l_ ]+)\n")
      assert.is_string(methods, result.out .. result.err)
      prints("", ("for name in ('%s'):gmatch '%%S+' do assert(%s[name], name) end\n"):format(methods, what),
        table.unpack(arguments))
    end
  end)

  it("has workers with process isolation unless somebody asks for threads", function()
    local count = "chip:stats().children_started\nbaton.worker():stats().children_started\n"
    prints("1\n1\n", count)
    prints("0\n0\n", count, "--isolation", "thread")
  end)

  it("has a scene, its program and the arguments of a case", function()
    local scene = scene_file.write(folder .. "/scene.lua")
    prints("scene sum, 3 cases\n1000\ntrue\n4\n", "scene\nargs.a.numel\nchip:run(program, args);\n(args.a + args.b):allclose(args.c)\n4\n",
      scene, "--case", "wide")
    prints("5\n", "args.a.numel\n", scene, "--param", "n=5")
  end)

  it("has a node and the orchestrating function with a scene of level 3", function()
    local scene = scene_file.write_for_node(folder .. "/scene.lua")
    prints("1000\n2\ntrue\nnil\tnil\n", "args.a.numel\nnode.workers\nnode:run(orchestrate, args);\n"
      .. "(args.a + args.b):allclose(args.c)\nchip, program\n", scene, "--case", "wide", "-d", "1-3")
    local result = repl("", scene, "-d", "1")
    assert.equal("baton repl: invalid_argument: scene sums: the scene needs 2 devices, -d chooses 1\n", result.err)
    assert.equal(2, result.status)
  end)

  it("survives errors and shows code, message and hint", function()
    local result = repl("error 'no'\nbaton.worker { platfrom = 1 }\nx = = 1\nlocal function f() error 'deep' end f()\n1\n")
    assert.equal("1\n", result.out)
    assert.equal(0, result.status)
    local lines = {}
    for text in result.err:gmatch "[^\n]+" do lines[#lines + 1] = text end
    assert.equal("stdin:1: no", lines[1])
    assert.equal("unknown_option: worker: unknown option 'platfrom', did you mean 'platform'?", lines[2])
    assert.truthy(lines[3]:find "^  hint: known options: level, platform, ")
    assert.truthy(result.err:find("stdin:1: unexpected symbol near '='", 1, true), result.err)
    assert.truthy(result.err:find("stdin:1: deep\nstack traceback:\n\tstdin:1: in local 'f'\n", 1, true), result.err)
  end)

  it("says what is incomplete at the end of the input", function()
    local result = repl "1 +\n"
    assert.equal("stdin:1: unexpected symbol near <eof>\n", result.err)
  end)

  it("shows the time of each input where that is asked for", function()
    local result = repl("1\n2\n", "-v")
    assert.equal("(T)\n(T)\n", (result.err:gsub("%d+%.%d+ ms", "T")))
  end)

  it("refuses what is wrong before it opens anything", function()
    local function refused(expected, ...)
      local result = repl("", ...)
      assert.equal("baton repl: " .. expected .. "\n", result.err)
      assert.equal(2, result.status)
    end
    local scene = scene_file.write(folder .. "/scene.lua")
    refused("bad_file: scene none.lua: No such file or directory", "none.lua")
    refused("invalid_argument: no case is called 'smal', did you mean 'small'?; cases: small, wide, huge", scene, "--case",
      "smal")
    refused("unknown_option: scene sum has no parameter 'm', did you mean 'n'?; parameters: n, x", scene, "--param", "m=1")
    refused("invalid_argument: --platform a2a3: no such platform; known: a2a3sim, a5sim", "-p", "a2a3")
  end)

  describe("when Ctrl-C is pressed", function()
    -- `text` prints "running" and does not end by itself.
    local function stops(text)
      local result = session.run({ "repl" },
        { { "type", text }, { "await", "running" }, { "interrupt" }, { "type", "'still ' .. 'here'" } })
      assert.equal("interrupted\nstill here\n", (result.out:gsub("running\n", "")))
      assert.equal(0, result.status)
    end
    -- the flush: the thread sanitizer delivers no signal into a loop without system calls
    local loop = "io.stdout:write 'running\\n' while true do io.stdout:flush() end"

    it("stops Lua code", function() stops(loop) end)

    it("stops a loop around pcall", function()
      stops("while true do pcall(function() " .. loop .. " end) end")
    end)

    it("stops a coroutine, and the one that resumes it for ever", function()
      stops("coroutine.wrap(function() coroutine.wrap(function() " .. loop .. " end)() end)()")
      stops("while true do coroutine.resume(coroutine.create(function() " .. loop .. " end)) end")
    end)

    it("stops a coroutine that was made before", function()
      stops("co = coroutine.create(function() coroutine.yield() " .. loop .. " end) coroutine.resume(co) coroutine.resume(co)")
    end)

    -- A program whose first task prints "running", and whose tasks take longer than anybody waits.
    local endless = command.write(os.tmpname(), [==[
      program = baton.program { name = "endless", signature = { { "x", "inout" } }, kernels = {
          first = { core = "aiv", signature = { { "x", "inout" } }, code = [[
            #include <baton/kernel.h>
            extern long write(int, const void *, unsigned long);
            BATON_KERNEL(first) { if (write(1, "running\n", 8) != 8) baton_kernel_fail(args, "no output"); }]] },
          later = { core = "aiv", signature = { { "x", "inout" } }, code = [[
            #include <baton/kernel.h>
            extern int usleep(unsigned);
            BATON_KERNEL(later) { usleep(10000); baton_io(args, 0, float)[0] += 1; }]] } },
        graph = function(g, x)
          g.aiv("first", x)
          for _ = 1, 100000 do g.aiv("later", x) end
        end }
      x = tensor.zeros("f32", { 1 })]==])
    teardown(function() os.remove(endless) end)

    it("cancels the run that is waited for at the next task, and the chip can be used again", function()
      local result = session.run({ "repl" }, { { "type", ("dofile %q"):format(endless) },
        { "type", "chip:run(program, { x })" }, { "await", "running" }, { "interrupt" },
        { "type", "x:get(1), chip:submit(program, { x }):cancel()" } })
      assert.equal("cancelled: endless: the run was cancelled\n0.0\ttrue\n", (result.out:gsub("running\n", "")))
      assert.equal(0, result.status)
    end)

    it("drops what was typed and ends with status 130 where no terminal is", function()
      local result = session.run({ "repl" }, { { "type", "'ready'" }, { "await", "ready" }, { "interrupt" }, { "exit" } })
      assert.equal(130, result.status)
    end)
  end)
end)
