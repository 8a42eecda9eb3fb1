local command = require "spec.support.command"
local json = require "baton.json"

-- What `baton doctor` says of each thing, by its name, and whether runs will work.
local function examine(env)
  local result = command.run({ "doctor", "--json" }, { env = env })
  local value, by_name = json.decode(result.out), {}
  for _, check in ipairs(value.checks) do by_name[check.name] = check end
  return by_name, value.works, result.status
end

describe("baton doctor", function()
  it("finds all that runs need, and compiles and runs a kernel", function()
    local checks, works, status = examine()
    for _, name in ipairs { "compiler", "headers", "run", "worker program", "compile cache", "busted" } do
      assert.equal("ok", checks[name].state, name .. ": " .. checks[name].found)
    end
    assert.is_true(works)
    assert.equal(0, status)
  end)

  it("ends with status 3 and a way out without a compiler", function()
    local checks, works, status = examine "CC=no-such-compiler"
    assert.equal("'no-such-compiler' (set in CC) does not exist", checks.compiler.found)
    assert.equal("apt-get install gcc, or set CC to a compiler", checks.compiler.hint)
    assert.equal("missing", checks.run.state)
    assert.is_false(works)
    assert.equal(3, status)
    local result = command.run({ "doctor" }, { env = "CC=no-such-compiler" })
    assert.truthy(result.out:find("missing  compiler       'no-such-compiler' (set in CC) does not exist\n", 1, true))
    assert.truthy(result.out:find("\nRuns will not work.\n", 1, true))
  end)

  it("ends with status 3 without Baton's headers", function()
    local checks, _, status = examine "BATON_INCLUDE=/nowhere"
    assert.equal("BATON_INCLUDE names /nowhere, which does not hold baton/kernel.h", checks.headers.found)
    assert.equal(3, status)
  end)

  it("names the worker program that a variable asks for, which threads do not need", function()
    local checks, works = examine "BATON_WORKER_PROGRAM=/nowhere/baton-worker"
    local check = checks["worker program"]
    assert.equal("missing", check.state)
    assert.equal("the worker program '/nowhere/baton-worker' (BATON_WORKER_PROGRAM) cannot be executed: "
      .. "No such file or directory", check.found)
    assert.equal('only isolation = "process" needs it, the default of baton repl and baton test: '
      .. "BATON_WORKER_PROGRAM must name baton-worker of this version of Baton", check.hint)
    assert.is_true(works)
  end)

  it("names what is missing but not needed", function()
    local checks, works = examine "XDG_CACHE_HOME=/dev/null"
    assert.equal("missing", checks["compile cache"].state)
    assert.is_false(checks["compile cache"].required)
    assert.is_true(works)
  end)

  it("leaves no files behind", function()
    local folder = command.folder()
    command.run({ "doctor" }, { env = "XDG_CACHE_HOME=" .. folder })
    assert.equal("", command.shell("find " .. folder .. " -type f").out)
    command.remove(folder)
  end)
end)
