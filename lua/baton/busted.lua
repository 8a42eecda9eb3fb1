-- baton.busted: what specs of Baton programs use beside busted itself.
local assert = require "luassert"
local baton = require "baton"
local case_runner = require "baton.case"
local failure = require "baton.error"
local leaks = require "baton.leaks"
local place = require "baton.place"
local say = require "say"
local scene_module = require "baton.scene"
local settings = require "baton.settings"

local glue = {}

-- busted gives these to spec files only; a module finds them in the environment of its caller.
local function busted_function(name) return require("busted")[name] or _G[name] end

--- The platforms of this machine, BATON_PLATFORM alone if it is set.
function glue.platforms()
  local chosen = os.getenv "BATON_PLATFORM"
  if chosen and chosen ~= "" then return { chosen } end
  return baton.platforms()
end

--- Calls `f(...)`, which must raise an error object with this code; returns its message.
function glue.raises(code, f, ...)
  local ok, err = pcall(f, ...)
  if ok then error(("error %s expected, nothing was raised"):format(code), 2) end
  if not failure.is(err) then error(("error %s expected, got: %s"):format(code, tostring(err)), 2) end
  if err.code ~= code then error(("error %s expected, got %s"):format(code, tostring(err)), 2) end
  return err.message
end

--- Makes one `describe` for each platform and calls `fn(platform)` in it.
function glue.each_platform(fn)
  for _, platform in ipairs(glue.platforms()) do
    busted_function "describe"("on " .. platform, function() fn(platform) end)
  end
end

local function fits(list, value)
  for _, entry in ipairs(list or {}) do
    if entry == value then return true end
  end
  return list == nil
end

local function check_case(scene, case, platform, runtime)
  local _, environment = settings.read {}
  local opened, worker = pcall(place.open, scene, platform, { command = {}, environment = environment })
  if not opened and failure.is(worker) and worker.code == "device_busy" then
    busted_function "pending"(worker.message)
  elseif not opened then
    error(worker, 0)
  end
  local open <close> = worker -- luacheck: ignore open
  local result = case_runner.run(scene, case, worker, { seed = environment.seed or 42, config = { runtime = runtime or nil } })
  if result.worst then error(("%s: %s"):format(result.worst.tensor, tostring(result.worst.report)), 0) end
end

--- One `describe` for a scene file, with an `it` for every case × runtime × platform.
function glue.scene(path)
  local scene = scene_module.load(path)
  busted_function "describe"("scene " .. scene.name, function()
    for _, platform in ipairs(glue.platforms()) do
      for _, runtime in ipairs(scene:fitting_runtimes()) do
        for _, case in ipairs(scene.cases) do
          local name = ("case %s on %s%s"):format(case.name, platform, runtime and ", " .. runtime or "")
          if case.manual then
            busted_function "pending"(name .. ": runs only when asked for")
          elseif not fits(scene.platforms, platform) then
            busted_function "pending"(name .. ": the scene is for " .. table.concat(scene.platforms, ", "))
          else
            busted_function "it"(name, function() check_case(scene, case, platform, runtime) end)
          end
        end
      end
    end
  end)
end

--- In this `describe` a test fails that leaves behind what it has opened: a worker, or a buffer or an unfinished run on a
--- worker that was there before the test.
function glue.strict()
  local list, stop, known, test
  require("busted").subscribe({ "test", "start" }, function(element)
    test = element.name
    return nil, true
  end)
  busted_function "setup"(function() list, stop = leaks.watch() end)
  busted_function "teardown"(function() stop() end)
  busted_function "before_each"(function() known = leaks.now(list) end)
  busted_function "after_each"(function()
    local found = leaks.left(list, known)
    if #found > 0 then error(("%s: leaked: %s"):format(test, table.concat(found, "; ")), 0) end
  end)
end

-- assert.tensor_close(got, want [, tolerance])
local function tensor_close(state, arguments)
  local close, report = arguments[1]:allclose(arguments[2], arguments[3])
  if not close then state.failure_message = tostring(report) end
  return close
end

say:set("assertion.tensor_close.positive", "tensors differ:\n%s\n%s")
say:set("assertion.tensor_close.negative", "tensors are close:\n%s\n%s")
assert:register("assertion", "tensor_close", tensor_close, "assertion.tensor_close.positive",
  "assertion.tensor_close.negative")

return glue
