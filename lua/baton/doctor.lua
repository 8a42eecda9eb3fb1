-- baton.doctor: `baton doctor`, what runs need and whether it is here, and how to get what is missing.
local argparse = require "baton.argparse"
local baton = require "baton"
local failure = require "baton.error"
local host = require "baton.host"
local json = require "baton.json"
local settings = require "baton.settings"
local status = require "baton.status"

local doctor = {}

local few_files, little_memory = 64, 512 << 20

local function parser()
  local p = argparse("baton doctor", "Tell what is here, what is missing and how to get it. Status 0 if runs will work, 3 "
    .. "otherwise.")
  p:flag("--json", "Write one JSON value to standard output.")
  return p
end

local function good(found) return { state = "ok", found = found } end
local function missing(found, hint) return { state = "missing", found = found, hint = hint } end

local function text_of(err)
  if not failure.is(err) then return tostring(err) end
  return err.message, err.hint
end

-- The file of a command, or nil.
local function find_command(name)
  if name:find "/" then return host.may_execute(name) and name or nil end
  for folder in (os.getenv "PATH" or "/usr/local/bin:/usr/bin:/bin"):gmatch "[^:]+" do
    local path = folder .. "/" .. name
    if host.kind(path) == "file" and host.may_execute(path) then return path end
  end
end

local function compiler()
  local words = os.getenv "CC"
  local name = words and words:match "%S+" or "cc"
  local path = find_command(name)
  if path then return good(path) end
  return missing(("'%s'%s does not exist"):format(name, words and " (set in CC)" or ""),
    "apt-get install gcc, or set CC to a compiler")
end

-- A device that no other process has.
local function free_device(platform)
  local device = 0
  while device < settings.most_devices - 1 and baton.device_owner(platform, device) do device = device + 1 end
  return device
end

-- A kernel that nobody compiled before, through the compiler, the headers and the loader to a chip and back.
local function trial()
  local x = baton.tensor.zeros("f32", { 1 })
  local program = baton.program {
    name = "doctor", signature = { { "x", "inout", "f32", { 1 } } },
    kernels = { one = { core = "aiv", signature = { { "x", "inout" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(one) { baton_io(args, 0, float)[0] += 1; }]] } },
    graph = function(g, t) g.aiv("one", t) end,
  }
  local platform = baton.platforms()[1]
  local chip <close> = baton.worker { platform = platform, device = free_device(platform) }
  chip:run(program, { x })
  return x:get(1) == 1
end

local function run()
  local before, folder = os.getenv "XDG_CACHE_HOME", host.temporary_folder()
  if not folder then return missing("no folder for temporary files", "make /tmp writable") end
  host.setenv("XDG_CACHE_HOME", folder)
  local ok, outcome = pcall(trial)
  host.setenv("XDG_CACHE_HOME", before)
  host.remove_folder(folder)
  if ok and outcome then return good("a kernel was compiled, and a simulated chip ran it") end
  return missing(text_of(outcome))
end

local function headers()
  local path, why = host.include_folder()
  if path then return good(path) end
  return missing(why, "set BATON_INCLUDE to the folder that holds baton/kernel.h")
end

local function worker_program()
  local path, why, hint = host.worker_program()
  if path then return good(path) end
  return missing(why, "only isolation = \"process\" needs it, the default of baton repl and baton test: " .. hint)
end

local function cache()
  local folder, home = os.getenv "XDG_CACHE_HOME", os.getenv "HOME"
  if not folder or folder:sub(1, 1) ~= "/" then folder = home and home:sub(1, 1) == "/" and home .. "/.cache" or nil end
  local hint = "runs work, but each process compiles its kernels anew; set XDG_CACHE_HOME to a folder that can be written"
  if not folder then return missing("neither HOME nor XDG_CACHE_HOME names a folder", hint) end
  local path = folder .. "/baton"
  local ok, why = host.make_folder(path)
  local probe = path .. "/doctor.probe"
  local file = ok and io.open(probe, "w")
  if not file then return missing(why or path .. " cannot be written", hint) end
  file:close()
  os.remove(probe)
  return good(path)
end

local function library(names, hint)
  for _, name in ipairs(names) do
    if host.has_library(name) then return good(name) end
  end
  return missing(names[1] .. " cannot be loaded", hint)
end

local function blas()
  return library({ "libopenblas.so.0", "libcblas.so.3", "libblas.so.3" },
    "matmul of expected results is slow without it: apt-get install libopenblas0-pthread")
end

local function line_editing()
  return library({ "libedit.so.2" }, "baton repl edits lines with it: apt-get install libedit2")
end

local function busted()
  local path = package.searchpath("busted.runner", package.path)
  if path then return good(path) end
  return missing("busted for Lua 5.4 is not found", "baton test needs it: apt-get install lua-busted")
end

local function luacheck()
  local path = find_command "luacheck"
  if path then return good(path) end
  return missing("luacheck is not found", "only .ci/run needs it: apt-get install lua-check")
end

local function files()
  local limit = host.limit "files"
  if not limit then return good "unlimited" end
  if limit >= few_files then return good(tostring(limit)) end
  return missing(("%d open files are allowed"):format(limit), ("ulimit -n %d gives more"):format(few_files))
end

local function memory()
  local limit = host.limit "memory"
  local file = io.open "/proc/meminfo"
  local available = file and file:read("a"):match "MemAvailable:%s+(%d+) kB"
  if file then file:close() end
  available = available and available * 1024 or math.huge
  local least = math.min(limit or math.huge, available)
  local found = least == math.huge and "unknown" or ("%.1f GiB"):format(least / (1 << 30))
  if least >= little_memory then return good(found) end
  return missing(found .. " free", limit and "ulimit -v unlimited lifts the limit" or "end other programs")
end

-- In the order of the report. What runs cannot do without is required.
local checks = {
  { "compiler", compiler, required = true }, { "headers", headers, required = true }, { "run", run, required = true },
  { "worker program", worker_program }, { "open files", files }, { "memory", memory }, { "compile cache", cache },
  { "BLAS", blas }, { "line editing", line_editing }, { "busted", busted }, { "luacheck", luacheck },
}

local function examine()
  local results, works = json.array(), true
  for i, check in ipairs(checks) do
    local result = check[2]()
    result.name, result.required = check[1], check.required == true
    if result.required and result.state ~= "ok" then works = false end
    results[i] = result
  end
  return results, works
end

--- Runs the command with its arguments; returns the exit status.
function doctor.main(...)
  local arguments = settings.parse(parser(), { ... })
  local results, works = examine()
  if arguments.json then
    io.write(json.encode({ baton = baton.version, works = works, checks = results }, 2), "\n")
  else
    for _, result in ipairs(results) do
      io.write(("%-8s %-14s %s\n"):format(result.state, result.name, result.found))
      if result.hint then io.write(("%24s%s\n"):format("", result.hint)) end
    end
    io.write(works and "Runs will work.\n" or "Runs will not work.\n")
  end
  return works and status.ok or status.failed
end

return doctor
