local command = require "spec.support.command"

local add = [[
#include <baton/kernel.h>
BATON_KERNEL(add) { *baton_out(args, 2, float) = *baton_in(args, 0, float) + *baton_in(args, 1, float); }
]]

-- A script that makes and compiles one program with the kernel that `kernel` describes, and prints how that went.
local function script(kernel)
  return ([==[
local baton = require "baton"
local ok, err = pcall(function()
  local program <close> = baton.program { name = "p", kernels = { add = %s }, graph = function() end }
  program:compile()
end)
print(ok and "compiled" or ("%%s: %%s; %%s (%%s, %%s)"):format(err.code, err.message, err.hint, err.kernel, err.path))
]==]):format(kernel)
end

describe("the compiler", function()
  local folder, environment
  before_each(function()
    folder = command.folder()
    environment = ("-u HOME -u CC -u CXX XDG_CACHE_HOME=%s/cache TMPDIR=%s"):format(folder, folder)
  end)
  after_each(function() command.remove(folder) end)

  -- Runs a script beside which the sources lie, from elsewhere; `more` goes to env.
  local function run(text, more)
    command.write(folder .. "/script.lua", text)
    return command.run({ folder .. "/script.lua" }, { env = environment .. " " .. (more or "") })
  end

  local function files(pattern)
    local list = command.shell("ls -d " .. folder .. "/" .. pattern).out
    return select(2, list:gsub("\n", "\n"))
  end

  it("takes paths relative to the file that names them", function()
    command.write(folder .. "/add.c", add)
    assert.same({ status = 0, out = "compiled\n", err = "" }, run(script '{ core = "aiv", source = "add.c" }'))
    assert.equal(1, files "cache/baton/*.so")
    assert.equal(1, files "cache/baton/*.manifest")
  end)

  it("is not called when nothing changed", function()
    command.write(folder .. "/add.c", add)
    command.write(folder .. "/cc", "#!/bin/sh\necho called >> " .. folder .. "/calls\nexec cc \"$@\"\n")
    command.shell("chmod +x " .. folder .. "/cc")
    local text = script '{ core = "aiv", source = "add.c" }'
    for _ = 1, 3 do assert.equal("compiled\n", run(text, "CC=" .. folder .. "/cc").out) end
    assert.equal("called\n", command.read(folder .. "/calls"))
    command.write(folder .. "/add.c", "\n" .. add)
    assert.equal("compiled\n", run(text, "CC=" .. folder .. "/cc").out)
    assert.equal("called\ncalled\n", command.read(folder .. "/calls"))
  end)

  it("shows its errors as they are, at the line of the Lua file", function()
    local result = run(script '{ core = "aiv", code = [[\nint f(void) {\n  return 0 }\n]] }')
    local path = folder .. "/script.lua"
    assert.matches("compile_failed: p: kernel add: " .. path .. " does not compile\n", result.out, 1, true)
    local line = 0
    for text in io.lines(path) do
      line = line + 1
      if text:find("return 0 }", 1, true) then break end
    end
    assert.matches(("%s:%d:11: error: expected ';' before '}' token\n"):format(path, line), result.out, 1, true)
    assert.equal("", result.err)
  end)

  it("names what is missing", function()
    command.write(folder .. "/add.c", add)
    local sub = run(script '{ core = "aiv", source = "add.c", entry = "sub" }').out
    assert.equal("compile_failed: p: kernel add: add.c has no function 'sub'; define it with BATON_KERNEL(sub), or name "
      .. "another one with 'entry' (add, nil)\n", sub)
    local compiler = run(script '{ core = "aiv", source = "add.c" }', "CC=no-such-compiler").out
    assert.equal("compile_failed: p: kernel add: the compiler 'no-such-compiler' (set in CC) does not exist; "
      .. "install gcc, or set CC to a compiler (add, nil)\n", compiler)
    local source = run(script '{ core = "aiv", source = "none.c" }').out
    assert.equal("bad_file: p: kernel add: cannot read none.c: No such file or directory; nil (add, " .. folder
      .. "/none.c)\n", source)
  end)

  it("works without a home, with one note, and leaves nothing behind", function()
    command.write(folder .. "/add.c", add)
    local result = run(script '{ core = "aiv", source = "add.c" }', "XDG_CACHE_HOME=")
    assert.equal("compiled\n", result.out)
    assert.matches("^baton: note: neither HOME nor XDG_CACHE_HOME names a folder for the compile cache; using "
      .. folder:gsub("%p", "%%%0") .. "/baton%.%w+ for this process\n$", result.err)
    assert.equal(0, files "baton.*")
  end)
end)
