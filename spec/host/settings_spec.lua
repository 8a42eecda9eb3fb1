local command = require "spec.support.command"
local scene_file = require "spec.support.scene"

-- What each knob refuses, and the words behind "KNOB VALUE: ".
local seconds = "a number of seconds above 0 and at most 1e9 expected"
local natural = "an integer of at least 0 expected"
local numbers = "device numbers below 1024 such as 0, 0-3 or 0,2 expected"
local knobs = {
  timeout = { { "abc", seconds }, { "0", seconds }, { "-1", seconds }, { "nan", seconds }, { "inf", seconds },
    { "1e400", seconds }, { "1e10", seconds }, { "1s", seconds } },
  seed = { { "x", natural }, { "-1", natural }, { "1.5", natural }, { "99999999999999999999", natural } },
  device = { { "x", numbers }, { "-1", numbers }, { "3-1", numbers }, { "0,", numbers }, { "1.5", numbers },
    { "1024", numbers }, { "99999999999999999999", numbers } },
  platform = { { "a2a3sam", "no such platform, did you mean 'a2a3sim'?; known: a2a3sim, a5sim" } },
  runtime = { { "host", "no such runtime; known: host_build_graph, tensormap_and_ringbuffer, aicpu_build_graph" } },
  isolation = { { "fork", "no such isolation; known: thread, process" } },
}

describe("every setting with a wrong value ends with status 2 and names the knob:", function()
  local folder, scene
  setup(function()
    folder = command.folder()
    scene = scene_file.write(folder .. "/scene.lua")
  end)
  teardown(function() command.remove(folder) end)

  local function refused(expected, result)
    assert.equal(expected .. "\n", result.err)
    assert.equal("", result.out)
    assert.equal(2, result.status)
  end

  for name, values in pairs(knobs) do
    it("--" .. name, function()
      for _, value in ipairs(values) do
        local message = ("baton run: invalid_argument: --%s %s: %s"):format(name, value[1], value[2])
        refused(message, command.run { "run", scene, "--" .. name .. "=" .. value[1] })
      end
    end)

    it("BATON_" .. name:upper(), function()
      local variable = "BATON_" .. name:upper()
      for _, value in ipairs(values) do
        local words = value[2]:gsub("^device numbers below 1024.*", "a device number below 1024 expected")
        if value[1] == "1024" then words = numbers end
        if value[1] == "99999999999999999999" and name == "device" then words = numbers end
        for _, arguments in ipairs { { "run", scene }, { "test", "--", "--version" }, { "repl" } } do
          refused(("baton %s: invalid_argument: %s %s: %s"):format(arguments[1], variable, value[1], words),
            command.run(arguments, { env = variable .. "=" .. value[1] }))
        end
      end
    end)
  end

  it("a list where there can be one", function()
    refused("baton run: invalid_argument: BATON_PLATFORM a2a3sim,a5sim: no such platform; known: a2a3sim, a5sim",
      command.run({ "run", scene }, { env = "BATON_PLATFORM=a2a3sim,a5sim" }))
    refused("baton run: invalid_argument: BATON_DEVICE 0-3: a device number below 1024 expected",
      command.run({ "run", scene }, { env = "BATON_DEVICE=0-3" }))
    refused("baton test: invalid_argument: --platform all: one platform expected; without --platform, specs that use "
      .. "each_platform run on every one", command.run { "test", "-p", "all", "--", "--version" })
  end)
end)

describe("baton.worker", function()
  it("names the variable that a wrong platform comes from", function()
    local result = command.run({ "-e", 'require "baton".worker()' }, { env = "BATON_PLATFORM=a2a3sam" })
    assert.equal("baton: unsupported: BATON_PLATFORM: platform 'a2a3sam' is not supported, only: a2a3sim, a5sim",
      result.err:match "baton: [^\n]*")
    assert.equal(1, result.status)
  end)
end)

