-- Kernels that come as compiled objects, and files that are none. In children: a file that the loader trusts too much kills.
local command = require "spec.support.command"

local add = [[
#include <baton/kernel.h>
BATON_KERNEL(add) { *baton_out(args, 2, float) = *baton_in(args, 0, float) + *baton_in(args, 1, float); }
]]

local function script(kernel)
  return ([==[
local baton = require "baton"
local tensor = require "baton.tensor"
local chip <close> = baton.worker()
local function sum(kernel)
  kernel.core = "aiv"
  local program <close> = baton.program { name = "p", kernels = { add = kernel },
    graph = function(g, a, b, c) g.aiv("add", baton.input(a), baton.input(b), baton.output(c)) end }
  local a, b, c = tensor.full("f32", { 1 }, 1), tensor.full("f32", { 1 }, 2), tensor.zeros("f32", { 1 })
  chip:run(program, { a, b, c })
  return c:get(1)
end
local ok, err = pcall(sum, %s)
print(ok and err or ("%%s: %%s"):format(err.code, err.message))
assert(sum { source = "add.c" } == 3) -- and nothing is lost
]==]):format(kernel)
end

-- The header of a shared object for another machine than this one.
local function foreign_object()
  local here = command.shell("uname -m").out:match "%S+"
  local number, name = 183, "aarch64"
  if here == name then number, name = 62, "x86_64" end
  return string.pack("<c16HHIi8i8i8IHHHHHH", "\127ELF\2\1\1", 3, number, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0), name, here
end

describe("an object", function()
  local folder, environment
  before_each(function()
    folder = command.folder()
    environment = ("XDG_CACHE_HOME=%s/cache TMPDIR=%s"):format(folder, folder)
    command.write(folder .. "/add.c", add)
  end)
  after_each(function() command.remove(folder) end)

  local function run(kernel)
    command.write(folder .. "/script.lua", script(kernel))
    local result = command.run({ folder .. "/script.lua" }, { env = environment })
    assert.equal(0, result.status, result.err)
    return result.out
  end

  -- What is said of a file k.so with this content.
  local function message(content)
    command.write(folder .. "/k.so", content)
    return run '{ object = "k.so" }'
  end

  local function compiled()
    assert.equal("3.0\n", run '{ source = "add.c" }')
    return command.read((command.shell("ls " .. folder .. "/cache/baton/*.so").out:gsub("\n", "")))
  end

  it("is run as it is", function()
    assert.equal("3.0\n", message(compiled()))
    assert.equal("compile_failed: p: kernel add: k.so has no function 'sub'\n", run '{ object = "k.so", entry = "sub" }')
  end)

  it("for another machine is refused", function()
    local object, theirs, here = foreign_object()
    assert.equal(("bad_file: p: kernel add: k.so cannot be loaded: it is for %s, this machine is %s\n"):format(theirs, here),
      message(object))
  end)

  it("that was cut off is refused, wherever that was", function()
    local object = compiled()
    for _, length in ipairs { 20, 63, 64, 500, #object // 2, #object - 4096 } do
      local said = message(object:sub(1, length))
      assert.matches("^bad_file: p: kernel add: k%.so cannot be loaded: it was cut off at byte " .. length
        .. ", its contents go on to byte %d+\n$", said)
    end
  end)

  it("that is none is refused", function()
    assert.equal("bad_file: p: kernel add: k.so cannot be loaded: it is no shared object\n", message "some text\n")
    assert.equal("bad_file: p: kernel add: k.so cannot be loaded: it is no shared object\n", message "\127EL")
    assert.equal("bad_file: p: kernel add: k.so cannot be loaded: the file is empty\n", message "")
    assert.equal("bad_file: p: kernel add: k.so cannot be loaded: it is no shared object, but an ELF file of type 1\n",
      message(compiled():sub(1, 16) .. "\1\0" .. compiled():sub(19)))
    assert.equal("bad_file: p: kernel add: cannot read none.so: No such file or directory\n", run '{ object = "none.so" }')
    assert.equal("bad_file: p: kernel add: cannot read .: Is a directory\n", run '{ object = "." }')
    assert.equal("bad_file: p: kernel add: cannot read /dev/null: Invalid argument\n", run '{ object = "/dev/null" }')
  end)
end)

describe("a process without a free file descriptor", function()
  local folder
  before_each(function() folder = command.folder() end)
  after_each(function() command.remove(folder) end)

  -- Does `body` while `free` descriptors are left, and prints the error.
  local function message(free, body)
    command.write(folder .. "/add.c", add)
    command.write(folder .. "/script.lua", ([==[
local baton = require "baton"
local tensor = require "baton.tensor"
local folder = %q
tensor.zeros("f32", { 4 }):save(folder .. "/t.npy")
local chip <close> = baton.worker()
local function compile(kernel)
  kernel.core = "aiv"
  local program <close> = baton.program { name = "p", kernels = { add = kernel }, graph = function() end }
  program:compile()
end
require "baton.scene"
local files = {}
while true do
  local file = io.open "/dev/null"
  if not file then break end
  files[#files + 1] = file
end
for _ = 1, %d do table.remove(files):close() end
local ok, err = pcall(function()
  %s
end)
for _, file in ipairs(files) do file:close() end
print(ok and "done" or ("%%s: %%s"):format(err.code, err.message:gsub(folder, "FOLDER")))
assert(chip.state == "ready" )
tensor.load(folder .. "/t.npy")
]==]):format(folder, free, body))
    local result = command.shell(("ulimit -n 100; XDG_CACHE_HOME=%s/cache TMPDIR=%s ASAN_OPTIONS=detect_leaks=0 %s %s/script.lua")
      :format(folder, folder, command.quote(command.baton), folder))
    assert.equal(0, result.status, result.err)
    return result.out
  end

  it("says so when it reads a kernel", function()
    assert.equal("resource_limit: p: kernel add: cannot read add.c: Too many open files\n",
      message(0, [[compile { source = "add.c" }]]))
    assert.equal("resource_limit: p: kernel add: cannot read k.so: Too many open files\n",
      message(0, [[compile { object = "k.so" }]]))
    assert.equal("resource_limit: p: kernel add: cannot write the code for the compiler: Too many open files\n",
      message(0, [[compile { code = "int x;" }]]))
    assert.matches("^resource_limit: p: kernel add: the compiler '.*' cannot be started in FOLDER: Too many open files\n$",
      message(1, [[compile { source = "add.c" }]]))
  end)

  it("says so when it reads and writes tensors", function()
    assert.equal("resource_limit: FOLDER/t.npy: cannot open: Too many open files\n", message(0, [[tensor.load(folder .. "/t.npy")]]))
    assert.equal("resource_limit: FOLDER/u.npy: cannot create: Too many open files\n",
      message(0, [[tensor.zeros("f32", { 4 }):save(folder .. "/u.npy")]]))
    assert.equal("done\n", message(1, [[tensor.load(folder .. "/t.npy")]]))
  end)

  it("says so when it loads a scene", function()
    assert.equal("resource_limit: scene FOLDER/s.lua: Too many open files\n",
      message(0, [[require("baton.scene").load(folder .. "/s.lua")]]))
  end)
end)