describe("a poor environment:", function()
  local vector_example = command.quote(command.baton) .. " run scenes/vector_example.lua"

  it("few file descriptors are enough, or the message says so", function()
    local bare = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; " -- what these tests inherited does not count
    assert.equal(0, command.shell(bare .. "ulimit -n 16; " .. vector_example).status)
    local result = command.shell(bare .. "ulimit -n 4; ASAN_OPTIONS=detect_leaks=0 " .. vector_example) -- its leak check opens files
    assert.equal(4, result.status, result.out .. result.err)
    assert.truthy((result.out .. result.err):find("Too many open files", 1, true), result.out .. result.err)
  end)

  it("no HOME gives a note and a private cache", function()
    local result = command.shell("unset HOME XDG_CACHE_HOME; " .. vector_example)
    assert.equal(0, result.status, result.err)
    assert.truthy(result.err:find("neither HOME nor XDG_CACHE_HOME names a folder for the compile cache", 1, true))
  end)

  it("a locale with a decimal comma changes nothing", function()
    local text = [[os.setlocale(arg[1], "numeric") io.write(require "baton.json".encode { 0.5 }, "\n")]]
    assert.equal("[0.5]\n", command.run({ "-e", text, "-" }, { input = "", env = "LC_ALL=de_DE.UTF-8" }).out)
    assert.equal(0, command.shell("LC_ALL=de_DE.UTF-8 " .. vector_example .. " --rtol 0.5 --timeout 10.5").status)
  end)

  it("numbers in tensors and errors have a decimal point in such a locale", function()
    local folder <close> = setmetatable({ path = command.folder() }, { __close = function(f) command.remove(f.path) end })
    local made = command.shell(("localedef -i de_DE -f UTF-8 %s"):format(command.quote(folder.path .. "/de_DE.UTF-8")))
    if made.status ~= 0 then pending "localedef makes no locale here" return end
    local text = [[
      assert(os.setlocale("de_DE.UTF-8") and ("%.1f"):format(0.5) == "0,5", "no comma")
      local baton, tensor = require "baton", require "baton.tensor"
      print(tensor.from({ 1.5, 0.1, 2 }, "f64"))
      print(select(2, pcall(tensor.full, "f32", { 1.5 }, 0)))
      print(select(2, pcall(tensor.full, "i32", { 1 }, 2.5)))
      print(select(2, pcall(baton.worker, { config = { ring_heap = 65536.5 } })))
      print(select(2, pcall(baton.worker, { config = { ring_heap = 2^70 } })))
      print(select(2, pcall(baton.worker, { config = { timeout = { op = 2.5, stream = 1.5 } } })))]]
    assert.same({ status = 0, err = "", out = [[
f64[3] [1.5, 0.1, 2]
invalid_argument: tensor.full: shape[1] must be an integer of 0 or more, got 1.5
out_of_range: 2.5 does not fit i32
invalid_argument: field 'ring_heap' must be a size in bytes such as 65536 or "64KiB", got 65536.5
invalid_argument: field 'ring_heap' must be a size in bytes such as 65536 or "64KiB", got 1.1805916207174e+21
invalid_argument: timeout: op must be less than stream, got 2.5 and 1.5
]] }, command.run({ "-e", text, "-" }, { input = "", env = "LOCPATH=" .. command.quote(folder.path) }))
  end)

  it("closed standard streams stay closed: no file of Baton takes their place", function()
    local failed = { status = 3, out = "", err = "baton run: io_error: standard output: Bad file descriptor\n" }
    assert.same(failed, command.shell(vector_example .. " >&-"))
    failed.err = failed.err:gsub("run", "devices")
    assert.same(failed, command.shell(command.quote(command.baton) .. " devices >&-"))
    assert.equal(0, command.shell(vector_example .. " <&- 2>&-").status)
    local prompt = command.shell(("timeout 60 %s repl <&-"):format(command.quote(command.baton)))
    assert.same({ status = 0, out = "", err = "" }, prompt)
  end)

  it("what is printed to a closed stream goes nowhere, not into memory", function()
    local text = [[
      local chip <close> = require("baton").worker()
      local tensor = require "baton.tensor"
      local buffer <close>, host = chip:malloc(64), tensor.zeros("u8", { 64 })
      chip:copy_to(buffer, host)
      assert(not io.write(("x"):rep(64)):flush())
      assert(not io.stderr:write "x")
      assert(not io.read(1))
      local sum = host:sum()
      chip:copy_from(host, buffer)
      os.exit(sum + host:sum() == 0 and 7 or 1)]]
    local result = command.shell(("%s -e %s <&- >&- 2>&-"):format(command.quote(command.baton), command.quote(text)))
    assert.same({ status = 7, out = "", err = "" }, result)
  end)

  it("a pipe that nobody reads ends nothing", function()
    assert.equal("0\n", command.shell("{ " .. vector_example .. " -p all; echo $? >&2; } | true").err)
  end)
end)
